// SPDX-License-Identifier: MIT
/* The last flight of the handshake once more, now that the kernel has the keys. */
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "datagram.h"
#include "dtls.h"
#include "shadow.h"

#define VERIFY_DATA_MAX	64

/* rfc6347 4.2.2: a message keeps its number when it is sent again. */
static size_t make_finished(const struct ktls_conn *conn, uint8_t out[])
{
	uint16_t seq = conn->wire.flight.message_seq;
	uint8_t *data = out + DTLS_MESSAGE_HEADER;
	size_t len = SSL_get_finished(conn->ssl, data, VERIFY_DATA_MAX);

	memset(out, 0, DTLS_MESSAGE_HEADER);
	out[0] = DTLS_FINISHED;
	out[3] = (uint8_t)len;
	out[4] = (uint8_t)(seq >> 8);
	out[5] = (uint8_t)seq;
	out[11] = (uint8_t)len;
	return DTLS_MESSAGE_HEADER + len;
}

static void send_plain(struct ktls_conn *conn)
{
	struct ktls_wire *wire = &conn->wire;
	const struct ktls_flight *flight = &wire->flight;
	size_t at = 0, n;

	ktls_flight_renumber(&wire->flight);
	for (; at < flight->len; at += n) {
		n = ktls_datagram_pack(wire, flight->plain + at, flight->len - at);
		(void)ktls_datagram_send(wire, flight->plain + at, n, MSG_DONTWAIT);
	}
}

/* What cannot be sent now the peer asks for once more. */
void ktls_repeat_flight(struct ktls_conn *conn)
{
	uint8_t finished[DTLS_MESSAGE_HEADER + VERIFY_DATA_MAX];

	/* Since a renegotiation it is OpenSSL's to repeat, which does. */
	if (conn->shadow->renegotiated || !ktls_flight_may_repeat(&conn->wire.flight))
		return;
	send_plain(conn);
	(void)ktls_send_record(conn->fd, RECORD_HANDSHAKE, finished, make_finished(conn, finished),
			       MSG_DONTWAIT);
}
