#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_datagrams.sh [BUILD]		timeout=240, one kernel is enough
#
# ktls serve -dtls: files by TFTP, with curl behind ktls relay for its client, and streams.
# shellcheck source-path=SCRIPTDIR source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

way=userspace
"$ktls" --version | grep -q 'kernel:.* DTLS 1.2' && way=kernel
echo "# datagrams by the $way"

certificates >/dev/null 2>&1
mkdir -p site/sub
echo hello >site/hello
: >site/empty
head -c 1024 /dev/urandom >site/blocks
head -c 300000 /dev/urandom >site/large
# 300 datagrams: a stream may lose some, but none may be wrong.
for i in {1..300}; do printf '%0999d\n' "$i"; done >site/lines
cp rsa.pem site/key
cat rsa.key >>site/key	# the server's, which it hides
ln -s /etc/passwd site/escape
ln -s hello site/link

serve() {	# OPTION... WHAT
	start serve "$ktls" serve -dtls -cert site/key -bind 127.0.0.1 -port 0 "$@"
	server=$pid served=$port
}

# A plain port that leads to the server: $tftp
open_relay() {	# NAME
	start "$1" "$ktls" relay -client -CAfile rsa.pem 127.0.0.1:0 "localhost:$served"
	await "$patience" has DTLSv1.2 "$1.log"
	tftp=tftp://127.0.0.1:$port
}

fetch() { curl -sS --max-time "$patience" -o "$1" "${@:3}" "$tftp/$2"; }
# shellcheck disable=SC2317 # called by ok
gets() { rm -f out && fetch out "$@" && same out "site/$1"; }
# shellcheck disable=SC2317 # called by ok
refused() {	# STATUS OF CURL, NAME, STATUS IN THE LOG, OPTION...
	status "$1" fetch out "$2" "${@:4}" && has "RRQ $2 $3 0 " serve.log
}

file_tests() {
	local name
	for name in hello empty blocks large link; do
		ok "$name" gets "$name"
		ok "$name, in blocks that fill a datagram" gets "$name" --tftp-blksize 65464
		ok "$name, without options" gets "$name" --tftp-no-options
	done
	ok "by the $way" has "RRQ large 200 300000 .* DTLSv1.2 .* $way\$" serve.log
	ok 'one association for all of them' [ "$(grep RRQ serve.log | cut -d' ' -f2 | sort -u |
		wc -l)" -eq 1 ]
}

hostile_tests() {
	ok 'no such file' refused 68 nowhere 404
	ok 'not out of the directory' refused 69 escape 403
	ok 'nor by dots' refused 69 sub/../../rsa.key 403 --path-as-is
	ok 'not the key' refused 69 key 403
	ok 'not a directory' refused 69 sub 403
	ok 'no writing' status 69 curl -sS --max-time "$patience" -T site/hello "$tftp/new"
	ok 'and it is logged' has 'WRQ new 403 0 ' serve.log
	ok 'packets that are none' timeout "$patience" python3 - "${tftp##*:}" <<-'END'
		import os, socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.connect(('127.0.0.1', int(sys.argv[1])))
		s.settimeout(1)
		# UDP may lose some behind so many.
		def ask(packet, answer):
		    while True:
		        s.send(packet)
		        try:
		            while s.recv(65536)[:4] != answer:
		                pass
		            return
		        except TimeoutError:
		            pass
		for length in range(1, 1000, 7):
		    s.send(os.urandom(length))
		s.send(b'\0\1')
		ask(b'\0\1name without end', b'\0\5\0\4')
		ask(b'\0\1\33[2Jx\0octet\0', b'\0\5\0\1')
	END
	ok 'the log is not fooled' has 'RRQ .x1b\[2Jx 404 ' serve.log
	ok 'and goes on' gets large
}

# shellcheck disable=SC2317 # called by ok
at_once() {
	local i status=0 clients=()
	for i in 1 2 3 4; do
		open_relay "relay$i"
		fetch "out$i" large &
		clients+=($!)
	done
	for i in 1 2 3 4; do
		wait "${clients[i - 1]}" && same "out$i" site/large || status=1
	done
	return "$status"
}

