/* SPDX-License-Identifier: MIT */
/*
 * The bytes between OpenSSL's memory BIOs and the TCP socket. Received bytes wait here and
 * go to OpenSSL one whole record at a time, so what follows a record is never in OpenSSL.
 */
#ifndef KTLS_WIRE_H
#define KTLS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <openssl/bio.h>

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

struct ktls_wire {
	int fd;			/* our duplicate of the caller's TCP socket */
	BIO *rbio, *wbio;	/* the SSL owns them */
	struct ktls_flow tx, rx;
	uint8_t *in;		/* received, not yet given to OpenSSL */
	size_t start, end;	/* of it */
	size_t sent;		/* of what wbio holds */
	size_t counted;		/* of what wbio holds, by tx */
	bool eof;
	bool unframed;		/* what came is not TLS records: all goes to OpenSSL */
};

int ktls_wire_init(struct ktls_wire *wire, int fd);
/* Frees the buffer (wiped) and closes the duplicate. */
void ktls_wire_free(struct ktls_wire *wire);

/* Reads what TCP has: its length, 0 at the end of the stream, or -errno. */
ssize_t ktls_wire_fill(struct ktls_wire *wire, int flags);
/* Length of the first record when it is there as a whole, else 0. */
size_t ktls_wire_record(const struct ktls_wire *wire);
/* Gives OpenSSL one record. 0, -EAGAIN when none is there as a whole, -ENOMEM. */
int ktls_wire_feed(struct ktls_wire *wire);
/* Sends what OpenSSL wrote. 0: all of it; -EAGAIN, -EINTR, ...: call again. */
int ktls_wire_flush(struct ktls_wire *wire, int flags);
bool ktls_wire_has_output(const struct ktls_wire *wire);

#endif
