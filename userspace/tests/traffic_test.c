// SPDX-License-Identifier: MIT
/*
 * TLS 1.3: keys from traffic secrets (rfc8448 3), and that the library learns the secrets, counts
 * the records and opens and seals what OpenSSL does, in either role.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "half.h"
#include "pair.h"
#include "tap.h"

static int hex(const char *text, uint8_t *out)
{
	long len = 0;
	unsigned char *bytes = OPENSSL_hexstr2buf(text, &len);

	memcpy(out, bytes, (size_t)len);
	OPENSSL_free(bytes);
	return (int)len;
}

static const struct {
	const char *what, *secret, *key, *iv;
} vectors[] = {
	{ "client application",
	  "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
	  "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9" },
	{ "server application",
	  "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
	  "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984" },
	{ "client handshake",
	  "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
	  "dbfaa693d1762c5b666af5d950258d01", "5bd3c71b836e0b76bb73265f" },
};

static void check_vectors(void)
{
	struct ktls_traffic_secret secret = { .len = 32 };
	uint8_t key[16], iv[12], want[32];
	size_t i;

	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		hex(vectors[i].secret, secret.bytes);
		ok(!ktls_traffic_key(EVP_sha256(), &secret, key, sizeof(key), iv) &&
		   hex(vectors[i].key, want) == 16 && !memcmp(key, want, 16) &&
		   hex(vectors[i].iv, want) == 12 && !memcmp(iv, want, 12),
		   "rfc8448 3: %s key and iv", vectors[i].what);
	}
	ok(!ktls_traffic_update(EVP_sha256(), &secret) && secret.len == 32 &&
	   hex(vectors[2].secret, want) == 32 && memcmp(secret.bytes, want, 32),
	   "the next generation is another");
}

static const struct {
	const char *name;
	int tickets;
	int verify;
} cases[] = {
	{ "TLS_AES_128_GCM_SHA256", 2, 0 },
	{ "TLS_AES_256_GCM_SHA384", 0, 0 },
	{ "TLS_CHACHA20_POLY1305_SHA256", 5, 0 },
	{ "TLS_AES_128_CCM_SHA256", 1, 0 },
	{ "TLS_AES_128_GCM_SHA256", 3, 1 },
};

static int accept_any(int good, X509_STORE_CTX *store)
{
	(void)good;
	(void)store;
	return 1;
}

static void init(struct pair *pair, const char *suites, int tickets, int verify)
{
	pair_init(pair, "ECDHE+AESGCM", 1);
	SSL_CTX_set_max_proto_version(pair->client_ctx, 0);
	SSL_CTX_set_ciphersuites(pair->client_ctx, suites);
	SSL_CTX_set_ciphersuites(pair->server_ctx, suites);
	SSL_CTX_set_num_tickets(pair->server_ctx, (size_t)tickets);
	if (verify)
		SSL_CTX_set_verify(pair->server_ctx, SSL_VERIFY_PEER, accept_any);
}

/* The next records of OpenSSL open with what the kernel would be given, and those that we seal are good. */
static void check_direction(struct ktls_conn *from, struct ktls_conn *to, int fd, int to_fd,
			    const struct ktls_half *from_tx, const char *what)
{
	struct ktls_half half = *from_tx;
	uint8_t wire[4096], out[4096], type = 0;
	ssize_t len, n;
	char got[64];
	int i;

	for (i = 0; i < 3; i++) {
		ktls_send(from, "from OpenSSL", 12, 0);
		len = recv(fd, wire, sizeof(wire), 0);
		/* The tickets of a server lie before. */
		while (len > 0 && 5 + record_body_len(wire) < (size_t)len) {
			n = (ssize_t)(5 + record_body_len(wire));
			memmove(wire, wire + n, (size_t)(len - n));
			len -= n;
		}
		n = len > 0 ? ktls_half_open(&half, wire, (size_t)len, &type, out) : -1;
		ok(n == 12 && type == RECORD_DATA && !memcmp(out, "from OpenSSL", 12),
		   "%s: record %d opens", what, i);
	}
	wire[7] ^= 1;
	ok(ktls_half_open(&half, wire, (size_t)len, &type, out) == -EBADMSG &&
	   ktls_half_open(&half, wire, 12, &type, out) == -EBADMSG, "%s: a bad one does not", what);
	/* What was taken from the wire goes in again, sealed by us under the same numbers. */
	half = *from_tx;
	for (i = 0; i < 3; i++) {
		len = ktls_half_seal(&half, RECORD_DATA, (const uint8_t *)"from libktls", 12, wire);
		ok(len > 0 && send(to_fd, wire, (size_t)len, 0) == len &&
		   ktls_recv(to, got, sizeof(got), 0) == 12 && !memcmp(got, "from libktls", 12),
		   "%s: OpenSSL takes ours %d", what, i);
	}
}

