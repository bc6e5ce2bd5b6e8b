// SPDX-License-Identifier: MIT
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "ktls.h"
#include "options.h"

static const struct verb *const verbs[] = {
	&verb_serve, &verb_connect, &verb_listen, &verb_relay, &verb_stat, &verb_bench,
};

#define VERBS	(sizeof(verbs) / sizeof(verbs[0]))

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("ktls: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void print_safely(FILE *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (text[i] > ' ' && text[i] < 127 && text[i] != '\\')
			fputc(text[i], out);
		else
			fprintf(out, "\\x%02x", (unsigned char)text[i]);
}

static const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

static int help(void)
{
	size_t i;

	printf("usage: ktls VERB [option...] [operand...]\n\n"
	       "TLS and DTLS connections whose records the kernel seals and opens (AF_KTLS).\n\n");
	for (i = 0; i < VERBS; i++)
		printf("  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	printf("  %-10s %s\n", "version", "of ktls and OpenSSL, and what the kernel carries");
	printf("  %-10s %s\n\n", "help", "this text; ktls VERB --help tells more");
	printf("Manual: ktls(1), ktls(7), libktls(3).\n");
	return STATUS_OK;
}

static int version(void)
{
	const char *why;
	unsigned int can = ktls_available(&why);

	printf("ktls %s, %s\nkernel:%s%s%s%s%s\n", KTLS_VERSION, OpenSSL_version(OPENSSL_VERSION),
	       can & KTLS_CAN_TLS12 ? " TLS 1.2" : "", can & KTLS_CAN_TLS13 ? " TLS 1.3" : "",
	       can & KTLS_CAN_DTLS12 ? " DTLS 1.2" : "", can ? "" : " ", can ? "" : why);
	return STATUS_OK;
}

static bool is_word(const char *arg, const char *word)
{
	while (*arg == '-')
		arg++;
	return !strcmp(arg, word);
}

static int run_help(int argc, char **argv)
{
	const struct verb *verb = argc > 2 ? find_verb(argv[2]) : NULL;
	char *args[] = { argc > 2 ? argv[2] : NULL, (char *)"--help", NULL };

	if (argc > 2 && !verb)
		misused(NULL, "no verb %s", argv[2]);
	return verb ? verb->run(2, args) : help();
}

int main(int argc, char **argv)
{
	const struct verb *verb;

	/* Every write says EPIPE; nobody wants to die of it without a sentence. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		misused(NULL, "which verb?");
	if (is_word(argv[1], "help") || is_word(argv[1], "h"))
		return run_help(argc, argv);
	if (is_word(argv[1], "version"))
		return version();
	verb = find_verb(argv[1]);
	if (!verb)
		misused(NULL, "no verb %s", argv[1]);
	return verb->run(argc - 1, argv + 1);
}
