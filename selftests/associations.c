// SPDX-License-Identifier: GPL-2.0-only
/* DTLS: many associations on one UDP port, told apart by the peer's address. timeout=240 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/resource.h>

#define FEW	20
#define MANY	10000

static uint8_t payload[DATAGRAM_MAX];

FIXTURE(associations) { int port; struct sockaddr_in6 name; socklen_t len; struct association a[FEW]; };
DTLS_VARIANTS(associations);

FIXTURE_SETUP(associations)
{
	int i;

	self->port = udp_socket(variant->family);
	ASSERT_LE(0, self->port);
	self->len = sizeof(self->name);
	ASSERT_EQ(0, getsockname(self->port, (void *)&self->name, &self->len));
	for (i = 0; i < FEW; i++)
		ASSERT_EQ(0, associate(self->port, &self->a[i], variant->cipher, i));
}

FIXTURE_TEARDOWN(associations)
{
	int i;

	for (i = 0; i < FEW; i++) {
		close(self->a[i].fd);
		close(self->a[i].peer.fd);
	}
	close(self->port);
}

static bool talks(struct association *a, int what)
{
	uint8_t type;
	int got;

	if (dgram_send(&a->peer, DATA, &what, sizeof(what)) ||
	    recv(a->fd, &got, sizeof(got), 0) != sizeof(got) || got != what)
		return false;
	return send(a->fd, &what, sizeof(what), 0) == sizeof(what) &&
	       dgram_recv(&a->peer, &type, payload) == sizeof(what) &&
	       !memcmp(payload, &what, sizeof(what));
}

TEST_F(associations, each_its_own)
{
	int i;

	for (i = 0; i < FEW; i++)
		ASSERT_EQ(0, dgram_send(&self->a[i].peer, DATA, &i, sizeof(i)));
	for (i = FEW - 1; i >= 0; i--) {
		int got = -1;

		ASSERT_EQ(sizeof(got), recv(self->a[i].fd, &got, sizeof(got), 0));
		EXPECT_EQ(i, got);
	}
	for (i = 0; i < FEW; i++)
		EXPECT_TRUE(talks(&self->a[i], i));
}

TEST_F(associations, idle)
{
	int ttl = 5;

	EXPECT_EQ(POLLOUT, poll_now(self->a[0].fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->a[0].fd, payload, 1, MSG_DONTWAIT)));
	/* What would be everybody's is nobody's to set. */
	EXPECT_EQ(-EOPNOTSUPP, RESULT(setsockopt(self->a[0].fd, IPPROTO_IP, IP_TTL, &ttl,
						 sizeof(ttl))));
}

TEST_F(associations, names)
{
	struct sockaddr_in6 ours, peers;
	socklen_t len = sizeof(ours), peers_len = sizeof(peers);

	ASSERT_EQ(0, getpeername(self->a[3].fd, (void *)&ours, &len));
	ASSERT_EQ(0, getsockname(self->a[3].peer.fd, (void *)&peers, &peers_len));
	ASSERT_EQ(peers_len, len);
	EXPECT_EQ(0, memcmp(&ours, &peers, len));
}

/* The program that accepts sees them. */
TEST_F(associations, unknown_peers)
{
	int stranger = udp_socket(variant->family);

	ASSERT_EQ(0, connect(stranger, (void *)&self->name, self->len));
	ASSERT_EQ(5, send(stranger, "\26hello", 5, 0));
	EXPECT_EQ(5, recv(self->port, payload, 100, 0));
	EXPECT_TRUE(talks(&self->a[0], 1));
	close(stranger);
}

TEST_F(associations, closing_disturbs_nobody)
{
	int i;

	for (i = 0; i < FEW; i += 2) {
		close(self->a[i].fd);
		ASSERT_EQ(0, dgram_send(&self->a[i].peer, DATA, "gone", 4));
		EXPECT_LT(4, recv(self->port, payload, 100, 0));
		EXPECT_TRUE(talks(&self->a[i + 1], i));
	}
	for (i = 1; i < FEW; i += 2)
		EXPECT_TRUE(talks(&self->a[i], i));
	for (i = 0; i < FEW; i += 2)
		self->a[i].fd = -1;
}

