// SPDX-License-Identifier: MIT
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <openssl/err.h>

#include "shadow_link.h"

struct link shadow_link;

void shadow_begin(int tls13, int we_serve)
{
	struct link *l = &shadow_link;

	*l = (struct link){ .tcp = -1, .tls13 = tls13 };
	if (link_connect(l, &suites[0], we_serve)) {
		printf("Bail out! no connection: %s\n", l->ours ? ktls_error(l->ours) : "");
		exit(1);
	}
	SSL_set_options(l->peer.ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
}

void shadow_end(void)
{
	link_close(&shadow_link);
	pair_free(&shadow_link.ctx);
}

void shadow_move(int rounds)
{
	struct link *l = &shadow_link;
	char buf[100];

	while (rounds--) {
		while (ktls_recv(l->ours, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		peer_fill(&l->peer);
		ERR_clear_error();
		while (SSL_read(l->peer.ssl, buf, sizeof(buf)) > 0)
			;
		peer_flush(&l->peer, peer_output(&l->peer));
	}
}

void shadow_note_signal(int signal)
{
	(void)signal;
}

void shadow_alarm(int ms)
{
	struct itimerval t = { { 0, ms * 1000 }, { 0, ms * 1000 } };
	struct sigaction action = { .sa_handler = shadow_note_signal };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}
