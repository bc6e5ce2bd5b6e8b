#!/bin/bash
# SPDX-License-Identifier: MIT
#
#	install.sh [BUILD]
#
# make install and uninstall, into a folder of their own, and a program built against what
# is there, with the shared and with the static library.
# shellcheck source=cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

build=$(dirname "$ktls")
to=$work/to
export PKG_CONFIG_PATH=$to/usr/lib/pkgconfig

make_it() {
	make -s -C "$here/.." BUILD="$work/build" PREFIX=/usr DESTDIR="$to" "$@"
}

paths() { (cd "$to" && find . ! -type d | sort); }

wanted='./usr/bin/ktls
./usr/include/ktls.h
./usr/include/linux/ktls.h
./usr/lib/libktls.a
./usr/lib/libktls.so
./usr/lib/libktls.so.0
./usr/lib/libktls.so.0.1.0
./usr/lib/pkgconfig/libktls.pc
./usr/share/man/man1/ktls.1
./usr/share/man/man3/libktls.3
./usr/share/man/man7/ktls.7'

program() {
	cat >program.c <<-'END'
	#include <stdio.h>
	#include <linux/ktls.h>
	#include <ktls.h>

	int main(void)
	{
		const char *why = "";
		int can = ktls_available(&why) & KTLS_CAN_TLS12;

		printf("%d %s\n", can, why);
		return KTLS_INFO != 1;
	}
	END
}

flags() { pkg-config --define-variable=prefix="$to/usr" \
	--define-variable=libdir="$to/usr/lib" --define-variable=includedir="$to/usr/include" "$@" libktls; }

compile() {	# OUTPUT FLAG...: of program.c, as pkg-config says
	local output=$1
	shift
	# shellcheck disable=SC2046 # several words
	"${CC:-cc}" -Wall -Werror -o "$output" program.c $(flags "$@")
}

# What is built is not built again, though for another PREFIX.
cp -a "$build" build
ok 'make install' make_it install
ok 'for the PREFIX asked for' has '^prefix=/usr$' "$to/usr/lib/pkgconfig/libktls.pc"
ok 'each file is there' diff <(paths) <(echo "$wanted")
ok 'the command runs' "$to/usr/bin/ktls" version
program
ok 'a program with the shared library' compile shared --cflags --libs
ok 'needs that' eval "readelf -d shared | grep 'NEEDED.*libktls.so.0'"
ok 'and runs' env LD_LIBRARY_PATH="$to/usr/lib" ./shared
rm "$to"/usr/lib/libktls.so*
ok 'a program with the static library' compile static --static --cflags --libs
ok 'runs without the shared one' ./static
ok 'make install again' make_it install
ok 'make uninstall' make_it uninstall
ok 'nothing is left' diff <(paths) /dev/null
finish
