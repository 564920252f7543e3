#!/bin/sh
# Makes what jobs need at the root of the claim. Runs as the user and with the group that jobs have;
# changes nothing but these three directories, and nothing below them. Refuses links where jobs may write.
#
# Environment: DTP_CLAIM (where it is mounted), DTP_CLAIM_NAME, DTP_GROUP, DTP_WRITABLE (paths, one a line),
# DTP_AGAIN (what to do then).
set -u
umask 002

tell_the_storage_admin() {
  cat >&2 <<TEXT
dtp-prepare: $1

The user $(id -u) with the groups $(id -G) cannot prepare the claim $DTP_CLAIM_NAME. Whoever runs the storage
does it once, as root, in the directory that is the root of its volume:

    mkdir -p dtp-jobs .dtp/state && chgrp $DTP_GROUP dtp-jobs .dtp .dtp/state && chmod 2775 dtp-jobs .dtp .dtp/state

Then $DTP_AGAIN
TEXT
  exit 1
}

# All jobs may make directories here, and what they make belongs to their group.
is_open() {
  case $(stat -c '%g %A' "$1") in
  "$DTP_GROUP drwxrws"* | *\ d???????w[xt]) ;;
  *) return 1 ;;
  esac
  mkdir "$1/.dtp-prepare" 2>/dev/null && rmdir "$1/.dtp-prepare"
}

open() {
  chgrp "$DTP_GROUP" "$1" 2>/dev/null && chmod 2775 "$1" && is_open "$1" # may who made it
}

have() {
  why=$(mkdir "$1" 2>&1)
  [ ! -L "$1" ] || tell_the_storage_admin "$1 is a symbolic link. Remove it."
  [ -d "$1" ] || tell_the_storage_admin "$1 cannot be made: ${why##*: }."
  is_open "$1" || open "$1" || tell_the_storage_admin "$1 is not open to all jobs: $(stat -c '%U:%G %A' "$1")."
}

# A mount of a path follows links within the claim: jobs would write to wherever they lead, to .dtp too.
free_of_links() {
  at=. rest=$1/
  while [ "$rest" ]; do
    at=$at/${rest%%/*} rest=${rest#*/}
    [ ! -L "$at" ] || tell_of_link "$1" "${at#./}" "$(readlink "$at")"
  done
}

tell_of_link() {
  cat >&2 <<TEXT
dtp-prepare: $2 on the claim $DTP_CLAIM_NAME is a symbolic link, to $3.

Jobs may write to $1 (settings.writable): they would write to where the link leads. Remove it, or take the path
out of the settings. Then $DTP_AGAIN
TEXT
  exit 1
}

cd "$DTP_CLAIM" || exit 1
have dtp-jobs
have .dtp
have .dtp/state
while IFS= read -r path; do free_of_links "$path"; done <<TEXT
$DTP_WRITABLE
TEXT
echo "dtp-prepare: the claim $DTP_CLAIM_NAME is ready"
