// SPDX-License-Identifier: GPL-2.0-only
/* Receiving: waiting for records, delivering them to recvmsg, splice and the error queue. */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/splice.h>
#include <linux/uio.h>

#include "ktls.h"
#include "trace.h"

/* Records that the work opens before it lets others have the carrier. */
#define KTLS_CHORES_MAX	64
/* Empty records that a read which does not wait passes over. */
#define KTLS_EMPTY_MAX	256

/**
 * ktls_rx_readable() - would a read find something now?
 * @ks: socket
 *
 * Context: any.
 */
bool ktls_rx_readable(struct ktls_sock *ks)
{
	const struct ktls_rx *rx = &ks->rx;
	enum ktls_head head = READ_ONCE(rx->head);
	u32 lowat = max_t(u32, READ_ONCE(ks->sk.sk_rcvlowat), 1);

	if (head == KTLS_HEAD_BAD || READ_ONCE(rx->dir.err))
		return true;
	if (head == KTLS_HEAD_CONTROL && READ_ONCE(rx->mode) == KTLS_CONTROL_DEFAULT)
		return true;
	if (READ_ONCE(rx->queued_bytes) + READ_ONCE(rx->head_bytes) >= lowat)
		return true;
	/* No more will join what is there, or not before somebody reads. */
	if (READ_ONCE(rx->queued_bytes) &&
	    (head == KTLS_HEAD_CONTROL || (head == KTLS_HEAD_SEALED && ktls_rx_is_full(ks))))
		return true;
	return READ_ONCE(rx->control_queued) ||
	       ((READ_ONCE(rx->queued_bytes) || READ_ONCE(rx->head_bytes)) && ktls_rx_at_end(ks));
}

/**
 * ktls_rx_at_end() - will nothing come any more?
 * @ks: socket
 *
 * Context: any.
 */
bool ktls_rx_at_end(struct ktls_sock *ks)
{
	const struct sock *csk;
	bool ended;

	if (READ_ONCE(ks->rx.eof) || (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN) ||
	    READ_ONCE(ks->carrier.err))
		return true;
	/* UDP has no end. */
	if (ktls_is_datagram(ks))
		return !READ_ONCE(ks->carrier.sk);
	/* Waiters look without a lock that would keep the carrier: see set_detach(). */
	rcu_read_lock();
	csk = READ_ONCE(ks->carrier.sk);
	ended = !csk || ktls_carrier_ended(csk);
	rcu_read_unlock();
	return ended;
}

/**
 * ktls_rx_awaits_key() - is it another key that keeps readers from what comes, or its end?
 * @ks: socket
 *
 * Plain readers that see no control records know nothing of keys, but when nothing is left, or
 * the carrier failed, their end comes.
 *
 * Context: any.
 */
bool ktls_rx_awaits_key(const struct ktls_sock *ks)
{
	const struct ktls_rx *rx = &ks->rx;

	if (!READ_ONCE(rx->hold) || (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN))
		return false;
	return READ_ONCE(rx->mode) == KTLS_CONTROL_DEFAULT ||
	       !(ktls_is_datagram(ks) || READ_ONCE(ks->carrier.err) || ktls_stream_is_empty(ks));
}

/* May a reader that knows so many queued records go on, if only to learn of an end? */
static bool has_news(struct ktls_sock *ks, u32 known)
{
	const struct ktls_rx *rx = &ks->rx;
	enum ktls_head head = READ_ONCE(rx->head);

	if (skb_queue_len_lockless(&rx->queue) != known || READ_ONCE(rx->dir.err) ||
	    READ_ONCE(rx->chore))
		return true;
	if (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN)
		return true;
	if (READ_ONCE(rx->hold))
		return READ_ONCE(rx->mode) == KTLS_CONTROL_DEFAULT ||
		       (ktls_rx_at_end(ks) && !ktls_rx_awaits_key(ks));
	/* A control record with no room in its queue is to be waited for, at the end too. */
	if (head == KTLS_HEAD_CONTROL)
		return READ_ONCE(rx->mode) == KTLS_CONTROL_DEFAULT;
	return head != KTLS_HEAD_NONE || ktls_rx_at_end(ks);
}

/*
 * Waits without rx.dir.lock; the caller looks at everything again afterwards, unless the socket
 * was detached: whoever it may be bound to since is not who was read from. 0 or -ENOTCONN.
 */
