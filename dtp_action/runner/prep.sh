#!/bin/sh
# Init container: brings shell and tools to an image that may hold nothing, makes the two directories of
# an attempt on the claim, and waits for the job's earlier attempts. docs/explanation/runner.md tells the
# whole. Where there is no Pod (DTP_TOOLS_OUT is empty), it brings nothing and leaves modes as they are.
#
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC1091 # when checked without the files that it sources
set -u
dtp_home=${0%/*}
. "$dtp_home/common.sh"
. "$dtp_home/fence.sh"
: "${DTP_TOOLS_OUT:=}" "${DTP_HEARTBEAT:=60}" "${DTP_MARGIN:=$((DTP_HEARTBEAT * 3))}"
[ -z "$DTP_TOOLS_OUT" ] || umask 002

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
    dtp_why=$(make_one "$dtp_at" 2>&1) || :
    check "$dtp_at"
  done
  [ -w "$dtp_at" ] || refuse 190 "cannot write to ${dtp_at#"$DTP_CLAIM"/} on the claim"
}

# make_one PATH: members of the group may clean up later; what exists already is never changed.
make_one() { mkdir "$1" && { [ -z "$DTP_TOOLS_OUT" ] || chmod g+ws "$1" 2>/dev/null || :; }; }

# check PATH: refuses what is no directory.
check() {
  [ ! -L "$1" ] || refuse 194 "${1#"$DTP_CLAIM"/} on the claim is a symbolic link, not a directory"
  [ ! -d "$1" ] || return 0
  [ ! -e "$1" ] || refuse 194 "${1#"$DTP_CLAIM"/} on the claim is a file, not a directory"
  refuse 190 "cannot make ${1#"$DTP_CLAIM"/} on the claim (${dtp_why##*: })"
}

# make_record: makes the attempt's state appear whole, unless it is there. Were it made and marked in two
# steps, one that died between them would leave a record that is nobody's.
make_record() {
  make "${DTP_STATE_PATH%/*}"
  [ -e "$dtp_record" ] || [ -L "$dtp_record" ] || dtp_why=$(put_record 2>&1) || :
  check "$dtp_record"
  [ -w "$dtp_record" ] || refuse 190 "cannot write to $DTP_STATE_PATH on the claim"
}

put_record() {
  dtp_aside=$(mktemp -d "$dtp_record.XXXXXX") || return 1
  dtp_new=$dtp_aside/${dtp_record##*/}
  make_one "$dtp_new" && echo "$DTP_ENTRY $DTP_BLOB" >"$dtp_new/entry" &&
    [ "$(content "$dtp_new/entry")" = "$DTP_ENTRY $DTP_BLOB" ] &&
    mv "$dtp_new" "${dtp_record%/*}/" # not onto the name: never into another's record, nor over it
  rm -rf "$dtp_aside"
}

# look_for_others: finds the job's other attempts on the claim. Our own record is there before we look,
# and so is that of each other: of any two, one at least sees the other.
look_for_others() {
  dtp_earlier='' dtp_later='' dtp_free=$dtp_attempt
  for dtp_other in "$dtp_stem"*; do
    dtp_number=${dtp_other#"$dtp_stem"}
    is_number "$dtp_number" && [ -d "$dtp_other" ] && [ ! -L "$dtp_other" ] || continue
    [ "$dtp_number" -ge "$dtp_attempt" ] || dtp_earlier="$dtp_earlier $dtp_number"
    [ "$dtp_number" -le "$dtp_attempt" ] || dtp_later=$dtp_number
    [ "$dtp_number" -lt "$dtp_free" ] || dtp_free=$((dtp_number + 1))
  done
}

# pass_others: of the job's attempts on the claim only the last one may start.
pass_others() {
  if [ -n "$dtp_later" ]; then
    DTP_UID=attempt-$dtp_later
    pass "$dtp_record" "attempt $dtp_attempt"
    return
  fi
  DTP_UID=attempt-$dtp_attempt
  for dtp_one in $dtp_earlier; do pass "$dtp_stem$dtp_one" "attempt $dtp_one"; done
}

# note_dead ATTEMPT: run.sh warns of an earlier one that showed no sign of life and has no end.
note_dead() {
  [ "$1" -ne "$dtp_attempt" ] || return 0
  [ ! -L "$dtp_record/unended" ] && mkdir -p "$dtp_record/unended/$1"
}

trap 'refuse 143 "ended before the script started"' TERM INT HUP
[ -d "$DTP_CLAIM" ] || refuse 190 "the claim is not mounted at $DTP_CLAIM"
check_identity
[ -z "$DTP_TOOLS_OUT" ] || bring_tools
make "$DTP_DIRECTORY_PATH"
dtp_record=$DTP_CLAIM/$DTP_STATE_PATH dtp_attempt=${DTP_STATE_PATH##*-}
is_number "$dtp_attempt" || dtp_attempt='' # of `dtp run --host`: it has no second attempt
dtp_stem=${dtp_record%"$dtp_attempt"}
make_record
[ -z "$dtp_attempt" ] || look_for_others
identify "$dtp_record"
[ -z "$dtp_attempt" ] || pass_others
