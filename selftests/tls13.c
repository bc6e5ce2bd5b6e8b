// SPDX-License-Identifier: GPL-2.0-only
/*
 * What TLS 1.3 (rfc8446) does otherwise than TLS 1.2: hidden types, padding, keys that follow one
 * another. What both do the other programs test with both.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <time.h>

#define STAT		"/proc/net/ktls_stat"
#define REKEYS		1000

static uint8_t payload[2 * PAYLOAD_MAX], data[PAYLOAD_MAX + 64], record[RECORD_MAX + 64];

FIXTURE(tls13) { int fd; struct peer peer; };
FIXTURE_VARIANT(tls13) { uint16_t cipher; int family; };
FIXTURE_VARIANT_ADD(tls13, aes_gcm_128)
	{ .cipher = TLS13 | TLS_CIPHER_AES_GCM_128, .family = AF_INET };
FIXTURE_VARIANT_ADD(tls13, aes_gcm_256)
	{ .cipher = TLS13 | TLS_CIPHER_AES_GCM_256, .family = AF_INET6 };
FIXTURE_VARIANT_ADD(tls13, chacha20_poly1305)
	{ .cipher = TLS13 | TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET6 };
FIXTURE_VARIANT_ADD(tls13, aes_ccm_128)
	{ .cipher = TLS13 | TLS_CIPHER_AES_CCM_128, .family = AF_INET };

FIXTURE_SETUP(tls13)
{
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
}

FIXTURE_TEARDOWN(tls13)
{
	close(self->fd);
	peer_close(&self->peer);
}

static int set_flag(int fd, int level, int option, int flag)
{
	return RESULT(setsockopt(fd, level, option, &flag, sizeof(flag)));
}

static int send_padded(struct peer *peer, uint8_t type, const void *bytes, size_t len,
		       size_t padding)
{
	size_t n = record_seal_padded(&peer->tx, type, bytes, len, padding, record);

	return send_all(peer->fd, record, n);
}

/* Every record looks the same from outside. */
TEST_F(tls13, on_the_wire)
{
	static const uint8_t types[] = { DATA, HANDSHAKE, ALERT };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_EQ(5, send_type(self->fd, types[i], "hello", 5, 0));
		ASSERT_EQ(5 + 5 + 1 + 16, peer_recv_raw(&self->peer, record));
		EXPECT_EQ(0, memcmp(record, "\x17\3\3\0\x16", 5));
	}
}

/* rfc8446 5.4: padding of every kind of record, up to the longest. */
TEST_F(tls13, padding)
{
	static const size_t paddings[] = { 1, 15, 16, 62, 63, 64, 65, 255, 4096, PAYLOAD_MAX - 5 };
	uint8_t type;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paddings); i++) {
		ASSERT_EQ(0, send_padded(&self->peer, DATA, "hello", 5, paddings[i]));
		ASSERT_EQ(5, recv(self->fd, payload, sizeof(payload), 0)) TH_LOG("%zu", paddings[i]);
		EXPECT_EQ(0, memcmp(payload, "hello", 5));
		ASSERT_EQ(0, send_padded(&self->peer, HANDSHAKE, "\4\0\0\1\0", 5, paddings[i]));
		ASSERT_EQ(5, recv_type(self->fd, payload, sizeof(payload), 0, &type));
		EXPECT_EQ(HANDSHAKE, type);
		/* What ends in zeros is not padding. */
		EXPECT_EQ(0, memcmp(payload, "\4\0\0\1\0", 5));
	}
}

/* Data that is nothing but padding is an empty record: no end of file, and nothing to read. */
TEST_F(tls13, only_padding)
{
	size_t i;

	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, send_padded(&self->peer, DATA, "", 0, i % 10 * 100));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 10, 0));
}

