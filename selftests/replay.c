// SPDX-License-Identifier: GPL-2.0-only
/* DTLS 1.2 against what loses, repeats, reorders and forges datagrams (rfc6347 4.1.2.6). */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#define NUMBER_MAX	((1ULL << 48) - 1)

static uint8_t payload[DATAGRAM_MAX], record[RECORD_MAX];

DTLS_FIXTURE(replay);

static bool comes(int fd, uint32_t what)
{
	uint32_t got;

	return recv(fd, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == what;
}

static bool nothing_comes(int fd)
{
	return recv(fd, payload, sizeof(payload), MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* A record whose payload is its number, under epoch 1. */
static int send_number(struct peer *peer, uint64_t number)
{
	uint32_t what = number;

	return dgram_send_seq(peer, EPOCH(1) + number, &what, sizeof(what));
}

TEST_F(replay, loss_of_many)
{
	ASSERT_EQ(0, send_number(&self->peer, 0));
	EXPECT_TRUE(comes(self->fd, 0));
	ASSERT_EQ(0, send_number(&self->peer, 10000));
	EXPECT_TRUE(comes(self->fd, 10000));
	ASSERT_EQ(0, send_number(&self->peer, 10001));
	EXPECT_TRUE(comes(self->fd, 10001));
	ASSERT_EQ(0, send_number(&self->peer, 1ULL << 40));
	EXPECT_TRUE(comes(self->fd, 0));
}

TEST_F(replay, reordering)
{
	static const int order[] = { 3, 1, 0, 2, 9, 8, 4, 7, 5, 6 };
	size_t i;

	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		ASSERT_EQ(0, send_number(&self->peer, order[i]));
		EXPECT_TRUE(comes(self->fd, order[i]));
	}
}

TEST_F(replay, repeated)
{
	struct ktls_info info;
	int i;

	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, send_number(&self->peer, i));
		EXPECT_TRUE(comes(self->fd, i));
	}
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, send_number(&self->peer, i));
	EXPECT_TRUE(nothing_comes(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(100, info.rx_replayed);
	EXPECT_EQ(100, info.rx.records);
}

TEST_F(replay, window)
{
	static const int sizes[] = { 64, 65, 1000, 4096 };
	struct ktls_info info;
	uint64_t right = 0;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW, &sizes[i],
					sizeof(sizes[i])));
		right += 20000;
		ASSERT_EQ(0, send_number(&self->peer, right));
		EXPECT_TRUE(comes(self->fd, right));
		ASSERT_EQ(0, send_number(&self->peer, right - sizes[i] + 1));
		EXPECT_TRUE(comes(self->fd, right - sizes[i] + 1));
		ASSERT_EQ(0, send_number(&self->peer, right - sizes[i]));
		EXPECT_TRUE(nothing_comes(self->fd));
		ASSERT_EQ(0, get_info(self->fd, &info));
		EXPECT_EQ(i + 1, info.rx_too_old);
	}
}

TEST_F(replay, window_option)
{
	static const int wrong[] = { -1, 0, 1, 63, 4097, 1 << 20 };
	int size = 0;
	socklen_t len = sizeof(size);
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW,
						     &wrong[i], sizeof(wrong[i]))));
	ASSERT_EQ(0, getsockopt(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW, &size, &len));
	EXPECT_EQ(1024, size);
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW, &size, 2)));
}

/* Forgeries of numbers to come must not use them up. */
TEST_F(replay, forged_first)
{
	struct ktls_info info;
	size_t len;
	int i;

	for (i = 0; i < 200; i++) {
		self->peer.tx.seq = EPOCH(1) + i;
		len = dgram_seal(&self->peer, DATA, &i, sizeof(i), record);
		record[len - 1] ^= 0x80;
		ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	}
	self->peer.tx.seq = EPOCH(1) + 1000000;
	len = dgram_seal(&self->peer, DATA, "ahead", 5, record);
	record[len - 20] ^= 1;
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	EXPECT_TRUE(nothing_comes(self->fd));
	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, send_number(&self->peer, i));
		EXPECT_TRUE(comes(self->fd, i));
	}
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(201, info.rx_bad_tag);
	EXPECT_EQ(0, info.rx_too_old);
	EXPECT_EQ(0, info.flags & KTLS_F_RX_DEAD);
}

