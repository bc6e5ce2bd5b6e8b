// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "link.h"
#include "rekey_cases.h"
#include "tap.h"

#define TEXT		20000
#define ROUNDS_MAX	200

static char text[TEXT];

/* What either side has read, and how its last call ended. */
struct seen {
	size_t ours, theirs;
	ssize_t our_end;
	int their_end, their_reason;
	char our_text[4 * TEXT], their_text[4 * TEXT];
};

static struct seen seen;

static void move_ours(struct link *l)
{
	ssize_t n = 0;

	(void)ktls_step(l->ours);
	while (seen.ours < sizeof(seen.our_text) &&
	       (n = ktls_recv(l->ours, seen.our_text + seen.ours, sizeof(seen.our_text) - seen.ours,
			      MSG_DONTWAIT)) > 0)
		seen.ours += (size_t)n;
	seen.our_end = n;
}

static void move_theirs(struct link *l)
{
	int n = 1;

	peer_fill(&l->peer);
	ERR_clear_error();
	while (seen.theirs < sizeof(seen.their_text) &&
	       (n = SSL_read(l->peer.ssl, seen.their_text + seen.theirs,
			     (int)(sizeof(seen.their_text) - seen.theirs))) > 0)
		seen.theirs += (size_t)n;
	seen.their_end = SSL_get_error(l->peer.ssl, n);
	if (ERR_peek_error())
		seen.their_reason = ERR_GET_REASON(ERR_peek_error());
	peer_flush(&l->peer, peer_output(&l->peer));
}

/* TCP may take its time, for a round at least. */
static void settle(struct link *l, int rounds)
{
	while (rounds--) {
		struct pollfd pfd[] = {
			{ .fd = ktls_poll_fd(l->ours), .events = POLLIN },
			{ .fd = l->peer.fd, .events = POLLIN },
		};

		poll(pfd, 2, 5);
		move_ours(l);
		move_theirs(l);
	}
}

static void settle_ours(struct link *l)
{
	int i;

	for (i = 0; i < 5; i++) {
		poll(&(struct pollfd){ .fd = ktls_poll_fd(l->ours), .events = POLLIN }, 1, 5);
		move_ours(l);
	}
}

/* All of it, though our end does not read before we do. */
static void flush_hard(struct link *l)
{
	static char out[1 << 20];
	int len = BIO_read(l->peer.wbio, out, sizeof(out)), done = 0;
	ssize_t n;

	while (done < len) {
		n = send(l->peer.fd, out + done, (size_t)(len - done), MSG_NOSIGNAL);
		if (n > 0)
			done += (int)n;
		else if (errno != EAGAIN)
			break;
		else
			poll(&(struct pollfd){ .fd = l->peer.fd, .events = POLLOUT }, 1, 5);
		peer_fill(&l->peer);
	}
}

/* Text both ways: 1 when it came as it was. */
static int carries(struct link *l)
{
	size_t sent = 0;
	ssize_t n;
	int i;

	seen.ours = seen.theirs = 0;
	if (SSL_write(l->peer.ssl, text, TEXT) != TEXT)
		return 0;
	peer_flush(&l->peer, peer_output(&l->peer));
	for (i = 0; i < ROUNDS_MAX && (seen.ours < TEXT || seen.theirs < TEXT); i++) {
		n = sent < TEXT ? ktls_send(l->ours, text + sent, TEXT - sent, MSG_DONTWAIT) : 0;
		sent += n > 0 ? (size_t)n : 0;
		settle(l, 1);
	}
	if (i == ROUNDS_MAX)
		printf("# sent %zu (%zd), ours %zu (%zd, %s), theirs %zu (%d)\n", sent, n, seen.ours, seen.our_end,
		       ktls_error(l->ours), seen.theirs, seen.their_end);
	return i < ROUNDS_MAX && !memcmp(seen.our_text, text, TEXT) &&
	       !memcmp(seen.their_text, text, TEXT);
}

static struct ktls_info info_of(const struct link *l)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	getsockopt(ktls_fd(l->ours), SOL_KTLS, KTLS_INFO, &info, &len);
	return info;
}

static int rekeyed(const struct link *l, unsigned int tx, unsigned int rx)
{
	struct ktls_info info = info_of(l);

	if (info.tx.rekeys != tx || info.rx.rekeys != rx)
		printf("# rekeys %u %u\n", info.tx.rekeys, info.rx.rekeys);
	return info.tx.rekeys == tx && info.rx.rekeys == rx;
}

static struct link start(int tls13, size_t suite, int we_serve)
{
	struct link l = { .tcp = -1, .tls13 = tls13 };
	int ret = link_connect(&l, &suites[suite], we_serve);

