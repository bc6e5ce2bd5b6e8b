// SPDX-License-Identifier: MIT
/* What was negotiated, for the program to ask. */
#include "conn.h"

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
	return SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name);
}

const char *ktls_alpn(const struct ktls_conn *conn, size_t *len)
{
	const unsigned char *name;
	unsigned int n;

	SSL_get0_alpn_selected(conn->ssl, &name, &n);
	if (len)
		*len = n;
	return (const char *)name;
}

X509 *ktls_peer_certificate(const struct ktls_conn *conn)
{
	return SSL_get1_peer_certificate(conn->ssl);
}

long ktls_verify_result(const struct ktls_conn *conn)
{
	return SSL_get_verify_result(conn->ssl);
}

SSL *ktls_ssl(const struct ktls_conn *conn)
{
	return conn->ssl;
}
