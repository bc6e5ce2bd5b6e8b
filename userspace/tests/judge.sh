#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	judge.sh [BUILD]
#
# selftests/insn.py, of figures that are made up: what it takes for worse.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

judge=$here/../../selftests/insn.py
series=$(uname -r | cut -d. -f1,2)
{
	echo "$series TLS1.2 64 send 1000 1000"
	echo "$series TLS1.2 64 receive 500 500"
	echo "1.0 TLS1.2 64 send 1 1"	# of another kernel
} >base

result() {	# WAY SEND RECEIVE [OUTCOME]
	printf '{"protocol":"TLS 1.2","way":"%s","size":64,"outcome":"%s","why":"gone","times":
		{"send":{"min":%s},"receive":{"min":%s}}}' "$1" "${4-done}" "$2" "$3"
}

verdict() {	# STATUS OURS PEER: as arguments of result
	# shellcheck disable=SC2086 # they are several
	printf '{"results":[%s,%s]}' "$(result af_ktls $2)" "$(result tls $3)" >results.json
	status "$1" python3 "$judge" base rows results.json
}

ok 'as before' verdict 0 '1000 500' '1000 500'
ok 'its rows are those of a baseline' has "^$series TLS1.2 64 receive 500 500" rows
ok '2 % more' verdict 0 '1020 510' '1000 500'
ok '4 % more' verdict 1 '1040 500' '1000 500'
ok '4 % more to receive' verdict 1 '1000 520' '1000 500'
ok 'a kernel with more for both' verdict 0 '1100 550' '1100 550'
ok 'a kernel with less for the peer' verdict 0 '1000 500' '900 450'
ok 'less' eval "verdict 0 '900 400' '1000 500' && has 'better by 20 %' ok.out"
ok 'we were not measured' verdict 1 '0 0 absent' '1000 500'
ok 'nor was the peer' verdict 1 '1000 500' '0 0 absent'
sed -i '/receive/d' base
ok 'what has no baseline' verdict 1 '1000 500' '1000 500'
finish
