// SPDX-License-Identifier: GPL-2.0-only
/* The record layer written a second time, on OpenSSL: the peer of the tests. */
#include "ktls_test.h"

#include <openssl/evp.h>

#define HEADER	5	/* of TLS; DTLS has epoch and sequence number in front of the length */
#define NONCE	12
#define TAG	16

struct suite {
	uint16_t id;
	const EVP_CIPHER *(*evp)(void);
	size_t info_len;
	size_t key_at, key_len;
	size_t salt_at, salt_len;
	size_t iv_at, iv_len;
	size_t seq_at;
	size_t explicit_len;
};

#define LAYOUT(type)							\
	.info_len = sizeof(struct type),				\
	.key_at = offsetof(struct type, key), .key_len = sizeof(((struct type *)0)->key), \
	.salt_at = offsetof(struct type, salt), .salt_len = sizeof(((struct type *)0)->salt), \
	.iv_at = offsetof(struct type, iv), .iv_len = sizeof(((struct type *)0)->iv), \
	.seq_at = offsetof(struct type, rec_seq)

static const struct suite suites[] = {
	{ TLS_CIPHER_AES_GCM_128, EVP_aes_128_gcm, LAYOUT(tls12_crypto_info_aes_gcm_128),
	  .explicit_len = 8 },
	{ TLS_CIPHER_AES_GCM_256, EVP_aes_256_gcm, LAYOUT(tls12_crypto_info_aes_gcm_256),
	  .explicit_len = 8 },
	{ TLS_CIPHER_AES_CCM_128, EVP_aes_128_ccm, LAYOUT(tls12_crypto_info_aes_ccm_128),
	  .explicit_len = 8 },
	{ TLS_CIPHER_CHACHA20_POLY1305, EVP_chacha20_poly1305,
	  LAYOUT(tls12_crypto_info_chacha20_poly1305) },
};

static const struct suite *suite_find(uint16_t id)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (suites[i].id == id)
			return &suites[i];
	abort();
}

static uint64_t get_be(const uint8_t *p, size_t len)
{
	uint64_t n = 0;

	while (len--)
		n = n << 8 | *p++;
	return n;
}

static void put_be(uint8_t *p, size_t len, uint64_t n)
{
	for (; len; n >>= 8)
		p[--len] = (uint8_t)n;
}

static size_t header_len(const struct keys *keys)
{
	return keys->dtls ? HEADER + 8 : HEADER;
}

/* As the kernel calls it, ... */
static unsigned int version_of(const struct keys *keys)
{
	return keys->dtls ? DTLS_1_2_VERSION : keys->tls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
}

/* ... and as the wire does (rfc8446 5.1). */
static unsigned int wire_version(const struct keys *keys)
{
	return keys->dtls ? DTLS_1_2_VERSION : TLS_1_2_VERSION;
}

static size_t explicit_len(const struct keys *keys)
{
	return keys->tls13 ? 0 : keys->suite->explicit_len;
}

/* Keys that differ for every seed and begin at sequence number 0; @cipher may be with TLS13. */
void keys_make(struct keys *keys, uint16_t cipher, uint8_t seed)
{
	memset(keys, 0, sizeof(*keys));
	keys->suite = suite_find(cipher & ~TLS13);
	keys->tls13 = cipher & TLS13;
	memset(keys->key, 0x40 + seed, keys->suite->key_len);
	memset(keys->nonce, 0xa0 + seed, sizeof(keys->nonce));
	memset(keys->nonce, 0xd0 + seed, 4);
}

socklen_t keys_info(const struct keys *keys, union crypto_info *out)
{
	const struct suite *s = keys->suite;

	memset(out, 0, sizeof(*out));
	out->info.version = version_of(keys);
	out->info.cipher_type = s->id;
	memcpy(out->bytes + s->key_at, keys->key, s->key_len);
	memcpy(out->bytes + s->salt_at, keys->nonce, s->salt_len);
	memcpy(out->bytes + s->iv_at, keys->nonce + s->salt_len, s->iv_len);
	put_be(out->bytes + s->seq_at, 8, keys->seq);
	return s->info_len;
}

