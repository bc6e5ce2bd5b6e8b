// SPDX-License-Identifier: GPL-2.0-only
/*
 * What if memory is short, or the program's is gone? Each allocation and each copy from or to
 * the program that an operation makes in its own task fails once (the kernel's fault injection,
 * fail-nth); what interrupts and work queues allocate for it does not. Every time the operation
 * either succeeds or says why not, and nothing is lost. timeout=600; only under detectors
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

#define LARGE	70000	/* some records */
#define SMALL	100
#define ROUNDS	400	/* more points of failure has no operation */

/* The sockets on which an operation is tried once. */
struct scene {
	int fd;			/* AF_KTLS; may be without carrier or keys */
	int carrier;
	struct peer peer;
	struct keys rx;		/* as the peer's were at first */
	struct sockaddr_in6 name;	/* the peer's */
	socklen_t name_len;
	int pipe[2];
	int file;		/* LARGE bytes */
};

struct operation {
	bool datagram;
	bool tls13;
	bool single_pages;	/* larger ones are not to be had */
	int (*prepare)(struct scene *s);
	long (*run)(struct scene *s);
	bool infallible;	/* it neither allocates nor copies */
	/* Was everything as it has to be, having returned @result? */
	bool (*check)(struct scene *s, long result);
};

static uint8_t data[LARGE], got[LARGE + RECORD_MAX];
/* How often a point of failure ended the sending direction; see died_cleanly(). */
static int deaths;

static bool set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, value, strlen(value)) > 0;

	close(fd);
	return done;
}

/* Allocations that may wait fail too, and single pages. */
static bool may_inject(void)
{
	return set("/sys/kernel/debug/failslab/ignore-gfp-wait", "N") &&
	       set("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") &&
	       set("/sys/kernel/debug/fail_page_alloc/min-order", "0") &&
	       set("/sys/kernel/debug/fail_usercopy/verbose", "0") &&
	       set("/sys/kernel/debug/failslab/verbose", "0") &&
	       set("/sys/kernel/debug/fail_page_alloc/verbose", "0");
}

static void arm(int control, int n)
{
	char text[16];

	pwrite(control, text, snprintf(text, sizeof(text), "%d", n), 0);
}

/* Has something failed? The look itself copies. */
static bool disarm(int control)
{
	char text[16] = "0";
	bool left = pread(control, text, sizeof(text) - 1, 0) < 0 || atoi(text);

	arm(control, 0);
	return !left;
}

static bool is_shortage(long result)
{
	return result == -ENOMEM || result == -ENOBUFS || result == -EFAULT || result == -ENFILE ||
	       result == -EIO;
}

static int set_scene(struct scene *s, const struct operation *op)
{
	const uint16_t cipher = TLS_CIPHER_AES_GCM_128 | (op->tls13 ? TLS13 : 0);
	int fds[2];

	if (op->datagram ? udp_pair(AF_INET, fds) : tcp_pair(AF_INET, fds))
		return -1;
	s->carrier = fds[0];
	s->peer.fd = fds[1];
	s->fd = -1;
	time_limit(s->carrier, TIME_LIMIT);
	time_limit(s->peer.fd, TIME_LIMIT);
	keys_make(&s->peer.tx, cipher, 1);
	keys_make(&s->peer.rx, cipher, 2);
	if (op->datagram) {
		dtls_keys_make(&s->peer.tx, TLS_CIPHER_AES_GCM_128, 1);
		dtls_keys_make(&s->peer.rx, TLS_CIPHER_AES_GCM_128, 2);
	}
	s->rx = s->peer.tx;
	s->name_len = sizeof(s->name);
	getsockname(s->peer.fd, (void *)&s->name, &s->name_len);
	if (pipe(s->pipe) || fcntl(s->pipe[0], F_SETPIPE_SZ, 1 << 20) < 0)
		return -1;
	s->file = memfd_create("file", 0);
	if (write(s->file, data, LARGE) != LARGE || lseek(s->file, 0, SEEK_SET))
		return -1;
	return op->prepare(s);
}

static void strike(struct scene *s)
{
	close(s->fd);
	close(s->carrier);
	close(s->peer.fd);
	close(s->pipe[0]);
	close(s->pipe[1]);
	close(s->file);
}

