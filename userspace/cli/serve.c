// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "files.h"
#include "net.h"
#include "options.h"
#include "server.h"
#include "site.h"
#include "stream.h"
#include "tls.h"

#define RATE_MAX	(UINT64_C(16) << 30)
#define PAYLOAD_MAX	16384	/* of a record */

struct arguments {
	struct tls_options tls;
	const char *port, *bind, *clients, *idle, *rate, *size;
	bool stream;
};

static struct arguments args = {
	.port = "4433", .bind = "", .clients = "4096",
};

static const struct option options[] = {
	TLS_OPTION_CERT(&args.tls),
	TLS_OPTION_KEY(&args.tls),
	{ "CAfile", "FILE", "clients must show a certificate of these authorities",
	  .value = &args.tls.ca_file },
	{ "CApath", "DIR", "the same, a directory made by openssl-rehash(1)", .value = &args.tls.ca_path },
	{ "port", "N", "port, 0 for a free one (default: 4433)", .value = &args.port },
	{ "bind", "ADDRESS", "listen there only (default: everywhere)", .value = &args.bind },
	{ "clients", "N", "connections at a time; others wait, or with -dtls are turned away (4096)",
	  .value = &args.clients },
	{ .help = "Datagrams:" },
	{ "dtls", NULL, "DTLS 1.2 over UDP, and in it TFTP", .flag = &args.tls.dtls },
	{ "idle", "SECONDS", "leave clients that send nothing so long; 0: never (300)",
	  .value = &args.idle },
	{ "stream", NULL, "send FILE to each client, at an even pace", .flag = &args.stream },
	{ "rate", "N", "bytes a second to each; K, M, G (default: 1M)", .value = &args.rate },
	{ "size", "N", "bytes a datagram (default: what the path takes)", .value = &args.size },
	{ .help = "What is negotiated, and told:" },
	TLS_OPTION_CIPHER(&args.tls),
	TLS_OPTIONS_WAY(&args.tls),
	TLS_OPTION_KEYLOG(&args.tls),
	{ 0 },
};

static const struct usage usage = {
	"ktls serve -cert FILE [-key FILE] [option...] DIRECTORY\n"
	"       ktls serve -dtls -stream -cert FILE [-key FILE] [option...] FILE",
	"Serves the files of DIRECTORY over HTTPS, or with -dtls by TFTP within DTLS, until\n"
	"SIGINT or SIGTERM. With -stream each client gets FILE from its beginning as datagrams,\n"
	"then a close_notify; of standard input (-), what is read while it is there.\n"
	"A line for each request: time, client, method, target, status, bytes of the body,\n"
	"seconds, version, cipher, and whether the kernel or userspace sealed it.\n"
	"Exit status: 0 ended by a signal, 2 usage, 4 network, 5 local files or system.",
	options,
};

