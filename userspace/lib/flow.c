// SPDX-License-Identifier: MIT
#include <string.h>

#include "dtls.h"
#include "flow.h"
#include "wire.h"

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void ktls_flow_restart(struct ktls_flow *flow)
{
	flow->sealed = true;
	flow->seq = 0;
	flow->has_nonce = false;
}

static void record_end(struct ktls_flow *flow)
{
	if (flow->header[0] == RECORD_CHANGE_CIPHER_SPEC) {
		/* rfc5246 6.1: the sequence number is zero when a state becomes active. */
		ktls_flow_restart(flow);
	} else if (flow->sealed) {
		flow->seq++;
		flow->has_nonce = flow->nonce_len == FLOW_NONCE;
		memcpy(flow->last_nonce, flow->nonce, FLOW_NONCE);
	}
	flow->header_len = 0;
	flow->nonce_len = 0;
}

static size_t take_header(struct ktls_flow *flow, const uint8_t *data, size_t len)
{
	size_t n = smaller(len, FLOW_HEADER - flow->header_len);

	memcpy(flow->header + flow->header_len, data, n);
	flow->header_len += n;
	if (flow->header_len == FLOW_HEADER) {
		flow->left = record_body_len(flow->header);
		if (!flow->left)
			record_end(flow);
	}
	return n;
}

static size_t take_body(struct ktls_flow *flow, const uint8_t *data, size_t len)
{
	size_t n = smaller(len, flow->left);
	size_t nonce = smaller(n, FLOW_NONCE - flow->nonce_len);

	memcpy(flow->nonce + flow->nonce_len, data, nonce);
	flow->nonce_len += nonce;
	flow->left -= n;
	if (!flow->left)
		record_end(flow);
	return n;
}

void ktls_flow_feed(struct ktls_flow *flow, const uint8_t *data, size_t len)
{
	size_t used;

	while (len) {
		if (flow->left)
			used = take_body(flow, data, len);
		else
			used = take_header(flow, data, len);
		data += used;
		len -= used;
	}
}

void ktls_flow_record(struct ktls_flow *flow, uint64_t seq, const uint8_t *body, size_t len)
{
	if (!dtls_epoch(seq))
		return;
	flow->sealed = true;
	flow->seq = seq + 1;
	flow->has_nonce = len >= FLOW_NONCE;
	if (flow->has_nonce)
		memcpy(flow->last_nonce, body, FLOW_NONCE);
}

bool ktls_flow_is_whole(const struct ktls_flow *flow)
{
	return !flow->header_len && !flow->left;
}

static uint64_t get_be64(const uint8_t in[8])
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | in[i];
	return v;
}

static void put_be64(uint64_t v, uint8_t out[8])
{
	int i;

	for (i = 7; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

void ktls_flow_rec_seq(const struct ktls_flow *flow, uint8_t out[8])
{
	put_be64(flow->seq, out);
}

void ktls_flow_next_nonce(const struct ktls_flow *flow, uint8_t out[FLOW_NONCE])
{
	put_be64(flow->has_nonce ? get_be64(flow->last_nonce) + 1 : flow->seq, out);
}
