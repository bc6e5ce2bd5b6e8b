// SPDX-License-Identifier: GPL-2.0-only
/* Signals and timeouts in the middle of calls: the state is kept, what was done is told. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/time.h>

#define STREAM	1000000

static uint8_t data[STREAM], got[STREAM];

PAIR_FIXTURE(signals);

static void ignore_it(int signal)
{
}

/* Calls that a signal interrupts are to be started again. */
static void restart_after(int signal)
{
	struct sigaction action = { .sa_handler = ignore_it, .sa_flags = SA_RESTART };

	sigaction(signal, &action, NULL);
}

/* Interrupts the call that this process sleeps in, then does the rest when it sleeps again. */
#define WHEN_ASLEEP_AGAIN(us, statement) WHEN_ASLEEP({			\
	kill(us, SIGUSR1);						\
	wait_handled(us);						\
	wait_asleep(us);						\
	statement;							\
})

/* Until no signal is pending. */
static void wait_handled(pid_t pid)
{
	unsigned long pending = 1;
	char path[32], line[128];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	while (pending) {
		FILE *file = fopen(path, "r");

		pending = 0;
		while (file && fgets(line, sizeof(line), file))
			if (!strncmp(line, "SigPnd:", 7) || !strncmp(line, "ShdPnd:", 7))
				pending |= strtoul(line + 7, NULL, 16);
		if (file)
			fclose(file);
	}
}

TEST_F(signals, recv_restarts)
{
	int there = self->other;
	pid_t us = getpid();

	restart_after(SIGUSR1);
	time_limit(self->fd, 0);
	WHEN_ASLEEP_AGAIN(us, send_all(there, "data", 4));
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
}

TEST_F(signals, splice_restarts)
{
	int there = self->other, pipes[2];
	pid_t us = getpid();

	restart_after(SIGUSR1);
	time_limit(self->fd, 0);
	ASSERT_EQ(0, pipe(pipes));
	WHEN_ASLEEP_AGAIN(us, send_all(there, "data", 4));
	EXPECT_EQ(4, splice(self->fd, NULL, pipes[1], NULL, 100, 0));
}

/* Not to the end of file, which does not come: who reads here holds the other end, too. */
static void read_all(int fd, size_t total)
{
	ssize_t n;

	for (; total; total -= n) {
		n = recv(fd, got, total < STREAM ? total : STREAM, 0);
		if (n <= 0)
			break;
	}
}

TEST_F(signals, send_restarts)
{
	size_t total = fill_carrier(self->fd, self->other, MSG_DONTWAIT);
	int there = self->other;
	pid_t us = getpid();

	restart_after(SIGUSR1);
	time_limit(self->fd, 0);
	fill(data, 100, total);
	WHEN_ASLEEP_AGAIN(us, read_all(there, total));
	EXPECT_EQ(100, send(self->fd, data, 100, 0));
}

/* With a time limit a restart would begin it anew: EINTR in spite of SA_RESTART. */
TEST_F(signals, time_limit_forbids_restart)
{
	pid_t us = getpid();
	long n;

	restart_after(SIGUSR1);
	WHEN_ASLEEP(kill(us, SIGUSR1));
	EXPECT_EQ(-EINTR, RESULT(recv(self->fd, got, 100, 0)));
	fill_carrier(self->fd, self->other, MSG_DONTWAIT);
	/* As long as TCP makes room a call ends with what it did. */
	do {
		WHEN_ASLEEP(kill(us, SIGUSR1));
		n = RESULT(send(self->fd, data, STREAM, 0));
	} while (n > 0);
	EXPECT_EQ(-EINTR, n);
}

/* What came before the signal is given, though less than was asked for. */
TEST_F(signals, part_of_a_read)
{
	pid_t us = getpid();

	restart_after(SIGUSR1);
	time_limit(self->fd, 0);
	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	WHEN_ASLEEP(kill(us, SIGUSR1));
	EXPECT_EQ(4, recv(self->fd, got, 100, MSG_WAITALL));
	ASSERT_EQ(4, send(self->other, "more", 4, 0));
	WHEN_ASLEEP(kill(us, SIGUSR1));
	EXPECT_EQ(4, recv(self->fd, got, 100, MSG_WAITALL | MSG_PEEK));
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
	EXPECT_EQ(0, memcmp(got, "more", 4));
}

