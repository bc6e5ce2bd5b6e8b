// SPDX-License-Identifier: GPL-2.0-only
/* KTLS_CONTROL_QUEUE: control records beside the data, through MSG_ERRQUEUE. */
#include "kselftest_harness.h"
#include "ktls_test.h"


static uint8_t payload[PAYLOAD_MAX + 1], data[PAYLOAD_MAX];

FIXTURE(control_queue) { int fd; struct peer peer; };
CIPHER_VARIANTS(control_queue);

static int set_mode(int fd, int mode)
{
	return setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode));
}

FIXTURE_SETUP(control_queue)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	ASSERT_EQ(0, set_mode(self->fd, KTLS_CONTROL_QUEUE));
}

FIXTURE_TEARDOWN(control_queue)
{
	close(self->fd);
	peer_close(&self->peer);
}

static void expect_queued(struct __test_metadata *_metadata, int fd, uint8_t expected,
			  const char *text)
{
	uint8_t type;

	ASSERT_TRUE(poll_wait(fd, POLLPRI) & POLLPRI);
	ASSERT_EQ(strlen(text), recv_type(fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(expected, type);
	EXPECT_EQ(0, memcmp(payload, text, strlen(text)));
}

TEST_F(control_queue, option)
{
	int mode = -1;
	socklen_t len = sizeof(mode);

	ASSERT_EQ(0, getsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, &len));
	EXPECT_EQ(KTLS_CONTROL_QUEUE, mode);
	EXPECT_EQ(-EINVAL, RESULT(set_mode(self->fd, 2)));
	EXPECT_EQ(-EINVAL, RESULT(set_mode(self->fd, -1)));
	EXPECT_EQ(0, set_mode(self->fd, KTLS_CONTROL_DEFAULT));
}

TEST_F(control_queue, plain_reader_sees_data_only)
{
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "first", 5));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\132", 2));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(6, recv(self->fd, payload, 6, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(payload, "onetwo", 6));
	expect_queued(_metadata, self->fd, HANDSHAKE, "first");
	expect_queued(_metadata, self->fd, ALERT, "\1\132");
}

/* Nobody reads data, and still the record is told and can be taken. */
TEST_F(control_queue, without_a_reader)
{
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	expect_queued(_metadata, self->fd, HANDSHAKE, "ctrl");
}

/* What precedes it in the stream waits unread; the record is told as far as it can be. */
TEST_F(control_queue, behind_data)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	expect_queued(_metadata, self->fd, HANDSHAKE, "ctrl");
}

TEST_F(control_queue, splice_passes)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, splice(self->fd, NULL, pipes[1], NULL, 100, 0));
	expect_queued(_metadata, self->fd, HANDSHAKE, "ctrl");
}

TEST_F(control_queue, nothing_queued)
{
	uint8_t type;

	EXPECT_EQ(-EAGAIN, RESULT(recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type)));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(-EAGAIN, RESULT(recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type)));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

TEST_F(control_queue, too_little_room)
{
	struct iovec iov = { payload, 2 };
	char control[100];
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control),
	};

	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	ASSERT_EQ(2, recvmsg(self->fd, &msg, MSG_ERRQUEUE));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	EXPECT_EQ(-EAGAIN, RESULT(recvmsg(self->fd, &msg, MSG_ERRQUEUE)));
}

/* What was opened for plain reads and not begun goes to those who ask for it. */
TEST_F(control_queue, changed_later)
{
	ASSERT_EQ(0, set_mode(self->fd, KTLS_CONTROL_DEFAULT));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	ASSERT_EQ(4, recv(self->fd, payload, 10, MSG_PEEK));
	ASSERT_EQ(0, set_mode(self->fd, KTLS_CONTROL_QUEUE));
	expect_queued(_metadata, self->fd, HANDSHAKE, "ctrl");
	EXPECT_EQ(4, recv(self->fd, payload, 10, 0));
}

