/* SPDX-License-Identifier: MIT */
/* How often a peer may have us do something: so many at once, and so many a second. */
#ifndef KTLS_BUDGET_H
#define KTLS_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct ktls_budget {
	unsigned int used;
	int64_t since_ms;	/* when it was last given something back */
};

static inline bool ktls_budget_spend(struct ktls_budget *b, int64_t now_ms, unsigned int burst,
				     unsigned int per_second)
{
	int64_t back = (now_ms - b->since_ms) * per_second / 1000;

	if (back > 0) {
		b->used = back < b->used ? b->used - (unsigned int)back : 0;
		b->since_ms = now_ms;
	}
	if (b->used >= burst)
		return false;
	b->used++;
	return true;
}

#endif
