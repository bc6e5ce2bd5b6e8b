#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_connect.sh [BUILD]		timeout=300, one kernel is enough
#
# ktls connect and listen: what they demand of the peer, what they say and how they end;
# ktls stat; and what the command says to mistakes.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

usage_tests() {
	local verb
	ok 'help' status 0 once help
	for verb in serve connect listen stat; do
		ok "help of $verb" eval "once $verb --help | grep '^usage: ktls $verb'"
	done
	ok 'version' eval "once --version | grep '^ktls [0-9]'"
	ok 'no verb' status 2 once
	ok 'an unknown verb' status 2 once dance
	ok 'an unknown option' status 2 once connect -dance localhost:1
	ok 'an option without its argument' status 2 once connect -CAfile
	ok 'no host' status 2 once connect 443
	ok 'no port' status 2 once connect localhost
	ok 'a port that is none' status 2 once connect localhost:99999
	ok 'port 0, to connect to' status 2 once connect localhost:0
	ok 'a word for a port' status 2 once listen -cert rsa.pem -key rsa.key abc
	ok 'a port of 17 bits for serve' status 2 once serve -cert rsa.pem -key rsa.key -port 99999 .
	ok 'a URL' eval "status 2 once connect https://localhost:1/ 2>err; has 'is a URL' err"
	ok 'an option behind the operand' status 5 once connect localhost:1 -CAfile nowhere
	ok 'behind --, all are operands' status 2 once connect -- localhost:1 -insecure
	ok 'options that exclude each other' status 2 once connect -tls1_2 -tls1_3 localhost:1
	ok 'the kernel and not' status 2 once connect -require-kernel -userspace localhost:1
	ok 'nobody listens' status 4 once connect localhost:1
	ok 'an unknown host' status 4 once connect name.invalid:443
	ok 'a server without a certificate' status 2 once listen 0
	ok 'no such certificate' eval "status 5 once listen -cert nowhere.pem 0 2>err &&
		has 'nowhere.pem: No such file' err"
	ok 'no key' eval "status 5 once listen -cert rsa.pem 0 2>err; has 'no private key in PEM' err"
	ok 'no certificate' eval "status 5 once listen -cert rsa.key 0 2>err &&
		has 'no certificate in PEM' err"
	ok 'not the key of the certificate' status 5 once listen -cert rsa.pem -key ec.key 0
	ok 'the key of another' eval "openssl genrsa -out other.key 2>err;
		status 5 once listen -cert rsa.pem -key other.key 0 2>err; has 'not the key of' err"
	ok 'no such directory' status 5 once serve -cert rsa.pem -key rsa.key -port 0 nowhere
	ok 'a cipher that does not exist' status 2 once connect -cipher DANCE localhost:1
	ok 'no such file of authorities' status 5 once connect -CAfile nowhere localhost:1
}

connect() { once connect "$@" "localhost:$port" </dev/null 2>err; }

verification_tests() {
	start keep "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key -alpn a,bb 127.0.0.1:0
	ok 'verified' status 0 connect -CAfile rsa.pem
	ok 'verified by address' status 0 once connect -CAfile rsa.pem "127.0.0.1:$port" </dev/null
	ok 'an unknown issuer' status 1 connect
	ok 'it says why' has 'certificate is not accepted: self-signed' err
	ok 'and what to do' has '-CAfile names whom to trust' err
	ok 'another issuer' status 1 connect -CAfile ec.pem
	ok 'another name' status 1 connect -CAfile rsa.pem -servername other
	ok 'it says why' has 'hostname mismatch' err
	ok 'another name, insecure' status 0 connect -insecure -servername other
	ok 'what is negotiated' eval "connect -CAfile rsa.pem -tls1_2 && grep -E ': TLSv1.2 [A-Z0-9-]+, $way' err &&
		has 'subject\\|peer certificate: CN = localhost' err && has 'verification: ok' err"
	ok 'brief: one line' eval "connect -CAfile rsa.pem -brief && [ \$(wc -l <err) = 1 ]"
	ok 'quiet: none' eval "connect -CAfile rsa.pem -quiet && [ ! -s err ]"
	ok 'the server is told the name' eval "connect -insecure -tls1_2 && connect -insecure"
	ok 'ALPN' eval "connect -insecure -alpn x,bb && has 'ALPN: bb' err"
	ok 'no common ALPN' status 1 connect -insecure -alpn x
	ok 'no common cipher' status 1 connect -insecure -tls1_2 -cipher ECDHE-ECDSA-AES128-CCM
	ok 'it says what to do' has 'no common cipher' err
	ok 'TLS 1.3 on demand' eval "connect -brief -insecure -tls1_3 && has 'TLSv1.3 .*, $way' err"
	ok 'userspace on demand' eval "connect -brief -insecure -userspace && has 'userspace: the program asked' err"
	ok 'the secrets for wireshark' eval "connect -insecure -keylogfile keys && has '^CLIENT_' keys"
	ok 'they are for us only' eval "[ \$(stat -c %a keys) = 600 ]"
	ok 'a cipher that no kernel has' eval "connect -brief -insecure -tls1_2 -cipher AES128-SHA &&
		has 'userspace: ' err"
	stop

	start old "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key -tls1_3 127.0.0.1:0
	ok 'a server of TLS 1.3 only' eval "connect -insecure -brief && has 'TLSv1.3 .*, $way' err"
	ok 'a server of TLS 1.3 only, in userspace' status 0 connect -insecure -userspace
	stop

	start mutual "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key -CAfile ec.pem 127.0.0.1:0
	ok 'a client certificate' status 0 connect -CAfile rsa.pem -cert ec.pem -key ec.key
	ok 'none' status 1 connect -CAfile rsa.pem -tls1_2
	ok 'it says what to do' has 'wants a certificate' err
	stop
}

