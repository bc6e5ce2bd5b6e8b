/* SPDX-License-Identifier: MIT */
/* A request of HTTP/1.x, from its bytes. */
#ifndef KTLS_CLI_HTTP_H
#define KTLS_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX	16384	/* request line and fields */
#define HTTP_PATH_MAX	4096

struct http_range {
	bool given;
	int64_t first;		/* -1: the last `last` bytes */
	int64_t last;		/* -1: to the end */
};

struct http_request {
	const char *method;	/* these point into the bytes */
	const char *target;
	const char *if_range;
	const char *if_none_match;
	char path[HTTP_PATH_MAX]; /* decoded, without the leading '/' and the query */
	struct http_range range;
	bool is_head;
	bool keep_alive;
};

/* Length of the head, its empty line included, when it is there as a whole, else 0. */
size_t http_head_length(const char *data, size_t len);

/*
 * Takes a whole head and cuts it up in place. 0 or the status to answer with; method and
 * target are good for the log ("-" where there is none) in either case.
 */
int http_parse(char *head, size_t len, struct http_request *request);

const char *http_reason(int status);

#endif
