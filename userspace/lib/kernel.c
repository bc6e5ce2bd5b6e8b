// SPDX-License-Identifier: MIT
/* Application data by way of the AF_KTLS socket. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/tls.h>

#include "conn.h"
#include "shadow.h"
#include "wait.h"

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

static bool has_reply(struct ktls_conn *conn)
{
	bool ret;

	pthread_mutex_lock(&conn->lock);
	ret = conn->control.has_reply;
	pthread_mutex_unlock(&conn->lock);
	return ret;
}

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

/*
 * Never waits: an answer that finds no room now goes with a later call. Nor does it go between a
 * ChangeCipherSpec or KeyUpdate and the new key, or Finished (rfc5246 7.4.9).
 */
void ktls_send_reply(struct ktls_conn *conn)
{
	if (!has_reply(conn))
		return;
	pthread_mutex_lock(&conn->shadow_lock);
	if (ktls_shadow_may_interrupt(conn))
		send_reply(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
}

/* ---- what stands in the way of data ---- */

#define TURN_MS		50	/* who wants to receive waits no longer for us to give way */
#define DATAGRAM_MS	5	/* likewise, where nothing tells that there is something to receive */
#define CLOSING_MS	5000	/* that a call which may wait gives a handshake to come to its end */

static int turn(struct ktls_conn *conn)
{
	int most = ktls_wire_is_datagram(&conn->wire) ? DATAGRAM_MS : TURN_MS;
	int due = ktls_shadow_timeout(conn);

	return due >= 0 && due < most ? due : most;
}

/* What ends the waiting: room for what waits to be sent, or for data, and these events. */
static int wait_for_room(struct ktls_conn *conn, const struct ktls_wait *wait, short events)
{
	bool has_output = ktls_shadow_has_output(conn);
	struct pollfd pfd[] = {
		{ .fd = conn->fd, .events = (short)(events | (has_output ? 0 : POLLOUT)) },
		{ .fd = ktls_shadow_awaits_room(conn) ? conn->wire.fd : -1, .events = POLLOUT },
	};

	return ktls_wait_poll(wait, pfd, 2, turn(conn));
}

/* Receives for who waits to send. */
static int receive_for_sender(struct ktls_conn *conn, const struct ktls_wait *wait)
{
	int ret = ktls_kernel_hold(conn);

	if (ret != -EAGAIN)
		return ret;
	/* One of datagrams that waits for a key says all the time that it can be read. */
	return wait_for_room(conn, wait, ktls_wire_is_datagram(&conn->wire) ? 0 : POLLIN);
}

/* The data is for plain readers; what is beside it is enough for us. */
static int attend_for_sender(struct ktls_conn *conn, const struct ktls_wait *wait)
{
	int ret = conn->keeper ? 0 : ktls_attend(conn);

	if (!ret && atomic_load(&conn->shadow_busy))
		ret = wait_for_room(conn, wait, conn->keeper ? 0 : POLLPRI);
	return ret;
}

/*
 * What waits to be sent needs room, whoever receives; what the peer has to do somebody has to
 * receive, and what it does not do in time nobody else may notice. 0: look again; -errno.
 */
static int wait_turn(struct ktls_conn *conn, const struct ktls_wait *wait)
{
	int ret;

	if (conn->queued)
		return attend_for_sender(conn, wait);
	/* The lock is not fair: who wants to receive would wait while we fill our memory. */
	if (conn->rx_end > 0 || atomic_load(&conn->receivers) ||
	    sem_trywait(&conn->receiver))
		return wait_for_room(conn, wait, 0);
	ret = receive_for_sender(conn, wait);
	sem_post(&conn->receiver);
	return ret;
}

/* New keys are due before the next data: 0 when they are in. A failure has its sentence already. */
static int clear_way(struct ktls_conn *conn, int flags)
{
	int ret = ktls_shadow_push(conn);
	struct ktls_wait wait;

	ktls_wait_begin(&wait, conn, SO_SNDTIMEO, flags);
	while (atomic_load(&conn->shadow_busy) && (!ret || ret == -EAGAIN)) {
		if (!ktls_may_wait(conn, flags))
			return -EAGAIN;
		ret = wait_turn(conn, &wait);
		if (ret)
			return ret;
		ret = ktls_shadow_push(conn);
	}
	if (!ret && (conn->tx_closed || conn->rx_end < 0))
		return -EPIPE;
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

	ktls_rekey_if_due(conn, &conn->rekeying.tx);
	n = clear_way(conn, flags);
	if (n)
		return n;
	n = send(conn->fd, data, len, flags | MSG_NOSIGNAL);
	if (n < 0)
		return explain_send(conn, errno);
	ktls_rekey_count(&conn->rekeying.tx, (size_t)n);
	return n;
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

	ktls_rekey_if_due(conn, &conn->rekeying.tx);
	n = clear_way(conn, 0);
	if (n)
		return n;
	n = quiet_sendfile(conn->fd, fd, offset, len);
	/* A file that cannot be spliced, as some of /proc. */
	if (n == -EINVAL)
		return ktls_copy_file(conn, fd, offset, len);
	if (n < 0)
		return explain_send(conn, (int)-n);
	ktls_rekey_count(&conn->rekeying.tx, (size_t)n);
	return n;
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

	if (conn->rx_end < 0)
		return 1;
	if (getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return 0;
	return !!(info.flags & (KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD));
}

/* Half a flight and then close_notify would be an error for the peer, not the end. 0 or -errno. */
static int end_flight(struct ktls_conn *conn)
{
	struct ktls_wait wait;
	int ret;

	ktls_wait_begin(&wait, conn, SO_SNDTIMEO, 0);
	while (ktls_shadow_close(conn)) {
		ret = wait_for_room(conn, &wait, 0);
		if (ret)
			return ret;
		/* The time for a handshake may be over. */
		(void)ktls_shadow_push(conn);
	}
	return 0;
}

/*
 * In the middle of a handshake a close_notify ends the peer's direction, too. 0: there is none, or
 * it takes too long: it may lie behind data that nobody reads; -errno: nothing is closed.
 */
static int end_handshake(struct ktls_conn *conn)
{
	int64_t limit = ktls_now_ms() + CLOSING_MS;
	struct ktls_wait wait;
	int ret;

	ktls_wait_begin(&wait, conn, SO_SNDTIMEO, 0);
	while (ktls_shadow_begin_close(conn) && ktls_now_ms() < limit) {
		(void)ktls_shadow_push(conn);
		if (!ktls_may_wait(conn, 0))
			return ktls_shadow_begin_close(conn) ? -EAGAIN : 0;
		ret = wait_turn(conn, &wait);
		if (ret)
			return ktls_shadow_begin_close(conn) ? ret : 0;
	}
	return 0;
}

static int kernel_shutdown(struct ktls_conn *conn)
{
	int ret = end_handshake(conn);

	if (ret)
		return ret;
	ktls_send_reply(conn);
	conn->tx_closed = true;
	ret = end_flight(conn);
	if (ret)
		return ret;
	ktls_send_reply(conn);
	/* A close_notify behind a fatal alert is one record too many: ktls_close sends the FIN. */
	if (conn->rx_end < 0)
		return 0;
	if (!shutdown(conn->fd, SHUT_WR) || errno == ENOTCONN)
		return 0;
	return explain_send(conn, errno);
}

const struct ktls_path ktls_kernel_path = {
	.send = kernel_send,
	.recv = ktls_kernel_recv,
	.sendfile = kernel_sendfile,
	.pending = kernel_pending,
	.payload_max = kernel_payload_max,
	.flush = kernel_flush,
	.truncated = kernel_truncated,
	.shutdown = kernel_shutdown,
};
