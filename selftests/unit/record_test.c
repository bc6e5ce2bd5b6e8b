// SPDX-License-Identifier: GPL-2.0-only
/* module/record.c: headers and their limits, nonces, additional data. */
#include <linux/ktls.h>
#include <linux/tls.h>

#include "record.h"
#include "tap.h"

static const u16 ids[] = { TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
			   TLS_CIPHER_CHACHA20_POLY1305, TLS_CIPHER_AES_CCM_128 };
/* The version under test. */
static const struct ktls_format *format;

static void formats(void)
{
	unsigned int version, found = 0;

	for (version = 0; version <= 0xffff; version++)
		found += !!ktls_record_format((u16)version);
	tap(found == 3, "three versions", "");
	format = ktls_record_format(TLS_1_2_VERSION);
	tap(format && format->version == 0x0303 && format->header_len == 5 &&
	    format->length_at == 3 && format->stream && format->seq_max == ~0ull, "TLS 1.2", "");
	format = ktls_record_format(TLS_1_3_VERSION);
	tap(format && format->version == 0x0304 && format->header_len == 5 &&
	    format->length_at == 3 && format->stream && format->inner &&
	    format->seq_max == ~0ull, "TLS 1.3", "");
	format = ktls_record_format(DTLS_1_2_VERSION);
	tap(format && format->version == 0xfefd && format->header_len == 13 &&
	    format->length_at == 11 && !format->stream && format->seq_max == 0xffffffffffff,
	    "DTLS 1.2", "");
}

static int parse(const struct ktls_cipher *cipher, unsigned int len, u16 version,
		 struct ktls_header *header)
{
	u8 bytes[KTLS_HEADER_MAX] = { 23, (u8)(version >> 8), (u8)version };

	bytes[format->length_at] = (u8)(len >> 8);
	bytes[format->length_at + 1] = (u8)len;
	return ktls_record_parse(format, cipher, bytes, header);
}

/* What a record is longer than payload and header: rfc8446 5.2 has a type and no nonce. */
static unsigned int overhead_of(const struct ktls_cipher *cipher)
{
	return (format->inner ? 1 : cipher->explicit_len) + 16;
}

/* rfc5246 6.2.3, rfc5288 3: every length that the header can say. */
static void lengths(const struct ktls_cipher *cipher)
{
	unsigned int overhead = overhead_of(cipher), len, wrong = 0;
	struct ktls_header header;

	for (len = 0; len <= 0xffff; len++) {
		int expected = len < overhead ? -EBADMSG : len > 16384 + overhead ? -EMSGSIZE : 0;
		int result = parse(cipher, len, format->version, &header);

		wrong += result != expected;
		if (!result)
			wrong += header.payload_len != len - overhead ||
				 header.record_len != format->header_len + len || header.type != 23;
	}
	tap(!wrong, "every length", cipher->name);
}

/* rfc8446 5.1: that of TLS 1.3 is ignored. */
static void versions(const struct ktls_cipher *cipher)
{
	unsigned int version, wrong = 0;
	struct ktls_header header;

	for (version = 0; version <= 0xffff; version++) {
		int result = parse(cipher, 100, (u16)version, &header);

		wrong += result != (version == format->version || format->inner ? 0 : -EINVAL) ||
			 (!result && header.version != version);
	}
	tap(!wrong, "every version", cipher->name);
}

static void first_fault(const struct ktls_cipher *cipher)
{
	struct ktls_header header;

	tap(parse(cipher, 0xffff, 0x0305, &header) == -EMSGSIZE &&
	    parse(cipher, 0, 0x0305, &header) == -EBADMSG, "the length is judged first",
	    cipher->name);
}

/* What is written parses to what was asked for. */
static void prefixes(const struct ktls_cipher *cipher)
{
	size_t len, wrong = 0, prefix_len = format->header_len + overhead_of(cipher) - 16 -
					    format->inner;
	u64 seq = 0x0102030405060708;
	u8 out[KTLS_PREFIX_MAX + 1];
	struct ktls_header header;

	for (len = 0; len <= 16384; len++) {
		memset(out, 0xee, sizeof(out));
		wrong += ktls_record_prefix(format, cipher, seq, (u8)len, len, ~0ull - len, out) !=
			 prefix_len;
		wrong += out[prefix_len] != 0xee || out[0] != (format->inner ? 23 : (u8)len) ||
			 ktls_get_be16(out + 1) != (format->inner ? 0x0303 : format->version);
		wrong += ktls_record_parse(format, cipher, out, &header) ||
			 header.payload_len != len || header.type != out[0] ||
			 header.seq != (format->stream ? 0 : seq) ||
			 ktls_record_len(format, out) != header.record_len;
		if (ktls_record_explicit_len(format, cipher))
			wrong += ktls_get_be64(out + format->header_len) != ~0ull - len;
	}
	wrong += ktls_record_prefix_len(format, cipher) != prefix_len;
	tap(!wrong, "headers round trip", cipher->name);
}

