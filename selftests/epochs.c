// SPDX-License-Identifier: GPL-2.0-only
/* DTLS 1.2 from one epoch to the next: keys after a ChangeCipherSpec (rfc6347 4.1). */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <time.h>

static uint8_t payload[DATAGRAM_MAX];

DTLS_FIXTURE(epochs);

/* Keys of another epoch, which @peer uses from now on in the direction of @keys. */
static void next_keys(struct keys *keys, uint16_t cipher, int epoch)
{
	dtls_keys_make(keys, cipher, 10 + epoch);
	keys->seq = EPOCH(epoch);
}

static bool comes(int fd, const char *text)
{
	return poll_now(fd, POLLIN) == POLLIN &&
	       recv(fd, payload, sizeof(payload), MSG_DONTWAIT) == (ssize_t)strlen(text) &&
	       !memcmp(payload, text, strlen(text));
}

static int send_text(struct peer *peer, const char *text)
{
	return dgram_send(peer, DATA, text, strlen(text));
}

/* The peer's ChangeCipherSpec is the last that was delivered. */
static bool change(struct peer *peer, int fd)
{
	uint8_t type;

	return !dgram_send(peer, CCS, "\1", 1) &&
	       recv_type(fd, payload, 10, 0, &type) == 1 && type == CCS;
}

/* The peer goes on with new keys; those from before are in @old. */
static int change_rx(struct peer *peer, int fd, uint16_t cipher, struct peer *old)
{
	*old = *peer;
	next_keys(&peer->tx, cipher, 2);
	return tls_key(fd, TLS_RX, &peer->tx);
}

TEST_F(epochs, sending)
{
	struct keys next;
	uint8_t type;

	next_keys(&next, variant->cipher, 2);
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_TX, &next)));
	ASSERT_EQ(1, send_type(self->fd, CCS, "\1", 1, 0));
	next.seq = EPOCH(1) + 100;
	EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_TX, &next)));
	next.seq = 0;
	EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_TX, &next)));
	/* A key that was refused changes nothing. */
	ASSERT_EQ(3, send(self->fd, "old", 3, 0));
	ASSERT_EQ(1, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(CCS, type);
	ASSERT_EQ(3, dgram_recv(&self->peer, &type, payload));

	next.seq = EPOCH(2);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &next));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_TX, &next)));
	self->peer.rx = next;
	ASSERT_EQ(3, send(self->fd, "new", 3, 0));
	ASSERT_EQ(3, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(EPOCH(2) + 1, self->peer.rx.seq);
}

TEST_F(epochs, receiving)
{
	struct peer old, early;
	struct ktls_info info;

	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &self->peer.tx)));
	early = self->peer;
	next_keys(&early.tx, variant->cipher, 2);
	ASSERT_EQ(0, send_text(&early, "too early"));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_TRUE(change(&self->peer, self->fd));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, send_text(&early, "early"));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	/* What reordering brings late is the reader's all the same. */
	ASSERT_EQ(0, send_text(&self->peer, "late"));
	EXPECT_TRUE(comes(self->fd, "late"));
	EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_RX, &self->peer.tx)));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));

	ASSERT_EQ(0, change_rx(&self->peer, self->fd, variant->cipher, &old));
	EXPECT_TRUE(comes(self->fd, "too early"));
	EXPECT_TRUE(comes(self->fd, "early"));
	self->peer.tx.seq = early.tx.seq;
	ASSERT_EQ(0, send_text(&self->peer, "in time"));
	EXPECT_TRUE(comes(self->fd, "in time"));
	ASSERT_EQ(0, send_text(&old, "very late"));
	EXPECT_TRUE(comes(self->fd, "very late"));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx.rekeys);
	EXPECT_EQ(0, info.rx_bad_tag + info.rx_bad_epoch + info.rx_overflows);
}

/* The peer repeats its flight: its ChangeCipherSpec comes again, with another number. */
TEST_F(epochs, repeated_flight)
{
	struct peer old;

	ASSERT_TRUE(change(&self->peer, self->fd));
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, variant->cipher, &old));
	ASSERT_TRUE(change(&old, self->fd));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	next_keys(&old.tx, variant->cipher, 3);
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &old.tx)));
	ASSERT_EQ(0, send_text(&self->peer, "goes on"));
	EXPECT_TRUE(comes(self->fd, "goes on"));
}