static int wait_for_news(struct ktls_sock *ks, long *timeo)
{
	u32 known = skb_queue_len(&ks->rx.queue);
	unsigned int bindings = ks->bindings;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	add_wait_queue(sk_sleep(&ks->sk), &wait);
	/* Pairs with skwq_has_sleeper() in ktls_carrier_wake(). */
	smp_mb();
	mutex_unlock(&ks->rx.dir.lock);
	if (!has_news(ks, known))
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	mutex_lock(&ks->rx.dir.lock);
	remove_wait_queue(sk_sleep(&ks->sk), &wait);
	return ks->bindings == bindings ? 0 : -ENOTCONN;
}

/*
 * The carrier ended and no whole record is left. TCP's order: a reset is never a clean end
 * (0), and neither is a FIN to those who asked to know (KTLS_STRICT_EOF).
 */
static int end_of_carrier(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	int err = READ_ONCE(ks->carrier.err);

	if (err)
		return -err;
	if (!rx->truncated) {
		WRITE_ONCE(rx->truncated_record, ktls_stream_bytes(ks) != 0);
		WRITE_ONCE(rx->truncated, true);
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_TRUNCATED);
	}
	return READ_ONCE(rx->strict_eof) ? -ECONNABORTED : 0;
}

/* Nothing is there: 1: wait for it; 0: end of file; else the error to report. */
static int why_nothing(struct ktls_sock *ks, long timeo)
{
	struct ktls_rx *rx = &ks->rx;
	int ret = 1;

	if (rx->dir.err)
		return rx->dir.err;
	if (rx->eof || (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN))
		return 0;
	if (rx->hold && rx->mode == KTLS_CONTROL_DEFAULT)
		return -EKEYEXPIRED;
	if (READ_ONCE(ks->carrier.err) || ktls_carrier_ended(ks->carrier.sk)) {
		lock_sock(ks->carrier.sk);
		ktls_stream_scan(ks);
		/* What came before the end comes first. */
		if (rx->head == KTLS_HEAD_NONE && !rx->chore && !ktls_rx_awaits_key(ks))
			ret = end_of_carrier(ks);
		release_sock(ks->carrier.sk);
		if (ret <= 0)
			return ret;
	}
	if (!timeo)
		return -EAGAIN;
	return signal_pending(current) ? sock_intr_errno(timeo) : 1;
}

/**
 * ktls_rx_check_ready() - is there a carrier, and a key?
 * @ks: socket
 *
 * Context: process, rx.dir.lock held.
 * Return: 0, -ENOTCONN, -ENOKEY.
 */
int ktls_rx_check_ready(struct ktls_sock *ks)
{
	lockdep_assert_held(&ks->rx.dir.lock);
	if (!ktls_is_connected(ks))
		return -ENOTCONN;
	return ks->rx.dir.key ? 0 : -ENOKEY;
}

/*
 * Tells the record's type where there is room for it. -EIO: there is not, and the reader
 * could take the record for data.
 */
static int announce(struct ktls_read *read, u8 type)
{
	int ret;

	if (!read->msg->msg_control || !read->msg->msg_controllen)
		return type == KTLS_TYPE_DATA ? 0 : -EIO;
	ret = put_cmsg(read->msg, SOL_TLS, TLS_GET_RECORD_TYPE, sizeof(type), &type);
	if (type == KTLS_TYPE_DATA)
		return 0;
	return ret || !(read->msg->msg_flags & MSG_CTRUNC) ? ret : -EIO;
}

/**
 * ktls_rx_deliver() - part of an opened record for the reader
 * @read: the read
 * @skb: the record, which stays as it is
 *
 * Context: process; @skb is nobody else's, or rx.dir.lock held.
 * Return: bytes; -EIO: not data, and no room to say so; -EFAULT.
 */
int ktls_rx_deliver(struct ktls_read *read, struct sk_buff *skb)
{
	const struct ktls_skb_cb *cb = ktls_skb_cb(skb);
	u32 left = skb->len - cb->offset;
	size_t n = min_t(size_t, read->want - read->done, left);
	int ret = 0;

	if (read->type == KTLS_NO_TYPE)
		ret = announce(read, cb->type);
	if (!ret && !(read->flags & MSG_TRUNC))
		ret = skb_copy_datagram_msg(skb, cb->offset, read->msg, n);
	if (ret)
		return ret;
	read->type = cb->type;
	read->done += n;
	if (cb->type != KTLS_TYPE_DATA && n == left)
		read->msg->msg_flags |= MSG_EOR;
	return n;
}

