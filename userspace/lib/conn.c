// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "conn.h"
#include "datagram.h"
#include "listener.h"
#include "shadow.h"

static bool is_address(const char *name)
{
	unsigned char buf[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, name, buf) == 1 || inet_pton(AF_INET6, name, buf) == 1;
}

/* rfc6066 3: literal addresses are not permitted in server_name. */
static int name_peer(SSL *ssl, const char *name)
{
	if (is_address(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	/* rfc9525 6.3: a wildcard stands for a whole label. */
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static int set_up_ssl(struct ktls_conn *conn, SSL_CTX *ctx, int is_server, const char *name)
{
	conn->ssl = SSL_new(ctx);
	if (!conn->ssl)
		return ktls_fail_ssl(conn);
	conn->wire.rbio = BIO_new(BIO_s_mem());
	conn->wire.wbio = BIO_new(BIO_s_mem());
	SSL_set_bio(conn->ssl, conn->wire.rbio, conn->wire.wbio);
	if (!conn->wire.rbio || !conn->wire.wbio)
		return ktls_fail(conn, ENOMEM, "out of memory");
	/* Not before the kernel has the keys, or in userspace: nobody would wait for the end. */
	conn->no_renegotiation = SSL_get_options(conn->ssl) & SSL_OP_NO_RENEGOTIATION;
	SSL_set_options(conn->ssl, SSL_OP_NO_RENEGOTIATION);
	SSL_set_mode(conn->ssl, SSL_MODE_RELEASE_BUFFERS);
	/* Data before the handshake is done would go by, unknown to the kernel. */
	if (SSL_set_max_early_data(conn->ssl, 0) != 1 ||
	    !ktls_traffic_watch(conn->ssl, &conn->traffic))
		return ktls_fail(conn, ENOMEM, "out of memory");
	SSL_set_read_ahead(conn->ssl, 0);
	if (ktls_wire_is_datagram(&conn->wire)) {
		SSL_set_options(conn->ssl, SSL_OP_NO_QUERY_MTU);
		ktls_limit_datagrams(conn, ktls_datagram_room(&conn->wire));
	}
	if (is_server) {
		SSL_set_accept_state(conn->ssl);
		return 0;
	}
	SSL_set_connect_state(conn->ssl);
	if (name && !name_peer(conn->ssl, name))
		return ktls_fail(conn, EINVAL, "not a host name or an address: %s", name);
	return 0;
}

static bool permits_tls12(const SSL *ssl)
{
	long min = SSL_get_min_proto_version((SSL *)ssl);
	long max = SSL_get_max_proto_version((SSL *)ssl);

	return min <= TLS1_2_VERSION && (!max || max >= TLS1_2_VERSION) &&
	       !(SSL_get_options(ssl) & SSL_OP_NO_TLSv1_2);
}

/* DTLS has one version that is worth it: OpenSSL chooses it wherever the peer has it. */
static int choose_datagram_version(struct ktls_conn *conn)
{
	const char *why;

	if (!(conn->flags & KTLS_REQUIRE_KERNEL) || ktls_available(&why) & KTLS_CAN_DTLS12)
		return 0;
	return ktls_fail(conn, EAFNOSUPPORT, "%s", why);
}

/*
 * A program that takes TLS 1.2 and 1.3 alike gets the one that the kernel can carry. One
 * that excludes 1.2 keeps its wish. A server is not too proud for clients that do.
 */
static int choose_version(struct ktls_conn *conn)
{
	const char *why;
	unsigned int can;

	if (conn->flags & KTLS_USERSPACE)
		return 0;
	if (ktls_wire_is_datagram(&conn->wire))
		return choose_datagram_version(conn);
	can = ktls_available(&why);
	if (!(can & (KTLS_CAN_TLS12 | KTLS_CAN_TLS13)) && (conn->flags & KTLS_REQUIRE_KERNEL))
		return ktls_fail(conn, EAFNOSUPPORT, "%s", why);
	if (can & KTLS_CAN_TLS13 || !(can & KTLS_CAN_TLS12))
		return 0;
	if (permits_tls12(conn->ssl)) {
		conn->caps_on_hello = SSL_is_server(conn->ssl) &&
				      !(conn->flags & KTLS_REQUIRE_KERNEL);
		conn->capped = !conn->caps_on_hello;
	} else if (conn->flags & KTLS_REQUIRE_KERNEL) {
		return ktls_fail(conn, EOPNOTSUPP,
				 "this af_ktls carries TLS 1.2, not 1.3: allow 1.2 in the SSL_CTX");
	}
	if (conn->capped)
		SSL_set_max_proto_version(conn->ssl, TLS1_2_VERSION);
	return 0;
}

static int set_up_wire(struct ktls_conn *conn, int fd)
{
	int ret = conn->listener ? ktls_wire_init_shared(&conn->wire, fd) :
				   ktls_wire_init(&conn->wire, fd);

	return ret ? ktls_fail(conn, -ret, "the TCP or UDP socket: %s", strerror(-ret)) : 0;
}

static int set_up(struct ktls_conn *conn, SSL_CTX *ctx, int fd, int is_server, const char *name)
{
	int ret;

	if (conn->flags & ~(KTLS_REQUIRE_KERNEL | KTLS_USERSPACE) ||
	    conn->flags == (KTLS_REQUIRE_KERNEL | KTLS_USERSPACE))
		return ktls_fail(conn, EINVAL, "flags that libktls does not know or that exclude each other");
	ret = set_up_wire(conn, fd);
	if (!ret)
		ret = set_up_ssl(conn, ctx, is_server, name);
	if (ret)
		return ret;
	if (ktls_wire_is_datagram(&conn->wire) != !!SSL_is_dtls(conn->ssl))
		return ktls_fail(conn, EPROTOTYPE,
				 "TLS goes over TCP, DTLS (DTLS_method() in the SSL_CTX) over UDP");
	return choose_version(conn);
}

static struct ktls_conn *give_up(struct ktls_conn *conn, int ret)
{
	ktls_note_failure(-ret, conn->error);
	ktls_close(conn);
	errno = -ret;
	return NULL;
}

static struct ktls_conn *new_conn(SSL_CTX *ctx, struct ktls_listener *listener, int fd,
				  int is_server, const char *name, unsigned int flags)
{
	struct ktls_conn *conn = calloc(1, sizeof(*conn));
	int ret;

	if (!conn) {
		ktls_note_failure(ENOMEM, "out of memory");
		return NULL;
	}
	ERR_clear_error();
	pthread_mutex_init(&conn->lock, NULL);
	pthread_mutex_init(&conn->shadow_lock, NULL);
	sem_init(&conn->receiver, 0, 1);
	pthread_mutex_init(&conn->control_lock, NULL);
	conn->rekeying.ask_at = KTLS_ASK_FIRST;
	conn->fd = -1;
	conn->wire.fd = -1;
	conn->flags = flags;
	conn->events = is_server ? POLLIN : POLLOUT;
	conn->listener = listener ? ktls_listener_get(listener) : NULL;
	ret = set_up(conn, ctx, fd, is_server, name);
	return ret ? give_up(conn, ret) : conn;
}

struct ktls_conn *ktls_new(SSL_CTX *ctx, int fd, int is_server, const char *server_name,
			   unsigned int flags)
{
	return new_conn(ctx, NULL, fd, is_server, server_name, flags);
}

struct ktls_conn *ktls_new_guest(SSL_CTX *ctx, struct ktls_listener *listener, int fd,
				 unsigned int flags)
{
	return new_conn(ctx, listener, fd, 1, NULL, flags);
}

static struct ktls_conn *make(SSL_CTX *ctx, int fd, int is_server, const char *name,
			      unsigned int flags)
{
	struct ktls_conn *conn = ktls_new(ctx, fd, is_server, name, flags);
	int ret = conn ? ktls_handshake(conn, -1) : 0;

	return ret ? give_up(conn, ret) : conn;
}

struct ktls_conn *ktls_accept(SSL_CTX *ctx, int fd, unsigned int flags)
{
	return make(ctx, fd, 1, NULL, flags);
}

struct ktls_conn *ktls_connect(SSL_CTX *ctx, int fd, const char *server_name,
			       unsigned int flags)
{
	return make(ctx, fd, 0, server_name, flags);
}

void ktls_close(struct ktls_conn *conn)
{
	if (!conn)
		return;
	ktls_keep_end(conn);
	ktls_listener_leave(conn);
	/*
	 * OpenSSL did not see how the connection was closed and would forget the session.
	 * rfc5246 7.2.1: not closing properly no longer forbids resumption.
	 */
	if (conn->phase == PHASE_OPEN && conn->rx_end >= 0)
		SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	if (conn->fd >= 0)
		close(conn->fd);
	ktls_shadow_free(conn);
	ktls_kernel_forget(conn);
	ktls_peer_free(conn);
	SSL_free(conn->ssl);
	OPENSSL_cleanse(&conn->traffic, sizeof(conn->traffic));
	ktls_wire_free(&conn->wire);
	pthread_mutex_destroy(&conn->control_lock);
	sem_destroy(&conn->receiver);
	pthread_mutex_destroy(&conn->shadow_lock);
	pthread_mutex_destroy(&conn->lock);
	free(conn);
}

int ktls_fd(const struct ktls_conn *conn)
{
	return conn->fd;
}

int ktls_poll_fd(const struct ktls_conn *conn)
{
	return conn->fd >= 0 ? conn->fd : conn->wire.fd;
}

int ktls_in_kernel(const struct ktls_conn *conn)
{
	return conn->fd >= 0;
}
