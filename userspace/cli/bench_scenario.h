/* SPDX-License-Identifier: MIT */
/* What one thread of a run does over and over. */
#ifndef KTLS_CLI_BENCH_SCENARIO_H
#define KTLS_CLI_BENCH_SCENARIO_H

#include <stdatomic.h>

#include "bench.h"

#define BENCH_FILE	(8 << 20)	/* bytes of what sendfile, splice and mmap send */
#define BENCH_MARKS	(1 << 17)
#define BENCH_STALLS	50		/* of bench_net_patience: what waits that long has failed */

struct bench_marks {
	uint32_t *ns;		/* room for BENCH_MARKS; those after that are not noted */
	size_t count;
};

struct bench_worker {
	const struct bench_scenario *scenario;
	const struct bench_way *way;
	struct bench_end *own;
	struct bench_end *other;	/* for the scenario that has both in one thread */
	size_t size;
	bool dgram;
	const atomic_bool *stop;
	unsigned int stalls;		/* since something moved */
	uint8_t *buffer;		/* of size */
	int file;
	const uint8_t *map;		/* of the file */
	off_t offset;			/* in it */
	int pipe[2];
	double records;
	uint64_t bytes;
	struct bench_marks marks[BENCH_TIMED];
};

/* 0, -EAGAIN: nothing moved in a while, or -errno. */
typedef int bench_step(struct bench_worker *w);

struct bench_scenario {
	const char *name;
	const char *summary;
	bench_step *step;	/* of the measured end */
	bench_step *help;	/* of the other; NULL: has no thread */
	bool half;		/* the other takes the records as they are */
	bool sends, receives;
	bool from_file, by_sendfile, by_splice;
	const char *timed[BENCH_TIMED];	/* what the marks are of; NULL: none */
};

extern const struct bench_scenario bench_scenarios[];	/* ends with .name == NULL */

/* Why it is not for that way; NULL: it is. */
const char *bench_scenario_excludes(const struct bench_scenario *s, const struct bench_way *way,
				    const struct bench_protocol *protocol, size_t size);
uint64_t bench_clock(void);

#endif
