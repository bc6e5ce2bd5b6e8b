#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# ktls listen talks with openssl s_client, gnutls-cli, socat and curl: both directions at
# once, 0 bytes to 8 MiB, with each cipher.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

port=4434
small=100000 large=8388608

# exchange CLIENT SUITE DOWN UP: CLIENT is a function, given SUITE and UP, that takes the
# file DOWN and gives UP, both of site
exchange() {
	local suite=$2 down=site/$3 up=site/$4 status=0
	mark
	start_at "$port" listener "$ktls" listen -brief -cert server.pem -key server.key -tls1_2 \
		-cipher "$suite" -require-kernel "$port" < <(until_then "$down" heard "$1" "$up")
	"$1" "$suite" "$up" >got 2>client.err || status=$?
	ended listener && grep "$suite, kernel" listener.err && is "status of $1" "$status" 0 &&
		cmp got "$down" && cmp listener.out "$up" && in_kernel 1 "$3" "$4" && return
	cat client.err listener.err
	return 1
}

# heard CLIENT FILE: has it come, and its end, from clients that tell that and stay?
heard() {
	arrived listener.out "$(size_of "$2")" && { [ "$1" = s_client ] || alerted; }
}

s_client() {
	openssl s_client -quiet -connect "localhost:$port" -CAfile server.pem -tls1_2 \
		-verify_return_error -cipher "$1" < <(endless "$2")
}

gnutls() {
	gnutls-cli --logfile=gnutls.log --x509cafile=server.pem --priority "$(priority "$1")" \
		-p "$port" localhost <"$2"
}

socat_openssl() {
	local options=cafile=server.pem,cipher=$1,openssl-max-proto-version=TLS1.2
	socat -t 60 - "OPENSSL:localhost:$port,$options" <"$2"
}

certificate server
files 0 1 16385 $small $large
for suite in "${suites[@]}"; do
	while read -r client down up; do
		ok "$suite: $client, $down bytes down, $up bytes up" \
			exchange "$client" "$suite" "$down" "$up"
	done <<-END
		s_client 0 0
		s_client 1 16385
		s_client $large $large
		gnutls 0 $large
		gnutls $small 1
		socat_openssl $small $small
	END
done
finish
