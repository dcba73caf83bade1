#!/usr/bin/env bash
# Rewrites db/ from sql/ with the pinned sqlc; needs Go and no database.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;; esac
. scripts/lib/postgres.sh
ensure_go

# sqlc leaves files of queries that are gone, so db/ is emptied first; but only once the tool is known to run.
CGO_ENABLED=0 go -C scripts/tools tool sqlc version >/dev/null
rm -f db/*.go db/native/*.go
CGO_ENABLED=0 go tool -modfile=scripts/tools/go.mod sqlc generate
