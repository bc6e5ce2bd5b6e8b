/* SPDX-License-Identifier: MIT */
/*
 * A kernel with AF_KTLS for tests on any host: the system calls that the library makes, taken
 * before libc gets them. Sockets of AF_KTLS are duplicates of their carriers here, and records are
 * sealed and opened in the process. Until fake_kernel() is called
 * all calls go through.
 */
#ifndef KTLS_TESTS_FAKE_H
#define KTLS_TESTS_FAKE_H

#include <stddef.h>
#include <stdint.h>

/* From now on the kernel has AF_KTLS. */
void fake_kernel(void);

/* What has been seen on a socket. */
struct fake_counts {
	unsigned int tx_keys, rx_keys;	/* installed */
	unsigned int pauses;
	unsigned int paused;		/* calls that sent data meanwhile, and had to wait */
	int is_paused;
	unsigned int polls;
	uint64_t tx_seq, rx_seq;
};

struct fake_counts fake_counts(int fd);
/* The next so many control records find no room: EAGAIN. */
void fake_no_room(int fd, int times);
/* So many control records behind the next few fail with this error. */
void fake_fail_records(int fd, int behind, int times, int err);
/* So many KTLS_PAUSE that set it fail with this error. */
void fake_refuse_pause(int fd, int times, int err);
/* The next so many TLS_TX or TLS_RX fail with this error. */
void fake_refuse_keys(int fd, int times, int err);
/* Likewise TLS_TX alone. */
void fake_refuse_tx(int fd, int times, int err);
/* Likewise the first TLS_RX of any socket; 0: no longer. */
void fake_refuse_first(int err);
/* A kernel without KTLS_PAUSE, or with it again; fd -1: for sockets to come. */
void fake_no_pause(int fd, int is_without);
/* Opens so many records that nobody has asked for. */
void fake_read_ahead(int fd, int records);
/* With more unread data than this it opens nothing ahead; 0: no limit. */
void fake_full(int fd, size_t bytes);
/* Called once, by the next reader of data who finds none and does not wait. */
void fake_on_nothing(int fd, void (*hook)(void));
/* KTLS_INFO says that so many records are left. */
void fake_left(int fd, uint64_t tx_left, uint64_t rx_left);

#endif
