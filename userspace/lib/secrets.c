// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/objects.h>

#include <linux/ktls.h>

#include "secrets.h"
#include "traffic.h"

#define MASTER_SECRET	48
#define RANDOM		32
#define LABEL		"key expansion"
#define LABEL_LEN	(sizeof(LABEL) - 1)
#define TRAFFIC_KEY_MAX	32
#define KEY_BLOCK_MAX	(2 * (32 + 12))

#define EXPLICIT_NONCE_CIPHER(nid_, type_, struct_) {				\
	.nid = nid_, .type = type_, .info_size = sizeof(struct struct_),	\
	.key_size = sizeof(((struct struct_ *)0)->key),				\
	.fixed_size = sizeof(((struct struct_ *)0)->salt),			\
	.nonce_size = sizeof(((struct struct_ *)0)->iv),			\
	.key = offsetof(struct struct_, key),					\
	.fixed = offsetof(struct struct_, salt),				\
	.nonce = offsetof(struct struct_, iv),					\
	.rec_seq = offsetof(struct struct_, rec_seq),				\
}

/* rfc7905 2: the key block gives the whole nonce, the record carries none of it. */
#define STATIC_NONCE_CIPHER(nid_, type_, struct_) {				\
	.nid = nid_, .type = type_, .info_size = sizeof(struct struct_),	\
	.key_size = sizeof(((struct struct_ *)0)->key),				\
	.fixed_size = sizeof(((struct struct_ *)0)->iv),			\
	.key = offsetof(struct struct_, key),					\
	.fixed = offsetof(struct struct_, iv),					\
	.rec_seq = offsetof(struct struct_, rec_seq),				\
}

static const struct ktls_cipher ciphers[] = {
	EXPLICIT_NONCE_CIPHER(NID_aes_128_gcm, TLS_CIPHER_AES_GCM_128,
			      tls12_crypto_info_aes_gcm_128),
	EXPLICIT_NONCE_CIPHER(NID_aes_256_gcm, TLS_CIPHER_AES_GCM_256,
			      tls12_crypto_info_aes_gcm_256),
	EXPLICIT_NONCE_CIPHER(NID_aes_128_ccm, TLS_CIPHER_AES_CCM_128,
			      tls12_crypto_info_aes_ccm_128),
	STATIC_NONCE_CIPHER(NID_chacha20_poly1305, TLS_CIPHER_CHACHA20_POLY1305,
			    tls12_crypto_info_chacha20_poly1305),
};

/* OpenSSL's NID of CCM with an 8-byte tag is that of CCM with 16; the name differs. */
static bool has_short_tag(const SSL_CIPHER *cipher)
{
	return strstr(SSL_CIPHER_get_name(cipher), "CCM8") ||
	       strstr(SSL_CIPHER_get_name(cipher), "CCM_8");
}

const struct ktls_cipher *ktls_cipher_find(const SSL_CIPHER *cipher)
{
	int nid = cipher ? SSL_CIPHER_get_cipher_nid(cipher) : NID_undef;
	size_t i;

	for (i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		if (ciphers[i].nid == nid && !has_short_tag(cipher))
			return &ciphers[i];
	return NULL;
}

/* rfc5246 6.3: key_block = PRF(master_secret, "key expansion", server_random + client_random) */
static size_t make_seed(const SSL *ssl, uint8_t seed[LABEL_LEN + 2 * RANDOM])
{
	size_t len = LABEL_LEN;

	memcpy(seed, LABEL, LABEL_LEN);
	len += SSL_get_server_random(ssl, seed + len, RANDOM);
	len += SSL_get_client_random(ssl, seed + len, RANDOM);
	return len;
}

static int prf(const char *digest, uint8_t *secret, size_t secret_len, uint8_t *seed,
	       size_t seed_len, uint8_t *out, size_t out_len)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, secret, secret_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, seed_len),
		OSSL_PARAM_construct_end(),
	};

	return ktls_kdf(OSSL_KDF_NAME_TLS1_PRF, params, out, out_len);
}

static int make_key_block(const SSL *ssl, uint8_t *block, size_t len)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	uint8_t master[MASTER_SECRET], seed[LABEL_LEN + 2 * RANDOM];
	size_t master_len = SSL_SESSION_get_master_key(SSL_get_session(ssl), master,
						       sizeof(master));
	int ret = -EPROTO;

	if (md && master_len)
		ret = prf(EVP_MD_get0_name(md), master, master_len, seed, make_seed(ssl, seed),
			  block, len);
	OPENSSL_cleanse(master, sizeof(master));
	return ret;
}

