#!/bin/sh
# Runs one attempt's script: owner, fence, interpreter, script, log, result. PID 1 of the container,
# whose image may hold nothing. docs/explanation/runner.md tells the whole.
#
# Our variables begin with dtp_, so that none of ours can be one of the script's environment.
#
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC1091,SC2153,SC2154,SC2329 # when checked without the files that it sources
set -u
dtp_image_path=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
[ -z "${DTP_TOOLS:=}" ] || PATH=$DTP_TOOLS/bin:$dtp_image_path
dtp_home=${0%/*}
. "$dtp_home/common.sh"
. "$dtp_home/fence.sh"
. "$dtp_home/evidence.sh"

check_environment() {
  : "${DTP_TRANSIENT:=}" "${DTP_SECRETS:=}" "${DTP_COMMIT:=unknown}" "${DTP_HEARTBEAT:=60}"
  : "${DTP_KIND:=run}" "${DTP_MANIFEST:=none}" "${DTP_WALK:=60}" "${DTP_TIME:=0}" "${DTP_NETWORK:=yes}"
  for dtp_name in DTP_REF DTP_NAME DTP_ATTEMPT DTP_RETRIES DTP_RESUME DTP_DIRECTORY DTP_STATE \
    DTP_SCRIPT DTP_UID HOME TMPDIR; do
    eval "[ -n \"\${$dtp_name:-}\" ]" || refuse 190 "$dtp_name is not set"
  done
  for dtp_number in "$DTP_ATTEMPT" "$DTP_RETRIES" "$DTP_HEARTBEAT" "$DTP_WALK" \
    "$DTP_TIME" "${DTP_MARGIN:=$((DTP_HEARTBEAT * 3))}"; do
    is_number "$dtp_number" || refuse 190 "'$dtp_number' is not a number"
  done
  [ "$DTP_HEARTBEAT" -gt 0 ] || refuse 190 "DTP_HEARTBEAT is 0"
  case $DTP_MANIFEST in none | sha256) ;; *) refuse 190 "'$DTP_MANIFEST' is no kind of manifest" ;; esac
  check_identity
  case $DTP_UID in *[!A-Za-z0-9._-]*) refuse 190 "DTP_UID is not valid" ;; esac
  [ -r "$DTP_SCRIPT" ] || refuse 190 "the script $DTP_SCRIPT cannot be read"
}

make_places() {
  for dtp_place in "$HOME" "$TMPDIR"; do
    mkdir -p "$dtp_place" 2>/dev/null || refuse 190 "cannot make $dtp_place"
  done
  { cd "$DTP_DIRECTORY" && [ -w . ]; } 2>/dev/null ||
    refuse 190 "cannot use the job's directory $DTP_DIRECTORY (missing, read-only or not allowed)"
  dtp_pipes=$TMPDIR/.dtp-$DTP_UID
  rm -rf "$dtp_pipes"
  { mkdir "$dtp_pipes" && mkfifo "$dtp_pipes/log" "$dtp_pipes/gate"; } 2>/dev/null ||
    refuse 190 "cannot make a pipe in $TMPDIR"
  trap 'rm -rf "$dtp_pipes"' EXIT
  DTP_PROGRESS_FILE=$dtp_pipes/progress
  find_files
}

# find_files: DTP_FILES leads to the files beside the script, or to an empty directory. Without the links
# of the kubelet's volumes, as `find` follows none that it is given.
find_files() {
  DTP_FILES=$(CDPATH='' cd -P "${DTP_FILES:-/nowhere}" 2>/dev/null && pwd -P) || {
    DTP_FILES=$dtp_pipes/files
    mkdir -m 555 "$DTP_FILES" 2>/dev/null || refuse 190 "cannot make a directory in $TMPDIR"
  }
}

# own: the directory belongs to the first ref that used it.
own() {
  dtp_owner=$DTP_DIRECTORY/.dtp/owner
  dtp_why=$(mkdir "${dtp_owner%/*}" 2>&1) || :
  { [ ! -L "${dtp_owner%/*}" ] && [ -d "${dtp_owner%/*}" ]; } ||
    refuse 190 "cannot make ${dtp_owner%/*} (${dtp_why##*: })"
  if [ ! -e "$dtp_owner" ] && [ ! -L "$dtp_owner" ]; then
    # A link appears whole, and never over another; mv is for file systems that have no links.
    dtp_new=$dtp_owner-$DTP_UID
    keep "$dtp_new" "$DTP_REF" || refuse 190 "cannot write to ${dtp_owner%/*}"
    ln "$dtp_new" "$dtp_owner" 2>/dev/null || [ -e "$dtp_owner" ] ||
      mv "$dtp_new" "$dtp_owner" 2>/dev/null
    rm -f "$dtp_new"
  fi
  [ -f "$dtp_owner" ] && [ ! -L "$dtp_owner" ] || refuse 190 "$dtp_owner is not a file"
  [ "$(content "$dtp_owner")" = "$DTP_REF" ] ||
    refuse 192 "the directory belongs to another job, $(content "$dtp_owner"), not to $DTP_REF"
}

# --- interpreter ---

# find_interpreter: sets dtp_interpreter, and dtp_arguments of the shebang. The x bit never matters.
find_interpreter() {
  IFS= read -r dtp_line <"$DTP_SCRIPT" || :
  case $dtp_line in '#!'*) dtp_line=${dtp_line#??} ;; *) dtp_line='sh' ;; esac
  set -f
  # shellcheck disable=SC2086 # Splitting is meant.
  set -- $dtp_line
  case ${1-} in */env) shift; [ "${1-}" != -S ] || shift ;; esac
  set +f
  dtp_wanted=${1:-sh}
  [ "$#" -eq 0 ] || shift
  dtp_arguments=$*
  dtp_interpreter=$dtp_wanted
  case $dtp_wanted in /*) ! is_program "$dtp_wanted" || return 0 ;; esac
  ! look_in_path "${dtp_wanted##*/}" "$dtp_image_path" || return 0
  case ${dtp_wanted##*/} in sh | bash) ! is_program "$DTP_TOOLS/bin/${dtp_wanted##*/}" || {
    dtp_interpreter=$DTP_TOOLS/bin/${dtp_wanted##*/}
    return 0
  } ;; esac
  refuse 193 "the image has no $dtp_wanted, which the script's first line asks for; sh and bash are in every image"
}

