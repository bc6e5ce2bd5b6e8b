// SPDX-License-Identifier: MIT
/* Other keys: on demand, and before the present ones have protected too much. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "conn.h"
#include "shadow.h"

/* Records between two questions to the kernel: far fewer than any key's last eighth. */
#define ASK_MOST	65536
#define ASK_LEAST	16
#define LIMITS_MS	50	/* how often it is asked what others have sent, where somebody set limits */

void ktls_rekey_done(struct ktls_conn *conn)
{
	struct ktls_rekeying *r = &conn->rekeying;

	atomic_store(&r->tx.bytes, 0);
	atomic_store(&r->tx.records, 0);
	atomic_store(&r->rx.bytes, 0);
	atomic_store(&r->rx.records, 0);
	atomic_store(&r->since_ms, ktls_now_ms());
	atomic_store(&r->ask_at, KTLS_ASK_FIRST);
	atomic_store(&r->has_base, false);
}

/* In userspace OpenSSL seals the data too. */
static int rekey_user(struct ktls_conn *conn)
{
	if (SSL_version(conn->ssl) != TLS1_3_VERSION)
		return ktls_fail(conn, EOPNOTSUPP,
				 "in userspace, TLS 1.2 and DTLS keep their keys: reconnect");
	if (SSL_in_init(conn->ssl))
		return ktls_fail(conn, EAGAIN, "the client's certificate is on its way");
	ERR_clear_error();
	if (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
	    SSL_do_handshake(conn->ssl) != 1)
		return ktls_fail_ssl(conn);
	(void)conn->path->flush(conn);
	ktls_rekey_done(conn);
	return 0;
}

/* A peer that has closed its direction takes data all the same, and of TLS 1.3 other keys. */
static bool may_rekey(const struct ktls_conn *conn)
{
	if (conn->tx_closed || conn->rx_end < 0 ||
	    (conn->shadow && atomic_load(&conn->shadow->closing)))
		return false;
	return !(conn->rx_end || conn->peer_closed) ||
	       (conn->shadow && ktls_shadow_is_tls13(conn));
}

int ktls_rekey(struct ktls_conn *conn)
{
	if (conn->phase != PHASE_OPEN)
		return ktls_fail(conn, ENOTCONN, "the handshake is not done");
	if (!may_rekey(conn))
		return ktls_fail(conn, EPIPE, "rekeying a connection that is closed");
	return conn->shadow ? ktls_shadow_rekey(conn) : rekey_user(conn);
}

int ktls_rekeying(struct ktls_conn *conn)
{
	int ret;

	if (!conn->shadow || conn->rx_end < 0)
		return 0;
	pthread_mutex_lock(&conn->shadow_lock);
	/* Of TLS 1.3: the client's certificate comes, piece by piece. */
	ret = conn->shadow->shaking || conn->shadow->asked || conn->shadow->queue.first ||
	      (SSL_in_init(conn->ssl) && !conn->shadow->retired);
	pthread_mutex_unlock(&conn->shadow_lock);
	return ret;
}

void ktls_rekey_refused(struct ktls_conn *conn)
{
	atomic_store(&conn->rekeying.refused, true);
}

int ktls_rekey_after(struct ktls_conn *conn, uint64_t bytes, uint64_t records,
		     unsigned int seconds)
{
	struct ktls_rekeying *r = &conn->rekeying;

	atomic_store(&r->limits.bytes, bytes);
	atomic_store(&r->limits.records, records);
	atomic_store(&r->limits.ms, (int64_t)seconds * 1000);
	atomic_store(&r->since_ms, ktls_now_ms());
	return 0;
}

/* What the kernel says of the keys; all ones: nothing. */
static uint64_t ask(struct ktls_conn *conn, bool *due)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	*due = false;
	if (getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return ~0ULL;
	*due = info.flags & (KTLS_F_TX_LIMIT | KTLS_F_RX_LIMIT);
	return info.tx_left < info.rx_left ? info.tx_left : info.rx_left;
}

