// SPDX-License-Identifier: GPL-2.0-only
/* poll(2), select(2), epoll(7): true when a call would do something, and only then. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/epoll.h>
#include <sys/select.h>

static uint8_t payload[PAYLOAD_MAX];

PEER_FIXTURE(poll);

TEST_F(poll, idle)
{
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP));
}

/* Every type makes it readable, and reading makes it unreadable. */
TEST_F(poll, record_types)
{
	static const uint8_t types[] = { DATA, HANDSHAKE, ALERT, 24, 255 };
	uint8_t type;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_EQ(0, peer_send(&self->peer, types[i], "\1\132", 2));
		EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN)) TH_LOG("type %u", types[i]);
		ASSERT_EQ(2, recv_type(self->fd, payload, 10, MSG_DONTWAIT, &type));
		EXPECT_EQ(types[i], type);
		EXPECT_EQ(0, poll_now(self->fd, POLLIN)) TH_LOG("type %u", types[i]);
	}
}

/* A control record that a plain reader cannot take stays readable. */
TEST_F(poll, refused_record)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 10, 0)));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(4, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

/* A record in pieces: nothing until the last byte is there. */
TEST_F(poll, partial_record)
{
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, "partial", 7, record), at;

	for (at = 0; at < len; at++) {
		ASSERT_EQ(0, poll_now(self->fd, POLLIN)) TH_LOG("byte %zu", at);
		ASSERT_EQ(0, send_all(self->peer.fd, record + at, 1));
		ASSERT_EQ(0, wait_delivered(self->peer.fd));
	}
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(7, recv(self->fd, payload, 100, MSG_DONTWAIT));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(poll, record_partly_read)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "abcd", 4));
	ASSERT_EQ(3, recv(self->fd, payload, 3, 0));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	ASSERT_EQ(1, recv(self->fd, payload, 1, MSG_PEEK));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	ASSERT_EQ(1, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(poll, several_records)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	ASSERT_EQ(3, recv(self->fd, payload, 3, 0));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(3, recv(self->fd, payload, 10, MSG_DONTWAIT));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

/* An empty record of data gives a reader nothing, so it is nothing to wake for. */
TEST_F(poll, empty_record)
{
	ONLY_KTLS();
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "", 0));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "x", 1));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(1, recv(self->fd, payload, 10, MSG_DONTWAIT));
}

TEST_F(poll, record_before_key)
{
	struct keys from_start;
	struct peer peer;
	int fds[2], fd;

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	peer.fd = fds[1];
	keys_make(&peer.tx, variant->cipher, 5);
	from_start = peer.tx;
	ASSERT_EQ(0, peer_send(&peer, DATA, "early", 5));
	ASSERT_EQ(0, wait_delivered(peer.fd));
	fd = tls_attach(fds[0]);
	if (!kernel_tls())
		EXPECT_EQ(0, poll_now(fd, POLLIN));
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &from_start));
	EXPECT_EQ(POLLIN, poll_wait(fd, POLLIN));
	EXPECT_EQ(5, recv(fd, payload, 10, MSG_DONTWAIT));
}

TEST_F(poll, writable)
{
	size_t total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);

	EXPECT_EQ(0, poll_now(self->fd, POLLOUT));
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	EXPECT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
	fill(payload, 100, 0);
	EXPECT_EQ(100, send(self->fd, payload, 100, MSG_DONTWAIT));
	EXPECT_EQ(100, peer_drain(&self->peer, 100));
}

TEST_F(poll, writer_woken)
{
	size_t total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	struct peer *peer = &self->peer;

	WHEN_ASLEEP(peer_drain(peer, total));
	EXPECT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
}

TEST_F(poll, reader_woken)
{
	struct peer *peer = &self->peer;

	WHEN_ASLEEP(peer_send(peer, DATA, "x", 1));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
}

TEST_F(poll, close_notify)
{
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(0, recv(self->fd, payload, 10, 0));
	if (kernel_tls())
		SKIP(return, "kernel TLS knows no end of file");
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_now(self->fd, POLLIN | POLLRDHUP));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLOUT));
}

TEST_F(poll, fin)
{
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_wait(self->fd, POLLIN | POLLRDHUP));
	EXPECT_EQ(0, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_now(self->fd, POLLIN | POLLRDHUP));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLOUT));
	EXPECT_EQ(0, poll_now(self->fd, 0) & POLLERR);
}

/* Until the next key comes there is nothing to read, whatever waits behind. */
TEST_F(poll, fin_behind_a_change_of_keys)
{
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(0, peer_ends_key(&self->peer));
	ASSERT_LT(0, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(variant->cipher & TLS13 ? HANDSHAKE : CCS, type);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
	keys_make(&self->peer.tx, variant->cipher, 9);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "next", 4));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_TRUE(poll_wait(self->fd, POLLRDHUP) & POLLRDHUP);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
}

