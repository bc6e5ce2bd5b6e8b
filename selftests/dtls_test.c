// SPDX-License-Identifier: GPL-2.0-only
#include "ktls_test.h"
#include "dtls_test.h"

/* Bound to loopback. */
int udp_socket(int family)
{
	struct sockaddr_in6 addr = { .sin6_family = family };
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(addr);
	int fd = socket(family, SOCK_DGRAM, 0);

	if (family == AF_INET)
		((struct sockaddr_in *)&addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr.sin6_addr = in6addr_loopback;
	if (bind(fd, (void *)&addr, len))
		return -1;
	time_limit(fd, TIME_LIMIT);
	return fd;
}

/* Two sockets that are connected to each other. */
int udp_pair(int family, int fds[2])
{
	struct sockaddr_in6 addr;
	socklen_t len;
	int i;

	fds[0] = udp_socket(family);
	fds[1] = udp_socket(family);
	for (i = 0; i < 2; i++) {
		len = sizeof(addr);
		if (getsockname(fds[!i], (void *)&addr, &len) || connect(fds[i], (void *)&addr, len))
			return -1;
	}
	return 0;
}

/* A DTLS socket without keys on @carrier; -1. */
int dtls_attach(int carrier)
{
	int fd = socket(AF_KTLS, SOCK_DGRAM, 0);

	if (fd < 0 || tls_bind(fd, carrier))
		return -1;
	time_limit(fd, TIME_LIMIT);
	return fd;
}

/* Of epoch 1. */
void dtls_keys_make(struct keys *keys, uint16_t cipher, uint8_t seed)
{
	keys_make(keys, cipher, seed);
	keys->dtls = true;
	keys->seq = EPOCH(1);
}

static int keyed(int carrier, const struct keys *tx, const struct keys *rx)
{
	int fd = dtls_attach(carrier);

	if (fd < 0 || tls_key(fd, TLS_TX, tx) || tls_key(fd, TLS_RX, rx))
		return -1;
	return fd;
}

/* A DTLS socket on fds[0], which stays open; fds[1] is the peer, which gets the keys. */
int dtls_over(int fds[2], uint16_t cipher, int *fd, int *carrier, struct peer *peer)
{
	peer->fd = fds[1];
	*carrier = fds[0];
	dtls_keys_make(&peer->tx, cipher, 1);
	dtls_keys_make(&peer->rx, cipher, 2);
	*fd = keyed(fds[0], &peer->rx, &peer->tx);
	return *fd < 0 ? -1 : 0;
}

/* Two DTLS sockets that are each other's peer. */
int dtls_pair(int family, uint16_t cipher, int *fd, int *other)
{
	struct keys there, back;
	int fds[2];

	dtls_keys_make(&there, cipher, 1);
	dtls_keys_make(&back, cipher, 2);
	if (udp_pair(family, fds))
		return -1;
	*fd = keyed(fds[0], &there, &back);
	*other = keyed(fds[1], &back, &there);
	close(fds[0]);
	close(fds[1]);
	return *fd < 0 || *other < 0 ? -1 : 0;
}

/* Another peer of a carrier that is not connected; both sides have the keys. */
int associate(int port, struct association *a, uint16_t cipher, int seed)
{
	struct sockaddr_in6 name, peer_name;
	socklen_t len = sizeof(name), peer_len = sizeof(peer_name);

	if (getsockname(port, (void *)&name, &len))
		return -1;
	a->peer.fd = udp_socket(name.sin6_family);
	a->fd = dtls_attach(port);
	if (connect(a->peer.fd, (void *)&name, len) ||
	    getsockname(a->peer.fd, (void *)&peer_name, &peer_len) ||
	    connect(a->fd, (void *)&peer_name, peer_len))
		return -1;
	dtls_keys_make(&a->peer.tx, cipher, 2 * seed);
	dtls_keys_make(&a->peer.rx, cipher, 2 * seed + 1);
	return tls_key(a->fd, TLS_TX, &a->peer.rx) || tls_key(a->fd, TLS_RX, &a->peer.tx);
}

/* The next record in @out; its length. */
ssize_t dgram_seal(struct peer *peer, uint8_t type, const void *payload, size_t len, uint8_t *out)
{
	return record_seal(&peer->tx, type, payload, len, out);
}

/* 0 when a datagram with the next record is on its way. */
int dgram_send(struct peer *peer, uint8_t type, const void *payload, size_t len)
{
	uint8_t record[RECORD_MAX];
	ssize_t n = dgram_seal(peer, type, payload, len, record);

	return send(peer->fd, record, n, 0) == n ? 0 : -1;
}

/* As dgram_send(), data under a sequence number of epoch and number; the next follows it. */
int dgram_send_seq(struct peer *peer, uint64_t seq, const void *payload, size_t len)
{
	peer->tx.seq = seq;
	return dgram_send(peer, DATA, payload, len);
}

/* The payload of the record that is the next datagram, PAYLOAD_MAX bytes; -1. */
ssize_t dgram_recv(struct peer *peer, uint8_t *type, void *payload)
{
	uint8_t datagram[DATAGRAM_MAX];
	ssize_t n = recv(peer->fd, datagram, sizeof(datagram), 0);

	return n > 0 ? record_open(&peer->rx, datagram, n, type, payload) : -1;
}
