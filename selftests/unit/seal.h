/* SPDX-License-Identifier: GPL-2.0-only */
/* Records sealed and opened as the module does it: its pure files, with OpenSSL's AEAD. */
#ifndef KTLS_SEAL_H
#define KTLS_SEAL_H

#include <linux/tls.h>

#include "../ktls_test.h"
#include "record.h"

struct sealer {
	const struct ktls_format *format;
	const struct ktls_cipher *cipher;
	struct keys keys;
};

static inline void sealer_make(struct sealer *s, u16 version, u16 id, u8 seed)
{
	s->format = ktls_record_format(version);
	s->cipher = ktls_cipher_find(id);
	keys_make(&s->keys, id, seed);
	s->keys.dtls = !s->format->stream;
}

static inline bool sealer_crypt(struct sealer *s, u8 *record, u8 type, size_t len, const u8 *in,
				u8 *out, u8 *tag, bool seal)
{
	u8 iv[KTLS_IV_MAX], aad[KTLS_AAD_MAX];

	ktls_record_iv(s->cipher, s->keys.nonce, s->keys.seq, record + s->format->header_len, iv);
	ktls_record_aad(s->format, s->keys.seq, type, len, aad);
	return keys_crypt(&s->keys, iv + !!s->cipher->iv_prefix, aad, in, len, out, tag, seal);
}

/* The record's length. */
static inline size_t sealer_seal(struct sealer *s, u8 type, const u8 *payload, size_t len,
				 u8 *record)
{
	u64 nonce = ktls_get_be64(s->keys.nonce + 4) + s->keys.seq;
	size_t at = ktls_record_prefix(s->format, s->cipher, s->keys.seq, type, len, nonce,
				       record);

	if (!sealer_crypt(s, record, type, len, payload, record + at, record + at + len, true))
		abort();
	s->keys.seq++;
	return at + len + KTLS_TAG_LEN;
}

/* The payload's length, -errno; the sequence number moves on success only. */
static inline int sealer_open(struct sealer *s, u8 *record, size_t len, u8 *payload)
{
	size_t at = ktls_record_prefix_len(s->format, s->cipher);
	struct ktls_header header;
	int result = ktls_record_parse(s->format, s->cipher, record, &header);

	if (result)
		return result;
	if (header.record_len != len)
		return -EMSGSIZE;
	if (!s->format->stream)
		s->keys.seq = header.seq;
	if (!sealer_crypt(s, record, header.type, header.payload_len, record + at, payload,
			  record + len - KTLS_TAG_LEN, false))
		return -EBADMSG;
	s->keys.seq++;
	return header.payload_len;
}

#endif /* KTLS_SEAL_H */
