// SPDX-License-Identifier: GPL-2.0-only
/* KTLS_DETACH: the carrier goes back at the exact record, or the call refuses. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/wait.h>

static uint8_t payload[PAYLOAD_MAX], record[RECORD_MAX];

FIXTURE(detach) { int fd; struct peer ours; struct peer peer; };
CIPHER_VARIANTS(detach);

/* ours: the carrier, for a program that goes on in userspace. */
FIXTURE_SETUP(detach)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, tls_carrier_and_peer(variant->family, variant->cipher, &self->fd,
					  &self->ours.fd, &self->peer));
	self->ours.tx = self->peer.rx;
	self->ours.rx = self->peer.tx;
}

FIXTURE_TEARDOWN(detach)
{
	close(self->fd);
	peer_close(&self->ours);
	peer_close(&self->peer);
}

static int detach(int fd)
{
	return RESULT(setsockopt(fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
}

/* The counters that the kernel has come to. */
static int take_counters(int fd, struct peer *ours)
{
	union crypto_info info;
	socklen_t len = keys_info(&ours->tx, &info);

	if (getsockopt(fd, SOL_TLS, TLS_TX, &info, &len))
		return -1;
	keys_from_info(&ours->tx, &info);
	if (getsockopt(fd, SOL_TLS, TLS_RX, &info, &len))
		return -1;
	keys_from_info(&ours->rx, &info);
	return 0;
}

static void expect_talk(struct __test_metadata *_metadata, struct peer *from, struct peer *to)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(from, DATA, "talk", 4));
	ASSERT_EQ(4, peer_recv(to, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "talk", 4));
}

TEST_F(detach, goes_on_in_userspace)
{
	uint8_t type;
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(3, send(self->fd, "abc", 3, 0));
		ASSERT_EQ(3, peer_recv(&self->peer, &type, payload));
	}
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "def", 3));
	ASSERT_EQ(3, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, take_counters(self->fd, &self->ours));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(5, self->ours.tx.seq);
	EXPECT_EQ(1, self->ours.rx.seq);
	expect_talk(_metadata, &self->ours, &self->peer);
	expect_talk(_metadata, &self->peer, &self->ours);
}

/* What nobody was given is still the carrier's, whole records and a part of one. */
TEST_F(detach, next_undelivered_record)
{
	uint8_t type;
	size_t len;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "read", 4));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "first", 5));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "second", 6));
	len = record_seal(&self->peer.tx, DATA, "third", 5, record);
	ASSERT_EQ(0, send_all(self->peer.fd, record, 11));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	ASSERT_EQ(4, recv(self->fd, payload, 4, 0));
	ASSERT_EQ(0, take_counters(self->fd, &self->ours));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(5, peer_recv(&self->ours, &type, payload));
	EXPECT_EQ(6, peer_recv(&self->ours, &type, payload));
	EXPECT_EQ(HANDSHAKE, type);
	ASSERT_EQ(0, send_all(self->peer.fd, record + 11, len - 11));
	ASSERT_EQ(5, peer_recv(&self->ours, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "third", 5));
}

TEST_F(detach, record_half_read)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(2, recv(self->fd, payload, 2, 0));
	EXPECT_EQ(-EBUSY, detach(self->fd));
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(2, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "ta", 2));
	EXPECT_EQ(0, detach(self->fd));
}

/* Opened, shown and not taken. */
TEST_F(detach, record_peeked)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(4, recv(self->fd, payload, 4, MSG_PEEK));
	EXPECT_EQ(-EBUSY, detach(self->fd));
	ASSERT_EQ(4, recv(self->fd, payload, 4, 0));
	EXPECT_EQ(0, detach(self->fd));
}

TEST_F(detach, control_records_waiting)
{
	int queue = KTLS_CONTROL_QUEUE;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_CONTROL, &queue, sizeof(queue)));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(-EBUSY, detach(self->fd));
	ASSERT_EQ(4, recv_type(self->fd, payload, 100, MSG_ERRQUEUE, &type));
	EXPECT_EQ(0, detach(self->fd));
}

TEST_F(detach, open_record_is_completed)
{
	uint8_t type;

	ASSERT_EQ(4, send(self->fd, "open", 4, MSG_MORE));
	ASSERT_EQ(0, detach(self->fd));
	ASSERT_EQ(4, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "open", 4));
	self->ours.tx = self->peer.rx;
	expect_talk(_metadata, &self->ours, &self->peer);
}

