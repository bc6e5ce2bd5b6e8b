// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <linux/tls.h>

#include "conn.h"
#include "dtls.h"
#include "shadow.h"

#define HELLO_REQUEST		0
#define CLIENT_HELLO		1
#define KEY_UPDATE		24
#define MESSAGE_HEADER		4
#define ANSWER_MS		60000	/* that a peer may take for its part of a handshake */
#define HANDSHAKE_MS		300000	/* ... and both for all of it */

/* Handshakes that a peer may begin: they cost us more than the peer. */
#define RENEGOTIATIONS_BURST	100
#define RENEGOTIATIONS_SECOND	20

bool ktls_shadow_is_tls13(const struct ktls_conn *conn)
{
	return SSL_version(conn->ssl) == TLS1_3_VERSION;
}

bool ktls_shadow_is_dtls(const struct ktls_conn *conn)
{
	return ktls_wire_is_datagram(&conn->wire);
}

/* ---- OpenSSL ---- */

/* What the client begins by itself it may resume. */
static void stop_insisting(struct ktls_conn *conn)
{
	if (conn->shadow->insists)
		SSL_clear_options(conn->ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	conn->shadow->insists = false;
}

void ktls_shadow_grant(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	s->deadline_ms = ktls_now_ms() + ANSWER_MS;
	if (s->shaking && s->deadline_ms > s->end_ms)
		s->deadline_ms = s->end_ms;
}

/* 0, or -errno: the peer takes no longer records than the kernel would send. */
static int note_progress(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	bool before = s->shaking;

	s->shaking = !ktls_shadow_is_tls13(conn) && SSL_in_init(conn->ssl) && !s->retired;
	if (s->shaking)
		s->asked = false;
	if (s->shaking && !before) {
		s->end_ms = ktls_now_ms() + HANDSHAKE_MS;
		s->arrived = 0;
		ktls_shadow_grant(conn);
	}
	if (!s->retired)
		ktls_peer_note(conn);
	if (!SSL_in_init(conn->ssl))
		atomic_store(&conn->unproved, false);
	if (!before || s->shaking)
		return 0;
	s->renegotiated = true;
	s->expected = 0;
	stop_insisting(conn);
	ktls_rekey_done(conn);
	if (SSL_in_init(conn->ssl) || !ktls_limit_payload(conn))
		return 0;
	return ktls_fail(conn, errno, "the kernel does not limit records: %s", strerror(errno));
}

/* Lets OpenSSL take what it was fed, and go on. */
int ktls_shadow_go_on(struct ktls_conn *conn)
{
	uint8_t nothing[1];
	int ret, err;

	ERR_clear_error();
	ret = SSL_read(conn->ssl, nothing, sizeof(nothing));
	switch (SSL_get_error(conn->ssl, ret)) {
	case SSL_ERROR_SSL:
	case SSL_ERROR_SYSCALL:
		ret = ktls_fail_ssl(conn);
		break;
	default:
		/* More is wanted, from the peer or from a callback of the program. */
		ret = 0;
	}
	err = note_progress(conn);
	return ret ? ret : err;
}

static int feed(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	uint8_t record[RECORD_MAX_PAYLOAD + HALF_OVERHEAD];
	ssize_t n = ktls_half_seal(&conn->shadow->rx, type, data, len, record);

	if (n < 0)
		return ktls_fail(conn, EPROTO, "a record does not seal for OpenSSL");
	if (BIO_write(conn->wire.rbio, record, (int)n) != (int)n)
		return ktls_fail(conn, ENOMEM, "out of memory");
	return ktls_shadow_go_on(conn);
}

/* What OpenSSL has not asked for yet it drops: datagrams change places. */
static bool took_change(const struct ktls_conn *conn)
{
	OSSL_HANDSHAKE_STATE state = SSL_get_state(conn->ssl);

	return !ktls_shadow_is_dtls(conn) || state == TLS_ST_SR_CHANGE || state == TLS_ST_CR_CHANGE;
}

static int feed_change(struct ktls_conn *conn)
{
	static const uint8_t change[] = { 1 };
	struct ktls_shadow *s = conn->shadow;
	int ret = feed(conn, RECORD_CHANGE_CIPHER_SPEC, change, sizeof(change));

	if (ret)
		return ret;
	s->held_change = !took_change(conn);
	if (s->held_change)
		return 0;
	atomic_store(&conn->unproved, true);
	return ktls_change_rx(conn);
}

/* OpenSSL would answer with its next data, of which it never has any: the answer is our affair. */
static int feed_key_update(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	uint8_t copy[RECORD_MAX_PAYLOAD];
	int ret;

	memcpy(copy, data, len);
	if (copy[len - 1] == SSL_KEY_UPDATE_REQUESTED)
		copy[len - 1] = SSL_KEY_UPDATE_NOT_REQUESTED;
	ret = feed(conn, RECORD_HANDSHAKE, copy, len);
	OPENSSL_cleanse(copy, len);
	return ret;
}

/* A KeyUpdate, that is: a key alone is of one that has been sent. */
static bool has_update(const struct ktls_queue *queue)
{
	const struct ktls_item *item;

	for (item = queue->first; item; item = item->next)
		if (item->next && item->next->kind == ITEM_KEY)
			return true;
	return false;
}

/* rfc8446 4.6.3: the KeyUpdate ends its record, and with it the peer's key. */
static int take_key_update(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	int ret = feed_key_update(conn, data, len);

	if (!ret)
		ret = ktls_change_rx(conn);
	/* Who has closed has no data that another key could seal. */
	if (ret || data[len - 1] != SSL_KEY_UPDATE_REQUESTED || conn->shadow->silent)
		return ret;
	/* One that waits to be sent answers all that have come before it goes. */
	if (has_update(&conn->shadow->queue))
		return 0;
	ERR_clear_error();
	if (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		return ktls_fail_ssl(conn);
	return ktls_shadow_go_on(conn);
}

static bool is_hello(const uint8_t *data, size_t len)
{
	return len >= DTLS_MESSAGE_HEADER && data[0] == CLIENT_HELLO && !(data[6] | data[7] | data[8]);
}

static void note_hello(struct ktls_shadow *s, const uint8_t *data, size_t len)
{
	s->hello_len = len < sizeof(s->hello) ? len : sizeof(s->hello);
	memcpy(s->hello, data, s->hello_len);
}

/* rfc5246 6.2.1: records cut messages anywhere. OpenSSL begins when it has the header. */
static void note_header(struct ktls_conn *conn, size_t len)
{
	struct ktls_shadow *s = conn->shadow;

	s->header_len += len;
	if (ktls_shadow_is_tls13(conn) || ktls_shadow_is_dtls(conn) || s->shaking ||
	    s->header_len >= MESSAGE_HEADER)
		s->header_len = 0;
}

static int take_message(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_shadow *s = conn->shadow;
	int ret;

	if (ktls_shadow_is_dtls(conn) && is_hello(data, len))
		note_hello(s, data, len);
	if (ktls_shadow_is_tls13(conn) && ktls_messages_find(&s->in, data, len, KEY_UPDATE))
		return take_key_update(conn, data, len);
	ret = feed(conn, RECORD_HANDSHAKE, data, len);
	note_header(conn, len);
	if (!ret && s->held_change)
		return feed_change(conn);
	return ret;
}

/* One that is repeated comes under the old key, and changes nothing. */
static bool is_change_due(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	return !ktls_shadow_is_dtls(conn) ||
	       (!getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len) &&
		info.flags & KTLS_F_RX_KEY_DUE);
}

static int take_change(struct ktls_conn *conn)
{
	return is_change_due(conn) ? feed_change(conn) : 0;
}

static int take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	switch (type) {
	case RECORD_CHANGE_CIPHER_SPEC:
		return ktls_shadow_is_tls13(conn) ? feed(conn, type, data, len) : take_change(conn);
	case RECORD_HANDSHAKE:
		return take_message(conn, data, len);
	default:
		return feed(conn, type, data, len);
	}
}

