# shellcheck shell=bash
#
# This file finds tools that would run as services. A script sources it after postgres.sh.

# ensure_tools PACKAGE... finds the programs of these packages of the system or installs them: pgbouncer,
# haproxy, patroni and etcd-server. If one is still missing, it prints one line to stderr and returns 1.
ensure_tools() {
	local packages missing
	missing=$(_tools_missing "$@")
	[ -n "$missing" ] || return 0
	if _as_root true && command -v apt-get >/dev/null; then
		# shellcheck disable=SC2086 # each word is a package
		_tools_install $missing
		packages=$missing
		missing=$(_tools_missing "$@")
		[ -n "$missing" ] || return 0
		_missing "this mode needs ${missing//$'\n'/, }, but apt-get cannot install ${packages//$'\n'/, }"
		return
	fi
	_missing "this mode needs ${missing//$'\n'/, }: install these packages (the names are Debian's)"
}

# _tools_missing PACKAGE... prints the missing packages, one on each line.
_tools_missing() {
	local package program
	for package in "$@"; do
		case $package in
		patroni) program=patronictl ;;
		etcd-server) program=etcd ;;
		*) program=$package ;;
		esac
		PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || echo "$package"
	done
}

# _tools_install keeps Debian from starting the services that it installs, now and at boot.
_tools_install() (
	echo "installing $* from the system's packages"
	exec </dev/null >/dev/null 2>&1
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap '_as_root rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' | _as_root tee "$policy"
		_as_root chmod +x "$policy"
	fi
	_apt_install "$@" || true # the caller looks for the tools again
	for package in "$@"; do
		_as_root systemctl disable "${package%-server}" || true
	done
)
