// SPDX-License-Identifier: GPL-2.0-only
/*
 * The undecrypted stream: bytes that were read ahead, then what the carrier's receive queue
 * holds. Everything here runs under the carrier's lock: as its owner, or (scanning only) in
 * its data_ready callback.
 */
#include <linux/skbuff.h>
#include <net/tcp.h>

#include "ktls.h"

/* Headers looked at in one scan: bounds the time spent in a callback. */
#define KTLS_SCAN_MAX	64
/* ... and for FIONREAD, which then says less than there is. */
#define KTLS_READABLE_MAX	1024
/* Linear skbs of ahead are no larger. */
#define KTLS_AHEAD_CHUNK	16384
/* What TCP is not told of at once: bytes, and records. */
#define KTLS_TAKEN_BYTES	8192
#define KTLS_TAKEN_RECORDS	8

static u32 carrier_bytes(const struct sock *csk)
{
	const struct tcp_sock *tp = tcp_sk(csk);
	u32 bytes = READ_ONCE(tp->rcv_nxt) - READ_ONCE(tp->copied_seq);

	/* The FIN has a number of its own. */
	if (bytes && sock_flag(csk, SOCK_DONE))
		bytes--;
	return bytes;
}

/**
 * ktls_stream_bytes() - how much is there
 * @ks: bound socket
 *
 * Context: the carrier's lock held.
 */
u32 ktls_stream_bytes(const struct ktls_sock *ks)
{
	return ks->rx.ahead_bytes + carrier_bytes(ks->carrier.sk) - ks->rx.taken;
}

/**
 * ktls_stream_is_empty() - is nothing there, not even a part of a record?
 * @ks: stream socket
 *
 * Context: any.
 */
bool ktls_stream_is_empty(const struct ktls_sock *ks)
{
	const struct sock *csk;
	bool empty;

	rcu_read_lock();
	csk = READ_ONCE(ks->carrier.sk);
	empty = !csk || (!READ_ONCE(ks->rx.ahead_bytes) && !carrier_bytes(csk));
	rcu_read_unlock();
	return empty;
}

/* What visits a run of bytes within one skb: returns entries used or -errno. */
typedef int (*ktls_visit_t)(struct sk_buff *skb, u32 offset, u32 len, void *context);

static int visit_queue(struct sk_buff_head *queue, struct sk_buff *skb, u32 seq, u32 len,
		       ktls_visit_t visit, void *context)
{
	skb_queue_walk_from(queue, skb) {
		/* Neighbours may overlap: the sequence number tells where to go on. */
		u32 offset = seq - TCP_SKB_CB(skb)->seq;
		u32 n;
		int ret;

		if (offset >= skb->len)
			continue;
		n = min(len, skb->len - offset);
		ret = visit(skb, offset, n, context);
		if (ret)
			return ret;
		seq += n;
		len -= n;
		if (!len)
			return 0;
	}
	return -ENODATA;
}

static int visit_bytes(struct ktls_sock *ks, u32 offset, u32 len, ktls_visit_t visit,
		       void *context)
{
	struct sock *csk = ks->carrier.sk;
	struct sk_buff *skb;
	u32 n;
	int ret;

	skb_queue_walk(&ks->rx.ahead, skb) {
		if (offset >= skb->len) {
			offset -= skb->len;
			continue;
		}
		n = min(len, skb->len - offset);
		ret = visit(skb, offset, n, context);
		if (ret)
			return ret;
		offset = 0;
		len -= n;
		if (!len)
			return 0;
	}
	skb = skb_peek(&csk->sk_receive_queue);
	if (!skb)
		return -ENODATA;
	return visit_queue(&csk->sk_receive_queue, skb,
			   tcp_sk(csk)->copied_seq + ks->rx.taken + offset, len, visit, context);
}

static int visit_copy(struct sk_buff *skb, u32 offset, u32 len, void *context)
{
	u8 **to = context;
	int ret = skb_copy_bits(skb, offset, *to, len);

	*to += len;
	return ret;
}

/**
 * ktls_stream_copy() - copy bytes without consuming them
 * @ks: bound socket
 * @offset: where in the stream
 * @to: room for @len bytes
 * @len: at most ktls_stream_bytes() - @offset
 *
 * Context: the carrier's lock held.
 * Return: 0 or -errno.
 */
