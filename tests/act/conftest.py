"""Hubs: requests repositories whose workflows run under `act`, against a real Kubernetes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.act.hub import EXAMPLES, Hub, lay_project, one_line
from tests.e2e.conftest import site, sites  # noqa: F401 (fixtures)
from tests.e2e.site import Site
from tests.github import fake
from tests.github.fake import GitHub


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this project, as runs take it from its repository."""
    return lay_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def github() -> Iterator[GitHub]:
    """Yield GitHub."""
    with fake.serve() as running:
        yield running


@pytest.fixture
def bare_hub(tmp_path: Path, github: GitHub, project: Path) -> Hub:
    """Return a requests repository that has nothing yet, and no cluster."""
    return Hub(root=tmp_path / "hub", github=github, project=project)


@pytest.fixture
def hub(bare_hub: Hub, site: Site) -> Hub:  # noqa: F811 (a fixture, not the import)
    """Return a requests repository with one cluster, as docs/examples/one-cluster has it."""
    bare_hub.secrets["KUBECONFIG"] = one_line(site.namespace.kubeconfig)
    bare_hub.lay_workflows(
        EXAMPLES / "one-cluster", {"namespace: dtp": f"namespace: {site.namespace.name}"}
    )
    dataclasses.replace(site, directory=bare_hub.branches.root).write_catalog()
    bare_hub.branches.commit_all("the site's own rows")
    return bare_hub
