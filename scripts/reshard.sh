#!/usr/bin/env bash
# reshard.sh N --shard DSN (2N times, in the order of their numbers) --router DSN (each router)
# divides each of N shards into two, while they are in use; see docs/shards.md. Run it again after a failure.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "$0" && exit 0 ;; esac
cd "$(dirname "$0")/.."
. scripts/lib/postgres.sh
ensure_go
exec go run ./scripts/reshard "$@"
