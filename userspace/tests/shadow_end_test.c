// SPDX-License-Identifier: MIT
/*
 * Changes of keys that do not come to their end: the peer goes, is silent, sends rubbish, or what
 * it wants is too much; over a made up kernel (fake.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "fake.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

static struct fake_counts counts(void)
{
	return fake_counts(ktls_fd(l.ours));
}

static int is_quiet(void)
{
	return !counts().is_paused && !ktls_rekeying(l.ours);
}

/* Whoever has to see to it: in so many milliseconds it is done. */
static int becomes_quiet(int ms)
{
	int64_t limit = ktls_now_ms() + ms;

	while (!is_quiet() && ktls_now_ms() < limit)
		usleep(10000);
	return is_quiet();
}

/* A client has begun a renegotiation, and the peer does nothing. */
static void begin_shaking(void)
{
	shadow_begin(0, 0);
	shadow_move(2);
	if (ktls_rekey(l.ours) || !counts().is_paused)
		printf("Bail out! no handshake\n");
}

/* The peer has had its minute. */
static void let_time_pass(void)
{
	pthread_mutex_lock(&l.ours->shadow_lock);
	l.ours->shadow->deadline_ms = ktls_now_ms();
	pthread_mutex_unlock(&l.ours->shadow_lock);
}

static void peer_leaves(void)
{
	(void)shutdown(l.peer.fd, SHUT_WR);
}

/* ---- the peer goes ---- */

static void check_end(void)
{
	char c;

	begin_shaking();
	peer_leaves();
	ok(link_receive(&l, &c, 1) == 0 && is_quiet() && ktls_send(l.ours, "x", 1, 0) == 1,
	   "the end: data may go: %s", ktls_error(l.ours));
	ok(!ktls_step(l.ours) && is_quiet() && ktls_rekey(l.ours) == -EPIPE,
	   "and nothing begins again");
	shadow_end();
}

static void check_end_for_sender(void)
{
	begin_shaking();
	peer_leaves();
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	ok(ktls_send(l.ours, "x", 1, 0) == 1 && is_quiet(), "the end, for who sends alone: %s",
	   ktls_error(l.ours));
	shadow_end();
}

static void check_end_kept(void)
{
	char c;

	begin_shaking();
	ok(!ktls_keep(l.ours), "the end: kept");
	SSL_write(l.peer.ssl, "y", 1);
	peer_flush(&l.peer, peer_output(&l.peer));
	peer_leaves();
	poll(&(struct pollfd){ .fd = ktls_fd(l.ours), .events = POLLIN }, 1, LINK_TIMEOUT_MS);
	ok(recv(ktls_fd(l.ours), &c, 1, 0) == 1 && becomes_quiet(3000),
	   "the end: the thread notices when all is read");
	shadow_end();
}

static void check_end_attended(void)
{
	int wait;

	begin_shaking();
	(void)ktls_attend(l.ours);
	peer_leaves();
	wait = ktls_timeout(l.ours);
	ok(wait >= 0 && wait <= 1000, "the end: a loop is to look again, in %d ms", wait);
	usleep(20000);
	ok(!ktls_attend(l.ours) && is_quiet(), "the end: and notices");
	shadow_end();
}

static void check_rubbish(void)
{
	static const uint8_t rubbish[5 + 32] = { 23, 3, 3, 0, 32, 1, 2, 3 };
	char c;

	begin_shaking();
	ok(send(l.peer.fd, rubbish, sizeof(rubbish), 0) > 0 && link_receive(&l, &c, 1) == -EBADMSG &&
	   is_quiet(), "rubbish: nobody waits any more");
	ok(ktls_truncated(l.ours) && ktls_send(l.ours, "x", 1, 0) == -EPIPE,
	   "rubbish: something is missing, and nothing follows");
	shadow_end();
}

/* The answer to a KeyUpdate has found no room when the peer closes its direction. */
static void check_half_sent(void)
{
	ssize_t n = -EAGAIN;
	char c;
	int i;

	shadow_begin(1, 0);
	shadow_move(3);
	fake_no_room(ktls_fd(l.ours), 10);
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	SSL_shutdown(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, &c, 1) == 0, "half sent: the peer closes");
	for (i = 0; i < 20 && n == -EAGAIN; i++)
		n = ktls_send(l.ours, "x", 1, 0);
	ok(n == 1 && counts().tx_keys == 2 && peer_receive(&l, &c, 1) == 1, "half sent: it goes, and data behind it");
	shadow_end();
}

/* ---- the peer is silent ---- */

