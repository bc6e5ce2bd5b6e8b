/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket, and what the files of the module tell each other.
 *
 * Lock order, outermost first:
 *	lock_sock(sk)		binding, detaching, options; keeps the carrier in place
 *	tx.dir.lock		sending (a mutex; released while waiting for the carrier)
 *	rx.dir.lock		receiving (a mutex; released while waiting for records)
 *	lock_sock(carrier)	the carrier's queues, and rx.head with its companions
 *	carrier's sk_callback_lock	whether the carrier calls us back
 * A path takes those that it needs in this order. Whoever holds either direction's lock
 * knows that the carrier stays attached, since detaching takes both. Callbacks run under the
 * carrier's lock and take none of ours: they set rx.head, wake and queue work.
 */
#ifndef KTLS_KTLS_H
#define KTLS_KTLS_H

#include <linux/mutex.h>
#include <linux/rhashtable-types.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <uapi/linux/tls.h>
#include <linux/ktls.h>

#include "compat.h"
#include "crypto.h"
#include "record.h"
#include "stats.h"

/* Pieces of memory that a sealed record may lie in: order-0 pages, the first one part used. */
#define KTLS_PIECES	8
/* Before something is tried again that memory was short for. */
#define KTLS_RETRY_DELAY	(HZ / 50)
/* How long reordered datagrams of the epoch before are taken: once the peer's (rfc6347 4.1). */
#define KTLS_PREVIOUS_EPOCH	(60 * HZ)
/* Records of the next epoch that wait for its key. */
#define KTLS_EARLY_MAX		KTLS_PREPEND_DATAGRAMS
/* ... and what part of the receive buffer they have. */
#define KTLS_EARLY_SHARE	2
#define KTLS_WINDOW_DEFAULT	1024
/* Sealed and unsent at once: a record of data, the open record, a close_notify. */
#define KTLS_PENDING_MAX	(3 * KTLS_PIECES)
/* Datagrams sealed and unsent at once: what UDP cuts apart at once, and a close_notify. */
#define KTLS_BATCH_MAX		64
#define KTLS_PENDING_RECORDS	(KTLS_BATCH_MAX + 2)

/* A key should protect no more records: it has not come to that, has, and the program knows. */
enum { KTLS_LIMIT_AHEAD, KTLS_LIMIT_REACHED, KTLS_LIMIT_TOLD };

/**
 * struct ktls_dir - what both directions have
 * @lock: protects all of the direction
 * @key: NULL: none yet
 * @format: the key's, kept for lockless readers; likewise @cipher
 * @seq: sequence number of the next record
 * @nonce: explicit nonce of the next record; counted, but not used, where there is none
 * @exhausted: the last sequence number was used
 * @may_rekey: a ChangeCipherSpec, or towards us a KeyUpdate, has passed under this key
 * @limit: KTLS_LIMIT_*: see limit.c
 * @err: ended the direction; 0 while it lives
 * @rekeys: keys after the first
 * @records: passed since the socket was bound; likewise @bytes (payload), @control
 */
struct ktls_dir {
	struct mutex lock;
	struct ktls_key *key;
	const struct ktls_format *format;
	const struct ktls_cipher *cipher;
	u64 seq;
	u64 nonce;
	bool exhausted;
	bool may_rekey;
	int limit;
	int err;
	u32 rekeys;
	u64 records;
	u64 bytes;
	u64 control;
};

/**
 * struct ktls_open_record - plaintext that waits to be sealed
 * @type: content type
 * @len: bytes of payload so far; 0: no record is open
 * @pieces: where the record will lie, its prefix first
 * @piece_count: entries of @pieces
 * @spliced: pages of others, held until the record is sealed
 * @spliced_count: entries of @spliced
 * @src_count: entries of the key's src in use, without the AAD's
 *
 * Copied payload lies in the pieces already; of spliced payload only the room does, the
 * key's src says where it is.
 */
