// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that no sane program makes, by several threads on the same sockets: any option, size,
 * flag and control message, memory that ends at a page, descriptors passed, dup'ed and closed
 * while in use. Nothing is expected but that the kernel goes on, which its detectors judge, and
 * that some of the calls did something.
 * KTLS_FUZZ_SECONDS, KTLS_FUZZ_SEED: see fuzz.h; KTLS_FUZZ_THREADS=1 repeats exactly.
 */
#include "kselftest_harness.h"
#include "ktls_test.h"
#include "dtls_test.h"
#include "fuzz.h"

#include <linux/sockios.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#define THREADS		3
#define DESCRIPTORS	24
#define PIECE		(5 * 4096)
#define SCENE_MS	400	/* the sockets are new after so long */

/* What the threads of one process share. */
struct scene {
	struct fuzz fuzz;
	int fds[DESCRIPTORS];	/* changes under their hands */
	int mail[2];		/* for descriptors */
	struct timespec end;
};

static const uint16_t ciphers[] = {
	TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_CHACHA20_POLY1305,
	TLS_CIPHER_AES_CCM_128,
};

/* Memory behind which there is none. */
static uint8_t *memory(struct fuzz *f, uint8_t *room, size_t len)
{
	if (fuzz_one_in(f, 200))
		return (uint8_t *)(uintptr_t)fuzz_bits(f);
	if (fuzz_one_in(f, 50))
		return room + PIECE - len / 2;
	return fuzz_one_in(f, 3) ? room : room + PIECE - len;
}

static int descriptor(struct scene *s, struct fuzz *f)
{
	return __atomic_load_n(&s->fds[fuzz_below(f, DESCRIPTORS)], __ATOMIC_RELAXED);
}

/* In the place of another, which is closed. */
static void put(struct scene *s, struct fuzz *f, int fd)
{
	if (fd >= 0)
		close(__atomic_exchange_n(&s->fds[fuzz_below(f, DESCRIPTORS)], fd,
					  __ATOMIC_RELAXED));
}

