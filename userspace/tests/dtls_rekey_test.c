// SPDX-License-Identifier: MIT
/* Renegotiation of DTLS over a kernel that is made up (fake.h). timeout=240 */
#include "dtls_rekey_cases.h"
#include "fake.h"

int main(void)
{
	fake_kernel();
	return dtls_rekey_cases();
}
