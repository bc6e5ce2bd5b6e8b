// SPDX-License-Identifier: MIT
/*
 * What connects standard input and output, both pipes and so spliced, while the peer wants other
 * keys and our answers find no room: over a made up kernel (fake.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "../cli/relay.h"
#include "conn.h"
#include "fake.h"
#include "link.h"
#include "shadow.h"
#include "shadow_link.h"
#include "tap.h"

#define l	shadow_link

#define PIECE		20000	/* more than a record, and than the pipes hold */
#define CHANGES		6	/* of keys in a connection */

static char pattern[PIECE];
static int input, output;	/* the other ends of the pipes */
static pthread_t thread;
static enum status status;
static atomic_bool is_over;
static size_t got_up, got_down;	/* so far, of what goes to the peer and comes from there */
static bool is_wrong;

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("# ktls: ", stdout);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
}

static void *run(void *arg)
{
	struct progress progress;

	progress_start(&progress, true, false);
	status = relay(l.ours, false, 0, &progress);
	is_over = true;
	return arg;
}

/* The pipe of which the relay has the end fd. Returns the other. */
static int replace(int fd)
{
	int ends[2], other = fd == STDIN_FILENO;

	if (pipe2(ends, O_CLOEXEC) || fcntl(ends[0], F_SETPIPE_SZ, 4096) < 0)
		exit(1);
	dup2(ends[!other], fd);
	close(ends[!other]);
	fcntl(ends[other], F_SETFL, O_NONBLOCK);
	return ends[other];
}

static void begin(int tls13, int we_serve)
{
	shadow_begin(tls13, we_serve);
	input = replace(STDIN_FILENO);
	output = replace(STDOUT_FILENO);
	is_over = false;
	is_wrong = false;
	got_up = 0;
	got_down = 0;
	pthread_create(&thread, NULL, run, NULL);
}

static void end(void)
{
	pthread_join(thread, NULL);
	close(input);
	close(output);
	shadow_end();
}

static void compare(const char *data, size_t n, size_t *at)
{
	for (size_t i = 0; i < n; i++)
		is_wrong = is_wrong || data[i] != pattern[(*at + i) % PIECE];
	*at += n;
}

/* What has come to either end is taken; a little, so that pipes are full at times. */
static void take(void)
{
	char buf[1000];
	ssize_t n;

	peer_fill(&l.peer);
	ERR_clear_error();
	n = SSL_read(l.peer.ssl, buf, sizeof(buf));
	if (n > 0)
		compare(buf, (size_t)n, &got_up);
	peer_flush(&l.peer, peer_output(&l.peer));
	n = read(output, buf, sizeof(buf));
	if (n > 0)
		compare(buf, (size_t)n, &got_down);
}

static bool come(size_t up, size_t down)
{
	return got_up >= up && got_down >= down;
}

static bool changed(unsigned int times)
{
	struct fake_counts counts = fake_counts(ktls_fd(l.ours));

	return counts.tx_keys > times && counts.rx_keys > times && !counts.is_paused &&
	       SSL_is_init_finished(l.peer.ssl);
}

/*
 * So many bytes more of either direction, and so many changes of keys. The input is filled at once:
 * what the pipe does not take goes when there is room.
 */
static bool move(size_t *up, size_t up_end, size_t down_end, unsigned int changes)
{
	int64_t until = ktls_now_ms() + LINK_TIMEOUT_MS;
	ssize_t n;

	while (!come(up_end, down_end) || !changed(changes)) {
		if (ktls_now_ms() > until || is_over)
			return false;
		n = *up < up_end ? write(input, pattern + *up % PIECE,
					 up_end - *up < PIECE - *up % PIECE ? up_end - *up :
					 PIECE - *up % PIECE) : 0;
		if (n > 0)
			*up += (size_t)n;
		take();
		if (n <= 0)
			poll(NULL, 0, 1);
	}
	return true;
}

static void want_keys(int tls13)
{
	ERR_clear_error();
	if (tls13)
		SSL_key_update(l.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
	else
		SSL_renegotiate(l.peer.ssl);
	SSL_do_handshake(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
}

/*
 * The wish for keys comes behind data of the peer, while a server that is the peer is sent to; an
 * OpenSSL that is the client takes no data in its handshake.
 */
static void check_changes(const char *name, int tls13, int we_serve)
{
	bool both = tls13 || !we_serve, good = true;
	size_t up = 0, up_end = 0, down_end = 0;
	unsigned int i;

	begin(tls13, we_serve);
	for (i = 1; i <= CHANGES && good; i++) {
		fake_no_room(ktls_fd(l.ours), (int)i);
		peer_send(&l.peer, pattern, PIECE);
		want_keys(tls13);
		if (both)
			up_end += PIECE;
		good = move(&up, up_end, down_end + PIECE, i);
		peer_send(&l.peer, pattern, PIECE);
		up_end += PIECE;
		down_end += 2 * PIECE;
		good = good && move(&up, up_end, down_end, i);
	}
	ok(good && !is_wrong, "%s: keys change in the middle, without room for the answer: %zu of "
	   "%zu bytes up, %zu of %zu down", name, got_up, up_end, got_down, down_end);
	SSL_shutdown(l.peer.ssl);
	peer_flush(&l.peer, peer_output(&l.peer));
	close(input);
	input = -1;
	end();
	ok(status == STATUS_OK, "%s: and it ends well: %d", name, (int)status);
}

static bool is_begun(void)
{
	bool begun;

	pthread_mutex_lock(&l.ours->shadow_lock);
	begun = l.ours->shadow->shaking;
	pthread_mutex_unlock(&l.ours->shadow_lock);
	return begun;
}

/* A server that asks for other keys, gets a ClientHello and says nothing more. */
static void check_silence(void)
{
	int64_t until = ktls_now_ms() + LINK_TIMEOUT_MS;

	begin(0, 0);
	want_keys(0);
	while (!is_begun() && ktls_now_ms() < until)
		poll(NULL, 0, 1);
	pthread_mutex_lock(&l.ours->shadow_lock);
	l.ours->shadow->deadline_ms = ktls_now_ms();
	pthread_mutex_unlock(&l.ours->shadow_lock);
	while (!is_over && ktls_now_ms() < until)
		poll(NULL, 0, 1);
	ok(is_over, "a server that does not go on ends it, though no byte comes");
	/* Whatever it waits for, it ends now. */
	shutdown(l.peer.fd, SHUT_RDWR);
	end();
	ok(status == STATUS_NETWORK, "... with the status of a failed network: %d", (int)status);
}

int main(void)
{
	size_t i;

	/* The results, beside what the relay takes for standard output. */
	stdout = fdopen(dup(STDOUT_FILENO), "w");
	for (i = 0; i < PIECE; i++)
		pattern[i] = (char)(i * 7 + i / 251);
	/* One that stands still ends too. */
	alarm(8 * LINK_TIMEOUT_MS / 1000);
	fake_kernel();
	check_changes("TLS 1.2, client", 0, 0);
	check_changes("TLS 1.2, server", 0, 1);
	check_changes("TLS 1.3, client", 1, 0);
	check_changes("TLS 1.3, server", 1, 1);
	check_silence();
	return tap_done();
}
