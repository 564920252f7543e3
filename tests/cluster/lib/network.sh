# shellcheck shell=bash disable=SC2154
# For as long as a test needs it: addresses on the node that stand for the world, with a server at each,
# and what enforces NetworkPolicies: kube-router, of which only the firewall runs.

# The metadata service of clouds; two of the internet; of a private network. None is anybody's here.
WORLD=(169.254.169.254 198.51.100.7 203.0.113.7 10.99.99.99)

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
  alive kube-router || start kube-router "$servers/kube-router" --kubeconfig "$PKI/admin.kubeconfig" --hostname-override "$NODE" \
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
  inside env PATH="$tools/usr/sbin:$PATH" XTABLES_LIBDIR="$tools/usr/lib/$(uname -m)-linux-gnu/xtables" \
    LD_LIBRARY_PATH="$tools/usr/lib/$(uname -m)-linux-gnu" "$@"
}
