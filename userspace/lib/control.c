// SPDX-License-Identifier: MIT
/* Records that are not application data, as the kernel delivers them. */
#include <errno.h>

#include "conn.h"
#include "dtls.h"
#include "shadow.h"

#define HELLO_REQUEST		0
#define CLIENT_HELLO		1
/* A peer that sends nothing else keeps us busy for nothing. */
#define CONTROL_BURST		256
#define CONTROL_SECOND		32

void ktls_control_reply(struct ktls_conn *conn, uint8_t level, uint8_t description)
{
	pthread_mutex_lock(&conn->lock);
	conn->control.reply[0] = level;
	conn->control.reply[1] = description;
	conn->control.has_reply = true;
	pthread_mutex_unlock(&conn->lock);
}

static int refuse(struct ktls_conn *conn, uint8_t description, const char *sentence)
{
	ktls_control_reply(conn, ALERT_FATAL, description);
	return ktls_fail(conn, EPROTO, "%s", sentence);
}

/* Counts messages, not pieces: a reader with a small buffer gets many of one record. */
static int count(struct ktls_conn *conn)
{
	if (atomic_exchange(&conn->control.has_data, false))
		conn->control.budget.used = 0;
	if (!ktls_budget_spend(&conn->control.budget, ktls_now_ms(), CONTROL_BURST,
			       CONTROL_SECOND))
		return refuse(conn, SSL_AD_UNEXPECTED_MESSAGE,
			      "the peer sends alerts or handshake messages without end");
	return 0;
}

/*
 * rfc5246 7.2.2: whatever the peer calls fatal ends the connection; rfc8446 6.2: all errors do,
 * whatever they are called.
 */
static bool is_fatal(const struct ktls_conn *conn, const uint8_t *alert)
{
	return alert[0] != ALERT_WARNING ||
	       (SSL_version(conn->ssl) == TLS1_3_VERSION && alert[1] != SSL_AD_USER_CANCELLED);
}

static int take_alert(struct ktls_conn *conn)
{
	const uint8_t *alert = conn->control.alert;

	if (alert[1] == SSL_AD_CLOSE_NOTIFY) {
		ktls_shadow_end(conn);
		return 1;
	}
	if (is_fatal(conn, alert)) {
		/* OpenSSL forgets the session. */
		if (conn->shadow)
			(void)ktls_shadow_take(conn, RECORD_ALERT, alert, sizeof(conn->control.alert));
		return ktls_fail(conn, EPROTO, "the peer ended the connection: %s",
				 SSL_alert_desc_string_long(alert[1]));
	}
	/* OpenSSL would end the connection for it. */
	if (alert[1] == SSL_AD_NO_RENEGOTIATION && ktls_shadow_refused(conn))
		return refuse(conn, SSL_AD_UNEXPECTED_MESSAGE,
			      "the peer refuses a handshake that both have begun");
	return count(conn);
}

static int take_alert_bytes(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_control *c = &conn->control;
	size_t i;
	int ret;

	for (i = 0; i < len; i++) {
		c->alert[c->alert_len++] = data[i];
		if (c->alert_len < sizeof(c->alert))
			continue;
		c->alert_len = 0;
		ret = take_alert(conn);
		if (ret)
			return ret;
	}
	return 0;
}

/* rfc5246 7.4.1.1, 7.2.2: a wish to renegotiate may be answered with a warning. */
static int take_message(struct ktls_conn *conn)
{
	struct ktls_control *c = &conn->control;
	int is_server = SSL_is_server(conn->ssl);

	c->message_len = 0;
	c->message_left = (size_t)c->message[1] << 16 | (size_t)c->message[2] << 8 | c->message[3];
	if (c->message[0] != (is_server ? CLIENT_HELLO : HELLO_REQUEST))
		return refuse(conn, SSL_AD_UNEXPECTED_MESSAGE,
			      "the peer sent a handshake message that has no place here");
	ktls_control_reply(conn, ALERT_WARNING, SSL_AD_NO_RENEGOTIATION);
	return count(conn);
}

static int take_handshake_bytes(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_control *c = &conn->control;
	size_t skip;
	int ret;

	while (len) {
		if (c->message_left) {
			skip = len < c->message_left ? len : c->message_left;
			c->message_left -= skip;
			data += skip;
			len -= skip;
			continue;
		}
		c->message[c->message_len++] = *data++;
		len--;
		ret = c->message_len == sizeof(c->message) ? take_message(conn) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * rfc6347 4.2.4: a Finished that comes again says that our last flight did not arrive. The
 * rest of the peer's flight, late or twice, says nothing.
 */
static int take_datagram_message(struct ktls_conn *conn, uint8_t type)
{
	if (type == DTLS_FINISHED)
		ktls_repeat_flight(conn);
	else if (type == (SSL_is_server(conn->ssl) ? CLIENT_HELLO : HELLO_REQUEST))
		ktls_control_reply(conn, ALERT_WARNING, SSL_AD_NO_RENEGOTIATION);
	return count(conn);
}

static int take_datagram_messages(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct dtls_message message;
	int ret = 0;

	while (!ret && ktls_dtls_message(data, len, &message)) {
		ret = take_datagram_message(conn, message.type);
		data += message.len;
		len -= message.len;
	}
	return ret;
}

static int take_handshake(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	struct ktls_control *c = &conn->control;
	bool asked;
	int ret;

	if (ktls_shadow_is_stale(conn, data, len))
		return count(conn);
	/* The rest of a message that was refused goes the way of its beginning. */
	if (!c->message_left && !c->message_len && ktls_shadow_wants(conn, data[0])) {
		asked = ktls_shadow_expects(conn, data[0]);
		ret = ktls_shadow_take(conn, RECORD_HANDSHAKE, data, len);
		return ret || asked ? ret : count(conn);
	}
	return ktls_wire_is_datagram(&conn->wire) ? take_datagram_messages(conn, data, len) :
						    take_handshake_bytes(conn, data, len);
}

/* Of TLS 1.2 and DTLS, in a renegotiation alone. */
static int take_change(struct ktls_conn *conn, const uint8_t *data, size_t len)
{
	bool asked;
	int ret;

	if (!ktls_shadow_changes(conn))
		return refuse(conn, SSL_AD_UNEXPECTED_MESSAGE,
			      "the peer sent a ChangeCipherSpec that has no place here");
	/* rfc5246 7.1 */
	if (len != 1 || data[0] != 1)
		return refuse(conn, SSL_AD_ILLEGAL_PARAMETER,
			      "the peer sent a ChangeCipherSpec that is none");
	asked = ktls_shadow_expects(conn, 0);
	ret = ktls_shadow_take(conn, RECORD_CHANGE_CIPHER_SPEC, data, len);
	return ret || asked ? ret : count(conn);
}

int ktls_control_take(struct ktls_conn *conn, uint8_t type, const uint8_t *data, size_t len)
{
	if (!len)
		return count(conn);
	switch (type) {
	case RECORD_ALERT:
		return take_alert_bytes(conn, data, len);
	case RECORD_HANDSHAKE:
		return take_handshake(conn, data, len);
	case RECORD_CHANGE_CIPHER_SPEC:
		return take_change(conn, data, len);
	default:
		return refuse(conn, SSL_AD_UNEXPECTED_MESSAGE,
			      "the peer sent a record of a type that has no place here");
	}
}
