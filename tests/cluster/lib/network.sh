# shellcheck shell=bash disable=SC2154
# For as long as a test needs it: addresses on the node that stand for the world, with a server at each,
# and what enforces NetworkPolicies: kube-router, of which only the firewall runs.

ROUTER=v2.1.0
ROUTER_TOOLS=(ipset libipset13)
# The metadata service of clouds; two of the internet; of a private network. None is anybody's here.
WORLD=(169.254.169.254 198.51.100.7 203.0.113.7 10.99.99.99)

network_key() { key "$ROUTER" "${ROUTER_TOOLS[@]}" "$(declare -f build_network)"; }

build_network() {
  need_go
  env "${GO_ENVIRONMENT[@]}" GOBIN="$PWD" nice go install -ldflags '-s -w' "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@$ROUTER" 9>&- || return 1
  apt_get download "${ROUTER_TOOLS[@]}"
  local package
  for package in ./*.deb; do dpkg-deb -x "$package" . && rm "$package"; done
  rm -rf usr/share
}

network_world() {
  local address
  for address in "${WORLD[@]}"; do inside ip address replace "$address/32" dev lo; done
  alive world || start world python3 -c '
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
class World(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
for port in (53, 80): Thread(target=ThreadingHTTPServer(("0.0.0.0", port), World).serve_forever).start()'
  wait_for 10 inside curl --fail --silent "http://${WORLD[0]}"
}

network_enforce() {
  # shellcheck disable=SC2016
  alive kube-router || start kube-router /bin/bash -c '
    PATH=$1/usr/sbin:$PATH LD_LIBRARY_PATH=$2:$LD_LIBRARY_PATH exec -a kube-router "$1/kube-router" "${@:3}"
  ' - "$network" "$network/usr/lib/$(uname -m)-linux-gnu" --kubeconfig "$PKI/admin.kubeconfig" --hostname-override "$NODE" \
    --run-router=false --run-service-proxy=false --service-cluster-ip-range "$SERVICE_NET" --health-port 0 --metrics-port 0
  wait_for 30 firewall iptables --list KUBE-ROUTER-FORWARD
}

# The rules outlive kube-router, and a later Pod would have an earlier one's with its address.
network_stop() {
  terminate kube-router world
  local address
  for address in "${WORLD[@]}"; do inside ip address delete "$address/32" dev lo 2>/dev/null || true; done
  local -a chains
  local ours=KUBE-ROUTER-\\\|KUBE-POD-FW-\\\|KUBE-NWPLCY- set
  mapfile -t chains < <(firewall iptables-save --table filter | sed -n "s/^:\(\($ours\)[^ ]*\) .*/\1/p")
  [ ${#chains[@]} -gt 0 ] || return 0
  {
    echo '*filter'
    firewall iptables-save --table filter | sed -n 's/^-A \(\(INPUT\|FORWARD\|OUTPUT\) .*-j KUBE-ROUTER-.*\)/-D \1/p'
    printf -- '-F %s\n' "${chains[@]}"
    printf -- '-X %s\n' "${chains[@]}"
    echo COMMIT
  } | firewall iptables-restore --noflush
  firewall ipset list --name | grep '^KUBE-' | while read -r set; do firewall ipset destroy "$set"; done || true
}

firewall() {
  inside env PATH="$network/usr/sbin:$tools/usr/sbin:$PATH" XTABLES_LIBDIR="$tools/usr/lib/$(uname -m)-linux-gnu/xtables" \
    LD_LIBRARY_PATH="$network/usr/lib/$(uname -m)-linux-gnu:$tools/usr/lib/$(uname -m)-linux-gnu" "$@"
}
