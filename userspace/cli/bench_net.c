// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench.h"

#define PATIENCE_US	200000
#define DRAINED		(1 << 20)

void bench_net_patience(int fd)
{
	struct timeval limit = { .tv_usec = PATIENCE_US };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

void bench_net_nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static int bound(int type, struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_in){ .sin_family = AF_INET };
	addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)addr, sizeof(*addr)) ||
	    getsockname(fd, (struct sockaddr *)addr, &len))
		return -1;
	return fd;
}

static int tcp_pair(int fd[2])
{
	struct sockaddr_in addr;
	int listener = bound(SOCK_STREAM, &addr), one = 1, err;

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener >= 0 && fd[0] >= 0 && !listen(listener, 1) &&
	    !connect(fd[0], (struct sockaddr *)&addr, sizeof(addr)))
		fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	err = errno;
	if (listener >= 0)
		close(listener);
	if (fd[1] < 0)
		return -err;
	setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

static int udp_pair(int fd[2])
{
	struct sockaddr_in addr[2];

	fd[0] = bound(SOCK_DGRAM, &addr[0]);
	fd[1] = bound(SOCK_DGRAM, &addr[1]);
	if (fd[0] < 0 || fd[1] < 0 || connect(fd[0], (struct sockaddr *)&addr[1], sizeof(addr[1])) ||
	    connect(fd[1], (struct sockaddr *)&addr[0], sizeof(addr[0])))
		return -errno;
	return 0;
}

int bench_net_pair(bool dgram, struct bench_end end[2])
{
	int fd[2] = { -1, -1 };
	int i, ret = dgram ? udp_pair(fd) : tcp_pair(fd);

	for (i = 0; i < 2; i++) {
		end[i] = (struct bench_end){ .fd = fd[i], .carrier = fd[i] };
		if (ret)
			bench_net_close(&end[i]);
		else
			bench_net_patience(fd[i]);
	}
	return ret;
}

void bench_net_close(struct bench_end *end)
{
	if (end->fd >= 0)
		close(end->fd);
	if (end->carrier >= 0 && end->carrier != end->fd)
		close(end->carrier);
	end->fd = end->carrier = -1;
}

/* With MSG_TRUNC TCP copies nothing, and UDP no more than there is room for. */
ssize_t bench_net_drain(struct bench_end *end, bool dgram)
{
	ssize_t n = recv(end->carrier, NULL, dgram ? 0 : DRAINED, MSG_TRUNC);

	return n < 0 ? -errno : n;
}
