// SPDX-License-Identifier: MIT
/* Application data by way of the AF_KTLS socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <openssl/crypto.h>

#include <linux/tls.h>

#include "conn.h"
#include "shadow.h"

union type_cmsg {
	char buf[CMSG_SPACE(1)];
	struct cmsghdr align;
};

ssize_t ktls_send_record(int fd, uint8_t type, const void *data, size_t len, int flags)
{
	union type_cmsg control = { .align = {
		.cmsg_len = CMSG_LEN(1), .cmsg_level = SOL_TLS, .cmsg_type = TLS_SET_RECORD_TYPE,
	} };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	*CMSG_DATA(&control.align) = type;
	return sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
}

/* Never waits: an answer that finds no room now goes with a later call. */
void ktls_send_reply(struct ktls_conn *conn)
{
	struct ktls_control *c = &conn->control;
	ssize_t n;

	pthread_mutex_lock(&conn->lock);
	if (c->has_reply) {
		n = ktls_send_record(conn->fd, RECORD_ALERT, c->reply, sizeof(c->reply), MSG_DONTWAIT);
		c->has_reply = n < 0 && (errno == EAGAIN || errno == EINTR);
	}
	pthread_mutex_unlock(&conn->lock);
}

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

	if (r->ends && !conn->record_len && n <= r->len)
		return ktls_control_take(conn, r->type, r->data, n);
	if (!have_record(conn))
		return ktls_fail(conn, ENOMEM, "out of memory");
	put_together(conn, r, n);
	if (!r->ends)
		return 0;
	len = conn->record_len;
	conn->record_len = 0;
	return ktls_control_take(conn, r->type, conn->record, len);
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

static int rx_failed(struct ktls_conn *conn, int ret, uint8_t alert, const char *sentence)
{
	ktls_control_reply(conn, ALERT_FATAL, alert);
	ktls_send_reply(conn);
	conn->rx_end = ret;
	return ktls_fail(conn, -ret, "%s", sentence);
}

/* The record layer's errors are final; rfc5246 7.2.2: the peer is told. */
static int explain_receive(struct ktls_conn *conn, int ret)
{
	switch (ret) {
	case -EAGAIN:
	case -EINTR:
		return ret;
	case -EBADMSG:
		return rx_failed(conn, ret, SSL_AD_BAD_RECORD_MAC,
				 "a record failed authentication: damaged or forged on its way");
	case -EMSGSIZE:
		return rx_failed(conn, ret, SSL_AD_RECORD_OVERFLOW,
				 "the peer sent a record longer than TLS allows");
	case -EINVAL:
		return rx_failed(conn, ret, SSL_AD_PROTOCOL_VERSION,
				 "the peer sent a record of another TLS version");
	case -ECONNRESET:
		return ktls_fail(conn, ECONNRESET, "the peer reset the connection");
	case -ENOTCONN:
		if (conn->displaced)
			return ktls_fail(conn, ECONNRESET, "the peer has begun a new connection");
		/* fallthrough */
	default:
		return ktls_fail(conn, -ret, "receiving: %s", strerror(-ret));
	}
}

static bool may_wait(const struct ktls_conn *conn, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(fcntl(conn->fd, F_GETFL) & O_NONBLOCK);
}

/* Until something comes or, where something waits to be sent, there is room. */
static void wait_for_peer(struct ktls_conn *conn, int timeout_ms)
{
	struct pollfd pfd[] = {
		{ .fd = conn->fd, .events = conn->queued ? POLLIN | POLLPRI : POLLIN },
		{ .fd = conn->wire.fd, .events = POLLOUT },
	};
	int due = ktls_shadow_timeout(conn);

	if (due >= 0 && (timeout_ms < 0 || due < timeout_ms))
		timeout_ms = due;
	(void)poll(pfd, ktls_shadow_has_output(conn) ? 2 : 1, timeout_ms);
}

