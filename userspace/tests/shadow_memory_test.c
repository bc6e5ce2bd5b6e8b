// SPDX-License-Identifier: MIT
/*
 * Changes of keys for which the kernel has no memory or no room in the middle; over a made up kernel
 * (fake.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "fake.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

#define FOREVER		1000000000

static struct fake_counts counts(void)
{
	return fake_counts(ktls_fd(l.ours));
}

static void begin(int tls13)
{
	shadow_begin(tls13, 0);
	shadow_move(3);
}

/* Does data arrive, each way? */
static int works(void)
{
	char c = 0, d = 0;

	peer_send(&l.peer, "p", 1);
	return ktls_send(l.ours, "o", 1, 0) == 1 && peer_receive(&l, &c, 1) == 1 && c == 'o' &&
	       link_receive(&l, &d, 1) == 1 && d == 'p';
}

static void *sender(void *arg)
{
	ssize_t *n = arg;

	*n = ktls_send(l.ours, "x", 1, 0);
	return arg;
}

/* ---- waiting for memory ---- */

static unsigned int polls_in(int ms)
{
	unsigned int before = counts().polls;

	usleep(ms * 1000U);
	return counts().polls - before;
}

/* A carrier that has room all the time is no reason to look all the time. */
static void check_idle(int kept)
{
	const char *who = kept ? "the keeper" : "who sends";
	pthread_t thread;
	unsigned int n;
	ssize_t sent;

	begin(1);
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	fake_refuse_keys(ktls_fd(l.ours), FOREVER, ENOMEM);
	if (kept && ktls_keep(l.ours))
		printf("Bail out! not kept\n");
	/* The keeper is asleep by then. */
	usleep(50000);
	ok(!ktls_rekey(l.ours) && counts().tx_keys == 1, "no memory: no key");
	if (!kept)
		pthread_create(&thread, NULL, sender, &sent);
	usleep(50000);
	n = polls_in(500);
	/* The made up kernel looks by itself, each 2 ms. */
	ok(n > 10 && n < 1500, "no memory: %s looks %u times in half a second", who, n);
	fake_refuse_keys(ktls_fd(l.ours), 0, 0);
	if (!kept)
		pthread_join(thread, NULL);
	while (ktls_rekeying(l.ours))
		usleep(1000);
	ok(counts().tx_keys == 2 && (kept || sent == 1), "no memory: %s goes on", who);
	shadow_end();
}

/* Without a pause no flight begins. */
static void check_pause(int tls13)
{
	uint64_t seq;

	begin(tls13);
	seq = counts().tx_seq;
	fake_refuse_pause(ktls_fd(l.ours), 3, ENOMEM);
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours) && counts().tx_seq == seq &&
	   !counts().is_paused, "no pause: nothing goes (TLS 1.%d)", tls13 ? 3 : 2);
	ok(ktls_timeout(l.ours) >= 0 && ktls_timeout(l.ours) < 100, "no pause: it is tried again soon");
	shadow_move(10);
	ok(counts().tx_keys == 2 && !counts().is_paused && counts().pauses && works(),
	   "no pause: and then they do: %s", ktls_error(l.ours));
	shadow_end();
}

/* The client's second flight ends with its Finished, behind a message, the CCS and the key. */
#define BEFORE_FINISHED	3

static void check_finished(void)
{
	begin(0);
	fake_fail_records(ktls_fd(l.ours), BEFORE_FINISHED, 3, ENOMEM);
	if (ktls_rekey(l.ours))
		printf("Bail out! no handshake\n");
	while (counts().tx_keys == 1)
		shadow_move(1);
	ok(counts().is_paused && ktls_send(l.ours, "x", 1, 0) == -EAGAIN,
	   "no memory for Finished: nothing goes before");
	shadow_move(8);
	ok(!counts().is_paused && !ktls_rekeying(l.ours) && works(),
	   "no memory for Finished: it goes later: %s", ktls_error(l.ours));
	shadow_end();
}

