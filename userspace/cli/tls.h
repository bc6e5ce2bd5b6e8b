/* SPDX-License-Identifier: MIT */
/* An SSL_CTX from the options that the verbs share. */
#ifndef KTLS_CLI_TLS_H
#define KTLS_CLI_TLS_H

#include <stdbool.h>
#include <stdio.h>

#include "ktls.h"

struct tls_options {
	const char *cert, *key;
	const char *ca_file, *ca_path;
	const char *cipher;
	const char *alpn;
	const char *keylog;
	const char *server_name;
	const char *rekey_after;
	bool insecure, require_kernel, userspace;
	bool tls12, tls13, dtls;
};

/* Rows of an option table, for each verb to pick from. */
#define TLS_OPTION_CERT(o)	{ "cert", "FILE", "certificate and chain, PEM", .value = &(o)->cert }
#define TLS_OPTION_KEY(o)	{ "key", "FILE", "its private key, PEM (default: the -cert file)", \
				  .value = &(o)->key }
#define TLS_OPTION_CIPHER(o)	{ "cipher", "LIST", "ciphers of TLS 1.2, see openssl-ciphers(1)", \
				  .value = &(o)->cipher }
#define TLS_OPTION_KEYLOG(o)	{ "keylogfile", "FILE", "append the secrets for wireshark to FILE", \
				  .value = &(o)->keylog }
#define TLS_OPTION_REQUIRE(o)	{ "require-kernel", NULL, \
				  "fail rather than go on in userspace", .flag = &(o)->require_kernel }
#define TLS_OPTION_USERSPACE(o)	{ "userspace", NULL, "do not use the kernel", \
				  .flag = &(o)->userspace }
#define TLS_OPTION_TLS12(o)	{ "tls1_2", NULL, "TLS 1.2 only; not with -dtls", \
				  .flag = &(o)->tls12 }
#define TLS_OPTION_TLS13(o)	{ "tls1_3", NULL, "TLS 1.3 only; not with -dtls", \
				  .flag = &(o)->tls13 }
#define TLS_OPTION_DTLS(o)	{ "dtls", NULL, "DTLS 1.2 over UDP, not TLS over TCP", \
				  .flag = &(o)->dtls }
#define TLS_OPTION_REKEY(o)	{ "rekey-after", "AMOUNT", \
				  "other keys after bytes (64M), records (1000r), seconds (30s)", \
				  .value = &(o)->rekey_after }
/* Which way a connection goes: what every verb that makes one has. */
#define TLS_OPTIONS_WAY(o)	TLS_OPTION_TLS12(o), TLS_OPTION_TLS13(o), \
				TLS_OPTION_REQUIRE(o), TLS_OPTION_USERSPACE(o), TLS_OPTION_REKEY(o)

/*
 * NULL after a complaint; misused (options.h) for what the verb does not allow. The kernel,
 * if required, is there.
 */
SSL_CTX *tls_client(const char *verb, const struct tls_options *options);
SSL_CTX *tls_server(const char *verb, const struct tls_options *options);

/* KTLS_* flags for ktls_new. */
unsigned int tls_flags(const struct tls_options *options);

/*
 * A connection whose handshake is done keeps to -rekey-after of the last context made. True: a
 * thread of the library takes care of its keys.
 */
bool tls_limit(struct ktls_conn *conn);

/* Says who is there, in a line or (verbose) several. */
void tls_describe(const struct ktls_conn *conn, const char *peer, bool verbose, FILE *out);

#endif
