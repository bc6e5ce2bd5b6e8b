// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "bench_stats.h"

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct bench_spread bench_stats_spread(double *values, size_t count)
{
	size_t half = count / 2;

	qsort(values, count, sizeof(*values), compare_doubles);
	return (struct bench_spread){
		.median = count % 2 ? values[half] : (values[half - 1] + values[half]) / 2,
		.low = values[0],
		.high = values[count - 1],
	};
}

double bench_stats_percent(const struct bench_spread *spread)
{
	return spread->median > 0 ? 100 * (spread->high - spread->low) / spread->median : 0;
}

double bench_stats_percentile(const uint32_t *values, size_t count, double part)
{
	double rank = part * (double)count;
	size_t i = (size_t)rank;

	if (i > 0 && (double)i == rank)
		i--;
	return values[i < count ? i : count - 1];
}

struct bench_times bench_stats_times(uint32_t *values, size_t count)
{
	if (!count)
		return (struct bench_times){ 0 };
	qsort(values, count, sizeof(*values), compare_times);
	return (struct bench_times){
		.min = values[0],
		.p50 = bench_stats_percentile(values, count, 0.5),
		.p90 = bench_stats_percentile(values, count, 0.9),
		.p99 = bench_stats_percentile(values, count, 0.99),
		.p999 = bench_stats_percentile(values, count, 0.999),
	};
}

/* One figure of each sample. */
typedef double figure(const struct bench_sample *s);

static double bytes_rate(const struct bench_sample *s)
{
	return s->seconds > 0 ? s->bytes / s->seconds : 0;
}

static double record_rate(const struct bench_sample *s)
{
	return s->seconds > 0 ? s->records / s->seconds : 0;
}

static double cpu_share(const struct bench_sample *s)
{
	return s->seconds > 0 ? s->cpu / s->seconds : 0;
}

static double cpu_record(const struct bench_sample *s)
{
	return s->records > 0 ? s->cpu * 1e9 / s->records : 0;
}

static struct bench_spread spread_of(const struct bench_sample *samples, size_t count,
				     double *values, figure *get)
{
	size_t i;

	for (i = 0; i < count; i++)
		values[i] = get(&samples[i]);
	return bench_stats_spread(values, count);
}

static double median_at(const struct bench_sample *samples, size_t count, double *values,
			size_t offset)
{
	size_t i;

	for (i = 0; i < count; i++)
		memcpy(&values[i], (const char *)&samples[i] + offset, sizeof(*values));
	return bench_stats_spread(values, count).median;
}

#define TIMES_AT(which, member)	(offsetof(struct bench_sample, times) + \
				 (which) * sizeof(struct bench_times) + \
				 offsetof(struct bench_times, member))

static struct bench_times summarize_times(const struct bench_sample *samples, size_t count,
					  double *values, size_t which)
{
	struct bench_times t = {
		.p50 = median_at(samples, count, values, TIMES_AT(which, p50)),
		.p90 = median_at(samples, count, values, TIMES_AT(which, p90)),
		.p99 = median_at(samples, count, values, TIMES_AT(which, p99)),
		.p999 = median_at(samples, count, values, TIMES_AT(which, p999)),
	};

	/* The last leaves them in order. */
	median_at(samples, count, values, TIMES_AT(which, min));
	t.min = values[0];
	return t;
}

void bench_stats_summarize(const struct bench_sample *samples, size_t count,
			   struct bench_summary *out)
{
	double *values = count ? calloc(count, sizeof(*values)) : NULL;
	size_t i;

	memset(out, 0, sizeof(*out));
	if (!values)
		return;
	out->bytes_rate = spread_of(samples, count, values, bytes_rate);
	out->record_rate = spread_of(samples, count, values, record_rate);
	out->cpu_share = spread_of(samples, count, values, cpu_share);
	out->cpu_record = spread_of(samples, count, values, cpu_record);
	for (i = 0; i < 2; i++)
		out->times[i] = summarize_times(samples, count, values, i);
	free(values);
}
