# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the scripts of this folder share. To be sourced, with `here` naming this folder.

set -euo pipefail
export LC_ALL=C
# Variables given to the make that called this are not for those called here.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES

# shellcheck disable=SC2034,SC2154 # used by, set by whoever sources this
repo=$(cd "$here/../.." && pwd)
cache=${KTLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/af_ktls}

say() { echo "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# exclusively NAME CMD...: one at a time on this machine
exclusively() {
	local lock=$cache/lock.$1 fd
	shift
	mkdir -p "$cache"
	exec {fd}>"$lock"
	flock "$fd"
	"$@"
	exec {fd}>&-
}
