/* SPDX-License-Identifier: MIT */
/*
 * libktls: TLS handshakes by OpenSSL, records by the kernel (AF_KTLS).
 *
 * The program prepares an SSL_CTX as for any OpenSSL connection (certificates,
 * verification, ALPN, ...) and gives it a connected TCP socket:
 *
 *	struct ktls_conn *conn = ktls_accept(ctx, tcp_fd, 0);	(or ktls_connect)
 *	int fd = ktls_fd(conn);		read, write, sendfile, splice, poll ... as any socket
 *	ktls_close(conn);
 *
 * When the kernel cannot carry the connection (no module, another cipher or version), it
 * goes on in userspace through ktls_send, ktls_recv and ktls_sendfile alike, and
 * ktls_in_kernel() and ktls_why_not() say so; with KTLS_REQUIRE_KERNEL it fails instead.
 *
 * Functions that return int give 0 or a count on success and -errno on failure, -EPROTO
 * for a failure of TLS; ktls_error() has the sentence for people. A connection may be used
 * by one thread at a time, except that one thread may send (and shut down) while another
 * receives once the handshake is done and the kernel carries it.
 */
#ifndef KTLS_H
#define KTLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <openssl/ssl.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ktls_conn;

/* Flags of ktls_new, ktls_accept and ktls_connect. */
#define KTLS_REQUIRE_KERNEL	(1U << 0)	/* fail rather than go on in userspace */
#define KTLS_USERSPACE		(1U << 1)	/* do not try the kernel */

/* What ktls_available() found; bits of its result. */
#define KTLS_CAN_TLS12		(1U << 0)
#define KTLS_CAN_TLS13		(1U << 1)
#define KTLS_CAN_DTLS12		(1U << 2)

/*
 * What this kernel can carry, tried with a socket once a process: KTLS_CAN_* bits, 0 when
 * nothing. *why, unless NULL, then points to a sentence that says why and what to do, ""
 * when all is there; it is good until this thread's next call.
 */
unsigned int ktls_available(const char **why);

/*
 * The handshake in one call, which waits as long as it takes, though tcp_fd be non-blocking.
 * tcp_fd stays the caller's and may be closed after success. NULL on failure, errno set and
 * a sentence in ktls_last_error().
 */
struct ktls_conn *ktls_accept(SSL_CTX *ctx, int tcp_fd, unsigned int flags);
struct ktls_conn *ktls_connect(SSL_CTX *ctx, int tcp_fd, const char *server_name,
			       unsigned int flags);
/* The failure of the last ktls_new, ktls_accept or ktls_connect of this thread. */
const char *ktls_last_error(void);

/*
 * The handshake in steps, for programs with an event loop and non-blocking sockets.
 * server_name (client only, may be NULL) is sent as SNI and, when ctx verifies peers, is
 * the name (or address) that the certificate must carry.
 */
struct ktls_conn *ktls_new(SSL_CTX *ctx, int tcp_fd, int is_server, const char *server_name,
			   unsigned int flags);
/*
 * Goes as far as it can without waiting. 0: done, the keys are installed. -EAGAIN: call
 * again when tcp_fd has the events (POLLIN, POLLOUT) of ktls_events(). Else failed.
 */
int ktls_step(struct ktls_conn *conn);
short ktls_events(const struct ktls_conn *conn);
/* ktls_step and poll(2) until done; timeout_ms -1: no limit. -ETIMEDOUT. */
int ktls_handshake(struct ktls_conn *conn, int timeout_ms);

/*
 * Descriptor of the data path: an AF_KTLS socket when the kernel carries the connection,
 * else -1 (use ktls_send and ktls_recv). Stays the connection's: do not close it.
 */
int ktls_fd(const struct ktls_conn *conn);
/* What to poll(2) in either case: ktls_fd() or the TCP socket. */
int ktls_poll_fd(const struct ktls_conn *conn);
int ktls_in_kernel(const struct ktls_conn *conn);
/* Why the kernel does not carry it: a sentence; "" when it does. */
const char *ktls_why_not(const struct ktls_conn *conn);
/* The last failure of this connection, a sentence; "" when none. Good until this thread's
 * next call.
 */
const char *ktls_error(const struct ktls_conn *conn);

/*
 * Application data, over the kernel or userspace alike. flags: 0 or MSG_DONTWAIT,
 * MSG_MORE (send). ktls_recv: 0 is end of file; ktls_truncated() then says whether the
 * peer left without close_notify. -EAGAIN, -EINTR, ... as send(2) and recv(2).
 */
ssize_t ktls_send(struct ktls_conn *conn, const void *data, size_t len, int flags);
ssize_t ktls_recv(struct ktls_conn *conn, void *data, size_t len, int flags);
/* As sendfile(2): *offset (unless NULL) advances; else the file's position does. */
ssize_t ktls_sendfile(struct ktls_conn *conn, int file_fd, off_t *offset, size_t len);
/* Userspace: bytes that ktls_recv returns without polling; in the kernel: 0, poll tells. */
size_t ktls_pending(const struct ktls_conn *conn);
int ktls_truncated(const struct ktls_conn *conn);

/*
 * Sends close_notify and the FIN of the TCP connection; receiving goes on. -EAGAIN, on a
 * non-blocking connection: call again.
 */
int ktls_shutdown(struct ktls_conn *conn);
/*
 * Closes and frees all but tcp_fd and ctx. NULL is fine. With unread data TCP is reset, and
 * the peer may lose what it has not yet got: ktls_recv to the end before.
 */
void ktls_close(struct ktls_conn *conn);

/* What was negotiated; pointers live as long as the connection. NULL where absent. */
const char *ktls_version(const struct ktls_conn *conn);		/* "TLSv1.2" */
const char *ktls_cipher(const struct ktls_conn *conn);		/* OpenSSL's name */
const char *ktls_server_name(const struct ktls_conn *conn);	/* SNI */
const char *ktls_alpn(const struct ktls_conn *conn, size_t *len);
X509 *ktls_peer_certificate(const struct ktls_conn *conn);	/* X509_free() it; NULL: none */
long ktls_verify_result(const struct ktls_conn *conn);		/* X509_V_OK, ... */
/* The OpenSSL connection, to ask more; never read or write through it. */
SSL *ktls_ssl(const struct ktls_conn *conn);

#ifdef __cplusplus
}
#endif

#endif /* KTLS_H */
