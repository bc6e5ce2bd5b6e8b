// SPDX-License-Identifier: MIT
/* What comes by way of the AF_KTLS socket: data for the program, the rest for the shadow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <openssl/crypto.h>

#include <linux/tls.h>

#include "conn.h"
#include "shadow.h"
#include "wait.h"

#define HELD_MAX	(1 << 20)
#define KEY_MS		5	/* how often who waits for a key's epoch looks for other datagrams */

union type_cmsg {
	char buf[CMSG_SPACE(1)];
	struct cmsghdr align;
};

/* 0: nothing was said, as at the end of file. */
static uint8_t record_type(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (c && c->cmsg_level == SOL_TLS && c->cmsg_type == TLS_GET_RECORD_TYPE)
		return *CMSG_DATA(c);
	return 0;
}

/* Of a datagram a control record comes but once: what finds a small buffer goes on here. */
#define SPILL	RECORD_MAX_PAYLOAD

struct received {
	uint8_t type;
	bool ends;		/* the record */
	uint8_t *data;
	size_t len;		/* of data */
};

/* Room for a record beside the reader's. */
static bool have_record(struct ktls_conn *conn)
{
	if (!conn->record)
		conn->record = malloc(2 * SPILL);
	return conn->record;
}

/* A count, of data and of what went to conn->record, or -errno. */
static ssize_t receive(struct ktls_conn *conn, struct received *r, int flags)
{
	bool datagrams = ktls_wire_is_datagram(&conn->wire);
	union type_cmsg control;
	struct iovec iov[] = {
		{ .iov_base = r->data, .iov_len = r->len },
		{ .iov_base = conn->record, .iov_len = SPILL },
	};
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = datagrams ? 2 : 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(conn->fd, &msg, flags);

	r->type = n < 0 ? 0 : record_type(&msg);
	r->ends = n >= 0 && (datagrams || msg.msg_flags & MSG_EOR);
	return n < 0 ? -errno : n;
}

/* Behind what is there of the record. */
static void put_together(struct ktls_conn *conn, const struct received *r, size_t n)
{
	size_t room = 2 * SPILL - conn->record_len;
	size_t in_data = n < r->len ? n : r->len;

	if (n > r->len) {
		/* A datagram, whose rest is there already. */
		in_data = r->len < SPILL ? r->len : SPILL;
		memmove(conn->record + in_data, conn->record, n - r->len);
		memcpy(conn->record, r->data, in_data);
		conn->record_len = in_data + n - r->len;
		return;
	}
	in_data = in_data < room ? in_data : room;
	memcpy(conn->record + conn->record_len, r->data, in_data);
	conn->record_len += in_data;
}

static int take_control_locked(struct ktls_conn *conn, const struct received *r, size_t n)
{
	size_t len;
	int ret;

	if (r->ends && !conn->record_len && n <= r->len)
		return ktls_control_take(conn, r->type, r->data, n);
	if (!have_record(conn))
		return ktls_fail(conn, ENOMEM, "out of memory");
	put_together(conn, r, n);
	if (!r->ends)
		return 0;
	len = conn->record_len;
	conn->record_len = 0;
	ret = ktls_control_take(conn, r->type, conn->record, len);
	OPENSSL_cleanse(conn->record, len);
	return ret;
}

static int take_control(struct ktls_conn *conn, const struct received *r, size_t n)
{
	int ret;

	pthread_mutex_lock(&conn->control_lock);
	ret = take_control_locked(conn, r, n);
	pthread_mutex_unlock(&conn->control_lock);
	return ret;
}

ssize_t ktls_receive_control(int fd, uint8_t *type, uint8_t *data, size_t len)
{
	union type_cmsg control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	*type = record_type(&msg);
	return n;
}

/*
 * Nothing more comes: nor what somebody waits for who wants to send. rfc5246 7.2.2: an error ends
 * both directions, before he is let go on.
 */
static void end_receiving(struct ktls_conn *conn, int end)
{
	if (end < 0)
		conn->tx_closed = true;
	conn->rx_end = end;
	ktls_shadow_end(conn);
}

static int rx_failed(struct ktls_conn *conn, int ret, uint8_t alert, const char *sentence)
{
	ktls_control_reply(conn, ALERT_FATAL, alert);
	ktls_send_reply(conn);
	end_receiving(conn, ret);
	return ktls_fail(conn, -ret, "%s", sentence);
}

