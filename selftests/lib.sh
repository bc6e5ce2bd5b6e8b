# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the scripts of this folder share: TAP, certificates, files, peers in the background,
# the module's counters. To be sourced; the script then is in a folder of its own.

set -uo pipefail
export LC_ALL=C

# shellcheck disable=SC2034 # the scripts use it
ktls=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/userspace/build/ktls
work=$(mktemp -d -p /dev/shm)
declare -A pids=()
count=0 failed=0
trap 'kill -KILL "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

# The ciphers as OpenSSL and as GnuTLS call them.
# shellcheck disable=SC2034 # the scripts use it
suites=(ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384
	ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-ECDSA-AES128-CCM)
declare -A gnutls_name=(
	[ECDHE-ECDSA-AES128-GCM-SHA256]=AES-128-GCM
	[ECDHE-ECDSA-AES256-GCM-SHA384]=AES-256-GCM
	[ECDHE-ECDSA-CHACHA20-POLY1305]=CHACHA20-POLY1305
	[ECDHE-ECDSA-AES128-CCM]=AES-128-CCM
)
priority() { echo "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+${gnutls_name[$1]}"; }

# ok NAME COMMAND...: a test, which the command's status decides
ok() {
	local name=$1 verdict=ok
	shift
	if ! "$@" >ok.out 2>&1; then
		verdict='not ok' failed=1
		sed 's/^/# /' ok.out
		echo "# at $((SECONDS)) s: $*"
	fi
	count=$((count + 1))
	echo "$verdict $count $name"
}

finish() {
	echo "1..$count"
	exit $failed
}

# is WHAT IS WANTED
is() { [ "$2" = "$3" ] || { echo "$1: $2, not $3"; return 1; }; }

# await SECONDS COMMAND...: until the command is content
await() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || { echo "in vain: $*"; return 1; }
		sleep 0.1
	done
}

# ends_with STATUS COMMAND...
ends_with() {
	local wanted=$1 status=0
	shift
	"$@" || status=$?
	is "status of $1" $status "$wanted"
}

# ---- what is sent, and with which name ----

# certificate NAME: NAME.pem and NAME.key, for localhost, signed by itself
certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-keyout "$1.key" -out "$1.pem" -subj "/CN=$1" \
		-addext subjectAltName=DNS:localhost 2>openssl.err || { cat openssl.err; exit 1; }
}

# Files of the sizes given, named by them, in site: of what this machine has in /usr/lib.
files() {
	local size largest
	largest=$(printf '%s\n' "$@" | sort -n | tail -n 1)
	mkdir -p site
	tar -C /usr -cf - lib 2>/dev/null | head -c "$largest" >"site/$largest"
	is "bytes of the largest file" "$(size_of "site/$largest")" "$largest" || exit 1
	for size in "$@"; do
		[ "$size" = "$largest" ] || head -c "$size" "site/$largest" >"site/$size"
	done
}

size_of() { stat -c %s "$1"; }
arrived() { [ "$(size_of "$1")" -ge "$2" ]; }

# The file, then no end of file for as long as somebody reads.
endless() { exec tail -c +1 -f "$1"; }
# The file, then end of file when the command is content.
until_then() { cat "$1"; shift; await 60 "$@"; }

get() { printf 'GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1"; }

# ---- peers in the background ----

# start NAME COMMAND... [<FILE]: its output goes to NAME.out and NAME.err
start() {
	local name=$1
	shift
	: >"$name.out"
	: >"$name.err"
	"$@" <&0 >"$name.out" 2>"$name.err" &
	pids[$name]=$!
}

# stop NAME [SIGNAL]
stop() {
	kill -"${2-TERM}" "${pids[$1]}" 2>/dev/null
	ended "$1"
}

# ended NAME: waits for it; its status
ended() {
	local status=0
	wait "${pids[$1]}" 2>/dev/null || status=$?
	unset "pids[$1]"
	return $status
}

listens() { grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F:]+ 0A " /proc/net/tcp{,6}; }

# start_at PORT NAME COMMAND...: and waits until it listens there
start_at() {
	local port=$1
	shift
	start "$@"
	await 20 listens "$port" || { cat "$1.err"; exit 1; }
}

# ---- /proc/net/ktls_stat, without a process for each figure: they are slow in a guest ----

declare -A before=() grown=()

mark() {
	local name value
	while read -r name value; do before[$name]=$value; done </proc/net/ktls_stat
}

# To grown, what has come to each counter since mark.
measure() {
	local name value
	while read -r name value; do
		grown[$name]=$((value - before[$name]))
	done </proc/net/ktls_stat
}

unbound() {
	measure
	[ $((before[KtlsCurrBound] + grown[KtlsCurrBound])) -eq 0 ]
}

# Has the peer sent an alert? In these tests that is its close_notify.
alerted() {
	measure
	[ "${grown[KtlsRxControl]}" -gt 0 ]
}

nothing_bad() {
	local name bad=0
	for name in "${!grown[@]}"; do
		[[ $name =~ Bad|Crypto|Truncated|Stolen|Lost|SequenceEnd ]] || continue
		is "$name" "${grown[$name]}" 0 || bad=1
	done
	return $bad
}

# in_kernel CONNECTIONS SENT RECEIVED: since mark, of application data, to the byte. Alerts
# have two bytes; keys to send with are counted for a command's probe of the kernel, too.
in_kernel() {
	await 20 unbound && is "keys to receive" "${grown[KtlsRxKeys]}" "$1" &&
		is "bytes sealed" $((grown[KtlsTxBytes] - 2 * grown[KtlsTxControl])) "$2" &&
		is "bytes opened" $((grown[KtlsRxBytes] - 2 * grown[KtlsRxControl])) "$3" &&
		nothing_bad
}
