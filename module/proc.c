// SPDX-License-Identifier: GPL-2.0-only
/* /proc/net/ktls, /proc/net/ktls_stat, /proc/PID/fdinfo. */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/inet_sock.h>
#include <net/net_namespace.h>

#include "ktls.h"

static void *sockets_start(struct seq_file *seq, loff_t *pos)
	__acquires(&ktls_net(seq_file_net(seq))->lock)
{
	struct ktls_net *kn = ktls_net(seq_file_net(seq));

	spin_lock(&kn->lock);
	return seq_list_start_head(&kn->socks, *pos);
}

static void *sockets_next(struct seq_file *seq, void *v, loff_t *pos)
{
	return seq_list_next(v, &ktls_net(seq_file_net(seq))->socks, pos);
}

static void sockets_stop(struct seq_file *seq, void *v)
	__releases(&ktls_net(seq_file_net(seq))->lock)
{
	spin_unlock(&ktls_net(seq_file_net(seq))->lock);
}

static const char *state_name(const struct ktls_sock *ks)
{
	static const char *const names[] = { "BOUND", "TX", "RX", "TX,RX" };

	if (!READ_ONCE(ks->carrier.sk))
		return "UNBOUND";
	return names[(READ_ONCE(ks->tx.dir.key) ? 1 : 0) + (READ_ONCE(ks->rx.dir.key) ? 2 : 0)];
}

static void show_addresses(struct seq_file *seq, const struct ktls_sock *ks,
			   const struct sock *csk)
{
	/* Pairs with those in udp.c. */
	bool named = smp_load_acquire(&ks->carrier.named) && ktls_udp_shares(ks);
	const struct ktls_peer *peer = &ks->carrier.peer;
	const struct inet_sock *inet = inet_sk(csk);
	__be16 number = named ? peer->number : inet->inet_dport;

	if (csk->sk_family == AF_INET)
		seq_printf(seq, " %pI4:%u %pI4:%u", &inet->inet_saddr, ntohs(inet->inet_sport),
			   named ? &peer->addr.s6_addr32[3] : &inet->inet_daddr, ntohs(number));
	else
		seq_printf(seq, " [%pI6c]:%u [%pI6c]:%u", &inet6_sk(csk)->saddr,
			   ntohs(inet->inet_sport),
			   named ? &peer->addr : &csk->sk_v6_daddr, ntohs(number));
}

/* The rows are const: they outlive the key. */
static void show_protocol(struct seq_file *seq, const struct ktls_sock *ks)
{
	const struct ktls_format *format = READ_ONCE(ks->tx.dir.format);
	const struct ktls_cipher *cipher = READ_ONCE(ks->tx.dir.cipher);

	if (!format) {
		format = READ_ONCE(ks->rx.dir.format);
		cipher = READ_ONCE(ks->rx.dir.cipher);
	}
	seq_printf(seq, " %s %s", format ? format->name : "-",
		   format && cipher ? cipher->name : "-");
}

static int sockets_show(struct seq_file *seq, void *v)
{
	const struct ktls_sock *ks;
	const struct sock *csk;

	if (v == &ktls_net(seq_file_net(seq))->socks) {
		seq_puts(seq, "type state version cipher local remote txq rxq tx_records rx_records tx_bytes rx_bytes inode\n");
		return 0;
	}
	ks = list_entry(v, struct ktls_sock, node);
	seq_printf(seq, "%s %s", ktls_is_datagram(ks) ? "datagram" : "stream", state_name(ks));
	show_protocol(seq, ks);
	rcu_read_lock();
	csk = READ_ONCE(ks->carrier.sk);
	if (csk)
		show_addresses(seq, ks, csk);
	else
		seq_puts(seq, " - -");
	rcu_read_unlock();
	seq_printf(seq, " %u %u %llu %llu %llu %llu %lu\n", READ_ONCE(ks->tx.pending_bytes),
		   READ_ONCE(ks->rx.queued_bytes), READ_ONCE(ks->tx.dir.records),
		   READ_ONCE(ks->rx.dir.records), READ_ONCE(ks->tx.dir.bytes),
		   READ_ONCE(ks->rx.dir.bytes),
		   (unsigned long)sock_i_ino((struct sock *)&ks->sk));
	return 0;
}

static const struct seq_operations sockets_ops = {
	.start	= sockets_start,
	.next	= sockets_next,
	.stop	= sockets_stop,
	.show	= sockets_show,
};

static int stats_show(struct seq_file *seq, void *v)
{
	const struct net *net = seq_file_single_net(seq);
	int i;

	for (i = 0; i < KTLS_STAT_COUNT; i++)
		seq_printf(seq, "%-32s\t%lu\n", ktls_stats_names[i], ktls_stats_sum(net, i));
	return 0;
}

/**
 * ktls_proc_net_init() - make a network namespace's files
 * @net: network namespace
 *
 * Context: process.
 * Return: 0 or -ENOMEM.
 */
int ktls_proc_net_init(struct net *net)
{
	if (!proc_create_net("ktls", 0444, net->proc_net, &sockets_ops,
			     sizeof(struct seq_net_private)))
		return -ENOMEM;
	if (!proc_create_net_single("ktls_stat", 0444, net->proc_net, stats_show, NULL)) {
		remove_proc_entry("ktls", net->proc_net);
		return -ENOMEM;
	}
	return 0;
}

/**
 * ktls_proc_net_exit() - remove a network namespace's files
 * @net: network namespace
 *
 * Context: process.
 */
void ktls_proc_net_exit(struct net *net)
{
	remove_proc_entry("ktls_stat", net->proc_net);
	remove_proc_entry("ktls", net->proc_net);
}

/**
 * ktls_proc_fdinfo() - /proc/PID/fdinfo
 * @m: where to
 * @ks: socket
 *
 * Context: process, the socket's file held by the caller.
 */
void ktls_proc_fdinfo(struct seq_file *m, struct ktls_sock *ks)
{
	struct ktls_info info;

	ktls_sockopt_info(ks, &info);
	seq_printf(m, "ktls-state:\t%s\n", state_name(ks));
	seq_printf(m, "ktls-flags:\t0x%x\n", info.flags);
	seq_printf(m, "ktls-tx:\t%llu records, %llu bytes\n", info.tx.records, info.tx.bytes);
	seq_printf(m, "ktls-rx:\t%llu records, %llu bytes\n", info.rx.records, info.rx.bytes);
}
