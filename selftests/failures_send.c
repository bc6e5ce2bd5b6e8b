// SPDX-License-Identifier: GPL-2.0-only
/* Sending when memory is short. timeout=600; only under detectors */
#include "kselftest_harness.h"
#include "failures.h"

/* ---- sending ---- */

/*
 * A cipher that fails for want of memory may have encrypted a part where it lies: the direction
 * ends, and is told to. What came before has arrived whole.
 */
static bool died_cleanly(struct scene *s)
{
	struct ktls_info info;
	uint8_t type;
	size_t all = 0;
	ssize_t n;

	if (get_info(s->fd, &info) || !(info.flags & KTLS_F_TX_DEAD) ||
	    RESULT(send(s->fd, data, 1, MSG_NOSIGNAL)) != -EPIPE || shutdown(s->fd, SHUT_WR))
		return false;
	while ((n = peer_recv(&s->peer, &type, got)) >= 0) {
		if (type != DATA || !filled(got, n, all))
			return false;
		all += n;
	}
	deaths++;
	return !recv(s->peer.fd, got, 1, 0);
}

/* The peer gets all @len bytes, those behind the first @result after being sent again. */
static bool arrives(struct scene *s, long result, size_t len)
{
	size_t from = result < 0 ? 0 : result, all = 0;
	uint8_t type;
	ssize_t n;

	if (from < len && send_all(s->fd, data + from, len - from))
		return died_cleanly(s);
	while (all < len) {
		n = peer_recv(&s->peer, &type, got);
		if (n < 0 || type != DATA || !filled(got, n, all))
			return false;
		all += n;
	}
	return all == len;
}

static long send_small(struct scene *s) { return send(s->fd, data, SMALL, 0); }
static long send_large(struct scene *s) { return send(s->fd, data, LARGE, 0); }
static bool small_arrives(struct scene *s, long result) { return arrives(s, result, SMALL); }
static bool large_arrives(struct scene *s, long result) { return arrives(s, result, LARGE); }

OPERATION(send_small_, .prepare = keyed, .run = send_small, .check = small_arrives)
OPERATION(send_large_, .prepare = keyed, .run = send_large, .check = large_arrives)

/* The tag is on another page than what it follows, in TLS 1.3 the type's too. */
#define TO_PAGE_END	(4096 - 13 - 8)
#define TO_PAGE_END_13	(4096 - 5)

static long send_to_page_end(struct scene *s) { return send(s->fd, data, TO_PAGE_END, 0); }
static long send_to_page_end_13(struct scene *s) { return send(s->fd, data, TO_PAGE_END_13, 0); }
static bool page_arrives(struct scene *s, long result) { return arrives(s, result, TO_PAGE_END); }
static bool page_arrives_13(struct scene *s, long result)
{
	return arrives(s, result, TO_PAGE_END_13);
}

OPERATION(send_to_a_page_end, .single_pages = true, .prepare = keyed, .run = send_to_page_end,
	  .check = page_arrives)
OPERATION(send_to_a_page_end_13, .tls13 = true, .single_pages = true, .prepare = keyed,
	  .run = send_to_page_end_13, .check = page_arrives_13)

static long send_more(struct scene *s) { return send(s->fd, data, SMALL, MSG_MORE); }
OPERATION(send_more_, .prepare = keyed, .run = send_more, .check = large_arrives)

static int more_waits(struct scene *s)
{
	return keyed(s) || send(s->fd, data, SMALL, MSG_MORE) != SMALL;
}

static long send_the_rest(struct scene *s) { return send(s->fd, data + SMALL, LARGE - SMALL, 0); }
static bool rest_arrives(struct scene *s, long result)
{
	return arrives(s, SMALL + (result < 0 ? 0 : result), LARGE);
}

OPERATION(send_after_more, .prepare = more_waits, .run = send_the_rest, .check = rest_arrives)

static long send_file(struct scene *s) { return sendfile(s->fd, s->file, NULL, LARGE); }
OPERATION(sendfile_, .prepare = keyed, .run = send_file, .check = large_arrives)

static int pipe_filled(struct scene *s)
{
	loff_t from = 0;

	return keyed(s) || splice(s->file, &from, s->pipe[1], NULL, LARGE, 0) != LARGE;
}

