// SPDX-License-Identifier: GPL-2.0-only
/* io_uring(7), by its system calls: what it does with other sockets it does with ours. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ENTRIES		64
#define BIG		300000

static uint8_t data[BIG], got[BIG];

/* What became of a request. */
struct done { uint64_t tag; int res; unsigned int flags; };

/* A ring and its two queues in memory that the kernel shares. */
struct ring {
	int fd;
	struct io_uring_params p;
	uint8_t *queues;
	struct io_uring_sqe *sqes;
	unsigned int queued;
};

static unsigned int *shared(struct ring *r, uint32_t offset)
{
	return (unsigned int *)(r->queues + offset);
}

/* -1: there is no io_uring, or not for us. */
static int ring_open(struct ring *r)
{
	size_t size;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, ENTRIES, &r->p);
	if (r->fd < 0 || !(r->p.features & IORING_FEAT_SINGLE_MMAP))
		return -1;
	size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->queues = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
			 IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	return r->queues == MAP_FAILED || r->sqes == MAP_FAILED ? -1 : 0;
}

/* Queues a request; its tag comes back with its completion. */
static struct io_uring_sqe *ring_put(struct ring *r, int op, int fd, const void *addr,
				     size_t len, uint64_t tag)
{
	unsigned int tail = *shared(r, r->p.sq_off.tail);
	unsigned int index = tail & *shared(r, r->p.sq_off.ring_mask);
	struct io_uring_sqe *sqe = &r->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)addr;
	sqe->len = len;
	sqe->user_data = tag;
	shared(r, r->p.sq_off.array)[index] = index;
	__atomic_store_n(shared(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	r->queued++;
	return sqe;
}

static int ring_submit(struct ring *r)
{
	unsigned int n = r->queued;

	r->queued = 0;
	return syscall(SYS_io_uring_enter, r->fd, n, 0, 0, NULL, 0) == n ? 0 : -1;
}

/* Takes a completion that is there; false: none is. */
static bool ring_take(struct ring *r, struct done *done)
{
	unsigned int head = *shared(r, r->p.cq_off.head);
	struct io_uring_cqe *cqe = (void *)(r->queues + r->p.cq_off.cqes);

	if (head == __atomic_load_n(shared(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE))
		return false;
	cqe += head & *shared(r, r->p.cq_off.ring_mask);
	*done = (struct done){ cqe->user_data, cqe->res, cqe->flags };
	__atomic_store_n(shared(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return true;
}

/* The next that is done; -ETIME when none comes. */
static struct done ring_wait(struct ring *r)
{
	struct pollfd pfd = { r->fd, POLLIN, 0 };
	struct done done = { .res = -ETIME };

	while (!ring_take(r, &done)) {
		/* Also runs what the kernel has put off until this task enters it. */
		syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		if (!poll(&pfd, 1, TIME_LIMIT * 1000))
			break;
	}
	return done;
}

/* Submits what is queued and gives the next result. */
static int ring_run(struct ring *r)
{
	return ring_submit(r) ? -1 : ring_wait(r).res;
}

static bool ring_idle(struct ring *r)
{
	struct done done;

	syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	return !ring_take(r, &done);
}

FIXTURE(uring) { int fd; struct peer peer; struct ring ring; };
CIPHER_VARIANTS(uring);

FIXTURE_SETUP(uring)
{
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	/* A request of io_uring has no time limit; the socket's would end some of them. */
	time_limit(self->fd, 0);
	if (ring_open(&self->ring))
		SKIP(return, "no io_uring: %s", strerror(errno));
	fill(data, BIG, 0);
}

FIXTURE_TEARDOWN(uring)
{
	close(self->ring.fd);
	close(self->fd);
	peer_close(&self->peer);
}

static void expect_from_peer(struct __test_metadata *_metadata, struct peer *peer, int fd,
			     const char *text)
{
	ASSERT_EQ(0, peer_send(peer, DATA, text, strlen(text)));
	ASSERT_EQ(POLLIN, poll_wait(fd, POLLIN));
	ASSERT_EQ(strlen(text), recv(fd, got, 100, MSG_DONTWAIT | MSG_WAITALL));
	EXPECT_EQ(0, memcmp(got, text, strlen(text)));
}

TEST_F(uring, send)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_SEND, self->fd, data, 5000, 1);
	EXPECT_EQ(5000, ring_run(r));
	EXPECT_EQ(5000, peer_drain(&self->peer, 5000));
}

TEST_F(uring, recv)
{
	struct ring *r = &self->ring;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 5000));
	ring_put(r, IORING_OP_RECV, self->fd, got, BIG, 1);
	EXPECT_EQ(5000, ring_run(r));
	EXPECT_TRUE(filled(got, 5000, 0));
}

