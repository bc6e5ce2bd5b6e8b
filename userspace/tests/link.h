/* SPDX-License-Identifier: MIT */
/*
 * A connection of ours over loopback TCP with OpenSSL as the peer. The peer has memory
 * BIOs, so that the test decides what goes on the wire when, and in which pieces.
 */
#ifndef KTLS_TESTS_LINK_H
#define KTLS_TESTS_LINK_H

#include "pair.h"

#define LINK_TIMEOUT_MS	20000	/* that something which has to come may take */

struct peer {
	SSL *ssl;
	BIO *rbio, *wbio;
	int fd;
};

struct link {
	struct pair ctx;
	struct ktls_conn *ours;
	struct peer peer;
	int tcp;		/* our end, until the handshake is done */
	int tls13;		/* else TLS 1.2 */
};

/* A suite for each cipher that the kernel knows. */
/* TLS 1.3's stand for the cipher of the same place. */
extern const char *const suites13[4];
extern const struct suite {
	const char *name;
	int ec;			/* the kind of certificate it wants */
} suites[4];

/* 0 or -errno. Both ends non-blocking. */
int make_tcp(int fd[2]);

void peer_init(struct peer *peer, SSL_CTX *ctx, int fd, int is_server);
/* Bytes that OpenSSL has written and peer_flush has not sent. */
size_t peer_output(const struct peer *peer);
/* Sends the first len of them. */
void peer_flush(struct peer *peer, size_t len);
/* Gives OpenSSL what has arrived, as long as it has not much already. */
void peer_fill(struct peer *peer);
/* SSL_write and peer_flush. */
void peer_send(struct peer *peer, const void *data, size_t len);

/*
 * link_open makes the connection (and l->ctx for the suite, unless that is there), link_shake
 * goes on until the peer's side of the handshake is done, its last flight still unsent;
 * link_finish ends ours and closes l->tcp as a program would. link_connect is all of it.
 * 0 or -errno.
 */
int link_open(struct link *l, const struct suite *suite, int we_serve, SSL_SESSION *session,
	      unsigned int flags);
int link_shake(struct link *l);
int link_finish(struct link *l);
int link_connect(struct link *l, const struct suite *suite, int we_serve);
/* The contexts stay, for another connection. */
void link_close(struct link *l);

/* Waits until len bytes, the end or an error is there: a count, 0 or -errno. */
ssize_t link_receive(struct link *l, char *buf, size_t len);
/* The peer's side of it: a count, or -SSL_get_error(). */
ssize_t peer_receive(struct link *l, char *buf, size_t len);
/* Lets us react to what the peer sent until the peer's SSL_read has a result: that, as above. */
ssize_t link_react(struct link *l, char *buf, size_t len);

#endif
