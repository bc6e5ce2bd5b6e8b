// SPDX-License-Identifier: GPL-2.0-only
/* The pure files against records of a TLS 1.2 session between two ends of OpenSSL. */
#include "seal.h"
#include "tap.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct session {
	SSL *client, *server;
	struct sealer to_server, to_client;
};

static SSL_CTX *make_ctx(const SSL_METHOD *method, const char *cipher)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, cipher);
	return ctx;
}

static void certify(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* An end whose bytes stay in memory. */
static SSL *make_end(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);

	SSL_CTX_free(ctx);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
	BIO_set_mem_eof_return(SSL_get_wbio(ssl), -1);
	return ssl;
}

static void carry(SSL *from, SSL *to)
{
	u8 buf[4096];
	int n;

	while ((n = BIO_read(SSL_get_wbio(from), buf, sizeof(buf))) > 0)
		BIO_write(SSL_get_rbio(to), buf, n);
}

static bool handshake(SSL *client, SSL *server)
{
	int i, done = 0;

	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (i = 0; i < 10 && done != 2; i++) {
		done = SSL_do_handshake(client) == 1;
		carry(client, server);
		done += SSL_do_handshake(server) == 1;
		carry(server, client);
	}
	return done == 2;
}

/* rfc5246 6.3: the key block of a finished handshake. */
static void key_block(SSL *ssl, u8 *block, size_t len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	u8 master[48], seed[13 + 64] = "key expansion";
	OSSL_PARAM params[4];

	SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
	SSL_get_server_random(ssl, seed + 13, 32);
	SSL_get_client_random(ssl, seed + 45, 32);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						     (char *)EVP_MD_get0_name(md), 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, 48);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed));
	params[3] = OSSL_PARAM_construct_end();
	if (EVP_KDF_derive(ctx, block, len, params) <= 0)
		abort();
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

static void take_keys(struct session *s, u16 id)
{
	u8 block[2 * (32 + 12)];
	size_t key_len, fixed_len;

	sealer_make(&s->to_server, TLS_1_2_VERSION, id, 1);
	sealer_make(&s->to_client, TLS_1_2_VERSION, id, 2);
	key_len = s->to_server.cipher->key_len;
	fixed_len = KTLS_NONCE_LEN - s->to_server.cipher->explicit_len;
	key_block(s->client, block, 2 * (key_len + fixed_len));
	memcpy(s->to_server.keys.key, block, key_len);
	memcpy(s->to_client.keys.key, block + key_len, key_len);
	memcpy(s->to_server.keys.nonce, block + 2 * key_len, fixed_len);
	memcpy(s->to_client.keys.nonce, block + 2 * key_len + fixed_len, fixed_len);
	/* Finished was record 0. */
	s->to_server.keys.seq = 1;
	s->to_client.keys.seq = 1;
}

static bool session_make(struct session *s, u16 id, const char *cipher)
{
	SSL_CTX *ctx = make_ctx(TLS_server_method(), cipher);

	certify(ctx);
	s->server = make_end(ctx);
	s->client = make_end(make_ctx(TLS_client_method(), cipher));
	SSL_set_options(s->server, SSL_OP_NO_TICKET);
	if (!handshake(s->client, s->server))
		return false;
	take_keys(s, id);
	return true;
}

/* What @from wrote opens with our functions; what they seal, @from's peer reads. */
static bool agrees(SSL *from, SSL *to, struct sealer *sealer)
{
	u8 data[1000], record[KTLS_RECORD_MAX], got[KTLS_RECORD_MAX], type;
	size_t i, n;
	int len;

	fill(data, sizeof(data), 7);
	for (i = 0; i < 3; i++) {
		SSL_write(from, data, (int)(300 * i + 1));
		len = BIO_read(SSL_get_wbio(from), record, sizeof(record));
		BIO_write(SSL_get_rbio(to), record, len);
		if (sealer_open(sealer, record, (size_t)len, &type, got) != (int)(300 * i + 1) ||
		    memcmp(got, data, 300 * i + 1) ||
		    SSL_read(to, got, sizeof(got)) != (int)(300 * i + 1))
			return false;
	}
	n = sealer_seal(sealer, 23, data, sizeof(data), record);
	BIO_write(SSL_get_rbio(to), record, (int)n);
	return SSL_read(to, got, sizeof(got)) == sizeof(data) && !memcmp(got, data, sizeof(data));
}

static void test_cipher(u16 id, const char *name)
{
	struct session s;
	bool made = session_make(&s, id, name);

	tap(made, "handshake", name);
	tap(made && agrees(s.client, s.server, &s.to_server), "client to server", name);
	tap(made && agrees(s.server, s.client, &s.to_client), "server to client", name);
	SSL_free(s.client);
	SSL_free(s.server);
}

int main(void)
{
	test_cipher(TLS_CIPHER_AES_GCM_128, "ECDHE-ECDSA-AES128-GCM-SHA256");
	test_cipher(TLS_CIPHER_AES_GCM_256, "ECDHE-ECDSA-AES256-GCM-SHA384");
	test_cipher(TLS_CIPHER_CHACHA20_POLY1305, "ECDHE-ECDSA-CHACHA20-POLY1305");
	test_cipher(TLS_CIPHER_AES_CCM_128, "ECDHE-ECDSA-AES128-CCM");
	return tap_done();
}
