#!/bin/sh
# Writes to the claim and reads from it as a job does, where a job does: in a directory of its own.
# Leaves nothing.
#
# Environment: DTP_CLAIM, DTP_DIRECTORY_PATH, DTP_STATE_PATH (below the claim), DTP_STATE.
set -eu
umask 002

say() { echo "dtp-test: $*"; }
trap '[ $? = 0 ] || say "failed; the line above says why"' EXIT

written=$(date) # its own directory is where it stands
echo "$written" >part
mv part whole
[ "$(cat whole)" = "$written" ] || { say "what was written is not what is read"; exit 1; }
[ "$(cat "$DTP_CLAIM/$DTP_DIRECTORY_PATH/whole")" = "$written" ] || { say "the claim shows another directory"; exit 1; }
mkdir "$DTP_STATE/start"
if mkdir "$DTP_STATE/start" 2>/dev/null; then say "a directory can be made twice"; exit 1; fi

rm whole
rmdir "$DTP_STATE/start"
rm "$DTP_STATE/entry"
cd /
rmdir "$DTP_CLAIM/$DTP_DIRECTORY_PATH" "$DTP_CLAIM/${DTP_DIRECTORY_PATH%/*}" "$DTP_CLAIM/$DTP_STATE_PATH"
say "a job can write to the claim and read from it"
