// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program written for kernel TLS (TCP_ULP "tls") runs over AF_KTLS when the lines that
 * switch TLS on are changed, and only these: switch_on() below.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/sendfile.h>

#define FILE_SIZE	100000

static uint8_t data[FILE_SIZE], got[FILE_SIZE];

static int switch_on_tls(int tcp)
{
	return setsockopt(tcp, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) ? -1 : tcp;
}

static int switch_on_ktls(int tcp)
{
	struct sockaddr_ktls carrier = { .skt_family = AF_KTLS, .skt_fd = tcp };
	int fd = socket(AF_KTLS, SOCK_STREAM, 0);

	return bind(fd, (void *)&carrier, sizeof(carrier)) ? -1 : fd;
}

FIXTURE(compat) { int fd; struct peer peer; };
FIXTURE_VARIANT(compat) { int (*switch_on)(int tcp); uint16_t cipher; };
FIXTURE_VARIANT_ADD(compat, tls_aes_gcm_128)
	{ .switch_on = switch_on_tls, .cipher = TLS_CIPHER_AES_GCM_128 };
FIXTURE_VARIANT_ADD(compat, tls_aes_gcm_256)
	{ .switch_on = switch_on_tls, .cipher = TLS_CIPHER_AES_GCM_256 };
FIXTURE_VARIANT_ADD(compat, tls_chacha20_poly1305)
	{ .switch_on = switch_on_tls, .cipher = TLS_CIPHER_CHACHA20_POLY1305 };
FIXTURE_VARIANT_ADD(compat, tls_aes_ccm_128)
	{ .switch_on = switch_on_tls, .cipher = TLS_CIPHER_AES_CCM_128 };
FIXTURE_VARIANT_ADD(compat, ktls_aes_gcm_128)
	{ .switch_on = switch_on_ktls, .cipher = TLS_CIPHER_AES_GCM_128 };
FIXTURE_VARIANT_ADD(compat, ktls_aes_gcm_256)
	{ .switch_on = switch_on_ktls, .cipher = TLS_CIPHER_AES_GCM_256 };
FIXTURE_VARIANT_ADD(compat, ktls_chacha20_poly1305)
	{ .switch_on = switch_on_ktls, .cipher = TLS_CIPHER_CHACHA20_POLY1305 };
FIXTURE_VARIANT_ADD(compat, ktls_aes_ccm_128)
	{ .switch_on = switch_on_ktls, .cipher = TLS_CIPHER_AES_CCM_128 };

FIXTURE_SETUP(compat)
{
	int fds[2];

	ASSERT_EQ(0, tcp_pair(AF_INET, fds));
	self->peer.fd = fds[1];
	self->fd = variant->switch_on(fds[0]);
	if (self->fd < 0 && errno == ENOENT)
		SKIP(return, "no kernel TLS here");
	ASSERT_LE(0, self->fd);
	time_limit(self->fd, TIME_LIMIT);
	keys_make(&self->peer.tx, variant->cipher, 1);
	keys_make(&self->peer.rx, variant->cipher, 2);
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	fill(data, FILE_SIZE, 0);
}

FIXTURE_TEARDOWN(compat)
{
	close(self->fd);
	peer_close(&self->peer);
}

TEST_F(compat, send_and_receive)
{
	ASSERT_EQ(50000, send(self->fd, data, 50000, 0));
	EXPECT_EQ(50000, peer_drain(&self->peer, 50000));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 16384));
	EXPECT_EQ(16384, recv(self->fd, got, 16384, MSG_WAITALL));
	EXPECT_TRUE(filled(got, 16384, 0));
}

TEST_F(compat, records_are_cut_alike)
{
	static const size_t lengths[] = { 16384, 16384, 7232 };
	uint8_t type;
	size_t i;

	ASSERT_EQ(40000, write(self->fd, data, 40000));
	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		EXPECT_EQ(lengths[i], peer_recv(&self->peer, &type, got));
}

TEST_F(compat, more)
{
	uint8_t type;

	ASSERT_EQ(5, send(self->fd, "head ", 5, MSG_MORE));
	ASSERT_EQ(4, send(self->fd, "body", 4, 0));
	EXPECT_EQ(9, peer_recv(&self->peer, &type, got));
	EXPECT_EQ(0, memcmp(got, "head body", 9));
}

