// SPDX-License-Identifier: GPL-2.0-only
/*
 * The UDP socket underneath: what comes on it is looked at before it is queued, as with
 * other encapsulations, so that the carrier keeps what is not ours. One carrier serves many
 * associations, which the peer's address tells apart.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ipv6.h>
#include <linux/mutex.h>
#include <linux/rhashtable.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#include "ktls.h"
#include "trace.h"

/* Any that is not 0: nobody but the owner of encap_rcv asks for its meaning. */
#define KTLS_ENCAP_TYPE	1
/* Datagrams of others that are passed over on the carrier in search of our own. */
#define KTLS_OTHERS_MAX	2048

/**
 * struct ktls_port - a UDP carrier and who uses it
 * @sk: the carrier, kept by each association's reference to its file
 * @users: associations; protected by ports_lock
 * @only: the association of a connected carrier; read with RCU
 * @connected: the carrier has a peer
 * @lock: protects @waiting, and struct ktls_carrier's port of those in it
 * @waiting: associations that wait for room
 * @pmtudisc: the carrier's own IP_MTU_DISCOVER
 * @pmtudisc6: its IPV6_MTU_DISCOVER
 * @rcu: for freeing
 */
struct ktls_port {
	struct sock *sk;
	unsigned int users;
	struct ktls_sock __rcu *only;
	bool connected;
	spinlock_t lock;
	struct list_head waiting;
	int pmtudisc;
	int pmtudisc6;
	struct rcu_head rcu;
};

static DEFINE_MUTEX(ports_lock);	/* carriers are taken and given back */
/* Of all carriers: who comes while one is taken or given back finds it as well. */
static void (*original_write_space)(struct sock *sk);
static struct rhashtable peers;

static const struct rhashtable_params peer_params = {
	.key_len		= sizeof(struct ktls_peer),
	.key_offset		= offsetof(struct ktls_sock, carrier.peer),
	.head_offset		= offsetof(struct ktls_sock, carrier.peer_node),
	.automatic_shrinking	= true,
};

/**
 * ktls_udp_init() - prepare for associations
 *
 * Context: process.
 * Return: 0 or -ENOMEM.
 */
int ktls_udp_init(void)
{
	return rhashtable_init(&peers, &peer_params);
}

/**
 * ktls_udp_exit() - undo ktls_udp_init()
 *
 * Context: process; no association is left.
 */
void ktls_udp_exit(void)
{
	rhashtable_destroy(&peers);
}

static u32 scope_of(const struct in6_addr *addr, u32 index)
{
	return ipv6_addr_type(addr) & IPV6_ADDR_LINKLOCAL ? index : 0;
}

/* Whose is the datagram, or the error, of a connected carrier? RCU. */
static struct ktls_sock *find_only(struct ktls_port *port)
{
	/* Who disconnects the carrier leaves the association alone. */
	if (READ_ONCE(port->sk->sk_state) != TCP_ESTABLISHED)
		return NULL;
	return rcu_dereference(port->only);
}

/* Of another. RCU. */
static struct ktls_sock *find(struct ktls_port *port, const struct in6_addr *addr, __be16 number,
			      u32 index)
{
	struct ktls_peer peer = { .port = port, .addr = *addr, .number = number };

	peer.scope = scope_of(addr, index);
	return rhashtable_lookup(&peers, &peer, peer_params);
}

/* encap_err_lookup: errors about what was sent from the carrier are ours. */
static int error_is_ours(struct sock *csk, struct sk_buff *skb)
{
	return 0;
}

/* RCU. NULL: it was given back a moment ago, and the user data may be another owner's. */
static struct ktls_port *port_of(struct sock *csk)
{
	struct ktls_port *port = rcu_dereference_sk_user_data(csk);

	/* Pairs with that in unhook(). */
	smp_rmb();
	return READ_ONCE(udp_sk(csk)->encap_err_lookup) == error_is_ours ? port : NULL;
}

