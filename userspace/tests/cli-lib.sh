# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For the scripts beside it, which source it and end with finish: TAP about the command, in
# the kernel where that carries TLS 1.2 and in userspace elsewhere. Their argument is the
# build folder. They run in a folder of their own.
here=$(cd "$(dirname "$0")" && pwd)
ktls=$(cd "${1:-$here/../build}" && pwd)/ktls
work=$(mktemp -d)
pids=()
count=0 failed=0
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

way=userspace
"$ktls" --version | grep -q 'kernel: TLS 1.2' && way=kernel
echo "# records by the $way"
# A guest has the module.
[ $way = kernel ] || [ -z "${KTLS_RELEASE-}" ] || { echo 'Bail out! no AF_KTLS'; exit 1; }

# Standard input that never ends.
mkfifo open
exec 9<>open
# With the descriptor closed in it, or it would outlive the script.
silence() { exec cat open 9>&-; }

ok() {	# NAME COMMAND...
	local name=$1 verdict=''
	shift
	"$@" >ok.out 2>&1 || { verdict='not ' failed=1; sed 's/^/# /' ok.out; }
	count=$((count + 1))
	echo "${verdict}ok $count - $name"
}

skip() {	# WHY NAME
	count=$((count + 1))
	echo "ok $count - $2 # SKIP $1"
}

finish() {
	echo "1..$count"
	exit $failed
}

status() {	# WANTED COMMAND...
	local wanted=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" -eq "$wanted" ] || { echo "status $got, not $wanted"; return 1; }
}

# Everything that is waited for has an end: a test that hangs is one that fails.
patience=120

once() { timeout -k 1 "$patience" "$ktls" "$@"; }	# the command, where it is to end by itself

# shellcheck disable=SC2317 # called by await
is_gone() { ! kill -0 "$1"; }

ended() {	# PID: its exit status; 137 where it had to be killed
	await "$patience" is_gone "$1" || kill -KILL "$1"
	wait "$1"
}

await() {	# SECONDS COMMAND...: until the command is content
	local end=$((EPOCHSECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $EPOCHSECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

port_in() { sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$1" | head -n 1; }
# shellcheck disable=SC2317 # called by await
has_port() { [ -n "$(port_in "$1")" ]; }

# The last one's output is gone before: its port must not be taken for that of this one.
start() {	# NAME COMMAND...: in the background, its output in NAME.log, its port in $port
	local name=$1
	shift
	: >"$name.log"
	"$@" </dev/null >>"$name.log" 2>&1 &
	pid=$!
	pids+=("$pid")
	await "$patience" has_port "$name.log"
	port=$(port_in "$name.log")
}

stop() { kill "$pid" && ended "$pid"; }	# what was started last

has() { grep -q -- "$1" "$2"; }
lacks() { ! grep -q -- "$1" "$2"; }
same() { cmp "$1" "$2"; }

certificates() {	# rsa.pem, rsa.key, ec.pem, ec.key; ca.pem trusts both
	openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -days 2 \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key \
		-out ec.pem -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1
	cat rsa.pem ec.pem >ca.pem
}

listen_on() {	# NAME CIPHER CERTIFICATE OUTPUT: as start; what it receives goes to OUTPUT
	: >"$1.log"
	"$ktls" listen -brief -cert "$3.pem" -key "$3.key" -cipher "$2" -tls1_2 127.0.0.1:0 \
		<&0 >"$4" 2>>"$1.log" &
	pid=$!
	pids+=("$pid")
	await "$patience" has_port "$1.log"
	port=$(port_in "$1.log")
}

dial() { once connect -brief -CAfile ca.pem "$@" "localhost:$port"; }
