// SPDX-License-Identifier: GPL-2.0-only
/* Options: copied in, validated, one function an option. */
#include <linux/capability.h>
#include <linux/sockptr.h>

#include "ktls.h"

/**
 * struct key_request - a TLS_TX or TLS_RX as it came
 * @format: protocol version
 * @cipher: cipher
 * @info: the UAPI's struct
 */
struct key_request {
	const struct ktls_format *format;
	const struct ktls_cipher *cipher;
	u8 info[KTLS_CRYPTO_INFO_MAX];
};

static int read_key_request(sockptr_t value, unsigned int len, struct key_request *request)
{
	struct tls_crypto_info info;

	if (sockptr_is_null(value) || len < sizeof(info))
		return -EINVAL;
	if (copy_from_sockptr(&info, value, sizeof(info)))
		return -EFAULT;
	request->format = ktls_record_format(info.version);
	request->cipher = ktls_cipher_find(info.cipher_type);
	if (!request->format || !request->cipher || len != request->cipher->info_len)
		return -EINVAL;
	if (copy_from_sockptr(request->info, value, len))
		return -EFAULT;
	/* The head may have changed between the two copies. */
	memcpy(request->info, &info, sizeof(info));
	return 0;
}

/* The last thing that can fail is behind us. Returns the key to be freed. */
static struct ktls_key *install_key(struct ktls_dir *dir, struct ktls_key *key)
{
	const struct ktls_cipher *cipher = key->cipher;
	struct ktls_key *old = dir->key;

	if (old)
		dir->rekeys++;
	dir->seq = ktls_get_be64(key->info + cipher->seq_at);
	dir->nonce = cipher->explicit_len ? ktls_get_be64(key->info + cipher->iv_at) : 0;
	dir->exhausted = false;
	dir->may_rekey = false;
	WRITE_ONCE(dir->cipher, cipher);
	WRITE_ONCE(dir->format, key->format);
	WRITE_ONCE(dir->key, key);
	return old;
}

/* A further key is taken after a ChangeCipherSpec only. */
static int check_key_change(const struct ktls_sock *ks, const struct ktls_dir *dir,
			    const struct key_request *request)
{
	if (!ks->carrier.sk)
		return -ENOTCONN;
	if (!dir->key)
		return 0;
	if (dir->key->format != request->format)
		return -EINVAL;
	return dir->may_rekey ? 0 : -EBUSY;
}

static void count_key(struct ktls_sock *ks, const struct ktls_key *old, enum ktls_stat keys,
		      enum ktls_stat rekeys, enum ktls_stat current_keys)
{
	struct net *net = sock_net(&ks->sk);

	ktls_stats_inc(net, keys);
	if (old)
		ktls_stats_inc(net, rekeys);
	else
		ktls_stats_inc(net, current_keys);
}

static struct ktls_key *install_tx(struct ktls_sock *ks, struct ktls_key *key)
{
	struct ktls_key *old;

	lock_sock(ks->carrier.sk);
	old = install_key(&ks->tx.dir, key);
	ktls_carrier_own(ks);
	release_sock(ks->carrier.sk);
	count_key(ks, old, KTLS_STAT_TX_KEYS, KTLS_STAT_TX_REKEYS, KTLS_STAT_CURR_TX);
	ktls_carrier_wake(ks, EPOLLOUT | EPOLLWRNORM);
	return old;
}

static struct ktls_key *install_rx(struct ktls_sock *ks, struct ktls_key *key)
{
	struct ktls_rx *rx = &ks->rx;
	struct ktls_key *old;

	lock_sock(ks->carrier.sk);
	old = install_key(&rx->dir, key);
	if (!old)
		rx->copied_seq = tcp_sk(ks->carrier.sk)->copied_seq;
	WRITE_ONCE(rx->hold, false);
	ktls_carrier_own(ks);
	ktls_stream_scan(ks);
	release_sock(ks->carrier.sk);
	count_key(ks, old, KTLS_STAT_RX_KEYS, KTLS_STAT_RX_REKEYS, KTLS_STAT_CURR_RX);
	/* What waited on the carrier woke nobody here. */
	queue_work(ktls_workqueue, &rx->work);
	ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	return old;
}

static int set_key(struct ktls_sock *ks, struct ktls_dir *dir, sockptr_t value, unsigned int len,
		   struct ktls_key *(*install)(struct ktls_sock *ks, struct ktls_key *key))
{
	struct key_request request;
	struct ktls_key *key;
	int ret;

