/* SPDX-License-Identifier: MIT */
/* One connection of connect or listen, from handshake to close. */
#ifndef KTLS_CLI_SESSION_H
#define KTLS_CLI_SESSION_H

#include "cli.h"
#include "ktls.h"
#include "tls.h"

struct talk_options {
	bool brief, quiet, verbose;
	const char *idle;	/* seconds, or NULL */
};

#define TALK_OPTION_BRIEF(o)	{ "brief", NULL, "one line about the connection", .flag = &(o)->brief }
#define TALK_OPTION_QUIET(o)	{ "quiet", NULL, "errors only", .flag = &(o)->quiet }
#define TALK_OPTION_VERBOSE(o)	{ "v", NULL, "bytes and rate at the end", .flag = &(o)->verbose }
#define TALK_OPTION_IDLE(o)	{ "idle", "SECONDS", \
				  "-dtls: silence that ends it behind the end of input", \
				  .value = &(o)->idle }
#define TALK_OPTIONS(o)		TALK_OPTION_BRIEF(o), TALK_OPTION_QUIET(o), TALK_OPTION_VERBOSE(o)

/* server_name NULL: we are the server. Takes a connected socket, and leaves it open. */
enum status session(SSL_CTX *ctx, int fd, const char *server_name,
		    const struct tls_options *tls, const struct talk_options *talk);

/* The handshake of it alone; NULL after a complaint, with *status. */
struct ktls_conn *session_open(SSL_CTX *ctx, int fd, const char *server_name,
			       const struct tls_options *tls, enum status *status);
/* Misused, unless the options fit each other. */
void check_talk(const char *verb, const struct tls_options *tls, const struct talk_options *talk);
/* The rest, with a connection that it closes. */
enum status session_talk(struct ktls_conn *conn, const struct talk_options *talk);

#endif
