# shellcheck shell=bash
# One authority, every certificate, every kubeconfig. Made once; `down --purge` forgets them.

make_pki() {
  [ ! -e "$PKI/complete" ] || return 0
  rm -rf "$PKI"
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  ( cd "$PKI" && umask 077 && make_authority && make_certificates && make_kubeconfigs ) >&2 || die 1 "the cluster's certificates could not be made; the reason stands above"
  touch "$PKI/complete"
}

make_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

make_authority() {
  make_key ca
  openssl req -x509 -new -key ca.key -subj /CN=dtp-test-cluster -days 3650 -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  make_key service-accounts
  openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
}

# make_certificate NAME SUBJECT USAGE [ALTERNATIVE NAMES]
make_certificate() {
  make_key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  { echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$3"
    [ -z "${4:-}" ] || echo "subjectAltName=$4"; } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

make_certificates() {
  local names="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  make_certificate apiserver /CN=kube-apiserver serverAuth "$names,IP:127.0.0.1,IP:$NODE_IP,IP:$SERVICE_API"
  make_certificate kubelet-server "/O=system:nodes/CN=system:node:$NODE" serverAuth "DNS:$NODE,IP:$NODE_IP"
  make_certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet clientAuth
  make_certificate front-proxy /CN=front-proxy clientAuth
  make_certificate admin /O=system:masters/CN=admin clientAuth
  make_certificate kube-controller-manager /CN=system:kube-controller-manager clientAuth
  make_certificate kube-scheduler /CN=system:kube-scheduler clientAuth
  make_certificate kube-proxy /CN=system:kube-proxy clientAuth
  make_certificate kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth
}

make_kubeconfigs() {
  local user
  for user in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do
    cat >"$user.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: dtp-test
  cluster: {server: "$API", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $user
  user: {client-certificate-data: $(base64 -w0 "$user.crt"), client-key-data: $(base64 -w0 "$user.key")}
contexts:
- name: dtp-test
  context: {cluster: dtp-test, user: $user}
current-context: dtp-test
YAML
  done
}
