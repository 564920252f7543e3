"""What a script reaches in the network, where the cluster enforces policies and where it does not.

The test cluster's own plugin ignores them; for this test alone, kube-router enforces them.
"""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.admin import wait_for
from tests.conftest import SCRIPT
from tests.e2e import attacks, page
from tests.e2e.prey import NOTHING, script, tried
from tests.e2e.site import Site

COLUMNS = ("policies ignored", "policies enforced")
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
REACH = "curl --silent --insecure --max-time 60 --output /dev/null"
# The firewall learns of a Pod a moment after it has its address.
SETTLE = f"until [ $((TRIES--)) -le 0 ] || ! {REACH} $API; do sleep 0.5; done\n"
STAY = "hostname -i >ready\nuntil [ -e done ]; do sleep 1; done\n"
LISTEN = "python3 -m http.server 8000 >/dev/null 2>&1"


class Campus(BaseHTTPRequestHandler):
    """A server of the site's own, outside the cluster."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def campus(cluster_facts: dict[str, str]) -> Iterator[str]:
    """Yield the address of a server on this machine, which the site's values open to jobs."""
    if "CLUSTER_DIR" not in cluster_facts:
        pytest.skip("whether this cluster enforces network policies is not ours to say")
    with HTTPServer((cluster_facts["HOST_IP"], 0), Campus) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"{cluster_facts['HOST_IP']}:{server.server_port}"
        server.shutdown()


def test_a_script_reaches_the_internet_and_what_the_values_open(
    site: Site, cluster_facts: dict[str, str], campus: str
) -> None:
    make_pod(site, "other", LISTEN)
    told = {"HERE": campus, "POD": wait_for(lambda: _pod(site, "other").get("podIP"), "a Pod")}
    told |= {key: cluster_facts[key] for key in ("API", "NODE_IP")} | {"TRIES": "0"}
    with network(cluster_facts):
        page.hold("network", COLUMNS[0], reached(site, "ignored", told), COLUMNS)
        subprocess.run([SCRIPT, "network", "enforce"], check=True)
        page.hold("network", COLUMNS[1], reached(site, "enforced", told | {"TRIES": "60"}), COLUMNS)


@contextmanager
def network(facts: dict[str, str]) -> Iterator[None]:
    """Have a world around the cluster; one test run at a time."""
    with (Path(facts["CLUSTER_DIR"]) / "network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            subprocess.run([SCRIPT, "network", "world"], check=True)
            yield
        finally:
            subprocess.run([SCRIPT, "network", "stop"], check=True)


def reached(site: Site, name: str, told: dict[str, str]) -> page.Found:
    """Return what came of a script's tries to reach all of it, and of a Pod's to reach the job."""
    ref, commands = f"dtp-local/{name}", {w: f"{REACH} {u}" for w, u in attacks.REACHES.items()}
    variables = "".join(f"{key}={value}\n" for key, value in told.items())
    head = f"{variables}{LISTEN} &\n{SETTLE}"
    site.merge(**{name: script(commands).replace("\n", f"\n{head}", 1) + STAY})
    site.dispatch()
    ready = site.place(ref) / "ready"
    wait_for(ready.exists, "the script to have tried all", 240)
    make_pod(site, name, f"{REACH} http://{ready.read_text().strip()}:8000")
    wait_for(lambda: _pod(site, name)["phase"] in ("Succeeded", "Failed"), "a Pod's try", 180)
    (site.place(ref) / "done").touch()
    site.dispatch(wait=True)
    codes = {what: code for what, (code, _) in tried(site, ref, commands).items()}
    codes[attacks.REACHED_FROM] = _pod(site, name)["phase"] == "Failed"
    return {what: "network policy" if code else NOTHING for what, code in codes.items()}


def make_pod(site: Site, name: str, command: str) -> None:
    """Run a command in a Pod that is no job's."""
    container = {
        "name": "c",
        "image": site.namespace.images["base"],
        "command": ["bash", "-c", command],
        "securityContext": LOCKED,
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    site.admin.create("Pod", name, site.namespace.name, spec=spec)


def _pod(site: Site, name: str) -> dict[str, Any]:
    return dict(site.admin.get("Pod", name, site.namespace.name)["status"])
