#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_dtls.sh [BUILD]
#
# The command over DTLS: with itself, OpenSSL and GnuTLS, and a relay. timeout=240,
# one kernel is enough
# shellcheck source-path=SCRIPTDIR source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

way=userspace
"$ktls" --version | grep -q 'kernel:.* DTLS 1.2' && way=kernel
echo "# datagrams by the $way"

certificates >/dev/null 2>&1
seq 1 200 >lines	# a datagram

# listen_dtls NAME CIPHER CERTIFICATE OUTPUT [OPTION...]: as listen_on; its input is $input
input=open
address=127.0.0.1
listen_dtls() {
	: >"$1.log"
	"$ktls" listen -dtls -brief -cert "$3.pem" -key "$3.key" -cipher "$2" "${@:5}" \
		"$address:0" <"$input" >"$4" 2>>"$1.log" 9>&- &
	pid=$!
	pids+=("$pid")
	await "$patience" has_port "$1.log"
	port=$(port_in "$1.log")
}

# feed FILE: it, and an input that stays open until the file hold is gone
feed() {
	cat "$1"
	await "$patience" test ! -e hold
}

# shellcheck disable=SC2317 # called by await and ok
holds() { [ "$(cat "$1")" = "$2" ]; }

suites=(ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384
	ECDHE-RSA-CHACHA20-POLY1305 ECDHE-ECDSA-AES128-CCM)
certificate_of() { case $1 in *ECDSA*) echo ec ;; *) echo rsa ;; esac; }

self_tests() {
	local suite
	for suite in "${suites[@]}"; do
		listen_dtls own "$suite" "$(certificate_of "$suite")" own.out
		touch hold
		feed lines 9>&- | once connect -dtls -brief -cipher "$suite" -CAfile ca.pem \
			"localhost:$port" \
			>client.out 2>client.err &
		ok "$suite: a datagram arrives" await "$patience" same lines own.out
		ok "$suite: by the $way" has "DTLSv1.2 $suite, $way" own.log
		ok "$suite: by the client's $way" has "DTLSv1.2 $suite, $way" client.err
		rm hold
		ok "$suite: the end of input ends both" ended "$pid"
		wait $!
	done
}

openssl_tests() {
	local suite cert
	for suite in "${suites[@]}"; do
		cert=$(certificate_of "$suite")
		listen_dtls openssl "$suite" "$cert" openssl.out
		touch hold
		feed lines 9>&- | timeout "$patience" openssl s_client -dtls1_2 -quiet -no_ign_eof \
			-cipher "$suite" -CAfile ca.pem \
			-verify_return_error -connect "127.0.0.1:$port" >s_client.out 2>s_client.err &
		ok "openssl s_client, $suite: sends" await "$patience" same lines openssl.out
		ok "openssl s_client, $suite: by the $way" has "$suite, $way" openssl.log
		rm hold
		ok "openssl s_client, $suite: its close_notify ends it" ended "$pid"
		wait $!
	done
}

gnutls_tests() {
	local cipher
	command -v gnutls-cli >/dev/null || {
		skip 'gnutls-cli is not installed' 'gnutls-cli'
		return
	}
	for cipher in AES-128-GCM AES-256-GCM CHACHA20-POLY1305; do
		listen_dtls gnutls ALL ec gnutls.out
		touch hold
		feed lines 9>&- | timeout "$patience" gnutls-cli --udp --x509cafile=ca.pem \
			--priority="NORMAL:-VERS-ALL:+VERS-DTLS1.2:-CIPHER-ALL:+$cipher" \
			-p "$port" localhost >gnutls-cli.out 2>&1 &
		ok "gnutls-cli, $cipher: sends" await "$patience" same lines gnutls.out
		ok "gnutls-cli, $cipher: by the $way" has "DTLSv1.2 .*, $way" gnutls.log
		rm hold
		ok "gnutls-cli, $cipher: its close_notify ends it" ended "$pid"
		wait $!
	done
}

# A client hears only the address it has called, and the server has the first word.
address_tests() {
	local address input=words
	mkfifo words
	exec 8<>words
	for address in 0.0.0.0 '[::]'; do
		listen_dtls any ALL rsa any.out
		cat lines >&8
		touch hold
		feed lines 9>&- | timeout "$patience" openssl s_client -dtls1_2 -quiet -no_ign_eof \
			-connect "127.0.0.2:$port" >s_client.out 2>s_client.err &
		ok "$address: called at another address it speaks" await "$patience" \
			same lines s_client.out
		ok "$address: and listens" await "$patience" same lines any.out
		ok "$address: by the $way" has "DTLSv1.2 .*, $way" any.log
		rm hold
		ok "$address: the end of input ends it" ended "$pid"
		wait $!
	done
	exec 8>&-
	rm words
}

