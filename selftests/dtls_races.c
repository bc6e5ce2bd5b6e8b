// SPDX-License-Identifier: GPL-2.0-only
/*
 * DTLS: sockets that come and go while datagrams arrive for them, and many threads in many
 * calls on one. What is checked besides is the kernel's log.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <pthread.h>
#include <stdatomic.h>

#define SENDERS		2
#define PEERS		8
#define ROUNDS		150

static uint8_t zeros[60000];
static atomic_bool over;

FIXTURE(races) { int port; struct association a[PEERS]; pthread_t senders[SENDERS]; };
DTLS_VARIANTS(races);

/* Good records, forged ones and what is not DTLS, from all peers. */
static void *send_without_end(void *arg)
{
	struct association *all = arg;
	struct peer peers[PEERS];
	uint8_t record[RECORD_MAX];
	unsigned int n, i;
	size_t len;

	for (i = 0; i < PEERS; i++)
		peers[i] = all[i].peer;
	for (n = 0; !over; n++) {
		struct peer *peer = &peers[n % PEERS];

		len = dgram_seal(peer, n % 5 ? DATA : HANDSHAKE, zeros, n % 1200 + 1, record);
		if (n % 7 == 0)
			record[len - 1] ^= 1;
		if (n % 11 == 0)
			record[0] = n;
		if (n % 13 == 0)
			record[4] = 2;
		send(peer->fd, record, len, MSG_DONTWAIT);
	}
	return NULL;
}

FIXTURE_SETUP(races)
{
	int i;

	self->port = udp_socket(variant->family);
	for (i = 0; i < PEERS; i++)
		ASSERT_EQ(0, associate(self->port, &self->a[i], variant->cipher, i));
	over = false;
	for (i = 0; i < SENDERS; i++)
		ASSERT_EQ(0, pthread_create(&self->senders[i], NULL, send_without_end, self->a));
}

FIXTURE_TEARDOWN(races)
{
	int i;

	over = true;
	for (i = 0; i < SENDERS; i++)
		pthread_join(self->senders[i], NULL);
	for (i = 0; i < PEERS; i++) {
		close(self->a[i].fd);
		close(self->a[i].peer.fd);
	}
	close(self->port);
}

/* In place of the association that was there; -1. */
static int attach_again(int port, struct association *a)
{
	struct sockaddr_in6 name;
	socklen_t len = sizeof(name);

	a->fd = dtls_attach(port);
	if (a->fd < 0 || getsockname(a->peer.fd, (void *)&name, &len) ||
	    connect(a->fd, (void *)&name, len) || tls_key(a->fd, TLS_RX, &a->peer.tx) ||
	    tls_key(a->fd, TLS_TX, &a->peer.rx))
		return -1;
	return 0;
}

TEST_F(races, come_and_go)
{
	struct association *a;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		a = &self->a[i % PEERS];
		close(a->fd);
		ASSERT_EQ(0, attach_again(self->port, a));
		send(a->fd, zeros, 100, MSG_DONTWAIT);
		recv(a->fd, zeros, 100, MSG_DONTWAIT);
		recv(self->port, zeros, 100, MSG_DONTWAIT);
	}
}

TEST_F(races, detach_and_bind)
{
	struct association *a;
	int i, n, detached = 0;
	uint8_t type;

	for (i = 0; i < ROUNDS / 5; i++) {
		a = &self->a[i % PEERS];
		for (n = 0; n < 100 && recv_type(a->fd, zeros, 100, MSG_DONTWAIT, &type) >= 0; n++)
			;
		if (setsockopt(a->fd, SOL_KTLS, KTLS_DETACH, NULL, 0)) {
			ASSERT_EQ(EBUSY, errno);
			continue;
		}
		detached++;
		close(a->fd);
		ASSERT_EQ(0, attach_again(self->port, a));
	}
	EXPECT_LT(0, detached);
}

struct call {
	pthread_t thread;
	struct association *a;
	void (*once)(struct association *a);
};

