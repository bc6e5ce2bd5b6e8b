// SPDX-License-Identifier: GPL-2.0-only
/* DTLS 1.2 over UDP: what is sent, what is received, as UDP does it. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

static uint8_t data[DATAGRAM_MAX], payload[DATAGRAM_MAX], record[DATAGRAM_MAX];

DTLS_FIXTURE(datagram);

TEST_F(datagram, there_and_back)
{
	uint8_t type;
	int i;

	for (i = 1; i < 1200; i += 131) {
		fill(data, i, i);
		ASSERT_EQ(i, send(self->fd, data, i, 0));
		ASSERT_EQ(i, dgram_recv(&self->peer, &type, payload));
		EXPECT_EQ(DATA, type);
		EXPECT_TRUE(filled(payload, i, i));
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, i));
		ASSERT_EQ(i, recv(self->fd, payload, sizeof(payload), 0));
		EXPECT_TRUE(filled(payload, i, i));
	}
}

TEST_F(datagram, largest)
{
	uint8_t type;

	fill(data, PAYLOAD_MAX, 0);
	ASSERT_EQ(PAYLOAD_MAX, send(self->fd, data, PAYLOAD_MAX, 0));
	ASSERT_EQ(PAYLOAD_MAX, dgram_recv(&self->peer, &type, payload));
	EXPECT_TRUE(filled(payload, PAYLOAD_MAX, 0));
	EXPECT_EQ(-EMSGSIZE, RESULT(send(self->fd, data, PAYLOAD_MAX + 1, 0)));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, PAYLOAD_MAX));
	ASSERT_EQ(PAYLOAD_MAX, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_TRUE(filled(payload, PAYLOAD_MAX, 0));
}

/* Each datagram is one record, and each read too. */
TEST_F(datagram, boundaries_stay)
{
	uint8_t type;
	int i;

	for (i = 1; i <= 20; i++)
		ASSERT_EQ(i, send(self->fd, data, i, 0));
	for (i = 1; i <= 20; i++)
		ASSERT_EQ(i, dgram_recv(&self->peer, &type, payload));
	for (i = 1; i <= 20; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, i));
	for (i = 1; i <= 20; i++)
		ASSERT_EQ(i, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 1, MSG_DONTWAIT)));
}

TEST_F(datagram, what_does_not_fit_is_lost)
{
	struct iovec iov = { .iov_base = payload, .iov_len = 3 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "abcdef", 6));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "ghi", 3));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "jklmno", 6));
	ASSERT_EQ(3, recvmsg(self->fd, &msg, 0));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	ASSERT_EQ(3, recvmsg(self->fd, &msg, 0));
	EXPECT_EQ(0, msg.msg_flags & MSG_TRUNC);
	EXPECT_EQ(0, memcmp(payload, "ghi", 3));
	EXPECT_EQ(6, recv(self->fd, payload, 1, MSG_TRUNC));
	EXPECT_EQ('j', payload[0]);
}

TEST_F(datagram, peek)
{
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "abcdef", 6));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "ghi", 3));
	EXPECT_EQ(3, recv(self->fd, payload, 3, MSG_PEEK));
	EXPECT_EQ(6, recv(self->fd, payload, 3, MSG_PEEK | MSG_TRUNC));
	EXPECT_EQ(6, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "abcdef", 6));
	EXPECT_EQ(3, recv(self->fd, payload, 100, 0));
}

/* Each record of a datagram is judged alone. */
TEST_F(datagram, several_records)
{
	size_t len = 0, first, i;

	for (i = 1; i <= 3; i++) {
		len += dgram_seal(&self->peer, DATA, "record", 2 * i, record + len);
		if (i == 1)
			first = len;
	}
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	for (i = 1; i <= 3; i++)
		ASSERT_EQ(2 * i, recv(self->fd, payload, 100, 0));
	self->peer.tx.seq = EPOCH(1) + 10;
	for (i = 1, len = 0; i <= 3; i++) {
		len += dgram_seal(&self->peer, DATA, "record", 2 * i, record + len);
		if (i == 1)
			first = len;
	}
	record[len - 1] ^= 1;
	record[first - 1] ^= 1;
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	ASSERT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 1, MSG_DONTWAIT)));
}

