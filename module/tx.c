// SPDX-License-Identifier: GPL-2.0-only
/* Sending: cutting payload into records, pushing them to the carrier, waiting for room. */
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "ktls.h"
#include "trace.h"

/* Flags of sendmsg(2) that mean something here or harm nobody. */
#ifdef KTLS_HAVE_SENDPAGE
#define KTLS_SEND_INTERNAL	(MSG_SENDPAGE_NOTLAST | MSG_SENDPAGE_NOPOLICY)
#else
#define KTLS_SEND_INTERNAL	MSG_SENDPAGE_NOPOLICY
#endif
#define KTLS_SEND_FLAGS		(MSG_MORE | MSG_EOR | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL | \
				 MSG_BATCH | MSG_CMSG_COMPAT | MSG_SPLICE_PAGES | \
				 KTLS_SEND_INTERNAL)

static void drop_pending(struct ktls_tx *tx)
{
	while (tx->pending_first < tx->pending_count)
		put_page(tx->pending[tx->pending_first++].bv_page);
	tx->pending_first = 0;
	tx->pending_count = 0;
	tx->sizes_first = 0;
	tx->sizes_count = 0;
	WRITE_ONCE(tx->pending_bytes, 0);
}

/* Datagrams are sent whole. */
static void sizes_sent(struct ktls_tx *tx, u32 len)
{
	while (len && tx->sizes_first < tx->sizes_count)
		len -= tx->sizes[tx->sizes_first++];
	if (tx->sizes_first == tx->sizes_count) {
		tx->sizes_first = 0;
		tx->sizes_count = 0;
	}
}

static void sent(struct ktls_tx *tx, u32 len)
{
	WRITE_ONCE(tx->pending_bytes, tx->pending_bytes - len);
	sizes_sent(tx, len);
	while (len) {
		struct bio_vec *piece = &tx->pending[tx->pending_first];
		u32 n = min(len, piece->bv_len);

		piece->bv_len -= n;
		piece->bv_offset += n;
		len -= n;
		if (!piece->bv_len) {
			put_page(piece->bv_page);
			tx->pending_first++;
		}
	}
	if (tx->pending_first == tx->pending_count) {
		tx->pending_first = 0;
		tx->pending_count = 0;
	}
}

/* Nothing more is written: our FIN. */
static void send_fin(struct ktls_sock *ks, int how)
{
	ks->tx.fin = false;
	if (how & KTLS_PUSH_LOCKED)
		ktls_carrier_send_fin(ks);
	else
		kernel_sock_shutdown(ks->carrier.sock, SHUT_WR);
}

/**
 * ktls_tx_push() - send what is pending
 * @ks: bound socket
 * @how: set of KTLS_PUSH_*
 *
 * Context: process, tx.dir.lock held; does not wait.
 * Return: 0: nothing is pending; -EAGAIN: not yet; else the carrier's error: a stream's for
 * good, while datagrams are lost and that was it.
 */
int ktls_tx_push(struct ktls_sock *ks, int how)
{
	struct ktls_tx *tx = &ks->tx;
	int ret;

	while (tx->pending_bytes) {
		ret = ktls_carrier_send(ks, tx->pending + tx->pending_first,
					tx->pending_count - tx->pending_first,
					tx->pending_bytes, how);
		if (ret == -EAGAIN || !ret) {
			/* UDP tells only who asked. */
			if (ktls_is_datagram(ks) && ktls_udp_wants_room(ks))
				mod_delayed_work(ktls_workqueue, &tx->work, KTLS_RETRY_DELAY);
			return -EAGAIN;
		}
		if (ret < 0) {
			if (!ktls_is_datagram(ks))
				WRITE_ONCE(tx->dir.err, ret);
			drop_pending(tx);
			return ret;
		}
		sent(tx, ret);
	}
	if (tx->fin)
		send_fin(ks, how);
	return 0;
}

/*
 * The carrier may have been full, or memory short: then the record is sent later, and its
 * payload counts as taken. Only the open record or a pending one exists at a time.
 */
static int seal_and_push(struct ktls_sock *ks, int how)
{
	int ret = ktls_compose_seal(ks);

	if (ret == -ENOMEM) {
		ks->tx.overdue = true;
		mod_delayed_work(ktls_workqueue, &ks->tx.work, KTLS_RETRY_DELAY);
		return 0;
	}
	if (ret)
		return ret;
	ks->tx.overdue = false;
	ret = ktls_tx_push(ks, how);
	return ret == -EAGAIN ? 0 : ret;
}

