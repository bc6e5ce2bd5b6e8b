// SPDX-License-Identifier: MIT
/* Threads that send and receive while keys change. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "rekey_cases.h"
#include "rekey_link.h"
#include "tap.h"

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
	return (received >= RACE_BYTES && rekey_info_of(r->l).tx.rekeys >= RACE_KEYS(r->l) &&
		rekey_info_of(r->l).rx.rekeys >= RACE_KEYS(r->l)) ||
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
		rekey_flush_hard(r->l);
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
	struct link l = rekey_start(tls13, 0, we_serve);
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
	info = rekey_info_of(&l);
	ok(received == race.sent && !wrong && race.got == race.target && !race.wrong &&
	   info.tx.rekeys >= RACE_KEYS(&l) && info.rx.rekeys >= RACE_KEYS(&l),
	   "a race, %s: %zu of %zu received by the peer (%zu wrong), %zu of %zu by us (%zu wrong), %u and %u rekeys, %zd %zd %s",
	   names[way], received, (size_t)race.sent, wrong, (size_t)race.got,
	   (size_t)race.target, race.wrong, info.tx.rekeys, info.rx.rekeys, race.send_end,
	   race.recv_end, ktls_error(l.ours));
	rekey_stop(&l);
}

#define PLAIN_SENDS	300
#define PLAIN_BYTES	200000U

struct plain {
	struct link *l;
	int kept;
	_Atomic size_t got;
	size_t wrong;
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
		rekey_flush_hard(p->l);
		peer_fill(peer);
		ERR_clear_error();
		while ((n = SSL_read(peer->ssl, buf, sizeof(buf))) > 0)
			heard += (size_t)n;
		rekey_flush_hard(p->l);
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
	struct link l = rekey_start(0, 0, we_serve);
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
	   rekey_info_of(&l).tx.rekeys == 2,
	   "a plain reader, %s: has all of its data, %zu of %zu (%zu wrong), %zu heard, %u rekeys, %zd %s",
	   kept ? "kept" : "attended by who sends", p.got, sent, p.wrong, heard,
	   rekey_info_of(&l).tx.rekeys, p.end, ktls_error(l.ours));
	rekey_stop(&l);
}

/* The peer closes while we wait for its part of a handshake: plain writers go on. */
static void check_peer_leaves(int kept)
{
	struct link l = rekey_start(0, 0, 0);
	struct pollfd pfd = { .fd = ktls_fd(l.ours), .events = POLLOUT };
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;
	char c;

	ok(rekey_carries(&l) && (kept ? !ktls_keep(l.ours) : !ktls_attend(l.ours)) &&
	   !ktls_rekey(l.ours) &&
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
	rekey_stop(&l);
}

void rekey_thread_cases(int tls13)
{
	int s;

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
