// SPDX-License-Identifier: GPL-2.0-only
/* Which records sendfile(2) and splice(2) make, judged by the peer. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/sendfile.h>

static uint8_t data[100000], payload[PAYLOAD_MAX];

FIXTURE(splice_records) { int fd; struct peer peer; int file; int pipes[2]; };
CIPHER_VARIANTS(splice_records);

FIXTURE_SETUP(splice_records)
{
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &self->fd, &self->peer));
	self->file = memfd_create("records", 0);
	fill(data, sizeof(data), 0);
	ASSERT_EQ(sizeof(data), write(self->file, data, sizeof(data)));
	ASSERT_EQ(0, lseek(self->file, 0, SEEK_SET));
	ASSERT_EQ(0, pipe(self->pipes));
}

FIXTURE_TEARDOWN(splice_records)
{
	close(self->fd);
	close(self->file);
	peer_close(&self->peer);
}

static void expect_record(struct __test_metadata *_metadata, struct peer *peer, size_t len,
			  size_t offset)
{
	uint8_t type;

	ASSERT_EQ(len, peer_recv(peer, &type, payload));
	EXPECT_EQ(DATA, type);
	EXPECT_TRUE(filled(payload, len, offset));
}

static void expect_nothing(struct __test_metadata *_metadata, struct peer *peer)
{
	char byte;

	EXPECT_EQ(-EAGAIN, RESULT(recv(peer->fd, &byte, 1, MSG_DONTWAIT)));
}

TEST_F(splice_records, sendfile_fills_records)
{
	size_t offset;

	ASSERT_EQ(sizeof(data), sendfile(self->fd, self->file, NULL, sizeof(data)));
	for (offset = 0; offset + PAYLOAD_MAX < sizeof(data); offset += PAYLOAD_MAX)
		expect_record(_metadata, &self->peer, PAYLOAD_MAX, offset);
	expect_record(_metadata, &self->peer, sizeof(data) - offset, offset);
	expect_nothing(_metadata, &self->peer);
}

TEST_F(splice_records, more)
{
	ASSERT_EQ(100, splice(self->file, NULL, self->pipes[1], NULL, 100, 0));
	ASSERT_EQ(100, splice(self->pipes[0], NULL, self->fd, NULL, 100, SPLICE_F_MORE));
	expect_nothing(_metadata, &self->peer);
	ASSERT_EQ(100, splice(self->file, NULL, self->pipes[1], NULL, 100, 0));
	ASSERT_EQ(100, splice(self->pipes[0], NULL, self->fd, NULL, 100, 0));
	expect_record(_metadata, &self->peer, 200, 0);
	expect_nothing(_metadata, &self->peer);
}

/* A header written, the file behind it: one record. */
TEST_F(splice_records, header_and_file)
{
	uint8_t type;

	ASSERT_EQ(4, send(self->fd, "head", 4, MSG_MORE));
	ASSERT_EQ(1000, sendfile(self->fd, self->file, NULL, 1000));
	ASSERT_EQ(1004, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, "head", 4));
	EXPECT_TRUE(filled(payload + 4, 1000, 0));
	expect_nothing(_metadata, &self->peer);
}

/* Many small pieces: whatever the records, the bytes are these and the last is not held. */
TEST_F(splice_records, many_pieces)
{
	size_t total = 0, received = 0;
	uint8_t type;
	ssize_t n;

	while (total < 20000) {
		n = splice(self->file, NULL, self->pipes[1], NULL, 37, 0);
		ASSERT_EQ(37, n);
		total += n;
		ASSERT_EQ(n, splice(self->pipes[0], NULL, self->fd, NULL, n,
				    total < 20000 ? SPLICE_F_MORE : 0));
	}
	for (; received < total; received += n) {
		n = peer_recv(&self->peer, &type, payload);
		ASSERT_LE(1, n);
		ASSERT_TRUE(filled(payload, n, received));
	}
	expect_nothing(_metadata, &self->peer);
}

TEST_HARNESS_MAIN
