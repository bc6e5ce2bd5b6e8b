// SPDX-License-Identifier: MIT
/* The versions of a ClientHello, of OpenSSL's and of broken ones. */
#include <stdlib.h>
#include <string.h>

#include "hello.h"
#include "pair.h"
#include "tap.h"

static size_t make_hello(uint8_t *out, size_t size, int min, int max)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *wire = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, in, wire);
	SSL_set_min_proto_version(ssl, min);
	SSL_set_max_proto_version(ssl, max);
	SSL_set_tlsext_host_name(ssl, "localhost");
	SSL_connect(ssl);
	n = BIO_read(wire, out, (int)size);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return n > 0 ? (size_t)n : 0;
}

static int offers(const uint8_t *hello, size_t len)
{
	/* As long as it is, so that a sanitizer sees reads behind it. */
	uint8_t *copy = malloc(len ? len : 1);
	int ret;

	memcpy(copy, hello, len);
	ret = ktls_hello_offers(copy, len, TLS1_2_VERSION) |
	      ktls_hello_offers(copy, len, TLS1_3_VERSION) << 1;
	free(copy);
	return ret;
}

static void check_damage(const uint8_t *hello, size_t len)
{
	uint8_t damaged[2048];
	size_t i, seen = 0;
	int value;

	for (i = 0; i < len; i++)
		seen += offers(hello, i) != 0;
	ok(seen == 0, "cut short at %zu places: %zu found something", len, seen);
	for (i = 0; i < len; i++)
		for (value = 0; value < 256; value += 5) {
			memcpy(damaged, hello, len);
			damaged[i] = (uint8_t)value;
			seen += offers(damaged, len) == 3;
		}
	ok(seen > 0, "damaged at each place: survived");
}

int main(void)
{
	uint8_t hello[2048];
	size_t len;

	len = make_hello(hello, sizeof(hello), TLS1_2_VERSION, TLS1_3_VERSION);
	ok(offers(hello, len) == 3, "1.2 and 1.3");
	check_damage(hello, len);
	len = make_hello(hello, sizeof(hello), TLS1_3_VERSION, TLS1_3_VERSION);
	ok(offers(hello, len) == 2, "1.3 only");
	len = make_hello(hello, sizeof(hello), TLS1_2_VERSION, TLS1_2_VERSION);
	ok(offers(hello, len) == 0, "1.2 only, which needs no list");
	return tap_done();
}
