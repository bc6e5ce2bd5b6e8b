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

int main(void)
{
	fake_kernel();
	check_idle(0);
	check_idle(1);
	check_pause(0);
	check_pause(1);
	check_finished();
	check_finished_fails();
	return tap_done();
}
