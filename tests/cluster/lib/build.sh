# shellcheck shell=bash disable=SC2034,SC2154
# Build what the cluster is made of. Each piece is a folder $PIECES/NAME-KEY that appears only when it
# is complete, and KEY is a hash of what it is made from: a change rebuilds that piece alone.

# Unpacked, never installed: no maintainer script runs, no service starts, the system stays as it is.
TOOLS=(containerd runc containernetworking-plugins iptables libip4tc2 libip6tc2 libxtables12
  libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libmnl0 libseccomp2)
BASE=(bash coreutils findutils grep sed mawk tar gzip diffutils hostname procps util-linux
  ca-certificates curl openssl rsync python3 base-files libc-bin)
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
  piece helm "$(helm_key)" build_helm; helm=$piece
  piece network "$(network_key)" build_network; network=$piece
  build_parts_of_images
  build_images
  prune
}

build_parts_of_images() {
  piece programs "$(key "$HERE"/programs/go.mod "$HERE"/programs/*/main.go)" build_programs; programs=$piece
  piece awscli "$(awscli_key)" build_awscli; awscli=$piece
}

# The pieces of this checkout, without building: for `env`, `kubectl` and `down`.
find_pieces() {
  daemons=$PIECES/daemons-$(daemons_key)
  s3=$PIECES/s3-$(s3_key)
  helm=$PIECES/helm-$(helm_key)
  awscli=$PIECES/awscli-$(awscli_key)
}

daemons_key() { key "$VERSION" "$HERE"/daemons/{go.mod,go.sum,main.go}; }
s3_key() { key "$HERE"/s3/{go.mod,go.sum}; }
helm_key() { key "${HELMS[@]}" "$(declare -f build_helm)"; }
awscli_key() { key "$HERE/aws.txt" "$(declare -f build_awscli)"; }

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

# For the Python of the image (Debian 12: 3.11), whatever Python the host has.
build_awscli() {
  local pip=(python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || pip=(/usr/bin/python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || apt_get install -y --no-install-recommends python3-pip >/dev/null || return 1
  "${pip[@]}" install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile --only-binary=:all: --implementation cp \
    --python-version 3.11 --platform "manylinux2014_$(uname -m)" --target site-packages -r "$HERE/aws.txt" || return 1
  rm -rf site-packages/bin site-packages/awscli/examples
  # The descriptions of 430 services are 121 MB of JSON; its loader reads them compressed as well.
  find site-packages/awscli/botocore/data -mindepth 2 -name '*.json' -exec gzip -n {} +
  mkdir bin
  printf '%s\n' '#!/usr/bin/env python3' 'import sys' 'from awscli.clidriver import main' 'sys.exit(main())' >bin/aws
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' 'here=$(dirname "$0")' 'PYTHONPATH="$here/site-packages" exec python3 "$here/bin/aws" "$@"' >aws
  chmod 755 bin/aws aws
}

build_images() {
  local code=$HERE/lib/images.py runner=("$REPOSITORY"/dtp_action/runner/*.sh) image script
  local sources=(file:/dtp/bin/busybox:busybox/bin/busybox file:/dtp/bin/bash:bash/bin/bash-static)
  [ -f "${runner[0]}" ] || runner=()
  for script in "${runner[@]}"; do sources+=("file:/dtp/${script##*/}:$script"); done
  declare -gA images
  piece image-pause "$(key "$code" "${programs##*/}")" make_image pause --tag 1 --user 65535 --entrypoint /pause "file:/pause:$programs/pause"; images[pause]=$piece
  piece image-bare "$(key "$code" "${programs##*/}")" make_image bare --user 1000 "file:/bin/bare:$programs/bare"; images[bare]=$piece
  piece image-runner "$(key "$code" "$(declare -f make_runner)" "${runner[@]##*/}" "${runner[@]}")" make_runner "${sources[@]}"; images[runner]=$piece
  piece image-base "$(key "$code" "${BASE[@]}" "$(declare -f make_base)")" make_base; images[base]=$piece
  piece image-aws "$(key "$code" "${images[base]##*/}" "${awscli##*/}")" make_image aws --base "${images[base]}" --user 1000 \
    "tree:/usr/local/lib/python3.11/dist-packages:$awscli/site-packages" "file:/usr/local/bin/aws:$awscli/bin/aws"; images[aws]=$piece
  { for image in runner base bare aws; do printf '%s %s\n' "$image" "${images[$image]}/image.json"; done; } | python3 -c '
import json, sys
print(json.dumps({name: json.load(open(path))["ref"] for name, path in map(str.split, sys.stdin)}, indent=1))' >"$DIR/.images"
  cp "$DIR/.images" "$images_file"
  mv "$DIR/.images" "$DIR/images.json"
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

# apt works out the closure of dependencies against a system in which nothing is installed.
make_base() {
  mkdir packages
  : >empty
  local names
  names=$(apt_get -o Dir::State::status="$PWD/empty" --no-install-recommends --print-uris -y install "${BASE[@]}" | awk '{print $2}' | sed 's/_.*//' | sort)
  [ -n "$names" ] || return 1
  # shellcheck disable=SC2086
  ( cd packages && apt_get download $names )
  make_image base --user 1000 debs:packages system || return 1
  rm -r packages empty
}
