// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys leave no trace: once a socket is closed, detached or rekeyed, all memory of the machine
 * (/proc/kcore) is searched for them. While they are in use the search finds them.
 * not under detectors: User Mode Linux shows nothing there. timeout=400
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <elf.h>
#include <sys/random.h>

#define CHUNK		(1 << 20)
#define KEYS		20
/* Odd, without a meaning: what is compared are products, so that no key lies in this process. */
#define MULTIPLIER	0xd1342543de82ef95ULL

/* Of a key's first 16 bytes. */
struct trace {
	uint64_t products[2];
	int found;
};

static struct trace traces[KEYS];
static int count;
static uint8_t filter[1 << 16];
static uint64_t chunk[CHUNK / 8 + 2];

static uint64_t product_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word * MULTIPLIER;
}

/* Remembers what the key looks like, and not the key. */
static void remember(const uint8_t *key)
{
	struct trace *t = &traces[count++];

	t->products[0] = product_at(key);
	t->products[1] = product_at(key + 8);
	t->found = 0;
	filter[t->products[0] >> 48] = 1;
}

static void compare(const uint8_t *at)
{
	uint64_t product = product_at(at);
	int i;

	if (!filter[product >> 48])
		return;
	for (i = 0; i < count; i++)
		if (traces[i].products[0] == product &&
		    traces[i].products[1] == product_at(at + 8))
			traces[i].found++;
}

/* Keys lie at addresses that can be divided by four. */
static void search(int fd, const Elf64_Phdr *area)
{
	const uint8_t *bytes = (const uint8_t *)chunk;
	uint64_t offset;
	ssize_t n, i;

	for (offset = 0; offset < area->p_filesz; offset += CHUNK) {
		n = pread(fd, chunk, CHUNK + 16, area->p_offset + offset);
		for (i = 0; i + 16 <= n; i += 4)
			compare(bytes + i);
		memset(chunk, 0, sizeof(chunk));
	}
}

/* How many areas of memory there are; -1: it cannot be read. */
static int search_everywhere(void)
{
	int fd = open("/proc/kcore", O_RDONLY), areas = 0, i;
	Elf64_Phdr area;
	Elf64_Ehdr head;

	for (i = 0; i < count; i++)
		traces[i].found = 0;
	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return -1;
	for (i = 0; i < head.e_phnum; i++) {
		pread(fd, &area, sizeof(area), head.e_phoff + i * sizeof(area));
		/* The others show the same memory at other addresses, or much of nothing. */
		if (area.p_type != PT_LOAD || area.p_paddr == (Elf64_Addr)-1)
			continue;
		search(fd, &area);
		areas++;
	}
	close(fd);
	return areas;
}

/* Sets a key that nobody has, on @sender too unless that is -1, and forgets it. */
static int set_key_of_two(int fd, int direction, int sender, const struct keys *like)
{
	static union crypto_info info;
	socklen_t len = keys_info(like, &info);
	uint8_t *key = info.bytes + sizeof(info.info);
	int ret;

	/* The 8 bytes of iv are first, 12 with ChaCha20. */
	key += info.info.cipher_type == TLS_CIPHER_CHACHA20_POLY1305 ? 12 : 8;
	if (getrandom(key, 16, 0) != 16)
		return -1;
	remember(key);
	ret = setsockopt(fd, SOL_TLS, direction, &info, len);
	if (!ret && sender >= 0)
		ret = setsockopt(sender, SOL_TLS, TLS_TX, &info, len);
	explicit_bzero(&info, sizeof(info));
	return ret;
}

static int set_key(int fd, int direction, const struct keys *like)
{
	return set_key_of_two(fd, direction, -1, like);
}

static int keyed_socket(struct __test_metadata *_metadata, uint16_t cipher, bool datagram,
			int *other)
{
	struct keys keys;
	int fds[2], fd;

	if (datagram) {
		ASSERT_EQ(0, udp_pair(AF_INET, fds));
		dtls_keys_make(&keys, cipher, 1);
		fd = dtls_attach(fds[0]);
		close(fds[0]);
	} else {
		ASSERT_EQ(0, tcp_pair(AF_INET, fds));
		keys_make(&keys, cipher, 1);
		fd = tls_attach(fds[0]);
	}
	ASSERT_LE(0, fd);
	*other = fds[1];
	ASSERT_EQ(0, set_key(fd, TLS_TX, &keys));
	ASSERT_EQ(0, set_key(fd, TLS_RX, &keys));
	return fd;
}

