/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kselftest programs share: sockets, and a peer whose record layer is written in
 * userspace with OpenSSL, so that it can be hostile.
 *
 * With KTLS_PEER=tls in the environment the sockets are the kernel's own TLS (TCP_ULP)
 * instead of AF_KTLS; tests of what only AF_KTLS does then skip.
 *
 * A program includes kselftest_harness.h before this.
 */
#ifndef KTLS_TEST_H
#define KTLS_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ktls.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAYLOAD_MAX	16384
#define RECORD_MAX	(13 + 8 + PAYLOAD_MAX + 1 + 16)
#define TIME_LIMIT	20	/* seconds that any blocking call may take */

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };

/* With a TLS_CIPHER_*: that cipher in TLS 1.3. */
#define TLS13		0x8000
/* rfc8446 4.6.3: KeyUpdate, update_not_requested */
#define KEY_UPDATE	"\30\0\0\1\0"
#define KEY_UPDATE_LEN	5

/* One direction's keys and counters, as the program sets them and the peer uses them. */
struct keys {
	const struct suite *suite;
	uint8_t key[32];
	uint8_t nonce[12];	/* salt and iv; the iv counts where it travels in the record */
	uint64_t seq;
	bool dtls;		/* the epoch is in the upper 16 bits of seq */
	bool tls13;
};

union crypto_info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_aes_ccm_128 ccm_128;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
	uint8_t bytes[64];
};

/* A plain TCP socket that knows the keys of both directions. */
struct peer {
	int fd;
	struct keys tx;
	struct keys rx;
};

/* peer.c: the record layer in userspace */
void keys_make(struct keys *keys, uint16_t cipher, uint8_t seed);
socklen_t keys_info(const struct keys *keys, union crypto_info *out);
void keys_from_info(struct keys *keys, const union crypto_info *info);
bool keys_crypt(const struct keys *keys, const uint8_t *nonce, const uint8_t *aad,
		const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag, bool seal);
size_t record_overhead(const struct keys *keys);
size_t record_seal(struct keys *keys, uint8_t type, const void *payload, size_t len, uint8_t *out);
size_t record_seal_padded(struct keys *keys, uint8_t type, const void *payload, size_t len,
			  size_t padding, uint8_t *out);
size_t record_seal_inner(struct keys *keys, const void *inner, size_t len, uint8_t *out);
ssize_t record_open(struct keys *keys, const uint8_t *record, size_t len, uint8_t *type,
		    void *payload);
int peer_send(struct peer *peer, uint8_t type, const void *payload, size_t len);
int peer_ends_key(struct peer *peer);
ssize_t peer_recv_raw(struct peer *peer, uint8_t *record);
ssize_t peer_recv(struct peer *peer, uint8_t *type, void *payload);
size_t peer_drain(struct peer *peer, size_t total);

/* ktls_test.c: sockets and state */
bool kernel_tls(void);
int own_network(void);
int tcp_pair_narrow(int family, int fds[2], int window);
int tcp_pair(int family, int fds[2]);
int tls_bind(int fd, int carrier);
int tls_attach(int carrier);
int tls_key(int fd, int direction, const struct keys *keys);
int tls_pair(int family, uint16_t cipher, int *fd, int *other);
int tls_over(int fds[2], uint16_t cipher, int *fd, int *carrier, struct peer *peer);
int tls_carrier_and_peer(int family, uint16_t cipher, int *fd, int *carrier, struct peer *peer);
int tls_bound_and_peer(int family, uint16_t cipher, int *fd, struct peer *peer);
int tls_and_peer(int family, uint16_t cipher, int *fd, struct peer *peer);
void abort_connection(int *fd);
void peer_close(struct peer *peer);
void time_limit(int fd, int seconds);
int nonblocking(int fd, bool on);

void fill(void *buf, size_t len, size_t offset);
bool filled(const void *buf, size_t len, size_t offset);
int send_all(int fd, const void *buf, size_t len);
size_t fill_carrier(int fd, int other, int flags);
ssize_t recv_all(int fd, void *buf, size_t len);
ssize_t send_type(int fd, uint8_t type, const void *buf, size_t len, int flags);
ssize_t recv_type(int fd, void *buf, size_t len, int flags, uint8_t *type);
int poll_now(int fd, int events);
int poll_wait(int fd, int events);
int wait_delivered(int fd);
int wait_inq(int fd, int bytes);
void wait_asleep(pid_t pid);
void interrupted_by(int signal);
int get_info(int fd, struct ktls_info *info);
long proc_counter(const char *path, const char *name);
int count_fds(void);

/* -errno of a call that failed, else its value. */
#define RESULT(call) ({ long r_ = (call); r_ < 0 ? -errno : r_; })

/* Another process does it when this one sleeps in its next call. */
#define WHEN_ASLEEP(statement) do {					\
	if (!fork()) {							\
		wait_asleep(getppid());					\
		statement;						\
		_exit(0);						\
	}								\
} while (0)

#define ONLY_KTLS() do {						\
	if (kernel_tls())						\
		SKIP(return, "only AF_KTLS does this");			\
} while (0)

/* The ciphers, half of them over IPv6: of TLS 1.2 and DTLS, ... */
#define TLS12_VARIANTS(name)						\
	FIXTURE_VARIANT(name) { uint16_t cipher; int family; };		\
	FIXTURE_VARIANT_ADD(name, aes_gcm_128)				\
		{ .cipher = TLS_CIPHER_AES_GCM_128, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, aes_gcm_256)				\
		{ .cipher = TLS_CIPHER_AES_GCM_256, .family = AF_INET6 };	\
	FIXTURE_VARIANT_ADD(name, chacha20_poly1305)			\
		{ .cipher = TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(name, aes_ccm_128)				\
		{ .cipher = TLS_CIPHER_AES_CCM_128, .family = AF_INET6 }

/* ... of TLS 1.3, ... */
#define TLS13_VARIANTS(name)						\
	FIXTURE_VARIANT_ADD(name, tls13_aes_gcm_128)			\
		{ .cipher = TLS13 | TLS_CIPHER_AES_GCM_128, .family = AF_INET6 };	\
	FIXTURE_VARIANT_ADD(name, tls13_chacha20_poly1305)		\
		{ .cipher = TLS13 | TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET }

/* ... and of both. That the key's size is another means nothing to TLS 1.3: see tls13.c. */
#define CIPHER_VARIANTS(name) TLS12_VARIANTS(name); TLS13_VARIANTS(name)

/* A fixture with two sockets of TLS that talk to each other, over every cipher. */
#define PAIR_FIXTURE(name)						\
	FIXTURE(name) { int fd; int other; };				\
	CIPHER_VARIANTS(name);						\
	FIXTURE_SETUP(name)						\
	{								\
		ASSERT_EQ(0, tls_pair(variant->family, variant->cipher,	\
				      &self->fd, &self->other));	\
	}								\
	FIXTURE_TEARDOWN(name)						\
	{								\
		close(self->fd);					\
		close(self->other);					\
	}

/* A fixture with one socket of TLS and a peer in userspace, over every cipher. */
#define PEER_FIXTURE(name)						\
	FIXTURE(name) { int fd; struct peer peer; };			\
	CIPHER_VARIANTS(name);						\
	FIXTURE_SETUP(name)						\
	{								\
		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher,	\
					  &self->fd, &self->peer));	\
	}								\
	FIXTURE_TEARDOWN(name)						\
	{								\
		close(self->fd);					\
		peer_close(&self->peer);				\
	}

#endif /* KTLS_TEST_H */
