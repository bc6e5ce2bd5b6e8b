// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody without privileges who makes namespaces of a user's own, where they have all
 * capabilities: they do as they please with their own sockets, and with one that they were
 * given no more than before.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <sched.h>
#include <sys/prctl.h>

#define NOBODY	65534

FIXTURE(unprivileged) { int fd; struct peer peer; int plain[2]; int udp[2]; };

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

	close(fd);
	return written;
}

/* Sockets of root's, then nobody who is root in namespaces of their own. */
FIXTURE_SETUP(unprivileged)
{
	ONLY_KTLS();
	ASSERT_EQ(0, tls_and_peer(AF_INET, TLS_CIPHER_AES_GCM_128, &self->fd, &self->peer));
	ASSERT_EQ(0, tcp_pair(AF_INET, self->plain));
	ASSERT_EQ(0, udp_pair(AF_INET, self->udp));
	ASSERT_EQ(0, setresgid(NOBODY, NOBODY, NOBODY));
	ASSERT_EQ(0, setresuid(NOBODY, NOBODY, NOBODY));
	/* To write to its own files below. */
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
	ASSERT_EQ(0, unshare(CLONE_NEWUSER));
	ASSERT_TRUE(write_file("/proc/self/setgroups", "deny"));
	ASSERT_TRUE(write_file("/proc/self/uid_map", "0 65534 1"));
	ASSERT_TRUE(write_file("/proc/self/gid_map", "0 65534 1"));
	ASSERT_EQ(0, own_network());
}

FIXTURE_TEARDOWN(unprivileged)
{
	close(self->fd);
	peer_close(&self->peer);
	close(self->plain[0]);
	close(self->plain[1]);
	close(self->udp[0]);
	close(self->udp[1]);
}

static bool shows_key(int fd)
{
	static const uint8_t zeros[TLS_CIPHER_AES_GCM_128_KEY_SIZE];
	struct tls12_crypto_info_aes_gcm_128 info;
	socklen_t len = sizeof(info);

	return !getsockopt(fd, SOL_TLS, TLS_TX, &info, &len) &&
	       memcmp(info.key, zeros, sizeof(zeros));
}

static long set_int(int fd, int option, int value)
{
	return RESULT(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)));
}

static int get_int(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, SOL_SOCKET, option, &value, &len);
	return value;
}

TEST_F(unprivileged, own_sockets)
{
	char got[10];
	int fd, other;

	ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &other));
	ASSERT_EQ(4, send(fd, "data", 4, 0));
	EXPECT_EQ(4, recv(other, got, sizeof(got), 0));
	EXPECT_TRUE(shows_key(fd));
	EXPECT_EQ(1, proc_counter("/proc/net/ktls_stat", "KtlsTxRecords"));
	close(fd);
	close(other);
	ASSERT_EQ(0, dtls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &other));
	ASSERT_EQ(4, send(fd, "data", 4, 0));
	EXPECT_EQ(4, recv(other, got, sizeof(got), 0));
	EXPECT_TRUE(shows_key(fd));
	close(fd);
	close(other);
}

TEST_F(unprivileged, given_socket)
{
	uint8_t type, got[10];

	EXPECT_FALSE(shows_key(self->fd));
	EXPECT_EQ(-EPERM, set_int(self->fd, SO_SNDBUFFORCE, 1 << 24));
	EXPECT_EQ(-EPERM, set_int(self->fd, SO_RCVBUFFORCE, 1 << 24));
	EXPECT_EQ(-EPERM, set_int(self->fd, SO_MARK, 1));
	EXPECT_EQ(-EPERM, set_int(self->fd, SO_PRIORITY, 7));
	EXPECT_EQ(0, proc_counter("/proc/net/ktls_stat", "KtlsCurrBound"));
	/* What it was given for it may do. */
	ASSERT_EQ(4, send(self->fd, "data", 4, 0));
	EXPECT_EQ(4, peer_recv(&self->peer, &type, got));
	EXPECT_EQ(0, proc_counter("/proc/net/ktls_stat", "KtlsTxRecords"));
}

/* Whose TLS it is does not change whose connection it is. */
static void expect_no_more(struct __test_metadata *_metadata, int type, int fds[2],
			   struct keys *keys)
{
	int fd = socket(AF_KTLS, type, 0);
	char got[100];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tls_bind(fd, fds[0]));
	ASSERT_EQ(0, tls_key(fd, TLS_TX, keys));
	EXPECT_TRUE(shows_key(fd));
	EXPECT_EQ(-EPERM, set_int(fd, SO_SNDBUFFORCE, 1 << 24));
	/* Refused, or, on Linux 6.1, not for the carrier. */
	set_int(fd, SO_MARK, 1);
	set_int(fd, SO_PRIORITY, 7);
	EXPECT_EQ(0, get_int(fds[0], SO_MARK));
	EXPECT_EQ(0, get_int(fds[0], SO_PRIORITY));
	EXPECT_EQ(1, proc_counter("/proc/net/ktls_stat", "KtlsCurrBound"));
	ASSERT_EQ(4, send(fd, "data", 4, 0));
	EXPECT_EQ(4 + (ssize_t)record_overhead(keys), recv(fds[1], got, sizeof(got), 0));
	close(fd);
}

TEST_F(unprivileged, given_carrier)
{
	struct keys keys;

	keys_make(&keys, TLS_CIPHER_AES_GCM_128, 1);
	expect_no_more(_metadata, SOCK_STREAM, self->plain, &keys);
}

TEST_F(unprivileged, given_datagram_carrier)
{
	struct keys keys;

	dtls_keys_make(&keys, TLS_CIPHER_AES_GCM_128, 1);
	expect_no_more(_metadata, SOCK_DGRAM, self->udp, &keys);
}

TEST_HARNESS_MAIN
