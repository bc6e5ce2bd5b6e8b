/* SPDX-License-Identifier: MIT */
/*
 * What the files of ktls bench share: a connection is opened in a way (AF_KTLS, OpenSSL, ...), a
 * scenario moves data over it in steps, and each run is a sample of a case.
 */
#ifndef KTLS_CLI_BENCH_H
#define KTLS_CLI_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "bench_stats.h"

#define BENCH_WHY	160	/* of a sentence */
#define BENCH_RECORD	16384	/* what a record takes (rfc5246 6.2.1) */
#define BENCH_SIZE_MAX	(1 << 20)
#define BENCH_TIMED	2

struct bench_protocol {
	const char *name;	/* "TLS 1.2" */
	int version;		/* the kernel's number for it, and OpenSSL's */
	bool dgram;
};

struct bench_cipher {
	const char *name;	/* "AES128-GCM" */
	uint16_t type;		/* TLS_CIPHER_* */
	size_t info_len;	/* of its tls12_crypto_info, ... */
	size_t seq_at;		/* ... and where rec_seq stands there */
	const char *suite12, *suite13;	/* OpenSSL's names */
	const char *gnutls;
};

extern const struct bench_protocol bench_tls12, bench_tls13, bench_dtls12;

const struct bench_cipher *bench_cipher_find(const char *name, size_t len);

/* What the two ends of a connection are to agree on. */
struct bench_setup {
	const struct bench_protocol *protocol;
	const struct bench_cipher *cipher;
	size_t size;		/* of what is sent at once */
	bool half;		/* the second end is not to open records, but to throw them away */
	bool sends, receives;	/* what the first end will do */
	bool no_pad;		/* TLS_RX_EXPECT_NO_PAD */
};

struct bench_end {
	int fd;			/* the socket that data moves through */
	int carrier;		/* TCP or UDP; may be fd */
	void *session;		/* of a library */
};

enum bench_outcome { BENCH_DONE, BENCH_ABSENT, BENCH_FAILED };

/* A way to send and receive records; functions return a count or -errno. */
struct bench_way {
	const char *name;	/* in options */
	const char *title;
	bool streams, datagrams;
	bool splices;		/* splice(2) moves plaintext through fd */
	/* NULL: it cannot. end[0] is measured. Why not BENCH_DONE goes to why. */
	enum bench_outcome (*open)(const struct bench_setup *setup, struct bench_end end[2],
				   char why[BENCH_WHY]);
	ssize_t (*send)(struct bench_end *end, const void *data, size_t len);
	ssize_t (*recv)(struct bench_end *end, void *data, size_t len);
	ssize_t (*sendfile)(struct bench_end *end, int file, off_t *offset, size_t len);
	void (*close)(struct bench_end *end);
};

extern const struct bench_way bench_af_ktls, bench_tls, bench_plain;
extern const struct bench_way bench_openssl, bench_openssl_ktls, bench_gnutls;
extern const struct bench_way *const bench_ways[];	/* ends with NULL */

struct bench_scenario;

struct bench_case {
	const struct bench_scenario *scenario;
	const struct bench_protocol *protocol;
	const struct bench_cipher *cipher;
	const struct bench_way *way;
	size_t size;
	enum bench_outcome outcome;
	char why[BENCH_WHY];
	struct bench_sample *samples;
	size_t count;
	struct bench_summary summary;
};

/* Of a run of ktls bench. */
struct bench_plan {
	struct bench_case *cases;
	size_t count;
	double seconds, warmup;
	uint64_t records;	/* instead of seconds, unless 0 */
	unsigned int connections, repeats;
	bool no_pad;
};

/* bench_net.c: sockets connected over loopback. -errno */
int bench_net_pair(bool dgram, struct bench_end end[2]);
/* Calls on fd block for so long at most, then fail with EAGAIN; or do not block. */
void bench_net_patience(int fd);
void bench_net_nonblocking(int fd, bool on);
void bench_net_close(struct bench_end *end);
/* Reads and forgets. */
ssize_t bench_net_drain(struct bench_end *end, bool dgram);

/* bench_case.c */
const struct bench_scenario *bench_scenario_find(const char *name, size_t len);
/* One run: adds a sample to the case, or says in it why there is none. */
void bench_case_run(const struct bench_plan *plan, struct bench_case *c);

/* bench_table.c, bench_json.c, bench_report.c */
struct bench_machine;
void bench_table_write(FILE *out, const struct bench_plan *plan);
void bench_json_write(FILE *out, const struct bench_plan *plan,
		      const struct bench_machine *machine);
void bench_report_write(FILE *out, const struct bench_plan *plan,
			const struct bench_machine *machine);

#endif
