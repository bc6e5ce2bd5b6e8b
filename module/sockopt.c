// SPDX-License-Identifier: GPL-2.0-only
/* Options: copied in, validated, one function an option. */
#include <linux/sockptr.h>

#include "ktls.h"

/* u32 options with 0 and 1 only. */
static int read_flag(sockptr_t value, unsigned int len, int *flag)
{
	if (sockptr_is_null(value) || len != sizeof(*flag))
		return -EINVAL;
	if (copy_from_sockptr(flag, value, sizeof(*flag)))
		return -EFAULT;
	return *flag == 0 || *flag == 1 ? 0 : -EINVAL;
}

/* Pages are encrypted from where they lie as far as the cipher can: this asks for nothing new. */
static int set_zerocopy(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int flag, ret = read_flag(value, len, &flag);

	if (!ret)
		WRITE_ONCE(ks->tx.zerocopy, flag);
	return ret;
}

/* As in kernel TLS there is nothing to be expected before a key. */
static int set_no_pad(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int flag, ret = read_flag(value, len, &flag);

	if (ret)
		return ret;
	mutex_lock(&ks->rx.dir.lock);
	if (!ks->rx.dir.key)
		ret = -EINVAL;
	else
		WRITE_ONCE(ks->rx.no_pad, flag);
	mutex_unlock(&ks->rx.dir.lock);
	return ret;
}

static int set_max_payload(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int ret = 0;
	u16 max;

	if (sockptr_is_null(value) || len != sizeof(max))
		return -EINVAL;
	if (copy_from_sockptr(&max, value, sizeof(max)))
		return -EFAULT;
	if (max < KTLS_MIN_PAYLOAD_LIMIT || max > KTLS_MAX_PAYLOAD)
		return -EINVAL;
	mutex_lock(&ks->tx.dir.lock);
	if (ks->tx.open.len)
		ret = -EBUSY;
	else
		WRITE_ONCE(ks->tx.max_payload, max);
	mutex_unlock(&ks->tx.dir.lock);
	return ret;
}

static int set_tls(struct ktls_sock *ks, int name, sockptr_t value, unsigned int len)
{
	switch (name) {
	case TLS_TX:
		return ktls_keys_set_tx(ks, value, len);
	case TLS_RX:
		return ktls_keys_set_rx(ks, value, len);
	case TLS_TX_ZEROCOPY_RO:
		return set_zerocopy(ks, value, len);
	case TLS_RX_EXPECT_NO_PAD:
		return set_no_pad(ks, value, len);
	case TLS_TX_MAX_PAYLOAD_LEN:
		return set_max_payload(ks, value, len);
	default:
		return -ENOPROTOOPT;
	}
}

/* May the carrier go back now? Both directions' locks are held. */
static int ready_to_detach(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	int ret;

	if (!ks->carrier.sk)
		return -ENOTCONN;
	/* Neither forgeries nor records that no key opens keep a carrier. */
	if (ktls_is_datagram(ks) && rx->dir.key)
		ktls_datagram_open(ks);
	/* What was opened or read ahead cannot be put back into the carrier. */
	if (!skb_queue_empty(&rx->queue) || !skb_queue_empty(&rx->controls) || rx->datagram ||
	    (rx->ahead_bytes && !(ktls_is_datagram(ks) && rx->dir.key)))
		return -EBUSY;
	ret = ktls_tx_flush(ks);
	/* A dead direction has nothing to complete. */
	return ret == -EBUSY || ret == -ENOMEM ? ret : 0;
}

static int set_detach(struct ktls_sock *ks)
{
	struct socket *carrier = NULL;
	struct sock *csk;
	int ret;

	lock_sock(&ks->sk);
	mutex_lock(&ks->tx.dir.lock);
	mutex_lock(&ks->rx.dir.lock);
	ret = ready_to_detach(ks);
	if (!ret) {
		csk = ks->carrier.sk;
		/* UDP takes its lock, if at all, by itself. */
		if (ktls_is_datagram(ks))
			ktls_tx_release(ks);
		lock_sock(csk);
		carrier = ktls_sock_unbind(ks);
		release_sock(csk);
	}
	mutex_unlock(&ks->rx.dir.lock);
	mutex_unlock(&ks->tx.dir.lock);
	/* poll and /proc look at the carrier and the peer's name under RCU; bind() waits. */
	if (carrier)
		synchronize_rcu();
	release_sock(&ks->sk);
	if (carrier) {
		sockfd_put(carrier);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLOUT | EPOLLHUP);
	}
	return ret;
}