/* Whatever is no record of TLS 1.3, though it was sealed properly, ends the direction. */
static void expect_refused(struct __test_metadata *_metadata, uint16_t cipher, const void *inner,
			   size_t len, int error)
{
	struct ktls_info info;
	struct peer peer;
	size_t n;
	int fd;

	ASSERT_EQ(0, tls_and_peer(AF_INET, cipher, &fd, &peer));
	n = record_seal_inner(&peer.tx, inner, len, record);
	ASSERT_EQ(0, send_all(peer.fd, record, n));
	EXPECT_EQ(-error, RESULT(recv(fd, payload, 100, 0)));
	EXPECT_EQ(-error, RESULT(recv(fd, payload, 100, 0)));
	ASSERT_EQ(0, get_info(fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_RX_DEAD);
	EXPECT_EQ(4, send(fd, "fine", 4, 0));
	close(fd);
	peer_close(&peer);
}

TEST_F(tls13, no_type)
{
	memset(data, 0, sizeof(data));
	expect_refused(_metadata, variant->cipher, data, 1, EBADMSG);
	expect_refused(_metadata, variant->cipher, data, 64, EBADMSG);
	expect_refused(_metadata, variant->cipher, data, 65, EBADMSG);
	expect_refused(_metadata, variant->cipher, data, PAYLOAD_MAX + 1, EBADMSG);
}

TEST_F(tls13, nothing_inside)
{
	expect_refused(_metadata, variant->cipher, "", 0, EBADMSG);
}

TEST_F(tls13, illegal_records)
{
	expect_refused(_metadata, variant->cipher, "\1\x14", 2, EBADMSG);
	expect_refused(_metadata, variant->cipher, "\x16", 1, EBADMSG);
	expect_refused(_metadata, variant->cipher, "\x15\0\0", 3, EBADMSG);
}

/* rfc8446 5.4: type and padding are of the 2^14 + 1. */
TEST_F(tls13, too_long)
{
	memset(data, DATA, sizeof(data));
	expect_refused(_metadata, variant->cipher, data, PAYLOAD_MAX + 2, EMSGSIZE);
	memset(data + 1, 0, sizeof(data) - 1);
	expect_refused(_metadata, variant->cipher, data, PAYLOAD_MAX + 2, EMSGSIZE);
	fill(data, PAYLOAD_MAX, 0);
	ASSERT_EQ(0, send_padded(&self->peer, DATA, data, PAYLOAD_MAX, 0));
	ASSERT_EQ(0, send_padded(&self->peer, DATA, data, PAYLOAD_MAX - 1, 1));
	EXPECT_EQ(2 * PAYLOAD_MAX - 1, recv(self->fd, payload, 2 * PAYLOAD_MAX - 1, MSG_WAITALL));
}

/* rfc8446 5.1: what the version says does not matter, but it is authenticated. */
TEST_F(tls13, outer_version)
{
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);

	record[2] = 1;
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, 100, 0)));
}

TEST_F(tls13, outer_type)
{
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);

	record[0] = HANDSHAKE;
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, 100, 0)));
}

