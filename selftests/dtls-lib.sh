# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2154 # ktls is of lib.sh, port of the script
# What the scripts about DTLS share. To be sourced after lib.sh.

# shellcheck disable=SC2034 # the scripts use it
suites=(ECDHE-{ECDSA,RSA}-{AES128-GCM-SHA256,AES256-GCM-SHA384,CHACHA20-POLY1305}
	ECDHE-ECDSA-AES128-CCM)
address=127.0.0.1	# as it stands before a port

certificate_of() { case $1 in *ECDSA*) echo ecdsa ;; *) echo rsa ;; esac; }
certificates() {
	certificate ecdsa
	certificate rsa rsa
}

# Files of the sizes given, multiples of 64, in site: of lines of 64 bytes, and in whole lines
# they are sent, as what is cut into datagrams may come in another order.
lines() {
	local size
	mkdir -p site
	for size in "$@"; do
		tar -C /usr -cf - lib 2>/dev/null | base64 -w 63 | head -c "$size" >"site/$size"
		is "bytes of a file" "$(size_of "site/$size")" "$size" || exit 1
	done
}
same() { cmp <(sort "$1") <(sort "$2"); }

# again Tx|Rx BYTES: what is more than these, if it is Finished: who waits long for the answer to
# it says it once more, and so gets that. It has 24 bytes, of which in_kernel takes two for an alert's;
# the alert that ends a connection may come too late to be counted.
again() {
	local bytes=${grown[Ktls$1Bytes]} control=${grown[Ktls$1Control]} more
	more=$((bytes - 2 * control - $2))
	[ $((more % 22)) -eq 0 ] && [ "$more" -ge 0 ] && [ $((more / 22)) -le "$control" ] || more=0
	echo "$more"
}

# datagrams_in_kernel SENT RECEIVED: as in_kernel, of one connection. With a Finished that comes
# again there are others of its flight, of epoch 0.
datagrams_in_kernel() {
	local more
	await unbound || return
	more=$(again Rx "$2")
	[ "$more" -eq 0 ] || before[KtlsRxBadEpoch]=$((before[KtlsRxBadEpoch] + grown[KtlsRxBadEpoch]))
	in_kernel 1 $(($1 + $(again Tx "$1"))) $(($2 + more))
}

# listening SUITE COMMAND...: ktls listen, whose input is the command's output
listening() {
	local cert
	cert=$(certificate_of "$1")
	start_at "$port" listener "$ktls" listen -dtls -brief -cert "$cert.pem" -key "$cert.key" \
		-cipher "$1" -require-kernel "$address:$port" < <("${@:2}")
}

# connecting SUITE COMMAND...: ktls connect, the same; its output goes to got
connecting() {
	"$ktls" connect -dtls -brief -CAfile "$(certificate_of "$1").pem" -servername localhost \
		-cipher "$1" -require-kernel "$address:$port" < <("${@:2}") >got 2>connect.err &&
		grep "DTLSv1.2 $1, kernel" connect.err
}

# came_to CLIENT SUITE DOWN UP: CLIENT is a function, given SUITE, DOWN and UP, that takes
# the file DOWN from ktls listen and gives it UP, both of site
came_to() {
	local suite=$2 down=site/$3 up=site/$4 status=0
	mark
	listening "$suite" until_then "$down" arrived listener.out "$4"
	"$1" "$suite" "$down" "$up" >got 2>client.err || status=$?
	ended listener && grep "DTLSv1.2 $suite, kernel" listener.err &&
		is "status of $1" "$status" 0 && same got "$down" && same listener.out "$up" &&
		datagrams_in_kernel "$3" "$4" && return
	cat client.err listener.err
	return 1
}

s_client() {
	openssl s_client -dtls1_2 -quiet -no_ign_eof -connect "$address:$port" -cipher "$1" \
		-CAfile "$(certificate_of "$1").pem" -verify_return_error -keylogfile keys \
		< <(until_then "$3" arrived got "$(size_of "$2")")
}

# went_to SERVER SUITE DOWN UP: SERVER is a function, given SUITE, DOWN and UP, that starts
# one, which gives ktls connect the file DOWN, takes UP, and ends with the connection
went_to() {
	local suite=$2 down=site/$3 up=site/$4
	mark
	"$1" "$suite" "$down" "$up"
	connecting "$suite" until_then "$up" arrived got "$3" && ended server &&
		same got "$down" && same server.out "$up" && datagrams_in_kernel "$4" "$3" && return
	cat connect.err server.err
	return 1
}

s_server() {
	local cert
	cert=$(certificate_of "$1")
	start_at "$port" server openssl s_server -dtls1_2 -quiet -naccept 1 \
		-accept "$address:$port" -cipher "$1" -cert "$cert.pem" -key "$cert.key" \
		-keylogfile keys < <(endless "$2")
}
