// SPDX-License-Identifier: GPL-2.0-only
/* The TCP socket underneath: taking it, its callbacks, sending, giving it back. */
#include <linux/delay.h>
#include <linux/mutex.h>
#include <net/inet_connection_sock.h>
#include <net/inet_sock.h>
#include <net/tcp.h>

#include "ktls.h"
#include "trace.h"

/*
 * A carrier's operations are replaced by copies of its own in which whatever would come
 * between us and the records is refused. Nobody sleeps in them without holding the module.
 * One for each family and set of owned directions.
 */
#define KTLS_OWN_RX	1
#define KTLS_OWN_TX	2
#define KTLS_OWN_SETS	4

/* Looks at a carrier's lock before a worker does something else. */
#define KTLS_LOCK_TRIES	8

enum { KTLS_IPV4, KTLS_IPV6, KTLS_IP_VERSIONS };

static struct proto guarded_prots[KTLS_IP_VERSIONS][KTLS_OWN_SETS];
static struct proto_ops guarded_ops[KTLS_IP_VERSIONS];
static struct proto *original_prots[KTLS_IP_VERSIONS];	/* NULL: copies not made yet */
static const struct proto_ops *original_ops[KTLS_IP_VERSIONS];
static DEFINE_MUTEX(guard_lock);	/* protects the four, while they are made */

/* Its presence refuses other ULPs, listen() and sockmap. */
static struct tcp_ulp_ops carrier_ulp = {
	.name	= "af_ktls",
	.owner	= THIS_MODULE,
};

static int refuse_recvmsg(struct sock *csk, KTLS_RECVMSG_ARGS)
{
	return -EBUSY;
}

static int refuse_sendmsg(struct sock *csk, struct msghdr *msg, size_t len)
{
	return -EBUSY;
}

static int refuse_disconnect(struct sock *csk, int flags)
{
	return -EBUSY;
}

static int refuse_set_rcvlowat(struct sock *csk, int value)
{
	return -EBUSY;
}

static ssize_t refuse_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe,
				  size_t len, unsigned int flags)
{
	return -EBUSY;
}

#ifdef KTLS_HAVE_SENDPAGE
static int refuse_sendpage(struct sock *csk, struct page *page, int offset, size_t size, int flags)
{
	return -EBUSY;
}
#endif

/*
 * TCP reads the ULP's name without a lock, and sleeps meanwhile: it takes it that a ULP never
 * goes.
 */
static int tell_ulp(char __user *value, int __user *len)
{
	int room;

	if (get_user(room, len))
		return -EFAULT;
	room = min_t(unsigned int, room, TCP_ULP_NAME_MAX);
	if (put_user(room, len) || copy_to_user(value, carrier_ulp.name, room))
		return -EFAULT;
	return 0;
}

static int guarded_getsockopt(struct sock *csk, int level, int name, char __user *value,
			      int __user *len)
{
	int version = csk->sk_family == AF_INET6 ? KTLS_IPV6 : KTLS_IPV4;
	int ret;

	/* It reads the queue. */
	if (level == SOL_TCP && name == TCP_ZEROCOPY_RECEIVE &&
	    READ_ONCE(csk->sk_prot)->recvmsg == refuse_recvmsg)
		return -EBUSY;
	if (!try_module_get(THIS_MODULE))
		return -EBUSY;
	if (level == SOL_TCP && name == TCP_ULP)
		ret = tell_ulp(value, len);
	else
		ret = original_prots[version]->getsockopt(csk, level, name, value, len);
	module_put(THIS_MODULE);
	return ret;
}

static void make_guard(struct proto *guard, const struct proto *original, unsigned int owned)
{
	*guard = *original;
	guard->disconnect = refuse_disconnect;
	guard->getsockopt = guarded_getsockopt;
	if (owned & KTLS_OWN_RX)
		guard->recvmsg = refuse_recvmsg;
	if (owned & KTLS_OWN_TX) {
		guard->sendmsg = refuse_sendmsg;
#ifdef KTLS_HAVE_SENDPAGE
		guard->sendpage = refuse_sendpage;
#endif
	}
}

