/* SPDX-License-Identifier: MIT */
/* Handshake messages, followed from record to record. */
#ifndef KTLS_MESSAGES_H
#define KTLS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGES_HEADER	4	/* type and 24-bit length */

struct ktls_messages {
	uint8_t header[MESSAGES_HEADER];
	size_t have;		/* of it */
	size_t left;		/* of the message behind it */
};

/* Does the header of a message of that type end in the record? */
bool ktls_messages_find(struct ktls_messages *messages, const uint8_t *data, size_t len,
			uint8_t type);

#endif
