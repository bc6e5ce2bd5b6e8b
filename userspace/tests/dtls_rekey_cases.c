// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "dtls.h"
#include "dtls_rekey_cases.h"
#include "link.h"
#include "path.h"
#include "shadow.h"
#include "tap.h"

#define TIMER_US	50000
#define PATIENCE_MS	20000
#define TEXT		300

/* One way of the path. */
struct way {
	unsigned int loss, delay;	/* of a hundred */
	uint8_t held[2048];
	size_t held_len;
	unsigned int lost, delayed, passed;
};

static struct {
	struct pair ctx;
	struct ktls_conn *ours;
	SSL *peer;
	BIO *rbio, *wbio;
	int udp[2];		/* ours, the peer's */
	struct way to_peer, to_us;
	unsigned int seed;
	size_t ours_got, theirs_got;	/* datagrams of data, ... */
	size_t wrong;			/* ... and those that were not as sent */
	ssize_t our_end;
	int their_end;
} d;

static int percent(void)
{
	d.seed = d.seed * 1103515245 + 12345;
	return (int)(d.seed >> 16) % 100;
}

/* Hands a datagram on, perhaps behind the next, or not at all. */
static void pass(struct way *way, const uint8_t *data, size_t len,
		 void (*to)(const uint8_t *data, size_t len))
{
	if (percent() < (int)way->loss) {
		way->lost++;
		return;
	}
	if (!way->held_len && percent() < (int)way->delay && len <= sizeof(way->held)) {
		memcpy(way->held, data, len);
		way->held_len = len;
		way->delayed++;
		return;
	}
	way->passed++;
	to(data, len);
	if (way->held_len)
		to(way->held, way->held_len);
	way->held_len = 0;
}

static void count(const uint8_t *data, size_t len, size_t *got)
{
	size_t i;

	for (i = 1; i < len; i++)
		d.wrong += data[i] != (uint8_t)(data[0] + i);
	d.wrong += len != TEXT;
	++*got;
}

static void make(uint8_t data[TEXT])
{
	static uint8_t next;
	size_t i;

	data[0] = next++;
	for (i = 1; i < TEXT; i++)
		data[i] = (uint8_t)(data[0] + i);
}

/* ---- the peer ---- */

static void peer_read(const uint8_t *data, size_t len)
{
	uint8_t buf[2048];
	int n;

	BIO_write(d.rbio, data, (int)len);
	ERR_clear_error();
	while ((n = SSL_read(d.peer, buf, sizeof(buf))) > 0)
		count(buf, (size_t)n, &d.theirs_got);
	d.their_end = SSL_get_error(d.peer, n);
	if (d.their_end == SSL_ERROR_SSL)
		printf("# peer: %s\n", ERR_reason_error_string(ERR_peek_error()));
}

static void to_udp(const uint8_t *data, size_t len)
{
	(void)!send(d.udp[1], data, len, 0);
}

/* A datagram each record: so they can be lost and change places one by one. */
static void peer_write(void)
{
	struct dtls_record record;
	char *text;
	size_t len = (size_t)BIO_get_mem_data(d.wbio, &text);
	const uint8_t *at = (uint8_t *)text;

	for (; ktls_dtls_record(at, len, &record); at += record.len, len -= record.len)
		pass(&d.to_us, at, record.len, to_udp);
	(void)BIO_reset(d.wbio);
}