/**
 * ktls_rx_consume() - bytes of a queued record were read
 * @rx: receiving direction
 * @skb: the record, freed when nothing is left of it
 * @n: how many
 *
 * Context: process, rx->dir.lock held.
 */
void ktls_rx_consume(struct ktls_rx *rx, struct sk_buff *skb, u32 n)
{
	struct ktls_skb_cb *cb = ktls_skb_cb(skb);

	cb->offset += n;
	WRITE_ONCE(rx->queued_bytes, rx->queued_bytes - n);
	if (cb->offset < skb->len)
		return;
	if (cb->type != KTLS_TYPE_DATA)
		WRITE_ONCE(rx->control_queued, false);
	__skb_unlink(skb, &rx->queue);
	consume_skb(skb);
}

/* Does another record of @type belong into what was delivered? Data only, and unmixed. */
static bool continues(const struct ktls_read *read, u8 type)
{
	return read->type == KTLS_NO_TYPE ||
	       (read->type == KTLS_TYPE_DATA && type == KTLS_TYPE_DATA);
}

/* 0: go on; 1: the read is complete as it is; else -errno, unless something was delivered. */
static int read_queue(struct ktls_sock *ks, struct ktls_read *read)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;
	int ret;

	while ((skb = skb_peek(&rx->queue))) {
		if (!continues(read, ktls_skb_cb(skb)->type) ||
		    (read->done == read->want && read->want))
			return 1;
		ret = ktls_rx_deliver(read, skb);
		/* A plain reader is told of close_notify by the end of file. */
		if (ret == -EIO && ktls_open_is_close_notify(skb)) {
			if (!(read->flags & MSG_PEEK))
				ktls_rx_consume(rx, skb, skb->len - ktls_skb_cb(skb)->offset);
			return 1;
		}
		if (ret < 0)
			return ret;
		/* A peek comes here with no room at all. */
		if ((ret || !skb->len) && !(read->flags & MSG_PEEK))
			ktls_rx_consume(rx, skb, ret);
		if (read->type != KTLS_TYPE_DATA || !read->want)
			return 1;
	}
	return read->done == read->want;
}

/* As read_queue(), leaving all as it is. */
static int peek_queue(struct ktls_sock *ks, struct ktls_read *read)
{
	struct sk_buff *skb;
	int ret;

	skb_queue_walk(&ks->rx.queue, skb) {
		if (!continues(read, ktls_skb_cb(skb)->type) || read->done == read->want)
			break;
		ret = ktls_rx_deliver(read, skb);
		if (ret == -EIO && ktls_open_is_close_notify(skb))
			break;
		if (ret < 0)
			return ret;
		if (read->type != KTLS_TYPE_DATA)
			break;
	}
	return 1;
}

/*
 * Opens what is at the head, as long as it goes straight to the reader; a record that does
 * not is queued, and that is all for this time. 0: something was opened; -ENODATA: nothing.
 */
static int pull(struct ktls_sock *ks, struct ktls_read *read)
{
	bool direct = read && !(read->flags & (MSG_PEEK | MSG_TRUNC)) &&
		      continues(read, KTLS_TYPE_DATA) && skb_queue_empty(&ks->rx.queue);
	struct sock *csk = ks->carrier.sk;
	size_t done = 0;
	int ret;

	lock_sock(csk);
	do {
		ret = ktls_open_head(ks, direct ? &read->msg->msg_iter : NULL,
				     direct ? read->want - read->done - done : 0);
		if (ret > 0)
			done += ret;
		/* What the reader has no room for stays the carrier's. */
	} while (ret > 0 && read->done + done < read->want);
	ktls_stream_scan(ks);
	if (ret == -ENODATA && ks->rx.chore && ks->rx.head == KTLS_HEAD_NONE) {
		ret = ktls_stream_take_over(ks) ?: -ENODATA;
		ktls_stream_scan(ks);
	}
	release_sock(csk);

	if (!done)
		return ret;
	read->done += done;
	read->drained = ret == -ENODATA;
	if (read->type == KTLS_NO_TYPE) {
		read->type = KTLS_TYPE_DATA;
		announce(read, KTLS_TYPE_DATA);
	}
	return 0;
}

/*
 * Empty records can come without end: whoever waits for data can be interrupted, and who does not
 * want to wait leaves the rest to the worker, which wakes readers when there is something.
 */
