// SPDX-License-Identifier: MIT
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "cookie.h"

#define SECRET		32
#define COOKIE		32	/* of HMAC-SHA-256 */
#define LIFETIME	60	/* seconds that cookies are made with one secret */

/* A cookie is good as long as the secret it was made with is one of the last two. */
static struct {
	pthread_mutex_t lock;
	uint8_t secret[2][SECRET];
	time_t since;
	bool filled;
} secrets = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int wire_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void get_index(void)
{
	wire_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static bool renew(void)
{
	time_t t = now();

	if (secrets.filled && t - secrets.since < LIFETIME)
		return true;
	/* One that nobody used for so long is of no use either. */
	if (!secrets.filled || t - secrets.since >= 2 * LIFETIME) {
		if (RAND_bytes(secrets.secret[0], SECRET) != 1)
			return false;
	}
	memcpy(secrets.secret[1], secrets.secret[0], SECRET);
	if (RAND_bytes(secrets.secret[0], SECRET) != 1)
		return false;
	secrets.since = t;
	secrets.filled = true;
	return true;
}

static bool take_secrets(uint8_t out[2][SECRET])
{
	bool good;

	pthread_mutex_lock(&secrets.lock);
	good = renew();
	memcpy(out, secrets.secret, sizeof(secrets.secret));
	pthread_mutex_unlock(&secrets.lock);
	return good;
}

static bool make(const SSL *ssl, const uint8_t secret[SECRET], uint8_t cookie[COOKIE])
{
	const struct ktls_wire *wire = SSL_get_ex_data(ssl, wire_index);
	unsigned int len = COOKIE;

	return wire && HMAC(EVP_sha256(), secret, SECRET, (const uint8_t *)&wire->peer,
			    wire->peer_len, cookie, &len);
}

static int generate(SSL *ssl, unsigned char *cookie, unsigned int *len)
{
	uint8_t secret[2][SECRET];
	bool good = take_secrets(secret) && make(ssl, secret[0], cookie);

	OPENSSL_cleanse(secret, sizeof(secret));
	*len = COOKIE;
	return good;
}

static int verify(SSL *ssl, const unsigned char *cookie, unsigned int len)
{
	uint8_t secret[2][SECRET], wanted[COOKIE];
	bool good = false;
	int i;

	if (len != COOKIE || !take_secrets(secret))
		return 0;
	for (i = 0; i < 2 && !good; i++)
		good = make(ssl, secret[i], wanted) && !CRYPTO_memcmp(cookie, wanted, COOKIE);
	OPENSSL_cleanse(secret, sizeof(secret));
	return good;
}

bool ktls_cookie_enable(SSL_CTX *ctx)
{
	pthread_once(&once, get_index);
	SSL_CTX_set_cookie_generate_cb(ctx, generate);
	SSL_CTX_set_cookie_verify_cb(ctx, verify);
	return wire_index >= 0;
}

bool ktls_cookie_attach(SSL *ssl, struct ktls_wire *wire)
{
	return SSL_set_ex_data(ssl, wire_index, wire) == 1;
}
