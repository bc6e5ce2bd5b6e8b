// SPDX-License-Identifier: GPL-2.0-only
/*
 * Known answers, checked when the module loads: records sealed and opened by the module's
 * own files through this kernel's crypto API against records made with OpenSSL. Loading
 * fails with EBADMSG when one differs. Key bytes count up from 0, the salt's from 0xa0, the
 * iv's from 0xb0; byte i of the payload is 7 * i + i / 256.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <uapi/linux/tls.h>

#include "../cipher.c"
#include "../record.c"
#include "../crypto.c"

/**
 * struct vector - a record
 * @version: 0: TLS 1.2
 * @cipher: TLS_CIPHER_*
 * @type: content type
 * @seq: sequence number
 * @len: bytes of payload
 * @end_len: bytes of @end
 * @end: the end of the record as OpenSSL made it: all of it, or the tag
 */
struct vector {
	u16 version;
	u16 cipher;
	u8 type;
	u64 seq;
	u32 len;
	u32 end_len;
	const char *end;
};

static const struct vector vectors[] = {
	{
		.cipher = TLS_CIPHER_AES_GCM_128, .type = 23, .seq = 0x0ULL, .len = 0,
		.end_len = 29,
		.end =
			"\x17\x03\x03\x00\x18\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xc9\x85\x31\xa3\x74\xd7\xe8"
			"\xef\x24\xca\x4a\x61\x10\x43\xa5\xdb",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_128, .type = 21, .seq = 0x1ULL, .len = 2,
		.end_len = 31,
		.end =
			"\x15\x03\x03\x00\x1a\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\x70\xe8\xfc\xdc\xc4\x61\x6a"
			"\x5b\x77\x85\x72\xce\x55\xb2\x78\x26\x00\xe8",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_128, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 62,
		.end =
			"\x17\x03\x03\x00\x39\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\x70\xe8\x2c\x61\x9e\xfc\x1d"
			"\x4d\x0a\xdb\xb1\xc2\xc1\xf3\x85\xde\xbb\x13\xfa\x10\x62\x44\xbb\xd5\x6c\xe8\xc0"
			"\x1b\xe9\x23\xc3\x54\xf7\x7a\xdb\x74\x2c\xf1\x7e\xe9\x90\x0b\x5d\x7f\xf3\x7a\xd5"
			"\x4e\x18",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_128, .type = 23, .seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x78\xd4\x09\xe3\x53\x6b\xeb\xf1\xa7\x54\x9b\x9b\x2c\xbb\xb8\x63",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_256, .type = 23, .seq = 0x0ULL, .len = 0,
		.end_len = 29,
		.end =
			"\x17\x03\x03\x00\x18\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\x0c\xf3\x5e\x67\xce\x8d\x24"
			"\x97\xdd\xab\x50\xf5\xa6\xd0\x43\x36",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_256, .type = 21, .seq = 0x1ULL, .len = 2,
		.end_len = 31,
		.end =
			"\x15\x03\x03\x00\x1a\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xaf\x66\xcb\x57\xcb\x52\x52"
			"\xc7\x31\x93\xf7\xf1\x69\x37\x17\x6c\x0d\x37",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_256, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 62,
		.end =
			"\x17\x03\x03\x00\x39\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xaf\x66\xe1\xb1\xb1\x6f\xe5"
			"\xd8\xec\xe8\xf7\xa3\x95\xe9\x28\x85\xbc\xd7\x2d\x48\xa4\x1c\xca\xad\x14\xe5\x36"
			"\x92\x62\xd7\xf3\xd4\x1e\x89\x8c\xd7\x31\xc2\x22\x68\xac\x00\x93\x43\x9a\x1c\xec"
			"\xbd\x35",
	},
	{
		.cipher = TLS_CIPHER_AES_GCM_256, .type = 23, .seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x4b\xf6\x82\x37\x10\xc1\xa7\xc7\x39\x52\x7d\x4a\x0e\x33\x8e\x13",
	},
	{
		.cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23, .seq = 0x0ULL, .len = 0,
		.end_len = 21,
		.end =
			"\x17\x03\x03\x00\x10\x45\x33\xf0\x53\x95\x85\xa0\xca\xbd\x12\x82\x1f\x5d\xea\x0a"
			"\x98",
	},
	{
		.cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 21, .seq = 0x1ULL, .len = 2,
		.end_len = 23,
		.end =
			"\x15\x03\x03\x00\x12\x9e\xc1\x98\xe8\x47\x4d\xe6\x02\x94\xe1\xb6\xfc\xd5\x6d\xd9"
			"\xb4\xf5\x1b",
	},
	{
		.cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 54,
		.end =
			"\x17\x03\x03\x00\x31\xef\x26\xef\xad\x24\xff\x90\x09\xa4\xfa\xdb\x01\xf0\x9d\x97"
			"\x21\x2b\xa8\x05\xdd\x4e\xed\x8d\xd0\x08\x10\xff\xc6\x69\x0a\xca\x26\x94\x0b\xd9"
			"\x6d\x08\x62\x91\xdb\xfa\x36\x39\xf8\x81\x3c\x2e\x59\xda",
	},
	{
		.cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23, .seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x38\xc8\x93\x79\xf2\x1d\x82\x18\x9f\x7f\xae\x60\xe7\xe3\x4b\xc3",
	},
	{
		.cipher = TLS_CIPHER_AES_CCM_128, .type = 23, .seq = 0x0ULL, .len = 0,
		.end_len = 29,
		.end =
			"\x17\x03\x03\x00\x18\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xdf\xc5\x63\x32\x11\x34\xe9"
			"\x37\x4d\x82\xcd\xeb\x64\x70\xe7\x9c",
	},
	{
		.cipher = TLS_CIPHER_AES_CCM_128, .type = 21, .seq = 0x1ULL, .len = 2,
		.end_len = 31,
		.end =
			"\x15\x03\x03\x00\x1a\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\x1b\x2b\xf4\x7d\x00\x7c\xd2"
			"\xc1\xba\xf9\x4b\x55\xde\x3a\x8a\x5a\x58\x6e",
	},
	{
		.cipher = TLS_CIPHER_AES_CCM_128, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 62,
		.end =
			"\x17\x03\x03\x00\x39\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\x1b\x2b\x62\x17\xdf\xee\x7d"
			"\x7b\xfc\xdc\x34\x54\x5a\x89\x06\x90\xff\x07\x63\x81\x4a\x62\x54\x93\x2b\x56\x57"
			"\xa5\x86\xe4\xef\xc9\xe7\xa5\x81\xb7\x91\x9f\x84\x1d\x7c\x21\xf6\xe5\x45\x4a\xad"
			"\x7a\x72",
	},
	{
		.cipher = TLS_CIPHER_AES_CCM_128, .type = 23, .seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x14\xbd\xfe\xe3\x64\x29\xb6\x6b\xab\x7c\x6e\x0d\x81\x05\xcd\x14",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_128, .type = 23,
		.seq = 0x0ULL, .len = 0,
		.end_len = 22,
		.end =
			"\x17\x03\x03\x00\x11\x67\x77\xbd\xc3\xdc\xde\xd7\xc6\x2e\xe8\xe7\x42\xf9\x78\xc5"
			"\xc0\x19",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_128, .type = 21,
		.seq = 0x1ULL, .len = 2,
		.end_len = 24,
		.end =
			"\x17\x03\x03\x00\x13\x47\x68\x9a\x71\x53\x93\xec\x38\x01\xfb\xa9\x16\xf1\xf7\x44"
			"\x25\x03\x0e\xdc",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_128, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 55,
		.end =
			"\x17\x03\x03\x00\x32\x01\x5c\xf8\x14\xab\x60\x80\x43\xc2\xa3\x79\x6e\xf7\xfc\xda"
			"\x68\xb0\x4a\x55\x4e\xba\x76\x92\xa2\x18\xc7\x81\x21\xe3\x7e\xc6\xd5\x78\x30\xad"
			"\xc3\x7b\xdc\xce\x81\x74\x86\xc7\x78\x96\x8d\x79\x28\x2a\x07",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_128, .type = 23,
		.seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x18\x2a\xf8\x4f\xce\xde\x56\x32\xbf\x60\x36\x4d\x0b\x77\x32\xcd",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_256, .type = 23,
		.seq = 0x0ULL, .len = 0,
		.end_len = 22,
		.end =
			"\x17\x03\x03\x00\x11\xb8\xb1\xcc\xd9\x78\xa9\x5c\x29\xbf\xe5\x46\x88\x43\x23\x03"
			"\xa7\x8e",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_256, .type = 21,
		.seq = 0x1ULL, .len = 2,
		.end_len = 24,
		.end =
			"\x17\x03\x03\x00\x13\x53\x67\xc0\x98\xc4\xd7\x01\xe1\xe1\x61\xaf\x96\xdf\x3b\x13"
			"\x9f\x24\xd7\xb2",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_256, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 55,
		.end =
			"\x17\x03\x03\x00\x32\xe8\xae\xd0\xbf\x8a\x78\x48\xf3\x83\x60\xa2\x1c\xf7\xe3\xd5"
			"\xc3\xfb\x75\x51\xea\x18\x50\xd5\x7d\xa9\xa2\xa1\x75\xd9\x7a\x0e\xd0\x2d\x73\x32"
			"\x4e\x0b\x4b\x87\x2a\x1f\x6e\x79\x76\x1e\xec\xd9\x0e\xfd\x83",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_GCM_256, .type = 23,
		.seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x55\x3e\x58\xf7\x7d\xa7\x3f\xb9\x4c\x51\xcb\x6b\x1f\x1d\x9f\xd0",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23,
		.seq = 0x0ULL, .len = 0,
		.end_len = 22,
		.end =
			"\x17\x03\x03\x00\x11\x80\x75\xb1\xf7\x4c\x80\x33\x0b\xc0\xb5\x11\x71\x4c\x7d\x7a"
			"\x2a\xa0",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 21,
		.seq = 0x1ULL, .len = 2,
		.end_len = 24,
		.end =
			"\x17\x03\x03\x00\x13\x9e\xc1\x5c\xb4\x57\x3e\x89\x84\x15\x5d\xcf\x8b\xee\x3b\x47"
			"\x1a\xa6\xf8\xe8",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 55,
		.end =
			"\x17\x03\x03\x00\x32\xef\x26\xef\xad\x24\xff\x90\x09\xa4\xfa\xdb\x01\xf0\x9d\x97"
			"\x21\x2b\xa8\x05\xdd\x4e\xed\x8d\xd0\x08\x10\xff\xc6\x69\x0a\xca\x26\x94\x5d\x0f"
			"\x5d\x7f\x04\x52\x19\x33\xe3\x04\xa0\xb8\x0c\x78\x6a\x23\x54",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_CHACHA20_POLY1305, .type = 23,
		.seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\xe0\x86\x78\xaa\xad\x0a\xb3\x0a\xaf\x16\xec\x01\x1e\xc6\x7c\xe5",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_CCM_128, .type = 23,
		.seq = 0x0ULL, .len = 0,
		.end_len = 22,
		.end =
			"\x17\x03\x03\x00\x11\x0c\x2a\x4c\x35\x01\x1f\x44\x00\x4f\xe0\x57\x69\x10\x2c\x44"
			"\x86\x0b",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_CCM_128, .type = 21,
		.seq = 0x1ULL, .len = 2,
		.end_len = 24,
		.end =
			"\x17\x03\x03\x00\x13\xf3\x1d\x9c\xd7\x0a\x17\xe1\xa3\xb8\x24\x4d\x6e\x7b\x3e\x35"
			"\xb6\x72\xa6\xbd",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_CCM_128, .type = 23,
		.seq = 0x102030405060708ULL, .len = 33,
		.end_len = 55,
		.end =
			"\x17\x03\x03\x00\x32\x6a\x91\xf6\x11\x08\x1c\x07\x50\x31\xe5\xbb\x1a\x29\x18\x44"
			"\xfd\x69\x44\x54\xf0\x9e\x70\x70\xa8\xeb\x6c\xe9\x70\xdd\x3e\xee\x90\x32\x18\x84"
			"\xdd\x41\x72\x75\x2c\xaa\x86\xfb\x7b\x82\xfd\x24\xf5\xf1\x2f",
	}, {
		.version = TLS_1_3_VERSION, .cipher = TLS_CIPHER_AES_CCM_128, .type = 23,
		.seq = 0x7ULL, .len = 16384,
		.end_len = 16,
		.end =
			"\x52\x2b\x78\xae\x55\x1c\x87\x06\x41\xb4\xce\xc4\x8c\xbc\x83\x77",
	},
};

