"""Every contract test runs on the simulated cluster, and on a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dtp_action.dispatch import Cluster
from tests.admin import Admin, Namespace
from tests.contract.stages import FakeStage, KubeStage, LocalStage, Stage


@pytest.fixture(params=["fake", "local", "kube"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Yield an empty stage."""
    if request.param == "fake":
        yield FakeStage()
        return
    if request.param == "local":
        local = LocalStage(tmp_path / "cluster")
        yield local
        local.stop_all()
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    yield KubeStage(namespace)
    admin: Admin = namespace.admin
    admin.delete("ValidatingAdmissionPolicyBinding", namespace.name)
    admin.delete("ValidatingAdmissionPolicy", namespace.name)


@pytest.fixture
def cluster(stage: Stage) -> Cluster:
    """Return one dispatcher's connection to the stage."""
    return stage.connect()
