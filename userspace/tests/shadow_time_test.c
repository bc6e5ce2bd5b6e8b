// SPDX-License-Identifier: MIT
/* How long a handshake may take, and a call wait; over a made up kernel (fake.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fake.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

/* A client has begun a renegotiation, and the peer does nothing for it. */
static void begin_shaking(void)
{
	shadow_begin(0, 0);
	shadow_move(2);
	if (ktls_rekey(l.ours) || !fake_counts(ktls_fd(l.ours)).is_paused)
		printf("Bail out! no handshake\n");
}

/* The handshake's time is over, or only that for the next step. */
static void let_time_pass(int all)
{
	struct ktls_shadow *s = l.ours->shadow;

	pthread_mutex_lock(&l.ours->shadow_lock);
	s->deadline_ms = ktls_now_ms();
	if (all)
		s->end_ms = s->deadline_ms;
	pthread_mutex_unlock(&l.ours->shadow_lock);
}

/* So many bytes, while the deadline passes again and again. What ktls_step says of it. */
static int stream(size_t len, int all)
{
	static char data[RECORD_MAX_PAYLOAD];
	size_t sum = 0;
	ssize_t n;
	int ret = 0;

	while (sum < len && !ret) {
		peer_send(&l.peer, data, sizeof(data));
		peer_send(&l.peer, data, sizeof(data));
		n = link_receive(&l, data, sizeof(data));
		if (n <= 0)
			return (int)n;
		sum += (size_t)n;
		n = link_receive(&l, data, sizeof(data) - 1);
		sum += n > 0 ? (size_t)n : 0;
		let_time_pass(all);
		ret = ktls_step(l.ours);
		link_receive(&l, data, 1);
	}
	return ret;
}

static void check_streaming(void)
{
	int room;
	socklen_t len = sizeof(room);
	char c;

	begin_shaking();
	getsockopt(l.ours->wire.fd, SOL_SOCKET, SO_RCVBUF, &room, &len);
	ok(!stream(100000, 0) && ktls_rekeying(l.ours), "streaming: the answer may lie behind data: %s",
	   ktls_error(l.ours));
	ok(!stream(65536, 1) && ktls_rekeying(l.ours), "streaming: or behind what has come at the end");
	ok(stream((size_t)room + 1000000, 1) == -ETIMEDOUT, "streaming: what comes later does not count: %s",
	   ktls_error(l.ours));
	ok(ktls_recv(l.ours, &c, 1, 0) == -ETIMEDOUT && ktls_send(l.ours, "x", 1, 0) == -EPIPE,
	   "streaming: the end");
	shadow_end();
}

/* However often the peer goes on, a byte at a time. */
static void check_dripping(void)
{
	struct ktls_shadow *s;

	begin_shaking();
	s = l.ours->shadow;
	pthread_mutex_lock(&l.ours->shadow_lock);
	s->end_ms = ktls_now_ms() + 100;
	ktls_shadow_grant(l.ours);
	ok(s->deadline_ms == s->end_ms, "dripping: no minute more than there is");
	pthread_mutex_unlock(&l.ours->shadow_lock);
	usleep(150000);
	ok(ktls_step(l.ours) == -ETIMEDOUT, "dripping: the end");
	shadow_end();
}

/* ---- calls that wait ---- */

static struct {
	pthread_t thread;
	ssize_t n;
	char c;
} other;

static void *receive_one(void *arg)
{
	other.n = ktls_recv(l.ours, &other.c, 1, 0);
	return arg;
}

/* Another thread receives, and has the alarm's signal blocked. */
static void begin_receiving(void)
{
	sigset_t set, old;

	shadow_begin(1, 0);
	shadow_move(3);
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	pthread_create(&other.thread, NULL, receive_one, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	usleep(50000);
}

static void end_receiving(void)
{
	peer_send(&l.peer, "y", 1);
	pthread_join(other.thread, NULL);
}

static void *help(void *arg)
{
	usleep(3000000);
	peer_send(&l.peer, "yy", 2);
	return arg;
}

/* Were the call to wait for the other thread, that would end after all. */
static void check_second_reader(int by_signal)
{
	struct timeval limit = { .tv_usec = by_signal ? 0 : 200000 };
	const char *what = by_signal ? "a signal" : "SO_RCVTIMEO";
	int64_t before;
	pthread_t helper;
	ssize_t n;
	char c;

	begin_receiving();
	pthread_create(&helper, NULL, help, NULL);
	setsockopt(ktls_fd(l.ours), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (by_signal)
		shadow_alarm(100);
	before = ktls_now_ms();
	n = ktls_recv(l.ours, &c, 1, 0);
	before = ktls_now_ms() - before;
	shadow_alarm(0);
	ok(n == (by_signal ? -EINTR : -EAGAIN) && before < 2500,
	   "a second reader: %s ends its waiting: %zd after %d ms", what, n, (int)before);
	ok(ktls_recv(l.ours, &c, 1, MSG_DONTWAIT) == -EAGAIN, "a second reader: need not wait");
	end_receiving();
	ok(other.n == 1 && other.c == 'y', "a second reader: the first goes on");
	pthread_join(helper, NULL);
	shadow_end();
}

/* What was kept for ktls_recv, and read in part. */
static void check_pending(void)
{
	char text[4];

	shadow_begin(1, 0);
	shadow_move(3);
	peer_send(&l.peer, "four", 4);
	ok(!ktls_kernel_hold(l.ours) && ktls_pending(l.ours) == 4, "pending: all that is kept");
	ok(ktls_recv(l.ours, text, 3, 0) == 3 && ktls_pending(l.ours) == 1, "pending: what is left, %zu",
	   ktls_pending(l.ours));
	ok(ktls_recv(l.ours, text, 3, 0) == 1 && !ktls_pending(l.ours), "pending: nothing");
	shadow_end();
}

int main(void)
{
	fake_kernel();
	check_streaming();
	check_dripping();
	check_second_reader(0);
	check_second_reader(1);
	check_pending();
	return tap_done();
}
