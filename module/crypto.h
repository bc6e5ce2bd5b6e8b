/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys, and records sealed and opened with them by the kernel's crypto API. */
#ifndef KTLS_CRYPTO_H
#define KTLS_CRYPTO_H

#include <linux/crypto.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>

#include "record.h"
#include "window.h"

#define KTLS_SRC_MAX	40	/* scatterlist entries of what is read */
#define KTLS_DST_MAX	20	/* and of what is written: an skb's fragments and a bit */

/**
 * struct ktls_key - a key and the workspace of the record in work under it
 * @format: protocol version
 * @cipher: cipher
 * @tfm: keyed transform
 * @req: its only request: whoever uses the key holds the lock of its direction
 * @wait: for transforms that answer later
 * @fixed: salt and iv (the iv's current value is struct ktls_dir's business)
 * @info: the UAPI's struct as it came, key included
 * @iv: of the record in work
 * @aad: of the record in work
 * @trailer: TLS 1.3: the type of a record opened elsewhere
 * @src: what is read: @aad, then KTLS_SRC_MAX entries; no entry is marked as the last, but while
 *	the cipher works; likewise @dst
 * @src_count: entries in use, without @aad's; likewise @dst_count
 * @dst: what is written: @aad, then KTLS_DST_MAX entries
 * @window: datagrams received: which numbers of the epoch were seen
 * @failed: datagrams received: records under this key whose tag was wrong
 *
 * Allocated with kmalloc, as transforms may do DMA from @iv and @aad.
 */
struct ktls_key {
	const struct ktls_format *format;
	const struct ktls_cipher *cipher;
	struct crypto_aead *tfm;
	struct aead_request *req;
	struct crypto_wait wait;
	u8 fixed[KTLS_NONCE_LEN];
	u8 info[KTLS_CRYPTO_INFO_MAX];
	u8 iv[KTLS_IV_MAX];
	u8 aad[KTLS_IV_MAX];
	u8 trailer;
	struct scatterlist src[1 + KTLS_SRC_MAX];
	struct scatterlist dst[1 + KTLS_DST_MAX];
	unsigned int src_count;
	unsigned int dst_count;
	struct ktls_window window;
	u64 failed;
};

/**
 * ktls_crypto_add() - one more piece of memory for a table
 * @table: the key's src or dst
 * @count: its entries in use, without the AAD's
 * @page: where the memory is, with @offset and @len
 * @offset: in @page
 * @len: bytes
 *
 * Ciphers begin anew at each entry: what lies behind the last in one allocation joins it.
 *
 * Context: any; there is room for another entry.
 * Return: entries in use now.
 */
static inline unsigned int ktls_crypto_add(struct scatterlist *table, unsigned int count,
					   struct page *page, unsigned int offset, unsigned int len)
{
	struct scatterlist *last = &table[count];

	if (count && compound_head(sg_page(last)) == compound_head(page) &&
	    sg_phys(last) + last->length == page_to_phys(page) + offset) {
		last->length += len;
		return count;
	}
	sg_set_page(last + 1, page, len, offset);
	return count + 1;
}

struct ktls_key *ktls_crypto_key(const struct ktls_format *format,
				 const struct ktls_cipher *cipher, const u8 *info);
void ktls_crypto_key_free(struct ktls_key *key);
int ktls_crypto_seal(struct ktls_key *key, u64 seq, u64 explicit_nonce, u8 type,
		     size_t payload_len, bool in_place);
int ktls_crypto_open(struct ktls_key *key, u64 seq, const struct ktls_header *header,
		     bool in_place);

#endif /* KTLS_CRYPTO_H */
