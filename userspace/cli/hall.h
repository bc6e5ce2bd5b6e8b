/* SPDX-License-Identifier: MIT */
/* The DTLS clients of one UDP port, and what each is given: one thread, epoll. */
#ifndef KTLS_CLI_HALL_H
#define KTLS_CLI_HALL_H

#include <stdint.h>

#include "cli.h"
#include "door.h"
#include "net.h"

#define HALL_DATAGRAM_MAX	65536

struct hall;

/* A client: what a kind has of its own stands behind it. */
struct guest {
	struct source source;
	struct guest *next, **prev;
	struct hall *hall;
	struct ktls_conn *conn;
	int64_t heard_ms;
	bool gone;
	char name[NET_NAME];
};

/* What the clients come for; each but leave may call guest_end. */
struct hall_kind {
	size_t guest_size;	/* of the struct that begins with struct guest; zeroed */
	void (*join)(struct guest *guest);
	void (*take)(struct guest *guest, const uint8_t *data, size_t len);
	/* When hall->due_ms has come: says when next. */
	int64_t (*run)(struct hall *hall, int64_t now_ms);
	void (*leave)(struct guest *guest);
};

struct hall {
	const struct hall_kind *kind;
	void *own;		/* the kind's */
	unsigned int guests_max;
	int64_t idle_ms;	/* that a client may be silent; 0: for ever */
	int64_t due_ms;		/* of clock_ms; INT64_MAX: never */
	bool stopping;		/* hall_run is to return */

	struct loop loop;
	struct door door;
	struct guest *guests;
	unsigned int guests_count;
	bool told_full, some_gone;
	uint8_t datagram[HALL_DATAGRAM_MAX];
};

/* It leaves when the present event is done; why, unless NULL, is told. */
void guest_end(struct guest *guest, const char *why);
/* Until a signal or ->stopping; the fields before ->loop are the caller's to fill. */
enum status hall_run(struct hall *hall, SSL_CTX *ctx, int udp, unsigned int flags);

#endif
