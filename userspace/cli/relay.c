// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net.h"
#include "relay.h"

#define BUFFER		65536
#define STEP		(1 << 20)	/* what one direction moves before the other's turn */
#define TICK_MS		500	/* for the progress line */

/* What a step of a direction came to; below 0 it is the -errno of a failure. */
enum outcome { MOVED, WAITS, ENDED };

/* One direction. */
struct pump {
	int file;		/* standard input or output */
	mode_t kind;		/* S_IFMT of it; 0: copy through the buffer */
	short want_file, want_net;	/* what it WAITS for */
	bool ended;
	bool local_error;	/* it failed at the file's end */
	int error;		/* -errno */
	uint64_t bytes;
	size_t start, end;	/* of what the buffer holds */
	char *buffer;
};

struct relay {
	struct ktls_conn *conn;
	bool datagrams;
	bool kept;		/* a thread of the library's sees to its keys */
	size_t payload_max;	/* what is read at once, and sent as one datagram */
	int64_t idle_ms;	/* how long a peer that says no more is waited for; 0: for ever */
	int64_t heard_ms;
	struct pump send, recv;
};

static int wait_for(struct pump *p, short file, short net)
{
	p->want_file = file;
	p->want_net = net;
	return WAITS;
}

static bool is_ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) > 0 && pfd.revents;
}

/* n is a count or -errno, of a call that moved bytes between file and connection. */
static int account(struct pump *p, ssize_t n)
{
	if (n < 0)
		return n == -EINTR ? MOVED : (int)n;
	p->bytes += (uint64_t)n;
	return n ? MOVED : ENDED;
}

/* Which side of a splice that returned EAGAIN is it that waits? */
static int splice_waits(const struct relay *r, struct pump *p, short file, short net)
{
	if (is_ready(ktls_poll_fd(r->conn), net))
		return wait_for(p, file, 0);
	return wait_for(p, 0, net);
}

/* ---- from standard input ---- */

static bool path_is_narrower(struct relay *r)
{
	size_t before = r->payload_max;

	if (r->datagrams)
		r->payload_max = ktls_payload_max(r->conn);
	return r->payload_max && r->payload_max < before;
}

static int send_buffer(struct relay *r)
{
	struct pump *p = &r->send;
	size_t len = p->end - p->start;
	ssize_t n = ktls_send(r->conn, p->buffer + p->start,
			      len < r->payload_max ? len : r->payload_max, 0);

	if (n == -EAGAIN)
		return wait_for(p, 0, POLLOUT);
	if (n == -EMSGSIZE && path_is_narrower(r))
		return MOVED;
	if (n > 0)
		p->start += (size_t)n;
	return account(p, n);
}

static int local_failure(struct pump *p, const char *what)
{
	int err = errno;

	p->local_error = true;
	complain("%s: %s", what, strerror(err));
	return -err;
}

static int read_input(struct relay *r)
{
	struct pump *p = &r->send;
	ssize_t n;

	/* Standard input may be shared with others and is left blocking. */
	if (!is_ready(p->file, POLLIN))
		return wait_for(p, POLLIN, 0);
	n = read(p->file, p->buffer, r->payload_max);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return MOVED;
	if (n < 0)
		return local_failure(p, "standard input");
	p->start = 0;
	p->end = (size_t)n;
	return n ? MOVED : ENDED;
}

static int send_file(struct relay *r)
{
	struct pump *p = &r->send;
	ssize_t n = ktls_sendfile(r->conn, p->file, NULL, STEP);

	if (n == -EAGAIN)
		return wait_for(p, 0, POLLOUT);
	if (n != -EINVAL && n != -ESPIPE)
		return account(p, n);
	p->kind = 0;
	return MOVED;
}

static int send_pipe(struct relay *r)
{
	struct pump *p = &r->send;
	ssize_t n = splice(p->file, NULL, ktls_fd(r->conn), NULL, STEP,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n >= 0 || errno == EINTR)
		return account(p, n < 0 ? -EINTR : n);
	if (errno == EAGAIN)
		return splice_waits(r, p, POLLIN, POLLOUT);
	/* ktls_send has a sentence for it, if it fails too. */
	p->kind = 0;
	return MOVED;
}

static int send_step(struct relay *r)
{
	struct pump *p = &r->send;

	if (p->start < p->end)
		return send_buffer(r);
	if (S_ISREG(p->kind))
		return send_file(r);
	if (S_ISFIFO(p->kind))
		return send_pipe(r);
	return read_input(r);
}

