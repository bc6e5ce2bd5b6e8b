// SPDX-License-Identifier: MIT
/* What this kernel can carry: tried with a connection of our own. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/tls.h>

#include "conn.h"

#define FAMILY_FILE	"/sys/module/af_ktls/parameters/family"

/* Held where any of the below is touched. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool known;
static int family = AF_KTLS;
static unsigned int can;
static char reason[KTLS_SENTENCE];

const char *ktls_explain_socket(int err)
{
	switch (err) {
	case EAFNOSUPPORT:
		return "the kernel module af_ktls is not loaded: as root, modprobe af_ktls (after make install, or insmod af_ktls.ko)";
	case EPERM:
	case EACCES:
		return "socket(AF_KTLS) is not permitted here: allow it in the seccomp filter, container or security policy";
	case ESOCKTNOSUPPORT:
	case EPROTONOSUPPORT:
		return "another protocol owns the number of AF_KTLS: load af_ktls with family= and another number";
	case EMFILE:
	case ENFILE:
		return "too many open files: raise the limit (ulimit -n)";
	default:
		return strerror(err);
	}
}

static void read_family(void)
{
	FILE *f = fopen(FAMILY_FILE, "re");
	int number;

	if (!f)
		return;
	if (fscanf(f, "%d", &number) == 1 && number > 0)
		family = number;
	fclose(f);
}

/* Two ends of a TCP connection over loopback. 0 or -errno. */
static int connect_pair(int listener, int pair[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		return -errno;
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pair[0] < 0)
		return -errno;
	if (connect(pair[0], (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return pair[1] < 0 ? -errno : 0;
}

static int make_pair(int pair[2])
{
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	pair[0] = -1;
	pair[1] = -1;
	if (listener < 0)
		return -errno;
	ret = connect_pair(listener, pair);
	close(listener);
	return ret;
}

static void close_pair(const int pair[2])
{
	int i;

	for (i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
}

/* The keys carry nothing: the socket is closed unused. */
static int try_key(int fd, int version)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = { .version = (__u16)version, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};

	return setsockopt(fd, SOL_TLS, TLS_TX, &info, sizeof(info)) ? -errno : 0;
}

static int try_version(int carrier, int type, int version)
{
	struct sockaddr_ktls addr = { .skt_fd = carrier };
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	addr.skt_family = (__kernel_sa_family_t)family;
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	if (!ret)
		ret = try_key(fd, version);
	close(fd);
	return ret;
}

/* Nothing is sent: whether somebody is at that port does not matter. */
static int try_datagrams(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(9) };
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (udp < 0)
		return -errno;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ret = connect(udp, (struct sockaddr *)&addr, sizeof(addr)) ? -errno :
	      try_version(udp, SOCK_DGRAM, DTLS_1_2_VERSION);
	close(udp);
	return ret;
}

/* Another owner of the number (DECnet, say) does not know our options. */
static int is_ours(int fd)
{
	struct ktls_info info;
	socklen_t len = sizeof(info);

	return !getsockopt(fd, SOL_KTLS, KTLS_INFO, &info, &len);
}

static int try_family(void)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ours;

	if (fd < 0)
		return -errno;
	ours = is_ours(fd);
	close(fd);
	return ours ? 0 : -EPROTONOSUPPORT;
}

/* 0 or the -errno for which it is not certain. */
static int try_versions(void)
{
	int pair[2];
	int ret = make_pair(pair);

	if (ret) {
		/* No loopback to try on; the module is there, so what it always had is too. */
		can = KTLS_CAN_TLS12;
		snprintf(reason, sizeof(reason), "only TLS 1.2 is assumed, loopback TCP fails: %s",
			 strerror(-ret));
		close_pair(pair);
		return ret;
	}
	ret = try_version(pair[0], SOCK_STREAM, TLS_1_2_VERSION);
	if (!ret)
		can |= KTLS_CAN_TLS12;
	if (!try_version(pair[1], SOCK_STREAM, TLS_1_3_VERSION))
		can |= KTLS_CAN_TLS13;
	if (!try_datagrams())
		can |= KTLS_CAN_DTLS12;
	close_pair(pair);
	if (ret == -ENOENT)
		snprintf(reason, sizeof(reason),
			 "the kernel lacks AES-GCM: as root, modprobe gcm aesni_intel (or ghash-generic)");
	else if (ret)
		snprintf(reason, sizeof(reason), "the module af_ktls takes no TLS 1.2 keys: %s",
			 strerror(-ret));
	else if (!(can & KTLS_CAN_DTLS12))
		snprintf(reason, sizeof(reason), "this af_ktls carries no DTLS");
	else if (!(can & KTLS_CAN_TLS13))
		snprintf(reason, sizeof(reason), "this af_ktls carries TLS 1.2 and DTLS 1.2, not TLS 1.3");
	return ret;
}

/* What is short now may not be so the next time. */
static bool is_lasting(int ret)
{
	return ret != -EMFILE && ret != -ENFILE && ret != -ENOMEM && ret != -ENOBUFS;
}

static void find_out(void)
{
	int ret;

	if (known)
		return;
	can = 0;
	reason[0] = '\0';
	read_family();
	ret = try_family();
	if (ret)
		snprintf(reason, sizeof(reason), "%s", ktls_explain_socket(-ret));
	else
		ret = try_versions();
	known = is_lasting(ret);
}

unsigned int ktls_available(const char **why)
{
	static _Thread_local char told[KTLS_SENTENCE];
	unsigned int ret;

	pthread_mutex_lock(&lock);
	find_out();
	ret = can;
	memcpy(told, reason, sizeof(told));
	pthread_mutex_unlock(&lock);
	if (why)
		*why = told;
	return ret;
}

int ktls_family(void)
{
	int ret;

	pthread_mutex_lock(&lock);
	find_out();
	ret = family;
	pthread_mutex_unlock(&lock);
	return ret;
}
