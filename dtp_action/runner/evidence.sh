# Sourced by run.sh: which command ended a script that failed, and what there is to doubt about one that
# ended with 0. What it reads here a script can have written: it is bounded, and never proof.
# docs/adr/0021 and 0022 say why.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # what run.sh sets and uses

# --- the record of commands ---

# watch_commands: has bash note which commands fail (commands.sh); no other shell can tell. Not where the
# script has a trap on DEBUG, which would hear of it. Where it may have one on ERR, only outside functions,
# as they would inherit that.
watch_commands() {
  [ "${dtp_interpreter##*/}" = bash ] && [ -z "${BASH_ENV:-}" ] || return 0
  ! grep -qE '(^|[^A-Za-z_])(SIG)?DEBUG([^A-Za-z_]|$)' "$DTP_SCRIPT" || return 0
  export DTP_RECORD="$dtp_here" BASH_ENV="$dtp_home/commands.sh"
  grep -qE '(^|[^A-Za-z_])(SIG)?ERR([^A-Za-z_]|$)|(^|[;&[:space:]])(\.|source)[[:space:]]' "$DTP_SCRIPT" ||
    export DTP_RECORD_INSIDE=yes
} 2>/dev/null

# read_row: reads a line of the record, sets dtp_failed (its exit code), dtp_line, dtp_depth, dtp_text and
# dtp_program ('' where it cannot be told). False at the end, and for what commands.sh does not write.
read_row() {
  read -r dtp_failed dtp_line dtp_depth dtp_statuses dtp_text || return 1
  is_number "$dtp_failed" && is_number "$dtp_line" && is_number "$dtp_depth" || return 1
  [ "$dtp_line" -gt 0 ] || return 1
  dtp_program=''
  case $dtp_statuses in
    *[!0-9,]*) return 1 ;;
    "$dtp_failed",) find_program "$dtp_text" ;;
    *,*,) read_pipe ;;
    *) dtp_text='' ;; # a redirection of a loop failed: bash names the command before it
  esac
}

# read_pipe: of a pipe bash names the last part only; its line in the script has them all.
read_pipe() {
  dtp_text=$(sed -n "$dtp_line{s/^[[:space:]]*//;p;}" "$DTP_SCRIPT" | cut -c 1-100)
  dtp_rest="$dtp_text|" dtp_codes=$dtp_statuses dtp_part=''
  while [ -n "$dtp_codes" ]; do
    [ -n "$dtp_rest" ] || { dtp_part=''; break; }
    [ "${dtp_codes%%,*}" -ne "$dtp_failed" ] || dtp_part=${dtp_rest%%|*}
    dtp_rest=${dtp_rest#*|} dtp_codes=${dtp_codes#*,}
  done
  [ -n "$dtp_rest" ] || find_program "$dtp_part"
}

# find_program TEXT: sets dtp_program to what a command runs, behind what only starts it.
find_program() {
  set -f
  # shellcheck disable=SC2086 # Splitting is meant.
  set -- $1
  set +f
  for dtp_word in "$@"; do
    case $dtp_word in [A-Za-z_]*=\$\(?*) dtp_word=${dtp_word#*=??} dtp_word=${dtp_word%%[\)]*} ;; esac # NAME=$(command
    case $dtp_word in
      *=* | -* | [0-9]* | '(' | '{' | '!' | time | timeout | nice | ionice | nohup | env | exec | \
        setsid | stdbuf) continue ;;
      eval | return | . | source | *[!A-Za-z0-9_./+\[-]*) ;;
      *) dtp_program=${dtp_word##*/} ;;
    esac
    return 0
  done
}

# is_usual: true for a command that says "no" by its exit code, or that others put right.
is_usual() {
  case $dtp_text in '[['* | '(('*) return 0 ;; esac
  case $dtp_failed,$dtp_statuses in 141,*,*,) return 0 ;; esac # the next of the pipe had enough, as head has
  case $dtp_program in
    '[' | test | let | read | false | expr | *grep | cmp | *diff | which | command | type | hash | \
      kill | pkill | killall | getopts | shopt | ulimit | unset | unalias | mkdir | rmdir | rm | tput | stty | \
      clear | chown | chgrp) return 0 ;;
    wait) [ "$dtp_failed" -gt 125 ] ;; # no such process, or one that was killed on purpose
    *) return 1 ;;
  esac
}

