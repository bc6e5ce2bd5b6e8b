// SPDX-License-Identifier: GPL-2.0-only
/*
 * Composing the record to be sent: its memory, the payload, sealing.
 *
 * A record lies in pieces carved one after another from tx.frag: prefix, payload, trailer, tag.
 * What is copied in is encrypted where it lies. Pages that are spliced in are only read: of them
 * the pieces hold the room for their ciphertext.
 */
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/uio.h>

#include "ktls.h"
#include "trace.h"

/* What ciphers take at once. */
#define KTLS_BLOCK	16
/* A new piece has at least this much room: a prefix and a bit. */
#define KTLS_PIECE_MIN	64

/* Gives back the last @len bytes of the record's room. */
static void shrink(struct ktls_tx *tx, u32 len)
{
	struct ktls_open_record *open = &tx->open;

	while (len) {
		struct bio_vec *piece = &open->pieces[open->piece_count - 1];
		u32 n = min(len, piece->bv_len);

		if (piece->bv_page == tx->frag.page &&
		    piece->bv_offset + piece->bv_len == tx->frag.offset)
			tx->frag.offset -= n;
		piece->bv_len -= n;
		len -= n;
		if (!piece->bv_len) {
			put_page(piece->bv_page);
			open->piece_count--;
		}
	}
}

/* The record's last piece, if it can be made longer. */
static struct bio_vec *last_piece(struct ktls_tx *tx)
{
	struct bio_vec *piece = tx->open.pieces + tx->open.piece_count - 1;
	const struct page_frag *frag = &tx->frag;

	if (!tx->open.piece_count || frag->offset == frag->size || piece->bv_page != frag->page ||
	    piece->bv_offset + piece->bv_len != frag->offset)
		return NULL;
	return piece;
}

/* Room for at most @want more bytes of the record, contiguous; NULL: no memory. */
static u8 *grow(struct ktls_sock *ks, u32 want, u32 *got)
{
	struct ktls_open_record *open = &ks->tx.open;
	struct page_frag *frag = &ks->tx.frag;
	struct bio_vec *piece = last_piece(&ks->tx);
	u8 *room;

	if (!piece &&
	    !skb_page_frag_refill(open->piece_count ? 1 : KTLS_PIECE_MIN, frag, GFP_KERNEL_ACCOUNT))
		return NULL;
	*got = min(want, frag->size - frag->offset);
	room = page_address(frag->page) + frag->offset;
	if (piece) {
		piece->bv_len += *got;
	} else {
		if (open->piece_count == KTLS_PIECES)
			return NULL;
		get_page(frag->page);
		open->pieces[open->piece_count++] = (struct bio_vec){
			.bv_page = frag->page, .bv_offset = frag->offset, .bv_len = *got,
		};
	}
	frag->offset += *got;
	return room;
}

