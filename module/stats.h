/* SPDX-License-Identifier: GPL-2.0-only */
/* What happened, counted for each network namespace: a name a cause. */
#ifndef KTLS_STATS_H
#define KTLS_STATS_H

#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

/* X(constant, name in /proc/net/ktls_stat) */
#define KTLS_STATS(X)							\
	X(CURR_BOUND,		"KtlsCurrBound")			\
	X(CURR_TX,		"KtlsCurrTx")				\
	X(CURR_RX,		"KtlsCurrRx")				\
	X(TX_KEYS,		"KtlsTxKeys")				\
	X(RX_KEYS,		"KtlsRxKeys")				\
	X(TX_REKEYS,		"KtlsTxRekeys")				\
	X(RX_REKEYS,		"KtlsRxRekeys")				\
	X(TX_RECORDS,		"KtlsTxRecords")			\
	X(RX_RECORDS,		"KtlsRxRecords")			\
	X(TX_BYTES,		"KtlsTxBytes")				\
	X(RX_BYTES,		"KtlsRxBytes")				\
	X(TX_CONTROL,		"KtlsTxControl")			\
	X(RX_CONTROL,		"KtlsRxControl")			\
	X(TX_SPLICED,		"KtlsTxSpliced")			\
	X(RX_DIRECT,		"KtlsRxDirect")				\
	X(RX_DECRYPT_RETRY,	"KtlsRxDecryptRetry")			\
	X(RX_NO_PAD_VIOLATION,	"KtlsRxNoPadViolation")			\
	X(RX_BAD_TAG,		"KtlsRxBadTag")				\
	X(RX_BAD_LENGTH,	"KtlsRxBadLength")			\
	X(RX_BAD_VERSION,	"KtlsRxBadVersion")			\
	X(RX_BAD_EPOCH,		"KtlsRxBadEpoch")			\
	X(RX_REPLAYED,		"KtlsRxReplayed")			\
	X(RX_TOO_OLD,		"KtlsRxTooOld")				\
	X(RX_EARLY,		"KtlsRxEarly")				\
	X(RX_OVERFLOW,		"KtlsRxOverflow")			\
	X(RX_NO_MEMORY,		"KtlsRxNoMemory")			\
	X(RX_GIVEN_UP,		"KtlsRxGivenUp")			\
	X(TX_BATCHES,		"KtlsTxBatches")			\
	X(RX_STOLEN,		"KtlsRxStolen")				\
	X(TX_MIXED,		"KtlsTxMixed")				\
	X(RX_TRUNCATED,		"KtlsRxTruncated")			\
	X(RX_DETOURED,		"KtlsRxDetoured")			\
	X(TX_LIMIT,		"KtlsTxLimit")				\
	X(RX_LIMIT,		"KtlsRxLimit")				\
	X(TX_SEQUENCE_END,	"KtlsTxSequenceEnd")			\
	X(TX_CRYPTO_ERROR,	"KtlsTxCryptoError")			\
	X(RX_CRYPTO_ERROR,	"KtlsRxCryptoError")			\
	X(TX_LOST,		"KtlsTxLost")				\
	X(CARRIER_ERROR,	"KtlsCarrierError")

#define KTLS_STATS_ENUM(constant, name)	KTLS_STAT_##constant,
enum ktls_stat {
	KTLS_STATS(KTLS_STATS_ENUM)
	KTLS_STAT_COUNT
};

struct ktls_stats {
	unsigned long count[KTLS_STAT_COUNT];
};

/**
 * struct ktls_net - what a network namespace has
 * @stats: counters; KtlsCurr* may be negative on one processor, not in their sum
 * @lock: protects @socks
 * @socks: all sockets of the family
 */
struct ktls_net {
	struct ktls_stats __percpu *stats;
	spinlock_t lock;
	struct list_head socks;
};

extern unsigned int ktls_net_id;

static inline struct ktls_net *ktls_net(const struct net *net)
{
	return net_generic(net, ktls_net_id);
}

static inline void ktls_stats_add(const struct net *net, enum ktls_stat stat, long n)
{
	this_cpu_add(ktls_net(net)->stats->count[stat], n);
}

static inline void ktls_stats_inc(const struct net *net, enum ktls_stat stat)
{
	ktls_stats_add(net, stat, 1);
}

/* A record of @len bytes: both counters at once, which are no interrupt's. */
static inline void ktls_stats_record(const struct net *net, enum ktls_stat records,
				     enum ktls_stat bytes, u32 len)
{
	struct ktls_stats *stats = get_cpu_ptr(ktls_net(net)->stats);

	stats->count[records]++;
	stats->count[bytes] += len;
	put_cpu_ptr(stats);
}

extern const char *const ktls_stats_names[KTLS_STAT_COUNT];
unsigned long ktls_stats_sum(const struct net *net, enum ktls_stat stat);

#endif /* KTLS_STATS_H */
