#!/bin/sh
# Debian's sshd, unpacked and not installed. It insists on accounts and folders of its own, so it gets a
# mount namespace in which they are, and the host stays as it is.
#
#     SSHD_HOME=FOLDER sshd -D -e -f FILE
#
# Who logs in is `user`, uid 1000, with FOLDER as home: /mnt/home inside, where FOLDER's own path may be
# closed to that uid. bin/ beside this file is /mnt/unpacked/bin there, and first in PATH: rsync is in it.
set -eu
here=$(dirname "$(readlink -f "$0")")
if [ "${1:-}" != --inside ]; then
  exec unshare --mount "$here/sshd.sh" --inside "$@"
fi
shift

mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/home /mnt/unpacked /mnt/etc
mount --bind "${SSHD_HOME:?a folder of uid 1000 with .ssh/authorized_keys}" /mnt/home
mount --bind "$here" /mnt/unpacked
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd

{
  awk -F : '$3 != 1000 && $1 !~ /^(sshd|user)$/' /etc/passwd
  echo 'sshd:*:74:65534::/run/sshd:/usr/sbin/nologin'
  echo 'user:*:1000:1000::/mnt/home:/bin/bash'
} >/mnt/etc/passwd
{
  awk -F : '$3 != 1000 && $1 != "user"' /etc/group
  echo 'user:*:1000:'
} >/mnt/etc/group
for name in passwd group; do mount --bind "/mnt/etc/$name" "/etc/$name"; done

# An absolute path: it starts itself again for each connection.
for place in /mnt/unpacked/lib/*-linux-gnu* /mnt/unpacked/usr/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$place
done
export LD_LIBRARY_PATH
exec /mnt/unpacked/usr/sbin/sshd -o PidFile=none -o SetEnv=PATH=/mnt/unpacked/bin:/usr/bin:/bin "$@"
