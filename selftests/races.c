// SPDX-License-Identifier: GPL-2.0-only
/* What ends a connection while others are at work on it, or asleep in a call. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define TOTAL	500000		/* more than the carrier takes at once */
#define CYCLES	40

static uint8_t data[TOTAL], payload[PAYLOAD_MAX];

FIXTURE(races) { int fd; int carrier; struct peer peer; };
CIPHER_VARIANTS(races);

FIXTURE_SETUP(races)
{
	int fixed = 65536;

	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, own_network());
	ASSERT_EQ(0, tls_carrier_and_peer(variant->family, variant->cipher, &self->fd,
					  &self->carrier, &self->peer));
	setsockopt(self->carrier, SOL_SOCKET, SO_SNDBUF, &fixed, sizeof(fixed));
	setsockopt(self->peer.fd, SOL_SOCKET, SO_RCVBUF, &fixed, sizeof(fixed));
}

FIXTURE_TEARDOWN(races)
{
	close(self->fd);
	close(self->carrier);
	peer_close(&self->peer);
}

/* A thread in one call, and what the call returned. */
struct caller {
	pthread_t thread;
	atomic_int tid;
	int fd;
	long result;
};

static void *call_recv(void *arg)
{
	struct caller *c = arg;

	c->tid = syscall(SYS_gettid);
	c->result = RESULT(recv(c->fd, payload, sizeof(payload), 0));
	return NULL;
}

static void *call_send(void *arg)
{
	struct caller *c = arg;

	c->tid = syscall(SYS_gettid);
	c->result = RESULT(send(c->fd, data, TOTAL, MSG_NOSIGNAL));
	return NULL;
}

static void *call_poll(void *arg)
{
	struct caller *c = arg;

	c->tid = syscall(SYS_gettid);
	c->result = poll_wait(c->fd, POLLIN);
	return NULL;
}

/* Starts the thread and waits until it sleeps in its call. */
static void asleep_in(struct caller *c, void *(*call)(void *), int fd)
{
	c->tid = 0;
	c->fd = fd;
	pthread_create(&c->thread, NULL, call, c);
	while (!c->tid)
		poll(NULL, 0, 1);
	wait_asleep(c->tid);
}

static long result_of(struct caller *c)
{
	pthread_join(c->thread, NULL);
	return c->result;
}

/* As TCP: who is in a call keeps the socket until it returns; poll(2) looks the file up again. */
TEST_F(races, close_during_recv)
{
	struct caller reader;

	asleep_in(&reader, call_recv, self->fd);
	close(self->fd);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, result_of(&reader));
	close(self->carrier);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(races, close_during_send)
{
	struct caller writer;

	fill(data, TOTAL, 0);
	asleep_in(&writer, call_send, self->fd);
	close(self->fd);
	close(self->carrier);
	EXPECT_EQ(TOTAL, peer_drain(&self->peer, TOTAL));
	EXPECT_EQ(TOTAL, result_of(&writer));
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

TEST_F(races, close_during_poll)
{
	struct caller poller;

	asleep_in(&poller, call_poll, self->fd);
	close(self->fd);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLNVAL, result_of(&poller));
}

TEST_F(races, shutdown_during_recv_and_poll)
{
	struct caller reader, poller;

	asleep_in(&reader, call_recv, self->fd);
	asleep_in(&poller, call_poll, self->fd);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_RDWR));
	EXPECT_EQ(0, result_of(&reader));
	EXPECT_TRUE(result_of(&poller) & POLLIN);
}

/* The writer learns how much went, which is what comes, then close_notify and FIN. */
TEST_F(races, shutdown_during_send)
{
	struct caller writer;
	uint8_t type;
	long n;

	fill(data, TOTAL, 0);
	asleep_in(&writer, call_send, self->fd);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	n = result_of(&writer);
	ASSERT_LT(0, n);
	ASSERT_GT(TOTAL, n);
	EXPECT_EQ(n, peer_drain(&self->peer, n));
	ASSERT_EQ(2, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, recv(self->peer.fd, payload, 1, 0));
}