int ktls_stream_copy(struct ktls_sock *ks, u32 offset, void *to, u32 len)
{
	return visit_bytes(ks, offset, len, visit_copy, &to);
}

struct sg_cursor {
	struct scatterlist *next;
	unsigned int left;
};

/* An upper bound of the entries that an skb's bytes take. */
static unsigned int skb_entries(const struct sk_buff *skb)
{
	unsigned int n = 1 + skb_shinfo(skb)->nr_frags;
	const struct sk_buff *fragment;

	skb_walk_frags(skb, fragment)
		n += skb_entries(fragment);
	return n;
}

/* May others, who sent their own pages over loopback, still write to them? */
static bool is_shared(const struct sk_buff *skb)
{
	const struct sk_buff *fragment;

	if (skb_has_shared_frag(skb))
		return true;
	skb_walk_frags(skb, fragment)
		if (is_shared(fragment))
			return true;
	return false;
}

static int visit_map(struct sk_buff *skb, u32 offset, u32 len, void *context)
{
	struct sg_cursor *cursor = context;
	int n;

	/* A cipher may visit what it authenticates a second time to decrypt it. */
	if (skb_entries(skb) > cursor->left || is_shared(skb))
		return -ENOSPC;
	n = skb_to_sgvec_nomark(skb, cursor->next, offset, len);
	if (n < 0)
		return n;
	cursor->next += n;
	cursor->left -= n;
	return 0;
}

/**
 * ktls_stream_map() - make scatterlist entries of bytes
 * @ks: bound socket
 * @offset: where in the stream
 * @len: how many
 * @sg: initialized entries, none marked as the last
 * @max: how many of them
 *
 * Context: the carrier's lock held, for as long as the entries are used.
 * Return: entries used; -ENOSPC: the bytes are in too many places, or in memory that others may
 * write to.
 */
int ktls_stream_map(struct ktls_sock *ks, u32 offset, u32 len, struct scatterlist *sg,
		    unsigned int max)
{
	struct sg_cursor cursor = { .next = sg, .left = max };
	int ret;

	ret = visit_bytes(ks, offset, len, visit_map, &cursor);
	return ret ?: cursor.next - sg;
}

static void tell_carrier(struct ktls_sock *ks, u32 len)
{
	struct ktls_rx *rx = &ks->rx;

	tcp_read_done(ks->carrier.sk, len);
	rx->copied_seq = tcp_sk(ks->carrier.sk)->copied_seq;
}

/* TCP looks at its window and at what it has to acknowledge each time it is told of a read. */
static void settle(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;

	if (!rx->taken)
		return;
	tell_carrier(ks, rx->taken);
	rx->taken = 0;
	rx->taken_records = 0;
}

/**
 * ktls_stream_consume() - take a record off the stream
 * @ks: bound socket
 * @len: its bytes: at most ktls_stream_bytes()
 *
 * The carrier may learn it later, but before ktls_stream_scan() returns.
 *
 * Context: process, the carrier's lock held, which is not released before ktls_stream_scan().
 */
void ktls_stream_consume(struct ktls_sock *ks, u32 len)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb;
	u32 n;

	while (len && (skb = skb_peek(&rx->ahead))) {
		n = min(len, skb->len);
		rx->ahead_bytes -= n;
		len -= n;
		if (n < skb->len) {
			__skb_pull(skb, n);
		} else {
			__skb_unlink(skb, &rx->ahead);
			consume_skb(skb);
		}
	}
	if (!len)
		return;
	rx->taken += len;
	if (rx->taken >= KTLS_TAKEN_BYTES || ++rx->taken_records == KTLS_TAKEN_RECORDS)
		settle(ks);
}

static struct sk_buff *new_chunk(struct ktls_sock *ks, u32 len)
{
	struct sk_buff *skb = alloc_skb(len, GFP_KERNEL_ACCOUNT);

	if (skb) {
		skb_put(skb, len);
		skb_set_owner_r(skb, &ks->sk);
	}
	return skb;
}

/**
 * ktls_stream_prepend() - bytes that somebody had read off the carrier
 * @ks: bound socket without an RX key
 * @bytes: the bytes
 * @len: how many
 *
 * Context: process, rx.dir.lock held.
 * Return: 0, -EMSGSIZE, -ENOMEM or -EFAULT; then nothing was added.
 */
