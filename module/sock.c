// SPDX-License-Identifier: GPL-2.0-only
/* The socket: from socket(2) to close(2), and what is neither sending nor receiving. */
#include <linux/poll.h>
#include <asm/ioctls.h>
#include <linux/sockios.h>
#include <net/sock.h>

#include "ktls.h"

/* Before a carrier that is kept is looked at again: at first, and in the end. */
#define KTLS_FINISH_DELAY	((unsigned long)HZ / 50)
#define KTLS_FINISH_DELAY_MAX	(5UL * HZ)

struct proto ktls_proto = {
	.name		= "AF_KTLS",
	.owner		= THIS_MODULE,
	.obj_size	= sizeof(struct ktls_sock),
};

static void set_connected(struct socket *sock)
{
	sock->sk->sk_state = TCP_ESTABLISHED;
	sock->state = SS_CONNECTED;
}

static void forget_counts(struct ktls_dir *dir)
{
	dir->rekeys = 0;
	dir->records = 0;
	dir->bytes = 0;
	dir->control = 0;
}

static int ktls_bind(struct socket *sock, struct ktls_sockaddr *addr, int len)
{
	const struct sockaddr_ktls *name = (struct sockaddr_ktls *)addr;
	struct ktls_sock *ks = ktls_sk(sock->sk);
	int ret;

	if (len != sizeof(*name))
		return -EINVAL;
	if (name->skt_family != ktls_family)
		return -EAFNOSUPPORT;
	if (name->skt_flags)
		return -EINVAL;

	lock_sock(&ks->sk);
	mutex_lock(&ks->tx.dir.lock);
	mutex_lock(&ks->rx.dir.lock);
	ret = -EINVAL;
	if (!ks->carrier.sk)
		ret = ktls_carrier_attach(ks, name->skt_fd);
	if (!ret) {
		if (ktls_is_connected(ks))
			set_connected(sock);
		forget_counts(&ks->tx.dir);
		forget_counts(&ks->rx.dir);
		ks->rx.bad_tag = 0;
		ks->rx.replayed = 0;
		ks->rx.too_old = 0;
		ks->rx.bad_epoch = 0;
		atomic64_set(&ks->rx.overflows, 0);
		ks->rx.bad_length = 0;
		ks->rx.bad_version = 0;
		ktls_stats_inc(sock_net(&ks->sk), KTLS_STAT_CURR_BOUND);
	}
	mutex_unlock(&ks->rx.dir.lock);
	mutex_unlock(&ks->tx.dir.lock);
	release_sock(&ks->sk);
	return ret;
}

/* Datagram sockets only: who is the peer on a carrier without one? */
static int ktls_connect(struct socket *sock, struct ktls_sockaddr *addr, int len, int flags)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	int ret = -ENOTCONN;

	if (!ktls_is_datagram(ks))
		return -EOPNOTSUPP;
	lock_sock(&ks->sk);
	mutex_lock(&ks->tx.dir.lock);
	mutex_lock(&ks->rx.dir.lock);
	if (ks->carrier.sk)
		ret = ktls_udp_connect(ks, (struct sockaddr *)addr, len);
	if (!ret)
		set_connected(sock);
	mutex_unlock(&ks->rx.dir.lock);
	mutex_unlock(&ks->tx.dir.lock);
	release_sock(&ks->sk);
	return ret;
}

static void forget_key(struct ktls_sock *ks, struct ktls_dir *dir, enum ktls_stat current_keys)
{
	if (dir->key)
		ktls_stats_add(sock_net(&ks->sk), current_keys, -1);
	ktls_crypto_key_free(dir->key);
	WRITE_ONCE(dir->key, NULL);
	WRITE_ONCE(dir->format, NULL);
	WRITE_ONCE(dir->cipher, NULL);
	dir->err = 0;
	dir->exhausted = false;
	dir->may_rekey = false;
	WRITE_ONCE(dir->limit, KTLS_LIMIT_AHEAD);
}

/**
 * ktls_sock_unbind() - the socket as it was created, without carrier and keys
 * @ks: bound socket
 *
 * Context: process, all locks of @ks and the carrier's held.
 * Return: the carrier, whose reference and lock are the caller's now.
 */
