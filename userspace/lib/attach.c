// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "conn.h"
#include "dtls.h"
#include "listener.h"
#include "local.h"
#include "secrets.h"
#include "shadow.h"

/* What the kernel has to be able to; 0: it never is. */
static unsigned int needed(const SSL *ssl)
{
	switch (SSL_version(ssl)) {
	case TLS1_2_VERSION:
		return KTLS_CAN_TLS12;
	case TLS1_3_VERSION:
		return KTLS_CAN_TLS13;
	case DTLS1_2_VERSION:
		return KTLS_CAN_DTLS12;
	default:
		return 0;
	}
}

/* What speaks against the kernel before it is asked. */
static int check_handshake(struct ktls_conn *conn)
{
	const struct ktls_wire *wire = &conn->wire;
	SSL *ssl = conn->ssl;

	if (!needed(ssl))
		return ktls_decline(conn, EOPNOTSUPP,
				    "the kernel carries TLS 1.2 and 1.3 and DTLS 1.2, this is %s",
				    SSL_get_version(ssl));
	if (!ktls_cipher_find(SSL_get_current_cipher(ssl)))
		return ktls_decline(conn, EOPNOTSUPP,
				    "the kernel has no cipher for %s: allow AES-GCM, ChaCha20-Poly1305 or AES-128-CCM",
				    SSL_get_cipher_name(ssl));
	if (SSL_get_current_compression(ssl))
		return ktls_decline(conn, EOPNOTSUPP, "the kernel does not do TLS compression");
	/* What OpenSSL has opened already cannot be given back; of DTLS it is repetitions alone. */
	if (SSL_has_pending(ssl) && !ktls_wire_is_datagram(wire))
		return ktls_decline(conn, EOPNOTSUPP, "the peer's Finished shares its record");
	if (wire->unframed || !wire->tx.sealed || !wire->rx.sealed ||
	    !ktls_flow_is_whole(&wire->tx) || !ktls_flow_is_whole(&wire->rx))
		return ktls_decline(conn, EOPNOTSUPP, "the records could not be counted");
	return 0;
}

static int check(struct ktls_conn *conn)
{
	unsigned int need = needed(conn->ssl);
	const char *why;

	if (conn->flags & KTLS_USERSPACE)
		return ktls_decline(conn, EOPNOTSUPP, "the program asked for userspace");
	if (need && !(ktls_available(&why) & need))
		return ktls_decline(conn, EAFNOSUPPORT, "%s", why);
	return check_handshake(conn);
}

/* Whom of those that send to the UDP socket the connection is with. */
static int connect_peer(struct ktls_conn *conn)
{
	const struct ktls_wire *wire = &conn->wire;

	if (!wire->peer_len)
		return 0;
	ktls_listener_displace(conn);
	if (!connect(conn->fd, (const struct sockaddr *)&wire->peer, wire->peer_len)) {
		ktls_local_choose(conn->fd, &wire->local);
		return 0;
	}
	return ktls_decline(conn, errno, "the kernel does not take the peer's address: %s",
			    strerror(errno));
}