int ktls_stream_prepend(struct ktls_sock *ks, sockptr_t bytes, u32 len)
{
	struct sk_buff_head chunks;
	struct sk_buff *skb;
	u32 done, n;
	int ret;

	lockdep_assert_held(&ks->rx.dir.lock);
	if (len > KTLS_PREPEND_MAX - ks->rx.ahead_bytes)
		return -EMSGSIZE;

	__skb_queue_head_init(&chunks);
	for (done = 0; done < len; done += n) {
		n = min_t(u32, len - done, KTLS_AHEAD_CHUNK);
		skb = new_chunk(ks, n);
		ret = -ENOMEM;
		if (!skb)
			goto purge;
		__skb_queue_tail(&chunks, skb);
		ret = -EFAULT;
		if (copy_from_sockptr_offset(skb->data, bytes, done, n))
			goto purge;
	}
	skb_queue_splice_tail(&chunks, &ks->rx.ahead);
	ks->rx.ahead_bytes += len;
	return 0;

purge:
	__skb_queue_purge(&chunks);
	return ret;
}

/**
 * ktls_stream_take_over() - move what the carrier holds of an unfinished record to ahead
 * @ks: bound socket
 *
 * For a carrier whose receive buffer is smaller than the record: only reading opens its
 * window. At most a record's length comes together here.
 *
 * Context: process, rx.dir.lock and the carrier's lock held.
 * Return: 0 or -ENOMEM.
 */
int ktls_stream_take_over(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	u32 len = carrier_bytes(ks->carrier.sk);
	struct sk_buff *skb;
	int ret;

	if (!len)
		return 0;
	skb = new_chunk(ks, len);
	if (!skb)
		return -ENOMEM;
	ret = ktls_stream_copy(ks, rx->ahead_bytes, skb->data, len);
	if (ret) {
		kfree_skb(skb);
		return ret;
	}
	tell_carrier(ks, len);
	__skb_queue_tail(&rx->ahead, skb);
	rx->ahead_bytes += len;
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_DETOURED);
	return 0;
}

static int header_at(struct ktls_sock *ks, u32 offset, struct ktls_header *header)
{
	const struct ktls_key *key = ks->rx.dir.key;
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	u32 bytes = ktls_stream_bytes(ks);
	u8 raw[KTLS_PREFIX_MAX];
	int ret;

	if (bytes < offset + key->format->header_len)
		return -ENODATA;
	ret = ktls_stream_copy(ks, offset, raw, min(prefix, bytes - offset));
	if (!ret)
		ret = ktls_record_parse(key->format, key->cipher, raw, header);
	if (ret)
		return ret;
	if (bytes < offset + header->record_len)
		return -ENODATA;
	header->nonce = ktls_record_nonce(key->format, key->cipher, raw);
	return 0;
}

/**
 * ktls_stream_head() - the header of the whole record at the head
 * @ks: socket with an RX key
 * @header: out
 *
 * Context: the carrier's lock held.
 * Return: 0; -ENODATA: no whole record; others of ktls_record_parse().
 */
int ktls_stream_head(struct ktls_sock *ks, struct ktls_header *header)
{
	return header_at(ks, 0, header);
}

/* Payload of the data records at the head, as far as @enough; *next: what comes then. */
static u32 scan_data(struct ktls_sock *ks, u32 enough, unsigned int limit, int *next,
		     struct ktls_header *header)
{
	u32 offset = 0, bytes = 0;

	do {
		*next = header_at(ks, offset, header);
		if (*next || header->type != KTLS_TYPE_DATA)
			return bytes;
		bytes += header->payload_len;
		offset += header->record_len;
	} while (bytes < enough && --limit);
	return bytes;
}

/* Will TCP take no more before somebody reads? It would count the FIN's number as a byte. */
static bool is_carrier_full(const struct ktls_sock *ks)
{
	return carrier_bytes(ks->carrier.sk) && tcp_epollin_ready(ks->carrier.sk, INT_MAX);
}

static bool can_open(const struct ktls_rx *rx)
{
	return rx->dir.key && !rx->hold && !rx->eof && !rx->dir.err;
}

/**
 * ktls_stream_is_sealed() - does what poll says hang on what a record turns out to be?
 * @ks: socket with an RX key
 *
 * TLS 1.3 hides the types. Plain readers are not to be woken for other records than data, and
 * readers who want many bytes are for any other, as no more bytes will join those before it. For
 * these whatever comes is opened before poll says that it is there.
 *
 * Context: any; the key is kept.
 */
