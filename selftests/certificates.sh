#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Who is let in and who is not: certificates of clients before ktls serve, listen, OpenSSL
# and GnuTLS, and of servers before ktls connect. timeout=300, one kernel is enough
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

size=100000
port=4436

# Nothing of a connection that was refused reaches the kernel.
not_in_kernel() { await unbound && is "keys to receive" "${grown[KtlsRxKeys]}" 0; }

curl_fetches() {	# OPTION...
	mark
	curl -sS --fail --cacert server.pem --tls-max 1.2 -o got "$@" "https://localhost:$port/$size" &&
		cmp got "site/$size"
}
curl_is_refused() {
	rm -f got
	! curl_fetches "$@" && [ ! -s got ] && not_in_kernel
}

# listened STATUS CLIENT...: what the client is given arrives, or nothing
listened() {
	local wanted=$1
	shift
	mark
	start_at "$port" listener "$ktls" listen -brief -cert server.pem -key server.key -tls1_2 \
		-CAfile client.pem -require-kernel "$port" < <(until_then site/0 heard "$1")
	"$@" >client.out 2>&1
	ends_with "$wanted" ended listener || { cat client.out listener.err; return 1; }
	if [ "$wanted" -eq 0 ]; then
		cmp listener.out "site/$size" && in_kernel 1 0 "$size"
	else
		[ ! -s listener.out ] && not_in_kernel
	fi
}
heard() { arrived listener.out "$size" && { [ "$1" = s_client ] || alerted; }; }

# It leaves at our close_notify; gnutls-cli leaves, with its own, at the end of the file.
s_client() {
	openssl s_client -quiet -connect "localhost:$port" -CAfile server.pem "$@" \
		< <(endless "site/$size")
}
gnutls() {
	gnutls-cli --logfile=gnutls.log --x509cafile=server.pem -p "$port" localhost "$@" \
		<"site/$size"
}

# connected STATUS OPTION...: to the server that is there, which gives an answer
connected() {
	mark
	get "site/$size" >request
	ends_with "$1" "$ktls" connect -brief -tls1_2 -require-kernel "${@:2}" \
		"localhost:$port" <request >got || return
	if [ "$1" -eq 0 ]; then
		[ -s got ] && in_kernel 1 "$(size_of request)" "$(size_of got)"
	else
		[ ! -s got ] && not_in_kernel
	fi
}

for name in server client other; do
	certificate $name
done
files 0 $size
ours=(-cert client.pem -key client.key) others=(-cert other.pem -key other.key)

start_at $port server "$ktls" serve -cert server.pem -key server.key -CAfile client.pem \
	-port $port -tls1_2 -require-kernel site
ok "serve: curl without a certificate" curl_is_refused
ok "serve: curl with another's" curl_is_refused --cert other.pem --key other.key
ok "serve: curl with the right one" curl_fetches --cert client.pem --key client.key
stop server

ok "listen: openssl s_client without a certificate" listened 1 s_client
ok "listen: openssl s_client with another's" listened 1 s_client "${others[@]}"
ok "listen: openssl s_client with the right one" listened 0 s_client "${ours[@]}"
ok "listen: gnutls-cli without a certificate" listened 1 gnutls
ok "listen: gnutls-cli with the right one" listened 0 gnutls \
	--x509certfile client.pem --x509keyfile client.key

start_at $port server openssl s_server -WWW -quiet -accept $port -cert server.pem \
	-key server.key -CAfile client.pem -Verify 1 -verify_return_error
ok "connect: openssl s_server, without a certificate" connected 1 -CAfile server.pem
ok "connect: openssl s_server, with another's" connected 1 -CAfile server.pem "${others[@]}"
ok "connect: openssl s_server, with the right one" connected 0 -CAfile server.pem "${ours[@]}"
ok "connect: an issuer that is not trusted" connected 1 -CAfile other.pem "${ours[@]}"
ok "connect: another name" connected 1 -CAfile server.pem "${ours[@]}" -servername example.com
stop server

start_at $port server gnutls-serv --http --x509certfile=server.pem --x509keyfile=server.key \
	--x509cafile=client.pem --require-client-cert --verify-client-cert -p $port
ok "connect: gnutls-serv, without a certificate" connected 1 -CAfile server.pem
ok "connect: gnutls-serv, with the right one" connected 0 -CAfile server.pem "${ours[@]}"
stop server
finish
