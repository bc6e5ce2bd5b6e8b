// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client.h"
#include "progress.h"
#include "server.h"

#define EVENTS		64
#define ACCEPTS		64	/* at a time, then the clients have their turn */
#define TICK_MS		1000
#define STOP_MS		10000

struct server {
	SSL_CTX *ctx;
	unsigned int flags;
	int epoll, listener, signals;
	bool accepting, told_full;
	struct client *clients;
	unsigned int clients_count, clients_max;
	struct client_policy policy;
	int64_t ticked_ms;
	int64_t stop_ms;	/* when the last client is cut off */
};

/* epoll's data.ptr of the two descriptors that are no client's. */
static char listener_tag, signals_tag;

static bool watch(struct server *s, int op, int fd, short events, void *ptr)
{
	struct epoll_event event = { .data.ptr = ptr };

	/* The values of EPOLLIN, EPOLLOUT and EPOLLPRI are those of poll(2). */
	event.events = (uint32_t)events;
	return !epoll_ctl(s->epoll, op, fd, &event);
}

static void pause_accepting(struct server *s, bool pause)
{
	if (pause == !s->accepting)
		return;
	s->accepting = !pause;
	watch(s, pause ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, s->listener, POLLIN, &listener_tag);
}

/* There is room for another then. */
static void drop_client(struct server *s, struct client *c)
{
	if (c->next)
		c->next->prev = c->prev;
	*c->prev = c->next;
	client_free(c);
	s->clients_count--;
	pause_accepting(s, s->policy.stopping);
}

/* From the TCP socket to the descriptor of the data path; the former is not needed again. */
static bool move_to_data_path(struct server *s, struct client *c)
{
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->tcp, NULL);
	close(c->tcp);
	c->tcp = -1;
	return watch(s, EPOLL_CTL_ADD, ktls_poll_fd(c->conn), c->want, c);
}

static bool watch_client(struct server *s, struct client *c, short wanted)
{
	if (c->state == CLIENT_GONE)
		return false;
	if (c->tcp >= 0 && c->state != CLIENT_SHAKES_HANDS)
		return move_to_data_path(s, c);
	if (c->want == wanted)
		return true;
	return watch(s, EPOLL_CTL_MOD, c->tcp >= 0 ? c->tcp : ktls_poll_fd(c->conn), c->want, c);
}

static void run_client(struct server *s, struct client *c)
{
	short wanted = c->want;

	client_run(c, &s->policy);
	if (!watch_client(s, c, wanted))
		drop_client(s, c);
}

static void add_client(struct server *s, int fd)
{
	struct client *c;
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = client_new(s->ctx, fd, s->flags);
	if (!c) {
		close(fd);
		return;
	}
	c->next = s->clients;
	c->prev = &s->clients;
	if (c->next)
		c->next->prev = &c->next;
	s->clients = c;
	s->clients_count++;
	if (!watch(s, EPOLL_CTL_ADD, fd, c->want, c))
		drop_client(s, c);
}

static bool has_room(struct server *s)
{
	if (s->clients_count < s->clients_max)
		return true;
	if (!s->told_full)
		complain("%u clients: others wait until one leaves (-clients)", s->clients_max);
	s->told_full = true;
	pause_accepting(s, true);
	return false;
}

static void accept_clients(struct server *s)
{
	int i, fd;

	for (i = 0; i < ACCEPTS && has_room(s); i++) {
		fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			add_client(s, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* The queue stays readable; try again when a second has passed. */
			complain("accept: %s: waiting for clients to leave", strerror(errno));
			pause_accepting(s, true);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* Idle clients go at once, the others with their reply. */
static void begin_stop(struct server *s)
{
	struct client *c, *next;

	s->stop_ms = clock_ms() + STOP_MS;
	pause_accepting(s, true);
	for (c = s->clients; c; c = next) {
		next = c->next;
		if (c->state == CLIENT_SHAKES_HANDS) {
			drop_client(s, c);
		} else if (c->state == CLIENT_ASKS && !c->in_len) {
			c->state = CLIENT_LEAVES;
			c->deadline_ms = s->stop_ms;
			run_client(s, c);
		}
	}
}

/* False at the second signal. */
static bool take_signal(struct server *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (s->policy.stopping)
		return false;
	complain("stopping; once more to stop at once");
	s->policy.stopping = true;
	return true;
}

static void tick(struct server *s)
{
	int64_t now = clock_ms();
	struct client *c, *next;

	if (now - s->ticked_ms < TICK_MS)
		return;
	s->ticked_ms = now;
	for (c = s->clients; c; c = next) {
		next = c->next;
		if (now >= c->deadline_ms) {
			client_time_out(c);
			drop_client(s, c);
		} else if (client_is_timed(c)) {
			run_client(s, c);
		}
	}
	pause_accepting(s, s->policy.stopping);
}

static bool dispatch(struct server *s, const struct epoll_event *event)
{
	if (event->data.ptr == &signals_tag)
		return take_signal(s);
	if (event->data.ptr == &listener_tag)
		accept_clients(s);
	else
		run_client(s, event->data.ptr);
	return true;
}

static bool is_done(const struct server *s)
{
	return s->stop_ms && (!s->clients || clock_ms() >= s->stop_ms);
}

static void loop(struct server *s)
{
	struct epoll_event events[EVENTS];
	int i, n;

	while (!is_done(s)) {
		n = epoll_wait(s->epoll, events, EVENTS, TICK_MS);
		for (i = 0; i < n; i++)
			if (!dispatch(s, &events[i]))
				return;
		/* Not from dispatch: events behind the signal's may be of clients that go. */
		if (s->policy.stopping && !s->stop_ms)
			begin_stop(s);
		tick(s);
	}
}

static bool set_up(struct server *s)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	raise_file_limit();
	s->ticked_ms = clock_ms();
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	s->accepting = true;
	return s->epoll >= 0 && s->signals >= 0 &&
	       watch(s, EPOLL_CTL_ADD, s->signals, POLLIN, &signals_tag) &&
	       watch(s, EPOLL_CTL_ADD, s->listener, POLLIN, &listener_tag);
}

static void announce(int listener)
{
	char name[NET_NAME];

	net_local_name(listener, name);
	printf("listening on %s\n", name);
}

enum status server_run(SSL_CTX *ctx, int listener, int root, unsigned int flags,
		       unsigned int clients_max)
{
	struct server s = {
		.ctx = ctx, .listener = listener, .flags = flags, .policy.root = root,
		.clients_max = clients_max,
	};

	set_nonblocking(listener);
	if (!set_up(&s)) {
		complain("epoll: %s", strerror(errno));
		return STATUS_LOCAL;
	}
	/* From here on connections and signals are taken as they should. */
	announce(listener);
	loop(&s);
	while (s.clients)
		drop_client(&s, s.clients);
	close(s.signals);
	close(s.epoll);
	return STATUS_OK;
}