/* TLS_RX_EXPECT_NO_PAD: straight to the reader, unless it turns out to be something else. */
TEST_F(tls13, no_padding_expected)
{
	bool direct = (variant->cipher & ~TLS13) != TLS_CIPHER_AES_CCM_128;
	long opened = proc_counter(STAT, "KtlsRxDirect");
	long retries = proc_counter(STAT, "KtlsRxDecryptRetry");
	long padded = proc_counter(STAT, "KtlsRxNoPadViolation");
	uint8_t type;

	fill(data, 8000, 0);
	ASSERT_EQ(0, set_flag(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, 1));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 8000));
	ASSERT_EQ(8000, recv(self->fd, payload, 8000, 0));
	EXPECT_TRUE(filled(payload, 8000, 0));
	EXPECT_EQ(opened + direct, proc_counter(STAT, "KtlsRxDirect"));

	/* The reader's memory keeps nothing that was not for it. */
	memset(payload, 0, sizeof(payload));
	ASSERT_EQ(0, send_padded(&self->peer, DATA, data, 5000, 3000));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, data, 4000));
	ASSERT_EQ(5000, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_TRUE(filled(payload, 5000, 0));
	for (size_t i = 5000; i < sizeof(payload); i++)
		ASSERT_EQ(0, payload[i]);
	ASSERT_EQ(4000, recv_type(self->fd, payload, sizeof(payload), 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_TRUE(filled(payload, 4000, 0));
	EXPECT_EQ(opened + direct, proc_counter(STAT, "KtlsRxDirect"));
	EXPECT_EQ(padded + direct, proc_counter(STAT, "KtlsRxNoPadViolation"));
	EXPECT_EQ(retries + 2 * direct, proc_counter(STAT, "KtlsRxDecryptRetry"));
}

/* Without it what turns out to be padded is legal, and not to cost twice as much each time. */
TEST_F(tls13, padding_not_expected)
{
	bool direct = (variant->cipher & ~TLS13) != TLS_CIPHER_AES_CCM_128;
	long opened = proc_counter(STAT, "KtlsRxDirect");
	long retries = proc_counter(STAT, "KtlsRxDecryptRetry");
	long padded = proc_counter(STAT, "KtlsRxNoPadViolation");
	int records;

	fill(data, 8000, 0);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 8000));
	ASSERT_EQ(8000, recv(self->fd, payload, 8000, 0));
	EXPECT_TRUE(filled(payload, 8000, 0));
	EXPECT_EQ(opened + direct, proc_counter(STAT, "KtlsRxDirect"));

	memset(payload, 0, sizeof(payload));
	for (records = 0; records < 10; records++) {
		ASSERT_EQ(0, send_padded(&self->peer, DATA, data, 5000, 3000));
		ASSERT_EQ(5000, recv(self->fd, payload, sizeof(payload), 0));
		EXPECT_TRUE(filled(payload, 5000, 0));
		for (size_t i = 5000; i < sizeof(payload); i++)
			ASSERT_EQ(0, payload[i]);
	}
	EXPECT_EQ(opened + direct, proc_counter(STAT, "KtlsRxDirect"));
	EXPECT_EQ(retries + direct, proc_counter(STAT, "KtlsRxDecryptRetry"));
	EXPECT_EQ(padded, proc_counter(STAT, "KtlsRxNoPadViolation"));

	/* After some more it is tried again. */
	for (records = 0; records < 100; records++) {
		ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 8000));
		ASSERT_EQ(8000, recv(self->fd, payload, 8000, 0));
		EXPECT_TRUE(filled(payload, 8000, 0));
	}
	EXPECT_EQ(direct, proc_counter(STAT, "KtlsRxDirect") > opened + direct);
	EXPECT_EQ(retries + direct, proc_counter(STAT, "KtlsRxDecryptRetry"));
}

/* A KeyUpdate is delivered; what follows is not opened with the old key. */
TEST_F(tls13, key_update)
{
	struct keys other, next;
	struct ktls_info info;
	uint8_t type;
	int i;

	keys_make(&next, variant->cipher, 8);
	keys_make(&other, TLS13 | (variant->cipher == (TLS13 | TLS_CIPHER_AES_GCM_128) ?
				   TLS_CIPHER_AES_GCM_256 : TLS_CIPHER_AES_GCM_128), 8);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "old", 3));
	ASSERT_EQ(3, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &next)));
	ASSERT_EQ(0, peer_ends_key(&self->peer));
	self->peer.tx = next;
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "new", 3));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 10, 0)));
	ASSERT_EQ(KEY_UPDATE_LEN, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, memcmp(payload, KEY_UPDATE, KEY_UPDATE_LEN));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 10, 0)));
		EXPECT_EQ(0, poll_now(self->fd, POLLIN));
		ASSERT_EQ(0, get_info(self->fd, &info));
		EXPECT_TRUE(info.flags & KTLS_F_RX_KEY_DUE);
		EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_RX, &other)));
		other.tls13 = false;
		EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_RX, &other)));
		other.tls13 = true;
	}
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &next));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(3, recv(self->fd, payload, 10, 0));
	EXPECT_EQ(0, memcmp(payload, "new", 3));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &next)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx.rekeys);
	EXPECT_FALSE(info.flags & KTLS_F_RX_KEY_DUE);
}

/* The reader sees it wherever it is: behind another message, in pieces. */
TEST_F(tls13, key_update_among_others)
{
	/* A ticket whose body looks like the message, then the message. */
	static const uint8_t messages[] = { 4, 0, 0, 5, 24, 0, 0, 1, 0, 24, 0, 0, 1, 1 };
	struct keys next;
	uint8_t type;
	size_t cut;

	for (cut = 1; cut < sizeof(messages); cut++) {
		keys_make(&next, variant->cipher, cut);
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, messages, cut));
		ASSERT_EQ(cut, recv_type(self->fd, payload, 100, 0, &type));
		EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
		EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &next)));
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, messages + cut, sizeof(messages) - cut));
		ASSERT_EQ(sizeof(messages) - cut, recv_type(self->fd, payload, 100, 0, &type));
		EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &next));
		self->peer.tx = next;
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "next", 4));
		ASSERT_EQ(4, recv(self->fd, payload, 100, 0));
	}
}

