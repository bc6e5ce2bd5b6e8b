// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "net.h"
#include "options.h"
#include "relay.h"
#include "session.h"

struct arguments {
	struct tls_options tls;
	struct talk_options talk;
	bool keep;
};

static struct arguments args;

static const struct option options[] = {
	TLS_OPTION_CERT(&args.tls),
	TLS_OPTION_KEY(&args.tls),
	{ "CAfile", "FILE", "the client must show a certificate of these authorities",
	  .value = &args.tls.ca_file },
	{ "CApath", "DIR", "the same, a directory made by openssl-rehash(1)", .value = &args.tls.ca_path },
	{ "keep", NULL, "serve one connection after another", .flag = &args.keep },
	TLS_OPTION_CIPHER(&args.tls),
	{ "alpn", "NAMES", "protocols to choose from, commas between", .value = &args.tls.alpn },
	TLS_OPTION_DTLS(&args.tls),
	TALK_OPTION_IDLE(&args.talk),
	TLS_OPTIONS_WAY(&args.tls),
	TALK_OPTIONS(&args.talk),
	TLS_OPTION_KEYLOG(&args.tls),
	{ 0 },
};

static const struct usage usage = {
	"ktls listen -cert FILE [-key FILE] [option...] [ADDRESS:]PORT",
	"Waits for a TLS or DTLS client and connects it to standard input and output. PORT 0\n"
	"takes a free one; standard error says which. With -keep, standard input goes to\n"
	"the first client that takes it. With -dtls it receives until the client closes, or\n"
	"standard input has ended and 60 seconds are silent (-idle; 0: never).\n"
	"Exit status: 0 good, 1 TLS or verification failed, 2 usage, 3 the peer closed\n"
	"without close_notify, or with -dtls before our input's end, 4 network, 5 local\n"
	"files or system.",
	options,
};

static int accept_one(int listener)
{
	int fd;

	do {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		complain("accept: %s", strerror(errno));
	return fd;
}

static enum status serve(SSL_CTX *ctx, int listener)
{
	enum status status;
	int fd;

	do {
		fd = accept_one(listener);
		if (fd < 0)
			return STATUS_NETWORK;
		status = session(ctx, fd, NULL, &args.tls, &args.talk);
		close(fd);
	} while (args.keep);
	return status;
}

static enum status serve_datagrams(SSL_CTX *ctx, int udp)
{
	struct ktls_listener *listener;
	enum status status = STATUS_LOCAL;
	struct ktls_conn *conn;

	set_nonblocking(udp);
	listener = ktls_listen(ctx, udp, tls_flags(&args.tls));
	if (!listener) {
		complain("%s", ktls_last_error());
		return status;
	}
	do {
		conn = ktls_listener_accept(listener, -1);
		status = conn ? session_talk(conn, &args.talk) : status_of(-errno);
		if (!conn)
			complain("%s", ktls_last_error());
	} while (args.keep);
	ktls_listener_close(listener);
	return status;
}

static int run(int argc, char **argv)
{
	enum status status = STATUS_NETWORK;
	char name[NET_NAME];
	struct endpoint at;
	SSL_CTX *ctx;
	int i = parse_options(argc, argv, &usage);
	int fd;

	if (argc - i != 1 || !parse_endpoint(argv[i], false, &at))
		misused(argv[0], "one [ADDRESS:]PORT, please");
	if (!is_port(at.port, true))
		misused(argv[0], "%s is not a port", at.port);
	check_talk(argv[0], &args.tls, &args.talk);
	ctx = tls_server(argv[0], &args.tls);
	if (!ctx)
		return STATUS_LOCAL;
	fd = net_listen(&at, args.tls.dtls ? SOCK_DGRAM : SOCK_STREAM);
	if (fd >= 0) {
		net_local_name(fd, name);
		if (!args.talk.quiet)
			complain("listening on %s", name);
		status = args.tls.dtls ? serve_datagrams(ctx, fd) : serve(ctx, fd);
		close(fd);
	}
	SSL_CTX_free(ctx);
	return status;
}

const struct verb verb_listen = {
	"listen", "standard input and output to a TLS or DTLS client that comes", run,
};
