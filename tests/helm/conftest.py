"""Both Helms, and where the chart's scripts run without a Pod."""

from __future__ import annotations

import pytest

from tests.chart import Helm, binaries


@pytest.fixture(params=[0, 1], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Return one Helm, then the other."""
    return Helm(binary=binaries()[request.param])
