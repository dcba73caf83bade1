# shellcheck shell=sh
# shellcheck disable=SC3013 # every shell that serves as /bin/sh knows -ef
#
# Makes the folder of a cluster, and ends the cluster when the process that started it is gone.
# $1 is the folder of the cluster, $2 the folder of the server programs.
#
# It runs as the user of the servers, because without CAP_SYS_PTRACE, which containers withhold, not even root
# may read another user's /proc/PID/exe. It needs only the tools of the smallest container.

folder=$1
programs=$2

# A service manager or container that stops signals every process at once. The watchdog ignores that, so that
# it can clean up. PIPE comes when the process has ended before it reads "ready".
trap '' HUP INT TERM PIPE

# The watchdog makes the folder, so that no folder exists without a watchdog that may remove it.
mkdir -m 700 -- "$folder" || exit 1
echo ready

while read -r _; do :; done

# Prints the ids of the cluster's processes, which are the server programs whose working directory is the
# cluster's. A list of ids would not do, because ids are reused, and because no list holds the orphans of a
# killed postmaster.
processes() {
	if [ -d /proc/self ]; then
		for process in /proc/[0-9]*; do
			[ "$process/exe" -ef "$programs/postgres" ] ||
				[ "$process/exe" -ef "$programs/initdb" ] || continue
			for place in "$folder" "$folder"/*/; do
				[ "$process/cwd" -ef "$place" ] && echo "${process#/proc/}"
			done
		done
	else
		# Without /proc, the command line names the folder, or the title names the cluster, which is named
		# after its folder.
		title="postgres: ${folder##*/}-"
		ps -axo pid=,command= | awk -v folder="$folder" -v programs="$programs/" -v title="$title" '
			{ pid = $1; sub(/^ *[0-9]+ +/, "") }
			index($0, title) == 1 || (index($0, programs) == 1 && index($0, folder)) { print pid }'
	fi
}

# Sends the signal $1 to every process of the cluster except the process $2.
signal() {
	for id in $(processes); do
		[ "$id" = "${2-}" ] || kill -s "$1" "$id" 2>/dev/null
	done
}

# initdb runs a server of its own. A signal would end it with its shared memory left behind, but it ends in
# good order when initdb ends. Its lock file has a minus before the process id.
of_initdb=$(sed -n '1s/^-//p' "$folder"/*/postmaster.pid 2>/dev/null)

# QUIT lets a postmaster remove its shared memory. CONT lets a stopped process receive the QUIT.
signal QUIT "$of_initdb"
signal CONT

# A postmaster kills its children after 5 s. The watchdog kills the processes that are left after 8 s.
tries=0
while [ -n "$(processes)" ]; do
	tries=$((tries + 1))
	[ $tries -gt 160 ] && signal KILL
	if [ $tries -gt 400 ]; then
		echo "these processes do not end: $(processes)" >&2
		exit 1
	fi
	sleep 0.05
done

# A killed postmaster leaves its lock file. The seventh line ends with the id of the shared memory that it
# left behind.
for file in "$folder"/*/postmaster.pid; do
	[ -f "$file" ] || continue
	ipcrm -m "$(sed -n '7s/.* //p' "$file")" 2>/dev/null
done

# A copy of a data folder may still be under way, so removing is tried again.
until rm -rf -- "$folder" 2>/dev/null && [ ! -e "$folder" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 400 ]; then
		echo "cannot remove $folder" >&2
		exit 1
	fi
	sleep 0.05
done
