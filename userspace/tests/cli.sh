#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli.sh BUILD
#
# The command against curl, OpenSSL's and GnuTLS's commands and itself, in the kernel where
# that carries TLS 1.2 and in userspace elsewhere. TAP. CLI_BIG=N: MiB of the large file.
build=$(cd "$1" && pwd)
ktls=$build/ktls
work=$(mktemp -d)
pids=()
count=0 failed=0
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

way=userspace
"$ktls" --version | grep -q 'kernel: TLS 1.2' && way=kernel
echo "# records by the $way"

ok() {	# NAME COMMAND...
	local name=$1 verdict=''
	shift
	"$@" >ok.out 2>&1 || { verdict='not ' failed=1; sed 's/^/# /' ok.out; }
	count=$((count + 1))
	echo "${verdict}ok $count - $name"
}

status() {	# WANTED COMMAND...
	local wanted=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" -eq "$wanted" ] || { echo "status $got, not $wanted"; return 1; }
}

await() {	# SECONDS COMMAND...: until the command is content
	local tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.05
	done
}

port_in() { sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$1" | head -n 1; }
# shellcheck disable=SC2317 # called by await
has_port() { [ -n "$(port_in "$1")" ]; }

start() {	# NAME COMMAND...: in the background, its output in NAME.log, its port in $port
	local name=$1
	shift
	"$@" >"$name.log" 2>"$name.err" </dev/null &
	pid=$!
	pids+=("$pid")
	await 20 has_port "$name.log" || await 5 has_port "$name.err"
	port=$(port_in "$name.log")$(port_in "$name.err")
}

has() { grep -q -- "$1" "$2"; }
lacks() { ! grep -q -- "$1" "$2"; }
same() { cmp "$1" "$2"; }

certificates() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -days 2 \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key \
		-out ec.pem -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1
	cat rsa.pem ec.pem >ca.pem
}

files() {
	mkdir -p site/sub
	echo hello >site/hello.txt
	: >site/empty
	head -c 100000 /dev/urandom >site/100k
	head -c $((${CLI_BIG:-8} << 20)) /dev/urandom >site/big
	ln -s /etc/passwd site/escape
	ln -s hello.txt site/link
	echo '<b>' >'site/sub/a <b>&.html'
	mkfifo site/fifo
}

# Each suite with the certificate that it wants.
suites='ECDHE-RSA-AES128-GCM-SHA256:rsa ECDHE-RSA-AES256-GCM-SHA384:rsa
ECDHE-RSA-CHACHA20-POLY1305:rsa ECDHE-ECDSA-AES128-CCM:ec ECDHE-ECDSA-AES128-GCM-SHA256:ec
DHE-RSA-AES128-CCM:rsa AES128-GCM-SHA256:rsa'

fetch() { curl -sS --fail --tls-max 1.2 --cacert ca.pem --max-time 120 "$@"; }

usage_tests() {
	ok 'help' status 0 "$ktls" help
	ok 'help of each verb' eval '(for v in serve connect listen stat; do
		"$ktls" $v --help | grep -q "^usage: ktls $v" || exit 1; done)'
	ok 'version' eval '"$ktls" --version | grep -q "^ktls [0-9]"'
	ok 'no verb' status 2 "$ktls"
	ok 'an unknown verb' status 2 "$ktls" dance
	ok 'an unknown option' status 2 "$ktls" connect -dance localhost:1
	ok 'an option without its argument' status 2 "$ktls" connect -CAfile
	ok 'no host' status 2 "$ktls" connect 443
	ok 'nobody listens' status 4 "$ktls" connect localhost:1
	ok 'an unknown host' status 4 "$ktls" connect name.invalid:443
	ok 'no such certificate' status 5 "$ktls" listen -cert nowhere.pem 0
	ok 'no such directory' status 5 "$ktls" serve -cert rsa.pem -key rsa.key -port 0 nowhere
	ok 'a cipher that does not exist' status 5 "$ktls" connect -cipher DANCE localhost:1
}

