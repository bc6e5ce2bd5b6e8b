// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving datagrams: queued as they come, opened by who reads.
 */
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/udp.h>

#include "ktls.h"

/* Records of one datagram that are looked at when it comes. */
#define KTLS_JUDGE_MAX	16

static bool is_handshake(u8 type)
{
	return type >= KTLS_TYPE_CHANGE_CIPHER_SPEC && type <= KTLS_TYPE_HANDSHAKE;
}

/* Handshakes under keys that we do not have are for the carrier's readers. */
static int judge_record(const struct ktls_sock *ks, int current_epoch, const u8 *raw)
{
	int epoch = ktls_record_epoch(ktls_record_seq(raw));
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
	u8 space[KTLS_HEADER_MAX];
	const u8 *raw;
	int seen = 0, n;

	raw = epoch < 0 ? NULL : skb_header_pointer(skb, offset, 1, space);
	if (!raw || !ktls_record_is_dtls(raw[0]))
		return KTLS_FOREIGN;
	for (n = 0; n < KTLS_JUDGE_MAX; n++) {
		raw = skb_header_pointer(skb, offset, sizeof(space), space);
		if (!raw)
			break;
		seen |= judge_record(ks, epoch, raw);
		offset += sizeof(space) + ktls_get_be16(raw + KTLS_HEADER_MAX - 2);
	}
	return seen ?: KTLS_OURS;
}

/* Whether there was room for it. */
static bool own(struct ktls_sock *ks, struct sk_buff *skb)
{
	int used = atomic_read(&ks->sk.sk_rmem_alloc);

	/* As UDP: one datagram is taken, however large. */
	if (used && used + (int)skb->truesize > READ_ONCE(ks->sk.sk_rcvbuf))
		return false;
	skb_dst_drop(skb);
	skb->dev = NULL;
	skb_set_owner_r(skb, &ks->sk);
	return true;
}

static void drop_overflow(struct ktls_sock *ks, struct sk_buff *skb)
{
	atomic64_inc(&ks->rx.overflows);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
	kfree_skb(skb);
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
	bool taken;

	spin_lock_bh(&rx->datagrams.lock);
	taken = !rx->closed && own(ks, skb);
	if (taken) {
		__skb_queue_tail(&rx->datagrams, skb);
		if ((seen & KTLS_CONTROL_IN) && READ_ONCE(rx->mode) == KTLS_CONTROL_QUEUE)
			mod_delayed_work(ktls_workqueue, &rx->work, 0);
	}
	spin_unlock_bh(&rx->datagrams.lock);
	if (taken) {
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
		return;
	}
	drop_overflow(ks, skb);
}

/**
 * ktls_datagram_take() - take a datagram that had waited on the carrier
 * @ks: socket
 * @skb: its payload; freed when there is no room
 *
 * It is read after ktls_datagram_put_first().
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_datagram_take(struct ktls_sock *ks, struct sk_buff *skb)
{
	lockdep_assert_held(&ks->rx.dir.lock);
	if (own(ks, skb))
		__skb_queue_tail(&ks->rx.early, skb);
	else
		drop_overflow(ks, skb);
}

/**
 * ktls_datagram_put_first() - what was taken or prepended comes before what has arrived since
 * @ks: socket
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_datagram_put_first(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;

	lockdep_assert_held(&rx->dir.lock);
	spin_lock_bh(&rx->datagrams.lock);
	skb_queue_splice_init(&rx->early, &rx->datagrams);
	spin_unlock_bh(&rx->datagrams.lock);
	rx->ahead_bytes = 0;
	if (rx->mode == KTLS_CONTROL_QUEUE)
		mod_delayed_work(ktls_workqueue, &rx->work, 0);
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
	WRITE_ONCE(rx->datagram, NULL);
	ktls_crypto_key_free(rx->previous);
	rx->previous = NULL;
}

/* False: nothing has come. */
static bool take_next(struct ktls_rx *rx)
{
	WRITE_ONCE(rx->datagram, skb_dequeue(&rx->datagrams));
	rx->strays = 0;
	return rx->datagram;
}