TEST_F(poll, both_closed)
{
	shutdown(self->peer.fd, SHUT_WR);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLHUP);
}

TEST_F(poll, reset)
{
	abort_connection(&self->peer.fd);
	EXPECT_EQ(POLLIN | POLLOUT | POLLERR | POLLHUP,
		  poll_wait(self->fd, POLLIN | POLLOUT) | POLLOUT);
}

TEST_F(poll, bad_record)
{
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff", 5));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & (POLLIN | POLLERR));
	EXPECT_EQ(-EMSGSIZE, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLOUT) & POLLOUT);
}

TEST_F(poll, control_queue)
{
	int queue = KTLS_CONTROL_QUEUE;
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &queue, sizeof(queue)));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	EXPECT_EQ(4, recv_type(self->fd, payload, 10, MSG_ERRQUEUE, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, poll_now(self->fd, POLLPRI | POLLIN) & (POLLPRI | POLLIN));
}

static int epoll_with(int fd, int events)
{
	struct epoll_event event = { .events = events };
	int ep = epoll_create1(0);

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) ? -1 : ep;
}

static int epoll_now(int ep, int milliseconds)
{
	struct epoll_event event = {};

	return epoll_wait(ep, &event, 1, milliseconds) < 0 ? -1 : (int)event.events;
}

TEST_F(poll, epoll_level)
{
	int ep = epoll_with(self->fd, EPOLLIN);

	EXPECT_EQ(0, epoll_now(ep, 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "abcd", 4));
	EXPECT_EQ(EPOLLIN, epoll_now(ep, TIME_LIMIT * 1000));
	ASSERT_EQ(1, recv(self->fd, payload, 1, 0));
	EXPECT_EQ(EPOLLIN, epoll_now(ep, 0));
	ASSERT_EQ(3, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(0, epoll_now(ep, 0));
}

/* One event an arrival; none for a piece that completes nothing. */
TEST_F(poll, epoll_edge)
{
	int ep = epoll_with(self->fd, EPOLLIN | EPOLLET);
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, "edge", 4, record);

	ASSERT_EQ(0, send_all(self->peer.fd, record, len - 1));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(0, epoll_now(ep, 0));
	ASSERT_EQ(0, send_all(self->peer.fd, record + len - 1, 1));
	EXPECT_EQ(EPOLLIN, epoll_now(ep, TIME_LIMIT * 1000));
	EXPECT_EQ(0, epoll_now(ep, 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "next", 4));
	EXPECT_EQ(EPOLLIN, epoll_now(ep, TIME_LIMIT * 1000));
	EXPECT_EQ(8, recv_all(self->fd, payload, 8));
	EXPECT_EQ(0, epoll_now(ep, 0));
}

TEST_F(poll, epoll_edge_writable)
{
	int ep = epoll_with(self->fd, EPOLLOUT | EPOLLET);
	size_t total;

	EXPECT_EQ(EPOLLOUT, epoll_now(ep, 0));
	total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	EXPECT_EQ(0, poll_now(self->fd, POLLOUT));
	epoll_now(ep, 0);
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	EXPECT_EQ(EPOLLOUT, epoll_now(ep, TIME_LIMIT * 1000));
}

TEST_F(poll, select)
{
	struct timeval now = {};
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(self->fd, &in);
	FD_SET(self->fd, &out);
	EXPECT_EQ(1, select(self->fd + 1, &in, &out, NULL, &now));
	EXPECT_FALSE(FD_ISSET(self->fd, &in));
	EXPECT_TRUE(FD_ISSET(self->fd, &out));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "x", 1));
	ASSERT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	FD_SET(self->fd, &in);
	EXPECT_EQ(1, select(self->fd + 1, &in, NULL, NULL, &now));
}

/* The signal says of which it is, as F_SETSIG wants. */
static long next_band(const sigset_t *set)
{
	struct timespec limit = { .tv_sec = TIME_LIMIT };
	siginfo_t info;

	return sigtimedwait(set, &info, &limit) < 0 ? -errno : info.si_band;
}

/* O_ASYNC: a signal when something can be read, and when a writer that found no room has some. */
TEST_F(poll, signals)
{
	sigset_t set;
	size_t total;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ASSERT_EQ(0, fcntl(self->fd, F_SETOWN, getpid()));
	ASSERT_EQ(0, fcntl(self->fd, F_SETSIG, SIGUSR1));
	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_TRUE(next_band(&set) & POLLIN);
	ASSERT_EQ(4, recv(self->fd, payload, 10, 0));
	total = fill_carrier(self->fd, self->peer.fd, 0);
	while (sigtimedwait(&set, NULL, &(struct timespec){ }) > 0)
		;
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	EXPECT_TRUE(next_band(&set) & POLLOUT);
}

TEST_HARNESS_MAIN
