// SPDX-License-Identifier: MIT
/* What is sent and received. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/ktls.h>
#include <linux/tls.h>

#include "dtls.h"
#include "fake_socket.h"
#include "wire.h"

#define KEY_UPDATE	24
#define BUF		(RECORD_MAX + 64)

/* ---- sending ---- */

static bool waits(int fd, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK);
}

static int raw_send(int fd, const uint8_t *at, size_t len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	while (len) {
		n = (ssize_t)syscall(SYS_sendto, fd, at, len, MSG_NOSIGNAL, NULL, 0);
		if (n < 0 && errno != EAGAIN)
			return errno;
		if (n < 0)
			syscall(SYS_poll, &pfd, 1, -1);
		else {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static void sum(struct ktls_dir_info *info, uint8_t type, size_t len)
{
	info->records++;
	info->bytes += len;
	info->control_records += type != RECORD_DATA;
}

static int send_one(struct fake *f, int fd, uint8_t type, const uint8_t *data, size_t len)
{
	static _Thread_local uint8_t record[BUF];
	ssize_t n = ktls_half_seal(&f->tx, type, data, len, record);

	if (n < 0)
		return EMSGSIZE;
	if (type == RECORD_CHANGE_CIPHER_SPEC)
		f->tx_changed = true;
	sum(&f->tx_sum, type, len);
	return raw_send(fd, record, (size_t)n);
}

/* 0 or an errno; the lock is held. */
static int wait_to_send(struct fake *f, int fd, uint8_t type, int flags)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	if (!f->has_tx)
		return ENOKEY;
	if (type != RECORD_DATA) {
		if (f->good_records) {
			f->good_records--;
			return 0;
		}
		if (!f->bad_records)
			return 0;
		f->bad_records--;
		return f->record_err;
	}
	f->counts.paused += !!f->pause;
	while (f->pause) {
		if (!waits(fd, flags))
			return EAGAIN;
		pthread_cond_wait(&f->go_on, &f->lock);
	}
	return waits(fd, flags) || syscall(SYS_poll, &pfd, 1, 0) == 1 ? 0 : EAGAIN;
}

int fake_may_send(struct fake *f, int fd)
{
	int err;

	pthread_mutex_lock(&f->lock);
	err = wait_to_send(f, fd, RECORD_DATA, MSG_DONTWAIT);
	pthread_mutex_unlock(&f->lock);
	return err;
}

static long fake_send(struct fake *f, int fd, uint8_t type, const uint8_t *data, size_t len, int flags)
{
	size_t done = 0, n;
	int err;

	pthread_mutex_lock(&f->lock);
	do {
		err = wait_to_send(f, fd, type, flags);
		if (err)
			break;
		n = len - done < RECORD_MAX_PAYLOAD ? len - done : RECORD_MAX_PAYLOAD;
		err = send_one(f, fd, type, data + done, n);
		done += err ? 0 : n;
	} while (!err && done < len);
	pthread_mutex_unlock(&f->lock);
	return done ? (long)done : err ? fake_fail(err) : 0;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	struct fake *f = fake_find(fd);

	return f ? fake_send(f, fd, RECORD_DATA, data, len, flags) :
	       (ssize_t)syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct fake *f = fake_find(fd);
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!f)
		return (ssize_t)syscall(SYS_sendmsg, fd, msg, flags);
	return fake_send(f, fd, c ? *CMSG_DATA(c) : RECORD_DATA, msg->msg_iov->iov_base,
			 msg->msg_iov->iov_len, flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
	static _Thread_local uint8_t buf[65536];
	struct fake *f = fake_find(out);
	ssize_t n;

	if (!f)
		return (ssize_t)syscall(SYS_sendfile, out, in, offset, len);
	n = pread(in, buf, len < sizeof(buf) ? len : sizeof(buf), *offset);
	if (n > 0)
		n = fake_send(f, out, RECORD_DATA, buf, (size_t)n, 0);
	if (n > 0)
		*offset += n;
	return n;
}

/* A stream says close_notify before its FIN, once. */
int shutdown(int fd, int how)
{
	static const uint8_t close_notify[] = { 1, 0 };
	struct fake *f = fake_find(fd);

	if (f && how != SHUT_RD && !f->datagrams) {
		pthread_mutex_lock(&f->lock);
		if (f->has_tx && !f->closed)
			(void)send_one(f, fd, RECORD_ALERT, close_notify, sizeof(close_notify));
		f->closed = true;
		pthread_mutex_unlock(&f->lock);
	}
	return (int)syscall(SYS_shutdown, fd, how);
}

/* ---- receiving ---- */

/* So many raw bytes; what was prepended first. 1: all; 0: the end; -errno. */
static int raw_recv(struct fake *f, int fd, uint8_t *to, size_t len, int flags)
{
	size_t n = f->prepend_len < len ? f->prepend_len : len, done = n;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t got;

	if (n) {
		memcpy(to, f->prepend, n);
		f->prepend_len -= n;
		memmove(f->prepend, f->prepend + n, f->prepend_len);
	}
	while (done < len) {
		got = (ssize_t)syscall(SYS_recvfrom, fd, to + done, len - done,
				       done ? flags & ~MSG_DONTWAIT : flags, NULL, NULL);
		if (!got)
			return 0;
		if (got < 0 && errno == EAGAIN && done)
			syscall(SYS_poll, &pfd, 1, -1);
		else if (got < 0)
			return -errno;
		else
			done += (size_t)got;
	}
	return 1;
}

/* Does a KeyUpdate begin here? Messages are followed from record to record. */
static bool updates_key(struct fake *f, const uint8_t *data, size_t len)
{
	bool found = false;
	size_t n;

	while (len) {
		if (f->message_left) {
			n = len < f->message_left ? len : f->message_left;
			f->message_left -= n;
		} else {
			if (len < 4)
				return found;
			found = found || data[0] == KEY_UPDATE;
			f->message_left = (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
			n = 4;
		}
		data += n;
		len -= n;
	}
	return found;
}

static void deliver(struct fake *f, uint8_t type, const uint8_t *data, size_t len, bool is_new)
{
	bool tls13 = f->rx.version == TLS_1_3_VERSION;

	sum(&f->rx_sum, type, len);
	if ((type == RECORD_CHANGE_CIPHER_SPEC && is_new) ||
	    (tls13 && type == RECORD_HANDSHAKE && updates_key(f, data, len)))
		f->rx_due = true;
	fake_add(type != RECORD_DATA && f->mode == KTLS_CONTROL_QUEUE ? &f->controls : &f->data, type,
	    data, len);
}

static void take_datagram(struct fake *f, const uint8_t *at, size_t left)
{
	uint8_t out[BUF], type;
	struct dtls_record r;
	ssize_t n;

	for (; ktls_dtls_record(at, left, &r); at += r.len, left -= r.len) {
		uint64_t epoch = r.seq >> DTLS_SEQ_BITS, now = f->rx.seq >> DTLS_SEQ_BITS;

		if (epoch > now) {
			fake_add(&f->next_epoch, 0, at, r.len);
			continue;
		}
		if (epoch == now)
			n = ktls_half_open(&f->rx, at, r.len, &type, out);
		else if (f->has_before && epoch == f->rx_before.seq >> DTLS_SEQ_BITS)
			n = ktls_half_open(&f->rx_before, at, r.len, &type, out);
		else
			n = -1;
		/* What comes once more under the key before changes nothing. */
		if (n >= 0)
			deliver(f, type, out, (size_t)n, epoch == now);
	}
}

void fake_take_early(struct fake *f)
{
	struct fake_list early = f->next_epoch;

	f->next_epoch = (struct fake_list){ 0 };
	for (; early.first; fake_drop_first(&early))
		take_datagram(f, early.first->data, early.first->len);
}

static bool awaits_key(struct fake *f)
{
	bool ret;

	pthread_mutex_lock(&f->lock);
	ret = f->rx_due;
	pthread_mutex_unlock(&f->lock);
	return ret;
}

/* Opens another record: 1, 0 at the end, -errno. */
static int read_record(struct fake *f, int fd, int flags)
{
	static _Thread_local uint8_t record[BUF], out[BUF];
	uint8_t type;
	ssize_t n;
	int ret;

	if (f->datagrams) {
		n = f->prepend_len ? (ssize_t)f->prepend_len :
		    (ssize_t)syscall(SYS_recvfrom, fd, record, sizeof(record), flags, NULL, NULL);
		if (n < 0)
			return -errno;
		pthread_mutex_lock(&f->lock);
		take_datagram(f, f->prepend_len ? f->prepend : record, (size_t)n);
		f->prepend_len = 0;
		pthread_mutex_unlock(&f->lock);
		return 1;
	}
	if (awaits_key(f))
		return -EKEYEXPIRED;
	if (f->rx_err)
		return f->rx_err;
	ret = raw_recv(f, fd, record, FLOW_HEADER, flags);
	if (ret <= 0)
		return ret;
	ret = raw_recv(f, fd, record + FLOW_HEADER, record_body_len(record), 0);
	if (ret <= 0)
		return ret;
	pthread_mutex_lock(&f->lock);
	n = ktls_half_open(&f->rx, record, FLOW_HEADER + record_body_len(record), &type, out);
	if (n >= 0)
		deliver(f, type, out, (size_t)n, true);
	pthread_mutex_unlock(&f->lock);
	f->rx_err = n < 0 ? -EBADMSG : 0;
	return n < 0 ? f->rx_err : 1;
}

void fake_read_ahead(int fd, int records)
{
	struct fake *f = fake_find(fd);

	pthread_mutex_lock(&f->reader);
	while (records--)
		(void)read_record(f, fd, 0);
	pthread_mutex_unlock(&f->reader);
}

static size_t scatter(struct msghdr *msg, const uint8_t *data, size_t len)
{
	size_t i, n, done = 0;

	for (i = 0; i < msg->msg_iovlen && done < len; i++) {
		n = len - done < msg->msg_iov[i].iov_len ? len - done : msg->msg_iov[i].iov_len;
		memcpy(msg->msg_iov[i].iov_base, data + done, n);
		done += n;
	}
	return done;
}

static ssize_t give(struct fake *f, struct fake_list *list, struct msghdr *msg, bool peek)
{
	struct fake_record *o = list->first;
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t n = scatter(msg, o->data + o->at, o->len - o->at);

	if (c) {
		c->cmsg_level = SOL_TLS;
		c->cmsg_type = TLS_GET_RECORD_TYPE;
		c->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(c) = o->type;
		msg->msg_controllen = CMSG_LEN(1);
	}
	msg->msg_flags = 0;
	if (peek)
		return (ssize_t)n;
	o->at += n;
	if (o->at == o->len || f->datagrams || list == &f->controls) {
		msg->msg_flags = MSG_EOR;
		fake_drop_first(list);
	}
	return (ssize_t)n;
}

void fake_full(int fd, size_t bytes)
{
	struct fake *f = fake_find(fd);

	pthread_mutex_lock(&f->lock);
	f->full = bytes;
	pthread_mutex_unlock(&f->lock);
}

void fake_on_nothing(int fd, void (*hook)(void))
{
	struct fake *f = fake_find(fd);

	pthread_mutex_lock(&f->lock);
	f->on_nothing = hook;
	pthread_mutex_unlock(&f->lock);
}

static void found_nothing(struct fake *f)
{
	void (*hook)(void);

	pthread_mutex_lock(&f->lock);
	hook = f->on_nothing;
	f->on_nothing = NULL;
	pthread_mutex_unlock(&f->lock);
	if (hook)
		hook();
}

static bool is_full(struct fake *f)
{
	bool ret;

	pthread_mutex_lock(&f->lock);
	ret = f->full && fake_unread(f) > f->full;
	pthread_mutex_unlock(&f->lock);
	return ret;
}

static ssize_t fake_recv(struct fake *f, int fd, struct msghdr *msg, int flags)
{
	struct fake_list *list = flags & MSG_ERRQUEUE ? &f->controls : &f->data;
	ssize_t n;
	int ret = 1;

	pthread_mutex_lock(&f->reader);
	if (flags & MSG_ERRQUEUE)
		flags |= MSG_DONTWAIT;
	while (!list->first && ret == 1) {
		ret = is_full(f) ? -EAGAIN : read_record(f, fd, flags & MSG_DONTWAIT);
		/* Plain readers do not see that a key is due. */
		if (ret == -EKEYEXPIRED && f->mode == KTLS_CONTROL_QUEUE)
			ret = -EAGAIN;
		if (f->datagrams && ret == -EAGAIN && awaits_key(f))
			ret = -EKEYEXPIRED;
	}
	/* The end is for who reads data. */
	if (flags & MSG_ERRQUEUE && ret != 1)
		ret = -EAGAIN;
	pthread_mutex_lock(&f->lock);
	msg->msg_controllen = list->first ? msg->msg_controllen : 0;
	n = list->first ? give(f, list, msg, flags & MSG_PEEK) : ret;
	pthread_mutex_unlock(&f->lock);
	pthread_mutex_unlock(&f->reader);
	if (n == -EAGAIN && !(flags & MSG_ERRQUEUE))
		found_nothing(f);
	return n < 0 ? fake_fail((int)-n) : n;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct fake *f = fake_find(fd);

	return f ? fake_recv(f, fd, msg, flags) : (ssize_t)syscall(SYS_recvmsg, fd, msg, flags);
}

/* A plain reader, as read(2) is. */
ssize_t recv(int fd, void *data, size_t len, int flags)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct fake *f = fake_find(fd);

	return f ? fake_recv(f, fd, &msg, flags) :
	       (ssize_t)syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}
