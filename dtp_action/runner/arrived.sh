#!/bin/sh
# What arrived below the working directory: regular files that appeared or changed since a moment.
# run.sh runs it when nothing of the script is left, in a session of its own, so that it can be ended.
#
#   arrived.sh count SINCE LOG [SHELL]   lines "FILES BYTES" that grow; then "whole" if none was missed
#   arrived.sh list SINCE LOG [SHELL]    what "sha256sum -c" reads; fails if a file could not be read
#
# SINCE is a ctime as moment prints it, of a file on the same file system: tools keep mtimes, and the
# clocks of machines differ. LOG is the job's own log, left out as .dtp is. Names are passed on with
# NULs and everything is streamed: neither odd names nor their number can do harm.
# shellcheck shell=sh
set -u
LC_ALL=C TZ=UTC0
export LC_ALL TZ

files() {
  find . -xdev -path ./.dtp -prune -o -type f ! -path "./$1" -print0
}

# count SINCE LOG: may be killed at any moment; the last line then is what was seen until now.
count() {
  exec 4>&1
  dtp_missed=$({
    { files "$2" || echo yes >&3; } | { xargs -0 -r -n 256 stat -c '%z %s' || echo yes >&3; } |
      awk -v since="$1" '
        function tell() { printf "%.0f %.0f\n", files, bytes; fflush() }
        $1 " " $2 >= since { files++; bytes += $NF }
        NR % 256 == 0 { tell() }
        END { tell() }' >&4
  } 3>&1)
  [ -n "$dtp_missed" ] || echo whole
}

# list SINCE LOG SHELL...: through cat, as busybox's sha256sum does not say that a disk is full.
list() {
  dtp_since=$1 dtp_log=$2
  shift 2
  exec 4>&1
  dtp_missed=$({
    { files "$dtp_log" || echo yes >&3; } |
      { xargs -0 -r -n 100 "$@" "$0" sums "$dtp_since" || echo yes >&3; } |
      { cat >&4 || echo yes >&3; }
  } 3>&1)
  [ -z "$dtp_missed" ]
}

# sums SINCE FILE...: a line for each file that is new.
sums() {
  dtp_since=$1
  shift
  dtp_times=$(stat -c %z "$@") || return 1
  dtp_new=$(echo "$dtp_times" | awk -v since="$dtp_since" '{ print ($1 " " $2 >= since) }') ||
    return 1
  case $dtp_new in *0*) ;; *)
    # As nearly always. One by one takes its time, as a shell copies all for each.
    if ! is_odd "$*"; then sha256sum "$@"; return; fi ;;
  esac
  for dtp_is_new in $dtp_new; do
    dtp_file=$1
    shift
    [ "$dtp_is_new" = 1 ] || continue
    if is_odd "$dtp_file"; then sum_odd "$dtp_file" || return 1; else set -- "$@" "$dtp_file"; fi
  done
  [ "$#" -eq 0 ] || sha256sum "$@"
}

dtp_newline='
' dtp_return=$(printf '\r')
is_odd() { case $1 in *[\\"$dtp_newline$dtp_return"]*) ;; *) return 1 ;; esac }

# sum_odd FILE: a name with a backslash or a line's end is written as GNU's sha256sum writes it.
sum_odd() {
  dtp_sum=$(sha256sum <"$1") || return 1
  dtp_rest=$1 dtp_escaped=''
  while is_odd "$dtp_rest"; do
    dtp_plain=${dtp_rest%%[\\"$dtp_newline$dtp_return"]*}
    dtp_rest=${dtp_rest#"$dtp_plain"}
    case $dtp_rest in
      "$dtp_newline"*) dtp_escaped=$dtp_escaped$dtp_plain\\n ;;
      "$dtp_return"*) dtp_escaped=$dtp_escaped$dtp_plain\\r ;;
      *) dtp_escaped=$dtp_escaped$dtp_plain\\\\ ;;
    esac
    dtp_rest=${dtp_rest#?}
  done
  printf '\\%s  %s\n' "${dtp_sum%% *}" "$dtp_escaped$dtp_rest"
}

dtp_what=$1
shift
case $dtp_what in
  count | list | sums) "$dtp_what" "$@" ;;
  *) exit 2 ;;
esac
