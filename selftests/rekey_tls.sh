#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Keys that change in the middle of transfers over TLS, on the wish of OpenSSL 3.0 and 3.5, of
# GnuTLS and of ktls (-rekey-after): what libktls sends by send, sendfile and splice, and what it
# receives by recv and splice. Each version, role, peer and way comes at least once with each way
# to begin. timeout=900, one kernel is enough
#
# The last transfers, one for each way to send, are of LARGE MiB (16), and PARTS says what is run:
#
#	selftests/qemu/run --limit 1800 'LARGE=256 PARTS=long_ones selftests/rekey_tls.sh'
# shellcheck disable=SC2317 # called by names
here=$(cd "$(dirname "$0")" && pwd)

# In a network of its own, whose buffers hold little: what is sent is nearly what has come.
if [ "${1-}" != apart ]; then
	exec unshare --net "$here/${0##*/}" apart
fi

# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=rekey-lib.sh
. "$here/rekey-lib.sh"

port=4446
short=$((1 << 20))
size=$((4 << 20))
large=$((${LARGE-16} << 20))

# ---- how ktls is made to move data, by its standard input and output ----

by_sendfile() { exec "$@" <"site/$amount"; }
by_splice() { exec "$@" < <(exec cat "site/$amount"); }
by_send() { exec python3 "$here/interop/socket_input.py" "site/$amount" "$@"; }
to_splice() { exec "$@" > >(exec cat); }
to_recv() { exec "$@"; }

# ---- the peers ----

# The commands; what comes before is told to converse.
s_client=(s_client -brief -connect "localhost:$port" -CAfile server.pem -verify_return_error
	-servername localhost)
gnutls_cli=(gnutls-cli --logfile=gnutls.log --inline-commands --x509cafile=server.pem
	-p "$port" localhost --priority)
s_server=(s_server -accept "$port" -naccept 1 -client_renegotiation -cert server.pem
	-key server.key)

ktls_listens() {	# [WAY...]
	start_at "$port" listener "$@" "$ktls" listen -brief "$version" -cert server.pem \
		-key server.key -require-kernel "${limit[@]}" "$port"
}

ktls_connects() {	# [WAY...]
	("$@" "$ktls" connect -brief "$version" -CAfile server.pem -servername localhost \
		-require-kernel "${limit[@]}" "localhost:$port") 2>connect.err ||
		{ cat connect.err; return 1; }
	grep -q 'kernel$' connect.err
}

limit=()

# ---- commands in the middle: k and K update keys in TLS 1.3, K asks for the peer's, too; R and r
#      negotiate anew in TLS 1.2 ----

# served SENT RECEIVED COMMAND...: ktls serve sends, with sendfile
served() {
	mark
	start_at "$port" server "$ktls" serve -cert server.pem -key server.key -port "$port" \
		"$version" -require-kernel "${limit[@]}" site
	converse -say "GET /$amount HTTP/1.0"$'\r\n\r\n' "${options[@]/PID/${pids[server]}}" \
		got "$amount" "$@" -- "${client[@]}" || { cat server.err; return 1; }
	stop server
	grep 'kernel$' server.out && same_hash got "site/$amount"
}

# to_client WAY SENT RECEIVED COMMAND...: ktls listen sends
to_client() {
	mark
	ktls_listens "$1"
	converse "${options[@]/PID/${pids[listener]}}" got "$amount" "${@:2}" -- \
		"${client[@]}" || { cat listener.err; return 1; }
	ends_with "${rude:-0}" ended listener && same_hash got "site/$amount"
}

# From a client that waits for our close_notify, or one that must not see it before its own.
has_all() { if [ -n "$rude" ]; then [ -e gone ]; else arrived listener.out "$amount"; fi; }

# from_client WAY COMMAND...: ktls listen receives
from_client() {
	mark
	rm -f gone
	ktls_listens "$1" < <(until_then /dev/null has_all)
	"${client[@]}" < <(
		await keyed
		python3 "$here/interop/feed.py" "site/$amount" $((amount / 8)) "${@:2}"
		await arrived listener.out "$amount") || { cat listener.err; return 1; }
	: >gone
	ended listener && await arrived listener.out "$amount" &&
		same_hash listener.out "site/$amount"
}

halves() {	# SENT RECEIVED
	head -c $((amount / 2)) "site/$amount"
	await changed "$@"
	tail -c +$((amount / 2 + 1)) "site/$amount"
}

