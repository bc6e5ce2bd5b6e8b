/* SPDX-License-Identifier: MIT */
/* A client and a server of the library in one process, joined by a socket pair. */
#ifndef KTLS_TESTS_PAIR_H
#define KTLS_TESTS_PAIR_H

#include "conn.h"

struct pair {
	SSL_CTX *client_ctx, *server_ctx;
	struct ktls_conn *client, *server;
	int fd[2];		/* client's end, server's end */
};

/* Gives a context a certificate, and what sessions need. */
void pair_equip(SSL_CTX *ctx, int ec);
/* Contexts with a certificate of the kind that the cipher list wants (ec or RSA). */
int pair_init(struct pair *pair, const char *ciphers, int ec);
/* A new connection; -errno of the side that failed. session may be NULL. */
int pair_connect(struct pair *pair, SSL_SESSION *session, unsigned int flags);
void pair_disconnect(struct pair *pair);
void pair_free(struct pair *pair);

#endif
