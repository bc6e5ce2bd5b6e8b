// SPDX-License-Identifier: MIT
/*
 * What a real kernel does not do on demand: no room, no memory, limits that are near; with OpenSSL as
 * the peer of a made up kernel (fake.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "fake.h"
#include "link.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

/* The carrier is full when the KeyUpdate, or any message of a handshake, is to go. */
static void check_no_room(int tls13)
{
	struct fake_counts counts;
	int times, good = 1;

	for (times = 1; times < 20; times++) {
		shadow_begin(tls13, 0);
		fake_no_room(ktls_fd(l.ours), times);
		good = good && !ktls_rekey(l.ours) && ktls_rekeying(l.ours);
		good = good && ktls_timeout(l.ours) >= 0;
		counts = fake_counts(ktls_fd(l.ours));
		/* Who waits for POLLOUT must get it, as long as data may go. */
		if (tls13)
			good = good && !counts.is_paused &&
			       (times < 2 || ktls_send(l.ours, "x", 1, 0) == -EAGAIN);
		shadow_move(times + 10);
		counts = fake_counts(ktls_fd(l.ours));
		good = good && counts.tx_keys == 2 && !counts.is_paused &&
		       ktls_send(l.ours, "x", 1, 0) == 1 && !ktls_rekeying(l.ours);
		if (!good)
			break;
		shadow_end();
	}
	ok(good, "no room, up to %d times: it goes later, once: %s", times,
	   good ? "" : ktls_error(l.ours));
}

static void check_refused_key(int tls13)
{
	char c;

	shadow_begin(tls13, 0);
	fake_refuse_keys(ktls_fd(l.ours), 1, EINVAL);
	(void)ktls_rekey(l.ours);
	shadow_move(6);
	ok(ktls_send(l.ours, "x", 1, 0) < 0 && ktls_error(l.ours)[0],
	   "the kernel does not take a key: nothing goes under the old one: %s",
	   ktls_error(l.ours));
	shadow_end();

	shadow_begin(1, 0);
	fake_refuse_keys(ktls_fd(l.ours), 1, ENOMEM);
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, &c, 1) < 0 && strstr(ktls_error(l.ours), "peer's new key"),
	   "nor for the peer's: %s", ktls_error(l.ours));
	shadow_end();
}

/* That there is no memory for a key now says nothing about later. */
static void check_late_key(void)
{
	char c;

	shadow_begin(1, 0);
	fake_refuse_keys(ktls_fd(l.ours), 3, ENOMEM);
	ok(!ktls_rekey(l.ours) && ktls_send(l.ours, "x", 1, 0) == -EAGAIN &&
	   fake_counts(ktls_fd(l.ours)).tx_keys == 1,
	   "the kernel has no memory for a key: nothing goes under the old one");
	shadow_move(4);
	ok(fake_counts(ktls_fd(l.ours)).tx_keys == 2 && ktls_send(l.ours, "x", 1, 0) == 1 &&
	   peer_receive(&l, &c, 1) == 1, "but later under the new one: %s", ktls_error(l.ours));
	shadow_end();
}

/* What the kernel says is left of the keys decides, without anybody's doing anything. */
static void check_limits(int tls13)
{
	struct fake_counts counts;
	char c = 'x';
	int i;

	shadow_begin(tls13, 0);
	for (i = 0; i < 2000; i++)
		(void)ktls_send(l.ours, &c, 1, 0);
	shadow_move(4);
	counts = fake_counts(ktls_fd(l.ours));
	ok(counts.tx_keys == 1, "limits: far away, the keys stay");
	fake_left(ktls_fd(l.ours), 10, ~0ULL);
	for (i = 0; i < 70000 && fake_counts(ktls_fd(l.ours)).tx_keys == 1; i++) {
		(void)ktls_send(l.ours, &c, 1, 0);
		if (i % 1000 == 0 || ktls_rekeying(l.ours))
			shadow_move(4);
	}
	counts = fake_counts(ktls_fd(l.ours));
	ok(counts.tx_keys >= 2 && i < 70000, "limits: near, they change, after %d records", i);
	shadow_end();
}

