// SPDX-License-Identifier: MIT
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>

#include "traffic.h"

#define LABEL_PREFIX	"tls13 "
#define LABEL_MAX	32	/* with the prefix; ours have 17 at most */

/* ---- where OpenSSL tells them ---- */

/* What stands behind our callbacks: those of the program. */
struct behind {
	SSL_CTX_keylog_cb_func keylog;
};

struct watch {
	struct ktls_traffic *traffic;
	void (*info)(const SSL *ssl, int where, int ret);
};

static int watch_index = -1, behind_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Of each context's struct behind, and of putting our callback into a context. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void free_data(void *parent, void *data, CRYPTO_EX_DATA *ad, int index, long argl,
		      void *argp)
{
	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	free(data);
}

static void get_indices(void)
{
	watch_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_data);
	behind_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_data);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void read_secret(const char *hex, struct ktls_traffic_secret *secret)
{
	size_t len = 0;

	for (; len < TRAFFIC_SECRET_MAX && hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0;
	     hex += 2)
		secret->bytes[len++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
	secret->len = len;
}

/* "LABEL client_random secret" */
static void take_line(struct ktls_traffic *traffic, const char *line)
{
	static const char *const labels[] = {
		[TRAFFIC_CLIENT] = "CLIENT_TRAFFIC_SECRET_0 ",
		[TRAFFIC_SERVER] = "SERVER_TRAFFIC_SECRET_0 ",
	};
	const char *hex = strrchr(line, ' ');
	int i;

	for (i = 0; hex && i < 2; i++)
		if (!strncmp(line, labels[i], strlen(labels[i])))
			read_secret(hex + 1, &traffic->secret[i]);
}

/* A program's callback may call the one that it found, which is this. */
static void keylog(const SSL *ssl, const char *line)
{
	static _Thread_local bool is_inside;
	struct ktls_traffic *traffic = ktls_traffic_of(ssl);
	SSL_CTX_keylog_cb_func program = NULL;
	struct behind *behind;

	if (is_inside)
		return;

	if (traffic)
		take_line(traffic, line);
	pthread_mutex_lock(&lock);
	behind = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), behind_index);
	if (behind)
		program = behind->keylog;
	pthread_mutex_unlock(&lock);
	is_inside = true;
	if (program)
		program(ssl, line);
	is_inside = false;
}

static struct behind *behind_of(SSL_CTX *ctx)
{
	struct behind *behind = SSL_CTX_get_ex_data(ctx, behind_index);

	if (behind)
		return behind;
	behind = calloc(1, sizeof(*behind));
	if (behind && SSL_CTX_set_ex_data(ctx, behind_index, behind))
		return behind;
	free(behind);
	return NULL;
}

static bool hook(SSL_CTX *ctx)
{
	struct behind *behind;

	pthread_mutex_lock(&lock);
	behind = behind_of(ctx);
	if (behind && SSL_CTX_get_keylog_callback(ctx) != keylog) {
		behind->keylog = SSL_CTX_get_keylog_callback(ctx);
		SSL_CTX_set_keylog_callback(ctx, keylog);
	}
	pthread_mutex_unlock(&lock);
	return behind;
}

/* OpenSSL asks the context that it has in the end: a callback for SNI may choose another. */
static void follow(const SSL *ssl, int where, int ret)
{
	const struct watch *watch = SSL_get_ex_data(ssl, watch_index);
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
	void (*program)(const SSL *ssl, int where, int ret);

	if (SSL_CTX_get_keylog_callback(ctx) != keylog)
		(void)hook(ctx);
	program = watch && watch->info ? watch->info : SSL_CTX_get_info_callback(ctx);
	if (program)
		program(ssl, where, ret);
}

bool ktls_traffic_watch(SSL *ssl, struct ktls_traffic *traffic)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	pthread_once(&once, get_indices);
	if (!watch || !SSL_set_ex_data(ssl, watch_index, watch)) {
		free(watch);
		return false;
	}
	watch->traffic = traffic;
	return hook(SSL_get_SSL_CTX(ssl));
}

struct ktls_traffic *ktls_traffic_of(const SSL *ssl)
{
	const struct watch *watch = watch_index < 0 ? NULL : SSL_get_ex_data(ssl, watch_index);

	return watch ? watch->traffic : NULL;
}

void ktls_traffic_follow(SSL *ssl)
{
	struct watch *watch = watch_index < 0 ? NULL : SSL_get_ex_data(ssl, watch_index);

	if (!watch || SSL_get_info_callback(ssl) == follow)
		return;
	watch->info = SSL_get_info_callback(ssl);
	SSL_set_info_callback(ssl, follow);
}

/* ---- what is derived from them ---- */

int ktls_kdf(const char *name, const OSSL_PARAM *params, uint8_t *out, size_t len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int good = ctx && EVP_KDF_derive(ctx, out, len, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return good ? 0 : -EPROTO;
}

static int expand(const EVP_MD *md, const struct ktls_traffic_secret *secret, uint8_t *info,
		  size_t info_len, uint8_t *out, size_t len)
{
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						 (char *)EVP_MD_get0_name(md), 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret->bytes,
						  secret->len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_len),
		OSSL_PARAM_construct_end(),
	};

	return ktls_kdf(OSSL_KDF_NAME_HKDF, params, out, len);
}

/* rfc8446 7.1: HKDF-Expand-Label with an empty context. */
static int expand_label(const EVP_MD *md, const struct ktls_traffic_secret *secret,
			const char *label, uint8_t *out, size_t len)
{
	size_t label_len = sizeof(LABEL_PREFIX) - 1 + strlen(label);
	uint8_t info[2 + 1 + LABEL_MAX + 1] = { (uint8_t)(len >> 8), (uint8_t)len,
						(uint8_t)label_len };

	memcpy(info + 3, LABEL_PREFIX, sizeof(LABEL_PREFIX) - 1);
	memcpy(info + 3 + sizeof(LABEL_PREFIX) - 1, label, strlen(label));
	return expand(md, secret, info, 3 + label_len + 1, out, len);
}

int ktls_traffic_key(const EVP_MD *md, const struct ktls_traffic_secret *secret, uint8_t *key,
		     size_t key_len, uint8_t iv[TRAFFIC_IV])
{
	int ret = expand_label(md, secret, "key", key, key_len);

	return ret ? ret : expand_label(md, secret, "iv", iv, TRAFFIC_IV);
}

int ktls_traffic_update(const EVP_MD *md, struct ktls_traffic_secret *secret)
{
	struct ktls_traffic_secret next = { .len = secret->len };
	int ret = expand_label(md, secret, "traffic upd", next.bytes, next.len);

	if (!ret)
		*secret = next;
	OPENSSL_cleanse(&next, sizeof(next));
	return ret;
}
