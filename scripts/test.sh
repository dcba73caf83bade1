#!/usr/bin/env bash
# test.sh runs every test with the race detector against real servers and installs missing programs. It passes
# its arguments to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "scripts/test.sh" && exit 0 ;; esac
. scripts/lib/postgres.sh
ensure_go
ensure_race
ensure_postgres
for package in chromium:"no browser opens the demo's status page" \
	libfaketime:"no test shifts a server's clock" \
	postgresql-client:"no test runs the documents' lines for psql"; do
	if [[ ${SESSIONSQL_REQUIRE_PACKAGES:-} ]]; then
		ensure_package "${package%%:*}"
	elif ! "has_${package%%:*}"; then
		echo "test.sh: ${package%%:*} is missing, so ${package#*:}" >&2
	fi
done

# Each row is an example or a migration tool, and its packages. One line names those that are left out.
missing=
for user in \
	python:python3-psycopg:python3-psycopg-pool \
	javascript:nodejs:npm \
	php:php-cli:php-pgsql \
	ruby:ruby:ruby-pg:ruby-webrick \
	java:default-jdk-headless:libpostgresql-jdbc-java \
	psql:postgresql-client \
	Alembic:alembic:python3-psycopg2 \
	Django:python3-django:python3-psycopg2 \
	ActiveRecord:ruby-activerecord:ruby-pg \
	JDBC:default-jdk-headless:libpostgresql-jdbc-java \
	dbmate:npm node-pg-migrate:nodejs:npm Liquibase:npm:default-jdk-headless; do
	IFS=: read -ra packages <<<"$user"
	for package in "${packages[@]:1}"; do
		if [[ ${SESSIONSQL_REQUIRE_PACKAGES:-} ]]; then
			ensure_package "$package"
		elif ! "has_$package"; then
			missing+="${missing:+, }${packages[0]} (needs $package)"
			break
		fi
	done
done
[[ -z $missing ]] || echo "test.sh: these examples and migration tools are left out: $missing" >&2

# The library, each adapter and the test of the migration tools are modules. The verbs in scripts/ test the
# modules below scripts/.
# -count=1 bypasses the cache because a cached result says nothing about the servers of this machine.
failed=0
for file in go.mod adapters/*/go.mod internal/*/go.mod; do
	go -C "$(dirname "$file")" test -race -count=1 -timeout 20m "$@" ./... || failed=1
done
exit "$failed"