struct ktls_open_record {
	u8 type;
	u32 len;
	struct bio_vec pieces[KTLS_PIECES];
	unsigned int piece_count;
	struct page *spliced[KTLS_SRC_MAX];
	unsigned int spliced_count;
	unsigned int src_count;
};

/**
 * struct ktls_tx - the sending direction
 * @dir: common part
 * @max_payload: TLS_TX_MAX_PAYLOAD_LEN
 * @open: the record being composed
 * @frag: memory that records are carved from
 * @pending: sealed pieces that the carrier has not taken, each with its page reference
 * @pending_first: the first of them that is left
 * @pending_count: end of them
 * @pending_bytes: their bytes; read without the lock by poll
 * @fin: the carrier's writing side is to be closed when nothing is pending
 * @close_notify_sent: nothing follows
 * @zerocopy: TLS_TX_ZEROCOPY_RO, kept to be read back
 * @overdue: the open record is complete, but there was no memory for its end
 * @paused: KTLS_PAUSE: application data waits
 * @segment: datagram: KTLS_SEGMENT
 * @sizes: datagram: bytes of each pending record; from @sizes_first to @sizes_count
 * @write_seq: stream: the carrier's position as we left it
 * @work: pushes what is pending when the carrier has room again
 */
struct ktls_tx {
	struct ktls_dir dir;
	u32 max_payload;
	struct ktls_open_record open;
	struct page_frag frag;
	struct bio_vec pending[KTLS_PENDING_MAX];
	unsigned int pending_first;
	unsigned int pending_count;
	u32 pending_bytes;
	bool fin;
	bool close_notify_sent;
	bool zerocopy;
	bool overdue;
	bool paused;
	u32 segment;
	u16 sizes[KTLS_PENDING_RECORDS];
	unsigned int sizes_first;
	unsigned int sizes_count;
	u32 write_seq;
	struct delayed_work work;
};

/* What is at the head of the undecrypted stream. */
enum ktls_head {
	KTLS_HEAD_NONE,		/* not a whole record yet */
	KTLS_HEAD_DATA,		/* application data */
	KTLS_HEAD_CONTROL,	/* another type */
	KTLS_HEAD_SEALED,	/* one that is to be opened before anybody is told of it */
	KTLS_HEAD_BAD,		/* no record can begin so: the reader reports it */
};

/**
 * struct ktls_rx - the receiving direction
 * @dir: common part; @dir.key and @dir.err change under the carrier's lock too
 * @ahead: raw bytes that precede what the carrier holds
 * @ahead_bytes: how many
 * @head: what is at the head; as the next two, written under the carrier's lock, read without
 * @head_bytes: payload that can be read without waiting; counted up to SO_RCVLOWAT only
 * @chore: @work has something to do at the head
 * @queue: opened records that nobody has read to their end
 * @queued_bytes: their unread bytes; read without the lock by poll
 * @control_queued: the last of them is a control record
 * @controls: opened control records for MSG_ERRQUEUE
 * @small: where small records are opened for a reader; NULL: none was yet
 * @hold: a ChangeCipherSpec or a KeyUpdate was opened: what follows needs the next key
 * @messages: TLS 1.3: the handshake messages under this key
 * @no_pad: TLS_RX_EXPECT_NO_PAD
 * @wary: TLS 1.3: records that are not opened straight into a reader's memory, as one that was
 *	had to be opened again
 * @eof: close_notify came
 * @truncated: the carrier ended without one and a reader was told
 * @truncated_record: ... in the middle of a record
 * @copied_seq: the carrier's position as we left it
 * @taken: bytes of the carrier's, of @taken_records records, that were consumed while its lock is
 *	held, and that it is to be told of
 * @mode: KTLS_CONTROL_*
 * @strict_eof: KTLS_STRICT_EOF
 * @bad_tag: records refused, or illegal in TLS 1.3; likewise @bad_length, @bad_version
 * @work: takes control records and stuck beginnings off the carrier
 * @datagrams: as they came; its lock protects @closed too
 * @datagram: the one that is being opened, records already dealt with pulled off; NULL: none
 * @strays: records of it that were not opened
 * @early: records of the next epoch
 * @previous: the key of the epoch before, @previous_epoch, until @previous_until
 * @epoch: of the key, read when datagrams come; -1: no key
 * @window_size: KTLS_REPLAY_WINDOW
 * @closed: nothing is queued any more
 * @replayed: records dropped; likewise @too_old, @bad_epoch
 * @overflows: datagrams dropped, as there was no room
 * @late: looks at the carrier once more, after all who missed the first key have left; holds a
 *	reference to the socket
 */
