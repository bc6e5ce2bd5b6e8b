/* SPDX-License-Identifier: MIT */
/*
 * libktls: TLS and DTLS handshakes by OpenSSL, records by the kernel (AF_KTLS).
 *
 * The program prepares an SSL_CTX as for any OpenSSL connection (certificates,
 * verification, ALPN, ...) and gives it a connected TCP socket:
 *
 *	struct ktls_conn *conn = ktls_accept(ctx, tcp_fd, 0);	(or ktls_connect)
 *	int fd = ktls_fd(conn);		read, write, sendfile, splice, poll ... as any socket
 *	ktls_close(conn);
 *
 * DTLS is the same over a connected UDP socket with an SSL_CTX of DTLS_method(). There each
 * ktls_send is a record and a datagram, each ktls_recv reads one, and what does not fit the
 * reader's buffer is lost, as with UDP. A server takes many clients on one port:
 *
 *	struct ktls_listener *l = ktls_listen(ctx, udp_fd, 0);
 *	for (;;)
 *		if ((conn = ktls_listener_accept(l, -1))) ...	(NULL: one client's failure)
 *
 * When the kernel cannot carry the connection (no module, another cipher or version), it
 * goes on in userspace through ktls_send, ktls_recv and ktls_sendfile alike, and
 * ktls_in_kernel() and ktls_why_not() say so; with KTLS_REQUIRE_KERNEL it fails instead.
 *
 * Functions that return int give 0 or a count on success and -errno on failure, -EPROTO
 * for a failure of TLS; ktls_error() has the sentence for people. A connection may be used
 * by one thread at a time, except that one thread may send (and shut down, or rekey) while
 * another receives once the handshake is done and the kernel carries it.
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
struct ktls_listener;

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
 * The handshake in one call, which waits as long as it takes, though fd be non-blocking.
 * fd stays the caller's and may be closed after success. NULL on failure, errno set and
 * a sentence in ktls_last_error().
 */
struct ktls_conn *ktls_accept(SSL_CTX *ctx, int fd, unsigned int flags);
struct ktls_conn *ktls_connect(SSL_CTX *ctx, int fd, const char *server_name,
			       unsigned int flags);
/* The failure of the last ktls_new, ktls_accept or ktls_connect of this thread. */
const char *ktls_last_error(void);

/*
 * The handshake in steps, for programs with an event loop and non-blocking sockets.
 * server_name (client only, may be NULL) is sent as SNI and, when ctx verifies peers, is
 * the name (or address) that the certificate must carry.
 */
struct ktls_conn *ktls_new(SSL_CTX *ctx, int fd, int is_server, const char *server_name,
			   unsigned int flags);
/*
 * Goes as far as it can without waiting. 0: done, the keys are installed. -EAGAIN: call
 * again when fd has the events (POLLIN, POLLOUT) of ktls_events(), or with DTLS after
 * ktls_timeout() milliseconds. Else failed.
 */
int ktls_step(struct ktls_conn *conn);
short ktls_events(const struct ktls_conn *conn);
/*
 * When there is something to be done unless an event comes before, milliseconds: a flight of DTLS
 * goes again, in the handshake or while keys change, or the peer has had time enough for its part;
 * for who attends also the limits of ktls_rekey_after: ktls_step then (or ktls_attend). -1: no such
 * time.
 */
int ktls_timeout(const struct ktls_conn *conn);
/* ktls_step and poll(2) until done; timeout_ms -1: no limit. -ETIMEDOUT. */
int ktls_handshake(struct ktls_conn *conn, int timeout_ms);

/*
 * DTLS: the clients of a UDP socket that is bound and not connected, which stays the caller's
 * and may be closed. Nothing is kept about a client before it has returned a cookie. For that
 * ctx gets callbacks. NULL on failure, as ktls_new.
 */
struct ktls_listener *ktls_listen(SSL_CTX *ctx, int udp_fd, unsigned int flags);
/*
 * Runs the handshakes of all clients until one is done: that client, its connection blocking
 * or not as udp_fd is. timeout_ms 0: does not wait, -1: as long as it takes. NULL, errno and
 * ktls_last_error(): EAGAIN in the time given no client came; EPROTO, ETIMEDOUT, ... the
 * handshake of a client failed, which is no reason not to call again. One thread at a time;
 * what it returned belongs to any.
 */
struct ktls_conn *ktls_listener_accept(struct ktls_listener *listener, int timeout_ms);
/*
 * For event loops: call ktls_listener_accept(listener, 0) until EAGAIN when udp_fd is readable,
 * or after so many milliseconds; -1: no such time.
 */
