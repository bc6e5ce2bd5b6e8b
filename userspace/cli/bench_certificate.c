// SPDX-License-Identifier: MIT
#include <openssl/asn1.h>
#include <openssl/ec.h>

#include "bench_certificate.h"

#define CLOCK_SLACK	3600
#define LIFETIME	(7 * 86400)

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -CLOCK_SLACK);
	X509_gmtime_adj(X509_getm_notAfter(cert), LIFETIME);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"ktls bench",
				   -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_set_pubkey(cert, key);
	if (X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

const struct bench_certificate *bench_certificate(void)
{
	static struct bench_certificate own;

	if (!own.key)
		own.key = EVP_EC_gen("P-256");
	if (own.key && !own.cert)
		own.cert = self_signed(own.key);
	return own.cert ? &own : NULL;
}
