/* SPDX-License-Identifier: MIT */
/* ktls serve -dtls: files by TFTP within DTLS. */
#ifndef KTLS_CLI_FILES_H
#define KTLS_CLI_FILES_H

#include "cli.h"
#include "ktls.h"

/*
 * Serves the directory root (site.h) to the DTLS clients of udp until SIGINT or SIGTERM. Says on
 * standard output where it listens, then a line for each request.
 */
enum status files_run(SSL_CTX *ctx, int udp, int root, unsigned int flags,
		      unsigned int clients_max, unsigned int idle_s);

#endif
