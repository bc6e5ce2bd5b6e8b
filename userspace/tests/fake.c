// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/ktls.h>
#include <linux/tls.h>

#include "dtls.h"
#include "fake_socket.h"
#include "wire.h"

#define FDS		1024

static bool here;
static int never_pauses, refuse_first;	/* what is new */
static struct fake *fakes[FDS];

void fake_kernel(void)
{
	here = true;
}

struct fake *fake_find(int fd)
{
	return here && fd >= 0 && fd < FDS ? fakes[fd] : NULL;
}

long fake_fail(int err)
{
	errno = err;
	return -1;
}

struct fake_counts fake_counts(int fd)
{
	struct fake *f = fake_find(fd);
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
	struct fake *f = fake_find(fd);

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
	struct fake *f = fake_find(fd);

	pthread_mutex_lock(&f->lock);
	f->refuse_pause = times;
	f->pause_err = err;
	pthread_mutex_unlock(&f->lock);
}

static void refuse(int fd, int times, int err, bool tx_only)
{
	struct fake *f = fake_find(fd);

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
	struct fake *f = fake_find(fd);

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
	struct fake *f = fake_find(fd);

	pthread_mutex_lock(&f->lock);
	f->tx_left = tx_left;
	f->rx_left = rx_left;
	f->limit_is_news = true;
	pthread_mutex_unlock(&f->lock);
}

/* ---- lists ---- */

void fake_add(struct fake_list *list, uint8_t type, const uint8_t *data, size_t len)
{
	struct fake_record *o = malloc(sizeof(*o) + len);

	*o = (struct fake_record){ .type = type, .len = len };
	memcpy(o->data, data, len);
	if (!list->first)
		list->end = &list->first;
	*list->end = o;
	list->end = &o->next;
}

void fake_drop_first(struct fake_list *list)
{
	struct fake_record *o = list->first;

	list->first = o->next;
	free(o);
}

void fake_empty(struct fake_list *list)
{
	while (list->first)
		fake_drop_first(list);
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
	struct fake *f = fake_find(fd);

	if (f) {
		fakes[fd] = NULL;
		fake_empty(&f->data);
		fake_empty(&f->controls);
		fake_empty(&f->next_epoch);
		free(f->prepend);
		free(f);
	}
	return (int)syscall(SYS_close, fd);
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fake *f = fake_find(fd);
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
	fake_take_early(f);
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
	struct fake *f = fake_find(fd);
	int err;

	if (!f || (level != SOL_TLS && level != SOL_KTLS))
		return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
	pthread_mutex_lock(&f->lock);
	err = set_option(f, level, name, value, len);
	pthread_mutex_unlock(&f->lock);
	return err ? (int)fake_fail(err) : 0;
}

size_t fake_unread(const struct fake *f)
{
	const struct fake_record *o;
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
	info->rx_queued = (unsigned int)fake_unread(f);
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
	struct fake *f = fake_find(fd);
	int err;

	if (!f || (level != SOL_TLS && level != SOL_KTLS))
		return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
	pthread_mutex_lock(&f->lock);
	err = get_option(f, level, name, value, len);
	pthread_mutex_unlock(&f->lock);
	return err ? (int)fake_fail(err) : 0;
}