	ok(!ret && ktls_in_kernel(l.ours) &&
	   SSL_version(ktls_ssl(l.ours)) == (tls13 ? TLS1_3_VERSION : TLS1_2_VERSION),
	   "%s %s: in the kernel %s", tls13 ? suites13[suite] : suites[suite].name,
	   we_serve ? "server" : "client", l.ours ? ktls_error(l.ours) : "");
	return l;
}

static void stop(struct link *l)
{
	link_close(l);
	pair_free(&l->ctx);
	memset(l, 0, sizeof(*l));
}

/* ---- TLS 1.3 ---- */

static void peer_updates(struct link *l, int type)
{
	SSL_key_update(l->peer.ssl, type);
	SSL_do_handshake(l->peer.ssl);
	peer_flush(&l->peer, peer_output(&l->peer));
}

static void check_key_updates(size_t suite, int we_serve)
{
	struct link l = start(1, suite, we_serve);
	int i, good = 1;

	ok(carries(&l), "KeyUpdate: before");
	peer_updates(&l, SSL_KEY_UPDATE_NOT_REQUESTED);
	ok(carries(&l) && rekeyed(&l, 0, 1), "KeyUpdate: the peer's");
	peer_updates(&l, SSL_KEY_UPDATE_REQUESTED);
	ok(carries(&l) && rekeyed(&l, 1, 2), "KeyUpdate: the peer's that asks for ours");
	/* OpenSSL answers with its next data. */
	ok(!ktls_rekey(l.ours) && carries(&l) && carries(&l) && rekeyed(&l, 2, 3),
	   "KeyUpdate: ours, and the peer's answer");
	for (i = 0; i < 20; i++) {
		peer_updates(&l, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		good = good && !ktls_rekey(l.ours) && carries(&l);
	}
	ok(good, "KeyUpdate: both at once, again and again");
	stop(&l);
}

static void check_many(int we_serve)
{
	struct link l = start(1, 0, we_serve);
	int i;

	for (i = 0; i < 1000; i++) {
		if (i % 2)
			peer_updates(&l, i % 4 == 1 ? SSL_KEY_UPDATE_REQUESTED :
						      SSL_KEY_UPDATE_NOT_REQUESTED);
		else if (ktls_rekey(l.ours))
			break;
		settle(&l, 2);
		if (i % 10 == 0 && !carries(&l))
			break;
	}
	/* One answer of OpenSSL's may be to many. */
	ok(i == 1000 && carries(&l) && info_of(&l).tx.rekeys == 750 && info_of(&l).rx.rekeys >= 550,
	   "1000 rekeys in one connection: %d, %u ours, %u the peer's", i, info_of(&l).tx.rekeys,
	   info_of(&l).rx.rekeys);
	stop(&l);
}

static void check_storm(void)
{
	struct link l = start(1, 0, 1);
	int i;

	seen.our_end = -EAGAIN;
	for (i = 0; i < 5000 && seen.our_end == -EAGAIN; i++) {
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
		peer_flush(&l.peer, peer_output(&l.peer));
		move_ours(&l);
	}
	ok(seen.our_end == -EPROTO && i > 100, "KeyUpdates without end: %d, %s", i,
	   ktls_error(l.ours));
	move_theirs(&l);
	ok(seen.their_end == SSL_ERROR_SSL, "and the peer is told");
	stop(&l);
}

static SSL_SESSION *latest;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(latest);
	latest = session;
	return 1;
}