# --- what the shell said in the log ---

# mark_log: from here on the log is this start's.
mark_log() {
  dtp_offset=0
  [ ! -f "$dtp_log" ] || dtp_offset=$(wc -c <"$dtp_log")
} 2>/dev/null

# part_of_log: prints this start's part of the log; of a long one its two ends.
part_of_log() {
  [ -f "$dtp_log" ] && [ ! -L "$dtp_log" ] || return 0
  dtp_size=$(wc -c <"$dtp_log")
  [ "$dtp_size" -ge "$dtp_offset" ] || dtp_offset=0
  tail -c "+$((dtp_offset + 1))" "$dtp_log" | head -c 8000000
  [ "$((dtp_size - dtp_offset))" -le 16000000 ] || tail -c 8000000 "$dtp_log"
} 2>/dev/null

# shell_lines: of its input what a shell says of a script: NAME: line N: …, or NAME: N: …
shell_lines() {
  LC_ALL=C grep -aE '^[^ :]+: line [0-9]+: |^([^ :]*/)?(script|[^ :/]*\.sh|[a-z]*sh): [0-9]+: ' | cut -c 1-300
}

# read_words LINE: sets dtp_line and dtp_words to what a shell said; dtp_words is '' where it need not be
# heard. What a line of the script asks for in a condition may fail.
read_words() {
  dtp_name=${1%%: *} dtp_words=${1#*: }
  dtp_words=${dtp_words#line }
  dtp_line=${dtp_words%%: *} dtp_words=${dtp_words#*: }
  is_number "$dtp_line" || dtp_words=''
  case $dtp_words in
    kill:* | type:* | hash:* | command:*) dtp_words='' ;;
    '[[: '* | *'ambiguous redirect'* | *'yntax error'* | *'ad substitution'* | *'unbound variable'* | \
      *'parameter not set'* | *'expression expected'* | *'operator'* | *'illegal number'* | \
      *'Illegal number'* | *'too many arguments'* | *'not a valid identifier'* | *'delimited by end-of-file'*) ;;
    *'not found' | *'o such file'* | *'ermission denied' | *'annot open'* | *'annot create'* | \
      *"an't open"* | *"an't create"* | *"an't cd to"* | *onexistent* | *'s a directory' | \
      *'ot a directory' | *'xec format error'* | *'o space left'* | *'ead-only file system'*)
      [ "$dtp_name" != "$DTP_SCRIPT" ] || ! is_condition "$dtp_line" || dtp_words='' ;;
    *) dtp_words='' ;;
  esac
  [ "$dtp_name" = "$DTP_SCRIPT" ] || dtp_words="${dtp_name##*/}: $dtp_words"
  [ "$dtp_words" != "${dtp_name##*/}: " ] || dtp_words=''
}

# is_condition NUMBER: true where that line of the script, or the next, says what to do if it fails. What a
# loop reads from is no part of its condition.
is_condition() {
  sed -n "$1{p;n;/^[[:space:]]*||/p;}" "$DTP_SCRIPT" | sed 's/^.*done[[:space:]]*[<>]//' |
    grep -qE '[|][|]|(^|[;[:space:]])(if|elif|while|until|!)[[:space:]]'
}

# --- why it failed ---

# find_cause: sets dtp_cause, a sentence, and dtp_program, of a script that failed, as far as the record
# or the shell's last words tell. Then decides whether `retries=` is for this code.
find_cause() {
  [ -n "$dtp_script" ] && [ "$dtp_script_exit" -ne 0 ] && [ -z "$dtp_stopped$dtp_timed_out" ] || return 0
  dtp_line=''
  hear_record 2>/dev/null
  hear_last_words
  [ -n "$dtp_cause" ] || hear_tool
  weigh_code
}

hear_record() {
  if read_row <"$dtp_here/last" && [ "$dtp_failed" -eq "$dtp_script_exit" ] && [ -n "$dtp_text" ]; then
    dtp_cause="line $dtp_line: \`$dtp_text\` ended with exit code $dtp_failed"
  else
    dtp_line='' dtp_program=''
  fi
}

