# shellcheck shell=bash disable=SC2016,SC2034  # expanded in the container; for those who source it
# What must work in each image, as its own user, with no network: sourced by try.sh and publish.sh.

declare -A WORKS=(
  [base]='for tool in aria2c bzip2 curl globus-url-copy lftp rsync sftp ssh unzip xrdcp xz zip zstd; do command -v $tool; done
    aria2c --version; curl --version; lftp --version; rsync --version; ssh -V; xrdcp --version'
  [dtp]='dtp --version; git --version'
  [fdt]='java -version; [ -s /usr/local/share/fdt/fdt.jar ]; command -v fdt'
  [globus-cli]='globus --help; command -v dtp-globus-transfer'
  [globus-connect]='[ -x /opt/globusconnectpersonal/globusconnectpersonal ]; command -v globusconnectpersonal dtp-globus-endpoint; python3 --version'
  [irods]='gocmd --help'
  [runner]='[ -x /dtp/run.sh ]; [ -x /dtp/prep.sh ]; /dtp/bin/busybox ls /dtp'
)

# shell_of NAME: with what that is run; it begins with a look at who runs it.
shell_of() { if [ "$1" = runner ]; then echo /dtp/bin/bash; else echo /bin/bash; fi; }
works() { echo "set -e; [ \"\$UID\" -ge 1000 ]; ${WORKS[$1]:?}"; }