struct socket *ktls_sock_unbind(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	struct ktls_rx *rx = &ks->rx;
	struct socket *carrier;

	ktls_tx_release(ks);
	carrier = ktls_carrier_detach(ks);
	ks->bindings++;
	/* No callback looks at keys or queues from here on. */
	forget_key(ks, &tx->dir, KTLS_STAT_CURR_TX);
	forget_key(ks, &rx->dir, KTLS_STAT_CURR_RX);
	ktls_rx_purge(rx);
	ktls_datagram_close_queue(ks);
	ktls_stats_add(sock_net(&ks->sk), KTLS_STAT_CURR_BOUND, -1);

	tx->fin = false;
	tx->close_notify_sent = false;
	tx->overdue = false;
	tx->paused = false;
	WRITE_ONCE(rx->head, KTLS_HEAD_NONE);
	WRITE_ONCE(rx->head_bytes, 0);
	rx->chore = false;
	rx->hold = false;
	rx->no_pad = false;
	rx->wary = 0;
	rx->eof = false;
	rx->truncated = false;
	rx->truncated_record = false;
	ks->sk.sk_shutdown = 0;
	ks->sk.sk_err = 0;
	ks->sk.sk_state = TCP_CLOSE;
	if (ks->sk.sk_socket)
		ks->sk.sk_socket->state = SS_UNCONNECTED;
	return carrier;
}

static void unlist(struct ktls_sock *ks)
{
	struct ktls_net *kn = ktls_net(sock_net(&ks->sk));

	spin_lock(&kn->lock);
	list_del(&ks->node);
	spin_unlock(&kn->lock);
}

/* Gives the carrier back, if there is one: false: somebody keeps its lock. */
static bool give_back(struct ktls_sock *ks, struct socket **carrier)
{
	struct sock *csk = ks->carrier.sk;

	if (!csk)
		return true;
	if (!ktls_carrier_trylock(csk))
		return false;
	/* UDP takes its lock, if at all, by itself. */
	if (ktls_is_datagram(ks)) {
		release_sock(csk);
		ktls_tx_release(ks);
		if (!ktls_carrier_trylock(csk))
			return false;
	}
	*carrier = ktls_sock_unbind(ks);
	release_sock(csk);
	return true;
}

/*
 * The last descriptor is gone. Who may still be running, and why none is when the memory
 * goes:
 *	1. system calls: each holds the file; there is none any more.
 *	2. pollers: epoll forgets the file before it is released; poll(2) holds it.
 *	3. /proc/net/ktls: looks at listed sockets only, under the list's lock; unlist().
 *	4. callbacks of the carrier: ended by ktls_carrier_detach().
 *	5. the works: queued by 1 and 4 only, so none comes after those ended;
 *	   cancel_*_work_sync() waits for those that run. They find no carrier and do nothing.
 *	   rx.late holds a reference.
 *	   Datagrams may come until a grace period has passed: the closed queue takes none, and
 *	   the memory stays as long (SOCK_RCU_FREE).
 *	6. skbs in pipes: hold pages, not the socket.
 * False: somebody keeps the carrier's lock: again later.
 */
static bool finish(struct ktls_sock *ks, struct socket **carrier)
{
	bool done;

	lock_sock(&ks->sk);
	mutex_lock(&ks->tx.dir.lock);
	mutex_lock(&ks->rx.dir.lock);
	done = give_back(ks, carrier);
	mutex_unlock(&ks->rx.dir.lock);
	mutex_unlock(&ks->tx.dir.lock);
	release_sock(&ks->sk);
	if (!done)
		return false;

	cancel_delayed_work_sync(&ks->tx.work);
	cancel_delayed_work_sync(&ks->rx.work);
	sock_prot_inuse_add(sock_net(&ks->sk), &ktls_proto, -1);
	sock_put(&ks->sk);
	return true;
}

