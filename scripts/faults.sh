#!/usr/bin/env bash
# faults.sh [--full | --near [--revokes N]] [--seed N] [--json] [--planted | --no-planted]
#   [--kinds 'NAME;...'] [--times N] [--groups N] [--plan] [--log]
# injects faults into servers, checks every answer with a model and finds six planted bugs. --near ends 10,000
# sessions under each fault, while programs with near caches look them up.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/lib/postgres.sh
. scripts/lib/tools.sh

planted=1 faults=1 full='' near=
arguments=()
for argument in "$@"; do
	case $argument in
	-h | -help | --help) sed -n '2,5s/^# //p' "scripts/faults.sh" && exit 0 ;;
	-planted | --planted) faults= ;;
	-no-planted | --no-planted) planted= ;;
	-plan | --plan)
		planted=
		arguments+=("$argument")
		;;
	-near | --near)
		near=1
		arguments+=("$argument")
		;;
	-full | --full)
		full=1
		arguments+=("$argument")
		;;
	*) arguments+=("$argument") ;;
	esac
done

ensure_go
ensure_postgres
[[ -z $full ]] || ensure_tools pgbouncer haproxy patroni etcd-server
[[ -z $near ]] || ensure_tools pgbouncer
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Commands run in the background because a shell handles no signal while it waits for a foreground command.
# shellcheck disable=SC2317 # called by the trap
stop() {
	local running
	running=$(jobs -p)
	# shellcheck disable=SC2086 # each word is a process id
	[[ -z $running ]] || kill -TERM $running 2>/dev/null || true
	interrupted=1
}
interrupted=
trap stop INT TERM HUP

# finish PID waits for a job and returns its status. A signal ends a wait early, so finish waits again until
# the job has ended. After a signal the script starts no further job.
finish() {
	local status
	while :; do
		status=0
		wait "$1" || status=$?
		kill -0 "$1" 2>/dev/null || break
	done
	if [[ $interrupted ]]; then
		wait || true
		exit 130
	fi
	return "$status"
}

# build NAME [FLAG...] builds the program with these flags of go build.
build() {
	go -C "$root/scripts/faults" build "${@:2}" -ldflags='-s -w' -o "$folder/$1" . &
	finish $!
}

# build_patched NAME FOLDER [FLAG...] builds the program with patches/NAME.patch to files below a folder, and
# leaves the folder as it is.
build_patched() {
	local patch=$root/scripts/faults/patches/$1.patch copy=$folder/$1.files replace='' file
	while read -r file; do
		mkdir -p "$copy/${file%/*}"
		cp "$2/$file" "$copy/$file"
		replace+=",\"$2/$file\": \"$copy/$file\""
	done < <(sed -n 's|^+++ b/||p' "$patch")
	(cd "$copy" && git apply -C1 "$patch")
	echo "{\"Replace\": {${replace#,}}}" >"$copy.json"
	build "$1" -overlay "$copy.json" "${@:3}"
}

# The bugs in the near cache, each with a fault that shows it and enough revokes.
declare -A near_bugs=(
	[no-epoch]='kill 500'
	[number-order]='open 500'
	[no-placeholder]='slow 6000'
	[late-lease]='late 500'
	[previous-secret]='load 500'
	[no-mark]='replica 500'
)

# run_planted BUG becomes the program that should find the bug.
run_planted() {
	case $1 in
	none) exec "$folder/faults" --calm 5s ;;
	*-*) exec "$folder/$1" --near --kinds "${near_bugs[$1]% *}" --revokes "${near_bugs[$1]#* }" ;;
	*) exec "$folder/planted" --calm 5s --bug "$1" ;;
	esac
}

# find_planted BUG... runs these one after the other, because beside others a program makes too few calls for
# its bug to show. The program should find each bug, and nothing without one.
find_planted() {
	local bug status
	for bug in "$@"; do
		status=0
		run_planted "$bug" >"$folder/$bug.log" 2>&1 &
		finish $! || status=$?
		case $bug/$status in
		none/0) echo "no planted bug: $(tail -n 1 "$folder/none.log")" ;;
		none/*)
			echo "no planted bug, and yet (status $status):"
			cat "$folder/none.log"
			wrong=1
			;;
		*/1)
			found=$((found + 1))
			echo "planted bug in $bug: found: $(tail -n 1 "$folder/$bug.log")"
			;;
		*)
			echo "planted bug in $bug: NOT FOUND (status $status)"
			tail -n 3 "$folder/$bug.log"
			wrong=1
			;;
		esac
	done
}

found=0 wrong=
if [[ $near ]]; then
	build_patched clock "$(go env GOROOT)/src" -tags steps
	mv "$folder/clock" "$folder/faults"
else
	build faults
fi
if [[ $planted ]]; then
	# The tests of the model accept the possible histories and refuse the impossible ones.
	go -C "$root/scripts/faults" test . &
	finish $! || wrong=1
	if [[ $near ]]; then
		for bug in "${!near_bugs[@]}"; do
			build_patched "$bug" "$root"
		done
		find_planted "${!near_bugs[@]}"
	else
		build planted -tags planted
		find_planted none update revoke lookup rotate insert entry
	fi
	echo "planted_found = $found"
fi
status=0
if [[ $faults ]]; then
	"$folder/faults" --planted-found "$found" ${arguments[@]+"${arguments[@]}"} &
	finish $! || status=$?
fi
[[ -z $wrong ]] || status=1
exit "$status"