is_program() { [ -f "$1" ] && [ -x "$1" ]; }

# look_in_path NAME PATH: not "command -v", which in busybox finds its own.
look_in_path() {
  dtp_rest=$2:
  while [ -n "$dtp_rest" ]; do
    dtp_interpreter=${dtp_rest%%:*}/$1
    dtp_rest=${dtp_rest#*:}
    case $dtp_interpreter in /*) ! is_program "$dtp_interpreter" || return 0 ;; esac
  done
  return 1
}

# --- the script and its log ---

# open_log: one tee from a pipe (our 3) to stdout and to the log. The second pipe is the gate.
open_log() {
  dtp_log=$DTP_DIRECTORY/${DTP_REF##*/}.log
  dtp_file=$dtp_log
  # A script may have left a pipe or a link there, which would block us or lead elsewhere.
  if [ -L "$dtp_log" ] || { [ -e "$dtp_log" ] && [ ! -f "$dtp_log" ]; }; then dtp_file=/dev/null; fi
  { true >>"$dtp_file"; } 2>/dev/null
  dtp_log_was=$(stat -c '%i %s' "$dtp_file" 2>/dev/null) # which file it is, and where we begin in it
  (
    trap '' TERM INT HUP PIPE
    exec tee -a "$dtp_file" 2>/dev/null
  ) <"$dtp_pipes/log" &
  dtp_tee=$!
  exec 3>"$dtp_pipes/log" 4<>"$dtp_pipes/gate"
}

# start: the script waits behind the gate until its heart beats. Were we killed between the two, the
# gate would close and nothing run: a script never lives without a beat.
start() {
  # In ( ), as dash keeps a copy of what a function's own redirection hides.
  (launch) <"$dtp_pipes/gate" >&3 2>&3 3>&- 4>&- &
  dtp_script=$!
  look_at_clock
  dtp_began=$dtp_clock
  (heart) 3>&- 4>&- &
  dtp_heart=$!
  echo go >&4
}

launch() {
  read -r dtp_line || exit 143
  go_first
  export_secrets
  own_secrets
  unset DTP_ENTRY DTP_BLOB DTP_RETRIES DTP_RESUME DTP_TRANSIENT DTP_STATE DTP_UID DTP_TERMINATION \
    DTP_HEARTBEAT DTP_MARGIN DTP_COMMIT DTP_MANIFEST DTP_WALK DTP_TIME DTP_NETWORK
  watch_commands
  dtp_setsid=$(command -v setsid)
  PATH=$dtp_image_path${DTP_TOOLS:+:$DTP_TOOLS/bin} DTP_START=$dtp_start
  export PATH DTP_START DTP_KIND DTP_PROGRESS_FILE DTP_FILES
  set -f
  # shellcheck disable=SC2086 # Splitting is meant.
  set -- "$dtp_interpreter" $dtp_arguments "$DTP_SCRIPT"
  set +f
  unset DTP_TOOLS DTP_SCRIPT
  exec $dtp_setsid "$@" </dev/null
}