/* Context: workqueue; the socket is nobody's but ours. */
static void finish_work(struct work_struct *work)
{
	struct ktls_sock *ks = container_of(to_delayed_work(work), struct ktls_sock, finish);
	struct socket *carrier = NULL;

	if (!finish(ks, &carrier)) {
		queue_delayed_work(ktls_finish_workqueue, &ks->finish, ks->finish_delay);
		ks->finish_delay = min(2 * ks->finish_delay, KTLS_FINISH_DELAY_MAX);
	} else if (carrier) {
		/* Here: to close it may take as long as SO_LINGER says. */
		__fput_sync(carrier->file);
	}
}

/* Waits for no program: the last close may be anybody's, even a kernel thread's. */
static int ktls_release(struct socket *sock)
{
	struct socket *carrier = NULL;
	struct sock *sk = sock->sk;
	struct ktls_sock *ks;

	if (!sk)
		return 0;
	ks = ktls_sk(sk);
	unlist(ks);
	sock_orphan(sk);
	sock->sk = NULL;
	/* To send on UDP may take the carrier's lock. */
	if ((ktls_is_datagram(ks) && ktls_tx_has_unsent(ks)) || !finish(ks, &carrier))
		queue_delayed_work(ktls_finish_workqueue, &ks->finish, 0);
	else if (carrier)
		sockfd_put(carrier);
	return 0;
}

static int ktls_getname(struct socket *sock, struct sockaddr *addr, int peer)
{
	int ret;

	lock_sock(sock->sk);
	ret = ktls_carrier_name(ktls_sk(sock->sk), addr, peer);
	release_sock(sock->sk);
	return ret;
}

/* Do plain readers have something to come when somebody sets the next key? */
static bool waits_for_key(const struct ktls_sock *ks)
{
	return READ_ONCE(ks->rx.mode) == KTLS_CONTROL_QUEUE && ktls_rx_awaits_key(ks);
}

static __poll_t end_events(struct ktls_sock *ks)
{
	bool tx_ended = READ_ONCE(ks->sk.sk_shutdown) & SEND_SHUTDOWN;
	bool rx_ended = ktls_rx_at_end(ks);
	__poll_t events = 0;

	if (READ_ONCE(ks->sk.sk_err) || READ_ONCE(ks->rx.dir.err) || READ_ONCE(ks->tx.dir.err))
		events |= EPOLLERR;
	if (rx_ended)
		events |= EPOLLRDHUP;
	/* After a close_notify nothing comes, whatever the head still says. */
	if (rx_ended && (READ_ONCE(ks->rx.eof) || READ_ONCE(ks->rx.head) == KTLS_HEAD_NONE ||
			 (READ_ONCE(ks->sk.sk_shutdown) & RCV_SHUTDOWN)) &&
	    !ktls_rx_awaits_key(ks))
		events |= EPOLLIN | EPOLLRDNORM;
	if ((rx_ended && tx_ended && !waits_for_key(ks)) || READ_ONCE(ks->carrier.err))
		events |= EPOLLHUP;
	return events;
}

/* What is there to read? May sleep on datagram sockets. */
static __poll_t input_events(struct ktls_sock *ks)
{
	struct ktls_rx *rx = &ks->rx;
	__poll_t events = 0;

	if (!READ_ONCE(rx->dir.key))
		return 0;
	if (ktls_is_datagram(ks) ? ktls_datagram_readable(ks) : ktls_rx_readable(ks))
		events |= EPOLLIN | EPOLLRDNORM;
	if (!skb_queue_empty_lockless(&rx->controls))
		events |= EPOLLPRI;
	return events;
}

static __poll_t ktls_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	__poll_t events;

	sock_poll_wait(file, sock, wait);
	events = input_events(ks);
	/* Keeps the carrier in memory: see set_detach() and ktls_carrier_detach(). */
	rcu_read_lock();
	if (!READ_ONCE(ks->carrier.sk))
		goto unlock;

	events |= end_events(ks);
	if (ktls_limit_is_news(ks))
		events |= EPOLLPRI;
	if (READ_ONCE(ks->tx.dir.key) && ktls_tx_writable(ks))
		events |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
unlock:
	rcu_read_unlock();
	return events;
}

