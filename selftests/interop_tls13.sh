#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# TLS 1.3 in the kernel: ktls serve to curl, OpenSSL 3.0 and 3.5 and GnuTLS, with each cipher, by
# tickets and with early data that is refused; ktls connect to s_server, gnutls-serv and
# nginx. timeout=400, one kernel is enough
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=rekey-lib.sh
. "$here/rekey-lib.sh"

port=4448
size=1000000
# What OpenSSL offers and takes unasked: of TLS 1.3 ktls leaves it at that.
suites=(TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256)
declare -A gnutls_name=([TLS_AES_128_GCM_SHA256]=AES-128-GCM [TLS_AES_256_GCM_SHA384]=AES-256-GCM
	[TLS_CHACHA20_POLY1305_SHA256]=CHACHA20-POLY1305)
priority() { echo "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+${gnutls_name[$1]}"; }

# carried SENT RECEIVED: by one connection in the kernel, so many bytes at least
carried() {
	await unbound && is "keys to receive" "${grown[KtlsRxKeys]}" 1 &&
		[ "${grown[KtlsTxBytes]}" -ge "$1" ] && [ "${grown[KtlsRxBytes]}" -ge "$2" ] &&
		nothing_bad
}

# logged SUITE: the last line of the server's log
logged() { tail -n 1 server.out | grep "TLSv1.3 $1 kernel$"; }

# ---- to ktls serve ----

by_curl() {
	mark
	curl -sS --fail --cacert server.pem --tlsv1.3 --tls13-ciphers "$1" \
		-o got.1 "https://localhost:$port/$size" -o got.2 "https://localhost:$port/$size" &&
		cmp got.1 "site/$size" && cmp got.2 "site/$size" && logged "$1" &&
		carried $((2 * size)) 100
}

# fetched CLIENT...: its output to answer
fetched() {
	mark
	get "$size" "$connection" >request
	"$@" <request >answer 2>client.err || { cat client.err; return 1; }
	tail -c "$size" answer | cmp - "site/$size" && carried "$size" "$(size_of request)"
}

by_openssl() {	# RELEASE SUITE OPTION...
	local connection=close
	fetched "${openssl[$1]}" s_client -quiet -connect "localhost:$port" -CAfile server.pem \
		-verify_return_error -tls1_3 -ciphersuites "$2" "${@:3}" && logged "$2"
}

by_gnutls() {
	local connection=keep-alive
	fetched gnutls-cli --logfile=gnutls.log --x509cafile=server.pem \
		--priority "$(priority "$1")" -p "$port" localhost && logged "$1"
}

# s_client leaves at the close_notify, which is behind the ticket.
ticket() {	# FILE OPTION...
	get "$size" close | openssl s_client -connect "localhost:$port" -CAfile server.pem -tls1_3 \
		-ign_eof -sess_out "$1" "${@:2}" >reused
}

by_ticket() {
	mark
	ticket session && ticket another -sess_in session && grep '^Reused, TLSv1.3' reused &&
		await unbound && is "keys to receive" "${grown[KtlsRxKeys]}" 2 && nothing_bad
}

# The ticket, which allows early data, is of another server.
with_early_data() {
	start_at $((port + 1)) other openssl s_server -quiet -accept $((port + 1)) -tls1_3 \
		-early_data -cert server.pem -key server.key < <(endless /dev/null)
	openssl s_client -connect "localhost:$((port + 1))" -CAfile server.pem -tls1_3 \
		-sess_out early < <(until_then /dev/null [ -s early ]) >other.reused
	stop other
	mark
	head -c 5000 "site/$size" >early.data
	ticket another -sess_in early -early_data early.data && grep '^Early data was rejected' reused &&
		tr -d '\r' <reused | grep '^HTTP/1.1 200' && await unbound &&
		is "keys to receive" "${grown[KtlsRxKeys]}" 1 && nothing_bad
}

# ---- ktls connect ----

# dial SUITE COMMAND...: the command's output to the server, its answer to got
dial() {
	mark
	"$ktls" connect -brief -CAfile server.pem -servername localhost -tls1_3 -require-kernel \
		"localhost:$port" < <("${@:2}") >got 2>client.err || { cat client.err; return 1; }
	grep "TLSv1.3 $1, kernel" client.err
}

fetch() {	# SUITE
	get "site/$size" >request
	dial "$1" until_then request arrived got "$size" &&
		tail -c "$size" got | cmp - "site/$size" && carried "$(size_of request)" "$size"
}

echoed() { dial "$1" cat lines && cmp got lines && carried "$(size_of lines)" "$(size_of lines)"; }

certificate server
files $size
head -c 50000 "site/$size" | base64 >lines
start_at $port server "$ktls" serve -cert server.pem -key server.key -port $port -tls1_3 \
	-require-kernel site
for suite in "${suites[@]}"; do
	ok "$suite: curl, two files over one connection" by_curl "$suite"
	ok "$suite: openssl 3.0 s_client" by_openssl 3.0 "$suite"
	ok "$suite: openssl 3.5 s_client" by_openssl 3.5 "$suite"
	ok "$suite: gnutls-cli" by_gnutls "$suite"
done
ok "a session by a ticket" by_ticket
ok "early data is refused, and all goes on" with_early_data
stop server
for suite in "${suites[@]}"; do
	for release in 3.0 3.5; do
		start_at $port server "${openssl[$release]}" s_server -WWW -quiet -accept $port -tls1_3 \
			-ciphersuites "$suite" -cert server.pem -key server.key
		ok "$suite: openssl $release s_server" fetch "$suite"
		stop server
	done
	start_at $port server gnutls-serv --echo --x509certfile=server.pem \
		--x509keyfile=server.key --priority "$(priority "$suite")" -p $port
	ok "$suite: gnutls-serv" echoed "$suite"
	stop server
done
nginx_conf TLSv1.3 >nginx.conf
start_at $port server nginx -p "$work/" -c nginx.conf
ok "nginx" fetch TLS_AES_256_GCM_SHA384
ok "nginx: quits" stop server QUIT
finish
