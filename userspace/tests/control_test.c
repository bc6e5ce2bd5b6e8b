// SPDX-License-Identifier: MIT
/* Alerts and handshake messages as the kernel delivers them, whole and in pieces. */
#include <errno.h>
#include <string.h>

#include "pair.h"
#include "tap.h"

#define ALERT		RECORD_ALERT
#define HANDSHAKE	RECORD_HANDSHAKE

static const struct {
	const char *what;
	int to_server;
	uint8_t type;
	uint8_t data[16];
	size_t len;
	int ret;
	int reply;		/* description of the alert that is due, -1: none */
} cases[] = {
	{ "close_notify", 1, ALERT, { 1, 0 }, 2, 1, -1 },
	{ "close_notify called fatal", 1, ALERT, { 2, 0 }, 2, 1, -1 },
	{ "user_canceled", 1, ALERT, { 1, 90 }, 2, 0, -1 },
	{ "no_renegotiation", 0, ALERT, { 1, 100 }, 2, 0, -1 },
	{ "bad_record_mac", 1, ALERT, { 2, 20 }, 2, -EPROTO, -1 },
	{ "an alert of unknown level", 1, ALERT, { 7, 20 }, 2, -EPROTO, -1 },
	{ "half an alert", 1, ALERT, { 2 }, 1, 0, -1 },
	{ "an empty alert", 1, ALERT, { 0 }, 0, 0, -1 },
	{ "HelloRequest", 0, HANDSHAKE, { 0, 0, 0, 0 }, 4, 0, 100 },
	{ "HelloRequest to a server", 1, HANDSHAKE, { 0, 0, 0, 0 }, 4, -EPROTO, 10 },
	{ "ClientHello", 1, HANDSHAKE, { 1, 0, 0, 2, 9, 9 }, 6, 0, 100 },
	{ "ClientHello to a client", 0, HANDSHAKE, { 1, 0, 0, 2, 9, 9 }, 6, -EPROTO, 10 },
	{ "ClientHello behind a ClientHello", 1, HANDSHAKE, { 1, 0, 0, 1, 9, 1, 0, 0, 0 }, 9, 0, 100 },
	{ "Finished", 1, HANDSHAKE, { 20, 0, 0, 12 }, 4, -EPROTO, 10 },
	{ "ChangeCipherSpec", 1, RECORD_CHANGE_CIPHER_SPEC, { 1 }, 1, -EPROTO, 10 },
	{ "an unknown type", 1, 99, { 1 }, 1, -EPROTO, 10 },
};

static int take(struct ktls_conn *conn, size_t i, size_t piece)
{
	size_t at = 0, n;
	int ret = 0;

	do {
		n = cases[i].len - at < piece ? cases[i].len - at : piece;
		ret = ktls_control_take(conn, cases[i].type, cases[i].data + at, n);
		at += n;
	} while (!ret && at < cases[i].len);
	return ret;
}

static void check(struct pair *pair, size_t i, size_t piece)
{
	struct ktls_conn *conn = cases[i].to_server ? pair->server : pair->client;
	struct ktls_control *c = &conn->control;
	int ret, reply;

	memset(c, 0, sizeof(*c));
	conn->error[0] = '\0';
	ret = take(conn, i, piece);
	reply = c->has_reply ? c->reply[1] : -1;
	ok(ret == cases[i].ret && reply == cases[i].reply && (ret >= 0 || conn->error[0]),
	   "%s, %zu bytes at a time: %d, reply %d", cases[i].what, piece, ret, reply);
}

int main(void)
{
	struct pair pair;
	size_t i, piece;

	if (!pair_init(&pair, "ECDHE+AESGCM", 1) || pair_connect(&pair, NULL, KTLS_USERSPACE))
		return 1;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (piece = 1; piece <= 16; piece *= 4)
			check(&pair, i, piece);

	memset(&pair.server->control, 0, sizeof(pair.server->control));
	for (i = 0; i < 1000 && !ktls_control_take(pair.server, ALERT, cases[2].data, 2); i++)
		;
	ok(i < 1000 && i > 8, "warnings without end: given up after %zu", i);
	pair_disconnect(&pair);
	pair_free(&pair);
	return tap_done();
}