/* The record layer's errors are final; rfc5246 7.2.2: the peer is told. */
static int explain_receive(struct ktls_conn *conn, int ret)
{
	switch (ret) {
	case -EAGAIN:
	case -EINTR:
		return ret;
	case -ENOMEM:
		return ktls_fail(conn, ENOMEM, "out of memory");
	case -EBADMSG:
		return rx_failed(conn, ret, SSL_AD_BAD_RECORD_MAC,
				 "a record failed authentication: damaged or forged on its way");
	case -EMSGSIZE:
		return rx_failed(conn, ret, SSL_AD_RECORD_OVERFLOW,
				 "the peer sent a record longer than TLS allows");
	case -EINVAL:
		return rx_failed(conn, ret, SSL_AD_PROTOCOL_VERSION,
				 "the peer sent a record of another TLS version");
	case -ENOTCONN:
		if (conn->displaced)
			return ktls_fail(conn, ECONNRESET, "the peer has begun a new connection");
		/* fallthrough */
	default:
		/* Of datagrams the next may come all the same. */
		if (!ktls_wire_is_datagram(&conn->wire))
			ktls_shadow_end(conn);
		return ktls_fail(conn, -ret, ret == -ECONNRESET ? "the peer reset the connection" :
				 "receiving: %s", strerror(-ret));
	}
}

/*
 * Until something comes or, where something waits to be sent, there is room. A socket that waits
 * for a key, of datagrams, says all the time that it can be read.
 */
static int wait_for_peer(struct ktls_conn *conn, const struct ktls_wait *wait, bool key_is_due,
			 int timeout_ms)
{
	struct pollfd pfd[] = {
		{ .fd = key_is_due ? -1 : conn->fd,
		  .events = conn->queued ? POLLIN | POLLPRI : POLLIN },
		{ .fd = ktls_shadow_awaits_room(conn) ? conn->wire.fd : -1, .events = POLLOUT },
	};
	int due = ktls_shadow_timeout(conn);

	if (key_is_due && (timeout_ms < 0 || timeout_ms > KEY_MS))
		timeout_ms = KEY_MS;
	if (due >= 0 && (timeout_ms < 0 || due < timeout_ms))
		timeout_ms = due;
	return ktls_wait_poll(wait, pfd, 2, timeout_ms);
}

/* A control record, of any length: 0; 1: end of file; -errno. */
static int received_control(struct ktls_conn *conn, const struct received *r, size_t n)
{
	int ret = take_control(conn, r, n);

	if (ret) {
		ktls_send_reply(conn);
		end_receiving(conn, ret);
	}
	return ret;
}

/* While the kernel waited for data we could not do what somebody has to do. */
static bool must_look_around(struct ktls_conn *conn)
{
	return atomic_load(&conn->shadow_busy) || atomic_load(&conn->shadow_timed) ||
	       (conn->queued && !conn->keeper);
}

/*
 * What is in the way of data: 0: look again; -errno. Was it we who kept the kernel from waiting,
 * another thread may have done meanwhile what was to be done.
 */
static int wait_for_data(struct ktls_conn *conn, const struct ktls_wait *wait, bool key_is_due,
			 bool has_looked)
{
	int ret = conn->queued && !conn->keeper ? ktls_attend(conn) : 0;

	if (ret < 0)
		return ret;
	if (key_is_due || must_look_around(conn))
		return wait_for_peer(conn, wait, key_is_due, -1);
	return has_looked && ktls_may_wait(conn, wait->flags) ? 0 : -EAGAIN;
}

/* Of a datagram, what the reader had no room for. */
static void drop_rest(struct ktls_conn *conn, const struct received *r, size_t n)
{
	if (n > r->len)
		OPENSSL_cleanse(conn->record, n - r->len);
}

/*
 * rfc5246 7.4.9: Finished follows the ChangeCipherSpec at once; before it nobody has proved who
 * holds the new key. rfc6347 4.1: such datagrams may be dropped. Beside a reader who has the
 * control records queued nobody knows on which side of the change data came. 0: go on; -errno.
 */
static int refuse_unproved(struct ktls_conn *conn, const struct received *r, size_t n)
{
	OPENSSL_cleanse(r->data, n < r->len ? n : r->len);
	drop_rest(conn, r, n);
	if (ktls_wire_is_datagram(&conn->wire))
		return 0;
	return rx_failed(conn, -EPROTO, SSL_AD_UNEXPECTED_MESSAGE,
			 "the peer sent data before the Finished of its handshake");
}

static bool is_unproved(const struct ktls_conn *conn)
{
	return atomic_load(&conn->unproved) && !conn->queued;
}

/*
 * Application data: a count, 0: the end; -errno. In a handshake the answers that find no room have
 * to go later, and a flight of DTLS again: the kernel must not wait then.
 */
static ssize_t receive_data(struct ktls_conn *conn, struct received *r,
			    const struct ktls_wait *wait)
{
	bool datagrams = ktls_wire_is_datagram(&conn->wire), key_is_due, looks;
	ssize_t n;
	int ret;

	for (;;) {
		ktls_send_reply(conn);
		(void)ktls_shadow_push(conn);
		if (conn->rx_end < 0)
			return conn->rx_end;
		looks = must_look_around(conn);
		n = receive(conn, r, wait->flags | (looks ? MSG_DONTWAIT : 0));
		/* A record of the next epoch is there before what it needs. */
		key_is_due = n == -EKEYEXPIRED && datagrams;
		if (n == -EAGAIN || key_is_due) {
			n = wait_for_data(conn, wait, key_is_due, looks);
			if (!n)
				continue;
			return n;
		}
		if (n < 0)
			return explain_receive(conn, (int)n);
		/* An empty datagram is not the end. */
		if (r->type == RECORD_DATA && !n && datagrams)
			continue;
		if ((r->type == RECORD_DATA || !r->type) && !(n && is_unproved(conn))) {
			drop_rest(conn, r, (size_t)n);
			return n;
		}
		ret = r->type == RECORD_DATA || !r->type ? refuse_unproved(conn, r, (size_t)n) :
							   received_control(conn, r, (size_t)n);
		if (ret)
			return ret < 0 ? ret : 0;
	}
}

