// SPDX-License-Identifier: GPL-2.0-only
/* A carrier with room for less than a record: each is sent bit by bit, and stays whole. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <sys/sendfile.h>

#define TOTAL	200000

static uint8_t data[TOTAL], got[TOTAL], payload[PAYLOAD_MAX];

FIXTURE(narrow) { int fd; int carrier; struct peer peer; };
CIPHER_VARIANTS(narrow);

FIXTURE_SETUP(narrow)
{
	int fds[2];

	ASSERT_EQ(0, tcp_pair_narrow(variant->family, fds, 4096));
	ASSERT_EQ(0, tls_over(fds, variant->cipher, &self->fd, &self->carrier, &self->peer));
	if (kernel_tls())
		close(self->carrier);
	fill(data, TOTAL, 0);
}

FIXTURE_TEARDOWN(narrow)
{
	close(self->fd);
	if (!kernel_tls())
		close(self->carrier);
	peer_close(&self->peer);
}

/* Records until the end of the connection, without its close_notify; bytes that were right. */
static void *drain(void *peer)
{
	return (void *)peer_drain(peer, SIZE_MAX);
}

static void expect_drained(struct __test_metadata *_metadata, pthread_t thread, size_t total)
{
	void *drained;

	pthread_join(thread, &drained);
	EXPECT_EQ(total, (size_t)drained);
}

static unsigned int queued(int fd)
{
	struct ktls_info info;

	return get_info(fd, &info) ? 0 : info.tx_queued;
}

TEST_F(narrow, blocking)
{
	pthread_t thread;

	pthread_create(&thread, NULL, drain, &self->peer);
	EXPECT_EQ(TOTAL, send(self->fd, data, TOTAL, 0));
	close(self->fd);
	close(self->carrier);
	expect_drained(_metadata, thread, TOTAL);
}

TEST_F(narrow, nonblocking)
{
	pthread_t thread;
	size_t done = 0;
	ssize_t n;

	/* Kernel TLS loses at close what the carrier has no room for. */
	ONLY_KTLS();
	pthread_create(&thread, NULL, drain, &self->peer);
	while (done < TOTAL) {
		n = RESULT(send(self->fd, data + done, TOTAL - done, MSG_DONTWAIT));
		ASSERT_TRUE(n > 0 || n == -EAGAIN) TH_LOG("%zd", n);
		if (n > 0)
			done += n;
		else
			ASSERT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
	}
	close(self->fd);
	close(self->carrier);
	expect_drained(_metadata, thread, TOTAL);
}

TEST_F(narrow, sendfile)
{
	int file = memfd_create("narrow", 0);
	pthread_t thread;
	size_t done;
	ssize_t n;

	ASSERT_EQ(TOTAL, write(file, data, TOTAL));
	lseek(file, 0, SEEK_SET);
	pthread_create(&thread, NULL, drain, &self->peer);
	for (done = 0; done < TOTAL; done += n) {
		n = sendfile(self->fd, file, NULL, TOTAL - done);
		ASSERT_LE(1, n);
	}
	close(self->fd);
	close(self->carrier);
	expect_drained(_metadata, thread, TOTAL);
}

/* Nobody calls: what was taken leaves as the carrier gets room. */
TEST_F(narrow, rest_leaves_by_itself)
{
	ssize_t n = send(self->fd, data, TOTAL, MSG_DONTWAIT);

	ASSERT_LT(0, n);
	if (!kernel_tls())
		EXPECT_LT(0, queued(self->fd));
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

TEST_F(narrow, not_writable)
{
	ssize_t n = send(self->fd, data, TOTAL, MSG_DONTWAIT);
	int i;

	ASSERT_LT(0, n);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, poll_now(self->fd, POLLOUT));
		EXPECT_EQ(-EAGAIN, RESULT(send(self->fd, data, 1, MSG_DONTWAIT)));
	}
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
}

/* The carrier's own rest does not mix with what is sent between. */
TEST_F(narrow, small_records_between)
{
	size_t done = 0;
	ssize_t n;
	int i;

	for (i = 0; i < 50; i++) {
		n = send(self->fd, data + done, 1 + i * 37 % 3000, MSG_DONTWAIT);
		done += n > 0 ? n : 0;
		if (n < 0)
			ASSERT_LT(0, recv(self->peer.fd, payload, 1, MSG_PEEK));
		if (i % 10 == 9) {
			ASSERT_EQ(done, peer_drain(&self->peer, done));
			done = 0;
		}
	}
}

