// SPDX-License-Identifier: GPL-2.0-only
/* Sequence numbers and explicit nonces: each used once, and then none. */
#include "kselftest_harness.h"
#include "ktls_test.h"

FIXTURE(seq) { int fd; struct peer peer; };
CIPHER_VARIANTS(seq);

static uint8_t payload[PAYLOAD_MAX], data[300000];

FIXTURE_SETUP(seq)
{
	ASSERT_EQ(0, tls_bound_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
}

FIXTURE_TEARDOWN(seq)
{
	close(self->fd);
	peer_close(&self->peer);
}

static void set_keys(struct __test_metadata *_metadata, int fd, struct peer *peer, uint64_t seq)
{
	peer->rx.seq = seq;
	peer->tx.seq = seq;
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &peer->rx));
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &peer->tx));
}

TEST_F(seq, starts_anywhere)
{
	uint8_t type;
	int i;

	set_keys(_metadata, self->fd, &self->peer, 0xfffffffffff0);
	for (i = 0; i < 40; i++) {
		ASSERT_EQ(1, send(self->fd, "x", 1, 0));
		ASSERT_EQ(1, peer_recv(&self->peer, &type, payload));
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "y", 1));
		ASSERT_EQ(1, recv(self->fd, payload, 10, 0));
	}
}

/* The last number is used, and no other after it. */
TEST_F(seq, last_sent)
{
	struct ktls_info info;
	uint8_t type;
	int i;

	ONLY_KTLS();
	set_keys(_metadata, self->fd, &self->peer, UINT64_MAX - 1);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(4, send(self->fd, "last", 4, MSG_NOSIGNAL));
		ASSERT_EQ(4, peer_recv(&self->peer, &type, payload));
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EBADMSG, RESULT(send(self->fd, "more", 4, MSG_NOSIGNAL)));
	EXPECT_EQ(-EBADMSG, RESULT(send_type(self->fd, ALERT, "\1\0", 2, MSG_NOSIGNAL)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_TX_DEAD);
	/* ChaCha20 has as many as there are numbers. */
	EXPECT_EQ((variant->cipher & ~TLS13) == TLS_CIPHER_CHACHA20_POLY1305 ? UINT64_MAX : 0,
		  info.tx_left);
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

TEST_F(seq, last_sent_in_one_call)
{
	uint8_t type;

	ONLY_KTLS();
	set_keys(_metadata, self->fd, &self->peer, UINT64_MAX - 1);
	fill(data, 50000, 0);
	EXPECT_EQ(32768, send(self->fd, data, 50000, MSG_NOSIGNAL));
	EXPECT_EQ(-EBADMSG, RESULT(send(self->fd, data, 50000, MSG_NOSIGNAL)));
	EXPECT_EQ(16384, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(16384, peer_recv(&self->peer, &type, payload));
	EXPECT_TRUE(filled(payload, 16384, 16384));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
}

/* Nothing is left to seal a close_notify with; the end is TCP's alone. */
TEST_F(seq, shutdown_after_last)
{
	uint8_t type;

	ONLY_KTLS();
	set_keys(_metadata, self->fd, &self->peer, UINT64_MAX);
	ASSERT_EQ(4, send(self->fd, "last", 4, MSG_NOSIGNAL));
	shutdown(self->fd, SHUT_WR);
	EXPECT_EQ(4, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(seq, last_received)
{
	ONLY_KTLS();
	set_keys(_metadata, self->fd, &self->peer, UINT64_MAX - 1);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "wraps", 5));
	EXPECT_EQ(6, recv(self->fd, payload, 6, MSG_WAITALL));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, 10, 0)));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, 10, 0)));
	EXPECT_EQ(4, send(self->fd, "sent", 4, MSG_NOSIGNAL));
}

static bool has_explicit_nonce(uint16_t cipher)
{
	return !(cipher & TLS13) && cipher != TLS_CIPHER_CHACHA20_POLY1305;
}

static uint64_t explicit_nonce(const uint8_t *record)
{
	uint64_t n = 0;
	int i;

	for (i = 5; i < 13; i++)
		n = n << 8 | record[i];
	return n;
}

/* Full carrier, partial sends: the numbers go up by one, whatever happened to a call. */
TEST_F(seq, nonces_never_repeat)
{
	uint8_t record[RECORD_MAX], type;
	size_t total = 0, offset = 0;
	uint64_t last = 0;
	ssize_t n;
	int i;

	set_keys(_metadata, self->fd, &self->peer, 0);
	for (i = 0; i < 100; i++) {
		fill(data, 70000, total);
		n = send(self->fd, data, 70000, MSG_DONTWAIT);
		total += n > 0 ? n : 0;
		if (n == 70000 && i < 99)
			continue;
		while (offset < total) {
			n = peer_recv_raw(&self->peer, record);
			ASSERT_LT(0, n);
			if (offset && has_explicit_nonce(variant->cipher))
				ASSERT_EQ(last + 1, explicit_nonce(record));
			last = explicit_nonce(record);
			n = record_open(&self->peer.rx, record, n, &type, payload);
			ASSERT_LT(0, n);
			ASSERT_TRUE(filled(payload, n, offset));
			offset += n;
		}
	}
	EXPECT_EQ(total, offset);
}

/* The salt is the key's, the rest whatever the record says. */
TEST_F(seq, any_explicit_nonce)
{
	int i;

	set_keys(_metadata, self->fd, &self->peer, 5);
	for (i = 0; i < 20; i++) {
		if (has_explicit_nonce(variant->cipher))
			fill(self->peer.tx.nonce + 4, 8, i * 1000);
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "x", 1));
		ASSERT_EQ(1, recv(self->fd, payload, 10, 0));
	}
}

TEST_HARNESS_MAIN
