// SPDX-License-Identifier: GPL-2.0-only
#include "cipher.h"

#include <linux/tls.h>

/* The offsets and sizes of one cipher's struct; a field's length is the UAPI's. */
#define KTLS_INFO_LAYOUT(type)						\
	.key_len = sizeof(((struct type *)0)->key),			\
	.salt_len = sizeof(((struct type *)0)->salt),			\
	.iv_len = sizeof(((struct type *)0)->iv),			\
	.info_len = sizeof(struct type),				\
	.key_at = offsetof(struct type, key),				\
	.salt_at = offsetof(struct type, salt),				\
	.iv_at = offsetof(struct type, iv),				\
	.seq_at = offsetof(struct type, rec_seq)

/* ChaCha20-Poly1305 has no salt: the whole nonce is the iv (RFC 7905 2). */
#define KTLS_CHACHA	tls12_crypto_info_chacha20_poly1305

#define KTLS_CHECK_LAYOUT(type)						\
	static_assert(sizeof(struct type) <= KTLS_CRYPTO_INFO_MAX, #type); \
	static_assert(sizeof(((struct type *)0)->rec_seq) == KTLS_SEQ_LEN, #type); \
	static_assert(sizeof(((struct type *)0)->salt) +		\
		      sizeof(((struct type *)0)->iv) == KTLS_NONCE_LEN, #type)

KTLS_CHECK_LAYOUT(tls12_crypto_info_aes_gcm_128);
KTLS_CHECK_LAYOUT(tls12_crypto_info_aes_gcm_256);
KTLS_CHECK_LAYOUT(tls12_crypto_info_aes_ccm_128);
KTLS_CHECK_LAYOUT(KTLS_CHACHA);
static_assert(TLS_CIPHER_AES_GCM_128_TAG_SIZE == KTLS_TAG_LEN, "tag");
static_assert(TLS_CIPHER_AES_GCM_256_TAG_SIZE == KTLS_TAG_LEN, "tag");
static_assert(TLS_CIPHER_AES_CCM_128_TAG_SIZE == KTLS_TAG_LEN, "tag");
static_assert(TLS_CIPHER_CHACHA20_POLY1305_TAG_SIZE == KTLS_TAG_LEN, "tag");

static const struct ktls_cipher ciphers[] = {
	{
		.id = TLS_CIPHER_AES_GCM_128, .name = "AES-128-GCM", .aead = "gcm(aes)",
		.explicit_len = KTLS_SEQ_LEN, .failed_max = 1ULL << 28, .records_max = 23726566,
		KTLS_INFO_LAYOUT(tls12_crypto_info_aes_gcm_128),
	}, {
		.id = TLS_CIPHER_AES_GCM_256, .name = "AES-256-GCM", .aead = "gcm(aes)",
		.explicit_len = KTLS_SEQ_LEN, .failed_max = 1ULL << 28, .records_max = 23726566,
		KTLS_INFO_LAYOUT(tls12_crypto_info_aes_gcm_256),
	}, {
		.id = TLS_CIPHER_CHACHA20_POLY1305, .name = "CHACHA20-POLY1305",
		.aead = "rfc7539(chacha20,poly1305)", .failed_max = 1ULL << 36,
		KTLS_INFO_LAYOUT(KTLS_CHACHA),
	}, {
		/* RFC 3610: the first byte of the iv is the size of the length field less 1. */
		.id = TLS_CIPHER_AES_CCM_128, .name = "AES-128-CCM", .aead = "ccm(aes)",
		.explicit_len = KTLS_SEQ_LEN, .rereads = true, .iv_prefix = 2,
		.failed_max = 1ULL << 23, .records_max = 1ULL << 23,
		KTLS_INFO_LAYOUT(tls12_crypto_info_aes_ccm_128),
	},
};

/**
 * ktls_cipher_find() - look a cipher up
 * @id: TLS_CIPHER_*
 *
 * Context: any.
 * Return: its row, NULL when there is none.
 */
const struct ktls_cipher *ktls_cipher_find(u16 id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ciphers); i++)
		if (ciphers[i].id == id)
			return &ciphers[i];
	return NULL;
}
