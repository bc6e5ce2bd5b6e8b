#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# DTLS over bad paths: two network namespaces, a router between them, netem on the links.
# Whatever comes is what was sent, and comes once; what does not come netem has dropped.
# timeout=180, one kernel is enough
here=$(cd "$(dirname "$0")" && pwd)

# The namespaces and the size of queues are there before the test and gone after it.
if [ "$(ip netns identify)" != near ]; then
	modprobe -aq veth sch_netem sch_ingress cls_matchall act_pedit
	queue=$(</proc/sys/net/core/rmem_default)
	echo 16777216 >/proc/sys/net/core/rmem_default
	for name in near router far; do
		ip netns add $name || exit 1
		ip -n $name link set lo up
	done
	ip netns exec near "$here/${0##*/}"
	status=$?
	for name in near router far; do
		ip netns del $name
	done
	echo "$queue" >/proc/sys/net/core/rmem_default
	exit $status
fi

# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=dtls-lib.sh
. "$here/dtls-lib.sh"
port=4443
suite=ECDHE-ECDSA-AES128-GCM-SHA256

# ---- the network: near - west [router] east - far ----

declare -A address_of=([near]=10.9.1.1 [west]=10.9.1.2 [east]=10.9.2.1 [far]=10.9.2.2)
declare -A address6_of=([near]=fd09:1::1 [west]=fd09:1::2 [east]=fd09:2::1 [far]=fd09:2::2)
declare -A namespace_of=([near]=near [west]=router [east]=router [far]=far)
declare -A hardware=([near]=02:00:00:00:00:01 [west]=02:00:00:00:00:02
	[east]=02:00:00:00:00:03 [far]=02:00:00:00:00:04)

# configure LINK OPPOSITE: neighbours are told, so that nothing asks for them
configure() {
	local ns=${namespace_of[$1]}
	ip -n "$ns" link set "$1" addrgenmode none up &&
		ip -n "$ns" address add "${address_of[$1]}/24" dev "$1" &&
		ip -n "$ns" address add "${address6_of[$1]}/64" dev "$1" nodad &&
		ip -n "$ns" neigh replace "${address_of[$2]}" lladdr "${hardware[$2]}" dev "$1" &&
		ip -n "$ns" neigh replace "${address6_of[$2]}" lladdr "${hardware[$2]}" dev "$1"
}

# join LINK LINK
join() {
	ip -n "${namespace_of[$1]}" link add "$1" address "${hardware[$1]}" type veth \
		peer name "$2" address "${hardware[$2]}" netns "${namespace_of[$2]}" &&
		configure "$1" "$2" && configure "$2" "$1"
}

network() {
	join near west && join east far &&
		ip -n near route add default via 10.9.1.2 &&
		ip -n near -6 route add default via fd09:1::2 &&
		ip -n far route add default via 10.9.2.1 &&
		ip -n far -6 route add default via fd09:2::1 &&
		ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward &&
			echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}

# mtu BYTES LINK...
mtu() {
	local link
	for link in "${@:2}"; do
		ip -n "${namespace_of[$link]}" link set "$link" mtu "$1" || return
	done
}

# impair OPTION...: of netem, on what near and far send; it counts from 0
impair() {
	local link
	for link in near far; do
		tc -n $link qdisc del dev $link root 2>/dev/null
		tc -n $link qdisc add dev $link root netem limit 100000 "$@" || return
	done
}

mend() { impair delay 0; }

# packets LINK: what netem there has let pass and has dropped
packets() {
	local text
	text=$(tc -n "$1" -s qdisc show dev "$1")
	[[ $text =~ ([0-9]+)\ pkt.*dropped\ ([0-9]+) ]] &&
		passed=${BASH_REMATCH[1]} dropped=${BASH_REMATCH[2]}
}

# ---- an association with numbered datagrams ----

declare -A given=([near]=0 [far]=0)	# put in there
declare -A other=([near]=far [far]=near)

ask() {
	echo "$*" >&"${flow[1]}"
	read -r -t "$patience" -a answer <&"${flow[0]}"
}

establish() {
	coproc flow { exec python3 "$here/dtls_flow.py" \
		"ip netns exec far $ktls listen -dtls -cert ecdsa.pem -key ecdsa.key -cipher $suite \
			-require-kernel $port" \
		"$ktls connect -dtls -quiet -CAfile ecdsa.pem -servername localhost -cipher $suite \
			-require-kernel $1:$port" 2>flow.err; }
	pids[flow]=$!
	given=([near]=0 [far]=0) lost=([near]=0 [far]=0)
	put 1 100 || return
	all_there || { cat flow.err; return 1; }
}

