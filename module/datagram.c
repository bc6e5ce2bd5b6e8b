// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving datagrams: queued as they come, opened by who reads. A datagram may hold several
 * records; each is judged alone, and a bad one is dropped and counted (rfc6347 4.1.2.7).
 */
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/udp.h>

#include "ktls.h"
#include "trace.h"

/* Records of one datagram that are looked at when it comes. */
#define KTLS_JUDGE_MAX	16

static bool is_handshake(u8 type)
{
	return type >= KTLS_TYPE_CHANGE_CIPHER_SPEC && type <= KTLS_TYPE_HANDSHAKE;
}

/* Handshakes under keys that we do not have are for the carrier's readers. */
static int judge_record(const struct ktls_sock *ks, int current_epoch, const u8 *raw)
{
	int epoch = ktls_record_epoch(ktls_get_be64(raw + 3));
	u8 type = raw[0];

	if (is_handshake(type) && epoch != current_epoch && epoch != current_epoch - 1 &&
	    epoch != current_epoch + 1)
		return KTLS_FOREIGN;
	/* Epoch 0 has no keys. */
	if (is_handshake(type) && !epoch)
		return KTLS_FOREIGN;
	if (type == KTLS_TYPE_DATA)
		return KTLS_OURS;
	/* rfc6347 4.2.8: a peer that forgot us may be at the end of another handshake. */
	return KTLS_OURS | KTLS_CONTROL_IN |
	       (type == KTLS_TYPE_HANDSHAKE && ktls_udp_shares(ks) ? KTLS_FOREIGN : 0);
}

/**
 * ktls_datagram_judge() - whom is a datagram for?
 * @ks: socket whose peer sent it
 * @skb: the datagram
 * @offset: where its payload begins
 *
 * Context: any.
 * Return: set of KTLS_OURS, KTLS_FOREIGN, KTLS_CONTROL_IN.
 */
int ktls_datagram_judge(const struct ktls_sock *ks, const struct sk_buff *skb, u32 offset)
{
	int epoch = READ_ONCE(ks->rx.epoch);
	u8 raw[KTLS_HEADER_MAX];
	int seen = 0, n;

	if (epoch < 0 || skb->len <= offset || skb_copy_bits(skb, offset, raw, 1) ||
	    !ktls_record_is_dtls(raw[0]))
		return KTLS_FOREIGN;
	for (n = 0; n < KTLS_JUDGE_MAX && offset + sizeof(raw) <= skb->len; n++) {
		if (skb_copy_bits(skb, offset, raw, sizeof(raw)))
			break;
		seen |= judge_record(ks, epoch, raw);
		offset += sizeof(raw) + ktls_get_be16(raw + KTLS_HEADER_MAX - 2);
	}
	return seen ?: KTLS_OURS;
}

static bool has_memory(const struct ktls_sock *ks, const struct sk_buff *skb)
{
	int used = atomic_read(&ks->sk.sk_rmem_alloc);

	/* As UDP: one datagram is taken, however large. */
	return !used || used + (int)skb->truesize <= READ_ONCE(ks->sk.sk_rcvbuf);
}

/**
 * ktls_datagram_queue() - keep a datagram until somebody reads
 * @ks: socket
 * @skb: its payload; freed when there is no room
 * @seen: of ktls_datagram_judge()
 *
 * Context: any but hard interrupts.
 */
void ktls_datagram_queue(struct ktls_sock *ks, struct sk_buff *skb, int seen)
{
	struct ktls_rx *rx = &ks->rx;
	bool taken = false;

	skb_dst_drop(skb);
	skb->dev = NULL;
	spin_lock_bh(&rx->datagrams.lock);
	if (!rx->closed && has_memory(ks, skb)) {
		skb_set_owner_r(skb, &ks->sk);
		__skb_queue_tail(&rx->datagrams, skb);
		taken = true;
		if ((seen & KTLS_CONTROL_IN) && READ_ONCE(rx->mode) == KTLS_CONTROL_QUEUE)
			mod_delayed_work(ktls_workqueue, &rx->work, 0);
	}
	spin_unlock_bh(&rx->datagrams.lock);
	if (taken) {
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
		return;
	}
	atomic64_inc(&rx->overflows);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
	kfree_skb(skb);
}

