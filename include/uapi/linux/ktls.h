/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * AF_KTLS: sockets that carry application data as TLS or DTLS records.
 *
 * A program connects a TCP or UDP socket (the carrier), does the handshake over it in
 * userspace, and then:
 *
 *	fd = socket(AF_KTLS, SOCK_STREAM, 0);
 *	bind(fd, &(struct sockaddr_ktls){ AF_KTLS, 0, carrier }, sizeof(...));
 *	setsockopt(fd, SOL_TLS, TLS_TX, &keys, sizeof(keys));	(struct tls12_crypto_info_*)
 *	setsockopt(fd, SOL_TLS, TLS_RX, &keys, sizeof(keys));
 *
 * From there fd is a socket as any other; what is written leaves as records, what is read
 * was authenticated. The structs, constants and control messages of <linux/tls.h> at level
 * SOL_TLS mean here what they mean there.
 *
 * States: created -> bound (bind) -> TX keyed and/or RX keyed (TLS_TX, TLS_RX, in either
 * order) -> created again (KTLS_DETACH) or closed. A direction without a key answers ENOKEY.
 *
 * socket(2) fails with ESOCKTNOSUPPORT (a type that is not served), EPROTONOSUPPORT (a protocol
 * that is not 0), ENOMEM, ...
 *
 * bind(2) fails with
 *	EINVAL		wrong length, skt_flags not 0, already bound
 *	EAFNOSUPPORT	skt_family is not AF_KTLS
 *	EBADF, ENOTSOCK	skt_fd is not a descriptor, not a socket
 *	EPROTOTYPE	the carrier's protocol does not fit the socket's type
 *	ENOTCONN	the carrier is not connected
 *	EBUSY		the carrier has a ULP, an encapsulation or another owner
 *
 * While RX is keyed, receiving on the carrier, TCP_ZEROCOPY_RECEIVE and SO_RCVLOWAT fail with
 * EBUSY; while TX is keyed, so does sending. connect(AF_UNSPEC) and listen() on a carrier fail.
 * Its descriptor may be closed.
 *
 * setsockopt(SOL_TLS, TLS_TX | TLS_RX) fails with
 *	ENOTCONN	not bound
 *	EINVAL		unknown version or cipher, wrong size, a change the protocol forbids
 *	ENOENT		the kernel has no such cipher
 *	EBUSY		a key is there and may not be replaced now; a record is open (MSG_MORE)
 *	EFAULT		bad address
 * and then leaves the key that is there. Versions are TLS_1_2_VERSION and TLS_1_3_VERSION, the same
 * in both directions. Another key is taken: in TLS 1.2 once a ChangeCipherSpec has been sent
 * (TLS_TX) or delivered (TLS_RX) under the one before, with any cipher; in TLS 1.3 with the same
 * cipher, at any time (TLS_TX: a KeyUpdate is to be sent before) or once a KeyUpdate was delivered
 * (TLS_RX).
 * getsockopt of the two gives version and cipher (4 bytes) or the whole struct with the
 * counters of the next record. Key, salt and static iv in it are zero unless the caller has
 * CAP_NET_ADMIN over the socket's network namespace. EINVAL: another size; EBUSY: no key.
 *
 * Options of SOL_TCP, SOL_IP and SOL_IPV6 are the carrier's; SO_SNDBUF, SO_RCVBUF (and
 * *FORCE), SO_KEEPALIVE, SO_PRIORITY and SO_MARK are set on both.
 *
 * send(2) and its kin fail with
 *	ENOTCONN	not bound
 *	ENOKEY		no TLS_TX key
 *	EBADMSG		all sequence numbers of the key are used
 *	EIO		the cipher ran out of memory, or something else was sent on the carrier
 *			between the records: nothing more can be sent
 *	EINVAL		an empty record of a type other than application data; one of type 0 or
 *			of a ChangeCipherSpec in TLS 1.3; a bad cmsg;
 *			MSG_MORE with MSG_EOR or with a record type
 *	EOPNOTSUPP	a flag that has no meaning here (MSG_OOB, ...)
 *	EAGAIN, EINTR, EPIPE, ECONNRESET, ...	as TCP: what ended the direction is told once,
 *			from then on EPIPE
 *
 * recv(2) and its kin fail with
 *	ENOTCONN	not bound
 *	ENOKEY		no TLS_RX key
 *	EIO		the next record is not application data and there is no room for a cmsg
 *			that tells its type (splice: EINVAL); the record stays readable. A
 *			close_notify is end of file instead
 *	EBADMSG		a record failed authentication, or is shorter than nonce and tag; all
 *			sequence numbers of the key are used; somebody else read from the carrier
 *	EMSGSIZE	a record is longer than TLS allows
 *	EINVAL		a record has another version
 *	ECONNABORTED	KTLS_STRICT_EOF: the carrier ended without close_notify
 *	EKEYEXPIRED	a ChangeCipherSpec, or in TLS 1.3 a KeyUpdate, was delivered: what follows
 *			needs the next TLS_RX
 *	EOPNOTSUPP	MSG_OOB
 *	EAGAIN, EINTR, ECONNRESET, ...		as TCP, but a reset is never followed by 0
 * EBADMSG, EMSGSIZE and EINVAL from the record layer are final for the receiving direction;
 * sending goes on, and the carrier is not touched.
 *
 * DTLS over UDP (SOCK_DGRAM) is the same but for this:
 *
 * The version is DTLS_1_2_VERSION, and rec_seq is epoch (16 bits) and sequence number (48).
 *
 * A carrier without a peer takes many sockets, each the association with one peer, which
 * connect(2) names by a sockaddr_in or sockaddr_in6. It fails with ENOTCONN (not bound), EISCONN
 * (there is a peer), EADDRINUSE (another socket on this carrier has that peer), EINVAL,
 * EAFNOSUPPORT. On a connected carrier bind() is all; where the program connects it to later,
 * the association goes too; without a peer (AF_UNSPEC) nothing comes and sends fail.
 *
 * Datagrams that are not DTLS (rfc7983: first byte not 20 to 63), that come from other peers, or
 * that are handshakes under keys not known here stay on the carrier for its readers; sending on
 * it goes on too. DTLS finds the path's limit: IP_MTU_DISCOVER of the carrier is raised to
 * IP_PMTUDISC_DO while it has sockets. Where many share a carrier, options of SOL_IP and SOL_IPV6
 * can be set on the carrier only, not on its sockets (EOPNOTSUPP), but for one: where the carrier
 * is bound to no address, records go from the address to which the peer's last record came, and
 * before the first from that which setsockopt(SOL_IP, IP_PKTINFO, struct in_pktinfo) or
 * setsockopt(SOL_IPV6, IPV6_PKTINFO, struct in6_pktinfo; rfc3542 6.1) names: ipi_spec_dst and
 * ipi6_addr alone count (EINVAL: not of the peer's family; ENOTCONN). Without either, or when it
 * is no address of this machine any more, routing chooses.
 * An ICMP error about what was sent from a carrier is told to the socket whose peer it names.
 *
 * One send is one record is one datagram. What splice and sendfile bring is cut into records
 * that fit the path, and so is a send with KTLS_SEGMENT. Besides the errors above:
 *	EMSGSIZE	the datagram would not fit the path: usable in KTLS_INFO says what does
 *	EISCONN		an address was given
 *	EBUSY		the program composes a datagram on the carrier (UDP_CORK, MSG_MORE)
 *	ECONNREFUSED, ENETUNREACH, ...	as UDP; told once, the next send is tried
 *
 * One recv is one record. What does not fit the buffer is lost, and MSG_TRUNC says so; splice
 * leaves the rest for the next. A record that is forged, repeated, too old, of another epoch or
 * malformed is dropped and counted; no reader sees an error. Only as many failed authentications
 * as rfc9325 4.4 allows under one key (2^28 with GCM) end the direction: EBADMSG. After a
 * ChangeCipherSpec EKEYEXPIRED says that nothing is there but for the next TLS_RX, whose epoch
 * must be higher. Records of the epoch before are read for a minute more, those of the next wait
 * for its key (64, and half of SO_RCVBUF, at most). When SO_RCVBUF is full, datagrams are
 * lost, as with UDP.
 *
 * shutdown(SHUT_WR) sends close_notify; UDP has nothing that would follow.
 */
#ifndef _UAPI_LINUX_KTLS_H
#define _UAPI_LINUX_KTLS_H

#include <linux/types.h>
#include <linux/socket.h>

/* The number that DECnet had; the module parameter family= chooses another. */
#ifndef AF_KTLS
#define AF_KTLS			12
#define PF_KTLS			AF_KTLS
#endif

#ifndef SOL_TLS
#define SOL_TLS			282
#endif
/* The level of the options below, whatever number the family has. */
#define SOL_KTLS		12

#ifndef DTLS_1_2_VERSION
#define DTLS_1_2_VERSION	0xfefd
#endif

struct sockaddr_ktls {
	__kernel_sa_family_t	skt_family;	/* AF_KTLS */
	__u16			skt_flags;	/* 0 */
	__s32			skt_fd;		/* the carrier: a TCP or UDP socket */
};

/* Options of SOL_TLS that older <linux/tls.h> lack. */
#ifndef TLS_TX_ZEROCOPY_RO
#define TLS_TX_ZEROCOPY_RO	3
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD	4
#endif
/*
 * get, set: __u16, the largest payload of a record sent, 63 to 16384 (RFC 8449, whose limits
 * count the content type of TLS 1.3; max_fragment_length). EINVAL: another size or value. EBUSY:
 * a record is open.
 */
#ifndef TLS_TX_MAX_PAYLOAD_LEN
#define TLS_TX_MAX_PAYLOAD_LEN	5
#endif

/* Options of SOL_KTLS. ENOPROTOOPT: any other. */

/* get: struct ktls_info; a shorter buffer gets the beginning, the length says how much. */
#define KTLS_INFO		1
/*
 * set, no value: gives the carrier back. The open record is completed and what is sealed
 * is sent first. Afterwards the socket is as created, and reading the carrier continues at
 * the next undelivered record. ENOTCONN: not bound. EBUSY: a record is half sent or half
 * read, or opened and unread (as all are that have come in TLS 1.3 with KTLS_CONTROL_QUEUE or
 * SO_RCVLOWAT above 1), or bytes of KTLS_PREPEND_RX are left.
 */
#define KTLS_DETACH		2
/* get, set: int, KTLS_CONTROL_DEFAULT or KTLS_CONTROL_QUEUE. EINVAL: another. */
#define KTLS_CONTROL		3
/* get, set: int, 0 or 1: a carrier that ends without close_notify is ECONNABORTED, not 0. */
#define KTLS_STRICT_EOF		4
/*
 * get, set: int, datagram: width of the replay window, 64 to 4096 (1024 unless set). EINVAL:
 * another size or value. EOPNOTSUPP: a stream.
 */
#define KTLS_REPLAY_WINDOW	5
/*
 * set: raw bytes that a handshake library had already read off the carrier, parsed before
 * what the carrier holds. May be called several times before TLS_RX. ENOTCONN: not bound.
 * EBUSY: RX is keyed. EMSGSIZE: over KTLS_PREPEND_MAX in all, or (datagram socket,
 * where each call gives one datagram) more than KTLS_PREPEND_DATAGRAMS. ENOMEM, EFAULT.
 */
#define KTLS_PREPEND_RX		6
#define KTLS_PREPEND_MAX	65536
#define KTLS_PREPEND_DATAGRAMS	64
/*
 * get, set: int, and a control message of sendmsg with an int, datagram: what is sent is cut
 * into records of so many bytes of payload (the last may be shorter), which leave as one batch;
 * 0: it is not cut. EMSGSIZE from the send: more than fits a datagram of the path. EINVAL:
 * another size or value. EOPNOTSUPP: a stream.
 */
#define KTLS_SEGMENT		7

/*
 * get, set: int, 0 or 1: while 1, application data waits as if the carrier had no room (EAGAIN, no
 * POLLOUT), and records of other types pass: for a handshake beside programs that send. An open
 * record is completed first. EINVAL: another size or value. ENOMEM.
 */
#define KTLS_PAUSE		8

/* Non-data records are delivered in order with the data (see EIO above). */
#define KTLS_CONTROL_DEFAULT	0
/*
 * Non-data records go to the error queue: recvmsg(MSG_ERRQUEUE) returns them one by one,
 * with the same control message; poll says POLLPRI. Plain reads never see them, and where
 * the next TLS_RX is due they wait for it (EAGAIN, not EKEYEXPIRED), as long as something is there
 * for it to open and the carrier has not failed. When
 * KTLS_CONTROL_MAX wait there, reading of the carrier pauses until one is taken. POLLPRI
 * and EAGAIN from recvmsg(MSG_ERRQUEUE): a limit is near, see KTLS_INFO.
 */
#define KTLS_CONTROL_QUEUE	1
#define KTLS_CONTROL_MAX	64

/* ktls_info.flags */
#define KTLS_F_BOUND		(1U << 0)	/* has a carrier */
#define KTLS_F_TX		(1U << 1)	/* has a TLS_TX key */
#define KTLS_F_RX		(1U << 2)	/* has a TLS_RX key */
#define KTLS_F_CLOSE_NOTIFY_SENT	(1U << 3)
#define KTLS_F_CLOSE_NOTIFY_RCVD	(1U << 4)
#define KTLS_F_TRUNCATED	(1U << 5)	/* the carrier ended without close_notify */
#define KTLS_F_TRUNCATED_RECORD	(1U << 6)	/* ... in the middle of a record */
#define KTLS_F_RX_DEAD		(1U << 7)	/* a bad record ended the direction */
#define KTLS_F_TX_DEAD		(1U << 8)	/* the carrier or the sequence numbers ended it */
#define KTLS_F_TX_LIMIT		(1U << 9)	/* it is time for another key, see tx_left */
#define KTLS_F_RX_LIMIT		(1U << 10)	/* ... for the peer, see rx_left */
#define KTLS_F_RX_KEY_DUE	(1U << 11)	/* what follows needs the next TLS_RX */

/* One direction of a socket. */
struct ktls_dir_info {
	__u16	version;	/* TLS_1_2_VERSION, ...; 0: no key */
	__u16	cipher;		/* TLS_CIPHER_* */
	__u32	rekeys;		/* keys installed after the first */
	__u8	rec_seq[8];	/* of the next record */
	__u64	records;
	__u64	bytes;		/* payload */
	__u64	control_records; /* those of records that are not application data */
};

/* Grows at its end only. */
struct ktls_info {
	__u32	flags;		/* KTLS_F_* */
	__u32	max_payload;	/* of a record sent */
	struct ktls_dir_info	tx;
	struct ktls_dir_info	rx;
	/* Records not delivered, by cause. */
	__u64	rx_bad_tag;
	__u64	rx_bad_length;
	__u64	rx_bad_version;
	__u32	tx_queued;	/* bytes of sealed records that the carrier has not taken */
	__u32	rx_queued;	/* opened payload bytes that nobody has read */
	/* Datagram: records dropped, and datagrams for which there was no room. */
	__u64	rx_replayed;
	__u64	rx_too_old;	/* left of the replay window */
	__u64	rx_bad_epoch;
	__u64	rx_overflows;
	__u32	usable;		/* datagram: largest payload that the path takes now; 0: unknown */
	__u32	reserved;	/* 0 */
	/*
	 * Records that the key should still protect (rfc8446 5.5, rfc9147 4.5.3); all ones: no key,
	 * or as many as there are numbers. When an eighth is left poll says POLLPRI until
	 * KTLS_INFO is read. Nothing ends at 0, but with the last sequence number (EBADMSG).
	 */
	__u64	tx_left;
	__u64	rx_left;
};

#endif /* _UAPI_LINUX_KTLS_H */
