/* SPDX-License-Identifier: MIT */
/* Waiting in poll(2) as the kernel would in the program's call: for so long, and until a signal. */
#ifndef KTLS_WAIT_H
#define KTLS_WAIT_H

#include <poll.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

struct ktls_conn;

struct ktls_wait {
	const struct ktls_conn *conn;
	int option;		/* SO_RCVTIMEO or SO_SNDTIMEO */
	int flags;		/* of the call */
	int64_t since_ms;	/* when the call began */
};

/* May a call with these flags wait at all? */
bool ktls_may_wait(const struct ktls_conn *conn, int flags);
void ktls_wait_begin(struct ktls_wait *wait, const struct ktls_conn *conn, int option, int flags);
/*
 * poll(2) for so many milliseconds, -1: no limit. 0: look again; -EAGAIN: the call may wait no
 * longer; -EINTR.
 */
int ktls_wait_poll(const struct ktls_wait *wait, struct pollfd *pfds, nfds_t n, int timeout_ms);
/* Takes what another thread has: 0, -EAGAIN, -EINTR. */
int ktls_wait_lock(const struct ktls_wait *wait, sem_t *lock);

#endif
