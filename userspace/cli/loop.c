// SPDX-License-Identifier: MIT
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"
#include "loop.h"
#include "net.h"

#define EVENTS	64

bool loop_watch(struct loop *loop, int fd, struct source *source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	if (!epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event))
		return true;
	complain("epoll: %s", strerror(errno));
	return false;
}

void loop_wait(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	struct source *source;
	int i, n = epoll_wait(loop->epoll, events, EVENTS, timeout_ms);

	for (i = 0; i < n; i++) {
		source = events[i].data.ptr;
		source->ready(source);
	}
}

static void ring(struct source *source)
{
	struct loop *loop = (struct loop *)((char *)source - offsetof(struct loop, bell));

	loop->stopping = true;
}

bool loop_open(struct loop *loop)
{
	sigset_t mask;

	raise_file_limit();
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	*loop = (struct loop){ .bell.ready = ring };
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop_watch(loop, loop->signals, &loop->bell))
		return true;
	loop_close(loop);
	return false;
}

void loop_close(struct loop *loop)
{
	if (loop->signals >= 0)
		close(loop->signals);
	if (loop->epoll >= 0)
		close(loop->epoll);
}
