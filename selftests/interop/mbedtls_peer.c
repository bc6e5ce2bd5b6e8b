// SPDX-License-Identifier: MIT
/*
 * A DTLS 1.2 client or server of mbed TLS: gives a file, takes so many bytes to its standard
 * output, says close_notify and is content when the peer has said it, too.
 *
 *	mbedtls_peer client|server ADDRESS PORT SUITE CERTIFICATE KEY FILE BYTES
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/timing.h>

#define DATAGRAM	1216
#define PATIENCE_MS	60000

struct arguments {
	const char *role, *address, *port, *suite, *certificate, *key, *file;
	size_t bytes;
	int endpoint;		/* MBEDTLS_SSL_IS_... of the role */
};

struct peer {
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_x509_crt certificate;
	mbedtls_pk_context key;
	mbedtls_ssl_cookie_ctx cookies;
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
	mbedtls_timing_delay_context timer;
	mbedtls_net_context listening, net;
	int suites[2];
};

static void fail(const char *what, int error)
{
	char text[100] = "";

	mbedtls_strerror(error, text, sizeof(text));
	fprintf(stderr, "mbedtls_peer: %s: %s\n", what, text);
	exit(1);
}

static void check(int ret, const char *what)
{
	if (ret)
		fail(what, ret);
}

static void load(struct peer *p, const struct arguments *args)
{
	mbedtls_entropy_init(&p->entropy);
	mbedtls_ctr_drbg_init(&p->random);
	mbedtls_x509_crt_init(&p->certificate);
	mbedtls_pk_init(&p->key);
	check(mbedtls_ctr_drbg_seed(&p->random, mbedtls_entropy_func, &p->entropy, NULL, 0), "seed");
	check(mbedtls_x509_crt_parse_file(&p->certificate, args->certificate), args->certificate);
	check(mbedtls_pk_parse_keyfile(&p->key, args->key, NULL), args->key);
	p->suites[0] = mbedtls_ssl_get_ciphersuite_id(args->suite);
	if (!p->suites[0])
		fail(args->suite, MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE);
}

static void configure(struct peer *p, const struct arguments *args)
{
	mbedtls_ssl_config *config = &p->config;

	mbedtls_ssl_config_init(config);
	check(mbedtls_ssl_config_defaults(config, args->endpoint, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
					  MBEDTLS_SSL_PRESET_DEFAULT), "defaults");
	mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &p->random);
	mbedtls_ssl_conf_ciphersuites(config, p->suites);
	mbedtls_ssl_conf_read_timeout(config, PATIENCE_MS);
	/* Nothing is lost: what takes long is said once more for nothing. */
	mbedtls_ssl_conf_handshake_timeout(config, PATIENCE_MS / 4, PATIENCE_MS);
	if (args->endpoint == MBEDTLS_SSL_IS_CLIENT) {
		mbedtls_ssl_conf_ca_chain(config, &p->certificate, NULL);
		mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
		return;
	}
	mbedtls_ssl_cookie_init(&p->cookies);
	check(mbedtls_ssl_cookie_setup(&p->cookies, mbedtls_ctr_drbg_random, &p->random), "cookies");
	mbedtls_ssl_conf_dtls_cookies(config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check,
				      &p->cookies);
	check(mbedtls_ssl_conf_own_cert(config, &p->certificate, &p->key), "own certificate");
}

static void prepare(struct peer *p)
{
	mbedtls_ssl_init(&p->ssl);
	check(mbedtls_ssl_setup(&p->ssl, &p->config), "setup");
	check(mbedtls_ssl_set_hostname(&p->ssl, "localhost"), "host name");
	mbedtls_ssl_set_timer_cb(&p->ssl, &p->timer, mbedtls_timing_set_delay,
				 mbedtls_timing_get_delay);
	mbedtls_ssl_set_bio(&p->ssl, &p->net, mbedtls_net_send, NULL, mbedtls_net_recv_timeout);
	mbedtls_net_init(&p->listening);
	mbedtls_net_init(&p->net);
}

static void shake_hands(struct peer *p)
{
	int ret;

	do {
		ret = mbedtls_ssl_handshake(&p->ssl);
	} while (ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE);
	check(ret, "handshake");
}

static void connect_to(struct peer *p, const struct arguments *args)
{
	check(mbedtls_net_connect(&p->net, args->address, args->port, MBEDTLS_NET_PROTO_UDP),
	      "connect");
	shake_hands(p);
}

/* A client's first hello only gets it a cookie, and the handshake begins anew. */
static void await_client(struct peer *p, const struct arguments *args)
{
	unsigned char name[64];
	size_t len;
	int ret;

	check(mbedtls_net_bind(&p->listening, args->address, args->port, MBEDTLS_NET_PROTO_UDP),
	      "bind");
	for (;;) {
		check(mbedtls_net_accept(&p->listening, &p->net, name, sizeof(name), &len), "accept");
		check(mbedtls_ssl_set_client_transport_id(&p->ssl, name, len), "name of the client");
		ret = mbedtls_ssl_handshake(&p->ssl);
		if (ret != MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED)
			break;
		mbedtls_net_free(&p->net);
		check(mbedtls_ssl_session_reset(&p->ssl), "reset");
	}
	if (ret)
		shake_hands(p);
}

static void give(struct peer *p, const char *name)
{
	unsigned char data[DATAGRAM];
	FILE *file = fopen(name, "r");
	size_t len;
	int ret;

	if (!file)
		fail(name, MBEDTLS_ERR_SSL_BAD_INPUT_DATA);
	while ((len = fread(data, 1, sizeof(data), file)) > 0) {
		ret = mbedtls_ssl_write(&p->ssl, data, len);
		if (ret != (int)len)
			fail("write", ret);
	}
	fclose(file);
}

/* To the peer's close_notify; a client's goes out as soon as there is nothing more to come. */
static void take(struct peer *p, size_t bytes, bool closes)
{
	unsigned char data[MBEDTLS_SSL_MAX_CONTENT_LEN];
	size_t came = 0;
	int ret;

	for (;;) {
		ret = mbedtls_ssl_read(&p->ssl, data, sizeof(data));
		if (ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
			break;
		if (ret < 0)
			fail("read", ret);
		fwrite(data, 1, ret, stdout);
		came += ret;
		if (closes && came >= bytes)
			check(mbedtls_ssl_close_notify(&p->ssl), "close_notify");
	}
	if (came != bytes || fflush(stdout))
		fail("what came", MBEDTLS_ERR_SSL_CONN_EOF);
}

int main(int argc, char **argv)
{
	static struct peer peer;
	struct arguments args;

	if (argc != 9) {
		fprintf(stderr, "mbedtls_peer: eight arguments, please\n");
		return 2;
	}
	args = (struct arguments){
		.role = argv[1], .address = argv[2], .port = argv[3], .suite = argv[4],
		.certificate = argv[5], .key = argv[6], .file = argv[7],
		.bytes = strtoul(argv[8], NULL, 10),
	};
	args.endpoint = strcmp(args.role, "client") ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT;
	load(&peer, &args);
	configure(&peer, &args);
	prepare(&peer);
	if (args.endpoint == MBEDTLS_SSL_IS_CLIENT)
		connect_to(&peer, &args);
	else
		await_client(&peer, &args);
	give(&peer, args.file);
	take(&peer, args.bytes, args.endpoint == MBEDTLS_SSL_IS_CLIENT);
	return 0;
}