TEST_F(uring, recv_before_the_record)
{
	struct ring *r = &self->ring;
	uint8_t record[RECORD_MAX];
	size_t len = record_seal(&self->peer.tx, DATA, data, 100, record);

	ring_put(r, IORING_OP_RECV, self->fd, got, BIG, 1);
	ASSERT_EQ(0, ring_submit(r));
	EXPECT_TRUE(ring_idle(r));
	ASSERT_EQ(0, send_all(self->peer.fd, record, len - 1));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_TRUE(ring_idle(r));
	ASSERT_EQ(0, send_all(self->peer.fd, record + len - 1, 1));
	EXPECT_EQ(100, ring_wait(r).res);
	EXPECT_TRUE(filled(got, 100, 0));
}

/* By a thread of the kernel that blocks in the call. */
TEST_F(uring, recv_by_a_worker)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_RECV, self->fd, got, BIG, 1)->flags = IOSQE_ASYNC;
	ASSERT_EQ(0, ring_submit(r));
	EXPECT_TRUE(ring_idle(r));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 100));
	EXPECT_EQ(100, ring_wait(r).res);
	EXPECT_TRUE(filled(got, 100, 0));
}

TEST_F(uring, recv_all)
{
	struct ring *r = &self->ring;
	int i;

	ring_put(r, IORING_OP_RECV, self->fd, got, 30000, 1)->msg_flags = MSG_WAITALL;
	ASSERT_EQ(0, ring_submit(r));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(ring_idle(r));
		ASSERT_EQ(0, peer_send(&self->peer, DATA, data + 10000 * i, 10000));
		ASSERT_EQ(0, wait_delivered(self->peer.fd));
	}
	EXPECT_EQ(30000, ring_wait(r).res);
	EXPECT_TRUE(filled(got, 30000, 0));
}

/* More than the carrier takes: the request ends when the peer has made room. */
TEST_F(uring, send_all)
{
	struct ring *r = &self->ring;
	size_t total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	int status;

	fill(data, BIG, total);
	ring_put(r, IORING_OP_SEND, self->fd, data, BIG, 1)->msg_flags = MSG_WAITALL;
	ASSERT_EQ(0, ring_submit(r));
	/* The rest is sent by this process, when it enters the kernel. */
	if (!fork())
		_exit(peer_drain(&self->peer, total + BIG) != total + BIG);
	EXPECT_EQ(BIG, ring_wait(r).res);
	wait(&status);
	EXPECT_EQ(0, status);
}

TEST_F(uring, read_and_write)
{
	struct ring *r = &self->ring;
	struct iovec iov[2] = { { got, 10 }, { got + 10, 1000 } };

	ring_put(r, IORING_OP_WRITE, self->fd, data, 1000, 1);
	EXPECT_EQ(1000, ring_run(r));
	EXPECT_EQ(1000, peer_drain(&self->peer, 1000));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 500));
	ring_put(r, IORING_OP_READ, self->fd, got, 100, 1);
	EXPECT_EQ(100, ring_run(r));
	ring_put(r, IORING_OP_READV, self->fd, iov, 2, 1);
	EXPECT_EQ(400, ring_run(r));
	EXPECT_TRUE(filled(got, 400, 100));
}

/* Buffers that the kernel has pinned: not of a file, as those of this program's image are. */
TEST_F(uring, fixed_buffers)
{
	uint8_t *area = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	struct iovec iov = { area, 65536 };
	struct ring *r = &self->ring;
	int i;

	ASSERT_EQ(0, syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, &iov, 1));
	fill(area, 40000, 0);
	ring_put(r, IORING_OP_WRITE_FIXED, self->fd, area, 40000, 1);
	EXPECT_EQ(40000, ring_run(r));
	EXPECT_EQ(40000, peer_drain(&self->peer, 40000));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 16384));
		memset(area, 0, 20000);
		ring_put(r, IORING_OP_READ_FIXED, self->fd, area + 3, 16384, 1);
		EXPECT_EQ(16384, ring_run(r));
		EXPECT_TRUE(filled(area + 3, 16384, 0));
	}
}

struct typed {
	union { struct cmsghdr align; char bytes[CMSG_SPACE(1)]; } control;
	struct iovec iov;
	struct msghdr msg;
};

static void typed_init(struct typed *t, void *buf, size_t len)
{
	memset(t, 0, sizeof(*t));
	t->iov = (struct iovec){ buf, len };
	t->msg = (struct msghdr){ .msg_iov = &t->iov, .msg_iovlen = 1, .msg_control = &t->control,
				  .msg_controllen = sizeof(t->control) };
}

