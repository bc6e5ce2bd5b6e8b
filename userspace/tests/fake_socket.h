/* SPDX-License-Identifier: MIT */
/* A socket of the made up kernel: between the files of fake.h. */
#ifndef KTLS_TESTS_FAKE_SOCKET_H
#define KTLS_TESTS_FAKE_SOCKET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/ktls.h>

#include "fake.h"
#include "half.h"

/* A record that was opened and not read. */
struct fake_record {
	struct fake_record *next;
	uint8_t type;
	size_t len, at;
	uint8_t data[];
};

struct fake_list {
	struct fake_record *first, **end;
};

struct fake {
	bool is_ours, bound, datagrams;
	bool has_tx, has_rx, tx_changed, rx_due;
	int pause, mode;
	struct ktls_half tx, rx, rx_before;
	bool has_before;
	uint8_t *prepend;
	size_t prepend_len;
	struct fake_list data, controls, next_epoch;
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

/* fake.c: NULL: the socket is none of ours. */
struct fake *fake_find(int fd);
/* -1 with errno. */
long fake_fail(int err);
void fake_add(struct fake_list *list, uint8_t type, const uint8_t *data, size_t len);
void fake_drop_first(struct fake_list *list);
void fake_empty(struct fake_list *list);
/* Bytes that were opened and not read; the lock is held. */
size_t fake_unread(const struct fake *f);

/* fake_data.c: there is a key for what waited for it; the lock is held. */
void fake_take_early(struct fake *f);
/* 0, or the errno of a send of data that does not wait. */
int fake_may_send(struct fake *f, int fd);

#endif
