// SPDX-License-Identifier: MIT
/* What OpenSSL says while the kernel carries the connection: opened, and sent by way of it. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include <linux/tls.h>

#include "conn.h"
#include "datagram.h"
#include "dtls.h"
#include "shadow.h"

#define KEY_UPDATE		24
#define LATE_GAP		16

/* ---- what OpenSSL says ---- */

static int open_failed(struct ktls_conn *conn)
{
	return ktls_fail(conn, EPROTO, "OpenSSL's records do not open with its keys");
}

/* Is what OpenSSL writes behind this record sealed with another key? */
static bool ends_key(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	if (!ktls_shadow_is_tls13(conn))
		return type == RECORD_CHANGE_CIPHER_SPEC;
	return type == RECORD_HANDSHAKE &&
	       ktls_messages_find(&conn->shadow->out, data, len, KEY_UPDATE);
}

int ktls_output_queue(struct ktls_conn *conn, enum ktls_item_kind kind, uint8_t type,
			const uint8_t *data, size_t len)
{
	if (ktls_shadow_is_dtls(conn) && type == RECORD_HANDSHAKE && data[0] == DTLS_HELLO_REQUEST &&
	    len == sizeof(conn->shadow->request))
		memcpy(conn->shadow->request, data, len);
	if (!ktls_queue_add(&conn->shadow->queue, kind, type, data, len))
		return ktls_fail(conn, ENOMEM, "out of memory");
	return kind == ITEM_RECORD && ends_key(conn, type, data, len) ? ktls_change_tx(conn) : 0;
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

	if (ktls_shadow_is_dtls(conn) && ktls_dtls_record(record, len, &dtls) &&
	    dtls_epoch(dtls.seq) != dtls_epoch(s->tx.seq)) {
		half = &s->tx_before;
		kind = ITEM_BEFORE;
	}
	n = half->cipher ? ktls_half_open(half, record, len, &type, out) : -EBADMSG;
	if (n < 0)
		return open_failed(conn);
	ret = ktls_output_queue(conn, kind, type, out, (size_t)n);
	OPENSSL_cleanse(out, (size_t)n);
	return ret;
}

static size_t record_len(const struct ktls_conn *conn, const uint8_t *at, size_t len)
{
	struct dtls_record record;

	if (ktls_shadow_is_dtls(conn))
		return ktls_dtls_record(at, len, &record) ? record.len : 0;
	if (len < FLOW_HEADER || len < FLOW_HEADER + record_body_len(at))
		return 0;
	return FLOW_HEADER + record_body_len(at);
}

/* A part is missing that OpenSSL takes for sent: its keys are not ours, and nothing may follow. */
static int lose(struct ktls_conn *conn, int ret)
{
	conn->shadow->silent = true;
	conn->shadow->retired = true;
	conn->tx_closed = true;
	ktls_output_cut(conn);
	return ret;
}

/* Moves what OpenSSL has written to the queue. */
int ktls_output_collect(struct ktls_conn *conn)
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
	return ret ? lose(conn, ret) : 0;
}

/* ---- to the peer ---- */

/* There may be some later; nothing goes before. No descriptor tells when. */
static int await_memory(struct ktls_conn *conn)
{
	conn->shadow->no_memory = true;
	return -EAGAIN;
}

/* 0, or -EAGAIN. */
static int set_pause(struct ktls_conn *conn, bool pause)
{
	struct ktls_shadow *s = conn->shadow;
	int value = pause;

	if (s->paused == pause)
		return 0;
	if (!setsockopt(conn->fd, SOL_KTLS, KTLS_PAUSE, &value, sizeof(value))) {
		s->paused = pause;
		return 0;
	}
	/* A kernel without it cannot rekey beside a sender, but can without one. */
	return errno == ENOMEM ? await_memory(conn) : 0;
}

