// SPDX-License-Identifier: MIT
/* The serving side of TFTP: requests, a path that loses and reorders, packets of any bytes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/tftp.h"
#include "tap.h"

#define FILE_MAX	600000
#define PACKET_MAX	(TFTP_ANSWER_MAX + TFTP_BLOCK_MAX)
#define FLIGHT		64
#define STEPS_MAX	1000000

#define RRQ	"\0\1"
#define WRQ	"\0\2"

static uint8_t file[FILE_MAX], got[FILE_MAX];

static const struct {
	const char *name, *packet;
	size_t len;
	enum tftp_event event;
	enum tftp_error error;
} requests[] = {
#define CASE(name, text, ...)	{ name, text, sizeof(text) - 1, __VA_ARGS__ }
	CASE("plain", RRQ "a\0octet\0", TFTP_ASKS, 0),
	CASE("mode in capitals", RRQ "a\0OCTET\0", TFTP_ASKS, 0),
	CASE("an option nobody knows", RRQ "a\0octet\0multicast\0\0", TFTP_ASKS, 0),
	CASE("an option without value", RRQ "a\0octet\0blksize\0", TFTP_ASKS, 0),
	CASE("an option that is cut", RRQ "a\0octet\0blksize\0" "14", TFTP_ASKS, 0),
	CASE("no mode", RRQ "a\0", TFTP_REFUSED, TFTP_ILLEGAL),
	CASE("a mode without end", RRQ "a\0octet", TFTP_REFUSED, TFTP_ILLEGAL),
	CASE("a name without end", RRQ "aaaa", TFTP_REFUSED, TFTP_ILLEGAL),
	CASE("netascii", RRQ "a\0netascii\0", TFTP_REFUSED, TFTP_ILLEGAL),
	CASE("a write", WRQ "a\0octet\0", TFTP_REFUSED, TFTP_ACCESS),
	CASE("an ACK", "\0\4\0\0", TFTP_NOTHING, 0),
	CASE("an ERROR", "\0\5\0\0x\0", TFTP_NOTHING, 0),
	CASE("another opcode", "\0\11\0\0", TFTP_NOTHING, 0),
	CASE("too short", "\0\1", TFTP_NOTHING, 0),
};

/* From the heap, with nothing behind it, so that a sanitizer sees an overrun. */
static enum tftp_event take(struct tftp *t, const void *packet, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tftp_event event;

	memcpy(copy, packet, len);
	event = tftp_take(t, copy, len);
	free(copy);
	return event;
}

static void check_requests(void)
{
	uint8_t answer[TFTP_ANSWER_MAX];
	char large[TFTP_REQUEST_MAX + 1];
	struct tftp t;
	size_t i;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		t = (struct tftp){ 0 };
		ok(take(&t, requests[i].packet, requests[i].len) == requests[i].event &&
		   (requests[i].event != TFTP_REFUSED || t.error == requests[i].error) &&
		   (requests[i].event != TFTP_ASKS || !strcmp(t.path, "a")), "%s", requests[i].name);
	}
	t = (struct tftp){ 0 };
	memset(large, 'x', sizeof(large));
	memcpy(large, RRQ, 2);
	ok(take(&t, large, sizeof(large)) == TFTP_REFUSED, "a request that is too long");
	ok(tftp_refuse(&t, answer, TFTP_ILLEGAL, "why") == 8 && !memcmp(answer, "\0\5\0\4why", 8),
	   "ERROR has code and reason");
}

/* The answer to a request for a file of that size. */
static bool offers(const char *request, size_t len, uint64_t size, size_t room,
		   const char *answer, size_t answer_len)
{
	uint8_t packet[PACKET_MAX];
	struct tftp_piece piece;
	struct tftp t = { 0 };

	return take(&t, request, len) == TFTP_ASKS && tftp_accept(&t, size, room) &&
	       tftp_next(&t, packet, &piece) == answer_len && !memcmp(packet, answer, answer_len);
}

