// SPDX-License-Identifier: MIT
/* The writers of ktls bench, of results that are made up. */
#include <stdlib.h>
#include <string.h>

#include "../cli/bench_machine.h"
#include "../cli/bench_scenario.h"
#include "tap.h"

/* Stand-ins for the ways and scenarios, of which the writers want names alone. */
const struct bench_way bench_tls = { .name = "tls", .title = "kernel TLS" };
const struct bench_way bench_af_ktls = { .name = "af_ktls", .title = "AF_KTLS" };
const struct bench_way bench_plain = { .name = "plain", .title = "plain" };
static const struct bench_way odd = { .name = "odd", .title = "<odd> & \"so\"" };
static const struct bench_scenario send_scenario = { .name = "send", .summary = "sends" };
static const struct bench_scenario echo_scenario = { .name = "echo", .summary = "echoes",
						     .timed = { "round trip" } };
static const struct bench_protocol tls12 = { .name = "TLS 1.2" };
static const struct bench_cipher gcm = { .name = "AES128-GCM" };

static struct bench_case cases[] = {
	{ &send_scenario, &tls12, &gcm, &bench_af_ktls, .size = 16384 },
	{ &send_scenario, &tls12, &gcm, &bench_tls, .size = 16384 },
	{ &send_scenario, &tls12, &gcm, &odd, .size = 16384, .outcome = BENCH_ABSENT,
	  .why = "a <reason> \"such\" \\ as\nthis" },
	{ &echo_scenario, &tls12, &gcm, &bench_af_ktls, .size = 64 },
	{ &echo_scenario, &tls12, &gcm, &bench_plain, .size = 64 },
	{ &echo_scenario, &tls12, &gcm, &odd, .size = 64, .outcome = BENCH_FAILED, .why = "broken" },
};

#define CASES	(sizeof(cases) / sizeof(cases[0]))

static struct bench_sample samples[CASES][2];
static const struct bench_machine machine = {
	.processor = "A & B", .processors = 2, .kernel = "Linux 1", .command = "ktls bench <x>",
	.emulated = true,
};

static const struct bench_plan plan = {
	.cases = cases, .count = CASES, .seconds = 1, .connections = 1, .repeats = 2,
};

static void make_up(void)
{
	size_t i;

	for (i = 0; i < CASES; i++) {
		if (cases[i].outcome != BENCH_DONE)
			continue;
		samples[i][0] = (struct bench_sample){
			.seconds = 1, .cpu = 0.5, .records = 100 * (double)(i + 1),
			.bytes = 1e6 * (double)(i + 1), .times = { { 1000, 2000, 3000, 4000, 5000 } },
		};
		samples[i][1] = samples[i][0];
		cases[i].samples = samples[i];
		cases[i].count = 2;
		bench_stats_summarize(samples[i], 2, &cases[i].summary);
	}
}

typedef void writer(FILE *out);

static void table(FILE *out)
{
	bench_table_write(out, &plan);
}

static void json(FILE *out)
{
	bench_json_write(out, &plan, &machine);
}

static void report(FILE *out)
{
	bench_report_write(out, &plan, &machine);
}

static char *written(writer *write)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	write(out);
	fclose(out);
	return text;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void table_tests(void)
{
	char *text = written(table);

	ok(count(text, "send, TLS 1.2 AES128-GCM, 16384 bytes") == 1, "the table names what was done");
	ok(strstr(text, "AF_KTLS                     1.0    0.0        100     50  5000.00     0.50"),
	   "figures, and the ratio to kernel TLS");
	ok(strstr(text, "AF_KTLS                    1.00     2.00     3.00     4.00     5.00"),
	   "percentiles");
	ok(strstr(text, "is absent from send: a <reason>"), "who is absent, from what and why");
	ok(strstr(text, "FAILED: broken"), "what failed");
	free(text);
}

/* Quotes and braces pair up: whatever reads JSON says the rest (cli_bench.sh). */
static void json_tests(void)
{
	char *text = written(json);

	ok(strstr(text, "\"why\":\"a <reason> \\\"such\\\" \\\\ asthis\""), "JSON: a string");
	ok(count(text, "{") == count(text, "}") && count(text, "[") == count(text, "]"),
	   "JSON: brackets");
	ok(count(text, "\"outcome\":\"done\"") == 4 && count(text, "\"outcome\":\"absent\"") == 1 &&
	   count(text, "\"outcome\":\"failed\"") == 1, "JSON: outcomes");
	ok(count(text, "\"seconds\":1,\"cpu\":0.5,\"records\":") == 8, "JSON: each run");
	ok(count(text, "\"round trip\":{\"min\":1000,\"p50\":2000") == 6, "JSON: times");
	free(text);
}

static void report_tests(void)
{
	char *text = written(report);

	/* Two charts for what has no times, three for what has. */
	ok(count(text, "<svg") == 5 && count(text, "</svg>") == 5, "the report's charts");
	ok(count(text, "<rect") == 10, "a bar for each figure");
	ok(count(text, ">absent</text>") == 2 && count(text, ">failed</text>") == 3,
	   "a word where there is none");
	ok(strstr(text, "width=\"200.0\"") && strstr(text, "width=\"400.0\""),
	   "a bar is as long as its figure is large");
	ok(strstr(text, "&lt;odd&gt; &amp; &quot;so&quot;") && !strstr(text, "<odd>") &&
	   !strstr(text, "<reason>") && strstr(text, "A &amp; B"), "nothing breaks out of the text");
	ok(strstr(text, "<tr><th>send, TLS 1.2 AES128-GCM, 16384 bytes<td>0.50<td>\n") &&
	   strstr(text, "<tr><th>echo, TLS 1.2 AES128-GCM, 64 bytes<td>0.80<td>\n"),
	   "the ratios to the others");
	ok(strstr(text, "This machine is emulated"), "it warns of an emulated machine");
	ok(!strstr(text, "http:") && !strstr(text, "https:") && !strstr(text, "src="),
	   "it needs nothing from elsewhere");
	ok(!strncmp(text, "<!DOCTYPE html>", 15) && strstr(text, "</html>\n"), "it is whole");
	free(text);
}

int main(void)
{
	make_up();
	table_tests();
	json_tests();
	report_tests();
	return tap_done();
}
