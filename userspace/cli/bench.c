// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bench_groups.h"
#include "bench_machine.h"
#include "bench_scenario.h"
#include "cli.h"
#include "options.h"

#define LIST_MAX	16	/* of an option */
#define PARALLEL_MAX	256
#define REPEATS_MAX	1000
#define SECONDS_MAX	3600

static struct {
	const char *scenarios, *ways, *ciphers, *sizes;
	const char *seconds, *warmup, *records, *connections, *repeats;
	const char *report;
	bool tls12, tls13, dtls, no_pad, json;
} args = {
	.scenarios = "send,recv,echo", .ways = "all", .ciphers = "AES128-GCM",
	.warmup = "0.2", .connections = "1", .repeats = "3",
};

static const struct option options[] = {
	{ .help = "What is compared:" },
	{ "scenario", "LIST", "send, mmap, sendfile, splice, recv, both,\n"
	  "                       splice-echo, echo, turns, or all (send,recv,echo)",
	  .value = &args.scenarios },
	{ "way", "LIST", "af_ktls, tls (the kernel's), openssl-ktls, openssl, gnutls,\n"
	  "                       plain, or all (all)", .value = &args.ways },
	{ "tls1_2", NULL, "TLS 1.2 over TCP (unless another is given)", .flag = &args.tls12 },
	{ "tls1_3", NULL, "TLS 1.3 over TCP", .flag = &args.tls13 },
	{ "dtls", NULL, "DTLS 1.2 over UDP", .flag = &args.dtls },
	{ "cipher", "LIST", "AES128-GCM, AES256-GCM, CHACHA20-POLY1305, AES128-CCM",
	  .value = &args.ciphers },
	{ "no-pad", NULL, "TLS 1.3: the kernel expects no padding (TLS_RX_EXPECT_NO_PAD)",
	  .flag = &args.no_pad },
	{ .help = "How much:" },
	{ "size", "LIST", "bytes of each call (16384; echo: 64); over 16384: several records",
	  .value = &args.sizes },
	{ "time", "SECONDS", "each run (1)", .value = &args.seconds },
	{ "count", "N", "records of each connection and run, instead of a time",
	  .value = &args.records },
	{ "warmup", "SECONDS", "before each run, not measured (0.2)", .value = &args.warmup },
	{ "parallel", "N", "connections at a time, each with threads of its own (1)",
	  .value = &args.connections },
	{ "repeat", "N", "runs of each, by turns with the others (3)", .value = &args.repeats },
	{ .help = "What is told:" },
	{ "json", NULL, "one JSON object, with the figures of each run", .flag = &args.json },
	{ "report", "FILE", "a page with charts too", .value = &args.report },
	{ 0 },
};

static const struct usage usage = {
	"ktls bench [option...]",
	"Moves records over loopback in several ways and compares throughput, processor time\n"
	"and latency: AF_KTLS, the kernel's own TLS, OpenSSL, GnuTLS, and no TLS at all.\n"
	"Exit status: 0 good, 2 usage, 5 a run failed, or nothing could be measured.",
	options,
};

/* The names of an option that stand for something. */
struct list {
	const void *items[LIST_MAX];
	size_t sizes[LIST_MAX];
	size_t count;
};

typedef const void *finder(const char *name, size_t len);

static const void *find_scenario(const char *name, size_t len)
{
	return bench_scenario_find(name, len);
}

static const void *find_cipher(const char *name, size_t len)
{
	return bench_cipher_find(name, len);
}

static const void *find_way(const char *name, size_t len)
{
	size_t i;

	for (i = 0; bench_ways[i]; i++)
		if (strlen(bench_ways[i]->name) == len && !memcmp(bench_ways[i]->name, name, len))
			return bench_ways[i];
	return NULL;
}

static bool contains(const struct list *list, const void *item)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (list->items[i] == item)
			return true;
	return false;
}

static void read_list(const char *option, const char *text, finder *find, struct list *list)
{
	size_t len;

	for (;; text += len + 1) {
		const void *item;

		len = strcspn(text, ",");
		item = find(text, len);
		if (!item)
			misused("bench", "-%s: there is no \"%.*s\"", option, (int)len, text);
		if (contains(list, item))
			misused("bench", "-%s: %.*s is there twice", option, (int)len, text);
		list->items[list->count++] = item;
		if (!text[len])
			return;
	}
}

static void all_ways(struct list *list)
{
	while (bench_ways[list->count]) {
		list->items[list->count] = bench_ways[list->count];
		list->count++;
	}
}

