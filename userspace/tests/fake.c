// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/ktls.h>
#include <linux/tls.h>

#include "dtls.h"
#include "fake.h"
#include "half.h"
#include "wire.h"

#define FDS		1024
#define KEY_UPDATE	24
#define BUF		(RECORD_MAX + 64)

/* A record that was opened and not read. */
struct opened {
	struct opened *next;
	uint8_t type;
	size_t len, at;
	uint8_t data[];
};

struct list {
	struct opened *first, **end;
};

struct fake {
	bool is_ours, bound, datagrams;
	bool has_tx, has_rx, tx_changed, rx_due;
	int pause, mode;
	struct ktls_half tx, rx, rx_before;
	bool has_before;
	uint8_t *prepend;
	size_t prepend_len;
	struct list data, controls, next_epoch;
	size_t message_left;		/* of a handshake message that came in part */
	struct fake_counts counts;
	int good_records, bad_records, record_err;
	bool takes_rx, closed;
	int refuse, refuse_err, no_pause, refuse_pause, pause_err;
	uint16_t max_payload;
	int rx_err;			/* a bad record ended it */
	void (*on_nothing)(void);
	size_t full;			/* so much unread data keeps it from opening more */
	uint64_t tx_left, rx_left;
	bool limit_is_news;		/* until KTLS_INFO is read */
	struct ktls_dir_info tx_sum, rx_sum;
	pthread_mutex_t lock;		/* of all above */
	pthread_mutex_t reader;		/* of who waits for records */
	pthread_cond_t go_on;
};

static bool here;
static int never_pauses, refuse_first;	/* what is new */
static struct fake *fakes[FDS];

void fake_kernel(void)
{
	here = true;
}

static struct fake *find(int fd)
{
	return here && fd >= 0 && fd < FDS ? fakes[fd] : NULL;
}

static long fail(int err)
{
	errno = err;
	return -1;
}

struct fake_counts fake_counts(int fd)
{
	struct fake *f = find(fd);
	struct fake_counts counts;

	pthread_mutex_lock(&f->lock);
	counts = f->counts;
	counts.tx_seq = f->tx.seq;
	counts.rx_seq = f->rx.seq;
	counts.is_paused = f->pause;
	pthread_mutex_unlock(&f->lock);
	return counts;
}

void fake_fail_records(int fd, int behind, int times, int err)
{
	struct fake *f = find(fd);

	pthread_mutex_lock(&f->lock);
	f->good_records = behind;
	f->bad_records = times;
	f->record_err = err;
	pthread_mutex_unlock(&f->lock);
}

void fake_no_room(int fd, int times)
{
	fake_fail_records(fd, 0, times, EAGAIN);
}

void fake_refuse_pause(int fd, int times, int err)
{
	struct fake *f = find(fd);

	pthread_mutex_lock(&f->lock);
	f->refuse_pause = times;
	f->pause_err = err;
	pthread_mutex_unlock(&f->lock);
}

static void refuse(int fd, int times, int err, bool tx_only)
{
	struct fake *f = find(fd);

	pthread_mutex_lock(&f->lock);
	f->refuse = times;
	f->refuse_err = err;
	f->takes_rx = tx_only;
	pthread_mutex_unlock(&f->lock);
}

void fake_refuse_keys(int fd, int times, int err)
{
	refuse(fd, times, err, false);
}

void fake_refuse_tx(int fd, int times, int err)
{
	refuse(fd, times, err, true);
}

void fake_refuse_first(int err)
{
	refuse_first = err;
}

void fake_no_pause(int fd, int is_without)
{
	struct fake *f = find(fd);

	if (!f) {
		never_pauses = is_without;
		return;
	}
	pthread_mutex_lock(&f->lock);
	f->no_pause = is_without;
	pthread_mutex_unlock(&f->lock);
}

void fake_left(int fd, uint64_t tx_left, uint64_t rx_left)
{
	struct fake *f = find(fd);

	pthread_mutex_lock(&f->lock);
	f->tx_left = tx_left;
	f->rx_left = rx_left;
	f->limit_is_news = true;
	pthread_mutex_unlock(&f->lock);
}

/* ---- lists ---- */

static void add(struct list *list, uint8_t type, const uint8_t *data, size_t len)
{
	struct opened *o = malloc(sizeof(*o) + len);

	*o = (struct opened){ .type = type, .len = len };
	memcpy(o->data, data, len);
	if (!list->first)
		list->end = &list->first;
	*list->end = o;
	list->end = &o->next;
}

static void drop_first(struct list *list)
{
	struct opened *o = list->first;

	list->first = o->next;
	free(o);
}

