// SPDX-License-Identifier: MIT
/* OpenSSL when the kernel takes the records over, and what is left when it has them no more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <linux/tls.h>

#include "conn.h"
#include "shadow.h"

#define CIPHERS_MAX		4096

/* OpenSSL has seen some numbers of the first epoch; the shadow's are all above. */
#define DTLS_SHADOW_SEQ		(1ULL << 32)

/* What the next handshake chooses the kernel must be able to carry. */
static bool limit_ciphers(SSL *ssl)
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_get_ciphers(ssl);
	char list[CIPHERS_MAX];
	size_t len = 0;
	int i;

	for (i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
		const char *name = SSL_CIPHER_get_name(cipher);

		if (!ktls_cipher_find(cipher) || !strncmp(name, "TLS_", 4) ||
		    len + strlen(name) + 2 > sizeof(list))
			continue;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ":" : "",
					name);
	}
	return len && SSL_set_cipher_list(ssl, list) == 1;
}

/* Without it data would go between the messages of a handshake. */
static bool has_pause(const struct ktls_conn *conn)
{
	socklen_t len = sizeof(int);
	int value;

	return !getsockopt(conn->fd, SOL_KTLS, KTLS_PAUSE, &value, &len);
}

/* The same version again, and with a cipher for the kernel, or not at all. */
static void prepare_renegotiation(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	s->cannot = !has_pause(conn);
	s->refuses = conn->no_renegotiation || s->cannot || !limit_ciphers(conn->ssl);
	if (s->refuses)
		return;
	SSL_set_min_proto_version(conn->ssl, SSL_version(conn->ssl));
	SSL_set_max_proto_version(conn->ssl, SSL_version(conn->ssl));
	SSL_clear_options(conn->ssl, SSL_OP_NO_RENEGOTIATION);
	SSL_set_options(conn->ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
}

int ktls_shadow_start(struct ktls_conn *conn, const struct ktls_keys *keys)
{
	struct ktls_shadow *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	conn->shadow = s;
	ktls_half_set(&s->tx, keys->cipher, &keys->tx);
	ktls_half_set(&s->rx, keys->cipher, &keys->rx);
	if (ktls_shadow_is_dtls(conn))
		s->rx.seq += DTLS_SHADOW_SEQ;
	if (!ktls_shadow_is_tls13(conn))
		prepare_renegotiation(conn);
	ERR_clear_error();
	return 0;
}

void ktls_shadow_set(struct ktls_conn *conn, const struct ktls_half *tx,
		     const struct ktls_half *rx, const struct ktls_messages *out,
		     const struct ktls_messages *in)
{
	conn->shadow->tx = *tx;
	conn->shadow->rx = *rx;
	conn->shadow->out = *out;
	conn->shadow->in = *in;
}

void ktls_shadow_free(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (!s)
		return;
	conn->shadow = NULL;
	ktls_queue_empty(&s->queue);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}
