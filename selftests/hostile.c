// SPDX-License-Identifier: GPL-2.0-only
/* A peer that breaks the record layer: what the reader is told, and that it stays told. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define TOO_MUCH	(PAYLOAD_MAX + 4096)
#define MARK		0x5a	/* what a reader's memory holds before */

static uint8_t payload[2 * PAYLOAD_MAX], data[TOO_MUCH], record[TOO_MUCH + 64];

PEER_FIXTURE(hostile);

/* Receiving is over, for the same reason each time; sending and the carrier are not. */
static void expect_dead(struct __test_metadata *_metadata, int fd, struct peer *peer, int error)
{
	int pipes[2], i;
	uint8_t type;

	ASSERT_EQ(0, wait_delivered(peer->fd));
	ASSERT_EQ(-error, RESULT(recv(fd, payload, 100, 0)));
	if (kernel_tls())
		return;
	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-error, RESULT(recv(fd, payload, 100, 0)));
		EXPECT_EQ(-error, RESULT(recv_type(fd, payload, 100, MSG_DONTWAIT, &type)));
		EXPECT_EQ(-error, RESULT(recv(fd, payload, 100, MSG_PEEK)));
		EXPECT_EQ(-error, RESULT(splice(fd, NULL, pipes[1], NULL, 100, 0)));
		peer_send(peer, DATA, "good again", 10);
	}
	EXPECT_TRUE(poll_now(fd, POLLIN) & POLLIN);
	ASSERT_EQ(4, send(fd, "fine", 4, MSG_NOSIGNAL));
	EXPECT_EQ(4, peer_recv(peer, &type, payload));
	close(pipes[0]);
	close(pipes[1]);
}

static struct ktls_info info_of(int fd)
{
	struct ktls_info info;

	get_info(fd, &info);
	return info;
}

/* The header of a record that claims @len bytes. */
static int send_header(struct peer *peer, uint16_t version, uint16_t len)
{
	uint8_t header[5] = { DATA, version >> 8, version, len >> 8, len };

	return send_all(peer->fd, header, sizeof(header));
}

TEST_F(hostile, wrong_tag)
{
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);

	record[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
	if (kernel_tls())
		return;
	EXPECT_EQ(1, info_of(self->fd).rx_bad_tag);
	EXPECT_EQ(KTLS_F_RX_DEAD, info_of(self->fd).flags & (KTLS_F_RX_DEAD | KTLS_F_TX_DEAD));
}

TEST_F(hostile, each_byte_changed)
{
	struct keys tx = self->peer.tx;
	size_t len = record_seal(&tx, DATA, "data", 4, record), at;
	struct peer peer;
	int fd;

	ONLY_KTLS();
	for (at = 0; at < len; at++) {
		if (at == 3 || at == 4)
			continue;
		ASSERT_EQ(0, tls_and_peer(AF_INET, variant->cipher, &fd, &peer));
		record[at] ^= 0x10;
		ASSERT_EQ(0, send_all(peer.fd, record, len));
		record[at] ^= 0x10;
		/* TLS 1.3 does not judge the version, but authenticates it. */
		EXPECT_EQ((at == 1 || at == 2) && !(variant->cipher & TLS13) ? -EINVAL : -EBADMSG,
			  RESULT(recv(fd, payload, 100, 0))) TH_LOG("byte %zu", at);
		close(fd);
		peer_close(&peer);
	}
}

TEST_F(hostile, shorter_than_overhead)
{
	size_t least = record_overhead(&self->peer.tx) - 5, len;
	struct peer peer;
	int fd;

	for (len = 0; len < least; len++) {
		ASSERT_EQ(0, tls_and_peer(AF_INET, variant->cipher, &fd, &peer));
		ASSERT_EQ(0, send_header(&peer, 0x0303, len));
		EXPECT_EQ(-EBADMSG, RESULT(recv(fd, payload, 100, 0))) TH_LOG("%zu", len);
		close(fd);
		peer_close(&peer);
	}
	ASSERT_EQ(0, send_header(&self->peer, 0x0303, least - 1));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
	if (!kernel_tls())
		EXPECT_EQ(1, info_of(self->fd).rx_bad_length);
}

TEST_F(hostile, longest)
{
	fill(data, PAYLOAD_MAX, 0);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, PAYLOAD_MAX));
	EXPECT_EQ(PAYLOAD_MAX, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_TRUE(filled(payload, PAYLOAD_MAX, 0));
}

/* A byte more of plaintext, properly sealed. */
TEST_F(hostile, longer)
{
	size_t len = record_seal(&self->peer.tx, DATA, data, PAYLOAD_MAX + 1, record);

	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	expect_dead(_metadata, self->fd, &self->peer, EMSGSIZE);
	if (!kernel_tls())
		EXPECT_EQ(1, info_of(self->fd).rx_bad_length);
}

/* Judged by its header: nobody waits for 64 KiB that are too many. */
TEST_F(hostile, longest_header)
{
	ASSERT_EQ(0, send_header(&self->peer, 0x0303, 0xffff));
	expect_dead(_metadata, self->fd, &self->peer, EMSGSIZE);
}

