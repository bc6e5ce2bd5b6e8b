// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening records of datagrams. A datagram may hold several; each is judged alone by its epoch
 * and number, and a bad one is dropped and counted (rfc6347 4.1.2.7).
 */
#include <linux/skbuff.h>

#include "ktls.h"
#include "trace.h"

/* Records of a datagram that are not opened, before the rest of it is dropped. */
#define KTLS_STRAYS_MAX	16

/**
 * ktls_epoch_begin() - a key was installed
 * @ks: bound socket; rx.dir.key is the new key
 * @old: the key before, NULL: it is the first
 *
 * Context: process, rx.dir.lock held.
 * Return: a key that nobody needs any more, or NULL.
 */
struct ktls_key *ktls_epoch_begin(struct ktls_sock *ks, struct ktls_key *old)
{
	struct ktls_rx *rx = &ks->rx;
	struct ktls_key *oldest = rx->previous;

	lockdep_assert_held(&rx->dir.lock);
	ktls_window_init(&rx->dir.key->window, rx->dir.seq & KTLS_DTLS_SEQ_MAX);
	rx->previous = old;
	rx->previous_epoch = rx->epoch;
	rx->previous_until = jiffies + KTLS_PREVIOUS_EPOCH;
	WRITE_ONCE(rx->epoch, ktls_record_epoch(rx->dir.seq));
	WRITE_ONCE(rx->hold, false);
	ktls_udp_drain(ks);
	ktls_datagram_put_first(ks);
	if (!old)
		ktls_datagram_look_later(ks);
	return oldest;
}

static void drop(struct ktls_sock *ks, u64 *cause, enum ktls_stat stat, u64 seq)
{
	(*cause)++;
	ktls_stats_inc(sock_net(&ks->sk), stat);
	trace_ktls_dropped(ks, stat, seq);
}

static void forget_previous(struct ktls_rx *rx)
{
	ktls_crypto_key_free(rx->previous);
	rx->previous = NULL;
}

/* The key of an epoch; NULL: there is none. */
static struct ktls_key *key_of(struct ktls_rx *rx, u64 seq)
{
	int epoch = ktls_record_epoch(seq);

	if (epoch == rx->epoch)
		return rx->dir.key;
	if (rx->previous && time_after_eq(jiffies, rx->previous_until))
		forget_previous(rx);
	return epoch == rx->previous_epoch ? rx->previous : NULL;
}

/* The datagram in work begins with the record behind this one, if there is one. */
static void skip(struct ktls_rx *rx, u32 len)
{
	if (len < rx->datagram->len && pskb_pull(rx->datagram, len))
		return;
	kfree_skb(rx->datagram);
	WRITE_ONCE(rx->datagram, NULL);
}

/* The next record of the datagram in work, in an skb of its own; ERR_PTR: it was dropped. */
static struct sk_buff *take_record(struct ktls_sock *ks, u32 len)
{
	struct ktls_rx *rx = &ks->rx;
	struct sk_buff *skb = rx->datagram;
	struct sk_buff *record;

	if (len == skb->len) {
		WRITE_ONCE(rx->datagram, NULL);
		return skb;
	}
	record = alloc_skb(len, GFP_KERNEL_ACCOUNT);
	if (record && !skb_copy_bits(skb, 0, skb_put(record, len), len)) {
		skb_set_owner_r(record, &ks->sk);
	} else {
		kfree_skb(record);
		record = ERR_PTR(-ENOMEM);
	}
	skip(rx, len);
	return record;
}

static int open_in_place(struct ktls_key *key, struct sk_buff *skb,
			 const struct ktls_header *header)
{
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	int ret;

	key->dst_count = 1;
	sg_set_buf(&key->dst[1], skb->data + prefix, header->payload_len + KTLS_TAG_LEN);
	ret = ktls_crypto_open(key, header->seq, header, true);
	if (!ret) {
		__skb_pull(skb, prefix);
		__skb_trim(skb, header->payload_len);
	}
	return ret;
}

