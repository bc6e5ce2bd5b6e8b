#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# ktls serve hands files of 0 bytes to 8 MiB to curl, openssl s_client and gnutls-cli, with
# each cipher. timeout=500
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

sizes=(0 1 16383 16384 16385 100000 1048583 8388608)
port=4433

# fetched SIZE CONNECTION CLIENT...: the client connects its input and output to the server
fetched() {
	local size=$1
	mark
	get "$size" "$2" >request
	shift 2
	"$@" <request >answer 2>client.err || { cat client.err; return 1; }
	head -n 1 answer | grep -q '^HTTP/1.1 200' && tail -c "$size" answer | cmp - "site/$size" &&
		in_kernel 1 "$(size_of answer)" "$(size_of request)"
}

# All of them over one connection.
by_curl() {
	local size arguments=() connections=0 sent=0 received=0
	for size in "${sizes[@]}"; do
		arguments+=(-o "got.$size" "https://localhost:$port/$size")
	done
	mark
	curl -sS --fail --cacert server.pem --ciphers "$1" --tls-max 1.2 "${arguments[@]}" \
		-w '%{num_connects} %{size_header} %{size_download} %{size_request}\n' >figures || return
	for size in "${sizes[@]}"; do
		cmp "got.$size" "site/$size" || return
	done
	while read -r connects header download request; do
		connections=$((connections + connects))
		sent=$((sent + header + download)) received=$((received + request))
	done <figures
	is connections "$connections" 1 && in_kernel 1 "$sent" "$received"
}

by_openssl() {
	fetched "$2" close openssl s_client -quiet -connect "localhost:$port" -CAfile server.pem \
		-verify_return_error -verify_hostname localhost -tls1_2 -cipher "$1"
}

# It says close_notify at the end of its input, if the server has not done so before.
by_gnutls() {
	fetched "$2" keep-alive gnutls-cli --logfile=gnutls.log --x509cafile=server.pem \
		--priority "$(priority "$1")" -p "$port" localhost
}

logged() {
	is "lines of the log in the kernel" "$(grep -c "$1 kernel$" server.out)" "$2" &&
		is "lines in userspace" "$(grep -c userspace server.out)" 0
}

certificate server
files "${sizes[@]}"
for suite in "${suites[@]}"; do
	start_at $port server "$ktls" serve -cert server.pem -key server.key -port $port \
		-tls1_2 -cipher "$suite" -require-kernel site
	ok "$suite: curl, ${#sizes[@]} files over one connection" by_curl "$suite"
	# CCM has to copy: it visits the plaintext twice.
	[[ $suite = *CCM ]] || ok "$suite: with sendfile" [ "${grown[KtlsTxSpliced]}" -gt 500 ]
	for size in "${sizes[@]}"; do
		ok "$suite: openssl s_client, $size bytes" by_openssl "$suite" "$size"
	done
	# It writes what it gets byte by byte.
	for size in 0 16385 100000; do
		ok "$suite: gnutls-cli, $size bytes" by_gnutls "$suite" "$size"
	done
	ok "$suite: the server stops when told to" stop server
	ok "$suite: its log" logged "$suite" $((2 * ${#sizes[@]} + 3))
done
finish
