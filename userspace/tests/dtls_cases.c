// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dtls_cases.h"
#include "wire.h"
#include "link.h"
#include "path.h"
#include "tap.h"

#define FLIGHT_MAX	8	/* datagrams that a side sends in a handshake, at most */

static char buf[65536];

static int carries_both_ways(struct meeting *m, size_t len)
{
	return meeting_carry(m, m->client, m->server, len) &&
	       meeting_carry(m, m->server, m->client, len);
}

static void check_suite(const struct suite *suite, unsigned int flags)
{
	struct meeting m;
	size_t max, len;
	int good = 1;

	ok(!meeting_init(&m, suite->name, suite->ec, flags) && !meeting_connect(&m, NULL),
	   "%s: connects", suite->name);
	if (!m.server) {
		meeting_free(&m);
		return;
	}
	ok(ktls_in_kernel(m.client) == !(flags & KTLS_USERSPACE) &&
	   ktls_in_kernel(m.server) == ktls_in_kernel(m.client) &&
	   !strcmp(ktls_version(m.server), "DTLSv1.2"), "%s: by whom it should", suite->name);
	max = ktls_payload_max(m.client);
	for (len = 1; len < max && len < 3000; len += 293)
		good = good && carries_both_ways(&m, len);
	ok(good, "%s: datagrams both ways", suite->name);
	max = ktls_payload_max(m.server);
	ok(max >= 1000 && meeting_carry(&m, m.server, m.client, max), "%s: %zu bytes", suite->name,
	   max);
	ok(ktls_send(m.server, buf, max + 1, 0) == -EMSGSIZE, "%s: not one more: %s", suite->name,
	   ktls_error(m.server));
	meeting_free(&m);
}

static void check_boundaries(struct meeting *m)
{
	ok(ktls_send(m->client, "first", 5, 0) == 5 && ktls_send(m->client, "2nd", 3, 0) == 3 &&
	   meeting_receive(m, m->server, buf, sizeof(buf)) == 5 &&
	   meeting_receive(m, m->server, buf, sizeof(buf)) == 3, "one read, one datagram");
	ok(ktls_send(m->client, "first", 5, 0) == 5 && ktls_send(m->client, "2nd", 3, 0) == 3 &&
	   meeting_receive(m, m->server, buf, 2) == 2 &&
	   meeting_receive(m, m->server, buf, sizeof(buf)) == 3 && !memcmp(buf, "2nd", 3),
	   "what does not fit is lost");
	ok(ktls_recv(m->server, buf, sizeof(buf), 0) == -EAGAIN, "no more");
}

static void check_file(struct meeting *m)
{
	int file = memfd_create("file", MFD_CLOEXEC);
	size_t len = 3 * ktls_payload_max(m->client) + 17, got = 0;
	off_t offset = 0;
	ssize_t n = 1;

	ok(!ftruncate(file, (off_t)len) &&
	   ktls_sendfile(m->client, file, &offset, len) == (ssize_t)len, "a file is cut up");
	while (got < len && n > 0) {
		n = meeting_receive(m, m->server, buf, sizeof(buf));
		got += n > 0 ? (size_t)n : 0;
	}
	ok(got == len, "and all of it arrives: %zu", got);
	close(file);
}

static void check_garbage(struct meeting *m)
{
	static const uint8_t forged[][40] = {
		{ 0 },
		{ 23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 27 },
		{ 22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 27, 1, 0, 0, 15 },
		{ 22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255 },
		{ 20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1 },
		{ 21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 27, 2, 40 },
	};
	size_t i;

	for (i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		(void)!send(m->path.far, forged[i], sizeof(forged[i]), 0);
		(void)!send(m->path.near, forged[i], sizeof(forged[i]), 0);
	}
	ok(carries_both_ways(m, 100), "garbage disturbs nobody");
}

static void check_close(struct meeting *m)
{
	ok(!ktls_shutdown(m->client) && ktls_send(m->client, "x", 1, 0) == -EPIPE,
	   "closed: nothing is sent");
	ok(meeting_receive(m, m->server, buf, sizeof(buf)) == 0 && !ktls_truncated(m->server),
	   "closed: the peer reads the end");
	ok(ktls_recv(m->server, buf, 1, 0) == 0, "closed: for good");
}

static void check_data(unsigned int flags)
{
	struct meeting m;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags) && !meeting_connect(&m, NULL),
	   "connects");
	check_boundaries(&m);
	check_file(&m);
	check_garbage(&m);
	check_close(&m);
	meeting_free(&m);
}

