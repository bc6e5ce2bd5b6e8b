/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records on the wire: headers, nonces, additional data, limits. Pure: bytes in, bytes or
 * -errno out. All wire constants of the project are here.
 */
#ifndef KTLS_RECORD_H
#define KTLS_RECORD_H

#include "bytes.h"
#include "cipher.h"

#define KTLS_MAX_PAYLOAD	16384	/* 2^14: rfc5246 6.2.1 */
#define KTLS_MIN_PAYLOAD_LIMIT	63	/* the least that a peer may ask for: rfc8449 4, TLS 1.3 */
#define KTLS_HEADER_LEN		5	/* TLS: type, version, length */
#define KTLS_HEADER_MAX		13	/* DTLS: type, version, epoch, sequence number, length */
#define KTLS_PREFIX_MAX		21	/* header and explicit nonce */
#define KTLS_AAD_MAX		13	/* sequence number, type, version, length */
#define KTLS_TRAILER_MAX	1	/* TLS 1.3: the type, behind the payload */
#define KTLS_RECORD_MAX		(KTLS_PREFIX_MAX + KTLS_MAX_PAYLOAD + KTLS_TRAILER_MAX + \
				 KTLS_TAG_LEN)

/* rfc5246 6.2.1 */
enum ktls_type {
	KTLS_TYPE_CHANGE_CIPHER_SPEC	= 20,
	KTLS_TYPE_ALERT			= 21,
	KTLS_TYPE_HANDSHAKE		= 22,
	KTLS_TYPE_DATA			= 23,
};

/* rfc6347 4.1: the sequence number that is authenticated is epoch and number together. */
#define KTLS_EPOCH_SHIFT	48
#define KTLS_DTLS_SEQ_MAX	((1ULL << KTLS_EPOCH_SHIFT) - 1)

/* What TLS 1.3 calls itself on the wire: rfc8446 5.1 */
#define KTLS_LEGACY_VERSION	0x0303
/* rfc8446 4.6.3 */
#define KTLS_MESSAGE_KEY_UPDATE	24
#define KTLS_MESSAGE_HEADER	4	/* type, length */

/* rfc5246 7.2 */
#define KTLS_ALERT_LEN		2
#define KTLS_ALERT_WARNING	1
#define KTLS_ALERT_CLOSE_NOTIFY	0

/**
 * struct ktls_format - what distinguishes a protocol version on the wire
 * @version: as in the UAPI and in the AAD
 * @name: for people
 * @header_len: bytes before the explicit nonce
 * @length_at: where the header has the length
 * @stream: over a byte stream (TLS), not over datagrams (DTLS)
 * @inner: the type lies behind the payload and is encrypted, padding may follow (rfc8446 5.2);
 *	no part of a nonce travels, and every key starts a new count
 * @aad_len: bytes of additional data
 * @seq_max: the last sequence number, of an epoch where there are epochs
 */
struct ktls_format {
	u16 version;
	const char *name;
	u8 header_len;
	u8 length_at;
	bool stream;
	bool inner;
	u8 aad_len;
	u64 seq_max;
};

/**
 * struct ktls_header - a record's header, parsed
 * @type: content type, of TLS 1.3 the outer one
 * @version: as it came
 * @payload_len: bytes of plaintext, of TLS 1.3 with padding
 * @record_len: bytes of the whole record, header included
 * @seq: DTLS: epoch and sequence number
 * @nonce: the part of the nonce that travels, if the cipher has one, for who opens the record
 */
struct ktls_header {
	u8 type;
	u16 version;
	u16 payload_len;
	u16 record_len;
	u64 seq;
	u64 nonce;
};

/**
 * struct ktls_messages - handshake messages in a row of records, looked at byte by byte
 * @header: of the message in work
 * @header_len: bytes of it so far
 * @left: bytes of its body to come
 */
struct ktls_messages {
	u8 header[KTLS_MESSAGE_HEADER];
	u8 header_len;
	u32 left;
};

static inline u16 ktls_record_epoch(u64 seq)
{
	return (u16)(seq >> KTLS_EPOCH_SHIFT);
}

/* Of a header of DTLS. */
static inline u64 ktls_record_seq(const u8 *header)
{
	return ktls_get_be64(header + 3);
}

/* The whole record's bytes, as its header says and whatever they are. */
static inline u32 ktls_record_len(const struct ktls_format *format, const u8 *header)
{
	return format->header_len + ktls_get_be16(header + format->length_at);
}

/* Bytes of the nonce that travel in each record. */
static inline size_t ktls_record_explicit_len(const struct ktls_format *format,
					      const struct ktls_cipher *cipher)
{
	return format->inner ? 0 : cipher->explicit_len;
}

/* ... and they, of a record that is there so far; 0: there are none. */
static inline u64 ktls_record_nonce(const struct ktls_format *format,
				    const struct ktls_cipher *cipher, const u8 *record)
{
	return ktls_record_explicit_len(format, cipher) ?
	       ktls_get_be64(record + format->header_len) : 0;
}

/* Bytes that are encrypted behind the payload. */
static inline size_t ktls_record_trailer_len(const struct ktls_format *format)
{
	return format->inner ? KTLS_TRAILER_MAX : 0;
}

/* rfc7983 7: what else shares a port with DTLS begins otherwise. */
static inline bool ktls_record_is_dtls(u8 first)
{
	return first >= 20 && first <= 63;
}

const struct ktls_format *ktls_record_format(u16 version);
size_t ktls_record_prefix_len(const struct ktls_format *format, const struct ktls_cipher *cipher);
int ktls_record_parse(const struct ktls_format *format, const struct ktls_cipher *cipher,
		      const u8 *bytes, struct ktls_header *header);
void ktls_record_outer(const struct ktls_format *format, u8 type, size_t payload_len,
		       struct ktls_header *header);
size_t ktls_record_prefix(const struct ktls_format *format, const struct ktls_cipher *cipher,
			  u64 seq, u8 type, size_t payload_len, u64 explicit_nonce, u8 *out);
void ktls_record_aad(const struct ktls_format *format, u64 seq, const struct ktls_header *header,
		     u8 *out);
void ktls_record_iv(const struct ktls_format *format, const struct ktls_cipher *cipher,
		    const u8 *fixed, u64 seq, u64 explicit_nonce, u8 *out);
size_t ktls_record_unpad(const u8 *bytes, size_t len);
bool ktls_record_is_legal(const struct ktls_format *format, u8 type, size_t len);
bool ktls_record_updates_key(struct ktls_messages *messages, const u8 *bytes, size_t len);
bool ktls_record_is_close_notify(u8 type, const u8 *payload, size_t len);

#endif /* KTLS_RECORD_H */
