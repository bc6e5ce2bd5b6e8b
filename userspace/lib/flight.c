// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "dtls.h"
#include "flight.h"
#include "wire.h"

#define FLIGHT_MAX	32768	/* a ticket may hold the client's certificates */
/* A peer whose timer doubles gives up long before. */
#define REPEATS_MAX	32

static void note_messages(struct ktls_flight *flight, const struct dtls_record *record)
{
	const uint8_t *at = record->at + DTLS_HEADER;
	size_t left = record->len - DTLS_HEADER;
	struct dtls_message message;

	while (ktls_dtls_message(at, left, &message)) {
		flight->message_seq = (uint16_t)(message.seq + 1);
		at += message.len;
		left -= message.len;
	}
}

static void keep(struct ktls_flight *flight, const struct dtls_record *record)
{
	uint8_t *plain = NULL;

	if (flight->len + record->len <= FLIGHT_MAX)
		plain = realloc(flight->plain, flight->len + record->len);
	flight->lost = flight->lost || !plain;
	if (!plain)
		return;
	memcpy(plain + flight->len, record->at, record->len);
	flight->plain = plain;
	flight->len += record->len;
}

static void begin(struct ktls_flight *flight)
{
	flight->len = 0;
	flight->sealed = false;
	flight->lost = false;
	flight->answered = false;
}

void ktls_flight_sent(struct ktls_flight *flight, const struct dtls_record *record)
{
	if (flight->answered)
		begin(flight);
	if (dtls_epoch(record->seq)) {
		flight->sealed = true;
		return;
	}
	flight->seq = record->seq + 1;
	if (record->type == RECORD_HANDSHAKE)
		note_messages(flight, record);
	keep(flight, record);
}

void ktls_flight_answered(struct ktls_flight *flight)
{
	flight->answered = true;
}

bool ktls_flight_may_repeat(struct ktls_flight *flight)
{
	return flight->sealed && !flight->answered && !flight->lost &&
	       flight->repeats++ < REPEATS_MAX;
}

void ktls_flight_renumber(struct ktls_flight *flight)
{
	struct dtls_record record;
	size_t at;

	for (at = 0; ktls_dtls_record(flight->plain + at, flight->len - at, &record);
	     at += record.len)
		ktls_dtls_set_seq(flight->plain + at, flight->seq++);
}

void ktls_flight_free(struct ktls_flight *flight)
{
	free(flight->plain);
	*flight = (struct ktls_flight){ 0 };
}
