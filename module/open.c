// SPDX-License-Identifier: GPL-2.0-only
/* Opening the record at the head of the stream: into the reader's memory or into an skb. */
#include <linux/mm.h>
#include <linux/uio.h>

#include "ktls.h"
#include "trace.h"

/* Below this many bytes copying is cheaper than pinning the reader's pages. */
#define KTLS_DIRECT_MIN		2048
/* Of a record that is copied, with what TLS 1.3 has behind the payload. */
#define KTLS_SMALL_MAX		(KTLS_DIRECT_MIN + KTLS_TRAILER_MAX)
/* Records of TLS 1.3 that are not taken for unpadded data after one that was not. */
#define KTLS_WARY_RECORDS	64
/* Largest order of the pages that opened records lie in. */
#define KTLS_OPEN_ORDER		2

/**
 * struct reader_pages - a reader's memory, pinned
 * @pages: each with a reference
 * @count: how many
 */
struct reader_pages {
	struct page *pages[KTLS_DST_MAX];
	unsigned int count;
};

static void put_reader_pages(struct reader_pages *reader, bool dirty)
{
	while (reader->count) {
		struct page *page = reader->pages[--reader->count];

		if (dirty)
			set_page_dirty_lock(page);
		put_page(page);
	}
}

/* What the type of TLS 1.3 is looked for in at once. */
#define KTLS_UNPAD_CHUNK	64

/*
 * Entries of key->dst for the next @len bytes of @to, which advances, and for the trailer;
 * -errno: it did not.
 */
static int map_reader(struct ktls_key *key, struct iov_iter *to, u32 len,
		      struct reader_pages *reader)
{
	u32 trailer = ktls_record_trailer_len(key->format);
	unsigned int max = KTLS_DST_MAX - trailer;
	u32 done = 0, n;
	ssize_t got;
	size_t start;

	key->dst_count = 0;
	while (done < len && reader->count < max) {
		struct page **pages = reader->pages + reader->count;

		got = iov_iter_get_pages2(to, pages, len - done, max - reader->count, &start);
		if (got <= 0)
			break;
		for (done += got; got; got -= n, start = 0) {
			n = min_t(u32, got, PAGE_SIZE - start);
			key->dst_count = ktls_crypto_add(key->dst, key->dst_count,
							 reader->pages[reader->count++], start, n);
		}
	}
	if (done == len) {
		if (trailer)
			sg_set_buf(&key->dst[++key->dst_count], &key->trailer, trailer);
		return 0;
	}
	iov_iter_revert(to, done);
	put_reader_pages(reader, false);
	return -EFAULT;
}

/* TCP has a fragment for each page, though pages follow one another. */
static unsigned int join(struct scatterlist *table, unsigned int entries)
{
	unsigned int count = 0, i;

	for (i = 1; i <= entries; i++)
		count = ktls_crypto_add(table, count, sg_page(&table[i]), table[i].offset,
					table[i].length);
	return count;
}

static int map_source(struct ktls_sock *ks, const struct ktls_header *header)
{
	struct ktls_key *key = ks->rx.dir.key;
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	int ret;

	ret = ktls_stream_map(ks, prefix, header->record_len - prefix, key->src + 1,
			      KTLS_SRC_MAX);
	if (ret < 0)
		return ret;
	key->src_count = join(key->src, ret);
	return 0;
}

static int open_mapped(struct ktls_sock *ks, const struct ktls_header *header, bool in_place)
{
	struct ktls_dir *dir = &ks->rx.dir;

	return ktls_crypto_open(dir->key, dir->seq, header, in_place);
}

/* TLS 1.3: whether what was opened for a reader is what it looked like: data without padding. */
static bool was_data(struct ktls_sock *ks, const struct ktls_key *key)
{
	struct net *net = sock_net(&ks->sk);
	struct ktls_rx *rx = &ks->rx;

	if (!key->format->inner || key->trailer == KTLS_TYPE_DATA)
		return true;
	rx->wary = KTLS_WARY_RECORDS;
	if (!key->trailer && rx->no_pad)
		ktls_stats_inc(net, KTLS_STAT_RX_NO_PAD_VIOLATION);
	ktls_stats_inc(net, KTLS_STAT_RX_DECRYPT_RETRY);
	return false;
}

/* -EAGAIN: the record does not fit this way; nothing happened. */
static int open_direct(struct ktls_sock *ks, const struct ktls_header *header,
		       struct iov_iter *to)
{
	struct reader_pages reader = { .count = 0 };
	int ret;

