// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending datagrams: one send is one record is one datagram, or a batch of records of equal
 * size that UDP cuts apart again (UDP_SEGMENT).
 */
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "ktls.h"

/* What UDP takes at once, with room for all headers. */
#define KTLS_BATCH_BYTES	65000

/**
 * ktls_batch_usable() - the largest payload that fits a datagram of the path
 * @ks: datagram socket
 *
 * Context: process.
 * Return: bytes; -ENOKEY, -ENOTCONN, or another -errno: there is no route.
 */
int ktls_batch_usable(const struct ktls_sock *ks)
{
	const struct ktls_format *format = READ_ONCE(ks->tx.dir.format);
	const struct ktls_cipher *cipher = READ_ONCE(ks->tx.dir.cipher);
	int room;

	if (!format || !cipher)
		return -ENOKEY;
	room = ktls_path_room(ks);
	if (room < 0)
		return room;
	room -= ktls_record_prefix_len(format, cipher) + KTLS_TAG_LEN;
	return clamp_t(int, room, 0, READ_ONCE(ks->tx.max_payload));
}

/* Payload of each record, or -errno. */
static int record_limit(const struct ktls_sock *ks, const struct ktls_write *write)
{
	int usable;

	if (!write->segment && !write->splice)
		return ks->tx.max_payload;
	usable = ktls_batch_usable(ks);
	if (usable < 0)
		return usable;
	if (!usable || write->segment > (u32)usable)
		return -EMSGSIZE;
	return write->segment ?: usable;
}

/* Payload into the open record up to its limit. A record that failed is not sent in part. */
static int fill_record(struct ktls_sock *ks, struct ktls_write *write, u32 limit)
{
	struct iov_iter *from = &write->msg->msg_iter;
	struct ktls_tx *tx = &ks->tx;
	ssize_t ret = 0;

	while (ret >= 0 && iov_iter_count(from) && tx->open.len < limit)
		ret = ktls_compose_append(ks, write->type, limit, from, write->splice);
	if (ret < 0)
		ktls_compose_drop(tx);
	return ret < 0 ? ret : 0;
}

static int seal(struct ktls_sock *ks)
{
	int ret = ktls_compose_seal(ks);

	if (ret == -ENOMEM)
		ktls_compose_drop(&ks->tx);
	return ret;
}

/* Sends a batch. What the carrier does not take now it takes later. */
static int push(struct ktls_sock *ks)
{
	int ret = ktls_tx_push(ks, 0);

	return ret == -EAGAIN ? 0 : ret;
}

/* For another record as large as the first. */
static bool has_room(const struct ktls_tx *tx)
{
	return tx->sizes_count < KTLS_BATCH_MAX &&
	       tx->pending_count + 2 * KTLS_PIECES <= KTLS_PENDING_MAX &&
	       tx->pending_bytes + tx->sizes[0] <= KTLS_BATCH_BYTES;
}

/* As many records as go at once; nothing is pending before. 0 or -errno. */
static int send_batch(struct ktls_sock *ks, struct ktls_write *write)
{
	struct iov_iter *from = &write->msg->msg_iter;
	size_t before = iov_iter_count(from), sealed = 0;
	struct ktls_tx *tx = &ks->tx;
	int limit, ret, sent;

	limit = record_limit(ks, write);
	if (limit < 0)
		return limit;
	do {
		/* What no number is left for is not taken. */
		ret = tx->dir.exhausted ? -EBADMSG : fill_record(ks, write, limit);
		if (!ret && write->more && tx->open.len < (u32)limit) {
			/* It is left open; its bytes are taken. */
			sealed = before - iov_iter_count(from);
			break;
		}
		if (!ret)
			ret = seal(ks);
		if (!ret)
			sealed = before - iov_iter_count(from);
	} while (!ret && iov_iter_count(from) && has_room(tx));

	sent = push(ks);
	if (!sent)
		write->done += sealed;
	return sent ?: ret;
}

static int send_open_record(struct ktls_sock *ks)
{
	int ret = seal(ks);

	return ret ?: push(ks);
}

static int send_all(struct ktls_sock *ks, struct ktls_write *write)
{
	struct iov_iter *from = &write->msg->msg_iter;
	struct ktls_open_record *open = &ks->tx.open;
	int ret = 0;

	while (!ret && iov_iter_count(from)) {
		if (write->done) {
			if (signal_pending(current))
				break;
			cond_resched();
		}
		ret = ktls_tx_get_room(ks, write);
		if (ret)
			break;
		if (open->len && open->type != write->type)
			ret = send_open_record(ks);
		else if (!write->segment && !write->splice &&
			 open->len + iov_iter_count(from) > ks->tx.max_payload)
			ret = -EMSGSIZE;
		else
			ret = send_batch(ks, write);
	}
	return ret;
}

static int send_locked(struct ktls_sock *ks, struct ktls_write *write)
{
	bool empty = !iov_iter_count(&write->msg->msg_iter);
	int ret = sock_error(&ks->sk);

	if (ret)
		return ret;
	if (write->segment == KTLS_NO_SEGMENT)
		write->segment = READ_ONCE(ks->tx.segment);
	/* What fits one record is no batch. */
	if (write->segment >= ks->tx.open.len + iov_iter_count(&write->msg->msg_iter) &&
	    !write->more)
		write->segment = 0;
	if (!empty)
		return send_all(ks, write);
	/* rfc5246 6.2.1: no empty fragments of other types than data. */
	if (write->type != KTLS_TYPE_DATA)
		return -EINVAL;
	ret = ktls_tx_get_room(ks, write);
	if (!ret && ks->tx.open.len && !write->more)
		ret = send_open_record(ks);
	return ret;
}

/**
 * ktls_batch_sendmsg() - sendmsg(2) of datagram sockets, splice and sendfile
 * @ks: socket
 * @msg: the writer's
 * @size: its bytes
 *
 * Context: process, no locks held; may sleep and, unless MSG_DONTWAIT, wait.
 * Return: bytes taken; -errno as <linux/ktls.h> says.
 */
int ktls_batch_sendmsg(struct ktls_sock *ks, struct msghdr *msg, size_t size)
{
	struct ktls_write write = {
		.msg	= msg,
		.type	= KTLS_TYPE_DATA,
		.segment = KTLS_NO_SEGMENT,
		.timeo	= sock_sndtimeo(&ks->sk, msg->msg_flags & MSG_DONTWAIT),
	};
	int ret;

	if (msg->msg_name && msg->msg_namelen)
		return -EISCONN;
	ret = ktls_tx_read_flags(ks, &write);
	if (ret)
		return ret;
	mutex_lock(&ks->tx.dir.lock);
	ret = send_locked(ks, &write);
	mutex_unlock(&ks->tx.dir.lock);
	return write.done ?: ret;
}
