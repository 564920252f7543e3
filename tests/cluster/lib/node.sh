# shellcheck shell=bash disable=SC2154
# Lose the node and regain it: stop and start the kubelet alone.
#
# A cluster whose every node is silent blames its own network and evicts nothing ("master disruption
# mode"). So while the kubelet is stopped a second Node stands in: an object with a lease that is kept
# fresh, on which nothing is ever scheduled. Pods of the lost node are then evicted as anywhere else.

WITNESS=witness

kubelet_stop() {
  make_witness
  touch "$RUN/stopped"
  terminate kubelet
}

kubelet_start() {
  alive kubelet || start_kubelet
  wait_for 60 node_ready || return 1
  alive kube-proxy || start_proxy # it ends itself where its Node is deleted; elsewhere a DaemonSet starts it again
  rm -f "$RUN/stopped"
  terminate witness
  forget_witness
}

# Another checkout's test may just now be losing the node on purpose: `up` waits for it to come back,
# but not for one that was forgotten.
wait_while_stopped() {
  [ -z "$(deliberately_stopped)" ] || say "a test has stopped the kubelet; waiting for its return"
  while [ -n "$(deliberately_stopped)" ]; do sleep 1; done
}

deliberately_stopped() { find "$RUN/stopped" -mmin -3 2>/dev/null; }

make_witness() {
  local now
  now=$(date -u +%Y-%m-%dT%H:%M:%S)
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Node
metadata: {name: $WITNESS, labels: {kubernetes.io/hostname: $WITNESS}}
spec:
  unschedulable: true
  taints: [{key: dtp-tests/witness, effect: NoSchedule}]
YAML
  # A lease that was first seen without a time is never seen to be renewed.
  kubectl apply -f - >/dev/null <<YAML
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: $WITNESS, namespace: kube-node-lease}
spec: {holderIdentity: $WITNESS, leaseDurationSeconds: 10, renewTime: ${now}.000000Z}
YAML
  kubectl patch node "$WITNESS" --subresource status --patch \
    "{\"status\": {\"conditions\": [{\"type\": \"Ready\", \"status\": \"True\", \"reason\": \"Witness\", \"lastHeartbeatTime\": \"${now}Z\", \"lastTransitionTime\": \"${now}Z\"}]}}" >/dev/null
  # shellcheck disable=SC2016
  alive witness || start witness /bin/bash -c '
    while sleep 4; do
      "$1/kubectl" --kubeconfig "$2" --namespace kube-node-lease patch lease "$3" --type merge \
        --patch "{\"spec\": {\"renewTime\": \"$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)\"}}"
    done' - "$clients" "$PKI/admin.kubeconfig" "$WITNESS"
}

forget_witness() { kubectl delete node "$WITNESS" --ignore-not-found >/dev/null; }
