// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sockets may hold: as much as their buffers' sizes say, whoever is slow, and ten thousand of
 * them work. Who pays for it. one kernel is enough; not under detectors. timeout=800
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <linux/sock_diag.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PAIRS	50
#define MANY	10000
#define BUFFER	100000		/* what SO_SNDBUF and SO_RCVBUF are set to; the kernel doubles it */
/* Of bytes in a socket buffer, what it takes to keep them. */
#define OVERHEAD	2
#define RECORD_OVERHEAD	29	/* of AES-GCM: header, nonce, tag */

static uint8_t data[PAYLOAD_MAX], got[PAYLOAD_MAX];

FIXTURE(memory) { };
FIXTURE_SETUP(memory)
{
	struct rlimit files = { .rlim_cur = 3 * MANY, .rlim_max = 3 * MANY };

	ONLY_KTLS();
	ASSERT_EQ(0, own_network());
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

/* All that fits between two sockets of which one is not read; its bytes as they travel. */
static size_t stuff(int fd, uint8_t type, size_t len)
{
	size_t total = 0;
	ssize_t n;

	do {
		n = send_type(fd, type, data, len, MSG_DONTWAIT);
		total += n > 0 ? n + RECORD_OVERHEAD : 0;
	} while (n > 0);
	return total;
}

/* What the kernel counts as held by a carrier or by a socket on it, in bytes. */
static size_t accounted(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len))
		return 0;
	return info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED] +
	       info[SK_MEMINFO_WMEM_ALLOC];
}

/* Two sockets that are each other's peer, and their carriers. */
struct pair {
	int fds[2];
	int carriers[2];
};

static int pair_open(struct pair *p)
{
	struct keys there, back;
	int i, tcp[2];

	keys_make(&there, TLS_CIPHER_AES_GCM_128, 1);
	keys_make(&back, TLS_CIPHER_AES_GCM_128, 2);
	if (tcp_pair(AF_INET, tcp))
		return -1;
	for (i = 0; i < 2; i++) {
		p->carriers[i] = dup(tcp[i]);
		p->fds[i] = tls_attach(tcp[i]);
		if (p->fds[i] < 0 || tls_key(p->fds[i], TLS_TX, i ? &back : &there) ||
		    tls_key(p->fds[i], TLS_RX, i ? &there : &back))
			return -1;
		set_buffers(p->fds[i]);
	}
	return 0;
}

static void pair_close(struct pair *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		close(p->fds[i]);
		close(p->carriers[i]);
	}
}

static size_t pair_accounted(const struct pair *p)
{
	return accounted(p->fds[0]) + accounted(p->carriers[0]) + accounted(p->fds[1]) +
	       accounted(p->carriers[1]);
}

/* Sends until as many control records wait at the other end as may; the bytes. */
static size_t stuff_queue(const struct pair *p, size_t len)
{
	time_t end = time(NULL) + TIME_LIMIT;
	struct ktls_info info;
	size_t total = 0;

	do {
		total += stuff(p->fds[0], HANDSHAKE, len);
		/* They are taken off the carrier in the background. */
		poll(NULL, 0, 1);
		if (get_info(p->fds[1], &info))
			break;
	} while (info.rx.control_records < KTLS_CONTROL_MAX && time(NULL) <= end);
	return total;
}

/*
 * Nobody reads: the sockets' buffers are the limit, of data and of any other record; beside
 * them so many bytes may be @queued.
 */