/* A key for sending is the sender's business, when no record is open; same version and cipher. */
TEST_F(tls13, next_key_for_sending)
{
	struct keys next, other;
	uint8_t type;

	keys_make(&next, variant->cipher, 8);
	keys_make(&other, TLS13 | (variant->cipher == (TLS13 | TLS_CIPHER_AES_GCM_128) ?
				   TLS_CIPHER_AES_GCM_256 : TLS_CIPHER_AES_GCM_128), 8);
	ASSERT_EQ(2, send(self->fd, "op", 2, MSG_MORE));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_TX, &next)));
	ASSERT_EQ(KEY_UPDATE_LEN, send_type(self->fd, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_LEN, 0));
	EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_TX, &other)));
	other.tls13 = false;
	EXPECT_EQ(-EINVAL, RESULT(tls_key(self->fd, TLS_TX, &other)));
	ASSERT_EQ(3, send(self->fd, "old", 3, 0));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &next));
	ASSERT_EQ(3, send(self->fd, "new", 3, 0));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(KEY_UPDATE_LEN, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(3, peer_recv(&self->peer, &type, payload));
	self->peer.rx = next;
	EXPECT_EQ(3, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "new", 3));
}

/* The counts start anew with every key, in both directions. */
TEST_F_TIMEOUT(tls13, a_thousand_rekeys, 120)
{
	struct ktls_info info;
	struct keys next;
	uint8_t type;
	int i;

	for (i = 0; i < REKEYS; i++) {
		ASSERT_EQ(0, peer_ends_key(&self->peer));
		keys_make(&next, variant->cipher, i);
		self->peer.tx = next;
		ASSERT_EQ(0, peer_send(&self->peer, DATA, &i, sizeof(i)));
		ASSERT_EQ(KEY_UPDATE_LEN, recv_type(self->fd, payload, 100, 0, &type));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &next));
		ASSERT_EQ(sizeof(i), recv(self->fd, payload, 100, 0));
		ASSERT_EQ(0, memcmp(payload, &i, sizeof(i)));
		ASSERT_EQ(KEY_UPDATE_LEN,
			  send_type(self->fd, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_LEN, 0));
		ASSERT_EQ(KEY_UPDATE_LEN, peer_recv(&self->peer, &type, payload));
		keys_make(&self->peer.rx, variant->cipher, i + 7);
		ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
		ASSERT_EQ(sizeof(i), send(self->fd, &i, sizeof(i), 0));
		ASSERT_EQ(sizeof(i), peer_recv(&self->peer, &type, payload));
	}
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(REKEYS, info.tx.rekeys);
	EXPECT_EQ(REKEYS, info.rx.rekeys);
	EXPECT_EQ(TLS_1_3_VERSION, info.tx.version);
}

static int recv_control(int fd, uint8_t *type)
{
	return RESULT(recv_type(fd, payload, sizeof(payload), MSG_ERRQUEUE, type));
}

/* KTLS_CONTROL_QUEUE: a plain reader sees data alone, and poll says POLLIN for that alone. */
TEST_F(tls13, plain_reader)
{
	struct keys next;
	uint8_t type;
	int i;

	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "\4\0\0\1x", 5));
		EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLIN | POLLPRI));
		EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
		EXPECT_EQ(5, recv_control(self->fd, &type));
		EXPECT_EQ(HANDSHAKE, type);
		EXPECT_EQ(0, poll_now(self->fd, POLLIN | POLLPRI));
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "plain", 5));
		EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN | POLLPRI));
		EXPECT_EQ(5, recv(self->fd, payload, 100, 0));

		ASSERT_EQ(0, peer_send(&self->peer, DATA, "before", 6));
		ASSERT_EQ(0, peer_ends_key(&self->peer));
		keys_make(&next, variant->cipher, 10 + i);
		self->peer.tx = next;
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "after", 5));
		ASSERT_EQ(0, wait_delivered(self->peer.fd));
		EXPECT_EQ(6, recv(self->fd, payload, 100, 0));
		EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
		EXPECT_EQ(POLLPRI, poll_wait(self->fd, POLLPRI));
		EXPECT_EQ(0, poll_now(self->fd, POLLIN));
		EXPECT_EQ(KEY_UPDATE_LEN, recv_control(self->fd, &type));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &next));
		EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
		EXPECT_EQ(5, recv(self->fd, payload, 100, 0));
		EXPECT_EQ(0, memcmp(payload, "after", 5));
	}
}