static void try_all(struct __test_metadata *_metadata, const struct operation *op)
{
	int control = open("/proc/thread-self/fail-nth", O_RDWR), n;
	struct scene s;
	bool failed;
	long result;

	if (control < 0 || !may_inject())
		SKIP(return, "the kernel has no fault injection");
	ASSERT_TRUE(set("/proc/sys/net/core/high_order_alloc_disable", op->single_pages ? "1" : "0"));
	signal(SIGPIPE, SIG_IGN);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	fill(data, sizeof(data), 0);
	for (n = 1; n < ROUNDS; n++) {
		ASSERT_EQ(0, set_scene(&s, op));
		/* Of the point before, which was right. */
		memset(got, 0, sizeof(got));
		arm(control, n);
		result = RESULT(op->run(&s));
		failed = disarm(control);
		ASSERT_TRUE(result >= 0 || is_shortage(result)) {
			TH_LOG("point %d: %s", n, strerror(-result));
		}
		ASSERT_TRUE(op->check(&s, result)) {
			TH_LOG("point %d: returned %ld", n, result);
		}
		strike(&s);
		if (!failed)
			break;
	}
	TH_LOG("%d points of failure, %d of which end the direction", n - 1, deaths);
	/* Those in the midst of the cipher: there are fewer than of the others. */
	EXPECT_GE((n - 1) / 6, deaths);
	EXPECT_EQ(op->infallible, n == 1);
	EXPECT_LT(n, ROUNDS);
	EXPECT_TRUE(set("/proc/sys/net/core/high_order_alloc_disable", "0"));
	close(control);
}

#define OPERATION(name, ...)						\
	TEST(name)							\
	{								\
		static const struct operation op = { __VA_ARGS__ };	\
									\
		ONLY_KTLS();						\
		try_all(_metadata, &op);				\
	}

/* ---- setting up ---- */

static int nothing(struct scene *s)
{
	return 0;
}

static long open_stream(struct scene *s)
{
	s->fd = socket(AF_KTLS, SOCK_STREAM, 0);
	return s->fd;
}

static bool opens_again(struct scene *s, long result)
{
	return result >= 0 || (open_stream(s) >= 0);
}

OPERATION(socket_, .prepare = nothing, .run = open_stream, .check = opens_again)

static int open_socket(struct scene *s)
{
	int type = 0;
	socklen_t len = sizeof(type);

	getsockopt(s->carrier, SOL_SOCKET, SO_TYPE, &type, &len);
	s->fd = socket(AF_KTLS, type, 0);
	time_limit(s->fd, TIME_LIMIT);
	return s->fd < 0;
}

static long bind_it(struct scene *s)
{
	return tls_bind(s->fd, s->carrier);
}

/* What cannot be taken stays as it was. */
static bool bound_in_the_end(struct scene *s, long result)
{
	if (result < 0 && (send(s->carrier, "x", 1, 0) != 1 || recv(s->peer.fd, got, 1, 0) != 1 ||
			   tls_bind(s->fd, s->carrier)))
		return false;
	return !tls_key(s->fd, TLS_TX, &s->peer.rx) && !tls_key(s->fd, TLS_RX, &s->peer.tx);
}

OPERATION(bind_stream, .prepare = open_socket, .run = bind_it, .check = bound_in_the_end)
OPERATION(bind_datagrams, .datagram = true, .prepare = open_socket, .run = bind_it,
	  .check = bound_in_the_end)

static int bound(struct scene *s)
{
	return open_socket(s) || tls_bind(s->fd, s->carrier);
}

static int peer_says(struct scene *s)
{
	return peer_send(&s->peer, DATA, data, SMALL);
}

static bool hears(struct scene *s)
{
	return recv(s->fd, got, sizeof(got), 0) == SMALL && filled(got, SMALL, 0);
}

static int bound_and_spoken_to(struct scene *s)
{
	return bound(s) || peer_says(s);
}

static long set_tx(struct scene *s)
{
	return tls_key(s->fd, TLS_TX, &s->peer.rx);
}

static long set_rx(struct scene *s)
{
	return tls_key(s->fd, TLS_RX, &s->rx);
}

