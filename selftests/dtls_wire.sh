#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# DTLS on the wire, as tshark reads it with the peer's log of keys: ktls with openssl, both as
# the server, the data of both directions, and what the records' headers say.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=dtls-lib.sh
. "$here/dtls-lib.sh"

port=4442
down=19200 up=32000
suites=(ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-ECDSA-AES128-CCM
	ECDHE-ECDSA-CHACHA20-POLY1305)

recording() { grep -q '^File: ' capture.err; }
recorded() { grep -q 'nothing follows' wire; }

# The connections are those of each cipher, ktls first the server, then the client. Ends with
# a datagram, which says that all before it was written.
record_wire() {
	local suite
	start capture dumpcap -q -i lo -f "udp port $port" -w wire
	await recording || { cat capture.err; return 1; }
	for suite in "${suites[@]}"; do
		came_to s_client "$suite" "$down" "$up" &&
			went_to s_server "$suite" "$down" "$up" || return
	done
	echo 'nothing follows' >"/dev/udp/127.0.0.1/$port"
	await recorded && stop capture
}

# A line for each datagram.
read_wire() {
	tshark -n -r wire -d "udp.port==$port,dtls" -o tls.keylog_file:keys -T fields \
		-e udp.stream -e udp.srcport -e dtls.record.version -e dtls.record.epoch \
		-e dtls.record.sequence_number -e dtls.record.content_type -e dtls.app_data \
		-e data.data -e dtls.alert_message.level -e dtls.alert_message.desc \
		-e dtls.handshake.random >reading
}

# of STREAM SIDE COLUMN [COLUMN]: what is in a column, of the client (0) or the server (1),
# behind what is in the other
of() {
	awk -F '\t' -v stream="$1" -v side="$2" -v port="$port" -v column="$3" -v first="${4-}" '
		$1 == stream && ($2 == port) == side && $column != "" {
			print (first ? $first " " : "") $column
		}' reading
}

# What is wrong with the records that have a key: a Finished, data and a close_notify are
# numbered from 0 on by one, of epoch 1, and no nonce that is written into a record is there
# twice. For each stream and side that ends well a line that says so.
judge() {
	awk -F '\t' -v port="$port" '
		{ who = $1 " " ($2 == port) }
		{
			count = split($3, version, ",")
			split($4, epoch, ",")
			split($5, seq, ",")
			split($6, type, ",")
			for (i = 1; i <= count; i++) {
				if (epoch[i] == 0)
					continue
				n = records[who]++
				if (version[i] != "0xfefd" || epoch[i] != 1 || seq[i] != n ||
				    last[who] == 21 || !n && type[i] != 22)
					print who, "record", n, version[i], epoch[i], seq[i], type[i]
				last[who] = type[i]
			}
		}
		$7 != "" && seen[who, substr($7, 1, 16)]++ { print who, "nonce again" }
		END { for (who in last) print who, (last[who] == 21 && records[who] > 3) ? "good" : "bad" }
	' reading | sort >judgement
}
well_formed() { is "headers" "$(grep "^$1 " judgement)" "$1 0 good"$'\n'"$1 1 good"; }

unhex() { perl -ne 'chomp; print pack "H*", $_'; }

by_tshark() { of "$1" "$2" 8 | unhex; }

# tshark 4.0 does not open ChaCha20 of DTLS: by keys derived of what was logged.
by_openssl() {
	local client server secret block side=$2 seq sealed key iv
	client=$(of "$1" 0 11 | tail -n 1) server=$(of "$1" 1 11 | tail -n 1)
	secret=$(awk -v random="$client" '$2 == random { print $3 }' keys)
	block=$(openssl kdf -keylen 88 -kdfopt digest:SHA256 -kdfopt "hexsecret:$secret" \
		-kdfopt 'seed:key expansion' -kdfopt "hexseed:$server$client" TLS1-PRF | tr -d ':')
	key=${block:64 * side:64} iv=${block:128 + 24 * side:24}
	of "$1" "$2" 7 5 | while read -r seq sealed; do
		unhex <<<"${sealed:0:${#sealed} - 32}" |
			openssl enc -d -chacha20 -K "$key" -iv "01000000$(nonce "$iv" "$seq")"
	done
}

# nonce IV SEQ: of epoch 1
nonce() { printf '%s%016x' "${1:0:8}" $((0x${1:8} ^ (1 << 48 | $2))); }

# agrees STREAM READER: the data, and one close_notify each where tshark can read it
agrees() {
	"$2" "$1" 0 | cmp - "$from_client" && "$2" "$1" 1 | cmp - "$from_server" || return
	[ "$2" = by_openssl ] || is "alerts" "$(of "$1" 0 10 9), $(of "$1" 1 10 9)" "1 0, 1 0"
}

certificates
lines $down $up
ok "ktls and openssl, with each cipher" record_wire
ok "tshark reads what they sent" read_wire
judge
from_client=site/$up from_server=site/$down
for i in {0..7}; do
	suite=${suites[i / 2]} reader=by_tshark who="ktls listen"
	[ $((i % 2)) = 0 ] || who="ktls connect"
	[[ $suite != *CHACHA20* ]] || reader=by_openssl
	ok "$suite, $who: to the byte" agrees "$i" $reader
	ok "$suite, $who: the headers" well_formed "$i"
done
finish
