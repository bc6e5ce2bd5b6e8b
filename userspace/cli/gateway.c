// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "door.h"
#include "gateway.h"
#include "progress.h"
#include "relay.h"
#include "tls.h"

#define TURN		64	/* datagrams that one end moves before the others' turn */
#define TICK_MS		1000
#define DATAGRAM_MAX	65536

/* A DTLS peer and its plain side. */
struct link {
	struct link *next, **prev;
	struct gateway *gateway;
	struct source from_peer, from_plain;
	struct ktls_conn *conn;
	int plain;
	struct sockaddr_storage last;	/* who spoke last on a plain socket that is not connected */
	socklen_t last_len;
	bool connected, told_size, gone;
	int64_t heard_ms;
	char name[NET_NAME];
};

struct gateway {
	struct loop loop;
	bool quiet;
	enum status status;
	int64_t idle_ms, ticked_ms;	/* idle_ms 0: for ever */
	struct door door;
	const struct endpoint *to;
	struct link *links;
	char datagram[DATAGRAM_MAX];
};

static void drop_link(struct link *l)
{
	if (l->next)
		l->next->prev = l->prev;
	*l->prev = l->next;
	(void)ktls_shutdown(l->conn);
	ktls_close(l->conn);
	close(l->plain);
	free(l);
}

/*
 * Events behind the present one may be of it: it goes when they are done. One that ends the
 * gateway is the gateway's failure.
 */
static void end_link(struct gateway *g, struct link *l, enum status status, const char *why)
{
	bool last = !g->door.listener;

	if (last)
		g->status = status;
	if (last || !g->quiet)
		complain("%s: %s", l->name, why);
	l->gone = true;
	g->ticked_ms = 0;
}

/* ---- datagrams ---- */

/* What the plain side has no room or nobody for is lost, as on any path of UDP. */
static void send_plain(const struct link *l, const char *data, size_t len)
{
	const struct sockaddr *to = l->connected ? NULL : (const struct sockaddr *)&l->last;

	if (l->connected || l->last_len)
		(void)!sendto(l->plain, data, len, MSG_DONTWAIT, to, l->last_len);
}

static bool from_peer(struct gateway *g, struct link *l)
{
	ssize_t n = ktls_recv(l->conn, g->datagram, sizeof(g->datagram), MSG_DONTWAIT);

	if (n > 0) {
		l->heard_ms = clock_ms();
		send_plain(l, g->datagram, (size_t)n);
		return true;
	}
	if (n == -EAGAIN || n == -EINTR)
		return false;
	/* What ICMP says of one datagram is no verdict on the next. */
	if (n == -ECONNREFUSED || n == -EHOSTUNREACH)
		return true;
	if (n)
		end_link(g, l, status_of((int)n), ktls_error(l->conn));
	else
		end_link(g, l, STATUS_NETWORK, "has closed");
	return false;
}

static bool from_plain(struct gateway *g, struct link *l)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(l->plain, g->datagram, sizeof(g->datagram), MSG_DONTWAIT,
			     (struct sockaddr *)&from, &len);

	if (n < 0)
		return errno == ECONNREFUSED || errno == EINTR;
	if (!l->connected) {
		l->last = from;
		l->last_len = len;
	}
	l->heard_ms = clock_ms();
	n = ktls_send(l->conn, g->datagram, (size_t)n, MSG_DONTWAIT);
	if (n == -EMSGSIZE && !l->told_size) {
		l->told_size = true;
		complain("%s: %s", l->name, ktls_error(l->conn));
	}
	if (n == -EPIPE || n == -EBADMSG)
		end_link(g, l, status_of((int)n), ktls_error(l->conn));
	return !l->gone;
}

static void run_peer(struct source *source)
{
	struct link *l = (struct link *)((char *)source - offsetof(struct link, from_peer));
	int i;

	for (i = 0; i < TURN && !l->gone && from_peer(l->gateway, l); i++)
		;
}

static void run_plain(struct source *source)
{
	struct link *l = (struct link *)((char *)source - offsetof(struct link, from_plain));
	int i;

	for (i = 0; i < TURN && !l->gone && from_plain(l->gateway, l); i++)
		;
}

/* ---- peers ---- */

static bool add_link(struct gateway *g, struct ktls_conn *conn, int plain, bool connected)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l) {
		complain("out of memory");
		ktls_close(conn);
		close(plain);
		return false;
	}
	l->gateway = g;
	l->conn = conn;
	l->plain = plain;
	l->connected = connected;
	l->heard_ms = clock_ms();
	l->from_peer.ready = run_peer;
	l->from_plain.ready = run_plain;
	net_peer_name(ktls_poll_fd(conn), l->name);
	l->next = g->links;
	l->prev = &g->links;
	if (l->next)
		l->next->prev = &l->next;
	g->links = l;
	if (!g->quiet)
		tls_describe(conn, l->name, false, stderr);
	if (loop_watch(&g->loop, plain, &l->from_plain) &&
	    loop_watch(&g->loop, ktls_poll_fd(conn), &l->from_peer))
		return true;
	drop_link(l);
	return false;
}

static void welcome(struct gateway *g)
{
	struct ktls_conn *conn;
	int plain;

	while ((conn = door_next(&g->door))) {
		plain = net_connect(g->to, SOCK_DGRAM);
		if (plain >= 0)
			add_link(g, conn, plain, true);
		else
			ktls_close(conn);
	}
}

static void tick(struct gateway *g)
{
	struct link *l, *next;
	int64_t now = clock_ms();

	for (l = g->links; l; l = next) {
		next = l->next;
		if (!l->gone && g->idle_ms && now - l->heard_ms > g->idle_ms)
			end_link(g, l, STATUS_NETWORK, "nothing heard for long");
		if (l->gone)
			drop_link(l);
	}
	g->ticked_ms = now;
}

static void run(struct gateway *g)
{
	while (!g->loop.stopping && (g->door.listener || g->links)) {
		loop_wait(&g->loop, door_patience(&g->door, TICK_MS));
		welcome(g);
		if (clock_ms() - g->ticked_ms >= TICK_MS)
			tick(g);
	}
}

enum status gateway_run(struct gateway *g)
{
	enum status status;

	run(g);
	status = g->status;
	while (g->links)
		drop_link(g->links);
	door_close(&g->door);
	loop_close(&g->loop);
	free(g);
	return status;
}

bool gateway_add(struct gateway *g, struct ktls_conn *conn, int plain)
{
	return add_link(g, conn, plain, false);
}

bool gateway_listen(struct gateway *g, SSL_CTX *ctx, int udp, unsigned int flags,
		    const struct endpoint *to)
{
	g->to = to;
	return door_open(&g->door, &g->loop, ctx, udp, flags);
}

struct gateway *gateway_new(bool quiet, unsigned int idle_s)
{
	struct gateway *g = calloc(1, sizeof(*g));

	if (!g) {
		complain("out of memory");
		return NULL;
	}
	g->quiet = quiet;
	g->idle_ms = (int64_t)idle_s * 1000;
	if (loop_open(&g->loop))
		return g;
	free(g);
	return NULL;
}
