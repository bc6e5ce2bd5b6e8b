// SPDX-License-Identifier: MIT
#include <string.h>

#include "bench_groups.h"

bool bench_groups_same(const struct bench_case *a, const struct bench_case *b)
{
	return a->scenario == b->scenario && a->protocol == b->protocol &&
	       a->cipher == b->cipher && a->size == b->size;
}

bool bench_groups_next(const struct bench_plan *plan, struct bench_group *g)
{
	const struct bench_case *end = plan->cases + plan->count;

	g->first = g->end ? g->end : plan->cases;
	for (g->end = g->first; g->end < end && bench_groups_same(g->end, g->first); g->end++)
		;
	return g->first < end;
}

bool bench_groups_same_absence(const struct bench_case *a, const struct bench_case *b)
{
	return a->outcome == BENCH_ABSENT && b->outcome == BENCH_ABSENT && a->way == b->way &&
	       !strcmp(a->why, b->why);
}

bool bench_groups_any(const struct bench_group *g)
{
	const struct bench_case *c;

	for (c = g->first; c < g->end; c++)
		if (c->outcome == BENCH_DONE)
			return true;
	return false;
}

const struct bench_case *bench_groups_way(const struct bench_group *g,
					  const struct bench_way *way)
{
	const struct bench_case *c;

	for (c = g->first; c < g->end; c++)
		if (c->way == way && c->outcome == BENCH_DONE)
			return c;
	return NULL;
}

double bench_groups_ratio(const struct bench_case *c, const struct bench_case *peer)
{
	double other = peer ? peer->summary.record_rate.median : 0;

	return other > 0 ? c->summary.record_rate.median / other : 0;
}