struct ktls_rx {
	struct ktls_dir dir;
	struct sk_buff_head ahead;
	u32 ahead_bytes;
	enum ktls_head head;
	u32 head_bytes;
	bool chore;
	struct sk_buff_head queue;
	u32 queued_bytes;
	bool control_queued;
	struct sk_buff_head controls;
	u8 *small;
	bool hold;
	struct ktls_messages messages;
	bool no_pad;
	unsigned int wary;
	bool eof;
	bool truncated;
	bool truncated_record;
	u32 copied_seq;
	u32 taken;
	unsigned int taken_records;
	int mode;
	bool strict_eof;
	u64 bad_tag;
	u64 bad_length;
	u64 bad_version;
	struct delayed_work work;

	struct sk_buff_head datagrams;
	struct sk_buff *datagram;
	unsigned int strays;
	struct sk_buff_head early;
	struct ktls_key *previous;
	int previous_epoch;
	unsigned long previous_until;
	int epoch;
	u32 window_size;
	bool closed;
	u64 replayed;
	u64 too_old;
	u64 bad_epoch;
	atomic64_t overflows;
	struct rcu_work late;
};

/* Who an association on an unconnected carrier talks to; a key of memory, without holes. */
struct ktls_peer {
	struct ktls_port *port;
	struct in6_addr addr;	/* IPv4 mapped */
	u32 scope;		/* interface of a link-local address */
	__be16 number;
	u16 zero;
};

/**
 * struct ktls_carrier - the socket underneath
 * @sock: holds a reference to its file; NULL: not bound
 * @sk: its sock; lockless readers use RCU
 * @data_ready: the carrier's own callbacks, likewise @write_space, @state_change,
 *	@error_report
 * @prot: the carrier's own operations, likewise @ops
 * @rcvlowat: the carrier's own SO_RCVLOWAT
 * @err: what killed the carrier, positive; stays when the carrier forgets it
 * @port: UDP: the carrier as all its associations see it
 * @peer: UDP: of an association that shares its carrier
 * @peer_node: by @peer
 * @local: UDP: where the peer's records were sent to, from where ours go; any: routing decides
 * @local_lock: protects @local, and changes of @has_local
 * @has_local: routing does not decide
 * @named: UDP: there is somebody to talk to
 * @waiting: UDP: in its port's list, when room is wanted
 */
struct ktls_carrier {
	struct socket *sock;
	struct sock *sk;
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*error_report)(struct sock *sk);
	struct proto *prot;
	const struct proto_ops *ops;
	int rcvlowat;
	int err;
	struct ktls_port *port;
	struct ktls_peer peer;
	struct rhash_head peer_node;
	struct in6_addr local;
	seqlock_t local_lock;
	bool has_local;
	bool named;
	struct list_head waiting;
};

/**
 * struct ktls_sock - a socket of the family
 * @sk: must be first
 * @node: in its network namespace's list
 * @bindings: times that a carrier was given back; protected as @carrier
 * @carrier: changes under lock_sock(sk) and both directions' locks
 * @tx: sending
 * @rx: receiving
 * @finish: the end of a closed socket whose carrier's lock was kept
 * @finish_delay: jiffies before it is tried again
 */