static int reserve(struct ktls_sock *ks, u32 len)
{
	u32 done, got;

	for (done = 0; done < len; done += got) {
		if (!grow(ks, len - done, &got)) {
			shrink(&ks->tx, done);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Where the next @len bytes of plaintext are; the caller knows that an entry is free. */
static void add_source(struct ktls_sock *ks, struct page *page, u32 offset, u32 len)
{
	struct ktls_open_record *open = &ks->tx.open;

	open->src_count = ktls_crypto_add(ks->tx.dir.key->src, open->src_count, page, offset, len);
}

/*
 * TCP takes pages one by one, and a block on both sides of a page's end costs who opens the record
 * an allocation and copies: the payload of what does not fit a page begins with a block. Smaller
 * records lie side by side, as one run of bytes.
 */
static void align(struct page_frag *frag, u32 prefix, u32 len)
{
	u32 len_all = prefix + len + KTLS_TRAILER_MAX + KTLS_TAG_LEN;
	u32 pad = -(frag->offset + prefix) % KTLS_BLOCK;

	if (frag->offset % PAGE_SIZE + len_all > PAGE_SIZE)
		frag->offset += pad;
}

/* With @len bytes of payload at once. */
static int begin(struct ktls_sock *ks, u8 type, u32 len)
{
	struct ktls_key *key = ks->tx.dir.key;
	u32 prefix = ktls_record_prefix_len(key->format, key->cipher);
	struct page_frag *frag = &ks->tx.frag;
	int ret;

	/* Datagrams lie side by side: UDP cuts them apart. */
	if (key->format->stream) {
		if (!skb_page_frag_refill(KTLS_PIECE_MIN + KTLS_BLOCK, frag, GFP_KERNEL_ACCOUNT))
			return -ENOMEM;
		align(frag, prefix, len);
	}
	ret = reserve(ks, prefix);
	if (ret) {
		ktls_compose_drop(&ks->tx);
		return ret;
	}
	ks->tx.open.type = type;
	return 0;
}

/* A contiguous run of @from into the record: bytes, -EFAULT or -ENOMEM. */
static ssize_t append_copy(struct ktls_sock *ks, struct iov_iter *from, u32 len)
{
	struct ktls_tx *tx = &ks->tx;
	u32 got;
	u8 *room;

	room = grow(ks, len, &got);
	if (!room)
		return -ENOMEM;
	if (!copy_from_iter_full(room, got, from)) {
		shrink(tx, got);
		return -EFAULT;
	}
	add_source(ks, tx->frag.page, tx->frag.offset - got, got);
	return got;
}

/* The first run of a bvec iterator. */
static struct page *first_page(const struct iov_iter *from, u32 *offset, u32 *len)
{
	const struct bio_vec *bv = from->bvec;
	size_t skip = from->iov_offset;
	size_t at;

	while (skip >= bv->bv_len) {
		skip -= bv->bv_len;
		bv++;
	}
	at = bv->bv_offset + skip;
	*offset = at % PAGE_SIZE;
	*len = min3((size_t)*len, bv->bv_len - skip, PAGE_SIZE - *offset);
	return bv->bv_page + at / PAGE_SIZE;
}

/* A run of pages into the record by reference: bytes, 0: must be copied, or -ENOMEM. */
static ssize_t append_splice(struct ktls_sock *ks, struct iov_iter *from, u32 len)
{
	struct ktls_open_record *open = &ks->tx.open;
	struct page *page;
	u32 offset;
	int ret;

	/* Copies that follow in this record take an entry a piece. */
	if (!iov_iter_is_bvec(from) || open->src_count >= KTLS_SRC_MAX - KTLS_PIECES ||
	    open->spliced_count == KTLS_SRC_MAX)
		return 0;
	page = first_page(from, &offset, &len);
	if (!sendpage_ok(page))
		return 0;
	ret = reserve(ks, len);
	if (ret)
		return ret;
	if (!open->spliced_count || open->spliced[open->spliced_count - 1] != page) {
		get_page(page);
		open->spliced[open->spliced_count++] = page;
	}
	add_source(ks, page, offset, len);
	iov_iter_advance(from, len);
	return len;
}

static void put_spliced(struct ktls_open_record *open)
{
	while (open->spliced_count)
		put_page(open->spliced[--open->spliced_count]);
}

/**
 * ktls_compose_drop() - forget the open record
 * @tx: sending direction
 *
 * Context: process, tx->dir.lock held.
 */
void ktls_compose_drop(struct ktls_tx *tx)
{
	struct ktls_open_record *open = &tx->open;

	put_spliced(open);
	while (open->piece_count)
		put_page(open->pieces[--open->piece_count].bv_page);
	open->src_count = 0;
	open->len = 0;
}

/**
 * ktls_compose_append() - add payload to the open record, opening one if there is none
 * @ks: socket with a TX key; the open record has room
 * @type: content type, the open record's if there is one
 * @limit: bytes of payload that it may have
 * @from: the payload; advances by what was taken
 * @splice: take pages by reference where possible and right
 *
 * Context: process, tx.dir.lock held.
 * Return: bytes taken, at least 1; -EFAULT, -ENOMEM.
 */
ssize_t ktls_compose_append(struct ktls_sock *ks, u8 type, u32 limit, struct iov_iter *from,
			    bool splice)
{
	struct ktls_tx *tx = &ks->tx;
	u32 len = min_t(size_t, iov_iter_count(from), limit - tx->open.len);
	ssize_t ret = 0;

	lockdep_assert_held(&tx->dir.lock);
	if (!tx->open.len) {
		ret = begin(ks, type, len);
		if (ret)
			return ret;
	}
	if (splice && !tx->dir.cipher->rereads)
		ret = append_splice(ks, from, len);
	if (!ret)
		ret = append_copy(ks, from, len);
	if (ret > 0)
		tx->open.len += ret;
	else if (!tx->open.len)
		ktls_compose_drop(tx);
	return ret;
}

/* Room for what follows the payload, and of that the part that is encrypted. 0 or -ENOMEM. */
static int append_end(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	struct page *page;
	u32 offset, got;
	u8 *room;
	int ret;

	if (!ktls_record_trailer_len(tx->dir.key->format))
		return reserve(ks, KTLS_TAG_LEN);
	room = grow(ks, KTLS_TRAILER_MAX, &got);
	if (!room)
		return -ENOMEM;
	page = tx->frag.page;
	offset = tx->frag.offset - got;
	ret = reserve(ks, KTLS_TAG_LEN);
	if (ret) {
		shrink(tx, got);
		return ret;
	}
	*room = tx->open.type;
	add_source(ks, page, offset, got);
	return 0;
}

/* key->dst over the pieces, without the prefix. */
static void map_pieces(struct ktls_tx *tx, u32 prefix)
{
	struct ktls_open_record *open = &tx->open;
	struct scatterlist *sg = tx->dir.key->dst;
	unsigned int i;

	for (i = 0; i < open->piece_count; i++, prefix = 0) {
		struct bio_vec *piece = &open->pieces[i];

		if (piece->bv_len > prefix)
			sg_set_page(++sg, piece->bv_page, piece->bv_len - prefix,
				    piece->bv_offset + prefix);
	}
	tx->dir.key->dst_count = sg - tx->dir.key->dst;
}

static int encrypt(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	struct ktls_open_record *open = &tx->open;
	struct ktls_key *key = tx->dir.key;
	struct bio_vec *first = open->pieces;
	u32 prefix;

	/* The first piece has room for all of it: KTLS_PIECE_MIN. */
	prefix = ktls_record_prefix(key->format, key->cipher, tx->dir.seq, open->type,
				    open->len, tx->dir.nonce,
				    page_address(first->bv_page) + first->bv_offset);
	map_pieces(tx, prefix);
	key->src_count = open->src_count;
	return ktls_crypto_seal(key, tx->dir.seq, tx->dir.nonce, open->type, open->len,
				!open->spliced_count);
}

/* The number is taken: nothing else will be sealed with it, whatever becomes of the record. */
static void take_number(struct ktls_sock *ks)
{
	struct ktls_dir *dir = &ks->tx.dir;

	if ((dir->seq & dir->key->format->seq_max) == dir->key->format->seq_max) {
		WRITE_ONCE(dir->exhausted, true);
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_TX_SEQUENCE_END);
	}
	/* An epoch is not to be counted on into the next. */
	if (!dir->exhausted || dir->key->format->stream)
		WRITE_ONCE(dir->seq, dir->seq + 1);
	dir->nonce++;
	ktls_limit_check(ks, dir);
}

static void count_sealed(struct ktls_sock *ks)
{
	struct net *net = sock_net(&ks->sk);
	struct ktls_open_record *open = &ks->tx.open;
	struct ktls_dir *dir = &ks->tx.dir;

	trace_ktls_sealed(ks, open->type, open->len, dir->seq);
	ktls_count(&dir->records, 1);
	ktls_count(&dir->bytes, open->len);
	ktls_stats_record(net, KTLS_STAT_TX_RECORDS, KTLS_STAT_TX_BYTES, open->len);
	if (open->spliced_count)
		ktls_stats_inc(net, KTLS_STAT_TX_SPLICED);
	if (open->type == KTLS_TYPE_DATA)
		return;
	ktls_count(&dir->control, 1);
	ktls_stats_inc(net, KTLS_STAT_TX_CONTROL);
	if (open->type == KTLS_TYPE_CHANGE_CIPHER_SPEC && !dir->key->format->inner)
		dir->may_rekey = true;
}

/* A piece that lies where the last one ends becomes part of it. */
static void add_pending(struct ktls_tx *tx, const struct bio_vec *piece)
{
	struct bio_vec *last = tx->pending + tx->pending_count - 1;

	if (tx->pending_count && last->bv_page == piece->bv_page &&
	    last->bv_offset + last->bv_len == piece->bv_offset) {
		last->bv_len += piece->bv_len;
		put_page(piece->bv_page);
		return;
	}
	tx->pending[tx->pending_count++] = *piece;
}

static void move_to_pending(struct ktls_tx *tx)
{
	struct ktls_open_record *open = &tx->open;
	u32 before = tx->pending_bytes, bytes = before;
	unsigned int i;

	for (i = 0; i < open->piece_count; i++) {
		bytes += open->pieces[i].bv_len;
		add_pending(tx, &open->pieces[i]);
	}
	WRITE_ONCE(tx->pending_bytes, bytes);
	if (!tx->dir.key->format->stream)
		tx->sizes[tx->sizes_count++] = bytes - before;
	open->piece_count = 0;
	open->src_count = 0;
	open->len = 0;
	put_spliced(open);
}

/**
 * ktls_compose_seal() - encrypt the open record and queue it for the carrier
 * @ks: socket with a TX key and an open record; fewer than KTLS_PENDING_MAX - KTLS_PIECES
 *	pieces are pending
 *
 * Context: process, tx.dir.lock held; may sleep.
 * Return: 0; -ENOMEM: the record is still open; -EBADMSG: no sequence number is left; else
 * the crypto API's error. The last two end the direction and the record.
 */
int ktls_compose_seal(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	int ret;

	lockdep_assert_held(&tx->dir.lock);
	if (WARN_ON_ONCE(tx->pending_count + KTLS_PIECES > KTLS_PENDING_MAX ||
			 tx->sizes_count == KTLS_PENDING_RECORDS))
		return -ENOBUFS;
	/* The last number was that of the record before; none is opened then. */
	if (WARN_ON_ONCE(tx->dir.exhausted)) {
		ktls_compose_drop(tx);
		return -EBADMSG;
	}
	ret = append_end(ks);
	if (ret)
		return ret;

	ret = encrypt(ks);
	if (ret) {
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_TX_CRYPTO_ERROR);
		/* Not to be tried again: some of it may be encrypted where it lies. */
		if (ret == -ENOMEM)
			ret = -EIO;
		WRITE_ONCE(tx->dir.err, ret);
		ktls_compose_drop(tx);
		return ret;
	}
	count_sealed(ks);
	take_number(ks);
	move_to_pending(tx);
	return 0;
}
