/* SPDX-License-Identifier: MIT */
/* A connection over a made up kernel (fake.h), for tests of what happens beside the data. */
#ifndef KTLS_TESTS_SHADOW_LINK_H
#define KTLS_TESTS_SHADOW_LINK_H

#include "link.h"

extern struct link shadow_link;

/* Connects; the peer may renegotiate. */
void shadow_begin(int tls13, int we_serve);
void shadow_end(void);
/* Either side takes what the other has sent, so many times. */
void shadow_move(int rounds);

/* A handler that does nothing: the call that the signal ends says so. */
void shadow_note_signal(int signal);
/* A signal that ends calls that wait, every so often; 0: no more. */
void shadow_alarm(int ms);

#endif