struct ktls_sock {
	struct sock sk;
	struct list_head node;
	unsigned int bindings;
	struct ktls_carrier carrier;
	struct ktls_tx tx;
	struct ktls_rx rx;
	struct delayed_work finish;
	unsigned long finish_delay;
};

/* Read without the lock that the writer holds. */
static inline void ktls_count(u64 *counter, u64 more)
{
	WRITE_ONCE(*counter, *counter + more);
}

static inline struct ktls_sock *ktls_sk(const struct sock *sk)
{
	return (struct ktls_sock *)sk;
}

static inline bool ktls_is_datagram(const struct ktls_sock *ks)
{
	return ks->sk.sk_type == SOCK_DGRAM;
}

/* Bound, and there is a peer: who asks holds a lock that keeps the carrier. */
static inline bool ktls_is_connected(const struct ktls_sock *ks)
{
	if (!ktls_is_datagram(ks))
		return READ_ONCE(ks->carrier.sk);
	return READ_ONCE(ks->carrier.named) && READ_ONCE(ks->carrier.sk);
}

/**
 * struct ktls_write - a sendmsg in progress
 * @msg: the writer's
 * @type: content type
 * @more: leave the last record open
 * @splice: take pages by reference
 * @segment: datagram: bytes of payload of each record of a batch; 0: no batch
 * @timeo: how long to wait for room
 * @done: bytes taken
 */
struct ktls_write {
	struct msghdr *msg;
	u8 type;
	bool more;
	bool splice;
	u32 segment;
	long timeo;
	size_t done;
};

#define KTLS_NO_TYPE	-1
/* No control message names a size: the option does. */
#define KTLS_NO_SEGMENT	U32_MAX

/**
 * struct ktls_read - a recvmsg in progress
 * @msg: the reader's
 * @want: bytes it has room for
 * @done: bytes delivered
 * @drained: no other record was there
 * @flags: MSG_*
 * @type: content type delivered, KTLS_NO_TYPE: none yet
 */
struct ktls_read {
	struct msghdr *msg;
	size_t want;
	size_t done;
	bool drained;
	int flags;
	int type;
};

/* Of a received record's skb. */
struct ktls_skb_cb {
	u8 type;
	u32 offset;		/* of what is unread */
};

static inline struct ktls_skb_cb *ktls_skb_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct ktls_skb_cb) > sizeof(skb->cb));
	return (struct ktls_skb_cb *)skb->cb;
}

/* main.c */
extern struct workqueue_struct *ktls_workqueue;
extern struct workqueue_struct *ktls_finish_workqueue;
extern int ktls_family;

/* sock.c */
extern struct proto ktls_proto;
extern struct net_proto_family ktls_family_ops;
struct socket *ktls_sock_unbind(struct ktls_sock *ks);

/* sockopt.c */
int ktls_sockopt_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int len);
int ktls_sockopt_get(struct socket *sock, int level, int name, char __user *value,
		     int __user *len);
void ktls_sockopt_info(struct ktls_sock *ks, struct ktls_info *info);

/* keys.c */
int ktls_keys_set_tx(struct ktls_sock *ks, sockptr_t value, unsigned int len);
int ktls_keys_set_rx(struct ktls_sock *ks, sockptr_t value, unsigned int len);
int ktls_keys_get(struct ktls_sock *ks, struct ktls_dir *dir, char __user *value, int len);

/* tx.c */
enum {
	KTLS_PUSH_MORE		= 1,	/* more follows at once */
	KTLS_PUSH_LOCKED	= 2,	/* of a stream: the carrier's lock is held */
	KTLS_PUSH_ALL		= 4,	/* beyond the carrier's limit */
};