serve_tests() {
	local url
	start serve "$ktls" serve -cert rsa.pem -key rsa.key -bind 127.0.0.1 -port 0 site
	url=https://localhost:$port
	ok 'serve: a file' eval "fetch $url/hello.txt | cmp - site/hello.txt"
	ok 'serve: an empty file' eval "fetch $url/empty | cmp - site/empty"
	ok 'serve: a large file' eval "fetch $url/big | cmp - site/big"
	ok 'serve: several over one connection' eval \
		"fetch $url/100k $url/hello.txt $url/100k | cmp - <(cat site/100k site/hello.txt site/100k)"
	ok 'serve: a range' eval "fetch -r 1000-50000 $url/100k |
		cmp - <(tail -c +1001 site/100k | head -c 49001)"
	ok 'serve: the last bytes' eval "fetch -r -7 $url/100k | cmp - <(tail -c 7 site/100k)"
	ok 'serve: resumed behind the end' eval "curl -sk -o /dev/null -w '%{http_code}' -r 100000- $url/100k | grep 416"
	ok 'serve: HEAD' eval "fetch -I $url/100k | tr -d '\r' | grep -x 'Content-Length: 100000'"
	ok 'serve: a link inside' eval "fetch $url/link | cmp - site/hello.txt"
	for path in escape ../../etc/passwd sub/../../etc/passwd fifo; do
		ok "serve: not $path" eval "curl -sk --path-as-is --max-time 5 -o out -w '%{http_code}' $url/$path | grep 403 && lacks root: out"
	done
	ok 'serve: no such file' eval "curl -sk -o /dev/null -w '%{http_code}' $url/nowhere | grep 404"
	ok 'serve: no POST' eval "curl -sk -d x -o /dev/null -w '%{http_code}' $url/ | grep 405"
	ok 'serve: a directory gets its slash' eval "fetch -L $url/sub | grep 'a%20%3Cb%3E%26.html\">a &lt;b&gt;&amp;.html<'"
	ok 'serve: the list hides what leads outside' eval "fetch $url/ >out && has hello.txt out && lacks escape out"
	ok 'serve: two requests at once' eval "printf 'GET /100k HTTP/1.1\r\nHost: x\r\n\r\nGET /hello.txt HTTP/1.0\r\n\r\n' |
		$ktls connect -quiet -CAfile ca.pem localhost:$port | tail -c 6 | cmp - site/hello.txt"
	ok 'serve: plain HTTP is refused and survived' eval "! curl -s --max-time 5 http://localhost:$port/ && await 5 has HTTP serve.err"
	ok "serve: the log says $way" eval "grep 'GET /big 200 .* TLSv1.2 .* $way\$' serve.log"
	ok 'serve: the log is not fooled' eval "curl -sk --path-as-is \$'$url/x\ry' >out; lacks \$'\r' serve.log"
	many "$url"
	kill -TERM "$pid"
	ok 'serve: SIGTERM ends it with 0' wait "$pid"
}

many() {	# 100 clients, each with its own connection, all at once
	local i jobs=()
	for i in {1..100}; do
		fetch --retry 0 -o "many.$i" "$1/100k" 2>>many.err &
		jobs+=($!)
	done
	wait "${jobs[@]}"
	ok '100 clients at once' eval '(for i in {1..100}; do cmp many.$i site/100k || { cat many.err; exit 1; }; done)'
	rm -f many.*
}

