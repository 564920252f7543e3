"""A fork of this repository that runs its workflows as they are, and what the README shows."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.act.hub import ROOT, Hub, one_line
from tests.e2e.site import Site

WORKS = "#!/bin/sh\necho moved\n"
REF = "dtp-local/genome"


@pytest.fixture
def fork(bare_hub: Hub, site: Site) -> Hub:
    """Return a fork of this repository, with a cluster."""
    bare_hub.secrets["KUBECONFIG"] = one_line(site.namespace.kubeconfig)
    bare_hub.lay_workflows(ROOT / ".github/workflows", {})
    dataclasses.replace(site, directory=bare_hub.branches.root).write_catalog()
    bare_hub.branches.commit_all("the site's own rows")
    return bare_hub


def test_a_fork_does_nothing_until_it_is_enabled(fork: Hub, site: Site) -> None:
    fork.variables.clear()
    pull = fork.pull(7, genome=WORKS)
    fork.merge(pull)

    for run in (fork.push(), fork.schedule(), fork.preview_comment(pull), fork.comment(7, "/dtp")):
        assert (run.code, run.outputs) == (0, {})

    assert site.status() == {}
    assert not fork.github.on(7)


def test_an_enabled_fork_runs_jobs_as_a_repository_of_its_own_does(fork: Hub, site: Site) -> None:
    pull = fork.pull(7, genome=WORKS)
    assert f"`{REF}`" in fork.preview(pull).summary
    assert fork.preview_comment(pull).code == 0
    fork.merge(pull)

    pushed = fork.push()

    assert (pushed.code, pushed.outputs["opened"]) == (0, "1")
    assert site.job(REF)["reason"] == "done"
    assert "1 done" in fork.github.on(7)[0]


def test_the_readmes_workflow_runs_as_it_is_shown(bare_hub: Hub, site: Site) -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"```yaml\n(# \.github/workflows/dispatch\.yml.*?)```", readme, re.DOTALL)
    assert shown, "the README shows a workflow"
    bare_hub.secrets["KUBECONFIG"] = one_line(site.namespace.kubeconfig)
    text = shown[1].replace("namespace: dtp", f"namespace: {site.namespace.name}")
    bare_hub.lay_workflow("dispatch", text)
    dataclasses.replace(site, directory=bare_hub.branches.root).write_catalog()
    bare_hub.branches.commit_all("the site's own rows")
    bare_hub.merge(bare_hub.pull(7, genome=WORKS))

    pushed = bare_hub.push()

    assert pushed.code == 0, pushed.log
    assert site.job(REF)["reason"] == "done"
    assert "1 done" in bare_hub.github.on(7)[0]
