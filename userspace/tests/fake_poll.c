// SPDX-License-Identifier: MIT
/* poll(2). */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/ktls.h>

#include "fake_socket.h"

#define SLICE_MS	2	/* between two looks at what no descriptor tells */
#define POLLED		8

/* What the socket says, where its carrier says that. */
static short events_of(struct fake *f, short events, short carrier)
{
	bool waits_for_key = f->rx_due && !f->datagrams;
	short got = carrier;

	f->counts.polls++;
	if (f->pause)
		got &= ~POLLOUT;
	if (waits_for_key)
		got &= ~POLLIN;
	if (f->data.first)
		got |= POLLIN;
	/* What is not opened yet may be for the queue. */
	if (f->limit_is_news || f->controls.first || (f->mode == KTLS_CONTROL_QUEUE && !waits_for_key &&
				  (carrier & (POLLIN | POLLRDHUP)) == POLLIN))
		got |= POLLPRI;
	return got & (events | POLLERR | POLLHUP | POLLNVAL);
}

static int look(struct pollfd *pfds, nfds_t n)
{
	struct pollfd all[POLLED];
	struct fake *f;
	int count = 0;
	nfds_t i;

	for (i = 0; i < n; i++) {
		all[i] = pfds[i];
		if (fake_find(pfds[i].fd))
			all[i].events = POLLIN | POLLOUT | POLLRDHUP;
	}
	if (syscall(SYS_poll, all, n, 0) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		f = fake_find(pfds[i].fd);
		if (f)
			pthread_mutex_lock(&f->lock);
		pfds[i].revents = f ? events_of(f, pfds[i].events, all[i].revents) : all[i].revents;
		if (f)
			pthread_mutex_unlock(&f->lock);
		count += !!pfds[i].revents;
	}
	return count;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int poll(struct pollfd *pfds, nfds_t n, int timeout)
{
	int64_t end = now_ms() + timeout, left;
	struct pollfd others[POLLED];
	bool any = false;
	nfds_t i;
	int ret;

	for (i = 0; i < n && n <= POLLED; i++) {
		any = any || fake_find(pfds[i].fd);
		others[i] = pfds[i];
		if (fake_find(pfds[i].fd))
			others[i].fd = -1;
	}
	if (!any)
		return (int)syscall(SYS_poll, pfds, n, timeout);
	while (!(ret = look(pfds, n))) {
		left = timeout < 0 ? SLICE_MS : end - now_ms();
		if (left <= 0)
			return 0;
		if (syscall(SYS_poll, others, n, left < SLICE_MS ? (int)left : SLICE_MS) < 0)
			return -1;
	}
	return ret;
}
