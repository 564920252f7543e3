# Sourced by run.sh, to decide whether this start may run the script, and by prep.sh, to see that no
# other attempt of the job does. At most one start of one attempt ever may at a time.
#
# $DTP_STATE/entry says whose record it is: UID of the entry, blob of the script. prep.sh makes both.
# $DTP_STATE/starts/N is start N; whoever makes that directory owns it, and mkdir is the only lock.
#   pod   who it is: UID, time          beat  changes while it lives
#   end   "CODE KIND", then the result; written once, renamed into place. KIND: done; interrupted;
#         passed: a later attempt of the job took this start, so that there is no other
# $DTP_STATE/unended/N: this attempt went on although attempt N of the job had no end.
# A record that is missing or odd counts against a second run, never for one.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153 # what those that source it set and use

# fence: returns as the owner of the new start $dtp_start in $dtp_here; or replays; or refuses.
fence() {
  dtp_starts=$DTP_STATE/starts
  [ -d "$DTP_STATE" ] || refuse 190 "the state directory $DTP_STATE is missing"
  identify "$DTP_STATE"
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
    refuse 190 "the record of starts is damaged: ${dtp_real:+$dtp_real/}${dtp_entry#./} should not be there"
  done
}

# may_follow: true if a start may follow start $dtp_last; false to look again; else does not return.
may_follow() {
  dtp_before=$dtp_starts/$dtp_last
  if has_end "$dtp_before"; then
    read_end "$dtp_before/end"
    [ "$dtp_kind" != passed ] || give_way
    may_resume || may_retry "$dtp_ended" || replay
    return 0
  fi
  watch_it "start $dtp_last (Pod $(content "$dtp_before/pod"))" || return 1
  [ "$DTP_RESUME" = yes ] || held "has not ended, and shows no sign of life"
  [ "$dtp_last" -le 5 ] || held "was the last that resume=yes allows"
}

has_end() { [ -e "$1/end" ] || [ -L "$1/end" ]; }

may_resume() {
  [ "$dtp_kind" = interrupted ] && [ "$dtp_ended" -ne 0 ] && [ "$DTP_RESUME" = yes ] && [ "$dtp_last" -le 5 ]
}

# may_retry CODE: nothing follows a success, whatever DTP_TRANSIENT names. A code of a tool is told as it
# is only where it may be the tool's (evidence.sh).
may_retry() {
  [ "$1" -ne 0 ] || return 1
  case " $DTP_TRANSIENT " in *[\ :]"$1 "*) [ "$dtp_last" -le "$DTP_RETRIES" ] ;; *) return 1 ;; esac
}

# read_end FILE: sets dtp_ended, dtp_kind, dtp_result. A script could have written it.
read_end() {
  dtp_ended='' dtp_kind='' dtp_result=''
  [ ! -f "$1" ] || { read -r dtp_ended dtp_kind && IFS= read -r dtp_result; } <"$1" || :
  case $dtp_kind in done | interrupted | passed) ;; *) dtp_ended= ;; esac
  case $dtp_result in '{"v":1,'*'}') ;; *) dtp_ended= ;; esac
  is_number "$dtp_ended" && [ "$dtp_ended" -le 255 ] && [ "${#dtp_result}" -le 4000 ] ||
    refuse 190 "the record of starts is damaged: $1 cannot be read"
}

# replay: this attempt is over; tells its result again and runs nothing.
replay() {
  echo "dtp: attempt $DTP_ATTEMPT ended before (start $dtp_last, exit $dtp_ended): told again, not run again"
  case $dtp_result in
    *'"replayed":false,'*) dtp_result=${dtp_result%%'"replayed":false,'*}${dtp_result#*'"replayed":false,'} ;;
  esac
  # Last, where it counts whatever a script may have written before it.
  dtp_result="${dtp_result%\}},\"replayed\":true}"
  keep "$DTP_STATE/result.json" "$dtp_result" || :
  publish "$dtp_result"
  if [ -f "$DTP_STATE/arrived" ] && [ ! -L "$DTP_STATE/arrived" ]; then
    echo
    head -c 9000 "$DTP_STATE/arrived"
  fi 2>/dev/null
  exit "$dtp_ended"
}

# give_way: a later attempt took the last start. What this one came to before is told, if it is known.
give_way() {
  dtp_holder=$(content "$dtp_before/pod")
  dtp_last=$((dtp_last - 1))
  if has_end "$dtp_starts/$dtp_last"; then
    read_end "$dtp_starts/$dtp_last/end"
    replay
  fi
  refuse 191 "a later attempt of this job has begun (${dtp_holder:-unknown}): attempt $DTP_ATTEMPT does not start any more; dtp retry asks for another"
}

