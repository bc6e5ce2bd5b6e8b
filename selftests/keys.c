// SPDX-License-Identifier: GPL-2.0-only
/* TLS_TX and TLS_RX: what is taken, what is refused, what is read back to whom. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/capability.h>
#include <sys/syscall.h>

FIXTURE(keys) { int fd; struct peer peer; union crypto_info info; socklen_t len; };
CIPHER_VARIANTS(keys);

FIXTURE_SETUP(keys)
{
	ASSERT_EQ(0, tls_bound_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	self->len = keys_info(&self->peer.rx, &self->info);
}

FIXTURE_TEARDOWN(keys)
{
	close(self->fd);
	peer_close(&self->peer);
}

static int set(int fd, int option, const void *info, socklen_t len)
{
	return setsockopt(fd, SOL_TLS, option, info, len) ? -errno : 0;
}

static int get(int fd, int option, void *info, socklen_t *len)
{
	return getsockopt(fd, SOL_TLS, option, info, len) ? -errno : 0;
}

TEST_F(keys, size)
{
	socklen_t len;

	for (len = 0; len <= sizeof(self->info); len++) {
		if (len == self->len)
			continue;
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_TX, &self->info, len))
			TH_LOG("%u bytes", len);
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_RX, &self->info, len))
			TH_LOG("%u bytes", len);
	}
	EXPECT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	EXPECT_EQ(0, set(self->fd, TLS_RX, &self->info, self->len));
}

TEST_F(keys, version)
{
	static const uint16_t bad[] = { 0, 0x0300, 0x0301, 0x0302, 0x0305, 0xfefd, 0xfeff, 0xffff };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		self->info.info.version = bad[i];
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_TX, &self->info, self->len));
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_RX, &self->info, self->len));
	}
	self->info.info.version = variant->cipher & TLS13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
	EXPECT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	/* One connection has one. */
	self->info.info.version ^= TLS_1_2_VERSION ^ TLS_1_3_VERSION;
	EXPECT_EQ(-EINVAL, set(self->fd, TLS_RX, &self->info, self->len));
}

TEST_F(keys, cipher)
{
	static const uint16_t bad[] = { 0, 1, 50, 60, 99, 0xffff };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		self->info.info.cipher_type = bad[i];
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_TX, &self->info, self->len));
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_RX, &self->info, self->len));
	}
}

TEST_F(keys, bad_address)
{
	EXPECT_EQ(-EFAULT, set(self->fd, TLS_TX, (void *)8, self->len));
	EXPECT_EQ(-EFAULT, set(self->fd, TLS_RX, (void *)8, self->len));
	EXPECT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	EXPECT_EQ(-EFAULT, get(self->fd, TLS_TX, (void *)8, &self->len));
	EXPECT_EQ(-EFAULT, get(self->fd, TLS_TX, &self->info, (void *)8));
}

TEST_F(keys, unknown_option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	EXPECT_EQ(-ENOPROTOOPT, set(self->fd, 99, &value, sizeof(value)));
	EXPECT_EQ(-ENOPROTOOPT, get(self->fd, 99, &value, &len));
}

TEST_F(keys, unbound)
{
	int fd = socket(AF_KTLS, SOCK_STREAM, 0);

	ONLY_KTLS();
	EXPECT_EQ(-ENOTCONN, set(fd, TLS_TX, &self->info, self->len));
	EXPECT_EQ(-ENOTCONN, set(fd, TLS_RX, &self->info, self->len));
	EXPECT_NE(0, get(fd, TLS_TX, &self->info, &self->len));
}

/* Further keys of TLS 1.2; tls13.c has those of TLS 1.3. */
FIXTURE(further) { int fd; struct peer peer; union crypto_info info; socklen_t len; };
TLS12_VARIANTS(further);

