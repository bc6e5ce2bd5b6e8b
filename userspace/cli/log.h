/* SPDX-License-Identifier: MIT */
/* What a server says of each request, on standard output. */
#ifndef KTLS_CLI_LOG_H
#define KTLS_CLI_LOG_H

#include <stdint.h>

#include "ktls.h"

struct log_entry {
	const char *who, *method, *target;
	int status;		/* as of HTTP */
	uint64_t bytes;
	int64_t began_ms;	/* of clock_ms */
	const struct ktls_conn *conn;
	const char *remark;	/* NULL: none */
};

void log_line(const struct log_entry *entry);

#endif
