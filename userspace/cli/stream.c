// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hall.h"
#include "log.h"
#include "progress.h"
#include "stream.h"

#define PACE_MS		10
#define BURST_MS	100	/* what was missed for longer is not made up for */

struct stream {
	struct hall hall;
	const struct stream_options *options;
	int64_t paced_ms;
	uint64_t credit;	/* as a listener's, for what all get at once */
	uint8_t datagram[HALL_DATAGRAM_MAX];
};

struct listener {
	struct guest guest;	/* first */
	int64_t began_ms;
	off_t offset;
	size_t size;		/* of its datagrams */
	uint64_t credit;	/* thousandths of bytes that may be sent now */
	uint64_t sent, dropped;	/* bytes, datagrams */
};

static struct stream *stream_of(const struct guest *guest)
{
	return guest->hall->own;
}

/* What finds no room is lost, so that no other waits. */
static void account(struct listener *l, ssize_t n)
{
	if (n >= 0)
		l->sent += (uint64_t)n;
	else if (n == -EPIPE || n == -EBADMSG || n == -ECONNREFUSED)
		guest_end(&l->guest, ktls_error(l->guest.conn));
	else
		l->dropped++;
}

static void send_from_file(struct listener *l, int file)
{
	off_t before = l->offset;
	ssize_t n = ktls_sendfile(l->guest.conn, file, &l->offset, l->size);

	l->offset = before + (off_t)l->size;
	if (n)
		account(l, n);
	else
		guest_end(&l->guest, NULL);
}

/* Is a datagram of that size due? */
static bool spend(uint64_t *credit, size_t size)
{
	if (*credit < 1000 * (uint64_t)size)
		return false;
	*credit -= 1000 * (uint64_t)size;
	return true;
}

static void send_file(struct hall *hall, uint64_t credit)
{
	struct stream *s = hall->own;
	struct listener *l;
	struct guest *g;

	for (g = hall->guests; g; g = g->next) {
		l = (struct listener *)g;
		l->credit += credit;
		while (!g->gone && spend(&l->credit, l->size))
			send_from_file(l, s->options->file);
	}
}

static bool is_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0 && pfd.revents;
}

/* The next datagram's bytes; 0: nothing now. */
static size_t read_some(struct stream *s, size_t size)
{
	ssize_t n;

	if (!is_readable(s->options->file))
		return 0;
	n = read(s->options->file, s->datagram, size);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		complain("%s: %s", s->options->name, strerror(errno));
	s->hall.stopping = true;
	return 0;
}

/* What all of their paths take. */
static size_t common_size(const struct hall *hall)
{
	const struct guest *g;
	size_t size = HALL_DATAGRAM_MAX;

	for (g = hall->guests; g; g = g->next)
		if (((const struct listener *)g)->size < size)
			size = ((const struct listener *)g)->size;
	return size;
}

static void send_read(struct hall *hall, uint64_t credit)
{
	struct stream *s = hall->own;
	size_t n, size = common_size(hall);
	struct guest *g;

	s->credit += credit;
	while (spend(&s->credit, size)) {
		n = read_some(s, size);
		if (!n)
			s->credit = 0;
		for (g = hall->guests; n && g; g = g->next)
			if (!g->gone)
				account((struct listener *)g,
					ktls_send(g->conn, s->datagram, n, MSG_DONTWAIT));
	}
}

static int64_t run_pace(struct hall *hall, int64_t now)
{
	struct stream *s = hall->own;
	int64_t passed = now - s->paced_ms;
	uint64_t credit = s->options->rate * (uint64_t)(passed < BURST_MS ? passed : BURST_MS);

	if (!hall->guests)
		return INT64_MAX;
	s->paced_ms = now;
	if (s->options->regular)
		send_file(hall, credit);
	else
		send_read(hall, credit);
	return now + PACE_MS;
}

static void join(struct guest *guest)
{
	struct listener *l = (struct listener *)guest;
	const struct stream *s = stream_of(guest);

	l->began_ms = clock_ms();
	l->size = ktls_payload_max(guest->conn);
	if (s->options->size && s->options->size < l->size)
		l->size = s->options->size;
	guest->hall->due_ms = 0;
}

/* A close_notify of the client is all that it may have to say. */
static void take(struct guest *guest, const uint8_t *data, size_t len)
{
	(void)guest;
	(void)data;
	(void)len;
}

static void leave(struct guest *guest)
{
	struct listener *l = (struct listener *)guest;
	char remark[40];

	snprintf(remark, sizeof(remark), "dropped %llu", (unsigned long long)l->dropped);
	log_line(&(struct log_entry){
		.who = guest->name, .method = "STREAM", .target = stream_of(guest)->options->name,
		.status = 200, .bytes = l->sent, .began_ms = l->began_ms, .conn = guest->conn,
		.remark = remark,
	});
}

static const struct hall_kind listeners = {
	.guest_size = sizeof(struct listener),
	.join = join, .take = take, .run = run_pace, .leave = leave,
};

enum status stream_run(SSL_CTX *ctx, int udp, const struct stream_options *options,
		       unsigned int flags, unsigned int clients_max)
{
	struct stream *s = calloc(1, sizeof(*s));
	enum status status;

	if (!s) {
		complain("out of memory");
		return STATUS_LOCAL;
	}
	s->options = options;
	s->paced_ms = clock_ms();
	s->hall.kind = &listeners;
	s->hall.own = s;
	s->hall.guests_max = clients_max;
	status = hall_run(&s->hall, ctx, udp, flags);
	free(s);
	return status;
}
