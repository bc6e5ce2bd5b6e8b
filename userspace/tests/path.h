/* SPDX-License-Identifier: MIT */
/*
 * A client, a listener and the path between them, all of UDP over loopback, on which the test
 * loses and delays datagrams by their number.
 */
#ifndef KTLS_TESTS_PATH_H
#define KTLS_TESTS_PATH_H

#include <stdint.h>

#include "pair.h"

enum { FROM_CLIENT, FROM_SERVER };

struct path {
	int near, far;			/* ends of the path: the client's and the listener's peer */
	unsigned int passed[2];		/* datagrams */
	uint64_t lost[2];		/* a bit for each that is lost, ... */
	uint64_t late[2];		/* ... and that comes behind the next */
	uint8_t late_type;		/* likewise the client's first that begins with such a record */
	char held[2][65536];
	size_t held_len[2];
};

struct meeting {
	SSL_CTX *client_ctx, *server_ctx;
	unsigned int flags;		/* of ktls_new and ktls_listen */
	int udp[2];			/* the client's, the listener's */
	struct path path;
	struct ktls_listener *listener;
	struct ktls_conn *client, *server;
	int quiet;			/* the server does not read until it has to */
};

/* A UDP socket on loopback that does not block. */
int udp_new(void);
void udp_join(int fd, int to);		/* connects fd to where to is bound */

/* Moves what waits at both ends of the path. */
void path_move(struct path *path);
/* From here on it loses and delays nothing. */
void path_mend(struct path *path);

/* The contexts for a suite (link.h's kind of certificate), and the listener. 0 or -errno. */
int meeting_init(struct meeting *m, const char *ciphers, int ec, unsigned int flags);
/* Both sides' handshake over a path that may lose; session may be NULL. 0 or -errno. */
int meeting_connect(struct meeting *m, SSL_SESSION *session);
/* The client of it alone, without a step; and one round of all but the client's steps. */
int meeting_begin(struct meeting *m, SSL_SESSION *session);
void meeting_pass(struct meeting *m);
/* Runs both sides until the client's handshake too has ended. */
int meeting_settle(struct meeting *m);
/* Sends a datagram over the path and waits for it: 1 when it came as it was. */
int meeting_carry(struct meeting *m, struct ktls_conn *from, struct ktls_conn *to, size_t len);
/* Waits for one: a count or -errno. */
ssize_t meeting_receive(struct meeting *m, struct ktls_conn *to, char *buf, size_t len);
void meeting_part(struct meeting *m);	/* closes the two connections */
void meeting_free(struct meeting *m);

#endif