/* What was queued for plain reads and not yet begun goes where the rest will. */
static void move_controls(struct ktls_rx *rx)
{
	struct sk_buff *skb, *next;

	skb_queue_walk_safe(&rx->queue, skb, next) {
		if (ktls_skb_cb(skb)->type == KTLS_TYPE_DATA || ktls_skb_cb(skb)->offset)
			continue;
		__skb_unlink(skb, &rx->queue);
		WRITE_ONCE(rx->queued_bytes, rx->queued_bytes - skb->len);
		WRITE_ONCE(rx->control_queued, false);
		skb_queue_tail(&rx->controls, skb);
	}
}

static int set_control(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int mode, ret = read_flag(value, len, &mode);

	if (ret)
		return ret;
	mutex_lock(&ks->rx.dir.lock);
	WRITE_ONCE(ks->rx.mode, mode);
	if (mode == KTLS_CONTROL_QUEUE)
		move_controls(&ks->rx);
	mutex_unlock(&ks->rx.dir.lock);
	mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
	/* It may be for the next key now that readers wait, or no longer. */
	ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM | EPOLLPRI);
	return 0;
}

static int set_strict_eof(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int flag, ret = read_flag(value, len, &flag);

	if (!ret)
		WRITE_ONCE(ks->rx.strict_eof, flag);
	return ret;
}

static int set_prepend(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int ret;

	mutex_lock(&ks->rx.dir.lock);
	if (!ks->carrier.sk)
		ret = -ENOTCONN;
	else if (ks->rx.dir.key)
		ret = -EBUSY;
	else if (ktls_is_datagram(ks))
		ret = ktls_datagram_prepend(ks, value, len);
	else
		ret = ktls_stream_prepend(ks, value, len);
	mutex_unlock(&ks->rx.dir.lock);
	return ret;
}

static int read_int(struct ktls_sock *ks, sockptr_t value, unsigned int len, int *n)
{
	if (!ktls_is_datagram(ks))
		return -EOPNOTSUPP;
	if (sockptr_is_null(value) || len != sizeof(*n))
		return -EINVAL;
	return copy_from_sockptr(n, value, sizeof(*n)) ? -EFAULT : 0;
}

static int set_replay_window(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int size, ret = read_int(ks, value, len, &size);

	if (!ret && (size < KTLS_WINDOW_MIN || size > KTLS_WINDOW_MAX))
		ret = -EINVAL;
	if (!ret)
		WRITE_ONCE(ks->rx.window_size, size);
	return ret;
}

static int set_segment(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int size, ret = read_int(ks, value, len, &size);

	if (!ret && (size < 0 || size > KTLS_MAX_PAYLOAD))
		ret = -EINVAL;
	if (!ret)
		WRITE_ONCE(ks->tx.segment, size);
	return ret;
}

static int set_pause(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int flag, ret = read_flag(value, len, &flag);

	return ret ?: ktls_tx_pause(ks, flag);
}

static int set_ktls(struct ktls_sock *ks, int name, sockptr_t value, unsigned int len)
{
	switch (name) {
	case KTLS_DETACH:
		return set_detach(ks);
	case KTLS_CONTROL:
		return set_control(ks, value, len);
	case KTLS_STRICT_EOF:
		return set_strict_eof(ks, value, len);
	case KTLS_PREPEND_RX:
		return set_prepend(ks, value, len);
	case KTLS_REPLAY_WINDOW:
		return set_replay_window(ks, value, len);
	case KTLS_SEGMENT:
		return set_segment(ks, value, len);
	case KTLS_PAUSE:
		return set_pause(ks, value, len);
	default:
		return -ENOPROTOOPT;
	}
}

/* Options of the socket that mean the connection, so the carrier too. */
static bool concerns_carrier(int name)
{
	switch (name) {
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
	case SO_KEEPALIVE:
	case SO_PRIORITY:
	case SO_MARK:
		return true;
	default:
		return false;
	}
}