/* DTLS that was given a second key to receive with and keeps the first, for what comes late. */
static int rekeyed_receiver(struct __test_metadata *_metadata)
{
	struct keys keys;
	uint8_t type, got[1];
	int fds[2], fd, sender;

	ASSERT_EQ(0, udp_pair(AF_INET, fds));
	fd = dtls_attach(fds[0]);
	sender = dtls_attach(fds[1]);
	dtls_keys_make(&keys, TLS_CIPHER_AES_GCM_128, 1);
	ASSERT_EQ(0, set_key_of_two(fd, TLS_RX, sender, &keys));
	ASSERT_EQ(1, send_type(sender, CCS, "\1", 1, 0));
	ASSERT_EQ(1, recv_type(fd, got, 1, 0, &type));
	keys.seq = EPOCH(2);
	ASSERT_EQ(0, set_key(fd, TLS_RX, &keys));
	close(sender);
	close(fds[0]);
	close(fds[1]);
	return fd;
}

/* A stream from one socket to another, both of which have the key. */
struct stream {
	int from, to;
	struct keys like;
};

static void open_stream(struct __test_metadata *_metadata, struct stream *s, uint16_t cipher)
{
	int fds[2];

	ASSERT_EQ(0, tcp_pair(AF_INET, fds));
	s->from = tls_attach(fds[0]);
	s->to = tls_attach(fds[1]);
	keys_make(&s->like, cipher, 1);
	ASSERT_EQ(0, set_key_of_two(s->to, TLS_RX, s->from, &s->like));
}

/* Another key for both. */
static void rekey_stream(struct __test_metadata *_metadata, struct stream *s)
{
	uint8_t type, got[KEY_UPDATE_LEN];

	if (s->like.tls13) {
		ASSERT_EQ(KEY_UPDATE_LEN,
			  send_type(s->from, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_LEN, 0));
	} else {
		ASSERT_EQ(1, send_type(s->from, CCS, "\1", 1, 0));
	}
	ASSERT_LT(0, recv_type(s->to, got, sizeof(got), 0, &type));
	ASSERT_EQ(0, set_key_of_two(s->to, TLS_RX, s->from, &s->like));
}

static int found_of(int first, int last)
{
	int n = 0, i;

	for (i = first; i < last; i++)
		n += traces[i].found > 0;
	return n;
}

FIXTURE(wiped) { };
FIXTURE_SETUP(wiped) { }
FIXTURE_TEARDOWN(wiped) { }

TEST_F_TIMEOUT(wiped, keys, 390)
{
	static const uint16_t ciphers[] = {
		TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_CHACHA20_POLY1305,
		TLS_CIPHER_AES_CCM_128,
	};
	int fds[6], others[6], receiver, i;
	struct stream streams[2];
	struct keys next;

	ONLY_KTLS();
	for (i = 0; i < 4; i++)
		fds[i] = keyed_socket(_metadata, ciphers[i], i == 1, &others[i]);
	for (; i < 6; i++)
		fds[i] = keyed_socket(_metadata, TLS_CIPHER_AES_GCM_128, i == 5, &others[i]);
	for (i = 0; i < 6; i++)
		ASSERT_EQ(4, send(fds[i], "used", 4, 0));
	receiver = rekeyed_receiver(_metadata);
	open_stream(_metadata, &streams[0], TLS_CIPHER_AES_GCM_128);
	open_stream(_metadata, &streams[1], TLS_CIPHER_AES_GCM_128 | TLS13);
	if (search_everywhere() < 0)
		SKIP(return, "no /proc/kcore");
	/* It can find them. */
	ASSERT_EQ(16, found_of(0, 16));

	for (i = 0; i < 4; i++)
		close(fds[i]);
	close(receiver);
	ASSERT_EQ(0, setsockopt(fds[4], SOL_KTLS, KTLS_DETACH, NULL, 0));
	/* Of the last the key to send with is replaced, the other stays in use. */
	ASSERT_EQ(1, send_type(fds[5], CCS, "\1", 1, 0));
	dtls_keys_make(&next, TLS_CIPHER_AES_GCM_128, 1);
	next.seq = EPOCH(2);
	ASSERT_EQ(0, set_key(fds[5], TLS_TX, &next));
	for (i = 0; i < 2; i++)
		rekey_stream(_metadata, &streams[i]);
	/* What is freed with RCU is gone a little later. */
	sleep(2);
	ASSERT_LT(0, search_everywhere());
	EXPECT_EQ(0, found_of(0, 11));
	EXPECT_EQ(1, found_of(11, 12));
	EXPECT_EQ(0, found_of(12, 16));
	EXPECT_EQ(3, found_of(16, 19));
	for (i = 0; i < 19; i++)
		TH_LOG("key %d: %d places", i, traces[i].found);
	close(fds[4]);
	close(fds[5]);
	for (i = 0; i < 2; i++) {
		close(streams[i].from);
		close(streams[i].to);
	}
	for (i = 0; i < 6; i++)
		close(others[i]);
}

TEST_HARNESS_MAIN