int ktls_tx_sendmsg(struct ktls_sock *ks, struct msghdr *msg, size_t size);
int ktls_tx_read_flags(struct ktls_sock *ks, struct ktls_write *write);
int ktls_tx_get_room(struct ktls_sock *ks, struct ktls_write *write);
int ktls_tx_push(struct ktls_sock *ks, int how);
void ktls_tx_splice_eof(struct ktls_sock *ks);
int ktls_tx_pause(struct ktls_sock *ks, bool on);
int ktls_tx_flush(struct ktls_sock *ks);
int ktls_tx_shutdown(struct ktls_sock *ks);
bool ktls_tx_has_unsent(const struct ktls_sock *ks);
void ktls_tx_release(struct ktls_sock *ks);
bool ktls_tx_writable(struct ktls_sock *ks);
void ktls_tx_work(struct work_struct *work);

/* compose.c */
ssize_t ktls_compose_append(struct ktls_sock *ks, u8 type, u32 limit, struct iov_iter *from,
			    bool splice);
int ktls_compose_seal(struct ktls_sock *ks);
void ktls_compose_drop(struct ktls_tx *tx);

/* rx.c */
int ktls_rx_recvmsg(struct ktls_sock *ks, struct msghdr *msg, size_t len, int flags);
ssize_t ktls_rx_splice_read(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
			    bool nonblock, unsigned int flags);
int ktls_rx_check_ready(struct ktls_sock *ks);
int ktls_rx_deliver(struct ktls_read *read, struct sk_buff *skb);
void ktls_rx_consume(struct ktls_rx *rx, struct sk_buff *skb, u32 n);
int ktls_rx_splice_queued(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
			  unsigned int flags);
bool ktls_rx_readable(struct ktls_sock *ks);
bool ktls_rx_at_end(struct ktls_sock *ks);
bool ktls_rx_is_full(const struct ktls_sock *ks);
bool ktls_rx_awaits_key(const struct ktls_sock *ks);
u32 ktls_rx_available(struct ktls_sock *ks);
void ktls_rx_work(struct work_struct *work);
void ktls_rx_purge(struct ktls_rx *rx);

/* open.c */
int ktls_open_head(struct ktls_sock *ks, struct iov_iter *to, u32 room);
void ktls_open_count(struct ktls_sock *ks, const struct ktls_header *header);
void ktls_open_enqueue(struct ktls_sock *ks, struct sk_buff *skb);
bool ktls_open_is_close_notify(struct sk_buff *skb);

/* stream.c */
u32 ktls_stream_bytes(const struct ktls_sock *ks);
int ktls_stream_copy(struct ktls_sock *ks, u32 offset, void *to, u32 len);
int ktls_stream_map(struct ktls_sock *ks, u32 offset, u32 len, struct scatterlist *sg,
		    unsigned int max);
void ktls_stream_consume(struct ktls_sock *ks, u32 len);
int ktls_stream_prepend(struct ktls_sock *ks, sockptr_t bytes, u32 len);
int ktls_stream_take_over(struct ktls_sock *ks);
int ktls_stream_head(struct ktls_sock *ks, struct ktls_header *header);
bool ktls_stream_is_empty(const struct ktls_sock *ks);
bool ktls_stream_is_sealed(const struct ktls_sock *ks);
void ktls_stream_scan(struct ktls_sock *ks);
bool ktls_stream_has_data(const struct ktls_sock *ks);
u32 ktls_stream_readable(struct ktls_sock *ks);

/* carrier.c */
int ktls_carrier_attach(struct ktls_sock *ks, int fd);
struct socket *ktls_carrier_detach(struct ktls_sock *ks);
void ktls_carrier_own(struct ktls_sock *ks);
int ktls_carrier_send(struct ktls_sock *ks, const struct bio_vec *bv, unsigned int count,
		      size_t len, int how);
void ktls_carrier_send_fin(struct ktls_sock *ks);
bool ktls_carrier_trylock(struct sock *csk);
bool ktls_carrier_has_room(struct sock *csk);
bool ktls_carrier_wants_room(struct ktls_sock *ks, struct sock *csk);
bool ktls_carrier_ended(const struct sock *csk);
int ktls_carrier_name(struct ktls_sock *ks, struct sockaddr *addr, int peer);
void ktls_carrier_wake(struct ktls_sock *ks, __poll_t events);

