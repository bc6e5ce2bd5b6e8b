#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_interop.sh [BUILD]		timeout=600, one kernel is enough
#
# Every suite that the kernel can carry: curl and openssl s_client fetch from ktls serve, and
# connect and listen with OpenSSL's commands and each other, both directions at once.
# shellcheck disable=SC2094 # what waits for a file to be written only reads it
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

# Each suite with the certificate that it wants.
suites='ECDHE-RSA-AES128-GCM-SHA256:rsa ECDHE-RSA-AES256-GCM-SHA384:rsa
ECDHE-RSA-CHACHA20-POLY1305:rsa ECDHE-ECDSA-AES128-CCM:ec ECDHE-ECDSA-AES128-GCM-SHA256:ec
DHE-RSA-AES128-CCM:rsa AES128-GCM-SHA256:rsa'

site() {
	mkdir site
	head -c 100000 /dev/urandom >site/100k
	head -c 8M /dev/urandom >site/big
	size=$(stat -c %s site/big)
}

# Nobody's input ends before the other has it all: s_client leaves at the first close_notify.
hold() { cat "$1"; await "$patience" same "$2" "$3"; }

fetched() {	# SUITE CERTIFICATE
	start serve "$ktls" serve -cert "$2.pem" -key "$2.key" -bind 127.0.0.1 -port 0 \
		-cipher "$1" -tls1_2 site
	ok "$1: curl" eval "curl -sS --fail --max-time $patience --cacert ca.pem --ciphers $1 https://localhost:$port/big |
		cmp - site/big"
	ok "$1: s_client" eval "printf 'GET /big HTTP/1.0\r\n\r\n' |
		timeout $patience openssl s_client -quiet -CAfile ca.pem -cipher $1 \
			-connect localhost:$port 2>err |
		tail -c $size | cmp - site/big"
	ok "$1: connect" eval "printf 'GET /big HTTP/1.0\r\n\r\n' | dial -cipher $1 2>err |
		tail -c $size | cmp - site/big && has '$1, $way' err"
	stop
}

to_openssl() {	# our client, OpenSSL's server
	: >server.out
	openssl s_server -quiet -cert "$2.pem" -key "$2.key" -cipher "$1" -tls1_2 -accept 0 \
		-naccept 1 < <(hold site/100k server.out site/big) >server.out 2>server.err &
	pid=$!
	pids+=("$pid")
	# -quiet hides the port; the socket tells.
	await "$patience" eval "ss -Hltnp | grep -q pid=$pid,"
	port=$(ss -Hltnp | sed -n "s/.*:\([0-9]*\) .*pid=$pid,.*/\1/p" | head -n 1)
	dial -cipher "$1" < <(hold site/big out site/100k) >out 2>err
	ok "$1: connect to s_server" eval "cmp server.out site/big && cmp out site/100k &&
		has '$1, $way' err"
	kill "$pid" 2>/dev/null
	ended "$pid"
}

from_openssl() {	# OpenSSL's client, our server
	: >server.out
	listen_on server "$1" "$2" server.out < <(hold site/100k server.out site/big)
	timeout "$patience" openssl s_client -quiet -CAfile ca.pem -cipher "$1" \
		-connect "localhost:$port" \
		<site/big >out 2>err
	ended "$pid"
	ok "$1: listen for s_client" eval "cmp server.out site/big && cmp out site/100k &&
		has '$1, $way' server.log"
}

files() {	# both ends ours
	local ours theirs
	listen_on server "$1" "$2" out.server <site/big
	dial -cipher ALL <site/100k >out 2>err
	ours=$?
	ended "$pid"
	theirs=$?
	ok "$1: connect to listen, files" eval "[ $ours$theirs = 00 ] && cmp out site/big &&
		cmp out.server site/100k"
}

pipes() {
	local ours theirs cat
	mkfifo pipe
	cat pipe >out.server &
	cat=$!
	listen_on server "$1" "$2" pipe < <(cat site/big)
	# shellcheck disable=SC2002 # pipes are wanted
	cat site/big | dial -cipher ALL 2>err | cat >out
	ours=${PIPESTATUS[1]}
	ended "$pid"
	theirs=$?
	ended "$cat"
	ok "$1: connect to listen, pipes" eval "[ $ours$theirs = 00 ] && cmp out site/big &&
		cmp out.server site/big"
	rm pipe
}

# By the kernel, what splices: selftests/*.sh has each of its ciphers.
[ $way = userspace ] || suites='ECDHE-RSA-AES128-GCM-SHA256:rsa ECDHE-ECDSA-AES128-CCM:ec'
certificates 2>/dev/null
site
for suite in $suites; do
	for test in fetched to_openssl from_openssl files pipes; do
		$test "${suite%:*}" "${suite#*:}"
	done
done
finish