# go_first: where memory runs out, the kernel is to take the script and leave us to tell of it.
go_first() {
  read -r dtp_line </proc/self/oom_score_adj || return 0
  dtp_line=$((dtp_line + 100))
  [ "$dtp_line" -le 1000 ] || dtp_line=1000
  echo "$dtp_line" >/proc/self/oom_score_adj || :
} 2>/dev/null

# secret_kind FILE: variable, file, or refused (it would hijack the runner, a shell or the loader).
secret_kind() {
  case ${1##*/} in
    PATH | HOME | TMPDIR | IFS | ENV | PWD | OLDPWD | PPID | UID | EUID | PS4 | CDPATH | LINENO | OPT* | \
      BASH* | SHELLOPTS | LD_* | DTP_*) echo refused ;;
    [0-9]* | *[!ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_]*) echo file ;;
    *) if [ -f "$1" ] && [ -r "$1" ]; then echo variable; else echo file; fi ;;
  esac
}

export_secrets() {
  for dtp_secret in "${DTP_SECRETS:-/nowhere}"/*; do
    [ "$(secret_kind "$dtp_secret")" = variable ] || continue
    export "${dtp_secret##*/}=$(cat "$dtp_secret")"
  done
}

# own_secrets: copies for the script alone, 0600 and writable, since ssh takes no other key and rclone
# rewrites its settings. DTP_SECRETS leads there; where it cannot be done, to what is mounted.
own_secrets() {
  [ -n "${DTP_SECRETS:-}" ] || return 0
  (
    umask 077
    mkdir -p "$HOME/.dtp-secrets" && for dtp_secret in "$DTP_SECRETS"/*; do
      [ ! -f "$dtp_secret" ] || cat "$dtp_secret" >"$HOME/.dtp-secrets/${dtp_secret##*/}" || exit 1
    done
  ) 2>/dev/null || return 0
  DTP_SECRETS=$HOME/.dtp-secrets
}

warn_of_secrets() {
  for dtp_secret in "${DTP_SECRETS:-/nowhere}"/*; do
    [ "$(secret_kind "$dtp_secret")" != refused ] ||
      warn "the secret ${dtp_secret##*/} is not exported: its name belongs to the system; it is a file"
  done
  set -- "${DTP_SECRETS:-/nowhere}"/*
  [ -e "$1" ] || ! grep -q '^[^#]*DTP_SECRETS' "$DTP_SCRIPT" ||
    warn "the script reads a Secret and was given none: ask the cluster's admin for it"
}

# warn_of_others: prep.sh notes the earlier attempts that had no end and showed no sign of life.
warn_of_others() {
  dtp_others=''
  for dtp_other in "$DTP_STATE/unended"/*; do
    ! is_number "${dtp_other##*/}" || dtp_others="$dtp_others ${dtp_other##*/}"
  done
  [ -n "$dtp_others" ] || return 0
  warn "attempt$dtp_others of this job has not ended and showed no sign of life: if a node of the cluster was cut off, it may have written to this directory until it noticed"
}

# --- heartbeat and figures ---

# heart: beats while the runner or, should it be killed, the script lives; so nobody takes over.
# Between two beats it tells, at most every 10 s, what the script newly says of its progress. It also
# keeps the script's time.
heart() {
  trap '' TERM INT HUP
  dtp_nap_pid=''
  trap '[ -z "$dtp_nap_pid" ] || kill -KILL "$dtp_nap_pid"; exit 0' USR1
  dtp_beats=0 dtp_age=$DTP_HEARTBEAT dtp_quiet=10 dtp_late=''
  while kill -0 "$$" || kill -0 "$dtp_script" || kill -0 "-$dtp_script"; do
    if [ "$dtp_age" -ge "$DTP_HEARTBEAT" ]; then beat_again; else tell_news; fi
    dtp_nap=$((DTP_HEARTBEAT - dtp_age))
    [ "$dtp_nap" -le 5 ] || dtp_nap=5
    keep_time
    sleep "$dtp_nap" >/dev/null &
    dtp_nap_pid=$!
    wait "$dtp_nap_pid"
    dtp_age=$((dtp_age + dtp_nap)) dtp_quiet=$((dtp_quiet + dtp_nap))
  done 2>/dev/null
}

