// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each call that may wait, over TLS and DTLS: a signal ends it, by a handler or by death; what was
 * taken to be sent arrives, once and in order, and the socket goes on.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/sendfile.h>
#include <sys/wait.h>

#define LENGTH	300000
#define PIECE	1000	/* of a datagram */

/* What is sent, from where the last call stopped. */
static uint8_t data[LENGTH], got[LENGTH];
static size_t sent;

static long by_recv(int fd) { return recv(fd, got, 100, 0); }
static long by_waiting_for_all(int fd) { return recv(fd, got, 100, MSG_WAITALL); }
static long by_peek(int fd) { return recv(fd, got, 100, MSG_PEEK); }
static long by_read(int fd) { return read(fd, got, 100); }

static long by_recvmsg(int fd)
{
	uint8_t type;

	return recv_type(fd, got, 100, 0, &type);
}

static long by_recvmmsg(int fd)
{
	struct iovec iov[2] = { { got, 100 }, { got, 100 } };
	struct mmsghdr m[2] = {
		{ .msg_hdr = { .msg_iov = &iov[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &iov[1], .msg_iovlen = 1 } },
	};

	return recvmmsg(fd, m, 2, 0, NULL);
}

static long by_splice_out(int fd)
{
	int pipes[2];
	long n;

	if (pipe(pipes))
		return -1;
	n = splice(fd, NULL, pipes[1], NULL, 100, 0);
	close(pipes[0]);
	close(pipes[1]);
	return n;
}

static long by_send(int fd) { return send(fd, data + sent, LENGTH - sent, 0); }
static long by_write(int fd) { return write(fd, data + sent, LENGTH - sent); }

static long by_sendmsg(int fd)
{
	return send_type(fd, HANDSHAKE, data + sent, PIECE, 0);
}

static long by_sendfile(int fd)
{
	int file = memfd_create("blocking", 0);
	off_t from = sent;
	long n;

	if (pwrite(file, data, LENGTH, 0) != LENGTH)
		return -1;
	n = sendfile(fd, file, &from, LENGTH - sent);
	close(file);
	return n;
}

static long by_splice_in(int fd)
{
	int pipes[2], error;
	long n;

	if (pipe(pipes) || write(pipes[1], data + sent, 4096) != 4096)
		return -1;
	n = splice(pipes[0], NULL, fd, NULL, 4096, 0);
	error = errno;
	close(pipes[0]);
	close(pipes[1]);
	errno = error;
	return n;
}

static long by_datagram(int fd) { return send(fd, data + sent, PIECE, 0); }

static long by_sendmmsg(int fd)
{
	struct iovec iov[2] = { { data + sent, PIECE }, { data + sent + PIECE, PIECE } };
	struct mmsghdr m[2] = {
		{ .msg_hdr = { .msg_iov = &iov[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &iov[1], .msg_iovlen = 1 } },
	};
	long n = sendmmsg(fd, m, 2, 0);

	return n > 0 ? n * PIECE : n;
}

FIXTURE(blocking) { int fd; int other; };

FIXTURE_VARIANT(blocking) { long (*call)(int fd); bool writes; bool datagrams; };

#define READING(name)							\
	FIXTURE_VARIANT_ADD(blocking, tls_##name) { .call = by_##name };	\
	FIXTURE_VARIANT_ADD(blocking, dtls_##name)			\
		{ .call = by_##name, .datagrams = true }
#define WRITING(name)							\
	FIXTURE_VARIANT_ADD(blocking, tls_##name)			\
		{ .call = by_##name, .writes = true }
#define WRITING_DATAGRAMS(name)						\
	FIXTURE_VARIANT_ADD(blocking, dtls_##name)			\
		{ .call = by_##name, .writes = true, .datagrams = true }

READING(recv);
READING(waiting_for_all);
READING(peek);
READING(read);
READING(recvmsg);
READING(recvmmsg);
READING(splice_out);
WRITING(send);
WRITING(write);
WRITING(sendmsg);
WRITING(sendmmsg);
WRITING(sendfile);
WRITING(splice_in);
WRITING_DATAGRAMS(datagram);
WRITING_DATAGRAMS(sendmmsg);

/* A socket over @carrier, with little room; Linux 6.1 does not tell the carrier later. */
static int keyed(int carrier, bool datagrams, int tx, int rx)
{
	struct keys there, back;
	int fd, little = 4096;

	(datagrams ? dtls_keys_make : keys_make)(&there, TLS_CIPHER_AES_GCM_128, tx);
	(datagrams ? dtls_keys_make : keys_make)(&back, TLS_CIPHER_AES_GCM_128, rx);
	setsockopt(carrier, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	fd = (datagrams ? dtls_attach : tls_attach)(carrier);
	if (fd < 0 || tls_key(fd, TLS_TX, &there) || tls_key(fd, TLS_RX, &back))
		return -1;
	if (datagrams)
		close(carrier);
	/* One would make a call one that cannot be restarted. */
	time_limit(fd, 0);
	return fd;
}

FIXTURE_SETUP(blocking)
{
	int fds[2];

	ONLY_KTLS();
	fill(data, LENGTH, 0);
	/* A path on which what was sent takes room for a time; a delay would not. */
	if (variant->writes && variant->datagrams) {
		ASSERT_EQ(0, own_network());
		ASSERT_EQ(0, system("tc qdisc add dev lo root netem slot 2s 2s"));
	}
	ASSERT_EQ(0, variant->datagrams ? udp_pair(AF_INET, fds) :
					  tcp_pair_narrow(AF_INET, fds, 4096));
	self->fd = keyed(fds[0], variant->datagrams, 1, 2);
	self->other = keyed(fds[1], variant->datagrams, 2, 1);
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->other);
	if (variant->writes && variant->datagrams)
		while (sent < LENGTH / 2 && send(self->fd, data + sent, PIECE, MSG_DONTWAIT) > 0)
			sent += PIECE;
	ASSERT_GT(LENGTH / 2, sent);
}

FIXTURE_TEARDOWN(blocking)
{
	close(self->fd);
	close(self->other);
}

/* Calls until there is no room. */
static long call_until_it_waits(long (*call)(int fd), int fd)
{
	long n;

	do {
		n = RESULT(call(fd));
		sent += n > 0 ? n : 0;
	} while (n > 0);
	return n;
}

/* What the socket has taken arrives: all of it, in order, once. */
static size_t arrived(struct __test_metadata *_metadata, int fd, int other)
{
	struct ktls_info info;
	size_t total = 0;
	uint8_t type;
	ssize_t n;

	EXPECT_EQ(0, get_info(fd, &info));
	time_limit(other, TIME_LIMIT);
	while (total < info.tx.bytes &&
	       (n = recv_type(other, got, sizeof(got), 0, &type)) > 0) {
		EXPECT_TRUE(filled(got, n, total));
		total += n;
	}
	EXPECT_EQ(info.tx.bytes, total);
	EXPECT_EQ(-EAGAIN, RESULT(recv_type(other, got, sizeof(got), MSG_DONTWAIT, &type)));
	return total;
}

static void expect_works(struct __test_metadata *_metadata, int fd, int other)
{
	ASSERT_EQ(4, send(other, "back", 4, 0));
	EXPECT_EQ(4, recv(fd, got, 100, 0));
	EXPECT_EQ(0, memcmp(got, "back", 4));
	ASSERT_EQ(5, send(fd, "there", 5, 0));
	EXPECT_EQ(5, recv(other, got, 100, 0));
	EXPECT_EQ(0, memcmp(got, "there", 5));
}

TEST_F(blocking, interrupted)
{
	pid_t us = getpid();

	interrupted_by(SIGUSR1);
	if (variant->writes) {
		long n;

		/* What it did before is told instead. */
		do {
			WHEN_ASLEEP(kill(us, SIGUSR1));
			n = RESULT(variant->call(self->fd));
			sent += n > 0 ? n : 0;
			/* Where TCP made room the signal is yet to come: here. */
			while (wait(NULL) > 0 || errno == EINTR)
				;
		} while (n > 0);
		EXPECT_EQ(-EINTR, n);
		EXPECT_EQ(sent, arrived(_metadata, self->fd, self->other));
	} else {
		WHEN_ASLEEP(kill(us, SIGUSR1));
		EXPECT_EQ(-EINTR, RESULT(variant->call(self->fd)));
		while (wait(NULL) > 0)
			;
	}
	expect_works(_metadata, self->fd, self->other);
}

/* The socket is another process's as well and lives on. */
TEST_F(blocking, killed)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(call_until_it_waits(variant->call, self->fd) ? 1 : 0);
	wait_asleep(child);
	/* A writer may sleep for a moment before it sleeps for good. */
	usleep(20000);
	wait_asleep(child);
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status)) TH_LOG("%x", status);
	if (variant->writes)
		EXPECT_LT(0, arrived(_metadata, self->fd, self->other));
	expect_works(_metadata, self->fd, self->other);
}

TEST_HARNESS_MAIN
