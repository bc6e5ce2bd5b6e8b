/* SPDX-License-Identifier: MIT */
/* The answer to a request: a head and either a file or a text. */
#ifndef KTLS_CLI_REPLY_H
#define KTLS_CLI_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "http.h"

#define REPLY_HEAD_MAX	8192

struct reply {
	int status;
	bool keep_alive;
	char head[REPLY_HEAD_MAX];
	size_t head_len;
	char *text;		/* malloc; NULL: the body is the file's */
	int file;		/* -1: none */
	off_t offset;		/* of the next byte of text or file */
	off_t end;
};

/* Answers a parsed request from the directory root. */
void reply_make(struct reply *reply, int root, const struct http_request *request);
/* Answers with a status and a short text. */
void reply_error(struct reply *reply, int status, const struct http_request *request);
void reply_free(struct reply *reply);

#endif
