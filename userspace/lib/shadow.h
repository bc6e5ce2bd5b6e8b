/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL kept in step while the kernel carries the records. It sees what is not application data:
 * such a record is sealed again with the key and the number that OpenSSL expects, and what OpenSSL
 * answers is opened and sent by way of the kernel. So OpenSSL renegotiates, takes tickets and
 * updates keys as if it had the connection to itself, and the kernel gets each new key where the
 * old one ends.
 */
#ifndef KTLS_SHADOW_H
#define KTLS_SHADOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "budget.h"
#include "dtls.h"
#include "half.h"
#include "messages.h"
#include "queue.h"

#define SHADOW_HELLO	1024	/* of a ClientHello: more than differs from one to the next */

struct ktls_conn;

/* Of a handshake that we have begun, at most: what comes beyond is the peer's doing. */
#define KTLS_HANDSHAKE_RECORDS	64

struct ktls_shadow {
	struct ktls_half rx, tx;	/* as OpenSSL opens and seals now */
	struct ktls_half tx_before;	/* DTLS: of the epoch before */
	struct ktls_half late;		/* ... as the peer knows it, at its next number */
	struct ktls_messages in, out;	/* TLS 1.3 */
	struct ktls_queue queue;
	struct ktls_budget renegotiations;	/* that the peer began */
	bool under_way;		/* some of the queue has been sent, the rest has to follow */
	bool no_memory;		/* ... or nothing has, and it is not room that is missing */
	bool paused;		/* the kernel holds application data back */
	bool shaking;		/* a renegotiation has begun */
	bool asked;		/* a HelloRequest of ours is not answered */
	int64_t ask_again_ms;	/* DTLS: when, should there be no answer */
	int64_t deadline_ms;	/* until when the peer goes on, or answers */
	int64_t end_ms;		/* of a renegotiation, however long the peer goes on */
	uint64_t arrived;	/* payload that may have come by then; 0: nobody asked */
	unsigned int asks;
	unsigned int expected;	/* records of a handshake or KeyUpdate that we have asked for */
	size_t header_len;	/* of a first message's header, what has come of it */
	uint8_t request[DTLS_MESSAGE_HEADER];
	uint8_t hello[SHADOW_HELLO];	/* DTLS: of the last handshake that the client began, ... */
	size_t hello_len;	/* ... its beginning */
	bool insists;		/* ... and shall not be with the session that is there */
	bool held_change;	/* DTLS: a ChangeCipherSpec that came too early for OpenSSL */
	bool renegotiated;	/* DTLS: the last flight is OpenSSL's to repeat */
	atomic_bool closing;	/* TLS: we want to send our close_notify */
	bool silent;		/* nothing more can be sent */
	bool refuses;		/* the program does not want to renegotiate, ... */
	bool cannot;		/* ... or the kernel has no KTLS_PAUSE for it */
	bool retired;		/* OpenSSL is left behind: it began what the peer refused */
};

/* prepare.c: the kernel has taken these keys. 0 or -ENOMEM. */
int ktls_shadow_start(struct ktls_conn *conn, const struct ktls_keys *keys);
/* OpenSSL stands elsewhere than the kernel. */
void ktls_shadow_set(struct ktls_conn *conn, const struct ktls_half *tx,
		     const struct ktls_half *rx, const struct ktls_messages *out,
		     const struct ktls_messages *in);
void ktls_shadow_free(struct ktls_conn *conn);

/* Is a handshake record that begins with this message OpenSSL's? */
bool ktls_shadow_wants(struct ktls_conn *conn, uint8_t message);
/* DTLS: a message of a handshake that is over, which comes late or once more. */
bool ktls_shadow_is_stale(struct ktls_conn *conn, const uint8_t *data, size_t len);
/* Is it time for the peer's ChangeCipherSpec? */
bool ktls_shadow_changes(struct ktls_conn *conn);
/* Does it belong to what we have asked for, so that the peer is not to blame for it? */
bool ktls_shadow_expects(struct ktls_conn *conn, uint8_t message);
/* A record that the kernel has delivered. 0 or -errno: the connection failed. */
int ktls_shadow_take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len);
/*
 * The peer refuses to renegotiate: 0, the connection goes on with its keys; -EPROTO: it is too late
 * for that, somebody may have shown what he has not proved.
 */
int ktls_shadow_refused(struct ktls_conn *conn);
/*
 * TLS: no other keys are begun any more. TLS 1.2: true: there is a renegotiation that the peer knows
 * of, and that is not done.
 */
bool ktls_shadow_begin_close(struct ktls_conn *conn);
/*
 * Nothing more comes from the peer, or goes there: nor will the answers that somebody waits for.
 * What is half sent is completed.
 */
void ktls_shadow_end(struct ktls_conn *conn);
/* Likewise, before our close_notify. -EAGAIN: it would go into the middle of a flight; later. */
int ktls_shadow_close(struct ktls_conn *conn);

/* OpenSSL may have something to say. 0: all of it is sent, -EAGAIN, -errno. */
int ktls_shadow_run(struct ktls_conn *conn);
/* Sends what waits: 0, -EAGAIN, -errno. Whoever sends data calls this before. */
int ktls_shadow_push(struct ktls_conn *conn);
/* Begins other keys, see ktls_rekey(). */
int ktls_shadow_rekey(struct ktls_conn *conn);
bool ktls_shadow_has_output(struct ktls_conn *conn);
/* The carrier may say when it goes on: where the kernel has no memory it does not. */
bool ktls_shadow_awaits_room(struct ktls_conn *conn);
/* Milliseconds until a flight of DTLS goes again; -1: none. */
int ktls_shadow_timeout(struct ktls_conn *conn);

/* ---- between the files of the shadow; the shadow's lock is held ---- */

/* shadow.c */
bool ktls_shadow_is_tls13(const struct ktls_conn *conn);
bool ktls_shadow_is_dtls(const struct ktls_conn *conn);
/* Lets OpenSSL take what it was fed, and go on. 0 or -errno: the connection failed. */
int ktls_shadow_go_on(struct ktls_conn *conn);
bool ktls_shadow_may_renegotiate(struct ktls_conn *conn);
/* May a record of no flight go now? What is half sent is completed before, if that is possible. */
bool ktls_shadow_may_interrupt(struct ktls_conn *conn);
/* So many records more are to come that we have asked for. */
void ktls_shadow_expect(struct ktls_conn *conn, unsigned int records);
/* The peer has got something to do, or has done a part of it: it has time for the next. */
void ktls_shadow_grant(struct ktls_conn *conn);

/* change.c: what OpenSSL writes, or takes, from here on is sealed with other keys. 0 or -errno. */
int ktls_change_tx(struct ktls_conn *conn);
int ktls_change_rx(struct ktls_conn *conn);

/* output.c: puts a record behind what waits to be sent. 0 or -errno. */
int ktls_output_queue(struct ktls_conn *conn, enum ktls_item_kind kind, uint8_t type,
		      const uint8_t *data, size_t len);
/* Likewise all that OpenSSL has written. */
int ktls_output_collect(struct ktls_conn *conn);
/* Sends what there is room for: 0, -EAGAIN, -errno. */
int ktls_output_send(struct ktls_conn *conn);
/* Forgets what can neither go on nor be undone. */
void ktls_output_drop(struct ktls_conn *conn);
/* Likewise, and nothing more may follow it: who writes the descriptor himself hears of it. */
void ktls_output_cut(struct ktls_conn *conn);
/* The connection has failed: what waits for the handshake, in the kernel or in a call, never goes. */
void ktls_output_fail(struct ktls_conn *conn);

#endif