TEST_F(uring, sendmsg_with_a_type)
{
	struct ring *r = &self->ring;
	struct cmsghdr *cmsg;
	struct typed t;
	uint8_t type;

	typed_init(&t, "ctrl", 4);
	cmsg = CMSG_FIRSTHDR(&t.msg);
	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = HANDSHAKE;
	ring_put(r, IORING_OP_SENDMSG, self->fd, &t.msg, 1, 1);
	EXPECT_EQ(4, ring_run(r));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, got));
	EXPECT_EQ(HANDSHAKE, type);
}

TEST_F(uring, recvmsg_with_a_type)
{
	struct ring *r = &self->ring;
	static const uint8_t types[] = { DATA, HANDSHAKE, ALERT };
	struct cmsghdr *cmsg;
	struct typed t;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		typed_init(&t, got, 100);
		ring_put(r, IORING_OP_RECVMSG, self->fd, &t.msg, 1, 1);
		ASSERT_EQ(0, ring_submit(r));
		EXPECT_TRUE(ring_idle(r));
		ASSERT_EQ(0, peer_send(&self->peer, types[i], "\1\132", 2));
		EXPECT_EQ(2, ring_wait(r).res);
		cmsg = CMSG_FIRSTHDR(&t.msg);
		ASSERT_NE(NULL, cmsg);
		EXPECT_EQ(TLS_GET_RECORD_TYPE, cmsg->cmsg_type);
		EXPECT_EQ(types[i], *CMSG_DATA(cmsg));
	}
}

TEST_F(uring, errors)
{
	struct ring *r = &self->ring;
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	EXPECT_EQ(-EIO, ring_run(r));
	EXPECT_EQ(4, recv_type(self->fd, got, 100, 0, &type));
	ASSERT_EQ(0, send_all(self->peer.fd, "\x17\x03\x03\xff\xff", 5));
	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	EXPECT_EQ(-EMSGSIZE, ring_run(r));
}

TEST_F(uring, reset_ends_a_request)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	ASSERT_EQ(0, ring_submit(r));
	abort_connection(&self->peer.fd);
	EXPECT_EQ(-ECONNRESET, ring_wait(r).res);
}

TEST_F(uring, poll)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_POLL_ADD, self->fd, NULL, 0, 1)->poll32_events = POLLIN;
	ASSERT_EQ(0, ring_submit(r));
	EXPECT_TRUE(ring_idle(r));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_TRUE(ring_wait(r).res & POLLIN);
	EXPECT_EQ(4, recv(self->fd, got, 100, 0));
	ring_put(r, IORING_OP_POLL_ADD, self->fd, NULL, 0, 1)->poll32_events = POLLOUT;
	EXPECT_EQ(POLLOUT, ring_run(r));
}

TEST_F(uring, splice)
{
	struct ring *r = &self->ring;
	struct io_uring_sqe *sqe;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(10000, write(pipes[1], data, 10000));
	sqe = ring_put(r, IORING_OP_SPLICE, self->fd, NULL, 10000, 1);
	sqe->splice_fd_in = pipes[0];
	sqe->splice_off_in = sqe->off = -1;
	EXPECT_EQ(10000, ring_run(r));
	EXPECT_EQ(10000, peer_drain(&self->peer, 10000));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 10000));
	sqe = ring_put(r, IORING_OP_SPLICE, pipes[1], NULL, 10000, 1);
	sqe->splice_fd_in = self->fd;
	sqe->splice_off_in = sqe->off = -1;
	EXPECT_EQ(10000, ring_run(r));
	EXPECT_EQ(10000, recv_all(self->fd, got, 0) ?: read(pipes[0], got, BIG));
	EXPECT_TRUE(filled(got, 10000, 0));
}

/* Requests that are linked run in their order; each is a record of its own. */
TEST_F(uring, linked)
{
	struct ring *r = &self->ring;
	uint8_t type;
	int i;

	for (i = 0; i < 40; i++)
		ring_put(r, IORING_OP_SEND, self->fd, data + 100 * i, 100, i)->flags =
			i < 39 ? IOSQE_IO_LINK : 0;
	ASSERT_EQ(0, ring_submit(r));
	for (i = 0; i < 40; i++) {
		EXPECT_EQ(100, ring_wait(r).res);
		ASSERT_EQ(100, peer_recv(&self->peer, &type, got));
		EXPECT_TRUE(filled(got, 100, 100 * i));
	}
}