static void call_send(struct scene *s, struct fuzz *f, uint8_t *room)
{
	static const int flags[] = { 0, 0, 0, MSG_MORE, MSG_EOR, MSG_OOB, MSG_ZEROCOPY,
				     MSG_CONFIRM, 0x20000, 0x10, MSG_FASTOPEN };
	size_t len = fuzz_size(f, PIECE);

	send(descriptor(s, f), memory(f, room, len), len,
	     FUZZ_PICK(f, flags) | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static size_t any_control(struct fuzz *f, uint8_t *control)
{
	static const int levels[] = { SOL_TLS, SOL_KTLS, SOL_SOCKET, SOL_UDP, SOL_IP, SOL_TCP };
	struct cmsghdr *cmsg = (struct cmsghdr *)control;
	size_t len = fuzz_below(f, 60);

	cmsg->cmsg_level = FUZZ_PICK(f, levels);
	cmsg->cmsg_type = fuzz_below(f, 10);
	cmsg->cmsg_len = fuzz_one_in(f, 4) ? fuzz_size(f, 100) : CMSG_LEN(len);
	fuzz_bytes(f, CMSG_DATA(cmsg), len);
	if (fuzz_one_in(f, 2)) {
		cmsg->cmsg_level = SOL_TLS;
		cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
		cmsg->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(cmsg) = fuzz_one_in(f, 2) ? ALERT : fuzz_below(f, 256);
		return CMSG_SPACE(1);
	}
	return fuzz_one_in(f, 5) ? fuzz_below(f, 200) : CMSG_SPACE(len);
}

static void call_msg(struct scene *s, struct fuzz *f, uint8_t *room)
{
	static const int flags[] = { 0, 0, MSG_PEEK, MSG_TRUNC, MSG_ERRQUEUE, MSG_WAITALL,
				     MSG_CMSG_CLOEXEC, MSG_OOB, MSG_MORE, MSG_EOR };
	uint8_t control[256] __attribute__((aligned(8))) = { };
	struct sockaddr_storage name = { .ss_family = fuzz_below(f, 14) };
	struct iovec iov[3];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = fuzz_below(f, 4) };
	struct mmsghdr many[2];
	int how = FUZZ_PICK(f, flags) | MSG_DONTWAIT | MSG_NOSIGNAL, fd = descriptor(s, f);
	size_t i;

	for (i = 0; i < 3; i++) {
		iov[i].iov_len = fuzz_size(f, PIECE);
		iov[i].iov_base = memory(f, room, iov[i].iov_len);
	}
	if (fuzz_one_in(f, 2)) {
		msg.msg_control = control;
		msg.msg_controllen = any_control(f, control);
	}
	if (fuzz_one_in(f, 10)) {
		msg.msg_name = &name;
		msg.msg_namelen = fuzz_below(f, sizeof(name));
	}
	many[0].msg_hdr = many[1].msg_hdr = msg;
	switch (fuzz_below(f, 6)) {
	case 0:
		sendmmsg(fd, many, 2, how);
		break;
	case 1:
		recvmmsg(fd, many, 2, how, NULL);
		break;
	case 2:
	case 3:
		sendmsg(fd, &msg, how);
		break;
	default:
		if (msg.msg_control)
			msg.msg_controllen = fuzz_below(f, sizeof(control));
		recvmsg(fd, &msg, how);
	}
}

static void call_recv(struct scene *s, struct fuzz *f, uint8_t *room)
{
	static const int flags[] = { 0, 0, 0, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_ERRQUEUE };
	size_t len = fuzz_size(f, PIECE);

	recv(descriptor(s, f), memory(f, room, len), len, FUZZ_PICK(f, flags) | MSG_DONTWAIT);
}

static void call_setsockopt(struct scene *s, struct fuzz *f, uint8_t *room)
{
	static const int levels[] = { SOL_TLS, SOL_TLS, SOL_KTLS, SOL_KTLS, SOL_SOCKET, SOL_TCP,
				      SOL_UDP, SOL_IP, SOL_IPV6 };
	int level = FUZZ_PICK(f, levels), name = fuzz_below(f, fuzz_one_in(f, 4) ? 130 : 9);
	socklen_t len = fuzz_one_in(f, 2) ? sizeof(int) : fuzz_below(f, 100);
	uint8_t *value = memory(f, room, len);

	/* Would not come back. */
	if (level == SOL_SOCKET && (name == SO_LINGER || name == SO_RCVTIMEO ||
				    name == SO_SNDTIMEO))
		return;
	if (value >= room && value + len <= room + PIECE) {
		fuzz_bytes(f, value, len);
		if (len >= sizeof(int) && fuzz_one_in(f, 2))
			memset(value + 1, 0, len - 1);
	}
	setsockopt(descriptor(s, f), level, name, value, len);
}

static void call_getsockopt(struct scene *s, struct fuzz *f, uint8_t *room)
{
	static const int levels[] = { SOL_TLS, SOL_KTLS, SOL_SOCKET, SOL_TCP, SOL_IP };
	socklen_t len = fuzz_below(f, fuzz_one_in(f, 10) ? -1U : 300);
	struct sockaddr_storage name;
	socklen_t name_len = fuzz_below(f, sizeof(name));
	int fd = descriptor(s, f);

	getsockopt(fd, FUZZ_PICK(f, levels), fuzz_below(f, 60),
		   memory(f, room, len < PIECE ? len : PIECE), &len);
	getsockname(fd, (void *)&name, &name_len);
	getpeername(fd, (void *)&name, &name_len);
}

static void call_key(struct scene *s, struct fuzz *f, uint8_t *room)
{
	union crypto_info info;
	struct keys keys;
	socklen_t len;

	if (fuzz_one_in(f, 2))
		dtls_keys_make(&keys, FUZZ_PICK(f, ciphers), fuzz_below(f, 2));
	else
		keys_make(&keys, FUZZ_PICK(f, ciphers) | (fuzz_one_in(f, 2) ? TLS13 : 0),
			  fuzz_below(f, 2));
	if (fuzz_one_in(f, 8))
		keys.seq = fuzz_bits(f);
	len = keys_info(&keys, &info);
	if (fuzz_one_in(f, 8))
		fuzz_bytes(f, info.bytes, fuzz_below(f, sizeof(info)));
	setsockopt(descriptor(s, f), SOL_TLS, 1 + fuzz_below(f, 2), &info,
		   fuzz_one_in(f, 8) ? fuzz_below(f, sizeof(info)) : len);
}

static void call_splice(struct scene *s, struct fuzz *f, uint8_t *room)
{
	size_t len = fuzz_size(f, 100000);
	int from = descriptor(s, f), to = descriptor(s, f);
	struct iovec iov = { memory(f, room, 4096), 4096 };
	off_t offset = 0;

	switch (fuzz_below(f, 4)) {
	case 0:
		sendfile(to, from, &offset, len);
		break;
	case 1:
		vmsplice(to, &iov, 1, SPLICE_F_NONBLOCK);
		break;
	case 2:
		tee(from, to, len, SPLICE_F_NONBLOCK);
		break;
	default:
		splice(from, NULL, to, NULL, len,
		       SPLICE_F_NONBLOCK | (fuzz_one_in(f, 2) ? SPLICE_F_MORE : 0));
	}
}

static void call_state(struct scene *s, struct fuzz *f, uint8_t *room)
{
	struct sockaddr_ktls addr = { .skt_family = AF_KTLS, .skt_fd = descriptor(s, f) };
	struct sockaddr_storage name = { .ss_family = AF_UNSPEC };
	int fd = descriptor(s, f), value;
	socklen_t len = sizeof(name);

	switch (fuzz_below(f, 12)) {
	case 0:
		if (fuzz_one_in(f, 8))
			addr.skt_flags = 1;
		bind(fd, (void *)&addr, fuzz_one_in(f, 8) ? fuzz_below(f, 20) : sizeof(addr));
		break;
	case 1:
		connect(fd, (void *)&name, sizeof(name));
		break;
	case 2:
		if (!getsockname(descriptor(s, f), (void *)&name, &len))
			connect(fd, (void *)&name, len);
		break;
	case 3:
		if (fuzz_one_in(f, 4))
			shutdown(fd, fuzz_below(f, 4));
		break;
	case 4:
		setsockopt(fd, SOL_KTLS, KTLS_DETACH, NULL, 0);
		break;
	case 5:
		if (fuzz_one_in(f, 4))
			listen(fd, 1);
		break;
	case 6:
		put(s, f, dup(fd));
		break;
	case 7:
		if (fuzz_one_in(f, 3))
			put(s, f, socket(AF_KTLS, fuzz_one_in(f, 2) ? SOCK_STREAM | SOCK_NONBLOCK :
					 SOCK_DGRAM | SOCK_NONBLOCK, 0));
		break;
	case 8:
		ioctl(fd, fuzz_one_in(f, 2) ? SIOCOUTQ : FIONREAD, &value);
		ioctl(fd, fuzz_bits(f), room);
		break;
	case 9:
		setsockopt(fd, SOL_KTLS, KTLS_PREPEND_RX, memory(f, room, 100), fuzz_size(f, 100));
		break;
	default:
		value = fuzz_below(f, 2000);
		setsockopt(fd, SOL_KTLS, KTLS_CONTROL + fuzz_below(f, 5), &value, sizeof(value));
	}
}

static void call_poll(struct scene *s, struct fuzz *f, uint8_t *room)
{
	struct pollfd pfd[4];
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	int i, ep;

	for (i = 0; i < 4; i++)
		pfd[i] = (struct pollfd){ descriptor(s, f), fuzz_below(f, 0x4000), 0 };
	poll(pfd, 4, fuzz_below(f, 2));
	if (fuzz_one_in(f, 4)) {
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, descriptor(s, f), &event);
		epoll_wait(ep, &event, 1, 0);
		close(ep);
	}
}

