// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "conn.h"
#include "shim.h"
#include "wire.h"

#define KEY_UPDATE	24

/* rfc8446 4.6.3: from here on both sides count from 0 under the next key. */
static int change(struct ktls_shim *shim, int whose, struct ktls_half *a, struct ktls_half *b)
{
	SSL *ssl = shim->conn->ssl;
	struct ktls_flow none = { 0 };
	struct ktls_keys keys;
	int ours = SSL_is_server(ssl) ? TRAFFIC_SERVER : TRAFFIC_CLIENT;
	int ret;

	ret = ktls_traffic_update(SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl)),
				  &shim->conn->traffic.secret[whose]);
	if (!ret)
		ret = ktls_secrets_derive(ssl, &none, &none, &keys);
	if (!ret) {
		ktls_half_set(a, keys.cipher, whose == ours ? &keys.tx : &keys.rx);
		*b = *a;
	}
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

static bool updates_key(const struct ktls_shim *shim, struct ktls_messages *messages, uint8_t type,
			const uint8_t *data, size_t len)
{
	return shim->wire_rx.version == TLS_1_3_VERSION && type == RECORD_HANDSHAKE &&
	       ktls_messages_find(messages, data, len, KEY_UPDATE);
}

/*
 * OpenSSL expects numbers that the peer used long ago: what does not open at ours may well open there,
 * an old record that somebody replays. It gets one that opens nowhere, and tells the peer.
 */
static int feed_bad(struct ktls_shim *shim, BIO *to)
{
	static const uint8_t bad[FLOW_HEADER + HALF_OVERHEAD] = {
		RECORD_DATA, TLS_1_2_VERSION_MAJOR, TLS_1_2_VERSION_MINOR, 0, HALF_OVERHEAD,
	};

	shim->dead = true;
	return BIO_write(to, bad, sizeof(bad)) == sizeof(bad) ? 0 : -ENOMEM;
}

int ktls_shim_in(struct ktls_shim *shim, BIO *to, const uint8_t *record, size_t len)
{
	int theirs = SSL_is_server(shim->conn->ssl) ? TRAFFIC_CLIENT : TRAFFIC_SERVER;
	uint8_t data[RECORD_MAX], sealed[RECORD_MAX + HALF_OVERHEAD], type;
	ssize_t n, m;
	int ret = 0;

	n = shim->dead ? -EBADMSG : ktls_half_open(&shim->wire_rx, record, len, &type, data);
	if (n < 0)
		return feed_bad(shim, to);
	m = ktls_half_seal(&shim->ssl_rx, type, data, (size_t)n, sealed);
	if (m < 0 || BIO_write(to, sealed, (int)m) != (int)m)
		ret = m < 0 ? (int)m : -ENOMEM;
	else if (updates_key(shim, &shim->in, type, data, (size_t)n))
		ret = change(shim, theirs, &shim->wire_rx, &shim->ssl_rx);
	shim->dead = ret;
	OPENSSL_cleanse(data, (size_t)n);
	return ret;
}

static int take_record(struct ktls_shim *shim, const uint8_t *record, size_t len)
{
	int ours = SSL_is_server(shim->conn->ssl) ? TRAFFIC_SERVER : TRAFFIC_CLIENT;
	uint8_t data[RECORD_MAX], type;
	ssize_t n = ktls_half_open(&shim->ssl_tx, record, len, &type, data), m;
	int ret = 0;

	if (n < 0)
		return -EPROTO;
	m = ktls_half_seal(&shim->wire_tx, type, data, (size_t)n, shim->text + shim->len);
	if (m < 0)
		ret = (int)m;
	else if (updates_key(shim, &shim->out, type, data, (size_t)n))
		ret = change(shim, ours, &shim->wire_tx, &shim->ssl_tx);
	shim->len += m < 0 ? 0 : (size_t)m;
	OPENSSL_cleanse(data, (size_t)n);
	return ret;
}

/* Records of other padding may be shorter on one side, but never grow. */
int ktls_shim_out(struct ktls_shim *shim, BIO *from)
{
	char *text;
	size_t len = (size_t)BIO_get_mem_data(from, &text), n;
	const uint8_t *at = (uint8_t *)text;
	uint8_t *room = len ? realloc(shim->text, len) : shim->text;
	int ret = 0;

	if (len && !room)
		return -ENOMEM;
	shim->text = room;
	shim->len = 0;
	shim->sent = 0;
	for (; len && !ret; at += n, len -= n) {
		n = FLOW_HEADER + (len < FLOW_HEADER ? 0 : record_body_len(at));
		ret = n <= len ? take_record(shim, at, n) : -EPROTO;
	}
	(void)BIO_reset(from);
	return ret;
}

void ktls_shim_free(struct ktls_shim *shim)
{
	if (!shim)
		return;
	free(shim->text);
	OPENSSL_cleanse(shim, sizeof(*shim));
	free(shim);
}