static int open_socket(struct ktls_conn *conn)
{
	struct sockaddr_ktls addr = { .skt_fd = conn->wire.fd };
	int type = conn->wire.kind->type | SOCK_CLOEXEC;
	int err;

	if (fcntl(conn->wire.fd, F_GETFL) & O_NONBLOCK)
		type |= SOCK_NONBLOCK;
	conn->fd = socket(ktls_family(), type, 0);
	if (conn->fd < 0)
		return ktls_decline(conn, errno, "%s", ktls_explain_socket(errno));
	addr.skt_family = (__kernel_sa_family_t)ktls_family();
	if (!bind(conn->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return connect_peer(conn);
	err = errno;
	return ktls_decline(conn, err, "the kernel does not take the TCP or UDP socket: %s%s",
			    strerror(err),
			    err == EBUSY ? " (another protocol sits on it)" : "");
}

static int install_key(struct ktls_conn *conn, int direction, const struct ktls_keys *keys)
{
	const union ktls_key *key = direction == TLS_TX ? &keys->tx : &keys->rx;
	int err;

	if (!setsockopt(conn->fd, SOL_TLS, direction, key, keys->cipher->info_size))
		return 0;
	err = errno;
	if (err == ENOENT)
		return ktls_decline(conn, err,
				    "the kernel lacks the cipher of %s: load its crypto modules",
				    SSL_get_cipher_name(conn->ssl));
	return ktls_decline(conn, err, "the kernel does not take the keys: %s", strerror(err));
}

/* rfc6066 4: a peer that negotiated max_fragment_length takes no longer records. */
int ktls_limit_payload(struct ktls_conn *conn)
{
	uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get_session(conn->ssl));
	uint16_t len = RECORD_MAX_PAYLOAD;

	if (code != TLSEXT_max_fragment_length_DISABLED && code <= TLSEXT_max_fragment_length_4096)
		len = (uint16_t)(256U << code);
	if (len == conn->max_payload)
		return 0;
	if (setsockopt(conn->fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &len, sizeof(len)))
		return -errno;
	conn->max_payload = len;
	return 0;
}

/* What came behind the peer's Finished, perhaps a part of a record. */
static int hand_over(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	if (!len || !setsockopt(conn->fd, SOL_KTLS, KTLS_PREPEND_RX, data, (socklen_t)len))
		return 0;
	return ktls_decline(conn, errno, "the kernel does not take %zu bytes already read: %s",
			    len, strerror(errno));
}

/* A record becomes a datagram; one that cannot is lost, as datagrams may be. */
static int hand_over_records(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct dtls_record record;

	for (; ktls_dtls_record(data, len, &record); data += record.len, len -= record.len)
		(void)hand_over(conn, data, record.len);
	return 0;
}

static int hand_over_leftover(struct ktls_conn *conn)
{
	const struct ktls_wire *wire = &conn->wire;
	size_t len = wire->end - wire->start;

	return ktls_wire_is_datagram(wire) ? hand_over_records(conn, wire->in + wire->start, len) :
					     hand_over(conn, wire->in + wire->start, len);
}

/* RX comes last: once it is keyed the kernel reads TCP and there is no way back. */
static int install(struct ktls_conn *conn, const struct ktls_keys *keys)
{
	int ret;

	conn->max_payload = RECORD_MAX_PAYLOAD;
	ret = ktls_limit_payload(conn);
	if (ret)
		return ktls_decline(conn, -ret, "the kernel does not limit records: %s",
				    strerror(-ret));
	ret = install_key(conn, TLS_TX, keys);
	if (!ret)
		ret = hand_over_leftover(conn);
	if (!ret && ktls_shadow_start(conn, keys))
		ret = ktls_decline(conn, ENOMEM, "out of memory");
	if (!ret)
		ret = install_key(conn, TLS_RX, keys);
	return ret;
}

int ktls_attach(struct ktls_conn *conn)
{
	struct ktls_keys keys;
	int ret = check(conn);

	if (ret)
		return ret;
	ret = ktls_secrets_derive(conn->ssl, &conn->wire.tx, &conn->wire.rx, &keys);
	if (ret)
		ret = ktls_decline(conn, -ret,
				   "OpenSSL does not tell the keys (a key log callback set too late?)");
	else
		ret = ktls_attach_keys(conn, &keys);
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

int ktls_attach_keys(struct ktls_conn *conn, const struct ktls_keys *keys)
{
	int ret = open_socket(conn);

	if (!ret)
		ret = install(conn, keys);
	if (ret && conn->fd >= 0) {
		(void)setsockopt(conn->fd, SOL_KTLS, KTLS_DETACH, NULL, 0);
		close(conn->fd);
		conn->fd = -1;
	}
	if (!ret)
		return 0;
	ktls_shadow_free(conn);
	SSL_set_options(conn->ssl, SSL_OP_NO_RENEGOTIATION);
	return ret;
}
