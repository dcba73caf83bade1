#!/usr/bin/env bash
# engine.sh up|down
# finds or starts a Docker engine with a PostgreSQL image, or removes it: eval "$(scripts/engine.sh up)".

# `up` uses the engine that answers. If none answers, it installs the package of Debian or Ubuntu, which stays
# installed, and starts a dockerd that keeps its socket, data and log in one folder. It uses the image of
# SESSIONSQL_DOCKER_IMAGE and SESSIONSQL_DOCKER_TAG. If it cannot pull the image, it builds a stand-in from
# the distribution's packages with apt's mirror. A second `up` changes nothing. `down` removes the engine that
# `up` started and never another one.
#
# Stdout is for eval only; progress goes to stderr. The stand-in has no entrypoint, so dockertest_test.go
# starts both images with an explicit command as user postgres.
set -euo pipefail

state=${TMPDIR:-/tmp}
state=${state%/}/sessionsql-engine
socket=$state/docker.sock
standin=sessionsql/postgres-standin
outside=(/etc/docker/key.json /run/docker /run/containerd) # dockerd creates these outside of its own folders
# This expression matches each firewall rule that dockerd adds.
rule='docker|br-[0-9a-f]{12}|^-A POSTROUTING -s ([0-9.]+)/32 -d \1/32 .*-j MASQUERADE'

usage() { sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; }
say() { echo "engine.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# bounded SECONDS COMMAND... runs the command with a timeout. macOS has no timeout(1), so it runs without one
# there.
bounded() {
  if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

can_install() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }
answers() { command -v docker >/dev/null && bounded 10 docker info >/dev/null 2>&1; }
present() { docker image inspect "$1" >/dev/null 2>&1; }

# processes [NAME [TEXT]] prints the ids of the running dockerd, containerd and containerd-shim whose command
# line contains TEXT. The default is the path of the state folder.
processes() {
  local folder name
  for folder in /proc/[0-9]*; do
    { read -r name <"$folder/comm"; } 2>/dev/null || continue
    [[ $name == "${1:-$name}" && $name =~ ^(dockerd|containerd|containerd-shim)$ ]] || continue
    ! grep -qsF -e "${2-$state/}" "$folder/cmdline" || echo "${folder#/proc/}"
  done
}

list_bridges() {
  local folder
  for folder in /sys/class/net/*; do
    [[ ! ${folder##*/} =~ ^(docker0|br-[0-9a-f]{12})$ ]] || echo "${folder##*/}"
  done
}

# unmount FOLDER unmounts every file system at the folder or below, the deepest first.
unmount() {
  local target
  awk -v folder="$1" '$5 == folder || index($5, folder "/") == 1 { print $5 }' /proc/self/mountinfo |
    sort -r | while read -r target; do umount -n "$target" || umount -n -l "$target"; done
}

