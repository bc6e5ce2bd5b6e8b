// SPDX-License-Identifier: GPL-2.0-only
/* What the program may and may not do with the TCP socket underneath. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <pthread.h>
#include <sys/mman.h>

FIXTURE(carrier) { int fd; int tcp; struct peer peer; };
CIPHER_VARIANTS(carrier);

FIXTURE_SETUP(carrier)
{
	int fds[2];

	if (kernel_tls())
		SKIP(return, "only AF_KTLS has a carrier");
	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	self->tcp = fds[0];
	self->peer.fd = fds[1];
	keys_make(&self->peer.tx, variant->cipher, 1);
	keys_make(&self->peer.rx, variant->cipher, 2);
	self->fd = tls_attach(dup(self->tcp));
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(carrier)
{
	close(self->fd);
	close(self->tcp);
	peer_close(&self->peer);
}

TEST_F(carrier, closed_descriptor)
{
	uint8_t type;
	char buf[PAYLOAD_MAX];

	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	close(self->tcp);
	ASSERT_EQ(5, send(self->fd, "there", 5, 0));
	EXPECT_EQ(5, peer_recv(&self->peer, &type, buf));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
	EXPECT_EQ(4, recv(self->fd, buf, sizeof(buf), 0));
}

TEST_F(carrier, no_keys_no_bytes)
{
	char buf[8];

	EXPECT_EQ(-ENOKEY, RESULT(send(self->fd, "secret", 6, 0)));
	EXPECT_EQ(-ENOKEY, RESULT(recv(self->fd, buf, sizeof(buf), MSG_DONTWAIT)));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->peer.fd, buf, sizeof(buf), MSG_DONTWAIT)));
}

TEST_F(carrier, usable_before_keys)
{
	char buf[8];

	ASSERT_EQ(5, send(self->tcp, "hello", 5, 0));
	EXPECT_EQ(5, recv_all(self->peer.fd, buf, 5));
	ASSERT_EQ(5, send(self->peer.fd, "hello", 5, 0));
	EXPECT_EQ(5, recv_all(self->tcp, buf, 5));
}

/* The kernel sends; the program goes on reading the carrier by itself. */
TEST_F(carrier, tx_alone)
{
	uint8_t record[RECORD_MAX], type;
	char buf[PAYLOAD_MAX];
	size_t len;

	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	EXPECT_EQ(-ENOKEY, RESULT(recv(self->fd, buf, 1, MSG_DONTWAIT)));
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	ASSERT_EQ(4, peer_recv(&self->peer, &type, buf));
	EXPECT_EQ(0, memcmp(buf, "data", 4));
	len = record_seal(&self->peer.tx, DATA, "back", 4, record);
	ASSERT_EQ(0, send_all(self->peer.fd, record, len));
	ASSERT_EQ(len, recv_all(self->tcp, buf, len));
	EXPECT_EQ(0, memcmp(buf, record, len));
	EXPECT_EQ(-EBUSY, RESULT(send(self->tcp, "x", 1, MSG_NOSIGNAL)));
}

/* The kernel receives; the program goes on writing the carrier by itself. */
TEST_F(carrier, rx_alone)
{
	struct keys ours = self->peer.rx;
	uint8_t record[RECORD_MAX], type;
	char buf[PAYLOAD_MAX];
	size_t len;

	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	EXPECT_EQ(-ENOKEY, RESULT(send(self->fd, "x", 1, 0)));
	len = record_seal(&ours, DATA, "there", 5, record);
	ASSERT_EQ(0, send_all(self->tcp, record, len));
	EXPECT_EQ(5, peer_recv(&self->peer, &type, buf));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
	ASSERT_EQ(4, recv(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(0, memcmp(buf, "back", 4));
	EXPECT_EQ(-EBUSY, RESULT(recv(self->tcp, buf, 1, MSG_DONTWAIT)));
}

/* What came before the key is the first thing parsed: records and a part of one. */
TEST_F(carrier, data_before_key)
{
	struct keys from_start = self->peer.tx;
	uint8_t record[RECORD_MAX];
	char buf[PAYLOAD_MAX];
	size_t len;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "first", 5));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "second", 6));
	len = record_seal(&self->peer.tx, DATA, "third", 5, record);
	ASSERT_EQ(0, send_all(self->peer.fd, record, 9));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &from_start));
	EXPECT_TRUE(poll_now(self->fd, POLLIN) & POLLIN);
	ASSERT_EQ(0, send_all(self->peer.fd, record + 9, len - 9));
	ASSERT_EQ(16, recv_all(self->fd, buf, 16));
	EXPECT_EQ(0, memcmp(buf, "firstsecondthird", 16));
}

