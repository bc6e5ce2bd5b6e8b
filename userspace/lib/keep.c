// SPDX-License-Identifier: MIT
/*
 * For programs that read, write and splice the descriptor themselves: what is not data goes beside
 * them (KTLS_CONTROL_QUEUE), to a thread of ours or to a call in their event loop.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "conn.h"
#include "shadow.h"

#define ERROR_MS	50	/* an end or error that nobody has taken yet is no reason to spin */

struct ktls_keeper {
	pthread_t thread;
	int bell;		/* rings when there is something to look at */
	atomic_bool ends;	/* ... which is the end */
	struct ktls_conn *conn;
};

static int queue_control(struct ktls_conn *conn)
{
	int mode = KTLS_CONTROL_QUEUE;

	if (conn->queued)
		return 0;
	if (setsockopt(conn->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)))
		return ktls_fail(conn, errno, "the kernel does not queue control records: %s",
				 strerror(errno));
	conn->queued = true;
	return 0;
}

/* Plain readers and writers see the end, and ktls_error() says why. */
static int end_all(struct ktls_conn *conn, int ret)
{
	conn->rx_end = ret;
	conn->tx_closed = true;
	(void)shutdown(conn->fd, SHUT_RD);
	/* A listener's carrier is for others too. */
	(void)shutdown(ktls_wire_is_datagram(&conn->wire) ? conn->fd : conn->wire.fd, SHUT_WR);
	ktls_shadow_end(conn);
	return ret;
}

/* 1: one was there and is done with; 0: none; -errno. */
static int attend_one(struct ktls_conn *conn)
{
	uint8_t data[RECORD_MAX_PAYLOAD], type = 0;
	ssize_t n;
	int ret = 0;

	/* In the order in which they came, whoever attends. */
	pthread_mutex_lock(&conn->control_lock);
	n = ktls_receive_control(conn->fd, &type, data, sizeof(data));
	if (n >= 0)
		ret = ktls_control_take(conn, type, data, (size_t)n);
	pthread_mutex_unlock(&conn->control_lock);
	if (n < 0)
		return 0;
	OPENSSL_cleanse(data, (size_t)n);
	ktls_send_reply(conn);
	/* What came before a close_notify is still to be read, and then the kernel says so. */
	if (ret > 0)
		conn->peer_closed = true;
	return ret < 0 ? ret : 1;
}

static int attend_all(struct ktls_conn *conn)
{
	int ret;

	while ((ret = attend_one(conn)) > 0)
		;
	return ret;
}

/*
 * The end of the carrier is for plain readers: we see it when they have read what comes before, and
 * with it all that went beside. POLLHUP says only that it has arrived, unless it broke.
 */
static bool is_at_end(const struct ktls_conn *conn)
{
	struct pollfd pfd = { .fd = conn->fd, .events = POLLRDHUP };
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);
	char c;

	if (poll(&pfd, 1, 0) <= 0)
		return false;
	if (pfd.revents & POLLNVAL || (pfd.revents & POLLHUP && pfd.revents & POLLERR) ||
	    (!getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len) &&
	     info.flags & (KTLS_F_RX_DEAD | KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD)))
		return true;
	return pfd.revents & (POLLRDHUP | POLLHUP) &&
	       !recv(conn->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
}

/* Nor will what comes to an end there be gone on with. */
static int mind_end(struct ktls_conn *conn)
{
	int ret;

	if (conn->peer_closed || !is_at_end(conn))
		return 0;
	ret = attend_all(conn);
	conn->peer_closed = true;
	ktls_shadow_end(conn);
	return ret;
}

static int attend(struct ktls_conn *conn)
{
	int ret = attend_all(conn);

	if (!ret)
		ret = mind_end(conn);
	if (ret < 0)
		return end_all(conn, ret);
	ktls_send_reply(conn);
	ktls_rekey_check(conn);
	ret = ktls_shadow_push(conn);
	/* What it waits for did not come. */
	if (conn->rx_end < 0)
		return end_all(conn, conn->rx_end);
	return ret == -EAGAIN ? 0 : ret;
}

