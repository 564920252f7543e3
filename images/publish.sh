#!/usr/bin/env bash
# Build all images of the project upon today's Debian, try each, and publish those that work.
#
#     images/publish.sh PREFIX TAG OUT
#
# Each becomes PREFIX/NAME:TAG, and PREFIX/NAME:VERSION, which moves (TAG without what follows its `-`).
# OUT: JSON, name → PREFIX/NAME:TAG@sha256:…. An image that fails keeps none of the others back; the exit
# code is then 1. One whose download has no known checksum yet (images/README.md) is left out with a
# notice. Needs docker with buildx, logged in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=images/works.sh
. images/works.sh

PREFIX=$1 TAG=$2 OUT=$3
DEBIAN=docker.io/library/debian:12-slim

digest() { docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"; }

# Labels say from what and upon what it was made, so that anybody can tell without the workflow's log.
build() {
  local label=org.opencontainers.image
  docker build --pull --file "images/$1/Dockerfile" --build-arg "DEBIAN=$DEBIAN@$base" \
    --label "$label.title=dtp-requests/$1" --label "$label.version=$TAG" \
    --label "$label.source=${GITHUB_SERVER_URL:-}/${GITHUB_REPOSITORY:-}" --label "$label.revision=$revision" \
    --label "$label.created=$(date -u +%FT%TZ)" --label "$label.base.name=$DEBIAN" --label "$label.base.digest=$base" \
    --tag "$PREFIX/$1:$TAG" --tag "$PREFIX/$1:${TAG%%-*}" .
}

try() { docker run --rm --read-only --network none --entrypoint "$(shell_of "$1")" "$PREFIX/$1:$TAG" -c "$(works "$1")" >/dev/null; }

publish() { docker push --quiet "$PREFIX/$1:$TAG" && docker push --quiet "$PREFIX/$1:${TAG%%-*}"; }

# Whether a download of the image is still without its checksum: an ARG without a value.
lacks_sum() { grep -q '^ARG [A-Z]*_SHA256$' "images/$1/Dockerfile"; }

base=$(digest "$DEBIAN")
revision=$(git rev-parse HEAD)
lines=() failed=()
for file in images/*/Dockerfile; do
  name=$(basename "$(dirname "$file")")
  if lacks_sum "$name"; then
    echo "::notice::the image $name is not built: write down the checksum of its download first (images/README.md)"
    continue
  fi
  echo "== $name"
  if build "$name" && try "$name" && publish "$name" && published=$(digest "$PREFIX/$name:$TAG"); then
    lines+=("\"$name\": \"$PREFIX/$name:$TAG@$published\"")
  else
    failed+=("$name")
  fi
done

(IFS=, && printf '{%s}\n' "${lines[*]}") >"$OUT"
[ ${#failed[@]} = 0 ] || { echo "not published: ${failed[*]}; the reasons stand above" >&2; exit 1; }
