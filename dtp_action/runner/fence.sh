# Sourced by run.sh: decides whether this start may run the script. At most one ever may at a time.
#
# $DTP_STATE/starts/N is start N; whoever makes that directory owns it, and mkdir is the only lock.
#   pod   who it is: UID, time          beat  changes while it lives
#   end   "CODE done" or "CODE interrupted", then the result; written once, renamed into place
# A record that is missing or odd counts against a second run, never for one.
# shellcheck shell=sh

# fence: returns as the owner of the new start $dtp_start in $dtp_here; or replays; or refuses.
fence() {
  dtp_starts=$DTP_STATE/starts
  [ -d "$DTP_STATE" ] || refuse 190 "the state directory $DTP_STATE is missing"
  # Without -p: it fails where something other than a directory stands.
  mkdir "$dtp_starts" 2>/dev/null || [ -d "$dtp_starts" ] || refuse 190 "cannot make $dtp_starts"
  while :; do
    find_last
    [ "$dtp_last" -eq 0 ] || may_follow || continue
    dtp_start=$((dtp_last + 1)) dtp_here=$dtp_starts/$((dtp_last + 1))
    mkdir "$dtp_here" 2>/dev/null && break
    [ -d "$dtp_here" ] || refuse 190 "cannot make $dtp_here (read-only, full or not allowed)"
  done
  { keep "$dtp_here/pod" "$DTP_UID $(now)" && beat 0; } || refuse 190 "cannot write to $dtp_here"
  # We may have been asleep since mkdir for so long that another took over.
  ! overtaken || refuse 191 "start $dtp_start was taken over before it could run"
}

# find_last: sets dtp_last to the number of the last start, 0 if there is none.
find_last() {
  dtp_last=0
  while [ -d "$dtp_starts/$((dtp_last + 1))" ]; do dtp_last=$((dtp_last + 1)); done
  for dtp_entry in "$dtp_starts"/*; do
    [ -e "$dtp_entry" ] || [ -L "$dtp_entry" ] || continue
    dtp_number=${dtp_entry##*/}
    # Another may have started since we counted: then the next round sees it.
    if is_number "$dtp_number" && [ -d "$dtp_entry" ] && [ ! -L "$dtp_entry" ] &&
      [ "$dtp_number" -le "$((dtp_last + 1))" ]; then continue; fi
    refuse 190 "the record of starts is damaged: $dtp_entry should not be there"
  done
}

# may_follow: true if a start may follow start $dtp_last; false to look again; else does not return.
may_follow() {
  dtp_before=$dtp_starts/$dtp_last
  if [ -e "$dtp_before/end" ] || [ -L "$dtp_before/end" ]; then
    read_end "$dtp_before/end"
    may_resume "$dtp_kind" || may_retry "$dtp_ended" || replay
    return 0
  fi
  watch_it || return 1
  [ "$DTP_RESUME" = yes ] || held "has not ended, and shows no sign of life"
  [ "$dtp_last" -le 5 ] || held "was the last that resume=yes allows"
}

may_resume() { [ "$1" = interrupted ] && [ "$DTP_RESUME" = yes ] && [ "$dtp_last" -le 5 ]; }

may_retry() {
  case " $DTP_TRANSIENT " in *" $1 "*) [ "$dtp_last" -le "$DTP_RETRIES" ] ;; *) return 1 ;; esac
}

# read_end FILE: sets dtp_ended, dtp_kind, dtp_result. A script could have written it.
read_end() {
  dtp_ended='' dtp_kind='' dtp_result=''
  [ ! -f "$1" ] || { read -r dtp_ended dtp_kind && IFS= read -r dtp_result; } <"$1" || :
  case $dtp_kind/$dtp_result in done/'{"v":1,'*'}' | interrupted/'{"v":1,'*'}') ;; *) dtp_ended= ;; esac
  is_number "$dtp_ended" && [ "$dtp_ended" -le 255 ] && [ "${#dtp_result}" -le 2048 ] ||
    refuse 190 "the record of starts is damaged: $1 cannot be read"
}

# replay: this attempt is over; tells its result again and runs nothing.
replay() {
  echo "dtp: attempt $DTP_ATTEMPT ended before (start $dtp_last, exit $dtp_ended): told again, not run again"
  case $dtp_result in
    *'"replayed":false'*)
      dtp_result="${dtp_result%%'"replayed":false'*}\"replayed\":true${dtp_result#*'"replayed":false'}" ;;
  esac
  keep "$DTP_STATE/result.json" "$dtp_result" || :
  publish "$dtp_result"
  exit "$dtp_ended"
}

# watch_it: true once start $dtp_last has certainly died; false when it ended. While it lives we wait:
# were we to refuse, Kubernetes would count a failure of the Job and kill the one that runs.
# Only the content of its beat counts, and only our own sleeps: clocks of machines differ.
watch_it() {
  dtp_calm=0 dtp_seen=$(content "$dtp_before/beat")
  dtp_nap=$(((DTP_HEARTBEAT + 3) / 4))
  echo "dtp: start $dtp_last (Pod $(content "$dtp_before/pod")) has not ended: waiting for its end, or for $DTP_MARGIN s without a sign of life" >&2
  while [ "$dtp_calm" -le "$DTP_MARGIN" ]; do
    nap "$dtp_nap"
    dtp_calm=$((dtp_calm + dtp_nap))
    [ ! -e "$dtp_before/end" ] && [ ! -e "$dtp_starts/$((dtp_last + 1))" ] || return 1
    [ "$(content "$dtp_before/beat")" = "$dtp_seen" ] || dtp_calm=0
    dtp_seen=$(content "$dtp_before/beat")
  done
}

held() {
  dtp_holder=$(content "$dtp_starts/$dtp_last/pod")
  refuse 191 "start $dtp_last $1 (Pod ${dtp_holder:-unknown}): it is not run a second time; look at its log and directory, then use dtp retry"
}

# --- what the owner of a start writes ---

overtaken() { [ -e "$dtp_starts/$((dtp_start + 1))" ]; }

beat() { { echo "$DTP_UID $1" >"$dtp_here/beat"; } 2>/dev/null; }

# end_start CODE KIND RESULT
end_start() {
  # A script may have removed the record it runs under; without one it would run again.
  mkdir -p "$dtp_here" 2>/dev/null
  keep "$dtp_here/end" "$1 $2
$3"
}

# keep FILE TEXT: writes the whole or nothing, whatever stands there now.
keep() {
  rm -rf "$1.$DTP_UID"
  { printf '%s\n' "$2" >"$1.$DTP_UID"; } 2>/dev/null && [ "$(content "$1.$DTP_UID")" = "$2" ] || return 1
  [ ! -d "$1" ] || rm -rf "$1"
  mv -f "$1.$DTP_UID" "$1" 2>/dev/null
}

content() { [ ! -f "$1" ] || cat "$1" 2>/dev/null; }