/* A control record, of any length: 0; 1: end of file; -errno. */
static int received_control(struct ktls_conn *conn, const struct received *r, size_t n)
{
	int ret = take_control(conn, r, n);

	if (ret) {
		ktls_send_reply(conn);
		conn->rx_end = ret;
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
 * Application data: a count, 0: the end; -errno. In a handshake the answers that find no room have
 * to go later, and a flight of DTLS again: the kernel must not wait then.
 */
static ssize_t receive_data(struct ktls_conn *conn, struct received *r, int flags)
{
	bool datagrams = ktls_wire_is_datagram(&conn->wire);
	ssize_t n;
	int ret;

	for (;;) {
		ktls_send_reply(conn);
		(void)ktls_shadow_push(conn);
		if (conn->rx_end < 0)
			return conn->rx_end;
		n = receive(conn, r, flags | (must_look_around(conn) ? MSG_DONTWAIT : 0));
		/* A record of the next epoch is there before what it needs. */
		if (n == -EKEYEXPIRED && datagrams)
			n = -EAGAIN;
		if (n == -EAGAIN && conn->queued && !conn->keeper) {
			ret = ktls_attend(conn);
			if (ret < 0)
				return ret;
		}
		if (n == -EAGAIN && must_look_around(conn) && may_wait(conn, flags)) {
			wait_for_peer(conn, -1);
			continue;
		}
		if (n < 0)
			return explain_receive(conn, (int)n);
		/* An empty datagram is not the end. */
		if (r->type == RECORD_DATA && !n && datagrams)
			continue;
		if (r->type == RECORD_DATA || !r->type)
			return n;
		ret = received_control(conn, r, (size_t)n);
		if (ret)
			return ret < 0 ? ret : 0;
	}
}

static void drop_held(struct ktls_conn *conn)
{
	struct ktls_held *held = conn->held;

	conn->held = held->next;
	conn->held_bytes -= held->len;
	free(held);
}

ssize_t ktls_take_held(struct ktls_conn *conn, uint8_t *data, size_t len)
{
	struct ktls_held *held = conn->held;
	size_t left = held->len - held->at;
	size_t n = left < len ? left : len;

	memcpy(data, held->data + held->at, n);
	held->at += n;
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
static int lock_receiver(struct ktls_conn *conn, int flags)
{
	if (!pthread_mutex_trylock(&conn->receiver))
		return 0;
	if (!may_wait(conn, flags))
		return -EAGAIN;
	pthread_mutex_lock(&conn->receiver);
	return 0;
}

static ssize_t kernel_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	struct received r = { .data = data, .len = len };
	ssize_t n = lock_receiver(conn, flags);

	if (n)
		return n;
	if (ktls_wire_is_datagram(&conn->wire) && !have_record(conn))
		n = ktls_fail(conn, ENOMEM, "out of memory");
	else if (conn->held)
		n = ktls_take_held(conn, data, len);
	else if (conn->rx_end)
		n = conn->rx_end < 0 ? conn->rx_end : 0;
	else
		n = receive_data(conn, &r, flags);
	pthread_mutex_unlock(&conn->receiver);
	if (n < 0)
		return n;
	if (!n && !conn->rx_end)
		conn->rx_end = 1;
	conn->control.budget.used = 0;
	ktls_rekey_count(conn, &conn->rekeying.rx, (size_t)n);
	return (size_t)n < len ? n : (ssize_t)len;
}

/* ---- what stands in the way of data ---- */

#define HELD_MAX	(1 << 20)
#define TURN_MS		50	/* who wants to receive waits no longer for us to give way */

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
	return true;
}

/* What is data is kept for who will ask for it. */
int ktls_kernel_hold(struct ktls_conn *conn)
{
	uint8_t data[RECORD_MAX_PAYLOAD];
	struct received r = { .data = data, .len = sizeof(data) };
	ssize_t n;

	if (conn->rx_end)
		return conn->rx_end < 0 ? conn->rx_end : -EPIPE;
	if (conn->held_bytes > HELD_MAX ||
	    (ktls_wire_is_datagram(&conn->wire) && !have_record(conn)))
		return ktls_fail(conn, ENOBUFS,
				 "new keys are on their way behind data: ktls_recv it first");
	n = receive_data(conn, &r, MSG_DONTWAIT);
	if (n <= 0) {
		if (!n)
			conn->rx_end = 1;
		return (int)n;
	}
	return ktls_hold(conn, data, (size_t)n) ? 0 : ktls_fail(conn, ENOMEM, "out of memory");
}

/* Receives for who waits to send. */
static int receive_for_sender(struct ktls_conn *conn)
{
	int ret = ktls_kernel_hold(conn);

	if (ret != -EAGAIN)
		return ret;
	wait_for_peer(conn, TURN_MS);
	return 0;
}

/* The data is for plain readers; what is beside it is enough for us. */
static int attend_for_sender(struct ktls_conn *conn)
{
	struct pollfd pfd[] = {
		{ .fd = conn->fd, .events = POLLPRI },
		{ .fd = ktls_shadow_has_output(conn) ? conn->wire.fd : -1, .events = POLLOUT },
	};
	int ret = conn->keeper ? 0 : ktls_attend(conn);

	if (!ret && atomic_load(&conn->shadow_busy))
		(void)poll(pfd, 2, TURN_MS);
	return ret;
}

/*
 * What waits to be sent needs room, whoever receives; what the peer has to do somebody has to
 * receive. 1: another thread does; 0; -errno.
 */
static int wait_turn(struct ktls_conn *conn)
{
	struct pollfd room = { .fd = conn->wire.fd, .events = POLLOUT };
	int ret, due;

	if (conn->queued)
		return attend_for_sender(conn);
	if (!pthread_mutex_trylock(&conn->receiver)) {
		ret = receive_for_sender(conn);
		pthread_mutex_unlock(&conn->receiver);
		return ret;
	}
	due = ktls_shadow_timeout(conn);
	due = due >= 0 && due < TURN_MS ? due : TURN_MS;
	if (ktls_shadow_has_output(conn))
		(void)poll(&room, 1, due);
	else if (atomic_load(&conn->shadow_timed))
		/* The other thread waits in the kernel: a flight that is lost is ours to repeat. */
		(void)poll(NULL, 0, due);
	else
		return 1;
	return 0;
}

/*
 * New keys are due before the next data: 0 when they are in, or when another thread receives, for
 * then the kernel knows best how long to wait.
 */
static int clear_way(struct ktls_conn *conn, int flags)
{
	int ret = ktls_shadow_push(conn);

	while (atomic_load(&conn->shadow_busy) && (!ret || ret == -EAGAIN)) {
		if (!may_wait(conn, flags))
			return -EAGAIN;
		ret = wait_turn(conn);
		if (ret > 0)
			return 0;
		if (!ret)
			ret = ktls_shadow_push(conn);
	}
	return ret;
}

static int explain_send(struct ktls_conn *conn, int err)
{
	switch (err) {
	case EAGAIN:
	case EINTR:
		return -err;
	case EPIPE:
		return ktls_fail(conn, err, "sending on a connection that is closed");
	case ECONNRESET:
		return ktls_fail(conn, err, "the peer reset the connection");
	case EMSGSIZE:
		return ktls_fail(conn, err, "the datagram is too long: at most %zu bytes fit",
				 ktls_payload_max(conn));
	case EBADMSG:
		return ktls_fail(conn, err, "all sequence numbers of the key are used: reconnect");
	default:
		return ktls_fail(conn, err, "sending: %s", strerror(err));
	}
}

static ssize_t kernel_send(struct ktls_conn *conn, const void *data, size_t len, int flags)
{
	ssize_t n;

	ktls_rekey_count(conn, &conn->rekeying.tx, len);
	n = clear_way(conn, flags);
	if (n)
		return n;
	n = send(conn->fd, data, len, flags | MSG_NOSIGNAL);
	return n < 0 ? explain_send(conn, errno) : n;
}

/*
 * sendfile(2) has no MSG_NOSIGNAL: takes back the SIGPIPE that it may have raised, behind
 * bytes that went well too.
 */
static ssize_t quiet_sendfile(int out, int in, off_t *offset, size_t len)
{
	static const struct timespec now;
	sigset_t sigpipe, old, before;
	ssize_t n;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	sigpending(&before);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
	n = sendfile(out, in, offset, len);
	if (n < 0)
		n = -errno;
	if ((n == -EPIPE || (n >= 0 && (size_t)n < len)) && !sigismember(&before, SIGPIPE))
		sigtimedwait(&sigpipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

static ssize_t kernel_sendfile(struct ktls_conn *conn, int fd, off_t *offset, size_t len)
{
	ssize_t n;

	ktls_rekey_count(conn, &conn->rekeying.tx, len);
	n = clear_way(conn, 0);
	if (n)
		return n;
	n = quiet_sendfile(conn->fd, fd, offset, len);
	/* A file that cannot be spliced, as some of /proc. */
	if (n == -EINVAL)
		return ktls_copy_file(conn, fd, offset, len);
	return n < 0 ? explain_send(conn, (int)-n) : n;
}

static size_t kernel_pending(const struct ktls_conn *conn)
{
	return conn->held_bytes;
}

static size_t kernel_payload_max(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return RECORD_MAX_PAYLOAD;
	return ktls_wire_is_datagram(&conn->wire) && info.usable ? info.usable : info.max_payload;
}

static int kernel_flush(struct ktls_conn *conn)
{
	return ktls_shadow_run(conn);
}

static int kernel_truncated(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return 0;
	return !!(info.flags & (KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD));
}

static int kernel_shutdown(struct ktls_conn *conn)
{
	ktls_send_reply(conn);
	conn->tx_closed = true;
	ktls_shadow_end(conn);
	/* A close_notify behind a fatal alert is one record too many: ktls_close sends the FIN. */
	if (conn->rx_end < 0)
		return 0;
	if (!shutdown(conn->fd, SHUT_WR) || errno == ENOTCONN)
		return 0;
	return explain_send(conn, errno);
}

const struct ktls_path ktls_kernel_path = {
	.send = kernel_send,
	.recv = kernel_recv,
	.sendfile = kernel_sendfile,
	.pending = kernel_pending,
	.payload_max = kernel_payload_max,
	.flush = kernel_flush,
	.truncated = kernel_truncated,
	.shutdown = kernel_shutdown,
};
