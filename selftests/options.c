// SPDX-License-Identifier: GPL-2.0-only
/* getsockopt(2), setsockopt(2) and ioctl(2): values, sizes, addresses, and whose they are. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/sockios.h>
#include <sys/utsname.h>

static uint8_t payload[PAYLOAD_MAX];

FIXTURE(options) { int fd; int carrier; int unbound; struct peer peer; };
FIXTURE_VARIANT(options) { int family; };
FIXTURE_VARIANT_ADD(options, ipv4) { .family = AF_INET };
FIXTURE_VARIANT_ADD(options, ipv6) { .family = AF_INET6 };

FIXTURE_SETUP(options)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, tls_carrier_and_peer(variant->family, TLS_CIPHER_AES_GCM_128, &self->fd,
					  &self->carrier, &self->peer));
	self->unbound = socket(AF_KTLS, SOCK_STREAM, 0);
	ASSERT_LE(0, self->unbound);
}

FIXTURE_TEARDOWN(options)
{
	close(self->fd);
	close(self->carrier);
	close(self->unbound);
	peer_close(&self->peer);
}

static int set_int(int fd, int level, int name, int value)
{
	return RESULT(setsockopt(fd, level, name, &value, sizeof(value)));
}

/* The value, or -errno. */
static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);
	int ret = RESULT(getsockopt(fd, level, name, &value, &len));

	return ret ? ret : value;
}

static struct flag { int level, name; bool exact; } flags[] = {
	{ SOL_TLS, TLS_TX_ZEROCOPY_RO, .exact = true },
	{ SOL_KTLS, KTLS_CONTROL },
	{ SOL_KTLS, KTLS_STRICT_EOF },
};

TEST_F(options, flag_values)
{
	static const int bad[] = { 2, 3, -1, 256, INT32_MIN, INT32_MAX };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		int level = flags[i].level, name = flags[i].name;

		EXPECT_EQ(0, get_int(self->fd, level, name));
		EXPECT_EQ(0, set_int(self->fd, level, name, 1));
		for (j = 0; j < ARRAY_SIZE(bad); j++)
			EXPECT_EQ(-EINVAL, set_int(self->fd, level, name, bad[j]));
		EXPECT_EQ(1, get_int(self->fd, level, name));
		EXPECT_EQ(0, set_int(self->fd, level, name, 0));
		EXPECT_EQ(0, get_int(self->fd, level, name));
		EXPECT_EQ(0, set_int(self->unbound, level, name, 1));
		EXPECT_EQ(1, get_int(self->unbound, level, name));
	}
}

TEST_F(options, flag_sizes)
{
	uint8_t value[16] = {};
	socklen_t len, room;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		int level = flags[i].level, name = flags[i].name;

		for (len = 0; len <= sizeof(value); len++) {
			bool right = flags[i].exact ? len == sizeof(int) : len >= sizeof(int);

			EXPECT_EQ(len == sizeof(int) ? 0 : -EINVAL,
				  RESULT(setsockopt(self->fd, level, name, value, len)));
			room = len;
			EXPECT_EQ(right ? 0 : -EINVAL,
				  RESULT(getsockopt(self->fd, level, name, value, &room)));
			if (right)
				EXPECT_EQ(sizeof(int), room);
		}
	}
}

TEST_F(options, flag_addresses)
{
	int value = 0;
	socklen_t len = sizeof(value);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		int level = flags[i].level, name = flags[i].name;

		EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, level, name, (void *)8, len)));
		EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, level, name, NULL, len)));
		EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->fd, level, name, (void *)8, &len)));
		EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->fd, level, name, &value, (void *)8)));
	}
}

static int set_max(int fd, uint16_t max)
{
	return RESULT(setsockopt(fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &max, sizeof(max)));
}

static int get_max(int fd)
{
	uint16_t max = 0;
	socklen_t len = sizeof(max);
	int ret = RESULT(getsockopt(fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &max, &len));

	return ret ? ret : max;
}

TEST_F(options, max_payload_values)
{
	static const uint16_t good[] = { 63, 64, 65, 512, 1024, 4096, 16383, 16384 };
	static const uint16_t bad[] = { 0, 1, 62, 16385, 16640, 32768, 65535 };
	size_t i;

	EXPECT_EQ(16384, get_max(self->fd));
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, set_max(self->fd, good[i]));
		EXPECT_EQ(good[i], get_max(self->fd));
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, set_max(self->fd, bad[i]));
	EXPECT_EQ(16384, get_max(self->fd));
	EXPECT_EQ(0, set_max(self->unbound, 100));
	EXPECT_EQ(100, get_max(self->unbound));
}