TEST_F(datagram, poll_rest_of_a_datagram)
{
	size_t len = dgram_seal(&self->peer, DATA, "first", 5, record);

	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT | POLLRDHUP));
	len += dgram_seal(&self->peer, DATA, "second", 6, record + len);
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(5, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(6, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(datagram, control_records)
{
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(3, send_type(self->fd, HANDSHAKE, "abc", 3, 0));
	ASSERT_EQ(3, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(HANDSHAKE, type);
	ASSERT_EQ(0, dgram_send(&self->peer, ALERT, "\1\132", 2));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 100, 0)));
	ASSERT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx.control_records);
	EXPECT_EQ(2, info.rx.records);
}

TEST_F(datagram, control_queue)
{
	int mode = KTLS_CONTROL_QUEUE;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	ASSERT_EQ(0, dgram_send(&self->peer, ALERT, "\1\132", 2));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(2, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(ALERT, type);
}

/* What nobody sealed spoils its own datagram, and not those that come later. */
TEST_F(datagram, forged_before_nobody_reads)
{
	uint8_t forged[64] = { ALERT, 0xfe, 0xfd, 0, 1, [12] = 40 };
	int mode = KTLS_CONTROL_QUEUE, i;
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	for (i = 0; i < 40; i++) {
		forged[10] = 100 + i;
		ASSERT_EQ(53, send(self->peer.fd, forged, 53, 0));
	}
	ASSERT_EQ(0, dgram_send(&self->peer, ALERT, "\1\132", 2));
	EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(40, info.rx_bad_tag);
	EXPECT_EQ(0, info.rx_bad_length);
}

/* A reader without memory loses nothing. */
TEST_F(datagram, bad_address)
{
	int mode = KTLS_CONTROL_QUEUE;
	struct iovec iov = { (void *)8, 10 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint8_t type;

	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "two", 3));
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 10, 0)));
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 10, MSG_PEEK)));
	EXPECT_EQ(3, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(0, memcmp(payload, "one", 3));
	EXPECT_EQ(3, recv(self->fd, payload, 10, 0));
	ASSERT_EQ(0, dgram_send(&self->peer, ALERT, "\1\132", 2));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 10, 0)));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI) & POLLPRI);
	/* Nor room for its type. */
	EXPECT_EQ(-EIO, RESULT(recvmsg(self->fd, &msg, MSG_ERRQUEUE)));
	EXPECT_EQ(2, recv_type(self->fd, payload, 10, MSG_ERRQUEUE | MSG_PEEK, &type));
	EXPECT_EQ(2, recv_type(self->fd, payload, 10, MSG_ERRQUEUE, &type));
	EXPECT_EQ(ALERT, type);
}

/* More control records than their queue takes: as datagrams without room they are lost. */
TEST_F(datagram, too_many_control_records)
{
	int mode = KTLS_CONTROL_QUEUE, i;
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	for (i = 0; i < KTLS_CONTROL_MAX + 5; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, HANDSHAKE, "abcd", 4));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	for (i = 0; i < KTLS_CONTROL_MAX; i++)
		ASSERT_EQ(4, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(-EAGAIN, RESULT(recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(5, info.rx_overflows);
}

/* A record left open is completed by one of another type, and by an empty send. */
TEST_F(datagram, open_record)
{
	uint8_t type;

	ASSERT_EQ(4, send(self->fd, "open", 4, MSG_MORE));
	ASSERT_EQ(5, send_type(self->fd, HANDSHAKE, "other", 5, 0));
	ASSERT_EQ(4, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(DATA, type);
	ASSERT_EQ(5, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(HANDSHAKE, type);
	ASSERT_EQ(4, send(self->fd, "last", 4, MSG_MORE));
	EXPECT_EQ(0, poll_now(self->peer.fd, POLLIN));
	ASSERT_EQ(0, send(self->fd, "", 0, 0));
	ASSERT_EQ(4, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "last", 4));
}

/* Taken and given back faster than the kernel forgets the time before. */
TEST_F(datagram, attached_again_and_again)
{
	struct keys rx = self->peer.tx;
	int i;

	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
		ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &rx));
	}
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

/* What is taken off the carrier takes no more room than what comes later. */
TEST_F(datagram, too_much_on_the_carrier)
{
	struct keys rx = self->peer.tx;
	struct ktls_info info;
	int small = 1, i;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	for (i = 0; i < 50; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, 1000));
	close(self->fd);
	self->fd = socket(AF_KTLS, SOCK_DGRAM, 0);
	ASSERT_EQ(0, setsockopt(self->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &rx));
	time_limit(self->fd, TIME_LIMIT);
	/* Some may not have come to the carrier yet, on a busy machine. */
	for (i = 0; !get_info(self->fd, &info) && i + info.rx_overflows < 50; i++)
		ASSERT_EQ(1000, recv(self->fd, payload, 2000, 0));
	EXPECT_EQ(50, i + info.rx_overflows);
	EXPECT_LT(0, info.rx_overflows);
	EXPECT_LT(0, i);
}

