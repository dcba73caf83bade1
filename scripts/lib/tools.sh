# shellcheck shell=bash
#
# The real tools of faults.sh --full. To be sourced after postgres.sh.

# Finds PgBouncer, Patroni with etcd, and HAProxy, else installs the system's packages, else says in one line
# what is missing and returns 1.
ensure_tools() {
	local packages missing
	missing=$(_tools_missing)
	[ -n "$missing" ] || return 0
	if _as_root true && command -v apt-get >/dev/null; then
		# shellcheck disable=SC2086 # one package a word
		_tools_install $missing
		packages=$missing
		missing=$(_tools_missing)
		[ -n "$missing" ] || return 0
		_missing "--full needs ${missing//$'\n'/, }, which apt-get install ${packages//$'\n'/ } does not provide"
		return
	fi
	_missing "--full needs ${missing//$'\n'/, }: install these packages (the names are Debian's)"
}

# Prints the packages that are missing, one a line.
_tools_missing() {
	[ -x /usr/sbin/pgbouncer ] || echo pgbouncer
	[ -x /usr/sbin/haproxy ] || echo haproxy
	[ -x /usr/bin/patronictl ] || echo patroni
	command -v etcd >/dev/null || echo etcd-server
}

# Debian starts each service that it installs, now and with the machine, unless told not to.
_tools_install() (
	echo "installing $* from the system's packages"
	exec </dev/null >/dev/null 2>&1
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap '_as_root rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' | _as_root tee "$policy"
		_as_root chmod +x "$policy"
	fi
	_apt_install "$@" || true # the caller looks at what is there now
	for package in "$@"; do
		_as_root systemctl disable "${package%-server}" || true
	done
)
