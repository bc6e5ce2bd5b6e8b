// SPDX-License-Identifier: GPL-2.0-only
/*
 * The replay window against a set of all numbers that came, whatever the order. The first bytes
 * choose where the numbers begin and how wide the window is; then three bytes are a number, near
 * the highest that came, far ahead of it or far behind, as far as before the beginning.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define NUMBERS	(1 << 17)	/* that the set can hold, from the first on */
#define END	(1ULL << 48)	/* DTLS has no number from there on (rfc6347 4.1) */

static uint8_t seen[NUMBERS];

struct input {
	const uint8_t *data;
	size_t size;
};

static uint32_t take(struct input *in, size_t bytes)
{
	uint32_t value = 0;

	for (; bytes && in->size; bytes--, in->size--)
		value = value << 8 | *in->data++;
	return value;
}

/* Near zero, anywhere, or so near to the end that it can be reached. */
static uint64_t first_number(uint32_t how, uint32_t small)
{
	switch (how % 3) {
	case 0:
		return small;
	case 1:
		return (uint64_t)how << 40 | small;
	default:
		return END - 1 - (small << 8 | how);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ktls_window window;
	struct input in = { data, size };
	uint32_t how = take(&in, 1);
	uint64_t start = first_number(how, take(&in, 1));
	uint32_t width = KTLS_WINDOW_MIN + take(&in, 2) % (KTLS_WINDOW_MAX - KTLS_WINDOW_MIN + 1);
	int64_t next = 0, at;	/* from @start on; less than 0 is before it */
	uint32_t op, distance;
	enum ktls_verdict verdict;
	bool fresh;

	memset(seen, 0, sizeof(seen));
	ktls_window_init(&window, start);
	while (in.size >= 3) {
		op = take(&in, 1);
		distance = take(&in, 2) % (op & 2 ? 9000 : 20);
		at = op & 1 ? next + distance : next - distance;
		if (at >= NUMBERS || (at < 0 && start < (uint64_t)-at) || start + at >= END)
			continue;
		/* What came before the key is as good as seen. */
		fresh = at >= next || (at >= 0 && next - at <= width && !seen[at]);
		verdict = ktls_window_check(&window, width, start + at);
		if (fresh != (verdict == KTLS_FRESH))
			abort();
		if (!fresh && (next - at > width) != (verdict == KTLS_TOO_OLD))
			abort();
		if (!fresh || op & 4)
			continue;
		ktls_window_commit(&window, start + at);
		seen[at] = 1;
		if (at >= next)
			next = at + 1;
	}
	return 0;
}
