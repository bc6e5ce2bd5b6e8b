// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tftp.h"

#define BLOCK_USUAL	512
#define BLOCK_MIN	8
#define WINDOW_MAX	64	/* of the 65535 that rfc7440 allows */

enum opcode { RRQ = 1, WRQ, DATA, ACK, ERROR, OACK };

static unsigned int get16(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* ---- requests ---- */

/* The next string of the request, which ends with a zero within it; NULL: none. */
static const char *next_string(const struct tftp *t, size_t *at)
{
	const char *text = t->request + *at;
	const char *end = memchr(text, 0, t->request_len - *at);

	if (!end)
		return NULL;
	*at = (size_t)(end + 1 - t->request);
	return text;
}

/* 0: no number, or one that is not allowed. */
static unsigned int read_number(const char *text, unsigned int min, unsigned int max)
{
	unsigned long value;

	if (!*text || strlen(text) > 9 || text[strspn(text, "0123456789")])
		return 0;
	value = strtoul(text, NULL, 10);
	if (value < min)
		return 0;
	return value > max ? max : (unsigned int)value;
}

/*
 * rfc2347: an option that is not known, or not understood, is left out of the answer. So is
 * timeout: what the path loses goes again sooner than in whole seconds.
 */
static void take_option(struct tftp *t, const char *name, const char *value)
{
	unsigned int number;

	if (!strcasecmp(name, "tsize")) {
		t->asks_size = true;
	} else if (!strcasecmp(name, "blksize")) {
		number = read_number(value, BLOCK_MIN, TFTP_BLOCK_MAX);
		if (number)
			t->block = number;
		t->asks_block = number;
	} else if (!strcasecmp(name, "windowsize")) {
		number = read_number(value, 1, WINDOW_MAX);
		if (number)
			t->window = number;
		t->asks_window = number;
	}
}

static enum tftp_event refuse(struct tftp *t, enum tftp_error error, const char *reason)
{
	t->error = error;
	t->reason = reason;
	return TFTP_REFUSED;
}

/* A client that has not heard our answer asks again: the time will bring it that. */
static bool is_repeat(const struct tftp *t, const uint8_t *packet, size_t len)
{
	return t->active && !t->acked && len == t->request_len && !memcmp(packet, t->request, len);
}

static bool is_request(const uint8_t *packet, size_t len)
{
	return len >= TFTP_HEAD && (get16(packet) == RRQ || get16(packet) == WRQ);
}

bool tftp_breaks_off(const struct tftp *t, const uint8_t *packet, size_t len)
{
	return t->active && is_request(packet, len) && !is_repeat(t, packet, len);
}

static enum tftp_event take_request(struct tftp *t, const uint8_t *packet, size_t len)
{
	const char *path, *mode, *name, *value;
	size_t at = 2;

	if (is_repeat(t, packet, len))
		return TFTP_NOTHING;
	*t = (struct tftp){ .path = "-", .block = BLOCK_USUAL, .window = 1,
			    .method = get16(packet) == RRQ ? "RRQ" : "WRQ" };
	if (len > sizeof(t->request))
		return refuse(t, TFTP_ILLEGAL, "the request is too long");
	memcpy(t->request, packet, len);
	t->request_len = len;
	path = next_string(t, &at);
	mode = path ? next_string(t, &at) : NULL;
	if (!mode)
		return refuse(t, TFTP_ILLEGAL, "the request has no name or mode");
	t->path = path;
	if (get16(packet) == WRQ)
		return refuse(t, TFTP_ACCESS, "files are read only");
	if (strcasecmp(mode, "octet"))
		return refuse(t, TFTP_ILLEGAL, "octet is the only mode");
	while ((name = next_string(t, &at)) && (value = next_string(t, &at)))
		take_option(t, name, value);
	return TFTP_ASKS;
}

/* ---- transfers ---- */

/* The last block is the one that is not full, though it be empty. */
static uint64_t blocks(const struct tftp *t)
{
	return t->size / t->block + 1;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool tftp_accept(struct tftp *t, uint64_t size, size_t room)
{
	if (room < TFTP_HEAD + BLOCK_MIN || (!t->asks_block && room < TFTP_HEAD + t->block))
		return false;
	if (t->block > room - TFTP_HEAD)
		t->block = (unsigned int)(room - TFTP_HEAD);
	t->size = size;
	/* curl takes a size of 0 in the answer for a mistake. */
	if (!size)
		t->asks_size = false;
	t->active = true;
	t->offered = t->asks_block || t->asks_size || t->asks_window;
	t->acked = t->sent = t->top = 0;
	return true;
}

/* ACK 0 answers the offer. Numbers go round: it is one of those that are under way. */
static enum tftp_event take_ack(struct tftp *t, unsigned int wire)
{
	uint64_t block = t->acked + (uint16_t)(wire - (unsigned int)t->acked);

	if (t->offered) {
		if (wire)
			return TFTP_NOTHING;
		t->offered = false;
		t->sent = 0;
		return TFTP_GOES_ON;
	}
	if (block > t->top)
		return TFTP_NOTHING;
	if (block == t->acked) {
		/* rfc7440 4: a gap at the window's beginning. With one block, an old ACK. */
		if (t->window == 1 || t->went_back || t->sent == t->acked)
			return TFTP_NOTHING;
		t->went_back = true;
	} else {
		t->went_back = false;
	}
	t->acked = block;
	t->sent = block;
	if (block < blocks(t))
		return TFTP_GOES_ON;
	t->active = false;
	return TFTP_DONE;
}

enum tftp_event tftp_take(struct tftp *t, const uint8_t *packet, size_t len)
{
	if (is_request(packet, len))
		return take_request(t, packet, len);
	switch (len < TFTP_HEAD ? 0 : get16(packet)) {
	case ACK:
		return t->active ? take_ack(t, get16(packet + 2)) : TFTP_NOTHING;
	case ERROR:
		if (!t->active)
			return TFTP_NOTHING;
		t->active = false;
		return TFTP_ABORTED;
	default:
		return TFTP_NOTHING;
	}
}

static size_t put_option(uint8_t *packet, size_t at, const char *name, uint64_t value)
{
	int n = snprintf((char *)packet + at, TFTP_ANSWER_MAX - at, "%s%c%llu", name, 0,
			 (unsigned long long)value);

	return at + (size_t)n + 1;
}

static size_t put_offer(const struct tftp *t, uint8_t *packet)
{
	size_t at = 2;

	put16(packet, OACK);
	if (t->asks_block)
		at = put_option(packet, at, "blksize", t->block);
	if (t->asks_size)
		at = put_option(packet, at, "tsize", t->size);
	if (t->asks_window)
		at = put_option(packet, at, "windowsize", t->window);
	return at;
}

size_t tftp_next(struct tftp *t, uint8_t *packet, struct tftp_piece *piece)
{
	*piece = (struct tftp_piece){ 0 };
	if (!t->active)
		return 0;
	if (t->offered) {
		if (t->sent)
			return 0;
		t->sent = 1;
		return put_offer(t, packet);
	}
	if (t->sent >= earlier(t->acked + t->window, blocks(t)))
		return 0;
	piece->offset = t->sent * t->block;
	piece->len = (size_t)earlier(t->size - piece->offset, t->block);
	t->sent++;
	if (t->top < t->sent)
		t->top = t->sent;
	put16(packet, DATA);
	put16(packet + 2, (unsigned int)(t->sent & 0xffff));
	return TFTP_HEAD;
}

void tftp_rewind(struct tftp *t)
{
	t->sent = t->acked;
	t->went_back = false;
}

uint64_t tftp_arrived(const struct tftp *t)
{
	return earlier(t->acked * t->block, t->size);
}

size_t tftp_refuse(struct tftp *t, uint8_t *packet, enum tftp_error error, const char *reason)
{
	int n = snprintf((char *)packet + TFTP_HEAD, TFTP_ANSWER_MAX - TFTP_HEAD, "%s", reason);

	t->active = false;
	put16(packet, ERROR);
	put16(packet + 2, error);
	return TFTP_HEAD + (size_t)n + 1;
}