/* From memory that others look at, too. The opened record or ERR_PTR; @skb stays. */
static struct sk_buff *open_copy(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
				 const struct ktls_header *header)
{
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	size_t len = header->payload_len + KTLS_TAG_LEN;
	struct sk_buff *opened;
	int ret;

	/* There is always room for the tag: no entry is empty. */
	opened = alloc_skb(len, GFP_KERNEL_ACCOUNT);
	if (!opened)
		return ERR_PTR(-ENOMEM);
	skb_set_owner_r(opened, &ks->sk);
	skb_put(opened, header->payload_len);

	sg_set_buf(&key->src[1], skb->data + prefix, len);
	sg_set_buf(&key->dst[1], opened->data, len);
	key->src_count = 1;
	key->dst_count = 1;
	ret = ktls_crypto_open(key, header->seq, header, false);
	if (ret) {
		kfree_skb(opened);
		return ERR_PTR(ret);
	}
	return opened;
}

/*
 * Decrypts a record; the opened record or ERR_PTR. Pages may be somebody else's, who writes to them
 * still (what was spliced to UDP on this machine), and a cipher may visit what it has authenticated
 * a second time to decrypt it: only a copy of them is opened.
 */
static struct sk_buff *open_record(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
				   struct ktls_header *header)
{
	struct sk_buff *opened;
	int ret;

	if (skb_linearize(skb)) {
		kfree_skb(skb);
		return ERR_PTR(-ENOMEM);
	}
	header->nonce = ktls_record_nonce(key->format, key->cipher, skb->data);
	if (!skb_cloned(skb)) {
		ret = open_in_place(key, skb, header);
		if (!ret)
			return skb;
		opened = ERR_PTR(ret);
	} else {
		opened = open_copy(ks, key, skb, header);
	}
	kfree_skb(skb);
	return opened;
}

/* rfc9325 4.4: who may try without end finds a forgery some day. */
static int count_failure(struct ktls_sock *ks, struct ktls_key *key, int ret, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;
	u64 memory = 0;

	if (ret != -EBADMSG) {
		drop(ks, &memory, KTLS_STAT_RX_NO_MEMORY, seq);
		return 0;
	}
	drop(ks, &rx->bad_tag, KTLS_STAT_RX_BAD_TAG, seq);
	if (++key->failed < key->cipher->failed_max)
		return 0;
	if (key == rx->previous) {
		forget_previous(rx);
		return 0;
	}
	WRITE_ONCE(rx->dir.err, -EBADMSG);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_GIVEN_UP);
	return -EBADMSG;
}

static void deliver_record(struct ktls_sock *ks, struct ktls_key *key, struct sk_buff *skb,
			   const struct ktls_header *header)
{
	struct ktls_rx *rx = &ks->rx;

	trace_ktls_opened(ks, header->type, header->payload_len, header->seq);
	ktls_window_commit(&key->window, header->seq & KTLS_DTLS_SEQ_MAX);
	if (key == rx->dir.key) {
		rx->dir.seq = (u64)rx->epoch << KTLS_EPOCH_SHIFT |
			      min_t(u64, key->window.next, KTLS_DTLS_SEQ_MAX);
		/* One that comes again, late, announces nothing. */
		if (header->type == KTLS_TYPE_CHANGE_CIPHER_SPEC) {
			rx->dir.may_rekey = true;
			WRITE_ONCE(rx->hold, true);
		}
	}
	ktls_open_count(ks, header);
	*ktls_skb_cb(skb) = (struct ktls_skb_cb){ .type = header->type };
	if (header->type != KTLS_TYPE_DATA && rx->mode == KTLS_CONTROL_QUEUE &&
	    skb_queue_len(&rx->controls) >= KTLS_CONTROL_MAX) {
		atomic64_inc(&rx->overflows);
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
		kfree_skb(skb);
		return;
	}
	ktls_open_enqueue(ks, skb);
}

static void drop_held(struct ktls_sock *ks, struct sk_buff *skb)
{
	ks->rx.ahead_bytes -= skb->truesize;
	kfree_skb(skb);
	atomic64_inc(&ks->rx.overflows);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_OVERFLOW);
}

/*
 * A record whose key is to come. Whether it is a forgery will be seen then: the newest are
 * kept, and most of the buffer stays for records that can be opened.
 */
