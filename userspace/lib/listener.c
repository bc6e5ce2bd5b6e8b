// SPDX-License-Identifier: MIT
/* DTLS with many clients on one UDP port. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "cookie.h"
#include "datagram.h"
#include "dtls.h"
#include "guests.h"
#include "listener.h"
#include "local.h"

#define DATAGRAM_MAX	65535
#define TAKE_BACK_MAX	64	/* the old peer may go on sending */
#define HANDSHAKE_MS	30000	/* that a guest may take */
#define SHAKING_MAX	1024	/* guests at a time; more have to ask again */

struct ktls_listener {
	SSL_CTX *ctx;
	int fd;
	unsigned int flags;
	struct ktls_guests guests;
	struct ktls_conn *next;		/* waits for a hello with a good cookie */
	BIO_ADDR *ignored;		/* where OpenSSL writes what we know better */
	struct ktls_guest *shaking;	/* list */
	unsigned int count;		/* of it */
	int64_t due;			/* when the next of their timers expires */
	uint8_t datagram[DATAGRAM_MAX];
};

struct ktls_listener *ktls_listener_get(struct ktls_listener *l)
{
	pthread_mutex_lock(&l->guests.lock);
	l->guests.users++;
	pthread_mutex_unlock(&l->guests.lock);
	return l;
}