/* The next handshake is over before a reader has seen what the first one left. */
TEST_F(epochs, two_changes)
{
	struct peer first = self->peer, old;

	ASSERT_TRUE(change(&self->peer, self->fd));
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, variant->cipher, &old));
	ASSERT_TRUE(change(&self->peer, self->fd));
	next_keys(&self->peer.tx, variant->cipher, 3);
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	first.tx.seq = old.tx.seq;
	ASSERT_EQ(0, send_text(&first, "two epochs late"));
	ASSERT_EQ(0, send_text(&self->peer, "now"));
	EXPECT_TRUE(comes(self->fd, "now"));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
}

/* A batch that is longer than the numbers that are left. */
TEST_F(epochs, last_number_in_a_batch)
{
	int segment = 2, fds[2], fd, carrier;
	struct peer peer;
	uint8_t type;

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	carrier = fds[0];
	peer.fd = fds[1];
	next_keys(&peer.rx, variant->cipher, 1);
	peer.rx.seq = EPOCH(2) - 2;
	fd = dtls_attach(carrier);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &peer.rx));
	ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment)));
	EXPECT_EQ(4, send(fd, "abcdefgh", 8, 0));
	EXPECT_EQ(-EBADMSG, RESULT(send(fd, "efgh", 4, MSG_NOSIGNAL)));
	EXPECT_EQ(2, dgram_recv(&peer, &type, payload));
	EXPECT_EQ(2, dgram_recv(&peer, &type, payload));
	EXPECT_EQ(-EAGAIN, RESULT(recv(peer.fd, payload, 100, MSG_DONTWAIT)));
	close(fd);
	close(carrier);
	close(peer.fd);
}

/* The last number of an epoch is no number of the next. */
TEST_F(epochs, after_the_last_number)
{
	uint64_t last = (1ULL << 48) - 1;
	struct ktls_info info;
	struct peer old;
	uint8_t seq[8];
	int fds[2], fd, carrier;
	struct peer peer;

	self->peer.tx.seq = EPOCH(1) + last;
	ASSERT_TRUE(change(&self->peer, self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(0, memcmp(info.rx.rec_seq, "\0\1\377\377\377\377\377\377", 8));
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, variant->cipher, &old));
	ASSERT_EQ(0, send_text(&self->peer, "new"));
	EXPECT_TRUE(comes(self->fd, "new"));

	ASSERT_EQ(0, udp_pair(variant->family, fds));
	carrier = fds[0];
	peer.fd = fds[1];
	next_keys(&peer.rx, variant->cipher, 65535);
	peer.rx.seq += last;
	fd = dtls_attach(carrier);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &peer.rx));
	ASSERT_EQ(1, send_type(fd, CCS, "\1", 1, 0));
	ASSERT_EQ(0, get_info(fd, &info));
	memset(seq, 0xff, sizeof(seq));
	EXPECT_EQ(0, memcmp(info.tx.rec_seq, seq, sizeof(seq)));
	next_keys(&peer.rx, variant->cipher, 1);
	EXPECT_EQ(-EINVAL, RESULT(tls_key(fd, TLS_TX, &peer.rx)));
	close(fd);
	close(carrier);
	close(peer.fd);
}

TEST_F(epochs, another_cipher)
{
	uint16_t cipher = variant->cipher == TLS_CIPHER_CHACHA20_POLY1305 ?
			  TLS_CIPHER_AES_GCM_256 : TLS_CIPHER_CHACHA20_POLY1305;
	struct peer old;

	ASSERT_TRUE(change(&self->peer, self->fd));
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, cipher, &old));
	ASSERT_EQ(0, send_text(&self->peer, "new"));
	EXPECT_TRUE(comes(self->fd, "new"));
	ASSERT_EQ(0, send_text(&old, "old"));
	EXPECT_TRUE(comes(self->fd, "old"));
}

/* More early records than are held: the newest are. */
TEST_F(epochs, many_early)
{
	struct peer early = self->peer, old;
	struct ktls_info info;
	int i, got;

	ASSERT_TRUE(change(&self->peer, self->fd));
	next_keys(&early.tx, variant->cipher, 2);
	for (i = 0; i < KTLS_PREPEND_DATAGRAMS + 6; i++)
		ASSERT_EQ(0, dgram_send(&early, DATA, &i, sizeof(i)));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(6, info.rx_overflows);
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, variant->cipher, &old));
	for (i = 6; i < KTLS_PREPEND_DATAGRAMS + 6; i++) {
		ASSERT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), MSG_DONTWAIT));
		ASSERT_EQ(i, got);
	}
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
}

