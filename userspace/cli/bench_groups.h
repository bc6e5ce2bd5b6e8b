/* SPDX-License-Identifier: MIT */
/* Cases that differ in their way only stand beside each other in a plan. Pure. */
#ifndef KTLS_CLI_BENCH_GROUPS_H
#define KTLS_CLI_BENCH_GROUPS_H

#include "bench.h"

struct bench_group {
	const struct bench_case *first, *end;
};

/* The next one; *g is zeros at first. */
bool bench_groups_next(const struct bench_plan *plan, struct bench_group *g);
/* Whether the two cases are of one group. */
bool bench_groups_same(const struct bench_case *a, const struct bench_case *b);
/* Whether the same way has no part in both for the same reason. */
bool bench_groups_same_absence(const struct bench_case *a, const struct bench_case *b);
/* Whether one of it has samples. */
bool bench_groups_any(const struct bench_group *g);
/* The case of that way, if it has samples; else NULL. */
const struct bench_case *bench_groups_way(const struct bench_group *g,
					  const struct bench_way *way);
/* How many times as many records a second as peer's; 0: there is none. */
double bench_groups_ratio(const struct bench_case *c, const struct bench_case *peer);

#endif
