// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "link.h"

#define BACKLOG_MAX	(1 << 18)	/* bytes that wait for the peer's OpenSSL */

const struct suite suites[4] = {
	{ "ECDHE-RSA-AES128-GCM-SHA256", 0 },
	{ "ECDHE-RSA-AES256-GCM-SHA384", 0 },
	{ "ECDHE-RSA-CHACHA20-POLY1305", 0 },
	{ "ECDHE-ECDSA-AES128-CCM", 1 },
};

const char *const suites13[4] = {
	"TLS_AES_128_GCM_SHA256",
	"TLS_AES_256_GCM_SHA384",
	"TLS_CHACHA20_POLY1305_SHA256",
	"TLS_AES_128_CCM_SHA256",
};

static int connect_to(int listener, int fd[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int one = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		return -errno;
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd[0], (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	fd[1] = accept(listener, NULL, NULL);
	setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	return fd[1] < 0 ? -errno : 0;
}

int make_tcp(int fd[2])
{
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int ret = connect_to(listener, fd);

	close(listener);
	return ret;
}

/* ---- the peer ---- */

void peer_init(struct peer *peer, SSL_CTX *ctx, int fd, int is_server)
{
	peer->ssl = SSL_new(ctx);
	peer->rbio = BIO_new(BIO_s_mem());
	peer->wbio = BIO_new(BIO_s_mem());
	peer->fd = fd;
	SSL_set_bio(peer->ssl, peer->rbio, peer->wbio);
	if (is_server)
		SSL_set_accept_state(peer->ssl);
	else
		SSL_set_connect_state(peer->ssl);
}

size_t peer_output(const struct peer *peer)
{
	return BIO_ctrl_pending(peer->wbio);
}

void peer_flush(struct peer *peer, size_t len)
{
	static char buf[1 << 20];
	int n = BIO_read(peer->wbio, buf, len < sizeof(buf) ? (int)len : (int)sizeof(buf));

	if (n > 0 && send(peer->fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		printf("# the peer could not send %d bytes\n", n);
}

/*
 * A sender may be faster than we are, for as long as we take all: on a busy machine who reads beside
 * him does not get his turn, for both lock the same TCP socket.
 */
void peer_fill(struct peer *peer)
{
	char buf[16384];
	ssize_t n = 1;

	while (BIO_ctrl_pending(peer->rbio) < BACKLOG_MAX &&
	       (n = recv(peer->fd, buf, sizeof(buf), 0)) > 0)
		BIO_write(peer->rbio, buf, (int)n);
	/* Without more to come SSL_read shall say so rather than want more. */
	if (!n)
		BIO_set_mem_eof_return(peer->rbio, 0);
}

void peer_send(struct peer *peer, const void *data, size_t len)
{
	if (SSL_write(peer->ssl, data, (int)len) != (int)len)
		printf("# the peer's SSL_write failed\n");
	peer_flush(peer, peer_output(peer));
}

/* ---- the handshake ---- */

/* Whether something came from either side in time. */
static int wait_for_either(struct link *l)
{
	struct pollfd pfd[] = {
		{ .fd = ktls_poll_fd(l->ours), .events = POLLIN },
		{ .fd = l->peer.fd, .events = POLLIN },
	};

	return poll(pfd, 2, LINK_TIMEOUT_MS) > 0;
}

int link_open(struct link *l, const struct suite *suite, int we_serve, SSL_SESSION *session,
	      unsigned int flags)
{
	SSL_CTX *ours, *theirs;
	int fd[2], ret;

	if (!l->ctx.client_ctx)
		pair_init(&l->ctx, suite->name, suite->ec);
	ours = we_serve ? l->ctx.server_ctx : l->ctx.client_ctx;
	theirs = we_serve ? l->ctx.client_ctx : l->ctx.server_ctx;
	SSL_CTX_set_max_proto_version(theirs, l->tls13 ? 0 : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ours, 0);
	if (l->tls13) {
		SSL_CTX_set_ciphersuites(ours, suites13[suite - suites]);
		SSL_CTX_set_ciphersuites(theirs, suites13[suite - suites]);
	}
	ret = make_tcp(fd);
	if (ret)
		return ret;
	l->tcp = fd[0];
	peer_init(&l->peer, theirs, fd[1], !we_serve);
	l->ours = ktls_new(ours, fd[0], we_serve, NULL, flags);
	if (!l->ours)
		return -errno;
	if (session)
		SSL_set_session(we_serve ? l->peer.ssl : ktls_ssl(l->ours), session);
	return 0;
}

int link_shake(struct link *l)
{
	int ret;

	for (;;) {
		ret = ktls_step(l->ours);
		if (ret && ret != -EAGAIN)
			return ret;
		peer_fill(&l->peer);
		ERR_clear_error();
		if (SSL_do_handshake(l->peer.ssl) == 1)
			return 0;
		peer_flush(&l->peer, peer_output(&l->peer));
		if (!wait_for_either(l))
			return -ETIMEDOUT;
	}
}

int link_finish(struct link *l)
{
	int ret;

	while ((ret = ktls_step(l->ours)) == -EAGAIN)
		if (!wait_for_either(l))
			return -ETIMEDOUT;
	close(l->tcp);
	l->tcp = -1;
	return ret;
}

int link_connect(struct link *l, const struct suite *suite, int we_serve)
{
	int ret = link_open(l, suite, we_serve, NULL, KTLS_REQUIRE_KERNEL);

	if (!ret)
		ret = link_shake(l);
	peer_flush(&l->peer, peer_output(&l->peer));
	return ret ? ret : link_finish(l);
}

void link_close(struct link *l)
{
	ktls_close(l->ours);
	SSL_free(l->peer.ssl);
	close(l->peer.fd);
	if (l->tcp >= 0)
		close(l->tcp);
	l->ours = NULL;
	l->tcp = -1;
	ERR_clear_error();
}

/* ---- data ---- */

ssize_t link_receive(struct link *l, char *buf, size_t len)
{
	struct pollfd pfd = { .fd = ktls_poll_fd(l->ours), .events = POLLIN };
	size_t done = 0;
	ssize_t n = 0;

	while (done < len) {
		n = ktls_recv(l->ours, buf + done, len - done, 0);
		if (n > 0)
			done += (size_t)n;
		else if (n != -EAGAIN || poll(&pfd, 1, LINK_TIMEOUT_MS) <= 0)
			break;
	}
	return done ? (ssize_t)done : n;
}

ssize_t peer_receive(struct link *l, char *buf, size_t len)
{
	struct pollfd pfd = { .fd = l->peer.fd, .events = POLLIN };
	size_t done = 0;
	int n, error = SSL_ERROR_NONE;

	ERR_clear_error();
	while (done < len) {
		n = SSL_read(l->peer.ssl, buf + done, (int)(len - done));
		error = SSL_get_error(l->peer.ssl, n);
		if (error == SSL_ERROR_NONE)
			done += (size_t)n;
		else if (error != SSL_ERROR_WANT_READ || poll(&pfd, 1, LINK_TIMEOUT_MS) <= 0)
			break;
		else
			peer_fill(&l->peer);
	}
	return done ? (ssize_t)done : -error;
}

ssize_t link_react(struct link *l, char *buf, size_t len)
{
	char data[16384];
	int n, error;

	ERR_clear_error();
	do {
		while (ktls_recv(l->ours, data, sizeof(data), MSG_DONTWAIT) > 0)
			;
		peer_fill(&l->peer);
		n = SSL_read(l->peer.ssl, buf, (int)len);
		error = SSL_get_error(l->peer.ssl, n);
	} while (error == SSL_ERROR_WANT_READ && wait_for_either(l));
	return n > 0 ? n : -error;
}
