#!/usr/bin/env bash
# test.sh runs every test with the race detector against real servers and installs missing programs. It passes
# its arguments to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "$0" && exit 0 ;; esac
. scripts/lib/postgres.sh
ensure_go
ensure_race
ensure_postgres
for package in chromium:"no browser opens the demo's status page" \
	libfaketime:"no test shifts a server's clock"; do
	if [[ ${SESSIONSQL_REQUIRE_PACKAGES:-} ]]; then
		ensure_package "${package%%:*}"
	elif ! "has_${package%%:*}"; then
		echo "test.sh: ${package%%:*} is missing, so ${package#*:}" >&2
	fi
done

# The examples with the packages of each; those that are left out are said in one line.
missing=
for example in \
	python:python3-psycopg:python3-psycopg-pool \
	javascript:nodejs:npm \
	php:php-cli:php-pgsql \
	ruby:ruby:ruby-pg:ruby-webrick \
	java:default-jdk-headless:libpostgresql-jdbc-java; do
	IFS=: read -ra packages <<<"$example"
	for package in "${packages[@]:1}"; do
		if [[ ${SESSIONSQL_REQUIRE_PACKAGES:-} ]]; then
			ensure_package "$package"
		elif ! "has_$package"; then
			missing+="${missing:+, }${packages[0]} (needs $package)"
			break
		fi
	done
done
[[ -z $missing ]] || echo "test.sh: these examples are left out: $missing" >&2

# The library and each adapter are modules. The verbs in scripts/ test the modules below scripts/.
# -count=1 bypasses the cache because a cached result says nothing about the servers of this machine.
failed=0
for file in go.mod adapters/*/go.mod; do
	go -C "$(dirname "$file")" test -race -count=1 -timeout 20m "$@" ./... || failed=1
done
exit "$failed"
