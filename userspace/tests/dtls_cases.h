/* SPDX-License-Identifier: MIT */
/* What DTLS has to do by way of the kernel and in userspace alike. */
#ifndef KTLS_TESTS_DTLS_CASES_H
#define KTLS_TESTS_DTLS_CASES_H

/* All of a test program; flags: KTLS_USERSPACE or KTLS_REQUIRE_KERNEL. For main to return. */
int dtls_cases(unsigned int flags);

#endif
