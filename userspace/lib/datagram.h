/* SPDX-License-Identifier: MIT */
/* The wire over UDP: what only datagrams need. */
#ifndef KTLS_DATAGRAM_H
#define KTLS_DATAGRAM_H

#include "wire.h"

/* What a path of IPv6's smallest MTU takes (rfc8200 5): where nothing better is known. */
#define DATAGRAM_SAFE	(1280 - 40 - 8)
/* What a path that drops larger packets without a word takes (rfc6347 4.1.1.1). */
#define DATAGRAM_SMALL	(576 - 60 - 8)

/* Bytes that a datagram to the peer may have now, as far as the kernel knows. */
size_t ktls_datagram_room(const struct ktls_wire *wire);
/* A datagram that a listener received. */
void ktls_datagram_put(struct ktls_wire *wire, const uint8_t *data, size_t len);
/* Sends so many bytes as one datagram: 0 or -errno. */
int ktls_datagram_send(const struct ktls_wire *wire, const uint8_t *data, size_t len, int flags);
/* Length of the records that go into the first datagram. */
size_t ktls_datagram_pack(const struct ktls_wire *wire, const uint8_t *data, size_t len);
/*
 * The handshake has ended, its last flight may still wait to be sent: `in` holds what came early and what came behind it, whole records
 * of later epochs alone, which feed gives to OpenSSL from now on.
 */
void ktls_datagram_release(struct ktls_wire *wire);

#endif