static void empty(struct list *list)
{
	while (list->first)
		drop_first(list);
}

/* ---- sockets ---- */

int socket(int domain, int type, int protocol)
{
	struct fake *f;
	int fd;

	if (!here || domain != AF_KTLS)
		return (int)syscall(SYS_socket, domain, type, protocol);
	fd = (int)syscall(SYS_socket, AF_UNIX, type, 0);
	if (fd < 0 || fd >= FDS)
		return fd;
	f = calloc(1, sizeof(*f));
	f->is_ours = true;
	f->datagrams = (type & 0xf) == SOCK_DGRAM;
	f->tx_left = ~0ULL;
	f->rx_left = ~0ULL;
	f->no_pause = never_pauses;
	f->max_payload = RECORD_MAX_PAYLOAD;
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->reader, NULL);
	pthread_cond_init(&f->go_on, NULL);
	fakes[fd] = f;
	return fd;
}

int close(int fd)
{
	struct fake *f = find(fd);

	if (f) {
		fakes[fd] = NULL;
		empty(&f->data);
		empty(&f->controls);
		empty(&f->next_epoch);
		free(f->prepend);
		free(f);
	}
	return (int)syscall(SYS_close, fd);
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fake *f = find(fd);
	const struct sockaddr_ktls *carrier = (const void *)addr;

	if (!f)
		return (int)syscall(SYS_bind, fd, addr, len);
	if (syscall(SYS_dup3, carrier->skt_fd, fd, O_CLOEXEC) < 0)
		return -1;
	f->bound = true;
	return 0;
}

/* ---- options ---- */

static const struct ktls_cipher *cipher_of(const union ktls_key *key)
{
	static const char *const names[] = { "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
					     "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM" };
	static const struct ktls_cipher *found[4];
	size_t i;

	if (!found[0]) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_method());
		SSL *ssl;

		for (i = 0; i < 4; i++) {
			SSL_CTX_set_ciphersuites(ctx, "");
			SSL_CTX_set_cipher_list(ctx, names[i]);
			ssl = SSL_new(ctx);
			found[i] = ktls_cipher_find(sk_SSL_CIPHER_value(SSL_get_ciphers(ssl), 0));
			SSL_free(ssl);
		}
		SSL_CTX_free(ctx);
	}
	for (i = 0; i < 4; i++)
		if (found[i] && found[i]->type == key->info.cipher_type)
			return found[i];
	return NULL;
}

static bool fits(const struct ktls_half *old, const union ktls_key *key)
{
	return old->version == key->info.version &&
	       (old->version != TLS_1_3_VERSION || old->cipher->type == key->info.cipher_type);
}

static int set_tx(struct fake *f, const union ktls_key *key)
{
	struct ktls_half next;

	if (f->has_tx && f->tx.version != TLS_1_3_VERSION && !f->tx_changed)
		return EBUSY;
	if (f->has_tx && !fits(&f->tx, key))
		return EINVAL;
	ktls_half_set(&next, cipher_of(key), key);
	if (f->datagrams && f->has_tx && next.seq >> DTLS_SEQ_BITS <= f->tx.seq >> DTLS_SEQ_BITS)
		return EINVAL;
	f->tx = next;
	f->has_tx = true;
	f->tx_changed = false;
	f->counts.tx_keys++;
	return 0;
}

static void take_early(struct fake *f);

static int set_rx(struct fake *f, const union ktls_key *key)
{
	if (f->has_rx && !f->rx_due)
		return EBUSY;
	if (f->has_rx && !fits(&f->rx, key))
		return EINVAL;
	f->rx_before = f->rx;
	f->has_before = f->has_rx;
	ktls_half_set(&f->rx, cipher_of(key), key);
	f->has_rx = true;
	f->rx_due = false;
	f->counts.rx_keys++;
	take_early(f);
	return 0;
}

static int set_key(struct fake *f, int direction, const void *value, socklen_t len)
{
	union ktls_key key;

	memset(&key, 0, sizeof(key));
	memcpy(&key, value, len < sizeof(key) ? len : sizeof(key));
	if (!f->bound)
		return ENOTCONN;
	if (!cipher_of(&key) || cipher_of(&key)->info_size != len)
		return EINVAL;
	if (f->refuse && !(f->takes_rx && direction == TLS_RX)) {
		f->refuse--;
		return f->refuse_err;
	}
	if (direction == TLS_RX && !f->has_rx && refuse_first)
		return refuse_first;
	return direction == TLS_TX ? set_tx(f, &key) : set_rx(f, &key);
}

