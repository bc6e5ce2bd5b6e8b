/* SPDX-License-Identifier: MIT */
/*
 * The serving side of TFTP (rfc1350) that reads only, with the options blksize, tsize and
 * windowsize (rfc2347, 2348, 2349, 7440): bytes in, bytes out; no file, no socket, no clock.
 */
#ifndef KTLS_CLI_TFTP_H
#define KTLS_CLI_TFTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TFTP_REQUEST_MAX	512	/* rfc2347 */
#define TFTP_HEAD		4	/* of a DATA packet */
#define TFTP_ANSWER_MAX		128	/* OACK and ERROR */
#define TFTP_BLOCK_MAX		65464	/* rfc2348 */

enum tftp_error { TFTP_UNDEFINED, TFTP_NOT_FOUND, TFTP_ACCESS, TFTP_FULL, TFTP_ILLEGAL };

enum tftp_event {
	TFTP_NOTHING,		/* not for us, or old */
	TFTP_ASKS,		/* a request: ->path; tftp_accept it or answer tftp_error */
	TFTP_REFUSED,		/* one that is answered with tftp_error(->error, ->reason) */
	TFTP_GOES_ON,		/* there is more to send */
	TFTP_DONE,		/* all of the file has arrived */
	TFTP_ABORTED,		/* by an ERROR of the client */
};

struct tftp {
	bool active, offered;	/* a file is being sent; what was negotiated waits for its ACK */
	char request[TFTP_REQUEST_MAX];	/* the packet */
	size_t request_len;
	const char *path;	/* these two within it or constant, for the log too */
	const char *method;
	enum tftp_error error;
	const char *reason;
	unsigned int block;	/* the size of one */
	unsigned int window;
	bool asks_block, asks_size, asks_window;
	uint64_t size;		/* of the file */
	uint64_t acked, sent, top;	/* blocks; top: the last that was ever sent */
	bool went_back;		/* for the same gap once */
};

/* What a piece of a packet is to hold behind its header. */
struct tftp_piece {
	uint64_t offset;
	size_t len;
};

/* Is this packet, not yet taken, a request that ends the present transfer? */
bool tftp_breaks_off(const struct tftp *t, const uint8_t *packet, size_t len);
enum tftp_event tftp_take(struct tftp *t, const uint8_t *packet, size_t len);
/* Begins to send a file of that size. False: the client's blocks do not fit into room bytes. */
bool tftp_accept(struct tftp *t, uint64_t size, size_t room);
/*
 * The head of the next packet (at most TFTP_ANSWER_MAX bytes) and what of the file follows it;
 * 0: nothing until the client answers or the time is up.
 */
size_t tftp_next(struct tftp *t, uint8_t *packet, struct tftp_piece *piece);
/* No answer in time: what is not acknowledged is the next again. */
void tftp_rewind(struct tftp *t);
/* Bytes of the file that have arrived. */
uint64_t tftp_arrived(const struct tftp *t);
/* A packet of at most TFTP_ANSWER_MAX bytes; the transfer is over. */
size_t tftp_refuse(struct tftp *t, uint8_t *packet, enum tftp_error error, const char *reason);

#endif
