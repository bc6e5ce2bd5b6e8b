// SPDX-License-Identifier: GPL-2.0-only
#include <crypto/aead.h>
#include <linux/slab.h>

#include "crypto.h"

/* Tables are made once; each record has its own end. */
static void init_table(struct scatterlist *table, unsigned int entries, const struct ktls_key *key)
{
	sg_init_table(table, entries);
	sg_unmark_end(&table[entries - 1]);
	sg_set_buf(&table[0], key->aad, key->format->aad_len);
}

static int key_prepare(struct ktls_key *key)
{
	const struct ktls_cipher *cipher = key->cipher;
	int ret;

	/* Mask 0: a synchronous-only gcm(aes) is a slow one on kernels before 7.0. */
	key->tfm = crypto_alloc_aead(cipher->aead, 0, 0);
	if (IS_ERR(key->tfm)) {
		ret = PTR_ERR(key->tfm);
		key->tfm = NULL;
		return ret;
	}
	ret = crypto_aead_setkey(key->tfm, key->info + cipher->key_at, cipher->key_len);
	if (!ret)
		ret = crypto_aead_setauthsize(key->tfm, KTLS_TAG_LEN);
	if (ret)
		return ret;

	key->req = aead_request_alloc(key->tfm, GFP_KERNEL);
	if (!key->req)
		return -ENOMEM;
	crypto_init_wait(&key->wait);
	aead_request_set_callback(key->req, CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP,
				  crypto_req_done, &key->wait);
	aead_request_set_ad(key->req, key->format->aad_len);
	return 0;
}

/**
 * ktls_crypto_key() - make a key
 * @format: protocol version
 * @cipher: cipher
 * @info: cipher->info_len bytes, the UAPI's struct
 *
 * Context: process, may sleep and load modules.
 * Return: the key; ERR_PTR(-ENOENT): the kernel has no such cipher; others of the crypto
 * API and -ENOMEM.
 */
struct ktls_key *ktls_crypto_key(const struct ktls_format *format,
				 const struct ktls_cipher *cipher, const u8 *info)
{
	struct ktls_key *key = kzalloc(sizeof(*key), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!key)
		return ERR_PTR(-ENOMEM);
	key->format = format;
	key->cipher = cipher;
	memcpy(key->info, info, cipher->info_len);
	memcpy(key->fixed, info + cipher->salt_at, cipher->salt_len);
	memcpy(key->fixed + cipher->salt_len, info + cipher->iv_at, cipher->iv_len);
	init_table(key->src, ARRAY_SIZE(key->src), key);
	init_table(key->dst, ARRAY_SIZE(key->dst), key);

	ret = key_prepare(key);
	if (ret) {
		ktls_crypto_key_free(key);
		return ERR_PTR(ret);
	}
	return key;
}

/**
 * ktls_crypto_key_free() - wipe and free a key
 * @key: the key or NULL; nobody uses it any more
 *
 * Context: process.
 */
void ktls_crypto_key_free(struct ktls_key *key)
{
	if (!key)
		return;
	aead_request_free(key->req);
	if (key->tfm)
		crypto_free_aead(key->tfm);
	kfree_sensitive(key);
}

static void fill_workspace(struct ktls_key *key, u64 seq, const struct ktls_header *header)
{
	ktls_record_iv(key->format, key->cipher, key->fixed, seq, header->nonce, key->iv);
	ktls_record_aad(key->format, seq, header, key->aad);
}

static int crypt(struct ktls_key *key, size_t len, bool in_place,
		 int (*run)(struct aead_request *req))
{
	struct scatterlist *dst_last = &key->dst[key->dst_count];
	struct scatterlist *src_last = in_place ? dst_last : &key->src[key->src_count];
	int ret;

	sg_mark_end(src_last);
	sg_mark_end(dst_last);
	aead_request_set_crypt(key->req, in_place ? key->dst : key->src, key->dst, len, key->iv);
	ret = crypto_wait_req(run(key->req), &key->wait);
	sg_unmark_end(src_last);
	sg_unmark_end(dst_last);
	return ret;
}

/**
 * ktls_crypto_seal() - encrypt a record
 * @key: its src (unless @in_place) and dst hold the plaintext, with its trailer, and the room
 *	for ciphertext and tag, from entry 1 on; counted
 * @seq: sequence number
 * @explicit_nonce: the nonce's part that travels, if the cipher has one
 * @type: content type
 * @payload_len: bytes of plaintext
 * @in_place: dst holds the plaintext too
 *
 * Context: process, may sleep; the caller holds the lock of the key's direction.
 * Return: 0 or -errno of the crypto API.
 */
int ktls_crypto_seal(struct ktls_key *key, u64 seq, u64 explicit_nonce, u8 type,
		     size_t payload_len, bool in_place)
{
	struct ktls_header header = { .nonce = explicit_nonce };

	ktls_record_outer(key->format, type, payload_len, &header);
	fill_workspace(key, seq, &header);
	return crypt(key, payload_len + ktls_record_trailer_len(key->format), in_place,
		     crypto_aead_encrypt);
}

/**
 * ktls_crypto_open() - decrypt a record and check its tag
 * @key: its src (unless @in_place) holds ciphertext and tag, its dst the room for the
 *	plaintext and trailer (@in_place: ciphertext and tag), from entry 1 on; counted
 * @seq: the record's sequence number
 * @header: the record's header, with the part of its nonce that travels
 * @in_place: dst holds the ciphertext too
 *
 * Context: process, may sleep; the caller holds the lock of the key's direction.
 * Return: 0; -EBADMSG: the tag is wrong; else -errno of the crypto API.
 */
int ktls_crypto_open(struct ktls_key *key, u64 seq, const struct ktls_header *header,
		     bool in_place)
{
	fill_workspace(key, seq, header);
	return crypt(key, header->payload_len + ktls_record_trailer_len(key->format) + KTLS_TAG_LEN,
		     in_place, crypto_aead_decrypt);
}
