/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, under events/ktls/. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ktls

#if !defined(KTLS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KTLS_TRACE_H

#include <linux/tracepoint.h>

#include "stats.h"

struct ktls_sock;

DECLARE_EVENT_CLASS(ktls_socket,
	TP_PROTO(const struct ktls_sock *ks),
	TP_ARGS(ks),
	TP_STRUCT__entry(__field(const void *, ks)),
	TP_fast_assign(__entry->ks = ks;),
	TP_printk("ks=%p", __entry->ks)
);

DEFINE_EVENT(ktls_socket, ktls_attach, TP_PROTO(const struct ktls_sock *ks), TP_ARGS(ks));
DEFINE_EVENT(ktls_socket, ktls_detach, TP_PROTO(const struct ktls_sock *ks), TP_ARGS(ks));

DECLARE_EVENT_CLASS(ktls_record,
	TP_PROTO(const struct ktls_sock *ks, unsigned int type, unsigned int len, u64 seq),
	TP_ARGS(ks, type, len, seq),
	TP_STRUCT__entry(
		__field(const void *, ks)
		__field(unsigned int, type)
		__field(unsigned int, len)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->ks = ks;
		__entry->type = type;
		__entry->len = len;
		__entry->seq = seq;
	),
	TP_printk("ks=%p type=%u len=%u seq=%llu", __entry->ks, __entry->type, __entry->len,
		  __entry->seq)
);

DEFINE_EVENT(ktls_record, ktls_sealed,
	TP_PROTO(const struct ktls_sock *ks, unsigned int type, unsigned int len, u64 seq),
	TP_ARGS(ks, type, len, seq));
DEFINE_EVENT(ktls_record, ktls_opened,
	TP_PROTO(const struct ktls_sock *ks, unsigned int type, unsigned int len, u64 seq),
	TP_ARGS(ks, type, len, seq));

TRACE_EVENT(ktls_refused,
	TP_PROTO(const struct ktls_sock *ks, int err, u64 seq),
	TP_ARGS(ks, err, seq),
	TP_STRUCT__entry(
		__field(const void *, ks)
		__field(int, err)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->ks = ks;
		__entry->err = err;
		__entry->seq = seq;
	),
	TP_printk("ks=%p err=%d seq=%llu", __entry->ks, __entry->err, __entry->seq)
);

TRACE_EVENT(ktls_dropped,
	TP_PROTO(const struct ktls_sock *ks, unsigned int cause, u64 seq),
	TP_ARGS(ks, cause, seq),
	TP_STRUCT__entry(
		__field(const void *, ks)
		__field(unsigned int, cause)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->ks = ks;
		__entry->cause = cause;
		__entry->seq = seq;
	),
	TP_printk("ks=%p cause=%s epoch=%llu seq=%llu", __entry->ks,
		  __print_symbolic(__entry->cause,
				   { KTLS_STAT_RX_BAD_TAG, "bad tag" },
				   { KTLS_STAT_RX_BAD_LENGTH, "bad length" },
				   { KTLS_STAT_RX_BAD_VERSION, "bad version" },
				   { KTLS_STAT_RX_BAD_EPOCH, "bad epoch" },
				   { KTLS_STAT_RX_REPLAYED, "replayed" },
				   { KTLS_STAT_RX_TOO_OLD, "too old" },
				   { KTLS_STAT_RX_NO_MEMORY, "no memory" }),
		  __entry->seq >> 48, __entry->seq & ((1ULL << 48) - 1))
);

#endif /* KTLS_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
