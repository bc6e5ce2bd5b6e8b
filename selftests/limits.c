// SPDX-License-Identifier: GPL-2.0-only
/* When a key has protected nearly as many records as it should the program is told; nothing ends. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/wait.h>

#define GCM_RECORDS	23726566	/* rfc8446 5.5: 2^24.5 */
#define CCM_RECORDS	(1 << 23)	/* rfc9147 4.5.3 */
#define BEFORE		3		/* where the tests begin: so many before an eighth is left */

static uint8_t payload[DATAGRAM_MAX];

FIXTURE(limits) { int fd; struct peer peer; };
FIXTURE_VARIANT(limits) { uint16_t cipher; bool datagram; uint64_t limit; };
FIXTURE_VARIANT_ADD(limits, gcm_128)
	{ .cipher = TLS_CIPHER_AES_GCM_128, .limit = GCM_RECORDS };
FIXTURE_VARIANT_ADD(limits, gcm_256)
	{ .cipher = TLS_CIPHER_AES_GCM_256, .limit = GCM_RECORDS };
FIXTURE_VARIANT_ADD(limits, ccm)
	{ .cipher = TLS_CIPHER_AES_CCM_128, .limit = CCM_RECORDS };
FIXTURE_VARIANT_ADD(limits, gcm_128_datagrams)
	{ .cipher = TLS_CIPHER_AES_GCM_128, .datagram = true, .limit = GCM_RECORDS };
FIXTURE_VARIANT_ADD(limits, ccm_datagrams)
	{ .cipher = TLS_CIPHER_AES_CCM_128, .datagram = true, .limit = CCM_RECORDS };
/* The sequence numbers end before. */
FIXTURE_VARIANT_ADD(limits, chacha20)
	{ .cipher = TLS_CIPHER_CHACHA20_POLY1305 };
FIXTURE_VARIANT_ADD(limits, chacha20_datagrams)
	{ .cipher = TLS_CIPHER_CHACHA20_POLY1305, .datagram = true };

static void begin_at(struct keys *keys, uint64_t used)
{
	keys->seq += used;
}

FIXTURE_SETUP(limits)
{
	struct peer *peer = &self->peer;
	uint64_t limit = variant->limit ?: GCM_RECORDS, used = limit - limit / 8 - BEFORE;
	int fds[2];

	if (variant->datagram) {
		ASSERT_EQ(0, udp_pair(AF_INET, fds));
		dtls_keys_make(&peer->tx, variant->cipher, 1);
		dtls_keys_make(&peer->rx, variant->cipher, 2);
		self->fd = dtls_attach(fds[0]);
	} else {
		ASSERT_EQ(0, tcp_pair(AF_INET, fds));
		keys_make(&peer->tx, variant->cipher, 1);
		keys_make(&peer->rx, variant->cipher, 2);
		self->fd = tls_attach(fds[0]);
	}
	ASSERT_LE(0, self->fd);
	peer->fd = fds[1];
	begin_at(&peer->tx, used);
	begin_at(&peer->rx, used);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &peer->rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &peer->tx));
}

FIXTURE_TEARDOWN(limits)
{
	close(self->fd);
	close(self->peer.fd);
}

static bool has_news(int fd)
{
	return poll_now(fd, POLLPRI) == POLLPRI;
}

static ssize_t take(struct peer *peer)
{
	uint8_t type;

	return peer->rx.dtls ? dgram_recv(peer, &type, payload) : peer_recv(peer, &type, payload);
}

static int give(struct peer *peer)
{
	return peer->tx.dtls ? dgram_send(peer, DATA, "in", 2) : peer_send(peer, DATA, "in", 2);
}