# hear_last_words: the shell ends some scripts itself, such as for a variable that is not set.
hear_last_words() {
  dtp_noted=$dtp_line
  dtp_said_last=$(part_of_log | tail -n 5 | shell_lines | tail -n 1)
  [ -n "$dtp_said_last" ] || return 0
  read_words "$dtp_said_last"
  if [ -n "$dtp_words" ] && [ "$dtp_line" != "$dtp_noted" ]; then
    dtp_cause="line $dtp_line: $dtp_words" dtp_program=sh
  fi
}

# hear_tool: many programs begin what they say with their name.
hear_tool() {
  for dtp_item in $DTP_TRANSIENT; do
    case $dtp_item in *":$dtp_exit") ;; *) continue ;; esac
    part_of_log | tail -n 3 | grep -qa "^${dtp_item%:*}: " && dtp_program=${dtp_item%:*} && return
  done
  return 0
}

# weigh_code: where retries= is not for this code, ends with 189, which Kubernetes does not try again.
weigh_code() {
  [ "$DTP_RETRIES" -gt 0 ] && [ "$dtp_exit" -ne 189 ] || return 0
  dtp_of=''
  for dtp_item in $DTP_TRANSIENT; do
    case $dtp_item in
      "$dtp_exit" | "$dtp_program:$dtp_exit") return 0 ;;
      *":$dtp_exit") dtp_of="${dtp_of:+$dtp_of or }${dtp_item%:*}" ;;
    esac
  done
  [ -n "$dtp_of" ] || return 0
  # Shells end with the first of these, too. Of others nothing but the tool is likely.
  case $dtp_exit,$dtp_program in
    [!12], | ??, | ???,) return 0 ;;
    *,) warn "not tried again: retries= is for exit code $dtp_exit of $dtp_of, and it is not known which command ended with it (begin the script with #!/bin/bash and set -euo pipefail)" ;;
    *) warn "not tried again: retries= is for exit code $dtp_exit of $dtp_of, not of another command" ;;
  esac
  dtp_exit=189
}

# --- doubts ---

# doubt SENTENCE: at most three, so that the message stays within its bounds.
doubt() {
  dtp_doubted=$((${dtp_doubted:-0} + 1))
  [ "$dtp_doubted" -le 3 ] || return 0
  echo "dtp: $1" >&2
  dtp_doubts=${dtp_doubts:+$dtp_doubts,}$(quote "$1")
}

# may_doubt: true for a script that says that all is well. A service is asked to end.
may_doubt() {
  [ -n "$dtp_script" ] && [ "$dtp_script_exit" -eq 0 ] && [ -z "$dtp_stopped$dtp_timed_out" ] &&
    [ "$DTP_KIND" = run ]
}

# doubt_processes: of what the script left running, once 2 s have passed for what is just finishing.
doubt_processes() {
  may_doubt || return 0
  dtp_naps=10
  find_workers
  while [ "$dtp_workers" -gt 0 ] && [ "$dtp_naps" -gt 0 ] && [ -z "$dtp_hurry" ]; do
    sleep 0.2 2>/dev/null || { sleep 1; dtp_naps=$((dtp_naps - 4)); }
    dtp_naps=$((dtp_naps - 1))
    find_workers
  done
  case $dtp_workers in
    0) ;;
    1) doubt "1 process was still running and was ended ($dtp_names): end the script with \`wait\`" ;;
    *) doubt "$dtp_workers processes were still running and were ended ($dtp_names): end the script with \`wait\`" ;;
  esac
}

# find_workers: sets dtp_workers and dtp_names of what is left and works. Agents and tunnels only wait.
find_workers() {
  dtp_workers=0 dtp_names=''
  for dtp_pid in $(left_over); do
    dtp_name=$(cat "/proc/$dtp_pid/comm") || continue
    case $dtp_name in
      ssh-agent | gpg-agent | dirmngr | scdaemon | keyboxd | dbus-*) continue ;;
      ssh) ! tr '\0' ' ' <"/proc/$dtp_pid/cmdline" | grep -qE '^ssh: |\[mux\]| -[A-Za-z]*[NM]' || continue ;;
    esac
    dtp_workers=$((dtp_workers + 1))
    case ", $dtp_names," in *", $dtp_name,"* | *,*,*,*,*,*) ;; *) dtp_names=${dtp_names:+$dtp_names, }$dtp_name ;; esac
  done
} 2>/dev/null

