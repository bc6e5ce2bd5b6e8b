// SPDX-License-Identifier: MIT
/* Handshakes and updates that we begin, and what has to be sent again. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "conn.h"
#include "datagram.h"
#include "shadow.h"

#define HELLO_REQUEST		0
#define MESSAGE_HEADER		4

/* A HelloRequest of DTLS that may be lost (rfc6347 4.2.4). */
#define ASK_AGAIN_MS		1000
#define ASKS_MAX		10

/* When somebody else writes, we look for room so often: no event tells us of it. */
#define ROOM_MS			5
#define LOOK_MS			1000

static int settle(struct ktls_conn *conn, int ret)
{
	int err = ktls_output_collect(conn);

	if (!ret)
		ret = err;
	err = ktls_output_send(conn);
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
	return ktls_output_queue(conn, ITEM_RECORD, RECORD_HANDSHAKE, s->request, sizeof(s->request));
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
	ktls_shadow_grant(conn);
	if (!ktls_shadow_is_dtls(conn))
		return ktls_output_queue(conn, ITEM_RECORD, RECORD_HANDSHAKE, request, sizeof(request));
	s->asks = 1;
	s->ask_again_ms = ktls_now_ms() + ASK_AGAIN_MS;
	ERR_clear_error();
	return SSL_renegotiate(conn->ssl) == 1 ? ktls_shadow_go_on(conn) : ktls_fail_ssl(conn);
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

/* The peer has not answered for so long: in the middle of a handshake nobody knows its keys. */
static int give_up(struct ktls_conn *conn, int ret)
{
	conn->shadow->retired = true;
	conn->rx_end = ret;
	ktls_output_fail(conn);
	return ret;
}

static int repeat_flight(struct ktls_conn *conn)
{
	struct timeval left;

	if (conn->shadow->asked)
		return ask_again(conn);
	if (!conn->shadow->shaking ||
	    DTLSv1_get_timeout(conn->ssl, &left) != 1 || left.tv_sec || left.tv_usec)
		return 0;
	ERR_clear_error();
	return DTLSv1_handle_timeout(conn->ssl) < 0 ? give_up(conn, ktls_fail_ssl(conn)) : 0;
}

static bool is_key_due(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	return !getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len) &&
	       info.flags & KTLS_F_RX_KEY_DUE;
}

/* The answer may lie behind data that nobody has read. */
static bool has_input(const struct ktls_conn *conn)
{
	struct pollfd pfd = { .fd = conn->fd, .events = POLLIN };

	/* Datagrams that wait for a key say all the time that they can be read. */
	if (ktls_shadow_is_dtls(conn) && is_key_due(conn))
		return false;
	return poll(&pfd, 1, 0) > 0 && pfd.revents & POLLIN;
}

/*
 * A peer that sends data for ever does not keep us from our own for ever: when the handshake's time
 * is over, only what may have come by then is still looked at. Datagrams nobody promised to keep.
 */
static bool may_have_arrived(const struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info), room_len = sizeof(int);
	int room = 0;

	if (ktls_now_ms() < s->end_ms)
		return true;
	if (ktls_shadow_is_dtls(conn) || getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return false;
	if (!s->arrived) {
		(void)getsockopt(conn->wire.fd, SOL_SOCKET, SO_RCVBUF, &room, &room_len);
		s->arrived = info.rx.bytes + (unsigned int)room;
	}
	return info.rx.bytes - info.rx_queued < s->arrived;
}

/* A client may ignore a HelloRequest (rfc5246 7.4.1.1); nobody the rest of a handshake. */
static int mind_deadline(struct ktls_conn *conn)
{
	struct ktls_shadow *s = conn->shadow;

	if (!(s->asked || s->shaking) || ktls_now_ms() < s->deadline_ms)
		return 0;
	if (!s->shaking) {
		s->asked = false;
		ktls_rekey_refused(conn);
		return 0;
	}
	if (!has_input(conn) || !may_have_arrived(conn))
		return give_up(conn, ktls_fail(conn, ETIMEDOUT,
					       "the peer does not go on with its handshake"));
	s->deadline_ms = ktls_now_ms() + LOOK_MS;
	return 0;
}

static int mind_time(struct ktls_conn *conn)
{
	int ret = ktls_shadow_is_dtls(conn) ? repeat_flight(conn) : 0;

	/* Where we have sent no flight yet no timer of DTLS runs. */
	return ret ? ret : mind_deadline(conn);
}

/* It sleeps until something comes, and what we leave it does not come. */
static void tell_keeper(struct ktls_conn *conn)
{
	if (atomic_load(&conn->shadow_busy) || atomic_load(&conn->shadow_timed))
		ktls_keep_look(conn);
}

int ktls_shadow_run(struct ktls_conn *conn)
{
	int ret = 0;

	if (!conn->shadow)
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = mind_time(conn);
	if (!ret && !conn->shadow->retired && conn->rx_end >= 0)
		ret = ktls_shadow_go_on(conn);
	ret = settle(conn, ret);
	pthread_mutex_unlock(&conn->shadow_lock);
	tell_keeper(conn);
	return ret;
}

