// SPDX-License-Identifier: GPL-2.0-only
/* Setting up and receiving when memory is short. timeout=600; only under detectors */
#include "kselftest_harness.h"
#include "failures.h"

/* ---- setting up ---- */

static int nothing(struct scene *s)
{
	return 0;
}

static long open_stream(struct scene *s)
{
	s->fd = socket(AF_KTLS, SOCK_STREAM, 0);
	return s->fd;
}

static bool opens_again(struct scene *s, long result)
{
	return result >= 0 || (open_stream(s) >= 0);
}

OPERATION(socket_, .prepare = nothing, .run = open_stream, .check = opens_again)

static long bind_it(struct scene *s)
{
	return tls_bind(s->fd, s->carrier);
}

/* What cannot be taken stays as it was. */
static bool bound_in_the_end(struct scene *s, long result)
{
	if (result < 0 && (send(s->carrier, "x", 1, 0) != 1 || recv(s->peer.fd, got, 1, 0) != 1 ||
			   tls_bind(s->fd, s->carrier)))
		return false;
	return !tls_key(s->fd, TLS_TX, &s->peer.rx) && !tls_key(s->fd, TLS_RX, &s->peer.tx);
}

OPERATION(bind_stream, .prepare = open_socket, .run = bind_it, .check = bound_in_the_end)
OPERATION(bind_datagrams, .datagram = true, .prepare = open_socket, .run = bind_it,
	  .check = bound_in_the_end)

static int peer_says(struct scene *s)
{
	return peer_send(&s->peer, DATA, data, SMALL);
}

static bool hears(struct scene *s)
{
	return recv(s->fd, got, sizeof(got), 0) == SMALL && filled(got, SMALL, 0);
}

static int bound_and_spoken_to(struct scene *s)
{
	return bound(s) || peer_says(s);
}

static bool sends_in_the_end(struct scene *s, long result)
{
	uint8_t type;

	return (!result || !set_tx(s)) && send(s->fd, data, SMALL, 0) == SMALL &&
	       peer_recv(&s->peer, &type, got) == SMALL;
}

static bool hears_in_the_end(struct scene *s, long result)
{
	return (!result || !set_rx(s)) && hears(s);
}

OPERATION(tx_key, .prepare = bound, .run = set_tx, .check = sends_in_the_end)
OPERATION(rx_key, .prepare = bound_and_spoken_to, .run = set_rx, .check = hears_in_the_end)

static int datagram_waits(struct scene *s)
{
	return bound(s) || dgram_send(&s->peer, DATA, data, SMALL);
}

OPERATION(rx_key_datagrams, .datagram = true, .prepare = datagram_waits, .run = set_rx,
	  .check = hears_in_the_end)

/* The peer on a carrier without one. */
static int on_shared_carrier(struct scene *s)
{
	close(s->carrier);
	s->carrier = udp_socket(AF_INET);
	return bound(s);
}

static long name_peer(struct scene *s)
{
	return connect(s->fd, (void *)&s->name, s->name_len);
}

static bool named_in_the_end(struct scene *s, long result)
{
	return !result || !name_peer(s);
}

OPERATION(connect_, .datagram = true, .prepare = on_shared_carrier, .run = name_peer,
	  .check = named_in_the_end)

static long prepend(struct scene *s)
{
	size_t len = record_seal(&s->peer.tx, DATA, data, SMALL, got);
	long ret = setsockopt(s->fd, SOL_KTLS, KTLS_PREPEND_RX, got, len);

	if (ret)
		s->peer.tx.seq--;
	return ret;
}

static bool prepended_in_the_end(struct scene *s, long result)
{
	return (!result || !prepend(s)) && !set_rx(s) && hears(s);
}

OPERATION(prepend_, .prepare = bound, .run = prepend, .check = prepended_in_the_end)

static long ask(struct scene *s)
{
	struct ktls_info info;

	return get_info(s->fd, &info);
}

static bool knows(struct scene *s, long result)
{
	return !ask(s);
}

OPERATION(info, .prepare = keyed, .run = ask, .check = knows)
OPERATION(info_of_datagrams, .datagram = true, .prepare = keyed, .run = ask, .check = knows)

static long detach(struct scene *s)
{
	return setsockopt(s->fd, SOL_KTLS, KTLS_DETACH, NULL, 0);
}

static bool detached_in_the_end(struct scene *s, long result)
{
	if (result && detach(s))
		return false;
	return send(s->carrier, "x", 1, 0) == 1 && recv(s->peer.fd, got, 1, 0) == 1;
}

OPERATION(detach_, .infallible = true, .prepare = keyed, .run = detach, .check = detached_in_the_end)
OPERATION(detach_datagrams, .infallible = true, .datagram = true, .prepare = keyed, .run = detach,
	  .check = detached_in_the_end)

/* ---- receiving ---- */

static int large_waits(struct scene *s)
{
	size_t at, n;

	if (keyed(s))
		return -1;
	for (at = 0; at < LARGE; at += n) {
		n = LARGE - at < PAYLOAD_MAX ? LARGE - at : PAYLOAD_MAX;
		if (peer_send(&s->peer, DATA, data + at, n))
			return -1;
	}
	return wait_delivered(s->peer.fd);
}

