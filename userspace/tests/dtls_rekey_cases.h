/* SPDX-License-Identifier: MIT */
/* Renegotiation of DTLS 1.2 with OpenSSL as the peer, over a path that loses and delays. */
#ifndef KTLS_TESTS_DTLS_REKEY_CASES_H
#define KTLS_TESTS_DTLS_REKEY_CASES_H

/* Prints TAP. What main returns. */
int dtls_rekey_cases(void);

#endif
