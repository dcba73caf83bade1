# shellcheck shell=sh
# shellcheck disable=SC3013 # every shell that stands at /bin/sh knows -ef
#
# Makes the folder of a cluster, and ends the cluster when the process that started it is gone. $1: its folder, $2: the folder of the server programs.
# It runs as the user of the servers: without CAP_SYS_PTRACE, which containers withhold, not even root may look at
# another user's /proc/PID/exe. It needs no tools but those of the barest container.

folder=$1
programs=$2

# A service manager or container that stops signals everybody at once: outlive that, or nobody cleans up. PIPE is what
# "ready" gets when the process is gone already.
trap '' HUP INT TERM PIPE

# Made here, so that there is never a folder without its watchdog, and by the user that has to remove it.
mkdir -m 700 -- "$folder" || exit 1
echo ready

while read -r _; do :; done

# Prints the process ids of the cluster: server programs whose working directory is the cluster's. Ids written down
# earlier could meanwhile be somebody else's, and orphans of a killed postmaster are in no list.
processes() {
	if [ -d /proc/self ]; then
		for process in /proc/[0-9]*; do
			[ "$process/exe" -ef "$programs/postgres" ] || [ "$process/exe" -ef "$programs/initdb" ] || continue
			for place in "$folder" "$folder"/*/; do
				[ "$process/cwd" -ef "$place" ] && echo "${process#/proc/}"
			done
		done
	else
		# No /proc: the command line names the folder, and every title the cluster, which is named after its folder.
		ps -axo pid=,command= | awk -v folder="$folder" -v programs="$programs/" -v title="postgres: ${folder##*/}-" '
			{ pid = $1; sub(/^ *[0-9]+ +/, "") }
			index($0, title) == 1 || (index($0, programs) == 1 && index($0, folder)) { print pid }'
	fi
}

# Signals every process of the cluster but $2.
signal() {
	for id in $(processes); do
		[ "$id" = "${2-}" ] || kill -s "$1" "$id" 2>/dev/null
	done
}

# The server that initdb feeds its scripts would die of the signal with its shared memory left behind. It ends in good
# order when initdb does. Its lock file, of a moment when there is no other, has a minus before the process id.
fed=$(sed -n '1s/^-//p' "$folder"/*/postmaster.pid 2>/dev/null)

# An immediate shutdown lets a postmaster remove its shared memory. A stopped process gets the signal when it goes on.
signal QUIT "$fed"
signal CONT

# 5 s is what a postmaster grants its children, after which it kills them; only then is it our turn.
tries=0
while [ -n "$(processes)" ]; do
	tries=$((tries + 1))
	[ $tries -gt 160 ] && signal KILL
	if [ $tries -gt 400 ]; then
		echo "processes that do not die: $(processes)" >&2
		exit 1
	fi
	sleep 0.05
done

# A killed postmaster left its file, whose seventh line names the shared memory that it could not remove: key, id.
for file in "$folder"/*/postmaster.pid; do
	[ -f "$file" ] || continue
	ipcrm -m "$(sed -n '7s/.* //p' "$file")" 2>/dev/null
done

# A copy of a data folder that was under way may still be writing.
until rm -rf -- "$folder" 2>/dev/null && [ ! -e "$folder" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 400 ]; then
		echo "cannot remove $folder" >&2
		exit 1
	fi
	sleep 0.05
done
