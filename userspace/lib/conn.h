/* SPDX-License-Identifier: MIT */
/* What a connection is made of, and the calls between the library's files. */
#ifndef KTLS_CONN_H
#define KTLS_CONN_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/ktls.h>

#include "ktls.h"
#include "wire.h"

#define KTLS_SENTENCE	256

struct ktls_keys;
struct ktls_listener;
struct ktls_guest;

enum ktls_phase {
	PHASE_HANDSHAKE,
	PHASE_OPEN,
	PHASE_FAILED,
};

/* How application data goes, once the handshake is done: one table a way. */
struct ktls_path {
	ssize_t (*send)(struct ktls_conn *conn, const void *data, size_t len, int flags);
	ssize_t (*recv)(struct ktls_conn *conn, void *data, size_t len, int flags);
	ssize_t (*sendfile)(struct ktls_conn *conn, int fd, off_t *offset, size_t len);
	size_t (*pending)(const struct ktls_conn *conn);
	size_t (*payload_max)(const struct ktls_conn *conn);
	int (*flush)(struct ktls_conn *conn);
	int (*truncated)(const struct ktls_conn *conn);
	int (*shutdown)(struct ktls_conn *conn);
};

extern const struct ktls_path ktls_kernel_path;
extern const struct ktls_path ktls_user_path;

/* Alerts and handshake messages that the kernel delivers, put together byte by byte. */
struct ktls_control {
	uint8_t alert[2];
	size_t alert_len;
	uint8_t message[4];		/* type and 24-bit length */
	size_t message_len;
	size_t message_left;
	unsigned int in_a_row;		/* control records since the last data */
	uint8_t reply[2];		/* an alert that is to be sent; lock */
	bool has_reply;			/* lock */
};

struct ktls_conn {
	SSL *ssl;
	struct ktls_wire wire;
	int fd;				/* AF_KTLS, or -1 */
	unsigned int flags;
	enum ktls_phase phase;
	short events;
	bool capped;			/* to the newest version that the kernel carries, ... */
	bool caps_on_hello;		/* ... or will be, for a client that offers it */
	const struct ktls_path *path;	/* set while PHASE_OPEN */
	struct ktls_control control;
	struct ktls_listener *listener;	/* a guest's; NULL: a socket of its own */
	struct ktls_guest *guest;
	unsigned int timeouts;		/* of the handshake's datagrams, in a row */
	atomic_bool displaced;		/* the peer has begun anew */
	/* One thread may send while another receives: what both touch. */
	atomic_int rx_end;		/* recv: 1 end of file, -errno dead, 0 open */
	atomic_bool tx_closed;
	pthread_mutex_t lock;		/* of error and of the reply in control */
	char error[KTLS_SENTENCE];
	int failure;			/* PHASE_FAILED: the -errno */
	char why_not[KTLS_SENTENCE];
};

/* conn.c: as ktls_new, for one of the peers that send to a listener's fd. */
struct ktls_conn *ktls_new_guest(SSL_CTX *ctx, struct ktls_listener *listener, int fd,
				 unsigned int flags);

/* handshake.c: CLOCK_MONOTONIC. */
int64_t ktls_now_ms(void);
/* OpenSSL and the wire make no longer datagrams. */
void ktls_limit_datagrams(struct ktls_conn *conn, size_t room);

/* error.c: each notes a sentence and returns -err (err > 0). */
int ktls_fail(struct ktls_conn *conn, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The sentence from OpenSSL's error queue, which it empties; -EPROTO. */
int ktls_fail_ssl(struct ktls_conn *conn);
/* As ktls_fail, for why the kernel does not carry the connection. */
int ktls_decline(struct ktls_conn *conn, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The failure of a ktls_new() that has no connection to note it in. */
void ktls_note_failure(int err, const char *sentence);

/* available.c: the number of the family, which a module parameter may have changed. */
int ktls_family(void);
/* What a failed socket(AF_KTLS) means and what to do. */
const char *ktls_explain_socket(int err);

/* attach.c: moves a finished handshake into the kernel. 0, or -errno with why_not set. */
int ktls_attach(struct ktls_conn *conn);

/* control.c: notes an alert as due; the next call that finds room sends it. */
void ktls_control_reply(struct ktls_conn *conn, uint8_t level, uint8_t description);
/*
 * Takes bytes of a record that is not application data. 0: go on; 1: end of file; -errno:
 * the connection failed.
 */
int ktls_control_take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len);

/* repeat.c: sends the last flight of the handshake again, if it was ours. */
void ktls_repeat_flight(struct ktls_conn *conn);

/* kernel.c: a record through the AF_KTLS socket, as sendmsg(2). */
ssize_t ktls_send_record(int fd, uint8_t type, const void *data, size_t len, int flags);

/* file.c: sendfile by reading and sending. */
ssize_t ktls_copy_file(struct ktls_conn *conn, int fd, off_t *offset, size_t len);

#endif
