# shellcheck shell=bash disable=SC2034,SC2154
# Build what the cluster is made of. Each piece is a folder $PIECES/NAME-KEY that appears only when it
# is complete, and KEY is a hash of what it is made from: a change rebuilds that piece alone.

# Unpacked, never installed: no maintainer script runs, no service starts, the system stays as it is.
TOOLS=(containerd runc containernetworking-plugins iptables libip4tc2 libip6tc2 libxtables12
  libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libmnl0 libseccomp2)
BASE=(bash coreutils findutils grep sed mawk tar gzip diffutils hostname procps util-linux
  ca-certificates curl openssl rsync python3 base-files libc-bin)
# What Debian's own image holds of use to a script; images/base/packages.txt comes on top.
SLIM=(bash coreutils dash findutils grep sed mawk tar gzip diffutils hostname util-linux base-files libc-bin)
PACKAGES=$REPOSITORY/images/base/packages.txt
GLOBUS=$REPOSITORY/images/globus-cli/requirements.txt
# Servers for the host; rsync and the programs of ssh stand beside sshd.
UNPACKED=(openssh-server openssh-sftp-server openssh-client rsync nginx)
HELMS=(v3.20.2 v4.1.4)  # the last ones that Go 1.25 builds; both of one Kubernetes client
GO_ENVIRONMENT=(CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-trimpath GOWORK=off)

# piece NAME KEY FUNCTION…: have the folder of this piece, from the cache or by running FUNCTION in an
# empty folder that takes its place at the end. The path is then in $piece.
piece() {
  local name=$1-$2 started=$SECONDS
  shift 2
  piece=$PIECES/$name
  if [ -d "$piece" ]; then touch "$piece"; return; fi
  mkdir -p "$PIECES"
  rm -rf "$PIECES"/.*".$name"
  local making=$PIECES/.$$.$name
  if [ -n "${DTP_BUILD_CACHE:-}" ] && [ -d "$DTP_BUILD_CACHE/$name" ]; then
    say "$name: copied from DTP_BUILD_CACHE"
    cp -a "$DTP_BUILD_CACHE/$name" "$making"
  else
    say "$name: building"
    mkdir "$making"
    ( cd "$making" && "$@" ) >&2 || { rm -rf "$making"; die 1 "$name could not be built; the reason stands above"; }
    say "$name: built in $((SECONDS - started)) s"
  fi
  mv "$making" "$piece"
}

build_all() {
  need_programs
  piece tools "$(key "${TOOLS[@]}" "$(declare -f build_tools)")" build_tools; tools=$piece
  piece daemons "$(daemons_key)" build_daemons; daemons=$piece
  piece s3 "$(s3_key)" build_s3; s3=$piece
  piece unpacked "$(unpacked_key)" build_unpacked; unpacked=$piece
  piece helm "$(helm_key)" build_helm; helm=$piece
  piece network "$(network_key)" build_network; network=$piece
  build_images
  prune
}

# The pieces of this checkout, without building: for `env`, `kubectl` and `down`.
find_pieces() {
  daemons=$PIECES/daemons-$(daemons_key)
  s3=$PIECES/s3-$(s3_key)
  helm=$PIECES/helm-$(helm_key)
  awscli=$PIECES/awscli-$(awscli_key)
  servers=$PIECES/servers-$(servers_key)
  unpacked=$PIECES/unpacked-$(unpacked_key)
}

