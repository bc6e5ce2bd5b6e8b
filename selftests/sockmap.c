// SPDX-License-Identifier: GPL-2.0-only
/* A TCP socket that a BPF sockmap has is no carrier, and spoils none. */
#include "kselftest_harness.h"
#include "ktls_test.h"

#include <linux/bpf.h>
#include <sys/syscall.h>

static int bpf_call(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int sockmap(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = 1,
	};

	return bpf_call(BPF_MAP_CREATE, &attr);
}

static int put_in(int map, int fd)
{
	uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&fd,
	};

	return bpf_call(BPF_MAP_UPDATE_ELEM, &attr);
}

FIXTURE(sockmap) { int map; int fds[2]; };
FIXTURE_VARIANT(sockmap) { int family; };
FIXTURE_VARIANT_ADD(sockmap, ipv4) { .family = AF_INET };
FIXTURE_VARIANT_ADD(sockmap, ipv6) { .family = AF_INET6 };

FIXTURE_SETUP(sockmap)
{
	if (kernel_tls())
		SKIP(return, "only AF_KTLS has a carrier");
	self->map = sockmap();
	if (self->map < 0 && (errno == ENOSYS || errno == EINVAL))
		SKIP(return, "the kernel has no sockmap");
	ASSERT_LE(0, self->map);
	ASSERT_EQ(0, tcp_pair(variant->family, self->fds));
	ASSERT_EQ(0, put_in(self->map, self->fds[0]));
}

FIXTURE_TEARDOWN(sockmap)
{
	close(self->map);
	close(self->fds[0]);
	close(self->fds[1]);
}

/* The first carrier that the module sees, where it can be loaded afresh. */
TEST_F(sockmap, first)
{
	int fd, other;

	if (system("modprobe -qn af_ktls && rmmod af_ktls 2>&-"))
		TH_LOG("the module has seen others");
	fd = socket(AF_KTLS, SOCK_STREAM, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(fd, self->fds[0])));
	EXPECT_EQ(-EBUSY, RESULT(tls_bind(fd, self->fds[0])));
	EXPECT_EQ(4, send(self->fds[0], "data", 4, 0));
	close(fd);
	ASSERT_EQ(0, tls_pair(variant->family, TLS_CIPHER_AES_GCM_128, &fd, &other));
	close(fd);
	close(other);
}

/* The map takes no carrier. */
TEST_F(sockmap, carrier)
{
	int fds[2], fd = socket(AF_KTLS, SOCK_STREAM, 0);

	ASSERT_EQ(0, tcp_pair(variant->family, fds));
	ASSERT_EQ(0, tls_bind(fd, fds[0]));
	EXPECT_GT(0, put_in(self->map, fds[0]));
	close(fd);
	EXPECT_EQ(0, put_in(self->map, fds[0]));
	close(fds[0]);
	close(fds[1]);
}

TEST_HARNESS_MAIN
