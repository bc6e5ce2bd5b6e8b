/* SPDX-License-Identifier: MIT */
#ifndef KTLS_CLI_BENCH_CERTIFICATE_H
#define KTLS_CLI_BENCH_CERTIFICATE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

struct bench_certificate {
	EVP_PKEY *key;
	X509 *cert;
};

/* One for all connections, signed by itself, made when first asked for. NULL: OpenSSL failed. */
const struct bench_certificate *bench_certificate(void);

#endif
