// SPDX-License-Identifier: MIT
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "net.h"
#include "options.h"
#include "session.h"

struct arguments {
	struct tls_options tls;
	struct talk_options talk;
};

static struct arguments args;

static const struct option options[] = {
	{ .help = "Who the peer must be:" },
	{ "CAfile", "FILE", "trust the authorities in FILE, not the system's",
	  .value = &args.tls.ca_file },
	{ "CApath", "DIR", "the same, a directory made by openssl-rehash(1)", .value = &args.tls.ca_path },
	{ "servername", "NAME", "the name asked for and verified (default: HOST)",
	  .value = &args.tls.server_name },
	{ "insecure", NULL, "accept any certificate", .flag = &args.tls.insecure },
	{ .help = "Who we are:" },
	TLS_OPTION_CERT(&args.tls),
	TLS_OPTION_KEY(&args.tls),
	{ .help = "What is negotiated:" },
	TLS_OPTION_CIPHER(&args.tls),
	{ "alpn", "NAMES", "protocols to offer, commas between", .value = &args.tls.alpn },
	TLS_OPTION_DTLS(&args.tls),
	TALK_OPTION_IDLE(&args.talk),
	TLS_OPTIONS_WAY(&args.tls),
	{ .help = "What is told:" },
	TALK_OPTIONS(&args.talk),
	TLS_OPTION_KEYLOG(&args.tls),
	{ 0 },
};

static const struct usage usage = {
	"ktls connect [option...] HOST:PORT",
	"Connects standard input and output to a TLS or DTLS server. The end of input sends\n"
	"close_notify; receiving goes on to the peer's. With -dtls each read of standard\n"
	"input becomes a datagram, sent at once (a file goes too fast: see serve -dtls), and\n"
	"its end a close_notify after 2 seconds of silence (-idle; 0: never).\n"
	"Exit status: 0 good, 1 TLS or verification failed, 2 usage, 3 the peer closed\n"
	"without close_notify, or with -dtls before our input's end, 4 network, 5 local\n"
	"files or system.",
	options,
};

static int run(int argc, char **argv)
{
	enum status status = STATUS_NETWORK;
	struct endpoint to;
	const char *name;
	SSL_CTX *ctx;
	int i = parse_options(argc, argv, &usage);
	int fd;

	if (argc - i != 1)
		misused(argv[0], "one HOST:PORT, please");
	if (strstr(argv[i], "://"))
		misused(argv[0], "%s is a URL: HOST:PORT, please", argv[i]);
	if (!parse_endpoint(argv[i], true, &to))
		misused(argv[0], "%s is not HOST:PORT", argv[i]);
	if (!is_port(to.port, false))
		misused(argv[0], "%s is not a port", to.port);
	check_talk(argv[0], &args.tls, &args.talk);
	ctx = tls_client(argv[0], &args.tls);
	if (!ctx)
		return STATUS_LOCAL;
	name = args.tls.server_name ? args.tls.server_name : to.host;
	fd = net_connect(&to, args.tls.dtls ? SOCK_DGRAM : SOCK_STREAM);
	if (fd >= 0) {
		status = session(ctx, fd, name, &args.tls, &args.talk);
		close(fd);
	}
	SSL_CTX_free(ctx);
	return status;
}

const struct verb verb_connect = {
	"connect", "standard input and output to a TLS or DTLS server", run,
};
