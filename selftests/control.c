// SPDX-License-Identifier: GPL-2.0-only
/* Record types: told both ways, never merged; records that are not application data. */
#include "kselftest_harness.h"
#include "ktls_test.h"

static uint8_t payload[PAYLOAD_MAX + 1], data[PAYLOAD_MAX + 1];

PEER_FIXTURE(control);

static void expect_record(struct __test_metadata *_metadata, struct peer *peer,
			  uint8_t expected, const char *text)
{
	uint8_t type;

	ASSERT_EQ(strlen(text), peer_recv(peer, &type, payload));
	EXPECT_EQ(0, memcmp(payload, text, strlen(text)));
	EXPECT_EQ(expected, type);
}

TEST_F(control, every_type_sent)
{
	int i;
	uint8_t type;

	for (i = 0; i < 256; i++) {
		/* rfc8446 5: these are no protected records. */
		if ((variant->cipher & TLS13) && (!i || i == CCS)) {
			EXPECT_EQ(-EINVAL, RESULT(send_type(self->fd, i, "abc", 3, 0)));
			continue;
		}
		ASSERT_EQ(3, send_type(self->fd, i, "abc", 3, 0)) TH_LOG("type %d", i);
		ASSERT_EQ(3, peer_recv(&self->peer, &type, payload));
		ASSERT_EQ(i, type);
	}
}

TEST_F(control, every_type_received)
{
	int i;
	uint8_t type;

	for (i = 1; i < 256; i++) {
		if (i == CCS)
			continue;
		ASSERT_EQ(0, peer_send(&self->peer, i, "abc", 3));
		ASSERT_EQ(3, recv_type(self->fd, payload, 10, 0, &type)) TH_LOG("type %d", i);
		ASSERT_EQ(i, type);
	}
}

/* No protocol has it, but it must not pass for an end of file. */
TEST_F(control, type_zero)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, 0, "abc", 3));
	EXPECT_NE(0, recv_type(self->fd, payload, 10, 0, &type));
}

/* An open record of one type is completed before another begins. */
TEST_F(control, types_do_not_share_a_record)
{
	ASSERT_EQ(4, send(self->fd, "data", 4, MSG_MORE));
	ASSERT_EQ(4, send_type(self->fd, HANDSHAKE, "hand", 4, 0));
	ASSERT_EQ(5, send(self->fd, "again", 5, 0));
	expect_record(_metadata, &self->peer, DATA, "data");
	expect_record(_metadata, &self->peer, HANDSHAKE, "hand");
	expect_record(_metadata, &self->peer, DATA, "again");
}

TEST_F(control, no_more_of_a_type)
{
	EXPECT_EQ(-EINVAL, RESULT(send_type(self->fd, HANDSHAKE, "hand", 4, MSG_MORE)));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	expect_record(_metadata, &self->peer, DATA, "ok");
}

TEST_F(control, long_record_sent)
{
	uint8_t type;

	fill(data, 16384, 0);
	ASSERT_EQ(16384, send_type(self->fd, HANDSHAKE, data, 16384, 0));
	ASSERT_EQ(16384, peer_recv(&self->peer, &type, payload));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_TRUE(filled(payload, 16384, 0));
}

/* rfc5246 6.2.1: no empty record but of application data. */
TEST_F(control, empty_sent)
{
	ONLY_KTLS();
	EXPECT_EQ(-EINVAL, RESULT(send_type(self->fd, HANDSHAKE, "", 0, 0)));
	EXPECT_EQ(-EINVAL, RESULT(send_type(self->fd, ALERT, "", 0, 0)));
	EXPECT_EQ(-EINVAL, RESULT(send_type(self->fd, CCS, "", 0, 0)));
	ASSERT_EQ(2, send(self->fd, "ok", 2, 0));
	expect_record(_metadata, &self->peer, DATA, "ok");
}

TEST_F(control, type_of_data_told)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(1, recv_type(self->fd, payload, 1, 0, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(2, recv_type(self->fd, payload, 2, MSG_PEEK, &type));
	EXPECT_EQ(DATA, type);
	EXPECT_EQ(3, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(DATA, type);
}

TEST_F(control, no_merging)
{
	static const uint8_t types[] = { DATA, HANDSHAKE, HANDSHAKE, ALERT, DATA, DATA };
	static const ssize_t lengths[] = { 3, 3, 3, 3, 6 };
	static const uint8_t told[] = { DATA, HANDSHAKE, HANDSHAKE, ALERT, DATA };
	uint8_t type;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		ASSERT_EQ(0, peer_send(&self->peer, types[i], "abc", 3));
	ASSERT_EQ(0, wait_delivered(self->peer.fd));
	for (i = 0; i < ARRAY_SIZE(told); i++) {
		EXPECT_EQ(lengths[i], recv_type(self->fd, payload, 100, 0, &type));
		EXPECT_EQ(told[i], type);
	}
}

TEST_F(control, no_room)
{
	uint8_t type;
	int i;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_EQ(-EIO, RESULT(read(self->fd, payload, 100)));
	EXPECT_EQ(4, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, memcmp(payload, "ctrl", 4));
}

TEST_F(control, little_room)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { payload, 100 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	uint8_t type;
	size_t room;

	ONLY_KTLS();
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "ctrl", 4));
	for (room = 0; room < CMSG_LEN(1); room++) {
		msg.msg_controllen = room;
		EXPECT_EQ(-EIO, RESULT(recvmsg(self->fd, &msg, 0))) TH_LOG("room %zu", room);
	}
	EXPECT_EQ(4, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
}

TEST_F(control, little_room_for_data)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { payload, 100 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(struct cmsghdr) - 1 };

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recvmsg(self->fd, &msg, 0));
	EXPECT_TRUE(msg.msg_flags & MSG_CTRUNC);
}

