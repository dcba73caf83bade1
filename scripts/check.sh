#!/usr/bin/env bash
# Checks what tests do not: generated code, formatting, linters, dependencies, scripts; changes nothing.
# shellcheck disable=SC2317 # the checks are called by name
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "$0" && exit 0 ;; esac
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

generated() {
  local before
  before=$(mktemp -d)
  cp -R db/. "$before"
  ./scripts/generate.sh
  if ! diff -r "$before" db; then
    rm -r db && mkdir db && cp -R "$before"/. db && rm -r "$before"
    echo "db/ is not what sql/ generates: run scripts/generate.sh and commit both"
    return 1
  fi
  rm -r "$before"
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

# The bundle's version is written in sql/functions/version.sql alone; the changelog repeats it as its newest release.
version() {
  local version
  version=$(sed -n "s/.*SELECT '\([0-9.]*\)'.*/\1/p" sql/functions/version.sql)
  grep -q "^## $version" CHANGELOG.md || { echo "CHANGELOG.md has no entry for $version"; return 1; }
  ! grep -rn "['\"]${version}['\"]" --include='*.go' --include='*.sql' . | grep -v '^./sql/functions/version.sql:'
}

# What a user of the library links: the standard library, pgx, and nothing of the scripts or of another driver.
links() {
  local alien
  alien=$(go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./sessionsql |
    grep -vE '^github.com/(sessionsql/postgres/(db|sql|sessionsql|internal/pgtext)|jackc/(pgx/v5|pgpassfile|pgservicefile|puddle/v2))|^golang.org/x/(text|sync)' || true)
  [[ -z $alien ]] || { echo "sessionsql links $alien"; return 1; }
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
ensure_shellcheck
check "shellcheck" linted
exit "$failed"
