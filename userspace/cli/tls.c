// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "cli.h"
#include "options.h"
#include "tls.h"

#define ALPN_MAX	255

static FILE *keylog;

/* When keys change, by -rekey-after; 0: never for that reason. */
static struct {
	uint64_t bytes;
	unsigned int records, seconds;
} limits;

static bool lacks_pem(unsigned long code)
{
	return (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) ||
	       ERR_GET_REASON(code) == ERR_R_UNSUPPORTED;
}

/* What the file should hold; its name. */
static void complain_ssl(const char *what, const char *name, const char *content)
{
	unsigned long code = ERR_get_error();
	const char *text = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code))
		text = strerror(ERR_GET_REASON(code));
	if (content && lacks_pem(code))
		complain("%s %s: no %s in PEM", what, name, content);
	else
		complain("%s %s: %s", what, name, text ? text : "not usable");
	ERR_clear_error();
}

static bool is_mismatch(unsigned long code)
{
	return ERR_GET_LIB(code) == ERR_LIB_X509 &&
	       (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
		ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
}

static void log_key(const SSL *ssl, const char *line)
{
	(void)ssl;
	fprintf(keylog, "%s\n", line);
	fflush(keylog);
}

/* Whoever reads the file reads the connections. */
static bool set_keylog(SSL_CTX *ctx, const char *name)
{
	int fd;

	if (!name)
		return true;
	fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	keylog = fd < 0 ? NULL : fdopen(fd, "a");
	if (!keylog) {
		complain("-keylogfile %s: %s", name, strerror(errno));
		return false;
	}
	SSL_CTX_set_keylog_callback(ctx, log_key);
	return true;
}

/* "64M", "1000r", "30s" */
static void read_limits(const char *verb, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	char number[24] = "";

	if (!text)
		return;
	if (len && len < sizeof(number))
		memcpy(number, text, len - 1);
	if (len && text[len - 1] == 'r')
		limits.records = read_count(number);
	else if (len && text[len - 1] == 's')
		limits.seconds = read_count(number);
	else
		limits.bytes = read_size(text);
	if (!limits.bytes && !limits.records && !limits.seconds)
		misused(verb, "-rekey-after %s: bytes (64M), records (1000r) or seconds (30s), please",
			text);
}

/* Who waits for room alone would not see the peer's part: of TLS a thread does. */
bool tls_limit(struct ktls_conn *conn)
{
	if (!limits.bytes && !limits.records && !limits.seconds)
		return false;
	(void)ktls_rekey_after(conn, limits.bytes, limits.records, limits.seconds);
	if (!ktls_in_kernel(conn) || SSL_is_dtls(ktls_ssl(conn)))
		return false;
	if (!ktls_keep(conn))
		return true;
	complain("%s", ktls_error(conn));
	return false;
}

static bool set_certificate(SSL_CTX *ctx, const struct tls_options *o)
{
	const char *key = o->key ? o->key : o->cert;
	bool loaded;

	if (!o->cert)
		return true;
	if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
		complain_ssl("-cert", o->cert, "certificate");
		return false;
	}
	loaded = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1;
	if (!loaded && !is_mismatch(ERR_peek_error())) {
		complain_ssl(o->key ? "-key" : "-cert, for want of -key,", key, "private key");
		return false;
	}
	/* A key of another kind than the certificate's gets a place of its own: no error yet. */
	if (!loaded || SSL_CTX_check_private_key(ctx) != 1) {
		complain("-key %s: not the key of the certificate in %s", key, o->cert);
		ERR_clear_error();
		return false;
	}
	return true;
}

static bool set_trust(SSL_CTX *ctx, const struct tls_options *o)
{
	if (!o->ca_file && !o->ca_path) {
		if (SSL_CTX_set_default_verify_paths(ctx) == 1)
			return true;
		complain("no system store of certificate authorities: give -CAfile");
		return false;
	}
	if (SSL_CTX_load_verify_locations(ctx, o->ca_file, o->ca_path) == 1)
		return true;
	complain_ssl(o->ca_file ? "-CAfile" : "-CApath", o->ca_file ? o->ca_file : o->ca_path,
		     "certificate");
	return false;
}

static void refuse_misuse(const char *verb, const struct tls_options *o)
{
	if (o->tls12 && o->tls13)
		misused(verb, "-tls1_2 and -tls1_3 exclude each other");
	if (o->dtls && (o->tls12 || o->tls13))
		misused(verb, "-dtls is DTLS 1.2: no -tls1_2 or -tls1_3");
	if (o->require_kernel && o->userspace)
		misused(verb, "-require-kernel and -userspace exclude each other");
	if (o->key && !o->cert)
		misused(verb, "-key without -cert: give the certificate too");
}

static bool kernel_is_there(const struct tls_options *o)
{
	const char *why;
	unsigned int can;

	if (!o->require_kernel)
		return true;
	can = ktls_available(&why);
	if (can && (!o->tls13 || can & KTLS_CAN_TLS13))
		return true;
	complain("%s", why);
	return false;
}

static void set_versions(SSL_CTX *ctx, const struct tls_options *o)
{
	if (o->dtls) {
		SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION);
		return;
	}
	SSL_CTX_set_min_proto_version(ctx, o->tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, o->tls12 ? TLS1_2_VERSION : 0);
}