# What the peer says of itself is not for the terminal to obey.
name_tests() {
	start names "$ktls" listen -keep -cert rsa.pem -key rsa.key 127.0.0.1:0
	ok 'a name with an escape in it' status 0 connect -insecure -servername $'x\e[2J'
	ok 'is shown as it is' eval "await 10 has 'server name: x.x1b\[2J' names.log &&
		lacks \$'\e' names.log"
	stop
}

kernel_tests() {
	start keep "$ktls" listen -keep -brief -cert rsa.pem -key rsa.key 127.0.0.1:0
	if [ $way = kernel ]; then
		ok 'require-kernel' status 0 connect -insecure -require-kernel
		ok 'require-kernel, TLS 1.3' status 0 connect -insecure -require-kernel -tls1_3
		ok 'require-kernel, another cipher' status 1 connect -insecure -require-kernel -tls1_2 -cipher AES128-SHA
		ok 'it says what to do' has 'allow AES-GCM' err
	else
		ok 'require-kernel, no module' status 5 connect -insecure -require-kernel
		ok 'it says what to do' has 'modprobe af_ktls' err
		ok 'without the module: it says so' eval "connect -brief -insecure &&
			has 'userspace: .*modprobe af_ktls' err"
		ok 'serve too' status 5 once serve -require-kernel -cert rsa.pem -key rsa.key -port 0 .
		ok 'listen too' status 5 once listen -require-kernel -cert rsa.pem -key rsa.key 0
	fi
	stop
}

# What the other's end does to connect: its exit status, and what it says.
end_tests() {
	local client
	listen_on server ECDHE rsa out <open
	connect_open &
	client=$!
	await 20 has "$way" server.log
	kill -KILL "$pid"
	ended "$client"
	ok 'a peer that is killed' [ $? = 3 ]
	ok 'it says so' has 'without close_notify' err

	listen_on server ECDHE rsa out <rsa.pem
	connect -insecure -quiet >out2
	ok 'a peer that ends' [ $? = 0 ]
	ok 'all it sent is there' same out2 rsa.pem
	ended "$pid"

	head -c 3M /dev/urandom >much
	listen_on server ECDHE rsa out </dev/null
	ok 'a peer that sends nothing' status 0 connect_with much
	ended "$pid"
	ok 'gets all' same out much

	listen_on server ECDHE rsa out <open
	ok 'no room for the output' status 5 eval "once connect -insecure -quiet localhost:$port <rsa.pem >/dev/full & \
		echo x >open; ended \$!"
	kill "$pid" 2>err
	ended "$pid"
}

connect_with() { once connect -quiet -insecure "localhost:$port" <"$1"; }
connect_open() { once connect -quiet -insecure "localhost:$port" <open 2>err; }

stat_tests() {
	if [ $way = userspace ]; then
		ok 'stat: no module' eval "status 5 once stat 2>err; has 'modprobe af_ktls' err"
		return
	fi
	listen_on server ECDHE rsa out <open
	connect_open &
	await 20 has kernel server.log
	ok 'stat' eval "once stat >out; [ \$(grep -c '^stream  *TX,RX  *1.2' out) = 2 ]"
	ok 'stat: counters' grep 'KtlsCurrBound  *2' out
	ok 'stat --json' eval "once stat --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
assert len(s[\"sockets\"]) == 2 and s[\"counters\"][\"KtlsCurrTx\"] == 2, s
one = s[\"sockets\"][0]
assert one[\"version\"] == \"1.2\" and one[\"remote\"].startswith(\"127.0.0.1:\"), one'"
	kill "$pid"
	ended "$pid"
}

# On a terminal, which script(1) gives: a line that is drawn anew, when it takes long.
progress_tests() {
	local client
	listen_on server ECDHE rsa out < <(head -c 100000 /dev/zero; silence)
	script -qefc "timeout --foreground $patience $ktls connect -insecure localhost:$port <open >received" screen >/dev/null &
	client=$!
	ok 'progress on a terminal' await 20 has 'ktls: 0 B sent, 97.7 KiB received in [2-9]' screen
	kill "$pid"
	ended "$client"
	listen_on server ECDHE rsa out <rsa.pem
	script -qefc "timeout --foreground $patience $ktls connect -insecure localhost:$port </dev/null" screen >/dev/null
	ok 'not where data goes to the terminal' lacks 'received in' screen
	ended "$pid"
	listen_on server ECDHE rsa out <rsa.pem
	connect -insecure >received
	ok 'not into a file' lacks 'received in' err
	ended "$pid"
	listen_on server ECDHE rsa out <rsa.pem
	connect -insecure -v >received
	ok 'unless asked for' has "0 B sent, .* KiB received in" err
	ended "$pid"
}

certificates 2>/dev/null
usage_tests
verification_tests
name_tests
kernel_tests
end_tests
stat_tests
progress_tests
finish
