// SPDX-License-Identifier: MIT
/* splice(2): both ends are looked at first, as nobody here waits for either. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fake_socket.h"
#include "wire.h"

#define SPLICED		4096	/* PIPE_BUF: a pipe that can be written takes it whole */

static bool is_ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return syscall(SYS_poll, &pfd, 1, 0) == 1;
}

/* The bytes of the data record at the head, up to SPLICED of them; 0: the end; -errno. */
static ssize_t peek_data(int fd, uint8_t *data)
{
	union { char buf[CMSG_SPACE(1)]; struct cmsghdr align; } control;
	struct iovec iov = { .iov_base = data, .iov_len = SPLICED };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	uint8_t type = msg.msg_controllen ? *CMSG_DATA(&control.align) : RECORD_DATA;

	if (n < 0)
		return -errno;
	if (n > 0 && type == RECORD_ALERT && data[1] == 0)
		return 0;
	return n > 0 && type != RECORD_DATA ? -EINVAL : n;
}

static ssize_t splice_from(int fd, int out)
{
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint8_t data[SPLICED];
	ssize_t n;

	if (!is_ready(out, POLLOUT))
		return fake_fail(EAGAIN);
	n = peek_data(fd, data);
	if (n < 0)
		return fake_fail((int)-n);
	iov = (struct iovec){ .iov_base = data, .iov_len = (size_t)n };
	if (n)
		(void)recvmsg(fd, &msg, MSG_DONTWAIT);
	return n ? write(out, data, (size_t)n) : 0;
}

static ssize_t splice_to(struct fake *f, int fd, int in)
{
	uint8_t data[SPLICED];
	ssize_t n;
	int err;

	if (!is_ready(in, POLLIN))
		return fake_fail(EAGAIN);
	err = fake_may_send(f, fd);
	if (err)
		return fake_fail(err);
	n = read(in, data, sizeof(data));
	return n > 0 ? send(fd, data, (size_t)n, 0) : n;
}

ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len,
	       unsigned int flags)
{
	struct fake *from = fake_find(in), *to = fake_find(out);

	if (from)
		return splice_from(in, out);
	if (to)
		return splice_to(to, out, in);
	return (ssize_t)syscall(SYS_splice, in, in_offset, out, out_offset, len, flags);
}
