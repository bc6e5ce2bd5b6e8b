// SPDX-License-Identifier: MIT
#include "dtls.h"
#include "wire.h"

#define VERSION_MAJOR	254	/* rfc6347 4.1: of DTLS 1.0 and 1.2 alike */

static uint64_t number(const uint8_t *at, size_t len)
{
	uint64_t n = 0;

	while (len--)
		n = n << 8 | *at++;
	return n;
}

bool ktls_dtls_record(const uint8_t *at, size_t len, struct dtls_record *record)
{
	if (len < DTLS_HEADER || at[0] < RECORD_CHANGE_CIPHER_SPEC || at[0] > RECORD_DATA ||
	    at[1] != VERSION_MAJOR)
		return false;
	record->type = at[0];
	record->seq = number(at + 3, 8);
	record->at = at;
	record->len = DTLS_HEADER + (size_t)number(at + 11, 2);
	return record->len <= len;
}

void ktls_dtls_set_seq(uint8_t *record, uint64_t seq)
{
	int i;

	for (i = 10; i > 2; i--, seq >>= 8)
		record[i] = (uint8_t)seq;
}

bool ktls_dtls_message(const uint8_t *at, size_t len, struct dtls_message *message)
{
	if (len < DTLS_MESSAGE_HEADER)
		return false;
	message->type = at[0];
	message->seq = (uint16_t)number(at + 4, 2);
	message->len = DTLS_MESSAGE_HEADER + (size_t)number(at + 9, 3);
	return message->len <= len;
}

/* Is this datagram the beginning of a handshake? */
static bool is_hello(const uint8_t *at, size_t len)
{
	struct dtls_message message;
	struct dtls_record record;

	return ktls_dtls_record(at, len, &record) && record.type == RECORD_HANDSHAKE &&
	       !dtls_epoch(record.seq) &&
	       ktls_dtls_message(at + DTLS_HEADER, record.len - DTLS_HEADER, &message) &&
	       message.type == DTLS_CLIENT_HELLO;
}

const uint8_t *ktls_dtls_random(const uint8_t *at, size_t len)
{
	const uint8_t *message = at + DTLS_HEADER;
	size_t begin = DTLS_HEADER + DTLS_MESSAGE_HEADER + 2;	/* behind the version */

	/* Of a fragment the first. */
	if (!is_hello(at, len) || len < begin + DTLS_RANDOM || number(message + 6, 3))
		return NULL;
	return at + begin;
}
