// SPDX-License-Identifier: GPL-2.0-only
/* TLS_TX and TLS_RX: keys taken from and shown to userspace. */
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
		WRITE_ONCE(dir->rekeys, dir->rekeys + 1);
	dir->seq = ktls_get_be64(key->info + cipher->seq_at);
	dir->nonce = ktls_record_explicit_len(key->format, cipher) ?
		     ktls_get_be64(key->info + cipher->iv_at) : 0;
	dir->exhausted = false;
	dir->may_rekey = false;
	WRITE_ONCE(dir->cipher, cipher);
	WRITE_ONCE(dir->format, key->format);
	WRITE_ONCE(dir->key, key);
	return old;
}

/*
 * A further key is taken after a ChangeCipherSpec only; in TLS 1.3 after the peer's KeyUpdate,
 * while ours is sent by whoever sets the key.
 */
static int check_key_change(const struct ktls_sock *ks, const struct ktls_dir *dir,
			    const struct key_request *request)
{
	const struct ktls_dir *other = dir == &ks->tx.dir ? &ks->rx.dir : &ks->tx.dir;
	const struct ktls_format *others = READ_ONCE(other->format);
	u64 seq = ktls_get_be64(request->info + request->cipher->seq_at);

	if (!ktls_is_connected(ks))
		return -ENOTCONN;
	if (request->format->stream == ktls_is_datagram(ks))
		return -EINVAL;
	/* One connection has one version. */
	if (others && others != request->format)
		return -EINVAL;
	if (!dir->key)
		return 0;
	if (dir->key->format != request->format)
		return -EINVAL;
	/* rfc8446 7.2: only the secret changes. */
	if (request->format->inner && dir->key->cipher != request->cipher)
		return -EINVAL;
	if (!dir->may_rekey && !(request->format->inner && dir == &ks->tx.dir))
		return -EBUSY;
	/* rfc6347 4.1: nobody goes back to an epoch. */
	return request->format->stream ||
	       ktls_record_epoch(seq) > ktls_record_epoch(dir->seq) ? 0 : -EINVAL;
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
	if (!old && !ktls_is_datagram(ks))
		ks->tx.write_seq = tcp_sk(ks->carrier.sk)->write_seq;
	ktls_carrier_own(ks);
	release_sock(ks->carrier.sk);
	ktls_limit_begin(ks, &ks->tx.dir);
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
	memset(&rx->messages, 0, sizeof(rx->messages));
	ktls_carrier_own(ks);
	ktls_stream_scan(ks);
	release_sock(ks->carrier.sk);
	ktls_limit_begin(ks, &rx->dir);
	count_key(ks, old, KTLS_STAT_RX_KEYS, KTLS_STAT_RX_REKEYS, KTLS_STAT_CURR_RX);
	/* What waited on the carrier woke nobody here. */
	mod_delayed_work(ktls_workqueue, &rx->work, 0);
	ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	return old;
}

static struct ktls_key *install_rx_datagram(struct ktls_sock *ks, struct ktls_key *key)
{
	struct ktls_key *old = install_key(&ks->rx.dir, key);

	ktls_limit_begin(ks, &ks->rx.dir);
	count_key(ks, old, KTLS_STAT_RX_KEYS, KTLS_STAT_RX_REKEYS, KTLS_STAT_CURR_RX);
	old = ktls_epoch_begin(ks, old);
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

/**
 * ktls_keys_set_tx() - TLS_TX
 * @ks: socket
 * @value: struct tls12_crypto_info_*
 * @len: its bytes
 *
 * Context: process, no locks held.
 * Return: 0 or -errno as <linux/ktls.h> says; then the old key stays.
 */
int ktls_keys_set_tx(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	return set_key(ks, &ks->tx.dir, value, len, install_tx);
}

/**
 * ktls_keys_set_rx() - TLS_RX
 * @ks: socket
 * @value: struct tls12_crypto_info_*
 * @len: its bytes
 *
 * Context: process, no locks held.
 * Return: 0 or -errno as <linux/ktls.h> says; then the old key stays.
 */
int ktls_keys_set_rx(struct ktls_sock *ks, sockptr_t value, unsigned int len)
{
	return set_key(ks, &ks->rx.dir, value, len,
		       ktls_is_datagram(ks) ? install_rx_datagram : install_rx);
}

/*
 * The key's struct with the current counters. Unless @whole, key, salt and a static iv are
 * zero: a worker that was handed the descriptor cannot take the key along.
 */
static void fill_key_info(const struct ktls_dir *dir, bool whole, u8 *info)
{
	const struct ktls_key *key = dir->key;
	const struct ktls_cipher *cipher = key->cipher;

	memcpy(info, key->info, cipher->info_len);
	if (!whole) {
		memset(info + cipher->key_at, 0, cipher->key_len);
		memset(info + cipher->salt_at, 0, cipher->salt_len);
		memset(info + cipher->iv_at, 0, cipher->iv_len);
	}
	if (ktls_record_explicit_len(key->format, cipher))
		ktls_put_be64(info + cipher->iv_at, dir->nonce);
	ktls_put_be64(info + cipher->seq_at, dir->seq);
}

/**
 * ktls_keys_get() - TLS_TX or TLS_RX read back
 * @ks: socket
 * @dir: its direction
 * @value: where the struct goes
 * @len: its bytes: those of the head or of the whole
 *
 * Context: process, no locks held.
 * Return: 0; -EBUSY: no key; -EINVAL: another size; -EFAULT.
 */
int ktls_keys_get(struct ktls_sock *ks, struct ktls_dir *dir, char __user *value, int len)
{
	bool whole = ns_capable(sock_net(&ks->sk)->user_ns, CAP_NET_ADMIN);
	u8 info[KTLS_CRYPTO_INFO_MAX];
	int full = 0;

	if (len < (int)sizeof(struct tls_crypto_info))
		return -EINVAL;
	mutex_lock(&dir->lock);
	if (dir->key) {
		fill_key_info(dir, whole, info);
		full = dir->key->cipher->info_len;
	}
	mutex_unlock(&dir->lock);
	if (!full)
		return -EBUSY;
	if (len != full && len != sizeof(struct tls_crypto_info))
		full = -EINVAL;
	else if (copy_to_user(value, info, len))
		full = -EFAULT;
	memzero_explicit(info, sizeof(info));
	return full < 0 ? full : 0;
}
