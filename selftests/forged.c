// SPDX-License-Identifier: GPL-2.0-only
/*
 * DTLS beside a flood of what nobody sealed: a million forgeries, as many as a key bears, and
 * a whole capture sent again. timeout=900; one kernel is enough; not under detectors
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#define FORGERIES	1000000
#define BATCH		40	/* forgeries that UDP cuts apart */
#define FORGED_LEN	64
#define CAPTURE		3000
#define CCM_FAILURES	(1 << 23)	/* the fewest that a cipher here bears */

static uint8_t payload[DATAGRAM_MAX];

FIXTURE(forged) { int fd; int carrier; struct peer peer; };

FIXTURE_SETUP(forged)
{
	int fds[2];

	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_GCM_128, &self->fd, &self->carrier,
			       &self->peer));
}

FIXTURE_TEARDOWN(forged)
{
	close(self->fd);
	close(self->carrier);
	close(self->peer.fd);
}

static uint32_t number(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 8;
}

/*
 * As a record looks: mostly of this epoch, of any type, with a number that was there,
 * is next, or far ahead.
 */
static void forge(uint8_t *out, uint64_t next)
{
	static const uint64_t ahead[] = { 0, 1, 70, 100000, 1ULL << 47 };
	uint64_t seq = next + ahead[number() % 5] - (number() % 2 ? next / 2 : 0);
	int i;

	for (i = 0; i < FORGED_LEN; i++)
		out[i] = number();
	out[1] = 0xfe;
	out[2] = 0xfd;
	for (i = 0; i < 6; i++)
		out[5 + i] = seq >> (40 - 8 * i);
	out[3] = 0;
	out[4] = number() % 50 ? 1 : number() % 4;
	/* Handshakes of other epochs are for the carrier's readers. */
	out[0] = out[4] == 1 ? CCS + number() % 4 : DATA;
	out[11] = 0;
	out[12] = FORGED_LEN - 13;
}

static int send_forgeries(int fd, uint64_t next)
{
	uint8_t batch[BATCH * FORGED_LEN];
	int i;

	for (i = 0; i < BATCH; i++)
		forge(batch + i * FORGED_LEN, next);
	return send(fd, batch, sizeof(batch), 0) == sizeof(batch) ? 0 : -1;
}

TEST_F_TIMEOUT(forged, a_million, 500)
{
	int segment = FORGED_LEN, none = 0, rounds = FORGERIES / BATCH, i;
	struct ktls_info info;
	uint64_t next;
	int got;

	for (i = 0; i < rounds; i++) {
		next = self->peer.tx.seq & (EPOCH(1) - 1);
		ASSERT_EQ(0, setsockopt(self->peer.fd, IPPROTO_UDP, UDP_SEGMENT, &segment,
					sizeof(segment)));
		ASSERT_EQ(0, send_forgeries(self->peer.fd, next));
		ASSERT_EQ(0, setsockopt(self->peer.fd, IPPROTO_UDP, UDP_SEGMENT, &none,
					sizeof(none)));
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, &i, sizeof(i)));
		ASSERT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), 0));
		ASSERT_EQ(i, got);
	}
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(rounds, info.rx.records);
	EXPECT_EQ(0, info.rx_bad_length + info.rx_bad_version);
	EXPECT_LT(FORGERIES / 4, info.rx_bad_tag);
	EXPECT_EQ(0, info.flags & KTLS_F_RX_DEAD);
	/* What is held for the next epoch is all that may be missing here. */
	EXPECT_LE(FORGERIES - KTLS_PREPEND_DATAGRAMS, info.rx_bad_tag + info.rx_replayed +
		  info.rx_too_old + info.rx_bad_epoch + info.rx_overflows);
	EXPECT_GE(FORGERIES, info.rx_bad_tag + info.rx_replayed + info.rx_too_old +
		  info.rx_bad_epoch + info.rx_overflows);
	/* The window stands where the peer left it. */
	ASSERT_EQ(0, dgram_send_seq(&self->peer, EPOCH(1) + next + 5, &i, sizeof(i)));
	EXPECT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), 0));
	ASSERT_EQ(0, dgram_send_seq(&self->peer, EPOCH(1) + next + 3, &i, sizeof(i)));
	EXPECT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), 0));
}

