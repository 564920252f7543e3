# Sourced by bash before the script, by BASH_ENV (evidence.sh): notes each command that fails where no
# condition asks for it, as bash's own ERR trap has it. The script must not notice: its traps, options,
# `$?`, `$_` and PIPESTATUS stay as they are, and the bash that it calls in turn notes nothing.
#
# $DTP_RECORD is a directory; commands: lines "CODE LINE DEPTH STATUSES TEXT", 40 at most; last: such a
# line of the last command. TEXT is as it is written, so that no value of a variable is in it.
# shellcheck shell=bash disable=SC2153
{
  # Lists: these are never handed on to what the script calls, also where it exports all (set -a).
  dtp_record=("$DTP_RECORD") dtp_row=('')
  unset BASH_ENV DTP_RECORD
  : >|"${dtp_record[0]}/commands"
  # In functions and subshells, too; a trap that the script sets would then be called there as well.
  [[ -z ${DTP_RECORD_INSIDE-} ]] || set -E
  unset DTP_RECORD_INSIDE
  # On one line, since LINENO is the failed command's on the first alone. A file that the script
  # sources is not the author's: how it ends is noted where it is called.
  # shellcheck disable=SC2154
  trap '{ dtp_ended=("$?" "$LINENO" "$_" "${PIPESTATUS[@]}"); if [[ ${BASH_SOURCE[0]-$0} = "$0" ]]; then
    builtin printf -v dtp_row "%s," "${dtp_ended[@]:3}"
    builtin printf -v dtp_row "%s %s %s %s %.100s" "${dtp_ended[@]:0:2}" "$((${#BASH_SOURCE[@]} + BASH_SUBSHELL))" "$dtp_row" "${BASH_COMMAND%%[^[:print:]]*}"
    builtin printf "%s\n" "$dtp_row" >|"${dtp_record[0]}/last"
    builtin mapfile -t dtp_rows <"${dtp_record[0]}/commands"
    [[ -n ${dtp_rows[39]-} ]] || builtin printf "%s\n" "$dtp_row" >>"${dtp_record[0]}/commands"
  fi; : "${dtp_ended[2]}"; } 2>/dev/null' ERR
} 2>/dev/null
