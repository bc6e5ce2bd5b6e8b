// SPDX-License-Identifier: GPL-2.0-only
/* How much a reader waits for: SO_RCVLOWAT, timeouts, and what ends a wait early. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/epoll.h>
#include <time.h>

#define MARK	100

static uint8_t payload[PAYLOAD_MAX], got[2 * PAYLOAD_MAX];

static int set_mark(int fd, int mark)
{
	return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
}

static int get_mark(int fd)
{
	int mark = -1;
	socklen_t len = sizeof(mark);

	return getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &len) ? -1 : mark;
}

static void wait_at_most(int fd, int milliseconds)
{
	struct timeval limit = { .tv_usec = 1000 * milliseconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* A socket whose readers want MARK bytes. */
FIXTURE(waiting) { int fd; struct peer peer; };
CIPHER_VARIANTS(waiting);

FIXTURE_SETUP(waiting)
{
	if (kernel_tls())
		SKIP(return, "kernel TLS counts bytes of TCP");
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	ASSERT_EQ(0, set_mark(self->fd, MARK));
}

FIXTURE_TEARDOWN(waiting)
{
	close(self->fd);
	peer_close(&self->peer);
}

/* Some bytes, fewer than the mark, that have certainly come. */
static void come(struct __test_metadata *_metadata, struct peer *peer, size_t len)
{
	ASSERT_EQ(0, peer_send(peer, DATA, payload, len));
	ASSERT_EQ(0, wait_delivered(peer->fd));
}

TEST_F(waiting, values)
{
	EXPECT_EQ(MARK, get_mark(self->fd));
	EXPECT_EQ(0, set_mark(self->fd, 0));
	EXPECT_EQ(1, get_mark(self->fd));
	EXPECT_EQ(0, set_mark(self->fd, -1));
	EXPECT_EQ(INT32_MAX, get_mark(self->fd));
	EXPECT_EQ(0, set_mark(self->fd, 1));
	EXPECT_EQ(1, get_mark(self->fd));
}

TEST_F(waiting, bytes_below_the_mark)
{
	come(_metadata, &self->peer, MARK - 1);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	come(_metadata, &self->peer, 1);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(MARK, recv(self->fd, got, sizeof(got), 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

/* Bytes that were opened, peeked at or left by a reader count as those of the carrier do. */
TEST_F(waiting, bytes_left_by_a_reader)
{
	come(_metadata, &self->peer, 60);
	ASSERT_EQ(10, recv(self->fd, got, 10, MSG_DONTWAIT));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	come(_metadata, &self->peer, MARK - 51);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	come(_metadata, &self->peer, 1);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(1, recv(self->fd, got, 1, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(waiting, one_record_at_the_mark)
{
	come(_metadata, &self->peer, MARK);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(1, recv(self->fd, got, 1, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(MARK - 1, recv(self->fd, got, sizeof(got), MSG_DONTWAIT));
}

TEST_F(waiting, reader_waits)
{
	struct peer *peer = &self->peer;

	come(_metadata, &self->peer, 30);
	WHEN_ASLEEP(peer_send(peer, DATA, payload, 70));
	EXPECT_EQ(MARK, recv(self->fd, got, sizeof(got), 0));
}

/* A buffer that is smaller than the mark is what there is to wait for. */
TEST_F(waiting, small_buffer)
{
	come(_metadata, &self->peer, 30);
	EXPECT_EQ(30, recv(self->fd, got, 30, 0));
}

TEST_F(waiting, dontwait)
{
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, sizeof(got), MSG_DONTWAIT)));
	come(_metadata, &self->peer, 30);
	EXPECT_EQ(30, recv(self->fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK));
	EXPECT_EQ(30, recv(self->fd, got, sizeof(got), MSG_DONTWAIT));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, sizeof(got), MSG_DONTWAIT)));
}

TEST_F(waiting, timeout_with_some_bytes)
{
	wait_at_most(self->fd, 50);
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, sizeof(got), 0)));
	come(_metadata, &self->peer, 30);
	EXPECT_EQ(30, recv(self->fd, got, sizeof(got), 0));
	come(_metadata, &self->peer, 30);
	EXPECT_EQ(30, recv(self->fd, got, sizeof(got), MSG_PEEK));
	EXPECT_EQ(30, recv(self->fd, got, sizeof(got), MSG_WAITALL));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, sizeof(got), MSG_PEEK)));
}

TEST_F(waiting, peek_waits)
{
	struct peer *peer = &self->peer;

	come(_metadata, &self->peer, 30);
	WHEN_ASLEEP(peer_send(peer, DATA, payload, 70));
	EXPECT_EQ(MARK, recv(self->fd, got, sizeof(got), MSG_PEEK));
	EXPECT_EQ(MARK, recv(self->fd, got, sizeof(got), 0));
}

/* Poller asleep, mark lowered by another: the bytes are there. */
TEST_F(waiting, mark_lowered)
{
	int fd = self->fd;

	come(_metadata, &self->peer, 30);
	WHEN_ASLEEP(set_mark(fd, 30));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(0, set_mark(self->fd, 31));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(30, recv(self->fd, got, 30, MSG_DONTWAIT));
}

TEST_F(waiting, mark_before_the_key)
{
	struct keys keys;
	struct peer peer;
	int fds[2], fd;

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	peer.fd = fds[1];
	keys_make(&peer.tx, variant->cipher, 7);
	keys = peer.tx;
	fd = tls_attach(fds[0]);
	ASSERT_EQ(0, set_mark(fd, MARK));
	come(_metadata, &peer, MARK - 1);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &keys));
	EXPECT_EQ(0, poll_now(fd, POLLIN));
	come(_metadata, &peer, 1);
	EXPECT_EQ(POLLIN, poll_wait(fd, POLLIN));
	EXPECT_EQ(MARK, recv(fd, got, sizeof(got), 0));
}

