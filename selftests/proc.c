// SPDX-License-Identifier: GPL-2.0-only
/* What is seen from outside: /proc/net/ktls, /proc/net/ktls_stat, fdinfo. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SOCKETS	"/proc/thread-self/net/ktls"
#define STAT	"/proc/thread-self/net/ktls_stat"

static uint8_t payload[PAYLOAD_MAX], data[40000];

/* A network namespace of its own, where nothing else is counted. */
FIXTURE(proc) { int fd; int carrier; struct peer peer; };
CIPHER_VARIANTS(proc);

FIXTURE_SETUP(proc)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS does this");
	ASSERT_EQ(0, own_network());
	ASSERT_EQ(0, tls_carrier_and_peer(variant->family, variant->cipher, &self->fd,
					  &self->carrier, &self->peer));
}

FIXTURE_TEARDOWN(proc)
{
	close(self->fd);
	close(self->carrier);
	peer_close(&self->peer);
}

static long stat_of(const char *name)
{
	return proc_counter(STAT, name);
}

/* A line of /proc/net/ktls. */
struct line {
	char type[16], state[16], version[16], cipher[32], local[64], remote[64];
	unsigned long txq, rxq, tx_records, rx_records, tx_bytes, rx_bytes, inode;
};

/* The line of a socket; how many lines there are, without the head; -1: malformed. */
static int sockets(int fd, struct line *found)
{
	FILE *file = fopen(SOCKETS, "r");
	char text[512];
	struct stat st;
	struct line l;
	int n = 0;

	fstat(fd, &st);
	memset(found, 0, sizeof(*found));
	if (!file || !fgets(text, sizeof(text), file) || strncmp(text, "type state ", 11))
		return -1;
	for (; fgets(text, sizeof(text), file); n++) {
		if (sscanf(text, "%15s %15s %15s %31s %63s %63s %lu %lu %lu %lu %lu %lu %lu",
			   l.type, l.state, l.version, l.cipher, l.local, l.remote, &l.txq, &l.rxq,
			   &l.tx_records, &l.rx_records, &l.tx_bytes, &l.rx_bytes, &l.inode) != 13)
			return -1;
		if (l.inode == st.st_ino)
			*found = l;
	}
	fclose(file);
	return n;
}

TEST_F(proc, states)
{
	struct line line;
	int fds[2], fd = socket(AF_KTLS, SOCK_STREAM, 0);

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	ASSERT_EQ(2, sockets(fd, &line));
	EXPECT_STREQ("stream", line.type);
	EXPECT_STREQ("UNBOUND", line.state);
	EXPECT_STREQ("-", line.cipher);
	EXPECT_STREQ("-", line.local);
	ASSERT_EQ(0, tls_bind(fd, fds[0]));
	ASSERT_EQ(2, sockets(fd, &line));
	EXPECT_STREQ("BOUND", line.state);
	ASSERT_EQ(0, tls_key(fd, TLS_RX, &self->peer.tx));
	ASSERT_EQ(2, sockets(fd, &line));
	EXPECT_STREQ("RX", line.state);
	EXPECT_STREQ(variant->cipher & TLS13 ? "1.3" : "1.2", line.version);
	ASSERT_EQ(0, tls_key(fd, TLS_TX, &self->peer.tx));
	ASSERT_EQ(2, sockets(fd, &line));
	EXPECT_STREQ("TX,RX", line.state);
	close(fd);
	EXPECT_EQ(1, sockets(self->fd, &line));
}

static const char *cipher_name(uint16_t cipher)
{
	switch (cipher & ~TLS13) {
	case TLS_CIPHER_AES_GCM_128: return "AES-128-GCM";
	case TLS_CIPHER_AES_GCM_256: return "AES-256-GCM";
	case TLS_CIPHER_AES_CCM_128: return "AES-128-CCM";
	default: return "CHACHA20-POLY1305";
	}
}

/* As the carrier's own name is written: 127.0.0.1:80, [::1]:80. */
static void write_name(int fd, bool peer, char *out, size_t room)
{
	struct sockaddr_in6 v6 = {};
	struct sockaddr_in *v4 = (void *)&v6;
	socklen_t len = sizeof(v6);

	if (peer)
		getpeername(fd, (void *)&v6, &len);
	else
		getsockname(fd, (void *)&v6, &len);
	if (v6.sin6_family == AF_INET6)
		snprintf(out, room, "[::1]:%u", ntohs(v6.sin6_port));
	else
		snprintf(out, room, "127.0.0.1:%u", ntohs(v4->sin_port));
}