static struct ktls_sock *find_sender(struct ktls_port *port, struct sk_buff *skb)
{
	struct in6_addr addr;

	if (port->connected)
		return find_only(port);
	if (skb->protocol == htons(ETH_P_IP)) {
		ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, &addr);
		return find(port, &addr, udp_hdr(skb)->source, 0);
	}
	addr = ipv6_hdr(skb)->saddr;
	/* As recvfrom(2) says it, for what comes from this machine too. */
	return find(port, &addr, udp_hdr(skb)->source, inet6_iif(skb));
}

/* encap_rcv: BH, RCU; skb->data is the UDP header. 0: taken; 1: the carrier's own. */
static int receive(struct sock *csk, struct sk_buff *skb)
{
	struct ktls_port *port = port_of(csk);
	struct ktls_sock *ks = port ? find_sender(port, skb) : NULL;

	return ks ? ktls_datagram_arrived(ks, skb) : 1;
}

static bool is_refusal(const struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		return icmp_hdr(skb)->type == ICMP_DEST_UNREACH &&
		       icmp_hdr(skb)->code == ICMP_PORT_UNREACH;
	return icmp6_hdr(skb)->icmp6_type == ICMPV6_DEST_UNREACH &&
	       icmp6_hdr(skb)->icmp6_code == ICMPV6_PORT_UNREACH;
}

/* Whom the datagram that an ICMP error quotes was sent to; skb->data: the quote. */
static struct ktls_sock *find_receiver(struct ktls_port *port, const struct sk_buff *skb,
				       const struct udphdr *uh)
{
	struct in6_addr addr;

	if (port->connected)
		return find_only(port);
	if (skb->protocol == htons(ETH_P_IP))
		ipv6_addr_set_v4mapped(((const struct iphdr *)skb->data)->daddr, &addr);
	else
		addr = ((const struct ipv6hdr *)skb->data)->daddr;
	return find(port, &addr, uh->dest, skb->skb_iif);
}

/*
 * encap_err_rcv: as on a connected UDP socket, who sends to nobody is told so once. What
 * ICMP says about the path was noted by the kernel before.
 */
static void error_received(struct sock *csk, struct sk_buff *skb, KTLS_ENCAP_ERR_ARGS)
{
	const struct udphdr *uh = KTLS_ENCAP_ERR_HEADER;
	struct ktls_port *port = port_of(csk);
	struct ktls_sock *ks;
	bool ours;

	if (!port || !is_refusal(skb))
		return;
	ks = find_receiver(port, skb, uh);
	if (!ks)
		return;
	/* It may be leaving, for another carrier. */
	spin_lock_bh(&port->lock);
	ours = ks->carrier.port == port;
	if (ours)
		WRITE_ONCE(ks->sk.sk_err, ECONNREFUSED);
	spin_unlock_bh(&port->lock);
	if (!ours)
		return;
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_CARRIER_ERROR);
	ktls_carrier_wake(ks, EPOLLERR | EPOLLIN | EPOLLOUT);
}

