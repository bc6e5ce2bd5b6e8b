// SPDX-License-Identifier: GPL-2.0-only
#include "record.h"

#include <linux/tls.h>
#include <linux/ktls.h>

/* The part of a nonce that no number changes. */
#define SALT_LEN	(KTLS_NONCE_LEN - KTLS_SEQ_LEN)
static_assert(SALT_LEN == sizeof(u32) && KTLS_IV_MAX == KTLS_NONCE_LEN + sizeof(u32), "nonce");

static const struct ktls_format formats[] = {
	{
		.version = TLS_1_2_VERSION, .name = "1.2", .stream = true,
		.header_len = KTLS_HEADER_LEN, .length_at = 3, .aad_len = KTLS_AAD_MAX,
		.seq_max = ~0ULL,
	}, {
		.version = TLS_1_3_VERSION, .name = "1.3", .stream = true, .inner = true,
		.header_len = KTLS_HEADER_LEN, .length_at = 3, .aad_len = KTLS_HEADER_LEN,
		.seq_max = ~0ULL,
	}, {
		.version = DTLS_1_2_VERSION, .name = "DTLS1.2",
		.header_len = KTLS_HEADER_MAX, .length_at = 11, .aad_len = KTLS_AAD_MAX,
		.seq_max = KTLS_DTLS_SEQ_MAX,
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
	return format->header_len + ktls_record_explicit_len(format, cipher);
}

/* What the header's length counts besides the payload. */
static size_t overhead(const struct ktls_format *format, const struct ktls_cipher *cipher)
{
	return ktls_record_explicit_len(format, cipher) + ktls_record_trailer_len(format) +
	       KTLS_TAG_LEN;
}

/**
 * ktls_record_parse() - judge a received header
 * @format: protocol version
 * @cipher: cipher
 * @bytes: format->header_len bytes
 * @header: out
 *
 * The first fault in kernel TLS's order: length, then version. That of TLS 1.3 says nothing
 * (rfc8446 5.1), but every record looks like application data (5.2).
 *
 * Context: any.
 * Return: 0; -EMSGSIZE: longer than a record may be (rfc5246 6.2.1, 6.2.3; rfc8446 5.4);
 * -EBADMSG: too short for nonce, type and tag, or not what TLS 1.3 protects; -EINVAL: another
 * version.
 */
int ktls_record_parse(const struct ktls_format *format, const struct ktls_cipher *cipher,
		      const u8 *bytes, struct ktls_header *header)
{
	size_t len = ktls_get_be16(bytes + format->length_at);
	size_t more = overhead(format, cipher);

	if (len > KTLS_MAX_PAYLOAD + more)
		return -EMSGSIZE;
	if (len < more)
		return -EBADMSG;
	header->type = bytes[0];
	header->version = ktls_get_be16(bytes + 1);
	if (format->inner && header->type != KTLS_TYPE_DATA)
		return -EBADMSG;
	if (!format->inner && header->version != format->version)
		return -EINVAL;

	header->payload_len = (u16)(len - more);
	header->record_len = (u16)(format->header_len + len);
	header->seq = format->stream ? 0 : ktls_record_seq(bytes);
	return 0;
}

/**
 * ktls_record_outer() - what a record to be sent shows of itself
 * @format: protocol version
 * @type: content type
 * @payload_len: bytes of plaintext
 * @header: out: type, version and payload_len
 *
 * Context: any.
 */
void ktls_record_outer(const struct ktls_format *format, u8 type, size_t payload_len,
		       struct ktls_header *header)
{
	header->type = format->inner ? KTLS_TYPE_DATA : type;
	header->version = format->inner ? KTLS_LEGACY_VERSION : format->version;
	header->payload_len = (u16)payload_len;
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
	struct ktls_header header;

	ktls_record_outer(format, type, payload_len, &header);
	out[0] = header.type;
	ktls_put_be16(out + 1, header.version);
	if (!format->stream)
		ktls_put_be64(out + 3, seq);
	ktls_put_be16(out + format->length_at, (u16)(payload_len + overhead(format, cipher)));
	if (ktls_record_explicit_len(format, cipher))
		ktls_put_be64(out + format->header_len, explicit_nonce);
	return ktls_record_prefix_len(format, cipher);
}

/**
 * ktls_record_aad() - additional data of a record (rfc5246 6.2.3.3, rfc6347 4.1.2.1, rfc8446 5.2)
 * @format: protocol version
 * @seq: the record's sequence number
 * @header: the record's
 * @out: KTLS_AAD_MAX bytes, of which format->aad_len are written
 *
 * Context: any.
 */
void ktls_record_aad(const struct ktls_format *format, u64 seq, const struct ktls_header *header,
		     u8 *out)
{
	size_t len = header->payload_len;

	if (format->inner) {
		len += KTLS_TRAILER_MAX + KTLS_TAG_LEN;
	} else {
		ktls_put_be64(out, seq);
		out += KTLS_SEQ_LEN;
	}
	out[0] = header->type;
	ktls_put_be16(out + 1, header->version);
	ktls_put_be16(out + 3, (u16)len);
}

/**
 * ktls_record_iv() - the iv that the kernel's AEAD takes for a record
 * @format: protocol version
 * @cipher: cipher
 * @fixed: KTLS_NONCE_LEN bytes: salt and iv of the key; the salt counts alone where a part of
 *	the nonce travels
 * @seq: the record's sequence number
 * @explicit_nonce: the part of the nonce that travels, if the cipher has one
 * @out: KTLS_IV_MAX bytes
 *
 * Context: any.
 */
void ktls_record_iv(const struct ktls_format *format, const struct ktls_cipher *cipher,
		    const u8 *fixed, u64 seq, u64 explicit_nonce, u8 *out)
{
	u64 number = explicit_nonce;

	/* rfc7905 2, rfc8446 5.3: the sequence number, padded on the left, XOR the iv. */
	if (!ktls_record_explicit_len(format, cipher))
		number = ktls_get_be64(fixed + SALT_LEN) ^ seq;
	/* What is behind the nonce. */
	ktls_put_be32(out + KTLS_NONCE_LEN, 0);
	if (cipher->iv_prefix)
		*out++ = cipher->iv_prefix;
	ktls_put_be32(out, ktls_get_be32(fixed));
	ktls_put_be64(out + SALT_LEN, number);
}

/**
 * ktls_record_unpad() - find the type behind a payload (rfc8446 5.4)
 * @bytes: of the plaintext, up to its end
 * @len: how many
 *
 * Context: any.
 * Return: bytes up to the last one that is not zero and with it; 0: all are.
 */
size_t ktls_record_unpad(const u8 *bytes, size_t len)
{
	while (len && !bytes[len - 1])
		len--;
	return len;
}

/**
 * ktls_record_is_legal() - may there be a protected record like this?
 * @format: protocol version
 * @type: content type
 * @len: bytes of payload
 *
 * rfc8446 5, 5.4: a protected change_cipher_spec and an empty handshake message or alert are
 * unexpected; type 0 would be padding.
 *
 * Context: any.
 */
bool ktls_record_is_legal(const struct ktls_format *format, u8 type, size_t len)
{
	return !format->inner || type == KTLS_TYPE_DATA ||
	       (len && type && type != KTLS_TYPE_CHANGE_CIPHER_SPEC);
}

/**
 * ktls_record_updates_key() - is a KeyUpdate complete with this? (rfc8446 4.6.3)
 * @messages: what came before; zero at first
 * @bytes: what follows of handshake messages, which may be cut anywhere
 * @len: how many
 *
 * Context: any.
 */
bool ktls_record_updates_key(struct ktls_messages *messages, const u8 *bytes, size_t len)
{
	bool updates = false;
	size_t n;

	while (len) {
		if (messages->header_len < KTLS_MESSAGE_HEADER) {
			messages->header[messages->header_len++] = *bytes++;
			len--;
			if (messages->header_len < KTLS_MESSAGE_HEADER)
				continue;
			messages->left = (u32)messages->header[1] << 16 |
					 ktls_get_be16(messages->header + 2);
		}
		n = len < messages->left ? len : messages->left;
		bytes += n;
		len -= n;
		messages->left -= (u32)n;
		if (!messages->left) {
			updates |= messages->header[0] == KTLS_MESSAGE_KEY_UPDATE;
			messages->header_len = 0;
		}
	}
	return updates;
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
