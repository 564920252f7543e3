#!/bin/sh
# What arrived below the working directory: regular files that appeared or changed since a moment.
# run.sh runs it when nothing of the script is left, in a session of its own, so that it can be ended.
#
#   arrived.sh count SINCE LOG [SHELL]   lines "FILES BYTES" that grow, lines "newest JSON" (below);
#                                        then "whole" if none was missed
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

# count SINCE LOG: may be killed at any moment; the last lines then are what was seen until now.
#
# stat writes "DATE TIME ZONE BYTES ./NAME//" for each file, as no path of find has two slashes.
count() {
  exec 4>&1
  dtp_missed=$({
    { files "$2" || echo yes >&3; } | { xargs -0 -r -n 256 stat -c '%z %s %n//' || echo yes >&3; } |
      awk -v since="$1" "$dtp_counting" >&4
  } 3>&1)
  [ -n "$dtp_missed" ] || echo whole
}

# Counts, and holds the newest files as a heap whose root, 1, is the oldest of them. They are told each
# time that there are twice as many files: {"files":[["NAME",BYTES],...],"more":N}, the newest first,
# at most 200 names and 8 KiB. A control character in a name is told as "?".
# shellcheck disable=SC2016 # awk's own
dtp_counting='
  function tell() { printf "%.0f %.0f\n", files, bytes; fflush() }
  function escaped(text, sign,   at, said) { # awks differ in what gsub makes of a backslash
    while (at = index(text, sign)) {
      said = said substr(text, 1, at - 1) "\\" sign
      text = substr(text, at + 1)
    }
    return said text
  }
  function quoted(text) {
    if (length(text) > 256) text = substr(text, 1, 253) "..."
    gsub(/[\001-\037\177]/, "?", text)
    text = escaped(escaped(text, "\\"), "\"")
    return "\"" text "\""
  }
  function move(from, to) { time[to] = time[from]; size[to] = size[from]; name[to] = name[from] }
  function sink(at,   child) { # the one that lies at 0 goes down from there to where it belongs
    while ((child = 2 * at) <= held) {
      if (child < held && time[child + 1] < time[child]) child++
      if (time[child] >= time[0]) break
      move(child, at)
      at = child
    }
    move(0, at)
  }
  function rise(at) {
    for (; at > 1 && time[int(at / 2)] > time[0]; at = int(at / 2)) move(int(at / 2), at)
    move(0, at)
  }
  function keep() {
    if (held < 200) rise(++held)
    else if (time[0] > time[1]) sink(1)
  }
  function tell_newest(   all, number, one, said) {
    for (all = held; held > 1; sink(1)) { # the oldest goes to the end, until all are sorted
      move(held, 0)
      move(1, held--)
    }
    for (number = 1; number <= all; number++) {
      one = "[" quoted(name[number]) "," size[number] "]"
      if (length(said) + length(one) > 8000) break
      said = said (number > 1 ? "," : "") one
    }
    print "newest {\"files\":[" said "],\"more\":" sprintf("%.0f", files - number + 1) "}"
    fflush()
    for (number = 1; number <= all / 2; number++) { # turned around, it is a heap again
      move(number, 0)
      move(all + 1 - number, number)
      move(0, all + 1 - number)
    }
    held = all
  }
  { record = record $0 }
  record !~ /\/\/$/ { record = record "?"; next }
  {
    split(record, part, " ")
    if ((time[0] = part[1] " " part[2]) >= since) {
      files++; bytes += part[4]
      size[0] = part[4]
      name[0] = substr(record, length(part[1] part[2] part[3] part[4]) + 7)
      name[0] = substr(name[0], 1, length(name[0]) - 2)
      keep()
      if (files >= twice) { twice = 2 * files; if (files > 1000) tell_newest() }
    }
    record = ""
  }
  NR % 256 == 0 { tell() }
  END { tell(); tell_newest() }'

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
