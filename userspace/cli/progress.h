/* SPDX-License-Identifier: MIT */
/* Bytes and rate of a transfer, on standard error. */
#ifndef KTLS_CLI_PROGRESS_H
#define KTLS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	int64_t start_ms, shown_ms;
	bool live;		/* a line that is written over */
	bool summary;
};

int64_t clock_ms(void);

/* Live on a terminal unless quiet; the summary there too, or when verbose. */
void progress_start(struct progress *p, bool quiet, bool verbose);
/* To be called often; writes twice a second at most, and nothing in the first two. */
void progress_update(struct progress *p, uint64_t sent, uint64_t received);
void progress_end(struct progress *p, uint64_t sent, uint64_t received);

#endif