# Silent for longer than a client waits for answers.
pausing() { cat lines; sleep 3; echo last; }
# shellcheck disable=SC2317 # called by ok
dial_pausing() { pausing 9>&- | dial -dtls; }

# A listener that has nothing to send goes on to receive.
end_tests() {
	local input=/dev/null
	listen_dtls patient ALL rsa patient.out
	ok 'a sender that pauses, and its server has no input' dial_pausing
	ok 'its close_notify ends the server' ended "$pid"
	{ cat lines; echo last; } >sent
	ok 'all of it arrived' same sent patient.out
	listen_dtls idle ALL rsa idle.out -idle 1
	mkfifo words
	exec 8<>words
	cat lines >&8
	ok 'a server that closes before the end of input: status 3' status 3 dial -dtls <words
	exec 8>&-
	ok 'a silent client is left' ended "$pid"
}

# A UDP port that nobody has.
free_port() {
	python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# shellcheck disable=SC2317 # called by ok
talk_to_server() {	# OUTPUT OF THE SERVER
	touch hold
	feed lines 9>&- | once connect -dtls -brief -CAfile ca.pem "localhost:$port" \
		>client.out 2>client.err &
	await "$patience" has '^200$' "$1" && has "DTLSv1.2 .*, $way" client.err
	local status=$?
	rm hold
	wait $!
	return "$status"
}

server_tests() {
	port=$(free_port)
	silence | timeout "$patience" openssl s_server -dtls1_2 -quiet -cert rsa.pem -key rsa.key \
		-accept "127.0.0.1:$port" >s_server.out 2>&1 &
	pids+=($!)
	await "$patience" grep -qi ":$(printf %04X "$port") " /proc/net/udp
	ok 'openssl s_server: gets it' talk_to_server s_server.out
	if ! command -v gnutls-serv >/dev/null; then
		skip 'gnutls-serv is not installed' 'gnutls-serv'
		return
	fi
	port=$(free_port)
	timeout "$patience" gnutls-serv --udp --echo -q --x509certfile=ec.pem --x509keyfile=ec.key \
		-p "$port" >gnutls-serv.out 2>&1 &
	pids+=($!)
	await "$patience" grep -qi ":$(printf %04X "$port") " /proc/net/udp /proc/net/udp6
	ok 'gnutls-serv: echoes it' talk_to_server client.out
}

relay_tests() {
	python3 - "$here" <<-'END' &
		import socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(('127.0.0.1', 0))
		open('echo.port', 'w').write('%d\n' % s.getsockname()[1])
		while True:
		    data, peer = s.recvfrom(65536)
		    s.sendto(b'echo ' + data, peer)
	END
	pids+=($!)
	await "$patience" test -s echo.port
	start inner "$ktls" relay -cert rsa.pem -key rsa.key 127.0.0.1:0 "127.0.0.1:$(cat echo.port)"
	local inner=$port inner_pid=$pid clients=() i
	for i in 1 2 3; do
		start "outer$i" "$ktls" relay -client -CAfile rsa.pem 127.0.0.1:0 "localhost:$inner"
		clients+=("$port")
		await "$patience" has DTLSv1.2 "outer$i.log"
	done
	ok 'relay: there and back, three peers on one port' timeout "$patience" \
		python3 - "${clients[@]}" <<-'END'
		import socket, sys
		for round in range(20):
		    for port in sys.argv[1:]:
		        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		        s.connect(('127.0.0.1', int(port)))
		        s.settimeout(10)
		        data = b'%d ' % round * (1 + 20 * round)
		        s.send(data)
		        assert s.recv(65536) == b'echo ' + data
	END
	ok "relay: by the $way" has "DTLSv1.2 .*, $way" inner.log
	ok 'relay: SIGTERM ends it' stop
	ok 'relay: and its peer hears of it' await "$patience" has 'has closed' inner.log
	local outer=${pids[-2]}
	kill "$inner_pid"
	ok 'relay: SIGTERM ends the other' ended "$inner_pid"
	ok 'relay -client: a server that closes is no success' status 4 ended "$outer"
}

usage_tests() {
	ok '-dtls and -tls1_2 exclude each other' status 2 once connect -dtls -tls1_2 localhost:1
	ok 'nobody there: status 4' status 4 once connect -dtls -insecure 127.0.0.1:9
	ok '-idle wants -dtls' status 2 once connect -idle 5 localhost:1
	ok 'relay wants two operands' status 2 once relay -client 5000
	ok 'relay wants a certificate' status 2 once relay 5000 localhost:5001
	ok 'relay: -insecure is for -client' status 2 once relay -insecure -cert rsa.pem \
		-key rsa.key 5000 localhost:5001
	ok 'relay: -idle is a number' status 2 once relay -client -idle -1 5000 localhost:5001
}

self_tests
openssl_tests
gnutls_tests
address_tests
end_tests
server_tests
relay_tests
usage_tests
finish
