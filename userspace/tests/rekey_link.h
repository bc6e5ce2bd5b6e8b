/* SPDX-License-Identifier: MIT */
/* A connection whose keys change, and what both sides have read of it. */
#ifndef KTLS_TESTS_REKEY_LINK_H
#define KTLS_TESTS_REKEY_LINK_H

#include "link.h"

#define TEXT		20000

/* What either side has read, and how its last call ended. */
struct seen {
	size_t ours, theirs;
	ssize_t our_end;
	int their_end, their_reason;
	char our_text[4 * TEXT], their_text[4 * TEXT];
};

extern char text[TEXT];
extern struct seen seen;

struct link rekey_start(int tls13, size_t suite, int we_serve);
void rekey_stop(struct link *l);
void rekey_settle(struct link *l, int rounds);
void rekey_settle_ours(struct link *l);
int rekey_carries(struct link *l);
struct ktls_info rekey_info_of(const struct link *l);
int rekey_changed(const struct link *l, unsigned int tx, unsigned int rx);
void rekey_flush_hard(struct link *l);
void rekey_move_ours(struct link *l);
void rekey_move_theirs(struct link *l);
void rekey_peer_updates(struct link *l, int type);
int rekey_accept_any(int good, X509_STORE_CTX *store);

#endif
