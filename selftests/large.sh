#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# 256 MiB each way: ktls serve to curl, openssl s_client to ktls listen. timeout=1500,
# one kernel is enough
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

size=$((256 << 20))
port=4437
patience=600	# for one way

hash_of() { sha256sum | cut -d' ' -f1; }

served() {
	mark
	start_at "$port" server "$ktls" serve -cert server.pem -key server.key -port "$port" \
		-tls1_2 -require-kernel site
	is "its hash" "$(curl -sS --fail --cacert server.pem --tls-max 1.2 \
		-w '%{stderr}%{size_header} %{size_request}\n' "https://localhost:$port/$size" \
		2>figures | hash_of)" "$hash" || { cat figures; return 1; }
	read -r header request <figures
	stop server
	cat server.out
	in_kernel 1 $((size + header)) "$request"
}

received() {
	mark
	start_at "$port" listener "$ktls" listen -brief -v -cert server.pem -key server.key \
		-tls1_2 -require-kernel "$port" < <(until_then /dev/null arrived listener.out "$size")
	openssl s_client -quiet -connect "localhost:$port" -CAfile server.pem \
		< <(endless "site/$size")
	ended listener || { cat listener.err; return 1; }
	cat listener.err
	is "its hash" "$(hash_of <listener.out)" "$hash" && in_kernel 1 0 "$size"
}

certificate server
files $size
hash=$(hash_of <"site/$size")
ok "ktls serve to curl, $size bytes" served
ok "with sendfile" [ "${grown[KtlsTxSpliced]}" -ge $((size / 16384)) ]
ok "openssl s_client to ktls listen, $size bytes" received
finish
