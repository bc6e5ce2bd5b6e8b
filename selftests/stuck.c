// SPDX-License-Identifier: GPL-2.0-only
/* Whoever is stuck in a call, as the memory for it takes for ever to come, keeps nobody else. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

/* A thread in a call whose memory comes when fill_page() is called. */
struct caller {
	pthread_t thread;
	int uffd;
	uint8_t *page;
	int fd;
	ssize_t result;
};

FIXTURE(stuck) { struct caller caller; };

FIXTURE_SETUP(stuck)
{
	struct uffdio_register reg = { .range.len = 4096, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct caller *c = &self->caller;

	if (kernel_tls())
		return;
	c->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, c->uffd);
	ASSERT_EQ(0, ioctl(c->uffd, UFFDIO_API, &api));
	c->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)c->page;
	ASSERT_EQ(0, ioctl(c->uffd, UFFDIO_REGISTER, &reg));
}

FIXTURE_TEARDOWN(stuck)
{
	if (!kernel_tls())
		close(self->caller.uffd);
}

static void *call_recv(void *arg)
{
	struct caller *c = arg;

	c->result = RESULT(recv(c->fd, c->page, 100, 0));
	return NULL;
}

static void *call_recv_control_with(struct caller *c, int flags)
{
	struct iovec iov = { .iov_len = 100 };
	char control[200];
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control),
	};

	iov.iov_base = c->page;
	c->result = RESULT(recvmsg(c->fd, &msg, MSG_ERRQUEUE | flags));
	return NULL;
}

static void *call_recv_control(void *arg) { return call_recv_control_with(arg, 0); }
static void *call_peek_control(void *arg) { return call_recv_control_with(arg, MSG_PEEK); }

static void *call_send_more(void *arg)
{
	struct caller *c = arg;

	c->result = RESULT(send(c->fd, c->page, 100, MSG_MORE));
	return NULL;
}

static void begin(struct __test_metadata *_metadata, struct caller *c, void *(*call)(void *), int fd)
{
	c->fd = fd;
	ASSERT_EQ(0, pthread_create(&c->thread, NULL, call, c));
	ASSERT_EQ(POLLIN, poll_wait(c->uffd, POLLIN));
}

