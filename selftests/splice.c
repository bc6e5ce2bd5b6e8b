// SPDX-License-Identifier: GPL-2.0-only
/* sendfile(2), splice(2), vmsplice(2) and tee(2), into the socket and out of it. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define FILE_SIZE	300000

static uint8_t data[FILE_SIZE], got[FILE_SIZE];

PAIR_FIXTURE(splice);

/* A file of FILE_SIZE filled bytes; in memory or in the file system of the working folder. */
static int make_file(bool memory)
{
	char name[] = "splice_XXXXXX";
	int fd = memory ? memfd_create("splice", 0) : mkstemp(name);

	if (!memory)
		unlink(name);
	fill(data, FILE_SIZE, 0);
	return write(fd, data, FILE_SIZE) == FILE_SIZE ? fd : -1;
}

static bool file_unchanged(int fd)
{
	return pread(fd, got, FILE_SIZE, 0) == FILE_SIZE && filled(got, FILE_SIZE, 0);
}

static void expect_stream(struct __test_metadata *_metadata, int fd, size_t len, size_t offset)
{
	ASSERT_EQ(len, recv_all(fd, got, len));
	ASSERT_TRUE(filled(got, len, offset));
	EXPECT_EQ(-EAGAIN, RESULT(recv(fd, got, 1, MSG_DONTWAIT)));
}

static void sendfile_parts(struct __test_metadata *_metadata, int fd, int other, int file)
{
	static const size_t lengths[] = { 1, 2, 100, 4095, 4096, 4097, 16383, 16384, 16385,
					  50000 };
	off_t offset, start;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		for (start = 0; start < 8200; start += 4095) {
			offset = start;
			ASSERT_EQ(lengths[i], sendfile(fd, file, &offset, lengths[i]));
			EXPECT_EQ(start + (off_t)lengths[i], offset);
			expect_stream(_metadata, other, lengths[i], start);
		}
	EXPECT_TRUE(file_unchanged(file));
}

TEST_F(splice, sendfile_memory)
{
	sendfile_parts(_metadata, self->fd, self->other, make_file(true));
}

TEST_F(splice, sendfile_disk)
{
	sendfile_parts(_metadata, self->fd, self->other, make_file(false));
}

struct sending { int fd, file; size_t len; ssize_t result; };

static void *send_file(void *arg)
{
	struct sending *s = arg;

	lseek(s->file, 0, SEEK_SET);
	s->result = sendfile(s->fd, s->file, NULL, s->len);
	return NULL;
}

/* The last record leaves although the file ends before the count does. */
TEST_F(splice, sendfile_past_the_end)
{
	struct sending s = { self->fd, make_file(true), FILE_SIZE + 12345, 0 };
	pthread_t thread;

	pthread_create(&thread, NULL, send_file, &s);
	expect_stream(_metadata, self->other, FILE_SIZE, 0);
	pthread_join(thread, NULL);
	EXPECT_EQ(FILE_SIZE, s.result);
}

/* What was sent is what the file held then. */
TEST_F(splice, file_changed_after)
{
	int file = make_file(true);

	lseek(file, 0, SEEK_SET);
	ASSERT_EQ(100000, sendfile(self->fd, file, NULL, 100000));
	memset(data, 0, FILE_SIZE);
	ASSERT_EQ(FILE_SIZE, pwrite(file, data, FILE_SIZE, 0));
	expect_stream(_metadata, self->other, 100000, 0);
}

/* A page that changes before its record is sealed may go out old or new, but valid. */
TEST_F(splice, file_changed_before_sealing)
{
	int file = make_file(true), pipes[2];
	off_t offset = 0;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4096, splice(file, &offset, pipes[1], NULL, 4096, 0));
	ASSERT_EQ(4096, splice(pipes[0], NULL, self->fd, NULL, 4096, SPLICE_F_MORE));
	memset(data, 0, 4096);
	ASSERT_EQ(4096, pwrite(file, data, 4096, 0));
	ASSERT_EQ(3, send(self->fd, "end", 3, 0));
	ASSERT_EQ(4099, recv_all(self->other, got, 4099));
	EXPECT_TRUE(filled(got, 4096, 0) || !memcmp(got, data, 4096));
	EXPECT_EQ(0, memcmp(got + 4096, "end", 3));
}

/* CVE-2024-0646: what follows spliced pages in a record must not be written over them. */
TEST_F(splice, page_cache_stays_plain)
{
	int file = make_file(true), pipes[2], i;
	off_t offset = 0;

	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(1000, splice(file, &offset, pipes[1], NULL, 1000, 0));
		ASSERT_EQ(1000, splice(pipes[0], NULL, self->fd, NULL, 1000, SPLICE_F_MORE));
		ASSERT_EQ(1, send(self->fd, "|", 1, MSG_MORE));
	}
	ASSERT_EQ(1, send(self->fd, "|", 1, 0));
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(1001, recv_all(self->other, got, 1001));
		EXPECT_TRUE(filled(got, 1000, i * 1000));
		EXPECT_EQ('|', got[1000]);
	}
	EXPECT_TRUE(file_unchanged(file));
}

