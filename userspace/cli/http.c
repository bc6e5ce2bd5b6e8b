// SPDX-License-Identifier: MIT
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"

/* What the fields of a request said, beyond what the request keeps. */
struct seen {
	int hosts;
	bool body;
	int minor;		/* of HTTP/1.minor */
};

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" }, { 206, "Partial Content" }, { 301, "Moved Permanently" },
		{ 304, "Not Modified" }, { 400, "Bad Request" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 416, "Range Not Satisfiable" }, { 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 505, "HTTP Version Not Supported" },
	};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

size_t http_head_length(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);

	return end ? (size_t)(end - data) + 4 : 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a target; returns how many bytes it takes there, 0 when it is wrong. */
static size_t decode_one(const char *in, char *out)
{
	int high, low;

	if (in[0] != '%') {
		*out = in[0];
		return 1;
	}
	high = hex(in[1]);
	low = high < 0 ? -1 : hex(in[2]);
	if (low < 0)
		return 0;
	*out = (char)(high << 4 | low);
	return *out ? 3 : 0;
}

static int decode_path(const char *target, char out[HTTP_PATH_MAX])
{
	size_t used = 0, n;

	if (!strncasecmp(target, "https://", 8)) {
		/* rfc9112 3.2.2: a server accepts the absolute form too. */
		target = strchr(target + 8, '/');
		if (!target)
			target = "/";
	}
	if (*target != '/')
		return 400;
	target += strspn(target, "/");
	for (; *target && *target != '?' && *target != '#'; target += n) {
		n = decode_one(target, out + used);
		if (!n || ++used == HTTP_PATH_MAX)
			return 400;
	}
	out[used] = '\0';
	return 0;
}

/*
 * rfc9110 5.5: no control characters but tabs. A lone CR or LF ends a line to some, and
 * parts of the request come back in the reply.
 */
static bool is_clean(const char *s)
{
	for (; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 127)
			return false;
	return true;
}

static char *next_word(char **at)
{
	char *word = strsep(at, " ");

	return word && *word ? word : NULL;
}

static int parse_request_line(char *line, struct http_request *r, struct seen *seen)
{
	char *method = next_word(&line);
	char *target = next_word(&line);
	char *version = line;

	if (!method || !target || !version)
		return 400;
	r->method = method;
	r->target = target;
	if (!is_clean(method) || !is_clean(target) || strncmp(version, "HTTP/", 5))
		return 400;
	if (strcmp(version, "HTTP/1.1") && strcmp(version, "HTTP/1.0"))
		return 505;
	seen->minor = version[7] - '0';
	r->keep_alive = seen->minor > 0;
	r->is_head = !strcmp(method, "HEAD");
	if (!r->is_head && strcmp(method, "GET"))
		return 405;
	return decode_path(target, r->path);
}

static bool parse_number(const char **at, int64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)**at))
		return false;
	*out = strtoll(*at, &end, 10);
	*at = end;
	return true;
}

/* rfc9110 14.2: a range that is not understood, or several, may be ignored. */
static void parse_range(const char *value, struct http_range *range)
{
	int64_t first = -1, last = -1;
	bool has_first, has_last;

	if (strncasecmp(value, "bytes=", 6))
		return;
	value += 6;
	has_first = parse_number(&value, &first);
	if (*value++ != '-')
		return;
	has_last = parse_number(&value, &last);
	if (*value || (!has_first && !has_last) || (has_first && has_last && last < first))
		return;
	*range = (struct http_range){ .given = true, .first = first, .last = last };
}

/* Whether a list with commas has the word. */
static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word), n;

	for (; *list; list += n) {
		list += strspn(list, ", \t");
		n = strcspn(list, ", \t");
		if (n == len && !strncasecmp(list, word, len))
			return true;
	}
	return false;
}

static void take_field(struct http_request *r, struct seen *seen, const char *name,
		       const char *value)
{
	if (!strcasecmp(name, "host"))
		seen->hosts++;
	else if (!strcasecmp(name, "content-length"))
		seen->body |= strcmp(value, "0") != 0;
	else if (!strcasecmp(name, "transfer-encoding"))
		seen->body = true;
	else if (!strcasecmp(name, "range"))
		parse_range(value, &r->range);
	else if (!strcasecmp(name, "if-range"))
		r->if_range = value;
	else if (!strcasecmp(name, "if-none-match"))
		r->if_none_match = value;
	else if (!strcasecmp(name, "connection") && has_word(value, "close"))
		r->keep_alive = false;
	else if (!strcasecmp(name, "connection") && has_word(value, "keep-alive"))
		r->keep_alive = true;
}

static int parse_field(char *line, struct http_request *r, struct seen *seen)
{
	char *value = strchr(line, ':');
	size_t len;

	/* rfc9112 5.1: no blank between name and colon; 5.2: folding is obsolete. */
	if (!is_clean(line) || !value || value == line || strcspn(line, " \t") < (size_t)(value - line))
		return 400;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (len = strlen(value); len && strchr(" \t", value[len - 1]); len--)
		value[len - 1] = '\0';
	take_field(r, seen, line, value);
	return 0;
}

/* The next line, its CRLF replaced; NULL at the empty line that ends the head. */
static char *next_line(char **at)
{
	char *line = *at;
	char *end = strstr(line, "\r\n");

	if (!end || end == line)
		return NULL;
	*end = '\0';
	*at = end + 2;
	return line;
}

int http_parse(char *head, size_t len, struct http_request *r)
{
	struct seen seen = { 0 };
	char *line;
	int status;

	*r = (struct http_request){ .method = "-", .target = "-" };
	/* Cut off at a NUL, the text would mean something else than its length says. */
	if (memchr(head, '\0', len))
		return 400;
	/* The empty line: each line before it keeps its CRLF. */
	head[len - 2] = '\0';
	/* rfc9112 2.2: an empty line before the request is let pass. */
	if (!strncmp(head, "\r\n", 2))
		head += 2;
	line = next_line(&head);
	status = line ? parse_request_line(line, r, &seen) : 400;
	while (!status && (line = next_line(&head)))
		status = parse_field(line, r, &seen);
	/* rfc9112 3.2: a request of 1.1 without Host, or with two, is a bad one. */
	if (!status && (seen.hosts > 1 || (!seen.hosts && seen.minor > 0)))
		status = 400;
	/* Nobody reads a body here, and without that the next request cannot be found. */
	if (!status && seen.body)
		status = 400;
	if (status)
		r->keep_alive = false;
	return status;
}