/**
 * ktls_datagram_open() - open what came until a record is queued
 * @ks: bound socket with an RX key
 *
 * Context: process, rx.dir.lock held.
 * Return: 0: one is; -ENODATA: nothing is left; else what ended the direction.
 */
int ktls_datagram_open(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	u32 left = skb_queue_len_lockless(&rx->datagrams);
	int ret = rx->dir.err;

	lockdep_assert_held(&rx->dir.lock);
	while (!ret && skb_queue_empty(&rx->queue)) {
		if (!rx->datagram && (!left-- || !take_next(rx))) {
			/* A flood keeps nobody here: what came meanwhile is for the next call. */
			if (!skb_queue_empty_lockless(&rx->datagrams))
				ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
			return -ENODATA;
		}
		if (rx->eof) {
			/* rfc5246 7.2.1: what follows a close_notify is ignored. */
			kfree_skb(rx->datagram);
			WRITE_ONCE(rx->datagram, NULL);
		} else {
			ret = ktls_epoch_open_next(ks);
		}
		if (skb_queue_empty(&rx->queue))
			cond_resched();
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
	/* What reordering brings late under the old key is still delivered, but not waited for. */
	if (ktls_rx_awaits_key(ks))
		return -EKEYEXPIRED;
	if (!timeo)
		return -EAGAIN;
	return signal_pending(current) ? sock_intr_errno(timeo) : 1;
}

static bool has_unopened(const struct ktls_rx *rx)
{
	return !skb_queue_empty_lockless(&rx->datagrams) || READ_ONCE(rx->datagram);
}

static bool has_news(struct ktls_sock *ks)
{
	return has_unopened(&ks->rx) || !skb_queue_empty_lockless(&ks->rx.queue) ||
	       READ_ONCE(ks->rx.eof) || ktls_rx_awaits_key(ks) || READ_ONCE(ks->rx.dir.err) ||
	       (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN) || READ_ONCE(ks->sk.sk_err) ||
	       !READ_ONCE(ks->carrier.sk);
}

/* Waits without rx.dir.lock, as in rx.c: 0; -ENOTCONN: it was detached. */
static int wait_for_news(struct ktls_sock *ks, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	unsigned int bindings = ks->bindings;

	add_wait_queue(sk_sleep(&ks->sk), &wait);
	/* Pairs with skwq_has_sleeper() in ktls_carrier_wake(). */
	smp_mb();
	mutex_unlock(&ks->rx.dir.lock);
	if (!has_news(ks))
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	mutex_lock(&ks->rx.dir.lock);
	remove_wait_queue(sk_sleep(&ks->sk), &wait);
	return ks->bindings == bindings ? 0 : -ENOTCONN;
}

/* Until a record is queued: 1; 0: end of file; -errno. */
static int wait_for_record(struct ktls_sock *ks, long timeo)
{
	int ret;

	for (;;) {
		ret = ktls_rx_check_ready(ks);
		if (ret)
			return ret;
		ret = ktls_datagram_open(ks);
		if (!ret)
			return 1;
		if (ret != -ENODATA)
			return ret;
		ret = why_nothing(ks, timeo);
		if (ret <= 0)
			return ret;
		ret = wait_for_news(ks, &timeo);
		if (ret)
			return ret;
	}
}

/*
 * The record that a reader is to have, and nobody else has any more, or a likeness of it
 * (MSG_PEEK): what is copied to the reader's memory is copied without the lock, as that memory
 * may take its time to come. NULL: no memory.
 */
static struct sk_buff *take_opened(struct ktls_sock *ks, int flags)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb = skb_peek(&rx->queue);

	if (flags & MSG_PEEK)
		return skb_clone(skb, GFP_KERNEL_ACCOUNT);
	__skb_unlink(skb, &rx->queue);
	WRITE_ONCE(rx->queued_bytes,
		   rx->queued_bytes - (skb->len - ktls_skb_cb(skb)->offset));
	if (ktls_skb_cb(skb)->type != KTLS_TYPE_DATA)
		WRITE_ONCE(rx->control_queued, false);
	return skb;
}

