// SPDX-License-Identifier: MIT
/* Rekeying over a kernel that is made up (fake.h), with OpenSSL as the peer. timeout=120 */
#include "fake.h"
#include "ktls.h"
#include "rekey_cases.h"

int main(void)
{
	fake_kernel();
	return rekey_cases(KTLS_CAN_TLS12 | KTLS_CAN_TLS13);
}