/* -EBUSY: somebody else has replaced the carrier's operations. */
static int make_guards(struct socket *sock)
{
	int version = sock->sk->sk_family == AF_INET6 ? KTLS_IPV6 : KTLS_IPV4;
	struct proto *prot = sock->sk->sk_prot;
	unsigned int owned;
	int ret = 0;

	if (prot->sendmsg != tcp_sendmsg)
		return -EBUSY;
	mutex_lock(&guard_lock);
	if (!original_prots[version]) {
		for (owned = 0; owned < KTLS_OWN_SETS; owned++)
			make_guard(&guarded_prots[version][owned], prot, owned);
		guarded_ops[version] = *sock->ops;
		/* accept() keeps a pointer to them. */
		guarded_ops[version].owner = THIS_MODULE;
		guarded_ops[version].splice_read = refuse_splice_read;
		guarded_ops[version].set_rcvlowat = refuse_set_rcvlowat;
		original_ops[version] = sock->ops;
		original_prots[version] = prot;
	}
	if (original_prots[version] != prot || original_ops[version] != sock->ops)
		ret = -EBUSY;
	mutex_unlock(&guard_lock);
	return ret;
}

/**
 * ktls_carrier_own() - guard the carrier for the directions that have keys
 * @ks: bound socket
 *
 * Context: process; both or the keyed direction's lock and the carrier's lock held.
 */
void ktls_carrier_own(struct ktls_sock *ks)
{
	struct ktls_carrier *carrier = &ks->carrier;
	int version = carrier->sk->sk_family == AF_INET6 ? KTLS_IPV6 : KTLS_IPV4;
	unsigned int owned = 0;

	sock_owned_by_me(carrier->sk);
	/* Datagrams that are not ours are read and sent as before. */
	if (ktls_is_datagram(ks))
		return;
	if (ks->rx.dir.key) {
		owned |= KTLS_OWN_RX;
		WRITE_ONCE(carrier->sk->sk_rcvlowat, 1);
		WRITE_ONCE(carrier->sock->ops, &guarded_ops[version]);
	}
	if (ks->tx.dir.key)
		owned |= KTLS_OWN_TX;
	WRITE_ONCE(carrier->sk->sk_prot, &guarded_prots[version][owned]);
}

/**
 * ktls_carrier_wake() - wake whoever waits on our socket
 * @ks: socket
 * @events: EPOLL*
 *
 * Context: any.
 */
void ktls_carrier_wake(struct ktls_sock *ks, __poll_t events)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(ks->sk.sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, events);
	if (events & EPOLLIN)
		sk_wake_async(&ks->sk, SOCK_WAKE_WAITD, POLL_IN);
	if (events & EPOLLOUT)
		sk_wake_async(&ks->sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

static void note_error(struct ktls_sock *ks, struct sock *csk)
{
	int err = READ_ONCE(csk->sk_err);

	if (!err || cmpxchg(&ks->carrier.err, 0, err))
		return;
	WRITE_ONCE(ks->sk.sk_err, err);
	ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_CARRIER_ERROR);
}

/*
 * The callbacks. The carrier's lock is held, by us or as a spinlock, except for the error queue's
 * errors; sk_callback_lock keeps ktls_carrier_detach() out while we look at sk_user_data.
 */
static void carrier_data_ready(struct sock *csk)
{
	struct ktls_sock *ks;

	read_lock_bh(&csk->sk_callback_lock);
	ks = csk->sk_user_data;
	if (ks && !ks->rx.dir.key) {
		ks->carrier.data_ready(csk);
	} else if (ks) {
		if (!ktls_stream_has_data(ks))
			ktls_stream_scan(ks);
		if (READ_ONCE(ks->rx.chore))
			mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
		if (READ_ONCE(ks->rx.head) != KTLS_HEAD_NONE)
			ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM | EPOLLPRI);
	}
	read_unlock_bh(&csk->sk_callback_lock);
}

static void carrier_write_space(struct sock *csk)
{
	struct ktls_sock *ks;

	read_lock_bh(&csk->sk_callback_lock);
	ks = csk->sk_user_data;
	if (ks) {
		ks->carrier.write_space(csk);
		if (READ_ONCE(ks->tx.pending_bytes))
			mod_delayed_work(ktls_workqueue, &ks->tx.work, 0);
		if (ktls_carrier_has_room(csk))
			ktls_carrier_wake(ks, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	}
	read_unlock_bh(&csk->sk_callback_lock);
}

static void carrier_state_change(struct sock *csk)
{
	struct ktls_sock *ks;

	read_lock_bh(&csk->sk_callback_lock);
	ks = csk->sk_user_data;
	if (ks) {
		ks->carrier.state_change(csk);
		note_error(ks, csk);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLOUT | EPOLLHUP);
	}
	read_unlock_bh(&csk->sk_callback_lock);
}

