/* SPDX-License-Identifier: MIT */
/* Standard input to a connection and the connection to standard output. */
#ifndef KTLS_CLI_RELAY_H
#define KTLS_CLI_RELAY_H

#include "cli.h"
#include "ktls.h"
#include "progress.h"

/*
 * Runs until both directions have ended; takes a connection whose TCP socket does not
 * block, and whether ktls_keep() sees to its keys. Datagrams end too when the input has and
 * for idle_s none came (0: never). Complains itself.
 */
enum status relay(struct ktls_conn *conn, bool kept, unsigned int idle_s, struct progress *progress);

/* The exit status for a failed call of libktls. */
enum status status_of(int ret);

#endif
