#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Renegotiation in the middle of transfers over DTLS 1.2, on the wish of OpenSSL 3.0 and 3.5 and of
# ktls (-rekey-after). GnuTLS 3.7 is not among the peers: a client of its cannot read what comes under
# the new keys, from s_server neither. timeout=450, one kernel is enough
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1-}" != apart ]; then
	exec unshare --net "$here/${0##*/}" apart
fi

# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=rekey-lib.sh
. "$here/rekey-lib.sh"

port=4447
piece=8192
amount=$((8 * piece))
datagrams=1

# ---- what is sent: a piece when the one before has come, so that none is lost ----

# pieces FIRST LAST OUTPUT
pieces() {
	local i
	for ((i = $1; i <= $2; i++)); do
		head -c $((i * piece)) "site/$amount" | tail -c "$piece"
		await arrived "$3" $((i * piece)) || return
	done
}
all_pieces() { pieces 1 8 "$1"; }
# The other half when keys have changed.
halves() { pieces 1 4 "$1" && await changed 1 1 && pieces 5 8 "$1"; }
# with_commands OUTPUT COMMAND...: each behind a piece, to a peer that knows it by its place
with_commands() {
	local output=$1 turn=0 command
	for command in "${@:2}"; do
		turn=$((turn + 1))
		pieces "$turn" "$turn" "$output" || return
		echo "$command"
		await changed "$turn" "$turn" || return
	done
	pieces $((turn + 1)) 8 "$output"
}

stay() {
	await keyed
	"$@"
	endless /dev/null
}

# ---- ktls and its peers ----

# At the end of input all has arrived.
ktls_listens() {
	start_at "$port" listener "$ktls" listen -dtls -brief -idle 1 -cert server.pem \
		-key server.key -require-kernel "${limit[@]}" "127.0.0.1:$port" < <("$@")
}

ktls_connects() {
	"$ktls" connect -dtls -brief -CAfile server.pem -servername localhost -require-kernel \
		"${limit[@]}" "127.0.0.1:$port" < <("$@") 2>connect.err ||
		{ cat connect.err server.err; return 1; }
	grep -q 'DTLSv1.2 .*, kernel' connect.err
}

s_client() {
	"${openssl[$release]}" s_client -dtls1_2 -brief -connect "127.0.0.1:$port" \
		-CAfile server.pem -verify_return_error "$@"
}
s_server=(s_server -dtls1_2 -accept "127.0.0.1:$port" -naccept 1 -client_renegotiation
	-cert server.pem -key server.key)

# from_client CLIENT COMMAND...: ktls listen receives
from_client() {
	mark
	ktls_listens until_then /dev/null arrived listener.out "$amount"
	"$1" < <(with_commands listener.out "${@:2}") >got 2>client.err ||
		{ cat client.err listener.err; return 1; }
	ended listener && grep 'DTLSv1.2 .*, kernel' listener.err &&
		same_hash listener.out "site/$amount"
}

# to_client INPUT COMMAND...: ktls listen sends, of the function INPUT
to_client() {
	mark
	: >got
	ktls_listens "$1" got
	converse -from=4 got "$amount" 1 1 "${@:2}" -- "${openssl[$release]}" s_client -dtls1_2 \
		-brief -connect "127.0.0.1:$port" -CAfile server.pem -verify_return_error \
		2>client.err || { cat client.err listener.err; return 1; }
	ended listener && same_hash got "site/$amount"
}

# to_server COMMAND...: ktls connect sends
to_server() {
	mark
	: >got
	start_at "$port" server converse got "$amount" 1 1 "$@" -- \
		"${openssl[$release]}" "${s_server[@]}"
	ktls_connects all_pieces got || return
	ended server || { cat server.err; return 1; }
	without_talk got >got.data
	same_hash got.data "site/$amount"
}

# from_server COMMAND...: ktls connect receives
from_server() {
	mark
	: >got
	start_at "$port" server "${openssl[$release]}" "${s_server[@]}" < <(
		stay with_commands got "$@")
	# shellcheck disable=SC2094 # who waits for a file only looks at it
	ktls_connects until_then /dev/null arrived got "$amount" >got || return
	ended server
	same_hash got "site/$amount"
}

# ---- the tests ----

test() {	# NAME SENT RECEIVED COMMAND...
	alone
	ok "$peer: $1" "${@:4}"
	ok "... by other keys" rekeyed "$2" "$3"
}
often() {
	alone
	ok "$peer: $1" "${@:4}"
	ok "... by other keys" rekeyed_often "$2" "$3"
}

of() { peer="OpenSSL $1" release=$1 limit=("${@:2}"); }

all() {
	of 3.0
	test "s_client R R; ktls listen" 2 2 from_client s_client R R
	test "s_server r R; ktls connect" 2 2 from_server r R
	of 3.5
	test "ktls listen; s_client R" 1 1 to_client halves R
	test "ktls connect; s_server r R" 2 2 to_server r R
	of 3.5 -rekey-after 3r
	often "ktls listen, -rekey-after 3r" 2 2 to_client all_pieces
	of 3.0 -rekey-after 3r
	often "ktls connect, -rekey-after 3r" 2 2 to_server
	of 3.0 -rekey-after 20K
	often "ktls listen, -rekey-after 20K, receives" 2 2 from_client s_client
	of 3.5 -rekey-after 20K
	often "ktls connect, -rekey-after 20K, receives" 2 2 from_server
}

ip link set lo up
certificate server
numbers $amount
all
finish