/* It floods, closes, changes keys and forges, under keys that are good: its own end. */
TEST_F(associations, hostile_peer)
{
	struct association *bad = &self->a[0];
	static uint8_t flood[1000];
	uint8_t type;
	int i;

	for (i = 0; i < 2000; i++)
		ASSERT_EQ(0, dgram_send(&bad->peer, i % 2 ? DATA : HANDSHAKE, flood, sizeof(flood)));
	for (i = 1; i < FEW; i++)
		EXPECT_TRUE(talks(&self->a[i], i));
	while (recv_type(bad->fd, payload, sizeof(payload), MSG_DONTWAIT, &type) >= 0)
		;
	ASSERT_EQ(0, dgram_send(&bad->peer, CCS, "\1", 1));
	ASSERT_EQ(0, dgram_send(&bad->peer, ALERT, "\2\50", 2));
	ASSERT_EQ(0, dgram_send(&bad->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(sizeof(flood), send(bad->peer.fd, flood, sizeof(flood), 0));
	for (i = 1; i < FEW; i++)
		EXPECT_TRUE(talks(&self->a[i], i));
}

TEST_F(associations, errors)
{
	struct sockaddr_in6 name = { .sin6_family = variant->family };
	struct association *a = &self->a[0];
	socklen_t len = sizeof(name);
	int fd = dtls_attach(self->port);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTCONN, RESULT(send(fd, "x", 1, 0)));
	EXPECT_EQ(-EINVAL, RESULT(connect(fd, (void *)&name, self->len)));
	EXPECT_EQ(-EINVAL, RESULT(connect(fd, (void *)&name, 1)));
	ASSERT_EQ(0, getsockname(a->peer.fd, (void *)&name, &len));
	EXPECT_EQ(-EADDRINUSE, RESULT(connect(fd, (void *)&name, len)));
	EXPECT_EQ(-EISCONN, RESULT(connect(a->fd, (void *)&name, len)));
	close(fd);
}

/* Who cannot be the sender of anything is nobody's peer. */
TEST_F(associations, impossible_names)
{
	static const char *const addresses[2][4] = {
		{ "0.0.0.0", "224.0.0.1", "255.255.255.255", "239.1.1.1" },
		{ "::", "ff02::1", "fe80::1", "::ffff:224.0.0.1" },
	};
	bool is_ipv4 = variant->family == AF_INET;
	struct sockaddr_in6 name;
	int fd = dtls_attach(self->port), i;

	for (i = 0; i < 4; i++) {
		name = (struct sockaddr_in6){ .sin6_family = variant->family, .sin6_port = 1 };
		ASSERT_EQ(1, inet_pton(variant->family, addresses[!is_ipv4][i],
				       is_ipv4 ? (void *)&((struct sockaddr_in *)&name)->sin_addr :
				       (void *)&name.sin6_addr));
		EXPECT_EQ(-EINVAL, RESULT(connect(fd, (void *)&name, self->len)));
	}
	close(fd);
}

/* What a peer sends before there are keys keeps no room from others once it was taken over. */
TEST_F(associations, flood_before_the_keys)
{
	static const uint8_t forged[1000] = { DATA, 0xfe, 0xfd, 0, 1, [11] = 3, [12] = 0xdb };
	struct association *a = &self->a[0];
	int stranger = udp_socket(variant->family), i;
	struct sockaddr_in6 name;
	socklen_t len = sizeof(name);

	close(a->fd);
	for (i = 0; i < 2000; i++)
		ASSERT_EQ(sizeof(forged), send(a->peer.fd, forged, sizeof(forged), 0));
	a->fd = dtls_attach(self->port);
	ASSERT_EQ(0, getsockname(a->peer.fd, (void *)&name, &len));
	ASSERT_EQ(0, connect(a->fd, (void *)&name, len));
	ASSERT_EQ(0, tls_key(a->fd, TLS_RX, &a->peer.tx));
	ASSERT_EQ(-EAGAIN, RESULT(recv(self->port, payload, 100, MSG_DONTWAIT)));
	ASSERT_EQ(0, connect(stranger, (void *)&self->name, self->len));
	ASSERT_EQ(5, send(stranger, "\26hello", 5, 0));
	EXPECT_EQ(5, recv(self->port, payload, 100, 0));
	close(stranger);
}

/* Who makes an IPv4 socket of the port cuts off the IPv6 peers, and harms nothing else. */
TEST(port_becomes_ipv4)
{
	struct sockaddr_in6 name = { .sin6_family = AF_INET6 };
	int family = AF_INET, port;
	struct association a;
	struct ktls_info info;

	port = socket(AF_INET6, SOCK_DGRAM, 0);
	ASSERT_EQ(0, bind(port, (void *)&name, sizeof(name)));
	ASSERT_EQ(0, associate(port, &a, TLS_CIPHER_AES_GCM_128, 0));
	EXPECT_TRUE(talks(&a, 1));

	ASSERT_EQ(1, inet_pton(AF_INET6, "::ffff:127.0.0.1", &name.sin6_addr));
	name.sin6_port = htons(9);
	ASSERT_EQ(0, connect(port, (void *)&name, sizeof(name)));
	ASSERT_EQ(0, setsockopt(port, SOL_IPV6, IPV6_ADDRFORM, &family, sizeof(family)));
	EXPECT_EQ(0, get_info(a.fd, &info));
	send(a.fd, "lost", 4, 0);
	EXPECT_EQ(0, poll_now(a.peer.fd, POLLIN));
	close(a.fd);
	close(a.peer.fd);
	close(port);
}

FIXTURE(crowd) { };
FIXTURE_SETUP(crowd) { }
FIXTURE_TEARDOWN(crowd) { }

TEST_F_TIMEOUT(crowd, ten_thousand, 170)
{
	struct rlimit files = { .rlim_cur = 3 * MANY, .rlim_max = 3 * MANY };
	struct association *a = calloc(MANY, sizeof(*a));
	int port = udp_socket(AF_INET), i;

	if (setrlimit(RLIMIT_NOFILE, &files))
		SKIP(return, "the limit of descriptors cannot be raised");
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, associate(port, &a[i], TLS_CIPHER_AES_GCM_128, i));
	for (i = 0; i < MANY; i += 7)
		ASSERT_TRUE(talks(&a[i], i));
	for (i = 0; i < MANY; i += 2)
		close(a[i].fd);
	for (i = 1; i < MANY; i += 14)
		ASSERT_TRUE(talks(&a[i], i));
	EXPECT_EQ(-EAGAIN, RESULT(recv(port, payload, 100, MSG_DONTWAIT)));
	free(a);
}

TEST_HARNESS_MAIN
