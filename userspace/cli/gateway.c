// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "gateway.h"
#include "progress.h"
#include "tls.h"

#define EVENTS		64
#define TURN		64	/* datagrams that one end moves before the others' turn */
#define TICK_MS		1000
#define DATAGRAM_MAX	65536

struct link;

/* Where an event comes from. */
struct end {
	struct link *link;	/* NULL: the listener, or the signals */
	bool secure;
};

/* A DTLS peer and its plain side. */
struct link {
	struct link *next, **prev;
	struct ktls_conn *conn;
	int plain;
	struct end ends[2];
	struct sockaddr_storage last;	/* who spoke last on a plain socket that is not connected */
	socklen_t last_len;
	bool connected, told_size, gone;
	int64_t heard_ms;
	char name[NET_NAME];
};

struct gateway {
	int epoll, signals;
	bool quiet, stopping;
	int64_t idle_ms, ticked_ms;
	struct ktls_listener *listener;
	struct end door, bell;	/* of the listener and of the signals */
	const struct endpoint *to;
	struct link *links;
	char datagram[DATAGRAM_MAX];
};

static bool watch(struct gateway *g, int fd, struct end *end)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = end };

	if (!epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &event))
		return true;
	complain("epoll: %s", strerror(errno));
	return false;
}

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

/* Events behind the present one may be of it: it goes when they are done. */
static void end_link(struct gateway *g, struct link *l, const char *why)
{
	if (!g->quiet)
		complain("%s: %s", l->name, why);
	l->gone = true;
	g->ticked_ms = 0;
}

static bool add_link(struct gateway *g, struct ktls_conn *conn, int plain, bool connected)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l) {
		complain("out of memory");
		ktls_close(conn);
		close(plain);
		return false;
	}
	l->conn = conn;
	l->plain = plain;
	l->connected = connected;
	l->heard_ms = clock_ms();
	l->ends[0] = (struct end){ .link = l };
	l->ends[1] = (struct end){ .link = l, .secure = true };
	net_peer_name(ktls_poll_fd(conn), l->name);
	l->next = g->links;
	l->prev = &g->links;
	if (l->next)
		l->next->prev = &l->next;
	g->links = l;
	if (!g->quiet)
		tls_describe(conn, l->name, false, stderr);
	if (watch(g, plain, &l->ends[0]) && watch(g, ktls_poll_fd(conn), &l->ends[1]))
		return true;
	drop_link(l);
	return false;
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
	end_link(g, l, n ? ktls_error(l->conn) : "has closed");
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
		end_link(g, l, ktls_error(l->conn));
	return !l->gone;
}

static void run_link(struct gateway *g, const struct end *end)
{
	struct link *l = end->link;
	int i;

	for (i = 0; i < TURN && !l->gone; i++)
		if (!(end->secure ? from_peer(g, l) : from_plain(g, l)))
			return;
}

/* ---- peers ---- */

static void welcome(struct gateway *g)
{
	struct ktls_conn *conn;
	int plain;

	while (!g->stopping) {
		conn = ktls_listener_accept(g->listener, 0);
		if (!conn && errno == EAGAIN)
			return;
		if (!conn) {
			complain("%s", ktls_last_error());
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				return;
			continue;
		}
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
		if (!l->gone && now - l->heard_ms > g->idle_ms)
			end_link(g, l, "nothing heard for long");
		if (l->gone)
			drop_link(l);
	}
	g->ticked_ms = now;
}

static int patience(const struct gateway *g)
{
	int wait = g->listener ? ktls_listener_timeout(g->listener) : -1;

	return wait < 0 || wait > TICK_MS ? TICK_MS : wait;
}

static void loop(struct gateway *g)
{
	struct epoll_event events[EVENTS];
	struct end *end;
	int i, n;

	while (!g->stopping && (g->listener || g->links)) {
		n = epoll_wait(g->epoll, events, EVENTS, patience(g));
		for (i = 0; i < n; i++) {
			end = events[i].data.ptr;
			if (end->link)
				run_link(g, end);
			else if (end == &g->bell)
				g->stopping = true;
		}
		if (g->listener)
			welcome(g);
		if (clock_ms() - g->ticked_ms >= TICK_MS)
			tick(g);
	}
}

enum status gateway_run(struct gateway *g)
{
	loop(g);
	while (g->links)
		drop_link(g->links);
	ktls_listener_close(g->listener);
	close(g->signals);
	close(g->epoll);
	free(g);
	return STATUS_OK;
}

bool gateway_add(struct gateway *g, struct ktls_conn *conn, int plain)
{
	return add_link(g, conn, plain, false);
}

bool gateway_listen(struct gateway *g, SSL_CTX *ctx, int udp, unsigned int flags,
		    const struct endpoint *to)
{
	set_nonblocking(udp);
	g->to = to;
	g->listener = ktls_listen(ctx, udp, flags);
	if (g->listener)
		return watch(g, udp, &g->door);
	complain("%s", ktls_last_error());
	return false;
}

struct gateway *gateway_new(bool quiet, unsigned int idle_s)
{
	struct gateway *g = calloc(1, sizeof(*g));
	sigset_t mask;

	if (!g) {
		complain("out of memory");
		return NULL;
	}
	raise_file_limit();
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	g->quiet = quiet;
	g->idle_ms = (int64_t)idle_s * 1000;
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	g->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (g->epoll >= 0 && g->signals >= 0 && watch(g, g->signals, &g->bell))
		return g;
	gateway_run(g);
	return NULL;
}
