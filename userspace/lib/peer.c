// SPDX-License-Identifier: MIT
/* What was negotiated, for the program to ask. */
#include <string.h>

#include "conn.h"

void ktls_peer_note(struct ktls_conn *conn)
{
	struct ktls_peer *peer = &conn->peer;

	if (!SSL_is_init_finished(conn->ssl))
		return;
	X509_free(peer->certificate);
	peer->certificate = SSL_get1_peer_certificate(conn->ssl);
	peer->verified = SSL_get_verify_result(conn->ssl);
}

void ktls_peer_begin(struct ktls_conn *conn)
{
	const char *name = SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name);
	struct ktls_peer *peer = &conn->peer;
	const unsigned char *alpn;
	unsigned int len;

	peer->has_name = name && strlen(name) < sizeof(peer->name);
	if (peer->has_name)
		strcpy(peer->name, name);
	SSL_get0_alpn_selected(conn->ssl, &alpn, &len);
	peer->alpn_len = len <= sizeof(peer->alpn) ? len : 0;
	if (peer->alpn_len)
		memcpy(peer->alpn, alpn, peer->alpn_len);
	pthread_mutex_lock(&conn->shadow_lock);
	ktls_peer_note(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
}

void ktls_peer_free(struct ktls_conn *conn)
{
	X509_free(conn->peer.certificate);
	conn->peer.certificate = NULL;
}

const char *ktls_version(const struct ktls_conn *conn)
{
	return SSL_get_version(conn->ssl);
}

const char *ktls_cipher(const struct ktls_conn *conn)
{
	return SSL_get_cipher_name(conn->ssl);
}

const char *ktls_server_name(const struct ktls_conn *conn)
{
	if (conn->phase != PHASE_OPEN)
		return SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name);
	return conn->peer.has_name ? conn->peer.name : NULL;
}

const char *ktls_alpn(const struct ktls_conn *conn, size_t *len)
{
	const unsigned char *name = conn->peer.alpn;
	unsigned int n = (unsigned int)conn->peer.alpn_len;

	if (conn->phase != PHASE_OPEN)
		SSL_get0_alpn_selected(conn->ssl, &name, &n);
	if (len)
		*len = n;
	return n ? (const char *)name : NULL;
}

/* In userspace OpenSSL completes handshakes unseen. */
static struct ktls_peer *lock_peer(const struct ktls_conn *conn)
{
	struct ktls_conn *c = (struct ktls_conn *)conn;

	pthread_mutex_lock(&c->shadow_lock);
	if (!c->shadow)
		ktls_peer_note(c);
	return &c->peer;
}

static void unlock_peer(const struct ktls_conn *conn)
{
	pthread_mutex_unlock(&((struct ktls_conn *)conn)->shadow_lock);
}

X509 *ktls_peer_certificate(const struct ktls_conn *conn)
{
	X509 *certificate;

	if (conn->phase != PHASE_OPEN)
		return SSL_get1_peer_certificate(conn->ssl);
	certificate = lock_peer(conn)->certificate;
	if (certificate)
		X509_up_ref(certificate);
	unlock_peer(conn);
	return certificate;
}

long ktls_verify_result(const struct ktls_conn *conn)
{
	long verified;

	if (conn->phase != PHASE_OPEN)
		return SSL_get_verify_result(conn->ssl);
	verified = lock_peer(conn)->verified;
	unlock_peer(conn);
	return verified;
}

SSL *ktls_ssl(const struct ktls_conn *conn)
{
	return conn->ssl;
}
