/* SPDX-License-Identifier: MIT */
/*
 * Cookies of rfc6347 4.2.1: a client gets nothing from us, not even memory, before it has
 * shown that it receives at the address that it sends from.
 */
#ifndef KTLS_COOKIE_H
#define KTLS_COOKIE_H

#include <stdbool.h>
#include <openssl/ssl.h>

#include "wire.h"

/* All connections of ctx that ask for cookies use ours. False: OpenSSL is out of memory. */
bool ktls_cookie_enable(SSL_CTX *ctx);
/* The cookie of ssl is for wire's peer. */
bool ktls_cookie_attach(SSL *ssl, struct ktls_wire *wire);

#endif