/**
 * ktls_datagram_arrived() - the peer of an association sent something
 * @ks: the association
 * @skb: UDP header and payload
 *
 * Context: BH, RCU.
 * Return: 0: taken; 1: for the carrier's queue.
 */
int ktls_datagram_arrived(struct ktls_sock *ks, struct sk_buff *skb)
{
	int seen = ktls_datagram_judge(ks, skb, sizeof(struct udphdr));
	bool both = (seen & KTLS_OURS) && (seen & KTLS_FOREIGN);

	if (!(seen & KTLS_OURS))
		return 1;
	if (both)
		skb = skb_clone(skb, GFP_ATOMIC);
	if (skb) {
		skb_pull(skb, sizeof(struct udphdr));
		ktls_datagram_queue(ks, skb, seen);
	}
	return both;
}

/**
 * ktls_datagram_prepend() - a datagram that somebody had read off the carrier
 * @ks: bound socket without an RX key
 * @bytes: the datagram
 * @len: its bytes
 *
 * Context: process, rx.dir.lock held.
 * Return: 0, -EMSGSIZE, -ENOMEM or -EFAULT; then nothing was added.
 */
int ktls_datagram_prepend(struct ktls_sock *ks, sockptr_t bytes, u32 len)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;

	lockdep_assert_held(&rx->dir.lock);
	if (len > KTLS_PREPEND_MAX - rx->ahead_bytes || skb_queue_len(&rx->early) >= KTLS_EARLY_MAX)
		return -EMSGSIZE;
	skb = alloc_skb(len, GFP_KERNEL_ACCOUNT);
	if (!skb)
		return -ENOMEM;
	if (copy_from_sockptr(skb_put(skb, len), bytes, len)) {
		kfree_skb(skb);
		return -EFAULT;
	}
	skb_set_owner_r(skb, &ks->sk);
	__skb_queue_tail(&rx->early, skb);
	rx->ahead_bytes += len;
	return 0;
}

/**
 * ktls_datagram_open_queue() - datagrams may be queued from now on
 * @ks: socket
 *
 * Context: process.
 */
void ktls_datagram_open_queue(struct ktls_sock *ks)
{
	spin_lock_bh(&ks->rx.datagrams.lock);
	ks->rx.closed = false;
	spin_unlock_bh(&ks->rx.datagrams.lock);
}

/**
 * ktls_datagram_close_queue() - drop what is queued, and all that comes
 * @ks: socket
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_datagram_close_queue(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;

	WRITE_ONCE(rx->epoch, -1);
	spin_lock_bh(&rx->datagrams.lock);
	rx->closed = true;
	__skb_queue_purge(&rx->datagrams);
	spin_unlock_bh(&rx->datagrams.lock);
	__skb_queue_purge(&rx->early);
	kfree_skb(rx->datagram);
	rx->datagram = NULL;
	ktls_crypto_key_free(rx->previous);
	rx->previous = NULL;
}

/**
 * ktls_datagram_next_epoch() - a key was installed
 * @ks: bound socket; rx.dir.key is the new key
 * @old: the key before, NULL: it is the first
 *
 * Context: process, rx.dir.lock held.
 * Return: a key that nobody needs any more, or NULL.
 */
struct ktls_key *ktls_datagram_next_epoch(struct ktls_sock *ks, struct ktls_key *old)
{
	struct ktls_rx *rx = &ks->rx;
	struct ktls_key *oldest = rx->previous;

