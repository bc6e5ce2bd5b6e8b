// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "conn.h"
#include "wait.h"

bool ktls_may_wait(const struct ktls_conn *conn, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(fcntl(conn->fd, F_GETFL) & O_NONBLOCK);
}

void ktls_wait_begin(struct ktls_wait *wait, const struct ktls_conn *conn, int option, int flags)
{
	*wait = (struct ktls_wait){
		.conn = conn, .option = option, .flags = flags, .since_ms = ktls_now_ms(),
	};
}

/* Milliseconds that the call may still wait; -1: no limit. */
static int64_t time_left(const struct ktls_wait *wait)
{
	struct timeval limit = { 0 };
	socklen_t len = sizeof(limit);
	int64_t left;

	if (getsockopt(wait->conn->fd, SOL_SOCKET, wait->option, &limit, &len) ||
	    (!limit.tv_sec && !limit.tv_usec))
		return -1;
	left = wait->since_ms + limit.tv_sec * 1000 + limit.tv_usec / 1000 - ktls_now_ms();
	return left < 0 ? 0 : left;
}

int ktls_wait_poll(const struct ktls_wait *wait, struct pollfd *pfds, nfds_t n, int timeout_ms)
{
	int64_t left = ktls_may_wait(wait->conn, wait->flags) ? time_left(wait) : 0;

	if (!left)
		return -EAGAIN;
	if (left > 0 && (timeout_ms < 0 || left < timeout_ms))
		timeout_ms = (int)left;
	return poll(pfds, n, timeout_ms) < 0 ? -errno : 0;
}

int ktls_wait_lock(const struct ktls_wait *wait, sem_t *lock)
{
	int64_t left = ktls_may_wait(wait->conn, wait->flags) ? time_left(wait) : 0;
	struct timespec until;

	if (!left)
		return -EAGAIN;
	if (left < 0)
		return sem_wait(lock) ? -errno : 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += left / 1000;
	until.tv_nsec += left % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (!sem_clockwait(lock, CLOCK_MONOTONIC, &until))
		return 0;
	return errno == ETIMEDOUT ? -EAGAIN : -errno;
}
