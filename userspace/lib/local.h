/* SPDX-License-Identifier: MIT */
/*
 * The address of ours that a datagram came to, and from which the answer has to go: a socket
 * bound to no address has many. IPv4 mapped; :: where nothing is known.
 */
#ifndef KTLS_LOCAL_H
#define KTLS_LOCAL_H

#include <netinet/in.h>
#include <sys/socket.h>

union ktls_local_control {
	struct cmsghdr header;
	unsigned char space[CMSG_SPACE(40)];	/* an address, its interface, and some */
};

/* Has recvmsg() on the UDP socket tell it. */
void ktls_local_ask(int fd);
/* What recvmsg() told. */
void ktls_local_read(struct msghdr *msg, struct in6_addr *local);
/* Has sendmsg() on a socket of this family send from there. */
void ktls_local_write(struct msghdr *msg, union ktls_local_control *control, int family,
		      const struct in6_addr *local);
/* Likewise all that a socket of AF_KTLS sends before it hears from its peer. */
void ktls_local_choose(int fd, const struct in6_addr *local);
/* Puts it into the name of a socket that talks to the peer. */
void ktls_local_name(const struct in6_addr *local, const struct sockaddr_storage *peer,
		     struct sockaddr_storage *name);

#endif
