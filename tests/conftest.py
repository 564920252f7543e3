"""A real cluster for the tests that need one; whatever they need it for, they share it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import node
from tests.together import (  # noqa: F401 (hooks of pytest's)
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
)

pytest_plugins = ["tests.e2e.told", "tests.minutes"]

if TYPE_CHECKING:  # most tests need no connection, whose import takes as long as many of them
    from tests.admin import Admin, Namespace

SCRIPT = Path(__file__).parent / "cluster" / "cluster"
CANNOT = 3  # the script's exit code where this machine cannot run a cluster


@pytest.fixture(scope="session", autouse=True)
def plain_surroundings() -> None:
    """What tests start finds signals and file modes as a login has them, however we were started.

    A shell cannot trap a signal that it was started to ignore, as behind `nohup` or a script's `&`.
    We go on ignoring it, by a handler: a handler is not handed down.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.umask(0o022)


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Return the path of the cluster admin's kubeconfig.

    From `DTP_TEST_KUBECONFIG`, else of the native cluster, which is started if need be. Where
    neither is to be had the tests are skipped with the reason; a cluster that fails is a failure.
    """
    if given := os.environ.get("DTP_TEST_KUBECONFIG"):
        return given
    up = subprocess.run([SCRIPT, "up"], capture_output=True, text=True, check=False)
    if up.returncode == CANNOT:
        pytest.skip(f"no real cluster: {up.stderr.strip()}")
    assert up.returncode == 0, f"tests/cluster/cluster up failed:\n{up.stderr}"
    return up.stdout.strip()


@pytest.fixture(scope="session")
def cluster_facts(kubeconfig: str) -> dict[str, str]:
    """Return what `tests/cluster/cluster env` tells; of a cluster from outside, what is given."""
    env = subprocess.run([SCRIPT, "env"], capture_output=True, text=True, check=False)
    facts = dict(line.split("=", 1) for line in env.stdout.splitlines())
    if facts.get("KUBECONFIG") == kubeconfig:
        return facts
    shared = os.environ.get("DTP_TEST_VOLUMES")  # a folder that the nodes have too
    return {"VOLUMES": shared} if shared else {}


@pytest.fixture(scope="session")
def images(cluster_facts: dict[str, str]) -> dict[str, str]:
    """Return the images by short name; a cluster from outside names its own, as JSON."""
    if listed := cluster_facts.get("IMAGES"):
        return dict(json.loads(Path(listed).read_text()))
    given = os.environ.get("DTP_TEST_IMAGES")
    assert given, 'with a cluster of your own, set DTP_TEST_IMAGES: {"runner": …, "base": …}'
    return dict(json.loads(given))


@pytest.fixture(scope="session")
def admin(kubeconfig: str) -> Admin:
    """Return a connection that may do everything."""
    from tests.admin import Admin

    return Admin(kubeconfig)


@pytest.fixture
def namespace(
    admin: Admin, images: dict[str, str], cluster_facts: dict[str, str]
) -> Iterator[Namespace]:
    """Yield a fresh namespace with the chart in it, as its own admin would have it."""
    from tests.admin import make_namespace, remove_namespace

    name = f"t-{secrets.token_hex(4)}"
    volumes = cluster_facts.get("VOLUMES")
    with node.shared(cluster_facts):
        made = make_namespace(admin, name, images, Path(volumes) if volumes else None)
        yield made
        remove_namespace(admin, name)
    if made.claim:
        shutil.rmtree(made.claim, ignore_errors=True)  # a Pod on its way out may still write
