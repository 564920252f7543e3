# shellcheck shell=bash disable=SC2034
# Sourced by every other file here: where things are, and the few verbs that all of them use.
# It decides nothing and starts nothing.

# The Kubernetes that can be built: the newest first, and the oldest that the product supports last.
# For a new version: put its number here, then `cluster pin VERSION`.
KUBERNETES=(v1.37.2 v1.36.3 v1.35.4)
minor_of() { local minor=${1%.*}; echo "${minor#v}"; }  # v1.37.2 → 1.37
case ${DTP_KUBERNETES:=newest} in
newest) VERSION=${KUBERNETES[0]} ;;
oldest) VERSION=${KUBERNETES[-1]} ;;
*)
  VERSION=$(printf '%s\n' "${KUBERNETES[@]}" | grep -m 1 "^v${DTP_KUBERNETES//./\\.}\.") \
    || { echo "cluster: DTP_KUBERNETES=$DTP_KUBERNETES: newest, oldest, or a minor version of ${KUBERNETES[*]}" >&2; exit 2; }
  ;;
esac

HOME_DIR=${DTP_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/dtp-requests/cluster}
PIECES=$HOME_DIR/pieces  # what was built, one folder per piece and key
DIR=$HOME_DIR            # of one cluster: each version has its own, and they run side by side
[ "$VERSION" = "${KUBERNETES[0]}" ] || DIR=$HOME_DIR/$(minor_of "$VERSION")
VAR=$DIR/var           # survives `down`: etcd, containerd's images, logs
RUN=$DIR/run           # lives as long as the cluster: pids, namespaces, settings
LOG=$DIR/log
PKI=$DIR/pki
VOLUMES=$DIR/volumes   # for hostPath and local volumes of tests
KUBECONFIG_FILE=$DIR/kubeconfig

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)

NODE=node1
# Which images this checkout's tests use. Two checkouts may share a machine's cluster, each with its
# own runner; images.json beside it is that of the last `up`.
images_file=$DIR/images-$(printf '%s' "$REPOSITORY" | sha256sum | cut -c1-8).json

# Every process of the cluster, containers included, lives below this one control group. That is how
# `down` knows beyond doubt what is ours: nothing gets in but what `start` put there. It, the
# network link and the addresses come from the folder's name: clusters of two folders run side by side,
# and `down` of one cannot touch the other.
OWN=$(printf '%s' "$DIR" | sha256sum | cut -c1-8)
CGROUP=dtp-cluster-$OWN
HOST_LINK=dtph-$OWN NODE_LINK=dtpn-$OWN
OCTET=$((16#${OWN:0:2}))
HOST_IP=10.200.$OCTET.1 NODE_IP=10.200.$OCTET.2
POD_NET=10.77.$OCTET.0/24
SERVICE_NET=10.96.$OCTET.0/24 SERVICE_API=10.96.$OCTET.1
API=https://$NODE_IP:6443

DAEMONS=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd containerd)

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { printf 'cluster: %s\n' "$2" >&2; exit "$1"; }

need_root() {
  [ "$(uname -s)" = Linux ] || die 3 "the native test cluster needs Linux; set DTP_TEST_KUBECONFIG to use any other cluster"
  [ "$(id -u)" = 0 ] || die 3 "the native test cluster needs root (namespaces, mounts, control groups); run it as root or set DTP_TEST_KUBECONFIG"
  [ -w "$(cgroup_roots | head -n1)" ] || die 3 "the native test cluster needs a writable control group file system at /sys/fs/cgroup; set DTP_TEST_KUBECONFIG to use another cluster"
}

# One line per control group hierarchy: v1 has one per controller, v2 has one.
cgroup_roots() { awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/self/mounts; }

# Run a command inside the cluster's network and mount namespaces.
inside() { nsenter --net="$RUN/ns/net" --mount="$RUN/ns/mnt" -- "$@"; }

# Is process $2 in our control group, in at least one hierarchy?
ours() { grep -q ":/$CGROUP/" "/proc/$1/cgroup" 2>/dev/null; }

# Does daemon $1 run: its recorded pid is alive, is in our control group and bears that name?
alive() {
  local pid
  pid=$(cat "$RUN/pids/$1" 2>/dev/null) && [ -n "$pid" ] && ours "$pid" \
    && [ "$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | head -n1)" = "$1" ]
} 2>/dev/null

# A key that changes when one of the files or words does.
key() {
  local item
  for item in "$@"; do
    if [ -f "$item" ]; then cat "$item"; else printf '%s\n' "$item"; fi
  done | sha256sum | cut -c1-16
}

# Repeat a command until it succeeds: wait_for SECONDS COMMAND…
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}