static void carrier_error_report(struct sock *csk)
{
	struct ktls_sock *ks;

	read_lock_bh(&csk->sk_callback_lock);
	ks = csk->sk_user_data;
	if (ks) {
		ks->carrier.error_report(csk);
		note_error(ks, csk);
		ktls_carrier_wake(ks, EPOLLERR | EPOLLIN | EPOLLOUT | EPOLLHUP);
	}
	read_unlock_bh(&csk->sk_callback_lock);
}

static bool is_connected(const struct sock *csk)
{
	return (1 << csk->sk_state) &
	       (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2);
}

static void save_carrier(struct ktls_sock *ks, struct socket *sock)
{
	struct ktls_carrier *carrier = &ks->carrier;
	struct sock *csk = sock->sk;

	carrier->sock = sock;
	carrier->data_ready = csk->sk_data_ready;
	carrier->write_space = csk->sk_write_space;
	carrier->state_change = csk->sk_state_change;
	carrier->error_report = csk->sk_error_report;
	carrier->prot = csk->sk_prot;
	carrier->ops = sock->ops;
	carrier->rcvlowat = csk->sk_rcvlowat;
	WRITE_ONCE(carrier->err, csk->sk_err);
	/* Who sees it sees the rest. */
	smp_store_release(&carrier->sk, csk);
}

static int claim(struct ktls_sock *ks, struct socket *sock)
{
	struct sock *csk = sock->sk;
	int ret;

	sock_owned_by_me(csk);
	if (!is_connected(csk))
		return -ENOTCONN;
	/*
	 * Whoever has replaced the operations has put something there, too: they are nothing to
	 * make guards of.
	 */
	if (inet_csk(csk)->icsk_ulp_ops || READ_ONCE(csk->sk_user_data))
		return -EBUSY;
	ret = make_guards(sock);
	if (ret)
		return ret;

	write_lock_bh(&csk->sk_callback_lock);
	if (csk->sk_user_data) {
		write_unlock_bh(&csk->sk_callback_lock);
		return -EBUSY;
	}
	save_carrier(ks, sock);
	csk->sk_user_data = ks;
	WRITE_ONCE(csk->sk_data_ready, carrier_data_ready);
	WRITE_ONCE(csk->sk_write_space, carrier_write_space);
	WRITE_ONCE(csk->sk_state_change, carrier_state_change);
	WRITE_ONCE(csk->sk_error_report, carrier_error_report);
	write_unlock_bh(&csk->sk_callback_lock);

	inet_csk(csk)->icsk_ulp_ops = &carrier_ulp;
	ktls_carrier_own(ks);
	return 0;
}

static bool fits(const struct ktls_sock *ks, const struct sock *csk)
{
	int protocol = ktls_is_datagram(ks) ? IPPROTO_UDP : IPPROTO_TCP;

	return csk->sk_type == ks->sk.sk_type && csk->sk_protocol == protocol &&
	       (csk->sk_family == AF_INET || csk->sk_family == AF_INET6);
}

static int attach_stream(struct ktls_sock *ks, struct socket *sock)
{
	int ret;

	lock_sock(sock->sk);
	ret = claim(ks, sock);
	release_sock(sock->sk);
	return ret;
}

/**
 * ktls_carrier_attach() - take a socket as the carrier
 * @ks: unbound socket
 * @fd: descriptor of the caller's
 *
 * Context: process; all locks of @ks but the carrier's held.
 * Return: 0; -EBADF, -ENOTSOCK, -EPROTOTYPE, -ENOTCONN, -EBUSY as <linux/ktls.h> says.
 */
int ktls_carrier_attach(struct ktls_sock *ks, int fd)
{
	struct socket *sock;
	int ret;

	sock = sockfd_lookup(fd, &ret);
	if (!sock)
		return ret;
	if (!sock->sk || !fits(ks, sock->sk)) {
		sockfd_put(sock);
		return -EPROTOTYPE;
	}

	ret = ktls_is_datagram(ks) ? ktls_udp_attach(ks, sock) : attach_stream(ks, sock);
	if (ret)
		sockfd_put(sock);
	else
		trace_ktls_attach(ks);
	return ret;
}

