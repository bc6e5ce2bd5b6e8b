/* SPDX-License-Identifier: MIT */
/* What a client's first record says before OpenSSL has seen it. */
#ifndef KTLS_HELLO_H
#define KTLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether the record holds a whole ClientHello that lists the version among its
 * supported_versions (rfc8446 4.2.1). One without that extension lists none.
 */
bool ktls_hello_offers(const uint8_t *record, size_t len, uint16_t version);

#endif
