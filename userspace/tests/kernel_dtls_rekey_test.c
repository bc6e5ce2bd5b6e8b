// SPDX-License-Identifier: MIT
/* Renegotiation of DTLS over the kernel. timeout=300, one kernel is enough */
#include "dtls_rekey_cases.h"
#include "ktls.h"
#include "tap.h"

int main(void)
{
	const char *why;

	if (!(ktls_available(&why) & KTLS_CAN_DTLS12))
		return tap_skip(why);
	return dtls_rekey_cases();
}
