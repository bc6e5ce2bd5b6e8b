// SPDX-License-Identifier: GPL-2.0-only
/* DTLS: what the path takes, batches of records (KTLS_SEGMENT), splice cut into records. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <net/if.h>
#include <sys/sendfile.h>

#define IP_AND_UDP(family)	((family) == AF_INET ? 28 : 48)

static uint8_t data[200000], payload[DATAGRAM_MAX];

/* Of loopback, in the network namespace of this test alone. */
static int set_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ret = ioctl(fd, SIOCSIFMTU, &ifr);

	close(fd);
	return ret;
}

FIXTURE(path) { int fd; int carrier; struct peer peer; int usable; };
DTLS_VARIANTS(path);

FIXTURE_SETUP(path)
{
	int fds[2];

	ASSERT_EQ(0, own_network());
	ASSERT_EQ(0, set_mtu(1500));
	ASSERT_EQ(0, udp_pair(variant->family, fds));
	ASSERT_EQ(0, dtls_over(fds, variant->cipher, &self->fd, &self->carrier, &self->peer));
	self->usable = 1500 - IP_AND_UDP(variant->family) - record_overhead(&self->peer.rx);
}

FIXTURE_TEARDOWN(path)
{
	close(self->fd);
	close(self->carrier);
	close(self->peer.fd);
}

static int usable(int fd)
{
	struct ktls_info info;

	return get_info(fd, &info) ? -1 : (int)info.usable;
}

static int set_segment(int fd, int size)
{
	return setsockopt(fd, SOL_KTLS, KTLS_SEGMENT, &size, sizeof(size));
}

/* @total bytes of data come in records of @segment bytes; the last may be shorter. */
static bool comes_in(struct peer *peer, size_t total, size_t segment)
{
	size_t offset, want;
	uint8_t type;

	for (offset = 0; offset < total; offset += want) {
		want = total - offset < segment ? total - offset : segment;
		if (dgram_recv(peer, &type, payload) != (ssize_t)want || type != DATA ||
		    !filled(payload, want, offset))
			return false;
	}
	return recv(peer->fd, payload, 1, MSG_DONTWAIT) < 0;
}

TEST_F(path, takes_so_much)
{
	uint8_t type;

	EXPECT_EQ(self->usable, usable(self->fd));
	fill(data, sizeof(data), 0);
	ASSERT_EQ(self->usable, send(self->fd, data, self->usable, 0));
	EXPECT_EQ(self->usable, dgram_recv(&self->peer, &type, payload));
	EXPECT_EQ(-EMSGSIZE, RESULT(send(self->fd, data, self->usable + 1, 0)));
	ASSERT_EQ(5, send(self->fd, data, 5, 0));
	EXPECT_EQ(5, dgram_recv(&self->peer, &type, payload));
}

TEST_F(path, changes)
{
	uint8_t type;

	ASSERT_EQ(0, set_mtu(1400));
	EXPECT_EQ(self->usable - 100, usable(self->fd));
	EXPECT_EQ(-EMSGSIZE, RESULT(send(self->fd, data, self->usable, 0)));
	ASSERT_EQ(self->usable - 100, send(self->fd, data, self->usable - 100, 0));
	EXPECT_EQ(self->usable - 100, dgram_recv(&self->peer, &type, payload));
	ASSERT_EQ(0, set_mtu(9000));
	EXPECT_EQ(self->usable + 7500, usable(self->fd));
	ASSERT_EQ(self->usable + 7500, send(self->fd, data, self->usable + 7500, 0));
	EXPECT_EQ(self->usable + 7500, dgram_recv(&self->peer, &type, payload));
}

TEST_F(path, batches)
{
	static const int segments[] = { 1, 100, 999, 1300 };
	size_t i, total;

	fill(data, sizeof(data), 0);
	for (i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		ASSERT_EQ(0, set_segment(self->fd, segments[i]));
		for (total = 1; total < 30 * segments[i]; total = 3 * total + 1) {
			ASSERT_EQ(total, send(self->fd, data, total, 0));
			EXPECT_TRUE(comes_in(&self->peer, total, segments[i]));
		}
	}
	ASSERT_EQ(0, set_segment(self->fd, self->usable + 1));
	EXPECT_EQ(-EMSGSIZE, RESULT(send(self->fd, data, 2 * self->usable, 0)));
	ASSERT_EQ(0, set_segment(self->fd, 0));
	EXPECT_EQ(-EMSGSIZE, RESULT(send(self->fd, data, 2 * self->usable, 0)));
}

