#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The module stays while it has sockets, leaves when it has none, with nothing left behind,
# and comes back when a socket is asked for. timeout=300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

size=1000000
port=4440
cycles=5

# One connection of the command's with itself: two sockets.
both_bound() {
	measure
	[ "${grown[KtlsCurrBound]}" -eq 2 ]
}

fetch() {
	get "$size" | "$ktls" connect -brief -CAfile server.pem -servername localhost -tls1_2 \
		-require-kernel "localhost:$port" >got && tail -c "$size" got | cmp - "site/$size"
}

stays() {
	! rmmod af_ktls 2>rmmod.err && grep 'in use' rmmod.err && [ -d /sys/module/af_ktls ]
}

# The client's input is a pipe that this script holds.
goes_on() {
	get "$size" >&"$request"
	exec {request}>&-
	ended client && tail -c "$size" client.out | cmp - "site/$size" && await unbound
}

# The last reference goes with a socket's memory, which may be behind its close.
leaves() { await rmmod af_ktls; }

nothing_left() {
	[ ! -e /sys/module/af_ktls ] && [ ! -e /proc/net/ktls ] && [ ! -e /proc/net/ktls_stat ] &&
		! grep AF_KTLS /proc/net/protocols && ! grep AF_KTLS /proc/slabinfo
}

comes_back() { fetch && [ -d /sys/module/af_ktls ]; }

again_and_again() {
	local i
	for ((i = 0; i < cycles; i++)); do
		leaves && nothing_left && comes_back || return
	done
}

# load ARGUMENT...: 0 when the module was loaded
load() { insmod "$module" "$@" 2>insmod.err; }
refused() { ! load "family=$1" && [ ! -e /sys/module/af_ktls ]; }

# A family of another's, here AF_INET.
taken() { refused 2 && dmesg | tail -n 3 | grep 'address family 2 is taken'; }

another_number() { load family=40 && leaves; }

certificate server
module=$(modinfo -n af_ktls)
files $size
start_at $port server "$ktls" serve -cert server.pem -key server.key -port $port -tls1_2 site
mkfifo pipe
exec {request}<>pipe
mark
start client "$ktls" connect -brief -CAfile server.pem -servername localhost -tls1_2 \
	-require-kernel localhost:$port <pipe {request}>&-
ok "a connection is in the kernel" await both_bound
ok "rmmod refuses" stays
ok "the connection goes on" goes_on
ok "rmmod does it" leaves
ok "nothing is left" nothing_left
ok "no family of number 0" refused 0
ok "no family of number 1000" refused 1000
ok "no family that is another's" taken
ok "nothing is left of these" nothing_left
ok "a number that nobody has" another_number
ok "a socket brings the module back" comes_back
ok "$cycles times more" again_and_again
ok "the server stops when told to" stop server
ok "it never fell back to userspace" is "lines of its log" "$(grep -c userspace server.out)" 0
finish
