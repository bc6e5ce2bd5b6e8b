// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

void fuzz_begin(struct fuzz *f, const char *name)
{
	const char *seed = getenv("KTLS_FUZZ_SEED"), *seconds = getenv("KTLS_FUZZ_SECONDS");
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	f->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)t.tv_sec << 20 ^ t.tv_nsec;
	f->state = f->seed;
	f->end = now_ms() + 1000LL * (seconds ? atoi(seconds) : FUZZ_SECONDS);
	printf("# %s: KTLS_FUZZ_SEED=%llu\n", name, (unsigned long long)f->seed);
	fflush(stdout);
}

/* Sebastiano Vigna's splitmix64, a counter that is mixed. */
uint64_t fuzz_bits(struct fuzz *f)
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

struct fuzz fuzz_part(const struct fuzz *f, uint64_t part)
{
	struct fuzz other = *f;

	other.state = f->seed ^ part << 32;
	other.state = fuzz_bits(&other);
	return other;
}

bool fuzz_goes_on(const struct fuzz *f)
{
	return now_ms() < f->end;
}

uint32_t fuzz_below(struct fuzz *f, uint32_t limit)
{
	return limit ? fuzz_bits(f) % limit : 0;
}

bool fuzz_one_in(struct fuzz *f, uint32_t count)
{
	return !fuzz_below(f, count);
}

size_t fuzz_size(struct fuzz *f, size_t max)
{
	size_t size;

	switch (fuzz_below(f, 4)) {
	case 0:
		return fuzz_below(f, max + 1);
	case 1:
		size = (size_t)1 << fuzz_below(f, 17);
		break;
	case 2:
		size = max;
		break;
	default:
		size = fuzz_below(f, 40);
	}
	size += fuzz_below(f, 5);
	size = size > 2 ? size - 2 : size;
	return size < max ? size : max;
}

void fuzz_bytes(struct fuzz *f, void *buf, size_t len)
{
	uint8_t *at = buf;
	uint64_t bits;
	size_t n;

	for (; len; at += n, len -= n) {
		bits = fuzz_bits(f);
		n = len < sizeof(bits) ? len : sizeof(bits);
		memcpy(at, &bits, n);
	}
}