static int ktls_shutdown(struct socket *sock, int how)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	struct sock *sk = sock->sk;
	int ret = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	lock_sock(sk);
	mutex_lock(&ks->tx.dir.lock);
	if (!ks->carrier.sk)
		ret = -ENOTCONN;
	else if (how != SHUT_RD)
		ret = ktls_tx_shutdown(ks);
	if (!ret && how != SHUT_WR)
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
	mutex_unlock(&ks->tx.dir.lock);
	release_sock(sk);
	if (!ret)
		ktls_carrier_wake(ks, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return ret;
}

/* Bytes not yet acknowledged by the peer's TCP, and ours that wait for the carrier. */
static int unsent_bytes(struct ktls_sock *ks)
{
	struct sock *csk;
	int bytes;

	mutex_lock(&ks->tx.dir.lock);
	bytes = ks->tx.pending_bytes + ks->tx.open.len;
	csk = ks->carrier.sk;
	if (csk && ktls_is_datagram(ks))
		bytes += sk_wmem_alloc_get(csk);
	else if (csk)
		bytes += READ_ONCE(tcp_sk(csk)->write_seq) - READ_ONCE(tcp_sk(csk)->snd_una);
	mutex_unlock(&ks->tx.dir.lock);
	return bytes;
}

static int ktls_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);
	int bytes;

	switch (cmd) {
	case SIOCINQ:	/* FIONREAD */
		bytes = ktls_is_datagram(ks) ? ktls_datagram_available(ks) : ktls_rx_available(ks);
		break;
	case SIOCOUTQ:
		bytes = unsent_bytes(ks);
		break;
	default:
		return -ENOIOCTLCMD;
	}
	return put_user(bytes, (int __user *)arg);
}

static int ktls_set_rcvlowat(struct sock *sk, int val)
{
	struct ktls_sock *ks = ktls_sk(sk);

	WRITE_ONCE(sk->sk_rcvlowat, val ? : 1);
	/* What counts as readable has changed. lock_sock(sk) is held: the carrier stays. */
	if (ks->carrier.sk && !ktls_is_datagram(ks)) {
		lock_sock(ks->carrier.sk);
		ktls_stream_scan(ks);
		release_sock(ks->carrier.sk);
		if (READ_ONCE(ks->rx.chore))
			mod_delayed_work(ktls_workqueue, &ks->rx.work, 0);
		ktls_carrier_wake(ks, EPOLLIN | EPOLLRDNORM);
	}
	return 0;
}

static int ktls_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);

	return ktls_is_datagram(ks) ? ktls_batch_sendmsg(ks, msg, size) :
				      ktls_tx_sendmsg(ks, msg, size);
}

static int ktls_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct ktls_sock *ks = ktls_sk(sock->sk);

	return ktls_is_datagram(ks) ? ktls_datagram_recvmsg(ks, msg, len, flags) :
				      ktls_rx_recvmsg(ks, msg, len, flags);
}

static ssize_t ktls_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe,
				size_t len, unsigned int flags)
{
	bool nonblock = (flags & SPLICE_F_NONBLOCK) || (sock->file->f_flags & O_NONBLOCK);
	struct ktls_sock *ks = ktls_sk(sock->sk);

	return ktls_is_datagram(ks) ?
	       ktls_datagram_splice_read(ks, pipe, len, nonblock, flags) :
	       ktls_rx_splice_read(ks, pipe, len, nonblock, flags);
}

#ifdef KTLS_HAVE_SPLICE_EOF
static void ktls_splice_eof(struct socket *sock)
{
	ktls_tx_splice_eof(ktls_sk(sock->sk));
}
#endif

#ifdef KTLS_HAVE_SENDPAGE
static ssize_t ktls_sendpage(struct socket *sock, struct page *page, int offset, size_t size,
			     int flags)
{
	struct bio_vec bv = { .bv_page = page, .bv_offset = offset, .bv_len = size };
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, &bv, 1, size);
	return ktls_sendmsg(sock, &msg, size);
}
#endif

static void ktls_show_fdinfo(struct seq_file *m, struct socket *sock)
{
	ktls_proc_fdinfo(m, ktls_sk(sock->sk));
}