static void wake_waiting(struct ktls_port *port)
{
	struct ktls_sock *ks, *next;

	spin_lock_bh(&port->lock);
	list_for_each_entry_safe(ks, next, &port->waiting, carrier.waiting) {
		list_del_init(&ks->carrier.waiting);
		if (READ_ONCE(ks->tx.pending_bytes))
			mod_delayed_work(ktls_workqueue, &ks->tx.work, 0);
		ktls_carrier_wake(ks, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	}
	spin_unlock_bh(&port->lock);
}

static void write_space(struct sock *csk)
{
	struct ktls_port *port;

	/*
	 * Behind sock_wfree()'s refcount_sub_and_test(). Pairs with the barrier in
	 * ktls_udp_wants_room(): who is not seen in the list sees the room.
	 */
	smp_mb__after_atomic();
	rcu_read_lock();
	READ_ONCE(original_write_space)(csk);
	port = port_of(csk);
	if (port && !list_empty(&port->waiting) && sock_writeable(csk))
		wake_waiting(port);
	rcu_read_unlock();
}

/**
 * ktls_udp_wants_room() - ask to be woken when something can be sent, then look again
 * @ks: socket
 *
 * Context: any; the carrier is kept by a lock or RCU.
 * Return: whether something can be sent after all.
 */
bool ktls_udp_wants_room(struct ktls_sock *ks)
{
	struct ktls_port *port = READ_ONCE(ks->carrier.port);

	if (!port)
		return true;
	spin_lock_bh(&port->lock);
	if (ks->carrier.port == port && list_empty(&ks->carrier.waiting))
		list_add_tail(&ks->carrier.waiting, &port->waiting);
	spin_unlock_bh(&port->lock);
	/* The buffer is looked at after the entry is there to be seen. */
	smp_mb();
	return sock_writeable(port->sk);
}

/*
 * A datagram that is too long for the path is refused, not cut up (rfc6347 4.1.1.1). Who chose
 * another way of finding the path's limit knows why.
 */
static void set_dont_fragment(struct ktls_port *port)
{
	struct sock *csk = port->sk;

	sock_owned_by_me(csk);
	port->pmtudisc = inet_sk(csk)->pmtudisc;
	if (port->pmtudisc <= IP_PMTUDISC_WANT)
		inet_sk(csk)->pmtudisc = IP_PMTUDISC_DO;
	if (csk->sk_family != AF_INET6)
		return;
	port->pmtudisc6 = inet6_sk(csk)->pmtudisc;
	if (port->pmtudisc6 <= IPV6_PMTUDISC_WANT)
		inet6_sk(csk)->pmtudisc = IPV6_PMTUDISC_DO;
}

static void restore_fragmenting(const struct ktls_port *port)
{
	struct sock *csk = port->sk;

	/* What the program has chosen since stays. */
	if (port->pmtudisc <= IP_PMTUDISC_WANT && inet_sk(csk)->pmtudisc == IP_PMTUDISC_DO)
		inet_sk(csk)->pmtudisc = port->pmtudisc;
	if (csk->sk_family == AF_INET6 && port->pmtudisc6 <= IPV6_PMTUDISC_WANT &&
	    inet6_sk(csk)->pmtudisc == IPV6_PMTUDISC_DO)
		inet6_sk(csk)->pmtudisc = port->pmtudisc6;
}

/* Whether it is nobody else's. ports_lock is held. */
static bool hook(struct ktls_port *port)
{
	struct sock *csk = port->sk;
	struct udp_sock *up = udp_sk(csk);
	bool ours;

	write_lock_bh(&csk->sk_callback_lock);
	ours = !csk->sk_user_data &&
	       (!original_write_space || original_write_space == csk->sk_write_space);
	if (ours) {
		WRITE_ONCE(original_write_space, csk->sk_write_space);
		rcu_assign_sk_user_data(csk, port);
		/* After original_write_space: it calls that. */
		smp_store_release(&csk->sk_write_space, write_space);
	}
	write_unlock_bh(&csk->sk_callback_lock);
	if (!ours)
		return false;

	WRITE_ONCE(up->encap_err_lookup, error_is_ours);
	WRITE_ONCE(up->encap_err_rcv, error_received);
	WRITE_ONCE(up->encap_rcv, receive);
	WRITE_ONCE(up->encap_type, KTLS_ENCAP_TYPE);
	udp_tunnel_encap_enable(csk);
	set_dont_fragment(port);
	return true;
}

static void unhook(struct ktls_port *port)
{
	struct sock *csk = port->sk;
	struct udp_sock *up = udp_sk(csk);

	restore_fragmenting(port);
	WRITE_ONCE(up->encap_type, 0);
	WRITE_ONCE(up->encap_rcv, NULL);
	WRITE_ONCE(up->encap_err_rcv, NULL);
	WRITE_ONCE(up->encap_err_lookup, NULL);
	/* Pairs with that in port_of(). */
	smp_wmb();
	write_lock_bh(&csk->sk_callback_lock);
	WRITE_ONCE(csk->sk_write_space, original_write_space);
	rcu_assign_sk_user_data(csk, NULL);
	write_unlock_bh(&csk->sk_callback_lock);
}

static struct ktls_port *new_port(struct sock *csk)
{
	struct ktls_port *port = kzalloc(sizeof(*port), GFP_KERNEL_ACCOUNT);

	if (!port)
		return ERR_PTR(-ENOMEM);
	port->sk = csk;
	port->connected = csk->sk_state == TCP_ESTABLISHED;
	spin_lock_init(&port->lock);
	INIT_LIST_HEAD(&port->waiting);
	return port;
}

/* The carrier's port, made if need be. The carrier is locked, ports_lock held. */
static struct ktls_port *get_port(struct sock *csk)
{
	struct ktls_port *port;

	sock_owned_by_me(csk);
	if (READ_ONCE(udp_sk(csk)->encap_rcv) == receive) {
		port = csk->sk_user_data;
		return port->connected ? ERR_PTR(-EBUSY) : port;
	}
	if (READ_ONCE(udp_sk(csk)->encap_type) || csk->sk_user_data)
		return ERR_PTR(-EBUSY);
	port = new_port(csk);
	if (IS_ERR(port) || hook(port))
		return port;
	kfree(port);
	return ERR_PTR(-EBUSY);
}

/**
 * ktls_udp_attach() - take a UDP socket as the carrier, or share it
 * @ks: unbound datagram socket
 * @sock: the carrier; its reference becomes ours
 *
 * Context: process; all locks of @ks but the carrier's held.
 * Return: 0; -EBUSY: it is somebody else's; -ENOMEM.
 */
int ktls_udp_attach(struct ktls_sock *ks, struct socket *sock)
{
	struct ktls_carrier *carrier = &ks->carrier;
	struct ktls_port *port;

	/* Whoever has locked the carrier may be waiting for memory of the program's. */
	lock_sock(sock->sk);
	mutex_lock(&ports_lock);
	port = get_port(sock->sk);
	if (IS_ERR(port))
		goto unlock;
	port->users++;

	carrier->sock = sock;
	carrier->err = 0;
	memset(&carrier->peer, 0, sizeof(carrier->peer));
	ktls_path_set_local(ks, &in6addr_any);
	/* Who sees one of these without a lock, in poll or /proc, sees what was there before. */
	smp_store_release(&carrier->port, port);
	/* The port first. */
	smp_store_release(&carrier->named, port->connected);
	/* Both first. */
	smp_store_release(&carrier->sk, sock->sk);
	ktls_datagram_open_queue(ks);
	if (port->connected)
		rcu_assign_pointer(port->only, ks);
unlock:
	mutex_unlock(&ports_lock);
	release_sock(sock->sk);
	return PTR_ERR_OR_ZERO(port);
}

static void leave(struct ktls_sock *ks, struct ktls_port *port)
{
	struct ktls_carrier *carrier = &ks->carrier;

	if (port->connected)
		RCU_INIT_POINTER(port->only, NULL);
	else if (carrier->named)
		rhashtable_remove_fast(&peers, &carrier->peer_node, peer_params);
	spin_lock_bh(&port->lock);
	list_del_init(&carrier->waiting);
	WRITE_ONCE(carrier->port, NULL);
	spin_unlock_bh(&port->lock);
}

/**
 * ktls_udp_detach() - give the carrier back, when the last association leaves as it was
 * @ks: bound datagram socket
 *
 * Who is in receive() at this moment may still queue a datagram: the socket is freed after a
 * grace period.
 *
 * Context: process; all locks of @ks and the carrier's held.
 */
void ktls_udp_detach(struct ktls_sock *ks)
{
	struct ktls_carrier *carrier = &ks->carrier;
	struct ktls_port *port = carrier->port;

	sock_owned_by_me(carrier->sk);
	mutex_lock(&ports_lock);
	leave(ks, port);
	if (!--port->users) {
		unhook(port);
		kfree_rcu(port, rcu);
	}
	mutex_unlock(&ports_lock);
	WRITE_ONCE(carrier->named, false);
	carrier->sock = NULL;
	WRITE_ONCE(carrier->sk, NULL);
}

/* The peer as the carrier's family writes it. */
static int read_name(const struct sock *csk, const struct sockaddr *addr, int len,
		     struct sockaddr_in6 *name)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

	memset(name, 0, sizeof(*name));
	if (len < (int)offsetofend(struct sockaddr, sa_family))
		return -EINVAL;
	if (addr->sa_family == AF_INET6 && csk->sk_family == AF_INET6) {
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		memcpy(name, addr, min_t(size_t, len, sizeof(*name)));
		return 0;
	}
	if (addr->sa_family != AF_INET || (csk->sk_family == AF_INET6 && ipv6_only_sock(csk)))
		return -EAFNOSUPPORT;
	if (len < (int)sizeof(*in))
		return -EINVAL;
	name->sin6_family = AF_INET6;
	name->sin6_port = in->sin_port;
	ipv6_addr_set_v4mapped(in->sin_addr.s_addr, &name->sin6_addr);
	return 0;
}