TEST_F(carrier, reading_is_ours)
{
	int pipes[2];
	char buf[8];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(-EBUSY, RESULT(recv(self->tcp, buf, 8, MSG_DONTWAIT)));
	EXPECT_EQ(-EBUSY, RESULT(recv(self->tcp, buf, 8, MSG_DONTWAIT | MSG_PEEK)));
	EXPECT_EQ(-EBUSY, RESULT(recv(self->tcp, buf, 8, MSG_DONTWAIT | MSG_TRUNC)));
	EXPECT_EQ(-EBUSY, RESULT(read(self->tcp, buf, 8)));
	EXPECT_EQ(-EBUSY, RESULT(splice(self->tcp, NULL, pipes[1], NULL, 8,
					SPLICE_F_NONBLOCK)));
	EXPECT_EQ(4, recv(self->fd, buf, sizeof(buf), 0));
}

struct reader {
	pthread_t thread;
	int fd;
	char buf[100];
	ssize_t result;
};

static void *read_it(void *arg)
{
	struct reader *r = arg;

	r->result = recv(r->fd, r->buf, sizeof(r->buf), 0);
	return NULL;
}

/* Who slept in a read of the carrier when the key came may still take what comes: it is noticed. */
TEST_F(carrier, read_beneath_us)
{
	long before = proc_counter("/proc/net/ktls_stat", "KtlsRxStolen");
	struct reader reader = { .fd = self->tcp };
	char buf[8];

	time_limit(self->tcp, 0);
	ASSERT_EQ(0, pthread_create(&reader.thread, NULL, read_it, &reader));
	poll(NULL, 0, 100);
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
	/* It is the end that wakes it. */
	shutdown(self->peer.fd, SHUT_WR);
	pthread_join(reader.thread, NULL);
	EXPECT_LT(0, reader.result);
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, buf, sizeof(buf), 0)));
	EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, buf, sizeof(buf), 0)));
	EXPECT_EQ(1, proc_counter("/proc/net/ktls_stat", "KtlsRxStolen") - before);
}

/* What TCP_ZEROCOPY_RECEIVE takes; the library's header may lack the end of it. */
struct zerocopy {
	uint64_t address;
	uint32_t length;
	uint32_t recv_skip_hint;
	uint32_t inq;
	int32_t err;
	uint64_t copybuf_address;
	int32_t copybuf_len;
	uint32_t flags;
};

/* TCP's own ways to the queue, and what would keep it from waking us. */
TEST_F(carrier, reading_by_options_is_ours)
{
	static uint8_t copy[4096];
	struct zerocopy zc = {
		.length = 4096, .copybuf_address = (uintptr_t)copy, .copybuf_len = sizeof(copy),
	};
	socklen_t len = sizeof(zc);
	int mark = 1000;
	void *map;

	map = mmap(NULL, 65536, PROT_READ, MAP_SHARED, self->tcp, 0);
	ASSERT_NE(MAP_FAILED, map);
	zc.address = (uintptr_t)map;
	EXPECT_EQ(0, RESULT(getsockopt(self->tcp, SOL_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len)));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "back", 4));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	EXPECT_EQ(-EBUSY, RESULT(getsockopt(self->tcp, SOL_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len)));
	EXPECT_EQ(-EBUSY, RESULT(setsockopt(self->tcp, SOL_SOCKET, SO_RCVLOWAT, &mark,
					    sizeof(mark))));
	EXPECT_EQ(4, recv(self->fd, copy, sizeof(copy), 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "more", 4));
	EXPECT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(4, recv(self->fd, copy, sizeof(copy), 0));
	munmap(map, 65536);
}

TEST_F(carrier, writing_is_ours)
{
	uint8_t type;
	int pipes[2];
	char buf[PAYLOAD_MAX];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4, write(pipes[1], "evil", 4));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	EXPECT_EQ(-EBUSY, RESULT(send(self->tcp, "x", 1, MSG_NOSIGNAL)));
	EXPECT_EQ(-EBUSY, RESULT(write(self->tcp, "x", 1)));
	EXPECT_EQ(-EBUSY, RESULT(send(self->tcp, "x", 1, MSG_OOB | MSG_NOSIGNAL)));
	EXPECT_EQ(-EBUSY, RESULT(splice(pipes[0], NULL, self->tcp, NULL, 4, 0)));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, buf));
}

TEST_F(carrier, stays_connected)
{
	struct sockaddr_storage unspec = { .ss_family = AF_UNSPEC };
	uint8_t type;
	char buf[PAYLOAD_MAX];

	EXPECT_GT(0, connect(self->tcp, (void *)&unspec, sizeof(unspec)));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	EXPECT_GT(0, connect(self->tcp, (void *)&unspec, sizeof(unspec)));
	EXPECT_GT(0, listen(self->tcp, 1));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	EXPECT_EQ(2, peer_recv(&self->peer, &type, buf));
}