/* The counters (iv that travels, sequence number) that getsockopt() gave. */
void keys_from_info(struct keys *keys, const union crypto_info *info)
{
	const struct suite *s = keys->suite;

	if (explicit_len(keys))
		memcpy(keys->nonce + s->salt_len, info->bytes + s->iv_at, s->iv_len);
	keys->seq = get_be(info->bytes + s->seq_at, 8);
}

/* What a record is longer than its payload. */
size_t record_overhead(const struct keys *keys)
{
	return header_len(keys) + explicit_len(keys) + keys->tls13 + TAG;
}

static void nonce_of(const struct keys *keys, const uint8_t *on_wire, uint8_t *out)
{
	memcpy(out, keys->nonce, NONCE);
	if (explicit_len(keys))
		memcpy(out + 4, on_wire, 8);
	else
		put_be(out + 4, 8, get_be(out + 4, 8) ^ keys->seq);
}

static size_t aad_len(const struct keys *keys)
{
	return keys->tls13 ? HEADER : 13;
}

/* Of the record that begins with @header; @len: its payload's. */
static void aad_of(const struct keys *keys, const uint8_t *header, size_t len, uint8_t out[13])
{
	if (keys->tls13) {
		memcpy(out, header, HEADER);
		return;
	}
	put_be(out, 8, keys->seq);
	out[8] = header[0];
	put_be(out + 9, 2, wire_version(keys));
	put_be(out + 11, 2, len);
}

static bool crypt_with(EVP_CIPHER_CTX *ctx, const struct keys *keys, const uint8_t *nonce,
		       const uint8_t *aad, const uint8_t *in, size_t len, uint8_t *out,
		       uint8_t *tag, bool seal)
{
	bool ccm = keys->suite->id == TLS_CIPHER_AES_CCM_128;
	int n;

	if (!EVP_CipherInit_ex(ctx, keys->suite->evp(), NULL, NULL, NULL, seal) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, NONCE, NULL))
		return false;
	if ((!seal || ccm) && !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG,
						   seal ? NULL : tag))
		return false;
	if (!EVP_CipherInit_ex(ctx, NULL, NULL, keys->key, nonce, seal) ||
	    (ccm && !EVP_CipherUpdate(ctx, NULL, &n, NULL, len)) ||
	    !EVP_CipherUpdate(ctx, NULL, &n, aad, aad_len(keys)) ||
	    EVP_CipherUpdate(ctx, out, &n, in, len) <= 0)
		return false;
	if (!ccm && EVP_CipherFinal_ex(ctx, out + len, &n) <= 0)
		return false;
	return !seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, tag);
}

/* The bare AEAD: @len bytes, sealed with their @tag or opened against it. */
bool keys_crypt(const struct keys *keys, const uint8_t *nonce, const uint8_t *aad,
		const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag, bool seal)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool ok = crypt_with(ctx, keys, nonce, aad, in, len, out, tag, seal);

	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* A record with @len bytes under its key, payload or more. */
static size_t seal(struct keys *keys, uint8_t type, const void *plain, size_t len, uint8_t *out)
{
	size_t nonce_len = explicit_len(keys), header = header_len(keys);
	uint8_t *body = out + header + nonce_len;
	uint8_t nonce[NONCE], aad[13];

	out[0] = type;
	put_be(out + 1, 2, wire_version(keys));
	if (keys->dtls)
		put_be(out + 3, 8, keys->seq);
	put_be(out + header - 2, 2, nonce_len + len + TAG);
	memcpy(out + header, keys->nonce + 4, nonce_len);
	nonce_of(keys, out + header, nonce);
	aad_of(keys, out, len, aad);
	if (!keys_crypt(keys, nonce, aad, plain, len, body, body + len, true))
		abort();
	keys->seq++;
	if (nonce_len)
		put_be(keys->nonce + 4, 8, get_be(keys->nonce + 4, 8) + 1);
	return header + nonce_len + len + TAG;
}

/* A record of TLS 1.3 whose inner plaintext is @len bytes of any kind. */
size_t record_seal_inner(struct keys *keys, const void *inner, size_t len, uint8_t *out)
{
	return seal(keys, DATA, inner, len, out);
}

