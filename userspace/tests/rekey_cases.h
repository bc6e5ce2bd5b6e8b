/* SPDX-License-Identifier: MIT */
/* Rekeying with OpenSSL as the peer: the same cases over a made up kernel and over a real one. */
#ifndef KTLS_TESTS_REKEY_CASES_H
#define KTLS_TESTS_REKEY_CASES_H

/* Prints TAP; can: KTLS_CAN_*. What main returns. */
int rekey_cases(unsigned int can);

/* The parts of it that are files of their own. */
void rekey_tls13_cases(void);
void rekey_thread_cases(int tls13);

#endif
