// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "hall.h"
#include "log.h"
#include "progress.h"
#include "site.h"
#include "tftp.h"

#define RETRY_MS	250	/* the first time; twice that the next */
#define RETRIES		7	/* 250 ms to 16 s: half a minute in all */

struct files {
	struct hall hall;
	int root;
	uint8_t packet[TFTP_ANSWER_MAX + TFTP_BLOCK_MAX];
};

/* A client and the file that it is getting. */
struct reader {
	struct guest guest;	/* first */
	struct tftp tftp;
	int file;		/* good while tftp.active */
	int64_t began_ms, due_ms;
	int tries;
};

static struct files *files_of(const struct reader *r)
{
	return r->guest.hall->own;
}

static void end_request(struct reader *r, int status)
{
	log_line(&(struct log_entry){
		.who = r->guest.name, .method = r->tftp.method, .target = r->tftp.path,
		.status = status, .bytes = tftp_arrived(&r->tftp), .began_ms = r->began_ms,
		.conn = r->guest.conn,
	});
	if (r->file >= 0)
		close(r->file);
	r->file = -1;
	r->tftp.active = false;
	r->due_ms = INT64_MAX;
}

/* What finds no room is as lost as what the path loses. */
static void send_packet(struct reader *r, const uint8_t *packet, size_t len)
{
	ssize_t n = ktls_send(r->guest.conn, packet, len, MSG_DONTWAIT);

	if (n == -EPIPE || n == -EBADMSG)
		guest_end(&r->guest, ktls_error(r->guest.conn));
}

static void refuse(struct reader *r, enum tftp_error error, const char *reason, int status)
{
	uint8_t packet[TFTP_ANSWER_MAX];

	send_packet(r, packet, tftp_refuse(&r->tftp, packet, error, reason));
	end_request(r, status);
}

static void set_timer(struct reader *r)
{
	struct hall *h = r->guest.hall;

	r->due_ms = clock_ms() + ((int64_t)RETRY_MS << r->tries);
	if (r->due_ms < h->due_ms)
		h->due_ms = r->due_ms;
}

/* Sends what may be sent now. */
static void pump(struct reader *r)
{
	uint8_t *packet = files_of(r)->packet;
	struct tftp_piece piece;
	size_t head;
	ssize_t n;

	while (!r->guest.gone && (head = tftp_next(&r->tftp, packet, &piece))) {
		n = pread(r->file, packet + head, piece.len, (off_t)piece.offset);
		if (n != (ssize_t)piece.len) {
			refuse(r, TFTP_UNDEFINED, "the file became shorter", 500);
			return;
		}
		send_packet(r, packet, head + piece.len);
	}
	set_timer(r);
}

static void refuse_file(struct reader *r, int status)
{
	if (status == 404)
		refuse(r, TFTP_NOT_FOUND, "no such file", status);
	else
		refuse(r, TFTP_ACCESS, "not to be had", status);
}

static void open_file(struct reader *r)
{
	const char *path = r->tftp.path + strspn(r->tftp.path, "/");
	struct stat st;

	r->file = site_open(files_of(r)->root, path, &st);
	if (r->file < 0)
		refuse_file(r, -r->file);
	else if (!S_ISREG(st.st_mode))
		refuse_file(r, 403);
	else if (!tftp_accept(&r->tftp, (uint64_t)st.st_size, ktls_payload_max(r->guest.conn)))
		refuse(r, TFTP_UNDEFINED, "the path takes no block of 512: give blksize", 500);
	else
		pump(r);
}

static void go_on(struct reader *r)
{
	r->tries = 0;
	pump(r);
}

static void take(struct guest *guest, const uint8_t *data, size_t len)
{
	struct reader *r = (struct reader *)guest;

	if (tftp_breaks_off(&r->tftp, data, len))
		end_request(r, 408);
	switch (tftp_take(&r->tftp, data, len)) {
	case TFTP_ASKS:
		r->began_ms = clock_ms();
		r->tries = 0;
		open_file(r);
		break;
	case TFTP_REFUSED:
		r->began_ms = clock_ms();
		refuse(r, r->tftp.error, r->tftp.reason, r->tftp.error == TFTP_ACCESS ? 403 : 400);
		break;
	case TFTP_GOES_ON:
		go_on(r);
		break;
	case TFTP_DONE:
		end_request(r, 200);
		break;
	case TFTP_ABORTED:
		end_request(r, 499);
		break;
	case TFTP_NOTHING:
		break;
	}
}

static void join(struct guest *guest)
{
	struct reader *r = (struct reader *)guest;

	r->file = -1;
	r->due_ms = INT64_MAX;
}

static void leave(struct guest *guest)
{
	struct reader *r = (struct reader *)guest;

	if (r->tftp.active)
		end_request(r, 408);
}

static void try_again(struct reader *r)
{
	if (r->tries++ == RETRIES - 1) {
		refuse(r, TFTP_UNDEFINED, "no answer", 408);
		return;
	}
	tftp_rewind(&r->tftp);
	pump(r);
}

static int64_t run_timers(struct hall *hall, int64_t now)
{
	int64_t next = INT64_MAX;
	struct guest *g;
	struct reader *r;

	for (g = hall->guests; g; g = g->next) {
		r = (struct reader *)g;
		if (now >= r->due_ms && !g->gone)
			try_again(r);
		if (r->due_ms < next && !g->gone)
			next = r->due_ms;
	}
	return next;
}

static const struct hall_kind readers = {
	.guest_size = sizeof(struct reader),
	.join = join, .take = take, .run = run_timers, .leave = leave,
};

enum status files_run(SSL_CTX *ctx, int udp, int root, unsigned int flags,
		      unsigned int clients_max, unsigned int idle_s)
{
	struct files *f = calloc(1, sizeof(*f));
	enum status status;

	if (!f) {
		complain("out of memory");
		return STATUS_LOCAL;
	}
	f->root = root;
	f->hall.kind = &readers;
	f->hall.own = f;
	f->hall.guests_max = clients_max;
	f->hall.idle_ms = (int64_t)idle_s * 1000;
	status = hall_run(&f->hall, ctx, udp, flags);
	free(f);
	return status;
}
