#!/usr/bin/env bash
# demo.sh [--duration 20s] [--users 2000] [--serve] [--no-crash] [--json] [--primary DSN [--replica DSN]...]: runs a real site on sessions in PostgreSQL, drives it with real users, kills its primary half-way, checks every answer
set -euo pipefail
cd "$(dirname "$0")/.."
given=
for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;;
    -primary | --primary | -primary=* | --primary=*) given=1 ;;
  esac
done

# run COMMAND...: in the background, because a shell that waits in the foreground sits signals out.
run() {
  local status
  "$@" &
  while :; do
    status=0
    wait $! || status=$?
    kill -0 $! 2>/dev/null || return "$status" # a signal ends a wait early; what counts is how the command ends
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

# Not `go run`: it dies of SIGTERM without passing it on, and would leave the site and its servers running.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run env GOTMPDIR="$folder" go build -o "$folder/demo" ./scripts/demo
run "$folder/demo" "$@"