TEST_F(options, max_payload_shape)
{
	uint8_t value[16] = { 0, 1 };
	socklen_t len, room;

	for (len = 0; len <= sizeof(value); len++) {
		EXPECT_EQ(len == 2 ? 0 : -EINVAL,
			  RESULT(setsockopt(self->fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, value, len)));
		room = len;
		EXPECT_EQ(len < 2 ? -EINVAL : 0, RESULT(getsockopt(self->fd, SOL_TLS,
							TLS_TX_MAX_PAYLOAD_LEN, value, &room)));
	}
	len = 2;
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN,
					     (void *)8, 2)));
	EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN,
					     (void *)8, &len)));
	EXPECT_EQ(256, get_max(self->fd));
}

static void expect_records(struct __test_metadata *_metadata, struct peer *peer, uint8_t type,
			   size_t len, size_t max)
{
	size_t offset;
	uint8_t got;
	ssize_t n;

	for (offset = 0; offset < len; offset += n) {
		n = peer_recv(peer, &got, payload);
		ASSERT_EQ(len - offset < max ? len - offset : max, n);
		ASSERT_EQ(type, got);
		ASSERT_TRUE(filled(payload, n, offset));
	}
}

/* max_fragment_length and record_size_limit: no record is longer, of any type. */
TEST_F(options, max_payload_cuts)
{
	static const uint16_t limits[] = { 64, 512, 1000, 4096, 16383 };
	static uint8_t data[20000];
	size_t i;

	fill(data, sizeof(data), 0);
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		ASSERT_EQ(0, set_max(self->fd, limits[i]));
		ASSERT_EQ(20000, send(self->fd, data, 20000, 0));
		expect_records(_metadata, &self->peer, DATA, 20000, limits[i]);
		ASSERT_EQ(3000, send_type(self->fd, HANDSHAKE, data, 3000, 0));
		expect_records(_metadata, &self->peer, HANDSHAKE, 3000, limits[i]);
		ASSERT_EQ(limits[i], send(self->fd, data, limits[i], MSG_MORE));
		expect_records(_metadata, &self->peer, DATA, limits[i], limits[i]);
	}
}

TEST_F(options, max_payload_while_open)
{
	fill(payload, 100, 0);
	ASSERT_EQ(100, send(self->fd, payload, 100, MSG_MORE));
	EXPECT_EQ(-EBUSY, set_max(self->fd, 64));
	EXPECT_EQ(16384, get_max(self->fd));
	ASSERT_EQ(0, send(self->fd, payload, 0, 0));
	expect_records(_metadata, &self->peer, DATA, 100, 16384);
	EXPECT_EQ(0, set_max(self->fd, 64));
}

/* As in kernel TLS: whatever the version, and not before the key. tls13.c has what it does. */
TEST_F(options, no_pad)
{
	int fd;

	EXPECT_EQ(0, get_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD));
	EXPECT_EQ(0, set_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, 1));
	EXPECT_EQ(1, get_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD));
	EXPECT_EQ(-EINVAL, set_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, 2));
	EXPECT_EQ(0, set_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, 0));
	EXPECT_EQ(0, get_int(self->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD));
	fd = socket(AF_KTLS, SOCK_STREAM, 0);
	EXPECT_EQ(-EINVAL, set_int(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, 1));
	EXPECT_EQ(-EINVAL, get_int(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD));
	close(fd);
}

TEST_F(options, datagram_options)
{
	EXPECT_EQ(-EOPNOTSUPP, set_int(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW, 64));
	EXPECT_EQ(-EOPNOTSUPP, get_int(self->fd, SOL_KTLS, KTLS_REPLAY_WINDOW));
	EXPECT_EQ(-EOPNOTSUPP, set_int(self->fd, SOL_KTLS, KTLS_SEGMENT, 1200));
	EXPECT_EQ(-EOPNOTSUPP, get_int(self->fd, SOL_KTLS, KTLS_SEGMENT));
}

TEST_F(options, unknown)
{
	static const int levels[] = { SOL_TLS, SOL_KTLS };
	static const int names[] = { 0, 99, -1, INT32_MAX };
	static const int other_levels[] = { IPPROTO_UDP, SOL_RAW, 9999, -1 };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(levels); i++)
		for (j = 0; j < ARRAY_SIZE(names); j++) {
			EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, levels[i], names[j], 1));
			EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, levels[i], names[j]));
		}
	for (i = 0; i < ARRAY_SIZE(other_levels); i++) {
		EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, other_levels[i], 1, 1));
		EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, other_levels[i], 1));
	}
}

/* What can only be set, and what can only be read. */
TEST_F(options, one_way)
{
	EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, SOL_KTLS, KTLS_DETACH));
	EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, SOL_KTLS, KTLS_PREPEND_RX));
	EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, SOL_KTLS, KTLS_INFO, 1));
}