static void put(struct ktls_listener *l)
{
	unsigned int users;

	pthread_mutex_lock(&l->guests.lock);
	users = --l->guests.users;
	pthread_mutex_unlock(&l->guests.lock);
	if (users)
		return;
	pthread_mutex_destroy(&l->guests.lock);
	BIO_ADDR_free(l->ignored);
	SSL_CTX_free(l->ctx);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

void ktls_listener_leave(struct ktls_conn *conn)
{
	struct ktls_listener *l = conn->listener;

	if (!l)
		return;
	pthread_mutex_lock(&l->guests.lock);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	if (conn->guest)
		ktls_guests_leave(&l->guests, conn->guest, conn);
	pthread_mutex_unlock(&l->guests.lock);
	conn->guest = NULL;
	conn->listener = NULL;
	put(l);
}

static void discard(int fd, int flags)
{
	char nothing[CMSG_SPACE(1)], byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg;

	do {
		msg = (struct msghdr){
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = nothing, .msg_controllen = sizeof(nothing),
		};
	} while (recvmsg(fd, &msg, flags | MSG_DONTWAIT) > 0);
}

/*
 * What is queued would keep the socket from being given back, and nobody wants it any more.
 * Whoever reads it meanwhile is welcome.
 */
static void take_back(struct ktls_conn *old)
{
	int tries = TAKE_BACK_MAX;

	old->displaced = true;
	while (setsockopt(old->fd, SOL_KTLS, KTLS_DETACH, NULL, 0) && errno == EBUSY && tries--) {
		discard(old->fd, 0);
		discard(old->fd, MSG_ERRQUEUE);
	}
}

void ktls_listener_displace(struct ktls_conn *conn)
{
	struct ktls_listener *l = conn->listener;
	struct ktls_conn *old;

	if (!l || !conn->guest)
		return;
	pthread_mutex_lock(&l->guests.lock);
	old = conn->guest->open;
	if (old && old != conn)
		take_back(old);
	pthread_mutex_unlock(&l->guests.lock);
}

static void copy_option(int from, int to, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (!getsockopt(from, level, name, &value, &len))
		(void)setsockopt(to, level, name, &value, len);
}

/* A socket of the listener's address that is connected to the peer: the kernel prefers it. */
static int connect_beside(int listening, const struct ktls_wire *wire)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int fd, one = 1;

	if (getsockname(listening, (struct sockaddr *)&addr, &len))
		return -errno;
	ktls_local_name(&wire->local, &wire->peer, &addr);
	fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (fcntl(listening, F_GETFL) & O_NONBLOCK)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(listening, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (addr.ss_family == AF_INET6)
		copy_option(listening, fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (!bind(fd, (struct sockaddr *)&addr, len) &&
	    !connect(fd, (const struct sockaddr *)&wire->peer, wire->peer_len))
		return fd;
	one = -errno;
	close(fd);
	return one;
}

int ktls_listener_dismiss(struct ktls_conn *conn)
{
	struct ktls_wire *wire = &conn->wire;
	int fd;

	if (!conn->listener)
		return 0;
	fd = connect_beside(wire->fd, wire);
	if (fd < 0)
		return ktls_fail(conn, -fd, "a UDP socket for a peer in userspace: %s",
				 strerror(-fd));
	wire->fd = fd;
	wire->shared = false;
	wire->peer_len = 0;
	return 0;
}

/* ---- the thread that accepts ---- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void link_guest(struct ktls_listener *l, struct ktls_guest *guest)
{
	guest->deadline = ktls_now_ms() + HANDSHAKE_MS;
	guest->next = l->shaking;
	guest->link = &l->shaking;
	if (guest->next)
		guest->next->link = &guest->next;
	l->shaking = guest;
	l->count++;
}

static void unlink_guest(struct ktls_listener *l, struct ktls_guest *guest)
{
	*guest->link = guest->next;
	if (guest->next)
		guest->next->link = guest->link;
	l->count--;
}

/* The failure of a guest's handshake is told with its address. */
static int fail_guest(struct ktls_conn *conn, int ret, const char *sentence)
{
	char host[64] = "?", port[8] = "?", text[KTLS_SENTENCE];

	(void)getnameinfo((struct sockaddr *)&conn->wire.peer, conn->wire.peer_len, host,
			  sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, sizeof(text), "%s port %s: %s", host, port, sentence);
	ktls_note_failure(-ret, text);
	ktls_close(conn);
	return ret;
}

/* 1: *out is open; 0: it takes longer; -errno: it failed and is gone. */
static int advance(struct ktls_listener *l, struct ktls_guest *guest, struct ktls_conn **out)
{
	struct ktls_conn *conn = guest->shaking;
	int64_t now = ktls_now_ms();
	int ret = ktls_step(conn);
	int wait;

	if (ret == -EAGAIN && now < guest->deadline) {
		wait = ktls_timeout(conn);
		l->due = earlier(l->due, wait < 0 ? guest->deadline :
					 earlier(guest->deadline, now + wait));
		return 0;
	}
	unlink_guest(l, guest);
	ktls_guests_settle(&l->guests, guest, ret ? NULL : conn);
	if (ret) {
		conn->guest = NULL;
		return fail_guest(conn, ret == -EAGAIN ? -ETIMEDOUT : ret,
				  ret == -EAGAIN ? "the handshake took too long" :
						   ktls_error(conn));
	}
	*out = conn;
	return 1;
}

static int advance_due(struct ktls_listener *l, struct ktls_conn **out)
{
	struct ktls_guest *guest, *next;
	int64_t now = ktls_now_ms();
	int ret = 0;

	if (now < l->due)
		return 0;
	l->due = INT64_MAX;
	for (guest = l->shaking; guest && !ret; guest = next) {
		next = guest->next;
		ret = advance(l, guest, out);
	}
	/* The others' turn is next. */
	if (ret)
		l->due = now;
	return ret;
}

static void turn_away(struct ktls_listener *l, struct ktls_guest *guest)
{
	struct ktls_conn *conn = guest->shaking;

	unlink_guest(l, guest);
	ktls_guests_settle(&l->guests, guest, NULL);
	conn->guest = NULL;
	ktls_close(conn);
}

/* @random: of the hello */
static int admit(struct ktls_listener *l, struct ktls_conn *conn, const uint8_t *random,
		 struct ktls_conn **out)
{
	struct ktls_guest *guest = ktls_guests_find(&l->guests, &conn->wire.peer);

	/* Of who begins anew the handshake before is dead. */
	if (guest)
		turn_away(l, guest);
	guest = ktls_guests_add(&l->guests, &conn->wire.peer, conn);
	if (!guest)
		return fail_guest(conn, -ENOMEM, "out of memory");
	memcpy(guest->random, random, sizeof(guest->random));
	conn->guest = guest;
	link_guest(l, guest);
	return advance(l, guest, out);
}

static int make_next(struct ktls_listener *l)
{
	struct ktls_conn *conn = l->next;

	if (!conn)
		conn = ktls_new_guest(l->ctx, l, l->fd, l->flags);
	if (!conn)
		return -errno;
	l->next = conn;
	return ktls_cookie_attach(conn->ssl, &conn->wire) ? 0 : -ENOMEM;
}

/* Without a good cookie the hello is answered with one, and forgotten. */
static int greet(struct ktls_listener *l, const struct sockaddr_storage *name,
		 struct msghdr *msg, size_t size, struct ktls_conn **out)
{
	const uint8_t *random = ktls_dtls_random(l->datagram, size);
	struct ktls_conn *conn;
	struct ktls_wire *wire;
	int ret;

	if (l->count >= SHAKING_MAX || !random)
		return 0;
	ret = make_next(l);
	if (ret)
		return ret;
	conn = l->next;
	wire = &conn->wire;
	wire->peer = *name;
	wire->peer_len = msg->msg_namelen;
	ktls_local_read(msg, &wire->local);
	ktls_datagram_put(wire, l->datagram, size);
	ret = ktls_wire_feed(wire) ? 0 : DTLSv1_listen(conn->ssl, l->ignored);
	ERR_clear_error();
	if (ret > 0) {
		l->next = NULL;
		ktls_limit_datagrams(conn, ktls_datagram_room(wire));
		return admit(l, conn, random, out);
	}
	(void)BIO_reset(wire->rbio);
	(void)ktls_wire_flush(wire, MSG_DONTWAIT);
	return 0;
}

static int deliver(struct ktls_listener *l, struct msghdr *msg, size_t size,
		   struct ktls_conn **out)
{
	const uint8_t *random = ktls_dtls_random(l->datagram, size);
	struct sockaddr_storage name;
	struct ktls_guest *guest;

	ktls_guest_name(msg->msg_name, &name);
	guest = ktls_guests_find(&l->guests, &name);
	/* A client that begins anew proves its address once more (rfc6347 4.2.8). */
	if (!guest || (random && memcmp(random, guest->random, sizeof(guest->random))))
		return greet(l, &name, msg, size, out);
	ktls_datagram_put(&guest->shaking->wire, l->datagram, size);
	return advance(l, guest, out);
}

/* As advance(); -EAGAIN: nothing is there. */
static int receive(struct ktls_listener *l, struct ktls_conn **out)
{
	struct iovec iov = { .iov_base = l->datagram, .iov_len = sizeof(l->datagram) };
	union ktls_local_control control;
	struct sockaddr_storage from;
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from),
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(l->fd, &msg, MSG_DONTWAIT);

	/* Somebody to whom we sent is gone: that is his affair. */
	if (n < 0)
		return errno == EINTR || errno == ECONNREFUSED ? 0 : -errno;
	return deliver(l, &msg, (size_t)n, out);
}

int ktls_listener_timeout(const struct ktls_listener *l)
{
	int64_t left = l->due - ktls_now_ms();

	if (l->due == INT64_MAX)
		return -1;
	return left < 0 ? 0 : (int)left;
}

/* 0, or -errno when there is nothing to wait for any more. */
static int wait_for_datagram(const struct ktls_listener *l, int64_t deadline)
{
	struct pollfd pfd = { .fd = l->fd, .events = POLLIN };
	int64_t left = deadline - ktls_now_ms();
	int wait = ktls_listener_timeout(l);

	if (deadline >= 0 && left <= 0)
		return -EAGAIN;
	if (deadline >= 0 && (wait < 0 || left < wait))
		wait = (int)left;
	return poll(&pfd, 1, wait) < 0 && errno != EINTR ? -errno : 0;
}

struct ktls_conn *ktls_listener_accept(struct ktls_listener *l, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? -1 : ktls_now_ms() + timeout_ms;
	struct ktls_conn *conn = NULL;
	int ret;

	do {
		ret = advance_due(l, &conn);
		if (!ret)
			ret = receive(l, &conn);
		if (ret == -EAGAIN)
			ret = wait_for_datagram(l, deadline);
	} while (!ret);
	if (ret > 0)
		return conn;
	if (ret == -EAGAIN)
		ktls_note_failure(EAGAIN, "no client in that time");
	errno = -ret;
	return NULL;
}

static int set_up(struct ktls_listener *l, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int ret;

	if (!getpeername(fd, (struct sockaddr *)&addr, &len))
		return -EISCONN;
	l->ignored = BIO_ADDR_new();
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	ktls_local_ask(l->fd);
	if (!l->ignored || !ktls_cookie_enable(l->ctx))
		return -ENOMEM;
	/* Says now what each guest would find out. */
	ret = make_next(l);
	return ret;
}

struct ktls_listener *ktls_listen(SSL_CTX *ctx, int udp_fd, unsigned int flags)
{
	struct ktls_listener *l = calloc(1, sizeof(*l));
	int ret;

	if (!l) {
		ktls_note_failure(ENOMEM, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&l->guests.lock, NULL);
	SSL_CTX_up_ref(ctx);
	l->guests.users = 1;
	l->ctx = ctx;
	l->fd = -1;
	l->flags = flags;
	l->due = INT64_MAX;
	ret = set_up(l, udp_fd);
	if (!ret)
		return l;
	if (!l->next)
		ktls_note_failure(-ret, strerror(-ret));
	ktls_listener_close(l);
	errno = -ret;
	return NULL;
}

void ktls_listener_close(struct ktls_listener *l)
{
	if (!l)
		return;
	while (l->shaking)
		turn_away(l, l->shaking);
	ktls_close(l->next);
	put(l);
}
