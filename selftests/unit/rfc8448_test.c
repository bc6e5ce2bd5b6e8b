// SPDX-License-Identifier: GPL-2.0-only
/* The pure files against the records of rfc8448 3: a connection of TLS 1.3, written down. */
#include "seal.h"
#include "tap.h"

#define DATA_LEN	50	/* bytes that count up from 0 */
#define APPLICATION	72	/* a record of them */

static const char client_key[] = "\x17\x42\x2d\xda\x59\x6e\xd5\xd9\xac\xd8\x90\xe3\xc6\x3f\x50\x51";
static const char client_iv[] = "\x5b\x78\x92\x3d\xee\x08\x57\x90\x33\xe5\x23\xd9";
static const char server_key[] = "\x9f\x02\x28\x3b\x6c\x9c\x07\xef\xc2\x6b\xb9\xf2\xac\x92\xe3\x56";
static const char server_iv[] = "\xcf\x78\x2b\x88\xdd\x83\x54\x9a\xad\xf1\xe9\x84";

static const char client_data[] =
	"\x17\x03\x03\x00\x43\xa2\x3f\x70\x54\xb6\x2c\x94\xd0\xaf\xfa\xfe\x82\x28\xba\x55"
	"\xcb\xef\xac\xea\x42\xf9\x14\xaa\x66\xbc\xab\x3f\x2b\x98\x19\xa8\xa5\xb4\x6b\x39"
	"\x5b\xd5\x4a\x9a\x20\x44\x1e\x2b\x62\x97\x4e\x1f\x5a\x62\x92\xa2\x97\x70\x14\xbd"
	"\x1e\x3d\xea\xe6\x3a\xee\xbb\x21\x69\x49\x15\xe4";
static const char server_data[] =
	"\x17\x03\x03\x00\x43\x2e\x93\x7e\x11\xef\x4a\xc7\x40\xe5\x38\xad\x36\x00\x5f\xc4"
	"\xa4\x69\x32\xfc\x32\x25\xd0\x5f\x82\xaa\x1b\x36\xe3\x0e\xfa\xf9\x7d\x90\xe6\xdf"
	"\xfc\x60\x2d\xcb\x50\x1a\x59\xa8\xfc\xc4\x9c\x4b\xf2\xe5\xf0\xa2\x1c\x00\x47\xc2"
	"\xab\xf3\x32\x54\x0d\xd0\x32\xe1\x67\xc2\x95\x5d";
static const char client_close[] =
	"\x17\x03\x03\x00\x13\xc9\x87\x27\x60\x65\x56\x66\xb7\x4d\x7f\xf1\x15\x3e\xfd\x6d"
	"\xb6\xd0\xb0\xe3";
static const char server_close[] =
	"\x17\x03\x03\x00\x13\xb5\x8f\xd6\x71\x66\xeb\xf5\x99\xd2\x47\x20\xcf\xbe\x7e\xfa"
	"\x7a\x88\x64\xa9";

static void begin(struct sealer *s, const char *key, const char *iv, u64 seq)
{
	sealer_make(s, TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128, 1);
	memcpy(s->keys.key, key, 16);
	memcpy(s->keys.nonce, iv, 12);
	s->keys.seq = seq;
}

static void record(struct sealer *s, u8 type, const void *payload, size_t len, const char *expected,
		   const char *what)
{
	size_t record_len = len + 22;
	u8 made[KTLS_RECORD_MAX], got[KTLS_RECORD_MAX], got_type = 0;
	u64 seq = s->keys.seq;

	tap(sealer_open(s, (const u8 *)expected, record_len, &got_type, got) == (int)len &&
	    got_type == type && !memcmp(got, payload, len), "opened", what);
	s->keys.seq = seq;
	tap(sealer_seal(s, type, payload, len, made) == record_len &&
	    !memcmp(made, expected, record_len), "sealed", what);
}

int main(void)
{
	struct sealer client, server;
	u8 data[DATA_LEN];
	unsigned int i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (u8)i;
	begin(&client, client_key, client_iv, 0);
	/* The ticket was its first. */
	begin(&server, server_key, server_iv, 1);
	tap(sizeof(client_data) - 1 == APPLICATION && sizeof(server_data) - 1 == APPLICATION,
	    "records", "");
	record(&client, 23, data, sizeof(data), client_data, "the client's data");
	record(&server, 23, data, sizeof(data), server_data, "the server's data");
	record(&client, 21, "\1\0", 2, client_close, "the client's close_notify");
	record(&server, 21, "\1\0", 2, server_close, "the server's close_notify");
	return tap_done();
}