# put COUNT SIZE [SIDE]: there, or on both sides
put() {
	local side
	for side in ${3-near far}; do
		ask send "$side" "$1" "$2" || return
		given[$side]=$((given[$side] + $1))
	done
}

# What came out of a side: came, again, wrong, late.
tally() {
	ask tally "$1" || return
	came=${answer[0]} again=${answer[1]} wrong=${answer[2]} late=${answer[3]}
}

# What one side has put in and netem has not dropped since the qdisc was made came out of the
# other; what netem did before is in lost.
declare -A lost=([near]=0 [far]=0)
arrived_at() {
	local from=${other[$1]}
	tally "$1" && packets "$from" && [ "$came" -eq $((given[$from] - lost[$from] - dropped)) ]
}
all_there() {
	await arrived_at near && await arrived_at far && return
	say_sums
	return 1
}
say_sums() {
	local side
	for side in near far; do
		tally "$side" && packets "${other[$side]}" &&
			echo "$side: came $came, given ${given[${other[$side]}]}, passed $passed," \
				"dropped $dropped, and before ${lost[${other[$side]}]}"
	done
	nstat -az 2>/dev/null | grep -E 'Udp.*Err|Ktls' || true
	cat /proc/net/ktls_stat
}

# Nothing came that was not sent, and nothing twice.
faultless() {
	local side
	for side in near far; do
		tally "$side" && is "$side: came twice" "$again" 0 && is "$side: wrong" "$wrong" 0 || return
	done
}

# remember: before another netem counts from 0
remember() {
	local link
	for link in near far; do
		packets "$link" && lost[$link]=$((lost[$link] + dropped))
	done
}

loss() {
	mark
	impair loss "$1%" && put 500 400 && all_there && faultless && remember && mend &&
		is "dropped by the module" "$(refused)" 0
}

# Of the far side's records, those dropped.
refused() {
	local name sum=0
	measure
	for name in "${!grown[@]}"; do
		[[ ! $name =~ ^KtlsRx(Bad|Replayed|TooOld|Early|Overflow) ]] ||
			sum=$((sum + grown[$name]))
	done
	echo "$sum"
}

# Every copy is one that the window knows.
duplication() {
	mark
	impair duplicate 50% && put 500 400 && all_there && await copies_refused && faultless && mend
}
copies_refused() {
	measure && packets near && [ "$passed" -gt 600 ] &&
		[ "${grown[KtlsRxReplayed]}" -eq $((passed - 500)) ] &&
		[ "$(refused)" -eq $((passed - 500)) ]
}

# disorder OPTION...: those that come too late for the window are lost, and counted
disorder() {
	mark
	impair "$@" && put 500 400 && await all_but_old && faultless || return
	tally far && [ "$late" -gt 20 ] || return
	lost[near]=$((lost[near] + grown[KtlsRxTooOld]))
	await settled_near && mend
}
all_but_old() {
	measure
	tally far && [ $((came + grown[KtlsRxTooOld])) -eq $((given[near] - lost[near])) ]
}

