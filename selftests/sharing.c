// SPDX-License-Identifier: GPL-2.0-only
/* One socket in several processes: fork(2), dup(2), exec(3), descriptors that are handed over. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/wait.h>

static uint8_t payload[PAYLOAD_MAX];

PEER_FIXTURE(sharing);

static void expect_sent(struct __test_metadata *_metadata, struct peer *peer, const char *text)
{
	uint8_t type;

	ASSERT_EQ(strlen(text), peer_recv(peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, text, strlen(text)));
}

/* The sequence goes on whoever sends, and one descriptor's end is not the socket's. */
TEST_F(sharing, fork)
{
	int status, i;

	for (i = 0; i < 3; i++) {
		if (!fork()) {
			i = send(self->fd, "child", 5, 0);
			close(self->fd);
			_exit(i != 5);
		}
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
		expect_sent(_metadata, &self->peer, "child");
		ASSERT_EQ(6, send(self->fd, "parent", 6, 0));
		expect_sent(_metadata, &self->peer, "parent");
	}
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

TEST_F(sharing, reader_in_a_child)
{
	int status;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "abcdef", 6));
	if (!fork())
		_exit(recv(self->fd, payload, 3, 0) != 3 || memcmp(payload, "abc", 3));
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(3, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(0, memcmp(payload, "def", 3));
}

TEST_F(sharing, dup)
{
	int other = dup(self->fd);

	close(self->fd);
	self->fd = other;
	EXPECT_EQ(4, send(other, "data", 4, 0));
	expect_sent(_metadata, &self->peer, "data");
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

/* Another program's standard output. */
TEST_F(sharing, exec)
{
	int status;

	if (!fork()) {
		dup2(self->fd, 1);
		execl("/bin/sh", "sh", "-c", "echo from a shell", NULL);
		_exit(1);
	}
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(0, status);
	expect_sent(_metadata, &self->peer, "from a shell\n");
}

union rights { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; };

static int pass(int way, int fd)
{
	union rights control = {};
	struct iovec iov = { "", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(way, &msg, 0) == 1 ? 0 : -1;
}

static int take(int way)
{
	union rights control = {};
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(way, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* To a worker without privileges, which serves the connection when its maker is gone. */
TEST_F(sharing, handed_over)
{
	int ways[2], status, fd;
	uint8_t type;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ways));
	if (!fork()) {
		close(self->fd);
		if (setuid(65534))
			_exit(1);
		fd = take(ways[1]);
		status = recv(fd, payload, 100, 0) != 7 || send(fd, "answer", 6, 0) != 6;
		_exit(status || shutdown(fd, SHUT_WR));
	}
	ASSERT_EQ(0, pass(ways[0], self->fd));
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "request", 7));
	expect_sent(_metadata, &self->peer, "answer");
	if (!kernel_tls()) {
		EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
		EXPECT_EQ(ALERT, type);
	}
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

/* On its way in a socket that nobody reads any more it is let go. */
TEST_F(sharing, lost_on_the_way)
{
	int ways[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ways));
	ASSERT_EQ(0, pass(ways[0], self->fd));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
	close(ways[0]);
	close(ways[1]);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_HARNESS_MAIN