static void fill_page(struct __test_metadata *_metadata, struct caller *c)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)c->page, 4096 } };

	EXPECT_EQ(0, ioctl(c->uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(c->thread, NULL);
}

/* What somebody else does; the pipe tells that it could. */
struct other {
	pthread_t thread;
	int fd;
	int done;
	int result;
};

static int read_file(const char *path)
{
	int file = open(path, O_RDONLY);
	char text[4000];
	ssize_t n = read(file, text, sizeof(text));

	close(file);
	return n > 0 ? 0 : -1;
}

static void *observe(void *arg)
{
	struct other *o = arg;
	struct ktls_info info;
	char path[64];

	o->result = get_info(o->fd, &info);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", o->fd);
	o->result |= read_file(path) | read_file("/proc/self/net/ktls");
	write(o->done, "", 1);
	return NULL;
}

static void *look(void *arg)
{
	struct other *o = arg;

	o->result = poll_now(o->fd, POLLIN) == POLLIN ? 0 : -1;
	write(o->done, "", 1);
	return NULL;
}

static void *end(void *arg)
{
	struct other *o = arg;

	o->result = close(o->fd);
	write(o->done, "", 1);
	return NULL;
}

static void expect_returns(struct __test_metadata *_metadata, void *(*what)(void *), int fd)
{
	struct other other = { .fd = fd };
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	other.done = pipes[1];
	pthread_create(&other.thread, NULL, what, &other);
	EXPECT_EQ(POLLIN, poll_wait(pipes[0], POLLIN));
	EXPECT_EQ(0, other.result);
	pthread_detach(other.thread);
}

static void expect_control(struct __test_metadata *_metadata, int fd, struct peer *peer)
{
	uint8_t type, buf[10];

	ASSERT_EQ(0, peer_send(peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(POLLPRI, poll_wait(fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(4, recv_type(fd, buf, sizeof(buf), MSG_ERRQUEUE, &type));
}

TEST_F(stuck, reader)
{
	int mode = KTLS_CONTROL_QUEUE, fd, fd2;
	struct peer peer, peer2;

	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &peer));
	ASSERT_EQ(0, tls_and_peer(AF_INET, TLS_CIPHER_AES_GCM_128, &fd2, &peer2));
	ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	ASSERT_EQ(0, setsockopt(fd2, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	ASSERT_EQ(0, peer_send(&peer, DATA, "data", 4));
	begin(_metadata, &self->caller, call_recv, fd);
	ASSERT_EQ(0, peer_send(&peer, HANDSHAKE, "ctrl", 4));
	expect_returns(_metadata, observe, fd);
	expect_control(_metadata, fd2, &peer2);
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(4, self->caller.result);
	EXPECT_EQ(0, memcmp(self->caller.page, "data", 4));
	/* What came meanwhile for the stuck one. */
	EXPECT_EQ(POLLPRI, poll_wait(fd, POLLPRI) & POLLPRI);
	close(fd);
	close(fd2);
	peer_close(&peer);
	peer_close(&peer2);
}

TEST_F(stuck, poll_beside_reader)
{
	int mode = KTLS_CONTROL_QUEUE, fds[2], fd, carrier;
	struct peer peer;
	char buf[10];

	ONLY_KTLS();
	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_GCM_128, &fd, &carrier, &peer));
	ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	ASSERT_EQ(0, dgram_send(&peer, HANDSHAKE, "ctrl", 4));
	ASSERT_EQ(POLLPRI, poll_wait(fd, POLLPRI) & POLLPRI);
	begin(_metadata, &self->caller, call_recv_control, fd);
	ASSERT_EQ(0, dgram_send(&peer, DATA, "data", 4));
	expect_returns(_metadata, look, fd);
	EXPECT_EQ(4, recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(4, self->caller.result);
	close(fd);
	close(carrier);
	close(peer.fd);
}

static void *wait_for_control(void *arg)
{
	struct other *o = arg;

	o->result = poll_wait(o->fd, POLLPRI) & POLLPRI;
	return NULL;
}

/* Who looks for a control record while another peeks at it is told when it is there again. */
TEST_F(stuck, poll_beside_peek)
{
	int mode = KTLS_CONTROL_QUEUE, fds[2], fd, carrier;
	time_t start = time(NULL);
	struct other other;
	struct peer peer;

	ONLY_KTLS();
	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_GCM_128, &fd, &carrier, &peer));
	ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	ASSERT_EQ(0, dgram_send(&peer, HANDSHAKE, "ctrl", 4));
	ASSERT_EQ(POLLPRI, poll_wait(fd, POLLPRI) & POLLPRI);
	begin(_metadata, &self->caller, call_peek_control, fd);
	other.fd = fd;
	ASSERT_EQ(0, pthread_create(&other.thread, NULL, wait_for_control, &other));
	poll(NULL, 0, 200);
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(4, self->caller.result);
	pthread_join(other.thread, NULL);
	EXPECT_EQ(POLLPRI, other.result);
	/* At the end of its time a poll looks once more. */
	EXPECT_GT(TIME_LIMIT / 2, time(NULL) - start);
	close(fd);
	close(carrier);
	close(peer.fd);
}

/* A carrier that is nobody's can be taken. */
static void expect_given_back(struct __test_metadata *_metadata, int carrier, int (*attach)(int))
{
	int fd = -1, tries;

	for (tries = 0; fd < 0 && tries < TIME_LIMIT * 10; tries++) {
		fd = attach(dup(carrier));
		if (fd < 0)
			usleep(100000);
	}
	EXPECT_LE(0, fd);
	close(fd);
}

TEST_F(stuck, close_beside_carrier)
{
	uint8_t type, payload[PAYLOAD_MAX];
	struct keys keys;
	struct peer peer;
	int fds[2], fd;

	ONLY_KTLS();
	ASSERT_EQ(0, tcp_pair(AF_INET, fds));
	keys_make(&keys, TLS_CIPHER_AES_GCM_128, 1);
	peer = (struct peer){ .fd = fds[1], .rx = keys };
	fd = tls_attach(dup(fds[0]));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &keys));
	ASSERT_EQ(5, send(fd, "whole", 5, MSG_MORE));
	ASSERT_EQ(5, send(fds[1], "plain", 5, 0));
	ASSERT_EQ(POLLIN, poll_wait(fds[0], POLLIN));
	begin(_metadata, &self->caller, call_recv, fds[0]);
	expect_returns(_metadata, end, fd);
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(5, self->caller.result);
	/* What was taken is sent nevertheless. */
	ASSERT_EQ(5, peer_recv(&peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "whole", 5));
	expect_given_back(_metadata, fds[0], tls_attach);
	EXPECT_EQ(1, send(fds[0], "p", 1, 0));
	close(fds[0]);
	close(fds[1]);
}

/* The worker leaves a carrier that is kept, and comes back. */
TEST_F(stuck, worker_beside_carrier)
{
	int mode = KTLS_CONTROL_QUEUE, fds[2], fd;
	struct peer peer;
	uint8_t type, buf[10];

	ONLY_KTLS();
	ASSERT_EQ(0, tcp_pair(AF_INET, fds));
	keys_make(&peer.tx, TLS_CIPHER_AES_GCM_128, 1);
	peer.fd = fds[1];
	fd = tls_attach(dup(fds[0]));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &peer.tx));
	ASSERT_EQ(0, setsockopt(fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)));
	begin(_metadata, &self->caller, call_send_more, fds[0]);
	ASSERT_EQ(0, peer_send(&peer, HANDSHAKE, "ctrl", 4));
	/* Nobody can look into the carrier for now. */
	poll(NULL, 0, 100);
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(POLLPRI, poll_wait(fd, POLLPRI) & POLLPRI);
	EXPECT_EQ(4, recv_type(fd, buf, sizeof(buf), MSG_ERRQUEUE, &type));
	close(fd);
	close(fds[0]);
	close(fds[1]);
}

TEST_F(stuck, close_beside_datagram_carrier)
{
	uint8_t payload[PAYLOAD_MAX];
	int fds[2], fd, carrier;
	struct peer peer;

	ONLY_KTLS();
	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	ASSERT_EQ(0, dtls_over(fds, TLS_CIPHER_AES_GCM_128, &fd, &carrier, &peer));
	ASSERT_EQ(5, send(carrier, "plain", 5, MSG_MORE));
	begin(_metadata, &self->caller, call_send_more, carrier);
	expect_returns(_metadata, end, fd);
	fill_page(_metadata, &self->caller);
	EXPECT_EQ(100, self->caller.result);
	expect_given_back(_metadata, carrier, dtls_attach);
	ASSERT_EQ(0, send(carrier, "", 0, 0));
	time_limit(peer.fd, TIME_LIMIT);
	EXPECT_EQ(105, recv(peer.fd, payload, sizeof(payload), 0));
	close(carrier);
	close(peer.fd);
}

TEST_HARNESS_MAIN
