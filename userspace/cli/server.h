/* SPDX-License-Identifier: MIT */
/* The event loop of ktls serve: one thread, epoll, any number of clients. */
#ifndef KTLS_CLI_SERVER_H
#define KTLS_CLI_SERVER_H

#include "cli.h"
#include "ktls.h"

/* Serves the directory root (site.h) until SIGINT or SIGTERM; more clients wait.
 * Says on standard output where it listens, then a line for each request.
 */
enum status server_run(SSL_CTX *ctx, int listener, int root, unsigned int flags,
		       unsigned int clients_max);

#endif
