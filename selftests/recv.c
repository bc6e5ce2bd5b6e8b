// SPDX-License-Identifier: GPL-2.0-only
/* recv(2) and its kin: which bytes a call gives, and that none are lost. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>

#define BIG	(1 << 20)

static const size_t sizes[] = { 1, 2, 15, 16, 17, 255, 4095, 4096, 4097, 16383, 16384, 16385,
				32767, 32768, 32769, 65535, 65536, 65537 };
static uint8_t data[BIG], got[BIG];

PAIR_FIXTURE(recv);

static void send_filled(struct __test_metadata *_metadata, int fd, size_t len)
{
	fill(data, len, 0);
	ASSERT_EQ(0, send_all(fd, data, len));
}

TEST_F(recv, sizes)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		send_filled(_metadata, self->other, sizes[i]);
		ASSERT_EQ(sizes[i], recv_all(self->fd, got, sizes[i]));
		ASSERT_TRUE(filled(got, sizes[i], 0));
	}
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, MSG_DONTWAIT)));
}

/* Buffers of every boundary size against full records. */
TEST_F(recv, buffer_sizes)
{
	size_t i, offset, n;

	for (i = 6; i < ARRAY_SIZE(sizes); i++) {
		send_filled(_metadata, self->other, 100000);
		for (offset = 0; offset < 100000; offset += n) {
			n = recv(self->fd, got, sizes[i], 0);
			ASSERT_LE(1, n);
			ASSERT_GE(sizes[i], n);
			ASSERT_TRUE(filled(got, n, offset));
		}
		ASSERT_EQ(100000, offset);
	}
}

TEST_F(recv, short_reads)
{
	size_t offset, len = 1, n;

	send_filled(_metadata, self->other, 20000);
	for (offset = 0; offset < 20000; offset += n, len = len * 3 % 997 + 1) {
		n = read(self->fd, got, len);
		ASSERT_LE(1, n);
		ASSERT_GE(len, n);
		ASSERT_TRUE(filled(got, n, offset));
	}
	ASSERT_EQ(20000, offset);
}

TEST_F(recv, alignment)
{
	size_t shift;

	for (shift = 0; shift < 16; shift++) {
		memset(got, 0xee, 20000);
		send_filled(_metadata, self->other, 16384);
		ASSERT_EQ(16384, recv(self->fd, got + 16 + shift, 16384, MSG_WAITALL));
		ASSERT_TRUE(filled(got + 16 + shift, 16384, 0));
		EXPECT_EQ(0xee, got[15 + shift]);
		EXPECT_EQ(0xee, got[16 + shift + 16384]);
	}
}

/* Nothing beyond the bytes returned is written. */
TEST_F(recv, no_more_than_returned)
{
	size_t i;

	memset(got, 0xee, 40000);
	send_filled(_metadata, self->other, 1000);
	ASSERT_EQ(1000, recv(self->fd, got, 40000, 0));
	for (i = 1000; i < 40000; i++)
		ASSERT_EQ(0xee, got[i]);
}

static bool holds_only(const uint8_t *bytes, size_t len, uint8_t one, uint8_t other)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (bytes[i] != one && bytes[i] != other)
			return false;
	return true;
}

/*
 * Decrypted straight into the reader's memory, and then not authentic: none of it stays there.
 * What is behind the record's place is never written.
 */
TEST_F(recv, nothing_of_a_forged_record)
{
	static uint8_t record[RECORD_MAX];
	struct peer peer;
	size_t len;
	int fd;

	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	fill(data, 1000, 0);
	ASSERT_EQ(0, peer_send(&peer, DATA, data, 1000));
	memset(data, 's', 8000);
	len = record_seal(&peer.tx, DATA, data, 8000, record);
	record[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(peer.fd, record, len));
	ASSERT_EQ(0, wait_delivered(peer.fd));
	memset(got, 0xee, 40000);
	ASSERT_EQ(1000, recv(fd, got, 40000, 0));
	EXPECT_TRUE(filled(got, 1000, 0));
	EXPECT_TRUE(holds_only(got + 1000, 8000, 0, 0xee));
	EXPECT_TRUE(holds_only(got + 9000, 31000, 0xee, 0xee));
	memset(got, 0xee, 40000);
	EXPECT_EQ(-EBADMSG, RESULT(recv(fd, got, 40000, 0)));
	EXPECT_TRUE(holds_only(got, 40000, 0xee, 0xee));
	close(fd);
	peer_close(&peer);
}

