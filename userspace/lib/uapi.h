/* SPDX-License-Identifier: MIT */
/* What a <linux/ktls.h> of an earlier module lacks. */
#ifndef KTLS_UAPI_H
#define KTLS_UAPI_H

#include <linux/ktls.h>

/* get, set: int, 0 or 1: application data waits as if the carrier had no room. */
#ifndef KTLS_PAUSE
#define KTLS_PAUSE		8
#endif

/* ktls_info.flags: what follows needs the next TLS_RX. */
#ifndef KTLS_F_RX_KEY_DUE
#define KTLS_F_RX_KEY_DUE	(1U << 11)
#endif

#endif
