// SPDX-License-Identifier: GPL-2.0-only
/* DTLS: a carrier that is bound to no address answers from the one that the peer talks to. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <linux/ipv6.h>
#include <net/if.h>

#define CIPHER	TLS_CIPHER_AES_GCM_128

static uint8_t payload[DATAGRAM_MAX];

/* Two addresses of ours; the peer's is the first too, so that routing answers from it. */
FIXTURE(addresses) { int port; struct sockaddr_in6 name; struct association a; };
FIXTURE_VARIANT(addresses) { int carrier_family; int family; const char *first; const char *second; };
FIXTURE_VARIANT_ADD(addresses, ipv4) {
	.carrier_family = AF_INET, .family = AF_INET, .first = "127.0.0.1", .second = "127.0.0.2",
};
FIXTURE_VARIANT_ADD(addresses, ipv6) {
	.carrier_family = AF_INET6, .family = AF_INET6, .first = "fd00::1", .second = "fd00::2",
};
FIXTURE_VARIANT_ADD(addresses, ipv4_to_ipv6_socket) {
	.carrier_family = AF_INET6, .family = AF_INET, .first = "127.0.0.1", .second = "127.0.0.2",
};

static int add_address(const char *address)
{
	struct in6_ifreq request = {
		.ifr6_prefixlen = 128, .ifr6_ifindex = if_nametoindex("lo"),
	};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), ret;

	inet_pton(AF_INET6, address, &request.ifr6_addr);
	ret = ioctl(fd, SIOCSIFADDR, &request);
	close(fd);
	return ret;
}

static socklen_t name_of(struct sockaddr_in6 *name, int family, const char *address, int port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)name;

	*name = (struct sockaddr_in6){ .sin6_family = family, .sin6_port = port };
	if (family == AF_INET6)
		return inet_pton(family, address, &name->sin6_addr) == 1 ? sizeof(*name) : 0;
	return inet_pton(family, address, &in->sin_addr) == 1 ? sizeof(*in) : 0;
}

static int bound_to(int family, const char *address)
{
	struct sockaddr_in6 name;
	socklen_t len = name_of(&name, family, address, 0);
	int fd = socket(family, SOCK_DGRAM, 0), tries = 1000;

	time_limit(fd, TIME_LIMIT);
	/* An address is there when the kernel has seen that nobody else has it. */
	while (bind(fd, (void *)&name, len))
		if (errno != EADDRNOTAVAIL || !tries-- || usleep(10000))
			return -1;
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in6 name;
	socklen_t len = sizeof(name);

	return getsockname(fd, (void *)&name, &len) ? -1 : name.sin6_port;
}

/* From now on the peer talks to this address, and hears nobody else. */
static int talk_to(struct association *a, int port, int family, const char *address)
{
	struct sockaddr_in6 name;
	socklen_t len = name_of(&name, family, address, port_of(port));

	return connect(a->peer.fd, (void *)&name, len);
}

/* As a carrier of this family writes it. */
static int name_peer(struct association *a, int family)
{
	struct sockaddr_in6 name, mapped = { .sin6_family = AF_INET6 };
	struct sockaddr_in *in = (struct sockaddr_in *)&name;
	socklen_t len = sizeof(name);

	if (getsockname(a->peer.fd, (void *)&name, &len))
		return -1;
	if (family == AF_INET || name.sin6_family == AF_INET6)
		return connect(a->fd, (void *)&name, len);
	mapped.sin6_port = in->sin_port;
	mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&mapped.sin6_addr.s6_addr[12], &in->sin_addr, 4);
	return connect(a->fd, (void *)&mapped, sizeof(mapped));
}

FIXTURE_SETUP(addresses)
{
	struct association *a = &self->a;

	ASSERT_EQ(0, own_network());
	if (variant->family == AF_INET6) {
		ASSERT_EQ(0, add_address(variant->first));
		ASSERT_EQ(0, add_address(variant->second));
	}
	self->port = bound_to(variant->carrier_family,
			      variant->carrier_family == AF_INET ? "0.0.0.0" : "::");
	ASSERT_LE(0, self->port);
	a->peer.fd = bound_to(variant->family, variant->first);
	ASSERT_LE(0, a->peer.fd);
	a->fd = dtls_attach(self->port);
	ASSERT_LE(0, a->fd);
	ASSERT_EQ(0, name_peer(a, variant->carrier_family));
	dtls_keys_make(&a->peer.tx, CIPHER, 1);
	dtls_keys_make(&a->peer.rx, CIPHER, 2);
	ASSERT_EQ(0, tls_key(a->fd, TLS_TX, &a->peer.rx));
	ASSERT_EQ(0, tls_key(a->fd, TLS_RX, &a->peer.tx));
}

FIXTURE_TEARDOWN(addresses)
{
	close(self->a.fd);
	close(self->a.peer.fd);
	close(self->port);
}

static bool hears(struct association *a)
{
	return !dgram_send(&a->peer, DATA, "in", 2) && recv(a->fd, payload, 10, 0) == 2;
}

