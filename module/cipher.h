/* SPDX-License-Identifier: GPL-2.0-only */
/* The ciphers: what distinguishes them, a const row each. */
#ifndef KTLS_CIPHER_H
#define KTLS_CIPHER_H

#include "bytes.h"

#define KTLS_NONCE_LEN		12	/* of every AEAD that TLS uses */
#define KTLS_IV_MAX		16	/* of the kernel's AEADs: CCM has a byte before the nonce */
#define KTLS_TAG_LEN		16	/* of every cipher here */
#define KTLS_SEQ_LEN		8
#define KTLS_CRYPTO_INFO_MAX	56	/* the largest struct tls12_crypto_info_* of the table */

/**
 * struct ktls_cipher - a cipher, and where its key material lies in the UAPI's struct
 * @id: TLS_CIPHER_*
 * @name: for people
 * @aead: of the kernel's crypto API
 * @key_len: bytes of the key
 * @salt_len: bytes of the nonce's fixed part that the UAPI calls salt
 * @iv_len: bytes of what the UAPI calls iv
 * @explicit_len: bytes of the nonce that travel in each record of (D)TLS 1.2 (RFC 5288 3):
 *	KTLS_SEQ_LEN, or 0 where the nonce is the iv XOR the sequence number (RFC 7905 2), as it
 *	always is in TLS 1.3 (RFC 8446 5.3)
 * @rereads: visits the plaintext for the tag and again for the ciphertext, so it must not
 *	lie where others may write to it meanwhile
 * @iv_prefix: value of the byte before the nonce in the kernel's iv, 0: no such byte
 * @failed_max: DTLS: records with a wrong tag after which a key is given up (rfc9325 4.4,
 *	rfc9147 4.5.3)
 * @records_max: records that one key should protect (rfc8446 5.5: 2^24.5 with GCM; rfc9147
 *	4.5.3: 2^23 with CCM), 0: its sequence numbers end before
 * @info_len: size of the struct
 * @key_at: offset of the key in the struct; likewise @salt_at, @iv_at, @seq_at
 */
struct ktls_cipher {
	u16 id;
	const char *name;
	const char *aead;
	u8 key_len;
	u8 salt_len;
	u8 iv_len;
	u8 explicit_len;
	bool rereads;
	u8 iv_prefix;
	u64 failed_max;
	u64 records_max;
	u8 info_len;
	u8 key_at;
	u8 salt_at;
	u8 iv_at;
	u8 seq_at;
};

const struct ktls_cipher *ktls_cipher_find(u16 id);

#endif /* KTLS_CIPHER_H */