/* Each datagram of the handshake is lost once, or comes behind the next. */
static void check_losses(unsigned int flags, SSL_SESSION *session, struct meeting *m,
			 const char *what)
{
	unsigned int i, from;
	int ret;

	for (from = 0; from < 2; from++)
		for (i = 0; i < 2 * FLIGHT_MAX; i++) {
			if (i < FLIGHT_MAX)
				m->path.lost[from] = 1ULL << i;
			else
				m->path.late[from] = 1ULL << (i - FLIGHT_MAX);
			ret = meeting_connect(m, session);
			path_mend(&m->path);
			ok(!ret && carries_both_ways(m, 500) &&
			   ktls_in_kernel(m->server) == !(flags & KTLS_USERSPACE),
			   "%s: the %s's datagram %u is %s: %d %s", what, from ? "server" : "client",
			   i % FLIGHT_MAX, i < FLIGHT_MAX ? "lost" : "late", ret,
			   ktls_error(m->client));
			meeting_part(m);
		}
}

static void check_lossy_handshakes(unsigned int flags)
{
	SSL_SESSION *session;
	struct meeting m;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags), "listens");
	check_losses(flags, NULL, &m, "full");
	ok(!meeting_connect(&m, NULL), "connects");
	session = SSL_get1_session(ktls_ssl(m.client));
	meeting_part(&m);
	ok(!meeting_connect(&m, session) && SSL_session_reused(ktls_ssl(m.client)), "resumes");
	meeting_part(&m);
	check_losses(flags, session, &m, "resumed");
	SSL_SESSION_free(session);
	meeting_free(&m);
}

/* Data that overtakes the client's Finished in a resumption. */
static void check_early(unsigned int flags)
{
	SSL_SESSION *session;
	struct meeting m;
	int ret;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags) && !meeting_connect(&m, NULL),
	   "early: a session");
	session = SSL_get1_session(ktls_ssl(m.client));
	meeting_part(&m);
	/* The client's last flight is late by one datagram of data. */
	m.path.late_type = RECORD_CHANGE_CIPHER_SPEC;
	ret = meeting_begin(&m, session);
	while (!ret && ktls_step(m.client) == -EAGAIN)
		meeting_pass(&m);
	ok(!ret && ktls_send(m.client, "early", 5, 0) == 5, "early: the client is done: %d", ret);
	while (!ret && !m.server)
		meeting_pass(&m);
	ok(!ret && meeting_receive(&m, m.server, buf, sizeof(buf)) == 5 && !memcmp(buf, "early", 5),
	   "early: what came before the Finished is there");
	ok(carries_both_ways(&m, 300), "early: it goes on");
	SSL_SESSION_free(session);
	meeting_free(&m);
}

/*
 * rfc6347 4.2.8: a client that has forgotten all begins anew, from the same port. (In userspace
 * the old connection has a socket of its own, which gets what comes from there.)
 */
static void check_renewal(unsigned int flags, int attended)
{
	static const uint8_t alert[] = { ALERT_WARNING, SSL_AD_USER_CANCELLED };
	struct ktls_conn *old, *client;
	struct meeting m;
	int ret;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags) && !meeting_connect(&m, NULL),
	   "renewal: connects");
	old = m.server;
	client = m.client;
	m.server = NULL;
	ok(ktls_send(client, "unread", 6, 0) == 6, "renewal: something is under way");
	/* And something beside it, that nobody attends to. */
	if (attended)
		ok(!ktls_attend(old) && ktls_send_record(ktls_fd(client), RECORD_ALERT, alert,
							 sizeof(alert), 0) == sizeof(alert),
		   "renewal: and an alert");
	m.client = ktls_new(m.client_ctx, m.udp[0], 0, NULL, flags);
	ktls_close(client);
	ret = meeting_settle(&m);
	ok(!ret && m.server != old && carries_both_ways(&m, 200), "renewal: again: %d", ret);
	do
		ret = (int)ktls_recv(old, buf, sizeof(buf), MSG_DONTWAIT);
	while (ret > 0);
	ok(ret == -ECONNRESET, "renewal: the old: %d %s", ret, ktls_error(old));
	ktls_close(old);
	ok(carries_both_ways(&m, 200), "renewal: the old one's end disturbs nobody");
	meeting_free(&m);
}

/* Nothing is kept of who has not returned a cookie, and little is sent to him. */
/* A client is gone in the middle of its handshake, and another comes from its address. */
static void check_abandoned(unsigned int flags)
{
	struct meeting m;
	int rounds;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags) && !meeting_begin(&m, NULL),
	   "abandoned: begins");
	for (rounds = 0; rounds < 100 && ktls_listener_timeout(m.listener) < 0; rounds++) {
		(void)ktls_step(m.client);
		meeting_pass(&m);
	}
	ok(ktls_listener_timeout(m.listener) >= 0 && !m.server, "abandoned: is under way");
	meeting_part(&m);
	ok(!meeting_connect(&m, NULL) && carries_both_ways(&m, 100), "abandoned: the next gets in");
	meeting_free(&m);
}