/* Both directions wait at once in one ring. */
TEST_F(uring, waits_in_both_directions)
{
	struct ring *r = &self->ring;
	size_t total = fill_carrier(self->fd, self->peer.fd, MSG_DONTWAIT);
	struct done done;
	int i, status;

	fill(data, 10, total);
	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	ring_put(r, IORING_OP_SEND, self->fd, data, 10, 2);
	ASSERT_EQ(0, ring_submit(r));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	if (!fork())
		_exit(peer_drain(&self->peer, total + 10) != total + 10);
	for (i = 0; i < 2; i++) {
		done = ring_wait(r);
		EXPECT_EQ(done.tag == 1 ? 4 : 10, done.res);
	}
	wait(&status);
	EXPECT_EQ(0, status);
}

/* A request that is taken back has taken nothing. */
static void expect_cancelled(struct __test_metadata *_metadata, struct ring *r, int fd, int flags)
{
	struct done done;
	int i;

	ring_put(r, IORING_OP_RECV, fd, got, 100, 1)->flags = flags;
	ASSERT_EQ(0, ring_submit(r));
	EXPECT_TRUE(ring_idle(r));
	ring_put(r, IORING_OP_ASYNC_CANCEL, -1, (void *)1, 0, 2);
	ASSERT_EQ(0, ring_submit(r));
	for (i = 0; i < 2; i++) {
		done = ring_wait(r);
		if (done.tag == 2)
			continue;
		EXPECT_TRUE(done.res == -ECANCELED || done.res == -EINTR) TH_LOG("%d", done.res);
	}
}

TEST_F(uring, cancel)
{
	expect_cancelled(_metadata, &self->ring, self->fd, 0);
	expect_from_peer(_metadata, &self->peer, self->fd, "after");
	expect_cancelled(_metadata, &self->ring, self->fd, IOSQE_ASYNC);
	expect_from_peer(_metadata, &self->peer, self->fd, "still");
}

TEST_F(uring, timeout)
{
	struct __kernel_timespec limit = { .tv_nsec = 20000000 };
	struct ring *r = &self->ring;
	struct done done;
	int i;

	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1)->flags = IOSQE_IO_LINK;
	ring_put(r, IORING_OP_LINK_TIMEOUT, -1, &limit, 1, 2);
	ASSERT_EQ(0, ring_submit(r));
	for (i = 0; i < 2; i++) {
		done = ring_wait(r);
		EXPECT_EQ(done.tag == 1 ? -ECANCELED : -ETIME, done.res);
	}
	expect_from_peer(_metadata, &self->peer, self->fd, "after");
}

/* The ring goes while it waits; the socket stays. */
TEST_F(uring, ring_closed)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	ring_put(r, IORING_OP_POLL_ADD, self->fd, NULL, 0, 2)->poll32_events = POLLIN;
	ASSERT_EQ(0, ring_submit(r));
	munmap(r->sqes, r->p.sq_entries * sizeof(*r->sqes));
	close(r->fd);
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
}

/* The socket goes while the ring waits: as the ring holds it, data still comes. */
TEST_F(uring, socket_closed)
{
	struct ring *r = &self->ring;

	ring_put(r, IORING_OP_RECV, self->fd, got, 100, 1);
	ASSERT_EQ(0, ring_submit(r));
	close(self->fd);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, ring_wait(r).res);
	EXPECT_EQ(0, recv(self->peer.fd, got, 1, 0));
}

TEST_F(uring, shutdown)
{
	struct ring *r = &self->ring;
	uint8_t type;

	ONLY_KTLS();
	ring_put(r, IORING_OP_SHUTDOWN, self->fd, NULL, SHUT_WR, 1);
	EXPECT_EQ(0, ring_run(r));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, got));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, recv(self->peer.fd, got, 1, 0));
}

/* One request, a buffer of the ring's own for each record, until the end. */
TEST_F(uring, multishot)
{
	struct ring *r = &self->ring;
	struct io_uring_sqe *sqe;
	struct done done;
	int i;

	ring_put(r, IORING_OP_PROVIDE_BUFFERS, 8, got, 1000, 1);
	ASSERT_EQ(0, ring_run(r));
	sqe = ring_put(r, IORING_OP_RECV, self->fd, NULL, 0, 2);
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	ASSERT_EQ(0, ring_submit(r));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, peer_send(&self->peer, DATA, data + 1000 * i, 1000));
		done = ring_wait(r);
		ASSERT_EQ(1000, done.res);
		EXPECT_TRUE(done.flags & IORING_CQE_F_MORE);
		EXPECT_TRUE(filled(got + 1000 * (done.flags >> IORING_CQE_BUFFER_SHIFT), 1000,
				   1000 * i));
	}
	shutdown(self->peer.fd, SHUT_WR);
	done = ring_wait(r);
	EXPECT_EQ(0, done.res);
	EXPECT_FALSE(done.flags & IORING_CQE_F_MORE);
}

TEST_HARNESS_MAIN