/* Makes the next record in @out, RECORD_MAX bytes for lawful payloads; its length. */
size_t record_seal(struct keys *keys, uint8_t type, const void *payload, size_t len, uint8_t *out)
{
	return record_seal_padded(keys, type, payload, len, 0, out);
}

/* As record_seal(), in TLS 1.3 with @padding. */
size_t record_seal_padded(struct keys *keys, uint8_t type, const void *payload, size_t len,
			  size_t padding, uint8_t *out)
{
	uint8_t *inner;

	if (!keys->tls13)
		return seal(keys, type, payload, len, out);
	inner = calloc(1, len + 1 + padding);
	memcpy(inner, payload, len);
	inner[len] = type;
	len = seal(keys, DATA, inner, len + 1 + padding, out);
	free(inner);
	return len;
}

/* Takes type and padding off what was opened; the payload's length, or -1. */
static ssize_t unpad(const uint8_t *inner, size_t len, uint8_t *type)
{
	while (len && !inner[len - 1])
		len--;
	if (!len)
		return -1;
	*type = inner[len - 1];
	return len - 1;
}

/*
 * Opens the record of @len bytes; the length of its payload, -1 when it is not one. Of DTLS
 * the record says which sequence number it has.
 */
ssize_t record_open(struct keys *keys, const uint8_t *record, size_t len, uint8_t *type,
		    void *payload)
{
	size_t header = header_len(keys), at = header + explicit_len(keys);
	uint8_t nonce[NONCE], aad[13], tag[TAG], plain[RECORD_MAX];
	ssize_t n;

	if (len < at + TAG || len > RECORD_MAX || get_be(record + 1, 2) != wire_version(keys) ||
	    get_be(record + header - 2, 2) != len - header)
		return -1;
	if (keys->dtls)
		keys->seq = get_be(record + 3, 8);
	n = len - at - TAG;
	nonce_of(keys, record + header, nonce);
	aad_of(keys, record, n, aad);
	memcpy(tag, record + len - TAG, TAG);
	if (!keys_crypt(keys, nonce, aad, record + at, n, plain, tag, false))
		return -1;
	keys->seq++;
	*type = record[0];
	if (keys->tls13)
		n = *type == DATA ? unpad(plain, n, type) : -1;
	if (n > 0)
		memcpy(payload, plain, n);
	return n;
}

/* 0 when the record is with the socket. */
int peer_send(struct peer *peer, uint8_t type, const void *payload, size_t len)
{
	uint8_t record[RECORD_MAX];

	return send_all(peer->fd, record, record_seal(&peer->tx, type, payload, len, record));
}

/* The last record under a key: what follows is under the next. */
int peer_ends_key(struct peer *peer)
{
	return peer->tx.tls13 ? peer_send(peer, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_LEN) :
				peer_send(peer, CCS, "\1", 1);
}

/* The next record as it is on the wire, RECORD_MAX bytes; 0 at the end, -1 in its middle. */
ssize_t peer_recv_raw(struct peer *peer, uint8_t *record)
{
	ssize_t n = recv_all(peer->fd, record, HEADER);
	size_t body;

	if (n != HEADER)
		return n ? -1 : 0;
	body = get_be(record + 3, 2);
	if (body > RECORD_MAX - HEADER || recv_all(peer->fd, record + HEADER, body) != (ssize_t)body)
		return -1;
	return HEADER + body;
}

/* The payload of the next record, PAYLOAD_MAX bytes; -1 when there is none or it is bad. */
ssize_t peer_recv(struct peer *peer, uint8_t *type, void *payload)
{
	uint8_t record[RECORD_MAX];
	ssize_t n = peer_recv_raw(peer, record);

	return n > 0 ? record_open(&peer->rx, record, n, type, payload) : -1;
}

/* Takes @total bytes of the stream in records of data; how many of them came and were right. */
size_t peer_drain(struct peer *peer, size_t total)
{
	uint8_t type, payload[PAYLOAD_MAX];
	size_t offset;
	ssize_t n;

	for (offset = 0; offset < total; offset += n) {
		n = peer_recv(peer, &type, payload);
		if (n < 1 || type != DATA || !filled(payload, n, offset))
			break;
	}
	return offset;
}
