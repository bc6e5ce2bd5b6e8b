// SPDX-License-Identifier: GPL-2.0-only
/* How a connection ends, in each direction, and who is told what. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/sockios.h>

static uint8_t payload[PAYLOAD_MAX], data[1 << 20], got[1 << 20];

PEER_FIXTURE(eof);

static unsigned int flags_of(int fd)
{
	struct ktls_info info;

	return get_info(fd, &info) ? 0 : info.flags;
}

static int strict(int fd)
{
	int on = 1;

	return setsockopt(fd, SOL_KTLS, KTLS_STRICT_EOF, &on, sizeof(on));
}

static int pipe_signals;

static void count_signal(int signal)
{
	pipe_signals++;
}

TEST_F(eof, fin)
{
	int i;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "last", 4));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	if (!kernel_tls())
		EXPECT_EQ(KTLS_F_TRUNCATED,
			  flags_of(self->fd) & (KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD));
	EXPECT_EQ(4, send(self->fd, "back", 4, MSG_NOSIGNAL));
}

/*
 * What waits may leave a window that takes no other segment, and after the FIN nothing opens it
 * again. Of how much that is true is TCP's affair: many amounts are tried.
 */
TEST_F(eof, fin_at_a_narrow_window)
{
	static uint8_t records[200 * 1100];
	int pair[2], fds[2], fd, carrier, i, count, read;
	struct pollfd pfd = { .events = POLLRDHUP };
	struct peer peer;
	size_t len;

	ONLY_KTLS();
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(0, tcp_pair_narrow(variant->family, pair, 60000));
		fds[0] = pair[1];
		fds[1] = pair[0];
		ASSERT_EQ(0, tls_over(fds, variant->cipher, &fd, &carrier, &peer));
		count = 1 + i / 2;
		for (len = 0, read = 0; read < count; read++)
			len += record_seal(&peer.tx, DATA, data, 1000, records + len);
		/* With half a record behind them, or not. */
		if (i % 2)
			len -= 500;
		nonblocking(peer.fd, true);
		if (send(peer.fd, records, len, 0) == len)
			shutdown(peer.fd, SHUT_WR);
		/* More than is taken before somebody reads ends the test. */
		pfd.fd = fd;
		if (poll(&pfd, 1, 1000) != 1) {
			close(fd);
			close(carrier);
			peer_close(&peer);
			break;
		}
		for (read = 0; read < count - i % 2; read++)
			ASSERT_EQ(1000, recv(fd, got, 1000, 0));
		EXPECT_EQ(0, RESULT(recv(fd, got, 100, MSG_DONTWAIT)));
		EXPECT_EQ(0, RESULT(recv(fd, got, 100, 0)));
		EXPECT_EQ(i % 2 ? KTLS_F_TRUNCATED_RECORD : 0,
			  flags_of(fd) & KTLS_F_TRUNCATED_RECORD) {
			TH_LOG("%d records", count);
		}
		close(fd);
		close(carrier);
		peer_close(&peer);
	}
	EXPECT_LT(4, i);
	TH_LOG("%d amounts", i);
}

TEST_F(eof, fin_at_each_byte)
{
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, "lost", 4, record), at;

	ONLY_KTLS();
	for (at = 1; at < len; at++) {
		struct peer peer;
		int fd;

		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
		ASSERT_EQ(0, send_all(peer.fd, record, at));
		shutdown(peer.fd, SHUT_WR);
		EXPECT_EQ(0, recv(fd, payload, 100, 0)) TH_LOG("byte %zu", at);
		EXPECT_EQ(KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD,
			  flags_of(fd) & (KTLS_F_TRUNCATED | KTLS_F_TRUNCATED_RECORD));
		close(fd);
		peer_close(&peer);
	}
}

TEST_F(eof, strict_fin)
{
	int i;

	ONLY_KTLS();
	ASSERT_EQ(0, strict(self->fd));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "last", 4));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ECONNABORTED, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_TRUE(flags_of(self->fd) & KTLS_F_TRUNCATED);
	EXPECT_EQ(4, send(self->fd, "back", 4, MSG_NOSIGNAL));
}

TEST_F(eof, strict_close_notify)
{
	ONLY_KTLS();
	ASSERT_EQ(0, strict(self->fd));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "last", 4));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, flags_of(self->fd) & KTLS_F_TRUNCATED);
}

TEST_F(eof, strict_splice)
{
	int pipes[2];

	ONLY_KTLS();
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, strict(self->fd));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(-ECONNABORTED, RESULT(splice(self->fd, NULL, pipes[1], NULL, 100, 0)));
}

/* A reset is told as such, once or more, and never becomes a clean end. */
TEST_F(eof, reset)
{
	ssize_t first, second;

	abort_connection(&self->peer.fd);
	first = RESULT(recv(self->fd, payload, 100, 0));
	second = RESULT(recv(self->fd, payload, 100, 0));
	EXPECT_EQ(-ECONNRESET, first);
	if (kernel_tls())
		SKIP(return, "kernel TLS tells it once, and takes what is sent");
	EXPECT_EQ(-ECONNRESET, second);
	first = RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL));
	EXPECT_TRUE(first == -EPIPE || first == -ECONNRESET) TH_LOG("%zd", first);
}