TEST_F(recv, vector)
{
	struct iovec iov[1000];
	size_t i, total = 0;

	for (i = 0; i < ARRAY_SIZE(iov); i++) {
		iov[i] = (struct iovec){ got + total, i % 40 };
		total += i % 40;
	}
	send_filled(_metadata, self->other, total);
	i = readv(self->fd, iov, ARRAY_SIZE(iov));
	ASSERT_LE(total < 16384 ? total : 16384, i);
	ASSERT_TRUE(filled(got, i, 0));
}

TEST_F(recv, nothing)
{
	send_filled(_metadata, self->other, 10);
	EXPECT_EQ(0, recv(self->fd, got, 0, MSG_DONTWAIT));
	EXPECT_EQ(0, read(self->fd, got, 0));
	EXPECT_EQ(10, recv(self->fd, got, 20, 0));
	EXPECT_TRUE(filled(got, 10, 0));
}

TEST_F(recv, urgent)
{
	ONLY_KTLS();
	send_filled(_metadata, self->other, 10);
	ASSERT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(-EOPNOTSUPP, RESULT(recv(self->fd, got, 20, MSG_OOB)));
	EXPECT_EQ(10, recv(self->fd, got, 20, 0));
}

TEST_F(recv, dontwait)
{
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, MSG_DONTWAIT)));
	nonblocking(self->fd, true);
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, 0)));
	send_filled(_metadata, self->other, 10);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(10, recv(self->fd, got, 100, MSG_WAITALL));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, 0)));
}

TEST_F(recv, peek)
{
	send_filled(_metadata, self->other, 100);
	EXPECT_EQ(10, recv(self->fd, got, 10, MSG_PEEK));
	EXPECT_TRUE(filled(got, 10, 0));
	EXPECT_EQ(40, recv(self->fd, got, 40, 0));
	EXPECT_EQ(60, recv(self->fd, got, 100, MSG_PEEK));
	EXPECT_TRUE(filled(got, 60, 40));
	EXPECT_EQ(60, recv(self->fd, got, 100, 0));
	EXPECT_TRUE(filled(got, 60, 40));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 10, MSG_PEEK | MSG_DONTWAIT)));
}

TEST_F(recv, peek_several_records)
{
	int i;

	ASSERT_EQ(3, send(self->other, "one", 3, 0));
	ASSERT_EQ(3, send(self->other, "two", 3, 0));
	ASSERT_EQ(5, send(self->other, "three", 5, 0));
	for (i = 0; i < 3; i++) {
		memset(got, 0, 11);
		ASSERT_EQ(11, recv(self->fd, got, 11, MSG_PEEK | MSG_WAITALL));
		EXPECT_EQ(0, memcmp(got, "onetwothree", 11));
	}
	ASSERT_EQ(4, recv(self->fd, got, 4, 0));
	ASSERT_EQ(7, recv(self->fd, got, 11, MSG_PEEK));
	EXPECT_EQ(0, memcmp(got, "wothree", 7));
	ASSERT_EQ(7, recv(self->fd, got, 11, 0));
	EXPECT_EQ(0, memcmp(got, "wothree", 7));
}