#define OFFERS(request, size, room, answer)					\
	ok(offers(RRQ "a\0octet\0" request, sizeof(request) + 9, size, room,	\
		  answer, sizeof(answer) - 1), "%s of %u: %zu bytes of answer",	\
	   #request, size, sizeof(answer) - 1)

static void check_offers(void)
{
	static const char request[] = RRQ "a\0octet\0";
	struct tftp t = { 0 };

	OFFERS("", 1000, 1400, "\0\3\0\1");
	OFFERS("blksize\0" "1200\0", 1000, 1400, "\0\6blksize\0" "1200\0");
	OFFERS("blksize\0" "9000\0", 1000, 1400, "\0\6blksize\0" "1396\0");
	OFFERS("BLKSIZE\0" "7\0", 1000, 1400, "\0\3\0\1");
	OFFERS("blksize\0" "12x\0", 1000, 1400, "\0\3\0\1");
	OFFERS("tsize\0" "0\0timeout\0" "6\0", 1000, 1400, "\0\6tsize\0" "1000\0");
	OFFERS("tsize\0" "0\0", 0, 1400, "\0\3\0\1");
	OFFERS("windowsize\0" "4\0", 1000, 1400, "\0\6windowsize\0" "4\0");
	OFFERS("windowsize\0" "65535\0", 1000, 1400, "\0\6windowsize\0" "64\0");
	OFFERS("windowsize\0" "0\0", 1000, 1400, "\0\3\0\1");
	ok(take(&t, request, sizeof(request) - 1) == TFTP_ASKS && !tftp_accept(&t, 1000, 500),
	   "blocks of 512 do not become smaller unasked");
	ok(tftp_accept(&t, 1000, 516) && !tftp_breaks_off(&t, (uint8_t *)request, 10) &&
	   take(&t, request, sizeof(request) - 1) == TFTP_NOTHING, "a repeated request is no new one");
	ok(tftp_breaks_off(&t, (const uint8_t *)WRQ "b\0octet\0", 10), "another request is");
}

/* A client and the path to it, both ways. */
struct fetch {
	struct tftp server;
	unsigned int block, window, loss;	/* percent */
	uint64_t next, wanted;	/* the client's: the block it waits for; 0: the offer */
	uint64_t acked;		/* by it last */
	size_t have;
	bool options, complete, wrong;
	uint8_t flight[FLIGHT][2048];
	size_t len[FLIGHT];
	unsigned int in_flight;
};

static void put_on_path(struct fetch *f, const uint8_t *packet, size_t len)
{
	if ((unsigned int)(rand() % 100) < f->loss || f->in_flight == FLIGHT)
		return;
	memcpy(f->flight[f->in_flight], packet, len);
	f->len[f->in_flight++] = len;
}

static void pump(struct fetch *f)
{
	uint8_t packet[PACKET_MAX];
	struct tftp_piece piece;
	size_t head;

	while ((head = tftp_next(&f->server, packet, &piece))) {
		memcpy(packet + head, file + piece.offset, piece.len);
		put_on_path(f, packet, head + piece.len);
	}
}

static void acknowledge(struct fetch *f, uint64_t block)
{
	const uint8_t ack[] = { 0, 4, (uint8_t)(block >> 8), (uint8_t)block };

	f->acked = block;
	if ((unsigned int)(rand() % 100) < f->loss)
		return;
	if (tftp_take(&f->server, ack, sizeof(ack)) == TFTP_GOES_ON)
		pump(f);
}

/* As rfc7440 has it: an ACK at a window's end and at a gap. */
static void client_takes(struct fetch *f, const uint8_t *packet, size_t len)
{
	unsigned int number = (unsigned int)packet[2] << 8 | packet[3];

	if (packet[1] == 6) {
		acknowledge(f, 0);
		return;
	}
	if (number != (f->next & 0xffff)) {
		acknowledge(f, f->next - 1);
		return;
	}
	len -= TFTP_HEAD;
	if (f->have + len > sizeof(got) || len > f->block) {
		f->wrong = true;
		return;
	}
	memcpy(got + f->have, packet + TFTP_HEAD, len);
	f->have += len;
	f->complete = len < f->block;
	if (f->complete || f->next - f->acked >= f->window)
		acknowledge(f, f->next);
	f->next++;
}

/* The first of those on the path, or (reordered) any. */
static void deliver(struct fetch *f)
{
	unsigned int i = f->loss ? (unsigned int)rand() % f->in_flight : 0;
	uint8_t packet[2048];
	size_t len = f->len[i];

	memcpy(packet, f->flight[i], len);
	f->in_flight--;
	memmove(f->flight[i], f->flight[i + 1], (f->in_flight - i) * sizeof(f->flight[0]));
	memmove(&f->len[i], &f->len[i + 1], (f->in_flight - i) * sizeof(f->len[0]));
	client_takes(f, packet, len);
}

static bool fetched(struct fetch *f, uint64_t size)
{
	int steps;

	f->next = 1;
	if (!tftp_accept(&f->server, size, 1400))
		return false;
	pump(f);
	for (steps = 0; steps < STEPS_MAX && f->server.active && !f->wrong; steps++) {
		if (f->in_flight) {
			deliver(f);
			continue;
		}
		tftp_rewind(&f->server);
		pump(f);
	}
	return f->complete && !f->wrong && !f->server.active && f->have == size &&
	       !memcmp(got, file, size) && tftp_arrived(&f->server) == size;
}

static void check_fetch(unsigned int block, unsigned int window, size_t size, unsigned int loss)
{
	static struct fetch f;
	uint8_t request[128] = RRQ "a\0octet";
	int len = 10;

	f = (struct fetch){ .block = block, .window = window, .loss = loss };
	if (block != 512 || window > 1)
		len += snprintf((char *)request + len, sizeof(request) - (size_t)len,
				"blksize%c%u%cwindowsize%c%u", 0, block, 0, 0, window) + 1;
	ok(take(&f.server, request, (size_t)len) == TFTP_ASKS && fetched(&f, size),
	   "%zu bytes in blocks of %u, windows of %u, %u %% lost", size, block, window, loss);
}

static void check_fetches(void)
{
	static const size_t sizes[] = { 0, 1, 511, 512, 513, 5000, 200000 };
	static const unsigned int losses[] = { 0, 3, 20 };
	size_t i, l;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (l = 0; l < sizeof(losses) / sizeof(losses[0]); l++) {
			check_fetch(512, 1, sizes[i], losses[l]);
			check_fetch(1396, 1, sizes[i], losses[l]);
			check_fetch(1000, 8, sizes[i], losses[l]);
		}
	/* The numbers go round at 65536. */
	check_fetch(8, 1, 8 * 70000, 0);
	check_fetch(8, 16, 8 * 70000, 1);
}

/* One step with a packet of any bytes; false: it went outside. */
static bool survives(struct tftp *t, uint64_t size)
{
	uint8_t packet[PACKET_MAX], any[64];
	size_t i, head, count = 0, len = (size_t)rand() % sizeof(any);
	struct tftp_piece piece;

	for (i = 0; i < len; i++)
		any[i] = (uint8_t)(rand() % 4 ? rand() % 6 : rand());
	if (len)
		any[0] = 0;
	if (take(t, any, len) == TFTP_ASKS)
		tftp_accept(t, size, 12 + (size_t)rand() % 2000);
	if (!(rand() % 8))
		tftp_rewind(t);
	while ((head = tftp_next(t, packet, &piece))) {
		if (head > TFTP_ANSWER_MAX || piece.len > t->block ||
		    piece.offset + piece.len > size || ++count > 64)
			return false;
	}
	return tftp_arrived(t) <= size;
}

static void check_any_bytes(void)
{
	static const char request[] = RRQ "a\0octet\0blksize\0" "16\0windowsize\0" "4\0";
	struct tftp t = { 0 };
	bool good = true;
	int i;

	for (i = 0; i < 200000 && good; i++) {
		if (!t.active && !(rand() % 4) &&
		    take(&t, request, sizeof(request) - 1) == TFTP_ASKS)
			tftp_accept(&t, 1000, 1400);
		good = survives(&t, 1000);
	}
	ok(good, "packets of any bytes: %d", i);
}

int main(void)
{
	size_t i;

	srand(7440);
	for (i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)rand();
	check_requests();
	check_offers();
	check_fetches();
	check_any_bytes();
	return tap_done();
}
