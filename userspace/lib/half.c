// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <linux/ktls.h>

#include "dtls.h"
#include "half.h"
#include "wire.h"

#define AAD_MAX		13
#define INNER_MAX	(RECORD_MAX_PAYLOAD + 256)

static void put_be(uint8_t *out, uint64_t v, size_t len)
{
	while (len--) {
		out[len] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get_be(const uint8_t *in, size_t len)
{
	uint64_t v = 0;

	while (len--)
		v = v << 8 | *in++;
	return v;
}

static bool is_tls13(const struct ktls_half *half)
{
	return half->version == TLS_1_3_VERSION;
}

static size_t header_len(const struct ktls_half *half)
{
	return half->version == DTLS_1_2_VERSION ? DTLS_HEADER : FLOW_HEADER;
}

/* Bytes of the nonce that each record carries. */
static size_t explicit_len(const struct ktls_half *half)
{
	return is_tls13(half) ? 0 : half->cipher->nonce_size;
}

void ktls_half_set(struct ktls_half *half, const struct ktls_cipher *cipher,
		   const union ktls_key *key)
{
	const uint8_t *at = (const uint8_t *)key;

	memset(half, 0, sizeof(*half));
	half->cipher = cipher;
	half->version = key->info.version;
	memcpy(half->key, at + cipher->key, cipher->key_size);
	memcpy(half->fixed, at + cipher->fixed, cipher->fixed_size);
	memcpy(half->fixed + cipher->fixed_size, at + cipher->nonce, cipher->nonce_size);
	half->nonce = get_be(at + cipher->nonce, cipher->nonce_size);
	half->seq = get_be(at + cipher->rec_seq, 8);
}

void ktls_half_set_position(struct ktls_half *half, const union ktls_key *key)
{
	const uint8_t *at = (const uint8_t *)key;

	half->nonce = get_be(at + half->cipher->nonce, half->cipher->nonce_size);
	half->seq = get_be(at + half->cipher->rec_seq, 8);
}

void ktls_half_get(const struct ktls_half *half, union ktls_key *key)
{
	const struct ktls_cipher *cipher = half->cipher;
	uint8_t *at = (uint8_t *)key;

	memset(key, 0, sizeof(*key));
	key->info.version = half->version;
	key->info.cipher_type = cipher->type;
	memcpy(at + cipher->key, half->key, cipher->key_size);
	memcpy(at + cipher->fixed, half->fixed, cipher->fixed_size);
	if (explicit_len(half))
		put_be(at + cipher->nonce, half->nonce, cipher->nonce_size);
	else
		memcpy(at + cipher->nonce, half->fixed + cipher->fixed_size, cipher->nonce_size);
	put_be(at + cipher->rec_seq, half->seq, 8);
}

/* ---- one record ---- */

struct sealing {
	const struct ktls_half *half;
	uint8_t nonce[HALF_NONCE];
	uint8_t aad[AAD_MAX];
	int aad_len;
};

/* rfc5288 3, rfc7905 2, rfc8446 5.3 */
static void make_nonce(struct sealing *s, uint64_t seq, const uint8_t *explicit_nonce)
{
	const struct ktls_half *half = s->half;
	uint8_t number[8];
	size_t i;

	memcpy(s->nonce, half->fixed, HALF_NONCE);
	if (explicit_len(half)) {
		memcpy(s->nonce + half->cipher->fixed_size, explicit_nonce, explicit_len(half));
		return;
	}
	put_be(number, seq, 8);
	for (i = 0; i < 8; i++)
		s->nonce[HALF_NONCE - 8 + i] ^= number[i];
}

/* rfc5246 6.2.3.3: number, type, version, length of the plaintext; rfc8446 5.2: the header. */
static void make_aad(struct sealing *s, uint64_t seq, const uint8_t *header, size_t len)
{
	if (is_tls13(s->half)) {
		memcpy(s->aad, header, FLOW_HEADER);
		s->aad_len = FLOW_HEADER;
		return;
	}
	put_be(s->aad, seq, 8);
	memcpy(s->aad + 8, header, 3);
	put_be(s->aad + 11, len, 2);
	s->aad_len = AAD_MAX;
}

static bool is_ccm(const EVP_CIPHER *evp)
{
	return EVP_CIPHER_get_mode(evp) == EVP_CIPH_CCM_MODE;
}

/* What both directions begin with. A tag of NULL: it is still to be made. */
static bool begin(EVP_CIPHER_CTX *ctx, const struct sealing *s, int encrypt, uint8_t *tag,
		  int len)
{
	const EVP_CIPHER *evp = EVP_get_cipherbynid(s->half->cipher->nid);
	int n;

	if (!evp || EVP_CipherInit_ex(ctx, evp, NULL, NULL, NULL, encrypt) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, HALF_NONCE, NULL) != 1)
		return false;
	if ((tag || is_ccm(evp)) &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, HALF_TAG, tag) != 1)
		return false;
	return EVP_CipherInit_ex(ctx, NULL, NULL, s->half->key, s->nonce, encrypt) == 1 &&
	       (!is_ccm(evp) || EVP_CipherUpdate(ctx, NULL, &n, NULL, len) == 1) &&
	       EVP_CipherUpdate(ctx, NULL, &n, s->aad, s->aad_len) == 1;
}