TEST_F(recv, peek_stops_at_control)
{
	uint8_t type;

	ASSERT_EQ(3, send(self->other, "one", 3, 0));
	ASSERT_EQ(3, send_type(self->other, HANDSHAKE, "two", 3, 0));
	ASSERT_EQ(5, send(self->other, "three", 5, 0));
	EXPECT_EQ(3, recv(self->fd, got, 100, MSG_PEEK));
	EXPECT_EQ(3, recv(self->fd, got, 100, 0));
	EXPECT_EQ(3, recv_type(self->fd, got, 100, MSG_PEEK, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(3, recv_type(self->fd, got, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(5, recv(self->fd, got, 100, 0));
}

TEST_F(recv, wait_all)
{
	int there = self->other;

	ASSERT_EQ(4, send(self->other, "abcd", 4, 0));
	WHEN_ASLEEP(send_all(there, "efghij", 6));
	EXPECT_EQ(10, recv(self->fd, got, 10, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(got, "abcdefghij", 10));
}

TEST_F(recv, wait_all_ends)
{
	uint8_t type;

	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	ASSERT_EQ(4, send_type(self->other, HANDSHAKE, "ctrl", 4, 0));
	EXPECT_EQ(4, recv_type(self->fd, got, 10, MSG_WAITALL, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(4, recv_type(self->fd, got, 10, MSG_WAITALL, &type));
	EXPECT_EQ(HANDSHAKE, type);
	ASSERT_EQ(4, send(self->other, "last", 4, 0));
	close(self->other);
	EXPECT_EQ(4, recv(self->fd, got, 10, MSG_WAITALL));
}

TEST_F(recv, blocks_until_data)
{
	int there = self->other;

	WHEN_ASLEEP(send_all(there, "data", 4));
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
}

/* As TCP: MSG_TRUNC throws away. */
TEST_F(recv, discard)
{
	ONLY_KTLS();
	send_filled(_metadata, self->other, 1000);
	EXPECT_EQ(300, recv(self->fd, NULL, 300, MSG_TRUNC));
	EXPECT_EQ(100, recv(self->fd, got, 100, 0));
	EXPECT_TRUE(filled(got, 100, 300));
	EXPECT_EQ(600, recv(self->fd, NULL, 5000, MSG_TRUNC));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, MSG_DONTWAIT)));
}

TEST_F(recv, low_water_mark)
{
	int mark = 8, there = self->other;

	ONLY_KTLS();
	ASSERT_EQ(0, setsockopt(self->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)));
	ASSERT_EQ(3, send(self->other, "abc", 3, 0));
	ASSERT_EQ(2, send(self->other, "de", 2, 0));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	WHEN_ASLEEP(send_all(there, "fghi", 4));
	EXPECT_EQ(9, recv(self->fd, got, 100, 0));
	EXPECT_EQ(0, memcmp(got, "abcdefghi", 9));
	ASSERT_EQ(8, send(self->other, "12345678", 8, 0));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(8, recv(self->fd, got, 100, 0));
	ASSERT_EQ(3, send(self->other, "abc", 3, 0));
	close(self->other);
	EXPECT_EQ(3, recv(self->fd, got, 100, 0));
}

TEST_F(recv, timeout)
{
	struct timeval limit = { .tv_usec = 50000 };

	setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 10, 0)));
	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	EXPECT_EQ(4, recv(self->fd, got, 10, MSG_WAITALL));
}

TEST_F(recv, interrupted)
{
	pid_t us = getpid();

	interrupted_by(SIGUSR1);
	time_limit(self->fd, 0);
	WHEN_ASLEEP(kill(us, SIGUSR1));
	EXPECT_EQ(-EINTR, RESULT(recv(self->fd, got, 10, 0)));
	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	WHEN_ASLEEP(kill(us, SIGUSR1));
	EXPECT_EQ(4, recv(self->fd, got, 10, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(got, "data", 4));
	ASSERT_EQ(4, send(self->other, "more", 4, 0));
	EXPECT_EQ(4, recv(self->fd, got, 10, 0));
}

TEST_F(recv, bad_address)
{
	ONLY_KTLS();
	send_filled(_metadata, self->other, 1000);
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 1000, 0)));
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 10, 0)));
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 1000, MSG_PEEK)));
	EXPECT_EQ(1000, recv(self->fd, got, 1000, 0));
	EXPECT_TRUE(filled(got, 1000, 0));
}

