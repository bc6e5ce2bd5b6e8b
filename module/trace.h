/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, under events/ktls/. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ktls

#if !defined(KTLS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KTLS_TRACE_H

#include <linux/tracepoint.h>

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

#endif /* KTLS_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