# watch_it WHO: true once start $dtp_last has certainly died; false when it ended. While it lives we wait:
# were we to refuse, Kubernetes would count a failure of the Job and kill the one that runs.
# Only the content of its beat counts, and only our own sleeps: clocks of machines differ.
watch_it() {
  dtp_calm=0 dtp_seen=$(glance "$dtp_before/beat")
  dtp_nap=$(((DTP_HEARTBEAT + 3) / 4))
  echo "dtp: $1 has not ended: waiting for its end, or for $DTP_MARGIN s without a sign of life" >&2
  while [ "$dtp_calm" -le "$DTP_MARGIN" ]; do
    nap "$dtp_nap"
    dtp_calm=$((dtp_calm + dtp_nap))
    [ ! -e "$dtp_before/end" ] && [ ! -e "$dtp_starts/$((dtp_last + 1))" ] || return 1
    [ "$(glance "$dtp_before/beat")" = "$dtp_seen" ] || dtp_calm=0
    dtp_seen=$(glance "$dtp_before/beat")
  done
}

held() {
  dtp_holder=$(content "$dtp_starts/$dtp_last/pod")
  refuse 191 "start $dtp_last $1 (Pod ${dtp_holder:-unknown}): it is not run a second time; if dtp files shows that its data is not complete, or shows nothing, use dtp retry"
}

# --- what the owner of a start writes ---

overtaken() { [ -e "$dtp_starts/$((dtp_start + 1))" ]; }

beat() { uphold; { echo "$DTP_UID $1" >"$dtp_here/beat"; } 2>/dev/null; }

# uphold: a script may have removed the record it runs under. Without one it would run again.
uphold() {
  dtp_number=0
  while [ ! -d "$dtp_here" ] && [ "$dtp_number" -lt "$dtp_start" ]; do
    dtp_number=$((dtp_number + 1))
    mkdir -p "$dtp_starts/$dtp_number" 2>/dev/null || :
  done
  [ -e "$DTP_STATE/entry" ] || keep "$DTP_STATE/entry" "$DTP_ENTRY $DTP_BLOB" || :
}

# end_start CODE KIND RESULT
end_start() {
  uphold
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

# glance FILE: as much of it as a runner writes there. A script may have put anything in its place.
glance() { [ ! -f "$1" ] || [ -L "$1" ] || head -c 200 "$1" 2>/dev/null; }

# nap SECONDS: a sleep that a signal cuts short.
nap() {
  sleep "$1" >/dev/null 2>&1 3>&- 4>&- &
  wait "$!"
}

# --- whose record it is ---

# check_identity: an entry and a script are named.
check_identity() {
  case ${DTP_ENTRY:-}/${DTP_BLOB:-} in
    /* | */ | *[!A-Za-z0-9/-]*) refuse 190 "DTP_ENTRY and DTP_BLOB do not name an entry and a script" ;;
  esac
}

# identify STATE: refuses the record of another entry or script. Its name does not tell: a ledger can be
# made anew over a claim that was kept, and two ledgers can share a claim.
identify() {
  dtp_whose=$(glance "$1/entry")
  [ "$dtp_whose" != "$DTP_ENTRY $DTP_BLOB" ] || return 0
  case $dtp_whose in '' | *[!A-Za-z0-9\ -]*) dtp_whose='unknown' ;; esac
  refuse 195 "the claim has a record of this attempt's name from another ledger or script (entry and blob: $dtp_whose): nothing was run; ask the cluster's admin what is in the job's directory, or use dtp retry${dtp_free:+, or the line #DTP attempt=$dtp_free}"
}

# --- the attempts of one job ---

# pass STATE WHO: takes the next start of an attempt for a later one, so that it has none left, and gives
# way should it wake up. Waits while it lives; calls note_dead WHO first if it then has no end.
# A script may write to that record: no link in it is followed, and no file of it is shown.
pass() {
  dtp_starts=.
  while :; do
    mkdir "$1/starts" 2>/dev/null || :
    { cd -P "$1" && dtp_real=$(pwd -P)/starts && enter starts; } || refuse 190 "the record of $2 is damaged: $1/starts"
    find_last
    dtp_before=./$dtp_last
    if has_end "$dtp_before"; then
      case $(glance "$dtp_before/end") in '0 '* | '191 passed'*) return 0 ;; esac
    elif [ "$dtp_last" -gt 0 ]; then
      # Its script may have removed the record meanwhile: then it is elsewhere, with a new beat.
      watch_it "$2" && [ -d "$dtp_before" ] || continue
      note_dead "${2##* }" || refuse 190 "cannot write to $DTP_STATE_PATH on the claim"
    fi
    # The next round sees whether somebody else took a further one while we were asleep.
    take "$((dtp_last + 1))" || refuse 190 "cannot write to the record of $2: $1/starts"
  done
}

# take NUMBER: false if it cannot be taken by anybody.
take() {
  if ! mkdir "./$1" 2>/dev/null; then
    [ -d "./$1" ] && nap 1 # another was first
    return
  fi
  enter "$1" "/$1" && keep ./pod "$DTP_UID $(now)" && keep ./end "191 passed
$(refusal 191 "a later attempt of this job has begun ($DTP_UID)")" && enter ..
}

# enter DIRECTORY [BELOW]: false if that did not lead where it should, as a link would.
enter() { cd -P "$1" 2>/dev/null && [ "$(pwd -P)" = "$dtp_real${2:-}" ]; }