	if (map_source(ks, header))
		return -EAGAIN;
	if (map_reader(ks->rx.dir.key, to, header->payload_len, &reader))
		return -EAGAIN;
	ret = open_mapped(ks, header, false);
	if (!ret && !was_data(ks, ks->rx.dir.key))
		ret = -EAGAIN;
	if (ret) {
		struct ktls_key *key = ks->rx.dir.key;

		/* Nobody is shown what was not authenticated, or is not for readers of data. */
		sg_zero_buffer(key->dst + 1, key->dst_count, header->payload_len, 0);
		iov_iter_revert(to, header->payload_len);
	}
	put_reader_pages(&reader, user_backed_iter(to));
	return ret;
}

/*
 * Neither pins nor allocates anything for a record that is copied sooner than that is done.
 * -EAGAIN: it has to be opened another way; nothing happened.
 */
static int open_small(struct ktls_sock *ks, struct ktls_header *header, struct iov_iter *to)
{
	u32 len = header->payload_len + ktls_record_trailer_len(ks->rx.dir.key->format);
	struct ktls_key *key = ks->rx.dir.key;
	struct ktls_rx *rx = &ks->rx;
	size_t copied;
	int ret;

	if (!rx->small)
		rx->small = kmalloc(KTLS_SMALL_MAX, GFP_KERNEL_ACCOUNT);
	if (!rx->small || map_source(ks, header))
		return -EAGAIN;
	key->dst_count = 1;
	sg_set_buf(&key->dst[1], rx->small, len);
	ret = open_mapped(ks, header, false);
	if (ret)
		return ret;
	if (key->format->inner) {
		len = ktls_record_unpad(rx->small, len);
		if (!len || rx->small[--len] != KTLS_TYPE_DATA)
			return -EAGAIN;
	}
	copied = copy_to_iter(rx->small, len, to);
	if (copied < len) {
		iov_iter_revert(to, copied);
		return -EAGAIN;
	}
	header->payload_len = len;
	return 0;
}

static struct sk_buff *alloc_opened(struct ktls_sock *ks, u32 len)
{
	struct sk_buff *skb;
	int ret;

	skb = alloc_skb_with_frags(0, len, KTLS_OPEN_ORDER, &ret, GFP_KERNEL_ACCOUNT);
	if (!skb)
		return NULL;
	skb->len = len;
	skb->data_len = len;
	skb_set_owner_r(skb, &ks->sk);
	return skb;
}

/* Ciphertext in too many places for a scatterlist is copied together, then opened there. */
static int gather(struct ktls_sock *ks, const struct ktls_header *header, struct sk_buff *skb)
{
	const struct ktls_key *key = ks->rx.dir.key;
	u32 from = ktls_record_prefix_len(key->format, key->cipher);
	u32 at, n;
	int i, ret;

	for (i = 0, at = 0; i < skb_shinfo(skb)->nr_frags; i++, at += n) {
		skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		n = skb_frag_size(frag);
		ret = ktls_stream_copy(ks, from + at, skb_frag_address(frag), n);
		if (ret)
			return ret;
	}
	return 0;
}

static int open_into(struct ktls_sock *ks, const struct ktls_header *header, struct sk_buff *skb,
		     bool in_place)
{
	struct ktls_key *key = ks->rx.dir.key;
	int n = 0;

	if (skb->len)
		n = skb_to_sgvec_nomark(skb, key->dst + 1, 0, skb->len);
	if (n < 0)
		return n;
	key->dst_count = n;
	return open_mapped(ks, header, in_place);
}

/* Finds type and length of a record of TLS 1.3. -EBADMSG: it may not be like this. */
static int strip(const struct ktls_format *format, struct sk_buff *skb, struct ktls_header *header)
{
	u32 left = header->payload_len + KTLS_TRAILER_MAX, n, found = 0;
	u8 bytes[KTLS_UNPAD_CHUNK];

	while (left && !found) {
		n = min_t(u32, left, sizeof(bytes));
		left -= n;
		if (skb_copy_bits(skb, left, bytes, n))
			return -EIO;
		found = ktls_record_unpad(bytes, n);
	}
	if (!found)
		return -EBADMSG;
	header->type = bytes[found - 1];
	header->payload_len = left + found - 1;
	return ktls_record_is_legal(format, header->type, header->payload_len) ? 0 : -EBADMSG;
}

/* The opened record in an skb, or ERR_PTR; -ENOMEM: nothing happened. */
static struct sk_buff *open_to_skb(struct ktls_sock *ks, struct ktls_header *header)
{
	const struct ktls_format *format = ks->rx.dir.key->format;
	bool in_place = map_source(ks, header);
	struct sk_buff *skb;
	int ret = 0;

	skb = alloc_opened(ks, header->payload_len + ktls_record_trailer_len(format) +
			       (in_place ? KTLS_TAG_LEN : 0));
	if (!skb)
		return ERR_PTR(-ENOMEM);
	if (in_place)
		ret = gather(ks, header, skb);
	if (!ret)
		ret = open_into(ks, header, skb, in_place);
	if (!ret && format->inner)
		ret = strip(format, skb, header);
	if (!ret)
		ret = pskb_trim(skb, header->payload_len);
	if (ret) {
		kfree_skb(skb);
		return ERR_PTR(ret);
	}
	*ktls_skb_cb(skb) = (struct ktls_skb_cb){ .type = header->type };
	return skb;
}

