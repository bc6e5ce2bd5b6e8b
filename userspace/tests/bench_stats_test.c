// SPDX-License-Identifier: MIT
#include <math.h>

#include "../cli/bench_stats.h"
#include "tap.h"

static int near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fabs(b);
}

static void spread_tests(void)
{
	double odd[] = { 9, 1, 5 }, even[] = { 4, 1, 3, 2 }, one[] = { 7 };
	struct bench_spread s = bench_stats_spread(odd, 3);

	ok(s.median == 5 && s.low == 1 && s.high == 9, "an odd number of values");
	ok(near(bench_stats_percent(&s), 160), "their spread in percent");
	s = bench_stats_spread(even, 4);
	ok(near(s.median, 2.5) && s.low == 1 && s.high == 4, "an even number of values");
	s = bench_stats_spread(one, 1);
	ok(s.median == 7 && s.low == 7 && s.high == 7 && !bench_stats_percent(&s), "one value");
	s = (struct bench_spread){ 0 };
	ok(!bench_stats_percent(&s), "nothing in percent of nothing");
}

static void percentile_tests(void)
{
	uint32_t v[1000], few[] = { 30, 10, 20 };
	struct bench_times t;
	int i;

	for (i = 0; i < 1000; i++)
		v[i] = (uint32_t)(1000 - i);
	t = bench_stats_times(v, 1000);
	ok(t.min == 1 && t.p50 == 500 && t.p90 == 900 && t.p99 == 990 && t.p999 == 999,
	   "percentiles of 1 to 1000: %g %g %g %g %g", t.min, t.p50, t.p90, t.p99, t.p999);
	ok(bench_stats_percentile(v, 1000, 1) == 1000, "all of them");
	ok(bench_stats_percentile(v, 1000, 0) == 1, "none of them");
	t = bench_stats_times(few, 3);
	ok(t.min == 10 && t.p50 == 20 && t.p999 == 30, "percentiles of three");
	t = bench_stats_times(few, 0);
	ok(!t.min && !t.p999, "of nothing");
}

static void summary_tests(void)
{
	struct bench_sample samples[] = {
		{ .seconds = 2, .cpu = 1, .records = 100, .bytes = 1000,
		  .times = { { 5, 10, 20, 30, 40 }, { 1, 1, 1, 1, 1 } } },
		{ .seconds = 1, .cpu = 1, .records = 100, .bytes = 1000,
		  .times = { { 4, 12, 22, 32, 42 }, { 2, 3, 3, 3, 3 } } },
		{ .seconds = 4, .cpu = 1, .records = 100, .bytes = 1000,
		  .times = { { 6, 11, 21, 31, 41 }, { 3, 2, 2, 2, 2 } } },
	};
	struct bench_summary s;

	bench_stats_summarize(samples, 3, &s);
	ok(s.bytes_rate.median == 500 && s.bytes_rate.low == 250 && s.bytes_rate.high == 1000,
	   "bytes a second");
	ok(s.record_rate.median == 50, "records a second");
	ok(near(s.cpu_share.median, 0.5) && near(s.cpu_share.high, 1), "the processor's share");
	ok(near(s.cpu_record.median, 1e7), "processor time a record");
	ok(s.times[0].min == 4 && s.times[0].p50 == 11 && s.times[0].p99 == 31 &&
	   s.times[0].p999 == 41, "medians of percentiles, and the least of all");
	ok(s.times[1].min == 1 && s.times[1].p90 == 2, "of the second time, too");
	bench_stats_summarize(samples, 0, &s);
	ok(!s.bytes_rate.median && !s.times[0].min, "of no run");
	samples[0] = (struct bench_sample){ 0 };
	bench_stats_summarize(samples, 1, &s);
	ok(!s.bytes_rate.median && !s.cpu_record.median, "of a run in which nothing happened");
}

int main(void)
{
	spread_tests();
	percentile_tests();
	summary_tests();
	return tap_done();
}
