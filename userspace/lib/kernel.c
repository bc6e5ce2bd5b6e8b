// SPDX-License-Identifier: MIT
/* Application data by way of the AF_KTLS socket. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/tls.h>

#include "conn.h"

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
static void send_reply(struct ktls_conn *conn)
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

/* Where a control record goes on that finds a small buffer: of a datagram it comes but once. */
#define SPILL	512

struct received {
	uint8_t type;
	uint8_t *data;
	size_t len;		/* of data */
	size_t spill_len;	/* 0: a stream, where the rest comes next */
	uint8_t spill[SPILL];
};

/* A count, of data and spill, or -errno. */
static ssize_t receive(int fd, struct received *r, int flags)
{
	union type_cmsg control;
	struct iovec iov[] = {
		{ .iov_base = r->data, .iov_len = r->len },
		{ .iov_base = r->spill, .iov_len = r->spill_len },
	};
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = r->spill_len ? 2 : 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &msg, flags);

	r->type = n < 0 ? 0 : record_type(&msg);
	return n < 0 ? -errno : n;
}

static int take_control(struct ktls_conn *conn, struct received *r, size_t n)
{
	uint8_t whole[2 * SPILL];

	if (n <= r->len || r->len > SPILL)
		return ktls_control_take(conn, r->type, r->data, n < r->len ? n : r->len);
	memcpy(whole, r->data, r->len);
	memcpy(whole + r->len, r->spill, n - r->len);
	return ktls_control_take(conn, r->type, whole, n);
}

static int rx_failed(struct ktls_conn *conn, int ret, uint8_t alert, const char *sentence)
{
	ktls_control_reply(conn, ALERT_FATAL, alert);
	send_reply(conn);
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

static ssize_t kernel_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	bool datagrams = ktls_wire_is_datagram(&conn->wire);
	struct received r = { .data = data, .len = len, .spill_len = datagrams ? SPILL : 0 };
	ssize_t n;
	int ret;

	for (;;) {
		send_reply(conn);
		n = receive(conn->fd, &r, flags);
		if (n < 0)
			return explain_receive(conn, (int)n);
		/* An empty datagram is not the end. */
		if (r.type == RECORD_DATA && !n && datagrams)
			continue;
		if (r.type == RECORD_DATA || !r.type)
			break;
		ret = take_control(conn, &r, (size_t)n);
		if (ret) {
			send_reply(conn);
			conn->rx_end = ret;
			return ret < 0 ? ret : 0;
		}
	}
	conn->control.in_a_row = 0;
	if (!n)
		conn->rx_end = 1;
	return (size_t)n < len ? n : (ssize_t)len;
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
	ssize_t n = send(conn->fd, data, len, flags | MSG_NOSIGNAL);

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
	ssize_t n = quiet_sendfile(conn->fd, fd, offset, len);

	/* A file that cannot be spliced, as some of /proc. */
	if (n == -EINVAL)
		return ktls_copy_file(conn, fd, offset, len);
	return n < 0 ? explain_send(conn, (int)-n) : n;
}

static size_t kernel_pending(const struct ktls_conn *conn)
{
	(void)conn;
	return 0;
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
	(void)conn;
	return 0;
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
	send_reply(conn);
	conn->tx_closed = true;
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
