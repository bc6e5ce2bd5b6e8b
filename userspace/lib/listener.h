/* SPDX-License-Identifier: MIT */
/* Many peers on one UDP socket: who a guest is, and what its connection asks of the host. */
#ifndef KTLS_LISTENER_H
#define KTLS_LISTENER_H

#include "conn.h"

/* Another connection holds on to the listener. */
struct ktls_listener *ktls_listener_get(struct ktls_listener *listener);
/* The connection closes; its AF_KTLS socket too, before the peer may begin anew. */
void ktls_listener_leave(struct ktls_conn *conn);
/*
 * The peer has finished another handshake: its connection before, if there is one, gives up
 * the peer's address (rfc6347 4.2.8).
 */
void ktls_listener_displace(struct ktls_conn *conn);
/* The connection stays in userspace: a UDP socket of its own. 0 or -errno. */
int ktls_listener_dismiss(struct ktls_conn *conn);

#endif
