/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The replay window of an epoch (rfc6347 4.1.2.6, after rfc4303 3.4.3). Pure.
 *
 * A record is checked before its tag is, and committed after the tag was found right: nobody
 * without the key moves the window.
 */
#ifndef KTLS_WINDOW_H
#define KTLS_WINDOW_H

#include "bytes.h"

#define KTLS_WINDOW_MIN		64
#define KTLS_WINDOW_MAX		4096
#define KTLS_WINDOW_WORDS	(KTLS_WINDOW_MAX / 64)

/**
 * struct ktls_window - which of the last sequence numbers were seen
 * @next: one more than the highest seen; 0: none was
 * @seen: a bit for each of the KTLS_WINDOW_MAX numbers before @next, number n at n modulo
 *	KTLS_WINDOW_MAX
 */
struct ktls_window {
	u64 next;
	u64 seen[KTLS_WINDOW_WORDS];
};

enum ktls_verdict {
	KTLS_FRESH,
	KTLS_REPLAYED,		/* was seen */
	KTLS_TOO_OLD,		/* left of the window: nobody knows */
};

void ktls_window_init(struct ktls_window *window, u64 next);
enum ktls_verdict ktls_window_check(const struct ktls_window *window, u32 size, u64 seq);
void ktls_window_commit(struct ktls_window *window, u64 seq);

#endif /* KTLS_WINDOW_H */
