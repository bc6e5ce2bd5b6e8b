// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "tls.h"
#include "log.h"
#include "progress.h"

#define HANDSHAKE_MS	60000
#define REQUEST_MS	60000	/* for a whole request, or idle between two */
#define STALL_MS	60000	/* without one byte taken */
#define LINGER_MS	2000
/* What a client gets before others have their turn. */
#define STEPS		16
#define STEP_BYTES	(256 << 10)

static void give_time(struct client *c, int ms)
{
	c->deadline_ms = clock_ms() + ms;
}

struct client *client_new(SSL_CTX *ctx, int tcp, unsigned int flags)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->tcp = tcp;
	c->reply.file = -1;
	net_peer_name(tcp, c->name);
	c->conn = ktls_new(ctx, tcp, 1, NULL, flags);
	if (!c->conn) {
		complain("%s: %s", c->name, ktls_last_error());
		free(c);
		return NULL;
	}
	c->want = POLLIN;
	give_time(c, HANDSHAKE_MS);
	return c;
}

void client_free(struct client *c)
{
	reply_free(&c->reply);
	ktls_close(c->conn);
	if (c->tcp >= 0)
		close(c->tcp);
	free(c);
}

/* ---- the log ---- */

void client_time_out(const struct client *c)
{
	if (c->state == CLIENT_SHAKES_HANDS)
		complain("%s: the handshake took too long", c->name);
	else if (c->state == CLIENT_GETS)
		complain("%s: takes no data", c->name);
	else if (c->state == CLIENT_ASKS && c->in_len)
		complain("%s: the request took too long", c->name);
}

static void log_request(const struct client *c)
{
	log_line(&(struct log_entry){
		.who = c->name, .method = c->request.method, .target = c->request.target,
		.status = c->reply.status, .bytes = c->body_sent, .began_ms = c->request_ms,
		.conn = c->conn,
	});
}

/* ---- the states; each returns false when it waits for c->want ---- */

static bool wait_for(struct client *c, short events)
{
	c->want = events;
	return false;
}

/* For data, or for what ktls_attend has put beside it. */
static bool wait_for_records(struct client *c, short events)
{
	bool attended = !c->kept && ktls_in_kernel(c->conn);

	return wait_for(c, attended ? events | POLLPRI : events);
}

static bool go(struct client *c, enum client_state state, int ms)
{
	c->state = state;
	give_time(c, ms);
	return true;
}

static bool lose(struct client *c, const char *why)
{
	complain("%s: %s", c->name, why);
	c->state = CLIENT_GONE;
	return false;
}

static bool shake_hands(struct client *c)
{
	int ret = ktls_step(c->conn);

	if (ret == -EAGAIN)
		return wait_for(c, ktls_events(c->conn));
	if (ret)
		return lose(c, ktls_error(c->conn));
	c->kept = tls_limit(c->conn);
	return go(c, CLIENT_ASKS, REQUEST_MS);
}

static void begin_reply(struct client *c, int status, const struct client_policy *policy)
{
	if (policy->stopping)
		c->request.keep_alive = false;
	if (status)
		reply_error(&c->reply, status, &c->request);
	else
		reply_make(&c->reply, policy->root, &c->request);
	c->head_sent = 0;
	c->body_sent = 0;
	go(c, CLIENT_GETS, STALL_MS);
}

/* The request was cut up in place: it stays until the reply is logged. */
static bool take_request(struct client *c, const struct client_policy *policy)
{
	size_t len = http_head_length(c->in, c->in_len);

	if (!len && c->in_len < sizeof(c->in))
		return false;
	c->request_len = len ? len : c->in_len;
	if (len) {
		begin_reply(c, http_parse(c->in, len, &c->request), policy);
		return true;
	}
	c->request = (struct http_request){ .method = "-", .target = "-" };
	begin_reply(c, 431, policy);
	return true;
}

/* The client may want other keys, whosever turn it is. */
static bool attend(struct client *c)
{
	return c->kept || !ktls_attend(c->conn);
}