TEST_F(splice, read_only_mapping)
{
	int file = make_file(false), pipes[2];
	uint8_t *map = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, file, 0);
	struct iovec iov = { map + 5, 20000 };
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(20000, vmsplice(pipes[1], &iov, 1, 0));
	for (n = 0; n < 20000; n += RESULT(splice(pipes[0], NULL, self->fd, NULL, 20000 - n, 0)))
		ASSERT_LE(0, n);
	expect_stream(_metadata, self->other, 20000, 5);
	EXPECT_TRUE(filled(map, FILE_SIZE, 0));
}

/* Memory of the program, lent to the pipe, changed afterwards. */
TEST_F(splice, lent_memory)
{
	uint8_t *pages = mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	struct iovec iov = { pages, 32768 };
	int pipes[2];
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	fill(pages, 32768, 0);
	ASSERT_EQ(32768, vmsplice(pipes[1], &iov, 1, 0));
	for (n = 0; n < 32768; n += RESULT(splice(pipes[0], NULL, self->fd, NULL, 32768 - n, 0)))
		ASSERT_LE(0, n);
	EXPECT_TRUE(filled(pages, 32768, 0));
	memset(pages, 0, 32768);
	expect_stream(_metadata, self->other, 32768, 0);
}

static ssize_t from_socket(int fd, int pipe_in, size_t len, int flags)
{
	return RESULT(splice(fd, NULL, pipe_in, NULL, len, flags));
}

/* Everything arrives through a pipe of one page, whatever lengths are asked for. */
TEST_F(splice, out_to_one_page)
{
	size_t offset, len = 1;
	int pipes[2];
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4096, fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	fill(data, 50000, 0);
	ASSERT_EQ(0, send_all(self->other, data, 50000));
	for (offset = 0; offset < 50000; offset += n, len = len * 5 % 20011 + 1) {
		n = from_socket(self->fd, pipes[1], len, 0);
		ASSERT_LE(1, n);
		ASSERT_GE(len, n);
		ASSERT_EQ(n, read(pipes[0], got, sizeof(got)));
		ASSERT_TRUE(filled(got, n, offset));
	}
	EXPECT_EQ(-EAGAIN, from_socket(self->fd, pipes[1], 1, SPLICE_F_NONBLOCK));
}

TEST_F(splice, out_to_full_pipe)
{
	int pipes[2];
	size_t total = 0;
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4096, fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	fill(data, 20000, 0);
	ASSERT_EQ(0, send_all(self->other, data, 20000));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	while ((n = from_socket(self->fd, pipes[1], 3000, SPLICE_F_NONBLOCK)) > 0)
		total += n;
	EXPECT_EQ(-EAGAIN, n);
	ASSERT_EQ(total, read(pipes[0], got, sizeof(got)));
	ASSERT_EQ(20000 - total, recv_all(self->fd, got + total, 20000 - total));
	EXPECT_TRUE(filled(got, 20000, 0));
}

TEST_F(splice, out_to_big_pipe)
{
	int pipes[2];
	size_t total;
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(1 << 20, fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20));
	fill(data, 200000, 0);
	ASSERT_EQ(0, send_all(self->other, data, 200000));
	for (total = 0; total < 200000; total += n) {
		n = from_socket(self->fd, pipes[1], 200000 - total, 0);
		ASSERT_LE(1, n);
	}
	ASSERT_EQ(200000, read(pipes[0], got, sizeof(got)));
	EXPECT_TRUE(filled(got, 200000, 0));
}

/* What lies in the pipe is not touched by the records that follow. */
TEST_F(splice, pipe_keeps_its_bytes)
{
	int pipes[2], i;
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	fill(data, 16384, 0);
	ASSERT_EQ(16384, send(self->other, data, 16384, 0));
	n = from_socket(self->fd, pipes[1], 16384, 0);
	ASSERT_LE(1, n);
	ASSERT_EQ(16384 - n, recv_all(self->fd, got, 16384 - n));
	memset(data, 0x55, 16384);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(16384, send(self->other, data, 16384, 0));
		ASSERT_EQ(16384, recv_all(self->fd, got, 16384));
	}
	ASSERT_EQ(n, read(pipes[0], got, sizeof(got)));
	EXPECT_TRUE(filled(got, n, 0));
}

