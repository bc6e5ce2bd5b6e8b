// SPDX-License-Identifier: GPL-2.0-only
/* KTLS_PAUSE: application data waits while somebody changes keys. */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#define LAST	-1

static uint8_t payload[PAYLOAD_MAX];

FIXTURE(pause) { int fd; struct peer peer; };
FIXTURE_VARIANT(pause) { uint16_t cipher; bool datagram; };
FIXTURE_VARIANT_ADD(pause, tls12) { .cipher = TLS_CIPHER_AES_GCM_128 };
FIXTURE_VARIANT_ADD(pause, tls13) { .cipher = TLS13 | TLS_CIPHER_AES_GCM_128 };
FIXTURE_VARIANT_ADD(pause, dtls12) { .cipher = TLS_CIPHER_AES_GCM_128, .datagram = true };

FIXTURE_SETUP(pause)
{
	int fds[2], carrier;

	if (variant->datagram) {
		ASSERT_EQ(0, udp_pair(AF_INET, fds));
		ASSERT_EQ(0, dtls_over(fds, variant->cipher, &self->fd, &carrier, &self->peer));
		close(carrier);
	} else {
		ASSERT_EQ(0, tls_and_peer(AF_INET, variant->cipher, &self->fd, &self->peer));
	}
}

FIXTURE_TEARDOWN(pause)
{
	close(self->fd);
	peer_close(&self->peer);
}

static int set_pause(int fd, int on)
{
	return RESULT(setsockopt(fd, SOL_KTLS, KTLS_PAUSE, &on, sizeof(on)));
}

static int is_paused(int fd)
{
	socklen_t len = sizeof(int);
	int on = -1;

	getsockopt(fd, SOL_KTLS, KTLS_PAUSE, &on, &len);
	return on;
}

static ssize_t next(struct peer *peer, bool datagram, uint8_t *type)
{
	return datagram ? dgram_recv(peer, type, payload) : peer_recv(peer, type, payload);
}

TEST_F(pause, values)
{
	EXPECT_EQ(0, is_paused(self->fd));
	EXPECT_EQ(-EINVAL, set_pause(self->fd, 2));
	EXPECT_EQ(-EINVAL, set_pause(self->fd, -1));
	EXPECT_EQ(-EINVAL, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_PAUSE, payload, 1)));
	EXPECT_EQ(-EFAULT, RESULT(setsockopt(self->fd, SOL_KTLS, KTLS_PAUSE, (void *)8, 4)));
	EXPECT_EQ(0, is_paused(self->fd));
	EXPECT_EQ(0, set_pause(self->fd, 1));
	EXPECT_EQ(1, is_paused(self->fd));
	EXPECT_EQ(0, set_pause(self->fd, 0));
	EXPECT_EQ(0, is_paused(self->fd));
}

