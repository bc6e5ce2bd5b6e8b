// SPDX-License-Identifier: MIT
/* DTLS in userspace, over a path that loses and delays; timeout=120. */
#include "conn.h"
#include "dtls_cases.h"

int main(void)
{
	return dtls_cases(KTLS_USERSPACE);
}