int ktls_shadow_push(struct ktls_conn *conn)
{
	int ret;

	if (!conn->shadow ||
	    !(atomic_load(&conn->shadow_busy) || atomic_load(&conn->shadow_timed)))
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = settle(conn, mind_time(conn));
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_has_output(struct ktls_conn *conn)
{
	bool ret;

	if (!conn->shadow)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = conn->shadow->queue.first || conn->shadow->no_memory;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

bool ktls_shadow_awaits_room(struct ktls_conn *conn)
{
	bool ret;

	if (!conn->shadow)
		return false;
	pthread_mutex_lock(&conn->shadow_lock);
	ret = conn->shadow->queue.first && !conn->shadow->no_memory;
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

static int time_until(int64_t when_ms)
{
	int64_t wait = when_ms - ktls_now_ms();

	return wait < 0 ? 0 : (int)wait;
}

static int until_deadline(const struct ktls_conn *conn)
{
	int wait = time_until(conn->shadow->deadline_ms);

	/* Beside plain readers nobody else notices the peer's end. */
	return conn->shadow->shaking && conn->queued && wait > LOOK_MS ? LOOK_MS : wait;
}

/* Likewise of datagrams, which may go again before. */
static int until_flight(const struct ktls_conn *conn)
{
	int wait = until_deadline(conn), flight;
	struct timeval left;

	if (DTLSv1_get_timeout(conn->ssl, &left) != 1)
		return wait;
	flight = (int)(left.tv_sec * 1000 + (left.tv_usec + 999) / 1000);
	return flight < wait ? flight : wait;
}

/* The lock is held. */
static int next_repeat(const struct ktls_conn *conn)
{
	const struct ktls_shadow *s = conn->shadow;

	/* A loop that waits for what the kernel delivers would not hear of room either. */
	if (s->queue.first || s->no_memory)
		return ROOM_MS;
	if (!s->asked && !s->shaking)
		return -1;
	if (!ktls_shadow_is_dtls(conn))
		return until_deadline(conn);
	return s->asked ? time_until(s->ask_again_ms) : until_flight(conn);
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

	if (conn->shadow->cannot)
		return ktls_fail(conn, EOPNOTSUPP,
				 "this af_ktls has no KTLS_PAUSE, which a renegotiation needs: load a newer one");
	if (conn->shadow->refuses)
		return ktls_fail(conn, EOPNOTSUPP,
				 "SSL_OP_NO_RENEGOTIATION is set: TLS 1.2 has no other way to other keys");
	if (conn->shadow->retired)
		return ktls_fail(conn, EOPNOTSUPP, "the peer refuses to renegotiate");
	if (!ktls_shadow_may_renegotiate(conn))
		return ktls_fail(conn, EOPNOTSUPP, "the peer cannot renegotiate securely (rfc5746)");
	if (conn->shadow->shaking || conn->shadow->asked)
		return 0;
	if (ktls_shadow_is_dtls(conn))
		ktls_limit_datagrams(conn, ktls_datagram_room(&conn->wire));
	ktls_shadow_expect(conn, KTLS_HANDSHAKE_RECORDS);
	if (SSL_is_server(conn->ssl))
		return ask_client(conn);
	ERR_clear_error();
	if (SSL_renegotiate(conn->ssl) != 1)
		return ktls_fail_ssl(conn);
	ret = ktls_shadow_go_on(conn);
	return ret;
}

static int update_key(struct ktls_conn *conn)
{
	bool peer_sends = !conn->rx_end && !conn->peer_closed;

	/* One that waits to be sent is as good. */
	if (ktls_queue_has(&conn->shadow->queue, ITEM_KEY))
		return 0;
	ERR_clear_error();
	/* A peer that has closed its direction has no use for another key. */
	if (SSL_key_update(conn->ssl, peer_sends ? SSL_KEY_UPDATE_REQUESTED :
						   SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		return ktls_fail_ssl(conn);
	if (peer_sends)
		ktls_shadow_expect(conn, 1);
	return ktls_shadow_go_on(conn);
}

int ktls_shadow_rekey(struct ktls_conn *conn)
{
	int ret;

	pthread_mutex_lock(&conn->shadow_lock);
	if (ktls_shadow_is_tls13(conn) && SSL_in_init(conn->ssl)) {
		pthread_mutex_unlock(&conn->shadow_lock);
		return ktls_fail(conn, EAGAIN, "the client's certificate is on its way");
	}
	ret = ktls_shadow_is_tls13(conn) ? update_key(conn) : renegotiate(conn);
	ret = settle(conn, ret);
	/* One that waits for room is on its way too. */
	if ((!ret || ret == -EAGAIN) && ktls_shadow_is_tls13(conn))
		ktls_rekey_done(conn);
	pthread_mutex_unlock(&conn->shadow_lock);
	tell_keeper(conn);
	return ret == -EAGAIN ? 0 : ret;
}
