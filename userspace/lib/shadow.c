// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <linux/tls.h>

#include "conn.h"
#include "datagram.h"
#include "dtls.h"
#include "shadow.h"

#define HELLO_REQUEST		0
#define CLIENT_HELLO		1
#define KEY_UPDATE		24
#define MESSAGE_HEADER		4
#define CIPHERS_MAX		4096

/* Handshakes that a peer may begin: they cost us more than the peer. */
#define RENEGOTIATIONS_BURST	100
#define RENEGOTIATIONS_SECOND	20

/* A HelloRequest of DTLS that may be lost (rfc6347 4.2.4). */
#define ASK_AGAIN_MS		1000
#define ASKS_MAX		10

/* When somebody else writes, we look for room so often: no event tells us of it. */
#define ROOM_MS			5

/* OpenSSL has seen some numbers of the first epoch; the shadow's are all above. */
#define DTLS_SHADOW_SEQ		(1ULL << 32)

static bool is_tls13(const struct ktls_conn *conn)
{
	return SSL_version(conn->ssl) == TLS1_3_VERSION;
}

static bool is_dtls(const struct ktls_conn *conn)
{
	return ktls_wire_is_datagram(&conn->wire);
}

/* ---- keys ---- */

static int derive(struct ktls_conn *conn, const struct ktls_half *tx, const struct ktls_half *rx,
		  struct ktls_keys *keys)
{
	struct ktls_flow next_tx = { 0 }, next_rx = { 0 };
	int ret;

