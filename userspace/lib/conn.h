/* SPDX-License-Identifier: MIT */
/* What a connection is made of, and the calls between the library's files. */
#ifndef KTLS_CONN_H
#define KTLS_CONN_H

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/ktls.h>

#include "ktls.h"
#include "budget.h"
#include "traffic.h"
#include "wire.h"

#define KTLS_SENTENCE	256
#define KTLS_ASK_FIRST	1024	/* records until the kernel is asked how many are left */

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
	struct ktls_budget budget;	/* control records since the last data, ... */
	atomic_bool has_data;		/* ... of which there was some */
	uint64_t data_records;		/* as the kernel counts, when somebody looked */
	uint8_t reply[2];		/* an alert that is to be sent; lock */
	bool has_reply;			/* lock */
};

/* When to rekey without being asked; 0: never for that reason. */
struct ktls_limits {
	atomic_ullong bytes, records;	/* of either direction */
	atomic_llong ms;
};

/* What has passed since the last key, as far as the library's own calls go. */
struct ktls_usage {
	atomic_ullong bytes, records;
};

struct ktls_rekeying {
	struct ktls_limits limits;
	struct ktls_usage tx, rx;
	atomic_llong since_ms;		/* of the present keys */
	atomic_ullong ask_at;		/* records, when to ask the kernel what is left */
	/* The kernel's counts when the keys were new, for ktls_rekey_check(); control_lock */
	uint64_t base_bytes[2], base_records[2];
	atomic_bool has_base;
	atomic_bool refused;		/* by the peer */
	atomic_bool at_work;		/* one thread is at it */
};

/* What was received while somebody who sends waited for another record. */
struct ktls_held {
	struct ktls_held *next;
	size_t len, at;
	uint8_t data[];
};

/* Of the last handshake that was completed: one that goes on has not proved anything yet. */
struct ktls_peer {
	X509 *certificate;		/* shadow_lock */
	long verified;			/* shadow_lock; X509_V_OK, ... */
	/* Of the first handshake: */
	bool has_name;
	char name[TLSEXT_MAXLEN_host_name + 1];
	size_t alpn_len;
	uint8_t alpn[255];
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
	struct ktls_traffic traffic;	/* TLS 1.3 */
	bool tx_counts;			/* ... and our application keys are in use */
	uint16_t max_payload;		/* that the kernel puts into a record; shadow_lock */
	bool no_renegotiation;		/* the program has set SSL_OP_NO_RENEGOTIATION */
	pthread_mutex_t shadow_lock;	/* of ssl while the kernel carries it, and of shadow */
	struct ktls_shadow *shadow;	/* the kernel carries it */
	atomic_bool shadow_busy;	/* something waits to be sent, or for the peer */
	atomic_bool shadow_timed;	/* DTLS: something may have to be sent again */
	atomic_bool unproved;		/* the peer's new key is in use, and its Finished not here */
	struct ktls_rekeying rekeying;
	struct ktls_peer peer;		/* once PHASE_OPEN */
	pthread_mutex_t control_lock;	/* of control but for what lock guards */
	atomic_bool queued;		/* control records go beside the data: keep.c */
	struct ktls_keeper *keeper;
	atomic_bool peer_closed;	/* ... and a close_notify was among them */
	sem_t receiver;			/* of who receives, held and record; signals end waiting */
	atomic_int receivers;		/* that wait for it: a sender leaves it to them */
	struct ktls_held *held, **held_end;
	atomic_size_t held_bytes;	/* that are left; 0: there is nothing in held */
	size_t held_memory;
	uint8_t *record;		/* a control record that came in pieces; datagrams: a rest */
	size_t record_len;
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

/*
 * peer.c: a handshake is done: notes what it says of the peer; the first time all of it, then
 * (the shadow's lock is held) who it is. The latter does nothing in the middle of one.
 */
void ktls_peer_begin(struct ktls_conn *conn);
void ktls_peer_note(struct ktls_conn *conn);
void ktls_peer_free(struct ktls_conn *conn);

/* attach.c: moves a finished handshake into the kernel. 0, or -errno with why_not set. */
int ktls_attach(struct ktls_conn *conn);

/*
 * attach.c: the kernel makes no longer records than the handshake that is done allows. 0 or -errno,
 * as errno says too.
 */
int ktls_limit_payload(struct ktls_conn *conn);
/* attach.c: the same with these keys, and with what waits in the wire. */
int ktls_attach_keys(struct ktls_conn *conn, const struct ktls_keys *keys);

/* control.c: notes an alert as due; the next call that finds room sends it. */
void ktls_control_reply(struct ktls_conn *conn, uint8_t level, uint8_t description);
/*
 * Takes bytes of a record that is not application data. 0: go on; 1: end of file; -errno:
 * the connection failed.
 */
int ktls_control_take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len);

/* rekey.c: so much has been sent or received by our calls, in one of them. */
void ktls_rekey_count(struct ktls_usage *usage, size_t len);
/* Time for other keys? Called by who sends before and by who receives behind. */
void ktls_rekey_if_due(struct ktls_conn *conn, struct ktls_usage *usage);
/* Likewise by what the kernel has counted, for who does not use our calls. */
void ktls_rekey_check(struct ktls_conn *conn);
/* When that is to be done, milliseconds; -1: when something else happens. */
int ktls_rekey_timeout(struct ktls_conn *conn);
/* There are other keys; the peer does not want any. The shadow's lock is held. */
void ktls_rekey_done(struct ktls_conn *conn);
void ktls_rekey_refused(struct ktls_conn *conn);

/* repeat.c: sends the last flight of the handshake again, if it was ours. */
void ktls_repeat_flight(struct ktls_conn *conn);

/* kernel.c: a record through the AF_KTLS socket, as sendmsg(2). */
ssize_t ktls_send_record(int fd, uint8_t type, const void *data, size_t len, int flags);

/* keep.c: ends the thread of ktls_keep(); somebody has begun what that has to go on with. */
void ktls_keep_end(struct ktls_conn *conn);
void ktls_keep_look(struct ktls_conn *conn);

/* receive.c: a record from KTLS_CONTROL_QUEUE, without waiting: its length or -errno. */
ssize_t ktls_receive_control(int fd, uint8_t *type, uint8_t *data, size_t len);
/* kernel.c: sends an alert that is due, if there is room. */
void ktls_send_reply(struct ktls_conn *conn);
/* receive.c: as ktls_recv. */
ssize_t ktls_kernel_recv(struct ktls_conn *conn, void *data, size_t len, int flags);
/*
 * receive.c: keeps received data for ktls_recv; false: no memory. ktls_kernel_hold receives a
 * record for that, without waiting: 0, -EAGAIN: there is none, -errno.
 */
bool ktls_hold(struct ktls_conn *conn, const uint8_t *data, size_t len);
int ktls_kernel_hold(struct ktls_conn *conn);
ssize_t ktls_take_held(struct ktls_conn *conn, uint8_t *data, size_t len);
/* receive.c: frees what it has received for nobody. */
void ktls_kernel_forget(struct ktls_conn *conn);

/* file.c: sendfile by reading and sending. */
ssize_t ktls_copy_file(struct ktls_conn *conn, int fd, off_t *offset, size_t len);

#endif
