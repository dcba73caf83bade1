#!/usr/bin/env bash
# Packages sql/ as an extension, for PGXN and for pg_tle, into the folder dist/ or the one that is named.
set -euo pipefail
case "${1:-}" in
-h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;;
[!/]*) set -- "$PWD/$1" ;;
esac
cd "$(dirname "$0")/.."
. scripts/lib/postgres.sh
ensure_go
go run ./scripts/dist "${1:-dist}"
