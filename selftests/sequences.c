// SPDX-License-Identifier: GPL-2.0-only
/* Random sequences of records, of all types and of no length, to readers of all manners. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#define RECORDS		12
#define SEQUENCES	60

/* What was sent, and how far a reader has come: bytes of a record start at its offset. */
struct sent { uint8_t type; size_t len, offset; };
struct sequence { struct sent records[RECORDS]; int at; size_t read; unsigned int seed; };

static uint8_t payload[PAYLOAD_MAX], got[PAYLOAD_MAX];

PEER_FIXTURE(sequences);

static unsigned int below(struct sequence *s, unsigned int limit)
{
	return rand_r(&s->seed) / 7 % limit;
}

static size_t some_length(struct sequence *s)
{
	static const size_t lengths[] = { 0, 0, 1, 2, 16, 100, 4096, 16384 };

	return lengths[below(s, ARRAY_SIZE(lengths))];
}

/* TLS 1.3 has no type 0 and no empty records but of data, and its handshakes change keys. */
static int send_sequence(struct sequence *s, struct peer *peer)
{
	static const uint8_t types[] = { DATA, DATA, DATA, HANDSHAKE, 24, 0 };
	static const uint8_t types13[] = { DATA, DATA, DATA, ALERT, 24, 25 };
	size_t offset = 0;
	int i;

	for (i = 0; i < RECORDS; i++) {
		struct sent *r = &s->records[i];

		r->type = (peer->tx.tls13 ? types13 : types)[below(s, ARRAY_SIZE(types))];
		r->len = some_length(s);
		r->offset = offset;
		if (peer->tx.tls13 && r->type != DATA && !r->len)
			r->len = 3;
		fill(payload, r->len, offset);
		if (peer_send(peer, r->type, payload, r->len))
			return -1;
		offset += r->len;
	}
	return wait_delivered(peer->fd);
}

static bool at_end(struct sequence *s)
{
	/* Empty records of data give a reader nothing. */
	while (s->at < RECORDS && s->records[s->at].type == DATA && !s->records[s->at].len)
		s->at++;
	return s->at == RECORDS;
}

static size_t left_of(const struct sequence *s)
{
	return s->records[s->at].len - s->read;
}

/* Bytes of data until a record of another type. */
static size_t data_ahead(const struct sequence *s)
{
	size_t bytes = left_of(s);
	int i;

	for (i = s->at + 1; i < RECORDS && s->records[i].type == DATA; i++)
		bytes += s->records[i].len;
	return bytes;
}

static void advance(struct sequence *s, size_t n)
{
	bool data = s->records[s->at].type == DATA;

	do {
		if (n < left_of(s)) {
			s->read += n;
			return;
		}
		n -= left_of(s);
		s->read = 0;
		s->at++;
	} while (data && s->at < RECORDS && s->records[s->at].type == DATA);
}

/* A read with room for the type gives what is next, unmixed. */
static bool read_next(struct sequence *s, int fd, size_t room, int flags)
{
	const struct sent *r = &s->records[s->at];
	size_t offset = r->offset + s->read;
	uint8_t type;
	ssize_t n;

	n = recv_type(fd, got, room, flags | MSG_DONTWAIT, &type);
	if (n < 0 || type != r->type || !filled(got, n, offset))
		return false;
	if (r->type == DATA ? !n || n > data_ahead(s) : n != (room < left_of(s) ? room : left_of(s)))
		return false;
	if (!(flags & MSG_PEEK))
		advance(s, n);
	return true;
}

/* A plain read gives data alone and refuses the rest. */
static bool read_plain(struct sequence *s, int fd, size_t room)
{
	const struct sent *r = &s->records[s->at];
	size_t offset = r->offset + s->read;
	ssize_t n = RESULT(recv(fd, got, room, MSG_DONTWAIT));

	if (r->type != DATA)
		return n == -EIO;
	if (n <= 0 || n > data_ahead(s) || !filled(got, n, offset))
		return false;
	advance(s, n);
	return true;
}

static bool splice_next(struct sequence *s, int fd, int pipes[2], size_t room)
{
	const struct sent *r = &s->records[s->at];
	size_t offset = r->offset + s->read;
	ssize_t n = RESULT(splice(fd, NULL, pipes[1], NULL, room, SPLICE_F_NONBLOCK));

	if (r->type != DATA)
		return n == -EINVAL;
	if (n <= 0 || n > data_ahead(s) || read(pipes[0], got, n) != n || !filled(got, n, offset))
		return false;
	advance(s, n);
	return true;
}

static bool read_somehow(struct sequence *s, int fd, int pipes[2])
{
	size_t room = 1 + below(s, 2) * below(s, PAYLOAD_MAX - 1) + below(s, 2) * 99;

	room = room > PAYLOAD_MAX ? PAYLOAD_MAX : room;
	if (poll_now(fd, POLLIN) != POLLIN)
		return false;
	switch (below(s, 4)) {
	case 0: return read_next(s, fd, room, MSG_PEEK);
	case 1: return read_plain(s, fd, room);
	case 2: return splice_next(s, fd, pipes, room);
	default: return read_next(s, fd, room, 0);
	}
}

TEST_F(sequences, every_reader)
{
	int pipes[2], i;

	ONLY_KTLS();
	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < SEQUENCES; i++) {
		struct sequence s = { .seed = 1000 * variant->cipher + i };

		ASSERT_EQ(0, send_sequence(&s, &self->peer));
		while (!at_end(&s))
			ASSERT_TRUE(read_somehow(&s, self->fd, pipes)) TH_LOG("sequence %d, record %d of "
				"type %u, length %zu, at %zu: %s", i, s.at, s.records[s.at].type,
				s.records[s.at].len, s.read, strerror(errno));
		ASSERT_EQ(-EAGAIN, RESULT(recv(self->fd, got, 1, MSG_DONTWAIT)));
		ASSERT_EQ(0, poll_now(self->fd, POLLIN));
	}
}

TEST_HARNESS_MAIN