TEST_F(limits, sending)
{
	long before = proc_counter("/proc/net/ktls_stat", "KtlsTxLimit");
	uint64_t left = variant->limit / 8 + BEFORE;
	struct ktls_info info;
	int i;

	ONLY_KTLS();
	for (i = 1; i <= BEFORE; i++) {
		EXPECT_FALSE(has_news(self->fd));
		ASSERT_EQ(3, send(self->fd, "out", 3, 0));
		ASSERT_EQ(3, take(&self->peer));
		if (i == BEFORE)
			EXPECT_EQ(!!variant->limit, has_news(self->fd));
		ASSERT_EQ(0, get_info(self->fd, &info));
		EXPECT_EQ(variant->limit ? left - i : UINT64_MAX, info.tx_left);
		EXPECT_EQ(variant->limit && i == BEFORE, !!(info.flags & KTLS_F_TX_LIMIT));
	}
	/* Who has asked knows; it goes on. */
	EXPECT_FALSE(has_news(self->fd));
	EXPECT_EQ(before + !!variant->limit, proc_counter("/proc/net/ktls_stat", "KtlsTxLimit"));
	ASSERT_EQ(3, send(self->fd, "out", 3, 0));
	ASSERT_EQ(3, take(&self->peer));
	EXPECT_FALSE(has_news(self->fd));
	EXPECT_EQ(variant->limit ? left : UINT64_MAX, info.rx_left);
}

TEST_F(limits, receiving)
{
	long before = proc_counter("/proc/net/ktls_stat", "KtlsRxLimit");
	struct ktls_info info;
	int i;

	ONLY_KTLS();
	for (i = 1; i <= BEFORE; i++) {
		ASSERT_EQ(0, give(&self->peer));
		ASSERT_EQ(2, recv(self->fd, payload, 10, 0));
	}
	EXPECT_EQ(!!variant->limit, has_news(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(variant->limit ? variant->limit / 8 : UINT64_MAX, info.rx_left);
	EXPECT_EQ(!!variant->limit, !!(info.flags & KTLS_F_RX_LIMIT));
	EXPECT_FALSE(has_news(self->fd));
	EXPECT_EQ(before + !!variant->limit, proc_counter("/proc/net/ktls_stat", "KtlsRxLimit"));
	ASSERT_EQ(0, give(&self->peer));
	ASSERT_EQ(2, recv(self->fd, payload, 10, 0));
}

/* Another key begins anew. */
TEST_F(limits, another_key)
{
	struct keys *keys = &self->peer.rx;
	struct ktls_info info;
	int i;

	ONLY_KTLS();
	for (i = 0; i < BEFORE; i++)
		ASSERT_EQ(3, send(self->fd, "out", 3, 0));
	ASSERT_EQ(!!variant->limit, has_news(self->fd));
	ASSERT_EQ(1, send_type(self->fd, CCS, "\1", 1, 0));
	keys->seq = keys->dtls ? EPOCH(2) : 0;
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, keys));
	EXPECT_FALSE(has_news(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(variant->limit ?: UINT64_MAX, info.tx_left);
	EXPECT_EQ(0, info.flags & KTLS_F_TX_LIMIT);
}

/* A waiting poll hears of it. */
TEST_F(limits, wakes)
{
	ONLY_KTLS();
	ASSERT_EQ(3, send(self->fd, "out", 3, 0));
	ASSERT_EQ(3, send(self->fd, "out", 3, 0));
	WHEN_ASLEEP(send(self->fd, "out", 3, 0));
	if (variant->limit) {
		EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI));
	} else {
		wait(NULL);
		EXPECT_FALSE(has_news(self->fd));
	}
}

/* A program that does not know of limits is not told, and whoever does still is. */
TEST_F(limits, older_program)
{
	socklen_t len = offsetof(struct ktls_info, tx_left);
	struct ktls_info info;
	int i;

	ONLY_KTLS();
	for (i = 0; i < BEFORE; i++)
		ASSERT_EQ(3, send(self->fd, "out", 3, 0));
	ASSERT_EQ(0, getsockopt(self->fd, SOL_KTLS, KTLS_INFO, &info, &len));
	EXPECT_EQ(!!variant->limit, has_news(self->fd));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_FALSE(has_news(self->fd));
}

TEST_HARNESS_MAIN