/* The numbers and nonces that the epoch goes on with, should its flight have to be sent again. */
static void keep_late(struct ktls_conn *conn, const struct ktls_half *half)
{
	union ktls_key key;
	socklen_t len = half->cipher ? half->cipher->info_size : 0;

	memset(&key, 0, sizeof(key));
	OPENSSL_cleanse(&conn->shadow->late, sizeof(conn->shadow->late));
	/* Where data may still go nobody knows the next number. */
	if (!len || !conn->shadow->paused || getsockopt(conn->fd, SOL_TLS, TLS_TX, &key, &len))
		return;
	conn->shadow->late = *half;
	ktls_half_set_position(&conn->shadow->late, &key);
	/* A close_notify of another thread may still take one: no number is used twice. */
	conn->shadow->late.seq += LATE_GAP;
	conn->shadow->late.nonce += LATE_GAP;
	OPENSSL_cleanse(&key, sizeof(key));
}

static int send_key(struct ktls_conn *conn, const struct ktls_item *item)
{
	if (ktls_shadow_is_dtls(conn))
		keep_late(conn, &conn->shadow->tx_before);
	if (!setsockopt(conn->fd, SOL_TLS, TLS_TX, item->data, (socklen_t)item->len))
		return 0;
	if (errno == ENOMEM || errno == ENOBUFS)
		return await_memory(conn);
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
	if (errno == ENOMEM)
		return await_memory(conn);
	/* What does not arrive is sent again. */
	if (ktls_shadow_is_dtls(conn) && errno != EPIPE && errno != EBADMSG)
		return 0;
	return ktls_fail(conn, errno, "sending a handshake message: %s", strerror(errno));
}

/* Must data wait until the queue is empty, or the handshake done? */
static bool excludes_data(const struct ktls_shadow *s)
{
	return s->shaking || (s->queue.first && s->queue.first->next);
}

/* Ends what can neither go on nor be undone. */
void ktls_output_drop(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	ktls_queue_empty(&s->queue);
	s->shaking = false;
	s->asked = false;
	s->under_way = false;
	s->no_memory = false;
	(void)set_pause(conn, false);
	atomic_store(&conn->shadow_busy, false);
	atomic_store(&conn->shadow_timed, false);
}

/* A listener's carrier is for others too. */
void ktls_output_cut(struct ktls_conn *conn)
{
	(void)shutdown(ktls_shadow_is_dtls(conn) ? conn->fd : conn->wire.fd, SHUT_WR);
	ktls_output_drop(conn);
}

void ktls_output_fail(struct ktls_conn *conn)
{
	/* Before anybody who waits is let go on. */
	conn->tx_closed = true;
	if (conn->shadow->paused)
		ktls_output_cut(conn);
	else
		ktls_output_drop(conn);
}

/* What failed once fails again. Behind half of a change of keys no data may go. */
static int give_up(struct ktls_conn *conn, int ret)
{
	struct ktls_shadow *s = conn->shadow;

	s->silent = true;
	if (s->under_way || s->queue.first->kind == ITEM_KEY)
		ktls_output_cut(conn);
	else
		ktls_output_drop(conn);
	return ret;
}

int ktls_output_send(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	int ret = 0;

	if (s->silent) {
		ktls_output_drop(conn);
		return 0;
	}
	s->no_memory = false;
	if (excludes_data(s))
		ret = set_pause(conn, true);
	while (!ret && s->queue.first) {
		ret = send_item(conn, s->queue.first);
		if (ret)
			break;
		ktls_queue_drop(&s->queue);
		s->under_way = true;
	}
	if (ret && ret != -EAGAIN)
		return give_up(conn, ret);
	/*
	 * A program that waits for room must hear of it, where nothing forbids it to send: ktls_send
	 * sees to the queue first. Who writes by himself would always be faster than we are.
	 */
	if (!s->queue.first)
		s->under_way = false;
	if (conn->queued && s->queue.first)
		(void)set_pause(conn, true);
	else if (!s->shaking && !s->under_way)
		(void)set_pause(conn, false);
	atomic_store(&conn->shadow_busy, s->queue.first || s->shaking);
	atomic_store(&conn->shadow_timed, s->asked || s->shaking);
	return ret;
}
