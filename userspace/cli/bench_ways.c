// SPDX-License-Identifier: MIT
/* The tables of what can be compared. */
#include <string.h>
#include <strings.h>

#include <linux/ktls.h>
#include <linux/tls.h>

#include "bench.h"

const struct bench_protocol bench_tls12 = { "TLS 1.2", TLS_1_2_VERSION, false };
const struct bench_protocol bench_tls13 = { "TLS 1.3", TLS_1_3_VERSION, false };
const struct bench_protocol bench_dtls12 = { "DTLS 1.2", DTLS_1_2_VERSION, true };

#define LAYOUT(info)	sizeof(struct info), offsetof(struct info, rec_seq)

static const struct bench_cipher ciphers[] = {
	{ "AES128-GCM", TLS_CIPHER_AES_GCM_128, LAYOUT(tls12_crypto_info_aes_gcm_128),
	  "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "AES-128-GCM" },
	{ "AES256-GCM", TLS_CIPHER_AES_GCM_256, LAYOUT(tls12_crypto_info_aes_gcm_256),
	  "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384", "AES-256-GCM" },
	{ "CHACHA20-POLY1305", TLS_CIPHER_CHACHA20_POLY1305,
	  LAYOUT(tls12_crypto_info_chacha20_poly1305),
	  "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305" },
	{ "AES128-CCM", TLS_CIPHER_AES_CCM_128, LAYOUT(tls12_crypto_info_aes_ccm_128),
	  "ECDHE-ECDSA-AES128-CCM", "TLS_AES_128_CCM_SHA256", "AES-128-CCM" },
};

const struct bench_cipher *bench_cipher_find(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		if (strlen(ciphers[i].name) == len && !strncasecmp(ciphers[i].name, name, len))
			return &ciphers[i];
	return NULL;
}

const struct bench_way *const bench_ways[] = {
	&bench_af_ktls, &bench_tls, &bench_openssl_ktls, &bench_openssl, &bench_gnutls,
	&bench_plain, NULL,
};