	lockdep_assert_held(&rx->dir.lock);
	ktls_window_init(&rx->dir.key->window, rx->dir.seq & KTLS_DTLS_SEQ_MAX);
	rx->previous = old;
	rx->previous_until = jiffies + KTLS_PREVIOUS_EPOCH;
	WRITE_ONCE(rx->epoch, ktls_record_epoch(rx->dir.seq));
	spin_lock_bh(&rx->datagrams.lock);
	skb_queue_splice_init(&rx->early, &rx->datagrams);
	spin_unlock_bh(&rx->datagrams.lock);
	rx->ahead_bytes = 0;
	ktls_udp_drain(ks);
	if (!old)
		queue_rcu_work(ktls_workqueue, &rx->late);
	return oldest;
}

static void drop(struct ktls_sock *ks, u64 *cause, enum ktls_stat stat, u64 seq)
{
	(*cause)++;
	ktls_stats_inc(sock_net(&ks->sk), stat);
	trace_ktls_dropped(ks, stat, seq);
}

/* The key of an epoch; NULL: there is none. */
static struct ktls_key *key_of(struct ktls_rx *rx, u64 seq)
{
	int epoch = ktls_record_epoch(seq);

	if (epoch == rx->epoch)
		return rx->dir.key;
	if (epoch == rx->epoch - 1 && rx->previous && time_before(jiffies, rx->previous_until))
		return rx->previous;
	return NULL;
}

/* The header of the next record, if the datagram is at least so long. */
static int next_header(struct ktls_sock *ks, const struct sk_buff *skb, struct ktls_header *header)
{
	const struct ktls_key *key = ks->rx.dir.key;
	u8 raw[KTLS_HEADER_MAX];
	int ret;

	if (skb_copy_bits(skb, 0, raw, sizeof(raw)))
		return -EMSGSIZE;
	header->seq = ktls_get_be64(raw + 3);
	ret = ktls_record_parse(key->format, key->cipher, raw, header);
	return !ret && header->record_len > skb->len ? -EMSGSIZE : ret;
}

/* The next record of the datagram in work, in an skb of its own; ERR_PTR: it was dropped. */
static struct sk_buff *take_record(struct ktls_sock *ks, u32 len)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb = rx->datagram;
	struct sk_buff *record;

	if (len == skb->len) {
		rx->datagram = NULL;
		return skb;
	}
	record = alloc_skb(len, GFP_KERNEL);
	if (record && !skb_copy_bits(skb, 0, skb_put(record, len), len)) {
		skb_set_owner_r(record, &ks->sk);
	} else {
		kfree_skb(record);
		record = ERR_PTR(-ENOMEM);
	}
	pskb_pull(skb, len);
	return record;
}

static int read_nonce(const struct ktls_key *key, const struct sk_buff *skb, u8 *nonce)
{
	return skb_copy_bits(skb, key->format->header_len, nonce, key->cipher->explicit_len);
}

static int open_in_place(struct ktls_key *key, struct sk_buff *skb,
			 const struct ktls_header *header)
{
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	u8 nonce[KTLS_SEQ_LEN];
	int ret;

	read_nonce(key, skb, nonce);
	sg_init_table(key->dst, 2);
	sg_set_buf(&key->dst[1], skb->data + prefix, header->payload_len + KTLS_TAG_LEN);
	ret = ktls_crypto_open(key, header->seq, nonce, header, true);
	if (!ret) {
		__skb_pull(skb, prefix);
		__skb_trim(skb, header->payload_len);
	}
	return ret;
}

/*
 * From memory that others may look at, or even write to, too. The opened record or ERR_PTR;
 * @skb stays.
 */
