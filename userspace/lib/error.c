// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "conn.h"

static _Thread_local char last_error[KTLS_SENTENCE];

int ktls_fail(struct ktls_conn *conn, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	pthread_mutex_lock(&conn->lock);
	vsnprintf(conn->error, sizeof(conn->error), format, args);
	pthread_mutex_unlock(&conn->lock);
	va_end(args);
	return -err;
}

int ktls_decline(struct ktls_conn *conn, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(conn->why_not, sizeof(conn->why_not), format, args);
	va_end(args);
	return -err;
}

void ktls_note_failure(int err, const char *sentence)
{
	snprintf(last_error, sizeof(last_error), "%s", sentence);
	errno = err;
}

const char *ktls_last_error(void)
{
	return last_error;
}

const char *ktls_error(const struct ktls_conn *conn)
{
	static _Thread_local char told[KTLS_SENTENCE];
	pthread_mutex_t *lock = &((struct ktls_conn *)conn)->lock;

	pthread_mutex_lock(lock);
	memcpy(told, conn->error, sizeof(told));
	pthread_mutex_unlock(lock);
	return told;
}

const char *ktls_why_not(const struct ktls_conn *conn)
{
	return conn->why_not;
}

/* What OpenSSL's reasons ask of the reader, where its own words do not say. */
static const struct {
	int reason;
	const char *advice;
} advices[] = {
	{ SSL_R_NO_SHARED_CIPHER,
	  "allow a cipher that the peer offers, or give a certificate of the kind it takes" },
	{ SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS on this port" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "allow an older TLS version, or update the peer" },
	{ SSL_R_HTTP_REQUEST, "the peer spoke plain HTTP: use https://" },
	{ SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer must give a certificate" },
	{ SSL_R_NO_PROTOCOLS_AVAILABLE, "allow at least one TLS version" },
	{ SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE,
	  "no common cipher, or the peer wants a certificate" },
	{ SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA,
	  "the peer does not trust the issuer of our certificate" },
	{ SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION, "no common TLS version" },
	{ SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL, "no common ALPN protocol" },
};

static const char *advice_for(int reason)
{
	size_t i;

	for (i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].reason == reason)
			return advices[i].advice;
	return NULL;
}

static int fail_verify(struct ktls_conn *conn)
{
	return ktls_fail(conn, EPROTO, "the peer's certificate is not accepted: %s",
			 X509_verify_cert_error_string(SSL_get_verify_result(conn->ssl)));
}

static bool refuses_version(const struct ktls_conn *conn, int reason)
{
	return conn->capped && !SSL_is_server(conn->ssl) &&
	       (reason == SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION ||
		reason == SSL_R_UNSUPPORTED_PROTOCOL);
}

int ktls_fail_ssl(struct ktls_conn *conn)
{
	unsigned long code = ERR_get_error();
	int reason = ERR_GET_REASON(code);
	const char *text = ERR_reason_error_string(code);
	const char *advice = NULL;

	ERR_clear_error();
	if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
		if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
			return fail_verify(conn);
		if (refuses_version(conn, reason))
			return ktls_fail(conn, EPROTO,
					 "the peer takes no TLS 1.2, and the kernel carries no other: connect in userspace (KTLS_USERSPACE, -userspace)");
		advice = advice_for(reason);
	}
	if (!text)
		text = "no reason given";
	if (reason > SSL_AD_REASON_OFFSET && ERR_GET_LIB(code) == ERR_LIB_SSL)
		return ktls_fail(conn, EPROTO, "the peer refused: %s%s%s",
				 SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET),
				 advice ? ": " : "", advice ? advice : "");
	return ktls_fail(conn, EPROTO, "TLS failed: %s%s%s", text, advice ? ": " : "",
			 advice ? advice : "");
}
