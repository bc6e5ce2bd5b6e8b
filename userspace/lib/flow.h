/* SPDX-License-Identifier: MIT */
/* The records of one direction, counted from the bytes that pass. */
#ifndef KTLS_FLOW_H
#define KTLS_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_HEADER	5	/* type, version, length */
#define FLOW_NONCE	8	/* the explicit nonce of GCM and CCM */

struct ktls_flow {
	uint8_t header[FLOW_HEADER];
	uint8_t nonce[FLOW_NONCE];	/* the first bytes of the record's body */
	size_t header_len;
	size_t nonce_len;
	size_t left;			/* body bytes still to come */
	uint64_t seq;			/* of the next record under the present keys */
	bool sealed;			/* a ChangeCipherSpec has passed */
	bool has_nonce;			/* last_nonce is of a sealed record */
	uint8_t last_nonce[FLOW_NONCE];
};

/* Takes the next bytes on the wire, cut anywhere. */
void ktls_flow_feed(struct ktls_flow *flow, const uint8_t *data, size_t len);

/*
 * Takes a record of DTLS that we sent, with its epoch and sequence number: those of the next
 * follow. Of epoch 0 nothing is noted.
 */
void ktls_flow_record(struct ktls_flow *flow, uint64_t seq, const uint8_t *body, size_t len);

/* rfc8446 5.3: what passes from here on is sealed with other keys, and counted from 0. */
void ktls_flow_restart(struct ktls_flow *flow);

/* True between two records. */
bool ktls_flow_is_whole(const struct ktls_flow *flow);

/* Writes the sequence number of the next record, big-endian. */
void ktls_flow_rec_seq(const struct ktls_flow *flow, uint8_t out[8]);

/*
 * Writes an explicit nonce for the next record: one more than the last that was seen under
 * the present keys. Whoever sealed that record counts up from an unknown start, so all
 * values behind it are used and those ahead are not.
 */
void ktls_flow_next_nonce(const struct ktls_flow *flow, uint8_t out[FLOW_NONCE]);

#endif
