// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "log.h"
#include "progress.h"

void log_line(const struct log_entry *e)
{
	double seconds = (double)(clock_ms() - e->began_ms) / 1000;
	time_t now = time(NULL);
	char date[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%s %s ", date, e->who);
	print_safely(stdout, e->method, strlen(e->method));
	putchar(' ');
	print_safely(stdout, e->target, strlen(e->target));
	printf(" %d %llu %.3f %s %s %s%s%s\n", e->status, (unsigned long long)e->bytes, seconds,
	       ktls_version(e->conn), ktls_cipher(e->conn),
	       ktls_in_kernel(e->conn) ? "kernel" : "userspace", e->remark ? " " : "",
	       e->remark ? e->remark : "");
}
