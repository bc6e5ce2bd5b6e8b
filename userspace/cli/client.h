/* SPDX-License-Identifier: MIT */
/* One connection of the server: from its handshake through requests to its close. */
#ifndef KTLS_CLI_CLIENT_H
#define KTLS_CLI_CLIENT_H

#include <stdint.h>

#include "http.h"
#include "ktls.h"
#include "net.h"
#include "reply.h"

enum client_state {
	CLIENT_SHAKES_HANDS,
	CLIENT_ASKS,		/* its request is being read */
	CLIENT_GETS,		/* the reply is being sent */
	CLIENT_LEAVES,		/* close_notify and FIN are on their way */
	CLIENT_LINGERS,		/* until its own FIN */
	CLIENT_GONE,
};

struct client {
	struct client *next, **prev;	/* in the server's list */
	struct ktls_conn *conn;
	int tcp;			/* open until the handshake is done */
	enum client_state state;
	bool kept;			/* a thread of the library's sees to its keys */
	short want;			/* POLLIN, POLLOUT, POLLPRI */
	int64_t deadline_ms;
	int64_t request_ms;		/* when the present request began */
	char name[NET_NAME];
	char in[HTTP_HEAD_MAX];
	size_t in_len;
	size_t request_len;
	struct http_request request;
	struct reply reply;
	size_t head_sent;
	uint64_t body_sent;
};

struct client_policy {
	int root;		/* of site.h */
	bool stopping;		/* no request after the present one */
};

struct client *client_new(SSL_CTX *ctx, int tcp, unsigned int flags);
/* Goes as far as it can; afterwards ->want says what to wait for, or CLIENT_GONE. */
void client_run(struct client *client, const struct client_policy *policy);
/* Do keys that change wait for what is no event? client_run then, now and again. */
bool client_is_timed(const struct client *client);
/* Says what its deadline has cut short, if that is news. */
void client_time_out(const struct client *client);
void client_free(struct client *client);

#endif
