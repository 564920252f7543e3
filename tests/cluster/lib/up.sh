# shellcheck shell=bash disable=SC2154
# Start one real Kubernetes node by hand, in a network and a mount namespace of its own. The host sees
# one veth, three routes, one control group and the processes: nothing is installed or configured.

# What a running cluster was started from: another binary or another setting means starting anew.
settings_key() { key "${daemons##*/}" "${tools##*/}" "$(image_digest "${images[pause]}")" "$HERE"/lib/{up,pki,env}.sh; }

# Everything runs, answers and is of this checkout. On a busy machine an answer takes its time: others may
# be using the cluster, so it is not taken for dead while its daemons live.
healthy() {
  local name
  [ "$(cat "$RUN/settings" 2>/dev/null)" = "$(settings_key)" ] || return 1
  for name in "${DAEMONS[@]}"; do alive "$name" || return 1; done
  wait_for 90 api_ready && wait_for 90 node_ready
}

api_ready() { curl -fsS --max-time 20 --cacert "$PKI/ca.crt" "$API/readyz" >/dev/null 2>&1; }
node_ready() { [ "$(kubectl get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; }
kubectl() { "$clients/kubectl" --kubeconfig "$PKI/admin.kubeconfig" "$@"; }
ctr() { inside "$tools/usr/bin/ctr" --namespace k8s.io "$@"; }

start_all() {
  local started=$SECONDS
  check_free
  forget_other_state
  mkdir -p "$RUN"/{pids,ns,etc,sysctl,root/run,imported} "$VAR"/{lib,log,etcd} "$LOG" "$VOLUMES"
  # Restricted Pods of any uid make their directories here; who may do so is for the volume's test to say.
  chmod 755 "$DIR" "$VOLUMES"
  make_pki
  settings_key >"$RUN/settings"
  make_groups
  make_namespaces
  start_containerd
  start_etcd
  start_apiserver
  wait_for_daemon etcd 20 etcd_ready || start_etcd_anew
  wait_for_daemon containerd 20 ctr version || give_up containerd
  import_images
  wait_for_daemon kube-apiserver 60 api_ready || give_up kube-apiserver
  # Not earlier: it exits for good while the default roles of RBAC are missing.
  start_controllers
  start_scheduler
  start_kubelet
  start_proxy
  wait_for_daemon kubelet 60 node_ready || give_up kubelet
  forget_witness
  # Without it every Pod is refused; the controller makes it moments after it starts.
  wait_for_daemon kube-controller-manager 30 kubectl --namespace default get serviceaccount default || give_up kube-controller-manager
  install -m 600 "$PKI/admin.kubeconfig" "$KUBECONFIG_FILE"
  say "Kubernetes $VERSION is ready after $((SECONDS - started)) s"
}

# wait_for_daemon NAME SECONDS COMMAND…: as wait_for, but not for a daemon that has ended.
wait_for_daemon() {
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] && kill -0 "$(cat "$RUN/pids/$name")" 2>/dev/null || return 1
    sleep 0.1
  done
}

give_up() {
  tail -n 5 "$LOG/$1.log" >&2 || true
  stop_all
  die 1 "$1 did not become ready; its log is $LOG/$1.log"
}

# Certificates and objects in etcd hold addresses; another version may not read them.
forget_other_state() {
  local made_for="$VERSION $NODE_IP $POD_NET $SERVICE_NET"
  [ "$(cat "$VAR/made-for" 2>/dev/null)" = "$made_for" ] || purge
  mkdir -p "$VAR"
  echo "$made_for" >"$VAR/made-for"
}

check_free() {
  ! ip -oneline address show | grep -qF " $HOST_IP/" || die 1 "the address $HOST_IP is in use on this machine; if another test cluster is up, take it down, or choose another DTP_CLUSTER_DIR: the addresses come from its name"
  ! ip route show | grep -qE "^($POD_NET|$SERVICE_NET) " || die 1 "this machine has a route to $POD_NET or $SERVICE_NET, which the cluster would use; choose another DTP_CLUSTER_DIR: the addresses come from its name"
  case $DIR/ in
  /run/* | /var/run/* | /var/lib/* | /var/log/*) die 1 "the cluster cannot live in $DIR: its namespace hides /run, /var/lib and /var/log; set DTP_CLUSTER_DIR" ;;
  esac
}

# The daemons' group is made by us; `pods` is the root that the kubelet is given.
make_groups() {
  local root group
  cgroup_roots | while read -r root; do
    for group in "$CGROUP" "$CGROUP/daemons" "$CGROUP/pods"; do
      mkdir -p "$root/$group" || continue
      # v1: a new cpuset is empty, and nothing can run in it until it gets its parent's.
      if [ -f "$root/$group/cpuset.mems" ] && [ -f "$root/cpuset.mems" ] && [ -f "$root/cgroup.clone_children" ]; then
        cat "$root/cpuset.cpus" >"$root/$group/cpuset.cpus"
        cat "$root/cpuset.mems" >"$root/$group/cpuset.mems"
      fi
    done
    # v2: children get only the controllers that their parent hands down.
    if [ -f "$root/cgroup.controllers" ]; then
      for group in . "$CGROUP" "$CGROUP/pods"; do
        sed 's/\<\([a-z]\)/+\1/g' "$root/cgroup.controllers" >"$root/$group/cgroup.subtree_control" 2>/dev/null || true
      done
    fi
  done
}

make_namespaces() {
  mount -n --bind "$RUN/ns" "$RUN/ns"
  mount -n --make-private "$RUN/ns"
  touch "$RUN/ns/net" "$RUN/ns/mnt"
  # The kubelet sets these to values of its own taste. It gets files that already hold them, so that
  # the host's stay as they are.
  local sysctl
  for sysctl in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    mkdir -p "$RUN/sysctl/$(dirname "${sysctl%=*}")"
    echo "${sysctl#*=}" >"$RUN/sysctl/${sysctl%=*}"
  done
  # No name server: a look-up fails at once instead of after ten seconds.
  echo 'options timeout:1 attempts:1' >"$RUN/etc/resolv.conf"
  mkdir -p "$VAR"/lib "$VAR"/log
  # shellcheck disable=SC2016
  unshare --net="$RUN/ns/net" --mount="$RUN/ns/mnt" --propagation private bash -euc '
    run=$1 var=$2
    # Shared within, private towards the host: the kubelet wants shared mounts, the host wants none.
    # (-n: without it mount leaves a folder /run/mount on the host.)
    mount -n --make-rshared /
    # The fixed paths of kubelet, containerd and CNI, without touching those of the host.
    mount -n --bind "$run/root/run" /run
    mount -n --bind "$var/lib" /var/lib
    mount -n --bind "$var/log" /var/log
    for sysctl in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
      mount -n --bind "$run/sysctl/$sysctl" "/proc/sys/$sysctl"
    done
    resolv=$(readlink -m /etc/resolv.conf)
    mkdir -p "${resolv%/*}" && touch -a "$resolv"
    mount -n --bind "$run/etc/resolv.conf" "$resolv"
    ip link set lo up
    echo 1 >/proc/sys/net/ipv4/ip_forward
  ' - "$RUN" "$VAR"
  ip link add "$HOST_LINK" type veth peer name "$NODE_LINK" netns "$RUN/ns/net"
  ip address add "$HOST_IP/30" dev "$HOST_LINK"
  ip link set "$HOST_LINK" up
  inside ip address add "$NODE_IP/30" dev "$NODE_LINK"
  inside ip link set "$NODE_LINK" up
  # kube-proxy rewrites packets to Services only once they have a route to leave by.
  inside ip route add "$SERVICE_NET" dev "$NODE_LINK"
  # Tests on the host reach Pods and Services by address, and Pods a test's own server at $HOST_IP.
  # There is no default route inside: a Pod reaches nothing but the cluster and this host's veth.
  ip route add "$POD_NET" via "$NODE_IP"
  ip route add "$SERVICE_NET" via "$NODE_IP"
}

# start NAME PROGRAM ARGUMENT…: in the namespaces and the control group, logged, its pid recorded.
start() {
  local name=$1 program=$2 groups
  shift 2
  groups=$(cgroup_roots | sed "s#\$#/$CGROUP/daemons/cgroup.procs#")
  # shellcheck disable=SC2016
  setsid bash -c '
    for group in $1; do echo $$ >"$group" 2>/dev/null || true; done
    exec nsenter --net="$2/ns/net" --mount="$2/ns/mnt" -- env -i PATH="$3" LD_LIBRARY_PATH="$4" XTABLES_LIBDIR="$4/xtables" \
      bash -c "name=\$1 program=\$2; shift 2; exec -a \"\$name\" \"\$program\" \"\$@\"" - "${@:5}"
  ' - "$groups" "$RUN" "$tools/usr/bin:$tools/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin" "$tools/usr/lib/$(uname -m)-linux-gnu" \
    "$name" "$program" "$@" >"$LOG/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$RUN/pids/$name"
  disown
}

start_containerd() {
  cat >"$RUN/etc/containerd.toml" <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/dtp/pause:1"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE runc may not lower oom_score_adj, and no Pod would start.
  restrict_oom_score_adj = true
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$tools/usr/lib/cni"
    conf_dir = "$RUN/etc/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$tools/usr/sbin/runc"
        SystemdCgroup = false
TOML
  mkdir -p "$RUN/etc/cni"
  cat >"$RUN/etc/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/addresses", "ranges": [[{"subnet": "$POD_NET"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  start containerd "$tools/usr/bin/containerd" --config "$RUN/etc/containerd.toml"
}

# Losing power may lose this state: it is a test's, and fsync costs a third of the start.
start_etcd() {
  start etcd "$daemons/etcd" --data-dir "$VAR/etcd" --unsafe-no-fsync --logger zap --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380 --heartbeat-interval 10 --election-timeout 100
}

etcd_ready() { inside curl -fs --max-time 1 http://127.0.0.1:2379/health; }

start_etcd_anew() {
  say "etcd cannot use the state that was kept; starting with an empty one"
  terminate etcd
  rm -rf "$VAR/etcd"
  start_etcd
  wait_for_daemon etcd 20 etcd_ready || give_up etcd
}

start_apiserver() {
  # Pods leave a silent node after 20 s (see the controller manager) and these 10 s.
  start kube-apiserver "$daemons/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
    --bind-address 0.0.0.0 --secure-port 6443 --advertise-address "$NODE_IP" --cert-dir "$RUN/apiserver" \
    --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt" \
    --kubelet-client-certificate "$PKI/apiserver-kubelet.crt" --kubelet-client-key "$PKI/apiserver-kubelet.key" \
    --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$PKI/service-accounts.pub" --service-account-signing-key-file "$PKI/service-accounts.key" \
    --requestheader-client-ca-file "$PKI/ca.crt" --requestheader-allowed-names front-proxy \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key" \
    --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction,PodSecurity,ResourceQuota,ValidatingAdmissionPolicy \
    --default-not-ready-toleration-seconds 10 --default-unreachable-toleration-seconds 10 \
    --service-cluster-ip-range "$SERVICE_NET" --allow-privileged=true --profiling=false
}

start_controllers() {
  # The default of 20 requests a second costs seconds whenever a test makes many objects, and a claim
  # would wait 10 s for its volume. A node is lost after 20 s of silence: not less, because two busy
  # cores can keep a kubelet silent for some seconds. An eviction rate of 1 would mean never, once all
  # nodes were silent: the limiter that stops evictions calls its rate 1 too, and is not replaced.
  start kube-controller-manager "$daemons/kube-controller-manager" --kubeconfig "$PKI/kube-controller-manager.kubeconfig" \
    --authentication-kubeconfig "$PKI/kube-controller-manager.kubeconfig" \
    --authorization-kubeconfig "$PKI/kube-controller-manager.kubeconfig" \
    --secure-port 0 --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file "$PKI/service-accounts.key" --root-ca-file "$PKI/ca.crt" \
    --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key" \
    --kube-api-qps 500 --kube-api-burst 1000 --pvclaimbinder-sync-period 1s \
    --node-monitor-period 2s --node-monitor-grace-period 20s --node-eviction-rate 2 --terminated-pod-gc-threshold 1000 \
    --concurrent-job-syncs 20 --concurrent-namespace-syncs 20 --concurrent-serviceaccount-token-syncs 10 \
    --resource-quota-sync-period 5s
}

start_scheduler() {
  start kube-scheduler "$daemons/kube-scheduler" --kubeconfig "$PKI/kube-scheduler.kubeconfig" \
    --authentication-kubeconfig "$PKI/kube-scheduler.kubeconfig" \
    --authorization-kubeconfig "$PKI/kube-scheduler.kubeconfig" \
    --secure-port 0 --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000
}

start_kubelet() {
  cat >"$RUN/etc/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
healthzBindAddress: 127.0.0.1
readOnlyPort: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP/pods
failCgroupV1: false
failSwapOn: false
resolvConf: $RUN/etc/resolv.conf
clusterDomain: cluster.local
volumePluginDir: /var/lib/kubelet/volumeplugins
# Images come from archives, not from a registry: one that was collected could not be had again.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
evictionPressureTransitionPeriod: 5s
serializeImagePulls: false
registryPullQPS: 50
containerLogMaxSize: 10Mi
containerLogMonitorInterval: 5s
# How soon the API sees what happens here.
nodeStatusUpdateFrequency: 1s
nodeStatusReportFrequency: 10s
nodeLeaseDurationSeconds: 10
syncFrequency: 10s
volumeStatsAggPeriod: 5s
eventRecordQPS: 100
eventBurst: 200
kubeAPIQPS: 200
kubeAPIBurst: 400
# One address for each Pod, with some to spare.
maxPods: 200
YAML
  start kubelet "$daemons/kubelet" --config "$RUN/etc/kubelet.yaml" --kubeconfig "$PKI/kubelet.kubeconfig" \
    --hostname-override "$NODE" --node-ip "$NODE_IP" --root-dir /var/lib/kubelet --cert-dir "$RUN/kubelet"
}

start_proxy() {
  cat >"$RUN/etc/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
bindAddress: 127.0.0.1
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clusterCIDR: $POD_NET
hostnameOverride: $NODE
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig, qps: 50, burst: 100}
# These are sysctls of the host; zero leaves them alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  start kube-proxy "$daemons/kube-proxy" --config "$RUN/etc/proxy.yaml"
}

image_digest() { sed -n 's/.*"digest": "\(.*\)".*/\1/p' "$1/image.json"; }

# Each image that this checkout wants and this run of the cluster has not got yet.
import_images() {
  local image have
  have=$(ctr images list --quiet)
  for image in "${images[@]}"; do
    [ ! -e "$RUN/imported/${image##*/}" ] || continue
    if ! grep -qF "@$(image_digest "$image")" <<<"$have"; then
      ctr images import "$image/image.tar" >>"$LOG/import.log" 2>&1 || give_up import
      say "imported ${image##*/}"
    fi
    touch "$RUN/imported/${image##*/}"
  done
}
