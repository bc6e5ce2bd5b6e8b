/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers for the fuzzers, from a seed that is printed: KTLS_FUZZ_SEED repeats a run. For how
 * long: KTLS_FUZZ_SECONDS.
 */
#ifndef KTLS_FUZZ_H
#define KTLS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_SECONDS	10	/* of each fuzzer in a run of all tests */

/* To be begun with fuzz_begin(). */
struct fuzz {
	uint64_t state;
	uint64_t seed;
	int64_t end;
};

void fuzz_begin(struct fuzz *f, const char *name);
/* Numbers of its own for one part, which do not depend on those of others. */
struct fuzz fuzz_part(const struct fuzz *f, uint64_t part);
bool fuzz_goes_on(const struct fuzz *f);

/* Below @limit. */
uint32_t fuzz_below(struct fuzz *f, uint32_t limit);
/* One in so many. */
bool fuzz_one_in(struct fuzz *f, uint32_t count);
/* A size up to @max, often beside a power of two or an end. */
size_t fuzz_size(struct fuzz *f, size_t max);
uint64_t fuzz_bits(struct fuzz *f);
void fuzz_bytes(struct fuzz *f, void *buf, size_t len);

#define FUZZ_PICK(f, array)	((array)[fuzz_below(f, sizeof(array) / sizeof((array)[0]))])

#endif