/* TCP lets go of the connection by itself, and the descriptor is the program's. */
static void expect_no_listening(struct __test_metadata *_metadata, int tcp)
{
	struct sockaddr_storage unspec = { .ss_family = AF_UNSPEC };
	struct tcp_info info;
	socklen_t len = sizeof(info);

	ASSERT_TRUE(poll_wait(tcp, POLLIN) & POLLHUP);
	ASSERT_EQ(0, getsockopt(tcp, SOL_TCP, TCP_INFO, &info, &len));
	ASSERT_EQ(TCP_CLOSE, info.tcpi_state);
	EXPECT_EQ(-EINVAL, RESULT(listen(tcp, 1)));
	EXPECT_EQ(-EBUSY, RESULT(connect(tcp, (void *)&unspec, sizeof(unspec))));
	EXPECT_EQ(-EINVAL, RESULT(listen(tcp, 1)));
	EXPECT_EQ(-EINVAL, RESULT(accept(tcp, NULL, NULL)));
}

/* The carrier is as TCP made it, and so is what it accepts. */
static void expect_listening(struct __test_metadata *_metadata, int tcp)
{
	struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(addr), name_len;
	int client, accepted;
	char buf[16];

	ASSERT_EQ(0, connect(tcp, (void *)&addr, len));
	ASSERT_EQ(0, listen(tcp, 1));
	ASSERT_EQ(0, getsockname(tcp, (void *)&addr, &len));
	client = socket(addr.ss_family, SOCK_STREAM, 0);
	ASSERT_EQ(0, connect(client, (void *)&addr, len));
	accepted = accept(tcp, NULL, NULL);
	ASSERT_LE(0, accepted);
	name_len = sizeof(buf);
	ASSERT_EQ(0, getsockopt(accepted, SOL_TCP, TCP_ULP, buf, &name_len));
	EXPECT_EQ(0, name_len);
	ASSERT_EQ(5, send(accepted, "plain", 5, 0));
	EXPECT_EQ(5, recv_all(client, buf, 5));
	EXPECT_EQ(0, memcmp(buf, "plain", 5));
	ASSERT_EQ(4, send(client, "back", 4, 0));
	EXPECT_EQ(4, recv_all(accepted, buf, 4));
	close(accepted);
	close(client);
}

TEST_F(carrier, reset_then_detached)
{
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	abort_connection(&self->peer.fd);
	expect_no_listening(_metadata, self->tcp);
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	expect_listening(_metadata, self->tcp);
}

TEST_F(carrier, reset_then_closed)
{
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	abort_connection(&self->peer.fd);
	expect_no_listening(_metadata, self->tcp);
	close(self->fd);
	expect_listening(_metadata, self->tcp);
}

TEST_F(carrier, reset_without_keys)
{
	abort_connection(&self->peer.fd);
	expect_no_listening(_metadata, self->tcp);
	close(self->fd);
	expect_listening(_metadata, self->tcp);
}

TEST_F(carrier, takes_no_ulp)
{
	EXPECT_GT(0, setsockopt(self->tcp, IPPROTO_TCP, TCP_ULP, "tls", 4));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	EXPECT_GT(0, setsockopt(self->tcp, IPPROTO_TCP, TCP_ULP, "tls", 4));
}

/* The name as TCP gives it: none, ours, none again; as long as there is room. */
TEST_F(carrier, name_of_the_ulp)
{
	char name[16];
	socklen_t len;
	int keyed;

	for (keyed = 0; keyed < 2; keyed++) {
		if (keyed)
			ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
		len = sizeof(name);
		ASSERT_EQ(0, getsockopt(self->tcp, SOL_TCP, TCP_ULP, name, &len));
		EXPECT_EQ(sizeof(name), len);
		EXPECT_STREQ("af_ktls", name);
		len = 2;
		memset(name, '-', sizeof(name));
		ASSERT_EQ(0, getsockopt(self->tcp, SOL_TCP, TCP_ULP, name, &len));
		EXPECT_EQ(2, len);
		EXPECT_EQ(0, memcmp(name, "af--", 4));
	}
	EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->tcp, SOL_TCP, TCP_ULP, (void *)8, &len)));
	EXPECT_EQ(-EFAULT, RESULT(getsockopt(self->tcp, SOL_TCP, TCP_ULP, name, (void *)8)));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	len = sizeof(name);
	ASSERT_EQ(0, getsockopt(self->tcp, SOL_TCP, TCP_ULP, name, &len));
	EXPECT_EQ(0, len);
}

/* Closing our socket gives the carrier's calls back to whoever holds its descriptor. */
TEST_F(carrier, outlives_us)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.rx));
	ASSERT_EQ(0, tls_key(self->fd, TLS_RX, &self->peer.tx));
	close(self->fd);
	EXPECT_EQ(0, getsockname(self->tcp, (void *)&addr, &len));
	EXPECT_NE(-EBUSY, RESULT(recv(self->tcp, &addr, 1, MSG_DONTWAIT)));
}

TEST_HARNESS_MAIN
