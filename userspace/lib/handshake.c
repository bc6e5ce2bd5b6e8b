// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/err.h>

#include "conn.h"
#include "datagram.h"
#include "hello.h"
#include "listener.h"
#include "shadow.h"

/* Datagrams of the handshake: what most paths take. */
#define DATAGRAM_LARGE		1400
#define TIMEOUTS_AT_SIZE	2

/* Where the connection is kept out of the kernel, or when the program insists: failed. */
static int settle_in_userspace(struct ktls_conn *conn, int why)
{
	if (conn->flags & KTLS_REQUIRE_KERNEL) {
		/* The peer believes in the connection: tell it before leaving. */
		SSL_shutdown(conn->ssl);
		(void)ktls_wire_flush(&conn->wire, MSG_DONTWAIT);
		return ktls_fail(conn, -why, "%s", conn->why_not);
	}
	conn->path = &ktls_user_path;
	return ktls_listener_dismiss(conn);
}

static int settle(struct ktls_conn *conn)
{
	int ret = ktls_attach(conn);

	if (ret)
		return settle_in_userspace(conn, ret);
	conn->path = &ktls_kernel_path;
	return 0;
}

static int settle_stream(struct ktls_conn *conn)
{
	int ret;

	/* OpenSSL was given nothing behind the peer's Finished. */
	if (SSL_version(conn->ssl) == TLS1_3_VERSION)
		ktls_flow_restart(&conn->wire.rx);
	ret = settle(conn);

	if (!ret && conn->path == &ktls_kernel_path)
		ktls_wire_end(&conn->wire);
	return ret;
}

/*
 * The peer answers our last flight with data at once, so that goes when all is ready. Should it
 * be lost, the peer asks for it: what to repeat it with stays.
 */
static int settle_datagrams(struct ktls_conn *conn)
{
	int ret;

	ktls_datagram_release(&conn->wire);
	ret = settle(conn);
	if (ret)
		return ret;
	(void)ktls_wire_flush(&conn->wire, MSG_DONTWAIT);
	if (conn->path == &ktls_kernel_path)
		ktls_wire_end(&conn->wire);
	return 0;
}

/* Before OpenSSL sees the client's first record and chooses. */
static void cap_version(struct ktls_conn *conn)
{
	const struct ktls_wire *wire = &conn->wire;
	size_t len = ktls_wire_record(wire);

	if (!conn->caps_on_hello || !len)
		return;
	conn->caps_on_hello = false;
	conn->capped = ktls_hello_offers(wire->in + wire->start, len, TLS1_2_VERSION);
	if (conn->capped)
		SSL_set_max_proto_version(conn->ssl, TLS1_2_VERSION);
}

/* The next record for OpenSSL, out of the buffer or from TCP. */
static int receive_record(struct ktls_conn *conn)
{
	ssize_t n;
	int ret;

	for (;;) {
		cap_version(conn);
		ret = ktls_wire_feed(&conn->wire);
		if (ret != -EAGAIN)
			return ret;
		n = ktls_wire_fill(&conn->wire, MSG_DONTWAIT);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0)
			return ktls_fail(conn, (int)-n, "the connection broke in the handshake: %s",
					 strerror((int)-n));
		if (!n)
			return ktls_fail(conn, ECONNRESET,
					 "the peer closed the connection in the handshake");
	}
}

/*
 * TLS 1.3 does not say on the wire where the application keys begin. OpenSSL tells our secret when
 * it has written our Finished, and for anything behind that it needs another record of the peer.
 */
static void note_switch(struct ktls_conn *conn)
{
	int ours = SSL_is_server(conn->ssl) ? TRAFFIC_SERVER : TRAFFIC_CLIENT;

	if (conn->tx_counts || !conn->traffic.secret[ours].len)
		return;
	conn->tx_counts = true;
	ktls_wire_count(&conn->wire);
	ktls_flow_restart(&conn->wire.tx);
}

/* 0: OpenSSL wants the next record, or is done. */
static int advance(struct ktls_conn *conn)
{
	int ret;

	ERR_clear_error();
	ktls_traffic_follow(conn->ssl);
	ret = SSL_do_handshake(conn->ssl);
	note_switch(conn);
	switch (SSL_get_error(conn->ssl, ret)) {
	case SSL_ERROR_NONE:
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_WANT_X509_LOOKUP:
	case SSL_ERROR_WANT_CLIENT_HELLO_CB:
	case SSL_ERROR_WANT_ASYNC:
	case SSL_ERROR_WANT_RETRY_VERIFY:
		/* The program's callback is not ready: the socket has nothing to say. */
		conn->events = 0;
		return -EAGAIN;
	default:
		return ktls_fail_ssl(conn);
	}
}

void ktls_limit_datagrams(struct ktls_conn *conn, size_t room)
{
	size_t mtu = room < DATAGRAM_LARGE ? room : DATAGRAM_LARGE;

	conn->wire.mtu = mtu > DATAGRAM_SMALL ? mtu : DATAGRAM_SMALL;
	SSL_set_mtu(conn->ssl, (long)conn->wire.mtu);
}

