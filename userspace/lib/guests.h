/* SPDX-License-Identifier: MIT */
/* The peers of a listener, found by their addresses. */
#ifndef KTLS_GUESTS_H
#define KTLS_GUESTS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#include "dtls.h"

struct ktls_conn;

/* A peer with a connection: one that is open, a handshake, or both when it begins anew. */
struct ktls_guest {
	struct sockaddr_storage addr;	/* with zeros behind and between */
	struct ktls_conn *open;		/* lock */
	struct ktls_conn *shaking;	/* of the thread that accepts */
	int64_t deadline;		/* of its handshake */
	uint8_t random[DTLS_RANDOM];	/* of its hello */
	struct ktls_guest *next, **link;	/* of those with a handshake */
};

struct ktls_guests {
	pthread_mutex_t lock;	/* of all here, and of each guest's existence */
	unsigned int users;
	void *tree;
};

/* Reads an address as it is compared. */
void ktls_guest_name(const struct sockaddr_storage *from, struct sockaddr_storage *name);
/* The guest of that name with a handshake; NULL: there is none. The lock is taken. */
struct ktls_guest *ktls_guests_find(struct ktls_guests *guests,
				    const struct sockaddr_storage *name);
/* A guest, perhaps one with an open connection, begins a handshake. NULL: no memory. */
struct ktls_guest *ktls_guests_add(struct ktls_guests *guests, const struct sockaddr_storage *name,
				   struct ktls_conn *conn);
/* The guest's handshake has ended: conn is open, or NULL: failed. The lock is taken. */
void ktls_guests_settle(struct ktls_guests *guests, struct ktls_guest *guest,
			struct ktls_conn *conn);
/* The guest's open connection closes. The lock is held. */
void ktls_guests_leave(struct ktls_guests *guests, struct ktls_guest *guest,
		       const struct ktls_conn *conn);

#endif