static bool sends_in_the_end(struct scene *s, long result)
{
	uint8_t type;

	return (!result || !set_tx(s)) && send(s->fd, data, SMALL, 0) == SMALL &&
	       peer_recv(&s->peer, &type, got) == SMALL;
}

static bool hears_in_the_end(struct scene *s, long result)
{
	return (!result || !set_rx(s)) && hears(s);
}

OPERATION(tx_key, .prepare = bound, .run = set_tx, .check = sends_in_the_end)
OPERATION(rx_key, .prepare = bound_and_spoken_to, .run = set_rx, .check = hears_in_the_end)

static int datagram_waits(struct scene *s)
{
	return bound(s) || dgram_send(&s->peer, DATA, data, SMALL);
}

OPERATION(rx_key_datagrams, .datagram = true, .prepare = datagram_waits, .run = set_rx,
	  .check = hears_in_the_end)

static int keyed(struct scene *s)
{
	return bound(s) || set_tx(s) || set_rx(s);
}

/* The peer on a carrier without one. */
static int on_shared_carrier(struct scene *s)
{
	close(s->carrier);
	s->carrier = udp_socket(AF_INET);
	return bound(s);
}

static long name_peer(struct scene *s)
{
	return connect(s->fd, (void *)&s->name, s->name_len);
}

static bool named_in_the_end(struct scene *s, long result)
{
	return !result || !name_peer(s);
}

OPERATION(connect_, .datagram = true, .prepare = on_shared_carrier, .run = name_peer,
	  .check = named_in_the_end)

static long prepend(struct scene *s)
{
	size_t len = record_seal(&s->peer.tx, DATA, data, SMALL, got);
	long ret = setsockopt(s->fd, SOL_KTLS, KTLS_PREPEND_RX, got, len);

	if (ret)
		s->peer.tx.seq--;
	return ret;
}

static bool prepended_in_the_end(struct scene *s, long result)
{
	return (!result || !prepend(s)) && !set_rx(s) && hears(s);
}

OPERATION(prepend_, .prepare = bound, .run = prepend, .check = prepended_in_the_end)

static long ask(struct scene *s)
{
	struct ktls_info info;

	return get_info(s->fd, &info);
}

static bool knows(struct scene *s, long result)
{
	return !ask(s);
}

OPERATION(info, .prepare = keyed, .run = ask, .check = knows)
OPERATION(info_of_datagrams, .datagram = true, .prepare = keyed, .run = ask, .check = knows)

static long detach(struct scene *s)
{
	return setsockopt(s->fd, SOL_KTLS, KTLS_DETACH, NULL, 0);
}

static bool detached_in_the_end(struct scene *s, long result)
{
	if (result && detach(s))
		return false;
	return send(s->carrier, "x", 1, 0) == 1 && recv(s->peer.fd, got, 1, 0) == 1;
}

OPERATION(detach_, .infallible = true, .prepare = keyed, .run = detach, .check = detached_in_the_end)
OPERATION(detach_datagrams, .infallible = true, .datagram = true, .prepare = keyed, .run = detach,
	  .check = detached_in_the_end)

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

/* ---- receiving ---- */

static int large_waits(struct scene *s)
{
	size_t at, n;

	if (keyed(s))
		return -1;
	for (at = 0; at < LARGE; at += n) {
		n = LARGE - at < PAYLOAD_MAX ? LARGE - at : PAYLOAD_MAX;
		if (peer_send(&s->peer, DATA, data + at, n))
			return -1;
	}
	return wait_delivered(s->peer.fd);
}

static bool rest_is_there(struct scene *s, long result)
{
	long from = result < 0 ? 0 : result;

	return recv_all(s->fd, got + from, LARGE - from) == LARGE - from && filled(got, LARGE, 0);
}

static long recv_large(struct scene *s) { return recv(s->fd, got, LARGE, 0); }
static long recv_small(struct scene *s) { return recv(s->fd, got, SMALL, 0); }
static long recv_waitall(struct scene *s) { return recv(s->fd, got, LARGE, MSG_WAITALL); }

OPERATION(recv_large_, .prepare = large_waits, .run = recv_large, .check = rest_is_there)
OPERATION(recv_small_, .prepare = large_waits, .run = recv_small, .check = rest_is_there)
OPERATION(recv_waitall_, .prepare = large_waits, .run = recv_waitall, .check = rest_is_there)

