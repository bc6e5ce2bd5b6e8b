// SPDX-License-Identifier: GPL-2.0-only
/* send(2) and its kin: which records a call makes, judged by the peer. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <sys/time.h>

#define BIG	(1 << 20)

static const size_t sizes[] = { 1, 2, 15, 16, 17, 255, 256, 4095, 4096, 4097, 16367, 16368,
				16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537 };
static uint8_t data[BIG], got[BIG];

PEER_FIXTURE(send);

/* The peer gets @len bytes of the stream from @offset, in the fewest records. */
static void expect_stream(struct __test_metadata *_metadata, struct peer *peer, size_t len,
			  size_t offset)
{
	uint8_t type, payload[PAYLOAD_MAX];
	ssize_t n;

	for (; len; len -= n, offset += n) {
		n = peer_recv(peer, &type, payload);
		ASSERT_EQ(len < PAYLOAD_MAX ? len : PAYLOAD_MAX, n);
		ASSERT_EQ(DATA, type);
		ASSERT_TRUE(filled(payload, n, offset));
	}
}

static void expect_nothing(struct __test_metadata *_metadata, struct peer *peer)
{
	char byte;

	EXPECT_EQ(-EAGAIN, RESULT(recv(peer->fd, &byte, 1, MSG_DONTWAIT)));
}

static void expect_record(struct __test_metadata *_metadata, struct peer *peer, const char *text)
{
	uint8_t type, payload[PAYLOAD_MAX];

	ASSERT_EQ(strlen(text), peer_recv(peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, text, strlen(text)));
	EXPECT_EQ(DATA, type);
}

TEST_F(send, sizes)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill(data, sizes[i], i);
		ASSERT_EQ(sizes[i], send(self->fd, data, sizes[i], 0));
		expect_stream(_metadata, &self->peer, sizes[i], i);
	}
	expect_nothing(_metadata, &self->peer);
}

TEST_F(send, alignment)
{
	size_t shift;

	for (shift = 0; shift < 16; shift++) {
		fill(data + shift, 5000 + shift, 0);
		ASSERT_EQ(5000 + shift, write(self->fd, data + shift, 5000 + shift));
		expect_stream(_metadata, &self->peer, 5000 + shift, 0);
	}
}

TEST_F(send, nothing)
{
	EXPECT_EQ(0, send(self->fd, data, 0, 0));
	EXPECT_EQ(0, write(self->fd, data, 0));
	ASSERT_EQ(1, send(self->fd, "x", 1, 0));
	expect_record(_metadata, &self->peer, "x");
	expect_nothing(_metadata, &self->peer);
}

TEST_F(send, vector)
{
	struct iovec iov[1000];
	size_t i, total = 0;

	for (i = 0; i < ARRAY_SIZE(iov); i++) {
		iov[i] = (struct iovec){ data + total, i % 70 };
		total += i % 70;
	}
	fill(data, total, 0);
	ASSERT_EQ(total, writev(self->fd, iov, ARRAY_SIZE(iov)));
	expect_stream(_metadata, &self->peer, total, 0);
	expect_nothing(_metadata, &self->peer);
}

TEST_F(send, each_call_a_record)
{
	ASSERT_EQ(3, send(self->fd, "one", 3, 0));
	ASSERT_EQ(3, send(self->fd, "two", 3, 0));
	expect_record(_metadata, &self->peer, "one");
	expect_record(_metadata, &self->peer, "two");
}

TEST_F(send, more)
{
	ASSERT_EQ(3, send(self->fd, "one", 3, MSG_MORE));
	ASSERT_EQ(3, send(self->fd, "two", 3, MSG_MORE));
	expect_nothing(_metadata, &self->peer);
	ASSERT_EQ(5, send(self->fd, "three", 5, 0));
	expect_record(_metadata, &self->peer, "onetwothree");
	expect_nothing(_metadata, &self->peer);
}

/* A full record leaves although more was announced. */
TEST_F(send, more_than_a_record)
{
	size_t done;

	fill(data, 40000, 0);
	for (done = 0; done < 40000; done += 1000)
		ASSERT_EQ(1000, send(self->fd, data + done, 1000, MSG_MORE));
	expect_stream(_metadata, &self->peer, 32768, 0);
	expect_nothing(_metadata, &self->peer);
	fill(data, 10, 40000);
	ASSERT_EQ(10, send(self->fd, data, 10, 0));
	expect_stream(_metadata, &self->peer, 40010 - 32768, 32768);
}

TEST_F(send, more_at_the_boundary)
{
	fill(data, 16384, 0);
	ASSERT_EQ(16383, send(self->fd, data, 16383, MSG_MORE));
	expect_nothing(_metadata, &self->peer);
	ASSERT_EQ(1, send(self->fd, data + 16383, 1, MSG_MORE));
	expect_stream(_metadata, &self->peer, 16384, 0);
	ASSERT_EQ(1, send(self->fd, "x", 1, 0));
	expect_record(_metadata, &self->peer, "x");
}

TEST_F(send, end_of_record)
{
	EXPECT_EQ(-EINVAL, RESULT(send(self->fd, "x", 1, MSG_EOR | MSG_MORE)));
	ASSERT_EQ(3, send(self->fd, "one", 3, MSG_MORE));
	ASSERT_EQ(3, send(self->fd, "two", 3, MSG_EOR));
	ASSERT_EQ(5, send(self->fd, "three", 5, MSG_EOR));
	expect_record(_metadata, &self->peer, "onetwo");
	expect_record(_metadata, &self->peer, "three");
}

