// SPDX-License-Identifier: GPL-2.0-only
/* Many threads at one socket: records stay whole, nothing is lost, nothing comes twice. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <stdatomic.h>

#define WRITERS		4
#define READERS		4
#define ROUNDS		50	/* calls of a writer */
#define SLOT		1000	/* bytes of a numbered record */
#define SLOTS		400

static uint8_t payload[PAYLOAD_MAX];

PAIR_FIXTURE(threads);

/* One thread that writes or reads, and how it went: 0 or what failed. */
struct worker {
	pthread_t thread;
	int fd;
	int id;
	struct peer *peer;
	long result;
};

static void start(struct worker *w, void *(*run)(void *), int fd, int id)
{
	w->fd = fd;
	w->id = id;
	w->result = 0;
	pthread_create(&w->thread, NULL, run, w);
}

static void expect_done(struct __test_metadata *_metadata, struct worker *workers, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].result) TH_LOG("worker %d", i);
	}
}

/* Lengths at and beside the boundaries, one or more records each. */
static size_t length_of(int round)
{
	static const size_t lengths[] = { 1, 16384, 100, 16383, 16385, 4096, 33000, 17 };

	return lengths[round % ARRAY_SIZE(lengths)];
}

/* Each byte says who wrote it. */
static void *write_own_bytes(void *arg)
{
	static __thread uint8_t data[33000];
	struct worker *w = arg;
	int i;

	memset(data, w->id, sizeof(data));
	for (i = 0; i < ROUNDS && !w->result; i++)
		w->result = send_all(w->fd, data, length_of(i));
	return NULL;
}

static size_t own_bytes(void)
{
	size_t total = 0;
	int i;

	for (i = 0; i < ROUNDS; i++)
		total += length_of(i);
	return total;
}

static bool all_are(const uint8_t *p, size_t len, uint8_t value)
{
	return !len || (*p == value && !memcmp(p, p + 1, len - 1));
}

/* A record is of one writer, and each writer's bytes are complete. */
static void expect_whole_records(struct __test_metadata *_metadata, struct peer *peer,
				 size_t *from_writer)
{
	size_t left = WRITERS * own_bytes();
	uint8_t type;
	ssize_t n;
	int i;

	for (; left; left -= n) {
		n = peer_recv(peer, &type, payload);
		ASSERT_LT(0, n);
		ASSERT_EQ(DATA, type);
		ASSERT_GE(left, n);
		ASSERT_GT(WRITERS, payload[0]);
		ASSERT_TRUE(all_are(payload, n, payload[0]));
		from_writer[payload[0]] += n;
	}
	for (i = 0; i < WRITERS; i++)
		EXPECT_EQ(own_bytes(), from_writer[i]);
}

TEST_F(threads, writers)
{
	size_t from_writer[WRITERS] = {};
	struct worker workers[WRITERS];
	struct peer peer;
	int fd, i;

	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	for (i = 0; i < WRITERS; i++)
		start(&workers[i], write_own_bytes, fd, i);
	expect_whole_records(_metadata, &peer, from_writer);
	expect_done(_metadata, workers, WRITERS);
	close(fd);
	close(peer.fd);
}

/* The same through a carrier that takes each record in several pieces. */
TEST_F(threads, writers_to_a_narrow_carrier)
{
	size_t from_writer[WRITERS] = {};
	struct worker workers[WRITERS];
	int fds[2], fd, carrier, i;
	struct peer peer;

	ASSERT_EQ(0, tcp_pair_narrow(variant->family, fds, 4096));
	ASSERT_EQ(0, tls_over(fds, variant->cipher, &fd, &carrier, &peer));
	close(carrier);
	for (i = 0; i < WRITERS; i++)
		start(&workers[i], write_own_bytes, fd, i);
	expect_whole_records(_metadata, &peer, from_writer);
	expect_done(_metadata, workers, WRITERS);
	close(fd);
	close(peer.fd);
}

/* Numbered records for several readers. */
static void *write_slots(void *arg)
{
	uint8_t slot[SLOT];
	struct worker *w = arg;
	uint32_t i;

	for (i = 0; i < SLOTS && !w->result; i++) {
		fill(slot, SLOT, i);
		memcpy(slot, &i, sizeof(i));
		w->result = send_all(w->fd, slot, SLOT);
	}
	shutdown(w->fd, SHUT_WR);
	return NULL;
}

static atomic_int taken[SLOTS];

/* Counts the slot in; -1: it is none. */
static int take_slot(const uint8_t *slot)
{
	uint32_t i;

	memcpy(&i, slot, sizeof(i));
	if (i >= SLOTS || !filled(slot + sizeof(i), SLOT - sizeof(i), i + sizeof(i)))
		return -1;
	taken[i]++;
	return 0;
}

