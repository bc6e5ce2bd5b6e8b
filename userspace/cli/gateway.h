/* SPDX-License-Identifier: MIT */
/* Datagrams between plain UDP and DTLS: one thread, epoll, any number of peers. */
#ifndef KTLS_CLI_GATEWAY_H
#define KTLS_CLI_GATEWAY_H

#include "cli.h"
#include "ktls.h"
#include "net.h"

struct gateway;

/* NULL after a complaint; idle_s 0: for ever. From here on SIGINT and SIGTERM end gateway_run. */
struct gateway *gateway_new(bool quiet, unsigned int idle_s);
/*
 * DTLS clients that come to a UDP socket; each gets a plain one of its own, connected to
 * `to`. The strings must stay.
 */
bool gateway_listen(struct gateway *g, SSL_CTX *ctx, int udp, unsigned int flags,
		    const struct endpoint *to);
/* One DTLS connection, which it closes; what comes from it goes to who spoke last on plain. */
bool gateway_add(struct gateway *g, struct ktls_conn *conn, int plain);
/* Until a signal, or, no success, the last peer leaves of one that does not listen. Frees it. */
enum status gateway_run(struct gateway *g);

#endif