static int after_pull(struct ktls_sock *ks, const struct ktls_read *read, long timeo,
		      unsigned int *empty)
{
	cond_resched();
	if (!skb_queue_empty(&ks->rx.queue) || (read && read->type != KTLS_NO_TYPE))
		return 0;
	if (signal_pending(current))
		return sock_intr_errno(timeo);
	if (timeo || ++*empty < KTLS_EMPTY_MAX)
		return 0;
	mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
	return -EAGAIN;
}

/* A record that failed after others were delivered is the next read's business. */
static int read_records(struct ktls_sock *ks, struct ktls_read *read, size_t target, long timeo)
{
	unsigned int empty = 0;
	int ret;

	for (;;) {
		ret = ktls_rx_check_ready(ks);
		if (ret)
			return ret;
		ret = read_queue(ks, read);
		if (ret)
			return ret;
		ret = pull(ks, read) ?: after_pull(ks, read, timeo, &empty);
		if (!ret && read->drained && read->done >= target)
			return 0;
		if (!ret)
			continue;
		if (ret != -ENODATA && read->type == KTLS_NO_TYPE)
			return ret;
		if (read->type != KTLS_NO_TYPE && (read->done >= target || ret != -ENODATA))
			return 0;
		ret = why_nothing(ks, timeo);
		if (ret <= 0)
			return ret;
		ret = wait_for_news(ks, &timeo);
		if (ret)
			return ret;
	}
}

/* Are as many bytes queued as a peek wants, or as many as there can be? */
static bool enough_to_peek(struct ktls_sock *ks, size_t want)
{
	struct sk_buff *last = skb_peek_tail(&ks->rx.queue);

	return last && (ks->rx.queued_bytes >= want || ktls_skb_cb(last)->type != KTLS_TYPE_DATA ||
			atomic_read(&ks->sk.sk_rmem_alloc) >= READ_ONCE(ks->sk.sk_rcvbuf));
}

static int peek_records(struct ktls_sock *ks, struct ktls_read *read, size_t target, long timeo)
{
	unsigned int empty = 0;
	int ret;

	for (;;) {
		ret = ktls_rx_check_ready(ks);
		if (ret)
			return ret;
		if (enough_to_peek(ks, read->want))
			return peek_queue(ks, read);
		ret = pull(ks, read) ?: after_pull(ks, read, timeo, &empty);
		if (!ret)
			continue;
		if (ret != -ENODATA || ks->rx.queued_bytes >= target) {
			if (skb_queue_empty(&ks->rx.queue))
				return ret;
			return peek_queue(ks, read);
		}
		ret = why_nothing(ks, timeo);
		if (ret <= 0)
			return skb_queue_empty(&ks->rx.queue) ? ret : peek_queue(ks, read);
		ret = wait_for_news(ks, &timeo);
		if (ret)
			return ret;
	}
}

/* The control record that MSG_ERRQUEUE asks for: 0. What does not fit is lost. */
static int recv_control(struct ktls_sock *ks, struct ktls_read *read)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;
	int ret;

	ret = ktls_rx_check_ready(ks);
	if (ret)
		return ret;
	if (rx->mode == KTLS_CONTROL_QUEUE && skb_queue_empty(&rx->controls) &&
	    READ_ONCE(rx->head) == KTLS_HEAD_CONTROL)
		pull(ks, NULL);
	skb = skb_peek(&rx->controls);
	if (!skb)
		return -EAGAIN;
	ret = ktls_rx_deliver(read, skb);
	if (ret < 0)
		return ret;
	read->msg->msg_flags |= MSG_ERRQUEUE;
	if (ret < skb->len)
		read->msg->msg_flags |= MSG_TRUNC;
	if (read->flags & MSG_PEEK)
		return 0;
	skb_unlink(skb, &rx->controls);
	consume_skb(skb);
	/* There may have been no room for the next. */
	mod_delayed_work(ktls_workqueue, &rx->work, 0);
	return 0;
}

/* Is there room for more, and will it be joined to what is there? */
static bool may_open_ahead(const struct ktls_sock *ks)
{
	return !READ_ONCE(ks->rx.control_queued) && !ktls_rx_is_full(ks);
}

/* A reader has made room: what poll is to know has to be opened. */
static void open_ahead(struct ktls_sock *ks)
{
	if (READ_ONCE(ks->rx.head) == KTLS_HEAD_SEALED && READ_ONCE(ks->rx.chore) &&
	    may_open_ahead(ks))
		mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
}

