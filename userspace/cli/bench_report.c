// SPDX-License-Identifier: MIT
/* Results as one page of HTML that needs nothing else: charts in SVG, a table, the machine. */
#include <string.h>

#include "bench_groups.h"
#include "bench_machine.h"
#include "bench_scenario.h"

/* Of a chart: a row a way, bars that begin right of the names. */
#define WIDTH	720
#define LEFT	190
#define ROOM	400
#define ROW	26
#define TOP	26

/* One figure of a case, with how far its runs lie apart. */
struct bar {
	double value, low, high;
};

struct chart {
	const char *title;	/* with the unit */
	double scale;
	int decimals;
	struct bar (*bar)(const struct bench_case *c, int which);
	int which;
};

static void text(FILE *out, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&': fputs("&amp;", out); break;
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '"': fputs("&quot;", out); break;
		default: fputc(*s, out);
		}
}

static struct bar spread_bar(const struct bench_spread *s)
{
	return (struct bar){ s->median, s->low, s->high };
}

static struct bar throughput(const struct bench_case *c, int which)
{
	(void)which;
	return spread_bar(&c->summary.bytes_rate);
}

static struct bar records(const struct bench_case *c, int which)
{
	(void)which;
	return spread_bar(&c->summary.record_rate);
}

static struct bar processor(const struct bench_case *c, int which)
{
	(void)which;
	return spread_bar(&c->summary.cpu_record);
}

/* The whisker goes to the 99th percentile. */
static struct bar duration(const struct bench_case *c, int which)
{
	const struct bench_times *t = &c->summary.times[which];

	return (struct bar){ t->p50, t->min, t->p99 };
}

/* What the longest bar or whisker stands for; one that is too long for the bars to show is cut. */
static double full_scale(const struct bench_group *g, const struct chart *chart)
{
	double longest = 0, farthest = 0;
	const struct bench_case *c;

	for (c = g->first; c < g->end; c++) {
		struct bar b = chart->bar(c, chart->which);

		if (c->outcome != BENCH_DONE)
			continue;
		longest = b.value > longest ? b.value : longest;
		farthest = b.high > farthest ? b.high : farthest;
	}
	return farthest > 2 * longest ? 2 * longest : farthest;
}

static double place(double value, double full)
{
	double share = full > 0 ? value / full : 0;

	return LEFT + ROOM * (share < 1 ? share : 1);
}

static void write_bar(FILE *out, const struct bench_case *c, const struct chart *chart, int row,
		      double full)
{
	struct bar b = chart->bar(c, chart->which);
	int y = TOP + row * ROW;

	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, y + 15);
	text(out, c->way->title);
	fprintf(out, "</text>");
	if (c->outcome != BENCH_DONE) {
		fprintf(out, "<text x=\"%d\" y=\"%d\" class=\"no\">%s</text>\n", LEFT, y + 15,
			c->outcome == BENCH_ABSENT ? "absent" : "failed");
		return;
	}
	fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" class=\"%s\"/>", LEFT,
		y + 3, place(b.value, full) - LEFT, ROW - 8, c->way->name);
	fprintf(out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", place(b.low, full),
		place(b.high, full), y + 12, y + 12);
	fprintf(out, "<text x=\"%d\" y=\"%d\">%.*f</text>\n", LEFT + ROOM + 10, y + 15,
		chart->decimals, b.value / chart->scale);
}

static void write_chart(FILE *out, const struct bench_group *g, const struct chart *chart)
{
	int rows = (int)(g->end - g->first), i;
	double full = full_scale(g, chart);

	fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\">\n<text x=\"0\" y=\"15\" class=\"t\">",
		WIDTH, TOP + rows * ROW);
	text(out, chart->title);
	fprintf(out, "</text>\n");
	for (i = 0; i < rows; i++)
		write_bar(out, &g->first[i], chart, i, full);
	fprintf(out, "</svg>\n");
}

static void write_charts(FILE *out, const struct bench_group *g)
{
	static const struct chart rate = { "throughput, MB/s", 1e6, 1, throughput, 0 };
	static const struct chart count = { "records a second", 1, 0, records, 0 };
	static const struct chart cpu = { "processor time a record, us", 1e3, 2, processor, 0 };
	const char *const *timed = g->first->scenario->timed;
	char title[64];
	int i;

	write_chart(out, g, g->first->size < 4096 ? &count : &rate);
	write_chart(out, g, &cpu);
	for (i = 0; i < BENCH_TIMED && timed[i]; i++) {
		snprintf(title, sizeof(title), "%s, us: median, from the least to 99 %%", timed[i]);
		write_chart(out, g, &(struct chart){ title, 1e3, 2, duration, i });
	}
}

static void write_number(FILE *out, double value, int decimals)
{
	if (value > 0)
		fprintf(out, "<td>%.*f", decimals, value);
	else
		fprintf(out, "<td>");
}

static void write_row(FILE *out, const struct bench_group *g, const struct bench_case *c)
{
	const struct bench_summary *s = &c->summary;

	fprintf(out, "<tr><th>");
	text(out, c->way->title);
	if (c->outcome != BENCH_DONE) {
		fprintf(out, "<td colspan=\"8\" class=\"no\">%s: ",
			c->outcome == BENCH_ABSENT ? "absent" : "failed");
		text(out, c->why);
		fprintf(out, "\n");
		return;
	}
	write_number(out, s->bytes_rate.median / 1e6, 1);
	fprintf(out, "<td>%.1f", bench_stats_percent(&s->bytes_rate) / 2);
	write_number(out, s->record_rate.median, 0);
	write_number(out, 100 * s->cpu_share.median, 0);
	write_number(out, s->cpu_record.median / 1e3, 2);
	write_number(out, bench_groups_ratio(c, bench_groups_way(g, &bench_tls)), 2);
	write_number(out, bench_groups_ratio(c, bench_groups_way(g, &bench_plain)), 2);
	write_number(out, s->times[0].p99 / 1e3, 2);
	fprintf(out, "\n");
}

