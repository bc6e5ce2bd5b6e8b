// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "rekey_link.h"
#include "tap.h"

#define ROUNDS_MAX	200

char text[TEXT];

struct seen seen;

void rekey_move_ours(struct link *l)
{
	ssize_t n = 0;

	(void)ktls_step(l->ours);
	while (seen.ours < sizeof(seen.our_text) &&
	       (n = ktls_recv(l->ours, seen.our_text + seen.ours, sizeof(seen.our_text) - seen.ours,
			      MSG_DONTWAIT)) > 0)
		seen.ours += (size_t)n;
	seen.our_end = n;
}

void rekey_move_theirs(struct link *l)
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
void rekey_settle(struct link *l, int rounds)
{
	while (rounds--) {
		struct pollfd pfd[] = {
			{ .fd = ktls_poll_fd(l->ours), .events = POLLIN },
			{ .fd = l->peer.fd, .events = POLLIN },
		};

		poll(pfd, 2, 5);
		rekey_move_ours(l);
		rekey_move_theirs(l);
	}
}

void rekey_settle_ours(struct link *l)
{
	int i;

	for (i = 0; i < 5; i++) {
		poll(&(struct pollfd){ .fd = ktls_poll_fd(l->ours), .events = POLLIN }, 1, 5);
		rekey_move_ours(l);
	}
}

/* All of it, though our end does not read before we do. */
void rekey_flush_hard(struct link *l)
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
int rekey_carries(struct link *l)
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
		rekey_settle(l, 1);
	}
	if (i == ROUNDS_MAX)
		printf("# sent %zu (%zd), ours %zu (%zd, %s), theirs %zu (%d)\n", sent, n, seen.ours, seen.our_end,
		       ktls_error(l->ours), seen.theirs, seen.their_end);
	return i < ROUNDS_MAX && !memcmp(seen.our_text, text, TEXT) &&
	       !memcmp(seen.their_text, text, TEXT);
}

struct ktls_info rekey_info_of(const struct link *l)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	getsockopt(ktls_fd(l->ours), SOL_KTLS, KTLS_INFO, &info, &len);
	return info;
}

int rekey_changed(const struct link *l, unsigned int tx, unsigned int rx)
{
	struct ktls_info info = rekey_info_of(l);

	if (info.tx.rekeys != tx || info.rx.rekeys != rx)
		printf("# rekeys %u %u\n", info.tx.rekeys, info.rx.rekeys);
	return info.tx.rekeys == tx && info.rx.rekeys == rx;
}

struct link rekey_start(int tls13, size_t suite, int we_serve)
{
	struct link l = { .tcp = -1, .tls13 = tls13 };
	int ret = link_connect(&l, &suites[suite], we_serve);

	ok(!ret && ktls_in_kernel(l.ours) &&
	   SSL_version(ktls_ssl(l.ours)) == (tls13 ? TLS1_3_VERSION : TLS1_2_VERSION),
	   "%s %s: in the kernel %s", tls13 ? suites13[suite] : suites[suite].name,
	   we_serve ? "server" : "client", l.ours ? ktls_error(l.ours) : "");
	return l;
}

void rekey_stop(struct link *l)
{
	link_close(l);
	pair_free(&l->ctx);
	memset(l, 0, sizeof(*l));
}

void rekey_peer_updates(struct link *l, int type)
{
	SSL_key_update(l->peer.ssl, type);
	SSL_do_handshake(l->peer.ssl);
	peer_flush(&l->peer, peer_output(&l->peer));
}

int rekey_accept_any(int good, X509_STORE_CTX *store)
{
	(void)good;
	(void)store;
	return 1;
}
