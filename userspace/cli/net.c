// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "net.h"

static bool copy_part(char *out, size_t size, const char *from, size_t len)
{
	if (len >= size)
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

bool parse_endpoint(const char *text, bool needs_host, struct endpoint *out)
{
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (needs_host && !len)
		return false;
	colon = colon ? colon + 1 : text;
	return copy_part(out->host, sizeof(out->host), host, len) && *colon &&
	       copy_part(out->port, sizeof(out->port), colon, strlen(colon));
}

bool is_port(const char *text, bool may_be_any)
{
	unsigned long number;

	/* getaddrinfo(3) would take the lower 16 bits. */
	if (!*text || text[strspn(text, "0123456789")])
		return getservbyname(text, NULL);
	number = strtoul(text, NULL, 10);
	return number ? number <= 65535 : may_be_any;
}

static struct addrinfo *look_up(const struct endpoint *e, int type, int flags)
{
	struct addrinfo hints = { .ai_socktype = type, .ai_flags = flags };
	struct addrinfo *list = NULL;
	int ret = getaddrinfo(e->host[0] ? e->host : NULL, e->port, &hints, &list);

	if (ret)
		complain("%s:%s: %s", e->host, e->port, gai_strerror(ret));
	return ret ? NULL : list;
}

static int try_connect(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

	if (fd < 0)
		return -1;
	if (!connect(fd, a->ai_addr, a->ai_addrlen))
		return fd;
	close(fd);
	return -1;
}

int net_connect(const struct endpoint *to, int type)
{
	struct addrinfo *list = look_up(to, type, 0), *a;
	int fd = -1;

	if (!list)
		return -1;
	for (a = list; a && fd < 0; a = a->ai_next)
		fd = try_connect(a);
	if (fd < 0)
		complain("cannot connect to %s:%s: %s", to->host, to->port, strerror(errno));
	freeaddrinfo(list);
	return fd;
}

static int try_listen(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
	int one = 1, zero = 0;

	if (fd < 0)
		return -1;
	/* With UDP it would let others have the port too. */
	if (a->ai_socktype == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (!bind(fd, a->ai_addr, a->ai_addrlen) &&
	    (a->ai_socktype == SOCK_DGRAM || !listen(fd, 1024)))
		return fd;
	close(fd);
	return -1;
}

/* An IPv6 socket takes IPv4 too, so it is tried first. */
static int listen_on_family(const struct addrinfo *list, int family)
{
	const struct addrinfo *a;
	int fd = -1;

	for (a = list; a && fd < 0; a = a->ai_next)
		if (a->ai_family == family)
			fd = try_listen(a);
	return fd;
}

int net_listen(const struct endpoint *at, int type)
{
	struct addrinfo *list = look_up(at, type, AI_PASSIVE);
	int fd;

	if (!list)
		return -1;
	fd = listen_on_family(list, AF_INET6);
	if (fd < 0)
		fd = listen_on_family(list, AF_INET);
	if (fd < 0)
		complain("cannot listen on %s:%s: %s", at->host, at->port, strerror(errno));
	freeaddrinfo(list);
	return fd;
}

void net_name(const struct sockaddr *addr, socklen_t len, char out[NET_NAME])
{
	char host[64], port[8];
	const char *name = host;

	if (getnameinfo(addr, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV)) {
		snprintf(out, NET_NAME, "-");
		return;
	}
	/* IPv4 on an IPv6 socket. */
	if (!strncmp(name, "::ffff:", 7) && strchr(name, '.'))
		name += 7;
	snprintf(out, NET_NAME, strchr(name, ':') ? "[%s]:%s" : "%s:%s", name, port);
}

static void name_end(int fd, int (*get)(int, struct sockaddr *, socklen_t *), char out[NET_NAME])
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	snprintf(out, NET_NAME, "-");
	if (!get(fd, (struct sockaddr *)&addr, &len))
		net_name((struct sockaddr *)&addr, len, out);
}

void net_local_name(int fd, char out[NET_NAME])
{
	name_end(fd, getsockname, out);
}

void net_peer_name(int fd, char out[NET_NAME])
{
	name_end(fd, getpeername, out);
}

void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}
