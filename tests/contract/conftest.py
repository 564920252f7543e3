"""Every contract test runs on the simulated cluster, and on a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.admin import Admin, Namespace
from tests.contract.stages import Counted, FakeStage, KubeStage, Stage


@pytest.fixture(params=["fake", "kube"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Yield an empty stage."""
    if request.param == "fake":
        yield FakeStage()
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    yield KubeStage(namespace)
    admin: Admin = namespace.admin
    admin.delete("ValidatingAdmissionPolicyBinding", namespace.name)
    admin.delete("ValidatingAdmissionPolicy", namespace.name)


@pytest.fixture
def cluster(stage: Stage) -> Counted:
    """Return one dispatcher's connection to the stage."""
    return stage.connect()