TEST_F(proc, line_of_a_socket)
{
	struct line line;
	char name[64];
	uint8_t type;

	ASSERT_EQ(5, send(self->fd, "hello", 5, 0));
	ASSERT_EQ(5, peer_recv(&self->peer, &type, payload));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "abcdefg", 7));
	ASSERT_EQ(3, recv(self->fd, payload, 3, 0));
	ASSERT_EQ(1, sockets(self->fd, &line));
	EXPECT_STREQ(cipher_name(variant->cipher), line.cipher);
	write_name(self->carrier, false, name, sizeof(name));
	EXPECT_STREQ(name, line.local);
	write_name(self->carrier, true, name, sizeof(name));
	EXPECT_STREQ(name, line.remote);
	EXPECT_EQ(0, line.txq);
	EXPECT_EQ(4, line.rxq);
	EXPECT_EQ(1, line.tx_records);
	EXPECT_EQ(1, line.rx_records);
	EXPECT_EQ(5, line.tx_bytes);
	EXPECT_EQ(7, line.rx_bytes);
}

TEST_F(proc, many_sockets)
{
	struct line line;
	int i, fds[200];

	for (i = 0; i < 200; i++)
		fds[i] = socket(AF_KTLS, SOCK_STREAM, 0);
	ASSERT_EQ(201, sockets(fds[117], &line));
	EXPECT_STREQ("UNBOUND", line.state);
	for (i = 0; i < 200; i += 2)
		close(fds[i]);
	ASSERT_EQ(101, sockets(fds[117], &line));
	EXPECT_STREQ("UNBOUND", line.state);
	for (i = 1; i < 200; i += 2)
		close(fds[i]);
	EXPECT_EQ(1, sockets(self->fd, &line));
}

/* The column "sockets" of a protocol. */
static long protocol_sockets(const char *protocol)
{
	FILE *file = fopen("/proc/thread-self/net/protocols", "r");
	long sockets, found = -1;
	char name[32];

	while (file && fscanf(file, "%31s", name) == 1) {
		if (fscanf(file, "%*d %ld", &sockets) == 1 && !strcmp(name, protocol))
			found = sockets;
		if (fscanf(file, "%*[^\n]"))
			break;
	}
	if (file)
		fclose(file);
	return found;
}

TEST_F(proc, counted)
{
	int fds[10], i;

	EXPECT_EQ(1, protocol_sockets("AF_KTLS"));
	for (i = 0; i < 10; i++)
		fds[i] = socket(AF_KTLS, SOCK_STREAM, 0);
	EXPECT_EQ(11, protocol_sockets("AF_KTLS"));
	for (i = 0; i < 10; i++)
		close(fds[i]);
	EXPECT_EQ(1, protocol_sockets("AF_KTLS"));
}

/* Each namespace sees its own. */
TEST_F(proc, namespaces)
{
	struct line line;

	ASSERT_EQ(1, sockets(self->fd, &line));
	ASSERT_EQ(0, own_network());
	EXPECT_EQ(0, sockets(self->fd, &line));
	EXPECT_EQ(0, stat_of("KtlsCurrBound"));
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	EXPECT_EQ(0, stat_of("KtlsTxRecords"));
}

TEST_F(proc, current)
{
	EXPECT_EQ(1, stat_of("KtlsCurrBound"));
	EXPECT_EQ(1, stat_of("KtlsCurrTx"));
	EXPECT_EQ(1, stat_of("KtlsCurrRx"));
	ASSERT_EQ(0, setsockopt(self->fd, SOL_KTLS, KTLS_DETACH, NULL, 0));
	EXPECT_EQ(0, stat_of("KtlsCurrBound"));
	EXPECT_EQ(0, stat_of("KtlsCurrTx"));
	EXPECT_EQ(0, stat_of("KtlsCurrRx"));
	ASSERT_EQ(0, tls_bind(self->fd, self->carrier));
	EXPECT_EQ(1, stat_of("KtlsCurrBound"));
	EXPECT_EQ(0, stat_of("KtlsCurrTx"));
	ASSERT_EQ(0, tls_key(self->fd, TLS_TX, &self->peer.tx));
	EXPECT_EQ(1, stat_of("KtlsCurrTx"));
	EXPECT_EQ(0, stat_of("KtlsCurrRx"));
	EXPECT_EQ(2, stat_of("KtlsTxKeys"));
	EXPECT_EQ(1, stat_of("KtlsRxKeys"));
	close(self->fd);
	EXPECT_EQ(0, stat_of("KtlsCurrBound"));
	EXPECT_EQ(0, stat_of("KtlsCurrTx"));
}

TEST_F(proc, traffic)
{
	/* CCM visits the plaintext twice, so that nobody may change it meanwhile. */
	bool by_reference = variant->cipher != TLS_CIPHER_AES_CCM_128;
	int file = memfd_create("proc", 0);
	uint8_t type;

	fill(data, sizeof(data), 0);
	ASSERT_EQ(20000, send(self->fd, data, 20000, 0));
	ASSERT_EQ(20000, peer_drain(&self->peer, 20000));
	ASSERT_EQ(3, send_type(self->fd, HANDSHAKE, "abc", 3, 0));
	ASSERT_EQ(3, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(3, stat_of("KtlsTxRecords"));
	EXPECT_EQ(20003, stat_of("KtlsTxBytes"));
	EXPECT_EQ(1, stat_of("KtlsTxControl"));
	EXPECT_EQ(0, stat_of("KtlsTxSpliced"));
	ASSERT_EQ(10000, write(file, data, 10000));
	lseek(file, 0, SEEK_SET);
	ASSERT_EQ(10000, sendfile(self->fd, file, NULL, 10000));
	EXPECT_EQ(by_reference, stat_of("KtlsTxSpliced") > 0);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, data, 16384));
	ASSERT_EQ(16384, recv(self->fd, payload, sizeof(payload), MSG_WAITALL));
	/* Only then is it known to be data. */
	EXPECT_EQ(by_reference, stat_of("KtlsRxDirect"));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\132", 2));
	ASSERT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(2, stat_of("KtlsRxRecords"));
	EXPECT_EQ(16386, stat_of("KtlsRxBytes"));
	EXPECT_EQ(1, stat_of("KtlsRxControl"));
}

