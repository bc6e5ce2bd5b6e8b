// SPDX-License-Identifier: GPL-2.0-only
/* libFuzzer: any header, under any cipher, is refused or makes sense. */
#include <linux/ktls.h>
#include <linux/tls.h>
#include <stdlib.h>

#include "record.h"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void judge(const struct ktls_format *format, const struct ktls_cipher *cipher,
		  const u8 *bytes)
{
	size_t prefix = ktls_record_prefix_len(format, cipher);
	u8 out[KTLS_PREFIX_MAX];
	struct ktls_header header;
	int result = ktls_record_parse(format, cipher, bytes, &header);

	check(!result || result == -EMSGSIZE || result == -EBADMSG || result == -EINVAL);
	if (result)
		return;
	check(header.payload_len <= KTLS_MAX_PAYLOAD);
	check(header.record_len == prefix + header.payload_len +
				   ktls_record_trailer_len(format) + KTLS_TAG_LEN);
	check(header.record_len <= KTLS_RECORD_MAX);
	/* What was accepted is what we would have sent. */
	check(ktls_record_prefix(format, cipher, header.seq, header.type, header.payload_len, 0,
				 out) == prefix);
	if (format->inner)
		ktls_put_be16(out + 1, header.version);
	check(!memcmp(out, bytes, format->header_len));
}

/* rfc8446: type and padding of what was opened, and the messages in it, whole and cut. */
static void judge_inner(const u8 *inner, size_t len)
{
	struct ktls_messages whole = { }, cut = { };
	size_t found = ktls_record_unpad(inner, len), i;
	bool together, bit_by_bit = false;

	check(found <= len && (!found || inner[found - 1]));
	together = ktls_record_updates_key(&whole, inner, found);
	for (i = 0; i < found; i++)
		bit_by_bit |= ktls_record_updates_key(&cut, inner + i, 1);
	check(together == bit_by_bit && whole.left == cut.left &&
	      whole.header_len == cut.header_len);
}

/*
 * The first byte chooses the version and the cipher; then come a header, five bytes or
 * thirteen, and a payload.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ktls_format *format;
	u8 *copy;

	format = ktls_record_format(size && data[0] & 0x80 ? DTLS_1_2_VERSION :
				    size && data[0] & 0x40 ? TLS_1_3_VERSION : TLS_1_2_VERSION);
	if (size < 1u + format->header_len)
		return 0;
	/* A copy of its exact size, so that the sanitizer sees one byte too many. */
	copy = malloc(format->header_len);
	memcpy(copy, data + 1, format->header_len);
	judge(format, ktls_cipher_find(TLS_CIPHER_AES_GCM_128 + data[0] % 4), copy);
	free(copy);
	judge_inner(data + 1, size - 1);
	ktls_record_is_close_notify(data[1], data + 1 + format->header_len,
				    size - 1 - format->header_len);
	return 0;
}