int ktls_shadow_take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	int ret, err;

	pthread_mutex_lock(&conn->shadow_lock);
	ret = take(conn, type, data, len);
	ktls_shadow_grant(conn);
	/* An alert that says why goes too. */
	err = ktls_output_collect(conn);
	if (!ret)
		ret = err;
	err = ktls_output_send(conn);
	if (ret)
		ktls_output_fail(conn);
	/* A peer that is gone is noticed by reading, behind what it has sent. */
	if (!ret && conn->tx_closed && err && err != -EAGAIN)
		ret = err;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_may_renegotiate(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	return !s->refuses && !s->retired && SSL_get_secure_renegotiation_support(conn->ssl);
}

void ktls_shadow_expect(struct ktls_conn *conn, unsigned int records)
{
	struct ktls_shadow *s = conn->shadow;

	s->expected += records;
	/* One KeyUpdate may answer many. */
	if (s->expected > KTLS_HANDSHAKE_RECORDS)
		s->expected = KTLS_HANDSHAKE_RECORDS;
}

bool ktls_shadow_expects(struct ktls_conn *conn, uint8_t message)
{
	struct ktls_shadow *s = conn->shadow;
	bool ret;

	if (!s)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = s->expected && (!ktls_shadow_is_tls13(conn) || message == KEY_UPDATE);
	s->expected -= ret;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

static bool wants(struct ktls_conn *conn, uint8_t message)
{
	struct ktls_shadow *s = conn->shadow;

	if (s->retired || (s->silent && !ktls_shadow_is_tls13(conn)))
		return false;
	if (ktls_shadow_is_tls13(conn) || s->shaking || s->header_len)
		return true;
	if (ktls_shadow_is_dtls(conn) && s->renegotiated && message == DTLS_FINISHED)
		return true;
	if (message != (SSL_is_server(conn->ssl) ? CLIENT_HELLO : HELLO_REQUEST) ||
	    !ktls_shadow_may_renegotiate(conn) || atomic_load(&s->closing))
		return false;
	return s->asked || ktls_budget_spend(&s->renegotiations, ktls_now_ms(),
					     RENEGOTIATIONS_BURST, RENEGOTIATIONS_SECOND);
}

bool ktls_shadow_wants(struct ktls_conn *conn, uint8_t message)
{
	bool ret;

	if (!conn->shadow)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = wants(conn, message);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

/* How long fragments are may change; where they begin, and what is in them, does not. */
static bool is_same_hello(const struct ktls_shadow *s, const uint8_t *data, size_t len)
{
	size_t n = len < s->hello_len ? len : s->hello_len;

	return n > DTLS_MESSAGE_HEADER && is_hello(data, len) && !memcmp(data + 1, s->hello + 1, 3) &&
	       !memcmp(data + DTLS_MESSAGE_HEADER, s->hello + DTLS_MESSAGE_HEADER,
		       n - DTLS_MESSAGE_HEADER);
}

/*
 * The client's hello tells handshakes apart: not its random, which GnuTLS keeps where there was a
 * cookie. The server's messages of one that is over say nothing.
 */
static bool is_stale(const struct ktls_shadow *s, const uint8_t *data, size_t len)
{
	if (s->shaking || data[0] == HELLO_REQUEST)
		return false;
	if (data[0] == CLIENT_HELLO)
		return is_same_hello(s, data, len);
	return s->renegotiated && data[0] != DTLS_FINISHED;
}

bool ktls_shadow_is_stale(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	bool ret;

	if (!conn->shadow || !ktls_shadow_is_dtls(conn) || len < DTLS_MESSAGE_HEADER)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = is_stale(conn->shadow, data, len);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_changes(struct ktls_conn *conn)
{
	bool ret;

	if (!conn->shadow)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	/* Of DTLS it may overtake what it belongs to. */
	ret = !ktls_shadow_is_tls13(conn) && !conn->shadow->retired &&
	      (conn->shadow->shaking || (ktls_shadow_is_dtls(conn) && ktls_shadow_may_renegotiate(conn)));
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

/* We have begun, and the server has not. */
static bool awaits_server(const struct ktls_conn *conn)
{
	OSSL_HANDSHAKE_STATE state = SSL_get_state(conn->ssl);

	return conn->shadow->shaking && !SSL_is_server(conn->ssl) &&
	       (state == TLS_ST_CW_CLNT_HELLO || state == DTLS_ST_CR_HELLO_VERIFY_REQUEST);
}

int ktls_shadow_refused(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	int ret = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	if (s->asked || awaits_server(conn)) {
		s->retired = s->retired || s->shaking;
		ktls_output_drop(conn);
		ktls_rekey_refused(conn);
	} else if (s->shaking && !ktls_shadow_is_dtls(conn)) {
		/* Of datagrams one may come late, which answered a HelloRequest. */
		ret = -EPROTO;
	}
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

static void end(struct ktls_conn *conn, struct ktls_shadow *s)
{
	/* What the peer has not seen anything of need not begin; the rest would be missed. */
	if ((s->shaking || conn->tx_closed) && !s->under_way)
		ktls_queue_empty(&s->queue);
	s->retired = s->retired || s->shaking;
	s->shaking = false;
	s->asked = false;
	if (conn->rx_end >= 0)
		(void)ktls_output_send(conn);
	s->silent = s->silent || conn->rx_end < 0 || conn->tx_closed;
	if (conn->rx_end < 0)
		ktls_output_fail(conn);
	else if (conn->tx_closed)
		ktls_output_drop(conn);
}

void ktls_shadow_end(struct ktls_conn *conn)
{
	if (!conn->shadow)
		return;
	pthread_mutex_lock(&conn->shadow_lock);
	end(conn, conn->shadow);
	pthread_mutex_unlock(&conn->shadow_lock);
}

int ktls_shadow_close(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	int ret = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	if (conn->rx_end >= 0 && s->under_way)
		ret = ktls_output_send(conn) == -EAGAIN ? -EAGAIN : 0;
	if (!ret)
		end(conn, s);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_begin_close(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	bool ret;

	if (!s || ktls_shadow_is_dtls(conn))
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	atomic_store(&s->closing, true);
	/* A ClientHello for which there was no room need not go. */
	ret = s->shaking && !(s->queue.first && !s->under_way && awaits_server(conn));
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_may_interrupt(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (s && s->under_way)
		(void)ktls_output_send(conn);
	return !s || !s->under_way;
}
