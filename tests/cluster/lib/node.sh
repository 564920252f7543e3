# shellcheck shell=bash disable=SC2154
# Lose the node and regain it: stop and start the kubelet alone.
#
# A cluster whose every node is silent blames its own network and evicts nothing ("master disruption
# mode"). So while the kubelet is stopped a second Node stands in: an object with a lease that is kept
# fresh, on which nothing is ever scheduled. Pods of the lost node are then evicted as anywhere else.

WITNESS=witness

kubelet_stop() {
  make_witness
  terminate kubelet
}

kubelet_start() {
  alive kubelet || start_kubelet
  wait_for 60 node_ready || return 1
  terminate witness
  forget_witness
}

make_witness() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Node
metadata: {name: $WITNESS, labels: {kubernetes.io/hostname: $WITNESS}}
spec:
  unschedulable: true
  taints: [{key: dtp-tests/witness, effect: NoSchedule}]
YAML
  kubectl apply -f - >/dev/null <<YAML
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: $WITNESS, namespace: kube-node-lease}
spec: {holderIdentity: $WITNESS, leaseDurationSeconds: 10}
YAML
  local now
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  kubectl patch node "$WITNESS" --subresource status --patch \
    "{\"status\": {\"conditions\": [{\"type\": \"Ready\", \"status\": \"True\", \"reason\": \"Witness\", \"lastHeartbeatTime\": \"$now\", \"lastTransitionTime\": \"$now\"}]}}" >/dev/null
  # shellcheck disable=SC2016
  alive witness || start witness /bin/bash -c '
    while sleep 4; do
      "$1/kubectl" --kubeconfig "$2" --namespace kube-node-lease patch lease "$3" --type merge \
        --patch "{\"spec\": {\"renewTime\": \"$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)\"}}"
    done' - "$daemons" "$PKI/admin.kubeconfig" "$WITNESS"
}

forget_witness() { kubectl delete node "$WITNESS" --ignore-not-found >/dev/null; }
