// SPDX-License-Identifier: GPL-2.0-only
/*
 * The path to a datagram socket's peer: what goes there, from which address of ours, and how long
 * a datagram may be.
 */
#include <linux/bvec.h>
#include <linux/uio.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>

#include "ktls.h"

/* IPv4 mapped; any: routing decides. */
static void get_local(const struct ktls_sock *ks, struct in6_addr *local)
{
	const struct ktls_carrier *carrier = &ks->carrier;
	unsigned int seq;

	if (!READ_ONCE(carrier->has_local)) {
		*local = in6addr_any;
		return;
	}
	do {
		seq = read_seqbegin(&carrier->local_lock);
		*local = carrier->local;
	} while (read_seqretry(&carrier->local_lock, seq));
}

/**
 * ktls_path_set_local() - send from another address of ours
 * @ks: datagram socket
 * @local: it, IPv4 mapped; any: let routing decide
 *
 * Context: process.
 */
void ktls_path_set_local(struct ktls_sock *ks, const struct in6_addr *local)
{
	write_seqlock_bh(&ks->carrier.local_lock);
	ks->carrier.local = *local;
	WRITE_ONCE(ks->carrier.has_local, !ipv6_addr_any(local));
	write_sequnlock_bh(&ks->carrier.local_lock);
}

/**
 * ktls_path_choose_local() - the program knows which address of ours its peer talks to
 * @ks: bound datagram socket
 * @local: the address, IPv4 mapped; any: let routing decide
 *
 * Context: process, a lock that keeps the carrier held.
 * Return: 0; -ENOTCONN: there is no peer; -EINVAL: not an address to be heard from by the peer.
 */
int ktls_path_choose_local(struct ktls_sock *ks, const struct in6_addr *local)
{
	const struct ktls_carrier *carrier = &ks->carrier;

	if (!carrier->named)
		return -ENOTCONN;
	if (!ipv6_addr_any(local) &&
	    (ipv6_addr_v4mapped(local) != ipv6_addr_v4mapped(&carrier->peer.addr) ||
	     ipv6_addr_is_multicast(local)))
		return -EINVAL;
	ktls_path_set_local(ks, local);
	return 0;
}

/* Is it bound to no address but a port? */
static bool is_any(const struct sock *csk)
{
	return csk->sk_family == AF_INET6 ? ipv6_addr_any(&csk->sk_v6_rcv_saddr) :
					    !csk->sk_rcv_saddr;
}

/**
 * ktls_path_destination() - where a datagram was sent to, if the answer's source is open
 * @ks: bound datagram socket
 * @skb: from the peer
 * @to: gets the address, IPv4 mapped; any: it is of no use
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_path_destination(const struct ktls_sock *ks, const struct sk_buff *skb,
			   struct in6_addr *to)
{
	*to = in6addr_any;
	if (!ktls_udp_shares(ks) || !is_any(ks->carrier.sk))
		return;
	/* What a program has prepended has no headers. */
	if (skb->protocol == htons(ETH_P_IP) && !ipv4_is_multicast(ip_hdr(skb)->daddr))
		ipv6_addr_set_v4mapped(ip_hdr(skb)->daddr, to);
	else if (skb->protocol == htons(ETH_P_IPV6) &&
		 !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr))
		*to = ipv6_hdr(skb)->daddr;
}