TEST_F(hostile, beyond_rfc5246)
{
	ASSERT_EQ(0, send_header(&self->peer, 0x0303, (1 << 14) + 2048 + 1));
	expect_dead(_metadata, self->fd, &self->peer, EMSGSIZE);
}

TEST_F(hostile, versions)
{
	static const uint16_t bad[] = { 0, 0x0300, 0x0301, 0x0302, 0x0304, 0xfefd, 0x0203,
					0x0403, 0xffff };
	/* rfc8446 5.1: ignored. */
	int expected = variant->cipher & TLS13 ? -EAGAIN : -EINVAL, fd;
	struct peer peer;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(0, tls_and_peer(AF_INET, variant->cipher, &fd, &peer));
		ASSERT_EQ(0, send_header(&peer, bad[i], 100));
		ASSERT_EQ(0, wait_delivered(peer.fd));
		EXPECT_EQ(expected, RESULT(recv(fd, payload, 100, MSG_DONTWAIT)))
			TH_LOG("%x", bad[i]);
		close(fd);
		peer_close(&peer);
	}
	if (variant->cipher & TLS13)
		return;
	ASSERT_EQ(0, send_header(&self->peer, 0x0301, 100));
	expect_dead(_metadata, self->fd, &self->peer, EINVAL);
	if (!kernel_tls())
		EXPECT_EQ(1, info_of(self->fd).rx_bad_version);
}

TEST_F(hostile, replayed)
{
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);

	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	EXPECT_EQ(4, recv(self->fd, payload, 4, 0));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
}

TEST_F(hostile, swapped)
{
	size_t first = record_seal(&self->peer.tx, DATA, "one", 3, record), second;

	second = record_seal(&self->peer.tx, DATA, "two", 3, record + first);
	ASSERT_EQ(0, send_all(self->peer.fd, record + first, second));
	ASSERT_EQ(0, send_all(self->peer.fd, record, first));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
}

TEST_F(hostile, under_another_key)
{
	keys_make(&self->peer.tx, variant->cipher, 77);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
}

/* What came before the bad record is delivered, in one read with it or not. */
TEST_F(hostile, good_before_bad)
{
	size_t len;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	len = record_seal(&self->peer.tx, DATA, "bad", 3, record);
	record[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(6, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_EQ(0, memcmp(payload, "onetwo", 6));
	expect_dead(_metadata, self->fd, &self->peer, EBADMSG);
}

/* Nothing of a record that fails is left in the reader's memory. */
TEST_F(hostile, bad_in_a_waiting_read)
{
	struct peer *peer = &self->peer;
	size_t len, at;

	fill(data, 16000, 0);
	memset(payload, MARK, sizeof(payload));
	len = record_seal(&self->peer.tx, DATA, data, 16000, record);
	record[len - 1] ^= 1;
	WHEN_ASLEEP(send_all(peer->fd, record, len));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, sizeof(payload), MSG_WAITALL)));
	if (kernel_tls())
		return;
	for (at = 0; at < sizeof(payload); at++) {
		ASSERT_TRUE(payload[at] == MARK || (payload[at] == 0 && at < 16000)) {
			TH_LOG("byte %zu is %#x", at, payload[at]);
		}
	}
}

TEST_F(hostile, cut_at_each_byte)
{
	size_t len, at;

	for (at = 1; at < record_overhead(&self->peer.tx) + 9; at++) {
		len = record_seal(&self->peer.tx, DATA, "ten bytes.", 10, record);
		ASSERT_EQ(0, send_all(self->peer.fd, record, at));
		ASSERT_EQ(0, wait_delivered(self->peer.fd));
		ASSERT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
		ASSERT_EQ(0, send_all(self->peer.fd, record + at, len - at));
		ASSERT_EQ(10, recv(self->fd, payload, 100, 0)) TH_LOG("byte %zu", at);
		ASSERT_EQ(0, memcmp(payload, "ten bytes.", 10));
	}
}

/* Two records in three segments whose borders are nowhere near theirs. */
TEST_F(hostile, cut_across_records)
{
	size_t first, len, at;

	fill(data, 3000, 0);
	for (at = 1; at < 3000; at += 211) {
		first = record_seal(&self->peer.tx, DATA, data, 1500, record);
		len = first + record_seal(&self->peer.tx, DATA, data + 1500, 1500,
					  record + first);
		ASSERT_EQ(0, send_all(self->peer.fd, record, at));
		ASSERT_EQ(0, send_all(self->peer.fd, record + at, 40));
		ASSERT_EQ(0, send_all(self->peer.fd, record + at + 40, len - at - 40));
		ASSERT_EQ(3000, recv(self->fd, payload, 3000, MSG_WAITALL));
		ASSERT_TRUE(filled(payload, 3000, 0));
	}
}