static void check_case(size_t i)
{
	struct ktls_keys client, server;
	struct ktls_half half;
	struct pair pair;
	char what[96], c;
	int ret;

	init(&pair, cases[i].name, cases[i].tickets, cases[i].verify);
	ret = pair_connect(&pair, NULL, KTLS_USERSPACE);
	ok(!ret && !strcmp(ktls_cipher(pair.client), cases[i].name), "%s: connects", cases[i].name);
	if (ret)
		return;
	/* The tickets that the server has sent. */
	ok(ktls_recv(pair.client, &c, 1, 0) == -EAGAIN, "%s: tickets are no data", cases[i].name);
	ok(pair.server->wire.tx.seq == (uint64_t)cases[i].tickets &&
	   pair.client->wire.rx.seq == (uint64_t)cases[i].tickets && !pair.client->wire.tx.seq &&
	   !pair.server->wire.rx.seq, "%s: %d tickets counted: %d", cases[i].name,
	   cases[i].tickets, (int)pair.server->wire.tx.seq);
	ok(!ktls_secrets_derive(pair.client->ssl, &pair.client->wire.tx, &pair.client->wire.rx,
				&client) &&
	   !ktls_secrets_derive(pair.server->ssl, &pair.server->wire.tx, &pair.server->wire.rx,
				&server) &&
	   !memcmp(&client.tx, &server.rx, client.cipher->info_size) &&
	   !memcmp(&client.rx, &server.tx, client.cipher->info_size) &&
	   client.tx.info.version == TLS_1_3_VERSION, "%s: both ends agree", cases[i].name);
	snprintf(what, sizeof(what), "%s, client to server", cases[i].name);
	ktls_half_set(&half, client.cipher, &client.tx);
	check_direction(pair.client, pair.server, pair.fd[1], pair.fd[0], &half, what);
	snprintf(what, sizeof(what), "%s, server to client", cases[i].name);
	ktls_half_set(&half, server.cipher, &server.tx);
	check_direction(pair.server, pair.client, pair.fd[0], pair.fd[1], &half, what);
	pair_disconnect(&pair);
	pair_free(&pair);
}

/* ---- other people's callbacks ---- */

static int lines, infos;

static void program_keylog(const SSL *ssl, const char *line)
{
	(void)ssl;
	(void)line;
	lines++;
}

static void program_info(const SSL *ssl, int where, int ret)
{
	(void)ssl;
	(void)where;
	(void)ret;
	infos++;
}

static int choose_context(SSL *ssl, int *alert, void *other)
{
	(void)alert;
	SSL_set_SSL_CTX(ssl, other);
	return SSL_TLSEXT_ERR_OK;
}

static void check_callbacks(void)
{
	SSL_CTX *other = SSL_CTX_new(TLS_server_method());
	struct pair pair;

	init(&pair, "TLS_AES_128_GCM_SHA256", 2, 0);
	pair_equip(other, 0);
	SSL_CTX_set_keylog_callback(other, program_keylog);
	SSL_CTX_set_info_callback(other, program_info);
	SSL_CTX_set_tlsext_servername_callback(pair.server_ctx, choose_context);
	SSL_CTX_set_tlsext_servername_arg(pair.server_ctx, other);
	ok(!pair_connect(&pair, NULL, KTLS_USERSPACE) && SSL_get_SSL_CTX(pair.server->ssl) == other,
	   "SNI chooses another context");
	ok(pair.server->traffic.secret[TRAFFIC_CLIENT].len == 32 &&
	   !memcmp(pair.server->traffic.secret, pair.client->traffic.secret,
		   sizeof(pair.client->traffic.secret)), "its secrets are known too");
	ok(lines >= 4 && infos > 0, "its key log and info callbacks are called: %d, %d", lines, infos);
	pair_disconnect(&pair);

	lines = 0;
	SSL_CTX_set_keylog_callback(pair.client_ctx, program_keylog);
	ok(!pair_connect(&pair, NULL, KTLS_USERSPACE) && lines == 10 &&
	   pair.client->traffic.secret[TRAFFIC_SERVER].len == 32,
	   "a callback set later is called, once a line and side: %d", lines);
	pair_disconnect(&pair);
	pair_free(&pair);
	SSL_CTX_free(other);
}

static SSL_CTX_keylog_cb_func wrapped;
static int wrapper_depth, wrapper_calls;

static void wrap_log(const SSL *ssl, const char *line)
{
	wrapper_calls++;
	if (++wrapper_depth < 10)
		wrapped(ssl, line);
	wrapper_depth--;
}

/* A program that puts its own callback before the one that it finds, which is ours. */
static void check_wrapped_log(void)
{
	struct pair pair;
	int i, before = 0;

	init(&pair, cases[0].name, 0, 0);
	for (i = 0; i < 2; i++) {
		ok(!pair_connect(&pair, NULL, KTLS_USERSPACE), "a wrapped key log: connection %d", i);
		pair_disconnect(&pair);
		if (!i) {
			wrapped = SSL_CTX_get_keylog_callback(pair.client_ctx);
			SSL_CTX_set_keylog_callback(pair.client_ctx, wrap_log);
			before = wrapper_calls;
		}
	}
	ok(wrapper_calls > before && wrapper_calls <= 2 * 5, "a wrapped key log: called %d times",
	   wrapper_calls);
	pair_free(&pair);
}

int main(void)
{
	size_t i;

	check_vectors();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_case(i);
	check_callbacks();
	check_wrapped_log();
	return tap_done();
}