daemons_key() { key "$VERSION" "$HERE"/daemons/{go.mod,go.sum,main.go}; }
s3_key() { key "$HERE"/s3/{go.mod,go.sum}; }
helm_key() { key "${HELMS[@]}" "$(declare -f build_helm)"; }
awscli_key() { key "$HERE/aws.txt" "$(declare -f build_awscli pip unpack_wheels python_program)"; }
servers_key() { key "$HERE"/servers/{go.mod,go.sum}; }
unpacked_key() { key "${UNPACKED[@]}" "$(declare -f build_unpacked download fetch closure)" "$HERE"/lib/{unpacked,sshd}.sh; }

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
  command -v go >/dev/null || die 1 "Go is not on PATH: Go 1.25 or newer builds the test cluster; install it, or set DTP_TEST_KUBECONFIG"
  local have
  have=$(cd "$HERE/programs" && env "${GO_ENVIRONMENT[@]}" go env GOVERSION)
  printf 'go1.25\n%s\n' "$have" | sort -VC || die 1 "Go 1.25 or newer builds the test cluster, and $have is on PATH; install a newer one, or set DTP_TEST_KUBECONFIG"
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

# go_build FOLDER OUTPUT [FLAG…] PACKAGE: with a sign of life every 20 s, for a build of many minutes.
go_build() {
  local folder=$1 out=$PWD/$2 log=$PWD/build.log package=${!#} total next pid
  shift 2
  need_go
  ( cd "$folder" && env "${GO_ENVIRONMENT[@]}" go mod download ) || return 1
  total=$(cd "$folder" && env "${GO_ENVIRONMENT[@]}" go list -deps "$package" | wc -l)
  ( cd "$folder" && env "${GO_ENVIRONMENT[@]}" nice go build -v -o "$out" "$@" ) >"$log" 2>&1 9>&- &
  pid=$! next=$((SECONDS + 20))
  while sleep 0.5; kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -ge "$next" ] || continue
    say "  compiled $(wc -l <"$log") of $total packages, less what was there"
    next=$((SECONDS + 20))
  done
  wait "$pid" || { tail -n 20 "$log"; return 1; }
  rm "$log"
}

build_daemons() {
  local flags="-s -w" package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$VERSION -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=archive"
  done
  say "  this takes 10 to 15 minutes on two cores, once per machine"
  go_build "$HERE/daemons" multi -ldflags "$flags" . || return 1
  local name
  for name in kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd kubectl; do ln -s multi $name; done
}

# A registry, a Google Cloud Storage and MinIO's client, in one module and so with one copy of what they share.
build_servers() { go_build "$HERE/servers" ./ -ldflags '-s -w' tool; }

build_s3() { go_build "$HERE/s3" versitygw -ldflags '-s -w' github.com/versity/versitygw/cmd/versitygw; }

# As its own Makefile does: an unnamed Helm 3 takes every cluster for Kubernetes 1.20.
build_helm() {
  need_go
  local release module package flags
  for release in "${HELMS[@]}"; do
    module=helm.sh/helm/${release%%.*}
    flags="-s -w -X $module/internal/version.version=$release"
    for package in pkg/chartutil pkg/lint/rules; do
      flags+=" -X $module/$package.k8sVersionMajor=1 -X $module/$package.k8sVersionMinor=34"
    done
    mkdir "${release%%.*}"
    env "${GO_ENVIRONMENT[@]}" GOBIN="$PWD/${release%%.*}" nice go install -ldflags "$flags" "$module/cmd/helm@$release" 9>&- || return 1
  done
}

