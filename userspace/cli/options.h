/* SPDX-License-Identifier: MIT */
/* Long options with one dash, as openssl(1) has them, or two. */
#ifndef KTLS_CLI_OPTIONS_H
#define KTLS_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct option {
	const char *name;	/* NULL: a heading in the help */
	const char *argument;	/* what the help calls it; NULL: takes none */
	const char *help;
	bool *flag;		/* set when the option is given, or ... */
	const char **value;	/* ... where its argument goes */
};

struct usage {
	const char *synopsis;
	const char *description;
	const struct option *options;	/* ends with .help == NULL */
};

/*
 * Options may stand behind operands, until "--": operands are moved to the end of argv.
 * Returns the index of the first; exits with the help (status 0) when asked for it
 * and with a sentence (STATUS_USAGE) on a mistake.
 */
int parse_options(int argc, char **argv, const struct usage *usage);

/* A number from 0 on; -1: it is none. */
int read_number(const char *text);
/* The same from 1 on; 0: it is none. */
unsigned int read_count(const char *text);
/* The same, in bytes, K, M or G (of 1024); at most INT64_MAX. */
uint64_t read_size(const char *text);

/* Complains, points to the help and exits with STATUS_USAGE. */
void misused(const char *verb, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

#endif
