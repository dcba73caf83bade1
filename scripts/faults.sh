#!/usr/bin/env bash
# faults.sh [--full] [--seed N] [--json] [--planted | --no-planted] [--kinds 'NAME;...'] [--times N]
#   [--groups N] [--plan] [--log]
# injects faults into servers, checks every answer with a model and finds six planted bugs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/lib/postgres.sh
. scripts/lib/tools.sh

planted=1 faults=1 full=
arguments=()
for argument in "$@"; do
	case $argument in
	-h | -help | --help) sed -n '2,4s/^# //p' "scripts/faults.sh" && exit 0 ;;
	-planted | --planted) faults= ;;
	-no-planted | --no-planted) planted= ;;
	-plan | --plan)
		planted=
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
[[ -z $full ]] || ensure_tools
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

# find_planted runs the program on healthy servers: once with each planted bug and once without one.
find_planted() {
	local bug status program bugs=(none update revoke lookup rotate insert entry)
	# The tests of the model accept the possible histories and refuse the impossible ones.
	go -C "$root/scripts/faults" test . &
	finish $! || wrong=1
	build planted -tags planted
	# One after the other, because beside others a program makes too few calls for its bug to show.
	for bug in "${bugs[@]}"; do
		program=("$folder/planted" --bug "$bug")
		[[ $bug != none ]] || program=("$folder/faults")
		status=0
		"${program[@]}" --calm 5s >"$folder/$bug.log" 2>&1 &
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
	echo "planted_found = $found"
}

found=0 wrong=
build faults
if [[ $planted ]]; then
	find_planted
fi
status=0
if [[ $faults ]]; then
	"$folder/faults" --planted-found "$found" ${arguments[@]+"${arguments[@]}"} &
	finish $! || status=$?
fi
[[ -z $wrong ]] || status=1
exit "$status"
