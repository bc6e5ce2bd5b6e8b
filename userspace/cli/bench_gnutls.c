// SPDX-License-Identifier: MIT
/* GnuTLS, where it was there when the command was built. */
#include <stdio.h>

#include "bench.h"

#ifdef HAVE_GNUTLS

#include <errno.h>
#include <string.h>

#include <gnutls/dtls.h>
#include <gnutls/gnutls.h>
#include <openssl/pem.h>

#include "bench_certificate.h"

#define STEPS_MAX	1000	/* of a handshake */
#define MTU		(BENCH_RECORD + 100)

static gnutls_certificate_credentials_t credentials;

static gnutls_datum_t datum(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return (gnutls_datum_t){ .data = (unsigned char *)data, .size = (unsigned int)len };
}

/* OpenSSL's certificate, by way of PEM. */
static bool take_certificate(const struct bench_certificate *own)
{
	BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
	gnutls_datum_t c, k;
	bool good;

	PEM_write_bio_X509(cert, own->cert);
	PEM_write_bio_PrivateKey(key, own->key, NULL, NULL, 0, NULL, NULL);
	c = datum(cert);
	k = datum(key);
	good = !gnutls_certificate_allocate_credentials(&credentials) &&
	       gnutls_certificate_set_x509_key_mem(credentials, &c, &k, GNUTLS_X509_FMT_PEM) >= 0;
	BIO_free(cert);
	BIO_free(key);
	return good;
}

static bool have_credentials(void)
{
	const struct bench_certificate *own = bench_certificate();

	return credentials || (own && take_certificate(own));
}

static void close_session(struct bench_end *end)
{
	if (end->session)
		gnutls_deinit(end->session);
	end->session = NULL;
	bench_net_close(end);
}

static int set_priority(gnutls_session_t session, const struct bench_setup *setup)
{
	char text[160], version[16] = "TLS1.2";

	if (setup->protocol == &bench_tls13)
		strcpy(version, "TLS1.3");
	else if (setup->protocol->dgram)
		strcpy(version, "DTLS1.2");
	snprintf(text, sizeof(text), "NORMAL:-VERS-ALL:+VERS-%s:-CIPHER-ALL:+%s", version,
		 setup->cipher->gnutls);
	return gnutls_priority_set_direct(session, text, NULL);
}

/* GNUTLS_E_*: 0 is success. */
static int make_session(const struct bench_setup *setup, struct bench_end *end, bool is_server)
{
	unsigned int flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS |
			     (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
			     (setup->protocol->dgram ? GNUTLS_DATAGRAM : 0);
	gnutls_session_t session;
	int ret = gnutls_init(&session, flags);

	if (ret)
		return ret;
	end->session = session;
	ret = set_priority(session, setup);
	if (!ret)
		ret = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	if (setup->protocol->dgram)
		gnutls_dtls_set_mtu(session, MTU);
	gnutls_transport_set_int(session, end->fd);
	return ret;
}

/* Both ends in turn, neither waiting. */
static int shake_hands(struct bench_end end[2])
{
	int ret[2] = { GNUTLS_E_AGAIN, GNUTLS_E_AGAIN };
	int i, steps;

	for (i = 0; i < 2; i++)
		bench_net_nonblocking(end[i].fd, true);
	for (steps = 0; steps < STEPS_MAX && (ret[0] || ret[1]); steps++) {
		i = steps % 2;
		if (ret[i])
			ret[i] = gnutls_handshake(end[i].session);
		if (ret[i] && gnutls_error_is_fatal(ret[i]))
			return ret[i];
	}
	for (i = 0; i < 2; i++)
		bench_net_nonblocking(end[i].fd, false);
	return ret[0] ? ret[0] : ret[1];
}

/* However large the MTU that it is told, there is one of its own. */
static enum bench_outcome check_room(const struct bench_setup *setup, struct bench_end end[2],
				     char why[BENCH_WHY])
{
	unsigned int room = gnutls_dtls_get_data_mtu(end[0].session);

	if (!setup->protocol->dgram || setup->size <= room)
		return BENCH_DONE;
	snprintf(why, BENCH_WHY, "its datagrams take %u bytes at most", room);
	close_session(&end[0]);
	close_session(&end[1]);
	return BENCH_ABSENT;
}

static enum bench_outcome open_gnutls(const struct bench_setup *setup, struct bench_end end[2],
				      char why[BENCH_WHY])
{
	int i, ret = have_credentials() ? 0 : GNUTLS_E_MEMORY_ERROR;

	if (bench_net_pair(setup->protocol->dgram, end)) {
		snprintf(why, BENCH_WHY, "no connection");
		return BENCH_FAILED;
	}
	for (i = 0; i < 2 && !ret; i++)
		ret = make_session(setup, &end[i], i);
	if (!ret)
		ret = shake_hands(end);
	if (!ret)
		return check_room(setup, end, why);
	snprintf(why, BENCH_WHY, "the handshake: %s", gnutls_strerror(ret));
	close_session(&end[0]);
	close_session(&end[1]);
	return BENCH_FAILED;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_LARGE_PACKET)
		return -EMSGSIZE;
	return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED ? -EAGAIN : -EPROTO;
}

/* What could not be sent at first is kept there, and sent when asked to with the same data. */
static ssize_t send_gnutls(struct bench_end *end, const void *data, size_t len)
{
	return result(gnutls_record_send(end->session, data, len));
}

static ssize_t recv_gnutls(struct bench_end *end, void *data, size_t len)
{
	return result(gnutls_record_recv(end->session, data, len));
}

#else

static enum bench_outcome open_gnutls(const struct bench_setup *setup, struct bench_end end[2],
				      char why[BENCH_WHY])
{
	(void)setup;
	(void)end;
	snprintf(why, BENCH_WHY, "this command was built without it");
	return BENCH_ABSENT;
}

#define send_gnutls	NULL
#define recv_gnutls	NULL
#define close_session	NULL

#endif

const struct bench_way bench_gnutls = {
	.name = "gnutls", .title = "GnuTLS", .streams = true, .datagrams = true,
	.open = open_gnutls, .send = send_gnutls, .recv = recv_gnutls, .close = close_session,
};
