// SPDX-License-Identifier: MIT
/* A live connection out of the kernel, to OpenSSL in userspace, and in again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "conn.h"
#include "shadow.h"
#include "shim.h"

#define ROOM_MS		100

static int refuse(struct ktls_conn *conn, int err, const char *why)
{
	return ktls_fail(conn, err, "%s", why);
}

/* ---- out ---- */

/* OpenSSL would not know what to do with the rest of what it has not seen begin. */
static bool is_in_message(struct ktls_conn *conn)
{
	const struct ktls_control *c = &conn->control;
	bool ret;

	pthread_mutex_lock(&conn->control_lock);
	ret = c->message_left || c->message_len || c->alert_len || conn->shadow->header_len;
	pthread_mutex_unlock(&conn->control_lock);
	return ret;
}

/* OpenSSL, the kernel and the peer agree on the keys, as far as we have read. */
static int check_quiet(struct ktls_conn *conn)
{
	if (ktls_shadow_push(conn) || atomic_load(&conn->shadow_busy) || ktls_rekeying(conn))
		return refuse(conn, EAGAIN, "new keys are on their way");
	if (is_in_message(conn))
		return refuse(conn, EAGAIN, "a message has come in part");
	return 0;
}

static int check_out(struct ktls_conn *conn)
{
	if (conn->phase != PHASE_OPEN)
		return refuse(conn, ENOTCONN, "the handshake is not done");
	if (ktls_wire_is_datagram(&conn->wire))
		return refuse(conn, EOPNOTSUPP, "DTLS stays in the kernel");
	if (conn->rx_end || conn->tx_closed)
		return refuse(conn, EPIPE, "handing back a connection that is closed");
	if (conn->shadow->retired)
		return refuse(conn, EOPNOTSUPP,
			      "OpenSSL waits for a handshake that the peer refused");
	return check_quiet(conn);
}

static int set_option(struct ktls_conn *conn, int name, int value)
{
	return setsockopt(conn->fd, SOL_KTLS, name, &value, sizeof(value)) ? -errno : 0;
}

/* Where the kernel stands in that direction; its keys are ours. */
static int read_position(struct ktls_conn *conn, int direction, const struct ktls_half *half,
			 struct ktls_half *out)
{
	socklen_t len = half->cipher->info_size;
	union ktls_key key;

	int ret = 0;

	memset(&key, 0, sizeof(key));
	if (getsockopt(conn->fd, SOL_TLS, direction, &key, &len))
		ret = -errno;
	*out = *half;
	ktls_half_set_position(out, &key);
	OPENSSL_cleanse(&key, sizeof(key));
	return ret;
}

static int try_detach(struct ktls_conn *conn, struct ktls_shim *shim)
{
	int ret = check_quiet(conn);

	if (!ret)
		ret = read_position(conn, TLS_TX, &conn->shadow->tx, &shim->wire_tx);
	if (!ret)
		ret = read_position(conn, TLS_RX, &conn->shadow->rx, &shim->wire_rx);
	if (!ret && setsockopt(conn->fd, SOL_KTLS, KTLS_DETACH, NULL, 0))
		ret = -errno;
	return ret;
}

static bool has_output(const struct ktls_conn *conn)
{
	struct ktls_info info = { 0 };
	socklen_t len = sizeof(info);

	return !getsockopt(conn->fd, SOL_KTLS, KTLS_INFO, &info, &len) && info.tx_queued;
}

/* A record that comes in pieces may do so for ever: only for ours there is a reason to wait. */
static int detach(struct ktls_conn *conn, struct ktls_shim *shim)
{
	struct pollfd pfd = { .fd = conn->wire.fd, .events = POLLOUT };
	bool waits = !(fcntl(conn->fd, F_GETFL) & O_NONBLOCK);
	int ret;

	while ((ret = try_detach(conn, shim)) == -EBUSY) {
		ret = ktls_kernel_hold(conn);
		if (ret != -EAGAIN && ret)
			return ret;
		if (ret == -EAGAIN && !(waits && has_output(conn)))
			return ret;
		if (ret == -EAGAIN)
			(void)poll(&pfd, 1, ROOM_MS);
	}
	return ret;
}

/* Where OpenSSL stands now that the kernel has nothing more for it. */
static void set_shim(struct ktls_conn *conn, struct ktls_shim *shim)
{
	const struct ktls_shadow *s = conn->shadow;

	shim->conn = conn;
	shim->ssl_rx = s->rx;
	shim->ssl_tx = s->tx;
	shim->in = s->in;
	shim->out = s->out;
}

static void go_on_in_userspace(struct ktls_conn *conn, struct ktls_shim *shim)
{
	set_shim(conn, shim);
	close(conn->fd);
	conn->fd = -1;
	conn->queued = false;
	ktls_shadow_free(conn);
	SSL_set_options(conn->ssl, SSL_OP_NO_RENEGOTIATION);
	conn->wire.shim = shim;
	conn->path = &ktls_user_path;
	(void)ktls_decline(conn, EOPNOTSUPP, "the program took it back from the kernel");
}

