// SPDX-License-Identifier: GPL-2.0-only
#include "record.h"

#include <linux/tls.h>
#include <linux/ktls.h>

static const struct ktls_format formats[] = {
	{
		.version = TLS_1_2_VERSION, .name = "1.2", .stream = true,
		.header_len = KTLS_HEADER_LEN, .length_at = 3, .seq_max = ~0ULL,
	}, {
		.version = DTLS_1_2_VERSION, .name = "DTLS1.2",
		.header_len = KTLS_HEADER_MAX, .length_at = 11, .seq_max = KTLS_DTLS_SEQ_MAX,
	},
};

/**
 * ktls_record_format() - look a protocol version up
 * @version: as in struct tls_crypto_info
 *
 * Context: any.
 * Return: its row, NULL when there is none.
 */
const struct ktls_format *ktls_record_format(u16 version)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].version == version)
			return &formats[i];
	return NULL;
}

/**
 * ktls_record_prefix_len() - bytes of a record before its ciphertext
 * @format: protocol version
 * @cipher: cipher
 *
 * Context: any.
 * Return: bytes of header and explicit nonce.
 */
size_t ktls_record_prefix_len(const struct ktls_format *format, const struct ktls_cipher *cipher)
{
	return format->header_len + cipher->explicit_len;
}

/**
 * ktls_record_parse() - judge a received header
 * @format: protocol version
 * @cipher: cipher
 * @bytes: format->header_len bytes
 * @header: out
 *
 * The first fault in kernel TLS's order: length, then version.
 *
 * Context: any.
 * Return: 0; -EMSGSIZE: longer than a record may be (rfc5246 6.2.1, 6.2.3); -EBADMSG: too
 * short for nonce and tag; -EINVAL: another version.
 */
int ktls_record_parse(const struct ktls_format *format, const struct ktls_cipher *cipher,
		      const u8 *bytes, struct ktls_header *header)
{
	size_t len = ktls_get_be16(bytes + format->length_at);
	size_t overhead = cipher->explicit_len + KTLS_TAG_LEN;

	if (len > KTLS_MAX_PAYLOAD + overhead)
		return -EMSGSIZE;
	if (len < overhead)
		return -EBADMSG;
	if (ktls_get_be16(bytes + 1) != format->version)
		return -EINVAL;

	header->type = bytes[0];
	header->payload_len = (u16)(len - overhead);
	header->record_len = (u16)(format->header_len + len);
	header->seq = format->stream ? 0 : ktls_record_seq(bytes);
	return 0;
}

/**
 * ktls_record_prefix() - write what precedes the ciphertext
 * @format: protocol version
 * @cipher: cipher
 * @seq: sequence number, which DTLS shows
 * @type: content type
 * @payload_len: bytes of plaintext
 * @explicit_nonce: the part of the nonce that travels, if the cipher has one
 * @out: KTLS_PREFIX_MAX bytes
 *
 * Context: any.
 * Return: bytes written.
 */
size_t ktls_record_prefix(const struct ktls_format *format, const struct ktls_cipher *cipher,
			  u64 seq, u8 type, size_t payload_len, u64 explicit_nonce, u8 *out)
{
	out[0] = type;
	ktls_put_be16(out + 1, format->version);
	if (!format->stream)
		ktls_put_be64(out + 3, seq);
	ktls_put_be16(out + format->length_at,
		      (u16)(cipher->explicit_len + payload_len + KTLS_TAG_LEN));
	if (cipher->explicit_len)
		ktls_put_be64(out + format->header_len, explicit_nonce);
	return ktls_record_prefix_len(format, cipher);
}

/**
 * ktls_record_aad() - additional data of a record (rfc5246 6.2.3.3, rfc6347 4.1.2.1)
 * @format: protocol version
 * @seq: the record's sequence number
 * @type: content type
 * @payload_len: bytes of plaintext
 * @out: KTLS_AAD_MAX bytes
 *
 * Context: any.
 * Return: bytes written.
 */
size_t ktls_record_aad(const struct ktls_format *format, u64 seq, u8 type, size_t payload_len,
		       u8 *out)
{
	ktls_put_be64(out, seq);
	out[8] = type;
	ktls_put_be16(out + 9, format->version);
	ktls_put_be16(out + 11, (u16)payload_len);
	return KTLS_AAD_MAX;
}

/**
 * ktls_record_iv() - the iv that the kernel's AEAD takes for a record
 * @cipher: cipher
 * @fixed: KTLS_NONCE_LEN bytes: salt and iv of the key; the salt counts alone where the
 *	cipher has an explicit nonce
 * @seq: the record's sequence number
 * @explicit_nonce: cipher->explicit_len bytes off the wire
 * @out: KTLS_IV_MAX bytes
 *
 * Context: any.
 */
void ktls_record_iv(const struct ktls_cipher *cipher, const u8 *fixed, u64 seq,
		    const u8 *explicit_nonce, u8 *out)
{
	u8 number[KTLS_SEQ_LEN];
	size_t i;

	memset(out, 0, KTLS_IV_MAX);
	if (cipher->iv_prefix)
		*out++ = cipher->iv_prefix;
	memcpy(out, fixed, KTLS_NONCE_LEN);
	if (cipher->explicit_len) {
		memcpy(out + cipher->salt_len, explicit_nonce, cipher->explicit_len);
		return;
	}
	/* rfc7905 2: the sequence number, padded on the left, XOR the iv. */
	ktls_put_be64(number, seq);
	for (i = 0; i < KTLS_SEQ_LEN; i++)
		out[KTLS_NONCE_LEN - KTLS_SEQ_LEN + i] ^= number[i];
}

/**
 * ktls_record_is_close_notify() - does this record end the peer's data?
 * @type: content type
 * @payload: plaintext
 * @len: its bytes
 *
 * Context: any.
 * Return: whether it is a close_notify alert, of whatever level (rfc5246 7.2.1).
 */
bool ktls_record_is_close_notify(u8 type, const u8 *payload, size_t len)
{
	return type == KTLS_TYPE_ALERT && len == KTLS_ALERT_LEN &&
	       payload[1] == KTLS_ALERT_CLOSE_NOTIFY;
}
