/* SPDX-License-Identifier: MIT */
/* What OpenSSL wants sent, in order, until the kernel has room for it. */
#ifndef KTLS_QUEUE_H
#define KTLS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secrets.h"

enum ktls_item_kind {
	ITEM_RECORD,	/* under the present key */
	ITEM_BEFORE,	/* DTLS: under the key before, of a flight that is sent again */
	ITEM_KEY,	/* what follows is under this key */
};

struct ktls_item {
	struct ktls_item *next;
	enum ktls_item_kind kind;
	uint8_t type;
	size_t len;
	uint8_t data[];	/* a record's payload, or a union ktls_key */
};

struct ktls_queue {
	struct ktls_item *first, *last;
};

/* False: no memory. */
bool ktls_queue_add(struct ktls_queue *queue, enum ktls_item_kind kind, uint8_t type,
		    const void *data, size_t len);
bool ktls_queue_has(const struct ktls_queue *queue, enum ktls_item_kind kind);
void ktls_queue_drop(struct ktls_queue *queue);	/* the first, wiped */
void ktls_queue_empty(struct ktls_queue *queue);

#endif
