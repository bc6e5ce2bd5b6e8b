/* SPDX-License-Identifier: MIT */
/* One thread's event loop: descriptors that become readable, SIGINT and SIGTERM. */
#ifndef KTLS_CLI_LOOP_H
#define KTLS_CLI_LOOP_H

#include <stdbool.h>

/* Part of whatever is told that its descriptor is readable. */
struct source {
	void (*ready)(struct source *source);
};

struct loop {
	int epoll, signals;
	bool stopping;		/* a signal came */
	struct source bell;
};

/* False after a complaint. From here on the two signals only set ->stopping. */
bool loop_open(struct loop *loop);
/* Until fd is closed. False after a complaint. */
bool loop_watch(struct loop *loop, int fd, struct source *source);
/* Runs what is ready now or within timeout_ms; a source must outlive the call. */
void loop_wait(struct loop *loop, int timeout_ms);
void loop_close(struct loop *loop);

#endif