	/* rfc6347 4.1: the next epoch; else numbers begin at 0. */
	if (is_dtls(conn)) {
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

/* The key that what OpenSSL writes from here on is sealed with. */
static int change_tx(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	struct ktls_keys keys;
	int ret = 0;

	if (is_tls13(conn))
		ret = update_secret(conn, SSL_is_server(conn->ssl) ? TRAFFIC_SERVER : TRAFFIC_CLIENT);
	if (!ret)
		ret = derive(conn, &s->tx, &s->rx, &keys);
	if (ret)
		return ret;
	s->tx_before = s->tx;
	ktls_half_set(&s->tx, keys.cipher, &keys.tx);
	if (!ktls_queue_add(&s->queue, ITEM_KEY, 0, &keys.tx, keys.cipher->info_size))
		ret = ktls_fail(conn, ENOMEM, "out of memory");
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

static int change_rx(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	struct ktls_keys keys;
	int ret = 0;

	if (is_tls13(conn))
		ret = update_secret(conn, SSL_is_server(conn->ssl) ? TRAFFIC_CLIENT : TRAFFIC_SERVER);
	if (!ret)
		ret = derive(conn, &s->tx, &s->rx, &keys);
	if (ret)
		return ret;
	ktls_half_set(&s->rx, keys.cipher, &keys.rx);
	if (setsockopt(conn->fd, SOL_TLS, TLS_RX, &keys.rx, keys.cipher->info_size))
		ret = ktls_fail(conn, errno, "the kernel does not take the peer's new key: %s",
				strerror(errno));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return ret;
}

/* ---- handshake messages ---- */

bool ktls_messages_find(struct ktls_messages *m, const uint8_t *data, size_t len, uint8_t type)
{
	bool found = false;
	size_t n;

	while (len) {
		if (m->left) {
			n = len < m->left ? len : m->left;
			m->left -= n;
		} else {
			n = 1;
			m->header[m->have++] = *data;
			if (m->have == MESSAGE_HEADER) {
				m->have = 0;
				found = found || m->header[0] == type;
				m->left = (size_t)m->header[1] << 16 |
					  (size_t)m->header[2] << 8 | m->header[3];
			}
		}
		data += n;
		len -= n;
	}
	return found;
}

/* ---- what OpenSSL says ---- */

static int open_failed(struct ktls_conn *conn)
{
	return ktls_fail(conn, EPROTO, "OpenSSL's records do not open with its keys");
}

/* Is what OpenSSL writes behind this record sealed with another key? */
static bool ends_key(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	if (!is_tls13(conn))
		return type == RECORD_CHANGE_CIPHER_SPEC;
	return type == RECORD_HANDSHAKE &&
	       ktls_messages_find(&conn->shadow->out, data, len, KEY_UPDATE);
}

static int queue_record(struct ktls_conn *conn, enum ktls_item_kind kind, uint8_t type,
			const uint8_t *data, size_t len)
{
	if (is_dtls(conn) && type == RECORD_HANDSHAKE && data[0] == HELLO_REQUEST &&
	    len == sizeof(conn->shadow->request))
		memcpy(conn->shadow->request, data, len);
	if (!ktls_queue_add(&conn->shadow->queue, kind, type, data, len))
		return ktls_fail(conn, ENOMEM, "out of memory");
	return kind == ITEM_RECORD && ends_key(conn, type, data, len) ? change_tx(conn) : 0;
}

static int take_output(struct ktls_conn *conn, const uint8_t *record, size_t len)
{
	uint8_t out[RECORD_MAX], type;
	struct ktls_shadow *s = conn->shadow;
	enum ktls_item_kind kind = ITEM_RECORD;
	struct ktls_half *half = &s->tx;
	struct dtls_record dtls;
	ssize_t n;
	int ret;

	if (is_dtls(conn) && ktls_dtls_record(record, len, &dtls) &&
	    dtls_epoch(dtls.seq) != dtls_epoch(s->tx.seq)) {
		half = &s->tx_before;
		kind = ITEM_BEFORE;
	}
	n = half->cipher ? ktls_half_open(half, record, len, &type, out) : -EBADMSG;
	if (n < 0)
		return open_failed(conn);
	ret = queue_record(conn, kind, type, out, (size_t)n);
	OPENSSL_cleanse(out, (size_t)n);
	return ret;
}

static size_t record_len(const struct ktls_conn *conn, const uint8_t *at, size_t len)
{
	struct dtls_record record;

	if (is_dtls(conn))
		return ktls_dtls_record(at, len, &record) ? record.len : 0;
	if (len < FLOW_HEADER || len < FLOW_HEADER + record_body_len(at))
		return 0;
	return FLOW_HEADER + record_body_len(at);
}

/* Moves what OpenSSL has written to the queue. */
static int collect(struct ktls_conn *conn)
{
	BIO *bio = conn->wire.wbio;
	char *text;
	size_t len = (size_t)BIO_get_mem_data(bio, &text), n;
	const uint8_t *at = (uint8_t *)text;
	int ret = 0;

	for (; len && !ret; at += n, len -= n) {
		n = record_len(conn, at, len);
		ret = n ? take_output(conn, at, n) : open_failed(conn);
	}
	(void)BIO_reset(bio);
	return ret;
}

/* ---- to the peer ---- */

static void set_pause(struct ktls_conn *conn, bool pause)
{
	struct ktls_shadow *s = conn->shadow;
	int value = pause;

	if (s->paused == pause)
		return;
	/* A kernel without it cannot rekey beside a sender, but can without one. */
	(void)setsockopt(conn->fd, SOL_KTLS, KTLS_PAUSE, &value, sizeof(value));
	s->paused = pause;
}

/* The number and nonce that the epoch goes on with, should its flight have to be sent again. */
static void keep_late(struct ktls_conn *conn, const struct ktls_half *half)
{
	union ktls_key key;
	socklen_t len = half->cipher ? half->cipher->info_size : 0;

	memset(&key, 0, sizeof(key));
	if (!len || getsockopt(conn->fd, SOL_TLS, TLS_TX, &key, &len))
		return;
	conn->shadow->late = *half;
	ktls_half_set_position(&conn->shadow->late, &key);
}

static int send_key(struct ktls_conn *conn, const struct ktls_item *item)
{
	if (is_dtls(conn))
		keep_late(conn, &conn->shadow->tx_before);
	if (!setsockopt(conn->fd, SOL_TLS, TLS_TX, item->data, (socklen_t)item->len))
		return 0;
	/* What the peer was promised cannot be taken back. */
	conn->tx_closed = true;
	return ktls_fail(conn, errno, "the kernel does not take our new key: %s", strerror(errno));
}

/* The kernel seals with the new key alone; the carrier takes datagrams beside it. */
static int send_before(struct ktls_conn *conn, const struct ktls_item *item)
{
	uint8_t record[RECORD_MAX_PAYLOAD + HALF_OVERHEAD];
	struct ktls_half *half = &conn->shadow->late;
	ssize_t n;

	n = half->cipher ? ktls_half_seal(half, item->type, item->data, item->len, record) : -1;
	/* One that is lost is asked for again. */
	if (n > 0)
		(void)ktls_datagram_send(&conn->wire, record, (size_t)n, MSG_DONTWAIT);
	return 0;
}

static int send_item(struct ktls_conn *conn, const struct ktls_item *item)
{
	if (item->kind == ITEM_KEY)
		return send_key(conn, item);
	if (item->kind == ITEM_BEFORE)
		return send_before(conn, item);
	if (ktls_send_record(conn->fd, item->type, item->data, item->len, MSG_DONTWAIT) >= 0)
		return 0;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	/* What does not arrive is sent again. */
	if (is_dtls(conn) && errno != EPIPE && errno != EBADMSG)
		return 0;
	return ktls_fail(conn, errno, "sending a handshake message: %s", strerror(errno));
}

/* Must data wait until the queue is empty, or the handshake done? */
static bool excludes_data(const struct ktls_shadow *s)
{
	return s->shaking || (s->queue.first && s->queue.first->next);
}

static int send_queue(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	int ret = 0;

	if (excludes_data(s))
		set_pause(conn, true);
	while (s->queue.first) {
		ret = send_item(conn, s->queue.first);
		if (ret)
			break;
		ktls_queue_drop(&s->queue);
		s->under_way = true;
	}
	/*
	 * A program that waits for room must hear of it, where nothing forbids it to send: ktls_send
	 * sees to the queue first. Who writes by himself would always be faster than we are.
	 */
	if (!s->queue.first)
		s->under_way = false;
	if (conn->queued && s->queue.first)
		set_pause(conn, true);
	else if (!s->shaking && !s->under_way)
		set_pause(conn, false);
	atomic_store(&conn->shadow_busy, s->queue.first || s->shaking);
	atomic_store(&conn->shadow_timed, is_dtls(conn) && (s->asked || s->shaking));
	return ret;
}

/* Ends what can neither go on nor be undone. */
static void give_up(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	ktls_queue_empty(&s->queue);
	s->shaking = false;
	s->asked = false;
	s->under_way = false;
	set_pause(conn, false);
	atomic_store(&conn->shadow_busy, false);
	atomic_store(&conn->shadow_timed, false);
}

/* ---- OpenSSL ---- */

/* What the client begins by itself it may resume. */
static void stop_insisting(struct ktls_conn *conn)
{
	if (conn->shadow->insists)
		SSL_clear_options(conn->ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	conn->shadow->insists = false;
}

static void note_progress(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	bool before = s->shaking;

	s->shaking = !is_tls13(conn) && SSL_in_init(conn->ssl) && !s->retired;
	if (s->shaking)
		s->asked = false;
	if (before && !s->shaking) {
		s->renegotiated = true;
		stop_insisting(conn);
		ktls_rekey_done(conn);
	}
}

/* Lets OpenSSL take what it was fed, and go on. */
static int go_on(struct ktls_conn *conn)
{
	uint8_t nothing[1];
	int ret;

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
	note_progress(conn);
	return ret;
}

static int feed(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	uint8_t record[RECORD_MAX_PAYLOAD + HALF_OVERHEAD];
	ssize_t n = ktls_half_seal(&conn->shadow->rx, type, data, len, record);

	if (n < 0)
		return ktls_fail(conn, EPROTO, "a record does not seal for OpenSSL");
	if (BIO_write(conn->wire.rbio, record, (int)n) != (int)n)
		return ktls_fail(conn, ENOMEM, "out of memory");
	return go_on(conn);
}

/* What OpenSSL has not asked for yet it drops: datagrams change places. */
static bool took_change(const struct ktls_conn *conn)
{
	OSSL_HANDSHAKE_STATE state = SSL_get_state(conn->ssl);

	return !is_dtls(conn) || state == TLS_ST_SR_CHANGE || state == TLS_ST_CR_CHANGE;
}

static int feed_change(struct ktls_conn *conn)
{
	static const uint8_t change[] = { 1 };
	struct ktls_shadow *s = conn->shadow;
	int ret = feed(conn, RECORD_CHANGE_CIPHER_SPEC, change, sizeof(change));

	if (ret)
		return ret;
	s->held_change = !took_change(conn);
	return s->held_change ? 0 : change_rx(conn);
}

/*
 * rfc8446 4.6.3: the KeyUpdate ends its record, and with it the peer's key. One that asks for ours
 * OpenSSL would answer with its next data, of which it never has any.
 */
static int take_key_update(struct ktls_conn *conn, uint8_t request)
{
	int ret = change_rx(conn);

	if (ret || request != SSL_KEY_UPDATE_REQUESTED)
		return ret;
	ERR_clear_error();
	if (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		return ktls_fail_ssl(conn);
	return go_on(conn);
}

static int take_message(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_shadow *s = conn->shadow;
	int ret = feed(conn, RECORD_HANDSHAKE, data, len);

	if (!ret && is_tls13(conn) && ktls_messages_find(&s->in, data, len, KEY_UPDATE))
		return take_key_update(conn, data[len - 1]);
	if (!ret && s->held_change)
		return feed_change(conn);
	return ret;
}

/* One that is repeated comes under the old key, and changes nothing. */
static bool is_change_due(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	return !is_dtls(conn) ||
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
		return is_tls13(conn) ? feed(conn, type, data, len) : take_change(conn);
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
	/* An alert that says why goes too. */
	err = collect(conn);
	if (!ret)
		ret = err;
	err = send_queue(conn);
	if (ret)
		give_up(conn);
	/* A peer that is gone is noticed by reading, behind what it has sent. */
	if (!ret && conn->tx_closed && err && err != -EAGAIN)
		ret = err;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

static bool may_renegotiate(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	return !s->refuses && !s->retired && SSL_get_secure_renegotiation_support(conn->ssl);
}

static bool wants(struct ktls_conn *conn, uint8_t message)
{
	struct ktls_shadow *s = conn->shadow;

	if (s->retired)
		return false;
	if (is_tls13(conn) || s->shaking)
		return true;
	if (is_dtls(conn) && s->renegotiated && message == DTLS_FINISHED)
		return true;
	if (message != (SSL_is_server(conn->ssl) ? CLIENT_HELLO : HELLO_REQUEST) ||
	    !may_renegotiate(conn))
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

/* The client's random tells handshakes apart; the server's messages of one that is over say nothing. */
static bool is_stale(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	uint8_t random[DTLS_RANDOM];
	size_t begin = DTLS_MESSAGE_HEADER + 2;

	if (conn->shadow->shaking || data[0] == HELLO_REQUEST)
		return false;
	if (data[0] != CLIENT_HELLO)
		return conn->shadow->renegotiated && data[0] != DTLS_FINISHED;
	return len >= begin + DTLS_RANDOM &&
	       SSL_get_client_random(conn->ssl, random, sizeof(random)) == sizeof(random) &&
	       !memcmp(data + begin, random, sizeof(random));
}

bool ktls_shadow_is_stale(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	bool ret;

	if (!conn->shadow || !is_dtls(conn) || len < DTLS_MESSAGE_HEADER)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = is_stale(conn, data, len);
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
	ret = !is_tls13(conn) && !conn->shadow->retired &&
	      (conn->shadow->shaking || (is_dtls(conn) && may_renegotiate(conn)));
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

void ktls_shadow_refused(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (!s)
		return;
	pthread_mutex_lock(&conn->shadow_lock);
	if (s->shaking)
		s->retired = true;
	give_up(conn);
	ktls_rekey_refused(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
}

void ktls_shadow_end(struct ktls_conn *conn)
{
	if (!conn->shadow)
		return;
	pthread_mutex_lock(&conn->shadow_lock);
	give_up(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
}

/* ---- what we begin ---- */

static int settle(struct ktls_conn *conn, int ret)
{
	int err = collect(conn);

	if (!ret)
		ret = err;
	err = send_queue(conn);
	return ret ? ret : err;
}

/* The client is not to answer with the session that is there: what it begins by itself it may. */
static void insist(struct ktls_conn *conn)
{
	if (SSL_get_options(conn->ssl) & SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION)
		return;
	SSL_set_options(conn->ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	conn->shadow->insists = true;
}

/* Once more the same: a client that has it already is in the middle of its handshake. */
static int repeat_request(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	s->asks++;
	s->ask_again_ms = ktls_now_ms() + ASK_AGAIN_MS;
	return queue_record(conn, ITEM_RECORD, RECORD_HANDSHAKE, s->request, sizeof(s->request));
}

/*
 * Of TLS OpenSSL does not hear of it: should the client refuse, nothing has begun, and should it
 * not, it is the client's handshake. Of DTLS it counts its messages from this one.
 */
static int ask_client(struct ktls_conn *conn)
{
	static const uint8_t request[MESSAGE_HEADER] = { HELLO_REQUEST };
	struct ktls_shadow *s = conn->shadow;

	insist(conn);
	s->asked = true;
	if (!is_dtls(conn))
		return queue_record(conn, ITEM_RECORD, RECORD_HANDSHAKE, request, sizeof(request));
	s->asks = 1;
	s->ask_again_ms = ktls_now_ms() + ASK_AGAIN_MS;
	ERR_clear_error();
	return SSL_renegotiate(conn->ssl) == 1 ? go_on(conn) : ktls_fail_ssl(conn);
}

static int ask_again(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (ktls_now_ms() < s->ask_again_ms)
		return 0;
	if (s->asks < ASKS_MAX)
		return repeat_request(conn);
	s->asked = false;
	ktls_rekey_refused(conn);
	return 0;
}

static int repeat_flight(struct ktls_conn *conn)
{
	struct timeval left;

	if (is_dtls(conn) && conn->shadow->asked)
		return ask_again(conn);
	if (!is_dtls(conn) || !conn->shadow->shaking ||
	    DTLSv1_get_timeout(conn->ssl, &left) != 1 || left.tv_sec || left.tv_usec)
		return 0;
	ERR_clear_error();
	return DTLSv1_handle_timeout(conn->ssl) < 0 ? ktls_fail_ssl(conn) : 0;
}

int ktls_shadow_run(struct ktls_conn *conn)
{
	int ret = 0;

	if (!conn->shadow)
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = repeat_flight(conn);
	if (!ret && !conn->shadow->retired && conn->rx_end >= 0)
		ret = go_on(conn);
	ret = settle(conn, ret);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

int ktls_shadow_push(struct ktls_conn *conn)
{
	int ret;

	if (!conn->shadow ||
	    !(atomic_load(&conn->shadow_busy) || atomic_load(&conn->shadow_timed)))
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = settle(conn, repeat_flight(conn));
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_has_output(struct ktls_conn *conn)
{
	bool ret;

	if (!conn->shadow)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = conn->shadow->queue.first;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

/* The lock is held. */
static int next_repeat(const struct ktls_conn *conn)
{
	const struct ktls_shadow *s = conn->shadow;
	struct timeval left;
	int64_t wait;

	if (conn->queued && s->queue.first)
		return ROOM_MS;
	if (!is_dtls(conn))
		return -1;
	if (s->asked) {
		wait = s->ask_again_ms - ktls_now_ms();
		return wait < 0 ? 0 : (int)wait;
	}
	if (s->shaking && DTLSv1_get_timeout(conn->ssl, &left) == 1)
		return (int)(left.tv_sec * 1000 + (left.tv_usec + 999) / 1000);
	return -1;
}

int ktls_shadow_timeout(struct ktls_conn *conn)
{
	int ret;

	if (!conn->shadow ||
	    !(atomic_load(&conn->shadow_timed) || atomic_load(&conn->shadow_busy)))
		return -1;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = next_repeat(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

static int renegotiate(struct ktls_conn *conn)
{
	int ret;

	if (conn->shadow->refuses)
		return ktls_fail(conn, EOPNOTSUPP,
				 "SSL_OP_NO_RENEGOTIATION is set: TLS 1.2 has no other way to other keys");
	if (conn->shadow->retired)
		return ktls_fail(conn, EOPNOTSUPP, "the peer refuses to renegotiate");
	if (!may_renegotiate(conn))
		return ktls_fail(conn, EOPNOTSUPP, "the peer cannot renegotiate securely (rfc5746)");
	if (conn->shadow->shaking || conn->shadow->asked)
		return 0;
	if (is_dtls(conn))
		ktls_limit_datagrams(conn, ktls_datagram_room(&conn->wire));
	if (SSL_is_server(conn->ssl))
		return ask_client(conn);
	ERR_clear_error();
	if (SSL_renegotiate(conn->ssl) != 1)
		return ktls_fail_ssl(conn);
	ret = go_on(conn);
	return ret;
}

static int update_key(struct ktls_conn *conn)
{
	/* One that waits to be sent is as good. */
	if (conn->shadow->queue.first)
		return 0;
	ERR_clear_error();
	if (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_REQUESTED) != 1)
		return ktls_fail_ssl(conn);
	return go_on(conn);
}

int ktls_shadow_rekey(struct ktls_conn *conn)
{
	int ret;

	pthread_mutex_lock(&conn->shadow_lock);
	ret = is_tls13(conn) ? update_key(conn) : renegotiate(conn);
	ret = settle(conn, ret);
	if (!ret && is_tls13(conn))
		ktls_rekey_done(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret == -EAGAIN ? 0 : ret;
}

/* ---- begin and end ---- */

/* What the next handshake chooses the kernel must be able to carry. */
static bool limit_ciphers(SSL *ssl)
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_get_ciphers(ssl);
	char list[CIPHERS_MAX];
	size_t len = 0;
	int i;

	for (i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
		const char *name = SSL_CIPHER_get_name(cipher);

		if (!ktls_cipher_find(cipher) || !strncmp(name, "TLS_", 4) ||
		    len + strlen(name) + 2 > sizeof(list))
			continue;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ":" : "",
					name);
	}
	return len && SSL_set_cipher_list(ssl, list) == 1;
}

/* The same version again, and with a cipher for the kernel, or not at all. */
static void prepare_renegotiation(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	s->refuses = conn->no_renegotiation || !limit_ciphers(conn->ssl);
	if (s->refuses)
		return;
	SSL_set_min_proto_version(conn->ssl, SSL_version(conn->ssl));
	SSL_set_max_proto_version(conn->ssl, SSL_version(conn->ssl));
	SSL_clear_options(conn->ssl, SSL_OP_NO_RENEGOTIATION);
	SSL_set_options(conn->ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
}

int ktls_shadow_start(struct ktls_conn *conn, const struct ktls_keys *keys)
{
	struct ktls_shadow *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	conn->shadow = s;
	ktls_half_set(&s->tx, keys->cipher, &keys->tx);
	ktls_half_set(&s->rx, keys->cipher, &keys->rx);
	if (is_dtls(conn))
		s->rx.seq += DTLS_SHADOW_SEQ;
	if (!is_tls13(conn))
		prepare_renegotiation(conn);
	ERR_clear_error();
	return 0;
}

void ktls_shadow_set(struct ktls_conn *conn, const struct ktls_half *tx,
		     const struct ktls_half *rx, const struct ktls_messages *out,
		     const struct ktls_messages *in)
{
	conn->shadow->tx = *tx;
	conn->shadow->rx = *rx;
	conn->shadow->out = *out;
	conn->shadow->in = *in;
}

void ktls_shadow_free(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (!s)
		return;
	conn->shadow = NULL;
	ktls_queue_empty(&s->queue);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}
