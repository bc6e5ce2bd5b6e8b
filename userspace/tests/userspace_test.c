// SPDX-License-Identifier: MIT
/* Connections that stay in userspace: what libktls(3) promises of its calls. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"
#include "tap.h"

#define BIG	(3 * 1024 * 1024 + 17)

static char big[BIG], got[BIG];

static void fill(void)
{
	size_t i;

	for (i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
}

/* Moves what one side sends through until all is there. */
static size_t pump(struct pair *pair, int file)
{
	size_t sent = 0, received = 0;
	off_t offset = 0;
	ssize_t n;
	int idle = 0;

	while (received < BIG && idle < 1000) {
		if (sent == BIG)
			n = ktls_step(pair->client);
		else if (file >= 0)
			n = ktls_sendfile(pair->client, file, &offset, BIG - sent);
		else
			n = ktls_send(pair->client, big + sent, BIG - sent, 0);
		if (n > 0)
			sent += (size_t)n;
		while ((n = ktls_recv(pair->server, got + received, BIG - received, 0)) > 0) {
			received += (size_t)n;
			idle = 0;
		}
		idle++;
	}
	return received;
}

static void check_transfer(struct pair *pair, const char *what)
{
	int file = memfd_create("big", MFD_CLOEXEC);
	char small[10];

	ok(pump(pair, -1) == BIG && !memcmp(big, got, BIG), "%s: 3 MiB by ktls_send", what);
	memset(got, 0, BIG);
	ok(write(file, big, BIG) == BIG && pump(pair, file) == BIG && !memcmp(big, got, BIG),
	   "%s: 3 MiB by ktls_sendfile", what);
	close(file);

	ok(ktls_send(pair->client, big, 100, 0) == 100 &&
	   ktls_recv(pair->server, small, 10, 0) == 10 && ktls_pending(pair->server) == 90,
	   "%s: ktls_pending tells the rest of a record", what);
	ok(ktls_recv(pair->server, got, BIG, MSG_DONTWAIT) == 90 &&
	   ktls_pending(pair->server) == 0 && ktls_recv(pair->server, got, BIG, 0) == -EAGAIN,
	   "%s: then nothing waits: EAGAIN", what);
	ok(ktls_recv(pair->server, got, 1, MSG_OOB) == -EINVAL, "%s: an unknown flag", what);
}

static void check_close(struct pair *pair, const char *what)
{
	char c;

	ok(!ktls_shutdown(pair->client) && ktls_send(pair->client, "x", 1, 0) == -EPIPE,
	   "%s: after ktls_shutdown nothing is sent", what);
	ok(ktls_recv(pair->server, &c, 1, 0) == 0 && !ktls_truncated(pair->server),
	   "%s: close_notify is the end, not truncated", what);
	ok(ktls_recv(pair->server, &c, 1, 0) == 0, "%s: and stays so", what);
	ok(ktls_send(pair->server, "late", 4, 0) == 4 && ktls_recv(pair->client, &c, 1, 0) == 1 &&
	   c == 'l', "%s: the other direction goes on", what);
	pair_disconnect(pair);
}

static void check_truncation(struct pair *pair, const char *what)
{
	char c;

	if (pair_connect(pair, NULL, KTLS_USERSPACE))
		return;
	shutdown(pair->fd[0], SHUT_WR);
	ok(ktls_recv(pair->server, &c, 1, 0) == 0 && ktls_truncated(pair->server),
	   "%s: FIN without close_notify is truncation", what);
	close(pair->fd[0]);
	close(pair->client->wire.fd);
	pair->client->wire.fd = -1;
	/* An unhandled SIGPIPE would end the test here. */
	(void)ktls_send(pair->server, "x", 1, 0);
	ok(ktls_send(pair->server, "x", 1, 0) < 0 && ktls_error(pair->server)[0],
	   "%s: sending to nobody: %s", what, ktls_error(pair->server));
	pair->fd[0] = -1;
	pair_disconnect(pair);
}

static void check_version(const char *what, int version)
{
	struct pair pair;
	int ret;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	SSL_CTX_set_max_proto_version(pair.client_ctx, version);
	ret = pair_connect(&pair, NULL, KTLS_USERSPACE);
	ok(!ret && !strcmp(ktls_version(pair.client), what) && !ktls_in_kernel(pair.client) &&
	   ktls_fd(pair.client) == -1 && ktls_why_not(pair.client)[0] &&
	   !strcmp(ktls_server_name(pair.server), "localhost"), "%s: connected", what);
	/* The duplicate carries on when the program closes its descriptor. */
	close(pair.fd[0]);
	pair.fd[0] = -1;
	check_transfer(&pair, what);
	check_close(&pair, what);
	check_truncation(&pair, what);
	pair_free(&pair);
}

static void check_renegotiation(void)
{
	struct pair pair;
	char c;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	pair_connect(&pair, NULL, KTLS_USERSPACE);
	SSL_clear_options(pair.client->ssl, SSL_OP_NO_RENEGOTIATION);
	SSL_renegotiate(pair.client->ssl);
	SSL_do_handshake(pair.client->ssl);
	ktls_step(pair.client);
	ok(ktls_recv(pair.server, &c, 1, 0) == -EAGAIN, "renegotiation: the server goes on");
	ok(ktls_recv(pair.client, &c, 1, 0) == -EPROTO, "renegotiation: refused: %s",
	   ktls_error(pair.client));
	pair_disconnect(&pair);
	pair_free(&pair);
}

