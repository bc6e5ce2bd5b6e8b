/* SPDX-License-Identifier: MIT */
#ifndef KTLS_TESTS_TAP_H
#define KTLS_TESTS_TAP_H

#include <stdio.h>

/* One count a program, whichever of its files the tests are in. */
__attribute__((weak)) int tap_count, tap_failed;

#define ok(cond, ...) do {						\
	int tap_ok = !!(cond);						\
	tap_failed += !tap_ok;						\
	printf("%sok %d - ", tap_ok ? "" : "not ", ++tap_count);	\
	printf(__VA_ARGS__);						\
	putchar('\n');							\
	if (!tap_ok)							\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);	\
	fflush(stdout);							\
} while (0)

#define skip(why, ...) do {						\
	printf("ok %d - ", ++tap_count);				\
	printf(__VA_ARGS__);						\
	printf(" # SKIP %s\n", why);					\
} while (0)

/* For main to return: all of it skipped. */
static inline int tap_skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