static void write_group(FILE *out, const struct bench_group *g)
{
	const struct bench_case *c = g->first;

	fprintf(out, "<section><h2>%s, %s %s, %zu bytes</h2>\n<p>The measured end %s.</p>\n",
		c->scenario->name, c->protocol->name, c->cipher->name, c->size,
		c->scenario->summary);
	if (bench_groups_any(g))
		write_charts(out, g);
	fprintf(out, "<table><tr><th><th>MB/s<th>&plusmn; %%<th>records/s<th>CPU %%<th>us/record"
		"<th>&times; kernel TLS<th>&times; plain<th>99 %%, us\n");
	for (; c < g->end; c++)
		write_row(out, g, c);
	fprintf(out, "</table></section>\n");
}

static void write_ratios(FILE *out, const struct bench_group *g)
{
	const struct bench_case *ours = bench_groups_way(g, &bench_af_ktls), *c;

	if (!ours)
		return;
	fprintf(out, "<tr><th>%s, %s %s, %zu bytes", ours->scenario->name, ours->protocol->name,
		ours->cipher->name, ours->size);
	for (c = g->first; c < g->end; c++)
		if (c->way != &bench_af_ktls)
			write_number(out, bench_groups_ratio(ours, bench_groups_way(g, c->way)), 2);
	fputc('\n', out);
}

/* All groups have the same ways. */
static void write_overview(FILE *out, const struct bench_plan *plan)
{
	struct bench_group g = { 0 };
	const struct bench_case *c;

	if (!bench_groups_next(plan, &g))
		return;
	fprintf(out, "<h2>AF_KTLS beside the others</h2>\n<p>How many times as many records a second "
		"go by AF_KTLS.</p>\n<table><tr><th>");
	for (c = g.first; c < g.end; c++)
		if (c->way != &bench_af_ktls) {
			fprintf(out, "<th>");
			text(out, c->way->title);
		}
	fputc('\n', out);
	do {
		write_ratios(out, &g);
	} while (bench_groups_next(plan, &g));
	fprintf(out, "</table>\n");
}

static void write_fact(FILE *out, const char *name, const char *value)
{
	fprintf(out, "<tr><th>%s<td class=\"l\">", name);
	text(out, value);
	fputc('\n', out);
}

static void write_machine(FILE *out, const struct bench_plan *plan,
			  const struct bench_machine *m)
{
	char number[96];

	fprintf(out, "<table>\n");
	write_fact(out, "processor", m->processor);
	snprintf(number, sizeof(number), "%d", m->processors);
	write_fact(out, "processors", number);
	write_fact(out, "memory", m->memory);
	write_fact(out, "virtual", m->virtual);
	write_fact(out, "kernel", m->kernel);
	write_fact(out, "programs", m->libraries);
	write_fact(out, "taken", m->date);
	write_fact(out, "command", m->command);
	if (plan->records)
		snprintf(number, sizeof(number), "%u runs of %llu records, by turns; %u connections",
			 plan->repeats, (unsigned long long)plan->records, plan->connections);
	else
		snprintf(number, sizeof(number), "%u runs of %g s, by turns; %u connections",
			 plan->repeats, plan->seconds, plan->connections);
	write_fact(out, "each figure", number);
	fprintf(out, "</table>\n");
	if (m->emulated)
		fprintf(out, "<p class=\"no\">This machine is emulated: no figure here says how fast "
			"anything is.</p>\n");
}

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width\">\n<title>ktls bench</title>\n<style>\n"
	"body{font:15px/1.4 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem;"
	"color:#222;background:#fff}\n"
	"table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto}\n"
	"th,td{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd;"
	"font-weight:normal}\n"
	"th:first-child,.l{text-align:left}\n.no{color:#a33;text-align:left}\n"
	"svg{display:block;width:100%;max-width:720px;margin:.6rem 0}\n"
	"svg text{font-size:13px;fill:#222}\nsvg .t{font-weight:bold}\nsvg .no{fill:#a33}\n"
	"line{stroke:#000;stroke-width:1.5}\nrect{fill:#8aa4c8}\n.af_ktls{fill:#d9822b}\n"
	".tls,.openssl-ktls{fill:#5b7fb5}\n.plain{fill:#bbb}\n"
	"</style>\n<h1>ktls bench</h1>\n";

static const char notes[] =
	"<p>Bars are medians, the lines on them go from the least to the most of all runs. "
	"Processor time is that of the threads at the measured end alone. A record that is "
	"sent includes its way through loopback to the peer's queue.</p>\n";

void bench_report_write(FILE *out, const struct bench_plan *plan,
			const struct bench_machine *machine)
{
	struct bench_group g = { 0 };

	fputs(head, out);
	write_machine(out, plan, machine);
	fputs(notes, out);
	write_overview(out, plan);
	while (bench_groups_next(plan, &g))
		write_group(out, &g);
	fputs("</html>\n", out);
}