static void check_failures(void)
{
	struct pair pair;
	int ret;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	SSL_CTX_set_verify(pair.client_ctx, SSL_VERIFY_PEER, NULL);
	ret = pair_connect(&pair, NULL, KTLS_USERSPACE);
	ok(ret == -EPROTO && strstr(ktls_error(pair.client), "certificate"), "unknown issuer: %s",
	   ktls_error(pair.client));
	ktls_step(pair.server);
	ok(ktls_step(pair.server) == -EPROTO, "and the server is told: %s", ktls_error(pair.server));
	ok(ktls_send(pair.client, "x", 1, 0) == -ENOTCONN, "no data without a handshake");
	pair_disconnect(&pair);

	SSL_CTX_set_verify(pair.client_ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_cipher_list(pair.client_ctx, "AES256-SHA");
	ret = pair_connect(&pair, NULL, KTLS_USERSPACE);
	ok(ret == -EPROTO && strstr(ktls_error(pair.server), "cipher"), "no common cipher: %s",
	   ktls_error(pair.server));
	pair_disconnect(&pair);

	ok(!ktls_new(pair.client_ctx, -1, 0, NULL, KTLS_USERSPACE) && errno == EBADF,
	   "no socket: %s", ktls_last_error());
	pair_free(&pair);
}

static void check_strangers(void)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
	struct ktls_conn *conn;
	struct pair pair;
	int fd[2], ret;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	conn = ktls_new(pair.server_ctx, fd[0], 1, NULL, KTLS_USERSPACE);
	ok(ktls_step(conn) == -EAGAIN && ktls_events(conn) == POLLIN,
	   "a step never waits, on a blocking socket too");
	ok(ktls_handshake(conn, 10) == -ETIMEDOUT, "a silent peer: %s", ktls_error(conn));
	ret = send(fd[1], http, sizeof(http) - 1, 0) > 0 ? ktls_step(conn) : 0;
	ok(ret == -EPROTO && strstr(ktls_error(conn), "HTTP"), "plain HTTP: %s", ktls_error(conn));
	ok(ktls_step(conn) == -EPROTO, "and it stays failed");
	ktls_close(conn);
	conn = ktls_new(pair.server_ctx, fd[0], 1, NULL, KTLS_USERSPACE);
	close(fd[1]);
	ok(ktls_step(conn) == -ECONNRESET, "a peer that leaves: %s", ktls_error(conn));
	ktls_close(conn);
	close(fd[0]);

	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	conn = ktls_new(pair.client_ctx, fd[0], 0, "localhost", KTLS_USERSPACE);
	ret = send(fd[1], ssh, sizeof(ssh) - 1, 0) > 0 ? ktls_handshake(conn, 10000) : 0;
	ok(ret == -EPROTO && strstr(ktls_error(conn), "does not speak TLS"), "SSH: %s",
	   ktls_error(conn));
	ktls_close(conn);
	close(fd[0]);
	close(fd[1]);
	pair_free(&pair);
}

/* A third party that hands on one byte at a time: records arrive in every possible cut. */
static void check_dribble(void)
{
	int a[2], b[2], c = -EAGAIN, s = -EAGAIN, i;
	struct pair pair;
	char byte;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b);
	pair.client = ktls_new(pair.client_ctx, a[0], 0, NULL, KTLS_USERSPACE);
	pair.server = ktls_new(pair.server_ctx, b[0], 1, NULL, KTLS_USERSPACE);
	for (i = 0; i < 100000 && (c || s); i++) {
		c = ktls_step(pair.client);
		s = ktls_step(pair.server);
		if (recv(a[1], &byte, 1, 0) == 1)
			(void)!send(b[1], &byte, 1, 0);
		if (recv(b[1], &byte, 1, 0) == 1)
			(void)!send(a[1], &byte, 1, 0);
	}
	ok(!c && !s, "a handshake byte by byte: %d steps", i);
	ok(pair.server->wire.rx.seq == 1 && pair.server->wire.tx.seq == 1 &&
	   ktls_flow_is_whole(&pair.client->wire.rx), "one sealed record counted each way");
	pair.fd[0] = a[0];
	pair.fd[1] = b[0];
	pair_disconnect(&pair);
	close(a[1]);
	close(b[1]);
	pair_free(&pair);
}

/* Answers that a peer provokes and does not take: they must not pile up. */
static void check_answers(void)
{
	static const char junk[100000];
	struct pair pair;
	char c;

	pair_init(&pair, "ECDHE+AESGCM", 1);
	pair_connect(&pair, NULL, KTLS_USERSPACE);
	while (send(pair.fd[1], junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	BIO_write(pair.server->wire.wbio, junk, 50000);
	ok(ktls_recv(pair.server, &c, 1, 0) == -EAGAIN, "some answers wait");
	BIO_write(pair.server->wire.wbio, junk, 50000);
	ok(ktls_recv(pair.server, &c, 1, 0) == -EPROTO, "too many end it: %s",
	   ktls_error(pair.server));
	pair_disconnect(&pair);
	pair_free(&pair);
}

int main(void)
{
	signal(SIGPIPE, SIG_DFL);
	fill();
	check_version("TLSv1.2", TLS1_2_VERSION);
	check_version("TLSv1.3", TLS1_3_VERSION);
	check_renegotiation();
	check_failures();
	check_strangers();
	check_dribble();
	check_answers();
	return tap_done();
}
