// SPDX-License-Identifier: MIT
/* Application data by way of OpenSSL, when the kernel does not carry the connection. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "conn.h"
#include "datagram.h"

/* Bytes that may wait for TCP: a record of ours, and what alerts and key updates call for. */
#define OUTPUT_MAX	65536

static int explain(struct ktls_conn *conn, const char *doing, int ret)
{
	if (!ret || ret == -EAGAIN || ret == -EINTR)
		return ret;
	if (ret == -ECONNRESET)
		return ktls_fail(conn, ECONNRESET, "the peer reset the connection");
	return ktls_fail(conn, -ret, "%s: %s", doing, strerror(-ret));
}

/* Gives OpenSSL one more record. 1: the stream has ended; -errno. */
static int receive_record(struct ktls_conn *conn, int flags)
{
	ssize_t n;
	int ret;

	while ((ret = ktls_wire_feed(&conn->wire)) == -EAGAIN) {
		n = ktls_wire_fill(&conn->wire, flags);
		if (n < 0)
			return explain(conn, "receiving", (int)n);
		if (!n)
			return 1;
	}
	return ret;
}

static int rx_end(struct ktls_conn *conn, int end)
{
	conn->rx_end = end;
	return end < 0 ? end : 0;
}

/* What the reader had no room for, of a datagram. */
static void drop_rest(struct ktls_conn *conn)
{
	char rest[256];

	if (!ktls_wire_is_datagram(&conn->wire))
		return;
	while (SSL_pending(conn->ssl) > 0 && SSL_read(conn->ssl, rest, sizeof(rest)) > 0)
		;
}

static ssize_t user_recv(struct ktls_conn *conn, void *data, size_t len, int flags)
{
	int want = len > INT_MAX ? INT_MAX : (int)len;
	int n, ret;

	/* What the kernel had received already. */
	if (conn->held)
		return ktls_take_held(conn, data, len);
	for (;;) {
		ERR_clear_error();
		n = SSL_read(conn->ssl, data, want);
		ret = SSL_get_error(conn->ssl, n);
		/* OpenSSL may have answered: an alert, a key update. */
		(void)ktls_wire_flush(&conn->wire, MSG_DONTWAIT);
		if (BIO_ctrl_pending(conn->wire.wbio) > OUTPUT_MAX)
			return rx_end(conn, ktls_fail(conn, EPROTO,
						      "the peer demands answers and takes none"));
		if (ret == SSL_ERROR_NONE) {
			drop_rest(conn);
			ktls_rekey_count(&conn->rekeying.rx, (size_t)n);
			ktls_rekey_if_due(conn, &conn->rekeying.rx);
			return n;
		}
		if (ret == SSL_ERROR_ZERO_RETURN)
			return rx_end(conn, 1);
		if (ret != SSL_ERROR_WANT_READ)
			return rx_end(conn, ktls_fail_ssl(conn));
		ret = receive_record(conn, flags);
		if (ret)
			return ret < 0 ? ret : rx_end(conn, 1);
	}
}

static int flush(struct ktls_conn *conn, int flags)
{
	return explain(conn, "sending", ktls_wire_flush(&conn->wire, flags));
}

/* As much as the kernel would take. */
static size_t user_payload_max(const struct ktls_conn *conn)
{
	size_t max;

	if (!ktls_wire_is_datagram(&conn->wire))
		return RECORD_MAX_PAYLOAD;
	SSL_set_mtu(conn->ssl, (long)ktls_datagram_room(&conn->wire));
	max = DTLS_get_data_mtu(conn->ssl);
	return max < RECORD_MAX_PAYLOAD ? max : RECORD_MAX_PAYLOAD;
}

static int seal(struct ktls_conn *conn, const void *data, size_t len)
{
	int n;

	ERR_clear_error();
	n = SSL_write(conn->ssl, data, (int)len);
	return n == (int)len ? 0 : ktls_fail_ssl(conn);
}

static ssize_t send_datagram(struct ktls_conn *conn, const void *data, size_t len, int flags)
{
	int ret = flush(conn, flags);

	if (ret)
		return ret;
	if (len > user_payload_max(conn))
		return ktls_fail(conn, EMSGSIZE, "the datagram is too long: at most %zu bytes fit",
				 user_payload_max(conn));
	ret = seal(conn, data, len);
	if (ret)
		return ret;
	ret = flush(conn, flags);
	/* What waits for room counts as sent. */
	return ret && ret != -EAGAIN && ret != -EINTR ? ret : (ssize_t)len;
}

/* A record is sealed only when TCP has taken the last: at most one waits. */
static ssize_t user_send(struct ktls_conn *conn, const void *data, size_t len, int flags)
{
	const char *at = data;
	size_t done = 0, n;
	int ret = 0;

	if (ktls_wire_is_datagram(&conn->wire))
		return send_datagram(conn, data, len, flags & MSG_DONTWAIT);
	flags &= MSG_DONTWAIT;
	ktls_rekey_if_due(conn, &conn->rekeying.tx);
	while (done < len) {
		ret = flush(conn, flags);
		if (ret)
			break;
		n = len - done < RECORD_MAX_PAYLOAD ? len - done : RECORD_MAX_PAYLOAD;
		ret = seal(conn, at + done, n);
		if (ret)
			break;
		done += n;
	}
	if (done)
		ktls_rekey_count(&conn->rekeying.tx, done);
	/* If this fails the next call says so: what was sealed counts as sent. */
	if (done && !ret)
		(void)flush(conn, flags);
	return done ? (ssize_t)done : ret;
}

static size_t user_pending(const struct ktls_conn *conn)
{
	int n = SSL_pending(conn->ssl);

	if (conn->held_bytes)
		return conn->held_bytes;
	if (conn->rx_end)
		return 0;
	if (ktls_wire_is_datagram(&conn->wire))
		return conn->wire.end - conn->wire.start;
	return n > 0 ? (size_t)n : ktls_wire_record(&conn->wire);
}

static int user_flush(struct ktls_conn *conn)
{
	return flush(conn, MSG_DONTWAIT);
}

static int user_truncated(const struct ktls_conn *conn)
{
	return conn->rx_end < 0 || (conn->wire.eof && !(SSL_get_shutdown(conn->ssl) & SSL_RECEIVED_SHUTDOWN));
}

static int user_shutdown(struct ktls_conn *conn)
{
	int ret;

	if (!conn->tx_closed && conn->rx_end >= 0)
		SSL_shutdown(conn->ssl);
	conn->tx_closed = true;
	ret = flush(conn, 0);
	if (ret)
		return ret;
	if (ktls_wire_is_datagram(&conn->wire) || !shutdown(conn->wire.fd, SHUT_WR) ||
	    errno == ENOTCONN)
		return 0;
	return explain(conn, "closing", -errno);
}

const struct ktls_path ktls_user_path = {
	.send = user_send,
	.recv = user_recv,
	.sendfile = ktls_copy_file,
	.pending = user_pending,
	.payload_max = user_payload_max,
	.flush = user_flush,
	.truncated = user_truncated,
	.shutdown = user_shutdown,
};
