// SPDX-License-Identifier: GPL-2.0-only
#include "ktls_test.h"

#include <dirent.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <time.h>

bool kernel_tls(void)
{
	const char *peer = getenv("KTLS_PEER");

	return peer && !strcmp(peer, "tls");
}

/*
 * A connection over loopback: fds[0] connected, fds[1] accepted. With a @window that is all
 * that the latter buffers, and TCP takes a record to be sent there bit by bit.
 */
int tcp_pair_narrow(int family, int fds[2], int window)
{
	struct sockaddr_in6 addr = { .sin6_family = family };
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(addr);
	int listener = socket(family, SOCK_STREAM, 0), one = 1, i;

	if (family == AF_INET)
		((struct sockaddr_in *)&addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr.sin6_addr = in6addr_loopback;
	fds[0] = socket(family, SOCK_STREAM, 0);
	if (window) {
		setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &window, sizeof(window));
	}
	if (bind(listener, (void *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (void *)&addr, &len) || connect(fds[0], (void *)&addr, len))
		return -1;
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
	for (i = 0; i < 2; i++) {
		time_limit(fds[i], TIME_LIMIT);
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	return fds[1] < 0 ? -1 : 0;
}

int tcp_pair(int family, int fds[2])
{
	return tcp_pair_narrow(family, fds, 0);
}

/* A network namespace for this process alone, with loopback. */
int own_network(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, ret;

	if (unshare(CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	ret = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return ret;
}

/* Lets no blocking call on @fd take longer. */
void time_limit(int fd, int seconds)
{
	struct timeval limit = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

int nonblocking(int fd, bool on)
{
	return fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0);
}

int tls_bind(int fd, int carrier)
{
	struct sockaddr_ktls addr = { .skt_family = AF_KTLS, .skt_fd = carrier };

	return bind(fd, (void *)&addr, sizeof(addr));
}

/* A TLS socket without keys on @carrier, whose descriptor is used up; -1. */
int tls_attach(int carrier)
{
	int fd;

	if (kernel_tls())
		return setsockopt(carrier, IPPROTO_TCP, TCP_ULP, "tls", 4) ? -1 : carrier;
	fd = socket(AF_KTLS, SOCK_STREAM, 0);
	if (fd < 0 || tls_bind(fd, carrier))
		return -1;
	time_limit(fd, TIME_LIMIT);
	close(carrier);
	return fd;
}

int tls_key(int fd, int direction, const struct keys *keys)
{
	union crypto_info info;
	socklen_t len = keys_info(keys, &info);

	return setsockopt(fd, SOL_TLS, direction, &info, len);
}

static int keyed(int carrier, const struct keys *tx, const struct keys *rx)
{
	int fd = tls_attach(carrier);

	if (fd < 0 || tls_key(fd, TLS_TX, tx) || tls_key(fd, TLS_RX, rx))
		return -1;
	return fd;
}

/* Two TLS sockets that are each other's peer. */
int tls_pair(int family, uint16_t cipher, int *fd, int *other)
{
	struct keys there, back;
	int fds[2];

	keys_make(&there, cipher, 1);
	keys_make(&back, cipher, 2);
	if (tcp_pair(family, fds))
		return -1;
	*fd = keyed(fds[0], &there, &back);
	*other = keyed(fds[1], &back, &there);
	return *fd < 0 || *other < 0 ? -1 : 0;
}

/*
 * One TLS socket on fds[0] of a connection, with a second descriptor of this carrier; fds[1]
 * is the raw end, which gets the keys.
 */
int tls_over(int fds[2], uint16_t cipher, int *fd, int *carrier, struct peer *peer)
{
	peer->fd = fds[1];
	keys_make(&peer->tx, cipher, 1);
	keys_make(&peer->rx, cipher, 2);
	*carrier = dup(fds[0]);
	*fd = keyed(fds[0], &peer->rx, &peer->tx);
	return *fd < 0 ? -1 : 0;
}

int tls_carrier_and_peer(int family, uint16_t cipher, int *fd, int *carrier, struct peer *peer)
{
	int fds[2];

	return tcp_pair(family, fds) ? -1 : tls_over(fds, cipher, fd, carrier, peer);
}

/* A TLS socket without keys, and the raw end of its connection with keys for both. */
int tls_bound_and_peer(int family, uint16_t cipher, int *fd, struct peer *peer)
{
	int fds[2];

	if (tcp_pair(family, fds))
		return -1;
	peer->fd = fds[1];
	keys_make(&peer->tx, cipher, 1);
	keys_make(&peer->rx, cipher, 2);
	*fd = tls_attach(fds[0]);
	return *fd < 0 ? -1 : 0;
}

/* One TLS socket, and the raw end of its connection with the keys. */
int tls_and_peer(int family, uint16_t cipher, int *fd, struct peer *peer)
{
	int carrier = -1, ret = tls_carrier_and_peer(family, cipher, fd, &carrier, peer);

	close(carrier);
	return ret;
}

/* Closes it so that the other end is told of a reset. */
void abort_connection(int *fd)
{
	struct linger abort_it = { .l_onoff = 1 };

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
	close(*fd);
	*fd = -1;
}

/* For teardown: the test may have closed it. */
void peer_close(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

/* The bytes of a stream from @offset on; a displacement shows. */
void fill(void *buf, size_t len, size_t offset)
{
	uint8_t *p = buf;

	while (len--)
		*p++ = (uint32_t)offset++ * 2654435761u >> 24;
}

/* Whether they are that. */
bool filled(const void *buf, size_t len, size_t offset)
{
	const uint8_t *p = buf;

	while (len--)
		if (*p++ != (uint8_t)((uint32_t)offset++ * 2654435761u >> 24))
			return false;
	return true;
}

int send_all(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	ssize_t n;

	for (; len; p += n, len -= n) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return -1;
	}
	return 0;
}

/*
 * Sends the stream until a call takes nothing, towards a TCP socket whose buffer cannot grow;
 * the bytes that went.
 */
size_t fill_carrier(int fd, int other, int flags)
{
	static uint8_t data[50000];
	int fixed = 65536;
	size_t total = 0;
	ssize_t n;

	setsockopt(other, SOL_SOCKET, SO_RCVBUF, &fixed, sizeof(fixed));
	do {
		fill(data, sizeof(data), total);
		n = send(fd, data, sizeof(data), flags);
		total += n > 0 ? n : 0;
	} while (n > 0);
	return total;
}

/* Bytes received until @len or the end; -1. */
ssize_t recv_all(int fd, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = recv(fd, (uint8_t *)buf + done, len - done, 0);
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += n;
	}
	return done;
}

ssize_t send_type(int fd, uint8_t type, const void *buf, size_t len, int flags)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(1)]; } control = {};
	struct iovec iov = { (void *)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = type;
	return sendmsg(fd, &msg, flags);
}

/* As recv(); *type is 0 where no control message told it. */
ssize_t recv_type(int fd, void *buf, size_t len, int flags, uint8_t *type)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(1)]; } control = {};
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, flags);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	*type = 0;
	if (n >= 0 && cmsg && cmsg->cmsg_level == SOL_TLS &&
	    cmsg->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(cmsg);
	return n;
}