static int set_pause(struct fake *f, int value)
{
	if (f->no_pause)
		return ENOPROTOOPT;
	if (value && f->refuse_pause) {
		f->refuse_pause--;
		return f->pause_err;
	}
	f->counts.pauses += value && !f->pause;
	f->pause = value;
	pthread_cond_broadcast(&f->go_on);
	return 0;
}

static int set_mode(struct fake *f, int value)
{
	f->mode = value;
	return 0;
}

static int prepend(struct fake *f, const void *value, socklen_t len)
{
	f->prepend = realloc(f->prepend, f->prepend_len + len);
	memcpy(f->prepend + f->prepend_len, value, len);
	f->prepend_len += len;
	return 0;
}

static int detach(struct fake *f)
{
	if (!f->bound)
		return ENOTCONN;
	if (f->data.first || f->controls.first || f->prepend_len)
		return EBUSY;
	f->bound = false;
	f->has_tx = false;
	f->has_rx = false;
	return 0;
}

static int set_option(struct fake *f, int level, int name, const void *value, socklen_t len)
{
	if (level == SOL_TLS && (name == TLS_TX || name == TLS_RX))
		return set_key(f, name, value, len);
	if (level == SOL_TLS && name == TLS_TX_MAX_PAYLOAD_LEN) {
		f->max_payload = *(const uint16_t *)value;
		return 0;
	}
	if (level == SOL_KTLS && name == KTLS_PAUSE)
		return set_pause(f, *(const int *)value);
	if (level == SOL_KTLS && name == KTLS_CONTROL)
		return set_mode(f, *(const int *)value);
	if (level == SOL_KTLS && name == KTLS_PREPEND_RX)
		return prepend(f, value, len);
	if (level == SOL_KTLS && name == KTLS_DETACH)
		return detach(f);
	return ENOPROTOOPT;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct fake *f = find(fd);
	int err;

	if (!f || (level != SOL_TLS && level != SOL_KTLS))
		return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
	pthread_mutex_lock(&f->lock);
	err = set_option(f, level, name, value, len);
	pthread_mutex_unlock(&f->lock);
	return err ? (int)fail(err) : 0;
}

static size_t unread(const struct fake *f)
{
	const struct opened *o;
	size_t sum = 0;

	for (o = f->data.first; o; o = o->next)
		sum += o->len - o->at;
	return sum;
}

static void describe(struct fake *f, struct ktls_info *info)
{
	f->limit_is_news = false;
	memset(info, 0, sizeof(*info));
	info->flags = (f->bound ? KTLS_F_BOUND : 0) | (f->has_tx ? KTLS_F_TX : 0) |
		      (f->has_rx ? KTLS_F_RX : 0) | (f->rx_due ? KTLS_F_RX_KEY_DUE : 0) |
		      (f->tx_left < 16 ? KTLS_F_TX_LIMIT : 0) |
		      (f->rx_left < 16 ? KTLS_F_RX_LIMIT : 0);
	info->max_payload = f->max_payload;
	info->rx_queued = (unsigned int)unread(f);
	info->usable = f->datagrams ? 1200 : 0;
	info->tx = f->tx_sum;
	info->rx = f->rx_sum;
	info->tx.version = f->tx.version;
	info->tx.rekeys = f->counts.tx_keys ? f->counts.tx_keys - 1 : 0;
	info->rx.rekeys = f->counts.rx_keys ? f->counts.rx_keys - 1 : 0;
	info->tx_left = f->tx_left;
	info->rx_left = f->rx_left;
}