# As all_but_old, on the near side, whose counters are not looked at elsewhere.
settled_near() {
	local text old
	text=$(grep KtlsRxTooOld /proc/net/ktls_stat)
	old=$((${text##*[[:space:]]} - old_near))
	tally near && [ $((came + old)) -eq $((given[far] - lost[far])) ] || return
	lost[far]=$((lost[far] + old)) old_near=$((old_near + old))
}
old_near=0

silence() {
	impair loss 100% && put 10000 40 near && await all_lost && remember && mend &&
		put 100 400 && all_there && faultless
}
all_lost() { packets near && [ "$dropped" -eq 10000 ]; }

# A checksum of 0 says that there is none: the far side has to see for itself. What is put in
# last, when the path is good again, comes behind all else.
corruption() {
	local came_before given_before=${given[near]}
	tc -n far qdisc add dev far ingress &&
		tc -n far filter add dev far ingress protocol ip matchall \
			action pedit munge offset 26 u16 set 0 || return
	mark
	tally far && came_before=$came
	impair corrupt 30% && put 500 400 && mend && put 1 401 &&
		await last_is near 401 && await last_is far 401 && faultless || return
	tc -n far qdisc del dev far ingress
	tally near && lost[far]=$((given[far] - came)) &&
		tally far && lost[near]=$((given[near] - came)) && measure &&
		[ "${grown[KtlsRxBadTag]}" -gt 50 ] && [ $((came - came_before)) -gt 250 ] &&
		[ $((came - came_before + $(refused))) -le $((given[near] - given_before)) ]
}
last_is() { ask sizes "$1" && [ "${answer[-1]}" -eq "$2" ]; }

# The near side is silent for two seconds, then says close_notify, which the far side answers.
ends_well() {
	ask end && is "statuses" "${answer[*]}" "0 0" && ended flow
}

# ---- a handshake ----

far_listens() { grep -q listening far.err; }
# hear VERB KIND OPTION...: on the far side, with a certificate
hear() {
	start far ip netns exec far "$ktls" "$1" -cert "$2.pem" -key "$2.key" -require-kernel "${@:3}"
	await far_listens
}

# Most get there within the 30 seconds that the command gives them; that not even a third does
# is not to be expected once in a million times.
handshakes() {
	local clients=() status
	: >hands.err
	hear relay ecdsa "$port" 127.0.0.1:9 && impair loss 30% || return
	for _ in {1..12}; do
		"$ktls" connect -dtls -brief -CAfile ecdsa.pem -servername localhost \
			-require-kernel "10.9.2.2:$port" </dev/null >/dev/null 2>>hands.err &
		clients+=($!)
	done
	await enough
	status=$?
	kill -KILL "${clients[@]}" 2>/dev/null
	wait "${clients[@]}" 2>/dev/null
	mend
	stop far && return "$status"
}
enough() { [ "$(grep -c 'DTLSv1.2 .*, kernel' hands.err)" -ge 4 ]; }

# fragments: IP packets that near and far have cut up
fragments() {
	local ns
	for ns in near far; do
		# shellcheck disable=SC2016 # awk's
		ip netns exec "$ns" awk '/^Ip: [0-9]/ { print "4", $20 } /^Ip6FragCreates/ { print "6", $2 }' \
			/proc/net/snmp /proc/net/snmp6
	done
}

# narrow MTU ADDRESS USABLE: a handshake with a long certificate, then a file, in datagrams
# as long as fit
narrow() {
	local file=site/32000
	mtu "$1" near west east far || return
	mark
	hear listen rsa -dtls -brief "$port" < <(endless /dev/null) || return
	"$ktls" connect -dtls -brief -CAfile rsa.pem -servername localhost -cipher \
		ECDHE-RSA-AES128-GCM-SHA256 -require-kernel "$2:$port" < <(when_accepted "$file") \
		>/dev/null 2>connect.err || { cat connect.err far.err; return 1; }
	ended far && mtu 1500 near west east far && cmp far.out "$file" &&
		is fragments "$(fragments)" "$(<cut_up_before)" && await unbound &&
		is "records" "${grown[KtlsTxRecords]}" $(((32000 + $3 - 1) / $3 + 1))
}
# The listener's first flight may have been cut up: it knows no path yet.
when_accepted() {
	await grep -q DTLSv1.2 far.err
	fragments >cut_up_before
	cat "$1"
}

# ---- a path that changes ----

# What KTLS_INFO says of the near side's socket fits into a datagram.
usable() {
	ask usable near && [ "${answer[0]}" -eq "$1" ]
}

# path_narrows MTU USABLE: the first datagram that is too long is lost and brings the router's
# word; the next is refused, and ktls asks what fits.
path_narrows() {
	mtu "$1" east far && put 1 1400 && await usable "$2" && put 1 1400 && await cut_up "$2"
}
cut_up() { ask sizes far && [[ " ${answer[*]} " = *" $1 $((1400 - $1)) "* ]]; }

# path_widens USABLE
path_widens() {
	mtu 1500 east far && ip -n near route flush cache && ip -n near -6 route flush cache &&
		await usable "$1"
}

certificates
lines 32000
in_far() { [ "$(ip netns identify "${pids[holder]}")" = far ]; }
start holder ip netns exec far sleep infinity
await in_far
ok "the network" network
mend
counters=/proc/${pids[holder]}/net/ktls_stat
ok "an association" establish 10.9.2.2
for percent in 0 10 50 90; do
	ok "loss of $percent %" loss $percent
done
ok "duplication" duplication
ok "reordering" disorder delay 10ms reorder 25%
ok "delay and jitter" disorder delay 10ms 5ms
ok "corruption" corruption
ok "10000 lost in a row" silence
ok "its end" ends_well
ok "handshakes while 30 % are lost" handshakes
counters=/proc/net/ktls_stat
ok "MTU of 1280, IPv6" narrow 1280 '[fd09:2::2]' 1195
while read -r address narrow fits wide; do
	ok "$address: an association" establish "$address"
	ok "$address: a narrower path" path_narrows "$narrow" "$fits"
	ok "$address: a wider path" path_widens "$wide"
	ok "$address: its end" ends_well
done <<-END
	10.9.2.2 1280 1215 1435
	[fd09:2::2] 1280 1195 1415
END
# That is too little for IPv6, which goes.
ok "MTU of 576" narrow 576 10.9.2.2 511
finish