static void expect_bounded(struct __test_metadata *_metadata, uint8_t type, size_t len, int mode,
			   size_t queued)
{
	size_t held = 0, most = 0;
	struct pair pairs[PAIRS];
	struct ktls_info info;
	long before;
	int i;

	for (i = 0; i < PAIRS; i++) {
		ASSERT_EQ(0, pair_open(&pairs[i]));
		ASSERT_EQ(0, setsockopt(pairs[i].fds[1], SOL_KTLS, KTLS_CONTROL, &mode,
					sizeof(mode)));
	}
	before = available();
	for (i = 0; i < PAIRS; i++)
		held += queued ? stuff_queue(&pairs[i], len) : stuff(pairs[i].fds[0], type, len);
	/* Twice: what has moved on meanwhile makes room, which is not without end. */
	for (i = 0; i < PAIRS; i++) {
		/* Opens what it can. */
		poll_now(pairs[i].fds[1], POLLIN | POLLPRI);
		recv(pairs[i].fds[1], got, 1, MSG_PEEK | MSG_DONTWAIT);
	}
	for (i = 0; i < PAIRS; i++)
		held += stuff(pairs[i].fds[0], type, len);
	for (i = 0; i < PAIRS; i++)
		if (pair_accounted(&pairs[i]) > most)
			most = pair_accounted(&pairs[i]);
	TH_LOG("records of %zu: %zu bytes travelled, %ld used, for each pair; %zu accounted at most",
	       len, held / PAIRS, (before - available()) / PAIRS, most);
	EXPECT_LT(0, held);
	EXPECT_GT(4 * BUFFER + queued, held / PAIRS);
	EXPECT_LT(BUFFER, most);
	EXPECT_GT(4 * BUFFER * OVERHEAD + queued, most);
	EXPECT_GT(4 * BUFFER * OVERHEAD + (long)queued, (before - available()) / PAIRS);
	for (i = 0; i < PAIRS; i++) {
		if (queued) {
			ASSERT_EQ(0, get_info(pairs[i].fds[1], &info));
			EXPECT_EQ(KTLS_CONTROL_MAX, info.rx.control_records);
		}
		pair_close(&pairs[i]);
	}
}

TEST_F_TIMEOUT(memory, slow_readers, 120)
{
	expect_bounded(_metadata, DATA, sizeof(data), KTLS_CONTROL_DEFAULT, 0);
}

TEST_F_TIMEOUT(memory, slow_readers_of_small_records, 120)
{
	expect_bounded(_metadata, DATA, 1, KTLS_CONTROL_DEFAULT, 0);
}

TEST_F_TIMEOUT(memory, slow_readers_of_control, 120)
{
	expect_bounded(_metadata, HANDSHAKE, 1, KTLS_CONTROL_DEFAULT, 0);
}

/* The queue beside the data holds so many records and no more, of whatever size. */
TEST_F_TIMEOUT(memory, slow_readers_of_queued_control, 120)
{
	expect_bounded(_metadata, HANDSHAKE, 1, KTLS_CONTROL_QUEUE, KTLS_CONTROL_MAX * 8192);
}

TEST_F_TIMEOUT(memory, slow_readers_of_large_queued_control, 120)
{
	expect_bounded(_metadata, HANDSHAKE, sizeof(data), KTLS_CONTROL_QUEUE,
		       KTLS_CONTROL_MAX * 2 * RECORD_MAX);
}

/* Datagrams that nobody reads are dropped, and counted. */
TEST_F_TIMEOUT(memory, slow_readers_of_datagrams, 120)
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

	for (i = 0; i < MANY; i++) {
		ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fds[i], &others[i])) {
			TH_LOG("%d: %s", i, strerror(errno));
		}
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

#define GROUPS		"/tmp/groups"
#define GROUP		GROUPS "/ktls"

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return done;
}

static bool make_group(void)
{
	mkdir(GROUPS, 0700);
	return !mount("none", GROUPS, "cgroup2", 0, NULL) &&
	       write_text(GROUPS "/cgroup.subtree_control", "+memory") && !mkdir(GROUP, 0700);
}

#define FLUSHED		3	/* seconds after which the kernel has summed up what it counted */

/* Bytes of the kernel's that the group pays for, those of carriers apart. */
static long charged(void)
{
	sleep(FLUSHED);
	return proc_counter(GROUP "/memory.stat", "kernel");
}

/* In the group: opened ahead, by nobody's read. Returns what it was charged for these bytes. */
static long charge_of(size_t bytes)
{
	struct peer peer;
	size_t sent;
	long before;
	int fd;

	if (!write_text(GROUP "/cgroup.procs", "0") ||
	    tls_and_peer(AF_INET, TLS13 | TLS_CIPHER_AES_GCM_128, &fd, &peer) ||
	    setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &(int){ KTLS_CONTROL_QUEUE }, sizeof(int)))
		return -1;
	before = charged();
	for (sent = 0; sent < bytes; sent += PAYLOAD_MAX)
		if (peer_send(&peer, DATA, data, PAYLOAD_MAX))
			return -1;
	return wait_inq(fd, bytes) ? -1 : charged() - before;
}

/* What is opened before anybody reads is charged to whom the socket belongs. */
TEST_F(memory, charged_to_its_group)
{
	const size_t bytes = 4 * PAYLOAD_MAX;
	int status;

	ASSERT_TRUE(make_group());
	if (!fork())
		_exit(charge_of(bytes) < (long)bytes);
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rmdir(GROUP));
	EXPECT_EQ(0, umount(GROUPS));
}

TEST_HARNESS_MAIN
