"""Two clusters in one repository, as docs/examples/several-clusters has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.act.hub import EXAMPLES, Hub, one_line
from tests.e2e.conftest import Sites
from tests.e2e.site import Site

WORKS = "#!/bin/sh\necho moved\n"


@pytest.fixture
def pair(bare_hub: Hub, sites: Sites) -> Iterator[tuple[Hub, Site, Site]]:
    """Yield a repository with the branches north and south, and their sites."""
    with ExitStack() as stack:
        north, south = (stack.enter_context(sites()) for _ in range(2))
        bare_hub.secrets["KUBECONFIG_NORTH"] = one_line(north.namespace.kubeconfig)
        bare_hub.secrets["KUBECONFIG_SOUTH"] = one_line(south.namespace.kubeconfig)
        names = {"dtp": north.namespace.name, "transfers": south.namespace.name}
        changes = {f"namespace: {old}": f"namespace: {new}" for old, new in names.items()}
        bare_hub.lay_workflows(EXAMPLES / "several-clusters", changes)
        dataclasses.replace(north, directory=bare_hub.branches.root).write_catalog()
        bare_hub.branches.commit_all("the sites' own rows")
        for branch in ("north", "south"):
            bare_hub.branches.git("branch", branch)
        yield bare_hub, north, south


def test_one_scheduled_job_visits_every_cluster_and_a_push_its_own(
    pair: tuple[Hub, Site, Site],
) -> None:
    hub, north, south = pair
    hub.merge(hub.pull(7, base="north", genome=WORKS))
    hub.merge(hub.pull(8, base="south", protein=WORKS))

    assert hub.schedule().code == 0

    assert set(north.status()) == {"dtp-local/genome"}
    assert set(south.status()) == {"dtp-local/protein"}
    north.until("dtp-local/genome", "SUCCEEDED")
    south.until("dtp-local/protein", "SUCCEEDED")

    pushed = hub.push("south")

    assert pushed.code == 0, pushed.log
    assert "1 done" in hub.github.on(8)[0]
    assert "1 done" not in hub.github.on(7)[0], "north was not visited"
    assert {artifact.name for artifact in hub.github.artifacts} == {
        "dtp-status-north",
        "dtp-status-south",
    }


def test_one_clusters_trouble_is_not_the_others(pair: tuple[Hub, Site, Site]) -> None:
    hub, _, south = pair
    hub.secrets["KUBECONFIG_NORTH"] = one_line("kind: Config\n")
    hub.merge(hub.pull(8, base="south", protein=WORKS))

    run = hub.schedule()

    assert run.code != 0, "it is told"
    assert set(south.status()) == {"dtp-local/protein"}


def test_a_comment_is_answered_by_its_own_cluster_alone(pair: tuple[Hub, Site, Site]) -> None:
    hub, _, south = pair
    hub.github.permissions["grace"] = "write"
    hub.merge(hub.pull(8, base="south", protein="#!/bin/sh\nexit 7\n"))
    hub.push("south")
    before = len(hub.github.on(8))

    assert hub.comment(8, "/dtp retry dtp-local/protein").code == 0

    assert len(hub.github.on(8)) == before + 1
    assert south.job("dtp-local/protein")["attempt"] == 2