static int flush(struct ktls_conn *conn)
{
	int ret;

	do {
		ret = ktls_wire_flush(&conn->wire, MSG_DONTWAIT);
	} while (ret == -EINTR);
	/* The path is narrower than it was: it goes again, shorter, when the timer expires. */
	if (ret == -EMSGSIZE && ktls_wire_is_datagram(&conn->wire)) {
		ktls_limit_datagrams(conn, ktls_datagram_room(&conn->wire));
		return 0;
	}
	if (ret == -EAGAIN)
		conn->events = POLLOUT;
	else if (ret)
		ktls_fail(conn, -ret, "the connection broke in the handshake: %s", strerror(-ret));
	return ret;
}

static int run_handshake(struct ktls_conn *conn)
{
	int ret;

	for (;;) {
		if (SSL_is_init_finished(conn->ssl) && ktls_wire_is_datagram(&conn->wire))
			return settle_datagrams(conn);
		ret = flush(conn);
		if (ret)
			return ret;
		if (SSL_is_init_finished(conn->ssl))
			return settle_stream(conn);
		conn->events = POLLIN;
		ret = SSL_want_read(conn->ssl) ? receive_record(conn) : 0;
		if (!ret)
			ret = advance(conn);
		if (ret == -EAGAIN && ktls_wire_has_output(&conn->wire))
			continue;
		if (ret)
			return ret;
	}
}

static int fail_handshake(struct ktls_conn *conn, int ret)
{
	/* OpenSSL's alert tells the peer why. */
	(void)ktls_wire_flush(&conn->wire, MSG_DONTWAIT);
	conn->phase = PHASE_FAILED;
	conn->failure = ret;
	return ret;
}

/* Of two times, of which -1 is none. */
static int earlier(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int ktls_timeout(const struct ktls_conn *conn)
{
	struct timeval left;

	if (conn->phase == PHASE_OPEN)
		return earlier(ktls_shadow_timeout((struct ktls_conn *)conn),
			       ktls_rekey_timeout((struct ktls_conn *)conn));
	if (conn->phase != PHASE_HANDSHAKE || !ktls_wire_is_datagram(&conn->wire) ||
	    DTLSv1_get_timeout(conn->ssl, &left) != 1)
		return -1;
	return (int)(left.tv_sec * 1000 + (left.tv_usec + 999) / 1000);
}

/* Sends the flight again, which was lost or whose answer was. */
static int repeat_flight(struct ktls_conn *conn)
{
	if (ktls_timeout(conn) != 0)
		return 0;
	/* Perhaps larger datagrams do not come through at all. */
	if (++conn->timeouts > TIMEOUTS_AT_SIZE)
		ktls_limit_datagrams(conn, DATAGRAM_SMALL);
	ERR_clear_error();
	return DTLSv1_handle_timeout(conn->ssl) < 0 ? ktls_fail_ssl(conn) : 0;
}

int ktls_step(struct ktls_conn *conn)
{
	int ret;

	if (conn->phase == PHASE_FAILED)
		return conn->failure;
	if (conn->phase == PHASE_OPEN)
		return conn->path->flush(conn);
	ret = repeat_flight(conn);
	if (!ret)
		ret = run_handshake(conn);
	if (ret && ret != -EAGAIN)
		return fail_handshake(conn, ret);
	if (!ret) {
		ktls_peer_begin(conn);
		conn->phase = PHASE_OPEN;
	}
	return ret;
}

short ktls_events(const struct ktls_conn *conn)
{
	if (conn->phase == PHASE_OPEN)
		return conn->path == &ktls_user_path && ktls_wire_has_output(&conn->wire) ?
		       POLLOUT : 0;
	return conn->events;
}

int64_t ktls_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int time_left(int64_t deadline)
{
	int64_t left = deadline - ktls_now_ms();

	return left < 0 ? 0 : (int)left;
}

/* What poll may wait until the deadline or the next ktls_step; -1: no limit. */
static int patience(const struct ktls_conn *conn, int64_t deadline)
{
	int step = ktls_timeout(conn);
	int left = deadline < 0 ? -1 : time_left(deadline);

	return step >= 0 && (left < 0 || step < left) ? step : left;
}

int ktls_handshake(struct ktls_conn *conn, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? -1 : ktls_now_ms() + timeout_ms;
	struct pollfd pfd = { .fd = ktls_poll_fd(conn) };
	int ret, n;

	while ((ret = ktls_step(conn)) == -EAGAIN) {
		pfd.events = ktls_events(conn);
		if (!pfd.events)
			return ktls_fail(conn, EAGAIN,
					 "a callback of the SSL_CTX is not ready: use ktls_step");
		n = poll(&pfd, 1, patience(conn, deadline));
		if (n < 0 && errno != EINTR)
			return ktls_fail(conn, errno, "poll: %s", strerror(errno));
		if (!n && deadline >= 0 && !time_left(deadline))
			return ktls_fail(conn, ETIMEDOUT,
					 "the handshake did not end in %d ms", timeout_ms);
	}
	return ret;
}
