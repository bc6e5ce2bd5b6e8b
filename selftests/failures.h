/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What if memory is short, or the program's is gone? Each allocation and each copy from or to
 * the program that an operation makes in its own task fails once (the kernel's fault injection,
 * fail-nth); what interrupts and work queues allocate for it does not. Every time the operation
 * either succeeds or says why not, and nothing is lost.
 */
#ifndef KTLS_FAILURES_H
#define KTLS_FAILURES_H

#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

#define LARGE	70000	/* some records */
#define SMALL	100
#define ROUNDS	400	/* more points of failure has no operation */

/* The sockets on which an operation is tried once. */
struct scene {
	int fd;			/* AF_KTLS; may be without carrier or keys */
	int carrier;
	struct peer peer;
	struct keys rx;		/* as the peer's were at first */
	struct sockaddr_in6 name;	/* the peer's */
	socklen_t name_len;
	int pipe[2];
	int file;		/* LARGE bytes */
};

struct operation {
	bool datagram;
	bool tls13;
	bool single_pages;	/* larger ones are not to be had */
	int (*prepare)(struct scene *s);
	long (*run)(struct scene *s);
	bool infallible;	/* it neither allocates nor copies */
	/* Was everything as it has to be, having returned @result? */
	bool (*check)(struct scene *s, long result);
};

static uint8_t data[LARGE], got[LARGE + RECORD_MAX];
/* How often a point of failure ended the sending direction; see died_cleanly(). */
static int deaths;

static bool set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, value, strlen(value)) > 0;

	close(fd);
	return done;
}

/* Allocations that may wait fail too, and single pages. */
static bool may_inject(void)
{
	return set("/sys/kernel/debug/failslab/ignore-gfp-wait", "N") &&
	       set("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") &&
	       set("/sys/kernel/debug/fail_page_alloc/min-order", "0") &&
	       set("/sys/kernel/debug/fail_usercopy/verbose", "0") &&
	       set("/sys/kernel/debug/failslab/verbose", "0") &&
	       set("/sys/kernel/debug/fail_page_alloc/verbose", "0");
}

static void arm(int control, int n)
{
	char text[16];

	pwrite(control, text, snprintf(text, sizeof(text), "%d", n), 0);
}

/* Has something failed? The look itself copies. */
static bool disarm(int control)
{
	char text[16] = "0";
	bool left = pread(control, text, sizeof(text) - 1, 0) < 0 || atoi(text);

	arm(control, 0);
	return !left;
}

static bool is_shortage(long result)
{
	return result == -ENOMEM || result == -ENOBUFS || result == -EFAULT || result == -ENFILE ||
	       result == -EIO;
}

static int set_scene(struct scene *s, const struct operation *op)
{
	const uint16_t cipher = TLS_CIPHER_AES_GCM_128 | (op->tls13 ? TLS13 : 0);
	int fds[2];

	if (op->datagram ? udp_pair(AF_INET, fds) : tcp_pair(AF_INET, fds))
		return -1;
	s->carrier = fds[0];
	s->peer.fd = fds[1];
	s->fd = -1;
	time_limit(s->carrier, TIME_LIMIT);
	time_limit(s->peer.fd, TIME_LIMIT);
	keys_make(&s->peer.tx, cipher, 1);
	keys_make(&s->peer.rx, cipher, 2);
	if (op->datagram) {
		dtls_keys_make(&s->peer.tx, TLS_CIPHER_AES_GCM_128, 1);
		dtls_keys_make(&s->peer.rx, TLS_CIPHER_AES_GCM_128, 2);
	}
	s->rx = s->peer.tx;
	s->name_len = sizeof(s->name);
	getsockname(s->peer.fd, (void *)&s->name, &s->name_len);
	if (pipe(s->pipe) || fcntl(s->pipe[0], F_SETPIPE_SZ, 1 << 20) < 0)
		return -1;
	s->file = memfd_create("file", 0);
	if (write(s->file, data, LARGE) != LARGE || lseek(s->file, 0, SEEK_SET))
		return -1;
	return op->prepare(s);
}

static void strike(struct scene *s)
{
	close(s->fd);
	close(s->carrier);
	close(s->peer.fd);
	close(s->pipe[0]);
	close(s->pipe[1]);
	close(s->file);
}

static void try_all(struct __test_metadata *_metadata, const struct operation *op)
{
	int control = open("/proc/thread-self/fail-nth", O_RDWR), n;
	struct scene s;
	bool failed;
	long result;

	if (control < 0 || !may_inject())
		SKIP(return, "the kernel has no fault injection");
	ASSERT_TRUE(set("/proc/sys/net/core/high_order_alloc_disable", op->single_pages ? "1" : "0"));
	signal(SIGPIPE, SIG_IGN);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	fill(data, sizeof(data), 0);
	for (n = 1; n < ROUNDS; n++) {
		ASSERT_EQ(0, set_scene(&s, op));
		/* Of the point before, which was right. */
		memset(got, 0, sizeof(got));
		arm(control, n);
		result = RESULT(op->run(&s));
		failed = disarm(control);
		ASSERT_TRUE(result >= 0 || is_shortage(result)) {
			TH_LOG("point %d: %s", n, strerror(-result));
		}
		ASSERT_TRUE(op->check(&s, result)) {
			TH_LOG("point %d: returned %ld", n, result);
		}
		strike(&s);
		if (!failed)
			break;
	}
	TH_LOG("%d points of failure, %d of which end the direction", n - 1, deaths);
	/* Those in the midst of the cipher: there are fewer than of the others. */
	EXPECT_GE((n - 1) / 6, deaths);
	EXPECT_EQ(op->infallible, n == 1);
	EXPECT_LT(n, ROUNDS);
	EXPECT_TRUE(set("/proc/sys/net/core/high_order_alloc_disable", "0"));
	close(control);
}

#define OPERATION(name, ...)						\
	TEST(name)							\
	{								\
		static const struct operation op = { __VA_ARGS__ };	\
									\
		ONLY_KTLS();						\
		try_all(_metadata, &op);				\
	}

/* ---- what several start with ---- */

static int open_socket(struct scene *s)
{
	int type = 0;
	socklen_t len = sizeof(type);

	getsockopt(s->carrier, SOL_SOCKET, SO_TYPE, &type, &len);
	s->fd = socket(AF_KTLS, type, 0);
	time_limit(s->fd, TIME_LIMIT);
	return s->fd < 0;
}

static int bound(struct scene *s)
{
	return open_socket(s) || tls_bind(s->fd, s->carrier);
}

static long set_tx(struct scene *s)
{
	return tls_key(s->fd, TLS_TX, &s->peer.rx);
}

static long set_rx(struct scene *s)
{
	return tls_key(s->fd, TLS_RX, &s->rx);
}

static int keyed(struct scene *s)
{
	return bound(s) || set_tx(s) || set_rx(s);
}

#endif
