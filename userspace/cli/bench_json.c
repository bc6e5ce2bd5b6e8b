// SPDX-License-Identifier: MIT
/* Results for programs. */
#include "bench_machine.h"
#include "bench_scenario.h"

static void json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', out);
		if ((unsigned char)*s >= ' ')
			fputc(*s, out);
	}
	fputc('"', out);
}

static void member(FILE *out, const char *name, const char *value)
{
	fprintf(out, "\"%s\":", name);
	json_string(out, value);
	fputc(',', out);
}

static void write_machine(FILE *out, const struct bench_machine *m)
{
	fprintf(out, "\"machine\":{");
	member(out, "processor", m->processor);
	member(out, "memory", m->memory);
	member(out, "kernel", m->kernel);
	member(out, "virtual", m->virtual);
	member(out, "libraries", m->libraries);
	member(out, "date", m->date);
	member(out, "command", m->command);
	fprintf(out, "\"emulated\":%s,\"processors\":%d},", m->emulated ? "true" : "false",
		m->processors);
}

static void write_plan(FILE *out, const struct bench_plan *plan)
{
	fprintf(out, "\"seconds\":%g,\"warmup\":%g,\"count\":%llu,\"connections\":%u,"
		"\"repeats\":%u,", plan->seconds, plan->warmup, (unsigned long long)plan->records,
		plan->connections, plan->repeats);
}

static void write_spread(FILE *out, const char *name, const struct bench_spread *s)
{
	fprintf(out, ",\"%s\":{\"median\":%.9g,\"low\":%.9g,\"high\":%.9g}", name, s->median, s->low,
		s->high);
}

/* Of one sample or of all, nanoseconds; for the scenarios that have them. */
static void write_times(FILE *out, const struct bench_case *c, const struct bench_times *times)
{
	int i;

	for (i = 0; i < BENCH_TIMED && c->scenario->timed[i]; i++) {
		fprintf(out, "%s", i ? "," : ",\"times\":{");
		json_string(out, c->scenario->timed[i]);
		fprintf(out, ":{\"min\":%.9g,\"p50\":%.9g,\"p90\":%.9g,\"p99\":%.9g,\"p99.9\":%.9g}",
			times[i].min, times[i].p50, times[i].p90, times[i].p99, times[i].p999);
	}
	if (i)
		fputc('}', out);
}

static void write_samples(FILE *out, const struct bench_case *c)
{
	size_t i;

	fprintf(out, ",\"runs\":[");
	for (i = 0; i < c->count; i++) {
		const struct bench_sample *s = &c->samples[i];

		fprintf(out, "%s{\"seconds\":%.9g,\"cpu\":%.9g,\"records\":%.12g,\"bytes\":%.12g",
			i ? "," : "", s->seconds, s->cpu, s->records, s->bytes);
		write_times(out, c, s->times);
		fputc('}', out);
	}
	fputc(']', out);
}

static void write_case(FILE *out, const struct bench_case *c)
{
	static const char *const outcomes[] = { "done", "absent", "failed" };

	fputc('{', out);
	member(out, "scenario", c->scenario->name);
	member(out, "protocol", c->protocol->name);
	member(out, "cipher", c->cipher->name);
	member(out, "way", c->way->name);
	member(out, "outcome", outcomes[c->outcome]);
	if (c->outcome != BENCH_DONE)
		member(out, "why", c->why);
	fprintf(out, "\"size\":%zu", c->size);
	if (c->outcome == BENCH_DONE) {
		write_spread(out, "bytes_per_second", &c->summary.bytes_rate);
		write_spread(out, "records_per_second", &c->summary.record_rate);
		write_spread(out, "cpu", &c->summary.cpu_share);
		write_spread(out, "cpu_ns_per_record", &c->summary.cpu_record);
		write_times(out, c, c->summary.times);
		write_samples(out, c);
	}
	fputc('}', out);
}

void bench_json_write(FILE *out, const struct bench_plan *plan,
		      const struct bench_machine *machine)
{
	size_t i;

	fputc('{', out);
	write_machine(out, machine);
	write_plan(out, plan);
	fprintf(out, "\"results\":[");
	for (i = 0; i < plan->count; i++) {
		fprintf(out, "%s\n", i ? "," : "");
		write_case(out, &plan->cases[i]);
	}
	fprintf(out, "]}\n");
}
