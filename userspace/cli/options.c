// SPDX-License-Identifier: MIT
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "options.h"

void misused(const char *verb, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("ktls: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	if (verb)
		fprintf(stderr, "\nTry: ktls %s --help\n", verb);
	else
		fprintf(stderr, "\nTry: ktls help\n");
	exit(STATUS_USAGE);
}

static void show_help(const struct usage *usage)
{
	const struct option *o;
	char left[40];

	printf("usage: %s\n\n%s\n", usage->synopsis, usage->description);
	for (o = usage->options; o->help; o++) {
		if (!o->name) {
			printf("\n%s\n", o->help);
			continue;
		}
		snprintf(left, sizeof(left), "-%s %s", o->name, o->argument ? o->argument : "");
		printf("  %-20s %s\n", left, o->help);
	}
	exit(STATUS_OK);
}

/* The option that arg names, up to its end or a '='. */
static const struct option *find(const struct option *o, const char *arg)
{
	size_t len = strcspn(arg, "=");

	for (; o->help; o++)
		if (o->name && strlen(o->name) == len && !strncmp(o->name, arg, len))
			return o;
	return NULL;
}

static const char *name_of(const char *arg)
{
	arg++;
	return *arg == '-' ? arg + 1 : arg;
}

static bool asks_for_help(const char *name)
{
	return !strcmp(name, "help") || !strcmp(name, "h") || !strcmp(name, "?");
}

/* Returns the number of arguments used. */
static int take_option(int left, char **arg, const char *verb, const struct usage *usage)
{
	const char *name = name_of(arg[0]);
	const struct option *o = find(usage->options, name);
	const char *equals = strchr(name, '=');

	if (asks_for_help(name))
		show_help(usage);
	if (!o)
		misused(verb, "unknown option %s", arg[0]);
	if (o->flag) {
		if (equals)
			misused(verb, "-%s takes no argument", o->name);
		*o->flag = true;
		return 1;
	}
	*o->value = equals ? equals + 1 : arg[1];
	if (!equals && left < 2)
		misused(verb, "-%s needs an argument: %s", o->name, o->argument);
	return equals ? 1 : 2;
}

int parse_options(int argc, char **argv, const struct usage *usage)
{
	bool no_more = false;
	int i = 1, operands = 0;

	while (i < argc) {
		if (no_more || argv[i][0] != '-' || !argv[i][1]) {
			argv[1 + operands++] = argv[i++];
		} else if (!strcmp(argv[i], "--")) {
			no_more = true;
			i++;
		} else {
			i += take_option(argc - i, argv + i, argv[0], usage);
		}
	}
	i = argc - operands;
	memmove(argv + i, argv + 1, (size_t)operands * sizeof(*argv));
	return i;
}

int read_number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return end == text || *end || n < 0 || n > INT_MAX ? -1 : (int)n;
}

unsigned int read_count(const char *text)
{
	int n = read_number(text);

	return n < 1 ? 0 : (unsigned int)n;
}

uint64_t read_size(const char *text)
{
	static const char units[] = "KMG";
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;

	if (*text < '0' || *text > '9' || (unit ? end[1] : *end) || n > (uint64_t)INT64_MAX >> shift)
		return 0;
	return n << shift;
}
