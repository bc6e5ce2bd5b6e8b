/* SPDX-License-Identifier: MIT */
#ifndef KTLS_CLI_H
#define KTLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit statuses, as ktls(1) lists them. */
enum status {
	STATUS_OK = 0,
	STATUS_TLS = 1,		/* handshake, verification, a bad record, a fatal alert */
	STATUS_USAGE = 2,
	STATUS_TRUNCATED = 3,	/* the peer left without close_notify, or before we had sent all */
	STATUS_NETWORK = 4,
	STATUS_LOCAL = 5,	/* files, standard input or output, no module */
};

struct verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct verb verb_serve, verb_connect, verb_listen, verb_relay, verb_stat, verb_bench;

/* "ktls: ..." and a newline to standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What came from outside must not forge lines or move the terminal's cursor. */
void print_safely(FILE *out, const char *text, size_t len);

#endif
