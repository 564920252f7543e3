# shellcheck shell=bash
# Stop everything that `up` started, in whatever state it or a killed predecessor left it.

# terminate DAEMON…: ask, wait up to 3 s, insist.
terminate() {
  local name
  for name in "$@"; do ! alive "$name" || kill "$(cat "$RUN/pids/$name")" 2>/dev/null || true; done
  for _ in {1..30}; do
    any_alive "$@" || return 0
    sleep 0.1
  done
  for name in "$@"; do ! alive "$name" || kill -KILL "$(cat "$RUN/pids/$name")" 2>/dev/null || true; done
}

any_alive() {
  local name
  for name in "$@"; do ! alive "$name" || return 0; done
  return 1
}

stop_all() {
  # The kubelet first, or it would start again what goes down after it.
  terminate kubelet kube-proxy kube-scheduler kube-controller-manager
  terminate kube-apiserver
  terminate etcd
  kill_group
  forget_network
  forget_mounts
  forget_groups
  # Links and addresses of Pods are gone with the network namespace, their leases must not stay.
  rm -rf "$RUN" "$VAR/lib/cni" "$VAR/lib/kubelet" "$VAR/log"
}

# Every process in our control group: containers, their shims, containerd, and daemons that were left
# over. A container that forks while being killed needs a second round.
kill_group() {
  local pids
  for _ in {1..100}; do
    pids=$(members)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
  say "these processes do not end: $(members | tr '\n' ' ')"
}

members() {
  local root
  cgroup_roots | while read -r root; do
    find "$root/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | grep -vx 0 | sort -u || true
}

forget_network() {
  ip link delete "$HOST_LINK" 2>/dev/null || true
}

# The cluster's mounts live in its own mount namespace and die with it. On the host there are only the
# files that hold the two namespaces.
forget_mounts() {
  local point
  for point in "$RUN/ns/net" "$RUN/ns/mnt" "$RUN/ns"; do
    while mountpoint -q "$point" 2>/dev/null || is_mounted "$point"; do umount -n -l "$point" || break; done
  done
}

is_mounted() { awk -v point="$1" '$2 == point {found = 1} END {exit !found}' /proc/self/mounts; }

# The kernel takes a moment to let go of a group whose last process has just ended.
forget_groups() {
  local root
  cgroup_roots | while read -r root; do
    for _ in {1..50}; do
      [ -d "$root/$CGROUP" ] || break
      find "$root/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
  done
}

purge() { rm -rf "$VAR" "$PKI" "$KUBECONFIG_FILE" "$LOG"; }
