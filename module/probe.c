// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks the kernel's headers what they have; never linked. Each snippet compiles where its
 * name shall be defined; compat.h says what the names mean. A snippet uses no macros, as
 * the compiler would lay their errors to the line that defines them.
 */
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/udp.h>
#include <net/sock.h>

static struct proto_ops ops;
static struct proto proto;
static struct udp_sock udp;

#line 1 "KTLS_HAVE_SOCKADDR_UNSIZED"
struct sockaddr_unsized;
_Static_assert(__builtin_types_compatible_p(typeof(ops.bind),
		int (*)(struct socket *, struct sockaddr_unsized *, int)), "other type");

#line 1 "KTLS_HAVE_SENDPAGE"
static const int sendpage = sizeof(ops.sendpage);

#line 1 "KTLS_HAVE_SPLICE_EOF"
static const int splice_eof = sizeof(ops.splice_eof);

#line 1 "KTLS_HAVE_RECVMSG_ADDR_LEN"
_Static_assert(__builtin_types_compatible_p(typeof(proto.recvmsg),
		int (*)(struct sock *, struct msghdr *, size_t, int, int *)), "other type");

#line 1 "KTLS_HAVE_CUSTOM_SOCKOPT"
static const int custom_sockopt = SOCK_CUSTOM_SOCKOPT;

#line 1 "KTLS_HAVE_UDP_CORKFLAG"
static const int corkflag = sizeof(udp.corkflag);

#line 1 "KTLS_HAVE_ENCAP_ERR_OFFSET"
_Static_assert(__builtin_types_compatible_p(typeof(udp.encap_err_rcv),
		void (*)(struct sock *, struct sk_buff *, unsigned int)), "other type");

#line 1 "KTLS_HAVE_IPV6_STUB"
#if !__has_include(<net/ipv6_stubs.h>)
#error "IPv6 is no module any more"
#endif