/* Is the open record complete? */
static bool is_overdue(const struct ktls_tx *tx)
{
	return tx->overdue && tx->open.len;
}

static int check_ready(struct ktls_sock *ks)
{
	const struct ktls_tx *tx = &ks->tx;

	lockdep_assert_held(&tx->dir.lock);
	if (!ktls_is_connected(ks))
		return -ENOTCONN;
	if (tx->dir.err)
		return tx->dir.err;
	if (tx->close_notify_sent || (READ_ONCE(ks->sk.sk_shutdown) & SEND_SHUTDOWN))
		return -EPIPE;
	if (!tx->dir.key)
		return -ENOKEY;
	return tx->dir.exhausted ? -EBADMSG : 0;
}

/* A carrier that failed takes all, to say so. */
static bool is_paused(const struct ktls_sock *ks)
{
	return READ_ONCE(ks->tx.paused) && !READ_ONCE(ks->carrier.err);
}

static bool has_room(struct ktls_sock *ks, u8 type)
{
	if (is_paused(ks) && type == KTLS_TYPE_DATA)
		return false;
	return !READ_ONCE(ks->tx.pending_bytes) &&
	       (ktls_carrier_has_room(ks->carrier.sk) ||
		ktls_carrier_wants_room(ks, ks->carrier.sk));
}

/**
 * ktls_tx_writable() - would a write take something now? (poll)
 * @ks: socket
 *
 * Asks the carrier to tell when not.
 *
 * Context: any; the carrier is kept by a lock or RCU.
 */
bool ktls_tx_writable(struct ktls_sock *ks)
{
	struct sock *csk = READ_ONCE(ks->carrier.sk);

	if (!csk)
		return false;
	if (READ_ONCE(ks->tx.dir.err) || (READ_ONCE(ks->sk.sk_shutdown) & SEND_SHUTDOWN))
		return true;
	return !is_paused(ks) && !READ_ONCE(ks->tx.pending_bytes) &&
	       (ktls_carrier_has_room(csk) || ktls_carrier_wants_room(ks, csk));
}

/*
 * Waits without tx.dir.lock. Callers look at everything again afterwards, unless the socket
 * was detached: what they have is not for whoever it may be bound to since. 0 or -ENOTCONN.
 */
static int wait_for_room(struct ktls_sock *ks, struct ktls_write *write)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	unsigned int bindings = ks->bindings;
	bool room;

	add_wait_queue(sk_sleep(&ks->sk), &wait);
	room = has_room(ks, write->type);
	mutex_unlock(&ks->tx.dir.lock);
	if (!room)
		write->timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, write->timeo);
	mutex_lock(&ks->tx.dir.lock);
	remove_wait_queue(sk_sleep(&ks->sk), &wait);
	return ks->bindings == bindings ? 0 : -ENOTCONN;
}

/**
 * ktls_tx_get_room() - wait until nothing is pending and the carrier takes more
 * @ks: socket
 * @write: its type and timeo are set; timeo becomes what is left of it
 *
 * Context: process, tx.dir.lock held, which is released while waiting.
 * Return: 0 or -errno as <linux/ktls.h> says.
 */
int ktls_tx_get_room(struct ktls_sock *ks, struct ktls_write *write)
{
	int ret;

	for (;;) {
		ret = check_ready(ks);
		if (ret)
			return ret;
		ret = ktls_tx_push(ks, 0);
		if (ret && ret != -EAGAIN)
			return ret;
		if (!ret && is_overdue(&ks->tx)) {
			ret = seal_and_push(ks, KTLS_PUSH_MORE);
			if (ret || is_overdue(&ks->tx))
				return ret ?: -ENOMEM;
			continue;
		}
		if (!ret && has_room(ks, write->type))
			return 0;
		if (!write->timeo)
			return -EAGAIN;
		if (signal_pending(current))
			return sock_intr_errno(write->timeo);
		ret = wait_for_room(ks, write);
		if (ret)
			return ret;
	}
}

