// SPDX-License-Identifier: MIT
/* KeyUpdates, and what else comes behind a handshake of TLS 1.3. */
#include <errno.h>
#include <string.h>

#include <openssl/err.h>

#include "rekey_cases.h"
#include "rekey_link.h"
#include "tap.h"

static void check_key_updates(size_t suite, int we_serve)
{
	struct link l = rekey_start(1, suite, we_serve);
	int i, good = 1;

	ok(rekey_carries(&l), "KeyUpdate: before");
	rekey_peer_updates(&l, SSL_KEY_UPDATE_NOT_REQUESTED);
	ok(rekey_carries(&l) && rekey_changed(&l, 0, 1), "KeyUpdate: the peer's");
	rekey_peer_updates(&l, SSL_KEY_UPDATE_REQUESTED);
	ok(rekey_carries(&l) && rekey_changed(&l, 1, 2), "KeyUpdate: the peer's that asks for ours");
	/* OpenSSL answers with its next data. */
	ok(!ktls_rekey(l.ours) && rekey_carries(&l) && rekey_carries(&l) && rekey_changed(&l, 2, 3),
	   "KeyUpdate: ours, and the peer's answer");
	for (i = 0; i < 20; i++) {
		rekey_peer_updates(&l, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		good = good && !ktls_rekey(l.ours) && rekey_carries(&l);
	}
	ok(good, "KeyUpdate: both at once, again and again");
	rekey_stop(&l);
}

static void check_many(int we_serve)
{
	struct link l = rekey_start(1, 0, we_serve);
	int i;

	for (i = 0; i < 1000; i++) {
		if (i % 2)
			rekey_peer_updates(&l, i % 4 == 1 ? SSL_KEY_UPDATE_REQUESTED :
						      SSL_KEY_UPDATE_NOT_REQUESTED);
		else if (ktls_rekey(l.ours))
			break;
		rekey_settle(&l, 2);
		if (i % 10 == 0 && !rekey_carries(&l))
			break;
	}
	/* One answer of OpenSSL's may be to many. */
	ok(i == 1000 && rekey_carries(&l) && rekey_info_of(&l).tx.rekeys == 750 &&
	   rekey_info_of(&l).rx.rekeys >= 550,
	   "1000 rekeys in one connection: %d, %u ours, %u the peer's", i, rekey_info_of(&l).tx.rekeys,
	   rekey_info_of(&l).rx.rekeys);
	rekey_stop(&l);
}

static void check_storm(void)
{
	struct link l = rekey_start(1, 0, 1);
	int i;

	seen.our_end = -EAGAIN;
	for (i = 0; i < 5000 && seen.our_end == -EAGAIN; i++) {
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
		peer_flush(&l.peer, peer_output(&l.peer));
		rekey_move_ours(&l);
	}
	ok(seen.our_end == -EPROTO && i > 100, "KeyUpdates without end: %d, %s", i,
	   ktls_error(l.ours));
	rekey_move_theirs(&l);
	ok(seen.their_end == SSL_ERROR_SSL, "and the peer is told");
	rekey_stop(&l);
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
	ok(!ret && rekey_carries(&l) && latest && SSL_SESSION_is_resumable(latest), "a ticket comes");
	SSL_new_session_ticket(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	ret = latest == SSL_get0_session(ktls_ssl(l.ours));
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(rekey_carries(&l), "and one later");
	link_close(&l);
	ret = link_open(&l, &suites[0], 0, latest, KTLS_REQUIRE_KERNEL);
	if (!ret)
		ret = link_shake(&l);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!ret && !link_finish(&l) && SSL_session_reused(ktls_ssl(l.ours)) && rekey_carries(&l),
	   "it resumes");
	SSL_SESSION_free(latest);
	latest = NULL;
	rekey_stop(&l);
}

static void check_late_certificate(int we_serve)
{
	struct link l = { .tcp = -1, .tls13 = 1 };
	SSL *server;
	int ret;

	pair_init(&l.ctx, suites[0].name, suites[0].ec);
	SSL_CTX_set_post_handshake_auth(l.ctx.client_ctx, 1);
	ret = link_connect(&l, &suites[0], we_serve);
	ok(!ret && rekey_carries(&l), "post-handshake authentication: connected");
	server = we_serve ? ktls_ssl(l.ours) : l.peer.ssl;
	SSL_set_verify(server, SSL_VERIFY_PEER, rekey_accept_any);
	ret = SSL_verify_client_post_handshake(server);
	if (we_serve)
		ret = ret == 1 && !ktls_step(l.ours);
	else
		SSL_do_handshake(server);
	rekey_settle(&l, 5);
	ok(ret == 1 && SSL_get0_peer_certificate(server) && rekey_carries(&l),
	   "post-handshake authentication: the %s has the client's certificate",
	   we_serve ? "kernel's server" : "peer");
	rekey_stop(&l);
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
	ok(!ret && rekey_carries(&l) && latest && !SSL_SESSION_get_max_early_data(latest),
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
	   SSL_get_early_data_status(l.peer.ssl) == SSL_EARLY_DATA_REJECTED && rekey_carries(&l),
	   "early data: refused, and the connection goes on: %d %s", ret, ktls_error(l.ours));
	SSL_SESSION_free(latest);
	latest = NULL;
	rekey_stop(&l);
}

void rekey_tls13_cases(void)
{
	size_t suite;
	int s;

	for (s = 0; s < 2; s++)
		for (suite = 0; suite < 4; suite++)
			check_key_updates(suite, s);
	for (s = 0; s < 2; s++) {
		check_many(s);
		check_late_certificate(s);
	}
	check_storm();
	check_tickets();
	check_early_data();
}