/* Tickets reach OpenSSL behind the handshake, and are good. */
static void check_tickets(void)
{
	struct link l = { .tcp = -1, .tls13 = 1 };
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_session_cache_mode(l.ctx.client_ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(l.ctx.client_ctx, keep_session);
	ret = link_connect(&l, &suites[0], 0);
	ok(!ret && carries(&l) && latest && SSL_SESSION_is_resumable(latest), "a ticket comes");
	SSL_new_session_ticket(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	ret = latest == SSL_get0_session(ktls_ssl(l.ours));
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(carries(&l), "and one later");
	link_close(&l);
	ret = link_open(&l, &suites[0], 0, latest, KTLS_REQUIRE_KERNEL);
	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && SSL_session_reused(ktls_ssl(l.ours)) && carries(&l),
	   "it resumes");
	SSL_SESSION_free(latest);
	latest = NULL;
	stop(&l);
}

static int accept_any(int good, X509_STORE_CTX *store)
{
	(void)good;
	(void)store;
	return 1;
}

static void check_late_certificate(int we_serve)
{
	struct link l = { .tcp = -1, .tls13 = 1 };
	SSL *server;
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_post_handshake_auth(l.ctx.client_ctx, 1);
	ret = link_connect(&l, &suites[0], we_serve);
	ok(!ret && carries(&l), "post-handshake authentication: connected");
	server = we_serve ? ktls_ssl(l.ours) : l.peer.ssl;
	SSL_set_verify(server, SSL_VERIFY_PEER, accept_any);
	ret = SSL_verify_client_post_handshake(server);
	if (we_serve)
		ret = ret == 1 && !ktls_step(l.ours);
	else
		SSL_do_handshake(server);
	settle(&l, 5);
	ok(ret == 1 && SSL_get0_peer_certificate(server) && carries(&l),
	   "post-handshake authentication: the %s has the client's certificate",
	   we_serve ? "kernel's server" : "peer");
	stop(&l);
}

/* A client that has a ticket good for early data meets a server of the library. */
static void check_early_data(void)
{
	struct link l = { .tcp = -1, .tls13 = 1 };
	size_t n = 0;
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_session_cache_mode(l.ctx.client_ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(l.ctx.client_ctx, keep_session);
	SSL_CTX_set_max_early_data(l.ctx.server_ctx, 16384);
	ret = link_connect(&l, &suites[0], 1);
	ok(!ret && carries(&l) && latest && !SSL_SESSION_get_max_early_data(latest),
	   "early data: our tickets do not offer it");
	SSL_set_shutdown(l.peer.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	link_close(&l);
	SSL_SESSION_set_max_early_data(latest, 16384);
	ret = link_open(&l, &suites[0], 1, latest, KTLS_REQUIRE_KERNEL);
	ok(SSL_write_early_data(l.peer.ssl, "early", 5, &n) == 1 && n == 5, "early data: sent");
	peer_flush(&l.peer, peer_output(&l.peer));
	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && ktls_in_kernel(l.ours) &&
	   SSL_get_early_data_status(l.peer.ssl) == SSL_EARLY_DATA_REJECTED && carries(&l),
	   "early data: refused, and the connection goes on: %d %s", ret, ktls_error(l.ours));
	SSL_SESSION_free(latest);
	latest = NULL;
	stop(&l);
}

/* ---- TLS 1.2 ---- */

static void peer_renegotiates(struct link *l, int abbreviated)
{
	if (abbreviated)
		SSL_renegotiate_abbreviated(l->peer.ssl);
	else
		SSL_renegotiate(l->peer.ssl);
	SSL_do_handshake(l->peer.ssl);
	peer_flush(&l->peer, peer_output(&l->peer));
}

static void check_renegotiations(size_t suite, int we_serve)
{
	struct link l = start(0, suite, we_serve);
	int i, good = 1;

	if (we_serve)
		SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	else
		SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	ok(carries(&l), "renegotiation: before");
	peer_renegotiates(&l, 0);
	settle(&l, 6);
	ok(!SSL_renegotiate_pending(l.peer.ssl) && rekeyed(&l, 1, 1) && carries(&l),
	   "renegotiation: the peer's: %zd %s", seen.our_end, ktls_error(l.ours));
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours), "renegotiation: ours begins: %s",
	   ktls_error(l.ours));
	settle(&l, 6);
	ok(!ktls_rekeying(l.ours) && rekeyed(&l, 2, 2) && carries(&l), "renegotiation: ours: %zd %s",
	   seen.our_end, ktls_error(l.ours));
	peer_renegotiates(&l, 1);
	settle(&l, 6);
	ok(rekeyed(&l, 3, 3) && SSL_session_reused(l.peer.ssl) && carries(&l),
	   "renegotiation: the peer's, resumed");
	for (i = 0; i < 6 && good; i++) {
		if (i % 2)
			peer_renegotiates(&l, 0);
		else
			good = !ktls_rekey(l.ours);
		good = good && (settle(&l, 6), carries(&l));
	}
	ok(good && rekeyed(&l, 9, 9), "renegotiation: again and again: %d", i);
	stop(&l);
}

/* Data that is under way when the handshake begins, in either direction. */
static void check_data_between(int we_serve)
{
	struct link l = start(0, 0, we_serve);
	ssize_t n;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	seen.ours = seen.theirs = 0;
	ok(ktls_send(l.ours, text, 1000, 0) == 1000 && !ktls_rekey(l.ours), "data between: begins");
	peer_send(&l.peer, text, 1000);
	n = ktls_send(l.ours, text, 1000, MSG_DONTWAIT);
	ok(we_serve ? n == 1000 : n == -EAGAIN, "data between: %s",
	   we_serve ? "until the client has begun it may go" : "ours waits");
	settle(&l, 6);
	ok(seen.ours == 1000 && seen.theirs == (we_serve ? 2000U : 1000U) && rekeyed(&l, 1, 1) &&
	   !memcmp(seen.our_text, text, 1000) && carries(&l), "data between: all of it came");
	stop(&l);
}

/* The peer's side in a thread: echoes nothing, takes all, sends a little before each answer. */
struct answering {
	struct link *l;
	size_t got, sent;
	atomic_bool stop;
};