/* What the carrier has to tell its own readers stays there when it is emptied. */
TEST_F(datagram, error_of_the_carrier)
{
	int fds[2], fd, error = 0;
	socklen_t len = sizeof(error);
	struct keys rx;

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	close(fds[1]);
	ASSERT_EQ(1, send(fds[0], "x", 1, 0));
	ASSERT_EQ(POLLERR, poll_wait(fds[0], POLLERR) & POLLERR);
	fd = dtls_attach(fds[0]);
	ASSERT_LE(0, fd);
	dtls_keys_make(&rx, variant->cipher, 1);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &rx));
	ASSERT_EQ(0, getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &len));
	EXPECT_EQ(ECONNREFUSED, error);
	close(fd);
	close(fds[0]);
}

TEST_F(datagram, prepended_from_nowhere)
{
	struct keys rx = self->peer.tx;
	size_t len = dgram_seal(&self->peer, DATA, "data", 4, record);

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_PREPEND_RX, (void *)8, len)));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_PREPEND_RX, record, len));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &rx));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

TEST_F(datagram, control_mode_changes)
{
	int mode = KTLS_CONTROL_DEFAULT, i;
	uint8_t type;

	for (i = 0; i < 50; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, HANDSHAKE, "abcd", 4));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN) & POLLIN);
	mode = KTLS_CONTROL_QUEUE;
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	for (i = 0; i < 50; i++)
		ASSERT_EQ(4, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(-EAGAIN, RESULT(recv_type(self->fd, payload, 1, MSG_ERRQUEUE, &type)));
}

/* Records of a datagram have more memory each than their part of it. */
TEST_F(datagram, small_records_for_nobody)
{
	int mode = KTLS_CONTROL_QUEUE, i, n;
	struct ktls_info info;
	size_t len = 0;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	for (n = 0; n < 500; n++)
		len += dgram_seal(&self->peer, DATA, "x", 1, record + len);
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	ASSERT_EQ(0, dgram_send(&self->peer, HANDSHAKE, "abcd", 4));
	while (get_info(self->fd, &info) == 0 && !info.rx.records)
		poll(NULL, 0, 1);
	/* All is there for who reads, and control records on the way. */
	for (i = 0; i < n; i++)
		ASSERT_EQ(1, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(4, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
}

/* No read returns 0 for a record of data with nothing in it, nor does anybody wake for one. */
TEST_F(datagram, empty_records_for_nobody)
{
	struct ktls_info info;
	size_t len = 0;
	int i;

	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "", 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	/* Before, between and behind others of a datagram. */
	for (i = 0; i < 5; i++)
		len += dgram_seal(&self->peer, DATA, "data", i % 2 ? 4 : 0, record + len);
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	WHEN_ASLEEP((dgram_send(&self->peer, DATA, "", 0),
		     dgram_send(&self->peer, DATA, "last", 4)));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "last", 4));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(8, info.rx.records);
}

