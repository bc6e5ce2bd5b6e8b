// SPDX-License-Identifier: GPL-2.0-only
/*
 * DTLS: what a datagram costs when its port has few associations, and when it has many.
 * Time is instructions here: counted guest. timeout=600, one kernel is enough
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/resource.h>
#include <time.h>

#define FEW	10
#define MANY	10000
#define SAMPLES	301
#define PAYLOAD	1000

struct cost {
	long in;
	long out;
};

FIXTURE(cost) { int port; struct association *a; };

FIXTURE_SETUP(cost)
{
	struct rlimit files = { .rlim_cur = 3 * MANY, .rlim_max = 3 * MANY };

	if (!getenv("KTLS_COUNTED") || !*getenv("KTLS_COUNTED"))
		SKIP(return, "time is not instructions on this machine");
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	self->port = udp_socket(AF_INET);
	self->a = calloc(MANY, sizeof(*self->a));
	ASSERT_NE(NULL, self->a);
}

FIXTURE_TEARDOWN(cost)
{
	close(self->port);
	free(self->a);
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	long d = *(const long *)a - *(const long *)b;

	return d < 0 ? -1 : d > 0;
}

static long median(long *values)
{
	qsort(values, SAMPLES, sizeof(*values), compare);
	return values[SAMPLES / 2];
}

/* Of a datagram of one association, sent and received by system calls. */
static bool measure(struct association *a, long *in, long *out)
{
	static uint8_t payload[PAYLOAD], record[RECORD_MAX];
	size_t len = dgram_seal(&a->peer, DATA, payload, PAYLOAD, record);
	long begin = now();
	bool good;

	good = send(a->peer.fd, record, len, 0) == (ssize_t)len &&
	       recv(a->fd, payload, PAYLOAD, 0) == PAYLOAD;
	*in = now() - begin;
	begin = now();
	good = good && send(a->fd, payload, PAYLOAD, 0) == PAYLOAD &&
	       recv(a->peer.fd, record, RECORD_MAX, 0) == (ssize_t)len;
	*out = now() - begin;
	return good;
}

static bool measure_all(struct association *a, int count, struct cost *cost)
{
	long in[SAMPLES], out[SAMPLES];
	int i, which;

	for (i = 0; i < SAMPLES; i++) {
		which = i * 7919L % count;
		/* The first time memory is allocated that stays. */
		if (!measure(&a[which], &in[i], &out[i]) || !measure(&a[which], &in[i], &out[i]))
			return false;
	}
	cost->in = median(in);
	cost->out = median(out);
	return true;
}

TEST_F_TIMEOUT(cost, of_many, 500)
{
	struct cost few, many;
	int i;

	for (i = 0; i < FEW; i++)
		ASSERT_EQ(0, associate(self->port, &self->a[i], TLS_CIPHER_AES_GCM_128, i));
	ASSERT_TRUE(measure_all(self->a, FEW, &few));
	for (; i < MANY; i++)
		ASSERT_EQ(0, associate(self->port, &self->a[i], TLS_CIPHER_AES_GCM_128, i));
	ASSERT_TRUE(measure_all(self->a, MANY, &many));
	TH_LOG("instructions, %d and %d associations: in %ld and %ld, out %ld and %ld", FEW,
	       MANY, few.in, many.in, few.out, many.out);
	EXPECT_GE(few.in * 12 / 10, many.in);
	EXPECT_GE(few.out * 12 / 10, many.out);
}

TEST_HARNESS_MAIN