	/* Before the struct is judged: who is not bound is told so. */
	if (!READ_ONCE(ks->carrier.sk))
		return -ENOTCONN;
	ret = read_key_request(value, len, &request);
	if (ret)
		goto wipe;
	key = ktls_crypto_key(request.format, request.cipher, request.info);
	ret = PTR_ERR_OR_ZERO(key);
	if (ret)
		goto wipe;

	lock_sock(&ks->sk);
	mutex_lock(&dir->lock);
	ret = check_key_change(ks, dir, &request);
	if (!ret && dir == &ks->tx.dir && ks->tx.open.len)
		ret = -EBUSY;
	/* Nothing fails below. */
	if (!ret)
		key = install(ks, key);
	mutex_unlock(&dir->lock);
	release_sock(&ks->sk);
	ktls_crypto_key_free(key);
wipe:
	memzero_explicit(&request, sizeof(request));
	return ret;
}

/* u32 options with 0 and 1 only. */
static int read_flag(sockptr_t value, unsigned int len, int *flag)
{
	if (sockptr_is_null(value) || len != sizeof(*flag))
		return -EINVAL;
	if (copy_from_sockptr(flag, value, sizeof(*flag)))
		return -EFAULT;
	return *flag == 0 || *flag == 1 ? 0 : -EINVAL;
}

/* Spliced pages are always encrypted from where they lie, so this asks for nothing new. */
static int set_zerocopy(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int flag, ret = read_flag(value, len, &flag);

	if (!ret)
		WRITE_ONCE(ks->tx.zerocopy, flag);
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
		return set_key(ks, &ks->tx.dir, value, len, install_tx);
	case TLS_RX:
		return set_key(ks, &ks->rx.dir, value, len, install_rx);
	case TLS_TX_ZEROCOPY_RO:
		return set_zerocopy(ks, value, len);
	case TLS_RX_EXPECT_NO_PAD:
		/* Of TLS 1.3 only, as in kernel TLS. */
		return -EINVAL;
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
	/* What was opened or read ahead cannot be put back into the carrier. */
	if (!skb_queue_empty(&rx->queue) || !skb_queue_empty(&rx->controls) || rx->ahead_bytes)
		return -EBUSY;
	ret = ktls_tx_flush(ks);
	/* A dead direction has nothing to complete. */
	return ret == -EBUSY || ret == -ENOMEM ? ret : 0;
}

static int set_detach(struct ktls_sock *ks)
{
	struct socket *carrier = NULL;
	int ret;

	lock_sock(&ks->sk);
	mutex_lock(&ks->tx.dir.lock);
	mutex_lock(&ks->rx.dir.lock);
	ret = ready_to_detach(ks);
	if (!ret)
		carrier = ktls_sock_unbind(ks);
	mutex_unlock(&ks->rx.dir.lock);
	mutex_unlock(&ks->tx.dir.lock);
	release_sock(&ks->sk);
	if (carrier) {
		/* poll looks at the carrier under RCU. */
		synchronize_rcu();
		sockfd_put(carrier);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLOUT | EPOLLHUP);
	}
	return ret;
}

static int set_control(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	int mode, ret = read_flag(value, len, &mode);

	if (ret)
		return ret;
	mutex_lock(&ks->rx.dir.lock);
	WRITE_ONCE(ks->rx.mode, mode);
	mutex_unlock(&ks->rx.dir.lock);
	queue_work(ktls_workqueue, &ks->rx.work);
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
	else
		ret = ktls_stream_prepend(ks, value, len);
	mutex_unlock(&ks->rx.dir.lock);
	return ret;
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
	case KTLS_SEGMENT:
		return -EOPNOTSUPP;
	default:
		return -ENOPROTOOPT;
	}
}

/**
 * ktls_sockopt_set() - setsockopt(2) of our levels
 * @sock: socket
 * @level: SOL_TLS or SOL_KTLS
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
	return -ENOPROTOOPT;
}

/*
 * The key's struct with the current counters. Without CAP_NET_ADMIN key, salt and a static
 * iv are zero: a worker that was handed the descriptor cannot take the key along.
 */
static void fill_key_info(const struct ktls_dir *dir, u8 *info)
{
	const struct ktls_key *key = dir->key;
	const struct ktls_cipher *cipher = key->cipher;

	memcpy(info, key->info, cipher->info_len);
	if (!capable(CAP_NET_ADMIN)) {
		memset(info + cipher->key_at, 0, cipher->key_len);
		memset(info + cipher->salt_at, 0, cipher->salt_len);
		memset(info + cipher->iv_at, 0, cipher->iv_len);
	}
	if (cipher->explicit_len)
		ktls_put_be64(info + cipher->iv_at, dir->nonce);
	ktls_put_be64(info + cipher->seq_at, dir->seq);
}