/* Which of @events hold at this moment. */
int poll_now(int fd, int events)
{
	struct pollfd pfd = { fd, events, 0 };

	return poll(&pfd, 1, 0) < 0 ? -1 : pfd.revents;
}

/* Waits until one of @events holds. */
int poll_wait(int fd, int events)
{
	struct pollfd pfd = { fd, events, 0 };

	return poll(&pfd, 1, TIME_LIMIT * 1000) < 0 ? -1 : pfd.revents;
}

static int wait_count(int fd, unsigned long request, int least, int most)
{
	time_t end = time(NULL) + TIME_LIMIT;
	int n = 0;

	do {
		if (ioctl(fd, request, &n))
			return -1;
		if (n >= least && n <= most)
			return 0;
		poll(NULL, 0, 1);
	} while (time(NULL) <= end);
	return -1;
}

/* Waits until what was sent on a TCP socket is in its peer's receive queue. */
int wait_delivered(int fd)
{
	return wait_count(fd, SIOCOUTQ, 0, 0);
}

/* Waits until a TCP socket holds @bytes or more. */
int wait_inq(int fd, int bytes)
{
	return wait_count(fd, SIOCINQ, bytes, INT32_MAX);
}

/* Waits until a process sleeps, in a blocking call, or is gone. */
void wait_asleep(pid_t pid)
{
	time_t end = time(NULL) + TIME_LIMIT;
	char path[32], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (state != 'S' && time(NULL) <= end) {
		FILE *file = fopen(path, "r");

		if (!file)
			return;
		if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		fclose(file);
		poll(NULL, 0, 1);
	}
	if (state != 'S')
		fprintf(stderr, "# %d does not sleep\n", pid);
}

static void ignore(int signal)
{
	(void)signal;
}

/* Lets @signal interrupt calls, and not kill. */
void interrupted_by(int signal)
{
	struct sigaction action = { .sa_handler = ignore };

	sigaction(signal, &action, NULL);
}

int get_info(int fd, struct ktls_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(fd, SOL_KTLS, KTLS_INFO, info, &len);
}

/* The number after @name in a file of lines "name number"; -1. */
long proc_counter(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	long value, found = -1;
	char key[64];

	while (file && fscanf(file, "%63s %ld%*[^\n]", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	if (file)
		fclose(file);
	return found;
}

int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}
