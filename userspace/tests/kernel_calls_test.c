// SPDX-License-Identifier: MIT
/*
 * The library's calls as a program uses them on a connection in the kernel: blocking, with
 * signals, from two threads. Skipped where the kernel cannot carry TLS 1.2.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "link.h"
#include "tap.h"

#define BIG	(4 << 20)

static char big[BIG];

/* Both ends ours, blocking, each in a thread. */
struct end {
	SSL_CTX *ctx;
	int fd;
	int is_server;
	struct ktls_conn *conn;
	char error[256];
	char data[1000];	/* of check_info */
	size_t received;
	ssize_t sent;
	int good;
};

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void *shake(void *arg)
{
	struct end *e = arg;

	if (e->is_server)
		e->conn = ktls_accept(e->ctx, e->fd, KTLS_REQUIRE_KERNEL);
	else
		e->conn = ktls_connect(e->ctx, e->fd, "localhost", KTLS_REQUIRE_KERNEL);
	if (!e->conn)
		snprintf(e->error, sizeof(e->error), "%s", ktls_last_error());
	close(e->fd);
	return NULL;
}

static void note_alarm(int signal)
{
	(void)signal;
}

/* 0: no more alarms. */
static void set_alarm(int interval_us)
{
	struct itimerval t = { { 0, interval_us }, { 0, interval_us } };
	struct sigaction action = { .sa_handler = note_alarm };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* Handshakes of both ends at once, the client's in this thread, with alarms all the while. */
static int connect_among_alarms(struct pair *ctx, struct end end[2], int interval_us)
{
	pthread_t thread;
	int fd[2], i;

	memset(end, 0, 2 * sizeof(*end));
	if (make_tcp(fd))
		return -1;
	for (i = 0; i < 2; i++) {
		fcntl(fd[i], F_SETFL, 0);
		end[i] = (struct end){ .fd = fd[i], .is_server = i,
				       .ctx = i ? ctx->server_ctx : ctx->client_ctx };
	}
	set_alarm(interval_us);
	pthread_create(&thread, NULL, shake, &end[1]);
	shake(&end[0]);
	pthread_join(thread, NULL);
	set_alarm(0);
	return end[0].conn && end[1].conn ? 0 : -1;
}

static int connect_ends(struct pair *ctx, struct end end[2])
{
	return connect_among_alarms(ctx, end, 0);
}

static void close_ends(struct end end[2])
{
	ktls_close(end[0].conn);
	ktls_close(end[1].conn);
}

static int choose_first(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			const unsigned char *in, unsigned int in_len, void *arg)
{
	(void)ssl;
	(void)in_len;
	(void)arg;
	*out_len = in[0];
	*out = in + 1;
	return SSL_TLSEXT_ERR_OK;
}

static void check_info(struct pair *ctx)
{
	struct end end[2];
	size_t len;
	X509 *cert;

	SSL_CTX_set_alpn_protos(ctx->client_ctx, (const unsigned char *)"\3abc\2de", 7);
	SSL_CTX_set_alpn_select_cb(ctx->server_ctx, choose_first, NULL);
	ok(!connect_ends(ctx, end), "blocking handshakes %s%s", end[0].error, end[1].error);
	if (!end[0].conn || !end[1].conn)
		return;
	ok(ktls_in_kernel(end[0].conn) && ktls_in_kernel(end[1].conn) &&
	   !ktls_why_not(end[0].conn)[0] && ktls_fd(end[0].conn) >= 0, "both in the kernel");
	ok(!strcmp(ktls_version(end[0].conn), "TLSv1.2") &&
	   !strcmp(ktls_cipher(end[1].conn), suites[0].name), "version and cipher");
	ok(!strcmp(ktls_server_name(end[1].conn), "localhost"), "SNI");
	ok(!memcmp(ktls_alpn(end[0].conn, &len), "abc", 3) && len == 3, "ALPN");
	cert = ktls_peer_certificate(end[0].conn);
	ok(cert && X509_check_host(cert, "localhost", 0, 0, NULL) == 1, "the peer's certificate");
	X509_free(cert);
	ok(ktls_verify_result(end[0].conn) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
	   "and that nobody vouches for it");
	ok(fcntl(ktls_fd(end[0].conn), F_GETFD) & FD_CLOEXEC, "the descriptor does not survive exec");
	ok(!(fcntl(ktls_fd(end[0].conn), F_GETFL) & O_NONBLOCK), "and blocks as the TCP socket did");
	close_ends(end);
}

static void *receive_all(void *arg)
{
	struct end *e = arg;
	char buf[65536];
	ssize_t n;

	e->good = 1;
	while ((n = ktls_recv(e->conn, buf, sizeof(buf), 0)) > 0) {
		e->good = e->good && !memcmp(big + e->received, buf, (size_t)n);
		e->received += (size_t)n;
	}
	if (n < 0)
		snprintf(e->error, sizeof(e->error), "%s", ktls_error(e->conn));
	return NULL;
}

static void *send_all(void *arg)
{
	struct end *e = arg;
	size_t done = 0;
	ssize_t n = 0;

	while (done < BIG && (n = ktls_send(e->conn, big + done, BIG - done, 0)) > 0)
		done += (size_t)n;
	ktls_shutdown(e->conn);
	return NULL;
}

/* Each end is used by two threads. */
static void check_threads(struct pair *ctx)
{
	pthread_t thread[4];
	struct end end[2];
	int i;

	ok(!connect_ends(ctx, end), "threads: connected");
	for (i = 0; i < 2; i++) {
		pthread_create(&thread[i], NULL, receive_all, &end[i]);
		pthread_create(&thread[2 + i], NULL, send_all, &end[i]);
	}
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < 2; i++)
		ok(end[i].good && end[i].received == BIG, "threads: %zu bytes received %s",
		   end[i].received, end[i].error);
	close_ends(end);
}

