// SPDX-License-Identifier: GPL-2.0-only
/* A reader's memory that goes away during the read. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#define ROUNDS	40
#define ROOM	(5 * 4096)

#define MARK	0x5a	/* what the memory holds before */

static uint8_t data[PAYLOAD_MAX], record[RECORD_MAX];

PEER_FIXTURE(faults);

static long nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* Takes the memory away some time after the reader has begun. */
struct unmapper {
	pthread_t thread;
	pthread_barrier_t begin;
	uint8_t *memory;
	long delay;
};

static void *unmap(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	struct timespec delay = {};
	struct unmapper *u = arg;

	/* Else it works as well, less often. */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	pthread_barrier_wait(&u->begin);
	delay.tv_nsec = u->delay;
	nanosleep(&delay, NULL);
	munmap(u->memory, ROOM);
	return NULL;
}

static ssize_t read_one(int fd, uint8_t *buf)
{
	return RESULT(recv(fd, buf + 100, PAYLOAD_MAX, 0));
}

static ssize_t read_two(int fd, uint8_t *buf)
{
	struct iovec iov[] = { { buf + 100, 1000 }, { buf + 1100, PAYLOAD_MAX - 1000 } };

	return RESULT(readv(fd, iov, 2));
}

/* Nobody is shown what was not authenticated. */
static void expect_nothing_in(struct __test_metadata *_metadata, const uint8_t *memory)
{
	size_t at;

	for (at = 0; at < ROOM; at++) {
		ASSERT_TRUE(memory[at] == MARK || memory[at] == 0) {
			TH_LOG("byte %zu is %#x", at, memory[at]);
		}
	}
}

/* A read of a record with a wrong tag, into memory that is unmapped after @delay; -1: not. */
static long read_bad_record(struct __test_metadata *_metadata, uint16_t cipher, long delay,
			    ssize_t (*read_it)(int fd, uint8_t *buf))
{
	struct unmapper unmapper = { .delay = delay };
	struct peer peer;
	long took;
	size_t len;
	ssize_t n;
	int fd;

	unmapper.memory = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, unmapper.memory);
	memset(unmapper.memory, MARK, ROOM);
	fill(data, PAYLOAD_MAX, 0);
	ASSERT_EQ(0, tls_and_peer(AF_INET, cipher, &fd, &peer));
	len = record_seal(&peer.tx, DATA, data, PAYLOAD_MAX, record);
	record[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(peer.fd, record, len));
	ASSERT_EQ(POLLIN, poll_wait(fd, POLLIN));
	pthread_barrier_init(&unmapper.begin, NULL, 2);
	if (delay >= 0) {
		pthread_create(&unmapper.thread, NULL, unmap, &unmapper);
		pthread_barrier_wait(&unmapper.begin);
	}
	took = nanoseconds();
	n = read_it(fd, unmapper.memory);
	took = nanoseconds() - took;
	if (delay >= 0) {
		pthread_join(unmapper.thread, NULL);
	} else {
		expect_nothing_in(_metadata, unmapper.memory);
		munmap(unmapper.memory, ROOM);
	}
	EXPECT_TRUE(n == -EBADMSG || (n == -EFAULT && delay >= 0)) TH_LOG("%zd", n);
	close(fd);
	peer_close(&peer);
	return took;
}

/* At all moments of the time that an undisturbed read takes. */
static void unmap_during(struct __test_metadata *_metadata, uint16_t cipher,
			 ssize_t (*read_it)(int fd, uint8_t *buf))
{
	long took;
	int i;

	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	read_bad_record(_metadata, cipher, -1, read_it);
	took = read_bad_record(_metadata, cipher, -1, read_it);
	for (i = 0; i < ROUNDS; i++)
		read_bad_record(_metadata, cipher, took * i / ROUNDS, read_it);
}

/* The kernel survives: there is nobody else to tell of it. */
TEST_F(faults, unmapped_during_recv)
{
	unmap_during(_metadata, variant->cipher, read_one);
}

TEST_F(faults, unmapped_during_readv)
{
	unmap_during(_metadata, variant->cipher, read_two);
}

TEST_HARNESS_MAIN