/* HTTP/1.1 to whoever asks for it; who offers only others gets no answer, and HTTP/1.1. */
static int choose_http(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned int in_len, void *arg)
{
	static const unsigned char http[] = "http/1.1";
	unsigned int i;

	(void)ssl;
	(void)arg;
	for (i = 0; i < in_len; i += 1U + in[i])
		if (in[i] == sizeof(http) - 1 && i + sizeof(http) <= in_len &&
		    !memcmp(in + i + 1, http, sizeof(http) - 1)) {
			*out = in + i + 1;
			*out_len = sizeof(http) - 1;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_NOACK;
}

static void say_how(void)
{
	const char *why;

	if (args.tls.userspace)
		return;
	if (!ktls_available(&why))
		complain("in userspace: %s", why);
}

static enum status serve_directory(SSL_CTX *ctx, int fd, const char *directory,
				   unsigned int clients_max, unsigned int idle)
{
	enum status status;
	int root = site_root(directory);

	site_hide(args.tls.key ? args.tls.key : args.tls.cert);
	site_hide(args.tls.keylog);
	if (root < 0) {
		complain("%s: %s", directory, strerror(errno));
		return STATUS_LOCAL;
	}
	if (args.tls.dtls)
		status = files_run(ctx, fd, root, tls_flags(&args.tls), clients_max, idle);
	else
		status = server_run(ctx, fd, root, tls_flags(&args.tls), clients_max);
	close(root);
	return status;
}

static enum status serve_stream(SSL_CTX *ctx, int udp, struct stream_options *o,
				unsigned int clients_max)
{
	struct stat st;
	enum status status = STATUS_LOCAL;
	bool standard = !strcmp(o->name, "-");

	o->file = standard ? STDIN_FILENO : open(o->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (o->file < 0 || fstat(o->file, &st)) {
		complain("%s: %s", o->name, strerror(errno));
	} else if (S_ISDIR(st.st_mode)) {
		complain("%s: a directory", o->name);
	} else {
		o->regular = S_ISREG(st.st_mode);
		status = stream_run(ctx, udp, o, tls_flags(&args.tls), clients_max);
	}
	if (!standard && o->file >= 0)
		close(o->file);
	return status;
}

static void refuse_misuse(const char *verb)
{
	if (args.stream && !args.tls.dtls)
		misused(verb, "-stream is for datagrams: -dtls, please");
	if ((args.rate || args.size) && !args.stream)
		misused(verb, "-rate and -size are for a stream: -stream, please");
	if (args.idle && (args.stream || !args.tls.dtls))
		misused(verb, "-idle is for files over -dtls");
	if (!read_count(args.clients))
		misused(verb, "-clients %s: a number from 1 on, please", args.clients);
	if (args.idle && read_number(args.idle) < 0)
		misused(verb, "-idle %s: seconds, please", args.idle);
	if (args.rate && (!read_size(args.rate) || read_size(args.rate) > RATE_MAX))
		misused(verb, "-rate %s: bytes a second, 1 to 16G, please", args.rate);
	if (args.size && (!read_size(args.size) || read_size(args.size) > PAYLOAD_MAX))
		misused(verb, "-size %s: bytes, 1 to 16384, please", args.size);
}

static void read_endpoint(const char *verb, struct endpoint *at)
{
	if (snprintf(at->host, sizeof(at->host), "%s", args.bind) >= (int)sizeof(at->host) ||
	    snprintf(at->port, sizeof(at->port), "%s", args.port) >= (int)sizeof(at->port))
		misused(verb, "-bind or -port is too long");
	if (!is_port(at->port, true))
		misused(verb, "-port %s: not a port", at->port);
}

static enum status serve(SSL_CTX *ctx, int fd, const char *what)
{
	struct stream_options stream = {
		.name = what, .rate = read_size(args.rate ? args.rate : "1M"),
		.size = args.size ? read_size(args.size) : 0,
	};

	say_how();
	if (args.stream)
		return serve_stream(ctx, fd, &stream, read_count(args.clients));
	return serve_directory(ctx, fd, what, read_count(args.clients),
			       (unsigned int)read_number(args.idle ? args.idle : "300"));
}

static int run(int argc, char **argv)
{
	enum status status = STATUS_NETWORK;
	struct endpoint at;
	SSL_CTX *ctx;
	int i = parse_options(argc, argv, &usage);
	int fd;

	if (argc - i != 1)
		misused(argv[0], "one DIRECTORY, please, or FILE with -stream");
	refuse_misuse(argv[0]);
	read_endpoint(argv[0], &at);
	/* A log that is read through a pipe shows each line when it is written. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	ctx = tls_server(argv[0], &args.tls);
	if (!ctx)
		return STATUS_LOCAL;
	if (!args.tls.dtls)
		SSL_CTX_set_alpn_select_cb(ctx, choose_http, NULL);
	fd = net_listen(&at, args.tls.dtls ? SOCK_DGRAM : SOCK_STREAM);
	if (fd >= 0) {
		status = serve(ctx, fd, argv[i]);
		close(fd);
	}
	SSL_CTX_free(ctx);
	return status;
}

const struct verb verb_serve = {
	"serve", "files over HTTPS, or by TFTP or as a stream over DTLS", run,
};
