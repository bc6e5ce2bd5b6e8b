// SPDX-License-Identifier: GPL-2.0-only
#include "window.h"

static void set_seen(struct ktls_window *window, u64 seq, bool seen)
{
	u64 *word = &window->seen[seq % KTLS_WINDOW_MAX / 64];
	u64 bit = 1ULL << (seq % 64);

	if (seen)
		*word |= bit;
	else
		*word &= ~bit;
}

/**
 * ktls_window_init() - begin an epoch
 * @window: window
 * @next: the first number that is expected: those before it were somebody else's
 *
 * Context: any.
 */
void ktls_window_init(struct ktls_window *window, u64 next)
{
	window->next = next;
	memset(window->seen, 0xff, sizeof(window->seen));
}

/**
 * ktls_window_check() - may a record be new?
 * @window: window
 * @size: its width, KTLS_WINDOW_MIN to KTLS_WINDOW_MAX
 * @seq: the record's sequence number, without the epoch
 *
 * Context: any; the caller keeps commits out.
 * Return: KTLS_FRESH: decrypt it; else drop it.
 */
enum ktls_verdict ktls_window_check(const struct ktls_window *window, u32 size, u64 seq)
{
	if (seq >= window->next)
		return KTLS_FRESH;
	if (window->next - seq > size)
		return KTLS_TOO_OLD;
	return window->seen[seq % KTLS_WINDOW_MAX / 64] >> (seq % 64) & 1 ? KTLS_REPLAYED :
									     KTLS_FRESH;
}

/**
 * ktls_window_commit() - a fresh record was authenticated
 * @window: window
 * @seq: the record's sequence number, however far ahead
 *
 * Context: any; the caller keeps others out.
 */
void ktls_window_commit(struct ktls_window *window, u64 seq)
{
	if (seq >= window->next) {
		if (seq - window->next >= KTLS_WINDOW_MAX)
			memset(window->seen, 0, sizeof(window->seen));
		else
			for (; window->next < seq; window->next++)
				set_seen(window, window->next, false);
		window->next = seq + 1;
	}
	set_seen(window, seq, true);
}
