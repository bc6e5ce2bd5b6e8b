// SPDX-License-Identifier: MIT
/* The calls for application data: what is common to the kernel and userspace. */
#include <errno.h>
#include <sys/socket.h>

#include "conn.h"

static int check(struct ktls_conn *conn, int flags, int allowed)
{
	if (conn->phase != PHASE_OPEN)
		return ktls_fail(conn, ENOTCONN, "the handshake is not done");
	if (flags & ~allowed)
		return ktls_fail(conn, EINVAL, "a flag that libktls does not know");
	return 0;
}

static int check_sending(struct ktls_conn *conn, int flags)
{
	int ret = check(conn, flags, MSG_DONTWAIT | MSG_MORE);

	if (!ret && conn->tx_closed)
		return ktls_fail(conn, EPIPE, "sending on a connection that is closed");
	return ret;
}

ssize_t ktls_send(struct ktls_conn *conn, const void *data, size_t len, int flags)
{
	int ret = check_sending(conn, flags);

	if (ret || !len)
		return ret;
	return conn->path->send(conn, data, len, flags);
}

ssize_t ktls_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	ssize_t n = check(conn, flags, MSG_DONTWAIT);

	if (n || !len)
		return n;
	/* What was received before the end is still to be had. */
	if (conn->rx_end && !atomic_load(&conn->held_bytes))
		return conn->rx_end < 0 ? conn->rx_end : 0;
	n = conn->path->recv(conn, data, len, flags);
	/* rfc5246 7.2.2: a fatal alert, of either side, ends the connection. */
	if (conn->rx_end < 0)
		conn->tx_closed = true;
	return n;
}

ssize_t ktls_sendfile(struct ktls_conn *conn, int file_fd, off_t *offset, size_t len)
{
	int ret = check_sending(conn, 0);

	if (ret || !len)
		return ret;
	return conn->path->sendfile(conn, file_fd, offset, len);
}

size_t ktls_pending(const struct ktls_conn *conn)
{
	return conn->phase == PHASE_OPEN ? conn->path->pending(conn) : 0;
}

size_t ktls_payload_max(const struct ktls_conn *conn)
{
	return conn->phase == PHASE_OPEN ? conn->path->payload_max(conn) : 0;
}

int ktls_truncated(const struct ktls_conn *conn)
{
	return conn->phase == PHASE_OPEN ? conn->path->truncated(conn) : 0;
}

int ktls_shutdown(struct ktls_conn *conn)
{
	int ret = check(conn, 0, 0);

	return ret ? ret : conn->path->shutdown(conn);
}