install_engine() {
  local packages=()
  command -v dockerd >/dev/null || packages+=(docker.io)
  command -v iptables >/dev/null || packages+=(iptables)
  command -v ip >/dev/null || packages+=(iproute2) # it removes dockerd's bridge in the end
  command -v pkill >/dev/null || packages+=(procps)
  ((${#packages[@]})) || return 0
  say "installing ${packages[*]}"
  install_packages "${packages[@]}"
  # Newer releases have a separate package for the client.
  command -v docker >/dev/null || install_packages docker-cli
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update >&2 || say "apt-get update failed; trying with the existing package lists"
  apt-get -q -y --no-install-recommends install "$@" >&2 || die "apt-get cannot install $*"
}

# remember records the state of the machine, so that down can find the links, rules and files that dockerd
# adds outside of the state folder.
remember() {
  mkdir "$state/before"
  cat /proc/sys/net/ipv4/ip_forward >"$state/before/ip_forward"
  ls /sys/class/net >"$state/before/links"
  local path tables
  for path in "${outside[@]}"; do
    [[ -e $path ]] && touch "$state/before/${path//\//-}"
  done
  for tables in iptables ip6tables; do
    "$tables-save" >"$state/before/$tables" 2>/dev/null || true
  done
}

start_engine() {
  # The longest socket below the folder must fit into the kernel's 107 bytes.
  ((${#state} <= 60)) || die "the path of TMPDIR is too long for unix sockets: $state"
  if [[ -e $state ]]; then
    [[ ! $(processes dockerd) ]] || die "the engine in $state does not answer: run engine.sh down first"
    say "removing $state, which an engine that was killed has left behind"
    down
  fi
  mkdir -m 711 "$state"
  started=1
  remember
  echo '{}' >"$state/daemon.json" # without it dockerd would read /etc/docker/daemon.json
  say "starting dockerd in $state"
  # dockerd must inherit no descriptor of this script, because the reader of its output and the next holder of
  # its lock would wait for dockerd.
  setsid nohup dockerd --config-file "$state/daemon.json" --host "unix://$socket" \
    --pidfile "$state/docker.pid" --data-root "$state/data" --exec-root "$state/exec" \
    </dev/null >"$state/dockerd.log" 2>&1 3>&- 9>&- &
  local pid=$! tries
  export DOCKER_HOST=unix://$socket
  for ((tries = 0; tries < 300; tries++)); do
    [[ -S $socket ]] && answers && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  die "dockerd does not start: $(grep -E 'level=(error|fatal)|failed' "$state/dockerd.log" | tail -n 1)"
}

# build_standin builds an image of a minimal system with this distribution's PostgreSQL and sets image and
# tag.
build_standin() {
  local codename mirror root
  can_install || die "cannot pull $image:$tag; building a stand-in needs root and apt-get"
  command -v debootstrap >/dev/null || {
    say "installing debootstrap"
    install_packages debootstrap
  }
  # shellcheck disable=SC1091
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mirror=$(apt-get indextargets --format "\$(RELEASE) \$(COMPONENT) \$(REPO_URI)" 'Created-By: Packages' |
    awk -v codename="$codename" '$1 == codename && $2 == "main" { print $3; exit }')
  [[ $mirror ]] || die "apt's sources have no mirror of the main component of ${codename:-this distribution}"
  eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
  export http_proxy=${http_proxy:-} https_proxy=${https_proxy:-}

  [[ -d $state ]] || { mkdir -m 711 "$state" && scratch=1; }
  root=$state/root
  say "building $standin from $mirror, $codename"
  debootstrap --variant=minbase --include=postgresql "$codename" "$root" "$mirror" \
    >"$state/debootstrap.log" 2>&1 || die "debootstrap fails: $(tail -n 1 "$state/debootstrap.log")"
  unmount "$root"
  tag=$(ls "$root/usr/lib/postgresql")
  image=$standin
  # The image needs neither the packages nor the cluster that they created.
  tar -C "$root" --exclude=./var/cache/apt --exclude=./var/lib/apt/lists \
    --exclude='./var/lib/postgresql/*' -c . | docker import - "$image:$tag" >/dev/null
  rm -rf --one-file-system "$root"
}

find_image() {
  image=${SESSIONSQL_DOCKER_IMAGE:-postgres}
  tag=${SESSIONSQL_DOCKER_TAG:-17}
  present "$image:$tag" && return
  local built
  built=$(docker image ls --format '{{.Tag}}' "$standin" | head -n 1)
  if [[ $built ]]; then
    image=$standin tag=$built
    return
  fi
  say "pulling $image:$tag"
  bounded 60 docker pull -q "$image:$tag" >/dev/null 2>&1 && return
  say "cannot pull $image:$tag"
  build_standin
}

up() {
  local image tag
  if ! answers && [[ -S $socket ]] && DOCKER_HOST=unix://$socket answers; then
    export DOCKER_HOST=unix://$socket
  fi
  if ! answers; then
    can_install || die "no Docker engine answers, and starting one needs root and apt-get"
    install_engine
    answers || start_engine # installing the package may have started an engine
  fi
  find_image
  say "engine and $image:$tag are ready"
  printf 'export %s=%q\n' >&3 \
    DOCKER_HOST "${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}" \
    SESSIONSQL_DOCKER_IMAGE "$image" SESSIONSQL_DOCKER_TAG "$tag"
}

# stop_engine stops dockerd, which stops its containers and containerd, and kills the processes that survive.
stop_engine() {
  local pid tries containers=()
  if [[ -S $socket ]] && DOCKER_HOST=unix://$socket answers; then
    export DOCKER_HOST=unix://$socket
    mapfile -t containers < <(docker ps -aq)
    ((${#containers[@]} == 0)) || bounded 60 docker rm -f -v "${containers[@]}" >/dev/null 2>&1 || true
    bounded 60 docker network prune -f >/dev/null 2>&1 || true # removes bridges and firewall rules
  fi
  for pid in $(processes dockerd); do kill "$pid" 2>/dev/null || true; done
  for ((tries = 0; tries < 150; tries++)); do
    [[ $(processes dockerd) ]] || break
    sleep 0.2
  done
  # A child of containerd-shim is the first process of a container, and the container ends with it.
  for pid in $(processes containerd-shim); do
    pkill -KILL -P "$pid" || true
  done
  for pid in $(processes); do kill -KILL "$pid" 2>/dev/null || true; done
  while [[ $(processes) ]]; do sleep 0.1; done
}

# forget removes the bridges, the firewall rules and the files that dockerd made outside of the state folder.
forget() {
  local before=$state/before link path tables
  [[ -d $before ]] || return 0
  [[ ! $(processes '' '') ]] || return 0 # another engine has started and uses them
  for link in $(list_bridges | grep -vxFf "$before/links"); do ip link delete "$link" || true; done
  for tables in iptables ip6tables; do
    grep -qiE -e "$rule" "$before/$tables" 2>/dev/null && continue
    "$tables-save" 2>/dev/null | grep -qiE -e "$rule" || continue
    # Docker sets FORWARD to DROP if it turns forwarding on.
    "$tables-save" | grep -viE -e "$rule" |
      if grep -q '^:FORWARD DROP' "$before/$tables"; then cat
      else sed 's/^:FORWARD DROP/:FORWARD ACCEPT/'
      fi |
      "$tables-restore" || say "cannot remove docker's rules with $tables-restore"
  done
  cat "$before/ip_forward" >/proc/sys/net/ipv4/ip_forward
  for path in "${outside[@]}"; do
    [[ -e $before/${path//\//-} ]] || rm -rf --one-file-system "$path"
  done
}

down() {
  [[ -d $state ]] || { say "nothing to stop: $state does not exist"; return; }
  stop_engine
  unmount "$state"
  forget
  rm -rf --one-file-system "$state"
}

# finish stops an engine that this run started if the run fails, because the engine is useless without an
# image.
started='' scratch=''
finish() {
  local status=$?
  if [[ $scratch || ($started && $status != 0) ]]; then
    down || true
  fi
  return "$status"
}

case ${1:-} in
  -h | --help) usage; exit ;;
  up | down) (($# == 1)) || { usage >&2; exit 1; } ;;
  *) usage >&2; exit 1 ;;
esac
if [[ -e $state || -L $state ]]; then
  [[ -d $state && ! -L $state && -O $state ]] || die "$state exists but is not a folder of $(id -un)"
fi
exec 3>&1 1>&2
trap finish EXIT
trap 'exit 1' INT TERM HUP
if command -v flock >/dev/null; then # allow one run at a time
  exec 9<"${BASH_SOURCE[0]}"
  flock 9
fi
"$1"
