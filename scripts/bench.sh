#!/usr/bin/env bash
# bench.sh [--quick] [--json] [--plots DIR] [scenario ...]
# measures sessions in PostgreSQL beside Redis, memcached and other session tables; -h lists every argument.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/lib/postgres.sh

# ensure_peers finds or installs the servers of Redis and memcached, or names the missing ones on stderr.
ensure_peers() {
	local program packages=()
	for program in redis-server memcached; do
		command -v "$program" >/dev/null || packages+=("$program") # each package has the name of its program
	done
	((${#packages[@]})) || return 0
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		{ apt-get -q update || true; } >&2
		export DEBIAN_FRONTEND=noninteractive
		apt-get -qy install --no-install-recommends "${packages[@]}" >&2 && return
	fi
	_missing "${packages[*]} missing: install the system's packages of these names (Debian: apt-get install)"
}

# A relative path starts at the folder of the caller.
arguments=()
needs_servers=1
while (($#)); do
	case $1 in
	-plots | --plots | -from | --from | -into | --into)
		[[ $1 == *from ]] && needs_servers=
		arguments+=("$1")
		if (($# > 1)); then
			shift
			[[ $1 == /* ]] && arguments+=("$1") || arguments+=("$OLDPWD/$1")
		fi
		;;
	-h | -help | --help)
		needs_servers=
		arguments+=("$1")
		;;
	*) arguments+=("$1") ;;
	esac
	shift
done

ensure_go
if [ "$needs_servers" ]; then
	[ "$(uname)" = Linux ] || _missing "the benchmark needs Linux because it reads /proc"
	ensure_postgres
	ensure_peers
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
go -C "$root/scripts/bench" build -ldflags='-s -w' -o "$folder/bench" .

# The program runs in the background because a shell handles no signal while it waits for a foreground
# program. The trap passes the signal on and the program stops its servers.
"$folder/bench" ${arguments[@]+"${arguments[@]}"} &
bench=$!
trap 'kill -TERM "$bench" 2>/dev/null || true' INT TERM HUP
status=0
while :; do
	wait "$bench" && status=0 || status=$?
	kill -0 "$bench" 2>/dev/null || break
done
exit "$status"
