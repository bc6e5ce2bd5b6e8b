// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datagram.h"
#include "dtls.h"
#include "local.h"

/* IP's and UDP's header. */
#define OVERHEAD4	(20 + 8)
#define OVERHEAD6	(40 + 8)
#define EARLY_MAX	16384

/* 0: unknown. */
static int path_mtu(int fd, int family)
{
	int mtu = 0;
	socklen_t len = sizeof(mtu);
	int ret = family == AF_INET6 ? getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &len) :
				       getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len);

	return ret ? 0 : mtu;
}

/* Only a connected socket knows its path: another one that is connected to the peer. */
static int shared_path_mtu(const struct ktls_wire *wire)
{
	int family = wire->peer.ss_family, mtu = 0;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (!connect(fd, (const struct sockaddr *)&wire->peer, wire->peer_len))
		mtu = path_mtu(fd, family);
	close(fd);
	return mtu;
}

size_t ktls_datagram_room(const struct ktls_wire *wire)
{
	struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(addr);
	int mtu, overhead;

	if (getsockname(wire->fd, (struct sockaddr *)&addr, &len) ||
	    (addr.ss_family != AF_INET && addr.ss_family != AF_INET6))
		return DATAGRAM_SAFE;
	mtu = wire->shared ? shared_path_mtu(wire) : path_mtu(wire->fd, addr.ss_family);
	overhead = addr.ss_family == AF_INET6 ? OVERHEAD6 : OVERHEAD4;
	return mtu > overhead ? (size_t)(mtu - overhead) : DATAGRAM_SAFE;
}

void ktls_datagram_put(struct ktls_wire *wire, const uint8_t *data, size_t len)
{
	if (len > WIRE_BUFFER)
		return;
	memcpy(wire->in, data, len);
	wire->start = 0;
	wire->end = len;
}

/* Datagrams that are empty or too long are no DTLS. */
static ssize_t fill(struct ktls_wire *wire, int flags)
{
	ssize_t n;

	if (wire->shared)
		return -EAGAIN;
	do {
		n = recv(wire->fd, wire->in, WIRE_BUFFER, flags | MSG_TRUNC);
	} while (!n || n > WIRE_BUFFER);
	if (n < 0)
		return -errno;
	wire->start = 0;
	wire->end = (size_t)n;
	return n;
}

/* A bad one takes with it what follows in the datagram (rfc6347 4.1.2.7). */
static bool take_record(struct ktls_wire *wire, struct dtls_record *record)
{
	if (!ktls_dtls_record(wire->in + wire->start, wire->end - wire->start, record)) {
		wire->start = wire->end;
		return false;
	}
	wire->start += record->len;
	return true;
}

/* OpenSSL would open it before anybody can ask for it, and then the kernel never saw it. */
static bool is_early(const struct dtls_record *record)
{
	return dtls_epoch(record->seq) &&
	       (record->type == RECORD_DATA || record->type == RECORD_ALERT);
}

/* What finds no room is lost, as datagrams may be. */
static void hold(struct ktls_wire *wire, const struct dtls_record *record)
{
	uint8_t *early = NULL;

	if (wire->early_len + record->len <= EARLY_MAX)
		early = realloc(wire->early, wire->early_len + record->len);
	if (!early)
		return;
	memcpy(early + wire->early_len, record->at, record->len);
	wire->early = early;
	wire->early_len += record->len;
}

static int give(struct ktls_wire *wire, const struct dtls_record *record)
{
	if (BIO_write(wire->rbio, record->at, (int)record->len) != (int)record->len)
		return -ENOMEM;
	ktls_flight_answered(&wire->flight);
	return 0;
}

static int feed(struct ktls_wire *wire)
{
	struct dtls_record record;

	while (take_record(wire, &record)) {
		if (!wire->holds || !is_early(&record))
			return give(wire, &record);
		hold(wire, &record);
	}
	return -EAGAIN;
}

/* The records that OpenSSL has written since the last time. */
static void note(struct ktls_wire *wire)
{
	struct dtls_record record;
	char *text;
	size_t len = (size_t)BIO_get_mem_data(wire->wbio, &text);

	while (ktls_dtls_record((uint8_t *)text + wire->counted, len - wire->counted, &record)) {
		ktls_flow_record(&wire->tx, record.seq, record.at + DTLS_HEADER,
				 record.len - DTLS_HEADER);
		ktls_flight_sent(&wire->flight, &record);
		wire->counted += record.len;
	}
}

void ktls_datagram_release(struct ktls_wire *wire)
{
	struct dtls_record record;

	note(wire);
	while (take_record(wire, &record))
		if (dtls_epoch(record.seq))
			hold(wire, &record);
	wire->holds = false;
	/* Of the first handshake; nothing is known of what is lost or late, so all is expected. */
	wire->rx.sealed = true;
	wire->rx.seq = 1ULL << DTLS_SEQ_BITS;
	if (wire->early_len)
		ktls_datagram_put(wire, wire->early, wire->early_len);
	free(wire->early);
	wire->early = NULL;
	wire->early_len = 0;
}

size_t ktls_datagram_pack(const struct ktls_wire *wire, const uint8_t *data, size_t len)
{
	struct dtls_record record;
	size_t used = 0;

	while (ktls_dtls_record(data + used, len - used, &record) &&
	       (!used || used + record.len <= wire->mtu))
		used += record.len;
	return used ? used : len;
}

int ktls_datagram_send(const struct ktls_wire *wire, const uint8_t *data, size_t len, int flags)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union ktls_local_control control;

	if (wire->peer_len) {
		msg.msg_name = (void *)&wire->peer;
		msg.msg_namelen = wire->peer_len;
		ktls_local_write(&msg, &control, wire->peer.ss_family, &wire->local);
	}
	return sendmsg(wire->fd, &msg, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int flush(struct ktls_wire *wire, int flags)
{
	char *text;
	size_t len = (size_t)BIO_get_mem_data(wire->wbio, &text), n;
	const uint8_t *data = (uint8_t *)text;
	int ret = 0;

	note(wire);
	for (; wire->sent < len; wire->sent += n) {
		n = ktls_datagram_pack(wire, data + wire->sent, len - wire->sent);
		ret = ktls_datagram_send(wire, data + wire->sent, n, flags);
		if (ret == -EAGAIN || ret == -EINTR)
			return ret;
		/* Any other failure loses what is left: who needs it sends it again. */
		if (ret)
			break;
	}
	if (len)
		(void)BIO_reset(wire->wbio);
	wire->sent = 0;
	wire->counted = 0;
	return ret;
}

const struct ktls_wire_kind ktls_datagram_kind = {
	.type = SOCK_DGRAM,
	.fill = fill,
	.feed = feed,
	.flush = flush,
};
