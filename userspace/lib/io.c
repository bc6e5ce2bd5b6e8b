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

ssize_t ktls_send(struct ktls_conn *conn, const void *data, size_t len, int flags)
{
	int ret = check(conn, flags, MSG_DONTWAIT | MSG_MORE);

	if (ret || !len)
		return ret;
	return conn->path->send(conn, data, len, flags);
}

ssize_t ktls_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	int ret = check(conn, flags, MSG_DONTWAIT);

	if (ret || !len)
		return ret;
	if (conn->rx_end)
		return conn->rx_end < 0 ? conn->rx_end : 0;
	return conn->path->recv(conn, data, len, flags);
}

ssize_t ktls_sendfile(struct ktls_conn *conn, int file_fd, off_t *offset, size_t len)
{
	int ret = check(conn, 0, 0);

	if (ret || !len)
		return ret;
	return conn->path->sendfile(conn, file_fd, offset, len);
}

size_t ktls_pending(const struct ktls_conn *conn)
{
	return conn->phase == PHASE_OPEN ? conn->path->pending(conn) : 0;
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