TEST_F(signals, pending_before_the_call)
{
	sigset_t set;

	interrupted_by(SIGUSR1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* A signal each millisecond, for whoever is in a call. */
static void storm(bool on)
{
	struct itimerval every = { .it_interval.tv_usec = on ? 1000 : 0,
				   .it_value.tv_usec = on ? 1000 : 0 };

	interrupted_by(SIGALRM);
	setitimer(ITIMER_REAL, &every, NULL);
}

/* A call that a signal may end early, done until it is not the signal that it ends with. */
#define UNINTERRUPTED(call) ({						\
	long u_;							\
	do								\
		u_ = RESULT(call);					\
	while (u_ == -EINTR);						\
	u_;								\
})

struct stream { int fd; long result; };

static void *write_stream(void *arg)
{
	struct stream *s = arg;
	size_t done;
	long n;

	for (done = 0; done < STREAM; done += n) {
		n = UNINTERRUPTED(send(s->fd, data + done, STREAM - done, 0));
		if (n <= 0)
			break;
	}
	s->result = done;
	return NULL;
}

static void *write_file(void *arg)
{
	struct stream *s = arg;
	int file = memfd_create("signals", 0);
	off_t done = 0;

	if (UNINTERRUPTED(pwrite(file, data, STREAM, 0)) == STREAM)
		while (done < STREAM &&
		       UNINTERRUPTED(sendfile(s->fd, file, &done, STREAM - done)) > 0)
			;
	close(file);
	s->result = done;
	return NULL;
}

static void *read_stream(void *arg)
{
	struct stream *s = arg;
	size_t done;
	long n;

	for (done = 0; done < STREAM; done += n) {
		n = UNINTERRUPTED(recv(s->fd, got + done, STREAM - done, MSG_WAITALL));
		if (n <= 0)
			break;
	}
	s->result = done;
	return NULL;
}

static void through_a_storm(struct __test_metadata *_metadata, int from, int to,
			    void *(*write_it)(void *))
{
	struct stream out = { .fd = from }, in = { .fd = to };
	pthread_t writer, reader;
	int fixed = 65536;

	setsockopt(to, SOL_SOCKET, SO_RCVBUF, &fixed, sizeof(fixed));
	fill(data, STREAM, 0);
	storm(true);
	pthread_create(&writer, NULL, write_it, &out);
	pthread_create(&reader, NULL, read_stream, &in);
	UNINTERRUPTED(pthread_join(writer, NULL));
	UNINTERRUPTED(pthread_join(reader, NULL));
	storm(false);
	EXPECT_EQ(STREAM, out.result);
	EXPECT_EQ(STREAM, in.result);
	EXPECT_TRUE(filled(got, STREAM, 0));
}

TEST_F(signals, storm)
{
	through_a_storm(_metadata, self->fd, self->other, write_stream);
}

TEST_F(signals, storm_during_sendfile)
{
	through_a_storm(_metadata, self->fd, self->other, write_file);
}

static void at_most(int fd, int option, int milliseconds)
{
	struct timeval limit = { .tv_usec = 1000 * milliseconds };

	setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit));
}

/* Timeouts with part of the work done: the count, then EAGAIN, and the rest afterwards. */
TEST_F(signals, send_in_pieces_of_time)
{
	int fixed = 65536;
	size_t done = 0, read = 0;
	long n;

	setsockopt(self->other, SOL_SOCKET, SO_RCVBUF, &fixed, sizeof(fixed));
	at_most(self->fd, SO_SNDTIMEO, 20);
	fill(data, STREAM, 0);
	while (read < STREAM) {
		n = RESULT(send(self->fd, data + done, STREAM - done, 0));
		ASSERT_TRUE(n > 0 || n == -EAGAIN || done == STREAM) TH_LOG("%ld", n);
		done += n > 0 ? n : 0;
		do {
			n = RESULT(recv(self->other, got, 50000, MSG_DONTWAIT));
			ASSERT_TRUE(n > 0 || n == -EAGAIN) TH_LOG("%ld", n);
			if (n > 0)
				ASSERT_TRUE(filled(got, n, read));
			read += n > 0 ? n : 0;
		} while (n > 0);
	}
	EXPECT_EQ(STREAM, done);
	EXPECT_EQ(STREAM, read);
}