static bool encrypt(const struct sealing *s, const uint8_t *in, int len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool good;
	int n = 0;

	good = ctx && begin(ctx, s, 1, NULL, len) &&
	       EVP_CipherUpdate(ctx, out, &n, in, len) == 1 &&
	       EVP_CipherFinal_ex(ctx, out + n, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, HALF_TAG, out + len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return good;
}

static bool decrypt(const struct sealing *s, const uint8_t *in, int len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t tag[HALF_TAG];
	bool good;
	int n = 0;

	memcpy(tag, in + len, HALF_TAG);
	good = ctx && begin(ctx, s, 0, tag, len) &&
	       EVP_CipherUpdate(ctx, out, &n, in, len) == 1 &&
	       /* CCM has judged already. */
	       (is_ccm(EVP_CIPHER_CTX_get0_cipher(ctx)) ||
		EVP_CipherFinal_ex(ctx, out + n, &n) == 1);
	EVP_CIPHER_CTX_free(ctx);
	return good;
}

static void write_header(const struct ktls_half *half, uint8_t type, size_t body, uint8_t *out)
{
	out[0] = is_tls13(half) ? RECORD_DATA : type;
	put_be(out + 1, half->version == DTLS_1_2_VERSION ? DTLS_1_2_VERSION : TLS_1_2_VERSION, 2);
	if (half->version == DTLS_1_2_VERSION)
		put_be(out + 3, half->seq, 8);
	put_be(out + header_len(half) - 2, body, 2);
}

/* rfc5246 6.1, rfc6347 4.1: numbers do not wrap. */
static bool is_used_up(const struct ktls_half *half)
{
	bool dtls = half->version == DTLS_1_2_VERSION;
	uint64_t last = dtls ? (1ULL << DTLS_SEQ_BITS) - 1 : UINT64_MAX;

	return (half->seq & last) == last;
}

ssize_t ktls_half_seal(struct ktls_half *half, uint8_t type, const uint8_t *data, size_t len,
		       uint8_t *out)
{
	struct sealing s = { .half = half };
	size_t head = header_len(half), nonce = explicit_len(half);
	size_t text = len + (is_tls13(half) ? 1 : 0);
	uint8_t *at = out + head + nonce;

	if (len > RECORD_MAX_PAYLOAD)
		return -EMSGSIZE;
	if (is_used_up(half))
		return -EBADMSG;
	write_header(half, type, nonce + text + HALF_TAG, out);
	put_be(out + head, half->nonce, nonce);
	make_nonce(&s, half->seq, out + head);
	make_aad(&s, half->seq, out, text);
	memmove(at, data, len);
	/* rfc8446 5.2: the true type ends the plaintext. */
	if (is_tls13(half))
		at[len] = type;
	if (!encrypt(&s, at, (int)text, at))
		return -EPROTO;
	half->seq++;
	half->nonce++;
	return (ssize_t)(head + nonce + text + HALF_TAG);
}

/* rfc8446 5.4: the last byte that is not zero. */
static ssize_t strip(const uint8_t *text, size_t len, uint8_t *type)
{
	while (len && !text[len - 1])
		len--;
	if (!len)
		return -EBADMSG;
	*type = text[len - 1];
	return (ssize_t)len - 1;
}

ssize_t ktls_half_open(struct ktls_half *half, const uint8_t *record, size_t len, uint8_t *type,
		       uint8_t *out)
{
	struct sealing s = { .half = half };
	size_t head = header_len(half), nonce = explicit_len(half), text;
	uint64_t seq = half->seq;
	ssize_t n;

	if (len < head + nonce + HALF_TAG || len > head + nonce + HALF_TAG + INNER_MAX ||
	    len - head != get_be(record + head - 2, 2))
		return -EBADMSG;
	if (half->version == DTLS_1_2_VERSION)
		seq = get_be(record + 3, 8);
	text = len - head - nonce - HALF_TAG;
	make_nonce(&s, seq, record + head);
	make_aad(&s, seq, record, text);
	if (!decrypt(&s, record + head + nonce, (int)text, out)) {
		/* Whatever it is, nobody vouches for it. */
		OPENSSL_cleanse(out, text);
		return -EBADMSG;
	}
	*type = record[0];
	n = is_tls13(half) ? strip(out, text, type) : (ssize_t)text;
	if (n >= 0)
		half->seq = seq + 1;
	return n;
}