static void all_scenarios(struct list *list)
{
	while (bench_scenarios[list->count].name) {
		list->items[list->count] = &bench_scenarios[list->count];
		list->count++;
	}
}

static void read_sizes(const char *text, struct list *list)
{
	char one[16];
	size_t len;

	for (; text; text = text[len] ? text + len + 1 : NULL) {
		uint64_t size;

		len = strcspn(text, ",");
		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		size = len < sizeof(one) ? read_size(one) : 0;
		if (!size || size > BENCH_SIZE_MAX)
			misused("bench", "-size: %.*s is none; 1 to 1M", (int)len, text);
		if (list->count == LIST_MAX)
			misused("bench", "-size: %d at most", LIST_MAX);
		list->sizes[list->count++] = (size_t)size;
	}
}

static double read_seconds(const char *option, const char *text, double least)
{
	char *end;
	double seconds = strtod(text, &end);

	/* Neither "1e3" nor "inf", though strtod takes them. */
	if (!*text || *end || text[strspn(text, "0123456789.")] || seconds < least ||
	    seconds > SECONDS_MAX)
		misused("bench", "-%s: %s is no number of seconds from %g to %d", option, text,
			least, SECONDS_MAX);
	return seconds;
}

static unsigned int read_limited(const char *option, const char *text, unsigned int most)
{
	unsigned int n = read_count(text);

	if (!n || n > most)
		misused("bench", "-%s: %s is no number from 1 to %u", option, text, most);
	return n;
}

static void read_amounts(struct bench_plan *plan)
{
	plan->seconds = read_seconds("time", args.seconds ? args.seconds : "1", 0.001);
	plan->warmup = read_seconds("warmup", args.warmup, 0);
	if (args.records && args.seconds)
		misused("bench", "-count or -time, not both");
	if (args.records) {
		plan->records = read_count(args.records);
		if (!plan->records)
			misused("bench", "-count: %s is no number from 1", args.records);
	}
	plan->connections = read_limited("parallel", args.connections, PARALLEL_MAX);
	plan->repeats = read_limited("repeat", args.repeats, REPEATS_MAX);
	plan->no_pad = args.no_pad;
	if (args.no_pad && !args.tls13)
		misused("bench", "-no-pad is for -tls1_3");
}

/* What is asked for. */
struct choice {
	struct list scenarios, ways, ciphers, sizes, protocols;
};

static void choose_protocols(struct list *list)
{
	if (args.tls12 || (!args.tls13 && !args.dtls))
		list->items[list->count++] = &bench_tls12;
	if (args.tls13)
		list->items[list->count++] = &bench_tls13;
	if (args.dtls)
		list->items[list->count++] = &bench_dtls12;
}

static void choose(struct choice *choice)
{
	if (strcmp(args.scenarios, "all"))
		read_list("scenario", args.scenarios, find_scenario, &choice->scenarios);
	else
		all_scenarios(&choice->scenarios);
	if (strcmp(args.ways, "all"))
		read_list("way", args.ways, find_way, &choice->ways);
	else
		all_ways(&choice->ways);
	read_list("cipher", args.ciphers, find_cipher, &choice->ciphers);
	read_sizes(args.sizes, &choice->sizes);
	choose_protocols(&choice->protocols);
}

static void add_case(struct bench_plan *plan, const struct bench_case *c)
{
	struct bench_case *to = &plan->cases[plan->count++];

	*to = *c;
	to->samples = calloc(plan->repeats, sizeof(*to->samples));
	if (!to->samples)
		abort();
}

static void add_ways(struct bench_plan *plan, const struct choice *choice, struct bench_case *c)
{
	static const size_t small = 64, large = BENCH_RECORD;
	bool is_echo = c->scenario->timed[0] && !c->scenario->timed[1];
	const size_t *sizes = choice->sizes.count ? choice->sizes.sizes : is_echo ? &small : &large;
	size_t count = choice->sizes.count ? choice->sizes.count : 1, i, j;

	for (i = 0; i < count; i++)
		for (j = 0; j < choice->ways.count; j++) {
			c->size = sizes[i];
			c->way = choice->ways.items[j];
			add_case(plan, c);
		}
}

