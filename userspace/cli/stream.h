/* SPDX-License-Identifier: MIT */
/* ktls serve -dtls -stream: a file as datagrams at an even pace. */
#ifndef KTLS_CLI_STREAM_H
#define KTLS_CLI_STREAM_H

#include "cli.h"
#include "ktls.h"

struct stream_options {
	const char *name;
	int file;		/* a regular one from its beginning to each client, else what is read */
	bool regular;
	uint64_t rate;		/* bytes a second */
	size_t size;		/* of a datagram; 0: what the path takes */
};

/*
 * To the DTLS clients of udp until SIGINT or SIGTERM, or the end of a file that is not regular.
 * Says on standard output where it listens, then a line for each client that leaves.
 */
enum status stream_run(SSL_CTX *ctx, int udp, const struct stream_options *options,
		       unsigned int flags, unsigned int clients_max);

#endif