/* A descriptor travels, and perhaps never arrives. */
static void call_pass(struct scene *s, struct fuzz *f, uint8_t *room)
{
	union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control = { };
	struct iovec iov = { room, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fd = descriptor(s, f);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (fuzz_one_in(f, 2)) {
		sendmsg(s->mail[0], &msg, MSG_DONTWAIT);
	} else if (recvmsg(s->mail[1], &msg, MSG_DONTWAIT) > 0 && CMSG_FIRSTHDR(&msg)) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		put(s, f, fd);
	}
}

static void (*const calls[])(struct scene *s, struct fuzz *f, uint8_t *room) = {
	call_send, call_send, call_recv, call_recv, call_msg, call_msg, call_msg, call_splice,
	call_splice, call_setsockopt, call_getsockopt, call_key, call_state, call_state, call_poll,
	call_pass,
};

static bool is_over(const struct scene *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > s->end.tv_sec ||
	       (now.tv_sec == s->end.tv_sec && now.tv_nsec > s->end.tv_nsec);
}

struct worker {
	struct scene *scene;
	int number;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct fuzz f = fuzz_part(&w->scene->fuzz, w->number);
	uint8_t *room = mmap(NULL, PIECE + 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	mprotect(room + PIECE, 4096, PROT_NONE);
	while (!is_over(w->scene))
		for (i = 0; i < 20; i++)
			FUZZ_PICK(&f, calls)(w->scene, &f, room);
	munmap(room, PIECE + 4096);
	return NULL;
}

/* Without the sockets nothing would be tried: the process ends. */
static int must(const char *what, int result)
{
	if (result < 0) {
		printf("# %s: %s\n", what, strerror(errno));
		fflush(stdout);
		_exit(1);
	}
	return result;
}

/* Sockets in all states, some of which talk to each other. */
static void furnish(struct scene *s)
{
	int i = 0, k, fds[2];
	struct peer peer;
	struct fuzz *f = &s->fuzz;
	uint16_t cipher = FUZZ_PICK(f, ciphers), version = fuzz_one_in(f, 2) ? TLS13 : 0;

	memset(s->fds, -1, sizeof(s->fds));
	must("tls_pair", tls_pair(AF_INET, version | cipher, &s->fds[i], &s->fds[i + 1]));
	i += 2;
	must("dtls_pair", dtls_pair(AF_INET6, cipher, &s->fds[i], &s->fds[i + 1]));
	i += 2;
	must("tls_carrier_and_peer",
	     tls_carrier_and_peer(AF_INET, version | cipher, &s->fds[i], &s->fds[i + 1], &peer));
	s->fds[i + 2] = peer.fd;
	i += 3;
	must("udp_pair", udp_pair(AF_INET, fds));
	must("dtls_over", dtls_over(fds, cipher, &s->fds[i], &s->fds[i + 1], &peer));
	s->fds[i + 2] = peer.fd;
	i += 3;
	must("tcp_pair", tcp_pair(AF_INET, &s->fds[i]));
	i += 2;
	must("udp_pair", udp_pair(AF_INET, &s->fds[i]));
	i += 2;
	s->fds[i++] = must("udp_socket", udp_socket(AF_INET));
	s->fds[i++] = must("socket", socket(AF_KTLS, SOCK_STREAM, 0));
	s->fds[i++] = must("socket", socket(AF_KTLS, SOCK_DGRAM, 0));
	for (k = 0; k < 2; k++, i += 2)
		must("pipe", pipe(&s->fds[i]));
	s->fds[i] = must("memfd_create", memfd_create("file", 0));
	must("ftruncate", ftruncate(s->fds[i], 200000));
	for (i = 0; i < DESCRIPTORS; i++)
		must("fcntl", s->fds[i] < 0 ? 0 : nonblocking(s->fds[i], true));
}

/* A process that does it for a while; 0: it came to its end. */
static int play(struct fuzz *f)
{
	const char *threads = getenv("KTLS_FUZZ_THREADS");
	int count = threads ? atoi(threads) : THREADS, i, status;
	struct worker workers[16] = { };
	struct scene scene = { .fuzz = *f };
	pid_t pid = fork();

	if (pid) {
		waitpid(pid, &status, 0);
		return status;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	signal(SIGURG, SIG_IGN);
	/* Nobody waits for ever; the signal ends the process. */
	alarm(TIME_LIMIT * 6);
	furnish(&scene);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, scene.mail))
		_exit(1);
	clock_gettime(CLOCK_MONOTONIC, &scene.end);
	scene.end.tv_nsec += SCENE_MS * 1000000L;
	scene.end.tv_sec += scene.end.tv_nsec / 1000000000;
	scene.end.tv_nsec %= 1000000000;
	/* Another process has the same sockets, and ends in the middle of it. */
	if (fuzz_one_in(&scene.fuzz, 3) && !fork()) {
		workers[0] = (struct worker){ .scene = &scene, .number = 99 };
		pthread_create(&workers[0].thread, NULL, work, &workers[0]);
		usleep(SCENE_MS * 500);
		raise(SIGKILL);
	}
	for (i = 0; i < count && i < 16; i++) {
		workers[i] = (struct worker){ .scene = &scene, .number = i };
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (i = 0; i < count && i < 16; i++)
		pthread_join(workers[i].thread, NULL);
	_exit(0);
}

FIXTURE(fuzz_calls) { };
FIXTURE_SETUP(fuzz_calls) { }
FIXTURE_TEARDOWN(fuzz_calls) { }

TEST_F_TIMEOUT(fuzz_calls, any, 100000)
{
	struct fuzz fuzz;
	int rounds = 0;

	ONLY_KTLS();
	fuzz_begin(&fuzz, "fuzz_calls");
	ASSERT_EQ(0, own_network());
	while (fuzz_goes_on(&fuzz)) {
		struct fuzz f = fuzz_part(&fuzz, rounds++);

		ASSERT_EQ(0, play(&f)) {
			TH_LOG("round %d did not come to its end", rounds);
		}
	}
	TH_LOG("%d rounds", rounds);
	EXPECT_LT(0, rounds);
	EXPECT_LT(0, proc_counter("/proc/net/ktls_stat", "KtlsTxKeys"));
	EXPECT_LT(0, proc_counter("/proc/net/ktls_stat", "KtlsTxRecords"));
	EXPECT_LT(0, proc_counter("/proc/net/ktls_stat", "KtlsRxRecords"));
}

TEST_HARNESS_MAIN
