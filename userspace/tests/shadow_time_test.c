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

int main(void)
{
	fake_kernel();
	check_streaming();
	check_dripping();
	return tap_done();
}