TEST_F(options, negative_length)
{
	static const int levels[] = { SOL_TLS, SOL_KTLS, SOL_TCP };
	size_t i;
	int name, len, value;

	for (i = 0; i < ARRAY_SIZE(levels); i++)
		for (name = 1; name <= 7; name++) {
			len = -1;
			EXPECT_EQ(-EINVAL, RESULT(getsockopt(self->fd, levels[i], name, &value,
							     (socklen_t *)&len)));
		}
}

/* The carrier's own options go through, both ways, with its own errors. */
TEST_F(options, of_tcp)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint8_t small = 1;

	EXPECT_EQ(0, set_int(self->fd, SOL_TCP, TCP_NODELAY, 0));
	EXPECT_EQ(0, get_int(self->carrier, SOL_TCP, TCP_NODELAY));
	EXPECT_EQ(0, set_int(self->carrier, SOL_TCP, TCP_KEEPIDLE, 77));
	EXPECT_EQ(77, get_int(self->fd, SOL_TCP, TCP_KEEPIDLE));
	ASSERT_EQ(0, getsockopt(self->fd, SOL_TCP, TCP_INFO, &info, &len));
	EXPECT_EQ(TCP_ESTABLISHED, info.tcpi_state);
	EXPECT_EQ(-EINVAL, set_int(self->fd, SOL_TCP, TCP_KEEPIDLE, 0));
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_TCP, TCP_NODELAY, &small, 1)));
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, SOL_TCP, TCP_NODELAY, (void *)8, 4)));
	EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->fd, SOL_TCP, TCP_INFO, (void *)8, &len)));
	EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, SOL_TCP, 9999, 1));
	EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, SOL_TCP, 9999));
}

TEST_F(options, congestion_control)
{
	char name[16] = {};
	socklen_t len = sizeof(name);

	ASSERT_EQ(0, setsockopt(self->fd, SOL_TCP, TCP_CONGESTION, "reno", 4));
	ASSERT_EQ(0, getsockopt(self->carrier, SOL_TCP, TCP_CONGESTION, name, &len));
	EXPECT_EQ(0, strcmp(name, "reno"));
	memset(name, 0, sizeof(name));
	len = sizeof(name);
	ASSERT_EQ(0, getsockopt(self->fd, SOL_TCP, TCP_CONGESTION, name, &len));
	EXPECT_EQ(0, strcmp(name, "reno"));
	EXPECT_EQ(-ENOENT, RESULT(setsockopt(self->fd, SOL_TCP, TCP_CONGESTION, "none", 4)));
}

/* Those that would come between us and the records do not. */
TEST_F(options, not_of_tcp)
{
	static const int names[] = { TCP_ULP, TCP_REPAIR, TCP_ZEROCOPY_RECEIVE };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, SOL_TCP, names[i], 1));
		EXPECT_EQ(-ENOPROTOOPT, get_int(self->fd, SOL_TCP, names[i]));
	}
}

TEST_F(options, of_ip)
{
	bool v4 = variant->family == AF_INET;
	int level = v4 ? SOL_IP : SOL_IPV6, name = v4 ? IP_TOS : IPV6_TCLASS;

	EXPECT_EQ(0, set_int(self->fd, level, name, 0x20));
	EXPECT_EQ(0x20, get_int(self->carrier, level, name));
	EXPECT_EQ(0x20, get_int(self->fd, level, name));
}

TEST_F(options, of_no_carrier)
{
	EXPECT_EQ(-ENOTCONN, set_int(self->unbound, SOL_TCP, TCP_NODELAY, 1));
	EXPECT_EQ(-ENOTCONN, get_int(self->unbound, SOL_TCP, TCP_NODELAY));
	EXPECT_EQ(-ENOTCONN, set_int(self->unbound, SOL_IP, IP_TOS, 0x20));
	EXPECT_EQ(-ENOTCONN, get_int(self->unbound, SOL_IPV6, IPV6_TCLASS));
	EXPECT_EQ(0, set_int(self->unbound, SOL_SOCKET, SO_SNDBUF, 30000));
	EXPECT_EQ(0, set_int(self->unbound, SOL_SOCKET, SO_KEEPALIVE, 1));
}

/* Linux 6.1 keeps SOL_SOCKET to itself. */
static bool old_kernel(void)
{
	struct utsname name;

	return uname(&name) || !strncmp(name.release, "6.1.", 4);
}

