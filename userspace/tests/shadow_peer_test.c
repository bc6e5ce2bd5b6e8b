// SPDX-License-Identifier: MIT
/* What the peer may and may not do beside the data, and after it; over a made up kernel (fake.h). */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "fake.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

#define ROUNDS_12	60
#define ROUNDS_13	300

static struct fake_counts counts(void)
{
	return fake_counts(ktls_fd(l.ours));
}

static void begin(int tls13, int we_serve)
{
	shadow_begin(tls13, we_serve);
	shadow_move(3);
}

/* TLS 1.2: what the peer seals with, at the number that the kernel expects. */
static struct ktls_half peers_half(void)
{
	struct ktls_flow none = { 0 };
	struct ktls_keys keys;
	struct ktls_half half;

	if (ktls_secrets_derive(l.peer.ssl, &none, &none, &keys))
		printf("Bail out! no keys\n");
	ktls_half_set(&half, keys.cipher, &keys.tx);
	half.seq = counts().rx_seq;
	half.nonce = 1ULL << 40;
	return half;
}

static void send_sealed(struct ktls_half *half, uint8_t type, const void *data, size_t len)
{
	uint8_t record[1000];
	ssize_t n = ktls_half_seal(half, type, data, len, record);

	if (n < 0 || send(l.peer.fd, record, (size_t)n, 0) != n)
		printf("Bail out! not sent\n");
}

/* All that is there. */
static int take(void)
{
	char c;
	int ret;

	while ((ret = (int)ktls_recv(l.ours, &c, 1, MSG_DONTWAIT)) > 0)
		;
	return ret;
}

/* ---- how much ---- */

static void give_nothing_back(void)
{
	l.ours->control.budget.since_ms = ktls_now_ms();
}

/* Who only sends, and changes keys often, has himself asked for what comes. */
static void check_own_handshakes(int we_serve)
{
	int i, ret = 0;

	begin(0, we_serve);
	for (i = 0; i < ROUNDS_12 && !ret; i++) {
		ret = ktls_rekey(l.ours);
		while (!ret && ktls_rekeying(l.ours)) {
			give_nothing_back();
			shadow_move(1);
		}
		ret = ktls_send(l.ours, "x", 1, 0) == 1 ? ret : -1;
	}
	ok(!ret && counts().tx_keys == ROUNDS_12 + 1, "our own handshakes (%s): %d of them, %s",
	   we_serve ? "server" : "client", i, ktls_error(l.ours));
	shadow_end();
}

static void check_own_updates(void)
{
	int i, ret = -EAGAIN;

	begin(1, 0);
	for (i = 0; i < ROUNDS_13 && ret == -EAGAIN; i++) {
		if (ktls_rekey(l.ours))
			break;
		shadow_move(1);
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
		peer_flush(&l.peer, peer_output(&l.peer));
		give_nothing_back();
		ret = take();
	}
	ok(i == ROUNDS_13 && counts().rx_keys == ROUNDS_13 + 1, "answers to our KeyUpdates: %d, %s", i,
	   ktls_error(l.ours));
	shadow_end();
}

/* What it was not asked for is counted as ever. */
static void check_unasked(void)
{
	int i, ret = -EAGAIN;

	begin(1, 0);
	if (ktls_rekey(l.ours))
		printf("Bail out! no KeyUpdate\n");
	for (i = 0; i < ROUNDS_13 && ret == -EAGAIN; i++) {
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(l.peer.ssl);
		peer_flush(&l.peer, peer_output(&l.peer));
		give_nothing_back();
		ret = take();
	}
	ok(ret == -EPROTO && i < ROUNDS_13, "KeyUpdates without end: %d", i);
	shadow_end();
}

/* ---- in which pieces ---- */

/* A client's hello, as OpenSSL has sealed it. */
static size_t make_hello(struct ktls_half half, uint8_t *hello, size_t size)
{
	uint8_t record[1000], type;
	ssize_t n;

	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	n = peer_output(&l.peer) <= sizeof(record) && sizeof(record) <= size ?
	    BIO_read(l.peer.wbio, record, sizeof(record)) : -1;
	n = n > 0 ? ktls_half_open(&half, record, (size_t)n, &type, hello) : -1;
	if (n < 10)
		printf("Bail out! no ClientHello\n");
	return n < 10 ? 0 : (size_t)n;
}

/* rfc5246 6.2.1: a message may be cut anywhere. */
static void check_pieces(void)
{
	uint8_t hello[1000];
	struct ktls_half half;
	size_t len;

	begin(0, 1);
	half = peers_half();
	len = make_hello(half, hello, sizeof(hello));
	send_sealed(&half, RECORD_HANDSHAKE, hello, 1);
	ok(take() == -EAGAIN && ktls_detach(l.ours) == -EAGAIN, "a hello in pieces: one byte");
	send_sealed(&half, RECORD_HANDSHAKE, hello + 1, 2);
	send_sealed(&half, RECORD_HANDSHAKE, hello + 3, len - 3);
	ok(take() == -EAGAIN && l.ours->shadow->shaking,
	   "a hello in pieces: a handshake begins: %s", ktls_error(l.ours));
	shadow_end();
}

