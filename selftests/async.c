// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ciphers that answer later, from another context: the kernel's own of highest priority becomes
 * one for a time (pcrypt), and programs that have run with it as it was run again.
 * one kernel is enough; not under detectors, whose kernels are without them; timeout=600
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"

#include <libgen.h>
#include <linux/cryptouser.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>

#define CIPHER	"gcm(aes)"

static uint8_t got[100];

/* Who implements @name, with the highest priority; how many use it, or -1. */
static int find_driver(const char *name, char *driver)
{
	char line[256], its_name[128] = "", its_driver[128] = "";
	int best = -1, users = -1, priority = 0, number;
	FILE *file = fopen("/proc/crypto", "r");

	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "name : %127s", its_name);
		sscanf(line, "driver : %127s", its_driver);
		sscanf(line, "priority : %d", &priority);
		/* It is the last of the four. */
		if (sscanf(line, "refcnt : %d", &number) == 1 && !strcmp(its_name, name) &&
		    priority > best) {
			best = priority;
			users = number;
			strcpy(driver, its_driver);
		}
	}
	if (file)
		fclose(file);
	return users;
}

/* Makes an instance of a template: whoever asks for the cipher gets it from then on. */
static int make_instance(const char *driver)
{
	struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "aead" };
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0), ret;

	memcpy(name.salg_name, driver, strnlen(driver, sizeof(name.salg_name) - 1));
	ret = RESULT(bind(fd, (void *)&name, sizeof(name)));
	close(fd);
	return ret;
}

static int delete_instance(const char *driver)
{
	struct { struct nlmsghdr head; struct crypto_user_alg alg; } request = {
		.head = { .nlmsg_len = sizeof(request), .nlmsg_type = CRYPTO_MSG_DELALG,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
	};
	struct { struct nlmsghdr head; struct nlmsgerr error; } answer = { };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_CRYPTO);

	memcpy(request.alg.cru_driver_name, driver,
	       strnlen(driver, sizeof(request.alg.cru_driver_name) - 1));
	if (send(fd, &request, sizeof(request), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < 0)
		return -errno;
	close(fd);
	return answer.error.error;
}

FIXTURE(async) { char driver[160]; char before[128]; };

FIXTURE_SETUP(async)
{
	int fd, other;

	ONLY_KTLS();
	/* The kernel looks for it when it is first asked for. */
	ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &other));
	close(fd);
	close(other);
	ASSERT_LE(0, find_driver(CIPHER, self->before));
	snprintf(self->driver, sizeof(self->driver), "pcrypt(%s)", self->before);
	ASSERT_EQ(0, make_instance(self->driver));
}

FIXTURE_TEARDOWN(async)
{
	char driver[128] = "";
	int tries = 0, ret;

	/* Sockets give their ciphers back a little after they are closed. */
	do {
		ret = delete_instance(self->driver);
		usleep(100000);
	} while (ret == -EBUSY && tries++ < 50);
	EXPECT_EQ(0, ret);
	find_driver(CIPHER, driver);
	EXPECT_STREQ(self->before, driver);
}

/* A program of this folder, of the ciphers only this one. */
static int run(const char *command)
{
	char path[512], line[1024];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return -1;
	path[n] = 0;
	snprintf(line, sizeof(line), "cd %s && ./%s >/dev/shm/async.tap 2>&1 || "
		 "{ grep -v '^ok\\|  RUN  \\|  OK  ' /dev/shm/async.tap; exit 1; } >&2",
		 dirname(path), command);
	return system(line);
}

TEST_F_TIMEOUT(async, in_use, 60)
{
	char driver[128] = "";
	int fd, other, idle;

	idle = find_driver(CIPHER, driver);
	ASSERT_STREQ(self->driver, driver);
	ASSERT_EQ(0, tls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &other));
	EXPECT_LT(idle, find_driver(CIPHER, driver));
	ASSERT_EQ(4, send(fd, "data", 4, 0));
	EXPECT_EQ(4, recv(other, got, sizeof(got), 0));
	EXPECT_EQ(0, memcmp(got, "data", 4));
	close(fd);
	close(other);
	ASSERT_EQ(0, dtls_pair(AF_INET, TLS_CIPHER_AES_GCM_128, &fd, &other));
	ASSERT_EQ(4, send(fd, "data", 4, 0));
	EXPECT_EQ(4, recv(other, got, sizeof(got), 0));
	EXPECT_EQ(0, memcmp(got, "data", 4));
	close(fd);
	close(other);
}

TEST_F_TIMEOUT(async, programs, 280)
{
	static const char *const commands[] = {
		"send -v aes_gcm_128", "recv -v aes_gcm_128", "splice -v aes_gcm_128",
		"control -v aes_gcm_128", "narrow -v aes_gcm_128", "hostile -v aes_gcm_128",
		"seq -v aes_gcm_128", "races -v aes_gcm_128", "faults -v aes_gcm_128",
		"datagram -v aes_gcm_128_ipv4", "replay -v aes_gcm_128_ipv4",
		"dtls_races -v aes_gcm_128_ipv4",
	};
	int i;

	/* They say which they are. */
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		EXPECT_EQ(0, run(commands[i]));
}

TEST_HARNESS_MAIN
