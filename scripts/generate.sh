#!/usr/bin/env bash
# Rewrites what is generated, db/, sql/dist/ and the version in sql/begin.sql, from sql/; needs Go and no database.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "scripts/generate.sh" && exit 0 ;; esac
. scripts/lib/postgres.sh
ensure_go

version=$(sed -n "s/^  SELECT '\([0-9.]*\)'::text;$/\1/p" sql/functions/version.sql)
sed -i.before "s/wanted CONSTANT pg_catalog.text := '.*';/wanted CONSTANT pg_catalog.text := '$version';/" sql/begin.sql
rm sql/begin.sql.before # which is for sed of other systems

# sqlc leaves files of queries that are gone, so db/ is emptied first; but only once the tool is known to run.
CGO_ENABLED=0 go -C scripts/tools tool sqlc version >/dev/null
rm -f db/*.go db/native/*.go
CGO_ENABLED=0 go tool -modfile=scripts/tools/go.mod sqlc generate

go run ./scripts/dist -file sql/dist/sessionsql.sql
