// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "net.h"
#include "options.h"
#include "server.h"
#include "site.h"
#include "tls.h"

struct arguments {
	struct tls_options tls;
	const char *port, *bind, *clients;
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
	{ "port", "N", "TCP port, 0 for a free one (default: 4433)", .value = &args.port },
	{ "bind", "ADDRESS", "listen there only (default: everywhere)", .value = &args.bind },
	{ "clients", "N", "connections at a time; others wait (default: 4096)",
	  .value = &args.clients },
	TLS_OPTION_CIPHER(&args.tls),
	TLS_OPTIONS_WAY(&args.tls),
	TLS_OPTION_KEYLOG(&args.tls),
	{ 0 },
};

static const struct usage usage = {
	"ktls serve -cert FILE [-key FILE] [option...] DIRECTORY",
	"Serves the files of DIRECTORY over HTTPS, until SIGINT or SIGTERM.\n"
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

static enum status serve(SSL_CTX *ctx, int listener, const char *directory,
			 unsigned int clients_max)
{
	enum status status;
	int root = site_root(directory);

	site_hide(args.tls.key ? args.tls.key : args.tls.cert);
	site_hide(args.tls.keylog);
	if (root < 0) {
		complain("%s: %s", directory, strerror(errno));
		return STATUS_LOCAL;
	}
	say_how();
	status = server_run(ctx, listener, root, tls_flags(&args.tls), clients_max);
	close(root);
	return status;
}

static int run(int argc, char **argv)
{
	enum status status = STATUS_NETWORK;
	struct endpoint at;
	SSL_CTX *ctx;
	int i = parse_options(argc, argv, &usage);
	unsigned int clients_max = read_count(args.clients);
	int listener;

	if (argc - i != 1)
		misused(argv[0], "one DIRECTORY, please");
	if (!clients_max)
		misused(argv[0], "-clients %s: a number from 1 on, please", args.clients);
	if (snprintf(at.host, sizeof(at.host), "%s", args.bind) >= (int)sizeof(at.host) ||
	    snprintf(at.port, sizeof(at.port), "%s", args.port) >= (int)sizeof(at.port))
		misused(argv[0], "-bind or -port is too long");
	if (!is_port(at.port, true))
		misused(argv[0], "-port %s: not a port", at.port);
	/* A log that is read through a pipe shows each line when it is written. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	ctx = tls_server(argv[0], &args.tls);
	if (!ctx)
		return STATUS_LOCAL;
	SSL_CTX_set_alpn_select_cb(ctx, choose_http, NULL);
	listener = net_listen(&at, SOCK_STREAM);
	if (listener >= 0) {
		status = serve(ctx, listener, argv[i], clients_max);
		close(listener);
	}
	SSL_CTX_free(ctx);
	return status;
}

const struct verb verb_serve = {
	"serve", "the files of a directory over HTTPS", run,
};