int ktls_attend(struct ktls_conn *conn)
{
	int ret;

	if (conn->phase != PHASE_OPEN)
		return ktls_fail(conn, ENOTCONN, "the handshake is not done");
	if (!conn->shadow)
		return 0;
	if (conn->rx_end < 0)
		return conn->rx_end;
	ret = queue_control(conn);
	return ret ? ret : attend(conn);
}

/* Until there is something to do. False: it is over, and nothing more will be. */
static bool wait_for_work(struct ktls_keeper *keeper)
{
	struct ktls_conn *conn = keeper->conn;
	struct pollfd pfd[] = {
		{ .fd = keeper->bell, .events = POLLIN },
		{ .fd = conn->fd, .events = conn->peer_closed ? POLLPRI : POLLPRI | POLLRDHUP },
		{ .fd = ktls_shadow_awaits_room(conn) ? conn->wire.fd : -1, .events = POLLOUT },
	};
	uint64_t rings;

	if (poll(pfd, 3, ktls_timeout(conn)) < 0 && errno != EINTR)
		return false;
	if (!pfd[0].revents && pfd[1].revents & (POLLHUP | POLLNVAL)) {
		(void)attend(conn);
		/* Before the end that has arrived a KeyUpdate may lie, behind data nobody has read. */
		if (conn->peer_closed || pfd[1].revents & POLLNVAL)
			return false;
	}
	if (!pfd[0].revents && pfd[1].revents && !(pfd[1].revents & POLLPRI))
		(void)poll(pfd, 1, ERROR_MS);
	if (pfd[0].revents && read(keeper->bell, &rings, sizeof(rings)) < 0 && errno != EAGAIN)
		return false;
	return !atomic_load(&keeper->ends);
}

static void *run(void *arg)
{
	struct ktls_keeper *keeper = arg;

	do {
		/* What cannot be sent does not end what is received. */
		if (attend(keeper->conn) < 0 && keeper->conn->rx_end < 0)
			break;
	} while (wait_for_work(keeper));
	return NULL;
}

/* The program's signals are for the program's threads. */
static int create_thread(struct ktls_keeper *keeper)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&keeper->thread, NULL, run, keeper);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

static struct ktls_keeper *start(struct ktls_conn *conn)
{
	struct ktls_keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper)
		return NULL;
	keeper->conn = conn;
	keeper->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keeper->bell >= 0 && !create_thread(keeper))
		return keeper;
	if (keeper->bell >= 0)
		close(keeper->bell);
	free(keeper);
	return NULL;
}

int ktls_keep(struct ktls_conn *conn)
{
	int ret;

	if (conn->phase != PHASE_OPEN)
		return ktls_fail(conn, ENOTCONN, "the handshake is not done");
	if (!conn->shadow || conn->keeper)
		return 0;
	ret = queue_control(conn);
	if (ret)
		return ret;
	conn->keeper = start(conn);
	return conn->keeper ? 0 : ktls_fail(conn, ENOMEM, "no thread to keep the connection");
}

static bool ring(struct ktls_keeper *keeper)
{
	const uint64_t once = 1;

	return write(keeper->bell, &once, sizeof(once)) == sizeof(once);
}

void ktls_keep_look(struct ktls_conn *conn)
{
	if (conn->keeper)
		(void)ring(conn->keeper);
}

void ktls_keep_end(struct ktls_conn *conn)
{
	struct ktls_keeper *keeper = conn->keeper;

	if (!keeper)
		return;
	conn->keeper = NULL;
	atomic_store(&keeper->ends, true);
	if (ring(keeper))
		pthread_join(keeper->thread, NULL);
	close(keeper->bell);
	free(keeper);
}
