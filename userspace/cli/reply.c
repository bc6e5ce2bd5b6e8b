// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mime.h"
#include "reply.h"
#include "site.h"

#define DATE_MAX	40
#define TAG_MAX		64

static void field(struct reply *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void field(struct reply *r, const char *format, ...)
{
	size_t room = REPLY_HEAD_MAX - r->head_len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(r->head + r->head_len, room, format, args);
	va_end(args);
	/* Only a long Location could come near the end; half a field is worse than none. */
	if (n > 0 && (size_t)n < room)
		r->head_len += (size_t)n;
}

static void format_date(time_t when, char out[DATE_MAX])
{
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(out, DATE_MAX, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static void begin(struct reply *r, int status, const struct http_request *q)
{
	char date[DATE_MAX];

	*r = (struct reply){ .status = status, .keep_alive = q->keep_alive, .file = -1 };
	format_date(time(NULL), date);
	field(r, "HTTP/1.1 %d %s\r\nServer: ktls\r\nDate: %s\r\nConnection: %s\r\n", status,
	      http_reason(status), date, q->keep_alive ? "keep-alive" : "close");
}

/* len is the body's, or what it would be for a GET. */
static void finish(struct reply *r, off_t len, const struct http_request *q)
{
	field(r, "Content-Length: %lld\r\n\r\n", (long long)len);
	r->end = q->is_head ? r->offset : r->offset + len;
}

static void finish_text(struct reply *r, char *text, size_t len, const char *type,
			const struct http_request *q)
{
	field(r, "Content-Type: %s\r\n", type);
	r->text = text;
	finish(r, text ? (off_t)len : 0, q);
}

void reply_error(struct reply *r, int status, const struct http_request *q)
{
	char *text = NULL;
	int len;

	begin(r, status, q);
	if (status == 405)
		field(r, "Allow: GET, HEAD\r\n");
	len = asprintf(&text, "%d %s\n", status, http_reason(status));
	finish_text(r, len < 0 ? NULL : text, len < 0 ? 0 : (size_t)len,
		    "text/plain; charset=utf-8", q);
}

static void make_tag(const struct stat *st, char out[TAG_MAX])
{
	snprintf(out, TAG_MAX, "\"%llx-%llx-%lx\"", (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

/* 200, 206 with *first and *len, or 416. */
static int choose_range(const struct http_request *q, off_t size, const char *tag, off_t *first,
			off_t *len)
{
	const struct http_range *range = &q->range;

	*first = 0;
	*len = size;
	/* rfc9110 13.1.5: the range is for the file as the client knows it. */
	if (!range->given || (q->if_range && strcmp(q->if_range, tag)))
		return 200;
	if (range->first < 0) {
		*first = range->last < size ? size - range->last : 0;
		*len = size - *first;
		return *len > 0 ? 206 : 416;
	}
	if (range->first >= size)
		return 416;
	*first = range->first;
	*len = (range->last < 0 || range->last >= size ? size : range->last + 1) - *first;
	return 206;
}

static void unsatisfiable(struct reply *r, off_t size, const struct http_request *q)
{
	begin(r, 416, q);
	field(r, "Content-Range: bytes */%lld\r\n", (long long)size);
	finish(r, 0, q);
}

static void reply_file(struct reply *r, int file, const struct stat *st, const char *name,
		       const struct http_request *q)
{
	char date[DATE_MAX], tag[TAG_MAX];
	off_t first, len;
	int status;

	make_tag(st, tag);
	status = choose_range(q, st->st_size, tag, &first, &len);
	if (q->if_none_match && (strstr(q->if_none_match, tag) || !strcmp(q->if_none_match, "*")))
		status = 304;
	if (status == 416 || status == 304)
		close(file);
	if (status == 416) {
		unsatisfiable(r, st->st_size, q);
		return;
	}
	begin(r, status, q);
	field(r, "ETag: %s\r\n", tag);
	if (status == 304) {
		field(r, "\r\n");
		return;
	}
	format_date(st->st_mtim.tv_sec, date);
	field(r, "Last-Modified: %s\r\nAccept-Ranges: bytes\r\nContent-Type: %s\r\n", date,
	      mime_type(name));
	if (status == 206)
		field(r, "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)first,
		      (long long)(first + len - 1), (long long)st->st_size);
	r->file = file;
	r->offset = first;
	finish(r, len, q);
}

/* rfc9110 15.4.2: relative names in the page need the slash. */
static void redirect_to_slash(struct reply *r, const struct http_request *q)
{
	int path_len = (int)strcspn(q->target, "?#");
	const char *rest = q->target + path_len;
	int before = 0;

	/* "//host" would lead to another host. */
	while (q->target[before] == '/' && q->target[before + 1] == '/')
		before++;
	begin(r, 301, q);
	field(r, "Location: %.*s/%s\r\n", path_len - before, q->target + before, rest);
	finish(r, 0, q);
}

static void reply_directory(struct reply *r, int root, int dir, const struct http_request *q)
{
	char index[HTTP_PATH_MAX + 16];
	size_t len = strlen(q->path);
	struct stat st;
	char *page;
	int file;

	if (len && q->path[len - 1] != '/') {
		close(dir);
		redirect_to_slash(r, q);
		return;
	}
	snprintf(index, sizeof(index), "%sindex.html", q->path);
	file = site_open(root, index, &st);
	if (file >= 0 && S_ISREG(st.st_mode)) {
		close(dir);
		reply_file(r, file, &st, index, q);
		return;
	}
	if (file >= 0)
		close(file);
	page = site_list(root, dir, q->path, &len);
	begin(r, 200, q);
	finish_text(r, page, len, "text/html; charset=utf-8", q);
}

void reply_make(struct reply *r, int root, const struct http_request *q)
{
	struct stat st;
	int fd = site_open(root, q->path, &st);

	if (fd < 0)
		reply_error(r, -fd, q);
	else if (S_ISDIR(st.st_mode))
		reply_directory(r, root, fd, q);
	else
		reply_file(r, fd, &st, q->path, q);
}

void reply_free(struct reply *r)
{
	free(r->text);
	if (r->file >= 0)
		close(r->file);
	r->text = NULL;
	r->file = -1;
}
