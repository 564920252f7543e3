"""What the runner costs a transfer: a copy over the network, and a script that prints a lot.

In one Pod and one run, in turn: the same script by itself and through a runner of its own, which is
started by the job's script with directory, fence, log and heartbeat. Each print is written to the
claim once: bare by redirection, through the runner by its log.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median

from benchmarks.common import bench, machine, tell

PIECE = os.urandom(1 << 20)

SCRIPT = r"""#!/bin/bash
#DTP time=1h memory=1Gi disk=20Gi
measure() {
  local name=$1 began=$EPOCHREALTIME ended; shift
  "$@" || exit 9
  ended=$EPOCHREALTIME
  echo "{\"name\": \"$name\", \"microseconds\": $((${ended/./} - ${began/./}))}" >>figures
}
bare() { bash "$1" >sink 2>&1; }
through() {
  mkdir -p nested/state
  echo nested nested >nested/state/entry
  DTP_REF=dtp-local/nested DTP_NAME=nested DTP_ENTRY=nested DTP_BLOB=nested \
    DTP_ATTEMPT=1 DTP_RETRIES=0 DTP_RESUME=no \
    DTP_DIRECTORY=$PWD/nested DTP_STATE=$PWD/nested/state DTP_SCRIPT=$PWD/$1 DTP_TOOLS=/dtp \
    DTP_UID=nested DTP_TERMINATION=/dev/null DTP_HEARTBEAT=5 \
    /dtp/bin/busybox sh /dtp/run.sh >/dev/null 2>&1
}
echo 'curl -fsS -o "${DTP_DIRECTORY:-.}/copied" @URL@' >copy
echo 'head -c @PRINTED@ /dev/zero | tr "\0" x | fold -w 99' >print
for round in $(seq @ROUNDS@); do
  for what in copy print; do
    measure "$what bare" bare $what; rm -f sink copied
    measure "$what through" through $what; rm -rf nested
  done
done
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copied", type=int, default=4 << 30, help="bytes")
    parser.add_argument("--printed", type=int, default=1 << 30, help="bytes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with bench() as site, server(site.facts["HOST_IP"], given.copied) as url:
        script = SCRIPT.replace("@URL@", url).replace("@PRINTED@", str(given.printed))
        site.write({"dtp-local/bytes": script.replace("@ROUNDS@", str(given.rounds))})
        site.dtp("dispatch", "--source", "bench#main", "--wait", "3000")
        assert site.namespace.claim
        directory = site.namespace.claim / "dtp-jobs" / "dtp-local" / "bytes"
        lines = (directory / "figures").read_text().splitlines()
    figures: dict[str, list[float]] = {}
    for figure in map(json.loads, lines):
        figures.setdefault(figure["name"], []).append(figure["microseconds"] / 1e6)
    for what, size in (("copy", given.copied), ("print", given.printed)):
        bare, through = (median(figures[f"{what} {how}"]) for how in ("bare", "through"))
        gib = size / 2**30
        tell(f"{what}, {gib:.3g} GiB", machine=machine(), bare_s=bare, through_s=through,
             bare_MB_a_second=size / bare / 1e6,
             speed_kept_percent=100 * bare / through)  # fmt: skip


@contextmanager
def server(address: str, size: int) -> Iterator[str]:
    """Serve one large body on the host's side of the test cluster's own link."""

    class Body(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for at in range(0, size, len(PIECE)):
                self.wfile.write(PIECE[: size - at])

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((address, 0), Body) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://{address}:{http.server_port}/"
        http.shutdown()


if __name__ == "__main__":
    main()