/* A segment a byte: the carrier's buffer counts each as hundreds. */
TEST_F(hostile, tiny_segments)
{
	size_t len, at;

	fill(data, 4096, 0);
	len = record_seal(&self->peer.tx, DATA, data, 4096, record);
	for (at = 0; at < len; at++)
		ASSERT_EQ(1, send(self->peer.fd, record + at, 1, 0));
	ASSERT_EQ(4096, recv(self->fd, payload, 4096, MSG_WAITALL));
	EXPECT_TRUE(filled(payload, 4096, 0));
}

/* The carrier has room for less than a record. */
TEST_F(hostile, tiny_carrier)
{
	int fds[2], least = 1, i;
	struct peer peer;

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	keys_make(&peer.tx, variant->cipher, 1);
	self->peer.tx = peer.tx;
	peer.fd = fds[1];
	fds[0] = tls_attach(fds[0]);
	ASSERT_EQ(0, tls_key(fds[0], TLS_RX, &self->peer.tx));
	fill(data, PAYLOAD_MAX, 0);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, peer_send(&peer, DATA, data, PAYLOAD_MAX));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(PAYLOAD_MAX, recv(fds[0], payload, PAYLOAD_MAX, MSG_WAITALL));
		EXPECT_TRUE(filled(payload, PAYLOAD_MAX, 0));
	}
}

/* Bytes that mean nothing never become data. */
TEST_F(hostile, garbage)
{
	struct peer peer;
	unsigned int seed;
	ssize_t n;
	int fd;

	for (seed = 0; seed < 50; seed++) {
		ASSERT_EQ(0, tls_and_peer(AF_INET, variant->cipher, &fd, &peer));
		fill(data, 400, seed * 1000);
		ASSERT_EQ(0, send_all(peer.fd, data, 400));
		shutdown(peer.fd, SHUT_WR);
		n = RESULT(recv(fd, payload, 1000, 0));
		EXPECT_TRUE(n == -EINVAL || n == -EMSGSIZE || n == -EBADMSG) TH_LOG("%zd", n);
		close(fd);
		peer_close(&peer);
	}
}

/* TCP's urgent byte is out of the stream: whatever comes of it, no wrong data. */
TEST_F(hostile, urgent_data)
{
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);
	ssize_t n;

	ONLY_KTLS();
	ASSERT_EQ(0, send_all(self->peer.fd, record, 10));
	ASSERT_EQ(1, send(self->peer.fd, "!", 1, MSG_OOB));
	ASSERT_EQ(0, send_all(self->peer.fd, record + 10, len - 10));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	n = RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT));
	EXPECT_TRUE(n < 0 || (n == 4 && !memcmp(payload, "data", 4))) TH_LOG("%zd", n);
	ASSERT_EQ(4, send(self->fd, "fine", 4, 0));
}

/* A sender that needs no key: it lent its pages to TCP, and changes a byte for ever. */
struct changer {
	pthread_t thread;
	atomic_bool stop;
	volatile uint8_t *byte;
};

static void *change(void *arg)
{
	struct changer *c = arg;

	while (!c->stop)
		*c->byte ^= 1;
	return NULL;
}

/* Sends @len bytes at @from without copying them. */
static int lend(int fd, void *from, size_t len)
{
	struct iovec iov = { from, len };
	int pipes[2];
	ssize_t n;

	if (pipe(pipes) || vmsplice(pipes[1], &iov, 1, 0) != (ssize_t)len)
		return -1;
	for (; len; len -= n) {
		n = splice(pipes[0], NULL, fd, NULL, len, 0);
		if (n <= 0)
			return -1;
	}
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

/*
 * Whatever was authenticated is what is delivered. How often the byte changes between the two is
 * chance, and with one CPU that is seldom.
 */
TEST_F(hostile, changed_while_opened)
{
	size_t room = 5 * 4096, len;
	uint8_t *pages = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct changer changer = {};
	struct peer peer;
	ssize_t n;
	int fd, i, refused = 0;

	ONLY_KTLS();
	ASSERT_NE(MAP_FAILED, pages);
	fill(data, PAYLOAD_MAX, 0);
	for (i = 0; i < 25; i++) {
		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
		len = record_seal(&peer.tx, DATA, data, PAYLOAD_MAX, pages);
		ASSERT_EQ(0, lend(peer.fd, pages, len));
		ASSERT_EQ(POLLIN, poll_wait(fd, POLLIN));
		changer.byte = pages + len - 16 - 5;
		changer.stop = false;
		pthread_create(&changer.thread, NULL, change, &changer);
		n = RESULT(recv(fd, payload, PAYLOAD_MAX, 0));
		changer.stop = true;
		pthread_join(changer.thread, NULL);
		EXPECT_TRUE(n == -EBADMSG || (n == PAYLOAD_MAX && filled(payload, n, 0)))
			TH_LOG("round %d: %zd", i, n);
		refused += n == -EBADMSG;
		close(fd);
		peer_close(&peer);
	}
	TH_LOG("%d of %d records refused, the others delivered as sealed", refused, i);
	munmap(pages, room);
}

TEST_HARNESS_MAIN