/* @seq: what the number was when the read began */
static void end_read(struct ktls_sock *ks, u64 seq)
{
	/* Who polled while a record was being opened has not seen what the read left of it. */
	if (ks->rx.dir.seq != seq && ks->rx.dir.key && ktls_stream_is_sealed(ks) &&
	    ktls_rx_readable(ks))
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	mutex_unlock(&ks->rx.dir.lock);
	open_ahead(ks);
}

/**
 * ktls_rx_is_full() - should readers read before more is opened for them?
 * @ks: socket
 *
 * One record is opened however large, or however much waits to be opened.
 *
 * Context: any.
 */
bool ktls_rx_is_full(const struct ktls_sock *ks)
{
	return !skb_queue_empty_lockless(&ks->rx.queue) &&
	       atomic_read(&ks->sk.sk_rmem_alloc) > READ_ONCE(ks->sk.sk_rcvbuf);
}

/**
 * ktls_rx_recvmsg() - recvmsg(2)
 * @ks: socket
 * @msg: the reader's
 * @len: bytes it has room for
 * @flags: MSG_*
 *
 * Context: process, no locks held; may sleep and, unless MSG_DONTWAIT, wait.
 * Return: bytes, 0: end of file; -errno as <linux/ktls.h> says.
 */
int ktls_rx_recvmsg(struct ktls_sock *ks, struct msghdr *msg, size_t len, int flags)
{
	struct ktls_read read = {
		.msg = msg, .want = len, .flags = flags, .type = KTLS_NO_TYPE,
	};
	size_t target = sock_rcvlowat(&ks->sk, flags & MSG_WAITALL, len);
	long timeo = sock_rcvtimeo(&ks->sk, flags & MSG_DONTWAIT);
	u64 seq;
	int ret;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	mutex_lock(&ks->rx.dir.lock);
	seq = ks->rx.dir.seq;
	if (flags & MSG_ERRQUEUE)
		ret = recv_control(ks, &read);
	else if ((flags & MSG_PEEK) && len)
		ret = peek_records(ks, &read, target, timeo);
	else
		ret = read_records(ks, &read, target, timeo);
	end_read(ks, seq);
	if (read.type != KTLS_NO_TYPE)
		return read.done;
	return ret < 0 ? ret : 0;
}

/**
 * ktls_rx_splice_queued() - splice from the first record queued
 * @ks: socket with a record queued
 * @pipe: locked by the caller
 * @len: bytes wanted
 * @flags: SPLICE_F_*
 *
 * Context: process, rx.dir.lock held.
 * Return: bytes; 0: close_notify; -EINVAL: another record that is not data; -errno.
 */
int ktls_rx_splice_queued(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
			  unsigned int flags)
{
	struct sk_buff *skb = skb_peek(&ks->rx.queue);
	const struct ktls_skb_cb *cb = ktls_skb_cb(skb);
	int ret;

	if (cb->type != KTLS_TYPE_DATA) {
		if (!ktls_open_is_close_notify(skb))
			return -EINVAL;
		ktls_rx_consume(&ks->rx, skb, skb->len - cb->offset);
		return 0;
	}
	len = min_t(size_t, len, skb->len - cb->offset);
	ret = skb_splice_bits(skb, &ks->sk, cb->offset, pipe, len, flags);
	if (ret > 0)
		ktls_rx_consume(&ks->rx, skb, ret);
	/* It does not say that it found no page: 0 would be the end. */
	if (!ret && len)
		return -ENOMEM;
	return ret;
}

/**
 * ktls_rx_splice_read() - splice(2) from the socket
 * @ks: socket
 * @pipe: locked by the caller, with room
 * @len: bytes wanted
 * @nonblock: do not wait
 * @flags: SPLICE_F_*
 *
 * Context: process; may sleep and, unless @nonblock, wait.
 * Return: bytes spliced, of one record; 0: end of file; -EINVAL: the next record is not data;
 * else as ktls_rx_recvmsg().
 */
ssize_t ktls_rx_splice_read(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
			    bool nonblock, unsigned int flags)
{
	long timeo = sock_rcvtimeo(&ks->sk, nonblock);
	unsigned int empty = 0;
	ssize_t ret;
	u64 seq;

	mutex_lock(&ks->rx.dir.lock);
	seq = ks->rx.dir.seq;
	for (;;) {
		ret = ktls_rx_check_ready(ks);
		if (ret)
			break;
		if (!skb_queue_empty(&ks->rx.queue)) {
			ret = ktls_rx_splice_queued(ks, pipe, len, flags);
			break;
		}
		ret = pull(ks, NULL) ?: after_pull(ks, NULL, timeo, &empty);
		if (!ret)
			continue;
		if (ret == -ENODATA)
			ret = why_nothing(ks, timeo);
		if (ret <= 0)
			break;
		ret = wait_for_news(ks, &timeo);
		if (ret)
			break;
	}
	end_read(ks, seq);
	return ret;
}

