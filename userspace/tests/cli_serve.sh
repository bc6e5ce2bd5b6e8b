#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_serve.sh [BUILD]		timeout=400, one kernel is enough
#
# ktls serve, with curl for its clients and with clients that curl would not be.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

# In a guest selftests/crowd.sh has a hundred, which take a minute there.
clients=100
[ $way = userspace ] || clients=20

site() {
	mkdir -p site/sub
	echo hello >site/hello.txt
	: >site/empty
	head -c 100000 /dev/urandom >site/100k
	head -c 8M /dev/urandom >site/big
	ln -s /etc/passwd site/escape
	ln -s hello.txt site/link
	echo '<b>' >'site/sub/a <b>&.html'
	mkfifo site/fifo
	printf '#!/bin/sh\nulimit -n 32\nexec "%s" "$@"\n' "$ktls" >few
	chmod +x few
}

# shellcheck disable=SC2120 # options of ktls serve
serve() {
	start serve "$ktls" serve -cert rsa.pem -key rsa.key -bind 127.0.0.1 -port 0 "$@" site
	url=https://localhost:$port
}

fetch() { curl -sS --fail --tls-max 1.2 --cacert ca.pem --max-time "$patience" "$@"; }
code() { curl -sk --path-as-is --max-time 20 -o out -w '%{http_code}' "$@"; }
raw() { printf '%b' "$1" | once connect -quiet -CAfile ca.pem "localhost:$port"; }
# shellcheck disable=SC2317 # called by await
has_fds() { [ "$(fds)" -eq "$1" ]; }
fds() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }
counter() { awk -v name="$1" '$1 == name { print $2 }' /proc/net/ktls_stat; }

file_tests() {
	ok 'a file' eval "fetch $url/hello.txt | cmp - site/hello.txt"
	ok 'an empty file' eval "fetch $url/empty | cmp - site/empty"
	ok 'a large file' eval "fetch $url/big | cmp - site/big"
	ok 'several over one connection' eval "fetch -w '%{num_connects}\n' -o 1 -o 2 -o 3 \
		$url/100k $url/hello.txt $url/100k | tr -d '\n' | grep -x 100 && cmp 1 site/100k &&
		cmp 2 site/hello.txt && cmp 3 site/100k"
	ok 'HTTP/1.0 ends with the reply' eval "fetch --http1.0 -w '%{num_connects}\n' -o 1 -o 2 \
		$url/hello.txt $url/hello.txt | tr -d '\n' | grep -x 11"
	ok 'a range' eval "fetch -r 1000-50000 $url/100k |
		cmp - <(tail -c +1001 site/100k | head -c 49001)"
	ok 'the last bytes' eval "fetch -r -7 $url/100k | cmp - <(tail -c 7 site/100k)"
	ok 'resumed behind the end' eval "code -r 100000- $url/100k | grep 416"
	ok 'HEAD' eval "fetch -I $url/100k | tr -d '\r' | grep -x 'Content-Length: 100000'"
	ok 'not changed' eval "tag=\$(fetch -I $url/100k | tr -d '\r' | sed -n 's/^ETag: //p') &&
		code -H \"If-None-Match: \$tag\" $url/100k | grep 304"
	ok 'not changed, whatever it is' eval "code -H 'If-None-Match: *' $url/100k | grep 304"
	ok 'a link inside' eval "fetch $url/link | cmp - site/hello.txt"
	ok 'no such file' eval "code $url/nowhere | grep 404"
	ok 'no POST' eval "code -d x $url/ | grep 405"
	ok 'a directory gets its slash' eval "fetch -L $url/sub |
		grep 'a%20%3Cb%3E%26.html\">a &lt;b&gt;&amp;.html<'"
	ok 'the list hides what leads outside' eval "fetch $url/ >out && has hello.txt out &&
		lacks escape out"
	ok 'two requests at once' eval "raw 'GET /100k HTTP/1.1\r\nHost: x\r\n\r\nGET /hello.txt HTTP/1.0\r\n\r\n' |
		tail -c 6 | cmp - site/hello.txt"
	ok 'close_notify at the end' eval "raw 'GET /empty HTTP/1.0\r\n\r\n' >out"
}

hostile_tests() {
	local path
	for path in escape ../../etc/passwd sub/../../etc/passwd %2e%2e/%2e%2e/etc/passwd fifo; do
		ok "not $path" eval "code $url/$path | grep 403 && lacks root: out"
	done
	ok 'plain HTTP is refused' eval "! curl -s --max-time 20 http://localhost:$port/ &&
		await 10 has 'plain HTTP' serve.log"
	ok 'no TLS at all' eval "head -c 1000 /dev/zero >/dev/tcp/localhost/$port;
		await 10 has 'TLS failed' serve.log"
	ok 'nothing but a connection' eval ": >/dev/tcp/localhost/$port;
		await 10 has 'closed the connection in the handshake' serve.log"
	ok 'a head without end' eval "raw 'GET / HTTP/1.1\r\nX: $(head -c 20000 /dev/zero | tr '\0' x)' | grep 431"
	ok 'the log is not fooled' eval "raw 'GET /\033[2Jx HTTP/1.0\r\n\r\n' >out;
		await 10 has 'GET /.x1b\[2Jx 400' serve.log && lacks \$'\033' serve.log"
	ok 'nor by a line of its own' eval "raw 'GET /sub?\nX:y HTTP/1.0\r\n\r\n' | grep ' 400 '"
	ok 'who reads slowly holds up nobody' slow_reader
	ok 'a file that shrinks is no whole file' shrinks
	ok 'who never stops sending is left' eval "yes | once connect -quiet -CAfile ca.pem \
		localhost:$port | grep ' 431 '"
	ok 'a thousand requests at once' pipeline
	ok 'who hangs up in a file is survived' eval "fetch --max-filesize 1 $url/big;
		curl -sk --max-time $patience $url/big | head -c 1 >out; fetch $url/hello.txt | cmp - site/hello.txt"
}

