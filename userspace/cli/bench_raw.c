// SPDX-License-Identifier: MIT
/* Sockets that seal and open by themselves, with keys that no handshake made; and plain ones. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/rand.h>

#include <linux/ktls.h>
#include <linux/tls.h>

#include "bench.h"
#include "ktls.h"

union key {
	struct tls_crypto_info info;
	unsigned char bytes[64];
};

/* Any key does; both ends get the same. */
static void make_key(const struct bench_setup *setup, union key *key)
{
	RAND_bytes(key->bytes, sizeof(key->bytes));
	key->info.version = (uint16_t)setup->protocol->version;
	key->info.cipher_type = setup->cipher->type;
	memset(key->bytes + setup->cipher->seq_at, 0, 8);
	/* rfc6347 4.1: the first epoch with keys */
	if (setup->protocol->dgram)
		key->bytes[setup->cipher->seq_at + 1] = 1;
}

static int set_keys(const struct bench_setup *setup, int fd, const union key *tx,
		    const union key *rx)
{
	socklen_t len = (socklen_t)setup->cipher->info_len;
	int one = 1;

	if (setsockopt(fd, SOL_TLS, TLS_TX, tx, len) || setsockopt(fd, SOL_TLS, TLS_RX, rx, len))
		return -1;
	if (setup->no_pad && setup->protocol->version == TLS_1_3_VERSION)
		return setsockopt(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &one, sizeof(one));
	return 0;
}

/* Makes end->fd a socket of the way: -1 and errno. */
typedef int attach(const struct bench_setup *setup, struct bench_end *end);

static int attach_ktls(const struct bench_setup *setup, struct bench_end *end)
{
	struct sockaddr_ktls addr = { .skt_family = AF_KTLS, .skt_fd = end->carrier };
	int type = setup->protocol->dgram ? SOCK_DGRAM : SOCK_STREAM;

	end->fd = socket(AF_KTLS, type | SOCK_CLOEXEC, 0);
	if (end->fd < 0)
		return -1;
	bench_net_patience(end->fd);
	return bind(end->fd, (struct sockaddr *)&addr, sizeof(addr));
}

static int attach_tls(const struct bench_setup *setup, struct bench_end *end)
{
	(void)setup;
	return setsockopt(end->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
}

static enum bench_outcome open_keyed(const struct bench_setup *setup, struct bench_end end[2],
				     attach *attach_to, char why[BENCH_WHY])
{
	int i, ret = bench_net_pair(setup->protocol->dgram, end);
	union key there, back;

	if (ret) {
		snprintf(why, BENCH_WHY, "no connection: %s", strerror(-ret));
		return BENCH_FAILED;
	}
	make_key(setup, &there);
	make_key(setup, &back);
	for (i = 0; i < (setup->half ? 1 : 2); i++)
		if (attach_to(setup, &end[i]) ||
		    set_keys(setup, end[i].fd, i ? &back : &there, i ? &there : &back)) {
			snprintf(why, BENCH_WHY, "%s", strerror(errno));
			ret = errno;
			bench_net_close(&end[0]);
			bench_net_close(&end[1]);
			errno = ret;
			return BENCH_FAILED;
		}
	return BENCH_DONE;
}

static enum bench_outcome open_ktls(const struct bench_setup *setup, struct bench_end end[2],
				    char why[BENCH_WHY])
{
	const char *sentence;

	if (!ktls_available(&sentence)) {
		snprintf(why, BENCH_WHY, "%s", sentence);
		return BENCH_ABSENT;
	}
	return open_keyed(setup, end, attach_ktls, why);
}

static enum bench_outcome open_tls(const struct bench_setup *setup, struct bench_end end[2],
				   char why[BENCH_WHY])
{
	enum bench_outcome outcome = open_keyed(setup, end, attach_tls, why);

	if (outcome != BENCH_FAILED || errno != ENOENT)
		return outcome;
	snprintf(why, BENCH_WHY, "this kernel has no module tls, or not with %s",
		 setup->cipher->name);
	return BENCH_ABSENT;
}

static enum bench_outcome open_plain(const struct bench_setup *setup, struct bench_end end[2],
				     char why[BENCH_WHY])
{
	int ret = bench_net_pair(setup->protocol->dgram, end);

	if (ret)
		snprintf(why, BENCH_WHY, "no connection: %s", strerror(-ret));
	return ret ? BENCH_FAILED : BENCH_DONE;
}

static ssize_t raw_send(struct bench_end *end, const void *data, size_t len)
{
	ssize_t n = send(end->fd, data, len, MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static ssize_t raw_recv(struct bench_end *end, void *data, size_t len)
{
	ssize_t n = recv(end->fd, data, len, 0);

	return n < 0 ? -errno : n;
}

static ssize_t raw_sendfile(struct bench_end *end, int file, off_t *offset, size_t len)
{
	ssize_t n = sendfile(end->fd, file, offset, len);

	return n < 0 ? -errno : n;
}

#define RAW	.splices = true, .send = raw_send, .recv = raw_recv, .sendfile = raw_sendfile, \
		.close = bench_net_close

const struct bench_way bench_af_ktls = {
	.name = "af_ktls", .title = "AF_KTLS", .streams = true, .datagrams = true,
	.open = open_ktls, RAW,
};

const struct bench_way bench_tls = {
	.name = "tls", .title = "kernel TLS", .streams = true, .open = open_tls, RAW,
};

const struct bench_way bench_plain = {
	.name = "plain", .title = "plain", .streams = true, .datagrams = true,
	.open = open_plain, RAW,
};
