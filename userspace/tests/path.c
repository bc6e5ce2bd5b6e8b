// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "path.h"

#define PATIENCE_MS	30000
#define TIMER_US	100000	/* the client's first; the server's is OpenSSL's second */

int udp_new(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		perror("# bind");
	return fd;
}

void udp_join(int fd, int to)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	if (getsockname(to, (struct sockaddr *)&addr, &len) ||
	    connect(fd, (struct sockaddr *)&addr, len))
		perror("# connect");
}

/* ---- the path ---- */

static void pass(struct path *p, int from, const char *data, size_t len)
{
	uint64_t bit = 1ULL << (p->passed[from]++ % 64);
	int to = from == FROM_CLIENT ? p->far : p->near;

	if (p->lost[from] & bit)
		return;
	if (p->late[from] & bit || (from == FROM_CLIENT && p->late_type &&
				    (uint8_t)data[0] == p->late_type)) {
		p->late_type = 0;
		memcpy(p->held[from], data, len);
		p->held_len[from] = len;
		return;
	}
	(void)!send(to, data, len, 0);
	if (p->held_len[from])
		(void)!send(to, p->held[from], p->held_len[from], 0);
	p->held_len[from] = 0;
}

void path_move(struct path *p)
{
	char buf[65536];
	ssize_t n;

	while ((n = recv(p->near, buf, sizeof(buf), 0)) > 0)
		pass(p, FROM_CLIENT, buf, (size_t)n);
	while ((n = recv(p->far, buf, sizeof(buf), 0)) > 0)
		pass(p, FROM_SERVER, buf, (size_t)n);
}

void path_mend(struct path *p)
{
	memset(p->lost, 0, sizeof(p->lost));
	memset(p->late, 0, sizeof(p->late));
	p->late_type = 0;
}

/* ---- the meeting ---- */

static unsigned int client_timer(SSL *ssl, unsigned int us)
{
	(void)ssl;
	return us ? 2 * us : TIMER_US;
}

int meeting_init(struct meeting *m, const char *ciphers, int ec, unsigned int flags)
{
	*m = (struct meeting){ .flags = flags };
	m->client_ctx = SSL_CTX_new(DTLS_client_method());
	m->server_ctx = SSL_CTX_new(DTLS_server_method());
	pair_equip(m->client_ctx, ec);
	pair_equip(m->server_ctx, ec);
	if (SSL_CTX_set_cipher_list(m->client_ctx, ciphers) != 1 ||
	    SSL_CTX_set_cipher_list(m->server_ctx, ciphers) != 1)
		return -EINVAL;
	m->udp[1] = udp_new();
	m->path.far = udp_new();
	udp_join(m->path.far, m->udp[1]);
	m->listener = ktls_listen(m->server_ctx, m->udp[1], flags);
	return m->listener ? 0 : -errno;
}

int meeting_begin(struct meeting *m, SSL_SESSION *session)
{
	m->udp[0] = udp_new();
	m->path.near = udp_new();
	udp_join(m->udp[0], m->path.near);
	udp_join(m->path.near, m->udp[0]);
	memset(m->path.passed, 0, sizeof(m->path.passed));
	m->client = ktls_new(m->client_ctx, m->udp[0], 0, "localhost", m->flags);
	if (!m->client)
		return -errno;
	DTLS_set_timer_cb(ktls_ssl(m->client), client_timer);
	if (session)
		SSL_set_session(ktls_ssl(m->client), session);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Until something can go on, on either side or between. */
static void wait_for_any(struct meeting *m)
{
	struct pollfd pfd[] = {
		{ .fd = ktls_poll_fd(m->client), .events = POLLIN },
		{ .fd = m->server ? ktls_poll_fd(m->server) : -1, .events = POLLIN },
		{ .fd = m->udp[1], .events = POLLIN },
		{ .fd = m->path.near, .events = POLLIN },
		{ .fd = m->path.far, .events = POLLIN },
	};
	int wait = sooner(ktls_timeout(m->client), ktls_listener_timeout(m->listener));

	poll(pfd, 5, sooner(wait, PATIENCE_MS));
}

/* The server's side; what it reads is nobody's yet. */
static void attend(struct meeting *m)
{
	struct ktls_conn *conn = ktls_listener_accept(m->listener, 0);

	if (!conn && errno != EAGAIN)
		printf("# %s\n", ktls_last_error());
	if (conn && m->server)
		ktls_close(m->server);
	if (conn)
		m->server = conn;
}

void meeting_pass(struct meeting *m)
{
	path_move(&m->path);
	attend(m);
	path_move(&m->path);
	wait_for_any(m);
}

int meeting_settle(struct meeting *m)
{
	int64_t end = now_ms() + PATIENCE_MS;
	char none[1];
	int ret;

	for (;;) {
		ret = ktls_step(m->client);
		path_move(&m->path);
		attend(m);
		path_move(&m->path);
		if (ret && ret != -EAGAIN)
			return ret;
		if (!ret && m->server)
			return 0;
		/* Whose last flight was lost hears of it by reading. */
		if (m->server && ktls_recv(m->server, none, 1, MSG_DONTWAIT) != -EAGAIN)
			return -EPROTO;
		if (!ret && ktls_recv(m->client, none, 1, MSG_DONTWAIT) != -EAGAIN)
			return -EPROTO;
		path_move(&m->path);
		if (now_ms() > end)
			return -ETIMEDOUT;
		wait_for_any(m);
	}
}

int meeting_connect(struct meeting *m, SSL_SESSION *session)
{
	int ret = meeting_begin(m, session);

	return ret ? ret : meeting_settle(m);
}

ssize_t meeting_receive(struct meeting *m, struct ktls_conn *to, char *buf, size_t len)
{
	int64_t end = now_ms() + PATIENCE_MS;
	ssize_t n;

	do {
		path_move(&m->path);
		attend(m);
		n = ktls_recv(to, buf, len, MSG_DONTWAIT);
		if (n != -EAGAIN)
			return n;
		wait_for_any(m);
	} while (now_ms() < end);
	return -ETIMEDOUT;
}

int meeting_carry(struct meeting *m, struct ktls_conn *from, struct ktls_conn *to, size_t len)
{
	static char out[65536], in[65536];
	ssize_t n;
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (char)(i * 7 + len);
	n = ktls_send(from, out, len, 0);
	if (n != (ssize_t)len) {
		printf("# sending %zu: %zd %s\n", len, n, ktls_error(from));
		return 0;
	}
	n = meeting_receive(m, to, in, sizeof(in));
	if (n != (ssize_t)len)
		printf("# receiving %zu: %zd %s\n", len, n, ktls_error(to));
	return n == (ssize_t)len && !memcmp(in, out, len);
}

void meeting_part(struct meeting *m)
{
	ktls_close(m->client);
	ktls_close(m->server);
	if (m->client) {
		close(m->udp[0]);
		close(m->path.near);
	}
	m->client = NULL;
	m->server = NULL;
	path_move(&m->path);
	path_mend(&m->path);
}

void meeting_free(struct meeting *m)
{
	meeting_part(m);
	ktls_listener_close(m->listener);
	close(m->udp[1]);
	close(m->path.far);
	SSL_CTX_free(m->client_ctx);
	SSL_CTX_free(m->server_ctx);
}
