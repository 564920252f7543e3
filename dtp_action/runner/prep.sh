#!/bin/sh
# Init container: brings shell and tools to an image that may hold nothing, and makes the two
# directories of an attempt on the claim. docs/explanation/runner.md tells the whole.
#
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC1091 # when checked without the file that it sources
set -u
umask 002
dtp_home=${0%/*}
. "$dtp_home/common.sh"

bring_tools() {
  cp -R "$dtp_home/." "$DTP_TOOLS_OUT/" || refuse 190 "cannot copy the tools to $DTP_TOOLS_OUT"
  # As sh too: busybox's own sh would run its applets before the image's tools of the same name.
  ln -s bash "$DTP_TOOLS_OUT/bin/sh" 2>/dev/null || :
  # One process for all links, of the path busybox runs from. It never replaces what is there.
  "$dtp_home/bin/busybox" --install -s "$DTP_TOOLS_OUT/bin" ||
    refuse 190 "cannot link the tools in $DTP_TOOLS_OUT/bin"
}

# make PATH: makes each missing component below the claim. Another Pod may do so at the same moment.
make() {
  case /$1/ in *//* | */./* | */../*) refuse 190 "'$1' is no path below the claim" ;; esac
  dtp_at=$DTP_CLAIM
  dtp_rest=$1/
  while [ -n "$dtp_rest" ]; do
    dtp_at=$dtp_at/${dtp_rest%%/*}
    dtp_rest=${dtp_rest#*/}
    make_one "$dtp_at"
  done
  [ -w "$dtp_at" ] || refuse 190 "cannot write to ${dtp_at#"$DTP_CLAIM"/} on the claim"
}

make_one() {
  # Members of the group may clean up later; what exists already is never changed.
  if dtp_why=$(mkdir "$1" 2>&1); then
    chmod g+ws "$1" 2>/dev/null || :
  fi
  [ ! -L "$1" ] || refuse 194 "${1#"$DTP_CLAIM"/} on the claim is a symbolic link, not a directory"
  [ ! -d "$1" ] || return 0
  [ ! -e "$1" ] || refuse 194 "${1#"$DTP_CLAIM"/} on the claim is a file, not a directory"
  refuse 190 "cannot make ${1#"$DTP_CLAIM"/} on the claim (${dtp_why##*: })"
}

[ -d "$DTP_CLAIM" ] || refuse 190 "the claim is not mounted at $DTP_CLAIM"
bring_tools
make "$DTP_DIRECTORY_PATH"
make "$DTP_STATE_PATH"