TEST_F(path, batch_by_cmsg)
{
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_level = SOL_KTLS, .cmsg_type = KTLS_SEGMENT,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct iovec iov = { .iov_base = data, .iov_len = 1000 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	fill(data, sizeof(data), 0);
	*(int *)CMSG_DATA(&control.header) = 300;
	ASSERT_EQ(1000, sendmsg(self->fd, &msg, 0));
	EXPECT_TRUE(comes_in(&self->peer, 1000, 300));
	ASSERT_EQ(1000, send(self->fd, data, 1000, 0));
	EXPECT_TRUE(comes_in(&self->peer, 1000, 1000));
	/* 0 says more than no message. */
	ASSERT_EQ(0, set_segment(self->fd, 300));
	*(int *)CMSG_DATA(&control.header) = 0;
	ASSERT_EQ(1000, sendmsg(self->fd, &msg, 0));
	EXPECT_TRUE(comes_in(&self->peer, 1000, 1000));
}

TEST_F(path, sendfile)
{
	int file = memfd_create("path", 0);
	off_t at = 0;

	fill(data, sizeof(data), 0);
	ASSERT_EQ(100000, write(file, data, 100000));
	while (at < 100000) {
		off_t begin = at;

		/* Not more than the peer's buffer holds. */
		ASSERT_LT(0, sendfile(self->fd, file, &at, 20 * self->usable));
		while (begin < at) {
			uint8_t type;
			ssize_t n = dgram_recv(&self->peer, &type, payload);

			ASSERT_LT(0, n);
			EXPECT_LE(n, self->usable);
			EXPECT_TRUE(filled(payload, n, begin));
			begin += n;
		}
	}
	ASSERT_EQ(0, set_segment(self->fd, 500));
	at = 0;
	ASSERT_EQ(10000, sendfile(self->fd, file, &at, 10000));
	EXPECT_TRUE(comes_in(&self->peer, 10000, 500));
	close(file);
}

TEST_F(path, splice_out)
{
	int pipes[2], i;

	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 3; i++) {
		fill(data, 1000, i);
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, 1000 + i));
	}
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(1000 + i, splice(self->fd, NULL, pipes[1], NULL, 65536, 0));
		ASSERT_EQ(1000 + i, read(pipes[0], payload, sizeof(payload)));
		EXPECT_TRUE(filled(payload, 1000, i));
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* The kernel may hand several datagrams over as one. */
TEST_F(path, coalesced)
{
	int one = 1, i;

	setsockopt(self->carrier, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	for (i = 0; i < 50; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, 1000));
	for (i = 0; i < 50; i++)
		ASSERT_EQ(1000, recv(self->fd, payload, sizeof(payload), 0));
}

/* As UDP: a full buffer drops, and counts. */
TEST_F(path, buffer_full)
{
	int least = 1, i, came = 0;
	struct ktls_info info;

	ASSERT_EQ(0, setsockopt(self->fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, dgram_send(&self->peer, DATA, data, 1000));
	while (recv(self->fd, payload, sizeof(payload), MSG_DONTWAIT) == 1000)
		came++;
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_LT(0, came);
	EXPECT_EQ(100, came + info.rx_overflows);
	EXPECT_LT(0, info.rx_overflows);
}

/* A long send of small records is a send that a signal ends. */
/* To an address that no route leads to. */
TEST_F(path, nowhere)
{
	bool is_ipv4 = variant->family == AF_INET;
	struct sockaddr_in6 name = { .sin6_family = variant->family, .sin6_port = htons(9) };
	int port = socket(variant->family, SOCK_DGRAM, 0), fd;
	struct keys keys;

	ASSERT_EQ(1, inet_pton(variant->family, is_ipv4 ? "203.0.113.1" : "2001:db8::1",
			       is_ipv4 ? (void *)&((struct sockaddr_in *)&name)->sin_addr :
			       (void *)&name.sin6_addr));
	fd = dtls_attach(port);
	ASSERT_EQ(0, connect(fd, (void *)&name, sizeof(name)));
	dtls_keys_make(&keys, variant->cipher, 1);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &keys));
	EXPECT_EQ(0, usable(fd));
	EXPECT_EQ(-ENETUNREACH, RESULT(send(fd, data, 100, MSG_DONTWAIT | MSG_NOSIGNAL)));
	close(fd);
	close(port);
}

TEST_F(path, interrupted_batches)
{
	int small = 4096;

	ASSERT_EQ(0, set_segment(self->fd, 1));
	ASSERT_EQ(0, setsockopt(self->peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	ASSERT_EQ(0, setsockopt(self->carrier, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	interrupted_by(SIGALRM);
	ualarm(200000, 0);
	EXPECT_GT(sizeof(data), RESULT(send(self->fd, data, sizeof(data), 0)));
}

/* A datagram that the program composes on the carrier stays its own. */
TEST_F(path, corked)
{
	int on = 1, off = 0;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->carrier, IPPROTO_UDP, UDP_CORK, &on, sizeof(on)));
	EXPECT_EQ(-EBUSY, RESULT(send(self->fd, "ours", 4, 0)));
	ASSERT_EQ(3, send(self->carrier, "not", 3, 0));
	EXPECT_EQ(-EBUSY, RESULT(send(self->fd, "ours", 4, 0)));
	ASSERT_EQ(4, send(self->carrier, "ours", 4, 0));
	ASSERT_EQ(0, setsockopt(self->carrier, IPPROTO_UDP, UDP_CORK, &off, sizeof(off)));
	ASSERT_EQ(7, recv(self->peer.fd, payload, 100, 0));
	ASSERT_EQ(4, send(self->fd, "ours", 4, 0));
	self->peer.rx.seq += 2;
	ASSERT_EQ(4, dgram_recv(&self->peer, &type, payload));
}

/* Nor does UDP cut a record into what the carrier's program sends. */
TEST_F(path, segments_of_the_carrier)
{
	int size = 100;
	uint8_t type;

	ASSERT_EQ(0, setsockopt(self->carrier, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
	ASSERT_EQ(1000, send(self->fd, data, 1000, 0));
	ASSERT_EQ(1000, dgram_recv(&self->peer, &type, payload));
}

TEST_HARNESS_MAIN