/* All that an eavesdropper has, of both directions, in any order. */
TEST_F_TIMEOUT(forged, capture_again, 100)
{
	static uint8_t records[2 * CAPTURE][FORGED_LEN];
	static size_t lens[2 * CAPTURE];
	struct ktls_info info;
	int got, i, n;

	for (i = 0; i < CAPTURE; i++) {
		lens[2 * i] = dgram_seal(&self->peer, DATA, &i, sizeof(i), records[2 * i]);
		ASSERT_EQ(lens[2 * i], send(self->peer.fd, records[2 * i], lens[2 * i], 0));
		ASSERT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), 0));
		ASSERT_EQ(i, got);
		ASSERT_EQ(sizeof(i), send(self->fd, &i, sizeof(i), 0));
		lens[2 * i + 1] = recv(self->peer.fd, records[2 * i + 1], FORGED_LEN, 0);
	}
	for (i = 0; i < 4 * CAPTURE; i++) {
		n = i < 2 * CAPTURE ? i : 4 * CAPTURE - 1 - i;
		ASSERT_EQ(lens[n], send(self->peer.fd, records[n], lens[n], 0));
		ASSERT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	}
	/* On a busy machine the last are late. */
	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
		ASSERT_EQ(0, get_info(self->fd, &info));
		if (info.rx_replayed + info.rx_too_old + info.rx_bad_tag == 4 * CAPTURE)
			break;
		usleep(10000);
	}
	EXPECT_EQ(CAPTURE, info.rx.records);
	EXPECT_EQ(4 * CAPTURE, info.rx_replayed + info.rx_too_old + info.rx_bad_tag);
	ASSERT_EQ(0, dgram_send(&self->peer, DATA, &i, sizeof(i)));
	EXPECT_EQ(sizeof(got), recv(self->fd, &got, sizeof(got), 0));
}

FIXTURE(key) { int fd; int carrier; struct peer peer; };

FIXTURE_SETUP(key)
{
	int fds[2];

	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_CCM_128, &self->fd, &self->carrier,
			       &self->peer));
}

FIXTURE_TEARDOWN(key)
{
	close(self->fd);
	close(self->carrier);
	close(self->peer.fd);
}

/* rfc9325 4.4, rfc9147 4.5.3: who may guess without end is right some day. */
TEST_F_TIMEOUT(key, bears_so_many, 800)
{
	uint8_t batch[BATCH * FORGED_LEN], *record = batch;
	struct ktls_info info;
	int segment, i, n = 0;
	size_t len;
	long ret;

	len = dgram_seal(&self->peer, DATA, "x", 1, record);
	record[len - 1] ^= 1;
	for (i = 1; i < BATCH; i++)
		memcpy(batch + i * len, record, len);
	segment = len;
	ASSERT_EQ(0, setsockopt(self->peer.fd, IPPROTO_UDP, UDP_SEGMENT, &segment,
				sizeof(segment)));
	/* On a busy machine loopback is late, and may lose some. */
	do {
		ASSERT_EQ(BATCH * len, send(self->peer.fd, batch, BATCH * len, 0));
		n += BATCH;
		ret = RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT));
	} while (ret == -EAGAIN && n < 2 * CCM_FAILURES);
	EXPECT_EQ(-EBADMSG, ret);
	EXPECT_LE(CCM_FAILURES, n);
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(CCM_FAILURES, info.rx_bad_tag);
	EXPECT_EQ(KTLS_F_RX_DEAD, info.flags & KTLS_F_RX_DEAD);
	/* The other direction has keys of its own. */
	EXPECT_EQ(1, send(self->fd, "x", 1, 0));
}

TEST_HARNESS_MAIN