# shellcheck disable=SC2317 # called by ok
slow_reader() {
	start_reader big slow
	fetch "$url/100k" | cmp - site/100k || return 1
	kill -KILL "$reader"
}

# A client that stops reading in the middle of a large file, with the pid in $reader.
start_reader() {	# PATH OUTPUT
	"$ktls" connect -quiet -CAfile ca.pem "localhost:$port" \
		< <(printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' "$1"; silence) >"$2" 2>"$2.err" &
	reader=$!
	pids+=("$reader")
	await 20 test -s "$2"
	kill -STOP "$reader"
}

# shellcheck disable=SC2317 # called by ok
shrinks() {
	truncate -s 64M site/shrinking
	start_reader shrinking shrunk
	truncate -s 1 site/shrinking
	kill -CONT "$reader"
	status 3 ended "$reader" && await 10 has 'the file became shorter' serve.log
}

# shellcheck disable=SC2317 # called by ok
pipeline() {
	local head='HEAD /hello.txt HTTP/1.1\r\nHost: x\r\n'
	{
		for _ in {1..999}; do printf '%b\r\n' "$head"; done
		printf '%bConnection: close\r\n\r\n' "$head"
	} | once connect -quiet -CAfile ca.pem "localhost:$port" >out
	[ "$(grep -c '^HTTP/1.1 200' out)" = 1000 ]
}

log_tests() {
	local date='20[0-9-]*T[0-9:]*Z' from='127\.0\.0\.1:[0-9]*'
	ok "a line for each request, by the $way" eval "grep -x \
		'$date $from GET /big 200 8388608 [0-9.]* TLSv1.2 [A-Z0-9-]* $way' serve.log"
	if [ $way = kernel ]; then
		ok 'by sendfile' eval "spliced=\$(counter KtlsTxSpliced); fetch $url/big >out;
			[ \$((\$(counter KtlsTxSpliced) - spliced)) -ge 512 ]"
	else
		skip 'no AF_KTLS' 'by sendfile'
	fi
}

# shellcheck disable=SC2317 # called by ok
each_has_it() {
	local i
	for ((i = 0; i < clients; i++)); do
		cmp "many.$i" site/100k || { cat many.err; return 1; }
	done
}

# Each with its own connection, all at once.
many() {
	local i jobs=()
	for ((i = 0; i < clients; i++)); do
		# In an emulated guest, starting so many takes a while.
		fetch --max-time 120 -o "many.$i" "$url/100k" 2>>many.err &
		jobs+=($!)
	done
	wait "${jobs[@]}"	# --max-time ends each
	ok "$clients clients at once" each_has_it
	rm -f many.*
}

no_more_files() {
	# More connections than descriptors, then as few again.
	local fd held=()
	ktls=$work/few serve
	for _ in {1..40}; do
		exec {fd}<>"/dev/tcp/localhost/$port" && held+=("$fd")
	done
	ok 'out of descriptors: it says so' await 10 has 'Too many open files' serve.log
	for fd in "${held[@]}"; do
		exec {fd}>&-
	done
	ok 'out of descriptors: it recovers' eval "await 20 fetch -o out $url/hello.txt &&
		cmp out site/hello.txt"
	stop
}

no_more_clients() {
	local before
	serve -clients 2
	before=$(fds)
	exec {one}<>"/dev/tcp/localhost/$port" {two}<>"/dev/tcp/localhost/$port"
	ok 'two clients' await 10 has_fds $((before + 4))
	eval "fetch $url/hello.txt >waited $one>&- $two>&- &"
	ok 'as many as allowed: it says so' await 10 has '2 clients: others wait' serve.log
	ok 'and the next waits' [ ! -s waited ]
	exec {one}>&-
	ended $!
	ok 'until one leaves' same waited site/hello.txt
	exec {two}>&-
	stop
	ok 'as many as nonsense' status 2 once serve -clients many -cert rsa.pem site
}

secret_tests() {
	cp rsa.key site/the.key
	ln site/the.key site/again.key
	start serve "$ktls" serve -cert rsa.pem -key site/the.key -keylogfile site/secrets \
		-bind 127.0.0.1 -port 0 site
	url=https://localhost:$port
	ok 'the list hides key and secrets' eval "fetch $url/ >out && has hello.txt out &&
		lacks key out && lacks secrets out"
	ok 'the key is not given out' eval "code $url/the.key | grep 403 && lacks PRIVATE out"
	ok 'by another name neither' eval "code $url/again.key | grep 403"
	ok 'nor the secrets' eval "[ -s site/secrets ] && code $url/secrets | grep 403"
	rm site/*.key site/secrets
	stop
}

mutual_tests() {
	serve -CAfile ec.pem
	ok 'a client certificate' eval "fetch --cert ec.pem --key ec.key $url/hello.txt"
	ok 'none' eval "! fetch $url/hello.txt"
	ok 'none: the log says so' await 10 has 'certificate' serve.log
	stop
}

certificates 2>/dev/null
site
serve
before=$(fds)
file_tests
hostile_tests
log_tests
many
ok 'no descriptor is left' await 10 has_fds "$before"
kill "$pid"
ok 'SIGTERM ends it with 0' ended "$pid"
secret_tests
mutual_tests
no_more_clients
no_more_files
finish
