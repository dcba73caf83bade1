#!/usr/bin/env bash
# test.sh runs every test with the race detector against real servers and installs missing programs. It passes
# its arguments to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "scripts/test.sh" && exit 0 ;; esac
. scripts/lib/postgres.sh
. scripts/lib/tools.sh
ensure_go
ensure_race
ensure_postgres
export JAVA_TOOL_OPTIONS=-XX:-UsePerfData # otherwise each virtual machine leaves a folder in /tmp

# Each row is a group of tests and the packages that they need.
rows=(
	"pages in a browser:chromium"
	"shifted clocks:libfaketime"
	"lines for psql:postgresql-client"
	"a near cache behind PgBouncer:pgbouncer"
	"a router of shards:postgresql-15-plproxy"
	"make install of the extension:make:postgresql-client"
	"the login in Python:python3-psycopg:python3-psycopg-pool"
	"in JavaScript:nodejs:npm"
	"in PHP:php-cli:php-pgsql"
	"in Ruby:ruby:ruby-pg:ruby-webrick"
	"in Java:default-jdk-headless:libpostgresql-jdbc-java"
	"the store for Express:nodejs:npm"
	"the migration tools Alembic:alembic:python3-psycopg2"
	"Django:python3-django:python3-psycopg2"
	"ActiveRecord:ruby-activerecord:ruby-pg"
	"JDBC:default-jdk-headless:libpostgresql-jdbc-java"
	"dbmate:npm"
	"node-pg-migrate:nodejs:npm"
	"Liquibase:npm:default-jdk-headless"
)
needed=() left_out=
for row in "${rows[@]}"; do
	IFS=: read -r tests packages <<<"$row"
	missing=
	for package in ${packages//:/ }; do
		needed+=("$package")
		"has_$package" || missing+="${missing:+, }$package"
	done
	[[ -z $missing ]] || left_out+="${left_out:+, }$tests ($missing)"
done
if [[ ${SESSIONSQL_REQUIRE_PACKAGES:-} ]]; then
	ensure_tools pgbouncer # without its service, which ensure_packages would start
	ensure_packages "${needed[@]}"
elif [[ $left_out ]]; then
	echo "test.sh: these tests are left out, because they need packages: $left_out" >&2
fi

# The library, adapters, and the tests of migration tools and frameworks are modules. The verbs in scripts/ test the
# modules below scripts/.
# -count=1 bypasses the cache because a cached result says nothing about the servers of this machine.
failed=0
for file in go.mod adapters/*/go.mod internal/*/go.mod; do
	go -C "$(dirname "$file")" test -race -count=1 -timeout 40m "$@" ./... || failed=1
done
exit "$failed"