static int detach(int fd)
{
	return RESULT(setsockopt(fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
}

TEST_F(races, detach_during_recv_and_poll)
{
	struct caller readers[2], poller;

	asleep_in(&readers[0], call_recv, self->fd);
	asleep_in(&readers[1], call_recv, self->fd);
	asleep_in(&poller, call_poll, self->fd);
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(-ENOTCONN, result_of(&readers[0]));
	EXPECT_EQ(-ENOTCONN, result_of(&readers[1]));
	ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_TRUE(result_of(&poller) & (POLLIN | POLLHUP));
}

/* Whether it refuses or takes the carrier away, the count the writer gets is what went. */
TEST_F(races, detach_during_send)
{
	struct caller writer;
	long n;
	int ret;

	fill(data, TOTAL, 0);
	asleep_in(&writer, call_send, self->fd);
	ret = detach(self->fd);
	ASSERT_TRUE(ret == 0 || ret == -EBUSY) TH_LOG("%d", ret);
	if (ret) {
		EXPECT_EQ(TOTAL, peer_drain(&self->peer, TOTAL));
		EXPECT_EQ(TOTAL, result_of(&writer));
	} else {
		n = result_of(&writer);
		EXPECT_EQ(n, peer_drain(&self->peer, n));
		EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, payload, 1, MSG_DONTWAIT)));
	}
}

TEST_F(races, reset_during_recv_and_poll)
{
	struct caller reader, poller;

	asleep_in(&reader, call_recv, self->fd);
	asleep_in(&poller, call_poll, self->fd);
	abort_connection(&self->peer.fd);
	EXPECT_EQ(-ECONNRESET, result_of(&reader));
	EXPECT_TRUE(result_of(&poller) & POLLERR);
}

/* Both readers are told, although TCP forgets after it told the first. */
TEST_F(races, reset_during_two_reads)
{
	struct caller readers[2];

	asleep_in(&readers[0], call_recv, self->fd);
	asleep_in(&readers[1], call_recv, self->fd);
	abort_connection(&self->peer.fd);
	EXPECT_EQ(-ECONNRESET, result_of(&readers[0]));
	EXPECT_EQ(-ECONNRESET, result_of(&readers[1]));
}

TEST_F(races, reset_in_a_record)
{
	uint8_t record[RECORD_MAX];
	struct caller reader;

	record_seal(&self->peer.tx, DATA, data, 5000, record);
	ASSERT_EQ(0, send_all(self->peer.fd, record, 3000));
	asleep_in(&reader, call_recv, self->fd);
	abort_connection(&self->peer.fd);
	EXPECT_EQ(-ECONNRESET, result_of(&reader));
}

TEST_F(races, reset_during_send)
{
	struct caller writer;
	long n;

	asleep_in(&writer, call_send, self->fd);
	abort_connection(&self->peer.fd);
	n = result_of(&writer);
	EXPECT_TRUE(n > 0 && n < TOTAL) TH_LOG("%ld", n);
	n = RESULT(send(self->fd, "x", 1, MSG_NOSIGNAL));
	EXPECT_TRUE(n == -ECONNRESET || n == -EPIPE) TH_LOG("%ld", n);
}

/* A writer that sleeps holds up neither readers nor options. */
TEST_F(races, reader_beside_a_sleeping_writer)
{
	struct ktls_info info;
	struct caller writer;
	int queued;

	fill(data, TOTAL, 0);
	asleep_in(&writer, call_send, self->fd);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, get_info(self->fd, &info));
	EXPECT_LT(0, info.tx.records);
	EXPECT_EQ(0, ioctl(self->fd, FIONREAD, &queued));
	EXPECT_EQ(TOTAL, peer_drain(&self->peer, TOTAL));
	EXPECT_EQ(TOTAL, result_of(&writer));
}

TEST_F(races, writer_beside_a_sleeping_reader)
{
	struct ktls_info info;
	struct caller reader;
	uint8_t type;

	asleep_in(&reader, call_recv, self->fd);
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 1, MSG_DONTWAIT)));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, result_of(&reader));
}

/* Threads that call whatever there is, until told to stop; any answer will do. */
static atomic_bool stop;

