// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer that has the keys and sends all that a record may be: any type, any length, cut at any
 * byte, in any order, and then something that it may not be. A model says what the reader has
 * to get, by whatever call, and no more. KTLS_FUZZ_SECONDS, KTLS_FUZZ_SEED: see fuzz.h.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"
#include "fuzz.h"

#define RECORDS_MAX	40
#define NO_TYPE		0	/* what recv_type() says of no record */
#define WINDOW		1024	/* KTLS_REPLAY_WINDOW as it is at first */
#define FUTURE		3000	/* how far a sequence number may be ahead, or behind */

struct expected {
	uint8_t type;
	size_t len;
	size_t offset;		/* of its bytes in all that was sent */
	size_t taken;
};

/* What the reader has to get, and where it is. */
struct model {
	struct expected records[RECORDS_MAX * 4];
	int count, next;
	size_t bytes;
	bool closed;		/* a close_notify is the last of them */
};

static const uint16_t ciphers[] = {
	TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_CHACHA20_POLY1305,
	TLS_CIPHER_AES_CCM_128,
};
static uint8_t payload[PAYLOAD_MAX + 1], got[3 * PAYLOAD_MAX];
static uint8_t wire[RECORDS_MAX * (RECORD_MAX + 64)];

/* Adds a record of random bytes to the model and seals it, in TLS 1.3 with random padding. */
static size_t expect_record(struct model *m, struct fuzz *f, struct keys *keys, uint8_t type,
			    size_t len, uint8_t *out)
{
	size_t padding;

	/* Handshake messages of random bytes may be a KeyUpdate; empty ones are not legal. */
	if (keys->tls13 && type == HANDSHAKE)
		type = ALERT;
	if (keys->tls13 && type != DATA && !len)
		len = 1;
	padding = keys->tls13 && fuzz_one_in(f, 3) ? fuzz_below(f, PAYLOAD_MAX + 1 - len) : 0;
	fill(payload, len, m->bytes);
	/* Not an end, by chance. */
	if (type == ALERT && len == 2)
		payload[1] |= 1;
	m->records[m->count++] = (struct expected){ .type = type, .len = len, .offset = m->bytes };
	m->bytes += len;
	return record_seal_padded(keys, type, payload, len, padding, out);
}

static uint8_t any_type(struct fuzz *f)
{
	/* A ChangeCipherSpec ends what the key may open. */
	static const uint8_t types[] = { DATA, DATA, DATA, DATA, ALERT, HANDSHAKE, 24, 25, 1, 255 };

	return fuzz_one_in(f, 30) ? 1 + fuzz_below(f, CCS - 1) : FUZZ_PICK(f, types);
}

/* Records of data in which nothing is left, or ever was, are nothing to any reader. */
static void skip_empty(struct model *m)
{
	while (m->next < m->count && m->records[m->next].type == DATA &&
	       m->records[m->next].taken == m->records[m->next].len)
		m->next++;
}

static bool same_bytes(const struct expected *r, const uint8_t *bytes, size_t n)
{
	uint8_t want[PAYLOAD_MAX];

	fill(want, r->len, r->offset);
	if (r->type == ALERT && r->len == 2)
		want[1] |= 1;
	return !memcmp(bytes, want + r->taken, n);
}

/* @n bytes of @type were read; @peek: they stay. */
static bool is_next(struct model *m, uint8_t type, const uint8_t *bytes, size_t n, bool peek)
{
	struct model before = *m;
	struct expected *r;
	size_t part;
	bool right = true;

	do {
		skip_empty(m);
		if (m->next == m->count) {
			right = !n;
			break;
		}
		r = &m->records[m->next];
		part = n < r->len - r->taken ? n : r->len - r->taken;
		right = r->type == type && same_bytes(r, bytes, part);
		r->taken += part;
		bytes += part;
		n -= part;
		if (r->taken == r->len)
			m->next++;
		else
			break;
		/* Records of control come one by one. */
		if (type != DATA)
			break;
	} while (right && n);
	right = right && !n;
	if (peek)
		*m = before;
	return right;
}

enum outcome { NOTHING, SOMETHING, ENDED, WRONG };

static enum outcome judge_error(struct model *m, long error)
{
	if (error == -EAGAIN)
		return NOTHING;
	if (error == -EBADMSG || error == -EMSGSIZE || error == -EINVAL || error == -ECONNRESET)
		return ENDED;
	fprintf(stderr, "# error %ld\n", error);
	return WRONG;
}

