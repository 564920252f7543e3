"""Sites for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.admin import Admin
from tests.e2e.site import Record, Site, Watch, make_site

Sites = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def sites(
    admin: Admin,
    images: dict[str, str],
    cluster_facts: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Sites:
    """Return what makes sites; its keywords are keys of the cluster settings."""
    volumes = cluster_facts.get("VOLUMES")

    def make(**settings: Any) -> AbstractContextManager[Site]:
        directory = tmp_path_factory.mktemp("site") / "requests"
        return make_site(admin, images, Path(volumes) if volumes else None, directory, **settings)

    return make


@pytest.fixture
def site(sites: Sites) -> Iterator[Site]:
    """Yield a fresh site, for one test alone."""
    with sites() as made:
        yield made


@pytest.fixture
def watch(record_property: Record) -> Watch:
    """Return a watch that was started with the test."""
    return Watch(record_property)
