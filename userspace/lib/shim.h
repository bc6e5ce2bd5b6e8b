/* SPDX-License-Identifier: MIT */
/*
 * Records between TCP and an OpenSSL that has not seen all of them, since the kernel carried the
 * connection for a while: the keys are the same, the numbers are not. Each record is opened with
 * the number that it has on one side and sealed with that of the other.
 */
#ifndef KTLS_SHIM_H
#define KTLS_SHIM_H

#include "half.h"
#include "shadow.h"

struct ktls_conn;

struct ktls_shim {
	struct ktls_conn *conn;
	struct ktls_half wire_rx, wire_tx;	/* as the peer seals and opens */
	struct ktls_half ssl_rx, ssl_tx;	/* as OpenSSL opens and seals */
	struct ktls_messages in, out;		/* TLS 1.3: for KeyUpdates */
	bool dead;				/* a record of the peer did not open */
	uint8_t *text;				/* sealed for the peer, ... */
	size_t len, sent;			/* ... and how much of it was sent */
};

/* A record of the peer goes to OpenSSL: 0 or -errno. */
int ktls_shim_in(struct ktls_shim *shim, BIO *to, const uint8_t *record, size_t len);
/* What OpenSSL has written becomes text: 0 or -errno. */
int ktls_shim_out(struct ktls_shim *shim, BIO *from);
void ktls_shim_free(struct ktls_shim *shim);

#endif
