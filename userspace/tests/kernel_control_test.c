// SPDX-License-Identifier: MIT
/*
 * What comes by way of the kernel that is not data: how a connection ends, wishes to
 * renegotiate, alerts, bad records. Skipped where the kernel cannot carry TLS 1.2.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "link.h"
#include "tap.h"

/* No key ever sealed this. */
static const uint8_t garbage[5 + 32] = { 23, 3, 3, 0, 32, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static struct link l = { .tcp = -1 };

static void check_close(int we_serve)
{
	char buf[8];

	ok(!link_connect(&l, &suites[0], we_serve), "close: connected");
	ok(!ktls_shutdown(l.ours) && peer_receive(&l, buf, 1) == -SSL_ERROR_ZERO_RETURN,
	   "close: the peer has our close_notify");
	SSL_write(l.peer.ssl, "late", 4);
	SSL_shutdown(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, buf, sizeof(buf)) == 4 && !memcmp(buf, "late", 4),
	   "close: what it sent before its own arrives");
	ok(link_receive(&l, buf, 1) == 0 && !ktls_truncated(l.ours), "close: then the end");
	ok(link_receive(&l, buf, 1) == 0, "close: for good");
	ok(ktls_send(l.ours, "x", 1, 0) == -EPIPE && ktls_error(l.ours)[0], "close: sending: %s",
	   ktls_error(l.ours));
	ok(!ktls_shutdown(l.ours), "close: twice");
	link_close(&l);
}

static void check_truncation(int we_serve)
{
	char c;

	ok(!link_connect(&l, &suites[0], we_serve), "truncation: connected");
	peer_send(&l.peer, "x", 1);
	shutdown(l.peer.fd, SHUT_WR);
	ok(link_receive(&l, &c, 1) == 1 && link_receive(&l, &c, 1) == 0, "truncation: the end");
	ok(ktls_truncated(l.ours), "truncation: told");
	ok(ktls_send(l.ours, "y", 1, 0) == 1 && peer_receive(&l, &c, 1) == 1,
	   "truncation: sending goes on");
	link_close(&l);

	ok(!link_connect(&l, &suites[0], we_serve), "a part of a record: connected");
	SSL_write(l.peer.ssl, "xyz", 3);
	peer_flush(&l.peer, peer_output(&l.peer) - 1);
	shutdown(l.peer.fd, SHUT_WR);
	ok(link_receive(&l, &c, 1) == 0 && ktls_truncated(l.ours), "a part of a record: truncated");
	link_close(&l);
}

static void check_reset(void)
{
	struct linger now = { .l_onoff = 1 };
	char c;

	ok(!link_connect(&l, &suites[0], 1), "reset: connected");
	setsockopt(l.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(l.peer.fd);
	ok(link_receive(&l, &c, 1) == -ECONNRESET && strstr(ktls_error(l.ours), "reset"),
	   "reset: %s", ktls_error(l.ours));
	/* An unhandled SIGPIPE would end the test here. */
	ok(ktls_send(l.ours, "x", 1, 0) < 0, "reset: sending: %s", ktls_error(l.ours));
	l.peer.fd = -1;
	link_close(&l);
}

/* Programs that set SSL_OP_NO_RENEGOTIATION are left alone with it. */
static void refuse_renegotiation(int we_serve)
{
	SSL_CTX *ours = we_serve ? l.ctx.server_ctx : l.ctx.client_ctx;

	SSL_CTX_clear_options(l.ctx.server_ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_clear_options(l.ctx.client_ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_options(ours, SSL_OP_NO_RENEGOTIATION);
}

static void check_client_renegotiates(void)
{
	char c;
	ssize_t n;

	refuse_renegotiation(1);
	ok(!link_connect(&l, &suites[0], 1), "renegotiation: connected");
	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	n = link_react(&l, &c, 1);
	ok(n == -SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_NO_RENEGOTIATION,
	   "renegotiation: the client has our no_renegotiation");
	/* OpenSSL takes that for fatal. */
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, &c, 1) == -EPROTO, "renegotiation: it leaves: %s", ktls_error(l.ours));
	link_close(&l);
}

static void check_server_renegotiates(void)
{
	char c;

	refuse_renegotiation(0);
	ok(!link_connect(&l, &suites[0], 0), "HelloRequest: connected");
	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_react(&l, &c, 1) == -SSL_ERROR_SSL &&
	   ERR_GET_REASON(ERR_peek_error()) == SSL_R_NO_RENEGOTIATION,
	   "HelloRequest: the server has our no_renegotiation");
	link_close(&l);
}

static void check_bad_record(void)
{
	char c;

	ok(!link_connect(&l, &suites[0], 1), "bad record: connected");
	ok(send(l.peer.fd, garbage, sizeof(garbage), 0) > 0 && link_receive(&l, &c, 1) == -EBADMSG,
	   "bad record: %s", ktls_error(l.ours));
	ok(link_receive(&l, &c, 1) == -EBADMSG, "bad record: for good");
	ok(ktls_send(l.ours, "x", 1, 0) == -EPIPE && !ktls_shutdown(l.ours),
	   "bad record: nothing follows the alert");
	ok(peer_receive(&l, &c, 1) == -SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) ==
	   SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC, "bad record: the peer is told");
	link_close(&l);
}

/* OpenSSL meets the same garbage and sends a fatal alert. */
static void check_fatal_alert(void)
{
	char c;

	ok(!link_connect(&l, &suites[0], 1), "fatal alert: connected");
	BIO_write(l.peer.rbio, garbage, sizeof(garbage));
	SSL_read(l.peer.ssl, &c, 1);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, &c, 1) == -EPROTO && strstr(ktls_error(l.ours), "mac"),
	   "fatal alert: %s", ktls_error(l.ours));
	ok(ktls_send(l.ours, "x", 1, 0) == -EPIPE, "fatal alert: nothing follows");
	link_close(&l);
}

/* Sealed by the peer, and of no use to anybody. */
static void check_senseless(const char *what, const uint8_t *header, int err)
{
	char c;

	ok(!link_connect(&l, &suites[0], 1), "%s: connected", what);
	ok(send(l.peer.fd, header, 5, 0) == 5 && link_receive(&l, &c, 1) == err, "%s: %s", what,
	   ktls_error(l.ours));
	ok(peer_receive(&l, &c, 1) == -SSL_ERROR_SSL, "%s: the peer is told", what);
	link_close(&l);
}

int main(void)
{
	static const uint8_t too_long[] = { 23, 3, 3, 0xff, 0xff };
	static const uint8_t too_short[] = { 23, 3, 3, 0, 1 };
	static const uint8_t too_old[] = { 23, 3, 1, 0, 64 };
	const char *why;

	if (!(ktls_available(&why) & KTLS_CAN_TLS12))
		return tap_skip(why);
	check_close(0);
	check_close(1);
	check_truncation(0);
	check_truncation(1);
	check_reset();
	check_client_renegotiates();
	check_server_renegotiates();
	check_bad_record();
	check_fatal_alert();
	check_senseless("too long", too_long, -EMSGSIZE);
	check_senseless("too short", too_short, -EBADMSG);
	check_senseless("another version", too_old, -EINVAL);
	pair_free(&l.ctx);
	return tap_done();
}