static struct sk_buff *open_copy(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
				 const struct ktls_header *header)
{
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	struct sk_buff *opened;
	u8 nonce[KTLS_SEQ_LEN];
	int ret;

	/* A cipher may visit what it authenticates a second time to decrypt it. */
	if ((skb_has_frag_list(skb) || skb_has_shared_frag(skb)) && skb_linearize(skb))
		return ERR_PTR(-ENOMEM);
	/* There is always room for the tag: no entry is empty. */
	opened = alloc_skb(header->payload_len + KTLS_TAG_LEN, GFP_KERNEL);
	if (!opened)
		return ERR_PTR(-ENOMEM);
	skb_set_owner_r(opened, &ks->sk);
	skb_put(opened, header->payload_len);

	read_nonce(key, skb, nonce);
	sg_init_table(key->src, 1 + KTLS_SRC_MAX);
	ret = skb_to_sgvec_nomark(skb, key->src + 1, prefix, header->payload_len + KTLS_TAG_LEN);
	if (ret > 0) {
		sg_mark_end(&key->src[ret]);
		sg_init_table(key->dst, 2);
		sg_set_buf(&key->dst[1], opened->data, header->payload_len + KTLS_TAG_LEN);
		ret = ktls_crypto_open(key, header->seq, nonce, header, false);
	}
	if (ret) {
		kfree_skb(opened);
		return ERR_PTR(ret);
	}
	return opened;
}

/* Decrypts a record; the opened record or ERR_PTR. */
static struct sk_buff *open_record(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
				   const struct ktls_header *header)
{
	struct sk_buff *opened;
	int ret;

	if (!skb_is_nonlinear(skb) && !skb_cloned(skb)) {
		ret = open_in_place(key, skb, header);
		if (!ret)
			return skb;
		opened = ERR_PTR(ret);
	} else {
		opened = open_copy(ks, key, skb, header);
	}
	kfree_skb(skb);
	return opened;
}

/* rfc9325 4.4: who may try without end finds a forgery some day. */
static int count_failure(struct ktls_sock *ks, struct ktls_key *key, int ret, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;
	u64 memory = 0;

	if (ret != -EBADMSG) {
		drop(ks, &memory, KTLS_STAT_RX_NO_MEMORY, seq);
		return 0;
	}
	drop(ks, &rx->bad_tag, KTLS_STAT_RX_BAD_TAG, seq);
	if (++key->failed < key->cipher->failed_max || key != rx->dir.key)
		return 0;
	WRITE_ONCE(rx->dir.err, -EBADMSG);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_GIVEN_UP);
	return -EBADMSG;
}

static void deliver_record(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
			   const struct ktls_header *header)
{
	struct ktls_rx *rx = &ks->rx;

	trace_ktls_opened(ks, header->type, header->payload_len, header->seq);
	ktls_window_commit(&key->window, header->seq & KTLS_DTLS_SEQ_MAX);
	if (key == rx->dir.key)
		rx->dir.seq = (u64)rx->epoch << KTLS_EPOCH_SHIFT | key->window.next;
	ktls_open_count(ks, header);
	*ktls_skb_cb(skb) = (struct ktls_skb_cb){ .type = header->type };
	if (header->type != KTLS_TYPE_DATA && rx->mode == KTLS_CONTROL_QUEUE &&
	    skb_queue_len(&rx->controls) >= KTLS_CONTROL_MAX) {
		atomic64_inc(&rx->overflows);
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
		kfree_skb(skb);
		return;
	}
	ktls_open_enqueue(ks, skb);
}

/* A record whose key is to come. */
static void hold(struct ktls_sock *ks, struct sk_buff *skb)
{
	struct ktls_rx *rx = &ks->rx;

	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_EARLY);
	if (skb_queue_len(&rx->early) < KTLS_EARLY_MAX) {
		__skb_queue_tail(&rx->early, skb);
		return;
	}
	kfree_skb(skb);
	atomic64_inc(&rx->overflows);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
}