TEST_F(detach, without_carrier)
{
	int fresh = socket(AF_KTLS, SOCK_STREAM, 0);

	EXPECT_EQ(-ENOTCONN, detach(fresh));
	close(fresh);
	EXPECT_EQ(0, detach(self->fd));
	EXPECT_EQ(-ENOTCONN, detach(self->fd));
}

TEST_F(detach, before_keys)
{
	int fds[2], fd, carrier;

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	carrier = dup(fds[0]);
	fd = tls_attach(fds[0]);
	ASSERT_EQ(0, detach(fd));
	ASSERT_EQ(4, send(carrier, "data", 4, 0));
	ASSERT_EQ(4, send(fds[1], "back", 4, 0));
	EXPECT_EQ(4, recv(fds[1], payload, 100, 0));
	EXPECT_EQ(4, recv(carrier, payload, 100, 0));
}

/* The socket is as it was created. */
TEST_F(detach, leaves_a_fresh_socket)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct ktls_info info;

	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(-ENOTCONN, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(-ENOTCONN, RESULT(recv(self->fd, payload, 1, 0)));
	EXPECT_EQ(-ENOTCONN, RESULT(shutdown(self->fd, SHUT_WR)));
	EXPECT_EQ(-ENOTCONN, RESULT(getsockname(self->fd, (void *)&name, &len)));
	EXPECT_EQ(-ENOTCONN, RESULT(tls_key(self->fd, TLS_TX, &self->ours.tx)));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN | POLLOUT | POLLPRI));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(0, info.tx.version);
}

TEST_F(detach, and_attach_again)
{
	uint8_t type;
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(4, send(self->fd, "data", 4, 0));
		ASSERT_EQ(4, peer_recv(&self->peer, &type, payload));
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
		ASSERT_EQ(4, recv(self->fd, payload, 100, 0));
		ASSERT_EQ(0, take_counters(self->fd, &self->ours));
		ASSERT_EQ(0, detach(self->fd));
		expect_talk(_metadata, &self->ours, &self->peer);
		expect_talk(_metadata, &self->peer, &self->ours);
		ASSERT_EQ(0, tls_bind(self->fd, self->ours.fd));
		EXPECT_EQ(-ENOKEY, RESULT(send(self->fd, "x", 1, 0)));
		ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->ours.tx));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->ours.rx));
	}
}

/* What another connection left behind means nothing to the next. */
TEST_F(detach, and_attach_another)
{
	struct peer peer;
	uint8_t type;
	int fds[2];

	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(0, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, recv_type(self->fd, payload, 100, 0, &type));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_EQ(0, detach(self->fd));
	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	ASSERT_EQ(0, tls_bind(self->fd, fds[0]));
	peer = (struct peer){ .fd = fds[1] };
	keys_make(&peer.tx, variant->cipher, 3);
	keys_make(&peer.rx, variant->cipher, 4);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &peer.tx));
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(4, peer_recv(&peer, &type, payload));
	ASSERT_EQ(0, peer_send(&peer, DATA, "back", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	peer_close(&peer);
	close(fds[0]);
}

/* A plain reader has seen the end, and the close_notify that was it with it. */
TEST_F(detach, after_the_end_of_file)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(4, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, detach(self->fd));
	ASSERT_EQ(3, send(self->peer.fd, "raw", 3, 0));
	EXPECT_EQ(3, recv(self->ours.fd, payload, 100, 0));
}

/* The numbers of KTLS_INFO are those of one carrier. */
TEST_F(detach, counts_begin_anew)
{
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(4, peer_recv(&self->peer, &type, payload));
	ASSERT_EQ(2, send_type(self->fd, HANDSHAKE, "hs", 2, 0));
	ASSERT_EQ(2, peer_recv(&self->peer, &type, payload));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "hs", 2));
	ASSERT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff", 5));
	ASSERT_EQ(-EMSGSIZE, RESULT(recv(self->fd, payload, 100, 0)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(2, info.tx.records);
	EXPECT_EQ(1, info.tx.control_records);
	EXPECT_EQ(1, info.rx_bad_length);
	ASSERT_EQ(0, take_counters(self->fd, &self->ours));
	ASSERT_EQ(0, detach(self->fd));
	ASSERT_EQ(5, recv(self->ours.fd, payload, 100, 0));
	ASSERT_EQ(0, tls_bind(self->fd, self->ours.fd));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->ours.tx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->ours.rx));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(KTLS_F_BOUND | KTLS_F_TX | KTLS_F_RX, info.flags);
	EXPECT_EQ(0, info.tx.records + info.tx.bytes + info.tx.control_records + info.tx.rekeys);
	EXPECT_EQ(0, info.rx.records + info.rx.bytes + info.rx.control_records + info.rx.rekeys);
	EXPECT_EQ(0, info.rx_bad_length + info.tx_queued + info.rx_queued);
	ASSERT_EQ(3, send(self->fd, "one", 3, 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "three", 5));
	ASSERT_EQ(5, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.tx.records);
	EXPECT_EQ(3, info.tx.bytes);
	EXPECT_EQ(1, info.rx.records);
	EXPECT_EQ(5, info.rx.bytes);
}

