// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"

/* pread, so that what was read but not accepted by send is read again. */
static ssize_t copy_from(struct ktls_conn *conn, int fd, off_t *at, size_t len)
{
	char buf[RECORD_MAX_PAYLOAD];
	size_t step = ktls_payload_max(conn);
	size_t done = 0;
	ssize_t n = 0;

	while (done < len) {
		n = pread(fd, buf, len - done < step ? len - done : step, *at);
		if (n < 0)
			n = ktls_fail(conn, errno, "reading the file: %s", strerror(errno));
		else if (n)
			n = conn->path->send(conn, buf, (size_t)n, 0);
		if (n <= 0)
			break;
		*at += n;
		done += (size_t)n;
	}
	return done ? (ssize_t)done : n;
}

ssize_t ktls_copy_file(struct ktls_conn *conn, int fd, off_t *offset, size_t len)
{
	off_t at = offset ? *offset : lseek(fd, 0, SEEK_CUR);
	ssize_t n;

	if (at < 0)
		return ktls_fail(conn, errno, "reading the file: %s", strerror(errno));
	n = copy_from(conn, fd, &at, len);
	if (offset)
		*offset = at;
	else
		lseek(fd, at, SEEK_SET);
	return n;
}
