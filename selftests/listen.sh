#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# ktls listen talks with openssl s_client, gnutls-cli and socat: both directions at once, 0
# bytes to 8 MiB, with each cipher. timeout=500, one kernel is enough
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

port=4434
small=100000 large=8388608

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