/* The open record, the half-sent one, close_notify: all arrive, in this order, then FIN. */
TEST_F(narrow, shutdown)
{
	uint8_t type;
	ssize_t n;

	ONLY_KTLS();
	n = send(self->fd, data, TOTAL, MSG_DONTWAIT);
	ASSERT_LT(0, n);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, data, 1, MSG_NOSIGNAL)));
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(narrow, shutdown_with_open_record)
{
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(16000, send(self->fd, data, 16000, MSG_MORE));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_LT(0, queued(self->fd));
	EXPECT_EQ(16000, peer_drain(&self->peer, 16000));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(narrow, close)
{
	ssize_t n = send(self->fd, data, TOTAL, MSG_DONTWAIT);

	ONLY_KTLS();
	ASSERT_LT(0, n);
	close(self->fd);
	close(self->carrier);
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

/* TCP says that it is full although its buffer has room. */
static int tell_of_little_unsent(int fd)
{
	int least = 1;

	return setsockopt(fd, SOL_TCP, TCP_NOTSENT_LOWAT, &least, sizeof(least));
}

TEST_F(narrow, close_with_little_unsent)
{
	ssize_t n;

	ONLY_KTLS();
	ASSERT_EQ(0, tell_of_little_unsent(self->fd));
	n = send(self->fd, data, TOTAL, MSG_DONTWAIT);
	ASSERT_LT(0, n);
	close(self->fd);
	close(self->carrier);
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

/* All but the close_notify, which a shutdown asks for. */
TEST_F(narrow, shutdown_with_little_unsent)
{
	uint8_t type;
	ssize_t n;

	ONLY_KTLS();
	ASSERT_EQ(0, tell_of_little_unsent(self->fd));
	n = send(self->fd, data, TOTAL, MSG_DONTWAIT);
	ASSERT_LT(0, n);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	close(self->fd);
	close(self->carrier);
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

/* KTLS_DETACH refuses until the record is through; then the next one is the program's. */
TEST_F(narrow, detach)
{
	ssize_t n = send(self->fd, data, TOTAL, MSG_DONTWAIT);
	struct peer ours = { .fd = self->carrier };

	ONLY_KTLS();
	ASSERT_LT(0, n);
	ASSERT_LT(0, queued(self->fd));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	EXPECT_EQ(-EAGAIN, RESULT(send(self->fd, data, 1, MSG_DONTWAIT)));
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(0, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	ours.tx = self->peer.rx;
	ASSERT_EQ(0, peer_send(&ours, DATA, data, 10));
	EXPECT_EQ(10, peer_drain(&self->peer, 10));
}

/* A reset in the middle of a record is told, and what was pending is not waited for. */
TEST_F(narrow, reset)
{
	ssize_t n = send(self->fd, data, TOTAL, MSG_DONTWAIT);

	ONLY_KTLS();
	ASSERT_LT(0, n);
	abort_connection(&self->peer.fd);
	ASSERT_TRUE(poll_wait(self->fd, POLLIN) & POLLERR);
	n = RESULT(send(self->fd, data, 1, MSG_NOSIGNAL));
	EXPECT_TRUE(n == -ECONNRESET || n == -EPIPE) TH_LOG("%zd", n);
	EXPECT_TRUE(poll_now(self->fd, POLLOUT) & POLLOUT);
}

static void *send_plainly(void *carrier)
{
	send(*(int *)carrier, data, TOTAL, MSG_NOSIGNAL);
	return NULL;
}

/*
 * Whoever was asleep in a send on the carrier when the key came cannot be stopped: its bytes
 * are between the records, and the first of those that follow is refused.
 */
TEST_F(narrow, sender_asleep_on_the_carrier)
{
	struct ktls_info info;
	pthread_t thread;
	struct peer peer;
	int fds[2], fd, carrier, plain;

	ONLY_KTLS();
	ASSERT_EQ(0, tcp_pair_narrow(variant->family, fds, 4096));
	plain = fds[0];
	pthread_create(&thread, NULL, send_plainly, &plain);
	/* As much as TCP takes, and no more. */
	while (poll_now(plain, POLLOUT) & POLLOUT)
		usleep(1000);
	usleep(50000);
	ASSERT_EQ(0, tls_over(fds, variant->cipher, &fd, &carrier, &peer));
	/* Now it goes on. */
	ASSERT_EQ(TOTAL, recv_all(peer.fd, got, TOTAL));
	pthread_join(thread, NULL);
	EXPECT_TRUE(filled(got, TOTAL, 0));
	EXPECT_EQ(-EIO, RESULT(send(fd, data, 10, MSG_NOSIGNAL)));
	EXPECT_EQ(-EPIPE, RESULT(send(fd, data, 10, MSG_NOSIGNAL)));
	ASSERT_EQ(0, get_info(fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_TX_DEAD);
	EXPECT_EQ(-EAGAIN, RESULT(recv(peer.fd, got, 1, MSG_DONTWAIT)));
	close(fd);
	close(carrier);
	peer_close(&peer);
}

/* A signal ends the wait with what was taken, which is what arrives. */
TEST_F(narrow, interrupted)
{
	pid_t us = getpid();
	ssize_t n, m;

	interrupted_by(SIGUSR1);
	WHEN_ASLEEP(kill(us, SIGUSR1));
	n = RESULT(send(self->fd, data, TOTAL, 0));
	ASSERT_LT(0, n);
	ASSERT_GT(TOTAL, n);
	WHEN_ASLEEP(kill(us, SIGUSR1));
	m = RESULT(send(self->fd, data + n, TOTAL - n, 0));
	EXPECT_EQ(-EINTR, m);
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

TEST_HARNESS_MAIN
