// SPDX-License-Identifier: MIT
#include <errno.h>

#include "cli.h"
#include "door.h"
#include "tls.h"
#include "net.h"

/* The loop's turn is what counts: door_next asks the listener. */
static void knock(struct source *source)
{
	(void)source;
}

bool door_open(struct door *door, struct loop *loop, SSL_CTX *ctx, int udp, unsigned int flags)
{
	set_nonblocking(udp);
	door->source.ready = knock;
	door->listener = ktls_listen(ctx, udp, flags);
	if (door->listener)
		return loop_watch(loop, udp, &door->source);
	complain("%s", ktls_last_error());
	return false;
}

struct ktls_conn *door_next(struct door *door)
{
	struct ktls_conn *conn;
	int err;

	if (!door->listener)
		return NULL;
	for (;;) {
		conn = ktls_listener_accept(door->listener, 0);
		err = errno;
		if (conn)
			tls_limit(conn);
		if (conn || err == EAGAIN)
			return conn;
		complain("%s", ktls_last_error());
		if (err == EMFILE || err == ENFILE || err == ENOMEM)
			return NULL;
	}
}

int door_patience(const struct door *door, int max_ms)
{
	int wait = door->listener ? ktls_listener_timeout(door->listener) : -1;

	return wait < 0 || wait > max_ms ? max_ms : wait;
}

void door_close(struct door *door)
{
	ktls_listener_close(door->listener);
	door->listener = NULL;
}
