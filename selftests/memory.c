// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sockets may hold: as much as their buffers' sizes say, whoever is slow, and ten thousand of
 * them work. one kernel is enough. timeout=400
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <linux/sock_diag.h>
#include <sys/resource.h>

#define PAIRS	50
#define MANY	10000
#define BUFFER	100000		/* what SO_SNDBUF and SO_RCVBUF are set to; the kernel doubles it */
/* Of bytes in a socket buffer, what it takes to keep them. */
#define OVERHEAD	2

static uint8_t data[PAYLOAD_MAX], got[PAYLOAD_MAX];

FIXTURE(memory) { };
FIXTURE_SETUP(memory)
{
	struct rlimit files = { .rlim_cur = 3 * MANY, .rlim_max = 3 * MANY };

	ONLY_KTLS();
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	fill(data, sizeof(data), 0);
}

FIXTURE_TEARDOWN(memory) { }

/* Bytes that nobody uses, and those that could be had back. */
static long available(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	while (file && kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %ld", &kib);
	if (file)
		fclose(file);
	return kib * 1024;
}

static void set_buffers(int fd)
{
	int size = BUFFER;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* All that fits between two sockets of which one is not read; its bytes. */
static size_t stuff(int fd, uint8_t type, size_t len)
{
	size_t total = 0;
	ssize_t n;

	do {
		n = send_type(fd, type, data, len, MSG_DONTWAIT);
		total += n > 0 ? n : 0;
	} while (n > 0);
	return total;
}

/* Nobody reads: the sockets' buffers are the limit, of data and of any other record. */
static void expect_bounded(struct __test_metadata *_metadata, uint8_t type, size_t len)
{
	int fds[PAIRS], others[PAIRS], i;
	size_t held = 0;
	long before;

	for (i = 0; i < PAIRS; i++) {
		ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fds[i], &others[i]));
		set_buffers(fds[i]);
		set_buffers(others[i]);
	}
	before = available();
	for (i = 0; i < PAIRS; i++)
		held += stuff(fds[i], type, len);
	/* Twice: what has moved on meanwhile makes room, which is not without end. */
	for (i = 0; i < PAIRS; i++) {
		/* Opens what it can. */
		poll_now(others[i], POLLIN);
		recv(others[i], got, 1, MSG_PEEK | MSG_DONTWAIT);
	}
	for (i = 0; i < PAIRS; i++)
		held += stuff(fds[i], type, len);
	TH_LOG("records of %zu: %zu bytes sent, %ld used, for each pair", len, held / PAIRS,
	       (before - available()) / PAIRS);
	EXPECT_LT(0, held);
	EXPECT_GT(4 * BUFFER, held / PAIRS);
	EXPECT_GT(4 * BUFFER * OVERHEAD, (before - available()) / PAIRS);
	for (i = 0; i < PAIRS; i++) {
		close(fds[i]);
		close(others[i]);
	}
}

TEST_F(memory, slow_readers)
{
	expect_bounded(_metadata, DATA, sizeof(data));
}

TEST_F(memory, slow_readers_of_small_records)
{
	expect_bounded(_metadata, DATA, 1);
}

TEST_F(memory, slow_readers_of_control)
{
	expect_bounded(_metadata, HANDSHAKE, 1);
}

/* What the kernel counts as held by the carrier and by the socket, in bytes. */
static size_t accounted(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len))
		return 0;
	return info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED] +
	       info[SK_MEMINFO_WMEM_ALLOC];
}

/* Datagrams that nobody reads are dropped, and counted. */
TEST_F(memory, slow_readers_of_datagrams)
{
	int fds[PAIRS], carriers[PAIRS], i, j, udp[2];
	struct peer peers[PAIRS];
	struct ktls_info info;
	long before;

	for (i = 0; i < PAIRS; i++) {
		ASSERT_EQ(0, udp_pair(AF_INET, udp));
		ASSERT_EQ(0, dtls_over(udp, TLS_CIPHER_AES_GCM_128, &fds[i], &carriers[i],
				       &peers[i]));
		set_buffers(fds[i]);
	}
	before = available();
	for (i = 0; i < PAIRS; i++)
		for (j = 0; j < 1000; j++)
			ASSERT_EQ(0, dgram_send(&peers[i], DATA, data, 1000));
	TH_LOG("%ld used for each", (before - available()) / PAIRS);
	EXPECT_GT(4 * BUFFER * OVERHEAD, (before - available()) / PAIRS);
	for (i = 0; i < PAIRS; i++) {
		ASSERT_EQ(0, get_info(fds[i], &info));
		EXPECT_LT(0, info.rx_overflows);
		EXPECT_LT(0, accounted(fds[i]) + accounted(carriers[i]));
		EXPECT_GT(4 * BUFFER, accounted(fds[i]) + accounted(carriers[i]));
		close(fds[i]);
		close(carriers[i]);
		close(peers[i].fd);
	}
}

/* Both ends of ten thousand connections, each of which gets what is its own. */
TEST_F_TIMEOUT(memory, ten_thousand_streams, 380)
{
	static int fds[MANY], others[MANY];
	long before = available(), after;
	char text[20];
	int i;

	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fds[i], &others[i])) {
			TH_LOG("%d: %s", i, strerror(errno));
		}
	for (i = 0; i < MANY; i++)
		ASSERT_LT(0, send(fds[i], text, sprintf(text, "to %d", i), 0));
	after = available();
	TH_LOG("%ld bytes for each pair with a record between them", (before - after) / MANY);
	for (i = MANY - 1; i >= 0; i--) {
		sprintf(text, "to %d", i);
		ASSERT_EQ(strlen(text), recv(others[i], got, sizeof(got), 0));
		ASSERT_EQ(0, memcmp(got, text, strlen(text)));
	}
	for (i = 0; i < MANY; i += 2)
		close(fds[i]);
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(i % 2 ? -EAGAIN : 0, RESULT(recv(others[i], got, 1, MSG_DONTWAIT)));
	for (i = 0; i < MANY; i++) {
		if (i % 2)
			close(fds[i]);
		close(others[i]);
	}
	EXPECT_EQ(0, proc_counter("/proc/net/ktls_stat", "KtlsCurrBound"));
}

TEST_HARNESS_MAIN