TEST_F(proc, bad_records)
{
	static const struct { const char *counter, *bytes; size_t len; } bad[] = {
		{ "KtlsRxBadLength", "\x17\x03\x03\xff\xff", 5 },
		{ "KtlsRxBadLength", "\x17\x03\x03\x00\x01x", 6 },
		{ "KtlsRxBadVersion", "\x17\x03\x01\x00\x40", 5 },
	};
	static const long counts[] = { 1, 2, 1 };
	size_t i, len;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct peer peer;
		int fd;

		/* rfc8446 5.1: ignored. */
		if ((variant->cipher & TLS13) && !strcmp(bad[i].counter, "KtlsRxBadVersion"))
			continue;
		ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
		ASSERT_EQ(0, send_all(peer.fd, bad[i].bytes, bad[i].len));
		EXPECT_GT(0, recv(fd, payload, 100, 0));
		EXPECT_GT(0, recv(fd, payload, 100, 0));
		EXPECT_EQ(counts[i], stat_of(bad[i].counter));
		close(fd);
		peer_close(&peer);
	}
	len = record_seal(&self->peer.tx, DATA, "data", 4, data);
	data[len - 1] ^= 1;
	ASSERT_EQ(0, send_all(self->peer.fd, data, len));
	EXPECT_GT(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(1, stat_of("KtlsRxBadTag"));
}

TEST_F(proc, ends)
{
	struct peer peer;
	int fd;

	EXPECT_EQ(0, stat_of("KtlsRxTruncated"));
	shutdown(self->peer.fd, SHUT_WR);
	ASSERT_EQ(0, recv(self->fd, payload, 100, 0));
	ASSERT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(1, stat_of("KtlsRxTruncated"));
	ASSERT_EQ(0, tls_and_peer(variant->family, variant->cipher, &fd, &peer));
	abort_connection(&peer.fd);
	ASSERT_EQ(-ECONNRESET, RESULT(recv(fd, payload, 100, 0)));
	EXPECT_EQ(1, stat_of("KtlsCarrierError"));
	EXPECT_EQ(1, stat_of("KtlsRxTruncated"));
	close(fd);
}

/* No two lines with one name, each a name and a number. */
TEST_F(proc, stat_is_well_formed)
{
	char text[256], names[128][64];
	FILE *file = fopen(STAT, "r");
	int n = 0, i;
	long value;

	ASSERT_NE(NULL, file);
	while (fgets(text, sizeof(text), file)) {
		ASSERT_GT(128, n);
		ASSERT_EQ(2, sscanf(text, "Ktls%63s %ld", names[n], &value)) TH_LOG("%s", text);
		EXPECT_LE(0, value);
		for (i = 0; i < n; i++)
			EXPECT_STRNE(names[i], names[n]);
		n++;
	}
	EXPECT_LT(20, n);
	fclose(file);
}

TEST_F(proc, fdinfo)
{
	char path[64], text[1024] = {};
	uint8_t type;
	int file;

	ASSERT_EQ(5, send(self->fd, "hello", 5, 0));
	ASSERT_EQ(5, peer_recv(&self->peer, &type, payload));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	file = open(path, O_RDONLY);
	ASSERT_LT(0, read(file, text, sizeof(text) - 1));
	EXPECT_NE(NULL, strstr(text, "ktls-state:\tTX,RX\n"));
	EXPECT_NE(NULL, strstr(text, "ktls-tx:\t1 records, 5 bytes\n"));
	EXPECT_NE(NULL, strstr(text, "ktls-rx:\t0 records, 0 bytes\n"));
	EXPECT_NE(NULL, strstr(text, "ktls-flags:\t0x7\n"));
	EXPECT_EQ(NULL, strstr(text, "key"));
}

/* Anybody may look, nobody may write. */
TEST_F(proc, permissions)
{
	struct stat st;

	ASSERT_EQ(0, stat(SOCKETS, &st));
	EXPECT_EQ(0444, st.st_mode & 0777);
	ASSERT_EQ(0, stat(STAT, &st));
	EXPECT_EQ(0444, st.st_mode & 0777);
}

/* The module stays while there is a socket. */
TEST_F(proc, module_in_use)
{
	EXPECT_GT(0, syscall(SYS_delete_module, "af_ktls", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_EQ(4, send(self->fd, "data", 4, 0));
}

TEST_HARNESS_MAIN
