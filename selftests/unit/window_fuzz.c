// SPDX-License-Identifier: GPL-2.0-only
/*
 * The replay window against a set of all numbers that came, whatever the order. The first bytes
 * choose where the numbers begin and how wide the window is; then three bytes are a number, near
 * the highest that came or far ahead of it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define NUMBERS	(1 << 17)	/* that the set can hold, from the first on */

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ktls_window window;
	struct input in = { data, size };
	/* Near zero, anywhere, or near the end of what DTLS has (rfc6347 4.1). */
	uint64_t start = (uint64_t)take(&in, 1) << 40 | take(&in, 1);
	uint32_t width = KTLS_WINDOW_MIN + take(&in, 2) % (KTLS_WINDOW_MAX - KTLS_WINDOW_MIN + 1);
	uint32_t next = 0, op, at;
	enum ktls_verdict verdict;
	bool fresh;

	memset(seen, 0, sizeof(seen));
	ktls_window_init(&window, start);
	while (in.size >= 3) {
		op = take(&in, 1);
		at = take(&in, 2);
		if (op & 1)
			at = next + at % (op & 2 ? 9000 : 20);
		else
			at = at % (op & 2 ? 9000 : 20) < next ? next - at % (op & 2 ? 9000 : 20) : 0;
		if (at >= NUMBERS)
			break;
		/* What came before the key is as good as seen. */
		fresh = at >= next || (next - at <= width && !seen[at]);
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
