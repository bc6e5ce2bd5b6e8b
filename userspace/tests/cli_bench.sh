#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	cli_bench.sh [BUILD]		timeout=600, one kernel is enough
#
# ktls bench: each way and scenario moves data, who cannot is listed with the reason, what it
# writes can be read, and what it says to mistakes.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

# In emulation a handshake takes its time, and there are many.
patience=150
bench() { once bench -count 5 -warmup 0 -repeat 1 "$@"; }

usage_tests() {
	ok 'help' eval "once bench --help | grep '^usage: ktls bench'"
	ok 'an operand' status 2 once bench localhost
	ok 'an unknown option' status 2 once bench -dance
	ok 'an unknown scenario' eval "status 2 once bench -scenario send,dance 2>err;
		has 'there is no \"dance\"' err"
	ok 'a scenario twice' status 2 once bench -scenario send,send
	ok 'no scenario' status 2 once bench -scenario ''
	ok 'an unknown way' status 2 once bench -way tlss
	ok 'an unknown cipher' status 2 once bench -cipher RC4
	ok 'a size of 0' status 2 once bench -size 0
	ok 'a size that is too large' status 2 once bench -size 2M
	ok 'a size that is none' status 2 once bench -size 64,x
	ok 'a time that is none' status 2 once bench -time 1e3
	ok 'a time of 0' status 2 once bench -time 0
	ok 'a negative warm-up' status 2 once bench -warmup -1
	ok 'no connections' status 2 once bench -parallel 0
	ok 'too many connections' status 2 once bench -parallel 1000
	ok 'no runs' status 2 once bench -repeat 0
	ok 'a count of 0' status 2 once bench -count 0
	ok 'a count and a time' status 2 once bench -count 5 -time 1
	ok 'no padding, but not TLS 1.3' status 2 once bench -no-pad -tls1_2
	ok 'a report that cannot be written' status 5 bench -report nowhere/x.html -way plain
}

# Those whose ways are there; of these results none may be missing.
outcomes() {
	python3 - "$1" <<-'END'
	import json, sys
	for r in json.load(open(sys.argv[1]))["results"]:
	    print(r["protocol"].replace(" ", ""), r["scenario"], r["way"], r["outcome"], r.get("why", ""))
	END
}

all_done() {	# FILE WAY: no result of that way is other than done
	grep -q " $2 done" "$1" && ! grep " $2 " "$1" | grep -v ' done'
}

scenario_tests() {
	ok 'all scenarios over TLS 1.2 and 1.3' eval 'bench -json -scenario all -tls1_2 -tls1_3 \
		-size 1400 >tls.json'
	ok 'and DTLS' eval 'bench -json -scenario all -dtls -size 1400 >dtls.json'
	ok 'and the largest of those' eval 'bench -json -scenario send,echo -dtls -size 16384 >large.json'
	outcomes tls.json >tls
	outcomes dtls.json >dtls
	ok 'nothing failed' lacks ' failed ' tls
	ok 'nor did datagrams' lacks ' failed ' dtls
	ok 'plain TCP did all' all_done tls plain
	ok 'plain UDP did all' all_done dtls plain
	ok 'OpenSSL did what is possible in userspace' [ "$(grep -c ' openssl done' tls)" -eq 12 ]
	ok 'and of datagrams' [ "$(grep -c ' openssl done' dtls)" -eq 6 ]
	ok 'that it cannot splice is told' has 'splice openssl absent cannot be spliced' tls
	ok 'that the kernel has no DTLS of its own is told' has 'send tls absent knows no' dtls
	if [ $way = kernel ]; then
		ok 'AF_KTLS did all' all_done tls af_ktls
		ok 'and of datagrams' all_done dtls af_ktls
		ok "the kernel's own did all" all_done tls tls
		ok 'OpenSSL gave it TLS 1.2' [ "$(grep -c '^TLS1.2 .* openssl-ktls done' tls)" -eq 9 ]
	else
		ok 'why there is no AF_KTLS is told' has 'af_ktls absent the kernel module' tls
	fi
}

output_tests() {
	ok 'a table' eval 'bench -scenario send,echo -size 100 >table'
	ok 'of throughput' has 'send, TLS 1.2 AES128-GCM, 100 bytes: 1 x 5 records' table
	ok 'and latency' has 'round trip' table
	ok 'each cipher, several connections, large calls' eval 'bench -json -parallel 2 -size 40000 \
		-way openssl,plain,af_ktls -scenario send,recv \
		-cipher AES256-GCM,chacha20-poly1305,AES128-CCM >ciphers.json'
	outcomes ciphers.json >ciphers
	ok 'they went' all_done ciphers openssl
	ok 'a time' eval 'once bench -time 0.05 -warmup 0 -repeat 2 -scenario recv -way plain >table'
	ok 'is kept to' has '2 x 0.05 s' table
	ok 'a report' eval 'bench -scenario echo -report report.html >table'
	ok 'is a page with charts' has '<svg ' report.html
	ok 'an output that is full' eval 'status 5 bench -scenario echo -way plain >/dev/full'
	ok 'nothing but absent ways is an error' eval \
		'status 5 bench -scenario splice -way openssl >table; has "is absent from splice" table'
}

usage_tests
scenario_tests
output_tests
finish
