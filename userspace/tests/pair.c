// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "pair.h"

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
				   -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	return cert;
}

/* One key of a kind is enough: making an RSA key takes seconds in an emulated guest. */
static void use_certificate(SSL_CTX *ctx, int ec)
{
	static EVP_PKEY *keys[2];
	static X509 *certs[2];

	if (!keys[ec]) {
		keys[ec] = ec ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
		certs[ec] = self_signed(keys[ec]);
	}
	SSL_CTX_use_certificate(ctx, certs[ec]);
	SSL_CTX_use_PrivateKey(ctx, keys[ec]);
}

void pair_equip(SSL_CTX *ctx, int ec)
{
	static const unsigned char id[] = "pair";

	use_certificate(ctx, ec);
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id));
}

int pair_init(struct pair *pair, const char *ciphers, int ec)
{
	*pair = (struct pair){ .fd = { -1, -1 } };
	pair->client_ctx = SSL_CTX_new(TLS_client_method());
	pair->server_ctx = SSL_CTX_new(TLS_server_method());
	pair_equip(pair->server_ctx, ec);
	pair_equip(pair->client_ctx, ec);
	SSL_CTX_set_dh_auto(pair->server_ctx, 1);
	SSL_CTX_set_max_proto_version(pair->client_ctx, TLS1_2_VERSION);
	return SSL_CTX_set_cipher_list(pair->client_ctx, ciphers) == 1 &&
	       SSL_CTX_set_cipher_list(pair->server_ctx, ciphers) == 1;
}

static int shake_hands(struct pair *pair)
{
	int c, s;

	do {
		c = ktls_step(pair->client);
		s = ktls_step(pair->server);
		if ((c && c != -EAGAIN) || (s && s != -EAGAIN))
			return c && c != -EAGAIN ? c : s;
	} while (c || s);
	return 0;
}

int pair_connect(struct pair *pair, SSL_SESSION *session, unsigned int flags)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair->fd))
		return -errno;
	pair->client = ktls_new(pair->client_ctx, pair->fd[0], 0, "localhost", flags);
	pair->server = ktls_new(pair->server_ctx, pair->fd[1], 1, NULL, flags);
	if (!pair->client || !pair->server)
		return -errno;
	if (session)
		SSL_set_session(ktls_ssl(pair->client), session);
	return shake_hands(pair);
}

void pair_disconnect(struct pair *pair)
{
	ktls_close(pair->client);
	ktls_close(pair->server);
	close(pair->fd[0]);
	close(pair->fd[1]);
	pair->client = NULL;
	pair->server = NULL;
}

void pair_free(struct pair *pair)
{
	SSL_CTX_free(pair->client_ctx);
	SSL_CTX_free(pair->server_ctx);
}