/* rfc5246 7.1 */
static void check_change(const char *what, const void *data, size_t len)
{
	struct ktls_half half;
	int ret;

	begin(0, 0);
	if (ktls_rekey(l.ours))
		printf("Bail out! no handshake\n");
	half = peers_half();
	send_sealed(&half, RECORD_CHANGE_CIPHER_SPEC, data, len);
	ret = take();
	ok(ret == -EPROTO && strstr(ktls_error(l.ours), "that is none"),
	   "a ChangeCipherSpec of %s: %d, %s", what, ret, ktls_error(l.ours));
	shadow_end();
}

/* The rest of a message that was refused is not for OpenSSL in userspace. */
static void check_detach(void)
{
	static const uint8_t message[] = { 1, 0, 0, 10, 'x' }, rest[9] = { 0 };
	struct ktls_half half;
	int ret;

	begin(0, 1);
	l.ours->shadow->refuses = true;
	half = peers_half();
	send_sealed(&half, RECORD_HANDSHAKE, message, sizeof(message));
	ret = take();
	ok(ret == -EAGAIN && ktls_detach(l.ours) == -EAGAIN, "half a message: not detached: %s",
	   ktls_error(l.ours));
	if (!ktls_in_kernel(l.ours)) {
		shadow_end();
		return;
	}
	send_sealed(&half, RECORD_HANDSHAKE, rest, sizeof(rest));
	ret = take();
	ok(ret == -EAGAIN && !ktls_detach(l.ours), "the other half: detached: %s", ktls_error(l.ours));
	shadow_end();
}

/* ---- what else ---- */

static void check_fragment_length(void)
{
	begin(0, 0);
	SSL_set_tlsext_max_fragment_length(ktls_ssl(l.ours), TLSEXT_max_fragment_length_512);
	ok(!ktls_rekey(l.ours) && ktls_payload_max(l.ours) == RECORD_MAX_PAYLOAD, "max_fragment_length");
	shadow_move(8);
	ok(counts().tx_keys == 2 && ktls_payload_max(l.ours) == 512,
	   "max_fragment_length: a handshake sets it: %zu", ktls_payload_max(l.ours));
	shadow_end();
}

/* A long way in one direction goes on when the other is closed, under new keys. */
static void check_closed(int attended)
{
	char c;
	int i;

	begin(1, 0);
	if (attended && ktls_attend(l.ours))
		printf("Bail out! not attended\n");
	SSL_shutdown(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	usleep(20000);
	ok(attended ? !ktls_attend(l.ours) : link_receive(&l, &c, 1) == 0, "closed: by the peer");
	ok(!ktls_rekey(l.ours) && counts().tx_keys == 2, "closed: other keys: %s", ktls_error(l.ours));
	ktls_rekey_after(l.ours, 0, 5, 0);
	for (i = 0; i < 6; i++) {
		if (attended)
			(void)ktls_attend(l.ours);
		(void)!send(ktls_fd(l.ours), "x", 1, MSG_NOSIGNAL);
		if (!attended)
			(void)ktls_send(l.ours, "x", 1, 0);
	}
	if (attended)
		(void)ktls_attend(l.ours);
	ok(counts().tx_keys == 3 && peer_receive(&l, &c, 1) == 1, "closed: and again, as they grow old: %u",
	   counts().tx_keys);
	shadow_end();
}

/* No number is used twice. */
static void check_last_number(void)
{
	struct ktls_half half;
	uint8_t record[100];

	begin(0, 0);
	half = peers_half();
	half.seq = UINT64_MAX - 1;
	ok(ktls_half_seal(&half, RECORD_DATA, record, 1, record) > 0 &&
	   ktls_half_seal(&half, RECORD_DATA, record, 1, record) == -EBADMSG, "the last number: TLS");
	half.version = DTLS_1_2_VERSION;
	half.seq = (1ULL << DTLS_SEQ_BITS) - 2;
	ok(ktls_half_seal(&half, RECORD_DATA, record, 1, record) > 0 &&
	   ktls_half_seal(&half, RECORD_DATA, record, 1, record) == -EBADMSG && half.seq >> DTLS_SEQ_BITS == 0,
	   "the last number: of an epoch");
	shadow_end();
}

/* A ticket that came in pieces is not kept. */
static void check_wiped(void)
{
	static const uint8_t nothing[100];	/* a ticket is longer, and no new memory is empty */

	shadow_begin(1, 0);
	SSL_new_session_ticket(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(take() == -EAGAIN && l.ours->record, "wiped: a ticket for a small reader");
	ok(l.ours->record && !memcmp(l.ours->record, nothing, sizeof(nothing)), "wiped: it is gone");
	shadow_end();
}

int main(void)
{
	fake_kernel();
	check_own_handshakes(0);
	check_own_handshakes(1);
	check_own_updates();
	check_unasked();
	check_pieces();
	check_change("two bytes", "\1\1", 2);
	check_change("another byte", "\2", 1);
	check_detach();
	check_fragment_length();
	check_closed(0);
	check_closed(1);
	check_last_number();
	check_wiped();
	return tap_done();
}