TEST_F(compat, sendfile)
{
	int file = memfd_create("compat", 0);
	off_t offset = 0;

	ASSERT_EQ(FILE_SIZE, write(file, data, FILE_SIZE));
	while (offset < FILE_SIZE)
		ASSERT_LT(0, sendfile(self->fd, file, &offset, FILE_SIZE - offset));
	EXPECT_EQ(FILE_SIZE, peer_drain(&self->peer, FILE_SIZE));
	close(file);
}

TEST_F(compat, splice_out)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 5000));
	ASSERT_EQ(5000, splice(self->fd, NULL, pipes[1], NULL, 5000, 0));
	EXPECT_EQ(5000, read(pipes[0], got, FILE_SIZE));
	EXPECT_TRUE(filled(got, 5000, 0));
}

TEST_F(compat, control_records)
{
	uint8_t type;

	ASSERT_EQ(2, send_type(self->fd, ALERT, "\1\132", 2, 0));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, got));
	EXPECT_EQ(ALERT, type);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(4, recv_type(self->fd, got, 100, 0, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(4, recv_type(self->fd, got, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
}

/* Who gives no room for the type is told so and may try again. */
TEST_F(compat, control_record_without_room)
{
	uint8_t type;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, got, 100, 0)));
	EXPECT_EQ(-EINVAL, RESULT(splice(self->fd, NULL, pipes[1], NULL, 100, 0)));
	EXPECT_EQ(4, recv_type(self->fd, got, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
}

TEST_F(compat, poll)
{
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLIN | POLLOUT));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(4, recv(self->fd, got, 100, MSG_DONTWAIT));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 100, MSG_DONTWAIT)));
}

TEST_F(compat, peek)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, got, 100, MSG_PEEK));
	EXPECT_EQ(2, recv(self->fd, got, 2, 0));
	EXPECT_EQ(2, recv(self->fd, got, 100, 0));
}

TEST_F(compat, counters)
{
	union crypto_info info;
	struct keys keys = self->peer.rx;
	socklen_t len = keys_info(&keys, &info);

	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(4, send(self->fd, "more", 4, 0));
	ASSERT_EQ(0, getsockopt(self->fd, SOL_TLS, TLS_TX, &info, &len));
	EXPECT_EQ(TLS_1_2_VERSION, info.info.version);
	EXPECT_EQ(variant->cipher, info.info.cipher_type);
	keys_from_info(&keys, &info);
	EXPECT_EQ(2, keys.seq);
}

TEST_F(compat, names)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	ASSERT_EQ(0, getpeername(self->fd, (void *)&addr, &len));
	EXPECT_EQ(AF_INET, addr.sin_family);
	EXPECT_EQ(htonl(INADDR_LOOPBACK), addr.sin_addr.s_addr);
}

/* Each error of a bad record is the same; it leaves the other direction alone. */
TEST_F(compat, bad_records)
{
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, "data", 4, record);

	record[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, got, 100, 0)));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, got, 100, 0)));
}

/* Kernel TLS looks at a header when the explicit nonce is there, too. */
TEST_F(compat, record_too_long)
{
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff" "explicit", 13));
	EXPECT_EQ(-EMSGSIZE, RESULT(recv(self->fd, got, 100, 0)));
}

TEST_F(compat, record_of_another_version)
{
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x01\x00\x40" "explicit", 13));
	EXPECT_EQ(-EINVAL, RESULT(recv(self->fd, got, 100, 0)));
}

TEST_F(compat, bad_calls)
{
	union crypto_info info = { .info = { .version = 0x0301, .cipher_type = variant->cipher } };
	socklen_t len = keys_info(&self->peer.rx, &info);

	info.info.version = 0x0301;
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_TLS, TLS_TX, &info, 3)));
	EXPECT_EQ(-ENOPROTOOPT, RESULT(setsockopt(self->fd, SOL_TLS, 99, &info, len)));
	EXPECT_EQ(-EOPNOTSUPP, RESULT(send(self->fd, data, 10, MSG_OOB)));
	EXPECT_EQ(-EINVAL, RESULT(getsockopt(self->fd, SOL_TLS, TLS_TX, &info, &(socklen_t){ 7 })));
}

TEST_F(compat, end_of_file)
{
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "last", 4));
	shutdown(self->peer.fd, SHUT_WR);
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
	EXPECT_EQ(0, recv(self->fd, got, 100, 0));
}

TEST_HARNESS_MAIN