build_programs() {
  go_build "$HERE/programs" pause -ldflags '-s -w' ./pause && go_build "$HERE/programs" bare -ldflags '-s -w' ./bare
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

# build_images [basic]: all, or those alone that most tests need.
build_images() {
  declare -gA images
  build_basic_images
  [ "${1:-}" = basic ] || build_images_of_tools
  name_images
}

build_basic_images() {
  local code=$HERE/lib/images.py runner=("$REPOSITORY"/dtp_action/runner/*.sh) script
  local sources=(file:/dtp/bin/busybox:busybox/bin/busybox file:/dtp/bin/bash:bash/bin/bash-static)
  [ -f "${runner[0]}" ] || runner=()
  for script in "${runner[@]}"; do sources+=("file:/dtp/${script##*/}:$script"); done
  piece programs "$(key "$HERE"/programs/go.mod "$HERE"/programs/*/main.go)" build_programs; programs=$piece
  piece image-pause "$(key "$code" "${programs##*/}")" make_image pause --tag 1 --user 65535 --entrypoint /pause "file:/pause:$programs/pause"; images[pause]=$piece
  piece image-bare "$(key "$code" "${programs##*/}")" make_image bare --user 1000 "file:/bin/bare:$programs/bare"; images[bare]=$piece
  piece image-runner "$(key "$code" "$(declare -f make_runner)" "${runner[@]##*/}" "${runner[@]}")" make_runner "${sources[@]}"; images[runner]=$piece
  piece image-base "$(debian_key "${BASE[@]}")" make_debian base "${BASE[@]}"; images[base]=$piece
  piece awscli "$(awscli_key)" build_awscli; awscli=$piece
  python_image aws "$awscli"
}

build_images_of_tools() {
  local name packages
  mapfile -t packages < <(grep -v '^#' "$PACKAGES" | grep .)
  piece image-tools "$(debian_key "${SLIM[@]}" "${packages[@]}")" make_debian tools "${SLIM[@]}" "${packages[@]}"; images[tools]=$piece
  for name in rclone sra-toolkit; do
    piece "image-${name%-*}" "$(debian_key "${images[base]##*/}" "$name")" add_debian "${name%-*}" "$name"; images[${name%-*}]=$piece
  done
  piece servers "$(servers_key)" build_servers; servers=$piece
  piece image-mc "$(key "$HERE/lib/images.py" "${images[base]##*/}" "${servers##*/}")" make_image mc --base "${images[base]}" --user 1000 "file:/usr/bin/mc:$servers/mc"; images[mc]=$piece
  piece gsutil "$(key "$HERE/gsutil.txt" "$(declare -f build_gsutil pip unpack_wheels python_program)")" build_gsutil
  python_image gsutil "$piece"
  piece globus "$(key "$GLOBUS" "$(declare -f build_globus pip unpack_wheels python_program)")" build_globus
  python_image globus "$piece"
}

# python_image NAME FOLDER: base, and on it a program of that name with its site-packages.
python_image() {
  piece "image-$1" "$(key "$HERE/lib/images.py" "${images[base]##*/}" "${2##*/}")" make_image "$1" --base "${images[base]}" --user 1000 \
    "tree:/usr/local/lib/python3.11/dist-packages:$2/site-packages" "file:/usr/local/bin/$1:$2/bin/$1"; images[$1]=$piece
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
  piece locked "$(key "$REPOSITORY/uv.lock" "$HERE/lib/locked.py" "$(declare -f build_locked pip unpack_wheels python_program)")" build_locked; locked=$piece
  piece image-git "$(debian_key "${images[base]##*/}" git dash)" add_debian git git dash; git=$piece
  piece image-dtp "$(key "$HERE/lib/images.py" "${git##*/}" "${locked##*/}" "$(declare -f make_dtp)" "$REPOSITORY/pyproject.toml" "${code[@]#"$REPOSITORY"}" "${code[@]}")" make_dtp; images[dtp]=$piece
}

build_locked() {
  python3 "$HERE/lib/locked.py" "$REPOSITORY/uv.lock" dtp-requests >requirements.txt || return 1
  unpack_wheels requirements.txt --require-hashes || return 1
  python_program dtp dtp_action.cli main
}

make_dtp() {
  local python=/usr/local/lib/python3.11/dist-packages about=code/dtp_requests.dist-info
  mkdir -p "$about"
  cp -r "$REPOSITORY/dtp_action" code/
  find code -name __pycache__ -prune -exec rm -r {} +
  # It asks for its own version, which an installation would have put down.
  { echo 'Metadata-Version: 2.1'; sed -n 's/^name = "\(.*\)"/Name: \1/p; s/^version = "\(.*\)"/Version: \1/p' "$REPOSITORY/pyproject.toml"; } >"$about/METADATA"
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

debian_key() { key "$HERE/lib/images.py" "$(declare -f make_debian add_debian download fetch closure)" "$@"; }

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