TEST_F(replay, malformed)
{
	struct ktls_info info;
	size_t len, i;

	/* Truncated anywhere: whoever comes next is read all the same. */
	len = dgram_seal(&self->peer, DATA, "whole", 5, record);
	for (i = 1; i < len; i++)
		ASSERT_EQ(i, send(self->peer.fd, record, i, 0));
	EXPECT_TRUE(nothing_comes(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(len - 1, info.rx_bad_length);
	/* Another version. */
	record[2] ^= 1;
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	EXPECT_TRUE(nothing_comes(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx_bad_version);
	record[2] ^= 1;
	/* Its type is authenticated too. */
	record[0] = ALERT;
	ASSERT_EQ(len, send(self->peer.fd, record, len, 0));
	EXPECT_TRUE(nothing_comes(self->fd));
	record[0] = DATA;
	/* What trails is dropped alone. */
	memset(record + len, 0xff, 3);
	ASSERT_EQ(len + 3, send(self->peer.fd, record, len + 3, 0));
	EXPECT_EQ(5, recv(self->fd, payload, sizeof(payload), MSG_DONTWAIT));
	EXPECT_TRUE(nothing_comes(self->fd));
	EXPECT_EQ(0, RESULT(send(self->peer.fd, record, 0, 0)));
	EXPECT_TRUE(nothing_comes(self->fd));
}

TEST_F(replay, other_epochs)
{
	struct ktls_info info;
	uint32_t what = 0;

	ASSERT_EQ(0, dgram_send_seq(&self->peer, EPOCH(0) + 5, &what, sizeof(what)));
	ASSERT_EQ(0, dgram_send_seq(&self->peer, EPOCH(3) + 5, &what, sizeof(what)));
	ASSERT_EQ(0, dgram_send_seq(&self->peer, EPOCH(65535) + 5, &what, sizeof(what)));
	EXPECT_TRUE(nothing_comes(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(3, info.rx_bad_epoch);
	ASSERT_EQ(0, send_number(&self->peer, 0));
	EXPECT_TRUE(comes(self->fd, 0));
}

/* Sequence numbers do not wrap: the last one is used, and no other after it. */
TEST_F(replay, end_of_the_numbers)
{
	int fds[2], fd, carrier;
	struct peer peer = { };
	struct keys tx;
	uint8_t type;

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	peer.fd = fds[1];
	carrier = fds[0];
	dtls_keys_make(&peer.tx, variant->cipher, 1);
	dtls_keys_make(&peer.rx, variant->cipher, 2);
	peer.tx.seq = peer.rx.seq = EPOCH(65535) + NUMBER_MAX - 1;
	tx = peer.rx;
	fd = dtls_attach(carrier);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &tx));
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &peer.tx));
	ASSERT_EQ(1, send(fd, "x", 1, 0));
	ASSERT_EQ(1, dgram_recv(&peer, &type, payload));
	ASSERT_EQ(1, send(fd, "x", 1, 0));
	ASSERT_EQ(1, dgram_recv(&peer, &type, payload));
	EXPECT_EQ(EPOCH(65535) + NUMBER_MAX, peer.rx.seq - 1);
	EXPECT_EQ(-EBADMSG, RESULT(send(fd, "x", 1, MSG_NOSIGNAL)));
	ASSERT_EQ(0, dgram_send(&peer, DATA, "a", 1));
	EXPECT_EQ(1, recv(fd, payload, 10, 0));
	peer.tx.seq = EPOCH(65535) + NUMBER_MAX;
	ASSERT_EQ(0, dgram_send(&peer, DATA, "ab", 2));
	EXPECT_EQ(2, recv(fd, payload, 10, 0));
	ASSERT_EQ(0, dgram_send_seq(&peer, EPOCH(65535) + NUMBER_MAX, "ab", 2));
	ASSERT_EQ(0, dgram_send_seq(&peer, EPOCH(65535), "ab", 2));
	ASSERT_EQ(0, dgram_send_seq(&peer, 0, "ab", 2));
	EXPECT_TRUE(nothing_comes(fd));
	close(fd);
	close(carrier);
	close(peer.fd);
}

/* No second record with the last number, whatever completes the open one. */
TEST_F(replay, last_number_of_a_batch)
{
	int fds[2], fd, carrier, i, segment = 100;
	struct peer peer = { };
	uint8_t type;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, udp_pair(variant->family, fds));
		peer.fd = fds[1];
		carrier = fds[0];
		dtls_keys_make(&peer.rx, variant->cipher, 2);
		peer.rx.seq = EPOCH(1) + NUMBER_MAX;
		fd = dtls_attach(dup(carrier));
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, tls_key(fd, TLS_TX, &peer.rx));
		ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment)));
		EXPECT_EQ(100, send(fd, payload, 150, MSG_MORE));
		if (i == 0)
			setsockopt(fd, SOL_KTLS, KTLS_DETACH, NULL, 0);
		if (i == 1)
			shutdown(fd, SHUT_WR);
		close(fd);
		EXPECT_EQ(100, dgram_recv(&peer, &type, payload));
		EXPECT_EQ(-EAGAIN, RESULT(recv(peer.fd, payload, 1, MSG_DONTWAIT)));
		close(carrier);
		close(peer.fd);
	}
}

/* Losses, repetitions and reorderings at random, against a list of what came. */
TEST_F(replay, at_random)
{
	static bool came[4000];
	uint64_t right = 0, number;
	unsigned int seed = 1;
	int i;

	memset(came, 0, sizeof(came));
	for (i = 0; i < 3000; i++) {
		seed = seed * 1103515245 + 12345;
		number = right + (seed >> 16) % 7;
		number = number > 3 ? number - 3 : 0;
		if (number >= 4000)
			break;
		ASSERT_EQ(0, send_number(&self->peer, number));
		EXPECT_EQ(!came[number], comes(self->fd, number));
		came[number] = true;
		right = number > right ? number : right;
	}
}

TEST_HARNESS_MAIN