/* A record in pieces does not count before it is whole. */
TEST_F(waiting, partial_record)
{
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, payload, 5000, record);

	ASSERT_EQ(0, send_all(self->peer.fd, record, len - 1));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, send_all(self->peer.fd, record + len - 1, 1));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
}

/* Control records, which end a read, are news however little is before them. */
TEST_F(waiting, control_record)
{
	uint8_t type;

	come(_metadata, &self->peer, 3);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(3, recv_type(self->fd, got, sizeof(got), 0, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(4, recv_type(self->fd, got, sizeof(got), 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(waiting, bad_record)
{
	come(_metadata, &self->peer, 3);
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff", 5));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(3, recv(self->fd, got, sizeof(got), 0));
	EXPECT_EQ(-EMSGSIZE, RESULT(recv(self->fd, got, sizeof(got), 0)));
}

/* More than will ever be held before somebody reads. */
TEST_F(waiting, mark_above_all_buffers)
{
	struct keys rx;
	struct peer peer;
	int fds[2], fd, i;
	pid_t sender;

	ASSERT_EQ(0, tcp_pair_narrow(variant->family, fds, 4096));
	keys_make(&peer.tx, variant->cipher, 7);
	rx = peer.tx;
	peer.fd = fds[0];
	fd = tls_attach(fds[1]);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &rx));
	ASSERT_EQ(0, set_mark(fd, INT32_MAX));
	sender = fork();
	if (!sender) {
		for (i = 0; i < 1000 && !peer_send(&peer, DATA, payload, 500); i++)
			;
		_exit(0);
	}
	EXPECT_EQ(POLLIN, poll_wait(fd, POLLIN));
	EXPECT_LE(500, recv(fd, got, sizeof(got), MSG_DONTWAIT));
	kill(sender, SIGKILL);
	close(fd);
	close(peer.fd);
}

static const int some = 3;

/* In TLS 1.3 the end may be told before what comes ahead of it, which has to be opened first. */
static void wait_opened(int fd, uint16_t cipher, unsigned int bytes)
{
	struct ktls_info info = {};
	int tries = 0;

	while ((cipher & TLS13) && info.rx_queued != bytes && tries++ < 1000 * TIME_LIMIT) {
		poll(NULL, 0, 1);
		get_info(fd, &info);
	}
}

static void expect_some_then(struct __test_metadata *_metadata, int fd, ssize_t end)
{
	EXPECT_EQ(some, recv(fd, got, sizeof(got), 0));
	EXPECT_EQ(end, RESULT(recv(fd, got, sizeof(got), 0)));
}

/* Nothing that could reach the mark comes any more: a FIN, as TCP has it. */
TEST_F(waiting, mark_that_cannot_be_reached)
{
	come(_metadata, &self->peer, some);
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));
	wait_opened(self->fd, variant->cipher, some);
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_wait(self->fd, POLLIN | POLLRDHUP));
	expect_some_then(_metadata, self->fd, 0);
}

/* Likewise a close_notify. */
TEST_F(waiting, close_notify)
{
	come(_metadata, &self->peer, some);
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, end_after_a_short_read)
{
	come(_metadata, &self->peer, some + 1);
	ASSERT_EQ(1, recv(self->fd, got, 1, MSG_DONTWAIT));
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_wait(self->fd, POLLIN | POLLRDHUP));
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, end_in_a_record)
{
	come(_metadata, &self->peer, some);
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\x01\x00half", 9));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, end_wakes_a_reader)
{
	int there = self->peer.fd;

	come(_metadata, &self->peer, some);
	WHEN_ASLEEP(shutdown(there, SHUT_WR));
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, end_wakes_a_poller)
{
	int there = self->peer.fd;

	come(_metadata, &self->peer, some);
	WHEN_ASLEEP(shutdown(there, SHUT_WR));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, end_wakes_an_edge)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(0), there = self->peer.fd;

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->fd, &event));
	come(_metadata, &self->peer, some);
	EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	WHEN_ASLEEP(shutdown(there, SHUT_WR));
	EXPECT_EQ(1, epoll_wait(ep, &event, 1, TIME_LIMIT * 1000));
	expect_some_then(_metadata, self->fd, 0);
}

TEST_F(waiting, own_shutdown)
{
	come(_metadata, &self->peer, some);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_RD));
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
}

TEST_F(waiting, reset)
{
	come(_metadata, &self->peer, some);
	wait_opened(self->fd, variant->cipher, some);
	abort_connection(&self->peer.fd);
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
}

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* A peek for more than there is sleeps until its time is over, and then takes what there is. */
TEST_F(waiting, peek_for_all_sleeps)
{
	double start, busy;

	wait_at_most(self->fd, 500);
	come(_metadata, &self->peer, 30);
	ASSERT_EQ(30, recv(self->fd, got, MARK, MSG_PEEK | MSG_DONTWAIT));
	start = seconds(CLOCK_MONOTONIC);
	busy = seconds(CLOCK_PROCESS_CPUTIME_ID);
	EXPECT_EQ(30, recv(self->fd, got, MARK, MSG_PEEK | MSG_WAITALL));
	busy = seconds(CLOCK_PROCESS_CPUTIME_ID) - busy;
	EXPECT_LE(0.45, seconds(CLOCK_MONOTONIC) - start);
	EXPECT_GE(0.25, busy);
	EXPECT_EQ(30, recv(self->fd, got, MARK, MSG_DONTWAIT));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, MARK, MSG_PEEK | MSG_WAITALL)));
}

TEST_HARNESS_MAIN
