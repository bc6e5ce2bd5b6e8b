// SPDX-License-Identifier: MIT
/* The next keys, where the present ones end: for the shadow, and for the kernel. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include <linux/tls.h>

#include "conn.h"
#include "dtls.h"
#include "shadow.h"

static int derive(struct ktls_conn *conn, const struct ktls_half *tx, const struct ktls_half *rx,
		  struct ktls_keys *keys)
{
	struct ktls_flow next_tx = { 0 }, next_rx = { 0 };
	int ret;

	/* rfc6347 4.1: the next epoch; else numbers begin at 0. */
	if (ktls_shadow_is_dtls(conn)) {
		next_tx.seq = (uint64_t)(dtls_epoch(tx->seq) + 1) << DTLS_SEQ_BITS;
		next_rx.seq = (uint64_t)(dtls_epoch(rx->seq) + 1) << DTLS_SEQ_BITS;
	}
	ret = ktls_secrets_derive(conn->ssl, &next_tx, &next_rx, keys);
	if (ret)
		return ktls_fail(conn, -ret, "OpenSSL does not tell the new keys");
	return 0;
}

static int update_secret(struct ktls_conn *conn, int whose)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(conn->ssl);
	int ret = ktls_traffic_update(SSL_CIPHER_get_handshake_digest(cipher),
				      &conn->traffic.secret[whose]);

	return ret ? ktls_fail(conn, -ret, "OpenSSL does not derive the next key") : 0;
}

/* Of the direction that is ours, or the peer's. A derivation that fails may have got half way. */
static int next_keys(struct ktls_conn *conn, bool ours, struct ktls_keys *keys)
{
	struct ktls_shadow *s = conn->shadow;
	bool servers = SSL_is_server(conn->ssl) == ours;
	int ret = 0;

	if (ktls_shadow_is_tls13(conn))
		ret = update_secret(conn, servers ? TRAFFIC_SERVER : TRAFFIC_CLIENT);
	if (!ret)
		ret = derive(conn, &s->tx, &s->rx, keys);
	if (ret)
		OPENSSL_cleanse(keys, sizeof(*keys));
	return ret;
}

/* The key that what OpenSSL writes from here on is sealed with. */
int ktls_change_tx(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	struct ktls_keys keys;
	int ret = next_keys(conn, true, &keys);

	if (ret)
		return ret;
	s->tx_before = s->tx;
	ktls_half_set(&s->tx, keys.cipher, &keys.tx);
	if (!ktls_queue_add(&s->queue, ITEM_KEY, 0, &keys.tx, keys.cipher->info_size))
		ret = ktls_fail(conn, ENOMEM, "out of memory");
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

int ktls_change_rx(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	struct ktls_keys keys;
	int ret = next_keys(conn, false, &keys);

	if (ret)
		return ret;
	ktls_half_set(&s->rx, keys.cipher, &keys.rx);
	if (setsockopt(conn->fd, SOL_TLS, TLS_RX, &keys.rx, keys.cipher->info_size))
		ret = ktls_fail(conn, errno, "the kernel does not take the peer's new key: %s",
				strerror(errno));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}