bool ktls_stream_is_sealed(const struct ktls_sock *ks)
{
	return ks->rx.dir.key->format->inner &&
	       (READ_ONCE(ks->rx.mode) == KTLS_CONTROL_QUEUE ||
		READ_ONCE(ks->sk.sk_rcvlowat) > 1);
}

/* As ktls_stream_scan(), where types are hidden from those who poll. */
static void scan_sealed(struct ktls_sock *ks, enum ktls_head *head, bool *chore)
{
	struct ktls_rx *rx = &ks->rx;
	struct ktls_header header;
	int ret = ktls_stream_head(ks, &header);

	if (ret && ret != -ENODATA) {
		*head = KTLS_HEAD_BAD;
	} else if (ret) {
		/* The carrier will take no more, though the record is not whole. */
		*chore = is_carrier_full(ks);
	} else if (READ_ONCE(rx->mode) == KTLS_CONTROL_QUEUE &&
		   skb_queue_len_lockless(&rx->controls) >= KTLS_CONTROL_MAX) {
		/* It may be another of them, and waits, as does the end behind it. */
		*head = KTLS_HEAD_CONTROL;
	} else {
		*head = KTLS_HEAD_SEALED;
		*chore = true;
	}
}

/**
 * ktls_stream_scan() - find out what can be read, after bytes came or went
 * @ks: bound socket
 *
 * Sets rx.head, rx.head_bytes and rx.chore, and tells the carrier of all that was consumed.
 *
 * Context: any; the carrier's lock held.
 */
void ktls_stream_scan(struct ktls_sock *ks)
{
	u32 lowat = max_t(u32, READ_ONCE(ks->sk.sk_rcvlowat), 1);
	enum ktls_head head = KTLS_HEAD_NONE;
	struct ktls_rx *rx = &ks->rx;
	struct ktls_header header;
	bool chore = false;
	u32 bytes = 0;
	int next = -ENODATA;

	settle(ks);
	if (can_open(rx) && ktls_stream_is_sealed(ks)) {
		scan_sealed(ks, &head, &chore);
	} else if (can_open(rx)) {
		bool full = is_carrier_full(ks);

		bytes = scan_data(ks, lowat, KTLS_SCAN_MAX, &next, &header);
		if (bytes)
			head = KTLS_HEAD_DATA;
		else if (next && next != -ENODATA)
			head = KTLS_HEAD_BAD;
		else if (!next && header.type != KTLS_TYPE_DATA)
			head = KTLS_HEAD_CONTROL;

		/* More than this will not come before somebody reads. */
		if (bytes && (full || next != -ENODATA))
			bytes = max(bytes, lowat);
		/* The carrier will take no more, though the record is not whole. */
		if (next == -ENODATA && !bytes && full)
			chore = true;
		/* Nothing but empty records as far as we looked. */
		if (!next && head == KTLS_HEAD_NONE)
			chore = true;
		if (head == KTLS_HEAD_CONTROL && READ_ONCE(rx->mode) == KTLS_CONTROL_QUEUE)
			chore = skb_queue_len_lockless(&rx->controls) < KTLS_CONTROL_MAX;
	}
	WRITE_ONCE(rx->head_bytes, bytes);
	WRITE_ONCE(rx->head, head);
	WRITE_ONCE(rx->chore, chore);
}

/**
 * ktls_stream_has_data() - has a scan found all that readers wait for?
 * @ks: bound socket
 *
 * Bytes that come later change nothing then.
 *
 * Context: any; the carrier's lock held.
 */
bool ktls_stream_has_data(const struct ktls_sock *ks)
{
	return READ_ONCE(ks->rx.head) == KTLS_HEAD_DATA && !READ_ONCE(ks->rx.chore) &&
	       READ_ONCE(ks->rx.head_bytes) >= max_t(u32, READ_ONCE(ks->sk.sk_rcvlowat), 1);
}

/**
 * ktls_stream_readable() - payload of the whole data records at the head, as far as types show
 * @ks: socket with an RX key
 *
 * Context: process, the carrier's lock held.
 */
u32 ktls_stream_readable(struct ktls_sock *ks)
{
	struct ktls_header header;
	int next;

	return can_open(&ks->rx) && !ktls_stream_is_sealed(ks) ?
	       scan_data(ks, U32_MAX, KTLS_READABLE_MAX, &next, &header) : 0;
}
