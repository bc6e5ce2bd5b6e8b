#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
#	insn.sh		timeout=300, counted guest, one kernel is enough
#
# Instructions a record, of AF_KTLS and of what it is compared with, against insn.baseline: in a
# counted guest a nanosecond is an instruction. Prints TAP with the figures as comments, and leaves
# them in /run/ktls/insn.rows, in the form of the baseline.
cd "$(dirname "$0")" || exit 1
[ -n "${KTLS_COUNTED-}" ] || { echo '1..0 # SKIP time is not instructions on this machine'; exit; }
ktls=../userspace/build/ktls
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() {	# NAME OPTION...
	local name=$1
	shift
	"$ktls" bench -scenario turns -size 64,1400,16384 -count 100 -warmup 0.01 -repeat 2 -json \
		"$@" >"$work/$name.json"
}

# What the boot left to be done is done meanwhile.
sleep 3
measure tls -way af_ktls,tls -tls1_2 -tls1_3
measure no-pad -way af_ktls,tls -tls1_3 -no-pad
measure dtls -way af_ktls,plain -dtls
python3 insn.py insn.baseline /run/ktls/insn.rows "$work"/{tls,no-pad,dtls}.json
