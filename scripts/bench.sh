#!/usr/bin/env bash
# Measures sessions in PostgreSQL beside Redis, memcached and what people use instead: bench.sh [--quick] [--json] [--plots DIR] [scenario ...]; -h lists all.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/lib/postgres.sh

# Finds the peers' servers, else installs them, else says in one line what is missing.
ensure_peers() {
	local program packages=()
	for program in redis-server memcached; do
		command -v "$program" >/dev/null || packages+=("$program") # the packages are named alike
	done
	((${#packages[@]})) || return 0
	# The packages start their servers at once where there is a service manager; the run starts its own.
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		{ apt-get -q update || true; } >&2
		DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${packages[@]}" >&2 && return
	fi
	echo "bench.sh: ${packages[*]} missing: install the system's packages of these names (Debian: apt-get install ${packages[*]})" >&2
	return 1
}

# Paths are the caller's, who may stand elsewhere.
arguments=()
needs_servers=1
while (($#)); do
	case $1 in
	-plots | --plots | -from | --from)
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
	[ "$(uname)" = Linux ] || { echo "bench.sh: needs Linux, whose /proc tells what a server's processes use" >&2; exit 1; }
	ensure_postgres
	ensure_peers
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
go -C "$root/scripts/bench" build -ldflags='-s -w' -o "$folder/bench" .

# In the background, so that a signal sent to this script alone reaches the program too, which then takes everything down.
"$folder/bench" ${arguments[@]+"${arguments[@]}"} &
bench=$!
trap 'kill -TERM "$bench" 2>/dev/null || true' INT TERM HUP
status=0
while :; do
	wait "$bench" && status=0 || status=$?
	kill -0 "$bench" 2>/dev/null || break
done
exit "$status"