/* What we send comes to the peer from where it expects it. */
static bool is_heard(struct association *a)
{
	uint8_t type;

	return send(a->fd, "out", 3, 0) == 3 && dgram_recv(&a->peer, &type, payload) == 3;
}

/* It does not, and ICMP says so. */
static bool is_unheard(struct association *a)
{
	struct pollfd pfd = { .fd = a->fd, .events = 0 };
	int err = 0;

	if (send(a->fd, "out", 3, 0) != 3 || poll(&pfd, 1, TIME_LIMIT * 1000) != 1)
		return false;
	getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &(socklen_t){ sizeof(err) });
	return err == ECONNREFUSED && recv(a->peer.fd, payload, 10, MSG_DONTWAIT) < 0;
}

static int choose(int fd, int family, const char *address)
{
	struct in6_pktinfo info6 = { };
	struct in_pktinfo info = { };

	if (family == AF_INET) {
		inet_pton(AF_INET, address, &info.ipi_spec_dst);
		return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	inet_pton(AF_INET6, address, &info6.ipi6_addr);
	return setsockopt(fd, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

TEST_F(addresses, the_peer_is_followed)
{
	const char *const where[] = { variant->second, variant->first, variant->second };
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, talk_to(&self->a, self->port, variant->family, where[i]));
		ASSERT_TRUE(hears(&self->a));
		EXPECT_TRUE(is_heard(&self->a));
	}
}

TEST_F(addresses, nobody_else_is)
{
	static const uint8_t forged[100] = { DATA, 0xfe, 0xfd, 0, 1, [10] = 9, [12] = 87 };
	struct association *a = &self->a;
	struct sockaddr_in6 name;
	socklen_t len = name_of(&name, variant->family, variant->first, port_of(self->port));
	struct ktls_info info;

	ASSERT_EQ(0, talk_to(a, self->port, variant->family, variant->second));
	ASSERT_TRUE(hears(a));
	ASSERT_EQ(sizeof(forged), sendto(a->peer.fd, forged, sizeof(forged), 0, (void *)&name, len));
	ASSERT_EQ(-EAGAIN, RESULT(recv(a->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_EQ(0, get_info(a->fd, &info));
	ASSERT_EQ(1, info.rx_bad_tag);
	EXPECT_TRUE(is_heard(a));
}

/* Who speaks first knows from the handshake where it was reached. */
TEST_F(addresses, the_first_word)
{
	struct association *a = &self->a;

	ASSERT_EQ(0, talk_to(a, self->port, variant->family, variant->second));
	EXPECT_TRUE(is_unheard(a));
	ASSERT_EQ(0, choose(a->fd, variant->family, variant->second));
	EXPECT_TRUE(is_heard(a));
	ASSERT_EQ(0, choose(a->fd, variant->family, variant->family == AF_INET ? "0.0.0.0" : "::"));
	EXPECT_TRUE(is_unheard(a));
}

/* Several records at once go the same way. */
TEST_F(addresses, batches)
{
	struct association *a = &self->a;
	int segment = 1000, i;
	uint8_t type;

	ASSERT_EQ(0, talk_to(a, self->port, variant->family, variant->second));
	ASSERT_TRUE(hears(a));
	ASSERT_EQ(0, setsockopt(a->fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment)));
	ASSERT_EQ(5500, send(a->fd, payload, 5500, 0));
	for (i = 0; i < 6; i++)
		ASSERT_EQ(i < 5 ? 1000 : 500, dgram_recv(&a->peer, &type, payload));
}

TEST_F(addresses, not_ours)
{
	struct association *a = &self->a;
	struct ktls_info info;

	ASSERT_EQ(0, talk_to(a, self->port, variant->family, variant->first));
	ASSERT_EQ(0, choose(a->fd, variant->family,
			    variant->family == AF_INET ? "192.0.2.1" : "2001:db8::1"));
	ASSERT_EQ(0, get_info(a->fd, &info));
	EXPECT_LT(1000, info.usable);
	EXPECT_TRUE(is_heard(a));
}

TEST_F(addresses, errors)
{
	int fd = dtls_attach(self->port), other = variant->family == AF_INET ? AF_INET6 : AF_INET;
	struct in6_pktinfo info6 = { };

	EXPECT_EQ(-ENOTCONN, RESULT(choose(fd, variant->family, variant->first)));
	EXPECT_EQ(-EINVAL, RESULT(choose(self->a.fd, other, other == AF_INET ? "127.0.0.1" : "::1")));
	EXPECT_EQ(-EINVAL, RESULT(choose(self->a.fd, AF_INET6, "ff02::1")));
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->a.fd, IPPROTO_IPV6, IPV6_PKTINFO, &info6, 4)));
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->a.fd, IPPROTO_IPV6, IPV6_PKTINFO, NULL,
					     sizeof(info6))));
	close(fd);
}

TEST_HARNESS_MAIN