# keep_time: ends the script when its time is over, as stop does, and notes that; until then no nap goes
# beyond it. Not by a signal to the runner: where one comes while the script ends, bash waits for ever.
keep_time() {
  [ "$DTP_TIME" -gt 0 ] && kill -0 "$dtp_script" || return 0
  find_time_left
  [ -z "$dtp_late" ] || dtp_left=$((dtp_left + 20))
  [ "$dtp_left" -ge "$dtp_nap" ] || dtp_nap=$dtp_left
  [ "$dtp_left" -le 0 ] || return 0
  dtp_nap=1
  case $dtp_late in
    '') dtp_late='term'; keep "$dtp_here/late" "$(now)"; pass_term ;;
    term) dtp_late='kill'; kill_rest ;;
  esac
}

# find_time_left: sets dtp_left to the script's seconds, rounded up so that none is ended too early.
find_time_left() {
  look_at_clock
  dtp_left=$((dtp_began + DTP_TIME + 1 - dtp_clock))
}

# look_at_clock: sets dtp_clock to seconds of a clock that nobody sets, where the system has one.
look_at_clock() {
  if { read -r dtp_clock dtp_rest </proc/uptime; } 2>/dev/null; then
    dtp_clock=${dtp_clock%%.*}
  else
    dtp_clock=$(date +%s)
  fi
}

beat_again() {
  dtp_beats=$((dtp_beats + 1)) dtp_age=0
  beat "$dtp_beats" || :
  [ "$dtp_beats" -eq 1 ] || tell_heartbeat
  ! overtaken || kill -TERM "$$" || kill -KILL "-$dtp_script"
}

tell_news() {
  [ "$dtp_quiet" -ge 10 ] || return 0
  listen
  [ "$dtp_said" = "$dtp_told" ] || tell_heartbeat
}

# listen: sets dtp_said to what the script last said of its progress, as JSON. The file is the
# script's: anything may stand there.
listen() {
  if [ ! -f "$DTP_PROGRESS_FILE" ] || [ -L "$DTP_PROGRESS_FILE" ]; then return 0; fi
  dtp_line=$(head -c 400 "$DTP_PROGRESS_FILE" | head -n 1 | LC_ALL=C tr -cd '\040-\176' | cut -c 1-80)
  # Nothing: it is being written just now.
  [ -z "$dtp_line" ] || dtp_said=$(quote "$dtp_line")
} 2>/dev/null

# One write, with a newline before it: it stands on a line of its own whatever the script prints.
tell_heartbeat() {
  count_network
  listen
  dtp_told=$dtp_said dtp_quiet=0
  dtp_news=${dtp_network:+,$dtp_network}
  [ -z "$dtp_said" ] || dtp_news="$dtp_news,\"progress\":$dtp_said"
  cat 2>/dev/null <<EOF

dtp-heartbeat: {"at":"$(now)"$dtp_news}
EOF
}

# count_network: sets dtp_network to rx and tx since the start. Only a Pod has a network of its own.
count_network() {
  dtp_network=''
  [ "$$" -eq 1 ] && [ -r /proc/net/dev ] || return 0
  dtp_rx=0 dtp_tx=0
  while read -r dtp_line; do
    case $dtp_line in lo:* | *'|'*) ;; *:*) add_interface "${dtp_line#*:}" ;; esac
  done </proc/net/dev
  : "${dtp_rx_before:=$dtp_rx}" "${dtp_tx_before:=$dtp_tx}"
  dtp_network="\"rx\":$((dtp_rx - dtp_rx_before)),\"tx\":$((dtp_tx - dtp_tx_before))"
}

add_interface() {
  # shellcheck disable=SC2086 # Splitting is meant.
  set -- $1
  dtp_rx=$((dtp_rx + $1)) dtp_tx=$((dtp_tx + $9))
}

# oom_kills: processes of this container killed for memory, as cgroup v2 or v1 counts them.
oom_kills() {
  cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null |
    sed -n 's/^oom_kill \([0-9]*\)$/\1/p' | head -n 1
}

oom_kills_since() {
  dtp_oom=$(oom_kills)
  if is_number "$dtp_oom" && is_number "$1"; then echo $((dtp_oom - $1)); else echo null; fi
}

# --- signals ---

# await PID: sets dtp_code. A trapped signal ends "wait" early, and some shells tell a status only
# once: 127 after the second "wait" then means that the first was right.
await() {
  dtp_woken=''
  wait "$1" 2>/dev/null
  dtp_code=$?
  while [ -n "$dtp_woken" ]; do
    dtp_woken=''
    wait "$1" 2>/dev/null
    dtp_again=$?
    [ "$dtp_again" -eq 127 ] || dtp_code=$dtp_again
  done
}

