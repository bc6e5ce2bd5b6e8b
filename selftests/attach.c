// SPDX-License-Identifier: GPL-2.0-only
/* socket() and bind(): what can be made, what can be a carrier, and every errno. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <netinet/udp.h>

TEST(socket_types)
{
	ONLY_KTLS();
	EXPECT_EQ(-ESOCKTNOSUPPORT, RESULT(socket(AF_KTLS, SOCK_RAW, 0)));
	EXPECT_EQ(-ESOCKTNOSUPPORT, RESULT(socket(AF_KTLS, SOCK_SEQPACKET, 0)));
	EXPECT_EQ(-EPROTONOSUPPORT, RESULT(socket(AF_KTLS, SOCK_STREAM, IPPROTO_TCP)));
	EXPECT_LE(0, socket(AF_KTLS, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

FIXTURE(attach) { int fd; int tcp[2]; };
FIXTURE_VARIANT(attach) { int family; };
FIXTURE_VARIANT_ADD(attach, ipv4) { .family = AF_INET };
FIXTURE_VARIANT_ADD(attach, ipv6) { .family = AF_INET6 };

FIXTURE_SETUP(attach)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	self->fd = socket(AF_KTLS, SOCK_STREAM, 0);
	ASSERT_LE(0, self->fd);
	time_limit(self->fd, TIME_LIMIT);
	ASSERT_EQ(0, tcp_pair(variant->family, self->tcp));
}

FIXTURE_TEARDOWN(attach)
{
	close(self->fd);
	close(self->tcp[0]);
	close(self->tcp[1]);
}

TEST_F(attach, length)
{
	struct sockaddr_storage room = {};
	struct sockaddr_ktls *addr = (void *)&room;
	socklen_t len;

	addr->skt_family = AF_KTLS;
	addr->skt_fd = self->tcp[0];
	for (len = 0; len <= sizeof(room); len++) {
		if (len == sizeof(*addr))
			continue;
		EXPECT_EQ(-EINVAL, RESULT(bind(self->fd, (void *)addr, len)))
			TH_LOG("length %u", len);
	}
	EXPECT_EQ(0, bind(self->fd, (void *)addr, sizeof(*addr)));
}

TEST_F(attach, family_and_flags)
{
	struct sockaddr_ktls addr = { .skt_family = AF_KTLS, .skt_fd = self->tcp[0] };
	int bit;

	for (bit = 0; bit < 16; bit++) {
		addr.skt_flags = 1 << bit;
		EXPECT_EQ(-EINVAL, RESULT(bind(self->fd, (void *)&addr, sizeof(addr))));
	}
	addr.skt_flags = 0;
	addr.skt_family = AF_INET;
	EXPECT_EQ(-EAFNOSUPPORT, RESULT(bind(self->fd, (void *)&addr, sizeof(addr))));
	addr.skt_family = AF_UNSPEC;
	EXPECT_EQ(-EAFNOSUPPORT, RESULT(bind(self->fd, (void *)&addr, sizeof(addr))));
}

TEST_F(attach, bad_address)
{
	EXPECT_EQ(-EFAULT, RESULT(bind(self->fd, (void *)8, sizeof(struct sockaddr_ktls))));
	EXPECT_EQ(0, tls_bind(self->fd, self->tcp[0]));
}

TEST_F(attach, not_a_descriptor)
{
	EXPECT_EQ(-EBADF, RESULT(tls_bind(self->fd, -1)));
	EXPECT_EQ(-EBADF, RESULT(tls_bind(self->fd, 999)));
	EXPECT_EQ(-EBADF, RESULT(tls_bind(self->fd, INT32_MIN)));
}

TEST_F(attach, not_a_socket)
{
	int file = open("/proc/self/exe", O_RDONLY), pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-ENOTSOCK, RESULT(tls_bind(self->fd, file)));
	EXPECT_EQ(-ENOTSOCK, RESULT(tls_bind(self->fd, pipes[0])));
}

TEST_F(attach, wrong_protocol)
{
	int udp = socket(variant->family, SOCK_DGRAM, 0), raw, local[2];

	raw = socket(variant->family, SOCK_RAW, IPPROTO_UDP);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, local));
	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(self->fd, udp)));
	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(self->fd, raw)));
	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(self->fd, local[0])));
}

TEST_F(attach, itself)
{
	int other = socket(AF_KTLS, SOCK_STREAM, 0);

	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(self->fd, self->fd)));
	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(self->fd, other)));
	EXPECT_EQ(0, tls_bind(self->fd, self->tcp[0]));
	EXPECT_EQ(-EPROTOTYPE, RESULT(tls_bind(other, self->fd)));
}

TEST_F(attach, not_connected)
{
	int fresh = socket(variant->family, SOCK_STREAM, 0);

	EXPECT_EQ(-ENOTCONN, RESULT(tls_bind(self->fd, fresh)));
	ASSERT_EQ(0, listen(fresh, 1));
	EXPECT_EQ(-ENOTCONN, RESULT(tls_bind(self->fd, fresh)));
}

TEST_F(attach, reset_carrier)
{
	abort_connection(&self->tcp[1]);
	ASSERT_TRUE(poll_wait(self->tcp[0], POLLIN) & POLLERR);
	EXPECT_EQ(-ENOTCONN, RESULT(tls_bind(self->fd, self->tcp[0])));
}

TEST_F(attach, carrier_with_ulp)
{
	if (setsockopt(self->tcp[0], IPPROTO_TCP, TCP_ULP, "tls", 4))
		SKIP(return, "the kernel has no TLS of its own");
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(self->fd, self->tcp[0])));
}

TEST_F(attach, carrier_with_owner)
{
	int other = socket(AF_KTLS, SOCK_STREAM, 0);

	ASSERT_EQ(0, tls_bind(other, self->tcp[0]));
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(self->fd, self->tcp[0])));
	close(other);
	EXPECT_EQ(0, tls_bind(self->fd, self->tcp[0]));
}

TEST_F(attach, twice)
{
	ASSERT_EQ(0, tls_bind(self->fd, self->tcp[0]));
	EXPECT_EQ(-EINVAL, RESULT(tls_bind(self->fd, self->tcp[0])));
	EXPECT_EQ(-EINVAL, RESULT(tls_bind(self->fd, self->tcp[1])));
}

TEST_F(attach, failure_leaves_nothing)
{
	struct keys keys;
	char buf[3];

	keys_make(&keys, TLS_CIPHER_AES_GCM_128, 1);
	EXPECT_EQ(-EBADF, RESULT(tls_bind(self->fd, -1)));
	EXPECT_EQ(-ENOTCONN, RESULT(tls_key(self->fd, TLS_TX, &keys)));
	ASSERT_EQ(0, send_all(self->tcp[1], "abc", 3));
	EXPECT_EQ(3, recv_all(self->tcp[0], buf, 3));
	EXPECT_EQ(0, tls_bind(self->fd, self->tcp[0]));
}

TEST_F(attach, unbound_calls)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char byte;

	EXPECT_EQ(-ENOTCONN, RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(-ENOTCONN, RESULT(recv(self->fd, &byte, 1, 0)));
	EXPECT_EQ(-ENOTCONN, RESULT(getpeername(self->fd, (void *)&addr, &len)));
	EXPECT_EQ(-ENOTCONN, RESULT(shutdown(self->fd, SHUT_WR)));
}

TEST_F(attach, calls_without_meaning)
{
	struct sockaddr_storage addr = { .ss_family = variant->family };
	int fds[2];

	EXPECT_EQ(-EOPNOTSUPP, RESULT(listen(self->fd, 1)));
	EXPECT_EQ(-EOPNOTSUPP, RESULT(accept(self->fd, NULL, NULL)));
	EXPECT_EQ(-EOPNOTSUPP, RESULT(connect(self->fd, (void *)&addr, sizeof(addr))));
	EXPECT_EQ(-EOPNOTSUPP, RESULT(socketpair(AF_KTLS, SOCK_STREAM, 0, fds)));
}

TEST_F(attach, names)
{
	struct sockaddr_storage ours, carriers;
	socklen_t len = sizeof(ours), carrier_len = sizeof(carriers);

	ASSERT_EQ(0, tls_bind(self->fd, self->tcp[0]));
	ASSERT_EQ(0, getsockname(self->fd, (void *)&ours, &len));
	ASSERT_EQ(0, getsockname(self->tcp[0], (void *)&carriers, &carrier_len));
	EXPECT_EQ(carrier_len, len);
	EXPECT_EQ(0, memcmp(&ours, &carriers, len));
	len = carrier_len = sizeof(ours);
	ASSERT_EQ(0, getpeername(self->fd, (void *)&ours, &len));
	ASSERT_EQ(0, getpeername(self->tcp[0], (void *)&carriers, &carrier_len));
	EXPECT_EQ(carrier_len, len);
	EXPECT_EQ(0, memcmp(&ours, &carriers, len));
}

TEST_F(attach, socket_options)
{
	int value;
	socklen_t len = sizeof(value);

	ASSERT_EQ(0, getsockopt(self->fd, SOL_SOCKET, SO_DOMAIN, &value, &len));
	EXPECT_EQ(AF_KTLS, value);
	ASSERT_EQ(0, getsockopt(self->fd, SOL_SOCKET, SO_TYPE, &value, &len));
	EXPECT_EQ(SOCK_STREAM, value);
	ASSERT_EQ(0, getsockopt(self->fd, SOL_SOCKET, SO_PROTOCOL, &value, &len));
	EXPECT_EQ(0, value);
}

TEST_F(attach, no_descriptor_leaks)
{
	int before = count_fds(), i;

	for (i = 0; i < 100; i++) {
		int fd = socket(AF_KTLS, SOCK_STREAM, 0);

		ASSERT_EQ(0, tls_bind(fd, self->tcp[0]));
		close(fd);
	}
	EXPECT_EQ(before, count_fds());
}

TEST_HARNESS_MAIN