static void *answer(void *arg)
{
	struct answering *a = arg;
	struct peer *peer = &a->l->peer;
	char buf[16384];
	int n;

	while (!a->stop) {
		poll(&(struct pollfd){ .fd = peer->fd, .events = POLLIN }, 1, 10);
		peer_fill(peer);
		/* So that data lies before what has to be received to go on. */
		if (peer_output(peer) == 0 && !SSL_in_init(peer->ssl) && a->sent < 3000) {
			SSL_write(peer->ssl, text + a->sent, 1000);
			a->sent += 1000;
		}
		ERR_clear_error();
		while ((n = SSL_read(peer->ssl, buf, sizeof(buf))) > 0)
			a->got += (size_t)n;
		flush_hard(a->l);
	}
	return NULL;
}

/* One thread that blocks: it sends, so it has to receive what the new keys wait for. */
static void check_single_thread(int we_serve)
{
	struct link l = start(0, 0, we_serve);
	struct answering a = { .l = &l };
	pthread_t thread;
	char buf[3000];
	int i;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	pthread_create(&thread, NULL, answer, &a);
	ok(!ktls_rekey(l.ours) && ktls_send(l.ours, text, 1000, 0) == 1000,
	   "single thread: sends while keys change: %s", ktls_error(l.ours));
	/* A server's data goes until the client has begun. */
	for (i = 0; i < 100 && ktls_rekeying(l.ours); i++) {
		usleep(20000);
		(void)ktls_send(l.ours, text, 10, 0);
		if (we_serve)
			(void)ktls_recv(l.ours, buf, 0, MSG_DONTWAIT);
		if (we_serve && i > 5)
			break;
	}
	ok(ktls_recv(l.ours, buf, sizeof(buf), 0) > 0 && !memcmp(buf, text, 1000),
	   "single thread: what came meanwhile is there");
	a.stop = true;
	pthread_join(thread, NULL);
	fcntl(ktls_fd(l.ours), F_SETFL, O_NONBLOCK);
	settle(&l, 6);
	ok(rekeyed(&l, 1, 1) && carries(&l), "single thread: it goes on");
	stop(&l);
}

/*
 * A client that shows a certificate and breaks off before it proves that it is its own. Of TLS 1.3
 * the peer's flight ends in the middle; of TLS 1.2 it refuses to go on.
 */
