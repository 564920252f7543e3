#!/bin/sh
# One program of Debian's, unpacked and not installed, with the libraries that stand beside it. It is
# called by the name of that program, through a link in bin/.
here=$(dirname "$(readlink -f "$0")")
for place in usr/sbin usr/bin usr/lib/openssh; do
  program=$here/$place/${0##*/}
  [ -x "$program" ] && break
done
for place in "$here"/lib/*-linux-gnu* "$here"/usr/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$place
done
export LD_LIBRARY_PATH
exec "$program" "$@"
