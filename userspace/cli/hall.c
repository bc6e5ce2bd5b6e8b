// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hall.h"
#include "progress.h"

#define TURN		64	/* datagrams of one client before the others' turn */
#define TICK_MS		1000

void guest_end(struct guest *g, const char *why)
{
	if (why && !g->gone)
		complain("%s: %s", g->name, why);
	g->gone = true;
	g->hall->some_gone = true;
}

static void drop(struct guest *g)
{
	struct hall *h = g->hall;

	if (g->next)
		g->next->prev = g->prev;
	*g->prev = g->next;
	h->guests_count--;
	h->kind->leave(g);
	(void)ktls_shutdown(g->conn);
	ktls_close(g->conn);
	free(g);
}

static bool receive(struct guest *g)
{
	struct hall *h = g->hall;
	ssize_t n = ktls_recv(g->conn, h->datagram, sizeof(h->datagram), MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n > 0) {
		g->heard_ms = clock_ms();
		h->kind->take(g, h->datagram, (size_t)n);
	} else {
		guest_end(g, n ? ktls_error(g->conn) : NULL);
	}
	return true;
}

static void run_guest(struct source *source)
{
	struct guest *g = (struct guest *)source;
	int i;

	for (i = 0; i < TURN && !g->gone && receive(g); i++)
		;
}

static void add(struct hall *h, struct ktls_conn *conn)
{
	struct guest *g = calloc(1, h->kind->guest_size);

	if (!g) {
		complain("out of memory");
		ktls_close(conn);
		return;
	}
	g->source.ready = run_guest;
	g->hall = h;
	g->conn = conn;
	g->heard_ms = clock_ms();
	net_peer_name(ktls_poll_fd(conn), g->name);
	g->next = h->guests;
	g->prev = &h->guests;
	if (g->next)
		g->next->prev = &g->next;
	h->guests = g;
	h->guests_count++;
	h->kind->join(g);
	if (!loop_watch(&h->loop, ktls_poll_fd(conn), &g->source))
		guest_end(g, NULL);
}

static bool has_room(struct hall *h)
{
	if (h->guests_count < h->guests_max)
		return true;
	if (!h->told_full)
		complain("%u clients: others are turned away until one leaves (-clients)",
			 h->guests_max);
	h->told_full = true;
	return false;
}

static void welcome(struct hall *h)
{
	struct ktls_conn *conn;

	while ((conn = door_next(&h->door))) {
		if (has_room(h)) {
			add(h, conn);
			continue;
		}
		(void)ktls_shutdown(conn);
		ktls_close(conn);
	}
}

static void drop_gone(struct hall *h)
{
	struct guest *g, *next;

	h->some_gone = false;
	for (g = h->guests; g; g = next) {
		next = g->next;
		if (g->gone)
			drop(g);
	}
}

static void end_idle(struct hall *h, int64_t now)
{
	struct guest *g;

	for (g = h->guests; h->idle_ms && g; g = g->next)
		if (now - g->heard_ms > h->idle_ms)
			guest_end(g, "nothing heard for long");
}

static int patience(const struct hall *h)
{
	int64_t left = h->due_ms - clock_ms();

	if (left < 0)
		left = 0;
	return door_patience(&h->door, left < TICK_MS ? (int)left : TICK_MS);
}

static void run(struct hall *h)
{
	int64_t now, ticked = clock_ms();

	while (!h->loop.stopping && !h->stopping) {
		loop_wait(&h->loop, patience(h));
		welcome(h);
		now = clock_ms();
		if (now >= h->due_ms)
			h->due_ms = h->kind->run(h, now);
		if (now - ticked >= TICK_MS) {
			end_idle(h, now);
			ticked = now;
		}
		if (h->some_gone)
			drop_gone(h);
	}
}

enum status hall_run(struct hall *h, SSL_CTX *ctx, int udp, unsigned int flags)
{
	enum status status = STATUS_LOCAL;
	char name[NET_NAME];

	h->due_ms = INT64_MAX;
	if (!loop_open(&h->loop))
		return status;
	if (door_open(&h->door, &h->loop, ctx, udp, flags)) {
		net_local_name(udp, name);
		printf("listening on %s\n", name);
		run(h);
		status = STATUS_OK;
	}
	while (h->guests)
		drop(h->guests);
	door_close(&h->door);
	loop_close(&h->loop);
	return status;
}