/* The reader could not have it. */
static void put_back(struct ktls_sock *ks, struct sk_buff *skb, unsigned int bindings)
{
	struct ktls_rx *rx = &ks->rx;

	mutex_lock(&rx->dir.lock);
	if (ks->bindings != bindings) {
		kfree_skb(skb);
	} else {
		__skb_queue_head(&rx->queue, skb);
		WRITE_ONCE(rx->queued_bytes,
			   rx->queued_bytes + skb->len - ktls_skb_cb(skb)->offset);
		WRITE_ONCE(rx->control_queued,
			   rx->control_queued || ktls_skb_cb(skb)->type != KTLS_TYPE_DATA);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	}
	mutex_unlock(&rx->dir.lock);
}

/* One record: what does not fit is lost, and MSG_TRUNC says so. */
static int deliver(struct ktls_read *read, struct sk_buff *skb)
{
	u32 len = skb->len - ktls_skb_cb(skb)->offset;
	int ret, flags = read->flags;

	/* The flag asks for the length; the bytes are wanted nevertheless. */
	read->flags &= ~MSG_TRUNC;
	ret = ktls_rx_deliver(read, skb);
	if (ret == -EIO && ktls_open_is_close_notify(skb))
		return 0;
	if (ret < 0)
		return ret;
	if (ret < len)
		read->msg->msg_flags |= MSG_TRUNC;
	return flags & MSG_TRUNC ? len : ret;
}

static int recv_record(struct ktls_sock *ks, struct ktls_read *read)
{
	struct sk_buff *skb = NULL;
	unsigned int bindings;
	int ret;

	mutex_lock(&ks->rx.dir.lock);
	ret = wait_for_record(ks, sock_rcvtimeo(&ks->sk, read->flags & MSG_DONTWAIT));
	bindings = ks->bindings;
	if (ret > 0) {
		skb = take_opened(ks, read->flags);
		ret = skb ? ret : -ENOMEM;
	}
	mutex_unlock(&ks->rx.dir.lock);
	if (!skb)
		return ret;
	ret = deliver(read, skb);
	if (ret < 0 && !(read->flags & MSG_PEEK))
		put_back(ks, skb, bindings);
	else
		consume_skb(skb);
	return ret;
}

/* As recv_record(), of those that wait for MSG_ERRQUEUE. */
static int recv_control(struct ktls_sock *ks, struct ktls_read *read)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb = NULL;
	unsigned int bindings;
	int ret;

	mutex_lock(&rx->dir.lock);
	bindings = ks->bindings;
	ret = ktls_rx_check_ready(ks);
	if (!ret) {
		skb = skb_dequeue(&rx->controls);
		ret = -EAGAIN;
	}
	mutex_unlock(&rx->dir.lock);
	if (!skb)
		return ret;
	ret = deliver(read, skb);
	read->msg->msg_flags |= MSG_ERRQUEUE;
	if (ret >= 0 && !(read->flags & MSG_PEEK)) {
		consume_skb(skb);
		/* There may have been no room for the next. */
		mod_delayed_work(ktls_workqueue, &rx->work, 0);
		return ret;
	}
	mutex_lock(&rx->dir.lock);
	if (ks->bindings == bindings) {
		skb_queue_head(&rx->controls, skb);
		/* Who looked meanwhile saw none. */
		ktls_carrier_wake(ks, EPOLLPRI);
	} else {
		kfree_skb(skb);
	}
	mutex_unlock(&rx->dir.lock);
	return ret;
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

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	return flags & MSG_ERRQUEUE ? recv_control(ks, &read) : recv_record(ks, &read);
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
	lockdep_assert_held(&ks->rx.dir.lock);
	if (!ktls_rx_check_ready(ks) && skb_queue_empty(&ks->rx.queue) && !ktls_datagram_open(ks))
		/* A reader may have looked at the queues while it was in neither. */
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
}