TEST_F(eof, reset_after_data)
{
	ssize_t n;

	ONLY_KTLS();
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(2, recv(self->fd, payload, 2, 0));
	abort_connection(&self->peer.fd);
	n = RESULT(recv(self->fd, payload, 100, MSG_WAITALL));
	EXPECT_TRUE(n == 2 || n == -ECONNRESET) TH_LOG("%zd", n);
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
}

/* A writer is told of it once, then as one whose peer is gone. */
TEST_F(eof, reset_told_to_a_writer)
{
	int i;

	ONLY_KTLS();
	abort_connection(&self->peer.fd);
	ASSERT_TRUE(poll_wait(self->fd, POLLHUP) & POLLHUP);
	EXPECT_EQ(-ECONNRESET, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
	pipe_signals = 0;
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = count_signal }, NULL);
	EXPECT_EQ(-EPIPE, RESULT(write(self->fd, "x", 1)));
	EXPECT_EQ(1, pipe_signals);
}

TEST_F(eof, reset_while_waiting)
{
	int peer = self->peer.fd;

	WHEN_ASLEEP(abort_connection(&peer));
	close(peer);
	self->peer.fd = -1;
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
}

/* The open record is completed, then close_notify, then FIN: nothing else. */
TEST_F(eof, shutdown_writing)
{
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(4, send(self->fd, "open", 4, MSG_MORE));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_EQ(4, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(DATA, type);
	ASSERT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, memcmp(payload, "\1\0", 2));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
	EXPECT_TRUE(flags_of(self->fd) & KTLS_F_CLOSE_NOTIFY_SENT);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "still", 5));
	EXPECT_EQ(5, recv(self->fd, payload, 100, 0));
}

TEST_F(eof, shutdown_twice)
{
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_EQ(0, shutdown(self->fd, SHUT_RDWR));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
	EXPECT_EQ(-EINVAL, RESULT(shutdown(self->fd, 3)));
	EXPECT_EQ(-EINVAL, RESULT(shutdown(self->fd, -1)));
}

TEST_F(eof, send_after_shutdown)
{
	ONLY_KTLS();
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(-EPIPE, RESULT(send_type(self->fd, ALERT, "xx", 2, MSG_NOSIGNAL)));
	interrupted_by(SIGPIPE);
	EXPECT_EQ(-EPIPE, RESULT(write(self->fd, "x", 1)));
}

TEST_F(eof, sigpipe)
{
	struct sigaction action = { .sa_handler = count_signal };

	sigaction(SIGPIPE, &action, NULL);
	ONLY_KTLS();
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(0, pipe_signals);
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "x", 1, 0)));
	EXPECT_EQ(1, pipe_signals);
}

TEST_F(eof, shutdown_reading)
{
	ASSERT_EQ(0, shutdown(self->fd, SHUT_RD));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_TRUE(poll_now(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
}

TEST_F(eof, shutdown_wakes_a_reader)
{
	int fd = self->fd;

	WHEN_ASLEEP(shutdown(fd, SHUT_RD));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
}

/* Everything that send() took arrives although close() follows at once. */
TEST_F(eof, close_loses_nothing)
{
	size_t total = 0, offset;
	uint8_t type;
	ssize_t n;

	fill(data, sizeof(data), 0);
	while (total < sizeof(data) &&
	       (n = send(self->fd, data + total, sizeof(data) - total, MSG_DONTWAIT)) > 0)
		total += n;
	close(self->fd);
	for (offset = 0; offset < total; offset += n) {
		n = peer_recv(&self->peer, &type, payload);
		ASSERT_LE(1, n);
		ASSERT_EQ(DATA, type);
		ASSERT_TRUE(filled(payload, n, offset));
	}
	EXPECT_EQ(total, offset);
}

/* More than the carrier's buffers hold, to a reader that begins after the close. */
TEST_F(eof, close_with_full_carrier)
{
	size_t total = 0, offset;
	uint8_t type;
	ssize_t n;
	int i;

	for (i = 0; i < 20; i++) {
		fill(data, 300000, total);
		n = send(self->fd, data, 300000, MSG_DONTWAIT);
		if (n <= 0)
			break;
		total += n;
	}
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	close(self->fd);
	for (offset = 0; offset < total; offset += n) {
		n = peer_recv(&self->peer, &type, payload);
		ASSERT_LE(1, n) TH_LOG("%zu of %zu", offset, total);
		ASSERT_TRUE(filled(payload, n, offset));
	}
	if (kernel_tls())
		SKIP(return, "kernel TLS sends no close_notify");
	ASSERT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

/* What nobody read is thrown away, and the peer learns of it as from TCP. */
TEST_F(eof, close_with_unread_data)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "unread", 6));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	close(self->fd);
	EXPECT_EQ(-ECONNRESET, RESULT(recv_all(self->peer.fd, got, sizeof(got))));
}

TEST_F(eof, close_while_peer_sends)
{
	struct ktls_info info;

	ONLY_KTLS();
	close(self->fd);
	EXPECT_EQ(-1, get_info(self->fd, &info));
	poll_wait(self->peer.fd, POLLIN);
	while (peer_send(&self->peer, DATA, "x", 1) == 0)
		;
	EXPECT_TRUE(errno == ECONNRESET || errno == EPIPE);
}

TEST_HARNESS_MAIN
