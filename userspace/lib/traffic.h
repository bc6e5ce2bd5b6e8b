/* SPDX-License-Identifier: MIT */
/*
 * The traffic secrets of TLS 1.3 (rfc8446 7.1), which OpenSSL tells to its key log alone, and
 * what is derived from them.
 */
#ifndef KTLS_TRAFFIC_H
#define KTLS_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#define TRAFFIC_SECRET_MAX	64
#define TRAFFIC_IV		12

struct ktls_traffic_secret {
	uint8_t bytes[TRAFFIC_SECRET_MAX];
	size_t len;		/* 0: not known */
};

enum { TRAFFIC_CLIENT, TRAFFIC_SERVER };

/* By whose records they protect; the present ones of the record layer. */
struct ktls_traffic {
	struct ktls_traffic_secret secret[2];
};

/*
 * Has the secrets of the connection written to *traffic as soon as OpenSSL has them. A key log
 * callback of the program's goes on being called. False: no memory.
 */
bool ktls_traffic_watch(SSL *ssl, struct ktls_traffic *traffic);
/* Those that ktls_traffic_watch() was given; NULL: it was not called. */
struct ktls_traffic *ktls_traffic_of(const SSL *ssl);
/* Before each step of a handshake: sees to it that a context chosen in it (SNI) tells too. */
void ktls_traffic_follow(SSL *ssl);

/* One of OpenSSL's functions that derive, by its name. 0 or -EPROTO: OpenSSL failed. */
int ktls_kdf(const char *name, const OSSL_PARAM *params, uint8_t *out, size_t len);
/* rfc8446 7.3. 0 or -EPROTO: OpenSSL failed. */
int ktls_traffic_key(const EVP_MD *md, const struct ktls_traffic_secret *secret, uint8_t *key,
		     size_t key_len, uint8_t iv[TRAFFIC_IV]);
/* rfc8446 7.2: the secret of the next generation takes its place. 0 or -EPROTO. */
int ktls_traffic_update(const EVP_MD *md, struct ktls_traffic_secret *secret);

#endif