/* Somebody who may send to us from there. */
static bool is_peer(const struct sockaddr_in6 *name)
{
	const struct in6_addr *addr = &name->sin6_addr;
	__be32 ipv4 = addr->s6_addr32[3];

	if (!name->sin6_port)
		return false;
	if (ipv6_addr_v4mapped(addr))
		return !ipv4_is_zeronet(ipv4) && !ipv4_is_multicast(ipv4) && !ipv4_is_lbcast(ipv4);
	if (ipv6_addr_type(addr) & IPV6_ADDR_LINKLOCAL && !name->sin6_scope_id)
		return false;
	return !ipv6_addr_any(addr) && !ipv6_addr_is_multicast(addr);
}

/**
 * ktls_udp_connect() - name the peer of an association on an unconnected carrier
 * @ks: bound datagram socket
 * @addr: its address
 * @len: bytes of @addr
 *
 * Context: process; all locks of @ks but the carrier's held.
 * Return: 0; -EISCONN: it has a name; -EADDRINUSE: another association has this peer;
 * -EINVAL, -EAFNOSUPPORT, -ENOMEM.
 */
int ktls_udp_connect(struct ktls_sock *ks, const struct sockaddr *addr, int len)
{
	struct ktls_carrier *carrier = &ks->carrier;
	struct ktls_peer *peer = &carrier->peer;
	struct sockaddr_in6 name;
	int ret;

	if (carrier->named)
		return -EISCONN;
	ret = read_name(carrier->sk, addr, len, &name);
	if (ret)
		return ret;
	if (!name.sin6_scope_id)
		name.sin6_scope_id = READ_ONCE(carrier->sk->sk_bound_dev_if);
	if (!is_peer(&name))
		return -EINVAL;

	*peer = (struct ktls_peer){
		.port	= carrier->port,
		.addr	= name.sin6_addr,
		.number	= name.sin6_port,
		.scope	= scope_of(&name.sin6_addr, name.sin6_scope_id),
	};
	ret = rhashtable_lookup_insert_fast(&peers, &carrier->peer_node, peer_params);
	if (ret)
		return ret == -EEXIST ? -EADDRINUSE : ret;
	/* The name first, for who reads it without a lock. */
	smp_store_release(&carrier->named, true);
	return 0;
}

