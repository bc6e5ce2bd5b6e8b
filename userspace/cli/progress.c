// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define PATIENCE_MS	2000
#define PERIOD_MS	500

int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void progress_start(struct progress *p, bool quiet, bool verbose)
{
	bool terminal = isatty(STDERR_FILENO) && !quiet;

	p->start_ms = clock_ms();
	p->shown_ms = p->start_ms + PATIENCE_MS - PERIOD_MS;
	/* Data on the same terminal would be cut to pieces. */
	p->live = terminal && !isatty(STDOUT_FILENO);
	p->summary = verbose || p->live;
}

static void format_bytes(double n, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	int i = 0;

	for (; n >= 1024 && i < 4; i++)
		n /= 1024;
	snprintf(out, 32, i ? "%.1f %s" : "%.0f %s", n, units[i]);
}

static void show(const struct progress *p, int64_t now, uint64_t sent, uint64_t received)
{
	double seconds = (double)(now - p->start_ms) / 1000;
	char s[32], r[32], rate[32];

	format_bytes((double)sent, s);
	format_bytes((double)received, r);
	format_bytes(seconds > 0 ? (double)(sent + received) / seconds : 0, rate);
	fprintf(stderr, "%sktls: %s sent, %s received in %.1f s, %s/s", p->live ? "\r\033[K" : "",
		s, r, seconds, rate);
}

void progress_update(struct progress *p, uint64_t sent, uint64_t received)
{
	int64_t now;

	if (!p->live)
		return;
	now = clock_ms();
	if (now - p->shown_ms < PERIOD_MS)
		return;
	p->shown_ms = now;
	show(p, now, sent, received);
}

void progress_end(struct progress *p, uint64_t sent, uint64_t received)
{
	if (!p->summary)
		return;
	show(p, clock_ms(), sent, received);
	fputc('\n', stderr);
}
