// SPDX-License-Identifier: GPL-2.0-only
/* The pure files against a second record layer, and against each byte changed. */
#include "seal.h"
#include "tap.h"

static const u16 ids[] = { TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
			   TLS_CIPHER_CHACHA20_POLY1305, TLS_CIPHER_AES_CCM_128 };
static u8 payload[KTLS_MAX_PAYLOAD], out[KTLS_RECORD_MAX], record[KTLS_RECORD_MAX];

static const size_t sizes[] = { 0, 1, 2, 15, 16, 17, 255, 256, 4095, 4096, 16383, 16384 };

static void ours_to_theirs(u16 version, u16 id)
{
	struct sealer ours;
	struct keys theirs;
	size_t i, n, wrong = 0;
	u8 type;

	sealer_make(&ours, version, id, 3);
	theirs = ours.keys;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		n = sealer_seal(&ours, (u8)(20 + i), payload, sizes[i], record);
		wrong += record_open(&theirs, record, n, &type, out) != (ssize_t)sizes[i] ||
			 type != 20 + i || memcmp(out, payload, sizes[i]);
	}
	tap(!wrong, "sealed by record.c, opened by OpenSSL", ours.cipher->name);
}

static void theirs_to_ours(u16 version, u16 id)
{
	u8 type;
	struct sealer ours;
	struct keys theirs;
	size_t i, n, wrong = 0;

	sealer_make(&ours, version, id, 4);
	ours.keys.seq = 0xfffffffffffffff0;
	theirs = ours.keys;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		n = record_seal(&theirs, (u8)(20 + i), payload, sizes[i], record);
		wrong += sealer_open(&ours, record, n, &type, out) != (int)sizes[i] ||
			 type != 20 + i || memcmp(out, payload, sizes[i]);
	}
	tap(!wrong, "sealed by OpenSSL, opened by record.c", ours.cipher->name);
}

/* No change of any byte goes unnoticed, and none changes what comes after. */
static void each_byte(u16 version, u16 id)
{
	u8 type;
	struct sealer ours;
	struct keys theirs;
	size_t n, at, wrong = 0;
	int change;

	sealer_make(&ours, version, id, 5);
	theirs = ours.keys;
	n = record_seal(&theirs, 23, payload, 40, record);
	for (at = 0; at < n; at++)
		for (change = 1; change < 256; change += at < ours.format->header_len ? 1 : 27) {
			record[at] ^= (u8)change;
			wrong += sealer_open(&ours, record, n, &type, out) >= 0;
			record[at] ^= (u8)change;
		}
	wrong += sealer_open(&ours, record, n, &type, out) != 40;
	tap(!wrong, "each byte changed", ours.cipher->name);
}

static void each_cut(u16 version, u16 id)
{
	u8 type;
	struct sealer ours;
	struct keys theirs;
	size_t n, len, wrong = 0;

	sealer_make(&ours, version, id, 6);
	theirs = ours.keys;
	n = record_seal(&theirs, 23, payload, 40, record);
	for (len = 0; len < n - ours.format->header_len; len++) {
		ktls_put_be16(record + ours.format->length_at, (u16)len);
		wrong += sealer_open(&ours, record, ours.format->header_len + len, &type, out) != -EBADMSG;
	}
	tap(!wrong, "each shorter length", ours.cipher->name);
}

/* A record taken for one with another number or under another key. */
static void wrong_context(u16 version, u16 id)
{
	u8 type;
	struct sealer ours;
	struct keys theirs;
	size_t n, wrong = 0;

	sealer_make(&ours, version, id, 7);
	theirs = ours.keys;
	n = record_seal(&theirs, 23, payload, 100, record);
	/* A datagram says its number. */
	ours.keys.seq = ours.format->stream;
	wrong += sealer_open(&ours, record, n, &type, out) != (ours.format->stream ? -EBADMSG : 100);
	ours.keys.seq = 0;
	ours.keys.key[0] ^= 1;
	wrong += sealer_open(&ours, record, n, &type, out) != -EBADMSG;
	ours.keys.key[0] ^= 1;
	ours.keys.nonce[0] ^= 1;
	wrong += sealer_open(&ours, record, n, &type, out) != -EBADMSG;
	ours.keys.nonce[0] ^= 1;
	wrong += sealer_open(&ours, record, n, &type, out) != 100;
	tap(!wrong, "another number, key or salt", ours.cipher->name);
}

static void of_version(u16 version)
{
	size_t i;

	printf("# %s\n", ktls_record_format(version)->name);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		ours_to_theirs(version, ids[i]);
		theirs_to_ours(version, ids[i]);
		each_byte(version, ids[i]);
		each_cut(version, ids[i]);
		wrong_context(version, ids[i]);
	}
}

int main(void)
{
	fill(payload, sizeof(payload), 1);
	of_version(TLS_1_2_VERSION);
	of_version(TLS_1_3_VERSION);
	of_version(DTLS_1_2_VERSION);
	return tap_done();
}
