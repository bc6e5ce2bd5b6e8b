#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What lies on the wire, as tshark reads it with the client's log of keys: with each cipher
# the data of both directions and, behind them, one close_notify each. timeout=300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

port=4439
down=40000 up=70000

recording() { grep -q '^File: ' capture.err; }
recorded() { grep -q 'nothing follows' wire; }

# Ends with a datagram, which says that all before it was written.
record_wire() {
	local suite
	start capture dumpcap -q -i lo -f "port $port" -w wire
	await recording || { cat capture.err; return 1; }
	for suite in "${suites[@]}"; do
		exchange s_client "$suite" "$down" "$up" || return
	done
	echo 'nothing follows' >"/dev/udp/127.0.0.1/$port"
	await recorded && stop capture
}

# One run for everything: it starts slowly.
read_wire() {
	local i follow=()
	for i in "${!suites[@]}"; do
		follow+=(-z "follow,tls,raw,$i")
	done
	tshark -n -r wire -d "tcp.port==$port,tls" -o tls.keylog_file:keys "${follow[@]}" \
		-Y tls.alert_message -T fields -e tcp.stream -e tcp.srcport \
		-e tls.alert_message.level -e tls.alert_message.desc >reading
}

# said STREAM DIRECTION: what the client (0) or the server (1) did; the latter is indented
said() {
	perl -ne '
		$here = $1 == '"$1"' if /^Filter: tcp.stream eq (\d+)/;
		print pack "H*", $2 if $here && /^(\t?)([0-9a-f]+)$/ && length $1 == '"$2"'
	' reading
}

# alerts STREAM: whether the server sent it, its level and its name
alerts() {
	awk -F '\t' -v stream="$1" -v port="$port" \
		'NF == 4 && $1 == stream { print ($2 == port), $3, $4 }' reading | sort
}

agrees() {
	said "$1" 0 | cmp - "site/$up" && said "$1" 1 | cmp - "site/$down" &&
		is "alerts" "$(alerts "$1")" $'0 1 0\n1 1 0'
}

certificate server
files $down $up
ok "s_client and ktls listen, with each cipher" record_wire
ok "tshark reads what they sent" read_wire
for i in "${!suites[@]}"; do
	ok "${suites[i]}: to the byte, and one close_notify each" agrees "$i"
done
finish
