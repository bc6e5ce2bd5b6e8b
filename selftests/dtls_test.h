/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs about DTLS share: datagram sockets of AF_KTLS, and a peer whose records
 * are written in userspace.
 *
 * A program includes kselftest_harness.h and ktls_test.h before this.
 */
#ifndef KTLS_DTLS_TEST_H
#define KTLS_DTLS_TEST_H

#include <netinet/udp.h>

#ifndef UDP_GRO
#define UDP_GRO		104
#endif

#define EPOCH(n)	((uint64_t)(n) << 48)
#define DATAGRAM_MAX	65535

/* One of those that share a port, and its peer. */
struct association {
	int fd;
	struct peer peer;
};

int udp_socket(int family);
int udp_pair(int family, int fds[2]);
int dtls_attach(int carrier);
void dtls_keys_make(struct keys *keys, uint16_t cipher, uint8_t seed);
int dtls_over(int fds[2], uint16_t cipher, int *fd, int *carrier, struct peer *peer);
int dtls_pair(int family, uint16_t cipher, int *fd, int *other);
int associate(int port, struct association *a, uint16_t cipher, int seed);
ssize_t dgram_seal(struct peer *peer, uint8_t type, const void *payload, size_t len, uint8_t *out);
int dgram_send(struct peer *peer, uint8_t type, const void *payload, size_t len);
int dgram_send_seq(struct peer *peer, uint64_t seq, const void *payload, size_t len);
ssize_t dgram_recv(struct peer *peer, uint8_t *type, void *payload);

/* The ciphers over either version of IP. */
#define DTLS_VARIANTS(name)						\
	FIXTURE_VARIANT(name) { uint16_t cipher; int family; };		\
	FIXTURE_VARIANT_ADD(name, aes_gcm_128_ipv4)			\
		{ .cipher = TLS_CIPHER_AES_GCM_128, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, aes_gcm_128_ipv6)			\
		{ .cipher = TLS_CIPHER_AES_GCM_128, .family = AF_INET6 };	\
	FIXTURE_VARIANT_ADD(name, aes_gcm_256_ipv4)			\
		{ .cipher = TLS_CIPHER_AES_GCM_256, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, aes_gcm_256_ipv6)			\
		{ .cipher = TLS_CIPHER_AES_GCM_256, .family = AF_INET6 };	\
	FIXTURE_VARIANT_ADD(name, chacha20_poly1305_ipv4)		\
		{ .cipher = TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, chacha20_poly1305_ipv6)		\
		{ .cipher = TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET6 };	\
	FIXTURE_VARIANT_ADD(name, aes_ccm_128_ipv4)			\
		{ .cipher = TLS_CIPHER_AES_CCM_128, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, aes_ccm_128_ipv6)			\
		{ .cipher = TLS_CIPHER_AES_CCM_128, .family = AF_INET6 }

/* A fixture with a socket of DTLS, its carrier, and a peer in userspace. */
#define DTLS_FIXTURE(name)						\
	FIXTURE(name) { int fd; int carrier; struct peer peer; };	\
	DTLS_VARIANTS(name);						\
	FIXTURE_SETUP(name)						\
	{								\
		int fds[2];						\
									\
		ASSERT_EQ(0, udp_pair(variant->family, fds));		\
		ASSERT_EQ(0, dtls_over(fds, variant->cipher, &self->fd,	\
				       &self->carrier, &self->peer));	\
	}								\
	FIXTURE_TEARDOWN(name)						\
	{								\
		close(self->fd);					\
		close(self->carrier);					\
		close(self->peer.fd);					\
	}

#endif /* KTLS_DTLS_TEST_H */