static void check_seconds(void)
{
	char c = 'x';

	shadow_begin(1, 1);
	ktls_rekey_after(l.ours, 0, 0, 1);
	ok(ktls_send(l.ours, &c, 1, 0) == 1 && fake_counts(ktls_fd(l.ours)).tx_keys == 1,
	   "seconds: not at once");
	atomic_fetch_sub(&l.ours->rekeying.since_ms, 1001);
	ok(ktls_send(l.ours, &c, 1, 0) == 1 && fake_counts(ktls_fd(l.ours)).tx_keys == 2 &&
	   ktls_send(l.ours, &c, 1, 0) == 1 && fake_counts(ktls_fd(l.ours)).tx_keys == 2,
	   "seconds: when they have passed, once");
	shadow_end();
}

/* More handshakes than a client may begin in a second. */
static void check_rate(void)
{
	struct fake_counts counts;
	int i;

	shadow_begin(0, 1);
	l.ours->shadow->renegotiations.since_ms = ktls_now_ms();
	l.ours->shadow->renegotiations.used = 98;
	for (i = 0; i < 40; i++) {
		if (SSL_renegotiate_abbreviated(l.peer.ssl) != 1)
			break;
		SSL_do_handshake(l.peer.ssl);
		peer_flush(&l.peer, peer_output(&l.peer));
		shadow_move(4);
		l.ours->shadow->renegotiations.since_ms = ktls_now_ms();
	}
	counts = fake_counts(ktls_fd(l.ours));
	ok(counts.tx_keys == 3 && counts.rx_keys == 3, "a client may not begin too many: %u",
	   counts.tx_keys - 1);
	shadow_end();
}

/* A record that the kernel has taken comes once more, when OpenSSL has the connection again. */
static void check_replay(int tls13)
{
	char buf[100], old[200], *at;
	ssize_t n, got;
	long len;

	shadow_begin(tls13, 0);
	shadow_move(4);
	ok(SSL_write(l.peer.ssl, "once", 4) == 4, "replay: sent");
	len = BIO_get_mem_data(l.peer.wbio, &at);
	memcpy(old, at, (size_t)len);
	peer_flush(&l.peer, (size_t)len);
	ok(link_receive(&l, buf, 4) == 4 && !ktls_detach(l.ours), "replay: received, handed back: %s",
	   ktls_error(l.ours));
	ok(send(l.peer.fd, old, (size_t)len, MSG_NOSIGNAL) == len, "replay: sent again");
	n = link_receive(&l, buf, 4);
	ok(n < 0, "replay: not received again: %zd %s", n, ktls_error(l.ours));
	got = peer_receive(&l, buf, 1);
	ok(got == -SSL_ERROR_SSL &&
	   ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC,
	   "replay: and the peer is told: %zd", got);
	shadow_end();
}

/* rfc5246 7.2.2: no_renegotiation answers the beginning of a handshake, not its middle. */
static void check_late_refusal(void)
{
	static const uint8_t refusal[] = { ALERT_WARNING, SSL_AD_NO_RENEGOTIATION };
	int ret;

	shadow_begin(0, 1);
	shadow_move(2);
	SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	while (!ktls_rekeying(l.ours))
		(void)ktls_recv(l.ours, &ret, sizeof(ret), MSG_DONTWAIT);
	ret = ktls_control_take(l.ours, RECORD_ALERT, refusal, sizeof(refusal));
	ok(ret == -EPROTO, "a client that refuses what it has begun: %s", ktls_error(l.ours));
	shadow_end();

	shadow_begin(0, 1);
	ok(!ktls_control_take(l.ours, RECORD_ALERT, refusal, sizeof(refusal)) &&
	   !ktls_rekey(l.ours) && ktls_rekeying(l.ours), "a refusal of nothing is nothing");
	shadow_move(8);
	ok(fake_counts(ktls_fd(l.ours)).tx_keys == 2 && !ktls_rekeying(l.ours), "new keys then");
	shadow_end();
}

/* Where others may go on to send, the numbers of the kernel are not for OpenSSL. */
static void check_no_pause(void)
{
	char c;

	shadow_begin(1, 0);
	shadow_move(2);
	fake_no_pause(ktls_fd(l.ours), 1);
	ok(ktls_detach(l.ours) == -ENOPROTOOPT && ktls_in_kernel(l.ours) &&
	   ktls_send(l.ours, "x", 1, 0) == 1 && peer_receive(&l, &c, 1) == 1,
	   "no pause: it stays in the kernel: %s", ktls_error(l.ours));
	fake_no_pause(ktls_fd(l.ours), 0);
	ok(!ktls_detach(l.ours), "and leaves it with one");
	shadow_end();
}

