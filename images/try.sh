#!/usr/bin/env bash
# Build images of the project with no container engine and no registry, to try a Dockerfile: by buildah,
# upon a Debian that debootstrap makes and that takes the place of docker.io/library/debian. What is
# built stays in buildah's storage below the cache and is not for publishing.
#
#     images/try.sh [NAME…]     as root; with no name, all but those with ADD --checksum, which Debian 12's
#                               buildah does not know
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

HERE=${XDG_CACHE_HOME:-$HOME/.cache}/dtp-requests/images
DEBIAN=docker.io/library/debian:12-slim

# shellcheck source=images/works.sh
. images/works.sh

buildah() { command buildah --root "$HERE/storage" --runroot "$HERE/run" "$@"; }

need() {
  local name
  [ "$(id -u)" = 0 ] || { echo 'images/try.sh: root is needed, for debootstrap and for chroot' >&2; exit 3; }
  for name in buildah debootstrap; do
    command -v "$name" >/dev/null || { echo "images/try.sh: $name is missing: apt-get install $name" >&2; exit 3; }
  done
}

# Certificate authorities of this machine's own go along: behind a proxy nothing could be fetched without.
make_debian() {
  ! buildah inspect --type image "$DEBIAN" >/dev/null 2>&1 || return 0
  local root=$HERE/debian container
  rm -rf "$root"
  debootstrap --variant=minbase bookworm "$root" >"$HERE/debootstrap.log"
  printf 'deb http://deb.debian.org/debian-security bookworm-security main\n' >>"$root/etc/apt/sources.list"
  cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" / >/dev/null
  buildah config --cmd bash --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$container"
  buildah commit --quiet --rm "$container" "$DEBIAN" >/dev/null
  rm -rf "$root"
}

try() {
  local container started=$SECONDS
  echo "== $1"
  buildah build --isolation chroot --pull-never --layers=false --quiet --file "images/$1/Dockerfile" --tag "localhost/dtp/$1" . >/dev/null
  container=$(buildah from --pull-never "localhost/dtp/$1")
  buildah run --isolation chroot "$container" -- "$(shell_of "$1")" -c "$(works "$1")" >/dev/null
  buildah rm "$container" >/dev/null
  echo "== $1: built and tried in $((SECONDS - started)) s"
}

need
mkdir -p "$HERE"
make_debian
[ $# -gt 0 ] || set -- runner base globus-cli dtp
for image in "$@"; do try "$image"; done
