#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	docs.sh [BUILD]
#
# The manual pages and the README against what they tell of: each option, function, errno
# and counter is there, and nothing else; the examples compile.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

root=$(cd "$here/../.." && pwd)
man=$here/../man
uapi=$root/include/uapi/linux/ktls.h

# Lines of verb and option, as the verbs' help has them, ...
options() {
	local verb
	for verb in serve connect listen relay stat bench; do
		once "$verb" --help | sed -n "s/^  -\([A-Za-z0-9_-]*\) .*/$verb \1/p"
	done
}

# ... and as the page has them: beneath their verb, or naming several behind .Pq.
options_told() {
	awk '/^\.S[hs]/ { verb = $2 }
	/^\.It Fl/ {
		count = 0
		for (i = 2; i < NF; i++)
			if ($i == "Fl")
				names[count++] = $(i + 1)
		for (i = 0; i < count && verb != "Options"; i++)
			print verb, names[i]
	}
	/^\.Pq/ && verb == "Options" {
		gsub(/,/, "")
		for (v = 2; v <= NF; v++)
			for (i = 0; i < count; i++)
				print $v, names[i]
	}' "$man/ktls.1"
}

same_words() {	# FILE FILE: lines, in any order
	[ -s "$1" ] && diff <(sort -u "$1") <(sort -u "$2")
}

has_each() {	# FILE: each line of wanted is a word in it
	local word status=0
	[ -s wanted ] || return 1
	while read -r word; do
		grep -qw -- "$word" "$1" || { echo "$word is not in $1"; status=1; }
	done <wanted
	return "$status"
}

functions_of() { grep -o '\bktls_[a-z_]*(' "$1" | tr -d '(' | sort -u; }

# Prototypes, one a line, without names' spacing.
prototypes() {
	sed -e ':a' -e 's:/\*.*\*/::g' -e '/\/\*/{N;ba' -e '}' "$here/../include/ktls.h" |
		tr '\n\t' '  ' | tr ';' '\n' | grep -o '[a-zA-Z_][a-zA-Z0-9_ ]* \**ktls_[a-z_]*(.*)$' |
		sed 's/ \+/ /g; s/^ //'
}

# shellcheck disable=SC2120 # the arguments are the page's
prototypes_told() {
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$man/libktls.3" | sed -n \
		-e 's/^\.Ft //p' -e 's/^\.Fn /@/p' | while read -r type && read -r call; do
		eval "set -- ${call#@}"
		local name=$1 arguments
		shift
		arguments=$(printf '%s, ' "$@")
		arguments=${arguments%, }
		case $type in *\*) echo "$type$name($arguments)" ;; *) echo "$type $name($arguments)" ;; esac
	done
}

errnos() { grep -o '\bE[A-Z]\{3,\}\b' "$uapi" | grep -v EOF | sort -u; }

has_statuses() {
	local i
	for i in {0..5}; do
		sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$man/ktls.1" | grep -x "\.It $i" || return 1
	done
}

manual_tests() {
	local page lint
	options >has
	options_told >told
	ok 'ktls.1 has the options of each verb, and no others' same_words has told
	ok 'ktls.1 has the exit statuses' has_statuses
	prototypes >has
	# shellcheck disable=SC2119
	prototypes_told >told
	ok 'libktls.3 has the functions as they are' same_words has told
	functions_of has >functions
	sed -n 's/^\.Nm \(ktls_[a-z_]*\).*/\1/p' "$man/libktls.3" >told
	ok 'libktls.3 names them' same_words functions told
	grep -o 'ktls_[a-z_]*' "$here/../lib/libktls.map" >told
	ok 'the library exports them' same_words functions told
	errnos >wanted
	ok 'ktls.7 has the errnos' has_each "$man/ktls.7"
	sed -n 's/^#define \(KTLS_[A-Z_]*\|TLS_[TR]X_[A-Z_]*\)\t.*/\1/p' "$uapi" |
		grep -v KTLS_F_ >wanted
	ok 'ktls.7 has the options' has_each "$man/ktls.7"
	grep -o '"Ktls[A-Za-z]*"' "$root/module/stats.h" | tr -d '"' >wanted
	ok 'ktls.7 has the counters' has_each "$man/ktls.7"
	for page in ktls.1 libktls.3 ktls.7; do
		for lint in 'mandoc -T lint -W warning' 'man --warnings -l'; do
			if ! command -v "${lint%% *}" >/dev/null; then
				skip "${lint%% *} is not installed" "$page: ${lint%% *} has nothing to say"
				continue
			fi
			ok "$page: ${lint%% *} has nothing to say" \
				eval "[ -z \"\$(LC_ALL=C.UTF-8 $lint $man/$page 2>&1 >/dev/null)\" ]"
		done
	done
}

compile() {	# SOURCE FLAG...
	"${CC:-cc}" -Wall -Wextra -Werror -I"$here/../include" "${@:2}" -c -o "$1.o" "$1"
}

example_tests() {
	# shellcheck disable=SC2016 # no expansions, but Markdown
	sed -n '/^```c$/,/^```$/{//!p}' "$root/README.md" >readme.c
	ok 'the example of the README compiles' compile readme.c
	ok 'it is a short one' [ "$(wc -l <readme.c)" -le 30 ]
	{
		printf '#include <stdio.h>\n#include <ktls.h>\n'
		sed -n '/^\.Sh EXAMPLES/,/^\.Ed/{/^\./!p}' "$man/libktls.3" | sed 's/\\e/\\/g'
	} >manual.c
	ok 'the example of libktls.3 compiles' compile manual.c
	echo '#include <ktls.h>' >header.c
	ok 'the header stands alone' compile header.c -std=c99
	if command -v clang >/dev/null; then
		CC=clang ok 'in C++ too' compile header.c -x c++
	else
		skip 'no clang' 'in C++ too'
	fi
	ok 'files that the README names are there' eval "grep -o '\`[a-z/-]*/\`' $root/README.md |
		tr -d '\`' | while read -r folder; do
			ls -d $root/\$folder $root/userspace/\$folder $root/selftests/\$folder 2>/dev/null |
				grep . || { echo \$folder; exit 1; }; done"
}

manual_tests
example_tests
finish
