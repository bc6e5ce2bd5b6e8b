/* SPDX-License-Identifier: MIT */
/* The keys of a finished handshake, in the form that TLS_TX and TLS_RX take. */
#ifndef KTLS_SECRETS_H
#define KTLS_SECRETS_H

#include <stddef.h>
#include <stdint.h>
#include <linux/tls.h>
#include <openssl/ssl.h>

#include "flow.h"

/* A cipher that the kernel knows too; sizes in bytes, offsets into its tls12_crypto_info. */
struct ktls_cipher {
	int nid;		/* OpenSSL's */
	uint16_t type;		/* the kernel's TLS_CIPHER_* */
	uint16_t info_size;
	uint8_t key_size;
	uint8_t fixed_size;	/* of the part of the nonce that the key block gives */
	uint8_t nonce_size;	/* of the explicit part, on the wire */
	uint8_t key;		/* where the key goes, ... */
	uint8_t fixed;
	uint8_t nonce;
	uint8_t rec_seq;
};

union ktls_key {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes_gcm_128;
	struct tls12_crypto_info_aes_gcm_256 aes_gcm_256;
	struct tls12_crypto_info_aes_ccm_128 aes_ccm_128;
	struct tls12_crypto_info_chacha20_poly1305 chacha20_poly1305;
};

struct ktls_keys {
	const struct ktls_cipher *cipher;
	union ktls_key tx, rx;
};

/* NULL: the kernel has no such cipher. */
const struct ktls_cipher *ktls_cipher_find(const SSL_CIPHER *cipher);

/*
 * Derives both directions' keys: of TLS 1.2 and DTLS 1.2 from the session, of TLS 1.3 from the
 * traffic secrets; tx and rx say where each direction stands. 0, -EOPNOTSUPP (another version or
 * cipher), -EPROTO (OpenSSL failed: its error queue says why; or it has not told the secrets).
 * Wipe *keys with OPENSSL_cleanse.
 */
int ktls_secrets_derive(SSL *ssl, const struct ktls_flow *tx, const struct ktls_flow *rx,
			struct ktls_keys *keys);

#endif
