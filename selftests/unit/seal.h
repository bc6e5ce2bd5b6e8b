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
	keys_make(&s->keys, s->format->inner ? id | TLS13 : id, seed);
	s->keys.dtls = !s->format->stream;
}

/* @len bytes of payload and its trailer, in place. */
static inline bool sealer_crypt(struct sealer *s, u8 *record, const struct ktls_header *header,
				bool seal)
{
	size_t at = ktls_record_prefix_len(s->format, s->cipher);
	size_t len = header->payload_len + ktls_record_trailer_len(s->format);
	u8 iv[KTLS_IV_MAX], aad[KTLS_AAD_MAX];

	ktls_record_iv(s->format, s->cipher, s->keys.nonce, s->keys.seq,
		       ktls_record_nonce(s->format, s->cipher, record), iv);
	ktls_record_aad(s->format, s->keys.seq, header, aad);
	return keys_crypt(&s->keys, iv + !!s->cipher->iv_prefix, aad, record + at, len,
			  record + at, record + at + len, seal);
}

/* The record's length. */
static inline size_t sealer_seal(struct sealer *s, u8 type, const u8 *payload, size_t len,
				 u8 *record)
{
	u64 nonce = ktls_get_be64(s->keys.nonce + 4) + s->keys.seq;
	size_t at = ktls_record_prefix(s->format, s->cipher, s->keys.seq, type, len, nonce,
				       record);
	struct ktls_header header;

	ktls_record_outer(s->format, type, len, &header);
	memcpy(record + at, payload, len);
	if (s->format->inner)
		record[at + len] = type;
	if (!sealer_crypt(s, record, &header, true))
		abort();
	s->keys.seq++;
	return at + len + ktls_record_trailer_len(s->format) + KTLS_TAG_LEN;
}

/* Opens a copy. The payload's length, -errno; the sequence number moves on success only. */
static inline int sealer_open(struct sealer *s, const u8 *record, size_t len, u8 *type,
			      u8 *payload)
{
	size_t at = ktls_record_prefix_len(s->format, s->cipher), n;
	struct ktls_header header;
	u8 copy[KTLS_RECORD_MAX];
	int result = ktls_record_parse(s->format, s->cipher, record, &header);

	if (result)
		return result;
	if (header.record_len != len)
		return -EMSGSIZE;
	if (!s->format->stream)
		s->keys.seq = header.seq;
	memcpy(copy, record, len);
	if (!sealer_crypt(s, copy, &header, false))
		return -EBADMSG;
	s->keys.seq++;
	*type = header.type;
	n = header.payload_len;
	if (s->format->inner) {
		n = ktls_record_unpad(copy + at, n + KTLS_TRAILER_MAX);
		if (!n)
			return -EBADMSG;
		*type = copy[at + --n];
	}
	memcpy(payload, copy + at, n);
	return (int)n;
}

#endif /* KTLS_SEAL_H */