/* The program may connect the carrier to somebody else, or to nobody. */
TEST_F(datagram, carrier_without_peer)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int stranger = udp_socket(variant->family);
	struct sockaddr_in6 name;
	socklen_t len = sizeof(name);

	ASSERT_EQ(0, getsockname(self->carrier, (void *)&name, &len));
	ASSERT_EQ(0, connect(self->carrier, &nobody, sizeof(nobody)));
	ASSERT_EQ(0, bind(self->carrier, (void *)&name, len));
	ASSERT_EQ(0, connect(stranger, (void *)&name, len));
	self->peer.tx.seq++;
	len = dgram_seal(&self->peer, DATA, "data", 4, record);
	ASSERT_EQ(len, send(stranger, record, len, 0));
	EXPECT_EQ(len, recv(self->carrier, payload, sizeof(payload), 0));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	EXPECT_GT(0, RESULT(send(self->fd, "data", 4, 0)));
	close(stranger);
}

/* A client that lost the last flight: ClientKeyExchange's companion without a key, Finished. */
TEST_F(datagram, finished_behind_a_plain_record)
{
	static const uint8_t plain[] = "\24\376\375\0\0\0\0\0\0\0\3\0\1\1";
	size_t len = sizeof(plain) - 1;
	uint8_t type;

	memcpy(record, plain, len);
	len += dgram_seal(&self->peer, HANDSHAKE, "finished", 8, record + len);
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	ASSERT_EQ(8, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	/* Who reads the carrier gets all of it. */
	EXPECT_EQ(len, recv(self->carrier, payload, sizeof(payload), 0));
}

TEST_F(datagram, close_notify)
{
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, dgram_send(&self->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "late", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(POLLIN | POLLRDHUP, poll_wait(self->fd, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_CLOSE_NOTIFY_RCVD);
	ASSERT_EQ(3, send(self->fd, "ack", 3, 0));
	ASSERT_EQ(3, dgram_recv(&self->peer, &type, payload));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_EQ(2, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
}

TEST_F(datagram, poll)
{
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLIN | POLLOUT, poll_now(self->fd, POLLIN | POLLOUT));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT));
	/* What is forged wakes nobody for nothing. */
	memset(record, 23, 60);
	ASSERT_EQ(60, send(self->peer.fd, record, 60, 0));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT));
	WHEN_ASLEEP(dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
}

/* Before the key came. */
TEST_F(datagram, queued_on_the_carrier)
{
	int fds[2], fd, carrier;
	struct peer peer;

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	peer.fd = fds[1];
	dtls_keys_make(&peer.tx, variant->cipher, 1);
	ASSERT_EQ(0, dgram_send(&peer, DATA, "first", 5));
	ASSERT_EQ(5, send(peer.fd, "\0stun", 5, 0));
	ASSERT_EQ(0, dgram_send(&peer, DATA, "second", 6));
	peer.tx.seq = EPOCH(1);
	ASSERT_EQ(0, dtls_over(fds, variant->cipher, &fd, &carrier, &peer));
	peer.tx.seq = EPOCH(1) + 2;
	ASSERT_EQ(0, dgram_send(&peer, DATA, "third", 5));
	EXPECT_EQ(5, recv(fd, payload, 100, 0));
	EXPECT_EQ(6, recv(fd, payload, 100, 0));
	EXPECT_EQ(5, recv(fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "third", 5));
	EXPECT_EQ(5, recv(carrier, payload, 100, MSG_DONTWAIT));
	EXPECT_EQ(0, memcmp(payload, "\0stun", 5));
	EXPECT_EQ(-EAGAIN, RESULT(recv(carrier, payload, 100, MSG_DONTWAIT)));
	close(fd);
	close(carrier);
	close(peer.fd);
}