static long splice_in(struct scene *s) { return splice(s->pipe[0], NULL, s->fd, NULL, LARGE, 0); }

/* What was not sent is still in the pipe. */
static bool pipe_arrives(struct scene *s, long result)
{
	long sent = result < 0 ? 0 : result;

	while (sent < LARGE) {
		result = splice(s->pipe[0], NULL, s->fd, NULL, LARGE - sent, 0);
		if (result <= 0)
			return died_cleanly(s);
		sent += result;
	}
	return arrives(s, LARGE, LARGE);
}

OPERATION(splice_in_, .prepare = pipe_filled, .run = splice_in, .check = pipe_arrives)

static long send_alert(struct scene *s) { return send_type(s->fd, ALERT, "\1\0", 2, 0); }

static bool alert_arrives(struct scene *s, long result)
{
	uint8_t type;

	if (result < 0 && send_alert(s) != 2)
		return died_cleanly(s);
	return peer_recv(&s->peer, &type, got) == 2 &&
	       type == ALERT;
}

OPERATION(send_control, .prepare = keyed, .run = send_alert, .check = alert_arrives)

static long shut(struct scene *s) { return shutdown(s->fd, SHUT_WR); }

static bool peer_is_told(struct scene *s, long result)
{
	struct ktls_info info;
	uint8_t type;

	if ((result && shut(s)) || get_info(s->fd, &info))
		return false;
	/* TCP forgets a FIN for which it has no memory: that is not looked at. */
	if (info.flags & KTLS_F_TX_DEAD) {
		deaths++;
		return true;
	}
	return peer_recv(&s->peer, &type, got) == 2 && type == ALERT;
}

OPERATION(shutdown_, .prepare = keyed, .run = shut, .check = peer_is_told)

static int unfinished(struct scene *s)
{
	return keyed(s) || send(s->fd, data, LARGE, MSG_MORE) != LARGE;
}

static long close_it(struct scene *s)
{
	close(s->fd);
	s->fd = -1;
	return 0;
}

static bool all_arrives(struct scene *s, long result) { return arrives(s, LARGE, LARGE); }

OPERATION(close_, .prepare = unfinished, .run = close_it, .check = all_arrives)

/* ---- datagrams: each is there, or was lost, and then counted ---- */

static bool datagram_arrives(struct scene *s, long result)
{
	uint8_t type;

	return (result >= 0 || send_small(s) == SMALL) &&
	       dgram_recv(&s->peer, &type, got) == SMALL && filled(got, SMALL, 0);
}

OPERATION(send_datagram, .datagram = true, .prepare = keyed, .run = send_small,
	  .check = datagram_arrives)

#define SEGMENT	1000

static int segmented(struct scene *s)
{
	int segment = SEGMENT;

	return keyed(s) || setsockopt(s->fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment));
}

static long send_batch(struct scene *s) { return send(s->fd, data, 10000, 0); }

static bool batch_arrives(struct scene *s, long result)
{
	long at = 0, n;
	uint8_t type;

	if (result < 0)
		result = 0;
	if (result < 10000 && send(s->fd, data + result, 10000 - result, 0) != 10000 - result)
		return false;
	for (; at < 10000; at += n) {
		n = dgram_recv(&s->peer, &type, got);
		if (n <= 0 || !filled(got, n, at))
			return false;
	}
	return true;
}

OPERATION(send_batch_, .datagram = true, .prepare = segmented, .run = send_batch,
	  .check = batch_arrives)

/* The size as a control message, for this call alone. */
static long send_batch_by_cmsg(struct scene *s)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control = { };
	struct iovec iov = { data, 10000 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_KTLS;
	cmsg->cmsg_type = KTLS_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	*(int *)CMSG_DATA(cmsg) = SEGMENT;
	return sendmsg(s->fd, &msg, 0);
}

/* The rest goes as the option says. */
static bool batch_by_cmsg_arrives(struct scene *s, long result)
{
	int segment = SEGMENT;

	return !setsockopt(s->fd, SOL_KTLS, KTLS_SEGMENT, &segment, sizeof(segment)) &&
	       batch_arrives(s, result);
}

OPERATION(send_batch_by_cmsg_, .datagram = true, .prepare = keyed, .run = send_batch_by_cmsg,
	  .check = batch_by_cmsg_arrives)

TEST_HARNESS_MAIN
