// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net.h"
#include "options.h"
#include "relay.h"
#include "session.h"

#define HANDSHAKE_MS	30000
/* What the last datagrams may take: the answers to a client, all that comes to a server. */
#define CLIENT_IDLE_S	2
#define SERVER_IDLE_S	60

void check_talk(const char *verb, const struct tls_options *tls, const struct talk_options *talk)
{
	if (talk->idle && !tls->dtls)
		misused(verb, "-idle is for datagrams: -dtls, please");
	if (talk->idle && read_number(talk->idle) < 0)
		misused(verb, "-idle %s: seconds, please", talk->idle);
}

static unsigned int idle_of(const struct ktls_conn *conn, const struct talk_options *talk)
{
	if (talk->idle)
		return (unsigned int)read_number(talk->idle);
	return SSL_is_server(ktls_ssl(conn)) ? SERVER_IDLE_S : CLIENT_IDLE_S;
}

/* Which option answers for a certificate that is not accepted. */
static const char *remedy(const struct ktls_conn *conn)
{
	switch (ktls_verify_result(conn)) {
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return " (-CAfile names whom to trust)";
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return " (-servername asks for another name)";
	default:
		return "";
	}
}

static enum status talk_to(struct ktls_conn *conn, const struct talk_options *talk)
{
	struct progress progress;
	char peer[NET_NAME];
	bool kept = tls_limit(conn);

	net_peer_name(ktls_poll_fd(conn), peer);
	if (!talk->quiet)
		tls_describe(conn, peer, !talk->brief, stderr);
	progress_start(&progress, talk->quiet, talk->verbose);
	return relay(conn, kept, idle_of(conn, talk), &progress);
}

enum status session_talk(struct ktls_conn *conn, const struct talk_options *talk)
{
	enum status status = talk_to(conn, talk);

	ktls_close(conn);
	return status;
}

struct ktls_conn *session_open(SSL_CTX *ctx, int fd, const char *server_name,
			       const struct tls_options *tls, enum status *status)
{
	struct ktls_conn *conn;
	char peer[NET_NAME];
	int one = 1, ret;

	net_peer_name(fd, peer);
	set_nonblocking(fd);
	/* Records are written whole; waiting for more serves nobody. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn = ktls_new(ctx, fd, !server_name, server_name, tls_flags(tls));
	if (!conn) {
		*status = errno == EINVAL ? STATUS_USAGE : STATUS_LOCAL;
		complain("%s", ktls_last_error());
		return NULL;
	}
	ret = ktls_handshake(conn, HANDSHAKE_MS);
	if (!ret)
		return conn;
	*status = status_of(ret);
	complain("%s: %s%s", peer, ktls_error(conn), remedy(conn));
	ktls_close(conn);
	return NULL;
}

enum status session(SSL_CTX *ctx, int fd, const char *server_name,
		    const struct tls_options *tls, const struct talk_options *talk)
{
	enum status status = STATUS_OK;
	struct ktls_conn *conn = session_open(ctx, fd, server_name, tls, &status);

	return conn ? session_talk(conn, talk) : status;
}
