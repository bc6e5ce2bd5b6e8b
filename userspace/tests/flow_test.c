// SPDX-License-Identifier: MIT
#include <string.h>

#include "flow.h"
#include "tap.h"

static const uint8_t stream[] = {
	22, 3, 3, 0, 3, 1, 2, 3,			/* handshake, in the clear */
	22, 3, 3, 0, 0,					/* an empty one */
	20, 3, 3, 0, 1, 1,				/* ChangeCipherSpec */
	22, 3, 3, 0, 10, 0, 0, 0, 0, 0, 0, 0, 7, 9, 9,	/* Finished, nonce 7 */
	23, 3, 3, 0, 9, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 9,	/* data, nonce 0xffff */
};

static void check_end(const struct ktls_flow *flow, size_t cut)
{
	static const uint8_t seq[8] = { [7] = 2 }, nonce[8] = { [5] = 1 };
	uint8_t out[8], next[8];

	ktls_flow_rec_seq(flow, out);
	ktls_flow_next_nonce(flow, next);
	ok(flow->sealed && ktls_flow_is_whole(flow) && !memcmp(out, seq, 8) &&
	   !memcmp(next, nonce, 8), "cut at %zu: two sealed records, the nonce carries over", cut);
}

int main(void)
{
	struct ktls_flow flow;
	size_t cut, i;

	for (cut = 0; cut <= sizeof(stream); cut++) {
		memset(&flow, 0, sizeof(flow));
		ktls_flow_feed(&flow, stream, cut);
		ktls_flow_feed(&flow, stream + cut, sizeof(stream) - cut);
		check_end(&flow, cut);
	}
	memset(&flow, 0, sizeof(flow));
	for (i = 0; i < sizeof(stream); i++)
		ktls_flow_feed(&flow, stream + i, 1);
	check_end(&flow, 1);

	ktls_flow_feed(&flow, stream, 7);
	ok(!ktls_flow_is_whole(&flow), "in the middle of a record");
	ktls_flow_feed(&flow, stream + 7, 1);
	ok(ktls_flow_is_whole(&flow) && flow.seq == 3, "and behind it");
	ktls_flow_feed(&flow, stream + 13, 6);
	ok(flow.seq == 0 && !flow.has_nonce, "a second ChangeCipherSpec starts again at 0");
	return tap_done();
}