/* Is it worth decrypting? Else it is counted. */
static bool is_fresh(struct ktls_sock *ks, const struct ktls_key *key, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;

	if (!key) {
		drop(ks, &rx->bad_epoch, KTLS_STAT_RX_BAD_EPOCH, seq);
		return false;
	}
	switch (ktls_window_check(&key->window, READ_ONCE(rx->window_size),
				  seq & KTLS_DTLS_SEQ_MAX)) {
	case KTLS_FRESH:
		return true;
	case KTLS_REPLAYED:
		drop(ks, &rx->replayed, KTLS_STAT_RX_REPLAYED, seq);
		return false;
	default:
		drop(ks, &rx->too_old, KTLS_STAT_RX_TOO_OLD, seq);
		return false;
	}
}

/* Without a length that makes sense nobody knows where the next record begins. */
static void drop_rest(struct ktls_sock *ks, int ret, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;

	if (ret == -EINVAL)
		drop(ks, &rx->bad_version, KTLS_STAT_RX_BAD_VERSION, seq);
	else
		drop(ks, &rx->bad_length, KTLS_STAT_RX_BAD_LENGTH, seq);
	kfree_skb(rx->datagram);
	rx->datagram = NULL;
}

/*
 * Records of handshakes without keys have no tag, so no length is too short: who reads the
 * carrier judges them. What comes behind, a Finished, is ours.
 */
static bool skip_plain(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	u8 raw[KTLS_HEADER_MAX];
	u32 len;

	if (skb_copy_bits(rx->datagram, 0, raw, sizeof(raw)) ||
	    ktls_record_epoch(ktls_get_be64(raw + 3)))
		return false;
	drop(ks, &rx->bad_epoch, KTLS_STAT_RX_BAD_EPOCH, ktls_get_be64(raw + 3));
	len = sizeof(raw) + ktls_get_be16(raw + KTLS_HEADER_MAX - 2);
	if (len < rx->datagram->len && pskb_pull(rx->datagram, len))
		return true;
	kfree_skb(rx->datagram);
	rx->datagram = NULL;
	return true;
}

/* Deals with the next record of the datagram in work. 0, or the error that ends all. */
static int open_next(struct ktls_sock *ks)
{
	struct ktls_header header = { };
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;
	struct ktls_key *key;
	bool early, fresh;
	int ret;

	if (skip_plain(ks))
		return 0;
	ret = next_header(ks, rx->datagram, &header);
	if (ret) {
		drop_rest(ks, ret, header.seq);
		return 0;
	}
	key = key_of(rx, header.seq);
	early = ktls_record_epoch(header.seq) == rx->epoch + 1;
	fresh = early || is_fresh(ks, key, header.seq);
	skb = take_record(ks, header.record_len);
	if (!IS_ERR(skb) && early) {
		hold(ks, skb);
		return 0;
	}
	if (!fresh) {
		if (!IS_ERR(skb))
			kfree_skb(skb);
		return 0;
	}
	if (!IS_ERR(skb))
		skb = open_record(ks, key, skb, &header);
	if (IS_ERR(skb))
		return count_failure(ks, key, PTR_ERR(skb), header.seq);
	deliver_record(ks, key, skb, &header);
	return 0;
}

/* Opens records until one is queued. 0: one is; -ENODATA: nothing is left; else the end. */
static int fill_queue(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	int ret = rx->dir.err;

	lockdep_assert_held(&rx->dir.lock);
	while (!ret && skb_queue_empty(&rx->queue)) {
		if (!rx->datagram)
			rx->datagram = skb_dequeue(&rx->datagrams);
		if (!rx->datagram)
			return -ENODATA;
		if (rx->eof) {
			/* rfc5246 7.2.1: what follows a close_notify is ignored. */
			kfree_skb(rx->datagram);
			rx->datagram = NULL;
		} else {
			ret = open_next(ks);
		}
	}
	return ret;
}

/* Nothing is there: 1: wait for it; 0: end of file; else the error to report. */
static int why_nothing(struct ktls_sock *ks, long timeo)
{
	int ret;

	if (ks->rx.eof || (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN))
		return 0;
	ret = sock_error(&ks->sk);
	if (ret)
		return ret;
	if (!timeo)
		return -EAGAIN;
	return signal_pending(current) ? sock_intr_errno(timeo) : 1;
}