static ssize_t recv_flags(int fd, size_t len, int *flags)
{
	char control[CMSG_SPACE(1)];
	struct iovec iov = { payload, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, 0);

	*flags = msg.msg_flags;
	return n;
}

/* In pieces: MSG_EOR with the last of them, and only there. */
TEST_F(control, long_record_in_pieces)
{
	int flags;
	size_t at;

	fill(data, 16384, 0);
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, data, 16384));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "next", 4));
	for (at = 0; at < 16384; at += 4096) {
		ASSERT_EQ(4096, recv_flags(self->fd, 4096, &flags));
		EXPECT_TRUE(filled(payload, 4096, at));
		EXPECT_EQ(at == 3 * 4096, !!(flags & MSG_EOR));
	}
	EXPECT_EQ(4, recv_flags(self->fd, 4096, &flags));
	EXPECT_TRUE(flags & MSG_EOR);
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv_flags(self->fd, 4096, &flags));
}

TEST_F(control, piece_without_room)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "abcdef", 6));
	ASSERT_EQ(3, recv_type(self->fd, payload, 3, 0, &type));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 3, 0)));
	ASSERT_EQ(3, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, memcmp(payload, "def", 3));
}

/* Empty application data is lawful, no end of file, and nothing to a reader of bytes. */
TEST_F(control, empty_data)
{
	int i;

	ONLY_KTLS();
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, peer_send(&self->peer, DATA, "", 0));
	EXPECT_EQ(-EAGAIN, RESULT(recv(self->fd, payload, 10, MSG_DONTWAIT)));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "a", 1));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "", 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "b", 1));
	EXPECT_EQ(2, recv(self->fd, payload, 2, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(payload, "ab", 2));
}

/* CVE-2025-39682: data, empty control, data. rfc8446 5.4: the second is the end in TLS 1.3. */
TEST_F(control, empty_control)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, DATA, "one", 3));
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "", 0));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "two", 3));
	EXPECT_EQ(3, recv_type(self->fd, payload, 100, 0, &type));
	if (variant->cipher & TLS13) {
		EXPECT_EQ(-EBADMSG, RESULT(recv_type(self->fd, payload, 100, 0, &type)));
		EXPECT_EQ(-EBADMSG, RESULT(recv(self->fd, payload, 100, 0)));
		return;
	}
	EXPECT_EQ(0, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(3, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(0, memcmp(payload, "two", 3));
	EXPECT_EQ(DATA, type);
}

TEST_F(control, close_notify_to_plain_readers)
{
	int pipes[2];

	ONLY_KTLS();
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "more", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, recv(self->fd, payload, 100, 0));
	EXPECT_EQ(0, read(self->fd, payload, 100));
	EXPECT_EQ(0, splice(self->fd, NULL, pipes[1], NULL, 100, 0));
	EXPECT_EQ(4, send(self->fd, "back", 4, 0));
	expect_record(_metadata, &self->peer, DATA, "back");
}

TEST_F(control, close_notify_told)
{
	struct ktls_info info;
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	EXPECT_EQ(ALERT, type);
	EXPECT_EQ(0, memcmp(payload, "\1\0", 2));
	if (kernel_tls())
		SKIP(return, "kernel TLS knows no end of file");
	EXPECT_EQ(0, recv_type(self->fd, payload, 100, 0, &type));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_TRUE(info.flags & KTLS_F_CLOSE_NOTIFY_RCVD);
	EXPECT_FALSE(info.flags & KTLS_F_TRUNCATED);
}

/* Other alerts are control records as any. */
TEST_F(control, other_alert)
{
	uint8_t type;

	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\132", 2));
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 100, 0)));
	EXPECT_EQ(2, recv_type(self->fd, payload, 100, 0, &type));
	ASSERT_EQ(0, peer_send(&self->peer, DATA, "data", 4));
	EXPECT_EQ(4, recv(self->fd, payload, 100, 0));
}

/* A peek with no room tells the type and takes nothing, however empty the record is. */
TEST_F(control, peek_of_nothing)
{
	int len = variant->cipher & TLS13 ? 1 : 0;
	uint8_t type;

	ONLY_KTLS();
	ASSERT_EQ(0, peer_send(&self->peer, HANDSHAKE, "x", len));
	ASSERT_EQ(0, peer_send(&self->peer, ALERT, "\1\0", 2));
	ASSERT_EQ(POLLIN, poll_wait(self->fd, POLLIN));
	EXPECT_EQ(len, recv_type(self->fd, payload, 10, MSG_PEEK, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(0, recv_type(self->fd, payload, 0, MSG_PEEK, &type));
	EXPECT_EQ(HANDSHAKE, type);
	EXPECT_EQ(-EIO, RESULT(recv(self->fd, payload, 0, MSG_PEEK)));
	EXPECT_EQ(len, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(HANDSHAKE, type);
	ASSERT_TRUE(poll_wait(self->fd, POLLIN) & POLLIN);
	EXPECT_EQ(0, recv(self->fd, payload, 0, MSG_PEEK));
	EXPECT_EQ(2, recv_type(self->fd, payload, 10, 0, &type));
	EXPECT_EQ(ALERT, type);
}

TEST_HARNESS_MAIN