static bool read_request(struct client *c, const struct client_policy *policy)
{
	ssize_t n;

	if (c->in_len && take_request(c, policy))
		return true;
	n = ktls_recv(c->conn, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
	if (n == -EAGAIN)
		return attend(c) ? wait_for_records(c, POLLIN) : lose(c, ktls_error(c->conn));
	if (n == -EINTR)
		return true;
	if (n == -ECONNRESET && !c->in_len)
		return go(c, CLIENT_GONE, 0);	/* common, no news */
	if (n < 0)
		return lose(c, ktls_error(c->conn));
	if (!n)
		return go(c, CLIENT_LEAVES, LINGER_MS);
	if (!c->in_len)
		c->request_ms = clock_ms();
	c->in_len += (size_t)n;
	return true;
}

/* A count, 0 when the file has shrunk, or -errno. */
static ssize_t send_some(struct client *c)
{
	struct reply *r = &c->reply;
	size_t left = (size_t)(r->end - r->offset);

	if (c->head_sent < r->head_len)
		return ktls_send(c->conn, r->head + c->head_sent, r->head_len - c->head_sent,
				 left ? MSG_MORE : 0);
	if (left > STEP_BYTES)
		left = STEP_BYTES;
	if (r->text)
		return ktls_send(c->conn, r->text + r->offset, left, 0);
	return ktls_sendfile(c->conn, r->file, &r->offset, left);
}

static void note_sent(struct client *c, size_t n)
{
	struct reply *r = &c->reply;

	give_time(c, STALL_MS);
	if (c->head_sent < r->head_len) {
		c->head_sent += n;
		return;
	}
	c->body_sent += n;
	if (r->text)
		r->offset += (off_t)n;
}

/* What the client has sent behind its request is the beginning of the next. */
static void drop_request(struct client *c)
{
	c->in_len -= c->request_len;
	memmove(c->in, c->in + c->request_len, c->in_len);
	c->request_ms = clock_ms();
}

static bool end_reply(struct client *c, const struct client_policy *policy)
{
	log_request(c);
	reply_free(&c->reply);
	drop_request(c);
	if (c->reply.keep_alive && !policy->stopping)
		return go(c, CLIENT_ASKS, REQUEST_MS);
	return go(c, CLIENT_LEAVES, LINGER_MS);
}

static bool send_reply(struct client *c, const struct client_policy *policy)
{
	struct reply *r = &c->reply;
	ssize_t n;

	if (!attend(c))
		return lose(c, ktls_error(c->conn));
	if (c->head_sent == r->head_len && r->offset == r->end)
		return ktls_step(c->conn) == -EAGAIN ? wait_for_records(c, POLLOUT) :
		       end_reply(c, policy);
	n = send_some(c);
	if (n == -EAGAIN)
		return wait_for_records(c, POLLOUT);
	if (n == -EINTR)
		return true;
	if (n <= 0) {
		log_request(c);
		return lose(c, n ? ktls_error(c->conn) : "the file became shorter");
	}
	note_sent(c, (size_t)n);
	return true;
}

static bool leave(struct client *c)
{
	int ret = ktls_shutdown(c->conn);
	ssize_t n;

	if (ret != -EAGAIN)
		return go(c, ret ? CLIENT_GONE : CLIENT_LINGERS, LINGER_MS);
	/* A handshake goes on by what we receive. */
	n = ktls_recv(c->conn, c->in, sizeof(c->in), 0);
	if (n == -EAGAIN)
		return wait_for_records(c, POLLIN | POLLOUT);
	if (!n)
		return wait_for(c, POLLOUT);
	if (n < 0 && n != -EINTR)
		c->state = CLIENT_GONE;
	return true;
}

/* Closing with unread bytes would make TCP take back what the client has not got yet. */
static bool linger(struct client *c)
{
	ssize_t n = ktls_recv(c->conn, c->in, sizeof(c->in), 0);

	if (n == -EAGAIN)
		return wait_for(c, POLLIN);
	if (n <= 0 && n != -EINTR)
		c->state = CLIENT_GONE;
	return true;
}

static bool run_state(struct client *c, const struct client_policy *policy)
{
	switch (c->state) {
	case CLIENT_SHAKES_HANDS:
		return shake_hands(c);
	case CLIENT_ASKS:
		return read_request(c, policy);
	case CLIENT_GETS:
		return send_reply(c, policy);
	case CLIENT_LEAVES:
		return leave(c);
	case CLIENT_LINGERS:
		return linger(c);
	default:
		return false;
	}
}

bool client_is_timed(const struct client *c)
{
	return !c->kept && c->state != CLIENT_SHAKES_HANDS && ktls_timeout(c->conn) >= 0;
}

void client_run(struct client *c, const struct client_policy *policy)
{
	int i;

	for (i = 0; i < STEPS; i++)
		if (!run_state(c, policy))
			return;
	/* What it goes on with, a request behind the last too, brings us back. */
	c->want = POLLIN | POLLOUT;
}