static const struct proto_ops sock_ops = {
	.owner		= THIS_MODULE,
	.release	= ktls_release,
	.bind		= ktls_bind,
	.connect	= ktls_connect,
	.socketpair	= sock_no_socketpair,
	.accept		= sock_no_accept,
	.getname	= ktls_getname,
	.poll		= ktls_poll,
	.ioctl		= ktls_ioctl,
	.listen		= sock_no_listen,
	.shutdown	= ktls_shutdown,
	.setsockopt	= ktls_sockopt_set,
	.getsockopt	= ktls_sockopt_get,
	.show_fdinfo	= ktls_show_fdinfo,
	.sendmsg	= ktls_sendmsg,
	.recvmsg	= ktls_recvmsg,
	.mmap		= sock_no_mmap,
	.splice_read	= ktls_splice_read,
#ifdef KTLS_HAVE_SPLICE_EOF
	.splice_eof	= ktls_splice_eof,
#endif
#ifdef KTLS_HAVE_SENDPAGE
	.sendpage	= ktls_sendpage,
#endif
	.set_rcvlowat	= ktls_set_rcvlowat,
};

/* Nothing may be left: whoever queues is gone, and ktls_sock_unbind() purged. */
static void ktls_destruct(struct sock *sk)
{
	struct ktls_sock *ks = ktls_sk(sk);

	ktls_rx_purge(&ks->rx);
	__skb_queue_purge(&ks->rx.datagrams);
	WARN_ON_ONCE(atomic_read(&sk->sk_rmem_alloc));
}

static void init_sock(struct ktls_sock *ks)
{
	struct ktls_tx *tx = &ks->tx;
	struct ktls_rx *rx = &ks->rx;

	/* Two lines, so that lockdep tells the two from each other. */
	mutex_init(&tx->dir.lock);
	mutex_init(&rx->dir.lock);
	tx->max_payload = KTLS_MAX_PAYLOAD;
	INIT_DELAYED_WORK(&ks->finish, finish_work);
	ks->finish_delay = KTLS_FINISH_DELAY;
	INIT_DELAYED_WORK(&tx->work, ktls_tx_work);
	INIT_DELAYED_WORK(&rx->work, ktls_rx_work);
	__skb_queue_head_init(&rx->ahead);
	__skb_queue_head_init(&rx->queue);
	skb_queue_head_init(&rx->controls);
	skb_queue_head_init(&rx->datagrams);
	__skb_queue_head_init(&rx->early);
	INIT_LIST_HEAD(&ks->carrier.waiting);
	seqlock_init(&ks->carrier.local_lock);
	INIT_RCU_WORK(&rx->late, ktls_datagram_late_work);
	rx->epoch = -1;
	rx->closed = true;
	rx->window_size = KTLS_WINDOW_DEFAULT;
	if (ktls_is_datagram(ks)) {
		INIT_DELAYED_WORK(&rx->work, ktls_datagram_work);
		sock_set_flag(&ks->sk, SOCK_RCU_FREE);
	}
	ks->sk.sk_destruct = ktls_destruct;
}

static int ktls_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	struct ktls_net *kn = ktls_net(net);
	struct ktls_sock *ks;
	struct sock *sk;

	if (sock->type != SOCK_STREAM && sock->type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (protocol)
		return -EPROTONOSUPPORT;
	sk = sk_alloc(net, ktls_family, GFP_KERNEL, &ktls_proto, kern);
	if (!sk)
		return -ENOMEM;

	sock->ops = &sock_ops;
	sock->state = SS_UNCONNECTED;
	sock_init_data(sock, sk);
	/* SOL_SOCKET comes to ktls_sockopt_set() too: some of it concerns the carrier. */
	ktls_compat_custom_sockopt(sock);
	ks = ktls_sk(sk);
	init_sock(ks);

	spin_lock(&kn->lock);
	list_add_tail(&ks->node, &kn->socks);
	spin_unlock(&kn->lock);
	sock_prot_inuse_add(net, &ktls_proto, 1);
	return 0;
}

/* .family is set when the module loads. */
struct net_proto_family ktls_family_ops = {
	.create	= ktls_create,
	.owner	= THIS_MODULE,
};
