// SPDX-License-Identifier: MIT
#include <string.h>

#include "local.h"

static void map(const struct in_addr *addr, struct in6_addr *mapped)
{
	memset(mapped, 0, sizeof(*mapped));
	memset(&mapped->s6_addr[10], 0xff, 2);
	memcpy(&mapped->s6_addr[12], addr, sizeof(*addr));
}

static struct in_addr unmap(const struct in6_addr *mapped)
{
	struct in_addr addr;

	memcpy(&addr, &mapped->s6_addr[12], sizeof(addr));
	return addr;
}

void ktls_local_ask(int fd)
{
	int one = 1;

	/* One of them is of the other family, and refused. */
	(void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
}

void ktls_local_read(struct msghdr *msg, struct in6_addr *local)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	struct cmsghdr *cmsg;

	*local = in6addr_any;
	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(cmsg), sizeof(info6));
			if (!IN6_IS_ADDR_MULTICAST(&info6.ipi6_addr))
				*local = info6.ipi6_addr;
			return;
		}
		if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			map(&info.ipi_spec_dst, local);
		}
	}
}

static void put(struct msghdr *msg, union ktls_local_control *control, int level, int type,
		const void *data, size_t len)
{
	memset(control, 0, sizeof(*control));
	control->header.cmsg_level = level;
	control->header.cmsg_type = type;
	control->header.cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(&control->header), data, len);
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(len);
}

void ktls_local_write(struct msghdr *msg, union ktls_local_control *control, int family,
		      const struct in6_addr *local)
{
	struct in6_pktinfo info6 = { .ipi6_addr = *local };
	struct in_pktinfo info = { .ipi_spec_dst = unmap(local) };

	if (IN6_IS_ADDR_UNSPECIFIED(local))
		return;
	if (family == AF_INET6)
		put(msg, control, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
	else
		put(msg, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

void ktls_local_choose(int fd, const struct in6_addr *local)
{
	struct in6_pktinfo info6 = { .ipi6_addr = *local };

	if (!IN6_IS_ADDR_UNSPECIFIED(local))
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

void ktls_local_name(const struct in6_addr *local, const struct sockaddr_storage *peer,
		     struct sockaddr_storage *name)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)name;

	if (IN6_IS_ADDR_UNSPECIFIED(local))
		return;
	if (name->ss_family == AF_INET) {
		((struct sockaddr_in *)name)->sin_addr = unmap(local);
		return;
	}
	in6->sin6_addr = *local;
	in6->sin6_scope_id = ((const struct sockaddr_in6 *)peer)->sin6_scope_id;
}