static void check_signals(struct pair *ctx)
{
	struct end end[2];
	int i, good = 0;
	char c;

	for (i = 0; i < 20; i++) {
		good += !connect_among_alarms(ctx, end, 1000);
		close_ends(end);
	}
	ok(good == 20, "signals: %d of 20 handshakes", good);
	ok(!connect_ends(ctx, end), "signals: connected");
	set_alarm(20000);
	ok(ktls_recv(end[0].conn, &c, 1, 0) == -EINTR, "signals: ktls_recv is interrupted");
	set_alarm(0);
	ok(ktls_send(end[1].conn, "x", 1, 0) == 1 && ktls_recv(end[0].conn, &c, 1, 0) == 1 &&
	   c == 'x', "signals: and goes on");
	close_ends(end);
}

static void check_sigpipe(struct pair *ctx)
{
	int file = open("/proc/self/exe", O_RDONLY);
	struct end end[2];
	off_t offset = 0;
	sigset_t pending;

	ok(!connect_ends(ctx, end), "SIGPIPE: connected");
	/* Behind the library's back, so that it asks the kernel. */
	shutdown(ktls_fd(end[0].conn), SHUT_WR);
	ok(ktls_sendfile(end[0].conn, file, &offset, 100) == -EPIPE && offset == 0,
	   "SIGPIPE: not by ktls_sendfile");
	ok(ktls_send(end[0].conn, "x", 1, 0) == -EPIPE, "SIGPIPE: not by ktls_send");
	sigpending(&pending);
	ok(!sigismember(&pending, SIGPIPE), "SIGPIPE: nor later");
	close(file);
	close_ends(end);
}

static size_t receive_exactly(struct end *e, char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len && (n = ktls_recv(e->conn, buf + done, len - done, 0)) > 0)
		done += (size_t)n;
	return done;
}