/* Buffers, keep-alive, priority and mark mean the connection. */
TEST_F(options, set_on_both)
{
	static const struct { int name, value, shown; } options[] = {
		{ SO_SNDBUF, 30000, 60000 }, { SO_RCVBUF, 40000, 80000 },
		{ SO_KEEPALIVE, 1, 1 }, { SO_PRIORITY, 5, 5 }, { SO_MARK, 42, 42 },
	};
	size_t i;

	if (old_kernel())
		SKIP(return, "this kernel does not tell the module");
	for (i = 0; i < ARRAY_SIZE(options); i++) {
		int name = options[i].name;

		EXPECT_EQ(0, set_int(self->fd, SOL_SOCKET, name, options[i].value));
		EXPECT_EQ(options[i].shown, get_int(self->fd, SOL_SOCKET, name));
		EXPECT_EQ(options[i].shown, get_int(self->carrier, SOL_SOCKET, name));
	}
	EXPECT_EQ(0, set_int(self->fd, SOL_SOCKET, SO_SNDBUFFORCE, 50000));
	EXPECT_EQ(100000, get_int(self->carrier, SOL_SOCKET, SO_SNDBUF));
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_SOCKET, SO_SNDBUF, payload, 3)));
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, SOL_SOCKET, SO_SNDBUF, (void *)8, 4)));
	EXPECT_EQ(-ENOPROTOOPT, set_int(self->fd, SOL_SOCKET, 9999, 1));
}

/* Told once, as of any socket; reads go on to say it. */
TEST_F(options, pending_error)
{
	EXPECT_EQ(0, get_int(self->fd, SOL_SOCKET, SO_ERROR));
	abort_connection(&self->peer.fd);
	ASSERT_TRUE(poll_wait(self->fd, POLLIN) & POLLERR);
	EXPECT_EQ(ECONNRESET, get_int(self->fd, SOL_SOCKET, SO_ERROR));
	EXPECT_EQ(0, get_int(self->fd, SOL_SOCKET, SO_ERROR));
	EXPECT_EQ(-ECONNRESET, RESULT(recv(self->fd, payload, 10, 0)));
}

TEST_F(options, names)
{
	struct sockaddr_storage name = {};
	socklen_t len = 2;

	EXPECT_EQ(0, getsockname(self->fd, (void *)&name, &len));
	EXPECT_LT(2, len);
	EXPECT_EQ(variant->family, name.ss_family);
	len = -1;
	EXPECT_EQ(-EINVAL, RESULT(getsockname(self->fd, (void *)&name, &len)));
	len = sizeof(name);
	EXPECT_EQ(-EFAULT, RESULT(getsockname(self->fd, (void *)8, &len)));
	EXPECT_EQ(-EFAULT, RESULT(getpeername(self->fd, (void *)&name, (void *)8)));
	EXPECT_EQ(-ENOTCONN, RESULT(getsockname(self->unbound, (void *)&name, &len)));
	EXPECT_EQ(-ENOTCONN, RESULT(getpeername(self->unbound, (void *)&name, &len)));
	abort_connection(&self->peer.fd);
	ASSERT_TRUE(poll_wait(self->fd, POLLIN) & POLLERR);
	EXPECT_EQ(-ENOTCONN, RESULT(getpeername(self->fd, (void *)&name, &len)));
}

static int inq(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) ? -errno : n;
}

static int outq(int fd)
{
	int n = -1;

	return ioctl(fd, SIOCOUTQ, &n) ? -errno : n;
}

/* Data that one read could give: not what stands behind a control record. */
TEST_F(options, bytes_to_read)
{
	uint8_t type;

	EXPECT_EQ(0, inq(self->unbound));
	EXPECT_EQ(0, inq(self->fd));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "", 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "three", 5));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(6, inq(self->fd));
	ASSERT_EQ(1, recv(self->fd, payload, 1, 0));
	EXPECT_EQ(5, inq(self->fd));
	ASSERT_EQ(5, recv(self->fd, payload, 10, 0));
	EXPECT_GE(4, inq(self->fd));
	ASSERT_EQ(4, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(5, inq(self->fd));
	EXPECT_EQ(-EFAULT, RESULT(ioctl(self->fd, FIONREAD, (void *)8)));
}

TEST_F(options, bytes_to_send)
{
	size_t total;

	EXPECT_EQ(0, outq(self->unbound));
	EXPECT_EQ(0, outq(self->fd));
	ASSERT_EQ(100, send(self->fd, payload, 100, MSG_MORE));
	EXPECT_LE(100, outq(self->fd));
	ASSERT_EQ(100, send(self->fd, payload, 100, 0));
	EXPECT_EQ(0, wait_delivered(self->fd));
	ASSERT_LT(0, recv(self->peer.fd, payload, PAYLOAD_MAX, 0));
	total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	EXPECT_LT(0, outq(self->fd));
	EXPECT_LT(0, total);
	EXPECT_EQ(-EFAULT, RESULT(ioctl(self->fd, SIOCOUTQ, (void *)8)));
	EXPECT_EQ(-ENOTTY, RESULT(ioctl(self->fd, 0x1234, payload)));
}

TEST_HARNESS_MAIN