TEST_F(pause, data_waits)
{
	int pipes[2], file = memfd_create("file", 0);
	uint8_t type;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4, write(pipes[1], "pipe", 4));
	ASSERT_EQ(4, write(file, "file", 4));
	ASSERT_EQ(POLLOUT, poll_now(self->fd, POLLOUT));
	ASSERT_EQ(0, set_pause(self->fd, 1));
	EXPECT_EQ(0, poll_now(self->fd, POLLOUT));
	nonblocking(self->fd, true);
	EXPECT_EQ(-EAGAIN, RESULT(send(self->fd, "data", 4, 0)));
	EXPECT_EQ(-EAGAIN, RESULT(send(self->fd, "data", 4, MSG_MORE)));
	EXPECT_EQ(-EAGAIN, RESULT(splice(pipes[0], NULL, self->fd, NULL, 4, SPLICE_F_NONBLOCK)));
	lseek(file, 0, SEEK_SET);
	EXPECT_EQ(-EAGAIN, RESULT(sendfile(self->fd, file, NULL, 4)));
	/* Other records pass. */
	EXPECT_EQ(2, send_type(self->fd, ALERT, "\1\1", 2, 0));
	ASSERT_EQ(2, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(ALERT, type);
	nonblocking(self->fd, false);
	ASSERT_EQ(0, set_pause(self->fd, 0));
	EXPECT_EQ(POLLOUT, poll_now(self->fd, POLLOUT));
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(4, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(4, splice(pipes[0], NULL, self->fd, NULL, 4, 0));
	ASSERT_EQ(4, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(0, memcmp(payload, "pipe", 4));
}

/* Who sleeps goes on at once. */
TEST_F(pause, sleepers_go_on)
{
	uint8_t type;
	int fd = self->fd;

	ASSERT_EQ(0, set_pause(fd, 1));
	WHEN_ASLEEP(set_pause(fd, 0));
	EXPECT_EQ(4, send(fd, "data", 4, 0));
	ASSERT_EQ(4, next(&self->peer, variant->datagram, &type));
	ASSERT_EQ(0, set_pause(fd, 1));
	WHEN_ASLEEP(set_pause(fd, 0));
	EXPECT_EQ(POLLOUT, poll_wait(fd, POLLOUT));
	EXPECT_EQ(0, is_paused(fd));
}

/* What was taken goes before, so that it is under the old key. */
TEST_F(pause, open_record_goes)
{
	uint8_t type;

	ASSERT_EQ(4, send(self->fd, "more", 4, MSG_MORE));
	ASSERT_EQ(0, set_pause(self->fd, 1));
	ASSERT_EQ(4, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(0, memcmp(payload, "more", 4));
}

/* A change of keys beside a sender that knows nothing of it. */
TEST_F(pause, keys_change)
{
	int fd = self->fd, large = 8 << 20, status = -1, i;
	atomic_bool *changed = mmap(NULL, sizeof(*changed), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct keys keys = self->peer.rx;
	uint8_t type;
	pid_t sender;

	/* No datagram is lost. */
	setsockopt(self->peer.fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof(large));
	keys.key[0] ^= 1;
	keys.seq = variant->datagram ? EPOCH(2) : 0;
	sender = fork();
	if (!sender) {
		for (i = 0; !*changed; i++)
			if (send(fd, &i, sizeof(i), 0) != sizeof(i))
				_exit(1);
		i = LAST;
		_exit(send(fd, &i, sizeof(i), 0) != sizeof(i));
	}
	for (i = 0; i < 50; i++)
		ASSERT_EQ(sizeof(i), next(&self->peer, variant->datagram, &type));
	ASSERT_EQ(0, set_pause(fd, 1));
	if (keys.tls13) {
		ASSERT_EQ(KEY_UPDATE_LEN, send_type(fd, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_LEN, 0));
	} else {
		ASSERT_EQ(1, send_type(fd, CCS, "\1", 1, 0));
	}
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &keys));
	ASSERT_EQ(4, send_type(fd, HANDSHAKE, "done", 4, 0));
	*changed = true;
	ASSERT_EQ(0, set_pause(fd, 0));

	do {
		ASSERT_LT(0, next(&self->peer, variant->datagram, &type));
	} while (type == DATA);
	EXPECT_EQ(keys.tls13 ? HANDSHAKE : CCS, type);
	self->peer.rx = keys;
	ASSERT_EQ(4, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(HANDSHAKE, type);
	do {
		ASSERT_EQ(sizeof(i), next(&self->peer, variant->datagram, &type));
		ASSERT_EQ(DATA, type);
		memcpy(&i, payload, sizeof(i));
	} while (i != LAST);
	ASSERT_EQ(sender, waitpid(sender, &status, 0));
	EXPECT_EQ(0, status);
}

/* It ends with the binding. */
TEST_F(pause, detached)
{
	ASSERT_EQ(0, set_pause(self->fd, 1));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	EXPECT_EQ(0, is_paused(self->fd));
}

/* Closing says goodbye all the same. */
TEST_F(pause, shut_down)
{
	uint8_t type;

	ASSERT_EQ(0, set_pause(self->fd, 1));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_EQ(2, next(&self->peer, variant->datagram, &type));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(-EPIPE, RESULT(send(self->fd, "data", 4, MSG_NOSIGNAL)));
}

/* A writer that sleeps hears of a reset. */
TEST_F(pause, reset)
{
	int *there = &self->peer.fd;

	ASSERT_EQ(0, set_pause(self->fd, 1));
	/* UDP knows no reset: the pause stays whoever has gone. */
	if (variant->datagram) {
		peer_close(&self->peer);
		EXPECT_EQ(-EAGAIN, RESULT(send(self->fd, "data", 4, MSG_DONTWAIT)));
		return;
	}
	WHEN_ASLEEP(abort_connection(there));
	/* The child has another descriptor of it. */
	close(*there);
	*there = -1;
	EXPECT_EQ(-ECONNRESET, RESULT(send(self->fd, "data", 4, MSG_NOSIGNAL)));
	EXPECT_TRUE(poll_now(self->fd, POLLOUT) & POLLOUT);
}

TEST_HARNESS_MAIN