/* Every read gives one whole record, since all have the reader's size. */
static void *read_slots(void *arg)
{
	struct worker *w = arg;
	uint8_t slot[SLOT];
	ssize_t n;

	while (!w->result) {
		n = recv(w->fd, slot, SLOT, 0);
		if (!n)
			break;
		w->result = n == SLOT ? take_slot(slot) : n;
	}
	return NULL;
}

/* Waits in poll() and reads what is there, which another may have taken already. */
static void *poll_slots(void *arg)
{
	struct worker *w = arg;
	uint8_t slot[SLOT];
	ssize_t n;

	while (!w->result) {
		poll_wait(w->fd, POLLIN);
		n = RESULT(recv(w->fd, slot, SLOT, MSG_DONTWAIT));
		if (!n)
			break;
		if (n != -EAGAIN)
			w->result = n == SLOT ? take_slot(slot) : n;
	}
	return NULL;
}

/* Looks at the head all the time, and takes nothing. */
static void *peek_slots(void *arg)
{
	struct worker *w = arg;
	uint8_t slot[SLOT];
	ssize_t n;
	uint32_t i;

	do {
		n = recv(w->fd, slot, SLOT, MSG_PEEK);
		memcpy(&i, slot, sizeof(i));
		if (n == SLOT && !filled(slot + sizeof(i), SLOT - sizeof(i), i + sizeof(i)))
			w->result = -1;
	} while (n > 0 && !w->result);
	return NULL;
}

static void expect_each_once(struct __test_metadata *_metadata)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		ASSERT_EQ(1, taken[i]) TH_LOG("record %d", i);
}

/* One writer and several readers that share what it sends. */
static void expect_shared(struct __test_metadata *_metadata, int fd, int other,
			  void *(*const runs[READERS])(void *))
{
	struct worker workers[READERS + 1];
	int i;

	for (i = 0; i < READERS; i++)
		start(&workers[i], runs[i], fd, i);
	start(&workers[READERS], write_slots, other, 0);
	expect_done(_metadata, workers, READERS + 1);
	expect_each_once(_metadata);
}

TEST_F(threads, readers)
{
	static void *(*const runs[])(void *) = { read_slots, read_slots, read_slots, read_slots };

	ONLY_KTLS();
	expect_shared(_metadata, self->fd, self->other, runs);
}

TEST_F(threads, pollers)
{
	static void *(*const runs[])(void *) = { poll_slots, poll_slots, poll_slots, poll_slots };

	ONLY_KTLS();
	expect_shared(_metadata, self->fd, self->other, runs);
}

TEST_F(threads, reader_and_peekers)
{
	static void *(*const runs[])(void *) = { peek_slots, read_slots, peek_slots, poll_slots };

	ONLY_KTLS();
	expect_shared(_metadata, self->fd, self->other, runs);
}

/* One reads by recv(), another by splice() to a pipe that is emptied by a third. */
static int pipes[2];

static void *splice_slots(void *arg)
{
	struct worker *w = arg;
	ssize_t n;

	do
		n = splice(w->fd, NULL, pipes[1], NULL, SLOT, 0);
	while (n > 0);
	w->result = n;
	close(pipes[1]);
	return NULL;
}

static void *empty_pipe(void *arg)
{
	struct worker *w = arg;
	uint8_t slot[SLOT];
	size_t done = 0;
	ssize_t n;

	while ((n = read(pipes[0], slot + done, SLOT - done)) > 0 && !w->result) {
		done = (done + n) % SLOT;
		if (!done)
			w->result = take_slot(slot);
	}
	w->result = w->result ?: (long)done;
	return NULL;
}

TEST_F(threads, reader_and_splicer)
{
	struct worker workers[4];

	ONLY_KTLS();
	ASSERT_EQ(0, pipe(pipes));
	start(&workers[0], splice_slots, self->fd, 0);
	start(&workers[1], empty_pipe, -1, 0);
	start(&workers[2], read_slots, self->fd, 0);
	start(&workers[3], write_slots, self->other, 0);
	expect_done(_metadata, workers, 4);
	expect_each_once(_metadata);
}

/* Both directions of both sockets at once, by threads of their own. */
static void *write_stream(void *arg)
{
	static __thread uint8_t data[20000];
	struct worker *w = arg;
	size_t at;

	for (at = 0; at < 1000000 && !w->result; at += sizeof(data)) {
		fill(data, sizeof(data), at);
		w->result = send_all(w->fd, data, sizeof(data));
	}
	return NULL;
}

static void *read_stream(void *arg)
{
	static __thread uint8_t data[7777];
	struct worker *w = arg;
	size_t at;
	ssize_t n;

	for (at = 0; at < 1000000 && !w->result; at += n) {
		n = recv(w->fd, data, sizeof(data), 0);
		w->result = n > 0 && filled(data, n, at) ? 0 : n - 1;
	}
	return NULL;
}

TEST_F(threads, full_duplex)
{
	struct worker workers[4];

	start(&workers[0], write_stream, self->fd, 0);
	start(&workers[1], read_stream, self->fd, 0);
	start(&workers[2], write_stream, self->other, 0);
	start(&workers[3], read_stream, self->other, 0);
	expect_done(_metadata, workers, 4);
}

