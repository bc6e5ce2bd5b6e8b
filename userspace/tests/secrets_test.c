// SPDX-License-Identifier: MIT
/*
 * The keys, sequence numbers and nonces that the kernel would be given, proved on what
 * OpenSSL itself puts on the wire next: every record opens with them and with no others.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include "pair.h"
#include "secrets.h"
#include "tap.h"

static const struct {
	const char *name;
	const EVP_CIPHER *(*evp)(void);
	int ccm, ec;
} ciphers[] = {
	{ "ECDHE-RSA-AES128-GCM-SHA256", EVP_aes_128_gcm, 0, 0 },
	{ "ECDHE-RSA-AES256-GCM-SHA384", EVP_aes_256_gcm, 0, 0 },
	{ "ECDHE-RSA-CHACHA20-POLY1305", EVP_chacha20_poly1305, 0, 0 },
	{ "ECDHE-ECDSA-AES128-GCM-SHA256", EVP_aes_128_gcm, 0, 1 },
	{ "ECDHE-ECDSA-AES128-CCM", EVP_aes_128_ccm, 1, 1 },
	{ "DHE-RSA-AES128-CCM", EVP_aes_128_ccm, 1, 0 },
	{ "DHE-RSA-AES256-GCM-SHA384", EVP_aes_256_gcm, 0, 0 },
	{ "AES128-GCM-SHA256", EVP_aes_128_gcm, 0, 0 },
};

struct opener {
	const struct ktls_cipher *cipher;
	const uint8_t *key, *fixed, *nonce, *rec_seq;
	const EVP_CIPHER *evp;
	int ccm;
};

static void make_nonce(const struct opener *o, const uint8_t *body, uint8_t nonce[12])
{
	int i;

	memcpy(nonce, o->fixed, o->cipher->fixed_size);
	memcpy(nonce + o->cipher->fixed_size, body, o->cipher->nonce_size);
	if (!o->cipher->nonce_size)
		for (i = 0; i < 8; i++)
			nonce[4 + i] ^= o->rec_seq[i];
}

static int evp_open(const struct opener *o, const uint8_t *nonce, const uint8_t *aad,
		    uint8_t *text, int len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, good;

	good = EVP_DecryptInit_ex(ctx, o->evp, NULL, NULL, NULL) &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL) &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, text + len) &&
	       EVP_DecryptInit_ex(ctx, NULL, NULL, o->key, nonce) &&
	       (!o->ccm || EVP_DecryptUpdate(ctx, NULL, &n, NULL, len)) &&
	       EVP_DecryptUpdate(ctx, NULL, &n, aad, 13) &&
	       EVP_DecryptUpdate(ctx, out, &n, text, len) &&
	       (o->ccm || EVP_DecryptFinal_ex(ctx, out + n, &n));
	EVP_CIPHER_CTX_free(ctx);
	return good;
}

/* Plaintext length or -1. */
static int open_record(const struct opener *o, uint8_t *record, size_t len, uint8_t *out)
{
	size_t text = FLOW_HEADER + o->cipher->nonce_size;
	uint8_t nonce[12], aad[13];
	int plain = (int)(len - text) - 16;

	if (len != FLOW_HEADER + record_body_len(record) || plain < 0)
		return -1;
	make_nonce(o, record + FLOW_HEADER, nonce);
	memcpy(aad, o->rec_seq, 8);
	memcpy(aad + 8, record, 3);
	aad[11] = (uint8_t)(plain >> 8);
	aad[12] = (uint8_t)plain;
	return evp_open(o, nonce, aad, record + text, plain, out) ? plain : -1;
}

static struct opener make_opener(const struct ktls_keys *keys, const union ktls_key *key, int i)
{
	const uint8_t *at = (const uint8_t *)key;

	return (struct opener){
		.cipher = keys->cipher, .key = at + keys->cipher->key,
		.fixed = at + keys->cipher->fixed, .nonce = at + keys->cipher->nonce,
		.rec_seq = at + keys->cipher->rec_seq,
		.evp = ciphers[i].evp(), .ccm = ciphers[i].ccm,
	};
}

/* What from sends next, seen on the wire by to's keys. */
static void check_direction(struct ktls_conn *from, struct ktls_conn *to, int fd, int i,
			    const char *what)
{
	static const char text[] = "what the kernel would have sealed";
	struct ktls_keys sender, receiver;
	uint8_t wire[256], out[256];
	struct opener o;
	ssize_t len;
	int n;

	ok(!ktls_secrets_derive(from->ssl, &from->wire.tx, &from->wire.rx, &sender) &&
	   !ktls_secrets_derive(to->ssl, &to->wire.tx, &to->wire.rx, &receiver),
	   "%s %s: derived", ciphers[i].name, what);
	ok(!memcmp(&sender.tx, &receiver.rx, sender.cipher->info_size),
	   "%s %s: both ends agree", ciphers[i].name, what);
	ktls_send(from, text, sizeof(text), 0);
	len = recv(fd, wire, sizeof(wire), 0);
	o = make_opener(&receiver, &sender.tx, i);
	n = len > 0 ? open_record(&o, wire, (size_t)len, out) : -1;
	ok(n == sizeof(text) && !memcmp(out, text, sizeof(text)),
	   "%s %s: the next record opens", ciphers[i].name, what);
	ok(!memcmp(wire + FLOW_HEADER, o.nonce, o.cipher->nonce_size),
	   "%s %s: OpenSSL would go on with the same nonce", ciphers[i].name, what);
}

static void check_connection(struct pair *pair, SSL_SESSION *session, int i, const char *what)
{
	int ret = pair_connect(pair, session, KTLS_USERSPACE);
	char direction[64];

	ok(!ret && !strcmp(ktls_cipher(pair->client), ciphers[i].name) &&
	   !!session == SSL_session_reused(pair->client->ssl),
	   "%s %s: handshake%s", ciphers[i].name, what, session ? ", resumed" : "");
	if (ret) {
		printf("# %s / %s\n", pair->client->error, pair->server->error);
		return;
	}
	snprintf(direction, sizeof(direction), "%s, client to server", what);
	check_direction(pair->client, pair->server, pair->fd[1], i, direction);
	snprintf(direction, sizeof(direction), "%s, server to client", what);
	check_direction(pair->server, pair->client, pair->fd[0], i, direction);
}

static int accept_any(int good, X509_STORE_CTX *store)
{
	(void)good;
	(void)store;
	return 1;
}

static void check_cipher(int i)
{
	SSL_SESSION *session;
	struct pair pair;

	if (!pair_init(&pair, ciphers[i].name, ciphers[i].ec)) {
		ok(0, "%s: OpenSSL knows it", ciphers[i].name);
		return;
	}
	check_connection(&pair, NULL, i, "full");
	session = SSL_get1_session(pair.client->ssl);
	pair_disconnect(&pair);
	check_connection(&pair, session, i, "ticket");
	pair_disconnect(&pair);
	SSL_SESSION_free(session);

	SSL_CTX_set_options(pair.server_ctx, SSL_OP_NO_TICKET | SSL_OP_NO_EXTENDED_MASTER_SECRET);
	check_connection(&pair, NULL, i, "no EMS");
	session = SSL_get1_session(pair.client->ssl);
	pair_disconnect(&pair);
	check_connection(&pair, session, i, "session id");
	pair_disconnect(&pair);
	SSL_SESSION_free(session);

	SSL_CTX_set_verify(pair.server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   accept_any);
	check_connection(&pair, NULL, i, "client certificate");
	pair_disconnect(&pair);
	pair_free(&pair);
}

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		check_cipher((int)i);
	return tap_done();
}
