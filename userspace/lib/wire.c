// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "shim.h"
#include "wire.h"

static const struct ktls_wire_kind stream_kind;

static int init(struct ktls_wire *wire, const struct ktls_wire_kind *kind, int fd)
{
	wire->kind = kind;
	wire->fd = fd;
	wire->holds = kind == &ktls_datagram_kind;
	wire->in = malloc(WIRE_BUFFER);
	return wire->in ? 0 : -ENOMEM;
}

int ktls_wire_init(struct ktls_wire *wire, int fd)
{
	int type, own;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return -errno;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	return init(wire, type == SOCK_DGRAM ? &ktls_datagram_kind : &stream_kind, own);
}

int ktls_wire_init_shared(struct ktls_wire *wire, int fd)
{
	wire->shared = true;
	return init(wire, &ktls_datagram_kind, fd);
}

void ktls_wire_end(struct ktls_wire *wire)
{
	if (wire->in)
		OPENSSL_cleanse(wire->in, WIRE_BUFFER);
	free(wire->in);
	free(wire->early);
	wire->in = NULL;
	wire->early = NULL;
	wire->early_len = 0;
	wire->start = 0;
	wire->end = 0;
}

void ktls_wire_free(struct ktls_wire *wire)
{
	ktls_wire_end(wire);
	ktls_flight_free(&wire->flight);
	ktls_shim_free(wire->shim);
	wire->shim = NULL;
	if (wire->fd >= 0 && !wire->shared)
		close(wire->fd);
	wire->fd = -1;
}

int ktls_wire_restart(struct ktls_wire *wire)
{
	if (!wire->in)
		wire->in = malloc(WIRE_BUFFER);
	return wire->in ? 0 : -ENOMEM;
}

bool ktls_wire_is_datagram(const struct ktls_wire *wire)
{
	return wire->kind == &ktls_datagram_kind;
}

ssize_t ktls_wire_fill(struct ktls_wire *wire, int flags)
{
	return wire->kind->fill(wire, flags);
}

int ktls_wire_feed(struct ktls_wire *wire)
{
	return wire->kind->feed(wire);
}

int ktls_wire_flush(struct ktls_wire *wire, int flags)
{
	return wire->kind->flush(wire, flags);
}

bool ktls_wire_has_output(const struct ktls_wire *wire)
{
	return BIO_ctrl_pending(wire->wbio) > 0 ||
	       (wire->shim && wire->shim->sent < wire->shim->len);
}

/* ---- streams ---- */

static ssize_t fill(struct ktls_wire *wire, int flags)
{
	ssize_t n;

	if (wire->start) {
		memmove(wire->in, wire->in + wire->start, wire->end - wire->start);
		wire->end -= wire->start;
		wire->start = 0;
	}
	n = recv(wire->fd, wire->in + wire->end, WIRE_BUFFER - wire->end, flags);
	if (n < 0)
		return -errno;
	wire->end += (size_t)n;
	wire->eof = !n;
	return n;
}

/*
 * OpenSSL explains what is wrong with bytes that are no TLS record (a plain HTTP request,
 * an old protocol) better than we can; it gets them all.
 */
static bool looks_like_record(const uint8_t *header)
{
	return header[0] >= RECORD_CHANGE_CIPHER_SPEC && header[0] <= RECORD_DATA &&
	       header[1] == 3 && record_body_len(header) <= RECORD_MAX - FLOW_HEADER;
}

size_t ktls_wire_record(const struct ktls_wire *wire)
{
	size_t have = wire->end - wire->start;
	const uint8_t *header = wire->in + wire->start;
	size_t len;

	if (have < FLOW_HEADER)
		return 0;
	if (wire->unframed || !looks_like_record(header))
		return have;
	len = FLOW_HEADER + record_body_len(header);
	return len <= have ? len : 0;
}

static int feed(struct ktls_wire *wire)
{
	size_t len = ktls_wire_record(wire);
	const uint8_t *record = wire->in + wire->start;

	if (!len)
		return -EAGAIN;
	wire->unframed = wire->unframed || !looks_like_record(record);
	if (wire->shim) {
		wire->start += len;
		return ktls_shim_in(wire->shim, wire->rbio, record, len);
	}
	if (BIO_write(wire->rbio, record, (int)len) != (int)len)
		return -ENOMEM;
	ktls_flow_feed(&wire->rx, record, len);
	wire->start += len;
	return 0;
}

void ktls_wire_count(struct ktls_wire *wire)
{
	char *data;
	size_t len = (size_t)BIO_get_mem_data(wire->wbio, &data);

	ktls_flow_feed(&wire->tx, (uint8_t *)data + wire->counted, len - wire->counted);
	wire->counted = len;
}

/* What OpenSSL writes meanwhile stays with it, so that no more waits than it would. */
static int flush_shim(struct ktls_wire *wire, int flags)
{
	struct ktls_shim *shim = wire->shim;
	ssize_t n;
	int ret;

	do {
		while (shim->sent < shim->len) {
			n = send(wire->fd, shim->text + shim->sent, shim->len - shim->sent,
				 flags | MSG_NOSIGNAL);
			if (n < 0)
				return -errno;
			shim->sent += (size_t)n;
		}
		ret = ktls_shim_out(shim, wire->wbio);
	} while (!ret && shim->len);
	return ret;
}

static int flush(struct ktls_wire *wire, int flags)
{
	char *data;
	size_t len = (size_t)BIO_get_mem_data(wire->wbio, &data);
	ssize_t n;

	if (wire->shim)
		return flush_shim(wire, flags);
	ktls_wire_count(wire);
	while (wire->sent < len) {
		n = send(wire->fd, data + wire->sent, len - wire->sent,
			 flags | MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
		wire->sent += (size_t)n;
	}
	if (len)
		(void)BIO_reset(wire->wbio);
	wire->sent = 0;
	wire->counted = 0;
	return 0;
}

static const struct ktls_wire_kind stream_kind = {
	.type = SOCK_STREAM,
	.fill = fill,
	.feed = feed,
	.flush = flush,
};
