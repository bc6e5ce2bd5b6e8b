// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much one key should protect. The last sequence number is the end (see compose.c and open.c);
 * long before, the program is told that it is time for another key.
 */
#include <linux/poll.h>

#include "ktls.h"

/**
 * ktls_limit_left() - records until a key has had as many as is wise
 * @dir: direction
 *
 * rfc8446 5.5, rfc9325 4.4, rfc9147 4.5.3. A record is counted as a full one.
 *
 * Context: any.
 * Return: the number; U64_MAX: there is no such limit, or no key.
 */
u64 ktls_limit_left(const struct ktls_dir *dir)
{
	const struct ktls_cipher *cipher = READ_ONCE(dir->cipher);
	const struct ktls_format *format = READ_ONCE(dir->format);
	u64 used;

	if (!cipher || !format || !cipher->records_max)
		return U64_MAX;
	/* The number after the last is none. */
	if (READ_ONCE(dir->exhausted))
		return 0;
	used = READ_ONCE(dir->seq) & format->seq_max;
	return used < cipher->records_max ? cipher->records_max - used : 0;
}

/* Some are left for those who then see to another key. */
static bool is_time(const struct ktls_dir *dir)
{
	const struct ktls_cipher *cipher = dir->cipher;

	return cipher->records_max && ktls_limit_left(dir) <= cipher->records_max / 8;
}

/**
 * ktls_limit_begin() - a key was installed
 * @ks: socket
 * @dir: its direction
 *
 * Context: process, dir->lock held.
 */
void ktls_limit_begin(struct ktls_sock *ks, struct ktls_dir *dir)
{
	WRITE_ONCE(dir->limit, KTLS_LIMIT_AHEAD);
	ktls_limit_check(ks, dir);
}

/**
 * ktls_limit_check() - a record was sealed or opened
 * @ks: socket
 * @dir: its direction
 *
 * Context: process, dir->lock held.
 */
void ktls_limit_check(struct ktls_sock *ks, struct ktls_dir *dir)
{
	if (READ_ONCE(dir->limit) != KTLS_LIMIT_AHEAD || !is_time(dir))
		return;
	WRITE_ONCE(dir->limit, KTLS_LIMIT_REACHED);
	ktls_stats_inc(sock_net(&ks->sk), dir == &ks->tx.dir ? KTLS_STAT_TX_LIMIT :
							       KTLS_STAT_RX_LIMIT);
	ktls_carrier_wake(ks, EPOLLPRI);
}

/**
 * ktls_limit_is_news() - is a limit near, and nobody has asked? (poll)
 * @ks: socket
 *
 * Context: any.
 */
bool ktls_limit_is_news(const struct ktls_sock *ks)
{
	return READ_ONCE(ks->tx.dir.limit) == KTLS_LIMIT_REACHED ||
	       READ_ONCE(ks->rx.dir.limit) == KTLS_LIMIT_REACHED;
}

/**
 * ktls_limit_told() - the program knows
 * @dir: direction whose limit is near
 * @rekeys: what the program was told of, too
 *
 * Context: any.
 */
void ktls_limit_told(struct ktls_dir *dir, u32 rekeys)
{
	/* Another key may have been installed since. */
	if (READ_ONCE(dir->rekeys) == rekeys)
		cmpxchg(&dir->limit, KTLS_LIMIT_REACHED, KTLS_LIMIT_TOLD);
}