/* What the kernel still has for OpenSSL when the connection is handed back. */
static void check_handback_late(void)
{
	char buf[10];

	shadow_begin(1, 1);
	shadow_move(2);
	/* The peer counts a record more, which nobody has read yet, and has another key. */
	SSL_write(l.peer.ssl, "a", 1);
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	SSL_write(l.peer.ssl, "b", 1);
	peer_flush(&l.peer, peer_output(&l.peer));
	fake_read_ahead(ktls_fd(l.ours), 2);
	ok(!ktls_detach(l.ours), "handed back behind a KeyUpdate: %s", ktls_error(l.ours));
	ok(link_receive(&l, buf, 2) == 2 && !memcmp(buf, "ab", 2), "and nothing is lost: %s",
	   ktls_error(l.ours));
	shadow_end();
}

/* Where it does not work, all is as before. */
static void check_kept(void)
{
	shadow_begin(1, 1);
	ok(!ktls_keep(l.ours), "kept");
	fake_no_pause(ktls_fd(l.ours), 1);
	ok(ktls_detach(l.ours) < 0 && l.ours->keeper, "not handed back, and kept");
	shadow_end();
}

/* What the peer wants answered when we have closed our direction comes to nothing, but no harm. */
static void check_half_closed(int kept)
{
	char buf[10];

	shadow_begin(1, 0);
	shadow_move(3);
	ok(!kept || !ktls_keep(l.ours), "half closed: %s", kept ? "kept" : "not kept");
	ok(!ktls_shutdown(l.ours), "half closed: shut down");
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	SSL_write(l.peer.ssl, "on", 2);
	SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(l.peer.ssl);
	SSL_write(l.peer.ssl, "it goes", 7);
	peer_flush(&l.peer, peer_output(&l.peer));
	ok(link_receive(&l, buf, 9) == 9 && !memcmp(buf, "onit goes", 9),
	   "half closed: all of it comes: %s", ktls_error(l.ours));
	shadow_end();
}

static void *take_turns(void *arg)
{
	atomic_bool *stop = arg;
	char c;

	while (!*stop) {
		peer_fill(&l.peer);
		ERR_clear_error();
		(void)SSL_read(l.peer.ssl, &c, 1);
		peer_flush(&l.peer, peer_output(&l.peer));
		poll(&(struct pollfd){ .fd = l.peer.fd, .events = POLLIN }, 1, 5);
	}
	return NULL;
}

/* Who reads the descriptor himself finds all of the data there, though somebody sends with ktls_send. */
static void check_plain_reader(void)
{
	atomic_bool halt = false;
	pthread_t thread;
	char buf[10];
	int fd;

	shadow_begin(0, 0);
	fd = ktls_fd(l.ours);
	ok(!ktls_attend(l.ours), "plain reader");
	fcntl(fd, F_SETFL, 0);
	ok(!ktls_rekey(l.ours), "plain reader: keys change");
	SSL_write(l.peer.ssl, "data", 4);
	peer_flush(&l.peer, peer_output(&l.peer));
	pthread_create(&thread, NULL, take_turns, &halt);
	ok(ktls_send(l.ours, "x", 1, 0) == 1 && !ktls_rekeying(l.ours),
	   "plain reader: sent with the new ones: %s", ktls_error(l.ours));
	halt = true;
	pthread_join(thread, NULL);
	ok(!ktls_pending(l.ours) && recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == 4,
	   "plain reader: has its data");
	shadow_end();
}

int main(void)
{
	int tls13;

	fake_kernel();
	for (tls13 = 0; tls13 < 2; tls13++) {
		check_no_room(tls13);
		check_refused_key(tls13);
		check_limits(tls13);
	}
	for (tls13 = 0; tls13 < 2; tls13++)
		check_replay(tls13);
	check_late_key();
	check_seconds();
	check_rate();
	check_late_refusal();
	check_no_pause();
	check_handback_late();
	check_kept();
	check_half_closed(0);
	check_half_closed(1);
	check_plain_reader();
	return tap_done();
}