static int set_socket(struct socket *sock, int name, sockptr_t value, unsigned int len)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	int ret;

	ret = sock_setsockopt(sock, SOL_SOCKET, name, value, len);
	if (ret || !concerns_carrier(name))
		return ret;
	mutex_lock(&ks->tx.dir.lock);
	/* A carrier that others share stays as it is. */
	if (ks->carrier.sk && !ktls_udp_shares(ks))
		ret = sock_setsockopt(ks->carrier.sock, SOL_SOCKET, name, value, len);
	mutex_unlock(&ks->tx.dir.lock);
	return ret;
}

/* Options of the carrier's protocols, as on a socket of kernel TLS; not those that would
 * come between us and the records.
 */
static bool is_carrier_option(int level, int name)
{
	if (level == SOL_TCP)
		return name != TCP_ULP && name != TCP_REPAIR && name != TCP_ZEROCOPY_RECEIVE;
	return level == SOL_IP || level == SOL_IPV6;
}

/* rfc3542 6.1, and the same for IPv4: from where an association's datagrams go. */
static int set_local(struct ktls_sock *ks, int level, sockptr_t value, unsigned int len)
{
	struct in6_addr local = in6addr_any;
	struct in6_pktinfo info6;
	struct in_pktinfo info;

	if (len != (level == SOL_IPV6 ? sizeof(info6) : sizeof(info)))
		return -EINVAL;
	if (level == SOL_IPV6) {
		if (copy_from_sockptr(&info6, value, sizeof(info6)))
			return -EFAULT;
		local = info6.ipi6_addr;
	} else {
		if (copy_from_sockptr(&info, value, sizeof(info)))
			return -EFAULT;
		if (info.ipi_spec_dst.s_addr)
			ipv6_addr_set_v4mapped(info.ipi_spec_dst.s_addr, &local);
	}
	return ktls_path_choose_local(ks, &local);
}

static bool is_local(int level, int name)
{
	return (level == SOL_IP && name == IP_PKTINFO) ||
	       (level == SOL_IPV6 && name == IPV6_PKTINFO);
}

static int set_carrier(struct ktls_sock *ks, int level, int name, sockptr_t value,
		       unsigned int len)
{
	struct socket *carrier;
	int ret = -ENOTCONN;

	mutex_lock(&ks->tx.dir.lock);
	carrier = ks->carrier.sock;
	/* Of a carrier that many share the others are not one association's. */
	if (carrier && ktls_udp_shares(ks))
		ret = is_local(level, name) ? set_local(ks, level, value, len) : -EOPNOTSUPP;
	else if (carrier)
		ret = READ_ONCE(carrier->ops)->setsockopt(carrier, level, name, value, len);
	mutex_unlock(&ks->tx.dir.lock);
	return ret;
}

static int get_carrier(struct ktls_sock *ks, int level, int name, char __user *value,
		       int __user *len_ptr)
{
	struct socket *carrier;
	int ret = -ENOTCONN;

	mutex_lock(&ks->tx.dir.lock);
	carrier = ks->carrier.sock;
	if (carrier)
		ret = READ_ONCE(carrier->ops)->getsockopt(carrier, level, name, value, len_ptr);
	mutex_unlock(&ks->tx.dir.lock);
	return ret;
}

/**
 * ktls_sockopt_set() - setsockopt(2) of our levels
 * @sock: socket
 * @level: SOL_TLS, SOL_KTLS, SOL_SOCKET (set), or the carrier's SOL_TCP, SOL_IP, SOL_IPV6
 * @name: option
 * @value: its value
 * @len: the value's bytes
 *
 * Context: process, no locks held; may sleep.
 * Return: 0 or -errno as <linux/ktls.h> says.
 */
int ktls_sockopt_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int len)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);

	if (level == SOL_TLS)
		return set_tls(ks, name, value, len);
	if (level == SOL_KTLS)
		return set_ktls(ks, name, value, len);
	if (level == SOL_SOCKET)
		return set_socket(sock, name, value, len);
	if (is_carrier_option(level, name))
		return set_carrier(ks, level, name, value, len);
	return -ENOPROTOOPT;
}