/* What follows the end of input: close_notify and FIN, as soon as there is room. */
static int end_sending(struct relay *r)
{
	int ret;

	/* A peer that gets a close_notify over UDP answers no more: it has some time before. */
	if (r->datagrams) {
		r->send.ended = true;
		r->heard_ms = clock_ms();
		return ENDED;
	}
	ret = ktls_shutdown(r->conn);
	if (ret == -EAGAIN || ret == -EINTR)
		return wait_for(&r->send, 0, POLLOUT);
	r->send.ended = true;
	return ret ? ret : ENDED;
}

/* ---- to standard output ---- */

static int write_output(struct pump *p)
{
	ssize_t n;

	if (!is_ready(p->file, POLLOUT))
		return wait_for(p, POLLOUT, 0);
	n = write(p->file, p->buffer + p->start, p->end - p->start);
	if (n < 0 && errno == EAGAIN)
		return wait_for(p, POLLOUT, 0);
	if (n < 0 && errno != EINTR)
		return local_failure(p, "standard output");
	if (n > 0)
		p->start += (size_t)n;
	return MOVED;
}

static int recv_buffer(struct relay *r)
{
	struct pump *p = &r->recv;
	ssize_t n = ktls_recv(r->conn, p->buffer, BUFFER, 0);

	if (n == -EAGAIN)
		return wait_for(p, 0, POLLIN);
	p->start = 0;
	p->end = n > 0 ? (size_t)n : 0;
	return account(p, n);
}

static int recv_pipe(struct relay *r)
{
	struct pump *p = &r->recv;
	ssize_t n = splice(ktls_fd(r->conn), NULL, p->file, NULL, STEP,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n >= 0 || errno == EINTR)
		return account(p, n < 0 ? -EINTR : n);
	if (errno == EAGAIN)
		return splice_waits(r, p, POLLOUT, POLLIN);
	if (errno == EPIPE)
		return local_failure(p, "standard output");
	/* A record that is not data, or a failure: ktls_recv knows what to do. */
	return recv_buffer(r);
}

static int recv_step(struct relay *r)
{
	struct pump *p = &r->recv;

	if (p->start < p->end)
		return write_output(p);
	if (S_ISFIFO(p->kind))
		return recv_pipe(r);
	return recv_buffer(r);
}

/* ---- both ---- */

static void settle(struct pump *p, int outcome)
{
	if (outcome == MOVED || outcome == WAITS)
		return;
	p->ended = true;
	if (outcome < 0)
		p->error = outcome;
}

/* Returns whether bytes moved. */
static bool run_send(struct relay *r)
{
	int outcome;

	if (r->send.ended)
		return false;
	outcome = send_step(r);
	if (outcome == ENDED)
		outcome = end_sending(r);
	settle(&r->send, outcome);
	return outcome != WAITS;
}

static bool run_recv(struct relay *r)
{
	int outcome;

	if (r->recv.ended)
		return false;
	outcome = recv_step(r);
	if (outcome == MOVED)
		r->heard_ms = clock_ms();
	settle(&r->recv, outcome);
	return outcome != WAITS;
}

static short wants(const struct pump *p, bool net)
{
	if (p->ended)
		return 0;
	return net ? p->want_net : p->want_file;
}

/*
 * What keys that change wait for has times of its own, and no event: a paused sender hears of no
 * room, and splice(2) tells the library nothing. Where that fails ktls_recv knows why.
 */
static void see_to_keys(struct relay *r)
{
	int ret;

	if (r->kept || ktls_timeout(r->conn) < 0)
		return;
	ret = ktls_step(r->conn);
	if (ret && ret != -EAGAIN)
		r->recv.kind = 0;
}

static int patience(const struct relay *r)
{
	int due = r->kept ? -1 : ktls_timeout(r->conn);

	return due >= 0 && due < TICK_MS ? due : TICK_MS;
}

/* A descriptor nobody waits for is left out: its POLLHUP would wake us for nothing. */
static void wait_for_events(struct relay *r)
{
	short net = wants(&r->send, true) | wants(&r->recv, true) | ktls_events(r->conn);
	struct pollfd pfd[] = {
		{ .fd = net ? ktls_poll_fd(r->conn) : -1, .events = net },
		{ .fd = wants(&r->send, false) ? r->send.file : -1, .events = POLLIN },
		{ .fd = wants(&r->recv, false) ? r->recv.file : -1, .events = POLLOUT },
	};

	poll(pfd, 3, patience(r));
	if (pfd[0].revents & POLLOUT)
		(void)ktls_step(r->conn);
}