suite_tests() {
	local suite cert
	for suite in $suites; do
		cert=${suite#*:} suite=${suite%:*}
		start serve "$ktls" serve -cert $cert.pem -key $cert.key -bind 127.0.0.1 -port 0 -cipher "$suite" -tls1_2 site
		ok "$suite: curl" eval "fetch --ciphers $suite https://localhost:$port/big | cmp - site/big"
		ok "$suite: s_client" eval "printf 'GET /big HTTP/1.0\r\n\r\n' |
			openssl s_client -quiet -CAfile ca.pem -cipher $suite -connect localhost:$port 2>err |
			tail -c $(stat -c %s site/big) | cmp - site/big"
		ok "$suite: connect" eval "printf 'GET /big HTTP/1.0\r\n\r\n' |
			$ktls connect -brief -CAfile ca.pem -cipher $suite localhost:$port 2>err |
			tail -c $(stat -c %s site/big) | cmp - site/big && grep '$suite, $way' err"
		kill "$pid"
		wait "$pid"
		to_openssl "$suite" $cert
		from_openssl "$suite" $cert
		itself "$suite" $cert
	done
}

to_openssl() {	# our client, OpenSSL's server
	: >server.out
	openssl s_server -quiet -cert "$2.pem" -key "$2.key" -cipher "$1" -tls1_2 -accept 0 \
		-naccept 1 < <(hold site/100k server.out site/big) >server.out 2>server.err &
	pid=$!
	pids+=("$pid")
	# -quiet hides the port; the socket tells.
	await 10 eval "ss -Hltnp | grep -q pid=$pid,"
	port=$(ss -Hltnp | sed -n "s/.*:\([0-9]*\) .*pid=$pid,.*/\1/p" | head -n 1)
	"$ktls" connect -brief -CAfile ca.pem -cipher "$1" "localhost:$port" \
		< <(hold site/big out site/100k) >out 2>err
	ok "$1: connect to s_server" eval "cmp server.out site/big && cmp out site/100k &&
		has '$1, $way' err"
	kill "$pid" 2>/dev/null
	wait "$pid"
}

# Nobody's input ends before the other has it all: s_client leaves at the first close_notify.
hold() { cat "$1"; await 30 same "$2" "$3"; }

from_openssl() {	# OpenSSL's client, our server
	: >server.out
	listen_on server "$1" "$2" < <(hold site/100k server.out site/big) >server.out
	openssl s_client -quiet -CAfile ca.pem -cipher "$1" \
		-connect "localhost:$(port_in server.err)" <site/big >out 2>err
	wait "$pid"
	ok "$1: listen for s_client" eval "cmp server.out site/big && cmp out site/100k &&
		has '$1, $way' server.err"
}

listen_on() {	# NAME CIPHER CERTIFICATE: in the background, $pid; the port is in NAME.err
	: >"$1.err"
	"$ktls" listen -brief -cert "$3.pem" -key "$3.key" -cipher "$2" -tls1_2 127.0.0.1:0 \
		<&0 2>"$1.err" &
	pid=$!
	pids+=("$pid")
	await 10 has_port "$1.err"
}

dial() { "$ktls" connect -brief -CAfile ca.pem -cipher ALL "localhost:$(port_in "$1.err")"; }

itself() {	# both ends ours, both directions at once, files and pipes
	local ours theirs
	listen_on server "$1" "$2" <site/big >out.server
	dial server <site/100k >out 2>err
	ours=$?
	wait "$pid"
	theirs=$?
	ok "$1: connect to listen, files" eval "[ $ours$theirs = 00 ] && cmp out site/big &&
		cmp out.server site/100k"

	listen_on server "$1" "$2" < <(cat site/big) > >(cat >out.server)
	# shellcheck disable=SC2002 # pipes are wanted
	cat site/big | dial server 2>err | cat >out
	ours=${PIPESTATUS[1]}
	wait "$pid"
	theirs=$?
	await 10 same out.server site/big
	ok "$1: connect to listen, pipes" eval "[ $ours$theirs = 00 ] && cmp out site/big &&
		cmp out.server site/big"
}

peer_tests() {	# what connect demands of its peer, and its exit statuses
	local at
	start keep "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key -alpn a,bb 127.0.0.1:0
	at=$port
	ok 'verified' status 0 "$ktls" connect -CAfile rsa.pem "localhost:$at" </dev/null
	ok 'verified by address' status 0 "$ktls" connect -CAfile rsa.pem "127.0.0.1:$at" </dev/null
	ok 'an unknown issuer' status 1 "$ktls" connect "localhost:$at" </dev/null
	ok 'another issuer' status 1 "$ktls" connect -CAfile ec.pem "localhost:$at" </dev/null
	ok 'another name' status 1 "$ktls" connect -CAfile rsa.pem -servername other "localhost:$at" </dev/null
	ok 'another name, insecure' status 0 "$ktls" connect -insecure -servername other "localhost:$at" </dev/null
	ok 'ALPN' eval "$ktls connect -insecure -alpn x,bb localhost:$at </dev/null 2>err && has 'ALPN: bb' err"
	ok 'no common ALPN' status 1 "$ktls" connect -insecure -alpn x "localhost:$at" </dev/null
	ok 'no common cipher' status 1 "$ktls" connect -insecure -tls1_2 -cipher ECDHE-ECDSA-AES128-CCM "localhost:$at" </dev/null
	ok 'TLS 1.3 on demand' eval "$ktls connect -brief -insecure -tls1_3 localhost:$at </dev/null 2>err && has 'TLSv1.3.*userspace' err"
	kill "$pid"
	wait "$pid"

	start mutual "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key -CAfile ec.pem 127.0.0.1:0
	ok 'a client certificate' status 0 "$ktls" connect -CAfile rsa.pem -cert ec.pem -key ec.key "localhost:$port" </dev/null
	ok 'none' status 1 "$ktls" connect -CAfile rsa.pem -tls1_2 "localhost:$port" </dev/null
	kill "$pid"
	wait "$pid"

	listen_on server ECDHE rsa < <(sleep 60)
	"$ktls" connect -quiet -insecure "localhost:$(port_in server.err)" < <(sleep 60) 2>err &
	at=$!
	await 5 has "$way" server.err
	kill -KILL "$pid"
	wait "$at"
	ok 'a peer that is killed: truncated' [ $? = 3 ]
}

stat_tests() {
	if [ $way = userspace ]; then
		ok 'stat: no module' eval "status 5 $ktls stat 2>err; has modprobe err"
		ok 'require-kernel: no module' eval "status 5 $ktls connect -require-kernel -insecure localhost:1 </dev/null; true"
		return
	fi
	listen_on server ECDHE rsa < <(sleep 60)
	dial server < <(sleep 60) 2>err &
	await 5 has kernel server.err
	ok 'stat' eval "$ktls stat >out; [ \$(grep -c '^stream ' out) = 2 ]"
	ok 'stat --json' eval "$ktls stat --json | python3 -c 'import json,sys; s=json.load(sys.stdin); assert len(s[\"sockets\"])==2 and s[\"counters\"], s'"
	kill "$pid"
	wait
}

certificates 2>/dev/null
files
usage_tests
serve_tests
peer_tests
suite_tests
stat_tests
echo "1..$count"
exit $failed