# stop: on TERM. Everything gets it; what lives 20 s later is killed, so that 10 s are left for us.
stop() {
  dtp_woken=yes
  [ -z "$dtp_stopped" ] || return 0
  dtp_stopped=yes
  [ -n "$dtp_script" ] || return 0
  pass_term
  dtp_step='kill'
  alarm 20
}

# Here alone all processes are signalled. As PID 1 they are the container's; tee and heart ignore it.
pass_term() {
  if [ "$$" -eq 1 ]; then
    kill -TERM -1
  else
    kill -TERM "-$dtp_script" || kill -TERM "$dtp_script"
  fi 2>/dev/null
}

# kill_rest: kills what the script started.
kill_rest() {
  [ -n "$dtp_script" ] || return 0
  kill -KILL "-$dtp_script" 2>/dev/null || :
  for dtp_pid in $(left_over); do kill -KILL "$dtp_pid" 2>/dev/null || :; done
}

# left_over: prints what lives of the script. It has sessions of its own; ours holds only our helpers. In a
# Pod all else is the script's, but for a shell that somebody opened from outside. Elsewhere it is what
# has the script's session, or its environment.
left_over() {
  dtp_ours='' dtp_all=$(processes)
  dtp_marked=" $(grep -lzF "DTP_PROGRESS_FILE=$DTP_PROGRESS_FILE" /proc/[0-9]*/environ 2>/dev/null | tr '\n' ' ')"
  for dtp_one in $dtp_all; do
    case $dtp_one in "$$":*) dtp_ours=${dtp_one##*:} ;; esac
  done
  for dtp_one in $dtp_all; do
    case ${dtp_one#*:},$dtp_marked in
      *":$dtp_script",* | *" /proc/${dtp_one%%:*}/environ "*) ;;
      *":$dtp_ours",* | 0:*) continue ;;
      *) [ "$$" -eq 1 ] || continue ;;
    esac
    echo "${dtp_one%%:*}"
  done
}

# processes: PID:PARENT:SESSION of each that lives.
processes() {
  cat /proc/[0-9]*/stat 2>/dev/null |
    sed -n 's/^\([0-9]*\) (.*) [^ZX] \([0-9]*\) [0-9]* \([0-9]*\) .*/\1:\2:\3/p'
}

# alarm SECONDS...: after each it wakes the runner, which then takes the next step. It sleeps by the
# second: what is killed (a signal that can be trapped may come too early) leaves no long sleep behind.
alarm() {
  disarm
  (
    trap '' TERM INT HUP
    for dtp_seconds in "$@"; do
      while [ "$dtp_seconds" -gt 0 ]; do sleep 1; dtp_seconds=$((dtp_seconds - 1)); done
      kill -USR1 "$$"
    done
  ) </dev/null >/dev/null 2>&1 3>&- 4>&- &
  dtp_alarm=$!
}

disarm() {
  [ -z "$dtp_alarm" ] || kill -KILL "$dtp_alarm" 2>/dev/null || :
  dtp_alarm=''
}

step() {
  dtp_woken=yes
  case $dtp_step in
    term) dtp_step='kill'; pass_term ;;
    kill) dtp_step=drop; kill_rest ;;
    drop) dtp_step=''; kill -KILL "$dtp_tee" 2>/dev/null || : ;;
    halt) dtp_step='' dtp_halted=yes; { kill -KILL "-$dtp_walk" || kill -KILL "$dtp_walk"; } 2>/dev/null || : ;;
  esac
}

# --- the end ---

# drain: tee ends when nobody holds the pipe. Who still does has 2 s, TERM, 2 s, KILL; tee 1 s more.
drain() {
  exec 3>&- 4>&-
  dtp_step=term
  alarm 2 2 1
  await "$dtp_tee"
  dtp_tee_code=$dtp_code
  disarm
  if [ "$dtp_file" != "$dtp_log" ]; then
    warn "the log file was not written: something else stands at ${dtp_log##*/}"
  elif [ ! -s "$dtp_log" ]; then
    warn "the log file is gone: the script removed or emptied it"
  elif ! has_header; then
    warn "the log file is not whole: the script emptied, replaced or edited it"
  elif [ "$dtp_tee_code" -ge 128 ] && [ -n "$dtp_step" ]; then
    warn "the log is not whole: the script ended the runner's process that writes it, as kill -9 -1 does"
  elif [ "$dtp_tee_code" -ge 128 ]; then
    warn "the log was not drained within 5 s: its end may be missing"
  elif [ "$dtp_tee_code" -ne 0 ]; then
    warn "the log file could not be written whole: is the claim full?"
  fi
}