static bool has_opened(const struct ktls_rx *rx)
{
	return !skb_queue_empty_lockless(&rx->queue) || READ_ONCE(rx->dir.err);
}

/**
 * ktls_datagram_readable() - would a read find something now? (poll)
 * @ks: socket
 *
 * As UDP does with checksums, this opens datagrams: a forged one makes nobody readable. Nobody
 * has the lock while waiting for a program.
 *
 * Context: process, no locks held; may sleep.
 */
bool ktls_datagram_readable(struct ktls_sock *ks)
{
	if (skb_queue_empty_lockless(&ks->rx.queue) && has_unopened(&ks->rx)) {
		mutex_lock(&ks->rx.dir.lock);
		look(ks);
		mutex_unlock(&ks->rx.dir.lock);
	}
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

	mutex_lock(&ks->rx.dir.lock);
	look(ks);
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
 * Context: workqueue; ends before the socket is freed (cancel_delayed_work_sync() in finish()).
 */
void ktls_datagram_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_delayed_work(work), struct ktls_sock, rx.work);
	struct ktls_rx *rx = &ks->rx;
	u32 left;
	int ret = 0;

	/* Who holds it may be waiting for memory of the program's. */
	if (!mutex_trylock(&rx->dir.lock)) {
		mod_delayed_work(ktls_workqueue, &rx->work, KTLS_RETRY_DELAY);
		return;
	}
	/* Those of data that come before are opened too, as long as there is room for them. */
	left = skb_queue_len_lockless(&rx->datagrams);
	while (!ret && rx->dir.key && !rx->dir.err && !rx->eof &&
	       rx->mode == KTLS_CONTROL_QUEUE && !ktls_rx_is_full(ks)) {
		if (!rx->datagram && !left--) {
			/* A flood keeps nobody out: what came meanwhile is for the next turn. */
			if (!skb_queue_empty_lockless(&rx->datagrams))
				mod_delayed_work(ktls_workqueue, &rx->work, 0);
			break;
		}
		if (!rx->datagram && !take_next(rx))
			break;
		ret = ktls_epoch_open_next(ks);
		cond_resched();
	}
	mutex_unlock(&rx->dir.lock);
	if (has_opened(rx) || READ_ONCE(rx->eof))
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
}

/**
 * ktls_datagram_look_later() - look at the carrier's queue once more, a grace period later
 * @ks: socket whose first key was installed
 *
 * Whoever received a datagram meanwhile and did not see the key yet has queued the datagram
 * on the carrier by then.
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_datagram_look_later(struct ktls_sock *ks)
{
	sock_hold(&ks->sk);
	if (!queue_rcu_work(ktls_workqueue, &ks->rx.late))
		sock_put(&ks->sk);
}

/**
 * ktls_datagram_late_work() - what ktls_datagram_look_later() asked for
 * @work: of struct ktls_rx
 *
 * Context: workqueue; holds a reference to the socket.
 */
void ktls_datagram_late_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_rcu_work(work), struct ktls_sock, rx.late);

	if (!mutex_trylock(&ks->rx.dir.lock)) {
		/* Unless it was asked for anew meanwhile, with a reference of its own. */
		if (!queue_rcu_work(ktls_workqueue, &ks->rx.late))
			sock_put(&ks->sk);
		return;
	}
	if (ks->carrier.sk && ks->rx.dir.key) {
		ktls_udp_drain(ks);
		ktls_datagram_put_first(ks);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	}
	mutex_unlock(&ks->rx.dir.lock);
	sock_put(&ks->sk);
}