static void call_recv(struct association *a)
{
	uint8_t buf[2000], type;

	if (recv(a->fd, buf, sizeof(buf), 0) < 0 && errno == EIO)
		recv_type(a->fd, buf, sizeof(buf), MSG_DONTWAIT, &type);
}

static void call_peek(struct association *a)
{
	uint8_t buf[100];
	int bytes;

	recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	ioctl(a->fd, FIONREAD, &bytes);
}

static void call_splice(struct association *a)
{
	uint8_t buf[4096];
	int fds[2];

	if (pipe(fds))
		return;
	if (splice(a->fd, NULL, fds[1], NULL, sizeof(buf), SPLICE_F_NONBLOCK) > 0)
		splice(fds[0], NULL, a->fd, NULL, sizeof(buf), SPLICE_F_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
}

static void call_send(struct association *a)
{
	send(a->fd, zeros, 1000, 0);
	send(a->fd, zeros, 500, MSG_MORE);
}

static void call_batch(struct association *a)
{
	int segment = 700, none = 0;

	setsockopt(a->fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment));
	send(a->fd, zeros, 20000, MSG_DONTWAIT);
	setsockopt(a->fd, SOL_KTLS, KTLS_SEGMENT, &none, sizeof(none));
}

static void call_poll(struct association *a)
{
	poll_now(a->fd, POLLIN | POLLOUT | POLLPRI);
}

static void call_options(struct association *a)
{
	int mode = KTLS_CONTROL_QUEUE, window = 64;
	struct ktls_info info;
	uint8_t buf[100];

	setsockopt(a->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode));
	recv(a->fd, buf, sizeof(buf), MSG_ERRQUEUE | MSG_DONTWAIT);
	mode = KTLS_CONTROL_DEFAULT;
	setsockopt(a->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode));
	setsockopt(a->fd, SOL_KTLS, KTLS_REPLAY_WINDOW, &window, sizeof(window));
	get_info(a->fd, &info);
	proc_counter("/proc/net/ktls_stat", "KtlsRxReplayed");
}

static void call_detach(struct association *a)
{
	struct sockaddr_in6 name;
	socklen_t len = sizeof(name);

	if (setsockopt(a->fd, SOL_KTLS, KTLS_DETACH, NULL, 0))
		return;
	getpeername(a->fd, (void *)&name, &len);
	len = sizeof(name);
	getsockname(a->peer.fd, (void *)&name, &len);
	tls_bind(a->fd, a[PEERS].fd);
	connect(a->fd, (void *)&name, len);
	tls_key(a->fd, TLS_RX, &a->peer.tx);
	tls_key(a->fd, TLS_TX, &a->peer.rx);
}

static void *call_without_end(void *arg)
{
	struct call *call = arg;

	while (!over)
		call->once(call->a);
	return NULL;
}

/* All of them on one socket. */
TEST_F(races, calls)
{
	static void (*const calls[])(struct association *a) = {
		call_recv, call_peek, call_splice, call_send, call_batch, call_poll, call_options,
		call_detach,
	};
	struct call threads[sizeof(calls) / sizeof(calls[0])];
	struct association a[PEERS + 1];
	uint8_t type;
	size_t i;

	memcpy(a, self->a, sizeof(self->a));
	a[PEERS].fd = self->port;
	time_limit(a->fd, 1);
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		threads[i] = (struct call){ .a = a, .once = calls[i] };
		ASSERT_EQ(0, pthread_create(&threads[i].thread, NULL, call_without_end,
					    &threads[i]));
	}
	poll(NULL, 0, 3000);
	over = true;
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		pthread_join(threads[i].thread, NULL);
	/* The others never noticed. */
	while (recv_type(self->a[1].fd, zeros, 100, MSG_DONTWAIT, &type) >= 0)
		;
	self->a[1].peer.tx.seq = EPOCH(1) + (1ULL << 30);
	ASSERT_EQ(0, dgram_send(&self->a[1].peer, DATA, "goes on", 7));
	EXPECT_EQ(7, recv(self->a[1].fd, zeros, 100, 0));
}

TEST_HARNESS_MAIN