# has_header: true if the log is the file that it was, and what we wrote first is where it was, or
# shortly behind what the script itself wrote there before tee did.
has_header() {
  [ -n "$dtp_log_was" ] || return 0
  [ "$(stat -c %i "$dtp_log")" = "${dtp_log_was% *}" ] &&
    dd if="$dtp_log" bs=1 skip="${dtp_log_was#* }" count=4096 | grep -qF "$dtp_header"
} 2>/dev/null

# --- our own files ---

# look_after_ours: a script may have removed what is ours, with its own or instead of it.
look_after_ours() {
  if [ -n "$dtp_script" ] && ! is_alive "$dtp_heart"; then
    warn "the script ended the runner's own processes, as kill -9 -1 does: its progress and its time= were not kept"
  fi
  if [ ! -d "$dtp_pipes" ] && grep -q DTP_PROGRESS_FILE "$DTP_SCRIPT"; then
    warn "the script emptied \$TMPDIR, and with it its progress file: what it told after that was not shown"
  fi
  [ "$(content "$dtp_owner")" != "$DTP_REF" ] && [ -d "$DTP_DIRECTORY" ] || return 0
  mkdir "${dtp_owner%/*}" 2>/dev/null || :
  if [ ! -L "${dtp_owner%/*}" ] && keep "$dtp_owner" "$DTP_REF"; then
    warn "the script removed .dtp in its directory: receipts of earlier attempts are lost"
  else
    warn "the script removed .dtp in its directory, and it could not be made again: the next attempt may be refused"
  fi
}

# is_alive PID: of a child that nobody has waited for yet, kill -0 says nothing.
is_alive() {
  [ -r /proc/self/stat ] || { kill -0 "$1" && return; }
  read -r dtp_line <"/proc/$1/stat" || return 1
  case $dtp_line in *') Z '*) return 1 ;; esac
} 2>/dev/null

# --- what arrived ---

# look_around: sets dtp_arrived. When nothing of the script is left: what it sees stays so.
look_around() {
  dtp_files=null dtp_bytes=null dtp_counted=false dtp_list=null dtp_since='' dtp_newest=''
  if [ -n "$dtp_script" ]; then
    find_moment
    [ -z "$dtp_since" ] || count_files
    [ "$dtp_files" != null ] || warn_of_no_count
    [ "$DTP_MANIFEST" = none ] || list_files
  fi
  dtp_arrived="\"files\":$dtp_files,\"bytes\":$dtp_bytes,\"counted\":$dtp_counted,\"manifest\":$dtp_list"
}

# find_moment: sets dtp_since, the ctime of what the attempt's first start wrote. State and directory
# are on one claim, so that one clock tells both times, ours or not.
find_moment() {
  dtp_number=0
  while [ "$dtp_number" -lt "$dtp_start" ]; do
    dtp_number=$((dtp_number + 1))
    [ -f "$dtp_starts/$dtp_number/pod" ] || continue
    dtp_since=$(TZ=UTC0 stat -c %z "$dtp_starts/$dtp_number/pod" 2>/dev/null)
    dtp_since=${dtp_since% *}
    return
  done
}

# walk FILE WHAT SECONDS: runs arrived.sh into FILE and ends it after so many seconds (0: it has all
# time), or so many after TERM as dtp_grace says. Sets dtp_code.
walk() {
  dtp_shell='sh'
  ! is_program "$DTP_TOOLS/bin/busybox" || dtp_shell="$DTP_TOOLS/bin/busybox sh"
  (
    cd "$DTP_DIRECTORY" || exit 1
    # shellcheck disable=SC2046,SC2086 # Splitting is meant.
    exec $(command -v setsid) $dtp_shell "$dtp_home/arrived.sh" "$2" "$dtp_since" "${dtp_log##*/}" $dtp_shell
  ) </dev/null 2>/dev/null >"$1" &
  dtp_walk=$! dtp_step=halt dtp_halted=''
  [ "$3" -eq 0 ] || alarm "$3"
  [ -z "$dtp_hurry" ] || alarm "$dtp_grace"
  await "$dtp_walk"
  dtp_walk='' dtp_step=''
  disarm
}

hurry() {
  dtp_woken=yes
  [ -z "$dtp_hurry" ] || return 0
  dtp_hurry=yes
  [ -z "$dtp_walk" ] || alarm "$dtp_grace"
}