/**
 * ktls_carrier_detach() - give the carrier back as it was
 * @ks: bound socket
 *
 * After this no callback of the carrier is running or comes: they look at sk_user_data
 * under sk_callback_lock, which is taken here for writing. Lockless readers may still
 * look at the carrier until a grace period has passed.
 *
 * Context: process; all locks of @ks and the carrier's held.
 * Return: the carrier, whose reference and lock are the caller's now.
 */
struct socket *ktls_carrier_detach(struct ktls_sock *ks)
{
	struct ktls_carrier *carrier = &ks->carrier;
	struct socket *sock = carrier->sock;
	struct sock *csk = carrier->sk;

	sock_owned_by_me(csk);
	trace_ktls_detach(ks);
	if (ktls_is_datagram(ks)) {
		ktls_udp_detach(ks);
		return sock;
	}
	write_lock_bh(&csk->sk_callback_lock);
	csk->sk_user_data = NULL;
	WRITE_ONCE(csk->sk_data_ready, carrier->data_ready);
	WRITE_ONCE(csk->sk_write_space, carrier->write_space);
	WRITE_ONCE(csk->sk_state_change, carrier->state_change);
	WRITE_ONCE(csk->sk_error_report, carrier->error_report);
	write_unlock_bh(&csk->sk_callback_lock);

	inet_csk(csk)->icsk_ulp_ops = NULL;
	WRITE_ONCE(csk->sk_rcvlowat, carrier->rcvlowat);
	WRITE_ONCE(csk->sk_prot, carrier->prot);
	WRITE_ONCE(sock->ops, carrier->ops);
	carrier->sock = NULL;
	WRITE_ONCE(carrier->sk, NULL);
	/* Data and errors that came meanwhile woke nobody on the carrier. */
	csk->sk_data_ready(csk);
	csk->sk_error_report(csk);
	return sock;
}

/**
 * ktls_carrier_has_room() - can something be sent?
 * @csk: the carrier
 *
 * Context: any.
 */
bool ktls_carrier_has_room(struct sock *csk)
{
	if (csk->sk_type == SOCK_DGRAM)
		return sock_writeable(csk);
	return sk_stream_is_writeable(csk) || (READ_ONCE(csk->sk_shutdown) & SEND_SHUTDOWN) ||
	       READ_ONCE(csk->sk_err);
}

/**
 * ktls_carrier_wants_room() - ask for write_space, then look again
 * @ks: bound socket
 * @csk: the carrier, kept by a lock or RCU
 *
 * Context: any.
 * Return: whether something can be sent after all.
 */
bool ktls_carrier_wants_room(struct ktls_sock *ks, struct sock *csk)
{
	struct socket *sock = READ_ONCE(csk->sk_socket);

	/* For SIGIO. */
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, &ks->sk);
	if (ktls_is_datagram(ks))
		return ktls_udp_wants_room(ks);
	if (!sock)
		return true;
	set_bit(SOCK_NOSPACE, &sock->flags);
	/* Pairs with the one in tcp_check_space(): the flag is seen or we see the room. */
	smp_mb__after_atomic();
	return ktls_carrier_has_room(csk);
}

/**
 * ktls_carrier_ended() - has the peer's FIN been received?
 * @csk: the carrier, kept by a lock or RCU
 *
 * Context: any.
 */
bool ktls_carrier_ended(const struct sock *csk)
{
	return sock_flag(csk, SOCK_DONE) || (READ_ONCE(csk->sk_shutdown) & RCV_SHUTDOWN) ||
	       READ_ONCE(csk->sk_state) == TCP_CLOSE;
}

static bool trylock(struct sock *csk)
{
	bool owned;

	spin_lock_bh(&csk->sk_lock.slock);
	owned = sock_owned_by_user_nocheck(csk);
	if (!owned) {
		csk->sk_lock.owned = 1;
		mutex_acquire(&csk->sk_lock.dep_map, 0, 1, _RET_IP_);
	}
	spin_unlock_bh(&csk->sk_lock.slock);
	return !owned;
}

/**
 * ktls_carrier_trylock() - lock_sock() for those who must not wait for a program
 * @csk: carrier
 *
 * A program that sends on a carrier, or receives, does so under this lock, and may take its
 * time to bring its memory in. A worker that waits for it is one less for everybody, and so is
 * a process that does nothing but close a descriptor.
 *
 * Context: process, a lock that keeps the carrier held; sleeps for less than a millisecond.
 * Return: whether the lock is held now: release_sock().
 */