static void check_unproved(int tls13)
{
	struct link l = { .tcp = -1, .tls13 = tls13 };
	X509 *certificate;
	char *flight;
	size_t len;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_post_handshake_auth(l.ctx.client_ctx, 1);
	ok(!link_connect(&l, &suites[0], 1) && carries(&l), "unproved: connected");
	SSL_set_verify(ktls_ssl(l.ours), SSL_VERIFY_PEER, accept_any);
	SSL_set_options(l.peer.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	if (tls13)
		ok(SSL_verify_client_post_handshake(ktls_ssl(l.ours)) == 1, "unproved: asked");
	else
		ok(!ktls_rekey(l.ours), "unproved: asked");
	for (len = 0; len < 2000; ) {
		move_ours(&l);
		peer_fill(&l.peer);
		(void)SSL_read(l.peer.ssl, seen.their_text, 1);
		len = (size_t)BIO_get_mem_data(l.peer.wbio, &flight);
		if (len < 500)
			peer_flush(&l.peer, len);
		else
			break;
	}
	/* The Certificate's record alone. */
	peer_flush(&l.peer, 5 + ((size_t)(uint8_t)flight[3] << 8 | (uint8_t)flight[4]));
	settle_ours(&l);
	certificate = ktls_peer_certificate(l.ours);
	ok(!certificate && ktls_rekeying(l.ours), "unproved: and not shown");
	ok(ktls_rekey(l.ours) == (tls13 ? -EAGAIN : 0), "unproved: other keys can wait");
	X509_free(certificate);
	peer_flush(&l.peer, peer_output(&l.peer));
	settle(&l, 6);
	certificate = ktls_peer_certificate(l.ours);
	ok(certificate && !ktls_rekeying(l.ours) && carries(&l), "unproved: shown when it is proved: %s",
	   ktls_error(l.ours));
	X509_free(certificate);
	stop(&l);
}

static void check_client_certificate(int we_serve)
{
	struct link l = start(0, 0, we_serve);
	SSL *server = we_serve ? ktls_ssl(l.ours) : l.peer.ssl;

	SSL_set_options(l.peer.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	ok(carries(&l) && !SSL_get0_peer_certificate(server), "certificate: none at first");
	SSL_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
	if (we_serve)
		ok(!ktls_rekey(l.ours), "certificate: asked for");
	else
		peer_renegotiates(&l, 0);
	settle(&l, 8);
	ok(rekeyed(&l, 1, 1) && SSL_get0_peer_certificate(server) && carries(&l),
	   "certificate: asked for in a renegotiation: %zd %s", seen.our_end, ktls_error(l.ours));
	stop(&l);
}

/* A peer of the library that does not want to: its OpenSSL answers with a warning. */
static void check_refused(int we_serve)
{
	struct link l = { .tcp = -1 };
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_options(we_serve ? l.ctx.client_ctx : l.ctx.server_ctx, SSL_OP_NO_RENEGOTIATION);
	ret = link_connect(&l, &suites[0], we_serve);
	ok(!ret && !ktls_rekey(l.ours), "refused: begins");
	settle(&l, 6);
	ok(!ktls_rekeying(l.ours) && rekeyed(&l, 0, 0) && carries(&l),
	   "refused: the connection goes on with its keys: %zd %s", seen.our_end,
	   ktls_error(l.ours));
	ret = ktls_rekey(l.ours);
	settle(&l, 6);
	ok(carries(&l), "refused: again: %d %s", ret, ktls_error(l.ours));
	stop(&l);
}

static void check_unwilling(int we_serve)
{
	struct link l = { .tcp = -1 };
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_options(we_serve ? l.ctx.server_ctx : l.ctx.client_ctx, SSL_OP_NO_RENEGOTIATION);
	ret = link_connect(&l, &suites[0], we_serve);
	ok(!ret && ktls_rekey(l.ours) == -EOPNOTSUPP && carries(&l), "unwilling: %s",
	   ktls_error(l.ours));
	peer_renegotiates(&l, 0);
	settle(&l, 4);
	ok(seen.their_reason == SSL_R_NO_RENEGOTIATION,
	   "unwilling: the peer is told");
	stop(&l);
}

/* ---- both ---- */

/*
 * One thread sends, one receives, keys change all the time: until so much has gone each way and so
 * many keys have, or much more and there were no keys.
 */
#define RACE_BYTES	(4U << 20)
#define RACE_BYTES_MAX	(64U << 20)
#define RACE_KEYS(l)	((l)->tls13 ? 4U : 2U)	/* a renegotiation waits for all that is under way */

enum way { BY_LIBRARY, BY_THREAD, BY_LOOP };

struct race {
	struct link *l;
	enum way way;
	atomic_bool stop, done;		/* sending; it has stopped */
	atomic_size_t sent;
	atomic_size_t target;		/* to be received, once stop is set */
	atomic_size_t got;
	size_t wrong;
	ssize_t send_end, recv_end;
};

static char pattern(size_t at)
{
	return (char)(at * 7 + at / 8191);
}

static void make_pattern(char *buf, size_t at, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = pattern(at + i);
}

static size_t count_wrong(const char *buf, size_t at, size_t len)
{
	size_t i, wrong = 0;

	for (i = 0; i < len; i++)
		wrong += buf[i] != pattern(at + i);
	return wrong;
}

/* As -errno. BY_THREAD and BY_LOOP: a program that knows of nothing but a socket. */
static ssize_t race_send(struct race *r, const char *buf, size_t len)
{
	ssize_t n;

	if (r->way == BY_LIBRARY)
		return ktls_send(r->l->ours, buf, len, 0);
	n = send(ktls_fd(r->l->ours), buf, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static ssize_t race_receive(struct race *r, char *buf, size_t len)
{
	ssize_t n;

	if (r->way == BY_LIBRARY)
		return ktls_recv(r->l->ours, buf, len, 0);
	if (r->way == BY_LOOP && ktls_attend(r->l->ours))
		return -EPROTO;
	n = recv(ktls_fd(r->l->ours), buf, len, 0);
	return n < 0 ? -errno : n;
}

static void *send_all(void *arg)
{
	struct race *r = arg;
	char buf[30000];
	ssize_t n;

	while (!r->stop) {
		make_pattern(buf, r->sent, sizeof(buf));
		n = race_send(r, buf, sizeof(buf));
		if (n == -EAGAIN)
			usleep(200);
		else if (n <= 0)
			r->send_end = n;
		else
			r->sent += (size_t)n;
		if (n <= 0 && n != -EAGAIN)
			break;
	}
	r->done = true;
	return NULL;
}

static void *receive_all(void *arg)
{
	struct race *r = arg;
	struct pollfd pfd = { .fd = ktls_poll_fd(r->l->ours), .events = POLLIN | POLLPRI };
	char buf[20000];
	ssize_t n;

	while (!r->stop || r->got < r->target) {
		n = race_receive(r, buf, sizeof(buf));
		if (n == -EAGAIN) {
			poll(&pfd, 1, 10);
			continue;
		}
		r->recv_end = n;
		if (n <= 0)
			break;
		r->wrong += count_wrong(buf, r->got, (size_t)n);
		r->got += (size_t)n;
	}
	return NULL;
}

static bool is_enough(const struct race *r, size_t received)
{
	return (received >= RACE_BYTES && info_of(r->l).tx.rekeys >= RACE_KEYS(r->l) &&
		info_of(r->l).rx.rekeys >= RACE_KEYS(r->l)) ||
	       received >= RACE_BYTES_MAX;
}

/* The peer's side: a record each way a turn, and now and then other keys. What was received. */
static size_t run_peer(struct race *r, size_t *wrong)
{
	struct peer *peer = &r->l->peer;
	size_t received = 0, sent = 0, turns = 0;
	char buf[16384];
	int n, idle = 0;

	while (idle < 2000 && (!r->done || received < r->sent || r->got < sent)) {
		peer_fill(peer);
		ERR_clear_error();
		n = SSL_read(peer->ssl, buf, sizeof(buf));
		if (n <= 0 && SSL_get_error(peer->ssl, n) != SSL_ERROR_WANT_READ)
			break;
		*wrong += n > 0 ? count_wrong(buf, received, (size_t)n) : 0;
		received += n > 0 ? (size_t)n : 0;
		if (!r->stop && !SSL_in_init(peer->ssl)) {
			make_pattern(buf, sent, sizeof(buf));
			if (SSL_write(peer->ssl, buf, sizeof(buf)) != sizeof(buf))
				break;
			sent += sizeof(buf);
		}
		if (++turns % 41 == 0 && r->l->tls13)
			SSL_key_update(peer->ssl, SSL_KEY_UPDATE_REQUESTED);
		if (turns % 41 == 20)
			(void)ktls_rekey(r->l->ours);
		if (!r->stop && is_enough(r, received)) {
			r->target = sent;
			r->stop = true;
		}
		idle = n > 0 ? 0 : idle + 1;
		if (idle)
			poll(&(struct pollfd){ .fd = peer->fd, .events = POLLIN }, 1, 5);
		flush_hard(r->l);
	}
	return received;
}

static void limit_buffers(const struct link *l)
{
	int fds[] = { l->peer.fd, ktls_fd(l->ours) };
	int i, little = 65536;

	for (i = 0; i < 2; i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	}
}

static void check_race(int tls13, int we_serve, enum way way)
{
	static const char *const names[] = { "the library's calls", "a keeping thread", "a loop" };
	struct link l = start(tls13, 0, we_serve);
	struct race race = { .l = &l, .way = way };
	pthread_t sender, receiver;
	size_t wrong = 0, received;
	struct ktls_info info;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	limit_buffers(&l);
	if (way == BY_THREAD)
		ok(!ktls_rekey_after(l.ours, 1000000, 0, 0) && !ktls_keep(l.ours), "kept: %s",
		   ktls_error(l.ours));
	if (way == BY_LOOP)
		ok(!ktls_attend(l.ours), "attended: %s", ktls_error(l.ours));
	pthread_create(&receiver, NULL, receive_all, &race);
	pthread_create(&sender, NULL, send_all, &race);
	received = run_peer(&race, &wrong);
	race.stop = true;
	if (received < race.sent || race.got < race.target)
		shutdown(l.peer.fd, SHUT_RDWR);
	pthread_join(sender, NULL);
	pthread_join(receiver, NULL);
	info = info_of(&l);
	ok(received == race.sent && !wrong && race.got == race.target && !race.wrong &&
	   info.tx.rekeys >= RACE_KEYS(&l) && info.rx.rekeys >= RACE_KEYS(&l),
	   "a race, %s: %zu of %zu received by the peer (%zu wrong), %zu of %zu by us (%zu wrong), %u and %u rekeys, %zd %zd %s",
	   names[way], received, (size_t)race.sent, wrong, (size_t)race.got,
	   (size_t)race.target, race.wrong, info.tx.rekeys, info.rx.rekeys, race.send_end,
	   race.recv_end, ktls_error(l.ours));
	stop(&l);
}

#define PLAIN_SENDS	300
#define PLAIN_BYTES	200000U

struct plain {
	struct link *l;
	int kept;
	size_t got, wrong;
	ssize_t end;		/* of the last ktls_send */
	atomic_bool stop, done;
};

static void *read_plainly(void *arg)
{
	struct plain *p = arg;
	struct pollfd pfd = { .fd = ktls_fd(p->l->ours), .events = POLLIN };
	char buf[700];
	ssize_t n;

	while (!p->stop) {
		n = recv(pfd.fd, buf, sizeof(buf), MSG_DONTWAIT);
		p->wrong += n > 0 ? count_wrong(buf, p->got, (size_t)n) : 0;
		p->got += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			poll(&pfd, 1, 10);
	}
	return NULL;
}

static void *send_and_rekey(void *arg)
{
	struct plain *p = arg;
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;
	int i;

	for (i = 0; i < PLAIN_SENDS && p->end >= 0; i++) {
		if (!p->kept)
			(void)ktls_attend(p->l->ours);
		if (i == 20 || i == 200) {
			/* A server's wish may be on its way for longer than that. */
			while (ktls_rekeying(p->l->ours) && ktls_now_ms() < limit) {
				usleep(1000);
				if (!p->kept)
					(void)ktls_attend(p->l->ours);
			}
			(void)ktls_rekey(p->l->ours);
		}
		p->end = ktls_send(p->l->ours, "x", 1, 0);
		usleep(1000);
	}
	p->done = true;
	return NULL;
}

/* What the peer has heard. */
static size_t run_plain_peer(struct plain *p, size_t *sent)
{
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;
	struct peer *peer = &p->l->peer;
	char data[1000], buf[4000];
	size_t heard = 0;
	int n;

	while ((!p->done || p->got < *sent || *sent < PLAIN_BYTES || heard < PLAIN_SENDS) &&
	       ktls_now_ms() < limit) {
		if (*sent < PLAIN_BYTES && !SSL_in_init(peer->ssl)) {
			make_pattern(data, *sent, sizeof(data));
			SSL_write(peer->ssl, data, sizeof(data));
			*sent += sizeof(data);
		}
		flush_hard(p->l);
		peer_fill(peer);
		ERR_clear_error();
		while ((n = SSL_read(peer->ssl, buf, sizeof(buf))) > 0)
			heard += (size_t)n;
		flush_hard(p->l);
		poll(&(struct pollfd){ .fd = peer->fd, .events = POLLIN }, 1, 1);
	}
	return heard;
}

/*
 * One thread reads the descriptor itself, another sends with ktls_send, which waits while keys change:
 * the data stays for who reads.
 */
static void check_plain_reader(int we_serve, int kept)
{
	struct link l = start(0, 0, we_serve);
	struct plain p = { .l = &l, .kept = kept };
	size_t sent = 0, heard;
	pthread_t reader, sender;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	ok(kept ? !ktls_keep(l.ours) : !ktls_attend(l.ours), "a plain reader: %s", ktls_error(l.ours));
	pthread_create(&reader, NULL, read_plainly, &p);
	pthread_create(&sender, NULL, send_and_rekey, &p);
	heard = run_plain_peer(&p, &sent);
	if (!p.done)
		shutdown(l.peer.fd, SHUT_RDWR);
	p.stop = true;
	pthread_join(reader, NULL);
	pthread_join(sender, NULL);
	ok(p.got == PLAIN_BYTES && !p.wrong && !ktls_pending(l.ours) && heard == PLAIN_SENDS &&
	   info_of(&l).tx.rekeys == 2,
	   "a plain reader, %s: has all of its data, %zu of %zu (%zu wrong), %zu heard, %u rekeys, %zd %s",
	   kept ? "kept" : "attended by who sends", p.got, sent, p.wrong, heard,
	   info_of(&l).tx.rekeys, p.end, ktls_error(l.ours));
	stop(&l);
}

/* The peer closes while we wait for its part of a handshake: plain writers go on. */
static void check_peer_leaves(int kept)
{
	struct link l = start(0, 0, 0);
	struct pollfd pfd = { .fd = ktls_fd(l.ours), .events = POLLOUT };
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;
	char c;

	ok(carries(&l) && (kept ? !ktls_keep(l.ours) : !ktls_attend(l.ours)) && !ktls_rekey(l.ours) &&
	   ktls_rekeying(l.ours) && !poll(&pfd, 1, 50), "left alone: a handshake, and writers wait");
	peer_send(&l.peer, "y", 1);
	shutdown(l.peer.fd, SHUT_WR);
	pfd.events = POLLIN;
	ok(poll(&pfd, 1, LINK_TIMEOUT_MS) == 1 && recv(pfd.fd, &c, 1, 0) == 1, "left alone: data");
	pfd.events = POLLOUT;
	while (!poll(&pfd, 1, kept ? 100 : ktls_timeout(l.ours)) && ktls_now_ms() < limit)
		if (!kept)
			(void)ktls_attend(l.ours);
	ok(!ktls_rekeying(l.ours) && pfd.revents & POLLOUT && send(pfd.fd, "x", 1, MSG_NOSIGNAL) == 1,
	   "left alone, %s: the end ends it: %s", kept ? "kept" : "attended", ktls_error(l.ours));
	pfd.events = POLLIN;
	ok(poll(&pfd, 1, LINK_TIMEOUT_MS) == 1 && recv(pfd.fd, &c, 1, 0) == 0,
	   "left alone: readers see it, too");
	stop(&l);
}

/* Reads what is left of a record, for carries() to begin anew. */
static size_t read_all(struct link *l, char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;
	int i;

	for (i = 0; i < 100 && done < len; i++) {
		n = ktls_recv(l->ours, buf + done, len - done, MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
		else
			poll(&(struct pollfd){ .fd = ktls_poll_fd(l->ours), .events = POLLIN }, 1, 10);
	}
	return done;
}

/* Out of the kernel and in again, with data under way and keys that change on either side of it. */
static void check_handback(int tls13, size_t suite, int we_serve)
{
	struct link l = start(tls13, suite, we_serve);
	char buf[3000];
	int i, out = 0, in = 0, whole = 0, keys = 0;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	for (i = 0; i < 5; i++) {
		(void)carries(&l);
		/* Three records, of one a part is read. */
		peer_send(&l.peer, text, 1000);
		peer_send(&l.peer, text + 1000, 1000);
		peer_send(&l.peer, text + 2000, 1000);
		whole += read_all(&l, buf, 100) == 100;
		out += !ktls_detach(l.ours) && !ktls_in_kernel(l.ours) && ktls_fd(l.ours) == -1;
		whole += read_all(&l, buf + 100, 2900) == 2900 && !memcmp(buf, text, 3000);
		keys += carries(&l);
		if (tls13) {
			peer_updates(&l, SSL_KEY_UPDATE_REQUESTED);
			keys += carries(&l) && !ktls_rekey(l.ours) && carries(&l) && carries(&l);
		}
		peer_send(&l.peer, text, 2000);
		whole += read_all(&l, buf, 100) == 100;
		in += !ktls_reattach(l.ours) && ktls_in_kernel(l.ours);
		whole += read_all(&l, buf + 100, 1900) == 1900 && !memcmp(buf, text, 2000);
		(void)ktls_rekey(l.ours);
		settle(&l, 6);
		keys += carries(&l);
	}
	ok(out == 5 && in == 5 && whole == 20 && keys == (tls13 ? 15 : 10),
	   "handed back and given again: %d out, %d in, %d and %d good: %s", out, in, whole, keys,
	   ktls_error(l.ours));
	stop(&l);
}

static void check_automatic(int tls13)
{
	struct link l = start(tls13, 0, 0);
	int i;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	ktls_rekey_after(l.ours, 100000, 0, 0);
	for (i = 0; i < 4; i++)
		(void)carries(&l);
	ok(info_of(&l).tx.rekeys == 0, "automatic: not before it is time");
	/* In the middle of a handshake OpenSSL does not write. */
	for (i = 0; i < 8; i++) {
		(void)carries(&l);
		settle(&l, 6);
	}
	ok(info_of(&l).tx.rekeys == 2 && info_of(&l).rx.rekeys == 2 && carries(&l),
	   "automatic: after so many bytes, %u times", info_of(&l).tx.rekeys);
	ktls_rekey_after(l.ours, 0, 10, 0);
	for (i = 0; i < 10; i++) {
		(void)carries(&l);
		settle(&l, 6);
	}
	ok(info_of(&l).tx.rekeys > 3 && carries(&l), "automatic: after so many records, %u times",
	   info_of(&l).tx.rekeys);
	stop(&l);
}

/* What finds no room is not protected by the keys. */
static void check_refused_data(int tls13)
{
	struct link l = start(tls13, 0, 0);
	int i, refused = 0;

	ktls_rekey_after(l.ours, 1 << 24, 0, 0);
	for (i = 0; i < 3000; i++)
		refused += ktls_send(l.ours, text, TEXT, MSG_DONTWAIT) < 0;
	ok(refused > 2500 && !info_of(&l).tx.rekeys && !ktls_rekeying(l.ours),
	   "automatic: what was refused, %d times, does not count", refused);
	stop(&l);
}

static void check_version(int tls13)
{
	size_t suite;
	int s;

	for (s = 0; s < (int)sizeof(text); s++)
		text[s] = (char)(s * 31 + s / 256);
	for (s = 0; s < 2; s++)
		for (suite = 0; suite < 4; suite++)
			if (tls13)
				check_key_updates(suite, s);
			else
				check_renegotiations(suite, s);
	for (s = 0; s < 2; s++)
		if (tls13) {
			check_many(s);
			check_late_certificate(s);
		} else {
			check_data_between(s);
			check_single_thread(s);
			check_client_certificate(s);
			check_refused(s);
			check_unwilling(s);
		}
	check_unproved(tls13);
	if (tls13) {
		check_storm();
		check_tickets();
		check_early_data();
	}
	for (s = 0; s < 2; s++)
		for (suite = 0; suite < 4; suite++)
			check_handback(tls13, suite, s);
	check_automatic(tls13);
	check_refused_data(tls13);
	for (s = 0; !tls13 && s < 2; s++) {
		check_peer_leaves(s);
		check_plain_reader(s, 0);
		check_plain_reader(s, 1);
	}
	for (s = 0; s < 2; s++) {
		check_race(tls13, s, BY_LIBRARY);
		check_race(tls13, s, BY_THREAD);
		check_race(tls13, s, BY_LOOP);
	}
}

int rekey_cases(unsigned int can)
{
	if (can & KTLS_CAN_TLS13)
		check_version(1);
	if (can & KTLS_CAN_TLS12)
		check_version(0);
	return tap_done();
}
