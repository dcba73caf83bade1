#!/usr/bin/env bash
# demo.sh [--duration 20s] [--users 2000] [--serve] [--no-crash] [--json] [--primary DSN [--replica DSN]...]
# runs a real site on sessions in PostgreSQL, drives it with real users, kills its primary half-way and checks
# every answer.
set -euo pipefail
cd "$(dirname "$0")/.."
given=
for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,4s/^# //p' "scripts/demo.sh" && exit 0 ;;
    -primary | --primary | -primary=* | --primary=*) given=1 ;;
  esac
done

# run COMMAND... runs it in the background because a shell handles no signal while it waits for a foreground
# command.
run() {
  local status
  "$@" &
  while :; do
    status=0
    wait $! || status=$?
    kill -0 $! 2>/dev/null || return "$status" # a signal ends a wait early, so wait for the command again
  done
}
stop() {
  local running
  running=$(jobs -p)
  [[ $running ]] || exit 130
  kill -TERM "$running" 2>/dev/null || true
}
trap stop INT TERM HUP

. scripts/lib/postgres.sh
ensure_go
[[ $given ]] || ensure_postgres

# `go run` does not pass SIGTERM on and would leave the site and its servers running, so build and run the
# program.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run env GOTMPDIR="$folder" go build -o "$folder/demo" ./scripts/demo
run "$folder/demo" "$@"
