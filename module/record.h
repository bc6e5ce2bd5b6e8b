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
#define KTLS_MIN_PAYLOAD_LIMIT	64	/* the least that a peer may ask for: rfc8449 4 */
#define KTLS_HEADER_LEN		5	/* type, version, length */
#define KTLS_PREFIX_MAX		13	/* header and explicit nonce */
#define KTLS_AAD_MAX		13	/* sequence number, type, version, length */
#define KTLS_RECORD_MAX		(KTLS_PREFIX_MAX + KTLS_MAX_PAYLOAD + KTLS_TAG_LEN)

/* rfc5246 6.2.1 */
enum ktls_type {
	KTLS_TYPE_CHANGE_CIPHER_SPEC	= 20,
	KTLS_TYPE_ALERT			= 21,
	KTLS_TYPE_HANDSHAKE		= 22,
	KTLS_TYPE_DATA			= 23,
};

/* rfc5246 7.2 */
#define KTLS_ALERT_LEN		2
#define KTLS_ALERT_WARNING	1
#define KTLS_ALERT_CLOSE_NOTIFY	0

/**
 * struct ktls_format - what distinguishes a protocol version on the wire
 * @version: as in the UAPI and in the AAD
 * @name: for people
 * @header_len: bytes before the explicit nonce
 * @stream: over a byte stream (TLS), not over datagrams (DTLS)
 */
struct ktls_format {
	u16 version;
	const char *name;
	u8 header_len;
	bool stream;
};

/**
 * struct ktls_header - a record's header, parsed
 * @type: content type
 * @payload_len: bytes of plaintext
 * @record_len: bytes of the whole record, header included
 */
struct ktls_header {
	u8 type;
	u16 payload_len;
	u16 record_len;
};

const struct ktls_format *ktls_record_format(u16 version);
size_t ktls_record_prefix_len(const struct ktls_format *format, const struct ktls_cipher *cipher);
int ktls_record_parse(const struct ktls_format *format, const struct ktls_cipher *cipher,
		      const u8 *bytes, struct ktls_header *header);
size_t ktls_record_prefix(const struct ktls_format *format, const struct ktls_cipher *cipher,
			  u8 type, size_t payload_len, u64 explicit_nonce, u8 *out);
size_t ktls_record_aad(const struct ktls_format *format, u64 seq, u8 type, size_t payload_len,
		       u8 *out);
void ktls_record_iv(const struct ktls_cipher *cipher, const u8 *fixed, u64 seq,
		    const u8 *explicit_nonce, u8 *out);
bool ktls_record_is_close_notify(u8 type, const u8 *payload, size_t len);

#endif /* KTLS_RECORD_H */
