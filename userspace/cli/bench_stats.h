/* SPDX-License-Identifier: MIT */
/* Figures from runs of ktls bench. Pure. */
#ifndef KTLS_CLI_BENCH_STATS_H
#define KTLS_CLI_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

struct bench_spread {
	double median, low, high;
};

/* How long something took, nanoseconds. */
struct bench_times {
	double min, p50, p90, p99, p999;
};

/* What one run measured. */
struct bench_sample {
	double seconds, cpu;	/* cpu: of the measured threads, seconds */
	double records, bytes;
	struct bench_times times[2];
};

/* ... and all runs of a case, each figure by itself. */
struct bench_summary {
	struct bench_spread bytes_rate, record_rate;	/* a second */
	struct bench_spread cpu_share;			/* 1: one processor */
	struct bench_spread cpu_record;			/* nanoseconds */
	struct bench_times times[2];			/* medians, min: the least */
};

/* Of count > 0 values, which are put in order. */
struct bench_spread bench_stats_spread(double *values, size_t count);
/* Of values in order: the least that so large a part of them does not exceed. */
double bench_stats_percentile(const uint32_t *values, size_t count, double part);
struct bench_times bench_stats_times(uint32_t *values, size_t count);
void bench_stats_summarize(const struct bench_sample *samples, size_t count,
			   struct bench_summary *out);
/* How far low and high are from each other, in percent of the median. */
double bench_stats_percent(const struct bench_spread *spread);

#endif