static enum outcome read_with_type(struct model *m, struct fuzz *f, int fd)
{
	size_t len = fuzz_size(f, sizeof(got));
	int flags = fuzz_one_in(f, 4) ? MSG_PEEK : 0;
	uint8_t type = NO_TYPE;
	ssize_t n;

	if (!len)
		len = 1;
	n = RESULT(recv_type(fd, got, len, flags | MSG_DONTWAIT, &type));
	if (n < 0)
		return judge_error(m, n);
	/* The end has no type; an empty record of control has. */
	if (!n && type == NO_TYPE)
		return ENDED;
	if (is_next(m, type, got, n, flags & MSG_PEEK))
		return SOMETHING;
	fprintf(stderr, "# %zd bytes of type %d, room for %zu, flags %x\n", n, type, len, flags);
	return WRONG;
}

static bool control_is_next(struct model *m)
{
	skip_empty(m);
	return m->next < m->count && m->records[m->next].type != DATA;
}

static enum outcome read_plainly(struct model *m, struct fuzz *f, int fd)
{
	static const int sets[] = { 0, MSG_PEEK, MSG_WAITALL };
	size_t len = fuzz_size(f, sizeof(got));
	int flags = FUZZ_PICK(f, sets);
	ssize_t n;

	n = RESULT(recv(fd, got, len, flags | MSG_DONTWAIT));
	if (n == -EIO)
		return control_is_next(m) ? NOTHING : WRONG;
	if (n < 0)
		return judge_error(m, n);
	if (!n)
		return len ? ENDED : NOTHING;
	return is_next(m, DATA, got, n, flags & MSG_PEEK) ? SOMETHING : WRONG;
}

static enum outcome read_by_splice(struct model *m, struct fuzz *f, int fd, int pipes[2])
{
	ssize_t n = RESULT(splice(fd, NULL, pipes[1], NULL, 1 + fuzz_size(f, 60000),
				  SPLICE_F_NONBLOCK));

	if (n == -EINVAL && control_is_next(m))
		return NOTHING;
	if (n < 0)
		return judge_error(m, n);
	if (!n)
		return ENDED;
	return read(pipes[0], got, n) == n && is_next(m, DATA, got, n, false) ? SOMETHING : WRONG;
}

static enum outcome read_somehow(struct model *m, struct fuzz *f, int fd, int pipes[2])
{
	switch (fuzz_below(f, 4)) {
	case 0:
		return read_plainly(m, f, fd);
	case 1:
		return read_by_splice(m, f, fd, pipes);
	default:
		return read_with_type(m, f, fd);
	}
}

/* What no record may be, behind those that are right; its length. */
static size_t spoil(struct fuzz *f, struct keys *keys, uint8_t *out)
{
	size_t len, at;

	switch (fuzz_below(f, 4)) {
	case 0:
		return 0;
	case 1:
		fuzz_bytes(f, out, RECORD_MAX);
		return fuzz_size(f, RECORD_MAX);
	case 2:
		keys->seq += 1 + fuzz_below(f, 3);
		return record_seal(keys, DATA, payload, 10, out);
	default:
		len = record_seal(keys, any_type(f), payload, fuzz_size(f, PAYLOAD_MAX), out);
		at = fuzz_one_in(f, 3) ? fuzz_below(f, 5) : fuzz_below(f, len);
		/* The type and the version's second byte count as well. */
		out[at] ^= 1 << fuzz_below(f, 8);
		return len;
	}
}

FIXTURE(fuzz_wire) { struct fuzz fuzz; int pipes[2]; };
FIXTURE_SETUP(fuzz_wire)
{
	fuzz_begin(&self->fuzz, "fuzz_wire");
	ASSERT_EQ(0, pipe(self->pipes));
	ASSERT_LT(0, fcntl(self->pipes[0], F_SETPIPE_SZ, 1 << 20));
}

FIXTURE_TEARDOWN(fuzz_wire)
{
	close(self->pipes[0]);
	close(self->pipes[1]);
}

