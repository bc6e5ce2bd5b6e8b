/* SPDX-License-Identifier: MIT */
/* Where the DTLS clients of a UDP port come in, for an event loop. */
#ifndef KTLS_CLI_DOOR_H
#define KTLS_CLI_DOOR_H

#include "ktls.h"
#include "loop.h"

struct door {
	struct source source;
	struct ktls_listener *listener;	/* NULL: closed */
};

/* False after a complaint; udp stays the caller's. */
bool door_open(struct door *door, struct loop *loop, SSL_CTX *ctx, int udp, unsigned int flags);
/* Who has come; NULL: nobody more. To be called whenever the loop has waited. */
struct ktls_conn *door_next(struct door *door);
/* How long the loop may wait: max_ms at most. */
int door_patience(const struct door *door, int max_ms);
void door_close(struct door *door);

#endif