/* A value whose size is fixed: a larger buffer gets it and its size. */
static int put_value(char __user *value, int __user *len_ptr, int len, const void *from, int size)
{
	if (len < size)
		return -EINVAL;
	if (put_user(size, len_ptr) || copy_to_user(value, from, size))
		return -EFAULT;
	return 0;
}

static int get_tls(struct ktls_sock *ks, int name, char __user *value, int __user *len_ptr,
		   int len)
{
	u16 max = READ_ONCE(ks->tx.max_payload);
	u32 zerocopy = READ_ONCE(ks->tx.zerocopy);
	u32 no_pad = READ_ONCE(ks->rx.no_pad);

	switch (name) {
	case TLS_TX:
		return ktls_keys_get(ks, &ks->tx.dir, value, len);
	case TLS_RX:
		return ktls_keys_get(ks, &ks->rx.dir, value, len);
	case TLS_TX_ZEROCOPY_RO:
		return len == sizeof(zerocopy) ?
		       put_value(value, len_ptr, len, &zerocopy, sizeof(zerocopy)) : -EINVAL;
	case TLS_RX_EXPECT_NO_PAD:
		return READ_ONCE(ks->rx.dir.key) ?
		       put_value(value, len_ptr, len, &no_pad, sizeof(no_pad)) : -EINVAL;
	case TLS_TX_MAX_PAYLOAD_LEN:
		return put_value(value, len_ptr, len, &max, sizeof(max));
	default:
		return -ENOPROTOOPT;
	}
}

/* Without the lock: who holds it may be waiting for memory of the program's. */
static void fill_dir_info(const struct ktls_dir *dir, struct ktls_dir_info *info)
{
	const struct ktls_format *format = READ_ONCE(dir->format);
	const struct ktls_cipher *cipher = READ_ONCE(dir->cipher);

	if (format && cipher) {
		info->version = format->version;
		info->cipher = cipher->id;
	}
	info->rekeys = READ_ONCE(dir->rekeys);
	ktls_put_be64(info->rec_seq, READ_ONCE(dir->seq));
	info->records = READ_ONCE(dir->records);
	info->bytes = READ_ONCE(dir->bytes);
	info->control_records = READ_ONCE(dir->control);
}

static u32 info_flags(const struct ktls_sock *ks)
{
	const struct ktls_tx *tx = &ks->tx;
	const struct ktls_rx *rx = &ks->rx;

	return (READ_ONCE(ks->carrier.sk) ? KTLS_F_BOUND : 0) |
	       (READ_ONCE(tx->dir.key) ? KTLS_F_TX : 0) |
	       (READ_ONCE(rx->dir.key) ? KTLS_F_RX : 0) |
	       (READ_ONCE(tx->close_notify_sent) ? KTLS_F_CLOSE_NOTIFY_SENT : 0) |
	       (READ_ONCE(rx->eof) ? KTLS_F_CLOSE_NOTIFY_RCVD : 0) |
	       (READ_ONCE(rx->truncated) ? KTLS_F_TRUNCATED : 0) |
	       (READ_ONCE(rx->truncated_record) ? KTLS_F_TRUNCATED_RECORD : 0) |
	       (READ_ONCE(rx->dir.err) ? KTLS_F_RX_DEAD : 0) |
	       (READ_ONCE(tx->dir.err) || READ_ONCE(tx->dir.exhausted) ? KTLS_F_TX_DEAD : 0) |
	       (READ_ONCE(tx->dir.limit) != KTLS_LIMIT_AHEAD ? KTLS_F_TX_LIMIT : 0) |
	       (READ_ONCE(rx->dir.limit) != KTLS_LIMIT_AHEAD ? KTLS_F_RX_LIMIT : 0) |
	       (READ_ONCE(rx->hold) ? KTLS_F_RX_KEY_DUE : 0);
}

/* 0: not of datagrams, or nobody knows yet. */
static u32 usable_payload(struct ktls_sock *ks)
{
	return ktls_is_datagram(ks) ? max(ktls_batch_usable(ks), 0) : 0;
}

/**
 * ktls_sockopt_info() - KTLS_INFO
 * @ks: socket
 * @info: out
 *
 * Context: any.
 */
