#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# 100 curl clients at once: each holds what it gets in a pipe that is not read before all of
# them are in the kernel. timeout=500, one kernel is enough
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

clients=100
# All of them shake hands in the time that each has for it, which is little with detectors.
[ ! -e /sys/kernel/debug/kmemleak ] || clients=30
size=1048583
port=4438

# The gate is a pipe that nobody writes to: it opens when the last one who could closes it.
client() {
	exec {gate}>&-
	curl -sS --fail --cacert server.pem --tls-max 1.2 "https://localhost:$port/$size" |
		{ read -r _ <&"$way"; cmp - "site/$size"; }
}

queued() { [ "$(ss -Hnt "sport = :$port" state established | wc -l)" -ge "$clients" ]; }

# The server is stopped, so that the time it gives each of them begins when all are there.
all_come() {
	kill -STOP "${pids[server]}"
	for ((i = 0; i < clients; i++)); do
		start "client$i" client
	done
	await queued
	kill -CONT "${pids[server]}"
}

all_bound() {
	measure
	[ "${grown[KtlsCurrRx]}" -eq "$clients" ]
}

all_get_it() {
	local i status=0
	exec {gate}>&-
	for ((i = 0; i < clients; i++)); do
		ended "client$i" || { cat "client$i.err" "client$i.out"; status=1; }
	done
	return "$status"
}

certificate server
files $size
start_at $port server "$ktls" serve -cert server.pem -key server.key -port $port -tls1_2 \
	-require-kernel site
mkfifo gate
exec {gate}<>gate
exec {way}<gate
mark
ok "$clients clients come" all_come
ok "all of them are in the kernel at once" await all_bound
ok "each gets its $size bytes" all_get_it
ok "none is left" await unbound
ok "nothing went wrong" nothing_bad
ok "the server stops when told to" stop server
ok "it served each" is "lines of its log" "$(grep -c "200 $size .* kernel$" server.out)" $clients
finish