static void *send_file(void *arg)
{
	struct end *e = arg;
	int file = memfd_create("big", MFD_CLOEXEC);
	off_t offset = 0;

	if (write(file, big, BIG) == BIG)
		e->sent = ktls_sendfile(e->conn, file, &offset, BIG);
	close(file);
	return NULL;
}

/* The connection is shut down in the middle of a long sendfile: no buffer holds the rest. */
static void check_cut(struct pair *ctx)
{
	char buf[20000];
	struct end end[2];
	pthread_t thread;

	ok(!connect_ends(ctx, end), "cut: connected");
	pthread_create(&thread, NULL, send_file, &end[0]);
	receive_exactly(&end[1], buf, sizeof(buf));
	shutdown(ktls_fd(end[0].conn), SHUT_WR);
	pthread_join(thread, NULL);
	ok(end[0].sent > 0 && end[0].sent < BIG, "cut: %zd bytes and no SIGPIPE", end[0].sent);
	close_ends(end);
}

static void check_sendfile(struct pair *ctx)
{
	int file = open("/proc/self/exe", O_RDONLY), proc = open("/proc/self/status", O_RDONLY);
	char expect[20000], buf[20000];
	struct end end[2];
	off_t offset = 3;
	ssize_t n;

	ok(!connect_ends(ctx, end), "sendfile: connected");
	n = pread(file, expect, sizeof(expect), 3);
	ok(ktls_sendfile(end[0].conn, file, &offset, sizeof(expect)) == n && offset == 3 + n &&
	   receive_exactly(&end[1], buf, (size_t)n) == (size_t)n && !memcmp(buf, expect, (size_t)n),
	   "sendfile: from an offset");
	ok(ktls_sendfile(end[0].conn, file, NULL, 100) == 100 && lseek(file, 0, SEEK_CUR) == 100 &&
	   receive_exactly(&end[1], buf, 100) == 100, "sendfile: at the file's position");
	n = ktls_sendfile(end[0].conn, proc, NULL, sizeof(buf));
	ok(n > 100 && receive_exactly(&end[1], buf, (size_t)n) == (size_t)n,
	   "sendfile: from /proc: %zd", n);
	ok(ktls_sendfile(end[0].conn, -1, NULL, 1) == -EBADF, "sendfile: from nothing: %s",
	   ktls_error(end[0].conn));
	close(file);
	close(proc);
	close_ends(end);
}

/* The descriptor is a socket as any other: the library's state does not mind. */
static void check_plain_calls(struct pair *ctx)
{
	struct end end[2];
	char c;

	ok(!connect_ends(ctx, end), "plain: connected");
	ok(write(ktls_fd(end[0].conn), "a", 1) == 1 && read(ktls_fd(end[1].conn), &c, 1) == 1 &&
	   c == 'a', "plain: write and read");
	ok(send(ktls_fd(end[0].conn), "b", 1, MSG_MORE) == 1 &&
	   ktls_send(end[0].conn, "c", 1, 0) == 1 && receive_exactly(&end[1], end[1].data, 2) == 2,
	   "plain: mixed with the library's");
	ok(!ktls_shutdown(end[0].conn) && read(ktls_fd(end[1].conn), &c, 1) == 0,
	   "plain: close_notify is the end for read(2)");
	close_ends(end);
}

int main(void)
{
	struct pair ctx;
	const char *why;
	int fds;
	size_t i;

	if (!(ktls_available(&why) & KTLS_CAN_TLS12))
		return tap_skip(why);
	signal(SIGPIPE, SIG_DFL);
	for (i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	pair_init(&ctx, suites[0].name, suites[0].ec);
	fds = count_fds();
	check_info(&ctx);
	check_threads(&ctx);
	check_signals(&ctx);
	check_sigpipe(&ctx);
	check_cut(&ctx);
	check_sendfile(&ctx);
	check_plain_calls(&ctx);
	ok(count_fds() == fds, "no descriptor is left");
	pair_free(&ctx);
	return tap_done();
}