TEST_F(control_queue, peek)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(4, recv_type(self->fd, payload, 100, MSG_ERRQUEUE | MSG_PEEK, &type));
	EXPECT_EQ(HANDSHAKE, type);
	expect_queued(_metadata, self->fd, HANDSHAKE, "ctrl");
}

TEST_F(control_queue, close_notify)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(ALERT, type);
}

/* More records than the queue holds, of a peer that never stops: none is lost. */
TEST_F(control_queue, bound)
{
	uint8_t type;
	int i;

	for (i = 0; i < 3 * KTLS_CONTROL_MAX; i++) {
		uint8_t number = i;

		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, &number, 1));
	}
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	for (i = 0; i < 3 * KTLS_CONTROL_MAX; i++) {
		ASSERT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
		ASSERT_EQ(1, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
		ASSERT_EQ((uint8_t)i, payload[0]);
	}
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

TEST_F(control_queue, reader_waits_behind_full_queue)
{
	int i, fd = self->fd;
	uint8_t type;

	for (i = 0; i < KTLS_CONTROL_MAX + 1; i++)
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "x", 1));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	WHEN_ASLEEP(for (i = 0; i < 2; i++)
			    recv_type(fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

TEST_F(control_queue, long_records)
{
	uint8_t type;
	int i;

	fill(data, PAYLOAD_MAX, 0);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, data, PAYLOAD_MAX));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
		ASSERT_EQ(PAYLOAD_MAX,
			  recv_type(self->fd, payload, sizeof(payload), MSG_ERRQUEUE, &type));
		EXPECT_TRUE(filled(payload, PAYLOAD_MAX, 0));
	}
}

/* A flood between the data of a plain reader. */
TEST_F(control_queue, flood_taken_by_a_helper)
{
	struct pollfd pfd = { self->fd, POLLIN | POLLPRI, 0 };
	int sent = 0, controls = 0, bytes = 0;
	uint8_t type;
	ssize_t n;

	for (; sent < 1000; sent++) {
		ASSERT_EQ(0, peer_send(&self->peer, sent % 5 ? HANDSHAKE : DATA, "x", 1));
		if (sent % 50)
			continue;
		while (poll(&pfd, 1, 0) > 0) {
			if (pfd.revents & POLLPRI)
				controls += recv_type(self->fd, payload, 10, MSG_ERRQUEUE, &type);
			else if (pfd.revents & POLLIN)
				bytes += recv(self->fd, payload, 10, MSG_DONTWAIT);
		}
	}
	while (controls < 800 || bytes < 200) {
		ASSERT_LT(0, poll(&pfd, 1, TIME_LIMIT * 1000));
		n = pfd.revents & POLLPRI ?
		    recv_type(self->fd, payload, 10, MSG_ERRQUEUE, &type) :
		    recv(self->fd, payload, 10, MSG_DONTWAIT);
		ASSERT_LE(1, n);
		*(pfd.revents & POLLPRI ? &controls : &bytes) += n;
	}
	EXPECT_EQ(800, controls);
	EXPECT_EQ(200, bytes);
}

/* A poller that sleeps is told of the end, however the record comes to its queue. */
TEST_F(control_queue, close_notify_wakes)
{
	struct peer peer;
	int fd, i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
		ASSERT_EQ(0, set_mode(fd, KTLS_CONTROL_QUEUE));
		if (i % 2)
			ASSERT_EQ(0, peer_send(&peer, HANDSHAKE, "ctrl", 4));
		WHEN_ASLEEP(peer_send(&peer, ALERT, "\1\0", 2));
		ASSERT_TRUE(poll_wait(fd, POLLIN) & POLLIN) TH_LOG("round %d", i);
		EXPECT_EQ(0, recv(fd, payload, 100, 0));
		EXPECT_TRUE(poll_now(fd, POLLPRI) & POLLPRI);
		close(fd);
		peer_close(&peer);
	}
}

TEST_HARNESS_MAIN