static bool ask_kernel(struct ktls_conn *conn, uint64_t records)
{
	uint64_t left;
	bool due;

	if (!conn->shadow || records < atomic_load(&conn->rekeying.ask_at))
		return false;
	left = ask(conn, &due) / 16;
	left = left < ASK_MOST ? left : ASK_MOST;
	atomic_store(&conn->rekeying.ask_at, records + (left > ASK_LEAST ? left : ASK_LEAST));
	return due;
}

static bool exceeds(struct ktls_rekeying *r, uint64_t bytes, uint64_t records)
{
	uint64_t most_bytes = atomic_load(&r->limits.bytes);
	uint64_t most_records = atomic_load(&r->limits.records);

	return (most_bytes && bytes >= most_bytes) || (most_records && records >= most_records);
}

static bool is_old(struct ktls_rekeying *r)
{
	int64_t ms = atomic_load(&r->limits.ms);

	return ms && ktls_now_ms() - atomic_load(&r->since_ms) >= ms;
}

static void rekey_now(struct ktls_conn *conn)
{
	struct ktls_rekeying *r = &conn->rekeying;

	if (atomic_load(&r->refused) || atomic_exchange(&r->at_work, true))
		return;
	/* The present keys go on, where there are no others to be had. */
	if (!ktls_rekeying(conn) && ktls_rekey(conn) == -EOPNOTSUPP)
		atomic_store(&r->refused, true);
	atomic_store(&r->at_work, false);
}

void ktls_rekey_count(struct ktls_usage *usage, size_t len)
{
	atomic_fetch_add(&usage->bytes, len);
	atomic_fetch_add(&usage->records, 1 + (len - !!len) / RECORD_MAX_PAYLOAD);
}

void ktls_rekey_if_due(struct ktls_conn *conn, struct ktls_usage *usage)
{
	struct ktls_rekeying *r = &conn->rekeying;
	uint64_t records = atomic_load(&usage->records);

	if (exceeds(r, atomic_load(&usage->bytes), records) || ask_kernel(conn, records) ||
	    is_old(r))
		rekey_now(conn);
}

static void set_base(struct ktls_rekeying *r, const struct ktls_info *info)
{
	r->base_bytes[0] = info->tx.bytes;
	r->base_bytes[1] = info->rx.bytes;
	r->base_records[0] = info->tx.records;
	r->base_records[1] = info->rx.records;
	atomic_store(&r->has_base, true);
}

/* Plain readers tell nobody what they read. */
static void note_data(struct ktls_conn *conn, const struct ktls_info *info)
{
	uint64_t data = info->rx.records - info->rx.control_records;

	if (data != conn->control.data_records)
		atomic_store(&conn->control.has_data, true);
	conn->control.data_records = data;
}

void ktls_rekey_check(struct ktls_conn *conn)
{
	struct ktls_rekeying *r = &conn->rekeying;
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);
	bool due;

	/* That it was read is what poll(2) waits for, at a limit. */
	if (getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len))
		return;
	pthread_mutex_lock(&conn->control_lock);
	note_data(conn, &info);
	if (!atomic_load(&r->has_base))
		set_base(r, &info);
	due = info.flags & (KTLS_F_TX_LIMIT | KTLS_F_RX_LIMIT) ||
	      exceeds(r, info.tx.bytes - r->base_bytes[0], info.tx.records - r->base_records[0]) ||
	      exceeds(r, info.rx.bytes - r->base_bytes[1], info.rx.records - r->base_records[1]) ||
	      is_old(r);
	pthread_mutex_unlock(&conn->control_lock);
	if (due && may_rekey(conn))
		rekey_now(conn);
}

int ktls_rekey_timeout(struct ktls_conn *conn)
{
	struct ktls_rekeying *r = &conn->rekeying;
	int64_t ms = atomic_load(&r->limits.ms), left;

	if (!conn->queued || !may_rekey(conn) || atomic_load(&r->refused))
		return -1;
	if (atomic_load(&r->limits.bytes) || atomic_load(&r->limits.records))
		return LIMITS_MS;
	if (!ms)
		return -1;
	left = atomic_load(&r->since_ms) + ms - ktls_now_ms();
	/* When one is under way nothing more is due. */
	if (left <= 0)
		return LIMITS_MS;
	return left < INT_MAX ? (int)left : INT_MAX;
}