static void check_cookie(unsigned int flags)
{
	static uint8_t hello[] = {
		22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54,
		1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, 254, 253,
		[27 + 32] = 0, 0, 0, 2, 0xc0, 0x2f, 1, 0,
	};
	uint8_t reply[300];
	struct meeting m;
	struct pollfd pfd;
	ssize_t n;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags), "cookie: listens");
	pfd = (struct pollfd){ .fd = m.path.far, .events = POLLIN };
	(void)!send(m.path.far, hello, sizeof(hello), 0);
	ok(!ktls_listener_accept(m.listener, 0) && errno == EAGAIN &&
	   poll(&pfd, 1, 1000) == 1, "cookie: a hello without one is answered");
	n = recv(m.path.far, reply, sizeof(reply), 0);
	ok(n > 25 && n <= (ssize_t)sizeof(hello) && reply[0] == 22 && reply[13] == 3,
	   "cookie: by a HelloVerifyRequest of %zd bytes", n);
	ok(ktls_listener_timeout(m.listener) == -1, "cookie: and is forgotten");
	meeting_free(&m);
}

#define CROWD	40
#define CROWD_PATIENCE_MS	60000

static void check_crowd(unsigned int flags)
{
	struct ktls_conn *clients[CROWD], *servers[CROWD];
	int udp[CROWD], done = 0, good = 1, i;
	int64_t limit;
	struct meeting m;
	char c;

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags), "crowd: listens");
	limit = ktls_now_ms() + CROWD_PATIENCE_MS;
	for (i = 0; i < CROWD; i++) {
		udp[i] = udp_new();
		udp_join(udp[i], m.udp[1]);
		clients[i] = ktls_new(m.client_ctx, udp[i], 0, NULL, flags);
		servers[i] = NULL;
	}
	while (done < CROWD && ktls_now_ms() < limit) {
		for (i = 0; i < CROWD; i++)
			(void)ktls_step(clients[i]);
		servers[done] = ktls_listener_accept(m.listener, 1);
		done += servers[done] != NULL;
	}
	ok(done == CROWD, "crowd: all are in: %d", done);
	for (i = 0; i < CROWD; i++) {
		c = (char)i;
		good = good && !ktls_handshake(clients[i], 5000) &&
		       ktls_send(clients[i], &c, 1, 0) == 1;
	}
	for (i = 0; good && i < done; i++) {
		struct pollfd pfd = { .fd = ktls_poll_fd(servers[i]), .events = POLLIN };

		good = poll(&pfd, 1, 5000) == 1 && ktls_recv(servers[i], &c, 1, 0) == 1 &&
		       ktls_send(servers[i], &c, 1, 0) == 1;
		ktls_close(servers[i]);
	}
	for (i = 0; good && i < CROWD; i++) {
		struct pollfd pfd = { .fd = ktls_poll_fd(clients[i]), .events = POLLIN };

		good = poll(&pfd, 1, 5000) == 1 && ktls_recv(clients[i], &c, 1, 0) == 1 && c == i;
	}
	ok(good, "crowd: each gets what it sent");
	for (i = 0; i < CROWD; i++) {
		ktls_close(clients[i]);
		close(udp[i]);
	}
	meeting_free(&m);
}

struct blocking {
	SSL_CTX *ctx;
	int udp;
	unsigned int flags;
	struct ktls_conn *conn;
};

static void *accept_blocking(void *arg)
{
	struct blocking *b = arg;

	b->conn = ktls_accept(b->ctx, b->udp, b->flags);
	return NULL;
}

/* Two connected sockets, the calls that wait. */
static void check_connected(unsigned int flags)
{
	struct blocking b = { .flags = flags, .udp = udp_new() };
	struct ktls_conn *client;
	struct meeting m;
	pthread_t thread;
	int udp = udp_new();

	ok(!meeting_init(&m, suites[0].name, suites[0].ec, flags), "connected: contexts");
	udp_join(udp, b.udp);
	udp_join(b.udp, udp);
	b.ctx = m.server_ctx;
	pthread_create(&thread, NULL, accept_blocking, &b);
	client = ktls_connect(m.client_ctx, udp, NULL, flags);
	pthread_join(thread, NULL);
	ok(client && b.conn, "connected: %s", client ? "both" : ktls_last_error());
	if (client && b.conn) {
		m.client = client;
		m.server = b.conn;
		m.path.near = udp_new();
		m.udp[0] = udp;
		ok(carries_both_ways(&m, 900), "connected: datagrams both ways");
	}
	close(b.udp);
	meeting_free(&m);
}

int dtls_cases(unsigned int flags)
{
	size_t i;

	for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		check_suite(&suites[i], flags);
	check_data(flags);
	check_cookie(flags);
	check_abandoned(flags);
	check_connected(flags);
	check_early(flags);
	if (!(flags & KTLS_USERSPACE)) {
		check_renewal(flags, 0);
		check_renewal(flags, 1);
	}
	check_crowd(flags);
	check_lossy_handshakes(flags);
	return tap_done();
}
