# Sourced by prep.sh and run.sh: how both tell their outcome. Needs DTP_TERMINATION.
# shellcheck shell=sh

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# quote TEXT: TEXT as a JSON string. Unprintable bytes are dropped, so that any text makes valid JSON.
quote() {
  printf '"%s"' "$(printf '%s' "$1" | LC_ALL=C tr -cd '\040-\176' | cut -c 1-300 | sed 's/[\\"]/\\&/g')"
}

# publish JSON: hands it to the kubelet. A script may have put anything in the file's place.
publish() {
  if [ -f "$DTP_TERMINATION" ] || [ ! -e "$DTP_TERMINATION" ]; then
    { printf '%s\n' "$1" >"$DTP_TERMINATION"; } 2>/dev/null || :
  fi
}

# refusal CODE SENTENCE: the result of an attempt that ends before any script ran, as JSON. Not by echo,
# as dash would read the backslashes.
refusal() {
  printf '%s\n' "{\"v\":1,\"exit\":$1,\"started\":null,\"finished\":\"$(now)\",\"start\":null,\"oom_kills\":null,\"script_exit\":null,\"replayed\":false,\"warnings\":[],\"error\":$(quote "$2")}"
}

# refuse CODE SENTENCE: ends before any script ran. Leaves the records of other starts alone.
refuse() {
  echo "dtp: $2" >&2
  publish "$(refusal "$1" "$2")"
  exit "$1"
}

# is_number TEXT: true for digits only, few enough for any shell's arithmetic.
is_number() {
  case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac
}