static void count_up(u8 *bytes, u32 len, u8 first)
{
	u32 i;

	for (i = 0; i < len; i++)
		bytes[i] = first + i;
}

static u8 payload_byte(u32 i)
{
	return 7 * i + i / 256;
}

static struct ktls_key *vector_key(const struct vector *vector)
{
	const struct ktls_cipher *cipher = ktls_cipher_find(vector->cipher);
	u8 info[KTLS_CRYPTO_INFO_MAX] = {};

	count_up(info + cipher->key_at, cipher->key_len, 0);
	count_up(info + cipher->salt_at, cipher->salt_len, 0xa0);
	count_up(info + cipher->iv_at, cipher->iv_len, 0xb0);
	return ktls_crypto_key(ktls_record_format(vector->version ?: TLS_1_2_VERSION), cipher,
			       info);
}

/* Seals into @record, in place; its length or -errno. */
static int seal(struct ktls_key *key, const struct vector *vector, u8 *record)
{
	u64 nonce = 0xb0b1b2b3b4b5b6b7ULL;
	u32 at = ktls_record_prefix(key->format, key->cipher, vector->seq, vector->type,
				    vector->len, nonce, record);
	u32 end = at + vector->len, i;
	int ret;

	for (i = 0; i < vector->len; i++)
		record[at + i] = payload_byte(i);
	if (ktls_record_trailer_len(key->format))
		record[end++] = vector->type;
	sg_set_buf(&key->dst[1], record + at, end - at + KTLS_TAG_LEN);
	key->dst_count = 1;
	ret = ktls_crypto_seal(key, vector->seq, nonce, vector->type, vector->len, true);
	return ret ?: end + KTLS_TAG_LEN;
}