static void fill_key(uint16_t version, const struct ktls_cipher *cipher,
		     const struct ktls_flow *flow, const uint8_t *key, const uint8_t *fixed,
		     union ktls_key *out)
{
	uint8_t *at = (uint8_t *)out;

	memset(out, 0, sizeof(*out));
	out->info.version = version;
	out->info.cipher_type = cipher->type;
	memcpy(at + cipher->key, key, cipher->key_size);
	memcpy(at + cipher->fixed, fixed, cipher->fixed_size);
	ktls_flow_rec_seq(flow, at + cipher->rec_seq);
	if (cipher->nonce_size)
		ktls_flow_next_nonce(flow, at + cipher->nonce);
}

/* rfc8446 5.3: the whole nonce is static, whatever the cipher calls its parts. */
static int fill_traffic_key(const EVP_MD *md, const struct ktls_cipher *cipher,
			    const struct ktls_traffic_secret *secret, union ktls_key *out)
{
	uint8_t *at = (uint8_t *)out, key[TRAFFIC_KEY_MAX], iv[TRAFFIC_IV];
	int ret = secret->len ? ktls_traffic_key(md, secret, key, cipher->key_size, iv) : -EPROTO;

	memset(out, 0, sizeof(*out));
	out->info.version = TLS_1_3_VERSION;
	out->info.cipher_type = cipher->type;
	if (!ret) {
		memcpy(at + cipher->key, key, cipher->key_size);
		memcpy(at + cipher->fixed, iv, cipher->fixed_size);
		memcpy(at + cipher->nonce, iv + cipher->fixed_size, cipher->nonce_size);
	}
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(iv, sizeof(iv));
	return ret;
}

static int derive_traffic(SSL *ssl, const struct ktls_flow *tx, const struct ktls_flow *rx,
			  struct ktls_keys *keys)
{
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	const struct ktls_traffic *traffic = ktls_traffic_of(ssl);
	int ours = SSL_is_server(ssl) ? TRAFFIC_SERVER : TRAFFIC_CLIENT;
	int ret;

	if (!traffic || !md)
		return -EPROTO;
	ret = fill_traffic_key(md, keys->cipher, &traffic->secret[ours], &keys->tx);
	if (!ret)
		ret = fill_traffic_key(md, keys->cipher, &traffic->secret[!ours], &keys->rx);
	ktls_flow_rec_seq(tx, (uint8_t *)&keys->tx + keys->cipher->rec_seq);
	ktls_flow_rec_seq(rx, (uint8_t *)&keys->rx + keys->cipher->rec_seq);
	return ret;
}

/* 0: one whose keys are made in another way. */
static uint16_t kernel_version(const SSL *ssl)
{
	switch (SSL_version(ssl)) {
	case TLS1_2_VERSION:
		return TLS_1_2_VERSION;
	case TLS1_3_VERSION:
		return TLS_1_3_VERSION;
	case DTLS1_2_VERSION:
		return DTLS_1_2_VERSION;
	default:
		return 0;
	}
}

int ktls_secrets_derive(SSL *ssl, const struct ktls_flow *tx, const struct ktls_flow *rx,
			struct ktls_keys *keys)
{
	const struct ktls_cipher *cipher = ktls_cipher_find(SSL_get_current_cipher(ssl));
	uint16_t version = kernel_version(ssl);
	uint8_t block[KEY_BLOCK_MAX];
	const uint8_t *key[2], *fixed[2];
	int ours = SSL_is_server(ssl) ? 1 : 0;
	int ret;

	if (!cipher || !version)
		return -EOPNOTSUPP;
	keys->cipher = cipher;
	if (version == TLS_1_3_VERSION)
		return derive_traffic(ssl, tx, rx, keys);
	ret = make_key_block(ssl, block, 2U * (cipher->key_size + cipher->fixed_size));
	if (ret)
		return ret;
	/* AEAD ciphers have no MAC keys: client key, server key, client IV, server IV. */
	key[0] = block;
	key[1] = key[0] + cipher->key_size;
	fixed[0] = key[1] + cipher->key_size;
	fixed[1] = fixed[0] + cipher->fixed_size;
	fill_key(version, cipher, tx, key[ours], fixed[ours], &keys->tx);
	fill_key(version, cipher, rx, key[!ours], fixed[!ours], &keys->rx);
	OPENSSL_cleanse(block, sizeof(block));
	return 0;
}