# A client that asks with windowsize, loses every fifth packet and breaks off the first file.
# shellcheck disable=SC2317 # called by ok
windows() {
	timeout "$patience" python3 - "${tftp##*:}" site/large <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.connect(('127.0.0.1', int(sys.argv[1])))
		s.settimeout(20)
		s.send(b'\0\1link\0octet\0windowsize\x002\0')
		assert s.recv(65536) == b'\0\6windowsize\x002\0'
		s.send(b'\0\1large\0octet\0blksize\x001000\0windowsize\x008\0')
		packet = s.recv(65536)
		assert packet == b'\0\6blksize\x001000\0windowsize\x008\0', packet
		data, next, acked, count = b'', 1, 0, 0
		def ack(n):
		    s.send(b'\0\4' + n.to_bytes(2, 'big'))
		ack(0)
		while True:
		    packet = s.recv(65536)
		    count += 1
		    if count % 5 == 0 or packet[:2] != b'\0\3':
		        continue
		    if int.from_bytes(packet[2:4], 'big') != next:
		        ack(next - 1)
		        acked = next - 1
		        continue
		    data += packet[4:]
		    last = len(packet) < 1004
		    if last or next - acked == 8:
		        ack(next)
		        acked = next
		    next += 1
		    if last:
		        break
		assert data == open(sys.argv[2], 'rb').read()
	END
	await "$patience" has 'RRQ link 408 ' serve.log
}

# Receives a stream by itself; its standard input stays open until the server ends it.
listen_to() {	# NAME
	"$ktls" connect -dtls -brief -CAfile rsa.pem "localhost:$served" \
		<open >"$1.out" 2>"$1.err" 8>&- 9>&- &
	pids+=($!)
	listeners+=($!)
}

# shellcheck disable=SC2317 # called by ok
streams() {	# NAME...: each gets lines of the file, and only those
	local name i status=0 listeners=()
	for name; do
		listen_to "$name"
	done
	for i in "${!listeners[@]}"; do
		ended "${listeners[i]}" || status=1
	done
	for name; do
		[ -s "$name.out" ] && [ -z "$(comm -13 site/lines "$name.out")" ] || status=1
	done
	return "$status"
}

stream_tests() {
	serve -stream -size 1000 -rate 200K site/lines
	ok 'a stream to three' streams one two three
	ok "by the $way" has "STREAM site/lines 200 300000 .* $way dropped 0" serve.log
	# shellcheck disable=SC2016 # a field of awk's
	ok 'at its pace' awk '/STREAM/ && $7 + 0 < 1.2 { exit 1 }' serve.log
	listen_to gone
	await "$patience" test -s gone.out
	ok 'SIGTERM ends it' stop
	ok 'and a client hears of it' ended "${listeners[0]}"
	serve -stream -rate 200K site/lines
	ok 'datagrams as the path takes them' streams four
	ok 'all of them were sent' has 'STREAM site/lines 200 300000 ' serve.log
	stop
}

read_tests() {
	mkfifo words
	exec 8<>words
	: >serve.log
	"$ktls" serve -dtls -stream -cert site/key -bind 127.0.0.1 -port 0 - <words \
		>>serve.log 2>&1 8>&- 9>&- &
	server=$!
	pids+=("$server")
	await "$patience" has_port serve.log
	served=$(port_in serve.log)
	listeners=()
	listen_to five
	listen_to six
	await "$patience" has DTLSv1.2 five.err
	await "$patience" has DTLSv1.2 six.err
	echo word >&8
	ok 'what is read goes to one' await "$patience" has word five.out
	ok 'and to the other' await "$patience" has word six.out
	exec 8>&-
	ok 'its end ends the server' ended "$server"
	ok 'and one' ended "${listeners[0]}"
	ok 'and the other' ended "${listeners[1]}"
}

usage_tests() {
	ok '-stream wants -dtls' status 2 once serve -stream -cert rsa.pem -key rsa.key site/large
	ok 'no rate' status 2 once serve -dtls -stream -rate 0 -cert rsa.pem -key rsa.key site/large
	ok 'no size' status 2 once serve -dtls -stream -size 1X -cert rsa.pem -key rsa.key site/large
	ok '-rate wants -stream' status 2 once serve -dtls -rate 1M -cert site/key site
	ok '-size wants -stream' status 2 once serve -size 1K -cert site/key site
	ok '-idle wants -dtls' status 2 once serve -idle 5 -cert site/key site
	ok '-idle is not for a stream' status 2 once serve -dtls -stream -idle 5 -cert site/key \
		site/large
	ok 'no file' status 5 once serve -dtls -stream -port 0 -cert rsa.pem -key rsa.key nowhere
	ok 'no stream of a directory' status 5 once serve -dtls -stream -port 0 -cert rsa.pem \
		-key rsa.key site
}

serve -idle 1000 site
open_relay relay
file_tests
hostile_tests
ok 'windows, some of them lost, and a file that is broken off' windows
ok 'four at once' at_once
kill "$server"
ok 'SIGTERM ends it all' ended "$server"
serve -idle 1 site
open_relay idle
ok 'who is silent is left' await "$patience" has 'nothing heard for long' serve.log
ok 'and told so' status 4 ended "$pid"
kill "$server"
listeners=()
stream_tests
read_tests
usage_tests
finish
