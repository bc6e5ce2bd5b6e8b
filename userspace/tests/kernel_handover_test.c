// SPDX-License-Identifier: MIT
/*
 * What goes to the kernel when the handshake is done: the keys, the counters, what has been
 * read too much; and what stays in userspace. Skipped where the kernel cannot carry TLS 1.2.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ktls.h>

#include "link.h"
#include "tap.h"

#define RECORD	1000	/* payload of the records sent with the Finished */

static char text[65536];

static void exchange(struct link *l, const char *what)
{
	char buf[20000];

	peer_send(&l->peer, text, sizeof(buf));
	ok(link_receive(l, buf, sizeof(buf)) == sizeof(buf) && !memcmp(buf, text, sizeof(buf)),
	   "%s: receives", what);
	ok(ktls_send(l->ours, text, sizeof(buf), 0) == sizeof(buf) &&
	   peer_receive(l, buf, sizeof(buf)) == sizeof(buf) && !memcmp(buf, text, sizeof(buf)),
	   "%s: sends", what);
}

/* A link that is closed again, for its session. */
static SSL_SESSION *make_session(struct link *l, const struct suite *suite, int we_serve)
{
	SSL_SESSION *session = NULL;

	if (!link_connect(l, suite, we_serve))
		session = SSL_get1_session(we_serve ? l->peer.ssl : ktls_ssl(l->ours));
	SSL_set_shutdown(l->peer.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	link_close(l);
	return session;
}

/*
 * The peer's Finished with `records` records behind it and `part` bytes of one more, all in
 * one segment; the rest of that one later. A server ends a full handshake, a client that of
 * a session resumed.
 */
static int open_with_leftover(struct link *l, const struct suite *suite, int we_serve,
			      int records, size_t part)
{
	SSL_SESSION *session = we_serve ? make_session(l, suite, 1) : NULL;
	int ret = link_open(l, suite, we_serve, session, KTLS_REQUIRE_KERNEL);
	size_t whole;
	int n;

	SSL_SESSION_free(session);
	if (!ret)
		ret = link_shake(l);
	for (n = 0; !ret && n < records; n++)
		SSL_write(l->peer.ssl, text + n * RECORD, RECORD);
	whole = peer_output(&l->peer);
	if (!ret)
		SSL_write(l->peer.ssl, text + records * RECORD, RECORD);
	peer_flush(&l->peer, whole + part);
	return ret ? ret : link_finish(l);
}

static void check_leftover(const struct suite *suite, int we_serve, int records, size_t part)
{
	struct link l = { .tcp = -1 };
	size_t total = (size_t)records * RECORD;
	char buf[sizeof(text)], what[128];
	int ret = open_with_leftover(&l, suite, we_serve, records, part);

	snprintf(what, sizeof(what), "%s %s: %d records and %zu bytes behind Finished",
		 suite->name, we_serve ? "server" : "client", records, part);
	ok(!ret && ktls_in_kernel(l.ours), "%s: in the kernel %s", what, ktls_error(l.ours));
	if (!ret) {
		ok((!total || link_receive(&l, buf, total) == (ssize_t)total) &&
		   !memcmp(buf, text, total), "%s: they arrive", what);
		ok(ktls_recv(l.ours, buf, 1, 0) == -EAGAIN, "%s: and no more", what);
		peer_flush(&l.peer, peer_output(&l.peer));
		ok(link_receive(&l, buf, RECORD) == RECORD &&
		   !memcmp(buf, text + total, RECORD), "%s: the rest of the last", what);
		exchange(&l, what);
	}
	link_close(&l);
	pair_free(&l.ctx);
}

static void check_resumption(const struct suite *suite, int we_serve)
{
	struct link l = { .tcp = -1 };
	SSL_SESSION *session = make_session(&l, suite, we_serve);
	char what[96];
	int ret;

	snprintf(what, sizeof(what), "%s %s, resumed", suite->name,
		 we_serve ? "server" : "client");
	ret = link_open(&l, suite, we_serve, session, KTLS_REQUIRE_KERNEL);
	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && SSL_session_reused(ktls_ssl(l.ours)), "%s", what);
	exchange(&l, what);
	SSL_SESSION_free(session);
	link_close(&l);
	pair_free(&l.ctx);
}

