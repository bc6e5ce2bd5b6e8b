// SPDX-License-Identifier: MIT
/* The kernel's tables, for people or as JSON. The header line names the columns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ktls.h"
#include "options.h"

#define SOCKETS		"/proc/net/ktls"
#define COUNTERS	"/proc/net/ktls_stat"
#define ROW_MAX	1024
#define COLUMNS_MAX	32

static bool json;

static const struct option options[] = {
	{ "json", NULL, "one JSON object", .flag = &json },
	{ 0 },
};

static const struct usage usage = {
	"ktls stat [-json]",
	"Shows the AF_KTLS sockets of this network namespace and the module's counters.\n"
	"Exit status: 0 good, 2 usage, 5 the module is not loaded.",
	options,
};

struct row {
	char text[ROW_MAX];
	char *field[COLUMNS_MAX];
	size_t fields;
};

static bool next_row(FILE *f, struct row *row)
{
	char *save = NULL, *field;

	if (!fgets(row->text, sizeof(row->text), f))
		return false;
	row->fields = 0;
	for (field = strtok_r(row->text, " \t\n", &save); field && row->fields < COLUMNS_MAX;
	     field = strtok_r(NULL, " \t\n", &save))
		row->field[row->fields++] = field;
	return true;
}

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if ((unsigned char)*s >= ' ')
			putchar(*s);
	}
	putchar('"');
}

static bool is_number(const char *s)
{
	return s[strspn(s, "0123456789")] == '\0' && (s[0] != '0' || !s[1]);
}

static void json_value(const char *s)
{
	if (!strcmp(s, "-"))
		printf("null");
	else if (is_number(s))
		printf("%s", s);
	else
		json_string(s);
}

/* A version reads as a number but is a name: "1.2" is no decimal, and neither is "1". */
static void json_member(const char *name, const char *value)
{
	json_string(name);
	putchar(':');
	if (!strcmp(name, "version") && strcmp(value, "-"))
		json_string(value);
	else
		json_value(value);
}

static void json_sockets(FILE *f)
{
	struct row head, row;
	const char *comma = "";
	size_t i;

	printf("\"sockets\":[");
	if (next_row(f, &head))
		while (next_row(f, &row)) {
			printf("%s{", comma);
			for (i = 0; i < row.fields && i < head.fields; i++) {
				printf("%s", i ? "," : "");
				json_member(head.field[i], row.field[i]);
			}
			printf("}");
			comma = ",";
		}
	printf("]");
}

static void json_counters(FILE *f)
{
	struct row row;
	const char *comma = "";

	printf("\"counters\":{");
	while (next_row(f, &row)) {
		if (row.fields < 2)
			continue;
		printf("%s", comma);
		json_member(row.field[0], row.field[1]);
		comma = ",";
	}
	printf("}");
}

static void measure(FILE *f, size_t width[COLUMNS_MAX])
{
	struct row row;
	size_t i, len;

	memset(width, 0, COLUMNS_MAX * sizeof(*width));
	while (next_row(f, &row))
		for (i = 0; i < row.fields; i++) {
			len = strlen(row.field[i]);
			if (len > width[i])
				width[i] = len;
		}
	rewind(f);
}

static void print_table(FILE *f)
{
	size_t width[COLUMNS_MAX], i;
	struct row row;

	measure(f, width);
	while (next_row(f, &row)) {
		for (i = 0; i + 1 < row.fields; i++)
			printf("%-*s  ", (int)width[i], row.field[i]);
		printf("%s\n", row.fields ? row.field[i] : "");
	}
}

static FILE *open_table(const char *name)
{
	const char *why;
	FILE *f = fopen(name, "re");
	int err = errno;

	if (f)
		return f;
	if (err == ENOENT && !ktls_available(&why))
		complain("%s", why);
	else
		complain("%s: %s", name, strerror(err));
	return NULL;
}

static void show(FILE *sockets, FILE *counters)
{
	if (json) {
		printf("{");
		json_sockets(sockets);
		printf(",");
		json_counters(counters);
		printf("}\n");
		return;
	}
	print_table(sockets);
	printf("\n");
	print_table(counters);
}

static int run(int argc, char **argv)
{
	FILE *sockets, *counters = NULL;
	int i = parse_options(argc, argv, &usage);

	if (i != argc)
		misused(argv[0], "no operands, please");
	sockets = open_table(SOCKETS);
	if (sockets)
		counters = open_table(COUNTERS);
	if (counters) {
		show(sockets, counters);
		fclose(counters);
	}
	if (sockets)
		fclose(sockets);
	return counters ? STATUS_OK : STATUS_LOCAL;
}

const struct verb verb_stat = {
	"stat", "the kernel's sockets and counters", run,
};
