// SPDX-License-Identifier: GPL-2.0-only
/* module/cipher.c: the table against the UAPI's structs and the RFCs. */
#include <linux/tls.h>

#include "cipher.h"
#include "tap.h"

#define FIELD(type, field) (u8)offsetof(struct type, field), (u8)sizeof(((struct type *)0)->field)

static const struct expected {
	u16 id;
	const char *name;
	const char *aead;
	u8 info_len, key_at, key_len, iv_at, iv_len, salt_at, salt_len, seq_at, seq_len;
	u8 explicit_len, iv_prefix;
} table[] = {
#define ROW(id, name, aead, type, explicit_len, iv_prefix)		\
	{ id, name, aead, sizeof(struct type), FIELD(type, key), FIELD(type, iv), \
	  FIELD(type, salt), FIELD(type, rec_seq), explicit_len, iv_prefix }
	ROW(51, "AES-128-GCM", "gcm(aes)", tls12_crypto_info_aes_gcm_128, 8, 0),
	ROW(52, "AES-256-GCM", "gcm(aes)", tls12_crypto_info_aes_gcm_256, 8, 0),
	ROW(53, "AES-128-CCM", "ccm(aes)", tls12_crypto_info_aes_ccm_128, 8, 2),
	ROW(54, "CHACHA20-POLY1305", "rfc7539(chacha20,poly1305)",
	    tls12_crypto_info_chacha20_poly1305, 0, 0),
};

static bool row_matches(const struct expected *e, const struct ktls_cipher *c)
{
	return c && c->id == e->id && !strcmp(c->name, e->name) && !strcmp(c->aead, e->aead) &&
	       c->info_len == e->info_len && c->key_at == e->key_at &&
	       c->key_len == e->key_len && c->iv_at == e->iv_at && c->iv_len == e->iv_len &&
	       c->salt_at == e->salt_at && c->salt_len == e->salt_len && c->seq_at == e->seq_at &&
	       e->seq_len == KTLS_SEQ_LEN && c->explicit_len == e->explicit_len &&
	       c->iv_prefix == e->iv_prefix && c->salt_len + c->iv_len == KTLS_NONCE_LEN;
}

int main(void)
{
	unsigned int id, found = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		tap(row_matches(&table[i], ktls_cipher_find(table[i].id)), "row", table[i].name);
	for (id = 0; id <= 0xffff; id++)
		found += !!ktls_cipher_find((u16)id);
	tap(found == ARRAY_SIZE(table), "no other row", "");
	return tap_done();
}
