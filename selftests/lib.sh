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
count=0 failed=0 finished=''

# A script that ends in the middle of a test says why.
leave() {
	[ -n "$finished" ] || cat ok.out >&2
	kill -KILL "${pids[@]}" 2>/dev/null
	rm -rf "$work"
}
trap leave EXIT
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
	finished=1
	echo "1..$count"
	exit $failed
}

# is WHAT IS WANTED
is() { [ "$2" = "$3" ] || { echo "$1: $2, not $3"; return 1; }; }

# await COMMAND...: until the command is content; what takes this long has failed
patience=120
await() {
	local until=$((SECONDS + patience))
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

# nginx_conf VERSION [DIRECTIVE...]: for nginx at $port, of this folder
nginx_conf() {
	cat <<-END
		daemon off;
		pid nginx.pid;
		error_log stderr;
		user root;
		events {}
		http {
			access_log off;
			server {
				listen $port ssl;
				ssl_certificate server.pem;
				ssl_certificate_key server.key;
				ssl_protocols $1;
				root .;
				${*:2}
			}
		}
	END
}

# certificate NAME [rsa]: NAME.pem and NAME.key, for localhost, signed by itself
certificate() {
	local key=(ec -pkeyopt ec_paramgen_curve:P-256)
	[ "${2-}" != rsa ] || key=(rsa:2048)
	openssl req -x509 -newkey "${key[@]}" -nodes -days 2 \
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
until_then() { cat "$1"; shift; await "$@"; }

# get NAME [CONNECTION]: a request of HTTP
get() {
	printf 'GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n' "$1" "${2-close}"
}

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

# A state of TCP or, of UDP, not connected.
listens() {
	grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F:]+ 0[A7] " /proc/net/{tcp,udp}{,6}
}

# start_at PORT NAME COMMAND...: and waits until it listens there
start_at() {
	local port=$1
	shift
	start "$@"
	await listens "$port" || { cat "$1.err"; exit 1; }
}

# ---- /proc/net/ktls_stat, without a process for each figure: they are slow in a guest ----

declare -A before=() grown=()
counters=/proc/net/ktls_stat

# To grown, what has come to each counter since mark. The file is read at once: read alone
# would seek back, in a text that has other lengths by then.
measure() {
	local lines line name
	mapfile -t lines <"$counters"
	for line in "${lines[@]}"; do
		name=${line%%[[:space:]]*}
		grown[$name]=$((${line##*[[:space:]]} - ${before[$name]-0}))
	done
}

mark() {
	local name
	before=()
	measure
	for name in "${!grown[@]}"; do
		before[$name]=${grown[$name]}
	done
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
	await unbound && is "keys to receive" "${grown[KtlsRxKeys]}" "$1" &&
		is "bytes sealed" $((grown[KtlsTxBytes] - 2 * grown[KtlsTxControl])) "$2" &&
		is "bytes opened" $((grown[KtlsRxBytes] - 2 * grown[KtlsRxControl])) "$3" &&
		nothing_bad
}

# ---- ktls listen, and a client that takes one file and gives another, at once ----

# exchange CLIENT SUITE DOWN UP: CLIENT is a function, given SUITE and UP, that takes the
# file DOWN and gives UP, both of site
exchange() {
	local suite=$2 down=site/$3 up=site/$4 status=0
	mark
	start_at "$port" listener "$ktls" listen -brief -cert server.pem -key server.key -tls1_2 \
		-cipher "$suite" -require-kernel "$port" < <(until_then "$down" heard "$1" "$up")
	"$1" "$suite" "$up" >got 2>client.err || status=$?
	ended listener && grep "$suite, kernel" listener.err && is "status of $1" "$status" 0 &&
		cmp got "$down" && cmp listener.out "$up" && in_kernel 1 "$3" "$4" && return
	cat client.err listener.err
	return 1
}

# heard CLIENT FILE: has it come, and its end, from clients that tell that and stay?
heard() {
	arrived listener.out "$(size_of "$2")" && { [ "$1" = s_client ] || alerted; }
}

s_client() {
	openssl s_client -quiet -connect "localhost:$port" -CAfile server.pem -tls1_2 \
		-verify_return_error -cipher "$1" -keylogfile keys < <(endless "$2")
}