static int check_payload(const struct ktls_key *key, const struct vector *vector,
			 const u8 *payload)
{
	u32 i;

	for (i = 0; i < vector->len; i++)
		if (payload[i] != payload_byte(i))
			return -EBADMSG;
	return ktls_record_trailer_len(key->format) && payload[i] != vector->type ? -EBADMSG : 0;
}

static int open_record(struct ktls_key *key, const struct vector *vector, u8 *record, u8 *out)
{
	u32 at = ktls_record_prefix_len(key->format, key->cipher);
	struct ktls_header header;
	int ret;

	ret = ktls_record_parse(key->format, key->cipher, record, &header);
	if (ret)
		return ret;
	sg_set_buf(&key->src[1], record + at, header.record_len - at);
	sg_set_buf(&key->dst[1], out,
		   max_t(u32, header.payload_len + ktls_record_trailer_len(key->format), 1));
	key->src_count = 1;
	key->dst_count = 1;
	header.nonce = ktls_record_nonce(key->format, key->cipher, record);
	return ktls_crypto_open(key, vector->seq, &header, false);
}

/* The right record opens, and with any byte of its end changed it does not. */
static int check_open(struct ktls_key *key, const struct vector *vector, u8 *record, u32 len,
		      u8 *out)
{
	u32 i;
	int ret;

	ret = open_record(key, vector, record, out) ?: check_payload(key, vector, out);
	for (i = 1; !ret && i <= KTLS_TAG_LEN; i++) {
		record[len - i] ^= 1;
		if (open_record(key, vector, record, out) != -EBADMSG)
			ret = -EINVAL;
		record[len - i] ^= 1;
	}
	return ret;
}

