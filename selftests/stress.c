// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many connections, one after the other and at once: everything is given back.
 * timeout=600
 */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define CYCLES		2500	/* for each cipher, 10,000 in all */
#define CROWD		100
#define EACH		50000	/* bytes of a connection in the crowd */
#define CACHES_MAX	512
#define LIMIT		250	/* seconds for a test */

/* The kernel's caches of objects, and how many of each are in use. */
struct slab { char name[64]; long active; };
struct slabs { struct slab caches[CACHES_MAX]; int count; };

/* Sockets as the kernel counts them. */
struct counts { long used, tcp_inuse, tcp_alloc, bound, tx, rx; int fds; };

static uint8_t payload[PAYLOAD_MAX], got[PAYLOAD_MAX];
static struct slabs slabs_before;
static struct counts counts_before;

static long sockstat(const char *line, const char *name)
{
	FILE *file = fopen("/proc/thread-self/net/sockstat", "r");
	char text[256], *at;
	long value = -1;

	while (file && fgets(text, sizeof(text), file)) {
		at = strstr(text, name);
		if (!strncmp(text, line, strlen(line)) && at)
			value = atol(at + strlen(name));
	}
	if (file)
		fclose(file);
	return value;
}

static void count(struct counts *c)
{
	c->used = sockstat("sockets:", "used");
	c->tcp_inuse = sockstat("TCP:", "inuse");
	c->tcp_alloc = sockstat("TCP:", "alloc");
	c->bound = proc_counter("/proc/thread-self/net/ktls_stat", "KtlsCurrBound");
	c->tx = proc_counter("/proc/thread-self/net/ktls_stat", "KtlsCurrTx");
	c->rx = proc_counter("/proc/thread-self/net/ktls_stat", "KtlsCurrRx");
	c->fds = count_fds();
}

/* Makes the caches give back what is free, so that they count what is in use. */
static void shrink_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[320];
	int fd;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		fd = entry->d_name[0] == '.' ? -1 : open(path, O_WRONLY);
		if (fd >= 0 && write(fd, "1", 1) == 1)
			close(fd);
	}
	if (dir)
		closedir(dir);
}

static void read_slabs(struct slabs *slabs)
{
	FILE *file;
	char text[512];
	struct slab *s;

	shrink_caches();
	slabs->count = 0;
	file = fopen("/proc/slabinfo", "r");
	while (file && fgets(text, sizeof(text), file) && slabs->count < CACHES_MAX) {
		s = &slabs->caches[slabs->count];
		if (sscanf(text, "%63s %ld", s->name, &s->active) == 2)
			slabs->count++;
	}
	if (file)
		fclose(file);
}

/* The cache that has grown most since, and by how much. */
static long growth(const struct slabs *before, const struct slabs *now, const char **name)
{
	long most = 0, grown;
	int i, j;

	for (i = 0; i < now->count; i++)
		for (j = 0; j < before->count; j++) {
			grown = now->caches[i].active - before->caches[j].active;
			if (grown > most && !strcmp(now->caches[i].name, before->caches[j].name)) {
				most = grown;
				*name = now->caches[i].name;
			}
		}
	return most;
}

/* A cache may breathe, but an object lost in each cycle shows. */
static void expect_no_growth(struct __test_metadata *_metadata, long allowed)
{
	static struct slabs now;
	const char *name = "";
	long most = 0;
	int i;

	/* What is freed after a grace period of RCU needs a while. */
	for (i = 0; i < 50; i++) {
		read_slabs(&now);
		most = growth(&slabs_before, &now, &name);
		if (most < allowed)
			return;
		poll(NULL, 0, 100);
	}
	EXPECT_LT(most, allowed) TH_LOG("cache %s", name);
}

static bool counts_back(const struct counts *now)
{
	const struct counts *before = &counts_before;

	return now->used == before->used && now->tcp_inuse == before->tcp_inuse &&
	       now->tcp_alloc <= before->tcp_alloc && now->fds == before->fds;
}

static void expect_counts_back(struct __test_metadata *_metadata)
{
	struct counts now;
	int i;

	count(&now);
	for (i = 0; i < 100 && !counts_back(&now); i++) {
		poll(NULL, 0, 100);
		count(&now);
	}
	EXPECT_EQ(counts_before.used, now.used);
	EXPECT_EQ(counts_before.tcp_inuse, now.tcp_inuse);
	EXPECT_GE(counts_before.tcp_alloc, now.tcp_alloc);
	EXPECT_EQ(counts_before.fds, now.fds);
	EXPECT_EQ(0, now.bound);
	EXPECT_EQ(0, now.tx);
	EXPECT_EQ(0, now.rx);
}

/* A network namespace of its own, where nobody else's sockets are counted. */
FIXTURE(stress) { int unused; };
/* What happens so often does not depend on the cipher. */
FIXTURE_VARIANT(stress) { uint16_t cipher; int family; };
FIXTURE_VARIANT_ADD(stress, aes_gcm_128)
	{ .cipher = TLS_CIPHER_AES_GCM_128, .family = AF_INET };