/* A server forgets no session because the kernel closed the connection. */
static void check_session_cache(void)
{
	struct link l = { .tcp = -1 };
	SSL_SESSION *session;
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_options(l.ctx.server_ctx, SSL_OP_NO_TICKET);
	session = make_session(&l, &suites[0], 1);
	ret = link_open(&l, &suites[0], 1, session, KTLS_REQUIRE_KERNEL);
	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && SSL_session_reused(ktls_ssl(l.ours)),
	   "resumed by session id");
	SSL_SESSION_free(session);
	link_close(&l);
	pair_free(&l.ctx);
}

static void check_fragment_length(void)
{
	struct link l = { .tcp = -1 };
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_tlsext_max_fragment_length(l.ctx.client_ctx, TLSEXT_max_fragment_length_512);
	ok(!link_connect(&l, &suites[0], 1) &&
	   !getsockopt(ktls_fd(l.ours), SOL_KTLS, KTLS_INFO, &info, &len) &&
	   info.max_payload == 512, "max_fragment_length: %u", info.max_payload);
	exchange(&l, "max_fragment_length");
	link_close(&l);
	pair_free(&l.ctx);
}

static void check_refusal(void)
{
	struct link l = { .tcp = -1 };
	const struct suite cbc = { "ECDHE-RSA-AES128-SHA", 0 };
	int fd[2], ret;

	ret = link_connect(&l, &cbc, 1);
	ok(ret == -EOPNOTSUPP && strstr(ktls_error(l.ours), "cipher"), "require-kernel: %s",
	   ktls_error(l.ours));
	ok(link_react(&l, text, 1) == -SSL_ERROR_ZERO_RETURN, "and the peer gets close_notify");
	link_close(&l);

	SSL_CTX_set_min_proto_version(l.ctx.server_ctx, TLS1_3_VERSION);
	l.ours = make_tcp(fd) ? NULL : ktls_new(l.ctx.server_ctx, fd[0], 1, NULL,
						 KTLS_REQUIRE_KERNEL);
	ok(!l.ours == !(ktls_available(NULL) & KTLS_CAN_TLS13), "TLS 1.3 only: %s",
	   ktls_last_error());
	ktls_close(l.ours);
	close(fd[0]);
	close(fd[1]);
	pair_free(&l.ctx);
}

static void check_fallback(const char *what, const struct suite *suite, unsigned int flags)
{
	struct link l = { .tcp = -1 };
	int ret = link_open(&l, suite, 1, NULL, flags);

	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && !ktls_in_kernel(l.ours) && ktls_fd(l.ours) == -1 &&
	   ktls_why_not(l.ours)[0], "%s: %s", what, ktls_why_not(l.ours));
	exchange(&l, what);
	link_close(&l);
	pair_free(&l.ctx);
}

/* The carrier has another owner: the kernel refuses, after the handshake. */
static void check_busy_carrier(void)
{
	struct link l = { .tcp = -1 };
	int ret = link_open(&l, &suites[0], 1, NULL, 0);

	if (setsockopt(l.tcp, SOL_TCP, TCP_ULP, "tls", 4)) {
		skip("no net/tls in this kernel", "the carrier has a ULP");
	} else {
		if (!ret)
			ret = link_shake(&l);
		peer_flush(&l.peer, peer_output(&l.peer));
		ok(!ret && !link_finish(&l) && !ktls_in_kernel(l.ours),
		   "the carrier has a ULP: %s", ktls_why_not(l.ours));
		exchange(&l, "the carrier has a ULP");
	}
	link_close(&l);
	pair_free(&l.ctx);
}

int main(void)
{
	static const struct suite cbc = { "ECDHE-RSA-AES128-SHA", 0 };
	const struct suite *suite;
	const char *why;
	size_t n;
	int s;

	if (!(ktls_available(&why) & KTLS_CAN_TLS12))
		return tap_skip(why);
	for (n = 0; n < sizeof(text); n++)
		text[n] = (char)(n * 31 + n / 256);
	for (suite = suites; suite < suites + sizeof(suites) / sizeof(suites[0]); suite++)
		for (s = 0; s < 2; s++) {
			check_leftover(suite, s, 0, 0);
			check_leftover(suite, s, 1, 0);
			check_leftover(suite, s, 0, 3);
			check_leftover(suite, s, 2, 5);
			check_leftover(suite, s, 25, 700);
			check_resumption(suite, s);
		}
	check_session_cache();
	check_fragment_length();
	check_refusal();
	check_fallback("another cipher", &cbc, 0);
	check_fallback("on demand", &suites[0], KTLS_USERSPACE);
	check_busy_carrier();
	return tap_done();
}
