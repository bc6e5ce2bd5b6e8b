// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "rekey_cases.h"
#include "rekey_link.h"
#include "tap.h"

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
	struct link l = rekey_start(0, suite, we_serve);
	int i, good = 1;

	if (we_serve)
		SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	else
		SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	ok(rekey_carries(&l), "renegotiation: before");
	peer_renegotiates(&l, 0);
	rekey_settle(&l, 6);
	ok(!SSL_renegotiate_pending(l.peer.ssl) && rekey_changed(&l, 1, 1) && rekey_carries(&l),
	   "renegotiation: the peer's: %zd %s", seen.our_end, ktls_error(l.ours));
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours), "renegotiation: ours begins: %s",
	   ktls_error(l.ours));
	rekey_settle(&l, 6);
	ok(!ktls_rekeying(l.ours) && rekey_changed(&l, 2, 2) && rekey_carries(&l),
	   "renegotiation: ours: %zd %s",
	   seen.our_end, ktls_error(l.ours));
	peer_renegotiates(&l, 1);
	rekey_settle(&l, 6);
	ok(rekey_changed(&l, 3, 3) && SSL_session_reused(l.peer.ssl) && rekey_carries(&l),
	   "renegotiation: the peer's, resumed");
	for (i = 0; i < 6 && good; i++) {
		if (i % 2)
			peer_renegotiates(&l, 0);
		else
			good = !ktls_rekey(l.ours);
		good = good && (rekey_settle(&l, 6), rekey_carries(&l));
	}
	ok(good && rekey_changed(&l, 9, 9), "renegotiation: again and again: %d", i);
	rekey_stop(&l);
}

/* Data that is under way when the handshake begins, in either direction. */
static void check_data_between(int we_serve)
{
	struct link l = rekey_start(0, 0, we_serve);
	ssize_t n;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	seen.ours = seen.theirs = 0;
	ok(ktls_send(l.ours, text, 1000, 0) == 1000 && !ktls_rekey(l.ours), "data between: begins");
	peer_send(&l.peer, text, 1000);
	n = ktls_send(l.ours, text, 1000, MSG_DONTWAIT);
	ok(we_serve ? n == 1000 : n == -EAGAIN, "data between: %s",
	   we_serve ? "until the client has begun it may go" : "ours waits");
	rekey_settle(&l, 6);
	ok(seen.ours == 1000 && seen.theirs == (we_serve ? 2000U : 1000U) && rekey_changed(&l, 1, 1) &&
	   !memcmp(seen.our_text, text, 1000) && rekey_carries(&l), "data between: all of it came");
	rekey_stop(&l);
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
		rekey_flush_hard(a->l);
	}
	return NULL;
}