static void make_cases(struct bench_plan *plan, const struct choice *choice)
{
	size_t sizes = choice->sizes.count ? choice->sizes.count : 1;
	size_t i, j, k;

	plan->cases = calloc(choice->scenarios.count * choice->protocols.count *
			     choice->ciphers.count * sizes * choice->ways.count,
			     sizeof(*plan->cases));
	if (!plan->cases)
		abort();
	for (i = 0; i < choice->scenarios.count; i++)
		for (j = 0; j < choice->protocols.count; j++)
			for (k = 0; k < choice->ciphers.count; k++) {
				struct bench_case c = {
					.scenario = choice->scenarios.items[i],
					.protocol = choice->protocols.items[j],
					.cipher = choice->ciphers.items[k],
				};

				add_ways(plan, choice, &c);
			}
}

static void show_progress(const struct bench_plan *plan, unsigned int round, size_t i)
{
	const struct bench_case *c = &plan->cases[i];

	fprintf(stderr, "\r\33[Kround %u of %u, %zu of %zu: %s %s %zu %s", round + 1,
		plan->repeats, i + 1, plan->count, c->scenario->name, c->protocol->name, c->size,
		c->way->title);
}

/* Round by round, so that what else the machine does meets all; each way is first in turn. */
static void run_all(struct bench_plan *plan)
{
	bool tells = isatty(STDERR_FILENO);
	struct bench_group g;
	unsigned int round;
	size_t i;

	for (round = 0; round < plan->repeats; round++)
		for (g = (struct bench_group){ 0 }; bench_groups_next(plan, &g);) {
			size_t ways = (size_t)(g.end - g.first);
			struct bench_case *first = plan->cases + (g.first - plan->cases);

			for (i = 0; i < ways; i++) {
				struct bench_case *c = &first[(i + round) % ways];

				if (c->outcome != BENCH_DONE)
					continue;
				if (tells)
					show_progress(plan, round, (size_t)(c - plan->cases));
				bench_case_run(plan, c);
			}
		}
	if (tells)
		fprintf(stderr, "\r\33[K");
	for (i = 0; i < plan->count; i++)
		bench_stats_summarize(plan->cases[i].samples, plan->cases[i].count,
				      &plan->cases[i].summary);
}

static int status_of(const struct bench_plan *plan)
{
	bool any = false;
	size_t i;

	for (i = 0; i < plan->count; i++) {
		if (plan->cases[i].outcome == BENCH_FAILED)
			return STATUS_LOCAL;
		any = any || plan->cases[i].outcome == BENCH_DONE;
	}
	return any ? STATUS_OK : STATUS_LOCAL;
}

/* Opened before the runs, as nobody wants to learn after them that it cannot be written. */
static FILE *open_report(void)
{
	FILE *f = fopen(args.report, "we");

	if (!f)
		complain("-report %s: %s", args.report, strerror(errno));
	return f;
}

static bool close_report(FILE *f, const struct bench_plan *plan,
			 const struct bench_machine *machine)
{
	bool good;

	if (!f)
		return true;
	bench_report_write(f, plan, machine);
	good = !ferror(f);
	good = !fclose(f) && good;
	if (!good)
		complain("-report %s: %s", args.report, strerror(errno));
	return good;
}

static void free_cases(struct bench_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
		free(plan->cases[i].samples);
	free(plan->cases);
}

/* Runs, and tells: the table or JSON, and the report unless that is NULL. */
static int run_plan(struct bench_plan *plan, const struct bench_machine *machine, FILE *report)
{
	run_all(plan);
	if (args.json)
		bench_json_write(stdout, plan, machine);
	else
		bench_table_write(stdout, plan);
	if (fflush(stdout)) {
		complain("standard output: %s", strerror(errno));
		return STATUS_LOCAL;
	}
	return close_report(report, plan, machine) ? status_of(plan) : STATUS_LOCAL;
}

static int run(int argc, char **argv)
{
	struct bench_machine machine;
	struct bench_plan plan = { 0 };
	struct choice choice = { 0 };
	FILE *report = NULL;
	int i, status;

	/* Parsing moves the arguments. */
	bench_machine_describe(&machine, argc, argv);
	i = parse_options(argc, argv, &usage);

	if (i != argc)
		misused(argv[0], "no operands, please");
	choose(&choice);
	read_amounts(&plan);
	make_cases(&plan, &choice);
	if (args.report) {
		report = open_report();
		if (!report)
			return STATUS_LOCAL;
	}
	status = run_plan(&plan, &machine, report);
	free_cases(&plan);
	return status;
}

const struct verb verb_bench = {
	"bench", "compares AF_KTLS with other ways, over loopback", run,
};