# count_files: on the claim where $TMPDIR has no room, or is not there any more.
count_files() {
  dtp_grace=3
  for dtp_desk in "$dtp_pipes" "$DTP_STATE"; do
    mkdir -p "$dtp_desk" || :
    rm -rf "$dtp_desk/count" # a script may have put a pipe there, which would block us
    walk "$dtp_desk/count" count "$DTP_WALK"
    read_count "$dtp_desk/count"
    rm -rf "$dtp_desk/count"
    [ "$dtp_files" = null ] && [ -z "$dtp_halted$dtp_hurry" ] || return 0
  done
} 2>/dev/null

# read_count FILE: its last lines count; they stand for all files only if the walk came to its end.
read_count() {
  while read -r dtp_line dtp_rest; do
    case $dtp_line,$dtp_rest in
      whole,) dtp_counted=true ;;
      newest,'{'*'}') dtp_newest=$dtp_rest ;;
      *[!0-9,]* | ,* | *,) ;;
      *) dtp_files=$dtp_line dtp_bytes=$dtp_rest ;;
    esac
  done <"$1"
} 2>/dev/null

warn_of_no_count() {
  if [ -z "$dtp_since" ]; then
    warn "what arrived could not be counted: the script removed the runner's record of its start"
  elif [ -n "$dtp_halted$dtp_hurry" ]; then
    warn "what arrived could not be counted: there was no time left"
  else
    warn "what arrived could not be counted: the job's directory is gone or cannot be read, or no disk has room"
  fi
}

# list_files: writes the list whole or not at all, however the script ended: it says what is there,
# not that it is complete. It may take what is left of time=; before a further start it would be in vain.
list_files() {
  dtp_last=$dtp_start
  ! may_retry "$dtp_exit" || return 0
  keep "$DTP_PROGRESS_FILE" "writing the list of checksums" || :
  dtp_place=$DTP_DIRECTORY/.dtp/manifest-$DTP_ATTEMPT.sha256
  if write_list 2>/dev/null; then
    dtp_list=$(quote "$(sha256sum <"$dtp_place" | cut -c 1-64)")
  elif [ -n "$dtp_hurry$dtp_timed_out$dtp_halted" ]; then
    warn "no list of checksums was written: there was no time left"
  else
    warn "no list of checksums was written: a file could not be read, or the list not be kept"
  fi
}

write_list() {
  [ -n "$dtp_since" ] && [ -z "$dtp_hurry$dtp_timed_out" ] || return 1
  dtp_left=0
  if [ "$DTP_TIME" -gt 0 ]; then
    find_time_left
    [ "$dtp_left" -gt 0 ] || dtp_left=1
  fi
  mkdir "${dtp_place%/*}" || :
  [ ! -L "${dtp_place%/*}" ] && rm -rf "$dtp_place.$DTP_UID" || return 1
  dtp_grace=0
  walk "$dtp_place.$DTP_UID" list "$dtp_left"
  [ "$dtp_code" -eq 0 ] && rm -rf "$dtp_place" && mv -f "$dtp_place.$DTP_UID" "$dtp_place" && return
  rm -rf "$dtp_place.$DTP_UID"
  return 1
}

# --- telling the end ---

tell_header() {
  dtp_header="== dtp: $DTP_REF attempt $DTP_ATTEMPT start $dtp_start, $dtp_started, commit $DTP_COMMIT, Pod $DTP_UID"
  echo "$dtp_header"
}

# tell_again: a cluster begins a new file for what a Pod prints when one is full, and shows only the
# last. So after much was printed its end is printed once more, to stdout only.
tell_again() {
  dtp_size=$(stat -c %s "$dtp_log" 2>/dev/null)
  case $dtp_size,$dtp_log_was in ,* | *, | *[!0-9,\ ]*) return 0 ;; esac
  [ "$dtp_file" = "$dtp_log" ] && [ "$((dtp_size - ${dtp_log_was#* }))" -gt 131072 ] || return 0
  printf '\n%s\n' "== dtp: the end of the log again, as the cluster may have kept only what follows"
  tail -c 8192 "$dtp_log" | tail -n 100
} 2>/dev/null

# tell_arrived: one line, after a newline of its own. Kept for a Pod that tells the result again.
tell_arrived() {
  [ -n "$dtp_newest" ] || return 0
  printf '\n%s\n' "dtp-arrived: $dtp_newest" 2>/dev/null
  keep "$DTP_STATE/arrived" "dtp-arrived: $dtp_newest" || :
}

