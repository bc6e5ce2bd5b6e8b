// SPDX-License-Identifier: MIT
/* Results for people: a table for the ways that did the same. */
#include <string.h>

#include "bench_groups.h"
#include "bench_scenario.h"

static void write_title(FILE *out, const struct bench_plan *plan, const struct bench_case *c)
{
	fprintf(out, "\n%s, %s %s, %zu bytes", c->scenario->name, c->protocol->name,
		c->cipher->name, c->size);
	if (plan->records)
		fprintf(out, ": %u x %llu records", plan->repeats,
			(unsigned long long)plan->records);
	else
		fprintf(out, ": %u x %g s", plan->repeats, plan->seconds);
	if (plan->connections > 1)
		fprintf(out, ", %u connections", plan->connections);
	fputc('\n', out);
}

static void write_ratio(FILE *out, double ratio)
{
	if (ratio > 0)
		fprintf(out, " %8.2f", ratio);
	else
		fprintf(out, " %8s", "-");
}

static void write_rates(FILE *out, const struct bench_group *g)
{
	const struct bench_case *c;

	fprintf(out, "  %-21s %9s %6s %10s %6s %8s %8s %8s\n", "", "MB/s", "+-%", "records/s",
		"CPU %", "us/rec.", "x ktls", "x plain");
	for (c = g->first; c < g->end; c++) {
		const struct bench_summary *s = &c->summary;

		if (c->outcome != BENCH_DONE)
			continue;
		fprintf(out, "  %-21s %9.1f %6.1f %10.0f %6.0f %8.2f", c->way->title,
			s->bytes_rate.median / 1e6, bench_stats_percent(&s->bytes_rate) / 2,
			s->record_rate.median, 100 * s->cpu_share.median,
			s->cpu_record.median / 1e3);
		write_ratio(out, bench_groups_ratio(c, bench_groups_way(g, &bench_tls)));
		write_ratio(out, bench_groups_ratio(c, bench_groups_way(g, &bench_plain)));
		fputc('\n', out);
	}
}

/* Of ratios of times: of two ways the same percentile. */
static double over(double ours, const struct bench_case *peer, int which)
{
	return peer && peer->summary.times[which].p50 > 0 ?
	       ours / peer->summary.times[which].p50 : 0;
}

static void write_times(FILE *out, const struct bench_group *g, int which)
{
	const struct bench_case *c;

	fprintf(out, "  %-21s %9s %8s %8s %8s %8s %8s %8s\n", g->first->scenario->timed[which],
		"least us", "50 %", "90 %", "99 %", "99.9 %", "/ ktls", "/ plain");
	for (c = g->first; c < g->end; c++) {
		const struct bench_times *t = &c->summary.times[which];

		if (c->outcome != BENCH_DONE)
			continue;
		fprintf(out, "  %-21s %9.2f %8.2f %8.2f %8.2f %8.2f", c->way->title, t->min / 1e3,
			t->p50 / 1e3, t->p90 / 1e3, t->p99 / 1e3, t->p999 / 1e3);
		write_ratio(out, over(t->p50, bench_groups_way(g, &bench_tls), which));
		write_ratio(out, over(t->p50, bench_groups_way(g, &bench_plain), which));
		fputc('\n', out);
	}
}

static void write_failed(FILE *out, const struct bench_group *g)
{
	const struct bench_case *c;

	for (c = g->first; c < g->end; c++)
		if (c->outcome == BENCH_FAILED)
			fprintf(out, "  %-21s FAILED: %s\n", c->way->title, c->why);
}

/* Where else a way is absent for the same reason is told with the first such case. */
static void write_absent(FILE *out, const struct bench_plan *plan, const struct bench_case *c)
{
	const struct bench_case *end = plan->cases + plan->count, *other;
	const struct bench_scenario *last = NULL;

	for (other = plan->cases; other < c; other++)
		if (bench_groups_same_absence(other, c))
			return;
	fprintf(out, "%s is absent from", c->way->title);
	for (other = c; other < end; other++)
		if (bench_groups_same_absence(other, c) && other->scenario != last) {
			fprintf(out, "%s %s", last ? "," : "", other->scenario->name);
			last = other->scenario;
		}
	fprintf(out, ": %s\n", c->why);
}

void bench_table_write(FILE *out, const struct bench_plan *plan)
{
	struct bench_group g = { 0 };
	int i;

	while (bench_groups_next(plan, &g)) {
		write_title(out, plan, g.first);
		if (bench_groups_any(&g))
			write_rates(out, &g);
		for (i = 0; i < BENCH_TIMED && bench_groups_any(&g); i++)
			if (g.first->scenario->timed[i])
				write_times(out, &g, i);
		write_failed(out, &g);
	}
	fputc('\n', out);
	for (i = 0; i < (int)plan->count; i++)
		if (plan->cases[i].outcome == BENCH_ABSENT)
			write_absent(out, plan, &plan->cases[i]);
}