/* Whatever else fails there: data under a key that no Finished has confirmed is never sent. */
static void check_finished_fails(void)
{
	begin(0);
	fake_fail_records(ktls_fd(l.ours), BEFORE_FINISHED, 1, EIO);
	if (ktls_rekey(l.ours))
		printf("Bail out! no handshake\n");
	while (counts().tx_keys == 1)
		shadow_move(1);
	ok(send(ktls_fd(l.ours), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE,
	   "no Finished: nothing follows");
	shadow_end();
}

/* ---- what comes meanwhile ---- */

/* A KeyUpdate is sent, and the kernel does not take the key. */
static void send_half(void)
{
	begin(1);
	fake_refuse_tx(ktls_fd(l.ours), FOREVER, ENOMEM);
	if (ktls_rekey(l.ours) || !l.ours->shadow->under_way)
		printf("Bail out! not half sent\n");
}

static void check_asked_meanwhile(void)
{
	send_half();
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	shadow_move(4);
	ok(counts().rx_keys == 3 && counts().tx_keys == 1, "asked meanwhile: the peer has other keys");
	fake_refuse_tx(ktls_fd(l.ours), 0, 0);
	shadow_move(4);
	ok(counts().tx_keys == 3 && works(), "asked meanwhile: it is answered once, %u",
	   counts().tx_keys);
	shadow_end();
}

static void check_alert_meanwhile(void)
{
	uint64_t seq;

	send_half();
	seq = counts().tx_seq;
	ktls_control_reply(l.ours, ALERT_WARNING, SSL_AD_USER_CANCELLED);
	ktls_send_reply(l.ours);
	ok(counts().tx_seq == seq, "an alert: not under the key that the peer has left");
	fake_refuse_tx(ktls_fd(l.ours), 0, 0);
	ktls_send_reply(l.ours);
	ok(counts().tx_keys == 2 && counts().tx_seq == 1 && works(), "an alert: under the next");
	shadow_end();
}

/* ---- the end ---- */

static int peer_sees_end(void)
{
	char c;

	return peer_receive(&l, &c, 1) == -SSL_ERROR_ZERO_RETURN;
}

static void check_shutdown(void)
{
	int ret;

	send_half();
	ret = ktls_shutdown(l.ours);
	ok(ret == -EAGAIN && ktls_send(l.ours, "x", 1, 0) == -EPIPE, "shutdown: half a change: %d", ret);
	fake_refuse_tx(ktls_fd(l.ours), 0, 0);
	ok(!ktls_shutdown(l.ours) && counts().tx_keys == 2 && peer_sees_end(),
	   "shutdown: its end, and then close_notify");
	shadow_end();
}

static void check_blocking_shutdown(void)
{
	send_half();
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	fake_refuse_tx(ktls_fd(l.ours), 10, ENOMEM);
	ok(!ktls_shutdown(l.ours) && counts().tx_keys == 2 && peer_sees_end(),
	   "shutdown: who may wait does");
	shadow_end();
}

/* What the peer has seen nothing of does not begin at the end. */
static void check_shutdown_before(void)
{
	begin(1);
	fake_no_room(ktls_fd(l.ours), 1);
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours), "shutdown: before a KeyUpdate");
	fake_refuse_tx(ktls_fd(l.ours), FOREVER, ENOMEM);
	ok(!ktls_shutdown(l.ours) && peer_sees_end(), "shutdown: which is not sent");
	shadow_end();
}

/* OpenSSL has changed to a key that nobody can derive. */
static void check_no_key(void)
{
	uint64_t seq;
	char c;
	int ret;

	begin(1);
	seq = counts().tx_seq;
	memset(&l.ours->traffic, 0, sizeof(l.ours->traffic));
	ret = ktls_rekey(l.ours);
	ok(ret < 0 && ret != -EAGAIN && counts().tx_seq == seq, "no key: no KeyUpdate: %d", ret);
	ok(ktls_send(l.ours, "x", 1, 0) == -EPIPE &&
	   send(ktls_fd(l.ours), "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "no key: nothing follows");
	ok(!ktls_rekeying(l.ours), "no key: nobody waits");
	peer_send(&l.peer, "y", 1);
	ok(link_receive(&l, &c, 1) == 1, "no key: what the peer sends arrives");
	shadow_end();
}

int main(void)
{
	fake_kernel();
	check_idle(0);
	check_idle(1);
	check_pause(0);
	check_pause(1);
	check_finished();
	check_finished_fails();
	check_asked_meanwhile();
	check_alert_meanwhile();
	check_shutdown();
	check_blocking_shutdown();
	check_shutdown_before();
	check_no_key();
	return tap_done();
}