int ktls_listener_timeout(const struct ktls_listener *listener);
/* Ends handshakes; the connections that were returned go on. NULL is fine. */
void ktls_listener_close(struct ktls_listener *listener);

/*
 * Descriptor of the data path: an AF_KTLS socket when the kernel carries the connection,
 * else -1 (use ktls_send and ktls_recv). Stays the connection's: do not close it.
 */
int ktls_fd(const struct ktls_conn *conn);
/* What to poll(2) in either case: ktls_fd() or the TCP or UDP socket. */
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
/* The longest payload that one record takes now; DTLS: that fits the path, longer: -EMSGSIZE. */
size_t ktls_payload_max(const struct ktls_conn *conn);
/*
 * Bytes that ktls_recv returns without polling: in userspace, or received while keys changed by who
 * sends, of which poll(2) of ktls_fd() does not tell.
 */
size_t ktls_pending(const struct ktls_conn *conn);
int ktls_truncated(const struct ktls_conn *conn);

/*
 * Other keys for both directions, now: in TLS 1.3 by a KeyUpdate that asks for the peer's; in TLS
 * 1.2 and DTLS by a complete new handshake (renegotiation), for which a server asks the client. 0:
 * it is begun, and goes on in the calls that send and receive: in a renegotiation sending waits,
 * and who sends alone (blocking) receives too, for others to get with ktls_recv. -EOPNOTSUPP: the
 * peer does not, or the program (SSL_OP_NO_RENEGOTIATION) or userspace cannot; the connection goes
 * on with its keys, as it does when the peer refuses later. -EAGAIN: a client's certificate is on its
 * way (TLS 1.3). A peer that does not go on with its handshake for a minute: -ETIMEDOUT, of the calls
 * that send and receive.
 */
int ktls_rekey(struct ktls_conn *conn);
/* 1 while one is under way; of a KeyUpdate until ours is sent. */
int ktls_rekeying(struct ktls_conn *conn);
/*
 * ktls_rekey by itself as soon as keys have protected so many bytes or records of one direction,
 * as ktls_send, ktls_recv and ktls_sendfile count them, or are so many seconds old; 0: for that
 * reason never. Before the limits of RFC 8446 and RFC 9325 it happens anyway. Returns 0.
 */
int ktls_rekey_after(struct ktls_conn *conn, uint64_t bytes, uint64_t records,
		     unsigned int seconds);

/*
 * For programs that read(2), splice(2), ... ktls_fd() themselves: alerts, tickets, new keys go
 * beside the data (KTLS_CONTROL_QUEUE of ktls(7)) and never come between. Either a thread of the
 * library takes care of them as long as the connection lives (ktls_keep), or the program's event
 * loop does: it calls ktls_attend once at first and then whenever poll(2) says POLLPRI, or after
 * ktls_timeout() milliseconds. ktls_attend never waits. 0, or -errno: the connection has
 * failed, and readers and writers see its end. While keys change, writers wait as if there were no
 * room.
 */
int ktls_keep(struct ktls_conn *conn);
int ktls_attend(struct ktls_conn *conn);

/*
 * TLS: takes a live connection out of the kernel, between two records, and goes on in userspace;
 * ktls_reattach gives it to the kernel again. Data is neither lost nor sent twice; ktls_fd()
 * becomes -1, and another one. Nobody else may use the connection meanwhile, and who reads for himself
 * calls ktls_keep or ktls_attend anew. 0: it is there (or was);
 * -EAGAIN: keys are changing, or a record is half sent: later; else -errno, and it is where it was.
 */
int ktls_detach(struct ktls_conn *conn);
int ktls_reattach(struct ktls_conn *conn);

/*
 * Sends close_notify and the FIN of the TCP connection; receiving goes on. A renegotiation of TLS 1.2
 * comes to its end before, if that takes no more than 5 s, and no other keys are begun. -EAGAIN, on
 * a non-blocking connection: ktls_recv what there is, and call again; -ENOBUFS: likewise. DTLS has
 * no FIN: who does not call this leaves a peer that waits.
 */
int ktls_shutdown(struct ktls_conn *conn);
/*
 * Closes and frees all but fd and ctx. NULL is fine. With unread data TCP is reset, and
 * the peer may lose what it has not yet got: ktls_recv to the end before.
 */
void ktls_close(struct ktls_conn *conn);

/* What was negotiated; pointers live as long as the connection. NULL where absent. */
const char *ktls_version(const struct ktls_conn *conn);		/* "TLSv1.2", "DTLSv1.2" */
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