/* A direction that a bad record ended has nothing to complete. */
TEST_F(detach, dead_direction)
{
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff", 5));
	ASSERT_EQ(-EMSGSIZE, RESULT(recv(self->fd, payload, 100, 0)));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(5, recv(self->ours.fd, payload, 100, 0));
	EXPECT_EQ(4, send(self->ours.fd, "data", 4, 0));
}

TEST_F(detach, reset_carrier)
{
	abort_connection(&self->peer.fd);
	ASSERT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_EQ(0, detach(self->fd));
}

/* Nobody else holds the carrier: the connection ends. */
TEST_F(detach, closed_descriptor)
{
	close(self->ours.fd);
	self->ours.fd = -1;
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(detach, wakes_a_reader)
{
	int fd = self->fd;

	WHEN_ASLEEP(detach(fd));
	EXPECT_EQ(-ENOTCONN, RESULT(recv(self->fd, payload, 100, 0)));
}

/* Who waits for data of one connection does not get those of the next. */
TEST_F(detach, and_attach_beneath_a_reader)
{
	int fd = self->fd, fds[2];
	struct peer peer;

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	peer = (struct peer){ .fd = fds[1] };
	keys_make(&peer.tx, variant->cipher, 3);
	keys_make(&peer.rx, variant->cipher, 4);
	ASSERT_EQ(0, peer_send(&peer, DATA, "next", 4));
	peer.tx.seq--;
	WHEN_ASLEEP(detach(fd); tls_bind(fd, fds[0]); tls_key(fd, TLS_RX, &peer.tx));
	EXPECT_EQ(-ENOTCONN, RESULT(recv(self->fd, payload, 100, 0)));
	wait(NULL);
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	peer_close(&peer);
	close(fds[0]);
}

/* What arrived before and what arrives later both wake a poller of the carrier. */
TEST_F(detach, carrier_wakes_its_own)
{
	int peer = self->peer.fd, low = 5;

	EXPECT_EQ(0, poll_now(self->ours.fd, POLLIN));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(POLLOUT, poll_now(self->ours.fd, POLLIN | POLLOUT));
	WHEN_ASLEEP(send_all(peer, "raw", 3));
	EXPECT_EQ(POLLIN, poll_wait(self->ours.fd, POLLIN));
	ASSERT_EQ(3, recv(self->ours.fd, payload, 100, 0));
	ASSERT_EQ(0, setsockopt(self->ours.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	ASSERT_EQ(0, send_all(peer, "raw", 3));
	ASSERT_EQ(0, wait_delivered(peer));
	EXPECT_EQ(0, poll_now(self->ours.fd, POLLIN));
}

/* The carrier's own settings are what they were. */
TEST_F(detach, low_water_mark_of_the_carrier)
{
	int fds[2], fd, carrier, low = 7, got = 0;
	socklen_t len = sizeof(got);

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	ASSERT_EQ(0, setsockopt(fds[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	carrier = dup(fds[0]);
	fd = tls_attach(fds[0]);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &self->ours.rx));
	ASSERT_EQ(0, detach(fd));
	ASSERT_EQ(0, getsockopt(carrier, SOL_SOCKET, SO_RCVLOWAT, &got, &len));
	EXPECT_EQ(7, got);
}

TEST_F(detach, frees_the_carrier_for_others)
{
	struct sockaddr_storage unspec = { .ss_family = AF_UNSPEC };
	int other = socket(AF_KTLS, SOCK_STREAM, 0);

	EXPECT_EQ(-EBUSY, RESULT(tls_bind(other, self->ours.fd)));
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(0, tls_bind(other, self->ours.fd));
	close(other);
	EXPECT_EQ(0, connect(self->ours.fd, (void *)&unspec, sizeof(unspec)));
}

TEST_HARNESS_MAIN
