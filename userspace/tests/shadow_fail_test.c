// SPDX-License-Identifier: MIT
/*
 * Handshakes of TLS 1.2 that fail half way, or are not done yet: what waits for them, and what the
 * peer sends before it has proved anything; and changes of keys that the peer's end overtakes.
 * Over a made up kernel (fake.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "fake.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

static struct {
	ssize_t sent, received;
	char why[200];
	atomic_bool done;
} ends;

static struct fake_counts counts(void)
{
	return fake_counts(ktls_fd(l.ours));
}

static void peer_turn(void)
{
	char c;

	peer_fill(&l.peer);
	ERR_clear_error();
	(void)SSL_read(l.peer.ssl, &c, 1);
	peer_flush(&l.peer, peer_output(&l.peer));
}

/* A server asks for a certificate that it will not accept, and the client has begun. */
static void ask_for_certificate(void)
{
	char c;

	memset(&ends, 0, sizeof(ends));
	shadow_begin(0, 1);
	shadow_move(3);
	SSL_set_verify(ktls_ssl(l.ours), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	if (ktls_rekey(l.ours))
		printf("Bail out! no handshake\n");
	peer_turn();
	while (!l.ours->shadow->shaking)
		(void)ktls_recv(l.ours, &c, 1, MSG_DONTWAIT);
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
}

static void *sender(void *arg)
{
	ends.sent = ktls_send(l.ours, "SECRET", 6, 0);
	snprintf(ends.why, sizeof(ends.why), "%s", ktls_error(l.ours));
	ends.done = true;
	return arg;
}

static void *receiver(void *arg)
{
	char c;

	while ((ends.received = ktls_recv(l.ours, &c, 1, 0)) > 0)
		;
	return arg;
}

static void let_it_fail(void)
{
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;

	while (!ends.done && ktls_now_ms() < limit) {
		peer_turn();
		usleep(2000);
	}
}

static void check_refused(int alone)
{
	const char *who = alone ? "who sends alone" : "who sends beside a reader";
	pthread_t threads[2];

	ask_for_certificate();
	if (!alone)
		pthread_create(&threads[0], NULL, receiver, NULL);
	pthread_create(&threads[1], NULL, sender, NULL);
	/* Whoever is first, nobody may send now. */
	usleep(50000);
	let_it_fail();
	pthread_join(threads[1], NULL);
	if (!alone)
		pthread_join(threads[0], NULL);
	ok(ends.sent < 0 && strstr(ends.why, "certificate"), "refused, %s: %zd, %s", who,
	   ends.sent, ends.why);
	ok(alone || ends.received == -EPROTO, "refused: %zd for the reader", ends.received);
	ok(ktls_send(l.ours, "SECRET", 6, 0) == -EPIPE && ktls_recv(l.ours, ends.why, 1, 0) == -EPROTO,
	   "refused, %s: nothing goes later", who);
	ok(send(ktls_fd(l.ours), "SECRET", 6, MSG_NOSIGNAL) == -1 && errno == EPIPE,
	   "refused, %s: nor past us", who);
	shadow_end();
}

/* Where the record of this type ends that OpenSSL has written; 0: there is none. */
static size_t find_record(uint8_t type)
{
	char *at;
	size_t len = (size_t)BIO_get_mem_data(l.peer.wbio, &at), i, n;

	for (i = 0; i + FLOW_HEADER <= len; i += n) {
		n = FLOW_HEADER + record_body_len((uint8_t *)at + i);
		if ((uint8_t)at[i] == type)
			return i + n;
	}
	return 0;
}

/* The client's flight up to its ChangeCipherSpec; what follows is kept. */
static size_t send_change(char *rest, size_t size)
{
	int64_t limit = ktls_now_ms() + LINK_TIMEOUT_MS;
	size_t n, left;
	char c;

	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	while (!(n = find_record(RECORD_CHANGE_CIPHER_SPEC)) && ktls_now_ms() < limit) {
		peer_flush(&l.peer, peer_output(&l.peer));
		(void)ktls_recv(l.ours, &c, 1, MSG_DONTWAIT);
		peer_fill(&l.peer);
		ERR_clear_error();
		(void)SSL_read(l.peer.ssl, &c, 1);
	}
	peer_flush(&l.peer, n);
	left = peer_output(&l.peer);
	return left && left <= size && BIO_read(l.peer.wbio, rest, (int)left) == (int)left ? left : 0;
}

/* Sealed with the key that the client has just changed to. */
static void send_early(const char *text)
{
	struct ktls_flow none = { 0 };
	uint8_t record[200];
	struct ktls_keys keys;
	struct ktls_half half;
	ssize_t n = -1;

	if (!ktls_secrets_derive(l.peer.ssl, &none, &none, &keys)) {
		ktls_half_set(&half, keys.cipher, &keys.tx);
		n = ktls_half_seal(&half, RECORD_DATA, (const uint8_t *)text, strlen(text), record);
	}
	if (n < 0 || send(l.peer.fd, record, (size_t)n, 0) != n)
		printf("Bail out! not sent\n");
}

static void check_before_finished(void)
{
	char rest[1000], text[100] = "";
	ssize_t n;

	shadow_begin(0, 1);
	shadow_move(3);
	ok(send_change(rest, sizeof(rest)) > 0, "before Finished: a client changes its key");
	send_early("no Finished yet");
	n = link_receive(&l, text, sizeof(text));
	ok(n == -EPROTO && counts().rx_keys == 2 && !text[0], "before Finished: no data: %zd, %s", n,
	   ktls_error(l.ours));
	ok(ktls_send(l.ours, "x", 1, 0) == -EPIPE, "before Finished: the end of it");
	shadow_end();
}

static void check_after_finished(void)
{
	char rest[1000], text[10] = "";
	size_t n;

	shadow_begin(0, 1);
	shadow_move(3);
	peer_send(&l.peer, "a", 1);
	n = send_change(rest, sizeof(rest));
	ok(n && send(l.peer.fd, rest, n, 0) == (ssize_t)n, "Finished: comes behind");
	shadow_move(3);
	peer_send(&l.peer, "b", 1);
	ok(link_receive(&l, text, sizeof(text)) == 1 && text[0] == 'b', "Finished: and then data: %s",
	   ktls_error(l.ours));
	shadow_end();
}

/* The peer's end has arrived, and before it unread data and a KeyUpdate. */
static void check_kept_to_end(void)
{
	static char big[RECORD_MAX_PAYLOAD];
	ssize_t n = -1, sum = 0, all = 3 * (ssize_t)sizeof(big) + 100;
	int64_t limit;
	int i;

	shadow_begin(1, 0);
	shadow_move(3);
	fake_full(ktls_fd(l.ours), 10000);
	ok(!ktls_keep(l.ours) && !ktls_shutdown(l.ours), "kept: our side closed");
	for (i = 0; i < 3; i++)
		peer_send(&l.peer, big, sizeof(big));
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	peer_send(&l.peer, big, 100);
	SSL_shutdown(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	(void)shutdown(l.peer.fd, SHUT_WR);
	/* The keeper sees the hangup before anybody reads. */
	usleep(200000);
	for (limit = ktls_now_ms() + 3000; ktls_now_ms() < limit;) {
		n = recv(ktls_fd(l.ours), big, sizeof(big), MSG_DONTWAIT);
		if (!n)
			break;
		if (n < 0)
			usleep(1000);
		sum += n < 0 ? 0 : n;
	}
	ok(!n && sum == all && counts().rx_keys == 2, "kept: to the very end, %zd of %zd", sum, all);
	shadow_end();
}

/* ktls_detach meets the peer's ClientHello behind data, and stays. */
static void check_detach(void)
{
	int ret;

	shadow_begin(0, 1);
	shadow_move(3);
	SSL_write(l.peer.ssl, "a", 1);
	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	fake_read_ahead(ktls_fd(l.ours), 2);
	ret = ktls_detach(l.ours);
	ok(ret == -EAGAIN && l.ours->shadow->shaking, "a handshake while detaching: %d %s", ret,
	   ktls_error(l.ours));
	ok(l.ours->shadow->paused && counts().is_paused &&
	   send(ktls_fd(l.ours), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0,
	   "a handshake while detaching: data waits for its end");
	shadow_move(5);
	ok(!counts().is_paused && ktls_send(l.ours, "x", 1, 0) == 1 && counts().tx_keys == 2,
	   "a handshake while detaching: and goes");
	shadow_end();
}

static void push_and_send(void)
{
	fake_no_room(ktls_fd(l.ours), 0);
	(void)ktls_shadow_push(l.ours);
	peer_send(&l.peer, "y", 1);
}

/* Another thread sends what a reader was to look after, just when he has found no data. */
static void check_pushed_meanwhile(void)
{
	ssize_t n;
	char c;

	shadow_begin(1, 0);
	shadow_move(3);
	fake_no_room(ktls_fd(l.ours), 1000);
	ok(!ktls_rekey(l.ours) && ktls_rekeying(l.ours), "pushed meanwhile: a KeyUpdate waits");
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	fake_on_nothing(ktls_fd(l.ours), push_and_send);
	n = ktls_recv(l.ours, &c, 1, 0);
	ok(n == 1 && counts().tx_keys == 2, "pushed meanwhile: who may wait does: %zd", n);
	ok(ktls_recv(l.ours, &c, 1, MSG_DONTWAIT) == -EAGAIN, "pushed meanwhile: who may not does not");
	shadow_end();
}

static pthread_t reader;

static void *read_one(void *arg)
{
	char c;

	ends.received = ktls_recv(l.ours, &c, 1, 0);
	return arg;
}

/* In the sender, which has the receiver's lock. */
static void start_reader(void)
{
	pthread_create(&reader, NULL, read_one, NULL);
	while (!atomic_load(&l.ours->receivers))
		usleep(1000);
	usleep(20000);
	peer_send(&l.peer, "y", 1);
}

/* Who waits to send receives only while nobody else wants to. */
static void check_reader_comes(void)
{
	struct timeval limit = { .tv_usec = 300000 };
	ssize_t n;

	shadow_begin(0, 0);
	shadow_move(2);
	if (ktls_rekey(l.ours))
		printf("Bail out! no handshake\n");
	fcntl(ktls_fd(l.ours), F_SETFL, 0);
	setsockopt(ktls_fd(l.ours), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	fake_on_nothing(ktls_fd(l.ours), start_reader);
	n = ktls_send(l.ours, "x", 1, 0);
	pthread_join(reader, NULL);
	ok(n == -EAGAIN && ends.received == 1, "a reader comes: and gets data: %zd", ends.received);
	ok(!l.ours->held_end, "a reader comes: which was not kept for it");
	shadow_end();
}

int main(void)
{
	fake_kernel();
	check_reader_comes();
	check_pushed_meanwhile();
	check_detach();
	check_kept_to_end();
	check_before_finished();
	check_after_finished();
	check_refused(0);
	check_refused(1);
	return tap_done();
}