static bool rest_is_there(struct scene *s, long result)
{
	long from = result < 0 ? 0 : result;

	return recv_all(s->fd, got + from, LARGE - from) == LARGE - from && filled(got, LARGE, 0);
}

static long recv_large(struct scene *s) { return recv(s->fd, got, LARGE, 0); }
static long recv_small(struct scene *s) { return recv(s->fd, got, SMALL, 0); }
static long recv_waitall(struct scene *s) { return recv(s->fd, got, LARGE, MSG_WAITALL); }

OPERATION(recv_large_, .prepare = large_waits, .run = recv_large, .check = rest_is_there)
OPERATION(recv_small_, .prepare = large_waits, .run = recv_small, .check = rest_is_there)
OPERATION(recv_waitall_, .prepare = large_waits, .run = recv_waitall, .check = rest_is_there)

static long peek(struct scene *s) { return recv(s->fd, got, LARGE, MSG_PEEK); }

/* What was looked at is right, and still there. */
static bool all_is_there(struct scene *s, long result)
{
	return result && filled(got, result < 0 ? 0 : result, 0) && rest_is_there(s, 0);
}

OPERATION(peek_, .prepare = large_waits, .run = peek, .check = all_is_there)

static long splice_out(struct scene *s) { return splice(s->fd, NULL, s->pipe[1], NULL, LARGE, 0); }

static bool rest_is_spliced(struct scene *s, long result)
{
	long all = result < 0 ? 0 : result;

	while (all < LARGE) {
		result = splice(s->fd, NULL, s->pipe[1], NULL, LARGE - all, 0);
		if (result <= 0)
			return false;
		all += result;
	}
	return read(s->pipe[0], got, LARGE) == LARGE && filled(got, LARGE, 0);
}

OPERATION(splice_out_, .prepare = large_waits, .run = splice_out, .check = rest_is_spliced)

static int alert_waits(struct scene *s)
{
	return keyed(s) || peer_send(&s->peer, ALERT, "\1\144", 2) || wait_delivered(s->peer.fd);
}

static uint8_t told;
static bool truncated;

static long recv_told(struct scene *s, int flags)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { got, SMALL };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	long n;

	told = 0;
	n = recvmsg(s->fd, &msg, flags);
	truncated = n >= 0 && (msg.msg_flags & MSG_CTRUNC);
	if (n >= 0 && msg.msg_controllen)
		told = *CMSG_DATA(CMSG_FIRSTHDR(&msg));
	return n;
}

static long recv_control(struct scene *s) { return recv_told(s, 0); }

/* Nobody takes it for data. */
static bool alert_is_told(struct scene *s, long result)
{
	if (result < 0)
		result = recv_control(s);
	return result == 2 && (told == ALERT || truncated);
}

OPERATION(recv_control_, .prepare = alert_waits, .run = recv_control, .check = alert_is_told)

static int handshake_is_queued(struct scene *s)
{
	int mode = KTLS_CONTROL_QUEUE;

	if (keyed(s) || setsockopt(s->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)))
		return -1;
	return peer_send(&s->peer, HANDSHAKE, data, SMALL) || peer_says(s) ||
	       !(poll_wait(s->fd, POLLPRI) & POLLPRI);
}

static long recv_queued(struct scene *s) { return recv_told(s, MSG_ERRQUEUE | MSG_DONTWAIT); }

/* And so is the data behind it. */
static bool queued_is_told(struct scene *s, long result)
{
	if (result < 0)
		result = recv_queued(s);
	return result == SMALL && filled(got, SMALL, 0) && (told == HANDSHAKE || truncated) &&
	       hears(s);
}

OPERATION(recv_queued_, .prepare = handshake_is_queued, .run = recv_queued, .check = queued_is_told)

/* ---- receiving datagrams: each is there, or was lost, and then counted ---- */

static long lost_before;

static int datagrams_wait(struct scene *s)
{
	int i;

	lost_before = proc_counter("/proc/net/ktls_stat", "KtlsRxNoMemory");
	if (lost_before < 0 || keyed(s))
		return -1;
	for (i = 0; i < 3; i++)
		if (dgram_send(&s->peer, DATA, data, SMALL))
			return -1;
	return 0;
}

static bool others_are_there(struct scene *s, long result)
{
	int count = result >= 0;

	while (recv(s->fd, got, SMALL, MSG_DONTWAIT) == SMALL && filled(got, SMALL, 0))
		count++;
	return count + proc_counter("/proc/net/ktls_stat", "KtlsRxNoMemory") == 3 + lost_before;
}

OPERATION(recv_datagram, .datagram = true, .prepare = datagrams_wait, .run = recv_small,
	  .check = others_are_there)
OPERATION(splice_datagram, .datagram = true, .single_pages = true, .prepare = datagrams_wait,
	  .run = splice_out, .check = others_are_there)

TEST_HARNESS_MAIN