/* Bytes of the records queued that one read can give. */
static u32 queue_available(const struct ktls_rx *rx)
{
	struct sk_buff *skb;
	u32 bytes = 0;

	skb_queue_walk(&rx->queue, skb) {
		u32 left = skb->len - ktls_skb_cb(skb)->offset;

		if (ktls_skb_cb(skb)->type != KTLS_TYPE_DATA)
			return bytes ?: left;
		bytes += left;
	}
	return bytes;
}

/**
 * ktls_rx_available() - bytes that can be read without waiting (FIONREAD)
 * @ks: socket
 *
 * Context: process, no locks of @ks held.
 */
u32 ktls_rx_available(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	u32 bytes;

	mutex_lock(&rx->dir.lock);
	bytes = queue_available(rx);
	if (!rx->control_queued && !ktls_rx_check_ready(ks)) {
		lock_sock(ks->carrier.sk);
		bytes += ktls_stream_readable(ks);
		release_sock(ks->carrier.sk);
	}
	mutex_unlock(&rx->dir.lock);
	return bytes;
}

/* The group whose program made the socket pays, as for what its readers open themselves. */
static struct mem_cgroup *payer(const struct ktls_sock *ks)
{
#ifdef CONFIG_MEMCG
	return ks->sk.sk_memcg;
#else
	return NULL;
#endif
}

/**
 * ktls_rx_work() - what no reader may be there to do
 * @work: of struct ktls_rx
 *
 * Moves control records to their queue, drops empty records, makes room in the carrier; opens
 * what is there where nobody knows the types before.
 *
 * Context: workqueue; ends before the socket is freed (cancel_delayed_work_sync() in finish()).
 */
void ktls_rx_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_delayed_work(work), struct ktls_sock, rx.work);
	struct mem_cgroup *own;
	unsigned int left;
	struct sock *csk;
	int ret = 0;

	/* Who holds it may be waiting for memory of the program's. */
	if (!mutex_trylock(&ks->rx.dir.lock)) {
		mod_delayed_work(ktls_workqueue, &ks->rx.work, KTLS_RETRY_DELAY);
		return;
	}
	csk = ks->carrier.sk;
	if (!csk || !ks->rx.dir.key)
		goto unlock;
	if (!ktls_carrier_trylock(csk)) {
		mod_delayed_work(ktls_workqueue, &ks->rx.work, KTLS_RETRY_DELAY);
		goto unlock;
	}
	own = set_active_memcg(payer(ks));
	ktls_stream_scan(ks);
	for (left = KTLS_CHORES_MAX; ks->rx.chore && !ret && left; left--) {
		/* A reader will say when there is room. */
		if (ks->rx.head == KTLS_HEAD_SEALED && !may_open_ahead(ks))
			break;
		ret = ktls_open_head(ks, NULL, 0);
		/* Which may make the record whole. */
		if (ret == -ENODATA)
			ret = ktls_stream_take_over(ks);
		ktls_stream_scan(ks);
	}
	set_active_memcg(own);
	release_sock(csk);
	if (READ_ONCE(ks->rx.chore) && !ret && !left)
		mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
	if (ret == -ENOMEM)
		mod_delayed_work(ktls_workqueue, &ks->rx.work, KTLS_RETRY_DELAY);
	/* The end may have waited behind what was opened. */
	if (READ_ONCE(ks->rx.head) != KTLS_HEAD_NONE || ktls_rx_readable(ks) || ktls_rx_at_end(ks))
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
unlock:
	mutex_unlock(&ks->rx.dir.lock);
}

/**
 * ktls_rx_purge() - drop all that was received
 * @rx: of a socket without carrier
 *
 * Context: process; rx->dir.lock held, or nobody else has the socket.
 */
void ktls_rx_purge(struct ktls_rx *rx)
{
	__skb_queue_purge(&rx->ahead);
	__skb_queue_purge(&rx->queue);
	skb_queue_purge(&rx->controls);
	kfree(rx->small);
	rx->small = NULL;
	rx->ahead_bytes = 0;
	WRITE_ONCE(rx->queued_bytes, 0);
	WRITE_ONCE(rx->control_queued, false);
}