static int get_key(struct ktls_dir *dir, char __user *value, int len)
{
	u8 info[KTLS_CRYPTO_INFO_MAX];
	int full = 0;

	if (len < (int)sizeof(struct tls_crypto_info))
		return -EINVAL;
	mutex_lock(&dir->lock);
	if (dir->key) {
		fill_key_info(dir, info);
		full = dir->key->cipher->info_len;
	}
	mutex_unlock(&dir->lock);
	if (!full)
		return -ENOKEY;
	if (len != full && len != sizeof(struct tls_crypto_info))
		full = -EINVAL;
	else if (copy_to_user(value, info, len))
		full = -EFAULT;
	memzero_explicit(info, sizeof(info));
	return full < 0 ? full : 0;
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

	switch (name) {
	case TLS_TX:
		return get_key(&ks->tx.dir, value, len);
	case TLS_RX:
		return get_key(&ks->rx.dir, value, len);
	case TLS_TX_ZEROCOPY_RO:
		return len == sizeof(zerocopy) ?
		       put_value(value, len_ptr, len, &zerocopy, sizeof(zerocopy)) : -EINVAL;
	case TLS_RX_EXPECT_NO_PAD:
		return -EINVAL;
	case TLS_TX_MAX_PAYLOAD_LEN:
		return put_value(value, len_ptr, len, &max, sizeof(max));
	default:
		return -ENOPROTOOPT;
	}
}

static void fill_dir_info(struct ktls_dir *dir, struct ktls_dir_info *info)
{
	mutex_lock(&dir->lock);
	if (dir->key) {
		info->version = dir->key->format->version;
		info->cipher = dir->key->cipher->id;
	}
	info->rekeys = dir->rekeys;
	ktls_put_be64(info->rec_seq, dir->seq);
	info->records = dir->records;
	info->bytes = dir->bytes;
	info->control_records = dir->control;
	mutex_unlock(&dir->lock);
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
	       (READ_ONCE(tx->dir.err) || READ_ONCE(tx->dir.exhausted) ? KTLS_F_TX_DEAD : 0);
}

/**
 * ktls_sockopt_info() - KTLS_INFO
 * @ks: socket
 * @info: out
 *
 * Context: process, neither direction's lock held.
 */
void ktls_sockopt_info(struct ktls_sock *ks, struct ktls_info *info)
{
	memset(info, 0, sizeof(*info));
	fill_dir_info(&ks->tx.dir, &info->tx);
	fill_dir_info(&ks->rx.dir, &info->rx);
	info->flags = info_flags(ks);
	info->max_payload = READ_ONCE(ks->tx.max_payload);
	info->rx_bad_tag = ks->rx.bad_tag;
	info->rx_bad_length = ks->rx.bad_length;
	info->rx_bad_version = ks->rx.bad_version;
	info->tx_queued = READ_ONCE(ks->tx.pending_bytes);
	info->rx_queued = READ_ONCE(ks->rx.queued_bytes);
}

static int get_info(struct ktls_sock *ks, char __user *value, int __user *len_ptr, int len)
{
	struct ktls_info info;

	ktls_sockopt_info(ks, &info);
	len = min_t(int, len, sizeof(info));
	return put_value(value, len_ptr, len, &info, len);
}

static int get_ktls(struct ktls_sock *ks, int name, char __user *value, int __user *len_ptr,
		    int len)
{
	int mode = READ_ONCE(ks->rx.mode);
	int strict = READ_ONCE(ks->rx.strict_eof);

	switch (name) {
	case KTLS_INFO:
		return get_info(ks, value, len_ptr, len);
	case KTLS_CONTROL:
		return put_value(value, len_ptr, len, &mode, sizeof(mode));
	case KTLS_STRICT_EOF:
		return put_value(value, len_ptr, len, &strict, sizeof(strict));
	case KTLS_REPLAY_WINDOW:
	case KTLS_SEGMENT:
		return -EOPNOTSUPP;
	default:
		return -ENOPROTOOPT;
	}
}

/**
 * ktls_sockopt_get() - getsockopt(2) of our levels
 * @sock: socket
 * @level: SOL_TLS or SOL_KTLS
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
	return -ENOPROTOOPT;
}