/**
 * ktls_udp_name() - the peer's name as the carrier's family writes it
 * @ks: bound datagram socket with a peer on an unconnected carrier
 * @addr: room for a struct sockaddr_in6
 *
 * Context: process, a lock that keeps the carrier held.
 * Return: bytes of @addr.
 */
int ktls_udp_name(const struct ktls_sock *ks, struct sockaddr *addr)
{
	const struct ktls_peer *peer = &ks->carrier.peer;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *in = (struct sockaddr_in *)addr;

	if (ks->carrier.sk->sk_family == AF_INET6) {
		*in6 = (struct sockaddr_in6){
			.sin6_family	= AF_INET6,
			.sin6_port	= peer->number,
			.sin6_addr	= peer->addr,
			.sin6_scope_id	= peer->scope,
		};
		return sizeof(*in6);
	}
	*in = (struct sockaddr_in){
		.sin_family		= AF_INET,
		.sin_port		= peer->number,
		.sin_addr.s_addr	= peer->addr.s6_addr32[3],
	};
	return sizeof(*in);
}

bool ktls_udp_shares(const struct ktls_sock *ks)
{
	const struct ktls_port *port = READ_ONCE(ks->carrier.port);

	return port && !port->connected;
}

/* Is a datagram in the carrier's queue from the association's peer? */
static bool is_from_peer(struct ktls_sock *ks, struct sk_buff *skb)
{
	struct ktls_sock *sender;

	rcu_read_lock();
	sender = find_sender(ks->carrier.port, skb);
	rcu_read_unlock();
	return sender == ks;
}