static void move_peer(void)
{
	uint8_t buf[2048];
	ssize_t n;

	while ((n = recv(d.udp[1], buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		pass(&d.to_peer, buf, (size_t)n, peer_read);
	if (SSL_in_init(d.peer) && DTLSv1_handle_timeout(d.peer) < 0)
		printf("# the peer's timer ends it\n");
	peer_write();
}

/* ---- both ---- */

static void move_ours(void)
{
	uint8_t buf[2048];
	ssize_t n;

	if (ktls_timeout(d.ours) == 0)
		(void)ktls_step(d.ours);
	while ((n = ktls_recv(d.ours, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		count(buf, (size_t)n, &d.ours_got);
	if (n != -EAGAIN && d.our_end == -EAGAIN)
		printf("# ours: %zd %s\n", n, ktls_error(d.ours));
	d.our_end = n;
}

static void turn(void)
{
	struct pollfd pfd[] = {
		{ .fd = ktls_poll_fd(d.ours), .events = POLLIN },
		{ .fd = d.udp[1], .events = POLLIN },
	};

	poll(pfd, 2, 5);
	move_ours();
	move_peer();
}

static unsigned int timer(SSL *ssl, unsigned int us)
{
	(void)ssl;
	return us ? (us < 400000 ? 2 * us : us) : TIMER_US;
}

static int begin(size_t suite, int we_serve)
{
	SSL_CTX *ours, *theirs;
	int ret = -EAGAIN, i;

	memset(&d, 0, sizeof(d));
	d.seed = (unsigned int)(suite * 2 + (size_t)we_serve + 1);
	d.our_end = -EAGAIN;
	d.ctx.client_ctx = SSL_CTX_new(DTLS_client_method());
	d.ctx.server_ctx = SSL_CTX_new(DTLS_server_method());
	pair_equip(d.ctx.client_ctx, suites[suite].ec);
	pair_equip(d.ctx.server_ctx, suites[suite].ec);
	SSL_CTX_set_cipher_list(d.ctx.client_ctx, suites[suite].name);
	SSL_CTX_set_cipher_list(d.ctx.server_ctx, suites[suite].name);
	ours = we_serve ? d.ctx.server_ctx : d.ctx.client_ctx;
	theirs = we_serve ? d.ctx.client_ctx : d.ctx.server_ctx;
	d.udp[0] = udp_new();
	d.udp[1] = udp_new();
	udp_join(d.udp[0], d.udp[1]);
	udp_join(d.udp[1], d.udp[0]);
	d.peer = SSL_new(theirs);
	d.rbio = BIO_new(BIO_s_mem());
	d.wbio = BIO_new(BIO_s_mem());
	SSL_set_bio(d.peer, d.rbio, d.wbio);
	SSL_set_options(d.peer, SSL_OP_NO_QUERY_MTU | SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	SSL_set_mtu(d.peer, 1200);
	DTLS_set_timer_cb(d.peer, timer);
	if (we_serve)
		SSL_set_connect_state(d.peer);
	else
		SSL_set_accept_state(d.peer);
	d.ours = ktls_new(ours, d.udp[0], we_serve, NULL, KTLS_REQUIRE_KERNEL);
	if (!d.ours)
		return -errno;
	DTLS_set_timer_cb(ktls_ssl(d.ours), timer);
	for (i = 0; i < 200 && (ret == -EAGAIN || SSL_in_init(d.peer)); i++) {
		if (ret == -EAGAIN)
			ret = ktls_step(d.ours);
		SSL_do_handshake(d.peer);
		peer_write();
		poll(&(struct pollfd){ .fd = d.udp[1], .events = POLLIN }, 1, 5);
		move_peer();
	}
	return ret;
}

static void end(void)
{
	ktls_close(d.ours);
	SSL_free(d.peer);
	close(d.udp[0]);
	close(d.udp[1]);
	pair_free(&d.ctx);
}

static void set_path(unsigned int loss, unsigned int delay)
{
	d.to_peer.loss = d.to_us.loss = loss;
	d.to_peer.delay = d.to_us.delay = delay;
}

static struct ktls_info info(void)
{
	struct ktls_info i = { 0 };
	socklen_t len = sizeof(i);

	getsockopt(ktls_fd(d.ours), SOL_KTLS, KTLS_INFO, &i, &len);
	return i;
}

/* Datagrams both ways until some have arrived on either side: 1. */
static int carries(void)
{
	size_t ours = d.ours_got, theirs = d.theirs_got;
	int64_t limit = ktls_now_ms() + PATIENCE_MS;
	uint8_t data[TEXT];

	while ((d.ours_got < ours + 3 || d.theirs_got < theirs + 3) && ktls_now_ms() < limit &&
	       d.our_end == -EAGAIN) {
		make(data);
		(void)ktls_send(d.ours, data, TEXT, MSG_DONTWAIT);
		if (!SSL_in_init(d.peer)) {
			make(data);
			(void)SSL_write(d.peer, data, TEXT);
		}
		turn();
	}
	if (d.ours_got < ours + 3 || d.theirs_got < theirs + 3 || d.wrong)
		printf("# ours %zu theirs %zu wrong %zu; %zd %s\n", d.ours_got - ours,
		       d.theirs_got - theirs, d.wrong, d.our_end, ktls_error(d.ours));
	return d.ours_got >= ours + 3 && d.theirs_got >= theirs + 3 && !d.wrong;
}

/* Until both directions have so many new keys and neither side is at it any more: 1. */
static int wait_for_keys(unsigned int rekeys)
{
	int64_t limit = ktls_now_ms() + PATIENCE_MS;
	struct ktls_info i = info();

	while ((i.tx.rekeys < rekeys || i.rx.rekeys < rekeys || ktls_rekeying(d.ours) ||
		SSL_in_init(d.peer)) && ktls_now_ms() < limit && d.our_end == -EAGAIN) {
		turn();
		i = info();
	}
	if (i.tx.rekeys != rekeys || i.rx.rekeys != rekeys)
		printf("# rekeys %u %u of %u; rekeying %d, peer in init %d %s\n", i.tx.rekeys, i.rx.rekeys, rekeys,
		       ktls_rekeying(d.ours), SSL_in_init(d.peer), SSL_state_string_long(d.peer));
	return i.tx.rekeys == rekeys && i.rx.rekeys == rekeys;
}

static void peer_begins(void)
{
	SSL_renegotiate(d.peer);
	SSL_do_handshake(d.peer);
	peer_write();
}

static void check_suite(size_t suite, int we_serve)
{
	int ret = begin(suite, we_serve);
	const char *name = suites[suite].name, *role = we_serve ? "server" : "client";

	ok(!ret && ktls_in_kernel(d.ours) && carries(), "%s %s: connected: %d %s", name, role, ret,
	   d.ours ? ktls_error(d.ours) : ktls_last_error());
	ok(!ktls_rekey(d.ours) && wait_for_keys(1) && carries(), "%s %s: ours: %s", name, role,
	   ktls_error(d.ours));
	peer_begins();
	ok(wait_for_keys(2) && carries(), "%s %s: the peer's: %s", name, role, ktls_error(d.ours));
	end();
}

/* Data that meets OpenSSL in a handshake ends the connection: none may be under way. */
static void drain(void)
{
	int i;

	if (d.to_peer.held_len)
		peer_read(d.to_peer.held, d.to_peer.held_len);
	d.to_peer.held_len = 0;
	set_path(0, 0);
	for (i = 0; i < 5; i++)
		turn();
}

static void check_losses(unsigned int loss, unsigned int delay, int we_serve)
{
	unsigned int i, done = 0;

	ok(!begin(0, we_serve) && carries(), "%u %% lost, %u %% late: connected", loss, delay);
	set_path(loss, delay);
	for (i = 1; i <= 10; i++) {
		drain();
		/* A HelloRequest of OpenSSL's is not sent again when it is lost. */
		if (we_serve || i % 2)
			set_path(loss, delay);
		if (i % 2)
			(void)ktls_rekey(d.ours);
		else
			peer_begins();
		turn();
		set_path(loss, delay);
		done += wait_for_keys(i) && carries();
		set_path(loss, delay);
		if (done < i)
			break;
	}
	ok(done == 10, "%u %% lost, %u %% late, %s: %u of 10 times other keys; %u and %u lost", loss, delay,
	   we_serve ? "server" : "client", done, d.to_us.lost, d.to_peer.lost);
	set_path(0, 0);
	ok(carries(), "and it goes on");
	end();
}

/* Each datagram of a renegotiation lost once. */
static void check_each(int we_serve, int we_begin)
{
	unsigned int i, way, good = 0;

	for (way = 0; way < 2; way++)
		for (i = 0; i < 8; i++) {
			struct way *w = way ? &d.to_us : &d.to_peer;
			unsigned int before;
			int64_t limit = ktls_now_ms() + PATIENCE_MS;

			if (begin(0, we_serve) || !carries())
				break;
			if (we_begin)
				(void)ktls_rekey(d.ours);
			else
				peer_begins();
			for (before = w->passed; w->passed < before + i && SSL_in_init(d.peer) &&
			     ktls_now_ms() < limit;)
				turn();
			before = w->lost;
			w->loss = 100;
			while (w->lost == before && ktls_rekeying(d.ours) && ktls_now_ms() < limit)
				turn();
			w->loss = 0;
			good += wait_for_keys(1) && carries();
			end();
		}
	ok(good == 16, "each datagram lost once, %s, begun by %s: %u of 16", we_serve ? "server" : "client",
	   we_begin ? "us" : "the peer", good);
}

/* The peer's half of the record layer, where it stands. */
static void copy_peer(struct ktls_half *half)
{
	union ktls_key key;
	socklen_t len;

	*half = d.ours->shadow->rx;
	len = half->cipher->info_size;
	memset(&key, 0, sizeof(key));
	getsockopt(ktls_fd(d.ours), SOL_TLS, TLS_RX, &key, &len);
	ktls_half_set_position(half, &key);
	/* Others are under way, perhaps. */
	half->seq += 100;
}

static void send_sealed(struct ktls_half *half, uint8_t type, const void *data, size_t len)
{
	uint8_t record[TEXT + HALF_OVERHEAD];
	ssize_t n = ktls_half_seal(half, type, data, len, record);

	if (n < 0 || send(d.udp[1], record, (size_t)n, 0) != n)
		printf("# not sent\n");
}

static void *send_late(void *arg)
{
	uint8_t data[TEXT];

	make(data);
	usleep(100000);
	send_sealed(arg, RECORD_DATA, data, sizeof(data));
	return NULL;
}

/* A ChangeCipherSpec of no handshake: data is waited for all the same; but not many. */
static void check_stray_change(int we_serve)
{
	static const uint8_t change[] = { 1 };
	struct ktls_half half;
	pthread_t thread;
	uint8_t buf[TEXT];
	ssize_t n;
	int i;

	ok(!begin(0, we_serve) && carries(), "stray: connected");
	drain();
	copy_peer(&half);
	send_sealed(&half, RECORD_CHANGE_CIPHER_SPEC, change, sizeof(change));
	poll(&(struct pollfd){ .fd = ktls_fd(d.ours), .events = POLLIN }, 1, 1000);
	fcntl(ktls_fd(d.ours), F_SETFL, 0);
	pthread_create(&thread, NULL, send_late, &half);
	n = ktls_recv(d.ours, buf, sizeof(buf), 0);
	pthread_join(thread, NULL);
	ok(n == TEXT, "stray: a ChangeCipherSpec keeps no reader from data: %zd %s", n,
	   ktls_error(d.ours));
	fcntl(ktls_fd(d.ours), F_SETFL, O_NONBLOCK);
	for (i = 0, n = -EAGAIN; i < 2000 && n == -EAGAIN; i++) {
		send_sealed(&half, RECORD_CHANGE_CIPHER_SPEC, change, sizeof(change));
		n = ktls_recv(d.ours, buf, sizeof(buf), 0);
	}
	ok(n == -EPROTO && i > 100, "stray: too many, %d: %s", i, ktls_error(d.ours));
	end();
}

/* Who writes the descriptor himself is not to go on beside a handshake that has failed. */
static void check_refused(void)
{
	int64_t limit = ktls_now_ms() + PATIENCE_MS;

	ok(!begin(0, 1) && carries() && !ktls_keep(d.ours), "refused: kept");
	drain();
	SSL_set_verify(ktls_ssl(d.ours), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	ok(!ktls_rekey(d.ours), "refused: begun");
	while (!d.ours->rx_end && ktls_now_ms() < limit) {
		move_peer();
		usleep(5000);
	}
	ktls_keep_end(d.ours);
	ok(d.ours->rx_end == -EPROTO && send(ktls_fd(d.ours), "SECRET", 6, MSG_NOSIGNAL) == -1 &&
	   errno == EPIPE, "refused: plain writers are, too: %s", ktls_error(d.ours));
	end();
}

/*
 * A fragment of a ClientHello, whose rest never comes: no timer of DTLS runs yet. It has the random of
 * the first handshake, as GnuTLS's has, and is another hello all the same.
 */
static void check_fragment(void)
{
	static const uint8_t change[] = { 1 };
	uint8_t hello[] = {
		1, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 40, 0xfe, 0xfd, [51] = 0,
	};
	struct ktls_half half;
	int wait, ret;

	ok(!begin(0, 1) && carries(), "a fragment: connected");
	drain();
	copy_peer(&half);
	(void)SSL_get_client_random(ktls_ssl(d.ours), hello + DTLS_MESSAGE_HEADER + 2, DTLS_RANDOM);
	send_sealed(&half, RECORD_HANDSHAKE, hello, sizeof(hello));
	poll(&(struct pollfd){ .fd = ktls_fd(d.ours), .events = POLLIN }, 1, 1000);
	move_ours();
	wait = ktls_timeout(d.ours);
	ok(ktls_rekeying(d.ours) && ktls_send(d.ours, "x", 1, MSG_DONTWAIT) == -EAGAIN && wait > 30000 &&
	   wait <= 60000, "a fragment: data waits, not for ever: %d ms", wait);
	/* What waits for a key is no reason to wait longer. */
	send_sealed(&half, RECORD_CHANGE_CIPHER_SPEC, change, sizeof(change));
	move_ours();
	pthread_mutex_lock(&d.ours->shadow_lock);
	d.ours->shadow->deadline_ms = ktls_now_ms();
	pthread_mutex_unlock(&d.ours->shadow_lock);
	ok(ktls_timeout(d.ours) == 0, "a fragment: there is something to do");
	ret = ktls_step(d.ours);
	ok(ret == -ETIMEDOUT && !ktls_rekeying(d.ours) &&
	   ktls_send(d.ours, "x", 1, MSG_DONTWAIT) == -EPIPE, "a fragment: the end: %d %s", ret,
	   ktls_error(d.ours));
	end();
}

int dtls_rekey_cases(void)
{
	size_t suite;
	int s;

	for (suite = 0; suite < 4; suite++)
		for (s = 0; s < 2; s++)
			check_suite(suite, s);
	for (s = 0; s < 2; s++)
		check_stray_change(s);
	check_refused();
	check_fragment();
	for (s = 0; s < 2; s++) {
		check_losses(0, 30, s);
		check_losses(30, 0, s);
		check_losses(30, 20, s);
		check_each(s, 0);
		check_each(s, 1);
	}
	return tap_done();
}
