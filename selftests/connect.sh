#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# ktls connect talks with openssl s_server, gnutls-serv and nginx: 0 bytes to 8 MiB, both
# directions at once, with each cipher. nginx leaves the records to the kernel's own
# TLS. timeout=500, one kernel is enough
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

sizes=(0 1 16385 100000 8388608)
small=100000 large=8388608
port=4435

# dial SUITE COMMAND...: the command's output to the server, its answer to got. The command
# starts behind the mark.
dial() {
	mark
	"$ktls" connect -brief -CAfile server.pem -servername localhost -tls1_2 -cipher "$1" \
		-require-kernel "localhost:$port" < <("${@:2}") >got 2>client.err ||
		{ cat client.err; return 1; }
	grep "$1, kernel" client.err
}

# carried FILE: it went to the server, got came from there
carried() { in_kernel 1 "$(size_of "$1")" "$(size_of got)"; }

# fetch SUITE SIZE: by HTTP. nginx drops clients that end their direction early.
fetch() {
	get "site/$2" >request
	dial "$1" until_then request alerted && head -n 1 got | grep -qi '^HTTP/1.. 200' &&
		tail -c "$2" got | cmp - "site/$2" && carried request
}

# upload SUITE SIZE
upload() {
	{
		printf 'PUT /site/new HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
		printf 'Content-Length: %s\r\n\r\n' "$2"
		cat "site/$2"
	} >request
	rm -f site/new
	dial "$1" until_then request alerted && head -n 1 got | grep '201 Created' &&
		cmp site/new "site/$2" && carried request
}

s_server() {	# SUITE OPTION...
	start_at "$port" server openssl s_server "${@:2}" -quiet -accept "$port" -tls1_2 \
		-cipher "$1" -cert server.pem -key server.key
}

# The server leaves at our close_notify.
both_directions() {
	s_server "$1" -naccept 1 < <(endless "site/$small")
	dial "$1" until_then "site/$large" arrived got "$small" && ended server &&
		cmp got "site/$small" && cmp server.out "site/$large" && carried "site/$large"
}

# It echoes lines.
echoed() { dial "$1" cat lines && cmp got lines && carried lines; }

# What the kernel's own TLS has been given, of either direction.
own_tls() { awk '/^Tls[TR]xSw/ { sum += $2 } END { print sum + 0 }' /proc/net/tls_stat; }

certificate server
files "${sizes[@]}"
base64 "site/$small" >lines
for suite in "${suites[@]}"; do
	s_server "$suite" -WWW
	for size in "${sizes[@]}"; do
		ok "$suite: openssl s_server, $size bytes" fetch "$suite" "$size"
	done
	stop server
	ok "$suite: openssl s_server, both directions" both_directions "$suite"
	start_at $port server gnutls-serv --echo --x509certfile=server.pem \
		--x509keyfile=server.key --priority "$(priority "$suite")" -p $port
	ok "$suite: gnutls-serv, $(size_of lines) bytes and back" echoed "$suite"
	stop server
done

modprobe tls
given=$(own_tls)
nginx_conf TLSv1.2 'ssl_ciphers ALL;' 'ssl_conf_command Options KTLS;' 'sendfile on;' \
	'dav_methods PUT;' 'client_max_body_size 16m;' >nginx.conf
start_at $port server nginx -p "$work/" -c nginx.conf
for suite in "${suites[@]}"; do
	ok "$suite: nginx, $large bytes" fetch "$suite" "$large"
	ok "$suite: nginx, $large bytes up" upload "$suite" "$large"
done
ok "nginx: quits" stop server QUIT
ok "nginx used the kernel's own TLS" [ "$(own_tls)" -gt "$given" ]
finish