static void stream_round(struct __test_metadata *_metadata, struct fuzz *f, int pipes[2])
{
	struct model m = { };
	struct peer peer;
	int fd, i, count = 1 + fuzz_below(f, RECORDS_MAX - 1), idle = 0;
	uint16_t version = fuzz_one_in(f, 2) ? TLS13 : 0;
	size_t len = 0, sent = 0, n;
	enum outcome outcome = NOTHING;
	int no_pad = 1;
	bool whole;

	ASSERT_EQ(0, tls_and_peer(fuzz_one_in(f, 2) ? AF_INET : AF_INET6,
				  version | FUZZ_PICK(f, ciphers), &fd, &peer));
	if (fuzz_one_in(f, 2))
		setsockopt(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &no_pad, sizeof(no_pad));
	for (i = 0; i < count; i++)
		len += expect_record(&m, f, &peer.tx, any_type(f), fuzz_size(f, PAYLOAD_MAX),
				     wire + len);
	len += spoil(f, &peer.tx, wire + len);
	nonblocking(peer.fd, true);

	while (outcome != ENDED) {
		n = fuzz_one_in(f, 3) ? 1 + fuzz_below(f, 50) : fuzz_size(f, 20000);
		n = n < len - sent ? n : len - sent;
		n = send(peer.fd, wire + sent, n, MSG_NOSIGNAL);
		if ((ssize_t)n > 0)
			sent += n;
		whole = sent == len;
		if (whole && !idle++)
			shutdown(peer.fd, SHUT_WR);
		outcome = read_somehow(&m, f, fd, pipes);
		ASSERT_NE(WRONG, outcome) {
			TH_LOG("record %d of %d, type %d", m.next, m.count,
			       m.records[m.next].type);
		}
		/* Only what is not there yet may be waited for. */
		ASSERT_GT(200000, idle) {
			TH_LOG("record %d of %d, type %d, %zu of %zu; sent %zu of %zu", m.next,
			       m.count, m.records[m.next].type, m.records[m.next].taken,
			       m.records[m.next].len, sent, len);
		}
	}
	/* All that was right came first, but for the control that a plain reader cannot have. */
	skip_empty(&m);
	ASSERT_EQ(m.count, m.next);
	nonblocking(fd, true);
	for (i = 0; i < 3; i++) {
		outcome = read_somehow(&m, f, fd, pipes);
		ASSERT_EQ(ENDED, outcome == NOTHING ? ENDED : outcome);
	}
	close(fd);
	peer_close(&peer);
}

TEST_F_TIMEOUT(fuzz_wire, stream, 100000)
{
	int rounds = 0;

	while (fuzz_goes_on(&self->fuzz)) {
		struct fuzz f = fuzz_part(&self->fuzz, rounds);

		stream_round(_metadata, &f, self->pipes);
		rounds++;
	}
	TH_LOG("%d rounds", rounds);
	ASSERT_LT(0, rounds);
}

/* ---- datagrams ---- */

/* The replay window, as simple as can be. */
struct received {
	uint64_t next;			/* the highest number, and one */
	uint8_t seen[1 << 20];
};

static struct received received;

static bool is_fresh(const struct received *r, uint64_t seq)
{
	return seq >= r->next || (r->next - seq <= WINDOW && !r->seen[seq]);
}

static void has_come(struct received *r, uint64_t seq)
{
	r->seen[seq] = 1;
	if (seq >= r->next)
		r->next = seq + 1;
}

/* A record somewhere near those that came; its length. */
static size_t any_datagram_record(struct model *m, struct fuzz *f, struct keys *keys, uint8_t *out)
{
	uint64_t seq = received.next + fuzz_below(f, fuzz_one_in(f, 20) ? FUTURE : 8);
	uint64_t back = fuzz_below(f, fuzz_one_in(f, 5) ? FUTURE : 40);
	size_t size = fuzz_size(f, 3000), len, at;
	bool spoilt = fuzz_one_in(f, 4);
	uint8_t type = any_type(f);

	if (fuzz_one_in(f, 2))
		seq = back < seq ? seq - back : 0;
	if (seq >= sizeof(received.seen))
		seq = 0;
	/* What is no DTLS is the carrier's, and a handshake may be for both. */
	if (type < 21 || type > 63)
		type = DATA;
	keys->seq = EPOCH(fuzz_one_in(f, 20) ? fuzz_below(f, 5) : 1) + seq;
	if (spoilt || keys->seq >> 48 != 1 || !is_fresh(&received, seq)) {
		fill(payload, size, 0);
		/* A handshake without a key stays on the carrier. */
		len = record_seal(keys, keys->seq >> 48 == 1 ? type : DATA, payload, size, out);
		at = 13 + fuzz_below(f, len - 13);
		if (spoilt)
			out[at] ^= 1 << fuzz_below(f, 8);
		return len;
	}
	has_come(&received, seq);
	return expect_record(m, f, keys, type, size, out);
}