# doubt_script: what the script went on after, and whether anything came of it.
doubt_script() {
  may_doubt || return 0
  dtp_first=''
  doubt_commands
  doubt_words
  doubt_nothing
}

# doubt_commands: a function or a subshell that failed is noted after the command in it that did.
doubt_commands() {
  [ -f "$dtp_here/commands" ] && [ ! -L "$dtp_here/commands" ] || return 0
  dtp_more=-1 dtp_sentence='' dtp_before='' dtp_deep=0
  while read_row; do
    if [ "$dtp_failed" = "$dtp_before" ] && [ "$dtp_depth" -lt "$dtp_deep" ]; then dtp_deep=$dtp_depth; continue; fi
    dtp_before=$dtp_failed dtp_deep=$dtp_depth
    if [ -z "$dtp_text" ] || is_usual; then continue; fi
    dtp_more=$((dtp_more + 1))
    [ -n "$dtp_sentence" ] || {
      dtp_first=$dtp_line
      dtp_sentence="line $dtp_line: \`$dtp_text\` ended with exit code $dtp_failed, and the script went on"
    }
  done <"$dtp_here/commands"
  [ -n "$dtp_sentence" ] || return 0
  [ "$dtp_more" -eq 0 ] || dtp_sentence="$dtp_sentence (and $dtp_more more)"
  if grep -qE '^[[:space:]]*set -[a-z]*e|^#!.*sh.* -[a-z]*e' "$DTP_SCRIPT"; then
    doubt "$dtp_sentence: look at its log"
  else
    doubt "$dtp_sentence: begin the script with \`set -euo pipefail\`"
  fi
}

# doubt_words: what a shell said in the log, unless the record has told of that line.
doubt_words() {
  dtp_more=-1 dtp_sentence=''
  part_of_log | shell_lines | head -n 100 >"$dtp_here/words"
  while IFS= read -r dtp_row; do
    read_words "$dtp_row"
    [ -n "$dtp_words" ] && [ "$dtp_line" != "$dtp_first" ] || continue
    dtp_more=$((dtp_more + 1))
    [ -n "$dtp_sentence" ] || dtp_sentence="line $dtp_line: $dtp_words"
  done <"$dtp_here/words"
  [ -n "$dtp_sentence" ] || return 0
  [ "$dtp_more" -eq 0 ] || dtp_sentence="$dtp_sentence (and $dtp_more more)"
  doubt "the shell said: $dtp_sentence; and the script went on: correct that line"
}

# doubt_nothing: not where transfers stay within the volume, which no network counts.
doubt_nothing() {
  [ "$DTP_NETWORK" = yes ] && [ "$dtp_files,$dtp_counted" = 0,true ] || return 0
  dtp_quiet_before=$dtp_traffic
  count_traffic
  [ -n "$dtp_quiet_before" ] && [ -n "$dtp_traffic" ] || return 0
  [ "$((${dtp_traffic%,*} - ${dtp_quiet_before%,*}))" -lt 1024 ] &&
    [ "$((${dtp_traffic#*,} - ${dtp_quiet_before#*,}))" -lt 1024 ] || return 0
  doubt "nothing was transferred: there is no new file, and less than 1 KiB was received or sent; look at its log"
}

# count_traffic: sets dtp_traffic to RX,TX of all networks. Outside a Pod these are the machine's, with
# what it tells itself: good enough to see that nothing was sent, and never shown.
count_traffic() {
  dtp_traffic=$(
    dtp_rx=0 dtp_tx=0
    while read -r dtp_line; do
      case $dtp_line in *'|'*) continue ;; lo:*) [ "$$" -ne 1 ] || continue ;; esac
      case $dtp_line in *:*) add_interface "${dtp_line#*:}" ;; esac
    done </proc/net/dev && echo "$dtp_rx,$dtp_tx"
  )
} 2>/dev/null