TEST_F(signals, read_in_pieces_of_time)
{
	uint8_t record[RECORD_MAX];
	struct peer peer;
	size_t len;
	int fd;

	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	at_most(fd, SO_RCVTIMEO, 20);
	fill(data, 3000, 0);
	ASSERT_EQ(0, peer_send(&peer, DATA, data, 1000));
	len = record_seal(&peer.tx, DATA, data + 1000, 2000, record);
	ASSERT_EQ(0, send_all(peer.fd, record, len / 2));
	EXPECT_EQ(1000, recv(fd, got, 3000, MSG_WAITALL));
	EXPECT_EQ(-EAGAIN, RESULT(recv(fd, got + 1000, 2000, MSG_WAITALL)));
	ASSERT_EQ(0, send_all(peer.fd, record + len / 2, len - len / 2));
	EXPECT_EQ(2000, recv(fd, got + 1000, 2000, MSG_WAITALL));
	EXPECT_TRUE(filled(got, 3000, 0));
	close(fd);
	close(peer.fd);
}

/* Empty records, as many as TCP holds: a signal need not wait for the last of them. */
TEST_F_TIMEOUT(signals, flood_of_empty_records, 120)
{
	static uint8_t records[1000 * 64];
	struct itimerval often = { { .tv_usec = 1000 }, { .tv_usec = 1000 } };
	int fds[2], fd, carrier, room = 8 << 20, i, sent;
	struct ktls_info info;
	struct peer peer;
	size_t len;

	ONLY_KTLS();
	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	setsockopt(fds[0], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	ASSERT_EQ(0, tls_over(fds, variant->cipher, &fd, &carrier, &peer));
	for (sent = 0; sent < 10000; sent += 1000) {
		for (i = len = 0; i < 1000; i++)
			len += record_seal(&peer.tx, DATA, "", 0, records + len);
		ASSERT_EQ(0, send_all(peer.fd, records, len));
	}
	ASSERT_EQ(0, wait_delivered(peer.fd));
	interrupted_by(SIGALRM);
	setitimer(ITIMER_REAL, &often, NULL);
	EXPECT_EQ(-EINTR, RESULT(recv(fd, got, 100, 0)));
	ASSERT_EQ(0, get_info(fd, &info));
	EXPECT_GT(sent, info.rx.records);
	ASSERT_EQ(0, peer_send(&peer, DATA, "data", 4));
	EXPECT_EQ(4, UNINTERRUPTED(recv(fd, got, 100, 0)));
	close(fd);
	close(carrier);
	peer_close(&peer);
}

/* Nor does a call that must not wait take them all: it leaves them, and is told of what follows. */
TEST_F_TIMEOUT(signals, flood_without_waiting, 120)
{
	static uint8_t records[1000 * 64];
	struct peer peer;
	size_t len;
	int fd, i, sent;

	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	for (sent = 0; sent < 10000; sent += 1000) {
		for (i = len = 0; i < 1000; i++)
			len += record_seal(&peer.tx, DATA, "", 0, records + len);
		ASSERT_EQ(0, send_all(peer.fd, records, len));
		EXPECT_EQ(-EAGAIN, RESULT(recv(fd, got, 100, MSG_DONTWAIT)));
		EXPECT_EQ(-EAGAIN, RESULT(recv(fd, got, 100, MSG_DONTWAIT | MSG_PEEK)));
	}
	ASSERT_EQ(0, peer_send(&peer, DATA, "data", 4));
	do {
		ASSERT_EQ(POLLIN, poll_wait(fd, POLLIN));
		len = recv(fd, got, 100, MSG_DONTWAIT);
	} while (len == -1UL && errno == EAGAIN);
	EXPECT_EQ(4, len);
	close(fd);
	peer_close(&peer);
}

TEST_HARNESS_MAIN