static void next_datagram(struct __test_metadata *_metadata, struct model *m, int fd)
{
	uint8_t type = NO_TYPE;
	ssize_t n = RESULT(recv_type(fd, got, sizeof(got), 0, &type));

	ASSERT_LE(0, n) {
		TH_LOG("type %d, %zu bytes are lost", m->records[m->next].type,
		       m->records[m->next].len);
	}
	ASSERT_NE(NO_TYPE, type);
	ASSERT_EQ(m->records[m->next].len, n);
	ASSERT_TRUE(is_next(m, type, got, n, false));
}

TEST_F_TIMEOUT(fuzz_wire, datagrams, 100000)
{
	static struct model m;
	int rounds = 0, fds[2], fd, carrier, i, count;
	struct peer peer;
	size_t len;

	while (fuzz_goes_on(&self->fuzz)) {
		struct fuzz f = fuzz_part(&self->fuzz, rounds++);

		memset(&received, 0, sizeof(received));
		ASSERT_EQ(0, udp_pair(fuzz_one_in(&f, 2) ? AF_INET : AF_INET6, fds));
		ASSERT_EQ(0, dtls_over(fds, FUZZ_PICK(&f, ciphers), &fd, &carrier, &peer));
		for (i = 0; i < 200; i++) {
			m = (struct model){ };
			len = 0;
			for (count = 1 + fuzz_below(&f, 4); count; count--)
				len += any_datagram_record(&m, &f, &peer.tx, wire + len);
			/* Something that is no record takes nothing before it along. */
			if (fuzz_one_in(&f, 5)) {
				fuzz_bytes(&f, wire + len, 20);
				len += fuzz_below(&f, 20);
			}
			ASSERT_EQ(len, send(peer.fd, wire, len, 0));
			/* Empty records of data are nobody's. */
			for (skip_empty(&m); m.next < m.count; skip_empty(&m))
				next_datagram(_metadata, &m, fd);
			ASSERT_EQ(-EAGAIN, RESULT(recv(fd, got, 1, MSG_DONTWAIT)));
		}
		close(fd);
		close(carrier);
		close(peer.fd);
	}
	TH_LOG("%d rounds", rounds);
	ASSERT_LT(0, rounds);
}

/* Without keys: a capture is changed, cut, repeated, and nothing of it is believed. */
TEST_F_TIMEOUT(fuzz_wire, without_keys, 100000)
{
	int rounds = 0, fds[2], fd, carrier, i;
	struct peer peer, other;
	size_t len;

	while (fuzz_goes_on(&self->fuzz)) {
		struct fuzz f = fuzz_part(&self->fuzz, rounds++);

		ASSERT_EQ(0, udp_pair(AF_INET, fds));
		ASSERT_EQ(0, dtls_over(fds, FUZZ_PICK(&f, ciphers), &fd, &carrier, &peer));
		other = peer;
		other.tx.key[fuzz_below(&f, 16)] ^= 1 << fuzz_below(&f, 8);
		for (i = 0; i < 300; i++) {
			if (fuzz_one_in(&f, 3)) {
				len = 1 + fuzz_size(&f, 2000);
				fuzz_bytes(&f, wire, len);
				if (fuzz_one_in(&f, 2))
					memcpy(wire, "\27\376\375\0\1\0\0\0\0", 9);
			} else {
				len = record_seal(&other.tx, any_type(&f), payload,
						  fuzz_size(&f, 2000), wire);
				len = fuzz_one_in(&f, 3) ? 1 + fuzz_below(&f, len) : len;
			}
			ASSERT_EQ(len, send(peer.fd, wire, len, 0));
			ASSERT_EQ(-EAGAIN, RESULT(recv(fd, got, sizeof(got), MSG_DONTWAIT)));
			/* What is none of ours stays there, and shall not fill it. */
			recv(carrier, got, sizeof(got), MSG_DONTWAIT);
		}
		ASSERT_EQ(0, dgram_send(&peer, DATA, "good", 4));
		ASSERT_EQ(4, recv(fd, got, sizeof(got), 0));
		close(fd);
		close(carrier);
		close(peer.fd);
	}
	TH_LOG("%d rounds", rounds);
	ASSERT_LT(0, rounds);
}

TEST_HARNESS_MAIN