# from_slow_client: that sends the other half when keys have changed
from_slow_client() {
	mark
	ktls_listens to_splice < <(until_then /dev/null arrived listener.out "$amount")
	"${client[@]}" < <(
		halves 1 0
		await arrived listener.out "$amount") || { cat listener.err; return 1; }
	ended listener && await arrived listener.out "$amount" &&
		same_hash listener.out "site/$amount"
}

# to_server WAY SENT RECEIVED COMMAND...: ktls connect sends
to_server() {
	mark
	start_at "$port" server converse got "$amount" "${@:2}" -- \
		"${openssl[$release]}" "${s_server[@]}" "$version"
	ktls_connects "$1" || { cat server.err; return 1; }
	ended server || { cat server.err; return 1; }
	without_talk got >got.data
	same_hash got.data "site/$amount"
}

# from_server WAY COMMAND...: ktls connect receives
from_server() {
	mark
	: >got
	start_at "$port" server "${openssl[$release]}" "${s_server[@]}" "$version" < <(
		await keyed
		python3 "$here/interop/feed.py" "site/$amount" $((amount / 8)) "${@:2}"
		endless /dev/null)
	# shellcheck disable=SC2094 # who waits for a file only looks at it
	ktls_connects "$1" < <(until_then /dev/null arrived got "$amount") >got ||
		{ cat server.err; return 1; }
	ended server
	await arrived got "$amount" && same_hash got "site/$amount"
}

# echoed RECEIVED: ktls connect sends and receives, the other half after so many new keys of GnuTLS
echoed() {
	mark
	base64 "site/$amount" | head -n 2000 >lines
	start_at "$port" server gnutls-serv --echo --x509certfile=server.pem \
		--x509keyfile=server.key --priority "NORMAL:-VERS-ALL:+VERS-TLS${version/-tls1_/1.}" -p "$port"
	ktls_connects < <(
		head -n 1000 lines
		await changed 1 "$1"
		tail -n +1001 lines) >got
	stop server
	cmp got lines || { tail server.err connect.err; return 1; }
}

has_all_anew() { arrived got "$amount" && changed 2 2; }

# between_ktls: a client that renegotiates while it is sent to, and bears that; both are counted
between_ktls() {
	mark
	: >got
	start_at "$port" server "$ktls" serve -cert server.pem -key server.key -port "$port" \
		"$version" -require-kernel site
	get "$amount" keep-alive >request
	# shellcheck disable=SC2094 # who waits for a file only looks at it
	ktls_connects < <(until_then request has_all_anew) >got || { cat server.err; return 1; }
	stop server
	same_hash got "site/$amount"
}

# ---- the tests ----

of_openssl() {	# RELEASE VERSION
	release=$1 version=$2 peer="OpenSSL $1" rude=''
	client=("${openssl[$release]}" "${s_client[@]}" "$version")
}
of_gnutls() {	# VERSION
	version=$1 peer=GnuTLS rude=3	# it leaves at our close_notify without its own
	client=("${gnutls_cli[@]}" "NORMAL:-VERS-ALL:+VERS-TLS${1/-tls1_/1.}")
}

# exactly SENT RECEIVED NAME COMMAND...: with so many other keys
exactly() {
	alone
	ok "$peer, TLS ${version/-tls1_/1.}: $3, $((amount >> 20)) MiB" "${@:4}"
	ok "... by other keys" rekeyed "$1" "$2"
}
# often SENT RECEIVED NAME COMMAND...: with so many, or more
often() {
	alone
	ok "$peer, TLS ${version/-tls1_/1.}: $3, $((amount >> 20)) MiB" "${@:4}"
	ok "... by other keys" rekeyed_often "$1" "$2"
}

# In each role, and each direction.
updates() {
	options=(-rest=PID)
	of_openssl 3.5 -tls1_3
	exactly 3 3 "ktls serve, sendfile; s_client K K K" served 1 1 K K K
	exactly 2 4 "s_client k K k K; ktls listen, recv" from_client to_recv k K k K
	exactly 1 1 "ktls connect, splice; s_server K" to_server by_splice 1 1 K
	exactly 1 2 "s_server K k; ktls connect, splice" from_server to_splice K k
	of_openssl 3.0 -tls1_3
	exactly 1 1 "ktls listen, send; s_client K" to_client by_send 1 1 K
	exactly 1 2 "s_client K k; ktls listen, splice" from_client to_splice K k
	exactly 3 3 "ktls connect, sendfile; s_server K K K" to_server by_sendfile 1 1 K K K
	exactly 2 4 "s_server k K k K; ktls connect, recv" from_server to_recv k K k K
}