static int get_option(struct fake *f, int level, int name, void *value, socklen_t *len)
{
	struct ktls_info info;
	union ktls_key key;

	if (level == SOL_KTLS && name == KTLS_INFO) {
		describe(f, &info);
		*len = *len < sizeof(info) ? *len : (socklen_t)sizeof(info);
		memcpy(value, &info, *len);
		return 0;
	}
	if (level == SOL_KTLS && name == KTLS_PAUSE && !f->no_pause) {
		*(int *)value = f->pause;
		return 0;
	}
	if (level == SOL_TLS && (name == TLS_TX || name == TLS_RX)) {
		ktls_half_get(name == TLS_TX ? &f->tx : &f->rx, &key);
		memcpy(value, &key, *len);
		return 0;
	}
	return ENOPROTOOPT;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct fake *f = find(fd);
	int err;

	if (!f || (level != SOL_TLS && level != SOL_KTLS))
		return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
	pthread_mutex_lock(&f->lock);
	err = get_option(f, level, name, value, len);
	pthread_mutex_unlock(&f->lock);
	return err ? (int)fail(err) : 0;
}

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
	return done ? (long)done : err ? fail(err) : 0;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	struct fake *f = find(fd);

	return f ? fake_send(f, fd, RECORD_DATA, data, len, flags) :
	       (ssize_t)syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct fake *f = find(fd);
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!f)
		return (ssize_t)syscall(SYS_sendmsg, fd, msg, flags);
	return fake_send(f, fd, c ? *CMSG_DATA(c) : RECORD_DATA, msg->msg_iov->iov_base,
			 msg->msg_iov->iov_len, flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
	static _Thread_local uint8_t buf[65536];
	struct fake *f = find(out);
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
	struct fake *f = find(fd);

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
	add(type != RECORD_DATA && f->mode == KTLS_CONTROL_QUEUE ? &f->controls : &f->data, type,
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
			add(&f->next_epoch, 0, at, r.len);
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

static void take_early(struct fake *f)
{
	struct list early = f->next_epoch;

	f->next_epoch = (struct list){ 0 };
	for (; early.first; drop_first(&early))
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
	struct fake *f = find(fd);

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

static ssize_t give(struct fake *f, struct list *list, struct msghdr *msg, bool peek)
{
	struct opened *o = list->first;
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
		drop_first(list);
	}
	return (ssize_t)n;
}

void fake_full(int fd, size_t bytes)
{
	struct fake *f = find(fd);

	pthread_mutex_lock(&f->lock);
	f->full = bytes;
	pthread_mutex_unlock(&f->lock);
}

void fake_on_nothing(int fd, void (*hook)(void))
{
	struct fake *f = find(fd);

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
	ret = f->full && unread(f) > f->full;
	pthread_mutex_unlock(&f->lock);
	return ret;
}

static ssize_t fake_recv(struct fake *f, int fd, struct msghdr *msg, int flags)
{
	struct list *list = flags & MSG_ERRQUEUE ? &f->controls : &f->data;
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
	return n < 0 ? fail((int)-n) : n;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct fake *f = find(fd);

	return f ? fake_recv(f, fd, msg, flags) : (ssize_t)syscall(SYS_recvmsg, fd, msg, flags);
}

/* A plain reader, as read(2) is. */
ssize_t recv(int fd, void *data, size_t len, int flags)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct fake *f = find(fd);

	return f ? fake_recv(f, fd, &msg, flags) :
	       (ssize_t)syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

/* ---- waiting ---- */

#define SLICE_MS	2	/* between two looks at what no descriptor tells */
#define POLLED		8

/* What the socket says, where its carrier says that. */
static short events_of(struct fake *f, short events, short carrier)
{
	bool waits_for_key = f->rx_due && !f->datagrams;
	short got = carrier;

	f->counts.polls++;
	if (f->pause)
		got &= ~POLLOUT;
	if (waits_for_key)
		got &= ~POLLIN;
	if (f->data.first)
		got |= POLLIN;
	/* What is not opened yet may be for the queue. */
	if (f->limit_is_news || f->controls.first || (f->mode == KTLS_CONTROL_QUEUE && !waits_for_key &&
				  (carrier & (POLLIN | POLLRDHUP)) == POLLIN))
		got |= POLLPRI;
	return got & (events | POLLERR | POLLHUP | POLLNVAL);
}

static int look(struct pollfd *pfds, nfds_t n)
{
	struct pollfd all[POLLED];
	struct fake *f;
	int count = 0;
	nfds_t i;

	for (i = 0; i < n; i++) {
		all[i] = pfds[i];
		if (find(pfds[i].fd))
			all[i].events = POLLIN | POLLOUT | POLLRDHUP;
	}
	if (syscall(SYS_poll, all, n, 0) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		f = find(pfds[i].fd);
		if (f)
			pthread_mutex_lock(&f->lock);
		pfds[i].revents = f ? events_of(f, pfds[i].events, all[i].revents) : all[i].revents;
		if (f)
			pthread_mutex_unlock(&f->lock);
		count += !!pfds[i].revents;
	}
	return count;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int poll(struct pollfd *pfds, nfds_t n, int timeout)
{
	int64_t end = now_ms() + timeout, left;
	struct pollfd others[POLLED];
	bool any = false;
	nfds_t i;
	int ret;

	for (i = 0; i < n && n <= POLLED; i++) {
		any = any || find(pfds[i].fd);
		others[i] = pfds[i];
		if (find(pfds[i].fd))
			others[i].fd = -1;
	}
	if (!any)
		return (int)syscall(SYS_poll, pfds, n, timeout);
	while (!(ret = look(pfds, n))) {
		left = timeout < 0 ? SLICE_MS : end - now_ms();
		if (left <= 0)
			return 0;
		if (syscall(SYS_poll, others, n, left < SLICE_MS ? (int)left : SLICE_MS) < 0)
			return -1;
	}
	return ret;
}