/* One thread that blocks: it sends, so it has to receive what the new keys wait for. */
static void check_single_thread(int we_serve)
{
	struct link l = rekey_start(0, 0, we_serve);
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
	rekey_settle(&l, 6);
	ok(rekey_changed(&l, 1, 1) && rekey_carries(&l), "single thread: it goes on");
	rekey_stop(&l);
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
	ok(!link_connect(&l, &suites[0], 1) && rekey_carries(&l), "unproved: connected");
	SSL_set_verify(ktls_ssl(l.ours), SSL_VERIFY_PEER, rekey_accept_any);
	SSL_set_options(l.peer.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	if (tls13)
		ok(SSL_verify_client_post_handshake(ktls_ssl(l.ours)) == 1, "unproved: asked");
	else
		ok(!ktls_rekey(l.ours), "unproved: asked");
	for (len = 0; len < 2000; ) {
		rekey_move_ours(&l);
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
	rekey_settle_ours(&l);
	certificate = ktls_peer_certificate(l.ours);
	ok(!certificate && ktls_rekeying(l.ours), "unproved: and not shown");
	ok(ktls_rekey(l.ours) == (tls13 ? -EAGAIN : 0), "unproved: other keys can wait");
	X509_free(certificate);
	peer_flush(&l.peer, peer_output(&l.peer));
	rekey_settle(&l, 6);
	certificate = ktls_peer_certificate(l.ours);
	ok(certificate && !ktls_rekeying(l.ours) && rekey_carries(&l),
	   "unproved: shown when it is proved: %s",
	   ktls_error(l.ours));
	X509_free(certificate);
	rekey_stop(&l);
}

static void check_client_certificate(int we_serve)
{
	struct link l = rekey_start(0, 0, we_serve);
	SSL *server = we_serve ? ktls_ssl(l.ours) : l.peer.ssl;

	SSL_set_options(l.peer.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	ok(rekey_carries(&l) && !SSL_get0_peer_certificate(server), "certificate: none at first");
	SSL_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, rekey_accept_any);
	if (we_serve)
		ok(!ktls_rekey(l.ours), "certificate: asked for");
	else
		peer_renegotiates(&l, 0);
	rekey_settle(&l, 8);
	ok(rekey_changed(&l, 1, 1) && SSL_get0_peer_certificate(server) && rekey_carries(&l),
	   "certificate: asked for in a renegotiation: %zd %s", seen.our_end, ktls_error(l.ours));
	rekey_stop(&l);
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
	rekey_settle(&l, 6);
	ok(!ktls_rekeying(l.ours) && rekey_changed(&l, 0, 0) && rekey_carries(&l),
	   "refused: the connection goes on with its keys: %zd %s", seen.our_end,
	   ktls_error(l.ours));
	ret = ktls_rekey(l.ours);
	rekey_settle(&l, 6);
	ok(rekey_carries(&l), "refused: again: %d %s", ret, ktls_error(l.ours));
	rekey_stop(&l);
}

static void check_unwilling(int we_serve)
{
	struct link l = { .tcp = -1 };
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_options(we_serve ? l.ctx.server_ctx : l.ctx.client_ctx, SSL_OP_NO_RENEGOTIATION);
	ret = link_connect(&l, &suites[0], we_serve);
	ok(!ret && ktls_rekey(l.ours) == -EOPNOTSUPP && rekey_carries(&l), "unwilling: %s",
	   ktls_error(l.ours));
	peer_renegotiates(&l, 0);
	rekey_settle(&l, 4);
	ok(seen.their_reason == SSL_R_NO_RENEGOTIATION,
	   "unwilling: the peer is told");
	rekey_stop(&l);
}

/* ---- both ---- */

/* Reads what is left of a record, for rekey_carries() to begin anew. */
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
	struct link l = rekey_start(tls13, suite, we_serve);
	char buf[3000];
	int i, out = 0, in = 0, whole = 0, keys = 0;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	for (i = 0; i < 5; i++) {
		(void)rekey_carries(&l);
		/* Three records, of one a part is read. */
		peer_send(&l.peer, text, 1000);
		peer_send(&l.peer, text + 1000, 1000);
		peer_send(&l.peer, text + 2000, 1000);
		whole += read_all(&l, buf, 100) == 100;
		out += !ktls_detach(l.ours) && !ktls_in_kernel(l.ours) && ktls_fd(l.ours) == -1;
		whole += read_all(&l, buf + 100, 2900) == 2900 && !memcmp(buf, text, 3000);
		keys += rekey_carries(&l);
		if (tls13) {
			rekey_peer_updates(&l, SSL_KEY_UPDATE_REQUESTED);
			keys += rekey_carries(&l) && !ktls_rekey(l.ours) && rekey_carries(&l) && rekey_carries(&l);
		}
		peer_send(&l.peer, text, 2000);
		whole += read_all(&l, buf, 100) == 100;
		in += !ktls_reattach(l.ours) && ktls_in_kernel(l.ours);
		whole += read_all(&l, buf + 100, 1900) == 1900 && !memcmp(buf, text, 2000);
		(void)ktls_rekey(l.ours);
		rekey_settle(&l, 6);
		keys += rekey_carries(&l);
	}
	ok(out == 5 && in == 5 && whole == 20 && keys == (tls13 ? 15 : 10),
	   "handed back and given again: %d out, %d in, %d and %d good: %s", out, in, whole, keys,
	   ktls_error(l.ours));
	rekey_stop(&l);
}

static void check_automatic(int tls13)
{
	struct link l = rekey_start(tls13, 0, 0);
	int i;

	SSL_set_options(l.peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	ktls_rekey_after(l.ours, 100000, 0, 0);
	for (i = 0; i < 4; i++)
		(void)rekey_carries(&l);
	ok(rekey_info_of(&l).tx.rekeys == 0, "automatic: not before it is time");
	/* In the middle of a handshake OpenSSL does not write. */
	for (i = 0; i < 8; i++) {
		(void)rekey_carries(&l);
		rekey_settle(&l, 6);
	}
	ok(rekey_info_of(&l).tx.rekeys == 2 && rekey_info_of(&l).rx.rekeys == 2 && rekey_carries(&l),
	   "automatic: after so many bytes, %u times", rekey_info_of(&l).tx.rekeys);
	ktls_rekey_after(l.ours, 0, 10, 0);
	for (i = 0; i < 10; i++) {
		(void)rekey_carries(&l);
		rekey_settle(&l, 6);
	}
	ok(rekey_info_of(&l).tx.rekeys > 3 && rekey_carries(&l),
	   "automatic: after so many records, %u times",
	   rekey_info_of(&l).tx.rekeys);
	rekey_stop(&l);
}

/* What finds no room is not protected by the keys. */
static void check_refused_data(int tls13)
{
	struct link l = rekey_start(tls13, 0, 0);
	int i, refused = 0;

	ktls_rekey_after(l.ours, 1 << 24, 0, 0);
	for (i = 0; i < 3000; i++)
		refused += ktls_send(l.ours, text, TEXT, MSG_DONTWAIT) < 0;
	ok(refused > 2500 && !rekey_info_of(&l).tx.rekeys && !ktls_rekeying(l.ours),
	   "automatic: what was refused, %d times, does not count", refused);
	rekey_stop(&l);
}

static void check_version(int tls13)
{
	size_t suite;
	int s;

	for (s = 0; s < (int)sizeof(text); s++)
		text[s] = (char)(s * 31 + s / 256);
	if (tls13)
		rekey_tls13_cases();
	for (s = 0; !tls13 && s < 2; s++)
		for (suite = 0; suite < 4; suite++)
			check_renegotiations(suite, s);
	for (s = 0; !tls13 && s < 2; s++) {
		check_data_between(s);
		check_single_thread(s);
		check_client_certificate(s);
		check_refused(s);
		check_unwilling(s);
	}
	check_unproved(tls13);
	for (s = 0; s < 2; s++)
		for (suite = 0; suite < 4; suite++)
			check_handback(tls13, suite, s);
	check_automatic(tls13);
	check_refused_data(tls13);
	rekey_thread_cases(tls13);
}

int rekey_cases(unsigned int can)
{
	if (can & KTLS_CAN_TLS13)
		check_version(1);
	if (can & KTLS_CAN_TLS12)
		check_version(0);
	return tap_done();
}