/**
 * ktls_path_follow() - the peer was heard at an address of ours
 * @ks: bound datagram socket
 * @to: of ktls_path_destination(), of an authentic record
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_path_follow(struct ktls_sock *ks, const struct in6_addr *to)
{
	struct in6_addr local;

	if (ipv6_addr_any(to))
		return;
	get_local(ks, &local);
	if (!ipv6_addr_equal(&local, to))
		ktls_path_set_local(ks, to);
}

static void add_control(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *header = msg->msg_control + msg->msg_controllen;

	header->cmsg_level = level;
	header->cmsg_type = type;
	header->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(header), data, len);
	msg->msg_controllen += CMSG_SPACE(len);
}

static void add_source(struct msghdr *msg, const struct sock *csk, const struct in6_addr *local)
{
	struct in6_pktinfo info6 = { .ipi6_addr = *local };
	struct in_pktinfo info = { .ipi_spec_dst.s_addr = local->s6_addr32[3] };

	if (csk->sk_family == AF_INET6)
		add_control(msg, SOL_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
	else
		add_control(msg, SOL_IP, IP_PKTINFO, &info, sizeof(info));
}

static int send_from(struct ktls_sock *ks, const struct iov_iter *from, u16 segment,
		     const struct in6_addr *local)
{
	/* What of it is used is written before. */
	union {
		struct cmsghdr header;
		u8 space[CMSG_SPACE(sizeof(u16)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL, .msg_iter = *from,
		.msg_control = &control,
	};
	struct sock *csk = ks->carrier.sk;
	struct sockaddr_in6 name;

	if (ktls_udp_shares(ks)) {
		msg.msg_name = &name;
		msg.msg_namelen = ktls_udp_name(ks, (struct sockaddr *)&name);
	}
	if (!ipv6_addr_any(local))
		add_source(&msg, csk, local);
	/* 0 where the carrier has a UDP_SEGMENT of its own: a record is a datagram. */
	if (segment || READ_ONCE(udp_sk(csk)->gso_size))
		add_control(&msg, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	return sock_sendmsg(ks->carrier.sock, &msg);
}

/* What kernels say of a source that is no address of this machine. */
static bool is_lost(int err)
{
	return err == -EINVAL || err == -ENETUNREACH || err == -EADDRNOTAVAIL;
}

/* One datagram, or a batch of them. */
static int send_one(struct ktls_sock *ks, const struct iov_iter *from, u16 segment)
{
	struct in6_addr local;
	int ret;

	/* The record would become part of the program's own datagram. */
	if (ktls_compat_is_corked(ks->carrier.sk))
		return -EBUSY;
	get_local(ks, &local);
	ret = send_from(ks, from, segment, &local);
	if (ipv6_addr_any(&local) || !is_lost(ret))
		return ret;
	ret = send_from(ks, from, segment, &in6addr_any);
	if (ret >= 0)
		ktls_path_set_local(ks, &in6addr_any);
	return ret;
}

/* Bytes of the first pending records that UDP can cut apart again: equal but the last. */
static u32 first_batch(const struct ktls_tx *tx)
{
	const u16 *size = tx->sizes + tx->sizes_first, *end = tx->sizes + tx->sizes_count;
	u32 segment = *size, bytes = 0;

	while (size < end && *size == segment)
		bytes += *size++;
	if (size < end && *size < segment)
		bytes += *size;
	return bytes;
}

/**
 * ktls_path_send() - send sealed records, each as a datagram
 * @ks: bound datagram socket with a peer
 * @bv: the pending records
 * @count: entries of @bv
 *
 * Context: process, tx.dir.lock held; does not wait.
 * Return: bytes of whole records sent, at least one; -EAGAIN, or -errno of UDP.
 */
int ktls_path_send(struct ktls_sock *ks, const struct bio_vec *bv, unsigned int count)
{
	u32 segment = ks->tx.sizes[ks->tx.sizes_first], len = first_batch(&ks->tx);
	struct iov_iter all, one;
	u32 sent = 0;
	int ret;

	iov_iter_bvec(&all, ITER_SOURCE, bv, count, len);
	if (len > segment) {
		ret = send_one(ks, &all, segment);
		if (ret > 0)
			ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_TX_BATCHES);
		/* Not with this route or this carrier's options: then one by one. */
		if (ret != -EIO && ret != -EINVAL)
			return ret;
	}
	for (; sent < len; sent += ret) {
		one = all;
		iov_iter_truncate(&one, segment);
		ret = send_one(ks, &one, 0);
		if (ret < 0)
			return sent ? (int)sent : ret;
		iov_iter_advance(&all, ret);
	}
	return sent;
}

static struct dst_entry *find_route(const struct ktls_sock *ks, struct sock *csk,
				    const struct in6_addr *addr, const struct in6_addr *local)
{
	const struct inet_sock *inet = inet_sk(csk);
	__be16 number = ktls_udp_shares(ks) ? ks->carrier.peer.number : inet->inet_dport;
	struct flowi4 fl4;
	struct rtable *rt;

	if (!ipv6_addr_v4mapped(addr))
		return ktls_compat_route6(csk, addr, ks->carrier.peer.scope, number, local);
	rt = ip_route_output_ports(sock_net(csk), &fl4, csk, addr->s6_addr32[3],
				   local->s6_addr32[3] ?: inet->inet_saddr, number,
				   inet->inet_sport, IPPROTO_UDP, 0, csk->sk_bound_dev_if);
	return IS_ERR(rt) ? ERR_CAST(rt) : &rt->dst;
}

static void peer_address(const struct ktls_sock *ks, const struct sock *csk,
			 struct in6_addr *addr)
{
	if (ktls_udp_shares(ks))
		*addr = ks->carrier.peer.addr;
	else if (csk->sk_family == AF_INET6)
		*addr = csk->sk_v6_daddr;
	else
		ipv6_addr_set_v4mapped(csk->sk_daddr, addr);
}

/**
 * ktls_path_room() - bytes that a datagram to the peer may have, UDP's header not counted
 * @ks: datagram socket
 *
 * Context: process.
 * Return: bytes; -ENOTCONN: no carrier, or no peer; another -errno: there is no route.
 */
int ktls_path_room(const struct ktls_sock *ks)
{
	struct dst_entry *dst = ERR_PTR(-ENOTCONN);
	struct in6_addr addr, local;
	struct sock *csk;
	int mtu;

	/* Keeps the carrier in memory, as for poll: see set_detach(). */
	rcu_read_lock();
	csk = READ_ONCE(ks->carrier.sk);
	/* Pairs with those in udp.c. */
	if (csk && smp_load_acquire(&ks->carrier.named)) {
		peer_address(ks, csk, &addr);
		get_local(ks, &local);
		dst = find_route(ks, csk, &addr, &local);
		if (IS_ERR(dst) && !ipv6_addr_any(&local))
			dst = find_route(ks, csk, &addr, &in6addr_any);
	}
	rcu_read_unlock();
	if (IS_ERR(dst))
		return PTR_ERR(dst);
	mtu = dst_mtu(dst);
	dst_release(dst);
	mtu -= ipv6_addr_v4mapped(&addr) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	return max_t(int, mtu - (int)sizeof(struct udphdr), 0);
}