static void check_deadline(void)
{
	char c;

	begin_shaking();
	ok(ktls_timeout(l.ours) > 30000, "silence: there is time");
	peer_send(&l.peer, "y", 1);
	let_time_pass();
	poll(&(struct pollfd){ .fd = ktls_fd(l.ours), .events = POLLIN }, 1, LINK_TIMEOUT_MS);
	ok(ktls_timeout(l.ours) == 0 && !ktls_step(l.ours) && ktls_rekeying(l.ours),
	   "silence: not while something is to be read");
	ok(link_receive(&l, &c, 1) == 1, "silence: data");
	let_time_pass();
	ok(ktls_step(l.ours) == -ETIMEDOUT && is_quiet() && ktls_recv(l.ours, &c, 1, 0) == -ETIMEDOUT &&
	   ktls_send(l.ours, "x", 1, 0) == -EPIPE, "silence: too long: %s", ktls_error(l.ours));
	shadow_end();
}

static void check_deadline_kept(void)
{
	struct pollfd pfd = { .events = POLLIN };
	char c;

	begin_shaking();
	ok(!ktls_keep(l.ours), "silence: kept");
	pfd.fd = ktls_fd(l.ours);
	let_time_pass();
	ok(poll(&pfd, 1, 3000) == 1 && recv(pfd.fd, &c, 1, 0) == 0 && is_quiet(),
	   "silence: plain readers see the end: %s", ktls_error(l.ours));
	ok(send(pfd.fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "silence: and writers");
	shadow_end();
}

/* rfc5246 7.4.1.1: a client may ignore it. */
static void check_ignored(void)
{
	shadow_begin(0, 1);
	shadow_move(2);
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours) && ktls_timeout(l.ours) > 30000, "ignored: asked");
	let_time_pass();
	ok(!ktls_step(l.ours) && is_quiet() && ktls_send(l.ours, "x", 1, 0) == 1 &&
	   counts().tx_keys == 1, "ignored: the keys stay");
	shadow_end();
}

/* ---- calls that wait ---- */

static void check_waiting(void)
{
	struct timeval limit = { .tv_usec = 100000 }, none = { 0 };
	int64_t before;
	int fd, ret;
	char c;

	begin_shaking();
	fd = ktls_fd(l.ours);
	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	before = ktls_now_ms();
	ok(ktls_recv(l.ours, &c, 1, 0) == -EAGAIN && ktls_now_ms() - before >= 90,
	   "waiting: SO_RCVTIMEO ends it");
	ret = (int)ktls_send(l.ours, "x", 1, 0);
	ok(ret == -EAGAIN && ktls_now_ms() - before < 5000, "waiting: SO_SNDTIMEO, too: %d", ret);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	shadow_alarm(50);
	ok(ktls_recv(l.ours, &c, 1, 0) == -EINTR, "waiting: a signal ends it");
	ok(ktls_send(l.ours, "x", 1, 0) == -EINTR, "waiting: for room, too");
	shadow_alarm(0);
	shadow_end();
}

/* ---- the peer wants too much, or we ---- */

static void check_many_answers(void)
{
	int i;

	shadow_begin(1, 0);
	shadow_move(3);
	fake_no_room(ktls_fd(l.ours), 1000000);
	for (i = 0; i < 20; i++) {
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
	}
	peer_flush(&l.peer, peer_output(&l.peer));
	shadow_move(30);
	fake_no_room(ktls_fd(l.ours), 0);
	shadow_move(30);
	ok(counts().rx_keys == 21 && counts().tx_keys == 2, "many KeyUpdates, one answer: %u, %u",
	   counts().rx_keys - 1, counts().tx_keys - 1);
	shadow_end();
}

static void check_without_pause(void)
{
	fake_no_pause(-1, 1);
	shadow_begin(0, 0);
	ok(ktls_rekey(l.ours) == -EOPNOTSUPP && strstr(ktls_error(l.ours), "PAUSE"),
	   "no KTLS_PAUSE: %s", ktls_error(l.ours));
	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	shadow_move(4);
	ok(counts().tx_keys == 1 && is_quiet(), "no KTLS_PAUSE: the peer's is refused, too");
	shadow_end();
	shadow_begin(1, 0);
	ok(!ktls_rekey(l.ours) && counts().tx_keys == 2, "no KTLS_PAUSE: a KeyUpdate needs none");
	shadow_end();
	fake_no_pause(-1, 0);
}