void ktls_sockopt_info(struct ktls_sock *ks, struct ktls_info *info)
{
	memset(info, 0, sizeof(*info));
	fill_dir_info(&ks->tx.dir, &info->tx);
	fill_dir_info(&ks->rx.dir, &info->rx);
	info->flags = info_flags(ks);
	info->max_payload = READ_ONCE(ks->tx.max_payload);
	info->rx_bad_tag = READ_ONCE(ks->rx.bad_tag);
	info->rx_bad_length = READ_ONCE(ks->rx.bad_length);
	info->rx_bad_version = READ_ONCE(ks->rx.bad_version);
	info->rx_replayed = READ_ONCE(ks->rx.replayed);
	info->rx_too_old = READ_ONCE(ks->rx.too_old);
	info->rx_bad_epoch = READ_ONCE(ks->rx.bad_epoch);
	info->rx_overflows = atomic64_read(&ks->rx.overflows);
	info->usable = usable_payload(ks);
	info->tx_queued = READ_ONCE(ks->tx.pending_bytes);
	info->rx_queued = READ_ONCE(ks->rx.queued_bytes);
	info->tx_left = ktls_limit_left(&ks->tx.dir);
	info->rx_left = ktls_limit_left(&ks->rx.dir);
}

static int get_info(struct ktls_sock *ks, char __user *value, int __user *len_ptr, int len)
{
	struct ktls_info info;
	int ret;

	ktls_sockopt_info(ks, &info);
	len = min_t(int, len, sizeof(info));
	ret = put_value(value, len_ptr, len, &info, len);
	/* A program that knows a shorter struct is not told. */
	if (ret || len < (int)offsetofend(struct ktls_info, rx_left))
		return ret;
	if (info.flags & KTLS_F_TX_LIMIT)
		ktls_limit_told(&ks->tx.dir, info.tx.rekeys);
	if (info.flags & KTLS_F_RX_LIMIT)
		ktls_limit_told(&ks->rx.dir, info.rx.rekeys);
	return 0;
}

static int get_ktls(struct ktls_sock *ks, int name, char __user *value, int __user *len_ptr,
		    int len)
{
	int mode = READ_ONCE(ks->rx.mode);
	int strict = READ_ONCE(ks->rx.strict_eof);
	int window = READ_ONCE(ks->rx.window_size);
	int segment = READ_ONCE(ks->tx.segment);
	int pause = READ_ONCE(ks->tx.paused);

	switch (name) {
	case KTLS_INFO:
		return get_info(ks, value, len_ptr, len);
	case KTLS_CONTROL:
		return put_value(value, len_ptr, len, &mode, sizeof(mode));
	case KTLS_STRICT_EOF:
		return put_value(value, len_ptr, len, &strict, sizeof(strict));
	case KTLS_REPLAY_WINDOW:
		return ktls_is_datagram(ks) ?
		       put_value(value, len_ptr, len, &window, sizeof(window)) : -EOPNOTSUPP;
	case KTLS_SEGMENT:
		return ktls_is_datagram(ks) ?
		       put_value(value, len_ptr, len, &segment, sizeof(segment)) : -EOPNOTSUPP;
	case KTLS_PAUSE:
		return put_value(value, len_ptr, len, &pause, sizeof(pause));
	default:
		return -ENOPROTOOPT;
	}
}

/**
 * ktls_sockopt_get() - getsockopt(2) of our levels
 * @sock: socket
 * @level: SOL_TLS, SOL_KTLS, SOL_SOCKET (set), or the carrier's SOL_TCP, SOL_IP, SOL_IPV6
 * @name: option
 * @value: where the value goes
 * @len_ptr: room there; becomes the value's size
 *
 * Context: process, no locks held; may sleep.
 * Return: 0 or -errno as <linux/ktls.h> says.
 */
int ktls_sockopt_get(struct socket *sock, int level, int name, char __user *value,
		     int __user *len_ptr)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	int len;

	if (get_user(len, len_ptr))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (level == SOL_TLS)
		return get_tls(ks, name, value, len_ptr, len);
	if (level == SOL_KTLS)
		return get_ktls(ks, name, value, len_ptr, len);
	if (is_carrier_option(level, name))
		return get_carrier(ks, level, name, value, len_ptr);
	return -ENOPROTOOPT;
}
