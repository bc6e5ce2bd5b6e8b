// SPDX-License-Identifier: GPL-2.0-only
#include "stats.h"

#define KTLS_STATS_NAME(constant, name)	[KTLS_STAT_##constant] = name,
const char *const ktls_stats_names[KTLS_STAT_COUNT] = {
	KTLS_STATS(KTLS_STATS_NAME)
};

/**
 * ktls_stats_sum() - a counter over all processors
 * @net: network namespace
 * @stat: which
 *
 * Context: any.
 * Return: its value.
 */
unsigned long ktls_stats_sum(const struct net *net, enum ktls_stat stat)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(ktls_net(net)->stats, cpu)->count[stat]);
	return sum;
}