TEST_F(send, many_messages)
{
	struct iovec iov[3] = { { "one", 3 }, { "two", 3 }, { "three", 5 } };
	struct mmsghdr messages[3] = {};
	int i;

	/* Kernel TLS knows no MSG_BATCH. */
	ONLY_KTLS();
	for (i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	ASSERT_EQ(3, sendmmsg(self->fd, messages, 3, 0));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(iov[i].iov_len, messages[i].msg_len);
	expect_record(_metadata, &self->peer, "one");
	expect_record(_metadata, &self->peer, "two");
	expect_record(_metadata, &self->peer, "three");
}

TEST_F(send, flags_without_meaning)
{
	EXPECT_EQ(-EOPNOTSUPP, RESULT(send(self->fd, "x", 1, MSG_OOB)));
	ASSERT_EQ(2, send(self->fd, "ok", 2, MSG_NOSIGNAL | MSG_DONTWAIT));
	expect_record(_metadata, &self->peer, "ok");
}

TEST_F(send, bad_control_message)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(8)]; } control = {};
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	struct cmsghdr *cmsg = (void *)&control;

	msg.msg_controllen = CMSG_SPACE(1);
	*cmsg = (struct cmsghdr){ .cmsg_level = SOL_TLS, .cmsg_type = 99,
				  .cmsg_len = CMSG_LEN(1) };
	EXPECT_EQ(-EINVAL, RESULT(sendmsg(self->fd, &msg, 0)));
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(0);
	EXPECT_EQ(-EINVAL, RESULT(sendmsg(self->fd, &msg, 0)));
	cmsg->cmsg_len = 1;
	EXPECT_EQ(-EINVAL, RESULT(sendmsg(self->fd, &msg, 0)));
	expect_nothing(_metadata, &self->peer);
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	expect_record(_metadata, &self->peer, "ok");
}

TEST_F(send, bad_address)
{
	EXPECT_EQ(-EFAULT, RESULT(send(self->fd, (void *)8, 100, 0)));
	EXPECT_EQ(-EFAULT, RESULT(send(self->fd, (void *)8, 20000, 0)));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	expect_record(_metadata, &self->peer, "ok");
	expect_nothing(_metadata, &self->peer);
}

/* Half of the buffer is not there: what is reported as sent arrives, and nothing else. */
TEST_F(send, half_bad_address)
{
	uint8_t *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0), type;
	ssize_t n, sent;
	size_t offset;

	ONLY_KTLS();
	ASSERT_EQ(0, munmap(area + 4096, 4096));
	fill(area, 4096, 0);
	sent = RESULT(send(self->fd, area + 1, 8000, 0));
	ASSERT_TRUE(sent == 4095 || sent == -EFAULT);
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	for (offset = 0; sent > 0 && offset < (size_t)sent; offset += n) {
		n = peer_recv(&self->peer, &type, got);
		ASSERT_LT(0, n);
		EXPECT_TRUE(filled(got, n, 1 + offset));
	}
	expect_record(_metadata, &self->peer, "ok");
}

TEST_F(send, full)
{
	size_t total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	int queued = 0;

	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, poll_now(self->fd, POLLOUT));
	ASSERT_EQ(0, ioctl(self->fd, SIOCOUTQ, &queued));
	EXPECT_LT(0, queued);
	ASSERT_LT(0, total);
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	EXPECT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
	expect_nothing(_metadata, &self->peer);
}

TEST_F(send, timeout)
{
	struct timeval limit = { .tv_usec = 50000 };
	size_t total;

	setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	total = fill_carrier(self->fd, self->peer.fd, 0);
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	expect_nothing(_metadata, &self->peer);
}

/* A signal ends a blocked call with what was sent so far; nothing is lost or sent twice. */
TEST_F(send, interrupted)
{
	pid_t us = getpid();
	size_t total;
	ssize_t n;

	interrupted_by(SIGUSR1);
	total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	WHEN_ASLEEP(kill(us, SIGUSR1));
	fill(data, 100000, total);
	n = RESULT(send(self->fd, data, 100000, 0));
	ASSERT_TRUE(n == -EINTR || n > 0) TH_LOG("%zd", n);
	total += n > 0 ? n : 0;
	ASSERT_EQ(total, peer_drain(&self->peer, total));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	expect_record(_metadata, &self->peer, "ok");
}

static void *drain(void *peer)
{
	return (void *)peer_drain(peer, 4 * BIG);
}

/* One call for more than all buffers hold, against a slow reader. */
TEST_F(send, megabytes)
{
	uint8_t *all = malloc(4 * BIG);
	int fixed = 65536;
	pthread_t thread;
	void *drained;

	setsockopt(self->peer.fd, SOL_SOCKET, SO_RCVBUF, &fixed, sizeof(fixed));
	fill(all, 4 * BIG, 0);
	pthread_create(&thread, NULL, drain, &self->peer);
	EXPECT_EQ(0, send_all(self->fd, all, 4 * BIG));
	pthread_join(thread, &drained);
	EXPECT_EQ(4 * BIG, (size_t)drained);
	free(all);
}

/* The buffer is the caller's again when the call returns. */
TEST_F(send, buffer_reused)
{
	fill(data, 20000, 0);
	ASSERT_EQ(20000, send(self->fd, data, 20000, MSG_MORE));
	memset(data, 0, 20000);
	fill(data, 1, 20000);
	ASSERT_EQ(1, send(self->fd, data, 1, 0));
	expect_stream(_metadata, &self->peer, 20001, 0);
}

TEST_HARNESS_MAIN