/* Many small records take more memory than their bytes. */
static void check_held(void)
{
	int i, ret = 0;

	shadow_begin(1, 0);
	shadow_move(3);
	for (i = 0; i < 60000 && ret != -ENOBUFS; i++) {
		peer_send(&l.peer, "x", 1);
		ret = ktls_kernel_hold(l.ours);
	}
	ok(ret == -ENOBUFS && ktls_pending(l.ours) > 10000, "held: not without end, %zu bytes",
	   ktls_pending(l.ours));
	shadow_end();
}

/* ---- we close, amid a handshake ---- */

static int still_receives(void)
{
	char buf[4];

	SSL_write(l.peer.ssl, "more", 4);
	peer_flush(&l.peer, peer_output(&l.peer));
	return link_receive(&l, buf, 4) == 4 && !memcmp(buf, "more", 4);
}

/* A close_notify there would end what the peer still has to send. */
static void check_shutdown(int we_serve)
{
	int again = 0, ret;
	char c;

	shadow_begin(0, we_serve);
	shadow_move(2);
	(void)ktls_rekey(l.ours);
	/* Its answer to the ClientHello waits for room. */
	fake_no_room(ktls_fd(l.ours), we_serve ? 3 : 0);
	while (we_serve && !l.ours->shadow->shaking)
		shadow_move(1);
	while ((ret = ktls_shutdown(l.ours)) == -EAGAIN && again++ < 10) {
		if (again == 1)
			ok(ktls_rekey(l.ours) == -EPIPE, "shutdown: nothing else begins");
		shadow_move(1);
	}
	ok(!ret && again && again < 10 && counts().tx_keys == 2 && counts().rx_keys == 2,
	   "shutdown: behind the handshake (%d): %s", again, ktls_error(l.ours));
	ok(peer_receive(&l, &c, 1) == -SSL_ERROR_ZERO_RETURN && still_receives(),
	   "shutdown: the peer's direction goes on: %s", ktls_error(l.ours));
	shadow_end();
}

/* What has not begun, and what does not go on, keeps nobody. */
static void check_shutdown_alone(void)
{
	shadow_begin(0, 0);
	shadow_move(2);
	fake_no_room(ktls_fd(l.ours), 1);
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours) && !ktls_shutdown(l.ours) &&
	   counts().tx_keys == 1, "shutdown: before the ClientHello: %s", ktls_error(l.ours));
	shadow_end();

	begin_shaking();
	ok(ktls_shutdown(l.ours) == -EAGAIN, "shutdown: the peer does nothing");
	let_time_pass();
	ok(!ktls_shutdown(l.ours) && is_quiet(), "shutdown: nor in its time: %s", ktls_error(l.ours));
	shadow_end();
}

/* It may lie behind data that nobody reads before he has closed. */
static void check_blocking_shutdown(void)
{
	int64_t begun;

	begin_shaking();
	ok(!ktls_keep(l.ours), "shutdown: kept");
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	begun = ktls_now_ms();
	ok(!ktls_shutdown(l.ours), "shutdown: it may wait, but not for ever: %s", ktls_error(l.ours));
	begun = ktls_now_ms() - begun;
	ok(begun >= 1000 && begun < 20000, "shutdown: %d ms", (int)begun);
	shadow_end();
}

/* Somebody has to receive the handshake, and nobody the data before it: that is said. */
static void check_shutdown_held(void)
{
	begin_shaking();
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	l.ours->held_memory = SIZE_MAX / 2;
	ok(ktls_shutdown(l.ours) == -ENOBUFS && strstr(ktls_error(l.ours), "ktls_recv") &&
	   ktls_rekeying(l.ours), "shutdown: behind too much data: %s", ktls_error(l.ours));
	l.ours->held_memory = 0;
	shadow_end();
}

/* ---- who attends ---- */

/* A limit that nobody looks at is news for ever. */
static void check_limit_at_end(int kept)
{
	struct pollfd pfd = { .events = POLLPRI };

	shadow_begin(1, 0);
	shadow_move(3);
	ok(kept ? !ktls_keep(l.ours) : !ktls_attend(l.ours), "a limit: attended");
	ok(!ktls_shutdown(l.ours), "a limit: closed");
	pfd.fd = ktls_fd(l.ours);
	fake_left(pfd.fd, 10, 10);
	if (kept)
		usleep(300000);
	else
		(void)ktls_attend(l.ours);
	ok(poll(&pfd, 1, 0) == 0, "a limit: noticed, though keys do not change any more");
	shadow_end();
}