bool ktls_carrier_trylock(struct sock *csk)
{
	unsigned int tries;

	for (tries = 0; !trylock(csk); tries++) {
		if (tries == KTLS_LOCK_TRIES)
			return false;
		usleep_range(50, 100);
	}
	return true;
}

/* As ktls_carrier_send(), of a stream, whose lock is held. */
static int send_locked(struct ktls_sock *ks, const struct bio_vec *bv, unsigned int count,
		       size_t len, int how)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (how & KTLS_PUSH_MORE ? MSG_MORE : 0);
	struct sock *csk = ks->carrier.sk;
	struct ktls_tx *tx = &ks->tx;
	int sndbuf, ret;
	u32 unsent;

	sock_owned_by_me(csk);
	/* A call that slept when the key came has sent in the middle of it. */
	if (tx->write_seq != tcp_sk(csk)->write_seq && !(csk->sk_shutdown & SEND_SHUTDOWN)) {
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_TX_MIXED);
		return -EIO;
	}
	sndbuf = csk->sk_sndbuf;
	unsent = tcp_sk(csk)->notsent_lowat;
	if (how & KTLS_PUSH_ALL) {
		WRITE_ONCE(csk->sk_sndbuf, INT_MAX);
		WRITE_ONCE(tcp_sk(csk)->notsent_lowat, UINT_MAX);
	}
	ret = ktls_compat_send_pages(csk, bv, count, len, flags);
	if (how & KTLS_PUSH_ALL) {
		WRITE_ONCE(csk->sk_sndbuf, sndbuf);
		WRITE_ONCE(tcp_sk(csk)->notsent_lowat, unsent);
	}
	tx->write_seq = tcp_sk(csk)->write_seq;
	return ret;
}

/**
 * ktls_carrier_send() - send pages on the carrier
 * @ks: bound socket
 * @bv: the pages, which TCP references
 * @count: entries of @bv
 * @len: their bytes
 * @how: set of KTLS_PUSH_*; of KTLS_PUSH_ALL's at most what one socket has pending
 *
 * Context: process, tx.dir.lock held; does not wait.
 * Return: bytes taken, -EAGAIN, -EIO: something else was sent between records, or -errno of TCP.
 */
int ktls_carrier_send(struct ktls_sock *ks, const struct bio_vec *bv, unsigned int count,
		      size_t len, int how)
{
	struct sock *csk = ks->carrier.sk;
	int ret;

	lockdep_assert_held(&ks->tx.dir.lock);
	if (ktls_is_datagram(ks))
		return ktls_path_send(ks, bv, count);
	if (!(how & KTLS_PUSH_LOCKED))
		lock_sock(csk);
	ret = send_locked(ks, bv, count, len, how);
	if (!(how & KTLS_PUSH_LOCKED))
		release_sock(csk);
	return ret;
}

/**
 * ktls_carrier_send_fin() - shutdown(carrier, SHUT_WR)
 * @ks: bound stream socket
 *
 * Context: process, tx.dir.lock and the carrier's lock held.
 */
void ktls_carrier_send_fin(struct ktls_sock *ks)
{
	struct sock *csk = ks->carrier.sk;

	sock_owned_by_me(csk);
	WRITE_ONCE(csk->sk_shutdown, csk->sk_shutdown | SEND_SHUTDOWN);
	csk->sk_prot->shutdown(csk, SEND_SHUTDOWN);
	csk->sk_state_change(csk);
}

/**
 * ktls_carrier_name() - the carrier's addresses
 * @ks: socket
 * @addr: room for a struct sockaddr_storage
 * @peer: the peer's, not ours
 *
 * Context: process, lock_sock(&ks->sk) held.
 * Return: bytes of @addr; -ENOTCONN: not bound, or no peer any more.
 */
int ktls_carrier_name(struct ktls_sock *ks, struct sockaddr *addr, int peer)
{
	struct socket *sock = ks->carrier.sock;

	if (!sock || (peer && !ktls_is_connected(ks)))
		return -ENOTCONN;
	if (peer && ktls_is_datagram(ks) && ktls_udp_shares(ks))
		return ktls_udp_name(ks, addr);
	return READ_ONCE(sock->ops)->getname(sock, addr, peer);
}
