// SPDX-License-Identifier: MIT
/* OpenSSL's record layer, in userspace or (SSL_OP_ENABLE_KTLS) in the kernel's own TLS. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "bench.h"
#include "bench_certificate.h"

#define STEPS_MAX	1000	/* of a handshake */
#define LINK_MTU	1500

static void limit_version(SSL_CTX *ctx, const struct bench_setup *setup)
{
	SSL_CTX_set_min_proto_version(ctx, setup->protocol->version);
	SSL_CTX_set_max_proto_version(ctx, setup->protocol->version);
	SSL_CTX_set_ciphersuites(ctx, setup->cipher->suite13);
	SSL_CTX_set_cipher_list(ctx, setup->cipher->suite12);
}

static SSL_CTX *make_context(const struct bench_setup *setup, bool in_kernel)
{
	const struct bench_certificate *own = bench_certificate();
	SSL_CTX *ctx = SSL_CTX_new(setup->protocol->dgram ? DTLS_method() : TLS_method());

	if (!ctx)
		return NULL;
	limit_version(ctx, setup);
	/* A ticket would be a record that is not counted. */
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU | (in_kernel ? SSL_OP_ENABLE_KTLS : 0));
	if (!own || SSL_CTX_use_certificate(ctx, own->cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, own->key) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static BIO *make_bio(int fd, bool dgram)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	BIO *bio;

	if (!dgram)
		return BIO_new_socket(fd, BIO_NOCLOSE);
	bio = BIO_new_dgram(fd, BIO_NOCLOSE);
	if (bio && !getpeername(fd, (struct sockaddr *)&peer, &len))
		BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &peer);
	return bio;
}

static SSL *make_session(SSL_CTX *ctx, int fd, bool dgram, bool is_server)
{
	SSL *ssl = SSL_new(ctx);
	BIO *bio = make_bio(fd, dgram);

	if (!ssl || !bio) {
		SSL_free(ssl);
		BIO_free(bio);
		return NULL;
	}
	SSL_set_bio(ssl, bio, bio);
	if (dgram)
		DTLS_set_link_mtu(ssl, LINK_MTU);
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

static bool wants(const SSL *ssl, int ret)
{
	int err = SSL_get_error(ssl, ret);

	return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE;
}

/* Both ends in turn, neither waiting. */
static bool shake_hands(struct bench_end end[2])
{
	bool done[2] = { false, false };
	int i, ret, steps;

	for (i = 0; i < 2; i++)
		bench_net_nonblocking(end[i].fd, true);
	for (steps = 0; steps < STEPS_MAX && !(done[0] && done[1]); steps++) {
		i = steps % 2;
		ret = SSL_do_handshake(end[i].session);
		done[i] = ret == 1;
		if (ret != 1 && !wants(end[i].session, ret))
			return false;
	}
	for (i = 0; i < 2; i++)
		bench_net_nonblocking(end[i].fd, false);
	return done[0] && done[1];
}

static void explain(char why[BENCH_WHY])
{
	const char *text = ERR_reason_error_string(ERR_get_error());

	snprintf(why, BENCH_WHY, "the handshake: %s", text ? text : "did not end");
	ERR_clear_error();
}

static void close_session(struct bench_end *end)
{
	SSL_free(end->session);
	end->session = NULL;
	bench_net_close(end);
}

static enum bench_outcome open_sessions(const struct bench_setup *setup, struct bench_end end[2],
					char why[BENCH_WHY], bool in_kernel)
{
	bool dgram = setup->protocol->dgram;
	bool good = !bench_net_pair(dgram, end);
	SSL_CTX *ctx;
	int i;

	for (i = 0; i < 2 && good; i++) {
		/* What is to be thrown away must not be opened by the kernel. */
		ctx = make_context(setup, in_kernel && !(i && setup->half));
		end[i].session = ctx ? make_session(ctx, end[i].fd, dgram, i) : NULL;
		good = end[i].session;
		SSL_CTX_free(ctx);
	}
	if (good && shake_hands(end))
		return BENCH_DONE;
	explain(why);
	close_session(&end[0]);
	close_session(&end[1]);
	return BENCH_FAILED;
}

static enum bench_outcome open_userspace(const struct bench_setup *setup,
					 struct bench_end end[2], char why[BENCH_WHY])
{
	return open_sessions(setup, end, why, false);
}

/* Which direction stayed in userspace, if that matters. */
static const char *left_out(const struct bench_setup *setup, struct bench_end *end)
{
	if (setup->sends && !BIO_get_ktls_send(SSL_get_wbio(end->session)))
		return "sending";
	if (setup->receives && !BIO_get_ktls_recv(SSL_get_rbio(end->session)))
		return "receiving";
	return NULL;
}

static enum bench_outcome open_kernel(const struct bench_setup *setup, struct bench_end end[2],
				      char why[BENCH_WHY])
{
	enum bench_outcome outcome = open_sessions(setup, end, why, true);
	const char *left = outcome == BENCH_DONE ? left_out(setup, &end[0]) : NULL;

	if (!left)
		return outcome;
	snprintf(why, BENCH_WHY, "%s does not give the kernel the %s of %s %s, or there is no tls",
		 OpenSSL_version(OPENSSL_VERSION_STRING), left, setup->protocol->name,
		 setup->cipher->name);
	close_session(&end[0]);
	close_session(&end[1]);
	return BENCH_ABSENT;
}

static ssize_t result(SSL *ssl, int ret)
{
	int err, saved = errno;

	if (ret > 0)
		return ret;
	err = SSL_get_error(ssl, ret);
	ERR_clear_error();
	switch (err) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return saved ? -saved : -EPROTO;
	default:
		return -EPROTO;
	}
}

static ssize_t openssl_send(struct bench_end *end, const void *data, size_t len)
{
	return result(end->session, SSL_write(end->session, data, (int)len));
}

static ssize_t openssl_recv(struct bench_end *end, void *data, size_t len)
{
	return result(end->session, SSL_read(end->session, data, (int)len));
}

static ssize_t openssl_sendfile(struct bench_end *end, int file, off_t *offset, size_t len)
{
	ssize_t n = SSL_sendfile(end->session, file, *offset, len, 0);

	if (n <= 0)
		return result(end->session, (int)n);
	*offset += n;
	return n;
}

const struct bench_way bench_openssl = {
	.name = "openssl", .title = "OpenSSL", .streams = true, .datagrams = true,
	.open = open_userspace, .send = openssl_send, .recv = openssl_recv,
	.close = close_session,
};

const struct bench_way bench_openssl_ktls = {
	.name = "openssl-ktls", .title = "OpenSSL + kernel TLS", .streams = true, .splices = true,
	.open = open_kernel, .send = openssl_send, .recv = openssl_recv,
	.sendfile = openssl_sendfile, .close = close_session,
};
