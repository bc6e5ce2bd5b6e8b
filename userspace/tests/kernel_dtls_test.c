// SPDX-License-Identifier: MIT
/*
 * DTLS by way of the kernel, over a path that loses and delays; timeout=300. Skipped where the
 * kernel cannot carry DTLS 1.2.
 */
#include "conn.h"
#include "dtls_cases.h"
#include "tap.h"

int main(void)
{
	const char *why;

	if (!(ktls_available(&why) & KTLS_CAN_DTLS12))
		return tap_skip(why);
	return dtls_cases(KTLS_REQUIRE_KERNEL);
}