/* Takes a datagram out of the carrier's queue, unless somebody else just did. */
static bool unqueue(struct sock *csk, struct sk_buff *skb)
{
	if (__sk_queue_drop_skb(csk, &udp_sk(csk)->reader_queue, skb, MSG_PEEK, NULL))
		return false;
	/* As UDP's own readers do; the memory is kept for what comes next. */
	spin_lock_bh(&csk->sk_receive_queue.lock);
	WRITE_ONCE(csk->sk_forward_alloc, csk->sk_forward_alloc + (int)skb->truesize);
	atomic_sub(skb->truesize, &csk->sk_rmem_alloc);
	spin_unlock_bh(&csk->sk_receive_queue.lock);
	return true;
}

/* Whether the datagram is no longer the carrier's. */
static bool take_over(struct ktls_sock *ks, struct sk_buff *skb)
{
	int seen = is_from_peer(ks, skb) ? ktls_datagram_judge(ks, skb, 0) : KTLS_FOREIGN;
	struct sk_buff *clone;

	if (!(seen & KTLS_OURS))
		return false;
	clone = skb_clone(skb, GFP_KERNEL);
	if (!clone)
		return false;
	if (seen & KTLS_FOREIGN) {
		ktls_datagram_take(ks, clone);
		return false;
	}
	if (unqueue(ks->carrier.sk, skb))
		ktls_datagram_take(ks, clone);
	else
		kfree_skb(clone);
	return true;
}

/**
 * ktls_udp_drain() - what came before there was a key
 * @ks: bound datagram socket with an RX key
 *
 * Takes the association's records from the carrier's queue (ktls_datagram_take()); other
 * datagrams stay.
 *
 * Context: process, rx.dir.lock held.
 */
void ktls_udp_drain(struct ktls_sock *ks)
{
	int skip = 0, others = 0, error = 0, offset, err;
	struct sock *csk = ks->carrier.sk;
	struct sk_buff *skb;

	lockdep_assert_held(&ks->rx.dir.lock);
	/* Each look begins at the head of the queue: among very many of others ours are lost. */
	while (others < KTLS_OTHERS_MAX) {
		/* What stays is skipped by its length, as SO_PEEK_OFF does. */
		offset = skip;
		skb = __skb_recv_udp(csk, MSG_PEEK | MSG_DONTWAIT, &offset, &err);
		if (!skb && err != -EAGAIN && !error) {
			error = err;
			continue;
		}
		if (!skb)
			break;
		if (!take_over(ks, skb)) {
			skip += skb->len;
			others++;
		}
		consume_skb(skb);
		cond_resched();
	}
	/* It was for those who read the carrier, and who may have looked meanwhile. */
	if (error && !cmpxchg(&csk->sk_err, 0, -error))
		sk_error_report(csk);
}