/* rfc5246 6.2.3.3, rfc6347 4.1.2.1: seq_num + type + version + length, all big-endian. */
static void additional_data(void)
{
	u8 expected[13] = { 1, 2, 3, 4, 5, 6, 7, 8, 22, [11] = 0x3f, 0xff };
	struct ktls_header header;
	u8 out[KTLS_AAD_MAX];

	ktls_put_be16(expected + 9, format->version);
	ktls_record_outer(format, 22, 0x3fff, &header);
	ktls_record_aad(format, 0x0102030405060708, &header, out);
	tap(format->aad_len == 13 && !memcmp(out, expected, 13), "additional data", format->name);
}

/* rfc8446 5.2: the header as it was on the wire. */
static void additional_data_of_tls13(void)
{
	static const u8 raw[5] = { 23, 3, 1, 0x12, 0x34 };
	const struct ktls_cipher *cipher = ktls_cipher_find(TLS_CIPHER_AES_GCM_128);
	struct ktls_header header;
	u8 out[KTLS_AAD_MAX];

	tap(!ktls_record_parse(format, cipher, raw, &header), "a header", format->name);
	ktls_record_aad(format, 7, &header, out);
	tap(format->aad_len == 5 && !memcmp(out, raw, 5), "additional data", format->name);
}

/* rfc8446 5.2: nothing is sent in the clear any more, whatever the type. */
static void outer_types(void)
{
	const struct ktls_cipher *cipher = ktls_cipher_find(TLS_CIPHER_AES_GCM_128);
	u8 raw[5] = { 0, 3, 3, 0, 100 };
	struct ktls_header header;
	int type, wrong = 0;

	for (type = 0; type < 256; type++) {
		raw[0] = (u8)type;
		wrong += ktls_record_parse(format, cipher, raw, &header) !=
			 (type == 23 ? 0 : -EBADMSG);
	}
	tap(!wrong, "outer types", format->name);
}

/* rfc8446 5.4 */
static void padding(void)
{
	static const u8 inner[9] = { 0, 1, 0, 23 };
	size_t len, wrong = 0;

	for (len = 0; len <= sizeof(inner); len++)
		wrong += ktls_record_unpad(inner, len) != (len < 2 ? 0 : len < 4 ? 2 : 4);
	tap(!wrong, "padding", "");
}

static void legal(void)
{
	const struct ktls_format *other = ktls_record_format(TLS_1_2_VERSION);
	int type, wrong = 0;

	for (type = 0; type < 256; type++) {
		wrong += !ktls_record_is_legal(other, (u8)type, 0);
		wrong += ktls_record_is_legal(format, (u8)type, 0) != (type == 23);
		wrong += ktls_record_is_legal(format, (u8)type, 1) != (type != 20 && type);
	}
	tap(!wrong, "what may be protected", "");
}

/* rfc8446 4.6: messages in @len bytes, cut into records of @cut: how many say so. */
static int updates(const u8 *bytes, size_t len, size_t cut, size_t *last)
{
	struct ktls_messages messages = { };
	size_t at, n;
	int found = 0;

	for (at = 0; at < len; at += n) {
		n = len - at < cut ? len - at : cut;
		if (!ktls_record_updates_key(&messages, bytes + at, n))
			continue;
		found++;
		*last = at + n;
	}
	return found;
}

static void key_updates(void)
{
	/* A ticket full of 24, an empty message, a KeyUpdate, the beginning of another. */
	static const u8 bytes[] = { 4, 0, 0, 6, 24, 24, 24, 24, 0, 1, 5, 0, 0, 0,
				    24, 0, 0, 1, 1, 24, 0, 0 };
	u8 large[4 + 0x10203] = { 4, 1, 2, 3 };
	size_t cut, last = 0, wrong = 0;

	for (cut = 1; cut < sizeof(bytes); cut++) {
		wrong += updates(bytes, sizeof(bytes), cut, &last) != 1 || last < 19 ||
			 last >= 19 + cut;
		wrong += updates(bytes, 18, cut, &last) != 0;
	}
	tap(!wrong, "KeyUpdate among others, cut anywhere", "");
	memset(large + 4, 24, sizeof(large) - 4);
	tap(!updates(large, sizeof(large), 1000, &last), "no KeyUpdate in a large message", "");
}