/* udp.c */
int ktls_udp_init(void);
void ktls_udp_exit(void);
int ktls_udp_attach(struct ktls_sock *ks, struct socket *sock);
void ktls_udp_detach(struct ktls_sock *ks);
int ktls_udp_connect(struct ktls_sock *ks, const struct sockaddr *addr, int len);
int ktls_udp_name(const struct ktls_sock *ks, struct sockaddr *addr);
bool ktls_udp_shares(const struct ktls_sock *ks);
bool ktls_udp_wants_room(struct ktls_sock *ks);
void ktls_udp_drain(struct ktls_sock *ks);

/* path.c */
void ktls_path_set_local(struct ktls_sock *ks, const struct in6_addr *local);
int ktls_path_choose_local(struct ktls_sock *ks, const struct in6_addr *local);
void ktls_path_destination(const struct ktls_sock *ks, const struct sk_buff *skb,
			   struct in6_addr *to);
void ktls_path_follow(struct ktls_sock *ks, const struct in6_addr *to);
int ktls_path_send(struct ktls_sock *ks, const struct bio_vec *bv, unsigned int count);
int ktls_path_room(const struct ktls_sock *ks);

/* datagram.c */
enum {
	KTLS_OURS	= 1,	/* a record that we can open, or that is to be dropped */
	KTLS_FOREIGN	= 2,	/* one that the carrier's readers want */
	KTLS_CONTROL_IN	= 4,	/* one that is not application data */
};

int ktls_datagram_judge(const struct ktls_sock *ks, const struct sk_buff *skb, u32 offset);
int ktls_datagram_arrived(struct ktls_sock *ks, struct sk_buff *skb);
void ktls_datagram_queue(struct ktls_sock *ks, struct sk_buff *skb, int seen);
void ktls_datagram_take(struct ktls_sock *ks, struct sk_buff *skb);
void ktls_datagram_put_first(struct ktls_sock *ks);
int ktls_datagram_prepend(struct ktls_sock *ks, sockptr_t bytes, u32 len);
void ktls_datagram_open_queue(struct ktls_sock *ks);
void ktls_datagram_close_queue(struct ktls_sock *ks);
int ktls_datagram_open(struct ktls_sock *ks);
int ktls_datagram_recvmsg(struct ktls_sock *ks, struct msghdr *msg, size_t len, int flags);
ssize_t ktls_datagram_splice_read(struct ktls_sock *ks, struct pipe_inode_info *pipe, size_t len,
				  bool nonblock, unsigned int flags);
bool ktls_datagram_readable(struct ktls_sock *ks);
u32 ktls_datagram_available(struct ktls_sock *ks);
void ktls_datagram_work(struct work_struct *work);
void ktls_datagram_look_later(struct ktls_sock *ks);
void ktls_datagram_late_work(struct work_struct *work);

/* epoch.c */
struct ktls_key *ktls_epoch_begin(struct ktls_sock *ks, struct ktls_key *old);
int ktls_epoch_open_next(struct ktls_sock *ks);

/* batch.c */
int ktls_batch_sendmsg(struct ktls_sock *ks, struct msghdr *msg, size_t size);
int ktls_batch_usable(const struct ktls_sock *ks);

/* limit.c */
u64 ktls_limit_left(const struct ktls_dir *dir);
void ktls_limit_begin(struct ktls_sock *ks, struct ktls_dir *dir);
void ktls_limit_check(struct ktls_sock *ks, struct ktls_dir *dir);
bool ktls_limit_is_news(const struct ktls_sock *ks);
void ktls_limit_told(struct ktls_dir *dir, u32 rekeys);

/* proc.c */
int ktls_proc_net_init(struct net *net);
void ktls_proc_net_exit(struct net *net);
void ktls_proc_fdinfo(struct seq_file *m, struct ktls_sock *ks);

#endif /* KTLS_KTLS_H */