/**
 * ktls_open_count() - a record was opened
 * @ks: socket
 * @header: its header
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_open_count(struct ktls_sock *ks, const struct ktls_header *header)
{
	struct net *net = sock_net(&ks->sk);
	struct ktls_rx *rx = &ks->rx;

	ktls_limit_check(ks, &rx->dir);
	ktls_count(&rx->dir.records, 1);
	ktls_count(&rx->dir.bytes, header->payload_len);
	ktls_stats_record(net, KTLS_STAT_RX_RECORDS, KTLS_STAT_RX_BYTES, header->payload_len);
	if (header->type == KTLS_TYPE_DATA)
		return;
	ktls_count(&rx->dir.control, 1);
	ktls_stats_inc(net, KTLS_STAT_RX_CONTROL);
}

/* Is a KeyUpdate complete with this record? */
static bool updates_key(struct ktls_rx *rx, struct sk_buff *skb)
{
	u8 bytes[KTLS_UNPAD_CHUNK];
	bool updates = false;
	u32 at, n;

	for (at = 0; at < skb->len; at += n) {
		n = min_t(u32, skb->len - at, sizeof(bytes));
		if (skb_copy_bits(skb, at, bytes, n))
			break;
		updates |= ktls_record_updates_key(&rx->messages, bytes, n);
	}
	return updates;
}

/* Does what follows need the next key? */
static bool ends_key(struct ktls_rx *rx, const struct ktls_header *header, struct sk_buff *skb)
{
	if (rx->dir.key->format->inner)
		return header->type == KTLS_TYPE_HANDSHAKE && updates_key(rx, skb);
	return header->type == KTLS_TYPE_CHANGE_CIPHER_SPEC;
}

/* The record is no longer the stream's: count it, and what follows from it. */
static void record_done(struct ktls_sock *ks, const struct ktls_header *header,
			struct sk_buff *skb)
{
	struct ktls_rx *rx = &ks->rx;

	trace_ktls_opened(ks, header->type, header->payload_len, rx->dir.seq);
	ktls_stream_consume(ks, header->record_len);
	if (rx->dir.seq == U64_MAX)
		rx->dir.exhausted = true;
	rx->dir.seq++;
	rx->dir.nonce++;
	if (ends_key(rx, header, skb)) {
		rx->dir.may_rekey = true;
		WRITE_ONCE(rx->hold, true);
	}
	ktls_open_count(ks, header);
}

/**
 * ktls_open_is_close_notify() - is an opened record the peer's close_notify?
 * @skb: the record
 *
 * Context: any.
 */
bool ktls_open_is_close_notify(struct sk_buff *skb)
{
	u8 alert[KTLS_ALERT_LEN];

	return skb->len == sizeof(alert) && !skb_copy_bits(skb, 0, alert, sizeof(alert)) &&
	       ktls_record_is_close_notify(ktls_skb_cb(skb)->type, alert, skb->len);
}

/**
 * ktls_open_enqueue() - put an opened record where its reader looks
 * @ks: socket
 * @skb: the record; an empty one of data is dropped
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_open_enqueue(struct ktls_sock *ks, struct sk_buff *skb)
{
	bool closes = ktls_open_is_close_notify(skb);
	struct ktls_rx *rx = &ks->rx;

	if (closes)
		WRITE_ONCE(rx->eof, true);
	if (ktls_skb_cb(skb)->type == KTLS_TYPE_DATA && !skb->len) {
		consume_skb(skb);
	} else if (ktls_skb_cb(skb)->type != KTLS_TYPE_DATA && rx->mode == KTLS_CONTROL_QUEUE) {
		skb_queue_tail(&rx->controls, skb);
		ktls_carrier_wake(ks, EPOLLPRI);
	} else {
		__skb_queue_tail(&rx->queue, skb);
		WRITE_ONCE(rx->queued_bytes, rx->queued_bytes + skb->len);
		if (ktls_skb_cb(skb)->type != KTLS_TYPE_DATA)
			WRITE_ONCE(rx->control_queued, true);
	}
	if (closes)
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP);
}

static int end_direction(struct ktls_sock *ks, int ret)
{
	struct ktls_rx *rx = &ks->rx;

	trace_ktls_refused(ks, ret, rx->dir.seq);
	WRITE_ONCE(rx->dir.err, ret);
	return ret;
}

/* No record can begin so. */
static int refuse_header(struct ktls_sock *ks, int ret)
{
	struct net *net = sock_net(&ks->sk);
	struct ktls_rx *rx = &ks->rx;

	if (ret == -EINVAL) {
		ktls_count(&rx->bad_version, 1);
		ktls_stats_inc(net, KTLS_STAT_RX_BAD_VERSION);
	} else {
		ktls_count(&rx->bad_length, 1);
		ktls_stats_inc(net, KTLS_STAT_RX_BAD_LENGTH);
	}
	return end_direction(ks, ret);
}