static int check_vector(const struct vector *vector, u8 *record, u8 *out)
{
	struct ktls_key *key = vector_key(vector);
	int len, ret;

	if (IS_ERR(key))
		return PTR_ERR(key);
	len = seal(key, vector, record);
	ret = len < 0 ? len : 0;
	if (!ret && memcmp(record + len - vector->end_len, vector->end, vector->end_len))
		ret = -EBADMSG;
	if (!ret)
		ret = check_open(key, vector, record, len, out);
	ktls_crypto_key_free(key);
	return ret;
}

static int __init vectors_init(void)
{
	u8 *record = kmalloc(KTLS_RECORD_MAX, GFP_KERNEL);
	u8 *out = kmalloc(KTLS_MAX_PAYLOAD + KTLS_TRAILER_MAX, GFP_KERNEL);
	int ret = record && out ? 0 : -ENOMEM;
	unsigned int i;

	for (i = 0; !ret && i < ARRAY_SIZE(vectors); i++) {
		ret = check_vector(&vectors[i], record, out);
		if (ret)
			pr_err("af_ktls_test: vector %u, %s, %u bytes: %d\n", i,
			       ktls_cipher_find(vectors[i].cipher)->name, vectors[i].len, ret);
	}
	if (!ret)
		pr_info("af_ktls_test: %zu vectors passed\n", ARRAY_SIZE(vectors));
	kfree(out);
	kfree(record);
	return ret;
}

static void __exit vectors_exit(void)
{
}

module_init(vectors_init);
module_exit(vectors_exit);
MODULE_DESCRIPTION("Known-answer tests of AF_KTLS");
MODULE_LICENSE("GPL");