/* ... and sleeps through the change of keys. */
TEST_F(tls13, plain_reader_sleeps)
{
	struct peer *peer = &self->peer;
	struct keys next;
	uint8_t type;
	int fd = self->fd;

	ASSERT_EQ(0, set_flag(fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	keys_make(&next, variant->cipher, 9);
	ASSERT_EQ(0, peer_send(peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_ends_key(peer));
	WHEN_ASLEEP({
		poll_wait(fd, POLLPRI);
		recv_control(fd, &type);
		peer->tx = next;
		peer_send(peer, DATA, "two", 3);
		wait_delivered(peer->fd);
		wait_asleep(getppid());
		tls_key(fd, TLS_RX, &next);
	});
	EXPECT_EQ(6, recv(fd, payload, 6, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(payload, "onetwo", 6));
}

/* A reader that leaves much unread does not keep control records from whoever handles them. */
TEST_F(tls13, control_behind_much_data)
{
	size_t total = 0;
	uint8_t type;
	ssize_t n;
	int i;

	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	for (i = 0; i < 5; i++) {
		fill(data, 10000, i * 10000);
		ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 10000));
	}
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "\4\0\0\1x", 5));
	EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(5, recv_control(self->fd, &type));
	while (total < 50000) {
		EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
		n = recv(self->fd, payload, 3000, 0);
		ASSERT_LT(0, n);
		ASSERT_TRUE(filled(payload, n, total));
		total += n;
	}
}

/* Reads the stream, sent in records of 8000 bytes and empty ones, whenever poll says so. */
static void read_polled(struct __test_metadata *_metadata, int fd, struct peer *peer, int room,
			size_t goal)
{
	size_t total, sent;
	pid_t sender;
	ssize_t n;

	ASSERT_EQ(0, set_flag(fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	sender = fork();
	if (!sender) {
		for (sent = 0; sent < goal; sent += 8000) {
			fill(data, 8000, sent);
			if (peer_send(peer, DATA, data, 8000) || peer_send(peer, DATA, "", 0))
				_exit(1);
		}
		_exit(0);
	}
	for (total = 0; total < goal; total += n) {
		ASSERT_EQ(POLLIN, poll_wait(fd, POLLIN)) TH_LOG("at %zu", total);
		n = recv(fd, payload, 5000, MSG_DONTWAIT);
		ASSERT_LT(0, n);
		ASSERT_TRUE(filled(payload, n, total));
	}
	EXPECT_EQ(goal, total);
}

/* More than the worker may open ahead: every part of it is announced. */
TEST_F_TIMEOUT(tls13, polled_to_the_end, 120)
{
	read_polled(_metadata, self->fd, &self->peer, 20000, 1000000);
}

/* Records that do not fit the carrier. */
TEST_F_TIMEOUT(tls13, polled_bit_by_bit, 120)
{
	read_polled(_metadata, self->fd, &self->peer, 1, 40000);
}

struct late_poller { int fd; int after; int events; };

static void *poll_late(void *arg)
{
	struct late_poller *late = arg;

	usleep(late->after);
	late->events = poll_wait(late->fd, POLLIN);
	return NULL;
}

/* Sends records until one is not opened ahead. Returns how many there are. */
static int send_more_than_fits(int fd, struct peer *peer, size_t len)
{
	int n, tries, inq;

	for (n = 1; n < 64; n++) {
		if (peer_send(peer, DATA, payload, len) || wait_delivered(peer->fd))
			return -1;
		for (tries = 0; tries < 50; tries++) {
			usleep(10000);
			if (ioctl(fd, FIONREAD, &inq) || inq == n * (int)len)
				break;
		}
		if (tries == 50)
			return n;
	}
	return -1;
}

/* Whenever it looks, there is something: a record that is there, or the rest of one. */
TEST_F_TIMEOUT(tls13, poller_beside_a_reader, 120)
{
	struct late_poller late = { .fd = self->fd };
	const size_t len = 4000;
	pthread_t poller;
	int i, j, n;

	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	ASSERT_EQ(0, set_flag(self->fd, SOL_SOCKET, SO_RCVBUF, 8192));
	n = send_more_than_fits(self->fd, &self->peer, len);
	ASSERT_LT(1, n);
	ASSERT_GT(sizeof(payload), n * len);
	for (i = 0; i < 40; i++) {
		for (j = 0; i && j < n; j++) {
			/* What waits in part on the carrier would be counted with what is opened. */
			ASSERT_EQ(0, peer_send(&self->peer, DATA, payload, len));
			ASSERT_EQ(0, wait_inq(self->fd, (j < n - 1 ? j + 1 : j) * len));
		}
		ASSERT_EQ(0, wait_delivered(self->peer.fd));
		late.after = i * 40;
		ASSERT_EQ(0, pthread_create(&poller, NULL, poll_late, &late));
		EXPECT_EQ((n - 1) * len + 1, recv(self->fd, payload, (n - 1) * len + 1, 0));
		pthread_join(poller, NULL);
		ASSERT_EQ(POLLIN, late.events) TH_LOG("round %d", i);
		EXPECT_EQ(len - 1, recv_all(self->fd, payload, len - 1));
	}
}

/* The end comes to those who wait for a key, when there is nothing for it to open. */
TEST_F(tls13, end_behind_a_key_update)
{
	uint8_t type;

	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	ASSERT_EQ(0, peer_ends_key(&self->peer));
	EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(KEY_UPDATE_LEN, recv_control(self->fd, &type));
}

/* What waits behind a full queue is not the end, though the peer has gone. */
TEST_F(tls13, end_behind_a_full_queue)
{
	uint8_t type;
	int i;

	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	for (i = 0; i <= KTLS_CONTROL_MAX; i++)
		ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "\4\0\0\1x", 5));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	shutdown(self->peer.fd, SHUT_WR);
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	time_limit(self->fd, 1);
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	for (i = 0; i <= KTLS_CONTROL_MAX; i++) {
		EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
		EXPECT_EQ(5, recv_control(self->fd, &type));
	}
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
}

