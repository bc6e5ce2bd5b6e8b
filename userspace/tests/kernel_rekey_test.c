// SPDX-License-Identifier: MIT
/* Rekeying over the kernel, with OpenSSL as the peer. timeout=500, one kernel is enough */
#include "ktls.h"
#include "rekey_cases.h"
#include "tap.h"

int main(void)
{
	const char *why;
	unsigned int can = ktls_available(&why);

	if (!(can & (KTLS_CAN_TLS12 | KTLS_CAN_TLS13)))
		return tap_skip(why);
	return rekey_cases(can);
}