static bool set_common(SSL_CTX *ctx, const char *verb, const struct tls_options *o)
{
	set_versions(ctx, o);
	read_limits(verb, o->rekey_after);
	if (o->cipher && SSL_CTX_set_cipher_list(ctx, o->cipher) != 1)
		misused(verb, "-cipher %s: no cipher that OpenSSL knows", o->cipher);
	return kernel_is_there(o) && set_certificate(ctx, o) && set_keylog(ctx, o->keylog);
}

/* "h2,http/1.1" to the form on the wire: each name behind its length. 0: not possible. */
static unsigned int pack_alpn(const char *names, unsigned char out[ALPN_MAX])
{
	size_t used = 0, len;

	for (;; names += len + 1) {
		len = strcspn(names, ",");
		if (!len || len > 255 || used + 1 + len > ALPN_MAX)
			return 0;
		out[used++] = (unsigned char)len;
		memcpy(out + used, names, len);
		used += len;
		if (!names[len])
			return (unsigned int)used;
	}
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned int in_len, void *names)
{
	unsigned char ours[ALPN_MAX];
	unsigned int len = pack_alpn(names, ours);
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, out_len, ours, len, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	/* The choice has to outlive this call: take the client's copy of the name. */
	for (; in_len && *in < in_len; in_len -= 1U + *in, in += 1 + *in)
		if (*in == *out_len && !memcmp(in + 1, chosen, *out_len)) {
			*out = in + 1;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_alpn(SSL_CTX *ctx, const char *verb, const char *names, bool is_server)
{
	unsigned char wire[ALPN_MAX];
	unsigned int len;

	if (!names)
		return;
	len = pack_alpn(names, wire);
	if (!len)
		misused(verb, "-alpn %s: names with commas between, 254 bytes at most", names);
	if (is_server)
		SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, (void *)names);
	else
		SSL_CTX_set_alpn_protos(ctx, wire, len);
}

static SSL_CTX *begin(const SSL_METHOD *method, const char *verb, const struct tls_options *o)
{
	SSL_CTX *ctx;

	refuse_misuse(verb, o);
	ctx = SSL_CTX_new(method);
	if (!ctx)
		complain_ssl("OpenSSL:", "no TLS", NULL);
	return ctx;
}

static SSL_CTX *finish(SSL_CTX *ctx, bool good)
{
	if (good)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

SSL_CTX *tls_client(const char *verb, const struct tls_options *o)
{
	SSL_CTX *ctx = begin(o->dtls ? DTLS_client_method() : TLS_client_method(), verb, o);

	if (!ctx)
		return NULL;
	SSL_CTX_set_verify(ctx, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	set_alpn(ctx, verb, o->alpn, false);
	return finish(ctx, set_common(ctx, verb, o) && (o->insecure || set_trust(ctx, o)));
}

SSL_CTX *tls_server(const char *verb, const struct tls_options *o)
{
	static const unsigned char id[] = "ktls";
	SSL_CTX *ctx;

	if (!o->cert)
		misused(verb, "-cert is missing (openssl req -x509 -newkey rsa:2048 -nodes makes one, and its key)");
	ctx = begin(o->dtls ? DTLS_server_method() : TLS_server_method(), verb, o);
	if (!ctx)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_dh_auto(ctx, 1);
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id));
	/* Whoever names authorities wants to know the client. */
	if (o->ca_file || o->ca_path) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		if (!set_trust(ctx, o))
			return finish(ctx, false);
	}
	set_alpn(ctx, verb, o->alpn, true);
	return finish(ctx, set_common(ctx, verb, o));
}

unsigned int tls_flags(const struct tls_options *o)
{
	return (o->require_kernel ? KTLS_REQUIRE_KERNEL : 0) |
	       (o->userspace ? KTLS_USERSPACE : 0);
}

static void describe_certificate(const struct ktls_conn *conn, FILE *out)
{
	X509 *cert = ktls_peer_certificate(conn);

	if (!cert) {
		fprintf(out, "peer certificate: none\n");
		return;
	}
	fprintf(out, "peer certificate: ");
	X509_NAME_print_ex_fp(out, X509_get_subject_name(cert), 0, XN_FLAG_ONELINE);
	fprintf(out, "\nissuer: ");
	X509_NAME_print_ex_fp(out, X509_get_issuer_name(cert), 0, XN_FLAG_ONELINE);
	fprintf(out, "\nverification: %s\n",
		X509_verify_cert_error_string(ktls_verify_result(conn)));
	X509_free(cert);
}

static void say_safely(FILE *out, const char *what, const char *text, size_t len)
{
	fprintf(out, "%s: ", what);
	print_safely(out, text, len);
	fputc('\n', out);
}

void tls_describe(const struct ktls_conn *conn, const char *peer, bool verbose, FILE *out)
{
	const char *alpn, *name;
	size_t len;

	fprintf(out, "ktls: %s: %s %s, %s%s%s\n", peer, ktls_version(conn), ktls_cipher(conn),
		ktls_in_kernel(conn) ? "kernel" : "userspace",
		ktls_in_kernel(conn) ? "" : ": ", ktls_why_not(conn));
	if (!verbose)
		return;
	describe_certificate(conn, out);
	alpn = ktls_alpn(conn, &len);
	if (len)
		say_safely(out, "ALPN", alpn, len);
	name = ktls_server_name(conn);
	if (SSL_is_server(ktls_ssl(conn)) && name)
		say_safely(out, "server name", name, strlen(name));
	if (SSL_session_reused(ktls_ssl(conn)))
		fprintf(out, "session: resumed\n");
}
