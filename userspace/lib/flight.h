/* SPDX-License-Identifier: MIT */
/*
 * The flight that we sent last. Who sends the last of the handshake must be able to repeat it
 * as long as the peer repeats its own (rfc6347 4.2.4), and by then the kernel has the keys.
 */
#ifndef KTLS_FLIGHT_H
#define KTLS_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dtls_record;

struct ktls_flight {
	uint8_t *plain;		/* its records of epoch 0 */
	size_t len;
	uint64_t seq;		/* of the next record of epoch 0 */
	uint16_t message_seq;	/* of the next message */
	bool sealed;		/* it ends with a record under the new keys: Finished */
	bool answered;		/* the peer has said something since */
	bool lost;		/* there was no memory to keep it */
	unsigned int repeats;
};

/* Notes a record of ours. */
void ktls_flight_sent(struct ktls_flight *flight, const struct dtls_record *record);
/* Notes that a record came: what is sent next begins another flight. */
void ktls_flight_answered(struct ktls_flight *flight);
/* Is it the last of a handshake that has ended, and may it be repeated once more? */
bool ktls_flight_may_repeat(struct ktls_flight *flight);
/* Gives the records numbers of their own, for sending them again. */
void ktls_flight_renumber(struct ktls_flight *flight);
void ktls_flight_free(struct ktls_flight *flight);

#endif
