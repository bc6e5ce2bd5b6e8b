# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2154 # ktls and grown are of lib.sh, here of the script
# What the scripts about other keys share. To be sourced after lib.sh.

# OpenSSL 3.0 of this machine, 3.5 of the next Debian.
# shellcheck disable=SC2034 # the scripts use it
declare -A openssl=([3.0]=openssl [3.5]=$here/build/openssl-3.5)

# Files of the sizes given, in site: of digits, which no peer takes for commands, none twice.
numbers() {
	local size dashes
	mkdir -p site
	mapfile -t dashes < <(printf -- '-\n%.0s' {1..64})
	for size in "$@"; do
		seq 100000000000000 999999999999999 | paste -d ' ' "${dashes[@]}" |
			head -c "$size" >"site/$size"
	done
}

# What a test that failed has left.
alone() {
	local name
	for name in "${!pids[@]}"; do
		stop "$name" KILL
	done
	return 0
}

converse() { python3 "$here/interop/converse.py" "$@"; }

hash_of() { sha256sum | cut -d' ' -f1; }

# same_hash FILE WANTED: of what ends FILE
same_hash() {
	is "sha256 of $1" "$(tail -c "$(size_of "$2")" "$1" | hash_of)" "$(hash_of <"$2")"
}

# Is there a key to receive with? s_server must not find anything to send before its handshake, or
# it waits for data behind it that nobody owes it, and sends no more.
keyed() {
	measure
	[ "${grown[KtlsRxKeys]}" -ge 1 ]
}

# changed SENT RECEIVED: have the keys changed so many times since mark?
changed() {
	measure
	[ "${grown[KtlsTxRekeys]}" -ge "$1" ] && [ "${grown[KtlsRxRekeys]}" -ge "$2" ]
}

# A flight that comes again is, but for its end, of an epoch that is over.
nothing_else_bad() {
	[[ -z ${datagrams-} ]] || grown[KtlsRxBadEpoch]=0
	[[ -z ${rude-} ]] || grown[KtlsRxTruncated]=0
	nothing_bad
}

# rekeyed SENT RECEIVED: so many other keys since mark, and nothing went wrong
rekeyed() {
	await unbound && is "keys changed for sending" "${grown[KtlsTxRekeys]}" "$1" &&
		is "keys changed for receiving" "${grown[KtlsRxRekeys]}" "$2" && nothing_else_bad
}

# rekeyed_often SENT RECEIVED: as many at least
rekeyed_often() {
	await unbound && [ "${grown[KtlsTxRekeys]}" -ge "$1" ] &&
		[ "${grown[KtlsRxRekeys]}" -ge "$2" ] && nothing_else_bad && return
	echo "keys changed for sending ${grown[KtlsTxRekeys]} times, for receiving" \
		"${grown[KtlsRxRekeys]}, not $1 and $2"
	return 1
}

# What came to s_server, without what it says itself.
without_talk() {
	perl -ne '
		if ($about) {
			$about = 0 if /Renegotiation IS|forbids renegotiation/;
			next;
		}
		last if /^(DONE|ERROR|shutting down SSL|CONNECTION CLOSED)$/;
		$about = 1 if s/-----BEGIN SSL SESSION PARAMETERS-----\n//;
		s/(Using default temp DH parameters|ACCEPT|Read BLOCK|SSL_do_handshake -> 1)\n//;
		print' "$1"
}