static void drop_held(struct ktls_conn *conn)
{
	struct ktls_held *held = conn->held;

	conn->held = held->next;
	conn->held_bytes -= held->len - held->at;
	conn->held_memory -= sizeof(*held) + held->len;
	OPENSSL_cleanse(held->data, held->len);
	free(held);
}

ssize_t ktls_take_held(struct ktls_conn *conn, uint8_t *data, size_t len)
{
	struct ktls_held *held = conn->held;
	size_t left = held->len - held->at;
	size_t n = left < len ? left : len;

	memcpy(data, held->data + held->at, n);
	held->at += n;
	conn->held_bytes -= n;
	if (held->at == held->len || ktls_wire_is_datagram(&conn->wire))
		drop_held(conn);
	return (ssize_t)n;
}

void ktls_kernel_forget(struct ktls_conn *conn)
{
	while (conn->held)
		drop_held(conn);
	if (conn->record)
		OPENSSL_cleanse(conn->record, 2 * SPILL);
	free(conn->record);
	conn->record = NULL;
}

/* The other thread may receive for as long as it likes. */
static int lock_receiver(struct ktls_conn *conn, const struct ktls_wait *wait)
{
	int ret;

	if (!sem_trywait(&conn->receiver))
		return 0;
	atomic_fetch_add(&conn->receivers, 1);
	ret = ktls_wait_lock(wait, &conn->receiver);
	atomic_fetch_sub(&conn->receivers, 1);
	return ret;
}

ssize_t ktls_kernel_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	struct received r = { .data = data, .len = len };
	struct ktls_wait wait;
	ssize_t n;

	ktls_wait_begin(&wait, conn, SO_RCVTIMEO, flags);
	n = lock_receiver(conn, &wait);
	if (n)
		return n;
	if (ktls_wire_is_datagram(&conn->wire) && !have_record(conn))
		n = ktls_fail(conn, ENOMEM, "out of memory");
	else if (conn->held)
		n = ktls_take_held(conn, data, len);
	else if (conn->rx_end)
		n = conn->rx_end < 0 ? conn->rx_end : 0;
	else
		n = receive_data(conn, &r, &wait);
	if (!n && !conn->rx_end)
		end_receiving(conn, 1);
	sem_post(&conn->receiver);
	if (n < 0)
		return n;
	atomic_store(&conn->control.has_data, true);
	ktls_rekey_count(&conn->rekeying.rx, (size_t)n);
	ktls_rekey_if_due(conn, &conn->rekeying.rx);
	return (size_t)n < len ? n : (ssize_t)len;
}

/* ---- for others to receive ---- */

bool ktls_hold(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_held *held = malloc(sizeof(*held) + len);

	if (!held)
		return false;
	*held = (struct ktls_held){ .len = len };
	memcpy(held->data, data, len);
	if (!conn->held)
		conn->held_end = &conn->held;
	*conn->held_end = held;
	conn->held_end = &held->next;
	conn->held_bytes += len;
	conn->held_memory += sizeof(*held) + len;
	return true;
}

/* What is data is kept for who will ask for it. */
int ktls_kernel_hold(struct ktls_conn *conn)
{
	uint8_t data[RECORD_MAX_PAYLOAD];
	struct received r = { .data = data, .len = sizeof(data) };
	struct ktls_wait wait;
	bool held;
	ssize_t n;

	if (conn->rx_end)
		return conn->rx_end < 0 ? conn->rx_end : -EPIPE;
	if (conn->held_memory > HELD_MAX ||
	    (ktls_wire_is_datagram(&conn->wire) && !have_record(conn)))
		return ktls_fail(conn, ENOBUFS,
				 "new keys are on their way behind data: ktls_recv it first");
	ktls_wait_begin(&wait, conn, SO_RCVTIMEO, MSG_DONTWAIT);
	n = receive_data(conn, &r, &wait);
	held = n > 0 && ktls_hold(conn, data, (size_t)n);
	/* What was not data may have been in it too. */
	OPENSSL_cleanse(data, sizeof(data));
	if (n <= 0) {
		if (!n && !conn->rx_end)
			end_receiving(conn, 1);
		return (int)n;
	}
	return held ? 0 : ktls_fail(conn, ENOMEM, "out of memory");
}