# tell_footer: after tee, to both. The newline is for logs that end without one.
tell_footer() {
  dtp_footer="== dtp: $DTP_REF attempt $DTP_ATTEMPT start $dtp_start, $(now), exit $dtp_exit${dtp_timed_out:+ (ran longer than time=)}"
  if [ -f "$dtp_log" ] && [ ! -L "$dtp_log" ]; then
    { printf '\n%s\n' "$dtp_footer" >>"$dtp_log"; } 2>/dev/null || :
  fi
  printf '\n%s\n' "$dtp_footer" 2>/dev/null
}

# warn SENTENCE: at most five, so that the message stays within 2 KiB.
warn() {
  dtp_warned=$((dtp_warned + 1))
  [ "$dtp_warned" -le 5 ] || return 0
  echo "dtp: $1" >&2
  dtp_warnings=${dtp_warnings:+$dtp_warnings,}$(quote "$1")
}

make_result() {
  count_network
  dtp_result="{\"v\":1,\"exit\":$dtp_exit,\"started\":\"$dtp_started\",\"finished\":\"$(now)\",\"start\":$dtp_start,${dtp_network:+$dtp_network,}\"oom_kills\":$(oom_kills_since "$dtp_oom_before"),\"script_exit\":$dtp_script_exit,${dtp_cause:+\"cause\":$(quote "$dtp_cause"),}${dtp_program:+\"program\":$(quote "$dtp_program"),}\"doubts\":[$dtp_doubts],\"replayed\":false,$dtp_arrived,\"warnings\":[$dtp_warnings],\"error\":null}"
}

# record: the fence first; the kubelet last, when no process of the script is left to lie to it.
record() {
  dtp_kind='done'
  [ -z "$dtp_stopped" ] || [ "$dtp_exit" -eq 0 ] || dtp_kind='interrupted'
  make_result
  if ! end_start "$dtp_exit" "$dtp_kind" "$dtp_result"; then
    warn "the result could not be recorded on the claim: this attempt cannot start again"
    make_result
  fi
  overtaken || keep "$DTP_STATE/result.json" "$dtp_result" || :
  publish "$dtp_result"
}

# keep_code: the codes 190 to 199 are the runner's own.
keep_code() {
  dtp_script_exit=$1 dtp_exit=$1
  [ -z "$dtp_timed_out" ] || { dtp_exit=196; return; }
  case $1 in 19?)
    dtp_exit=189
    warn "the script ended with exit code $1, which is the runner's; told as 189" ;;
  esac
}

main() {
  [ "$$" -ne 1 ] || umask 002 # the group owns the claim's files together
  dtp_stopped='' dtp_script='' dtp_step='' dtp_alarm='' dtp_warned=0 dtp_warnings=''
  dtp_hurry='' dtp_walk='' dtp_said='' dtp_told='' dtp_timed_out='' dtp_halted=''
  dtp_cause='' dtp_program='' dtp_doubts=''
  trap 'refuse 143 "ended before the script started"' TERM INT HUP
  check_environment
  make_places
  own
  find_interpreter
  fence
  trap stop TERM INT HUP
  trap step USR1
  trap : PIPE
  dtp_started=$(now)
  dtp_oom_before=$(oom_kills)
  warn_of_secrets
  open_log
  mark_log
  tell_header >&3
  warn_of_others 2>&3
  tell_heartbeat
  count_traffic
  run_script
  doubt_processes
  drain
  kill_rest
  look_after_ours
  find_cause
  look_around
  doubt_script
  [ -z "$dtp_script" ] || kill -USR1 "$dtp_heart" 2>/dev/null
  record
  tell_again
  tell_arrived
  tell_footer
  tell_heartbeat
  exit "$dtp_exit"
}

# ran_out_of_time: the heart noted it, or could not, and the script was ended after its time. Whatever the
# script then exits with.
ran_out_of_time() {
  [ -n "$dtp_script" ] && [ "$DTP_TIME" -gt 0 ] && [ -z "$dtp_stopped" ] || return 1
  [ ! -e "$dtp_here/late" ] || return 0
  find_time_left
  case $dtp_code in 137 | 143) [ "$dtp_left" -le 0 ] ;; *) return 1 ;; esac
}

# run_script: TERM may have come before there was a script to pass it to.
run_script() {
  dtp_code=143
  if [ -z "$dtp_stopped" ]; then
    start
    [ -z "$dtp_stopped" ] || pass_term
    await "$dtp_script"
  fi
  trap hurry TERM INT HUP # from here on all is ending anyway
  [ -z "$dtp_stopped" ] || dtp_hurry=yes
  ! ran_out_of_time || dtp_timed_out=yes
  keep_code "$dtp_code"
}

main
