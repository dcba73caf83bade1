#!/usr/bin/env bash
# Checks what tests do not: generated code, formatting, linters, dependencies, scripts; changes nothing.
# shellcheck disable=SC2317 # the checks are called by name
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "scripts/check.sh" && exit 0 ;; esac
. scripts/lib/postgres.sh
ensure_go

failed=0
check() {
  local output
  if output=$("${@:2}" 2>&1); then
    echo "ok    $1"
  else
    failed=1
    printf 'FAIL  %s\n%s\n' "$1" "$output"
  fi
}

# quiet COMMAND...: for commands that report by printing and exit 0 all the same.
quiet() {
  local output
  if ! output=$("$@") || [[ -n $output ]]; then
    echo "$output"
    return 1
  fi
}

modules() { git ls-files -co --exclude-standard -- '*go.mod' | xargs -n1 dirname; }
each() { local module; for module in $1; do (cd "$module" && "${@:2}") || { echo "in $module"; return 1; }; done; }
in_modules() { each "$(modules)" "$@"; }
in_code() { each "$(modules | grep -v '^scripts/tools$')" "$@"; } # tools names programs, and has no code of its own
tool() { go tool -modfile=scripts/tools/go.mod "$@"; }
formatted() {
  local files
  mapfile -t files < <(git ls-files -co --exclude-standard -- '*.go' ':!db/')
  quiet tool gofumpt -l "${files[@]}"
}

linted() {
  local files
  mapfile -t files < <(git ls-files -co --exclude-standard -- '*.sh' .ci/run)
  shellcheck -x "${files[@]}"
}

# Generates into a copy, so that neither an interruption nor what else uses the tree meets half of it.
generated() {
  local copy status=0
  copy=$(mktemp -d)
  # shellcheck disable=SC2064 # the name is local
  trap "rm -rf '$copy'" EXIT
  cp -R go.mod go.sum sqlc.yaml scripts sql db "$copy" || return
  "$copy/scripts/generate.sh" || return
  diff -r db "$copy/db" || status=1
  diff -r sql "$copy/sql" || status=1
  [[ $status = 0 ]] || echo "db/, sql/dist/ or sql/begin.sql is not what sql/ generates: run scripts/generate.sh and commit"
  return "$status"
}

# One version of each module in all go.mod files that name it directly: what is measured is what is shipped.
versions() {
  local twice
  twice=$(for module in $(modules); do
    awk '/^require \(/ {block = 1; next} block && /^\)/ {block = 0}
      (block || $1 == "require") && !/indirect/ {sub(/^require /, ""); print $1, $2}' "$module/go.mod"
  done | sort -u | awk '{print $1}' | uniq -d)
  [[ -z $twice ]] || { echo "more than one version of: $twice"; return 1; }
}

# The bundle's version is written in sql/functions/version.sql alone. The changelog repeats it as its newest
# release, and generate.sh copies it into one line of sql/begin.sql. Migrations and the bundles of testdata may
# name any version.
version() {
  local version literal stray
  version=$(sed -n "s/.*SELECT '\([0-9.]*\)'.*/\1/p" sql/functions/version.sql)
  grep -q "^## $version" CHANGELOG.md || { echo "CHANGELOG.md has no entry for $version"; return 1; }
  literal="['\"]${version//./\\.}['\"]"
  stray=$(git ls-files -co --exclude-standard -- '*.go' '*.sql' ':!sql/migrations' ':!sql/dist' ':!*/testdata/*' |
    xargs grep -n "$literal" |
    grep -Ev '^sql/(functions/version\.sql|begin\.sql:[0-9]+:  wanted CONSTANT pg_catalog\.text := )' || true)
  [[ -z $stray ]] || { echo "$stray"; return 1; }
}

# What a user of the library links: the standard library, pgx, and nothing of the scripts or of another driver.
links() {
  local alien
  alien=$(go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./sessionsql |
    grep -vE '^github.com/(sessionsql/postgres/(db|sql|sessionsql|internal/(coalesce|near|pgtext))|jackc/(pgx/v5|pgpassfile|pgservicefile|puddle/v2))|^golang.org/x/(text|sync)' || true)
  [[ -z $alien ]] || { echo "sessionsql links $alien"; return 1; }
}

# Form of the SQL: 110 columns, no tab, no space at the end of a line, each limit in its own function alone.
sql_form() {
  local files status=0 limit number
  mapfile -t files < <(git ls-files -co --exclude-standard -- '*.sql' ':!sql/dist' ':!*/testdata/*')
  quiet awk '
    length > 110 { print FILENAME ":" FNR ": " length " columns" }
    /\t/ { print FILENAME ":" FNR ": a tab" }
    /[[:space:]]$/ { print FILENAME ":" FNR ": a space at the end of the line" }
  ' "${files[@]}" || status=1
  for limit in sql/functions/max_*.sql; do
    number=$(sed -n 's/^  SELECT \([0-9]*\).*/\1/p' "$limit")
    [[ $number ]] || { echo "$limit selects no number"; return 1; }
    # "SHA-256" is a name and no limit.
    if grep -nE "(^|[^[:alnum:]_.-])$number([^[:alnum:]_]|\$)" "${files[@]}" | grep -v "^$limit:"; then
      echo "$number stands in $limit: call that function, or name it"
      status=1
    fi
  done
  return "$status"
}

# Prints the folder of a server that has the extension plpgsql_check, which only packages of a system bring.
plpgsql_check_server() {
  local dir share
  while read -r dir; do
    if _pg_major "$dir" >/dev/null && share=$("$dir/pg_config" --sharedir 2>/dev/null) &&
      [[ -f $share/extension/plpgsql_check.control ]]; then
      echo "$dir"
      return
    fi
  done < <(_pg_candidates)
  return 1
}

ensure_plpgsql_check() {
  local major
  plpgsql_check_server >/dev/null && return
  # The extension's package would bring a server too, and start it.
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || _pg_install_package >/dev/null || true
  for major in 18 17 16 15; do
    [[ -x /usr/lib/postgresql/$major/bin/postgres ]] || continue
    _apt_install "postgresql-$major-plpgsql-check" </dev/null >/dev/null 2>&1 || true
    plpgsql_check_server >/dev/null && return
  done
  _missing "plpgsql_check is missing: install it for a server of the system (Debian: postgresql-15-plpgsql-check)"
}

plpgsql() {
  ensure_plpgsql_check || return
  env -u SESSIONSQL_PG_MAJOR SESSIONSQL_PG_BIN="$(plpgsql_check_server)" go run ./scripts/lint
}

ensure_shellcheck() {
  command -v shellcheck >/dev/null || _apt_install shellcheck >/dev/null 2>&1 ||
    _missing "shellcheck is missing: install it (Debian: shellcheck)"
}

check "generated code is current" generated
check "go vet" in_code go vet ./...
check "staticcheck" in_code "$(tool -n staticcheck)" ./...
check "formatting" formatted
check "go.mod files are tidy" in_modules go mod tidy -diff
check "one version of each dependency" versions
check "one place for the bundle's version" version
check "what users link" links
check "SQL: form" sql_form
check "SQL: plpgsql_check" plpgsql
ensure_shellcheck
check "shellcheck" linted
exit "$failed"