static bool has_news(struct ktls_sock *ks)
{
	return !skb_queue_empty_lockless(&ks->rx.datagrams) ||
	       !skb_queue_empty_lockless(&ks->rx.queue) || READ_ONCE(ks->rx.eof) ||
	       READ_ONCE(ks->rx.dir.err) || (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN) ||
	       READ_ONCE(ks->sk.sk_err) || !READ_ONCE(ks->carrier.sk);
}

/* Waits without rx.dir.lock; the caller looks at everything again afterwards. */
static void wait_for_news(struct ktls_sock *ks, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	add_wait_queue(sk_sleep(&ks->sk), &wait);
	mutex_unlock(&ks->rx.dir.lock);
	if (!has_news(ks))
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	mutex_lock(&ks->rx.dir.lock);
	remove_wait_queue(sk_sleep(&ks->sk), &wait);
}

/* Until a record is queued: 1; 0: end of file; -errno. */
static int wait_for_record(struct ktls_sock *ks, long timeo)
{
	int ret;

	for (;;) {
		ret = ktls_rx_check_ready(ks);
		if (ret)
			return ret;
		ret = fill_queue(ks);
		if (!ret)
			return 1;
		if (ret != -ENODATA)
			return ret;
		ret = why_nothing(ks, timeo);
		if (ret <= 0)
			return ret;
		wait_for_news(ks, &timeo);
	}
}

/* One record: what does not fit is lost, and MSG_TRUNC says so. */
static int recv_record(struct ktls_sock *ks, struct ktls_read *read)
{
	struct sk_buff *skb = skb_peek(&ks->rx.queue);
	u32 len = skb->len - ktls_skb_cb(skb)->offset;
	int ret, flags = read->flags;

	/* The flag asks for the length; the bytes are wanted nevertheless. */
	read->flags &= ~MSG_TRUNC;
	ret = ktls_rx_deliver(read, skb);
	if (ret == -EIO && ktls_open_is_close_notify(skb)) {
		if (!(flags & MSG_PEEK))
			ktls_rx_consume(&ks->rx, skb, len);
		return 0;
	}
	if (ret < 0)
		return ret;
	if (ret < len)
		read->msg->msg_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK))
		ktls_rx_consume(&ks->rx, skb, len);
	return flags & MSG_TRUNC ? len : ret;
}

/**
 * ktls_datagram_recvmsg() - recvmsg(2) of datagram sockets
 * @ks: socket
 * @msg: the reader's
 * @len: bytes it has room for
 * @flags: MSG_*
 *
 * Context: process, no locks held; may sleep and, unless MSG_DONTWAIT, wait.
 * Return: bytes of one record, 0: end of file; -errno as <linux/ktls.h> says.
 */
int ktls_datagram_recvmsg(struct ktls_sock *ks, struct msghdr *msg, size_t len, int flags)
{
	struct ktls_read read = {
		.msg = msg, .want = len, .flags = flags, .type = KTLS_NO_TYPE,
	};
	int ret;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	mutex_lock(&ks->rx.dir.lock);
	if (flags & MSG_ERRQUEUE) {
		ret = ktls_rx_recv_control(ks, &read);
		if (!ret)
			ret = read.done;
	} else {
		ret = wait_for_record(ks, sock_rcvtimeo(&ks->sk, flags & MSG_DONTWAIT));
		if (ret > 0)
			ret = recv_record(ks, &read);
	}
	mutex_unlock(&ks->rx.dir.lock);
	return ret;
}

/**
 * ktls_datagram_splice_read() - splice(2) from a datagram socket
 * @ks: socket
 * @pipe: locked by the caller, with room
 * @len: bytes wanted
 * @nonblock: do not wait
 * @flags: SPLICE_F_*
 *
 * Context: process; may sleep and, unless @nonblock, wait.
 * Return: bytes spliced, of one record, of which the rest stays; 0: end of file; -EINVAL: the
 * next record is not data; else as ktls_datagram_recvmsg().
 */
