"""Sites for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import node
from tests.admin import Admin, settled
from tests.e2e.site import Record, Site, Watch, make_site

Lock = Callable[[dict[str, str]], AbstractContextManager[None]]
Sites = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def sites(
    admin: Admin,
    images: dict[str, str],
    cluster_facts: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Sites:
    """Return what makes sites; its keywords are keys of the cluster settings.

    A site has the chart in its profile `cluster`, all policies, and may reach this machine. It
    counts on the node, and shares it unless told otherwise.
    """
    volumes = cluster_facts.get("VOLUMES")
    here = cluster_facts.get("HOST_IP")
    network = {"allow": [f"{here}/32"] if here else [], "deny": ["203.0.113.0/24"]}

    def make(
        *, lock: Lock = node.shared, profile: str = "cluster", **settings: Any
    ) -> AbstractContextManager[Site]:
        values = settled({"profile": profile, "networkPolicy": network}, **settings)
        directory = tmp_path_factory.mktemp("site") / "requests"
        folder = Path(volumes) if volumes else None

        @contextmanager
        def made() -> Iterator[Site]:
            with (
                lock(cluster_facts),
                make_site(admin, images, folder, directory, **values) as new,
            ):
                yield new

        return made()

    return make


@pytest.fixture
def lonely_site(sites: Sites) -> Iterator[Site]:
    """Yield a fresh site for a test that takes the node away: no other test runs meanwhile."""
    with sites(lock=node.alone) as made:
        yield made


@pytest.fixture
def site(sites: Sites) -> Iterator[Site]:
    """Yield a fresh site, for one test alone."""
    with sites() as made:
        yield made


@pytest.fixture
def patience() -> float:
    """Mark a test that waits for minutes, so that it begins early; return how many seconds."""
    return 400.0


@pytest.fixture
def watch(record_property: Record) -> Watch:
    """Return a watch that was started with the test."""
    return Watch(record_property)