/* 16 bytes, so that none lies in two records. */
struct message { uint32_t id, round, check, zero; };

static struct message message_of(int id, int round)
{
	return (struct message){ id, round, ~(uint32_t)(id * 1000 + round), 0 };
}

#define MESSAGES	500

static void *send_messages(void *arg, int flags)
{
	struct worker *w = arg;
	struct message m;
	int i;

	for (i = 0; i < MESSAGES && !w->result; i++) {
		m = message_of(w->id, i);
		if (send(w->fd, &m, sizeof(m), i == MESSAGES - 1 ? 0 : flags) != sizeof(m))
			w->result = errno;
	}
	return NULL;
}

static void *send_at_once(void *arg)
{
	return send_messages(arg, 0);
}

static void *send_more(void *arg)
{
	return send_messages(arg, MSG_MORE);
}

/* Pages that the program gives away, each with one message. */
static void *splice_messages(void *arg)
{
	static struct message all[MESSAGES];
	struct worker *w = arg;
	struct iovec iov;
	int fds[2], i;

	if (pipe(fds))
		w->result = errno;
	for (i = 0; i < MESSAGES && !w->result; i++) {
		all[i] = message_of(w->id, i);
		iov = (struct iovec){ &all[i], sizeof(all[i]) };
		if (vmsplice(fds[1], &iov, 1, 0) != sizeof(all[i]) ||
		    splice(fds[0], NULL, w->fd, NULL, sizeof(all[i]),
			   i == MESSAGES - 1 ? 0 : SPLICE_F_MORE) != sizeof(all[i]))
			w->result = errno;
	}
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static void *send_control(void *arg)
{
	struct worker *w = arg;
	struct message m;
	int i;

	for (i = 0; i < MESSAGES && !w->result; i++) {
		m = message_of(w->id, i);
		if (send_type(w->fd, HANDSHAKE, &m, sizeof(m), 0) != sizeof(m))
			w->result = errno;
	}
	return NULL;
}

/* Each writer's messages in their order, control records by themselves. */
static void expect_messages(struct __test_metadata *_metadata, struct peer *peer, int writers)
{
	int next[8] = {}, left = writers * MESSAGES;
	struct message *m, wanted;
	uint8_t type;
	ssize_t n, i;

	while (left > 0) {
		n = peer_recv(peer, &type, payload);
		ASSERT_LT(0, n);
		ASSERT_EQ(0, n % sizeof(*m));
		m = (struct message *)payload;
		ASSERT_EQ(m->id == 3 ? HANDSHAKE : DATA, type);
		if (type == HANDSHAKE)
			ASSERT_EQ(sizeof(*m), n);
		for (i = 0; i < n / sizeof(*m); i++, m++, left--) {
			ASSERT_GT(writers, m->id);
			wanted = message_of(m->id, next[m->id]++);
			ASSERT_EQ(0, memcmp(&wanted, m, sizeof(*m)));
		}
	}
	EXPECT_EQ(0, left);
}

/* MSG_MORE, vmsplice, control records and plain sends all want the open record. */
TEST_F(threads, open_record)
{
	static void *(*const runs[])(void *) = { send_at_once, send_more, splice_messages,
						 send_control };
	struct worker workers[ARRAY_SIZE(runs)];
	struct peer peer;
	int fd, i;

	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	for (i = 0; i < ARRAY_SIZE(runs); i++)
		start(&workers[i], runs[i], fd, i);
	expect_messages(_metadata, &peer, ARRAY_SIZE(runs));
	expect_done(_metadata, workers, ARRAY_SIZE(runs));
	close(fd);
	close(peer.fd);
}

/* A page that changes all the time under vmsplice: any content, but a valid record. */
static uint8_t changing[4 * 4096] __attribute__((aligned(4096)));
static atomic_bool stop;

static void *change_pages(void *arg)
{
	volatile uint8_t *p = changing;
	size_t i;

	while (!stop)
		for (i = 0; i < sizeof(changing); i += 61)
			p[i]++;
	return NULL;
}

TEST_F(threads, pages_that_change)
{
	struct iovec iov = { changing, sizeof(changing) };
	struct worker changer;
	struct peer peer;
	int fd, fds[2], i;
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	ASSERT_EQ(0, pipe(fds));
	start(&changer, change_pages, -1, 0);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(sizeof(changing), vmsplice(fds[1], &iov, 1, 0));
		ASSERT_EQ(sizeof(changing), splice(fds[0], NULL, fd, NULL, sizeof(changing), 0));
		ASSERT_EQ(sizeof(changing), peer_recv(&peer, &type, payload));
	}
	stop = true;
	expect_done(_metadata, &changer, 1);
	close(fd);
	close(peer.fd);
}

TEST_HARNESS_MAIN