/* TLS_SET_RECORD_TYPE. -EINVAL: malformed, or no such message. */
static int read_type(const struct cmsghdr *cmsg, struct ktls_write *write)
{
	if (cmsg->cmsg_type != TLS_SET_RECORD_TYPE || cmsg->cmsg_len < CMSG_LEN(sizeof(u8)) ||
	    write->more)
		return -EINVAL;
	write->type = *(u8 *)CMSG_DATA(cmsg);
	return 0;
}

/* KTLS_SEGMENT, of datagrams only. */
static int read_segment(const struct ktls_sock *ks, const struct cmsghdr *cmsg,
			struct ktls_write *write)
{
	u32 segment;

	if (!ktls_is_datagram(ks) || cmsg->cmsg_type != KTLS_SEGMENT ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(segment)))
		return -EINVAL;
	memcpy(&segment, CMSG_DATA(cmsg), sizeof(segment));
	if (segment > KTLS_MAX_PAYLOAD)
		return -EINVAL;
	write->segment = segment;
	return 0;
}

static int read_cmsgs(const struct ktls_sock *ks, struct ktls_write *write)
{
	struct cmsghdr *cmsg;
	int ret = 0;

	for_each_cmsghdr(cmsg, write->msg) {
		if (!CMSG_OK(write->msg, cmsg))
			return -EINVAL;
		if (cmsg->cmsg_level == SOL_TLS)
			ret = read_type(cmsg, write);
		else if (cmsg->cmsg_level == SOL_KTLS)
			ret = read_segment(ks, cmsg, write);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * ktls_tx_read_flags() - what a sendmsg asks for
 * @ks: socket
 * @write: its msg is set; the rest becomes what flags and control messages say
 *
 * Context: process.
 * Return: 0, -EOPNOTSUPP, -EINVAL.
 */
int ktls_tx_read_flags(struct ktls_sock *ks, struct ktls_write *write)
{
	unsigned int flags = write->msg->msg_flags;

	if (flags & ~KTLS_SEND_FLAGS)
		return -EOPNOTSUPP;
	if ((flags & MSG_MORE) && (flags & MSG_EOR))
		return -EINVAL;
	write->more = flags & MSG_MORE;
#ifdef KTLS_HAVE_SENDPAGE
	write->more |= !!(flags & MSG_SENDPAGE_NOTLAST);
#endif
	write->splice = flags & MSG_SPLICE_PAGES;
	return read_cmsgs(ks, write);
}

/* Payload into the open record, until it is full: bytes, or -errno if there are none. */
static ssize_t fill_record(struct ktls_sock *ks, struct ktls_write *write)
{
	struct iov_iter *from = &write->msg->msg_iter;
	ssize_t taken = 0, ret = 0;

	while (iov_iter_count(from) && ks->tx.open.len < ks->tx.max_payload) {
		ret = ktls_compose_append(ks, write->type, ks->tx.max_payload, from,
					  write->splice);
		if (ret < 0)
			break;
		taken += ret;
	}
	return taken ?: ret;
}

/* One record, or part of one. Bytes of a record that failed do not count. */
static int write_record(struct ktls_sock *ks, struct ktls_write *write)
{
	struct iov_iter *from = &write->msg->msg_iter;
	bool full, stuck;
	ssize_t taken;
	int ret;

	taken = fill_record(ks, write);
	if (taken < 0)
		return taken;
	full = ks->tx.open.len == ks->tx.max_payload;
	/* A fault in the reader's memory: what was taken must not wait for more. */
	stuck = !full && iov_iter_count(from);
	if (full || stuck || !write->more) {
		ret = seal_and_push(ks, iov_iter_count(from) || write->more ? KTLS_PUSH_MORE : 0);
		if (ret)
			return ret;
	}
	write->done += taken;
	return 0;
}

/* Payload into records, as far as it goes. */
static int write_records(struct ktls_sock *ks, struct ktls_write *write)
{
	struct ktls_open_record *open = &ks->tx.open;
	int ret = 0;

	while (!ret && iov_iter_count(&write->msg->msg_iter)) {
		ret = ktls_tx_get_room(ks, write);
		if (ret)
			break;
		/* Types are never mixed; the lock may have been released. */
		if (open->len && open->type != write->type)
			ret = seal_and_push(ks, KTLS_PUSH_MORE);
		else
			ret = write_record(ks, write);
	}
	return ret;
}

static int send_locked(struct ktls_sock *ks, struct ktls_write *write)
{
	bool empty = !iov_iter_count(&write->msg->msg_iter);
	int ret;

	ret = check_ready(ks);
	if (ret)
		return ret;
	/* rfc5246 6.2.1: no empty fragments of other types than data. */
	if (empty && write->type != KTLS_TYPE_DATA)
		return -EINVAL;
	if (!ktls_record_is_legal(ks->tx.dir.format, write->type, 1))
		return -EINVAL;
	/* Nothing more comes: what was announced with MSG_MORE goes. */
	if (empty)
		return ks->tx.open.len && !write->more ? seal_and_push(ks, 0) : 0;
	return write_records(ks, write);
}

/**
 * ktls_tx_sendmsg() - sendmsg(2), and splice and sendfile by MSG_SPLICE_PAGES
 * @ks: socket
 * @msg: the writer's
 * @size: its bytes
 *
 * Context: process, no locks held; may sleep and, unless MSG_DONTWAIT, wait.
 * Return: bytes taken; -errno as <linux/ktls.h> says.
 */
int ktls_tx_sendmsg(struct ktls_sock *ks, struct msghdr *msg, size_t size)
{
	struct ktls_write write = {
		.msg	= msg,
		.type	= KTLS_TYPE_DATA,
		.timeo	= sock_sndtimeo(&ks->sk, msg->msg_flags & MSG_DONTWAIT),
	};
	int ret;

	ret = ktls_tx_read_flags(ks, &write);
	if (ret)
		return ret;
	mutex_lock(&ks->tx.dir.lock);
	ret = send_locked(ks, &write);
	/* As TCP: what ended the direction is told once. */
	if (ret && !write.done && ret == ks->tx.dir.err)
		WRITE_ONCE(ks->tx.dir.err, -EPIPE);
	mutex_unlock(&ks->tx.dir.lock);
	if (write.done)
		return write.done;
	if (ret == -EPIPE && !(msg->msg_flags & MSG_NOSIGNAL))
		send_sig(SIGPIPE, current, 0);
	return ret;
}

/**
 * ktls_tx_splice_eof() - nothing follows what was announced with MSG_MORE
 * @ks: socket
 *
 * Context: process, no locks held.
 */
void ktls_tx_splice_eof(struct ktls_sock *ks)
{
	mutex_lock(&ks->tx.dir.lock);
	if (!check_ready(ks) && ks->tx.open.len)
		seal_and_push(ks, 0);
	mutex_unlock(&ks->tx.dir.lock);
}

/**
 * ktls_tx_pause() - KTLS_PAUSE
 * @ks: socket
 * @on: application data is to wait; what was taken of it goes before
 *
 * Context: process, no locks held.
 * Return: 0; -ENOMEM: nothing was changed.
 */
int ktls_tx_pause(struct ktls_sock *ks, bool on)
{
	struct ktls_tx *tx = &ks->tx;
	int ret = 0;

	mutex_lock(&tx->dir.lock);
	if (on && tx->open.len && !check_ready(ks)) {
		ret = ktls_compose_seal(ks);
		if (!ret) {
			tx->overdue = false;
			ktls_tx_push(ks, 0);
		}
	}
	if (ret != -ENOMEM)
		WRITE_ONCE(tx->paused, on);
	mutex_unlock(&tx->dir.lock);
	if (!on)
		ktls_carrier_wake(ks, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	return ret == -ENOMEM ? ret : 0;
}

/**
 * ktls_tx_flush() - send all without waiting
 * @ks: bound socket
 *
 * Context: process, tx.dir.lock held.
 * Return: 0; -EBUSY: the carrier did not take all; -ENOMEM; else the direction's error.
 */
int ktls_tx_flush(struct ktls_sock *ks)
{
	int ret = 0;

	lockdep_assert_held(&ks->tx.dir.lock);
	if (ks->tx.dir.err)
		return ks->tx.dir.err;
	if (ks->tx.open.len) {
		ret = ktls_tx_push(ks, 0);
		if (!ret)
			ret = ktls_compose_seal(ks);
	}
	if (!ret)
		ret = ktls_tx_push(ks, 0);
	return ret == -EAGAIN ? -EBUSY : ret;
}

static int seal_close_notify(struct ktls_sock *ks)
{
	u8 alert[KTLS_ALERT_LEN] = { KTLS_ALERT_WARNING, KTLS_ALERT_CLOSE_NOTIFY };
	struct kvec vec = { .iov_base = alert, .iov_len = sizeof(alert) };
	struct iov_iter from;
	ssize_t ret = 1;

	iov_iter_kvec(&from, ITER_SOURCE, &vec, 1, sizeof(alert));
	while (iov_iter_count(&from) && ret > 0)
		ret = ktls_compose_append(ks, KTLS_TYPE_ALERT, sizeof(alert), &from, false);
	return ret < 0 ? ret : ktls_compose_seal(ks);
}

/**
 * ktls_tx_shutdown() - close the writing side: open record, close_notify, FIN
 * @ks: bound socket
 *
 * Does not wait: what the carrier does not take now goes when it has room.
 *
 * Context: process, lock_sock(&ks->sk) and tx.dir.lock held.
 * Return: 0; -ENOMEM: nothing was closed.
 */
int ktls_tx_shutdown(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	int ret = 0;

	lockdep_assert_held(&tx->dir.lock);
	if (READ_ONCE(ks->sk.sk_shutdown) & SEND_SHUTDOWN)
		return 0;
	if (tx->dir.key && !tx->dir.err && !tx->dir.exhausted) {
		if (tx->open.len)
			ret = ktls_compose_seal(ks);
		if (!ret && !tx->dir.exhausted)
			ret = seal_close_notify(ks);
		if (ret == -ENOMEM)
			return ret;
		tx->close_notify_sent = !ret;
	}
	WRITE_ONCE(ks->sk.sk_shutdown, ks->sk.sk_shutdown | SEND_SHUTDOWN);
	tx->fin = !ktls_is_datagram(ks);
	ktls_tx_push(ks, 0);
	return 0;
}

/**
 * ktls_tx_has_unsent() - is there something that was taken and not sent?
 * @ks: socket
 *
 * Context: any.
 */
bool ktls_tx_has_unsent(const struct ktls_sock *ks)
{
	return READ_ONCE(ks->tx.pending_bytes) || READ_ONCE(ks->tx.open.len);
}

/**
 * ktls_tx_release() - last sends of a socket that is closed
 * @ks: bound socket
 *
 * What was taken is handed over beyond the carrier's limit: at most KTLS_PENDING_MAX pieces.
 *
 * Context: process, tx.dir.lock held; of a stream the carrier's lock, too.
 */
void ktls_tx_release(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	int ret = 0;

	lockdep_assert_held(&tx->dir.lock);
	if (tx->open.len && !tx->dir.err)
		ret = ktls_compose_seal(ks);
	if (ktls_tx_push(ks, KTLS_PUSH_LOCKED | KTLS_PUSH_ALL) || ret)
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_TX_LOST);
	ktls_compose_drop(tx);
	drop_pending(tx);
	if (tx->frag.page)
		put_page(tx->frag.page);
	tx->frag.page = NULL;
}

/* Whether it was a turn: false: try again later. */
static bool push_in_work(struct ktls_sock *ks)
{
	bool stream = !ktls_is_datagram(ks);
	struct sock *csk = ks->carrier.sk;

	if (!csk)
		return true;
	if (!ktls_carrier_trylock(csk))
		return false;
	/* UDP takes its lock, if at all, by itself. */
	if (!stream)
		release_sock(csk);
	if (is_overdue(&ks->tx) && !check_ready(ks))
		seal_and_push(ks, KTLS_PUSH_LOCKED);
	if (ktls_tx_push(ks, KTLS_PUSH_LOCKED) != -EAGAIN)
		ktls_carrier_wake(ks, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	if (stream)
		release_sock(csk);
	return true;
}

/**
 * ktls_tx_work() - push what is pending, now that the carrier has room
 * @work: of struct ktls_tx
 *
 * Context: workqueue; ends before the socket is freed (cancel_delayed_work_sync() in finish()).
 */
void ktls_tx_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_delayed_work(work), struct ktls_sock, tx.work);
	bool done = false;

	/* Who holds it may be waiting for memory of the program's. */
	if (mutex_trylock(&ks->tx.dir.lock)) {
		done = push_in_work(ks);
		mutex_unlock(&ks->tx.dir.lock);
	}
	if (!done)
		mod_delayed_work(ktls_workqueue, &ks->tx.work, KTLS_RETRY_DELAY);
}