/* Who polls for data alone learns of the end, whatever was opened just before it. */
TEST_F(tls13, end_with_a_ticket)
{
	int fd = self->fd, there = self->peer.fd, on = 1, off = 0;
	struct peer *peer = &self->peer;
	struct timespec from, to;

	ASSERT_EQ(0, set_flag(fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	WHEN_ASLEEP({
		setsockopt(there, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
		peer_send(peer, HANDSHAKE, "\4\0\0\1x", 5);
		shutdown(there, SHUT_WR);
		setsockopt(there, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	});
	clock_gettime(CLOCK_MONOTONIC, &from);
	EXPECT_EQ(POLLIN, poll_wait(fd, POLLIN));
	clock_gettime(CLOCK_MONOTONIC, &to);
	/* poll looks once more when its time is over. */
	EXPECT_GT(TIME_LIMIT, to.tv_sec - from.tv_sec + 1);
	EXPECT_EQ(0, recv(fd, payload, 100, 0));
}

/* Whoever wants many bytes gets every other record, and what announces a key. */
TEST_F(tls13, control_records_below_the_mark)
{
	int mark = 100;
	uint8_t type;

	setsockopt(self->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\132", 2));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "abc", 3));
	ASSERT_EQ(0, peer_ends_key(&self->peer));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, MSG_PEEK, &type));
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(3, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(KEY_UPDATE_LEN, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, payload, 100, 0)));
}

/* A reset is told to those who wait for a key. */
TEST_F(tls13, reset_behind_a_key_update)
{
	ASSERT_EQ(0, set_flag(self->fd, SOL_KTLS, KTLS_CONTROL, KTLS_CONTROL_QUEUE));
	ASSERT_EQ(0, peer_ends_key(&self->peer));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "next", 4));
	EXPECT_TRUE(poll_wait(self->fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 100, MSG_DONTWAIT)));
	abort_connection(&self->peer.fd);
	EXPECT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 100, 0)));
}

TEST_HARNESS_MAIN