TEST_F(recv, peek_at_bad_address)
{
	char buf[4];

	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	EXPECT_EQ(4, recv(self->fd, buf, 4, MSG_PEEK));
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, (void *)8, 4, MSG_PEEK)));
	EXPECT_EQ(4, recv(self->fd, buf, 4, 0));
}

TEST_F(recv, half_bad_address)
{
	uint8_t *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	ssize_t n;

	ONLY_KTLS();
	ASSERT_EQ(0, munmap(area + 4096, 4096));
	send_filled(_metadata, self->other, 16384);
	n = RESULT(recv(self->fd, area + 1, 16384, 0));
	ASSERT_TRUE(n == -EFAULT || (n > 0 && n <= 4095)) TH_LOG("%zd", n);
	n = n < 0 ? 0 : n;
	EXPECT_TRUE(filled(area + 1, n, 0));
	ASSERT_EQ(16384 - n, recv(self->fd, got, 16384 - n, MSG_WAITALL));
	EXPECT_TRUE(filled(got, 16384 - n, n));
}

TEST_F(recv, read_only_page)
{
	uint8_t *page = mmap(NULL, 16384, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	ONLY_KTLS();
	send_filled(_metadata, self->other, 16384);
	EXPECT_EQ(-EFAULT, RESULT(recv(self->fd, page, 16384, 0)));
	for (i = 0; i < 16384; i++)
		ASSERT_EQ(0, page[i]);
	EXPECT_EQ(16384, recv(self->fd, got, 16384, MSG_WAITALL));
	EXPECT_TRUE(filled(got, 16384, 0));
}

TEST_F(recv, many_messages)
{
	struct mmsghdr messages[3] = {};
	struct iovec iov[3];
	int i;

	for (i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ got + 10 * i, 4 };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	send_filled(_metadata, self->other, 10);
	EXPECT_EQ(3, recvmmsg(self->fd, messages, 3, MSG_WAITFORONE, NULL));
	EXPECT_EQ(4, messages[0].msg_len);
	EXPECT_EQ(4, messages[1].msg_len);
	EXPECT_EQ(2, messages[2].msg_len);
	EXPECT_TRUE(filled(got + 10, 4, 4));
}

TEST_F(recv, bytes_to_read)
{
	int n = -1;

	ONLY_KTLS();
	ASSERT_EQ(0, ioctl(self->fd, FIONREAD, &n));
	EXPECT_EQ(0, n);
	send_filled(_metadata, self->other, 1000);
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	ASSERT_EQ(1, recv(self->fd, got, 1, 0));
	ASSERT_EQ(0, ioctl(self->fd, FIONREAD, &n));
	EXPECT_EQ(999, n);
	ASSERT_EQ(999, recv(self->fd, got, 1000, 0));
	ASSERT_EQ(0, ioctl(self->fd, FIONREAD, &n));
	EXPECT_EQ(0, n);
}

static void *send_big(void *fd)
{
	return (void *)(long)send_all(*(int *)fd, data, BIG);
}

/* A megabyte in reads of sizes that fit nothing. */
TEST_F(recv, megabyte)
{
	size_t offset, len = 7, n;
	pthread_t thread;
	void *result;

	fill(data, BIG, 0);
	pthread_create(&thread, NULL, send_big, &self->other);
	for (offset = 0; offset < BIG; offset += n, len = len * 31 % 50021 + 1) {
		n = recv(self->fd, got, len, 0);
		ASSERT_LE(1, (ssize_t)n);
		ASSERT_TRUE(filled(got, n, offset));
	}
	pthread_join(thread, &result);
	EXPECT_EQ(NULL, result);
	EXPECT_EQ(BIG, offset);
}

TEST_HARNESS_MAIN