FIXTURE_VARIANT_ADD(stress, chacha20_poly1305)
	{ .cipher = TLS_CIPHER_CHACHA20_POLY1305, .family = AF_INET6 };
FIXTURE_VARIANT_ADD(stress, tls13_aes_gcm_128)
	{ .cipher = TLS13 | TLS_CIPHER_AES_GCM_128, .family = AF_INET };

FIXTURE_SETUP(stress)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, own_network());
}

FIXTURE_TEARDOWN(stress)
{
}

static int talk(int fd, struct peer *peer, size_t len)
{
	uint8_t type;

	if (send(fd, payload, len, 0) != len || peer_recv(peer, &type, got) != len)
		return -1;
	return peer_send(peer, DATA, payload, len) || recv_all(fd, got, len) != len ? -1 : 0;
}

/* One connection; it ends in one of the ways that there are. */
static int cycle(int family, uint16_t cipher, int n)
{
	struct peer peer;
	int fd;

	if (tls_and_peer(family, cipher, &fd, &peer) || talk(fd, &peer, 1 + n * 7 % 3000))
		return -1;
	if (n % 4 == 1)
		abort_connection(&peer.fd);
	if (n % 4 == 2 && peer_send(&peer, DATA, payload, 1000))
		return -1;
	if (n % 4 == 3 && send(fd, payload, 1000, MSG_MORE) != 1000)
		return -1;
	close(fd);
	/* After a reset nothing is left to wait for the last segments. */
	if (peer.fd >= 0)
		abort_connection(&peer.fd);
	return 0;
}

static void remember(int family, uint16_t cipher)
{
	int i;

	/* The first fill caches that stay. */
	for (i = 0; i < 8; i++)
		cycle(family, cipher, i);
	count(&counts_before);
	read_slabs(&slabs_before);
}

TEST_F_TIMEOUT(stress, cycles, LIMIT)
{
	int i;

	remember(variant->family, variant->cipher);
	for (i = 0; i < CYCLES; i++)
		ASSERT_EQ(0, cycle(variant->family, variant->cipher, i)) TH_LOG("cycle %d", i);
	expect_counts_back(_metadata);
	expect_no_growth(_metadata, CYCLES / 2);
}

TEST_F_TIMEOUT(stress, cycles_in_parallel, LIMIT)
{
	int processes, i, status;

	remember(variant->family, variant->cipher);
	for (processes = 0; processes < 8; processes++)
		if (!fork()) {
			for (i = 0; i < 50; i++)
				if (cycle(variant->family, variant->cipher, i + processes))
					_exit(1);
			_exit(0);
		}
	while (processes--) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
	expect_counts_back(_metadata);
}

/* A connection of the crowd: the stream goes from one socket to the other. */
struct link { int from, to; size_t sent, received; };

static struct link links[CROWD];

static int watch(int ep, int fd, int events, uint32_t index)
{
	struct epoll_event event = { .events = events, .data.u32 = index };

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

static bool send_some(struct link *link)
{
	size_t len = link->sent + sizeof(payload) > EACH ? EACH - link->sent : sizeof(payload);
	ssize_t n;

	fill(payload, len, link->sent);
	n = send(link->from, payload, len, MSG_DONTWAIT);
	link->sent += n > 0 ? n : 0;
	return n > 0 || errno == EAGAIN;
}

static bool receive_some(struct link *link)
{
	ssize_t n = recv(link->to, got, sizeof(got), MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	if (!filled(got, n, link->received))
		return false;
	link->received += n;
	return true;
}

/* Everything through every link, as epoll finds them ready. */
static void run_links(struct __test_metadata *_metadata, int ep)
{
	struct epoll_event event;
	struct link *link;
	int left = CROWD;

	while (left) {
		ASSERT_EQ(1, epoll_wait(ep, &event, 1, TIME_LIMIT * 1000));
		link = &links[event.data.u32];
		if (event.events & EPOLLIN) {
			ASSERT_TRUE(receive_some(link));
			left -= link->received == EACH;
		} else {
			ASSERT_TRUE(send_some(link));
			if (link->sent == EACH)
				epoll_ctl(ep, EPOLL_CTL_DEL, link->from, NULL);
		}
	}
}

TEST_F_TIMEOUT(stress, crowd, LIMIT)
{
	int ep, i;

	remember(variant->family, variant->cipher);
	ep = epoll_create1(0);
	for (i = 0; i < CROWD; i++) {
		struct link *link = &links[i];

		ASSERT_EQ(0, tls_pair(variant->family, variant->cipher, &link->from, &link->to));
		ASSERT_EQ(0, watch(ep, link->from, EPOLLOUT, i));
		ASSERT_EQ(0, watch(ep, link->to, EPOLLIN, i));
	}
	EXPECT_EQ(2 * CROWD, proc_counter("/proc/thread-self/net/ktls_stat", "KtlsCurrBound"));
	run_links(_metadata, ep);
	for (i = 0; i < CROWD; i++) {
		EXPECT_EQ(EACH, links[i].received);
		close(links[i].from);
		close(links[i].to);
	}
	close(ep);
	expect_counts_back(_metadata);
}

TEST_HARNESS_MAIN