FIXTURE_SETUP(further)
{
	ASSERT_EQ(0, tls_bound_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	self->len = keys_info(&self->peer.rx, &self->info);
}

FIXTURE_TEARDOWN(further)
{
	close(self->fd);
	peer_close(&self->peer);
}

/* Without a ChangeCipherSpec under the first key a second is refused and changes nothing. */
TEST_F(further, second)
{
	struct keys other;
	union crypto_info info;
	uint8_t type;
	char buf[PAYLOAD_MAX];

	keys_make(&other, variant->cipher, 9);
	keys_info(&other, &info);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	EXPECT_EQ(-EBUSY, set(self->fd, TLS_TX, &info, self->len));
	EXPECT_EQ(-EBUSY, set(self->fd, TLS_RX, &info, self->len));
	ASSERT_EQ(4, send(self->fd, "same", 4, 0));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, buf));
	EXPECT_EQ(-EBUSY, set(self->fd, TLS_TX, &info, self->len));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "keys", 4));
	EXPECT_EQ(4, recv(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(-EBUSY, set(self->fd, TLS_RX, &info, self->len));
}

/* Keys of another cipher than the test's, as a renegotiation may choose. */
static void make_next(struct keys *keys, uint16_t cipher)
{
	keys_make(keys, cipher == TLS_CIPHER_AES_GCM_128 ? TLS_CIPHER_CHACHA20_POLY1305 :
		  TLS_CIPHER_AES_GCM_128, 8);
}

TEST_F(further, changed_for_sending)
{
	struct ktls_info info;
	struct keys next;
	uint8_t type;
	char buf[PAYLOAD_MAX];

	ONLY_KTLS();
	make_next(&next, variant->cipher);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(1, send_type(self->fd, CCS, "\1", 1, 0));
	ASSERT_EQ(1, peer_recv(&self->peer, &type, buf));
	EXPECT_EQ(CCS, type);
	ASSERT_EQ(2, send(self->fd, "op", 2, MSG_MORE));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_TX, &next)));
	ASSERT_EQ(2, send(self->fd, "en", 2, 0));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, buf));
	/* A failure leaves the old key at work. */
	EXPECT_EQ(-EINVAL, set(self->fd, TLS_TX, &self->info, self->len - 1));
	ASSERT_EQ(3, send(self->fd, "old", 3, 0));
	EXPECT_EQ(3, peer_recv(&self->peer, &type, buf));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &next));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_TX, &next)));
	self->peer.rx = next;
	ASSERT_EQ(3, send(self->fd, "new", 3, 0));
	EXPECT_EQ(3, peer_recv(&self->peer, &type, buf));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.tx.rekeys);
	EXPECT_EQ(0, info.rx.rekeys);
}

TEST_F(further, changed_for_receiving)
{
	struct ktls_info info;
	struct keys next;
	int pipes[2], i;
	uint8_t type;
	char buf[16];

	ONLY_KTLS();
	ASSERT_EQ(0, pipe(pipes));
	make_next(&next, variant->cipher);
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "old", 3));
	ASSERT_EQ(3, recv(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &next)));
	ASSERT_EQ(0, peer_send(&self->peer, CCS, "\1", 1));
	self->peer.tx = next;
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "new", 3));
	ASSERT_EQ(1, recv_type(self->fd, buf, sizeof(buf), 0, &type));
	EXPECT_EQ(CCS, type);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, buf, sizeof(buf), 0)));
		EXPECT_EQ(-EKEYEXPIRED, RESULT(recv(self->fd, buf, sizeof(buf), MSG_PEEK)));
		EXPECT_EQ(-EKEYEXPIRED, RESULT(splice(self->fd, NULL, pipes[1], NULL, 10, 0)));
		EXPECT_EQ(0, poll_now(self->fd, POLLIN));
		EXPECT_EQ(-EINVAL, set(self->fd, TLS_RX, &self->info, self->len - 1));
	}
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &next));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(3, recv(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(0, memcmp(buf, "new", 3));
	EXPECT_EQ(-EBUSY, RESULT(tls_key(self->fd, TLS_RX, &next)));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(1, info.rx.rekeys);
	EXPECT_EQ(0, info.tx.rekeys);
}

TEST_F(keys, directions_may_differ)
{
	struct keys rx;
	char buf[16];

	keys_make(&rx, (variant->cipher & TLS13) |
		  (variant->cipher == TLS_CIPHER_AES_GCM_128 ? TLS_CIPHER_CHACHA20_POLY1305 :
							       TLS_CIPHER_AES_GCM_128), 7);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	if (kernel_tls())
		SKIP(return, "kernel TLS wants one cipher");
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &rx));
	self->peer.tx = rx;
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "mixed", 5));
	EXPECT_EQ(5, recv(self->fd, buf, sizeof(buf), 0));
}

