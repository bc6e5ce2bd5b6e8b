/* SPDX-License-Identifier: MIT */
/*
 * The bytes between OpenSSL's memory BIOs and the TCP or UDP socket. Received bytes wait here
 * and go to OpenSSL one whole record at a time, so what follows a record is never in OpenSSL.
 */
#ifndef KTLS_WIRE_H
#define KTLS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <openssl/bio.h>

#include "flight.h"
#include "flow.h"

#define RECORD_CHANGE_CIPHER_SPEC	20
#define RECORD_ALERT			21
#define RECORD_HANDSHAKE		22
#define RECORD_DATA			23
#define ALERT_WARNING			1
#define ALERT_FATAL			2
#define RECORD_MAX_PAYLOAD		16384
#define RECORD_MAX			(FLOW_HEADER + RECORD_MAX_PAYLOAD + 2048)

static inline size_t record_body_len(const uint8_t header[FLOW_HEADER])
{
	return (size_t)header[3] << 8 | header[4];
}

/* More than one record, so that a flight of small ones comes with one system call. */
#define WIRE_BUFFER			(RECORD_MAX + 16384)

struct ktls_wire;
struct ktls_shim;

/* What a stream and datagrams do differently. */
struct ktls_wire_kind {
	int type;		/* SOCK_STREAM, SOCK_DGRAM */
	ssize_t (*fill)(struct ktls_wire *wire, int flags);
	int (*feed)(struct ktls_wire *wire);
	int (*flush)(struct ktls_wire *wire, int flags);
};

extern const struct ktls_wire_kind ktls_datagram_kind;

struct ktls_wire {
	const struct ktls_wire_kind *kind;
	int fd;			/* our duplicate of the caller's socket, or a listener's */
	BIO *rbio, *wbio;	/* the SSL owns them */
	struct ktls_flow tx, rx;
	uint8_t *in;		/* received, not yet given to OpenSSL */
	size_t start, end;	/* of it */
	size_t sent;		/* of what wbio holds */
	size_t counted;		/* of what wbio holds, by tx */
	bool eof;
	struct ktls_shim *shim;	/* between fd and OpenSSL; NULL: what passes is the same */
	bool unframed;		/* what came is not TLS records: all goes to OpenSSL */
	/* Datagrams: */
	bool shared;		/* fd is a listener's, who puts into `in` what comes from the peer */
	struct sockaddr_storage peer;	/* of a shared fd */
	socklen_t peer_len;
	struct in6_addr local;		/* where the peer reached a shared fd */
	size_t mtu;		/* bytes that a datagram of the handshake may have */
	bool holds;		/* records that overtook the handshake are held, in: */
	uint8_t *early;
	size_t early_len;
	struct ktls_flight flight;
};

/* Takes a duplicate of fd. */
int ktls_wire_init(struct ktls_wire *wire, int fd);
/* The same over datagrams to one of many peers; fd stays the listener's. */
int ktls_wire_init_shared(struct ktls_wire *wire, int fd);
/* Frees the buffers (wiped); fd stays. */
void ktls_wire_end(struct ktls_wire *wire);
/* ktls_wire_end, and closes the duplicate. */
void ktls_wire_free(struct ktls_wire *wire);
/* The buffers again, after ktls_wire_end: 0 or -ENOMEM. */
int ktls_wire_restart(struct ktls_wire *wire);
bool ktls_wire_is_datagram(const struct ktls_wire *wire);

/* Reads what TCP has: its length, 0 at the end of the stream, or -errno. UDP: a datagram. */
ssize_t ktls_wire_fill(struct ktls_wire *wire, int flags);
/* Length of the first record when it is there as a whole, else 0. */
size_t ktls_wire_record(const struct ktls_wire *wire);
/* Gives OpenSSL one record. 0, -EAGAIN when none is there as a whole, -ENOMEM. */
int ktls_wire_feed(struct ktls_wire *wire);
/* A stream: notes the records that OpenSSL has written, before they are sent. */
void ktls_wire_count(struct ktls_wire *wire);
/* Sends what OpenSSL wrote. 0: all of it; -EAGAIN, -EINTR, ...: call again. */
int ktls_wire_flush(struct ktls_wire *wire, int flags);
bool ktls_wire_has_output(const struct ktls_wire *wire);

#endif