static void check_limits_attended(void)
{
	int wait;

	shadow_begin(1, 0);
	shadow_move(3);
	ktls_rekey_after(l.ours, 0, 0, 1);
	ok(!ktls_attend(l.ours), "attended");
	wait = ktls_timeout(l.ours);
	ok(wait > 0 && wait <= 1000, "attended: seconds have their time: %d", wait);
	atomic_fetch_sub(&l.ours->rekeying.since_ms, 1001);
	ok(ktls_timeout(l.ours) <= 50 && !ktls_attend(l.ours) && counts().tx_keys == 2,
	   "attended: and then other keys come");
	ktls_rekey_after(l.ours, 1000, 0, 0);
	wait = ktls_timeout(l.ours);
	ok(wait >= 0 && wait <= 50, "attended: bytes are looked at, %d", wait);
	(void)ktls_attend(l.ours);
	ok(send(ktls_fd(l.ours), l.ours, 1000, 0) == 1000 && !ktls_attend(l.ours) &&
	   counts().tx_keys == 3, "attended: and then other keys come");
	shadow_end();
}

/* Data that others read counts, when control records are too many. */
static void check_budget(void)
{
	char c;
	int i, good = 1;

	shadow_begin(1, 0);
	shadow_move(3);
	ok(!ktls_attend(l.ours), "budget: attended");
	for (i = 0; i < 600 && good; i++) {
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
		peer_send(&l.peer, "x", 1);
		l.ours->control.budget.since_ms = ktls_now_ms();
		poll(&(struct pollfd){ .fd = ktls_fd(l.ours), .events = POLLPRI }, 1, 1000);
		good = !ktls_attend(l.ours);
		poll(&(struct pollfd){ .fd = ktls_fd(l.ours), .events = POLLIN }, 1, 1000);
		good = good && recv(ktls_fd(l.ours), &c, 1, 0) == 1;
	}
	ok(good, "budget: plain readers' data is data: %d %s", i, ktls_error(l.ours));
	shadow_end();
}

/* A signal for the program finds no thread of ours. */
static void check_signals(void)
{
	static const struct timespec now;
	sigset_t set, old;

	signal(SIGUSR1, shadow_note_signal);
	shadow_begin(1, 0);
	ok(!ktls_keep(l.ours), "signals: kept");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR1);
	usleep(50000);
	ok(sigtimedwait(&set, NULL, &now) == SIGUSR1, "signals: are for the program's threads");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	shadow_end();
}

/* ---- in and out of the kernel ---- */

static void check_failed_attach(void)
{
	l = (struct link){ .tcp = -1 };
	fake_refuse_first(EINVAL);
	ok(!link_open(&l, &suites[0], 1, NULL, 0) && !link_shake(&l), "not attached");
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(!link_finish(&l) && !ktls_in_kernel(l.ours) &&
	   SSL_get_options(ktls_ssl(l.ours)) & SSL_OP_NO_RENEGOTIATION,
	   "not attached: in userspace keys stay");
	fake_refuse_first(0);
	shadow_end();
}

/* OpenSSL answers a KeyUpdate with its next data, which the kernel sends. */
static void check_owed(void)
{
	char c;

	shadow_begin(1, 0);
	shadow_move(3);
	ok(!ktls_detach(l.ours), "owed: in userspace");
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	peer_send(&l.peer, "x", 1);
	ok(link_receive(&l, &c, 1) == 1 && SSL_get_key_update_type(ktls_ssl(l.ours)) !=
	   SSL_KEY_UPDATE_NONE && !ktls_reattach(l.ours), "owed: in the kernel: %s", ktls_error(l.ours));
	ok(SSL_get_key_update_type(ktls_ssl(l.ours)) == SSL_KEY_UPDATE_NONE &&
	   ktls_send(l.ours, "y", 1, 0) == 1 && peer_receive(&l, &c, 1) == 1, "owed: it was sent");
	shadow_end();
}

int main(void)
{
	fake_kernel();
	check_end();
	check_end_for_sender();
	check_end_kept();
	check_end_attended();
	check_rubbish();
	check_half_sent();
	check_deadline();
	check_deadline_kept();
	check_ignored();
	check_waiting();
	check_many_answers();
	check_without_pause();
	check_held();
	check_shutdown(0);
	check_shutdown(1);
	check_shutdown_alone();
	check_blocking_shutdown();
	check_shutdown_held();
	check_limit_at_end(0);
	check_limit_at_end(1);
	check_limits_attended();
	check_budget();
	check_signals();
	check_failed_attach();
	check_owed();
	return tap_done();
}