static bool iv_is(u16 id, u64 seq, const u8 *expected)
{
	static const u8 fixed[12] = { 0xf0, 0xf1, 0xf2, 0xf3, 0, 1, 2, 3, 4, 5, 6, 7 };
	u8 out[KTLS_IV_MAX];

	ktls_record_iv(format, ktls_cipher_find(id), fixed, seq, 0xe0e1e2e3e4e5e6e7ULL, out);
	return !memcmp(out, expected, sizeof(out));
}

/* rfc5288 3: salt, then what the record carries; the sequence number plays no part. */
static void explicit_nonces(void)
{
	static const u8 gcm[16] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5,
				    0xe6, 0xe7 };
	static const u8 ccm[16] = { 2, 0xf0, 0xf1, 0xf2, 0xf3, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4,
				    0xe5, 0xe6, 0xe7 };

	tap(iv_is(TLS_CIPHER_AES_GCM_128, 5, gcm) && iv_is(TLS_CIPHER_AES_GCM_256, ~0ull, gcm),
	    "nonce of GCM", "");
	tap(iv_is(TLS_CIPHER_AES_CCM_128, 5, ccm), "nonce of CCM, L-1 before it", "");
}

/* rfc7905 2: the padded sequence number XOR the iv; nothing of the wire. */
static void implicit_nonces(void)
{
	static const u8 zero[16] = { 0xf0, 0xf1, 0xf2, 0xf3, 0, 1, 2, 3, 4, 5, 6, 7 };
	static const u8 low[16] = { 0xf0, 0xf1, 0xf2, 0xf3, 0, 1, 2, 3, 4, 5, 6 ^ 0x12, 7 ^ 0x34 };
	static const u8 all[16] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa,
				    0xf9, 0xf8 };

	static const u8 ccm[16] = { 2, 0xf0, 0xf1, 0xf2, 0xf3, 0, 1, 2, 3, 4, 5, 6 ^ 0x12, 7 ^ 0x34 };

	tap(iv_is(TLS_CIPHER_CHACHA20_POLY1305, 0, zero) &&
	    iv_is(TLS_CIPHER_CHACHA20_POLY1305, 0x1234, low) &&
	    iv_is(TLS_CIPHER_CHACHA20_POLY1305, ~0ull, all), "nonce of ChaCha20-Poly1305",
	    format->name);
	/* rfc8446 5.3: of every cipher. */
	if (format->inner)
		tap(iv_is(TLS_CIPHER_AES_GCM_128, 0x1234, low) &&
		    iv_is(TLS_CIPHER_AES_GCM_256, ~0ull, all) &&
		    iv_is(TLS_CIPHER_AES_CCM_128, 0x1234, ccm), "nonces of AES", format->name);
}

/* rfc5246 7.2: close_notify(0), at either level; nothing shorter or longer. */
static void close_notify(void)
{
	static const u8 warning[3] = { 1, 0, 0 }, fatal[2] = { 2, 0 }, other[2] = { 1, 1 };
	int type, found = 0;

	for (type = 0; type < 256; type++)
		found += ktls_record_is_close_notify((u8)type, warning, 2);
	tap(found == 1 && ktls_record_is_close_notify(21, fatal, 2) &&
	    !ktls_record_is_close_notify(21, other, 2) &&
	    !ktls_record_is_close_notify(21, warning, 0) &&
	    !ktls_record_is_close_notify(21, warning, 1) &&
	    !ktls_record_is_close_notify(21, warning, 3), "close_notify", "");
}

/* rfc7983 7, and what a header says of epoch and number. */
static void datagrams(void)
{
	static const u8 header[13] = { 22, 0xfe, 0xfd, 0xff, 0xfe, 1, 2, 3, 4, 5, 6 };
	int first, found = 0;

	for (first = 0; first < 256; first++)
		found += ktls_record_is_dtls((u8)first);
	tap(found == 44 && ktls_record_is_dtls(20) && ktls_record_is_dtls(63), "first bytes", "");
	tap(ktls_record_seq(header) == 0xfffe010203040506 &&
	    ktls_record_epoch(ktls_record_seq(header)) == 0xfffe, "epoch and number", "");
}

static void of_version(u16 version)
{
	size_t i;

	format = ktls_record_format(version);
	printf("# %s\n", format->name);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct ktls_cipher *cipher = ktls_cipher_find(ids[i]);

		lengths(cipher);
		versions(cipher);
		first_fault(cipher);
		prefixes(cipher);
	}
	implicit_nonces();
	if (format->inner)
		additional_data_of_tls13();
	else
		additional_data();
}

int main(void)
{
	formats();
	of_version(TLS_1_3_VERSION);
	outer_types();
	padding();
	legal();
	key_updates();
	of_version(TLS_1_2_VERSION);
	explicit_nonces();
	of_version(DTLS_1_2_VERSION);
	datagrams();
	close_notify();
	return tap_done();
}
