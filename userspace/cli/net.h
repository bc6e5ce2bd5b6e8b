/* SPDX-License-Identifier: MIT */
/* TCP and UDP endpoints. Functions that make sockets complain themselves and return -1. */
#ifndef KTLS_CLI_NET_H
#define KTLS_CLI_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define NET_NAME	80	/* "[address]:port" */

struct endpoint {
	char host[256];		/* "": any */
	char port[32];
};

/* HOST:PORT, [ADDRESS]:PORT or, unless needs_host, PORT. */
bool parse_endpoint(const char *text, bool needs_host, struct endpoint *out);

/* 1 to 65535, the name of a service or, if may_be_any, 0. */
bool is_port(const char *text, bool may_be_any);

/* type: SOCK_STREAM, SOCK_DGRAM */
int net_connect(const struct endpoint *to, int type);
/* With host "" on all addresses, IPv4 and IPv6. */
int net_listen(const struct endpoint *at, int type);

void net_name(const struct sockaddr *addr, socklen_t len, char out[NET_NAME]);
void net_local_name(int fd, char out[NET_NAME]);
void net_peer_name(int fd, char out[NET_NAME]);

void set_nonblocking(int fd);
/* Each client needs a descriptor or two, and one for its file. */
void raise_file_limit(void);

#endif
