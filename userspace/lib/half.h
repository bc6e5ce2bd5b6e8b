/* SPDX-License-Identifier: MIT */
/* One direction of a record layer in userspace: TLS 1.2, TLS 1.3 and DTLS 1.2. */
#ifndef KTLS_HALF_H
#define KTLS_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "secrets.h"

#define HALF_KEY_MAX	32
#define HALF_NONCE	12
#define HALF_TAG	16
/* A record is at most so much longer than its payload. */
#define HALF_OVERHEAD	(13 + 8 + 1 + HALF_TAG)

struct ktls_half {
	const struct ktls_cipher *cipher;
	uint16_t version;		/* TLS_1_2_VERSION, ... */
	uint8_t key[HALF_KEY_MAX];
	uint8_t fixed[HALF_NONCE];	/* of the nonce; with an explicit one the first bytes */
	uint64_t seq;			/* of the next record; DTLS: with the epoch */
	uint64_t nonce;			/* the next explicit one that we write */
};

/* From what the kernel would be given. Wipe it with OPENSSL_cleanse. */
void ktls_half_set(struct ktls_half *half, const struct ktls_cipher *cipher,
		   const union ktls_key *key);
/* Takes the counters alone. */
void ktls_half_set_position(struct ktls_half *half, const union ktls_key *key);
/* And back, as it stands now. */
void ktls_half_get(const struct ktls_half *half, union ktls_key *key);

/*
 * Seals a record into out, which has room for len + HALF_OVERHEAD: its length; -EMSGSIZE: too
 * long; -EBADMSG: all numbers of the key are used; -EPROTO: OpenSSL failed.
 */
ssize_t ktls_half_seal(struct ktls_half *half, uint8_t type, const uint8_t *data, size_t len,
		       uint8_t *out);
/*
 * Opens a whole record into out, which has room for len: the length of the payload, its type to
 * *type. DTLS takes the number of the record, and it is the next one that is expected after it.
 * -EBADMSG: not sealed with this key and number, or too short; the number is not used up.
 */
ssize_t ktls_half_open(struct ktls_half *half, const uint8_t *record, size_t len, uint8_t *type,
		       uint8_t *out);

#endif
