# shellcheck shell=bash
# Sourced by .ci/run: install from Debian what a new machine lacks for `make test` and the cluster.
# Go 1.26 or newer is needed too, and is not installed here: Debian 12 has only an older one.

missing=()
for need in ip:iproute2 nsenter:util-linux flock:util-linux openssl:openssl curl:curl git:git make:make \
  python3:python3 busybox:busybox-static bash-static:bash-static dash:dash; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need#*:}")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    echo "installing ${missing[*]}" >&2
    apt-get -qq update >&2 && apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2
  else
    echo "this machine lacks: ${missing[*]} (install them, or run as root)" >&2
  fi
fi
