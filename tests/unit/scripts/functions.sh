#!/bin/bash
#DTP time=1d
set -euo pipefail
log() { printf '%s %s\n' "$(date +%T)" "$*"; }
fetch() {
  local name=$1
  shift
  log "fetching $name"
  curl -fsSL "$@" -o "$name.part" "https://data.example.org/files/$name"
  mv "$name.part" "$name"
}
while read -r name sum; do
  [ -n "$name" ] || continue
  fetch "$name" --retry 5
  printf '%s  %s\n' "$sum" "$name" >>sums
done <<'LIST'
a.fa.gz 111
b.fa.gz 222
LIST
sha256sum -c sums
# verdict http -