/* The open record is completed: from here on the numbers stay. */
static int freeze(struct ktls_conn *conn)
{
	int ret = set_option(conn, KTLS_PAUSE, 1);

	return ret ? ret : set_option(conn, KTLS_CONTROL, KTLS_CONTROL_DEFAULT);
}

static void thaw(struct ktls_conn *conn)
{
	if (conn->queued)
		(void)set_option(conn, KTLS_CONTROL, KTLS_CONTROL_QUEUE);
	/* A handshake may have begun meanwhile: data goes on waiting for it. */
	pthread_mutex_lock(&conn->shadow_lock);
	(void)set_option(conn, KTLS_PAUSE, conn->shadow->paused);
	pthread_mutex_unlock(&conn->shadow_lock);
	ktls_wire_end(&conn->wire);
}

static int take_out(struct ktls_conn *conn)
{
	struct ktls_shim *shim = calloc(1, sizeof(*shim));
	int ret;

	if (!shim || ktls_wire_restart(&conn->wire)) {
		ktls_shim_free(shim);
		return refuse(conn, ENOMEM, "out of memory");
	}
	ret = freeze(conn);
	if (!ret)
		ret = detach(conn, shim);
	if (!ret) {
		go_on_in_userspace(conn, shim);
		return 0;
	}
	thaw(conn);
	ktls_shim_free(shim);
	if (ret == -EAGAIN)
		return refuse(conn, EAGAIN, "a record is half sent, or keys are changing");
	return ktls_fail(conn, -ret, "the kernel does not give the connection back: %s",
			 strerror(-ret));
}

int ktls_detach(struct ktls_conn *conn)
{
	bool was_kept = conn->keeper;
	int ret;

	if (conn->phase == PHASE_OPEN && !conn->shadow)
		return 0;
	ret = check_out(conn);
	if (ret)
		return ret;
	ktls_keep_end(conn);
	/* What waits beside the data comes before it. */
	if (conn->queued)
		ret = ktls_attend(conn);
	if (!ret)
		ret = take_out(conn);
	if (ret && was_kept)
		(void)ktls_keep(conn);
	return ret;
}

/* ---- in ---- */

/* OpenSSL answers a KeyUpdate with its next data, which goes by way of the kernel now. */
static int pay_owed(struct ktls_conn *conn)
{
	if (SSL_version(conn->ssl) != TLS1_3_VERSION ||
	    SSL_get_key_update_type(conn->ssl) == SSL_KEY_UPDATE_NONE)
		return 0;
	ERR_clear_error();
	if (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
	    SSL_do_handshake(conn->ssl) != 1)
		return ktls_fail_ssl(conn);
	return 0;
}

static int check_in(struct ktls_conn *conn)
{
	int ret;

	if (conn->phase != PHASE_OPEN)
		return refuse(conn, ENOTCONN, "the handshake is not done");
	if (!conn->wire.shim)
		return refuse(conn, EOPNOTSUPP, "only what ktls_detach took is given again");
	if (conn->rx_end || conn->tx_closed)
		return refuse(conn, EPIPE, "giving a connection to the kernel that is closed");
	ret = pay_owed(conn);
	return ret ? ret : conn->path->flush(conn);
}

/* What OpenSSL has opened already. */
static int drain(struct ktls_conn *conn)
{
	uint8_t data[RECORD_MAX_PAYLOAD];
	bool held;
	int n;

	while (SSL_pending(conn->ssl) > 0) {
		ERR_clear_error();
		n = SSL_read(conn->ssl, data, sizeof(data));
		if (n <= 0)
			return ktls_fail_ssl(conn);
		held = ktls_hold(conn, data, (size_t)n);
		OPENSSL_cleanse(data, (size_t)n);
		if (!held)
			return refuse(conn, ENOMEM, "out of memory");
	}
	return 0;
}

int ktls_reattach(struct ktls_conn *conn)
{
	struct ktls_shim *shim = conn->wire.shim;
	struct ktls_keys keys;
	int ret;

	if (conn->phase == PHASE_OPEN && conn->shadow)
		return 0;
	ret = check_in(conn);
	if (!ret)
		ret = drain(conn);
	if (ret)
		return ret;
	keys.cipher = shim->wire_tx.cipher;
	ktls_half_get(&shim->wire_tx, &keys.tx);
	ktls_half_get(&shim->wire_rx, &keys.rx);
	ret = ktls_attach_keys(conn, &keys);
	OPENSSL_cleanse(&keys, sizeof(keys));
	if (ret)
		return ktls_fail(conn, -ret, "%s", conn->why_not);
	ktls_shadow_set(conn, &shim->ssl_tx, &shim->ssl_rx, &shim->out, &shim->in);
	conn->why_not[0] = '\0';
	conn->wire.shim = NULL;
	ktls_shim_free(shim);
	ktls_wire_end(&conn->wire);
	conn->path = &ktls_kernel_path;
	/* In userspace TLS 1.2 had no other keys. */
	atomic_store(&conn->rekeying.refused, false);
	return 0;
}