ssize_t ktls_datagram_splice_read(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
				  bool nonblock, unsigned int flags)
{
	ssize_t ret;

	mutex_lock(&ks->rx.dir.lock);
	ret = wait_for_record(ks, sock_rcvtimeo(&ks->sk, nonblock));
	if (ret > 0)
		ret = ktls_rx_splice_queued(ks, pipe, len, flags);
	mutex_unlock(&ks->rx.dir.lock);
	return ret;
}

/* Opens what came, as far as it tells whether there is something to read. */
static void look(struct ktls_sock *ks)
{
	mutex_lock(&ks->rx.dir.lock);
	if (!ktls_rx_check_ready(ks))
		fill_queue(ks);
	mutex_unlock(&ks->rx.dir.lock);
}

static bool has_opened(const struct ktls_rx *rx)
{
	return !skb_queue_empty_lockless(&rx->queue) || READ_ONCE(rx->dir.err);
}

/**
 * ktls_datagram_readable() - would a read find something now? (poll)
 * @ks: socket
 *
 * As UDP does with checksums, this opens datagrams: a forged one makes nobody readable.
 *
 * Context: process, no locks held; may sleep.
 */
bool ktls_datagram_readable(struct ktls_sock *ks)
{
	if (skb_queue_empty_lockless(&ks->rx.queue) &&
	    !skb_queue_empty_lockless(&ks->rx.datagrams))
		look(ks);
	return has_opened(&ks->rx);
}

/**
 * ktls_datagram_available() - bytes of the next record (FIONREAD)
 * @ks: socket
 *
 * Context: process, no locks of @ks held.
 */
u32 ktls_datagram_available(struct ktls_sock *ks)
{
	struct sk_buff *skb;
	u32 bytes = 0;

	look(ks);
	mutex_lock(&ks->rx.dir.lock);
	skb = skb_peek(&ks->rx.queue);
	if (skb)
		bytes = skb->len - ktls_skb_cb(skb)->offset;
	mutex_unlock(&ks->rx.dir.lock);
	return bytes;
}

/**
 * ktls_datagram_work() - open control records for which no reader may be there
 * @work: of struct ktls_rx
 *
 * Context: workqueue; ends before the socket is freed (cancel_delayed_work_sync() in release).
 */
void ktls_datagram_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_delayed_work(work), struct ktls_sock, rx.work);
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;
	int ret = 0;

	/* Who holds it may be waiting for memory of the program's. */
	if (!mutex_trylock(&rx->dir.lock)) {
		mod_delayed_work(ktls_workqueue, &rx->work, KTLS_RETRY_DELAY);
		return;
	}
	/* Those of data that come before are opened too; their memory is accounted already. */
	while (!ret && rx->dir.key && !rx->dir.err && !rx->eof) {
		skb = rx->datagram ?: skb_dequeue(&rx->datagrams);
		if (!skb)
			break;
		rx->datagram = skb;
		ret = open_next(ks);
		cond_resched();
	}
	mutex_unlock(&rx->dir.lock);
	if (has_opened(rx) || READ_ONCE(rx->eof))
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
}

/**
 * ktls_datagram_late_work() - the carrier's queue, once more
 * @work: of struct ktls_rx
 *
 * Whoever received a datagram while the first key was installed and did not see it yet has
 * queued the datagram on the carrier by now.
 *
 * Context: workqueue, a grace period later; ends before the socket is freed.
 */
void ktls_datagram_late_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_rcu_work(work), struct ktls_sock, rx.late);

	if (!mutex_trylock(&ks->rx.dir.lock)) {
		queue_rcu_work(ktls_workqueue, &ks->rx.late);
		return;
	}
	if (ks->carrier.sk && ks->rx.dir.key)
		ktls_udp_drain(ks);
	mutex_unlock(&ks->rx.dir.lock);
}