static int refuse_record(struct ktls_sock *ks, int ret)
{
	struct net *net = sock_net(&ks->sk);

	if (ret == -EBADMSG) {
		ktls_count(&ks->rx.bad_tag, 1);
		ktls_stats_inc(net, KTLS_STAT_RX_BAD_TAG);
	} else {
		ktls_stats_inc(net, KTLS_STAT_RX_CRYPTO_ERROR);
	}
	return end_direction(ks, ret);
}

static bool queue_is_full(const struct ktls_rx *rx, const struct ktls_header *header)
{
	return (header->type != KTLS_TYPE_DATA || rx->dir.key->format->inner) &&
	       rx->mode == KTLS_CONTROL_QUEUE &&
	       skb_queue_len_lockless(&rx->controls) >= KTLS_CONTROL_MAX;
}

static bool is_small(const struct ktls_header *header, u32 room)
{
	return header->type == KTLS_TYPE_DATA && header->payload_len &&
	       header->payload_len < KTLS_DIRECT_MIN && header->payload_len <= room;
}

static bool fits_reader(const struct ktls_rx *rx, const struct ktls_header *header, u32 room)
{
	return header->type == KTLS_TYPE_DATA && header->payload_len >= KTLS_DIRECT_MIN &&
	       header->payload_len <= room && !rx->dir.cipher->rereads;
}

/*
 * TLS 1.3 shows what is unpadded data only when it is open. Nobody who pads, or sends much else,
 * is to have each record decrypted twice.
 */
static bool looks_like_data(struct ktls_rx *rx)
{
	if (!rx->dir.key->format->inner || rx->no_pad || !rx->wary)
		return true;
	rx->wary--;
	return false;
}

static int open_record(struct ktls_sock *ks, struct ktls_header *header, struct iov_iter *to,
		       u32 room)
{
	struct sk_buff *skb;
	int ret;

	if (to && is_small(header, room)) {
		ret = open_small(ks, header, to);
		if (!ret)
			record_done(ks, header, NULL);
		if (ret != -EAGAIN)
			return ret ?: header->payload_len;
	}
	if (to && fits_reader(&ks->rx, header, room) && looks_like_data(&ks->rx)) {
		ret = open_direct(ks, header, to);
		if (!ret) {
			ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_DIRECT);
			record_done(ks, header, NULL);
			return header->payload_len;
		}
		if (ret != -EAGAIN)
			return ret;
	}
	skb = open_to_skb(ks, header);
	if (IS_ERR(skb))
		return PTR_ERR(skb);
	record_done(ks, header, skb);
	ktls_open_enqueue(ks, skb);
	return 0;
}

/**
 * ktls_open_head() - open the record at the head of the stream
 * @ks: socket with an RX key
 * @to: the reader's memory, NULL: no opening straight into it
 * @room: bytes of @to that the reader wants
 *
 * A record of data that fits goes straight to @to; any other to the queue, or to the queue
 * of control records. A record that is bad ends the direction.
 *
 * Context: process; rx.dir.lock and the carrier's lock held.
 * Return: bytes put into @to, 0: a record was queued or dropped; -ENODATA: there is none
 * that can be opened now; -ENOMEM: try again; else the error that ended the direction.
 */
int ktls_open_head(struct ktls_sock *ks, struct iov_iter *to, u32 room)
{
	struct ktls_rx *rx = &ks->rx;
	struct ktls_header header;
	int ret;

	lockdep_assert_held(&rx->dir.lock);
	if (rx->dir.err)
		return rx->dir.err;
	if (rx->hold || rx->eof)
		return -ENODATA;
	/* Somebody read the carrier in spite of the guard: the rest makes no sense. */
	if (rx->copied_seq != tcp_sk(ks->carrier.sk)->copied_seq) {
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_STOLEN);
		return end_direction(ks, -EBADMSG);
	}
	ret = ktls_stream_head(ks, &header);
	if (ret == -ENODATA)
		return ret;
	if (ret)
		return refuse_header(ks, ret);
	/* rfc5246 6.1: sequence numbers do not wrap. */
	if (rx->dir.exhausted)
		return end_direction(ks, -EBADMSG);
	if (queue_is_full(rx, &header))
		return -ENODATA;

	ret = open_record(ks, &header, to, room);
	return ret >= 0 || ret == -ENOMEM ? ret : refuse_record(ks, ret);
}