static long peek(struct scene *s) { return recv(s->fd, got, LARGE, MSG_PEEK); }

/* What was looked at is right, and still there. */
static bool all_is_there(struct scene *s, long result)
{
	return result && filled(got, result < 0 ? 0 : result, 0) && rest_is_there(s, 0);
}

OPERATION(peek_, .prepare = large_waits, .run = peek, .check = all_is_there)

static long splice_out(struct scene *s) { return splice(s->fd, NULL, s->pipe[1], NULL, LARGE, 0); }

static bool rest_is_spliced(struct scene *s, long result)
{
	long all = result < 0 ? 0 : result;

	while (all < LARGE) {
		result = splice(s->fd, NULL, s->pipe[1], NULL, LARGE - all, 0);
		if (result <= 0)
			return false;
		all += result;
	}
	return read(s->pipe[0], got, LARGE) == LARGE && filled(got, LARGE, 0);
}

OPERATION(splice_out_, .prepare = large_waits, .run = splice_out, .check = rest_is_spliced)

static int alert_waits(struct scene *s)
{
	return keyed(s) || peer_send(&s->peer, ALERT, "\1\144", 2) || wait_delivered(s->peer.fd);
}

static uint8_t told;
static bool truncated;

static long recv_told(struct scene *s, int flags)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { got, SMALL };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	long n;

	told = 0;
	n = recvmsg(s->fd, &msg, flags);
	truncated = n >= 0 && (msg.msg_flags & MSG_CTRUNC);
	if (n >= 0 && msg.msg_controllen)
		told = *CMSG_DATA(CMSG_FIRSTHDR(&msg));
	return n;
}

static long recv_control(struct scene *s) { return recv_told(s, 0); }

/* Nobody takes it for data. */
static bool alert_is_told(struct scene *s, long result)
{
	if (result < 0)
		result = recv_control(s);
	return result == 2 && (told == ALERT || truncated);
}

OPERATION(recv_control_, .prepare = alert_waits, .run = recv_control, .check = alert_is_told)

static int handshake_is_queued(struct scene *s)
{
	int mode = KTLS_CONTROL_QUEUE;

	if (keyed(s) || setsockopt(s->fd, SOL_KTLS, KTLS_CONTROL, &mode, sizeof(mode)))
		return -1;
	return peer_send(&s->peer, HANDSHAKE, data, SMALL) || peer_says(s) ||
	       !(poll_wait(s->fd, POLLPRI) & POLLPRI);
}

static long recv_queued(struct scene *s) { return recv_told(s, MSG_ERRQUEUE | MSG_DONTWAIT); }

/* And so is the data behind it. */
static bool queued_is_told(struct scene *s, long result)
{
	if (result < 0)
		result = recv_queued(s);
	return result == SMALL && filled(got, SMALL, 0) && (told == HANDSHAKE || truncated) &&
	       hears(s);
}

OPERATION(recv_queued_, .prepare = handshake_is_queued, .run = recv_queued, .check = queued_is_told)

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

static long lost_before;

static int datagrams_wait(struct scene *s)
{
	int i;

	lost_before = proc_counter("/proc/net/ktls_stat", "KtlsRxNoMemory");
	if (lost_before < 0 || keyed(s))
		return -1;
	for (i = 0; i < 3; i++)
		if (dgram_send(&s->peer, DATA, data, SMALL))
			return -1;
	return 0;
}

static bool others_are_there(struct scene *s, long result)
{
	int count = result >= 0;

	while (recv(s->fd, got, SMALL, MSG_DONTWAIT) == SMALL && filled(got, SMALL, 0))
		count++;
	return count + proc_counter("/proc/net/ktls_stat", "KtlsRxNoMemory") == 3 + lost_before;
}

OPERATION(recv_datagram, .datagram = true, .prepare = datagrams_wait, .run = recv_small,
	  .check = others_are_there)
OPERATION(splice_datagram, .datagram = true, .single_pages = true, .prepare = datagrams_wait,
	  .run = splice_out, .check = others_are_there)

TEST_HARNESS_MAIN