TEST_F(splice, out_waits)
{
	int pipes[2], there = self->other;

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EAGAIN, from_socket(self->fd, pipes[1], 10, SPLICE_F_NONBLOCK));
	WHEN_ASLEEP(send_all(there, "data", 4));
	EXPECT_EQ(4, from_socket(self->fd, pipes[1], 10, 0));
	ASSERT_EQ(4, read(pipes[0], got, 10));
	EXPECT_EQ(0, memcmp(got, "data", 4));
}

TEST_F(splice, out_after_recv_and_peek)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	fill(data, 1000, 0);
	ASSERT_EQ(1000, send(self->other, data, 1000, 0));
	ASSERT_EQ(100, recv(self->fd, got, 100, 0));
	ASSERT_EQ(50, recv(self->fd, got, 50, MSG_PEEK));
	ASSERT_EQ(300, from_socket(self->fd, pipes[1], 300, 0));
	ASSERT_EQ(300, read(pipes[0], got, 1000));
	EXPECT_TRUE(filled(got, 300, 100));
	ASSERT_EQ(600, recv(self->fd, got, 1000, 0));
	EXPECT_TRUE(filled(got, 600, 400));
}

TEST_F(splice, control_record)
{
	uint8_t type;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4, send_type(self->other, HANDSHAKE, "ctrl", 4, 0));
	ASSERT_EQ(4, send(self->other, "data", 4, 0));
	EXPECT_EQ(-EINVAL, from_socket(self->fd, pipes[1], 10, 0));
	EXPECT_EQ(-EINVAL, from_socket(self->fd, pipes[1], 10, SPLICE_F_NONBLOCK));
	EXPECT_EQ(4, recv_type(self->fd, got, 10, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(4, from_socket(self->fd, pipes[1], 10, 0));
}

TEST_F(splice, end_of_file)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4, send(self->other, "last", 4, 0));
	ASSERT_EQ(0, shutdown(self->other, SHUT_WR));
	EXPECT_EQ(4, from_socket(self->fd, pipes[1], 10, 0));
	EXPECT_EQ(0, from_socket(self->fd, pipes[1], 10, 0));
	EXPECT_EQ(0, from_socket(self->fd, pipes[1], 10, SPLICE_F_NONBLOCK));
}

TEST_F(splice, copied_by_tee)
{
	int one[2], two[2];

	ASSERT_EQ(0, pipe(one));
	ASSERT_EQ(0, pipe(two));
	fill(data, 3000, 0);
	ASSERT_EQ(3000, send(self->other, data, 3000, 0));
	ASSERT_EQ(3000, from_socket(self->fd, one[1], 3000, 0));
	ASSERT_EQ(3000, tee(one[0], two[1], 3000, 0));
	ASSERT_EQ(3000, read(one[0], got, 4000));
	EXPECT_TRUE(filled(got, 3000, 0));
	memset(got, 0, 3000);
	ASSERT_EQ(3000, read(two[0], got, 4000));
	EXPECT_TRUE(filled(got, 3000, 0));
}

/* A proxy: what comes out of one socket goes into another without a copy. */
TEST_F(splice, through)
{
	int next, end, pipes[2];
	size_t total;
	ssize_t n, m;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, tls_pair(AF_INET, variant->cipher, &next, &end));
	fill(data, 100000, 0);
	ASSERT_EQ(0, send_all(self->other, data, 100000));
	for (total = 0; total < 100000; total += n) {
		n = from_socket(self->fd, pipes[1], 100000 - total, 0);
		ASSERT_LE(1, n);
		for (m = 0; m < n; m += splice(pipes[0], NULL, next, NULL, n - m, 0))
			ASSERT_LE(0, m);
	}
	expect_stream(_metadata, end, 100000, 0);
}

/* Full socket, no waiting: what was taken from the file is what arrives. */
TEST_F(splice, sendfile_nonblocking)
{
	int file = make_file(true);
	size_t total = 0, received = 0;
	off_t offset = 0;
	ssize_t n;

	nonblocking(self->fd, true);
	while ((n = RESULT(sendfile(self->fd, file, &offset, FILE_SIZE - offset))) > 0) {
		total += n;
		offset %= FILE_SIZE;
	}
	EXPECT_EQ(-EAGAIN, n);
	for (; received < total; received += n) {
		n = recv(self->other, got, 65536, 0);
		ASSERT_LE(1, n);
		for (ssize_t i = 0; i < n; i++)
			ASSERT_EQ(data[(received + i) % FILE_SIZE], got[i]);
	}
	EXPECT_EQ(POLLOUT, poll_wait(self->fd, POLLOUT));
	ASSERT_EQ(3, send(self->fd, "end", 3, 0));
	ASSERT_EQ(3, recv(self->other, got, 10, 0));
	EXPECT_EQ(0, memcmp(got, "end", 3));
}

TEST_HARNESS_MAIN
