/* SPDX-License-Identifier: GPL-2.0-only */
/* Test results in TAP. The plan comes last, so that a program that dies has none. */
#ifndef KTLS_TAP_H
#define KTLS_TAP_H

#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failed;

/* One result; what is looked at many times over is counted by the caller first. */
static inline void tap(bool ok, const char *name, const char *detail)
{
	tap_failed += !ok;
	printf("%sok %d - %s%s%s\n", ok ? "" : "not ", ++tap_count, name, *detail ? ", " : "",
	       detail);
}

static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif /* KTLS_TAP_H */
