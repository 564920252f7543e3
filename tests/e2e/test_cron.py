"""The chart's CronJob on a real cluster, with an image of this checkout's `dtp` and git."""

from __future__ import annotations

import functools
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import node
from tests.admin import PATHS, Admin, wait_for
from tests.chart import binaries
from tests.conftest import SCRIPT
from tests.e2e.site import Site
from tests.e2e.test_chart import HELLO, MORE_PATHS, Place, a_place


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Yield the URL of a folder's files."""
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()


def publish(site: Site, folder: Path) -> None:
    """Make what git clones from a server of plain files."""
    bare = folder / "lab" / "transfers"
    site.git("clone", "--quiet", "--bare", ".", str(bare))
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)


def run_once(place: Place, name: str) -> str:
    """Run the CronJob's Job as an admin would by hand, to its end; return how it ended."""
    path = MORE_PATHS["CronJob"].format(place.name)
    template = place.admin.call("GET", f"{path}/dtp-dispatch")["spec"]["jobTemplate"]
    place.admin.create("Job", name, place.name, spec=template["spec"])

    def ended() -> str:
        status = place.admin.call("GET", f"{PATHS['Job'].format(place.name)}/{name}")["status"]
        return "done" if status.get("succeeded") else "failed" if status.get("failed") else ""

    return str(wait_for(ended, f"the end of {name}"))


@pytest.fixture(scope="module")
def image(cluster_facts: dict[str, str]) -> str:
    """Return an image of this checkout's `dtp`, which the cluster has."""
    if "HOST_IP" not in cluster_facts:
        pytest.skip("Pods cannot be told where this machine is")
    made = subprocess.run([SCRIPT, "image", "dtp"], stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.strip()


@pytest.fixture
def place(
    admin: Admin, images: dict[str, str], cluster_facts: dict[str, str], tmp_path: Path
) -> Iterator[Place]:
    volumes = Path(cluster_facts["VOLUMES"])
    with (
        node.shared(cluster_facts),
        a_place(admin, images, volumes, binaries()[0], tmp_path) as made,
    ):
        yield made


def test_the_cronjob_dispatches_what_the_branch_has(
    image: str, place: Place, cluster_facts: dict[str, str], tmp_path: Path
) -> None:
    www = tmp_path / "www"
    www.mkdir()
    with served(www, cluster_facts["HOST_IP"]) as url:
        place.install(
            cron={
                "enabled": True,
                "image": image,
                "repository": f"{url}/lab/transfers",
                "source": "github.com/123456789#main",
                "clusterName": "campus",
            }
        )
        site = place.site(tmp_path / "requests")
        site.git("init", "--quiet", "--initial-branch", "main")
        site.write_catalog()
        site.merge(hello=HELLO)
        publish(site, www)
        assert run_once(place, "first") == "done", place.log_of("first")
        greeting = place.root / "dtp-jobs/dtp-local/hello/greeting"
        wait_for(greeting.exists, "what the script writes")
        assert run_once(place, "second") == "done", place.log_of("second")
        assert "dtp-local/hello" in place.log_of("second")
    assert greeting.read_text() == "hello\n"
