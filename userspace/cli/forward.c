// SPDX-License-Identifier: MIT
#include <unistd.h>

#include "cli.h"
#include "gateway.h"
#include "net.h"
#include "options.h"
#include "session.h"

struct arguments {
	struct tls_options tls;
	const char *idle;
	bool quiet, client;
};

static struct arguments args = { .idle = "300", .tls.dtls = true };

static const struct option options[] = {
	{ .help = "Which side is plain:" },
	{ "client", NULL, "PORT is plain, HOST:PORT a DTLS server", .flag = &args.client },
	{ .help = "Who the peers must be, and who we are:" },
	{ "CAfile", "FILE", "trust the authorities in FILE; clients must show a certificate",
	  .value = &args.tls.ca_file },
	{ "CApath", "DIR", "the same, a directory made by openssl-rehash(1)",
	  .value = &args.tls.ca_path },
	{ "servername", "NAME", "the name asked for and verified (default: HOST)",
	  .value = &args.tls.server_name },
	{ "insecure", NULL, "accept any certificate of a server", .flag = &args.tls.insecure },
	TLS_OPTION_CERT(&args.tls),
	TLS_OPTION_KEY(&args.tls),
	{ .help = "The rest:" },
	TLS_OPTION_CIPHER(&args.tls),
	{ "idle", "SECONDS", "leave who neither sends nor gets anything so long; 0: never (300)",
	  .value = &args.idle },
	TLS_OPTION_REQUIRE(&args.tls),
	TLS_OPTION_USERSPACE(&args.tls),
	{ "quiet", NULL, "errors only", .flag = &args.quiet },
	TLS_OPTION_KEYLOG(&args.tls),
	{ 0 },
};

static const struct usage usage = {
	"ktls relay -cert FILE [-key FILE] [option...] [ADDRESS:]PORT HOST:PORT\n"
	"       ktls relay -client [option...] [ADDRESS:]PORT HOST:PORT",
	"Carries datagrams between DTLS and plain UDP, both ways, until SIGINT or SIGTERM:\n"
	"those of the DTLS clients that come to PORT to the plain HOST:PORT, each client\n"
	"from a port of its own; or, with -client, plain ones that come to PORT to the DTLS\n"
	"server HOST:PORT, whose answers go to who spoke last. It ends when the server does,\n"
	"or when -idle has passed.\n"
	"Exit status: 0 ended by a signal, 1 TLS or verification failed, 2 usage, 4 network,\n"
	"or the server of -client has closed or was silent, 5 local files or system.",
	options,
};

static enum status run_server(struct gateway *g, SSL_CTX *ctx, int udp, const struct endpoint *to)
{
	bool good = gateway_listen(g, ctx, udp, tls_flags(&args.tls), to);
	enum status status = gateway_run(g);

	return good ? status : STATUS_LOCAL;
}

static enum status run_client(struct gateway *g, SSL_CTX *ctx, int udp, const struct endpoint *to)
{
	const char *name = args.tls.server_name ? args.tls.server_name : to->host;
	enum status ended, status = STATUS_NETWORK;
	struct ktls_conn *conn = NULL;
	int fd = net_connect(to, SOCK_DGRAM);
	bool good;

	if (fd >= 0) {
		conn = session_open(ctx, fd, name, &args.tls, &status);
		close(fd);
	}
	good = conn && gateway_add(g, conn, dup(udp));
	if (conn && !good)
		status = STATUS_LOCAL;
	ended = gateway_run(g);
	return good ? ended : status;
}

static enum status serve(SSL_CTX *ctx, const struct endpoint *at, const struct endpoint *to,
			 unsigned int idle)
{
	enum status status = STATUS_LOCAL;
	struct gateway *g;
	char name[NET_NAME];
	int udp = net_listen(at, SOCK_DGRAM);

	if (udp < 0)
		return STATUS_NETWORK;
	net_local_name(udp, name);
	g = gateway_new(args.quiet, idle);
	if (g) {
		complain("listening on %s", name);
		status = args.client ? run_client(g, ctx, udp, to) : run_server(g, ctx, udp, to);
	}
	close(udp);
	return status;
}

static int run(int argc, char **argv)
{
	int i = parse_options(argc, argv, &usage);
	int idle = read_number(args.idle);
	struct endpoint at, to;
	enum status status;
	SSL_CTX *ctx;

	if (argc - i != 2)
		misused(argv[0], "[ADDRESS:]PORT and HOST:PORT, please");
	if (!parse_endpoint(argv[i], false, &at))
		misused(argv[0], "%s is not [ADDRESS:]PORT", argv[i]);
	if (!parse_endpoint(argv[i + 1], true, &to))
		misused(argv[0], "%s is not HOST:PORT", argv[i + 1]);
	if (!is_port(at.port, true) || !is_port(to.port, false))
		misused(argv[0], "%s is not a port", is_port(at.port, true) ? to.port : at.port);
	if (idle < 0)
		misused(argv[0], "-idle %s: seconds, please", args.idle);
	if (!args.client && (args.tls.insecure || args.tls.server_name))
		misused(argv[0], "-insecure and -servername are for a server: -client, please");
	ctx = args.client ? tls_client(argv[0], &args.tls) : tls_server(argv[0], &args.tls);
	if (!ctx)
		return STATUS_LOCAL;
	status = serve(ctx, &at, &to, (unsigned int)idle);
	SSL_CTX_free(ctx);
	return status;
}

const struct verb verb_relay = {
	"relay", "datagrams between plain UDP and DTLS", run,
};
