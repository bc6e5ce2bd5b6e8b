/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Makes the kernels from 6.1 on look alike. Kbuild probes the kernel's headers, as stable
 * kernels carry backports that their version number does not tell, and defines:
 *	KTLS_HAVE_SOCKADDR_UNSIZED	proto_ops.bind takes struct sockaddr_unsized
 *	KTLS_HAVE_SENDPAGE		proto_ops.sendpage exists; MSG_SPLICE_PAGES means nothing
 *	KTLS_HAVE_SPLICE_EOF		proto_ops.splice_eof exists
 *	KTLS_HAVE_RECVMSG_ADDR_LEN	proto.recvmsg has the argument addr_len
 *	KTLS_HAVE_UDP_CORKFLAG		udp_sock.corkflag, not a bit of udp_flags, is UDP_CORK
 *	KTLS_HAVE_ENCAP_ERR_OFFSET	udp_sock.encap_err_rcv gets the quoted header's offset
 *	KTLS_HAVE_CUSTOM_SOCKOPT	SOL_SOCKET can come to proto_ops.setsockopt
 *	KTLS_HAVE_IPV6_STUB		IPv6 may be a module, whose functions a table has
 */
#ifndef KTLS_COMPAT_H
#define KTLS_COMPAT_H

#include <linux/bvec.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/splice.h>
#include <linux/udp.h>
#include <linux/uio.h>
#include <linux/version.h>
#include <net/dst.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#ifdef KTLS_HAVE_IPV6_STUB
#include <net/ipv6_stubs.h>
#endif
#include <net/sock.h>
#include <net/tcp.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "AF_KTLS needs Linux 6.1 or later"
#endif

#ifdef KTLS_HAVE_SOCKADDR_UNSIZED
#define ktls_sockaddr	sockaddr_unsized
#else
#define ktls_sockaddr	sockaddr
#endif

/* The parameters of proto.recvmsg after sk. */
#ifdef KTLS_HAVE_RECVMSG_ADDR_LEN
#define KTLS_RECVMSG_ARGS	struct msghdr *msg, size_t len, int flags, int *addr_len
#else
#define KTLS_RECVMSG_ARGS	struct msghdr *msg, size_t len, int flags
#endif

/* The parameters of udp_sock.encap_err_rcv after skb, and where they say the UDP header is. */
#ifdef KTLS_HAVE_ENCAP_ERR_OFFSET
#define KTLS_ENCAP_ERR_ARGS		unsigned int udp_offset
#define KTLS_ENCAP_ERR_HEADER		((const struct udphdr *)(skb->data + udp_offset))
#else
#define KTLS_ENCAP_ERR_ARGS		int err, __be16 port_number, u32 info, u8 *payload
#define KTLS_ENCAP_ERR_HEADER		((const struct udphdr *)payload - 1)
#endif

/**
 * ktls_compat_is_corked() - does UDP compose a datagram of several sends?
 * @csk: UDP socket
 *
 * Context: any.
 */
static inline bool ktls_compat_is_corked(const struct sock *csk)
{
#ifdef KTLS_HAVE_UDP_CORKFLAG
	return READ_ONCE(udp_sk(csk)->pending) || READ_ONCE(udp_sk(csk)->corkflag);
#else
	return READ_ONCE(udp_sk(csk)->pending) || udp_test_bit(CORK, csk);
#endif
}

/*
 * Marks our own sends of pages that must be taken by reference. Kernels with sendpage lack
 * the flag, or have it without a meaning: their sendpage comes to us under this name.
 */
#ifdef KTLS_HAVE_SENDPAGE
#undef MSG_SPLICE_PAGES
#define MSG_SPLICE_PAGES	0x8000000
#endif

/**
 * ktls_compat_send_pages() - hand pages to TCP without copying
 * @csk: TCP socket, locked by the caller
 * @bv: the pages, which nobody writes to any more; TCP takes its own references
 * @count: entries of @bv
 * @len: bytes in @bv
 * @flags: MSG_DONTWAIT, MSG_MORE
 *
 * Context: process, @csk locked.
 * Return: bytes taken, possibly fewer than @len, or -errno.
 */
static inline int ktls_compat_send_pages(struct sock *csk, const struct bio_vec *bv,
					 unsigned int count, size_t len, int flags)
{
#ifdef KTLS_HAVE_SENDPAGE
	int sent = 0, ret;

	flags |= MSG_NO_SHARED_FRAGS;
	for (; count; count--, bv++) {
		ret = tcp_sendpage_locked(csk, bv->bv_page, bv->bv_offset, bv->bv_len,
					  count > 1 ? flags | MSG_MORE | MSG_SENDPAGE_NOTLAST :
						      flags);
		if (ret < 0)
			return sent ?: ret;
		sent += ret;
		if (ret < bv->bv_len)
			break;
	}
	return sent;
#else
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES | MSG_NO_SHARED_FRAGS };

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, count, len);
	return tcp_sendmsg_locked(csk, &msg, len);
#endif
}

/**
 * ktls_compat_route6() - the route of datagrams to an IPv6 peer
 * @csk: UDP socket
 * @addr: the peer's address
 * @scope: the interface that a link-local address belongs to
 * @number: the peer's port
 * @local: ours; any: the socket's, or what routing chooses
 *
 * Context: process.
 * Return: the route, to be released; ERR_PTR.
 */
static inline struct dst_entry *ktls_compat_route6(struct sock *csk, const struct in6_addr *addr,
						   u32 scope, __be16 number,
						   const struct in6_addr *local)
{
#if IS_ENABLED(CONFIG_IPV6)
	struct flowi6 fl6 = {
		.flowi6_proto	= IPPROTO_UDP,
		.flowi6_oif	= csk->sk_bound_dev_if ?: scope,
		.flowi6_mark	= csk->sk_mark,
		.daddr		= *addr,
		.saddr		= ipv6_addr_any(local) ? inet6_sk(csk)->saddr : *local,
		.fl6_dport	= number,
		.fl6_sport	= inet_sk(csk)->inet_sport,
	};

#ifdef KTLS_HAVE_IPV6_STUB
	return ipv6_stub->ipv6_dst_lookup_flow(sock_net(csk), csk, &fl6, NULL);
#else
	return ip6_dst_lookup_flow(sock_net(csk), csk, &fl6, NULL);
#endif
#else
	return ERR_PTR(-EAFNOSUPPORT);
#endif
}

/**
 * ktls_compat_custom_sockopt() - have SOL_SOCKET come to proto_ops.setsockopt too
 * @sock: new socket
 *
 * Older kernels do that for MPTCP only: there SO_SNDBUF and the like do not reach the carrier.
 *
 * Context: process.
 */
static inline void ktls_compat_custom_sockopt(struct socket *sock)
{
#ifdef KTLS_HAVE_CUSTOM_SOCKOPT
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
#endif
}

#endif /* KTLS_COMPAT_H */
