// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "queue.h"

bool ktls_queue_add(struct ktls_queue *queue, enum ktls_item_kind kind, uint8_t type,
		    const void *data, size_t len)
{
	struct ktls_item *item = malloc(sizeof(*item) + len);

	if (!item)
		return false;
	*item = (struct ktls_item){ .kind = kind, .type = type, .len = len };
	memcpy(item->data, data, len);
	if (queue->first)
		queue->last->next = item;
	else
		queue->first = item;
	queue->last = item;
	return true;
}

bool ktls_queue_has(const struct ktls_queue *queue, enum ktls_item_kind kind)
{
	const struct ktls_item *item;

	for (item = queue->first; item; item = item->next)
		if (item->kind == kind)
			return true;
	return false;
}

void ktls_queue_drop(struct ktls_queue *queue)
{
	struct ktls_item *item = queue->first;

	queue->first = item->next;
	OPENSSL_cleanse(item->data, item->len);
	free(item);
}

void ktls_queue_empty(struct ktls_queue *queue)
{
	while (queue->first)
		ktls_queue_drop(queue);
}