/* Forgeries of the next epoch can be told apart by nobody yet. They keep no memory from others. */
TEST_F(epochs, forged_early)
{
	static uint8_t big[60000] = { DATA, 0xfe, 0xfd, 0, 2, [11] = 0x40, [12] = 0 };
	int i;

	for (i = 0; i < 100; i++) {
		ASSERT_EQ(sizeof(big), send(self->peer.fd, big, sizeof(big), 0));
		ASSERT_EQ(0, send_text(&self->peer, "goes on"));
		ASSERT_TRUE(comes(self->fd, "goes on"));
	}
	EXPECT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
}

/* @n records of epoch 2 that nobody sealed, each with so many bytes behind its header. */
static size_t forge_early(uint8_t *out, int n, int len)
{
	uint8_t header[] = { DATA, 0xfe, 0xfd, 0, 2, [12] = len };
	size_t done = 0;

	memset(out, 0, n * (sizeof(header) + len));
	for (; n; n--, done += sizeof(header) + len) {
		header[10] = n;
		memcpy(out + done, header, sizeof(header));
	}
	return done;
}

/* The record that comes behind @strays others of one datagram. */
static bool comes_behind(struct peer *peer, int fd, const uint8_t *strays, size_t len)
{
	static uint8_t datagram[DATAGRAM_MAX];
	size_t all = len;

	memcpy(datagram, strays, len);
	all += dgram_seal(peer, DATA, "behind", 6, datagram + len);
	return send(peer->fd, datagram, all, 0) == (ssize_t)all && comes(fd, "behind");
}

/* A datagram full of records that are for nobody costs no more than a few of them. */
TEST_F(epochs, strays)
{
	static uint8_t strays[DATAGRAM_MAX];
	uint8_t once[RECORD_MAX];
	struct ktls_info info;
	ssize_t len;
	int i;

	/* Less than any cipher needs. */
	len = forge_early(strays, 4000, 0);
	EXPECT_FALSE(comes_behind(&self->peer, self->fd, strays, len));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx_bad_length);
	EXPECT_EQ(0, info.rx_overflows);

	len = forge_early(strays, 15, 40);
	EXPECT_TRUE(comes_behind(&self->peer, self->fd, strays, len));
	len = forge_early(strays, 100, 40);
	EXPECT_FALSE(comes_behind(&self->peer, self->fd, strays, len));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(2, info.rx_bad_length);

	len = dgram_seal(&self->peer, DATA, "once", 4, once);
	for (i = 0; i < 100; i++)
		memcpy(strays + i * len, once, len);
	EXPECT_FALSE(comes_behind(&self->peer, self->fd, strays, 100 * len));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(16, info.rx_replayed);
	EXPECT_EQ(3, info.rx_bad_length);
	EXPECT_TRUE(comes_behind(&self->peer, self->fd, strays, 0));
}

TEST_F(epochs, detach_leaves_nothing)
{
	ASSERT_EQ(0, send_text(&self->peer, "unread"));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	EXPECT_TRUE(comes(self->fd, "unread"));
	ASSERT_EQ(4, send(self->peer.fd, "\27\376\375\0", 4, 0));
	EXPECT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
}

FIXTURE(previous) { int fd; int carrier; struct peer peer; };

FIXTURE_SETUP(previous)
{
	int fds[2];

	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_GCM_128, &self->fd, &self->carrier,
			       &self->peer));
}

FIXTURE_TEARDOWN(previous)
{
	close(self->fd);
	close(self->carrier);
	close(self->peer.fd);
}

/* rfc6347 4.1: kept for as long as its datagrams may be on their way, no longer. */
TEST_F_TIMEOUT(previous, ends, 100)
{
	struct timespec begin, now;
	struct peer old;
	int n = 0;

	ASSERT_TRUE(change(&self->peer, self->fd));
	ASSERT_EQ(0, change_rx(&self->peer, self->fd, TLS_CIPHER_AES_GCM_128, &old));
	time_limit(self->fd, 1);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		ASSERT_EQ(0, send_text(&old, "late"));
		if (recv(self->fd, payload, sizeof(payload), 0) != 4)
			break;
		/* A second passes. */
		ASSERT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, 0)));
	} while (++n < 100);
	clock_gettime(CLOCK_MONOTONIC, &now);
	EXPECT_LE(55, now.tv_sec - begin.tv_sec);
	EXPECT_GE(70, now.tv_sec - begin.tv_sec);
}

TEST_HARNESS_MAIN
