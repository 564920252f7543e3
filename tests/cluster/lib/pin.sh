# shellcheck shell=bash disable=SC2154
# Write down what a Kubernetes of the table in env.sh is built from.
#
# k8s.io/kubernetes asks for its staging modules at v0.0.0 and replaces them with its own folders; outside
# its tree the same code is published as v0.MINOR.PATCH. The newest Kubernetes shares daemons/go.mod with
# the other programs of the tests, so that what they have in common is compiled once; each older one has a
# file of its own beside it.

modfile_of() { if [ "$1" = "${KUBERNETES[0]}" ]; then echo go.mod; else echo "$(minor_of "$1").mod"; fi; }

# pin_kubernetes VERSION: from Kubernetes' own go.mod, as it was released.
pin_kubernetes() (
  cd "$HERE/daemons" || exit
  file=$(modfile_of "$1")
  [ -f "$file" ] || cp go.mod "$file"
  its=$(go_ mod download -json "k8s.io/kubernetes@$1" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
  staging=$(go_ mod edit -json "$its" | python3 -c '
import json, sys
described = json.load(sys.stdin)
print(described["Go"], *(one["Old"]["Path"] for one in described["Replace"] or () if one["New"]["Path"].startswith("./staging/")))')
  read -r go staging <<<"$staging"
  edits=(-go="$go" -godebug="default=go${go%.*}" -require="k8s.io/kubernetes@$1")
  if [ "$file" != go.mod ]; then
    mapfile -t old < <(go_ mod edit -json "$file" | python3 -c '
import json, sys
described = json.load(sys.stdin)
for one in described["Require"] or (): print("-droprequire=" + one["Path"])
for one in described["Replace"] or (): print("-dropreplace=" + one["Old"]["Path"])
for one in described["Tool"] or (): print("-droptool=" + one["Path"])')
    edits=("${old[@]}" "${edits[@]}")
  fi
  for module in $staging; do edits+=(-replace="$module=$module@${1/v1./v0.}"); done
  go_ mod edit "${edits[@]}" "$file"
  GOFLAGS=-mod=mod go_ mod tidy -modfile="$file"
)
