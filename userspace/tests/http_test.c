// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "../cli/http.h"
#include "tap.h"

#define H	"Host: a\r\n"

static const struct {
	const char *head;
	int status;
	const char *path;
	int keep_alive;
} cases[] = {
	{ "GET / HTTP/1.1\r\n" H "\r\n", 0, "", 1 },
	{ "GET / HTTP/1.0\r\n\r\n", 0, "", 0 },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 0, "", 1 },
	{ "GET / HTTP/1.1\r\n" H "Connection: x, close\r\n\r\n", 0, "", 0 },
	{ "HEAD /a/b?c=d HTTP/1.1\r\n" H "\r\n", 0, "a/b", 1 },
	{ "GET ///a%2fb%20c HTTP/1.1\r\nhOST:a\r\n\r\n", 0, "a/b c", 1 },
	{ "GET https://h:1/x HTTP/1.1\r\n" H "\r\n", 0, "x", 1 },
	{ "GET https://h HTTP/1.1\r\n" H "\r\n", 0, "", 1 },
	{ "GET /../x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, "../x", 1 },
	{ "\r\nGET /x HTTP/1.0\r\n\r\n", 0, "x", 0 },
	{ "GET /?\nX:y HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET /\x7f HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "X: a\tb\r\n\r\n", 0, "", 1 },
	{ "GET / HTTP/1.1\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H H "\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H "blank : x\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H " folded\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400, NULL, 0 },
	{ "GET /%00 HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET /%zz HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET /% HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET x HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET * HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "GET /\r\n\r\n", 400, NULL, 0 },
	{ "GET  / HTTP/1.1\r\n" H "\r\n", 400, NULL, 0 },
	{ "\r\n\r\n", 400, NULL, 0 },
	{ "GET / HTTP/2.0\r\n\r\n", 505, NULL, 0 },
	{ "GET / FTP/1.1\r\n\r\n", 400, NULL, 0 },
	{ "POST / HTTP/1.1\r\n" H "\r\n", 405, NULL, 0 },
};

static const struct {
	const char *value;
	int given;
	int64_t first, last;
} ranges[] = {
	{ "bytes=0-9", 1, 0, 9 }, { "bytes=5-", 1, 5, -1 }, { "bytes=-5", 1, -1, 5 },
	{ "bytes=9-5", 0, 0, 0 }, { "bytes=-", 0, 0, 0 }, { "bytes=1-2,4-5", 0, 0, 0 },
	{ "lines=1-2", 0, 0, 0 }, { "bytes=", 0, 0, 0 }, { "bytes=1", 0, 0, 0 },
	{ "bytes=99999999999999999999-", 1, INT64_MAX, -1 }, { "bytes=+1-2", 0, 0, 0 },
};

static int parse(const char *head, size_t len, struct http_request *request)
{
	/* From the heap, with nothing behind it, so that a sanitizer sees an overrun. */
	char *copy = malloc(len + 1);
	int status;

	memcpy(copy, head, len);
	copy[len] = '\0';
	status = http_parse(copy, len, request);
	free(copy);
	return status;
}

static void check_range(size_t i)
{
	struct http_request request;
	char head[128];

	snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n" H "Range: %s\r\n\r\n", ranges[i].value);
	ok(!parse(head, strlen(head), &request) && request.range.given == ranges[i].given &&
	   (!request.range.given || (request.range.first == ranges[i].first &&
				     request.range.last == ranges[i].last)),
	   "range %s", ranges[i].value);
}

int main(void)
{
	static const char nul[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
	struct http_request request;
	size_t i;
	int status;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		status = parse(cases[i].head, strlen(cases[i].head), &request);
		ok(status == cases[i].status && request.keep_alive == cases[i].keep_alive &&
		   (status || !strcmp(request.path, cases[i].path)),
		   "%.*s: %d", (int)strcspn(cases[i].head, "\r"), cases[i].head, status);
	}
	ok(parse(nul, sizeof(nul) - 1, &request) == 400, "a NUL in the head");
	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		check_range(i);
	ok(http_head_length("a\r\n\r\nb", 6) == 5 && !http_head_length("a\r\n\r", 4),
	   "the end of the head");
	return tap_done();
}
