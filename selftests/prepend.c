// SPDX-License-Identifier: GPL-2.0-only
/* KTLS_PREPEND_RX: what a handshake library had read already comes first, byte for byte. */
#include "kselftest_harness.h"
#include "ktls_test.h"

static uint8_t payload[PAYLOAD_MAX], raw[KTLS_PREPEND_MAX + 1], data[PAYLOAD_MAX];

/* Attached, without keys. from_start: those with which the first record is opened. */
FIXTURE(prepend) { int fd; struct peer peer; struct keys from_start; };
CIPHER_VARIANTS(prepend);

FIXTURE_SETUP(prepend)
{
	int fds[2];

	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	self->fd = tls_attach(fds[0]);
	ASSERT_LE(0, self->fd);
	self->peer.fd = fds[1];
	keys_make(&self->peer.tx, variant->cipher, 1);
	self->from_start = self->peer.tx;
}

FIXTURE_TEARDOWN(prepend)
{
	close(self->fd);
	peer_close(&self->peer);
}

static int prepend(int fd, const void *bytes, socklen_t len)
{
	return RESULT(setsockopt(fd, SOL_KTLS, KTLS_PREPEND_RX, bytes, len));
}

static int set_key(int fd, const struct keys *keys)
{
	return RESULT(tls_key(fd, TLS_RX, keys));
}

TEST_F(prepend, whole_records)
{
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);

	len += record_seal(&self->peer.tx, DATA, "two", 3, raw + len);
	ASSERT_EQ(0, prepend(self->fd, raw, len));
	EXPECT_EQ(-ENOKEY, RESULT(recv(self->fd, payload, 100, 0)));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(6, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "onetwo", 6));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
}

/* A record begins ahead and ends on the carrier: at every byte. */
TEST_F(prepend, cut_at_each_byte)
{
	struct keys tx = self->peer.tx;
	size_t len = record_seal(&tx, DATA, "whole", 5, raw), at;

	for (at = 1; at < len; at++) {
		int fds[2], fd;

		ASSERT_EQ(0, tcp_pair(variant->family, fds));
		fd = tls_attach(fds[0]);
		ASSERT_EQ(0, prepend(fd, raw, at));
		ASSERT_EQ(0, set_key(fd, &self->from_start));
		ASSERT_EQ(0, poll_now(fd, POLLIN));
		ASSERT_EQ(0, send_all(fds[1], raw + at, len - at));
		ASSERT_EQ(5, recv(fd, payload, 100, 0)) TH_LOG("byte %zu", at);
		ASSERT_EQ(0, memcmp(payload, "whole", 5));
		close(fd);
		close(fds[1]);
	}
}

TEST_F(prepend, before_what_waits)
{
	size_t len = record_seal(&self->peer.tx, DATA, "first", 5, raw);

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "second", 6));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	ASSERT_EQ(0, prepend(self->fd, raw, len));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "third", 5));
	EXPECT_EQ(16, recv(self->fd, payload, 16, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(payload, "firstsecondthird", 16));
}

TEST_F(prepend, byte_by_byte)
{
	size_t len, i;

	fill(data, 1000, 0);
	len = record_seal(&self->peer.tx, DATA, data, 1000, raw);
	for (i = 0; i < len; i++)
		ASSERT_EQ(0, prepend(self->fd, raw + i, 1));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	ASSERT_EQ(1000, recv(self->fd, payload, sizeof(payload), 0));
	EXPECT_TRUE(filled(payload, 1000, 0));
}

/* Full records up to the limit: into a reader's memory, in pieces, and out by splice. */
TEST_F(prepend, up_to_the_limit)
{
	size_t len = 0, room, offset;
	int pipes[2];
	ssize_t n;

	fill(data, sizeof(data), 0);
	while ((room = KTLS_PREPEND_MAX - len) > record_overhead(&self->peer.tx)) {
		room -= record_overhead(&self->peer.tx);
		len += record_seal(&self->peer.tx, DATA, data,
				   room < PAYLOAD_MAX ? room : PAYLOAD_MAX, raw + len);
	}
	ASSERT_EQ(0, prepend(self->fd, raw, 50000));
	ASSERT_EQ(0, prepend(self->fd, raw + 50000, KTLS_PREPEND_MAX - 50000));
	EXPECT_EQ(-EMSGSIZE, prepend(self->fd, raw, 1));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	ASSERT_EQ(16384, recv(self->fd, payload, 16384, 0));
	EXPECT_TRUE(filled(payload, 16384, 0));
	for (offset = 0; offset < 16384; offset += 4096) {
		ASSERT_EQ(4096, recv(self->fd, payload, 4096, 0));
		EXPECT_TRUE(filled(payload, 4096, offset));
	}
	ASSERT_EQ(0, pipe(pipes));
	n = splice(self->fd, NULL, pipes[1], NULL, 16384, 0);
	ASSERT_LE(1, n);
	ASSERT_EQ(n, read(pipes[0], payload, sizeof(payload)));
	EXPECT_TRUE(filled(payload, n, 0));
}

