/* SPDX-License-Identifier: MIT */
/* What DTLS 1.2 (rfc6347) puts on the wire. */
#ifndef KTLS_DTLS_H
#define KTLS_DTLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_HEADER		13	/* type, version, epoch and sequence number, length */
#define DTLS_MESSAGE_HEADER	12	/* type, length, sequence number, fragment */
#define DTLS_SEQ_BITS		48	/* the epoch is above */

#define DTLS_RANDOM		32
#define DTLS_HELLO_REQUEST	0
#define DTLS_CLIENT_HELLO	1
#define DTLS_FINISHED		20

struct dtls_record {
	uint8_t type;
	uint64_t seq;		/* with the epoch */
	const uint8_t *at;	/* the header */
	size_t len;		/* header and body */
};

/* A handshake message, or a fragment of one. */
struct dtls_message {
	uint8_t type;
	uint16_t seq;
	size_t len;		/* of this fragment, header and body */
};

static inline uint16_t dtls_epoch(uint64_t seq)
{
	return (uint16_t)(seq >> DTLS_SEQ_BITS);
}

/* The record at the beginning; false: there is none as a whole. */
bool ktls_dtls_record(const uint8_t *at, size_t len, struct dtls_record *record);
void ktls_dtls_set_seq(uint8_t *record, uint64_t seq);
/* The message at the beginning of a plain handshake record's body. */
bool ktls_dtls_message(const uint8_t *at, size_t len, struct dtls_message *message);
/*
 * The client's random, the same in each hello of a handshake; NULL: the datagram is not the beginning
 * of one.
 */
const uint8_t *ktls_dtls_random(const uint8_t *at, size_t len);

#endif
