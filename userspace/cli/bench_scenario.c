// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "bench_scenario.h"

/* What both ends may have under way at a time without filling their buffers. */
#define BURST_BYTES	32768
#define BURST_RECORDS	64
/* Over loopback datagrams are not cut (its MTU is 65536), and a record takes no more. */
#define DGRAM_MAX	BENCH_RECORD

uint64_t bench_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void mark(struct bench_marks *marks, uint64_t from, uint64_t to)
{
	if (marks->ns && marks->count < BENCH_MARKS)
		marks->ns[marks->count++] = (uint32_t)(to - from);
}

static void count(struct bench_worker *w, size_t bytes)
{
	size_t record = w->size < BENCH_RECORD ? w->size : BENCH_RECORD;

	w->bytes += bytes;
	w->records += (double)bytes / (double)record;
}

/* Whether to try again after a while in which nothing moved. */
static bool goes_on(struct bench_worker *w)
{
	return ++w->stalls < BENCH_STALLS && !atomic_load_explicit(w->stop, memory_order_relaxed);
}

static int put_over(struct bench_worker *w, struct bench_end *end, const uint8_t *data)
{
	size_t done = 0;
	ssize_t n;

	while (done < w->size) {
		n = w->way->send(end, data + done, w->size - done);
		if (n == -EAGAIN && goes_on(w))
			continue;
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

/* A stream: all of it; datagrams: one, or -EAGAIN as it may be lost. */
static int get_over(struct bench_worker *w, struct bench_end *end)
{
	size_t done = 0;
	ssize_t n;

	while (done < w->size) {
		n = w->way->recv(end, w->buffer + done, w->size - done);
		if (n == -EAGAIN && !w->dgram && goes_on(w))
			continue;
		if (n <= 0)
			return n ? (int)n : -ECONNRESET;
		done += (size_t)n;
		if (w->dgram)
			break;
	}
	return 0;
}

static int send_one(struct bench_worker *w)
{
	int ret = put_over(w, w->own, w->buffer);

	if (!ret)
		count(w, w->size);
	return ret;
}

static int recv_one(struct bench_worker *w)
{
	ssize_t n = w->way->recv(w->own, w->buffer, w->size);

	if (n > 0)
		count(w, (size_t)n);
	return n > 0 ? 0 : n ? (int)n : -ECONNRESET;
}

static int drain(struct bench_worker *w)
{
	ssize_t n = bench_net_drain(w->own, w->dgram);

	return n > 0 ? 0 : n ? (int)n : -ECONNRESET;
}

static void next_place(struct bench_worker *w)
{
	if (w->offset + (off_t)w->size > BENCH_FILE)
		w->offset = 0;
}

static int send_mapped(struct bench_worker *w)
{
	int ret;

	next_place(w);
	ret = put_over(w, w->own, w->map + w->offset);
	w->offset += (off_t)w->size;
	if (!ret)
		count(w, w->size);
	return ret;
}

static int send_file(struct bench_worker *w)
{
	ssize_t n;

	next_place(w);
	n = w->way->sendfile(w->own, w->file, &w->offset, w->size);
	if (n > 0)
		count(w, (size_t)n);
	return n < 0 ? (int)n : 0;
}

/* From the pipe to the socket, all of it. */
static int pour_out(struct bench_worker *w, size_t left)
{
	ssize_t n;

	while (left) {
		n = splice(w->pipe[0], NULL, w->own->fd, NULL, left, 0);
		if (n < 0 && errno == EAGAIN && goes_on(w))
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		left -= (size_t)n;
		count(w, (size_t)n);
	}
	return 0;
}

static int splice_out(struct bench_worker *w)
{
	size_t done = 0;
	ssize_t n;
	int ret;

	next_place(w);
	while (done < w->size) {
		n = splice(w->file, &w->offset, w->pipe[1], NULL, w->size - done, 0);
		if (n <= 0)
			return n ? -errno : -EPIPE;
		ret = pour_out(w, (size_t)n);
		if (ret)
			return ret;
		done += (size_t)n;
	}
	return 0;
}

static int splice_through(struct bench_worker *w)
{
	size_t len = w->dgram ? w->size : BURST_BYTES;
	ssize_t n = splice(w->own->fd, NULL, w->pipe[1], NULL, len, 0);

	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	return pour_out(w, (size_t)n);
}

/* Each end sends some records and then takes as many: neither waits for the other to send. */
static int exchange(struct bench_worker *w)
{
	size_t burst = BURST_BYTES / w->size, i;
	int ret = 0;

	burst = burst > BURST_RECORDS ? BURST_RECORDS : burst ? burst : 1;
	for (i = 0; i < burst && !ret; i++)
		ret = put_over(w, w->own, w->buffer);
	for (i = 0; i < burst && !ret; i++) {
		ret = get_over(w, w->own);
		if (!ret)
			count(w, 2 * w->size);
	}
	return ret;
}

static int ping(struct bench_worker *w)
{
	uint64_t begin = bench_clock();
	int ret = put_over(w, w->own, w->buffer);

	if (!ret)
		ret = get_over(w, w->own);
	if (ret)
		return ret;
	mark(&w->marks[0], begin, bench_clock());
	count(w, w->size);
	return 0;
}

static int pong(struct bench_worker *w)
{
	int ret = get_over(w, w->own);

	return ret ? ret : put_over(w, w->own, w->buffer);
}

/* Nobody is woken or preempted: the record is there when the one who sent it receives it. */
static int take_turns(struct bench_worker *w)
{
	uint64_t begin = bench_clock(), between;
	int ret = put_over(w, w->own, w->buffer);

	between = bench_clock();
	mark(&w->marks[0], begin, between);
	if (ret)
		return ret;
	begin = bench_clock();
	ret = get_over(w, w->other);
	mark(&w->marks[1], begin, bench_clock());
	if (!ret)
		count(w, w->size);
	return ret;
}

const struct bench_scenario bench_scenarios[] = {
	{ .name = "send", .summary = "sends; the peer throws the records away unopened",
	  .step = send_one, .help = drain, .half = true, .sends = true },
	{ .name = "mmap", .summary = "sends from a mapped file",
	  .step = send_mapped, .help = drain, .half = true, .sends = true, .from_file = true },
	{ .name = "sendfile", .summary = "sends a file with sendfile(2)",
	  .step = send_file, .help = drain, .half = true, .sends = true, .from_file = true,
	  .by_sendfile = true },
	{ .name = "splice", .summary = "sends a file with splice(2), by a pipe",
	  .step = splice_out, .help = drain, .half = true, .sends = true, .from_file = true,
	  .by_splice = true },
	{ .name = "recv", .summary = "receives from a peer that sends the same way",
	  .step = recv_one, .help = send_one, .receives = true },
	{ .name = "both", .summary = "each end sends and receives by turns",
	  .step = exchange, .help = exchange, .sends = true, .receives = true },
	{ .name = "splice-echo", .summary = "splices what comes through a pipe and back",
	  .step = splice_through, .help = exchange, .sends = true, .receives = true,
	  .by_splice = true },
	{ .name = "echo", .summary = "sends a message and waits for it to come back",
	  .step = ping, .help = pong, .sends = true, .receives = true,
	  .timed = { "round trip" } },
	{ .name = "turns", .summary = "one thread sends a record and then receives it",
	  .step = take_turns, .sends = true, .receives = true, .timed = { "send", "receive" } },
	{ 0 },
};

const struct bench_scenario *bench_scenario_find(const char *name, size_t len)
{
	const struct bench_scenario *s;

	for (s = bench_scenarios; s->name; s++)
		if (strlen(s->name) == len && !memcmp(s->name, name, len))
			return s;
	return NULL;
}

const char *bench_scenario_excludes(const struct bench_scenario *s, const struct bench_way *way,
				    const struct bench_protocol *protocol, size_t size)
{
	if (!(protocol->dgram ? way->datagrams : way->streams))
		return protocol->dgram ? "knows no datagrams" : "knows no streams";
	if (protocol->dgram && size > DGRAM_MAX)
		return "no record is that long";
	if (s->by_sendfile && !way->sendfile)
		return "has no sendfile; see mmap";
	if (s->by_splice && !way->splices)
		return "cannot be spliced: its records are opened and sealed in userspace";
	return NULL;
}