TEST_F(prepend, too_much)
{
	EXPECT_EQ(-EMSGSIZE, prepend(self->fd, raw, KTLS_PREPEND_MAX + 1));
	EXPECT_EQ(0, prepend(self->fd, raw, KTLS_PREPEND_MAX));
	EXPECT_EQ(-EMSGSIZE, prepend(self->fd, raw, 1));
	EXPECT_EQ(0, prepend(self->fd, raw, 0));
}

/* A call that fails adds nothing, and nothing of what came before is lost. */
TEST_F(prepend, bad_address)
{
	uint8_t *area = mmap(NULL, 40960, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);

	ASSERT_EQ(0, prepend(self->fd, raw, 4));
	ASSERT_EQ(0, munmap(area + 36864, 4096));
	EXPECT_EQ(-EFAULT, prepend(self->fd, (void *)8, 100));
	EXPECT_EQ(-EFAULT, prepend(self->fd, area, 40960));
	EXPECT_EQ(-EFAULT, prepend(self->fd, NULL, 1));
	EXPECT_EQ(0, prepend(self->fd, NULL, 0));
	ASSERT_EQ(0, prepend(self->fd, raw + 4, len - 4));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	ASSERT_EQ(3, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, memcmp(payload, "one", 3));
}

TEST_F(prepend, wrong_time)
{
	int fresh = socket(AF_KTLS, SOCK_STREAM, 0);

	EXPECT_EQ(-ENOTCONN, prepend(fresh, raw, 1));
	close(fresh);
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(-EBUSY, prepend(self->fd, raw, 1));
}

/* The key for sending has nothing to do with it. */
TEST_F(prepend, after_key_for_sending)
{
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);

	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->from_start));
	ASSERT_EQ(0, prepend(self->fd, raw, len));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(3, recv(self->fd, payload, 100, 0));
}

/* Nobody sends any more: what was prepended is judged as it is. */
TEST_F(prepend, ends_there)
{
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);
	struct ktls_info info;

	len += record_seal(&self->peer.tx, DATA, "cut", 3, raw + len);
	ASSERT_EQ(0, prepend(self->fd, raw, len - 1));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(3, recv(self->fd, payload, 100, MSG_WAITALL));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_TRUNCATED_RECORD);
}

TEST_F(prepend, control_records)
{
	size_t len = record_seal(&self->peer.tx, HANDSHAKE, "ctrl", 4, raw);
	uint8_t type;

	len += record_seal(&self->peer.tx, ALERT, "\1\0", 2, raw + len);
	ASSERT_EQ(0, prepend(self->fd, raw, len));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(4, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
}

TEST_F(prepend, garbage)
{
	ASSERT_EQ(0, prepend(self->fd, "\x17\x03\x03\xff\xff", 5));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(-EMSGSIZE, RESULT(recv(self->fd, payload, 100, 0)));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "fine", 4));
	EXPECT_EQ(-EMSGSIZE, RESULT(recv(self->fd, payload, 100, 0)));
}

/* It cannot go back into the carrier. */
TEST_F(prepend, refuses_detach)
{
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);

	ASSERT_EQ(0, prepend(self->fd, raw, len));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
	EXPECT_EQ(3, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)));
}

TEST_F(prepend, bytes_to_read)
{
	size_t len = record_seal(&self->peer.tx, DATA, "one", 3, raw);
	int n = -1;

	ASSERT_EQ(0, prepend(self->fd, raw, len));
	ASSERT_EQ(0, ioctl(self->fd, FIONREAD, &n));
	EXPECT_EQ(0, n);
	ASSERT_EQ(0, set_key(self->fd, &self->from_start));
	ASSERT_EQ(0, ioctl(self->fd, FIONREAD, &n));
	EXPECT_EQ(3, n);
}

TEST_HARNESS_MAIN