static void hold(struct ktls_sock *ks, struct sk_buff *skb, u64 seq)
{
	u32 limit = READ_ONCE(ks->sk.sk_rcvbuf) / KTLS_EARLY_SHARE;
	struct ktls_rx *rx = &ks->rx;

	if (IS_ERR(skb)) {
		count_failure(ks, NULL, PTR_ERR(skb), seq);
		return;
	}
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_RX_EARLY);
	__skb_queue_tail(&rx->early, skb);
	rx->ahead_bytes += skb->truesize;
	while (skb_queue_len(&rx->early) > KTLS_EARLY_MAX || rx->ahead_bytes > limit)
		drop_held(ks, __skb_dequeue(&rx->early));
}

/* Is it worth decrypting? Else it is counted. */
static bool is_fresh(struct ktls_sock *ks, const struct ktls_key *key, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;

	if (!key) {
		drop(ks, &rx->bad_epoch, KTLS_STAT_RX_BAD_EPOCH, seq);
		return false;
	}
	switch (ktls_window_check(&key->window, READ_ONCE(rx->window_size),
				  seq & KTLS_DTLS_SEQ_MAX)) {
	case KTLS_FRESH:
		return true;
	case KTLS_REPLAYED:
		drop(ks, &rx->replayed, KTLS_STAT_RX_REPLAYED, seq);
		return false;
	default:
		drop(ks, &rx->too_old, KTLS_STAT_RX_TOO_OLD, seq);
		return false;
	}
}

/* Without a length that makes sense nobody knows where the next record begins. */
static void drop_rest(struct ktls_sock *ks, int ret, u64 seq)
{
	struct ktls_rx *rx = &ks->rx;

	if (ret == -EINVAL)
		drop(ks, &rx->bad_version, KTLS_STAT_RX_BAD_VERSION, seq);
	else
		drop(ks, &rx->bad_length, KTLS_STAT_RX_BAD_LENGTH, seq);
	kfree_skb(rx->datagram);
	WRITE_ONCE(rx->datagram, NULL);
}

/* Opens a record that may be new. 0, or the error that ends all. */
static int open_fresh(struct ktls_sock *ks, struct ktls_key *key, const u8 *raw)
{
	struct ktls_header header = { };
	struct in6_addr to;
	struct sk_buff *skb;
	int ret;

	ret = ktls_record_parse(key->format, key->cipher, raw, &header);
	if (ret) {
		drop_rest(ks, ret, ktls_record_seq(raw));
		return 0;
	}
	ktls_path_destination(ks, ks->rx.datagram, &to);
	skb = take_record(ks, header.record_len);
	if (!IS_ERR(skb))
		skb = open_record(ks, key, skb, &header);
	if (IS_ERR(skb)) {
		ks->rx.strays++;
		return count_failure(ks, key, PTR_ERR(skb), header.seq);
	}
	ktls_path_follow(ks, &to);
	deliver_record(ks, key, skb, &header);
	return 0;
}

/**
 * ktls_epoch_open_next() - deal with the next record of rx.datagram
 * @ks: socket with an RX key and such a datagram
 *
 * Context: process, rx.dir.lock held.
 * Return: 0: it was opened and queued, held or dropped; the error that ends all.
 */
int ktls_epoch_open_next(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	u8 space[KTLS_HEADER_MAX];
	struct ktls_key *key;
	const u8 *raw;
	bool early;
	u64 seq;
	u32 len;

	lockdep_assert_held(&rx->dir.lock);
	raw = skb_header_pointer(rx->datagram, 0, sizeof(space), space);
	if (!raw) {
		drop_rest(ks, -EMSGSIZE, 0);
		return 0;
	}
	seq = ktls_record_seq(raw);
	len = ktls_record_len(rx->dir.key->format, raw);
	key = key_of(rx, seq);
	early = ktls_record_epoch(seq) == rx->epoch + 1;

	/* Every cipher has a tag, and nobody honest makes so many records that are for nobody. */
	if (rx->strays == KTLS_STRAYS_MAX ||
	    ((key || early) && (len > rx->datagram->len ||
				len < rx->dir.key->format->header_len + KTLS_TAG_LEN))) {
		drop_rest(ks, -EMSGSIZE, seq);
		return 0;
	}
	if (!early && is_fresh(ks, key, seq))
		return open_fresh(ks, key, raw);
	rx->strays++;
	if (early)
		hold(ks, take_record(ks, len), seq);
	else
		/* What follows a handshake's record without a key, a Finished, may be ours. */
		skip(rx, len);
	return 0;
}