TEST_F(datagram, read_by_the_handshake)
{
	int fds[2], fd, i;
	struct peer peer;

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	peer.fd = fds[1];
	dtls_keys_make(&peer.tx, variant->cipher, 1);
	ASSERT_EQ(0, dgram_send(&peer, DATA, "waits", 5));
	fd = dtls_attach(fds[0]);
	for (i = 0; i < KTLS_PREPEND_DATAGRAMS; i++) {
		peer.tx.seq = EPOCH(1) + 10 + i;
		ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_PREPEND_RX, record,
					dgram_seal(&peer, DATA, "early", 1 + i % 5, record)));
	}
	EXPECT_EQ(-EMSGSIZE, RESULT(setsockopt(fd, SOL_KTLS, KTLS_PREPEND_RX, record, 10)));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	peer.tx.seq = EPOCH(1);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &peer.tx));
	for (i = 0; i < KTLS_PREPEND_DATAGRAMS; i++)
		ASSERT_EQ(1 + i % 5, recv(fd, payload, 100, MSG_DONTWAIT));
	EXPECT_EQ(5, recv(fd, payload, 100, MSG_DONTWAIT));
	EXPECT_EQ(0, memcmp(payload, "waits", 5));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(fd, SOL_KTLS, KTLS_PREPEND_RX, record, 10)));
	close(fd);
	close(fds[0]);
	close(peer.fd);
}

/* rfc7983: what is not DTLS, and handshakes without keys, are the carrier's. */
TEST_F(datagram, not_ours)
{
	static const uint8_t firsts[] = { 0, 3, 19, 64, 79, 127, 128, 191, 255 };
	size_t i;

	for (i = 0; i < sizeof(firsts); i++) {
		memset(record, firsts[i], 50);
		ASSERT_EQ(50, send(self->peer.fd, record, 50, 0));
		ASSERT_EQ(50, recv(self->carrier, payload, 100, 0));
		EXPECT_EQ(firsts[i], payload[0]);
	}
	memcpy(record, "\26\376\375\0\0\0\0\0\0\0\1\0\14", 13);
	ASSERT_EQ(25, send(self->peer.fd, record, 25, 0));
	EXPECT_EQ(25, recv(self->carrier, payload, 100, 0));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	ASSERT_EQ(4, send(self->carrier, "stun", 4, 0));
	EXPECT_EQ(4, recv(self->peer.fd, payload, 100, 0));
}

TEST_F(datagram, names)
{
	struct sockaddr_in6 ours, carriers;
	socklen_t len = sizeof(ours), carriers_len = sizeof(carriers);

	ASSERT_EQ(0, getsockname(self->fd, (void *)&ours, &len));
	ASSERT_EQ(0, getsockname(self->carrier, (void *)&carriers, &carriers_len));
	ASSERT_EQ(carriers_len, len);
	EXPECT_EQ(0, memcmp(&ours, &carriers, len));
	len = carriers_len = sizeof(ours);
	ASSERT_EQ(0, getpeername(self->fd, (void *)&ours, &len));
	ASSERT_EQ(0, getpeername(self->carrier, (void *)&carriers, &carriers_len));
	ASSERT_EQ(carriers_len, len);
	EXPECT_EQ(0, memcmp(&ours, &carriers, len));
}

TEST_F(datagram, many_at_once)
{
	struct mmsghdr messages[8] = { };
	struct iovec iov[8];
	uint8_t type;
	int i;

	for (i = 0; i < 8; i++) {
		iov[i] = (struct iovec){ .iov_base = data, .iov_len = 100 + i };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	ASSERT_EQ(8, sendmmsg(self->fd, messages, 8, 0));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(100 + i, dgram_recv(&self->peer, &type, payload));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, 50 + i));
	ASSERT_EQ(8, recvmmsg(self->fd, messages, 8, MSG_WAITFORONE, NULL));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(50 + i, messages[i].msg_len);
}

TEST_F(datagram, detach)
{
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, "data", 4));
	EXPECT_LT(4, recv(self->carrier, payload, 100, 0));
	ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
}

/* Another encapsulation has the carrier, or wants it. */
TEST_F(datagram, other_owner)
{
	int other = udp_socket(variant->family), type = UDP_ENCAP_L2TPINUDP;
	int fd = socket(AF_KTLS, SOCK_DGRAM, 0);

	ASSERT_EQ(0, setsockopt(other, IPPROTO_UDP, UDP_ENCAP, &type, sizeof(type)));
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(fd, other)));
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(fd, self->carrier)));
	close(fd);
	close(other);
}

TEST_F(datagram, refused)
{
	close(self->peer.fd);
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	EXPECT_EQ(-ECONNREFUSED, RESULT(recv(self->fd, payload, 100, 0)));
	self->peer.fd = -1;
}

TEST_HARNESS_MAIN