TEST_F(keys, read_back_before)
{
	EXPECT_EQ(-EBUSY, get(self->fd, TLS_TX, &self->info, &self->len));
	EXPECT_EQ(-EBUSY, get(self->fd, TLS_RX, &self->info, &self->len));
}

TEST_F(keys, read_back_sizes)
{
	union crypto_info out;
	socklen_t len;

	ASSERT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	for (len = 0; len <= sizeof(out); len++) {
		bool right = len == self->len || len == sizeof(out.info);
		socklen_t given = len;

		EXPECT_EQ(right ? 0 : -EINVAL, get(self->fd, TLS_TX, &out, &given))
			TH_LOG("%u bytes", len);
		if (right)
			EXPECT_EQ(len, given);
	}
}

TEST_F(keys, read_back_short)
{
	union crypto_info out;
	socklen_t len = sizeof(out.info);

	memset(&out, 0xee, sizeof(out));
	ASSERT_EQ(0, set(self->fd, TLS_RX, &self->info, self->len));
	ASSERT_EQ(0, get(self->fd, TLS_RX, &out, &len));
	EXPECT_EQ(self->info.info.version, out.info.version);
	EXPECT_EQ(self->info.info.cipher_type, out.info.cipher_type);
	EXPECT_EQ(0xee, out.bytes[sizeof(out.info)]);
}

/* Full size: iv and sequence number of the next record. */
TEST_F(keys, read_back_current)
{
	union crypto_info out;
	uint8_t type;
	char buf[PAYLOAD_MAX];
	int i;

	self->peer.rx.seq = 0xfffffffe;
	self->peer.tx.seq = 0x1234567890;
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(1, send(self->fd, "x", 1, 0));
		ASSERT_EQ(1, peer_recv(&self->peer, &type, buf));
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "y", 1));
		ASSERT_EQ(1, recv(self->fd, buf, 1, 0));
	}
	self->len = keys_info(&self->peer.tx, &self->info);
	ASSERT_EQ(0, get(self->fd, TLS_RX, &out, &self->len));
	EXPECT_EQ(0, memcmp(&out, &self->info, self->len));
	ASSERT_EQ(0, get(self->fd, TLS_TX, &out, &self->len));
	keys_from_info(&self->peer.rx, &out);
	EXPECT_EQ(0x100000001, self->peer.rx.seq);
	ASSERT_EQ(4, send(self->fd, "next", 4, 0));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, buf));
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};

	syscall(SYS_capset, &head, none);
}

static bool contains(const void *all, size_t len, const void *part, size_t part_len)
{
	return memmem(all, len, part, part_len);
}

TEST_F(keys, read_back_without_capability)
{
	struct keys expected = self->peer.rx;
	union crypto_info out;

	ONLY_KTLS();
	ASSERT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	ASSERT_EQ(1, send(self->fd, "x", 1, 0));
	drop_capabilities();
	ASSERT_EQ(0, get(self->fd, TLS_TX, &out, &self->len));
	EXPECT_FALSE(contains(&out, self->len, expected.key, 4));
	EXPECT_FALSE(contains(&out, self->len, expected.nonce, 4));
	EXPECT_EQ(self->info.info.version, out.info.version);
	keys_from_info(&expected, &out);
	EXPECT_EQ(1, expected.seq);
}

/* A failed call leaves no key behind. */
TEST_F(keys, failure_leaves_nothing)
{
	uint8_t type;
	char buf[PAYLOAD_MAX];

	EXPECT_EQ(-EINVAL, set(self->fd, TLS_TX, &self->info, self->len - 1));
	EXPECT_EQ(-EFAULT, set(self->fd, TLS_TX, (void *)8, self->len));
	if (!kernel_tls())
		EXPECT_EQ(-ENOKEY, RESULT(send(self->fd, "x", 1, 0)));
	ASSERT_EQ(0, set(self->fd, TLS_TX, &self->info, self->len));
	ASSERT_EQ(1, send(self->fd, "x", 1, 0));
	EXPECT_EQ(1, peer_recv(&self->peer, &type, buf));
}

TEST_HARNESS_MAIN