# OpenSSL's and GnuTLS's clients take no data between their hello and the end of the handshake: none
# is on its way then, and the other half follows the new keys.
by_halves() { exec "$@" < <(halves 1 1); }
renegotiations() {
	options=(-from=4)
	of_openssl 3.5 -tls1_2
	exactly 2 2 "s_client R R; ktls listen, recv" from_client to_recv R R
	exactly 2 2 "ktls connect, sendfile; s_server r R" to_server by_sendfile 1 1 r R
	exactly 2 2 "s_server r R; ktls connect, splice" from_server to_splice r R
	exactly 1 1 "ktls connect, send; s_server r" to_server by_send 1 1 r
	of_openssl 3.0 -tls1_2
	exactly 1 1 "ktls listen, splice; s_client R" to_client by_halves 1 1 R
	exactly 1 1 "s_client R; ktls listen, splice" from_client to_splice R
	exactly 1 1 "ktls connect, splice; s_server r" to_server by_splice 1 1 r
	exactly 2 2 "s_server r r; ktls connect, recv" from_server to_recv r r
}

# ktls begins: for bytes, for records, and for time.
ours() {
	limit=(-rekey-after 1M) options=()
	# OpenSSL answers a KeyUpdate with its next data only, of which there is none here.
	of_openssl 3.5 -tls1_3
	often 2 0 "ktls serve, sendfile, -rekey-after 1M" served 0 0
	of_openssl 3.0 -tls1_2
	often 2 2 "ktls connect, splice, -rekey-after 1M" to_server by_splice 0 0
	limit=(-rekey-after 100r)
	of_openssl 3.0 -tls1_3
	often 2 0 "ktls connect, recv, -rekey-after 100r" from_server to_recv
	of_openssl 3.5 -tls1_2
	often 2 2 "ktls serve, sendfile, -rekey-after 100r" served 0 0
	limit=(-rekey-after 1s)
	often 1 1 "ktls listen, splice, -rekey-after 1s" from_slow_client
	limit=(-rekey-after 1M) peer=ktls
	for version in -tls1_2 -tls1_3; do
		often 2 2 "ktls serve, sendfile; ktls connect, -rekey-after 1M" between_ktls
	done
	limit=()
}

# gnutls-cli's ^rekey1^ is for its own keys only, ^rekey^ for ours, too. It writes byte by byte. Of
# TLS 1.2 it bears no data behind a HelloRequest: a server that sends cannot begin with it.
gnutls() {
	amount=$short options=(-rest=PID)
	of_gnutls -tls1_3
	exactly 2 2 "ktls serve, sendfile; gnutls-cli ^rekey^" served 1 1 ^rekey^ ^rekey^
	exactly 1 2 "gnutls-cli ^rekey1^ ^rekey^; ktls listen, splice" from_client to_splice \
		^rekey1^ ^rekey^
	of_gnutls -tls1_2
	options=(-from=4)
	exactly 1 1 "ktls listen, splice; gnutls-cli ^renegotiate^" to_client by_halves 1 1 \
		^renegotiate^
	exactly 1 1 "gnutls-cli ^renegotiate^; ktls listen, recv" from_client to_recv ^renegotiate^
	limit=(-rekey-after 20K) version=-tls1_2
	often 1 1 "ktls connect, -rekey-after 20K, both ways; gnutls-serv" echoed 1
	# It answers a KeyUpdate with its next data only.
	version=-tls1_3
	often 1 1 "ktls connect, -rekey-after 20K, both ways; gnutls-serv" echoed 0
	limit=() amount=$size
}

# By each way to send.
long_ones() {
	amount=$large
	numbers "$amount"
	limit=(-rekey-after $((large / 8))) options=(-rest=PID)
	of_openssl 3.5 -tls1_2
	often 4 4 "ktls serve, sendfile, -rekey-after an eighth" served 0 0
	of_openssl 3.0 -tls1_3
	often 4 2 "ktls listen, splice, -rekey-after an eighth; s_client K K" to_client by_splice 1 1 K K
	often 4 2 "ktls listen, send, -rekey-after an eighth; s_client K K" to_client by_send 1 1 K K
	rm "site/$amount"
	limit=() amount=$size
}

ip link set lo up
echo 4096 16384 131072 >/proc/sys/net/ipv4/tcp_wmem
echo 4096 131072 262144 >/proc/sys/net/ipv4/tcp_rmem
certificate server
limit=() amount=$size
numbers "$short" "$amount"
for part in ${PARTS-updates renegotiations ours gnutls long_ones}; do
	$part
done
finish
