#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# DTLS of the kernel with OpenSSL, GnuTLS and mbed TLS, as a client and as a server, with each
# cipher: datagrams both ways, then a close_notify. And a last flight that is lost. timeout=300, one kernel is enough
here=$(cd "$(dirname "$0")" && pwd)

# One for each peer, each in a network of its own, at once: most of it is waiting.
if [ $# -eq 0 ]; then
	reports=$(mktemp -d) jobs=() status=0
	for peer in openssl gnutls mbedtls; do
		unshare --net "$here/${0##*/}" $peer >"$reports/$peer" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		wait "$job" || status=1
	done
	cat "$reports"/*
	rm -r "$reports"
	exit $status
fi

# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=dtls-lib.sh
. "$here/dtls-lib.sh"

port=4440 lossy=4441
down=19200 up=32000

# ---- GnuTLS: sends no datagrams that are longer than the MTU it was told ----

gnutls_priority() {
	local cipher=${1#*-*-} exchange=${1%"-${1#*-*-}"}
	echo "NORMAL:-VERS-ALL:+VERS-DTLS1.2:-KX-ALL:+$exchange:-CIPHER-ALL:+$(
		sed 's/-SHA[0-9]*$//; s/^AES\(...\)/AES-\1/' <<<"$cipher")"
}

gnutls() {
	gnutls-cli --udp --mtu 16000 --logfile=gnutls.log -p "$port" "${address//[][]/}" \
		--verify-hostname localhost --x509cafile="$(certificate_of "$1").pem" \
		--priority "$(gnutls_priority "$1")" < <(until_then "$3" arrived got "$(size_of "$2")")
}

echoed() {
	local cert status=0
	cert=$(certificate_of "$1")
	mark
	start_at "$port" server gnutls-serv --udp --mtu 16000 --echo -p "$port" \
		--x509certfile="$cert.pem" --x509keyfile="$cert.key" \
		--priority "$(gnutls_priority "$1")"
	connecting "$1" until_then "site/$up" arrived got "$up" || status=$?
	stop server
	[ "$status" -eq 0 ] && same got "site/$up" && datagrams_in_kernel "$up" "$up" && return
	cat connect.err server.err
	return 1
}

# ---- mbed TLS: closes first and waits for the other's close_notify ----

# mbedtls ROLE SUITE FILE BYTES
mbedtls() {
	local cert suite=${2/AES/WITH-AES-}
	cert=$(certificate_of "$2")
	[[ $suite != *CHACHA20* ]] || suite=${suite/CHACHA20/WITH-CHACHA20}-SHA256
	"$here/build/mbedtls_peer" "$1" "${address//[][]/}" "$port" "TLS-$suite" \
		"$cert.pem" "$cert.key" "$3" "$4"
}
mbedtls_client() { mbedtls client "$1" "$3" "$(size_of "$2")"; }
mbedtls_server() { start_at "$port" server mbedtls server "$1" "$2" "$(size_of "$3")"; }

# ---- a path on which the server's last flight is lost ----

# Loses what the server sends from its ChangeCipherSpec on until the client speaks again, so
# many times.
lossy_path() {
	start_at "$lossy" path python3 - "$lossy" "$port" "$1" <<-'END'
		import select, socket, sys

		here, there, rounds = map(int, sys.argv[1:])
		near, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
		near.bind(('127.0.0.1', here))
		far.connect(('127.0.0.1', there))
		losing, client = False, None

		def changes_cipher(datagram):
		    at, types = 0, []
		    while at < len(datagram):
		        types.append(datagram[at])
		        at += 13 + int.from_bytes(datagram[at + 11:at + 13], 'big')
		    return 20 in types

		while True:
		    for end in select.select([near, far], [], [])[0]:
		        datagram, sender = end.recvfrom(65536)
		        if end is near:
		            client, rounds, losing = sender, rounds - losing, False
		            far.send(datagram)
		            continue
		        if not losing and rounds > 0 and changes_cipher(datagram):
		            losing = True
		            print('lost', flush=True)
		        if not losing:
		            near.sendto(datagram, client)
	END
}

answer() {
	await arrived listener.out "$up"
	cat "site/$down"
}

flight_lost() {
	local status=0
	mark
	listening "$1" answer
	lossy_path "$2"
	port=$lossy s_client "$1" "site/$down" "site/$up" >got 2>client.err || status=$?
	stop path
	ended listener && is "status of s_client" "$status" 0 &&
		is "flights lost" "$(wc -l <path.out)" "$2" &&
		grep "DTLSv1.2 $1, kernel" listener.err &&
		same got "site/$down" && same listener.out "site/$up" &&
		datagrams_in_kernel "$down" "$up" && return
	cat listener.err client.err path.err
	return 1
}

flip() { [ "$address" = 127.0.0.1 ] && address='[::1]' || address=127.0.0.1; }
# by_turns NAME COMMAND...: a test, over the other version of IP than the one before
by_turns() {
	ok "$suite: $1, $address" "${@:2}"
	flip
}

with_openssl() {
	by_turns "openssl s_client" came_to s_client "$suite" "$down" "$up"
	by_turns "openssl s_server" went_to s_server "$suite" "$down" "$up"
}
with_gnutls() {
	by_turns "gnutls-cli" came_to gnutls "$suite" "$down" "$up"
	by_turns "gnutls-serv" echoed "$suite"
}
with_mbedtls() {
	by_turns "mbed TLS, a client" came_to mbedtls_client "$suite" "$down" "$up"
	by_turns "mbed TLS, a server" went_to mbedtls_server "$suite" "$down" "$up"
}

ip link set lo up
certificates
lines $down $up
for suite in "${suites[@]}"; do
	"with_$1"
	flip
done
[ "$1" != openssl ] || for times in 1 2; do
	address=127.0.0.1
	ok "the last flight is lost, times: $times" flight_lost "${suites[0]}" $times
done
finish