/*
 * The peer's close_notify ends its direction only; ours goes on to the end of input. A
 * person at a terminal, a peer that is gone and output that nobody reads end both.
 */
static bool is_over(const struct relay *r)
{
	if (r->datagrams)
		return r->recv.ended || (r->send.ended && r->idle_ms &&
					 clock_ms() - r->heard_ms >= r->idle_ms);
	if (!r->recv.ended)
		return false;
	return r->send.ended || r->recv.error || ktls_truncated(r->conn) ||
	       isatty(r->send.file);
}

/* Datagrams keep the boundaries of what is read and written: only files have none. */
static mode_t kind_of(int fd, struct ktls_conn *conn)
{
	struct stat st;

	if (fstat(fd, &st))
		return 0;
	if (S_ISFIFO(st.st_mode) && (!ktls_in_kernel(conn) || SSL_is_dtls(ktls_ssl(conn))))
		return 0;
	return st.st_mode & S_IFMT;
}

/*
 * A description of our own that does not block, so that a slow reader of our output does
 * not keep us from sending. Where /proc gives none the shared one serves.
 */
static int open_output(void)
{
	struct stat st;
	int fd = -1;

	if (!fstat(STDOUT_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? STDOUT_FILENO : fd;
}

enum status status_of(int ret)
{
	switch (-ret) {
	case 0:
		return STATUS_OK;
	case EPROTO:
	case EBADMSG:
	case EMSGSIZE:
	case EINVAL:
	case EOPNOTSUPP:
		return STATUS_TLS;
	case EAFNOSUPPORT:
	case EMFILE:
	case ENOMEM:
		return STATUS_LOCAL;
	default:
		return STATUS_NETWORK;
	}
}

/*
 * A close_notify over UDP ends both directions. It is the client that says when: was there,
 * or could there be, more for it to send?
 */
static bool is_cut_short(const struct relay *r)
{
	const struct pump *p = &r->send;
	int left = 0;

	if (!r->datagrams || SSL_is_server(ktls_ssl(r->conn)))
		return false;
	if (p->ended || !p->bytes || isatty(p->file))
		return false;
	if (p->start < p->end || !is_ready(p->file, POLLIN))
		return true;
	return !ioctl(p->file, FIONREAD, &left) && left > 0;
}

static enum status verdict(const struct relay *r)
{
	int error = r->recv.error ? r->recv.error : r->send.error;

	if (r->recv.local_error || r->send.local_error)
		return STATUS_LOCAL;
	if (error) {
		complain("%s", ktls_error(r->conn));
		return status_of(error);
	}
	if (ktls_truncated(r->conn)) {
		complain("the peer closed the connection without close_notify: data may be missing");
		return STATUS_TRUNCATED;
	}
	if (is_cut_short(r)) {
		complain("the peer closed the connection before the end of standard input");
		return STATUS_TRUNCATED;
	}
	return STATUS_OK;
}

enum status relay(struct ktls_conn *conn, bool kept, unsigned int idle_s, struct progress *progress)
{
	struct relay r = {
		.conn = conn,
		.datagrams = SSL_is_dtls(ktls_ssl(conn)),
		.kept = kept,
		.payload_max = BUFFER,
		.idle_ms = (int64_t)idle_s * 1000,
		.send = { .file = STDIN_FILENO, .kind = kind_of(STDIN_FILENO, conn) },
		.recv = { .file = open_output(), .kind = kind_of(STDOUT_FILENO, conn) },
	};
	bool moved;

	if (r.datagrams)
		r.payload_max = ktls_payload_max(conn);
	r.send.buffer = malloc(BUFFER);
	r.recv.buffer = malloc(BUFFER);
	while (r.send.buffer && r.recv.buffer && !is_over(&r)) {
		see_to_keys(&r);
		moved = run_send(&r);
		moved |= run_recv(&r);
		progress_update(progress, r.send.bytes, r.recv.bytes);
		if (!moved && !is_over(&r))
			wait_for_events(&r);
	}
	if (!r.send.ended || r.datagrams)
		(void)ktls_shutdown(conn);
	progress_end(progress, r.send.bytes, r.recv.bytes);
	free(r.send.buffer);
	free(r.recv.buffer);
	if (r.recv.file != STDOUT_FILENO)
		close(r.recv.file);
	return verdict(&r);
}