static void *call_anything(void *arg)
{
	struct caller *c = arg;
	struct sockaddr_storage addr;
	struct ktls_info info;
	union crypto_info key;
	uint8_t bytes[2000] = {};
	socklen_t len;
	int n;

	while (!stop) {
		recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		send(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		send(c->fd, bytes, 10, MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL);
		poll_now(c->fd, POLLIN | POLLOUT | POLLPRI);
		get_info(c->fd, &info);
		ioctl(c->fd, FIONREAD, &n);
		ioctl(c->fd, SIOCOUTQ, &n);
		len = sizeof(key);
		getsockopt(c->fd, SOL_TLS, TLS_RX, &key, &len);
		len = sizeof(addr);
		getpeername(c->fd, (void *)&addr, &len);
		recv(c->fd, bytes, sizeof(bytes), MSG_ERRQUEUE);
	}
	return NULL;
}

static void *watch_files(void *arg)
{
	while (!stop) {
		proc_counter("/proc/thread-self/net/ktls", "-");
		proc_counter("/proc/thread-self/net/ktls_stat", "-");
	}
	return NULL;
}

static void start_callers(struct caller *callers, int fd)
{
	int i;

	stop = false;
	for (i = 0; i < 4; i++) {
		callers[i].fd = fd;
		pthread_create(&callers[i].thread, NULL, i ? call_anything : watch_files,
			       &callers[i]);
	}
}

static void stop_callers(struct caller *callers)
{
	int i;

	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(callers[i].thread, NULL);
}

static void *swallow(void *arg)
{
	struct caller *c = arg;
	uint8_t bytes[RECORD_MAX];

	while (recv(c->fd, bytes, sizeof(bytes), 0) > 0)
		;
	return NULL;
}

/* The carrier comes and goes under them. */
TEST_F(races, attach_and_detach_under_fire)
{
	struct caller callers[4], swallower = { .fd = self->peer.fd };
	int i, ret, attached = 0;

	start_callers(callers, self->fd);
	pthread_create(&swallower.thread, NULL, swallow, &swallower);
	for (i = 0; i < CYCLES; i++) {
		ret = detach(self->fd);
		ASSERT_TRUE(ret == 0 || ret == -EBUSY || ret == -ENOTCONN) TH_LOG("%d", ret);
		if (ret == -EBUSY)
			continue;
		ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
		ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
		ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
		peer_send(&self->peer, DATA, data, 100);
		peer_send(&self->peer, HANDSHAKE, data, 100);
		attached++;
	}
	stop_callers(callers);
	EXPECT_LT(0, attached);
	shutdown(self->carrier, SHUT_RDWR);
	pthread_join(swallower.thread, NULL);
}

/*
 * Asks for the ULP's name with a length that has to be faulted in for writing: TCP sleeps there.
 * Each call begins with a carrier, or ends before there is one again.
 */
struct asker {
	pthread_t thread;
	pthread_barrier_t turn;
	int fd;
	int wrong;
};

#define TURNS	(5 * CYCLES)

static void *ask_for_ulp(void *arg)
{
	int file = memfd_create("length", 0), ret, i;
	struct asker *a = arg;
	socklen_t len = 16;
	char name[16] = "";

	pwrite(file, &len, sizeof(len), 0);
	for (i = 0; i < TURNS; i++) {
		socklen_t *lent = mmap(NULL, sizeof(len), PROT_READ | PROT_WRITE, MAP_PRIVATE,
				       file, 0);

		pthread_barrier_wait(&a->turn);
		ret = RESULT(getsockopt(a->fd, SOL_TCP, TCP_ULP, name, lent));
		if (ret || (*lent && strcmp(name, "af_ktls")))
			a->wrong++;
		munmap(lent, sizeof(len));
		pthread_barrier_wait(&a->turn);
	}
	close(file);
	return NULL;
}

TEST_F(races, detach_during_ulp_name)
{
	struct asker asker = { .fd = self->carrier };
	int i;

	pthread_barrier_init(&asker.turn, NULL, 2);
	pthread_create(&asker.thread, NULL, ask_for_ulp, &asker);
	for (i = 0; i < TURNS; i++) {
		pthread_barrier_wait(&asker.turn);
		if (i % 2)
			sched_yield();
		EXPECT_EQ(0, detach(self->fd));
		pthread_barrier_wait(&asker.turn);
		EXPECT_EQ(0, tls_bind(self->fd, self->carrier));
	}
	pthread_join(asker.thread, NULL);
	EXPECT_EQ(0, asker.wrong);
}

/* Connections end in every manner under them. */
TEST_F(races, ends_under_fire)
{
	struct caller callers[4];
	struct peer peer;
	int fd, i;

	for (i = 0; i < CYCLES / 4; i++) {
		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
		start_callers(callers, fd);
		peer_send(&peer, DATA, data, 1000);
		poll_wait(peer.fd, POLLIN);
		if (i % 4 == 0)
			abort_connection(&peer.fd);
		if (i % 4 == 1)
			peer_close(&peer);
		if (i % 4 == 2)
			shutdown(fd, SHUT_RDWR);
		close(fd);
		stop_callers(callers);
		peer_close(&peer);
	}
}

TEST_HARNESS_MAIN
