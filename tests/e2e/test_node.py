"""The one node is drained, or falls silent. No other test runs at that time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.admin import wait_for
from tests.conftest import SCRIPT
from tests.e2e.site import Site, Watch

REF = "dtp-local/on-a-lost-node"
LONG = "#!/bin/bash\necho ran >>ran\nuntil [ -e finish ]; do sleep 1; done\n"
# Says which attempt runs, while it does.
BEATS = '#!/bin/bash\nuntil [ -e finish ]; do echo "$DTP_ATTEMPT" >>beats; sleep 0.5; done\n'


def test_draining_the_node_is_told_and_another_attempt_runs_when_asked_for(
    lonely_site: Site, cluster_facts: dict[str, str], watch: Watch
) -> None:
    site = lonely_site
    name = _begin(site)
    mine = f"--pod-selector=batch.kubernetes.io/job-name={name}"
    node = _need(cluster_facts, "NODE")
    try:
        watch.start()
        _cluster("kubectl", "drain", node, mine, "--delete-emptydir-data", "--ignore-daemonsets")
        ended = site.dispatch_until(REF, "ERRORED")
        watch.told("kubectl drain", ended)
        assert ended["reason"].startswith("its node was drained or lost")
        assert site.dtp("retry", REF).code == 0
        waiting = site.until(REF, "WAITING", "no node accepts it|no node takes it")
        watch.told("the only node is cordoned", waiting)
    finally:
        _cluster("kubectl", "uncordon", node)
    (site.place(REF) / "finish").touch()
    assert site.dispatch_until(REF, "SUCCEEDED")["attempt"] == 2


def test_a_kubelet_silent_for_a_moment_changes_nothing(
    lonely_site: Site, cluster_facts: dict[str, str], watch: Watch
) -> None:
    site = lonely_site
    _need(cluster_facts, "NODE")
    _begin(site)
    with _silent_kubelet():
        (site.place(REF) / "finish").touch()
        assert site.dispatch().rows[REF]["phase"] == "RUNNING"
    watch.start()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("kubelet silent for a moment", ended)
    assert _ran(site) == 1


def test_a_node_that_is_lost_while_a_script_runs_is_told(
    lonely_site: Site, cluster_facts: dict[str, str], watch: Watch
) -> None:
    site = lonely_site
    _need(cluster_facts, "NODE")
    _begin(site)
    with _silent_kubelet():
        watch.start()
        doubtful = site.until(REF, "RUNNING", "its node is being drained or does not answer")
        watch.told("kubelet stopped", doubtful)
        assert site.dispatch().rows[REF]["phase"] == "RUNNING", "nobody knows that it has ended"
    watch.start()
    ended = site.dispatch_until(REF, "ERRORED")
    watch.told("kubelet stopped, and back", ended)
    assert ended["reason"].startswith("its node was drained or lost")
    assert _ran(site) == 1


def test_after_its_node_was_deleted_another_attempt_does_not_run_beside_the_first(
    lonely_site: Site, cluster_facts: dict[str, str], watch: Watch
) -> None:
    """The Pod is gone from the cluster while its script runs on; then the node comes back.

    All that is left then is the first attempt's record on the claim.
    """
    site, node = lonely_site, _need(cluster_facts, "NODE")
    site.write(REF, BEATS)
    site.commit()
    site.dispatch()
    name = str(site.until(REF, "RUNNING")["name"])
    wait_for(lambda: _beats(site), "the script to have begun")
    with _silent_kubelet():
        site.admin.call("DELETE", f"/api/v1/nodes/{node}", {})
        wait_for(lambda: not site.pods(name), "the cluster to forget the Pod", 400)
        watch.start()
        ended = site.dispatch_until(REF, "ERRORED")
        watch.told("node deleted", ended)
        assert site.dtp("retry", REF).code == 0
        before = len(_beats(site))
        wait_for(lambda: len(_beats(site)) > before, "the first attempt to run on")
    # It runs when the first has shown no sign of life for three minutes: tests/runner has that.
    waits = site.until(REF, "WAITING", "waiting for an earlier attempt to end")
    watch.told("node deleted, and back: the next attempt", waits)
    assert set(_beats(site)) == {"1"}


def _beats(site: Site) -> list[str]:
    path = site.place(REF) / "beats"
    return path.read_text().split() if path.exists() else []


def _begin(site: Site) -> str:
    site.write(REF, LONG)
    site.commit()
    site.dispatch()
    name = str(site.until(REF, "RUNNING")["name"])
    wait_for(lambda: _ran(site), "the script to have begun")
    return name


def _ran(site: Site) -> int:
    path = site.place(REF) / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


@contextmanager
def _silent_kubelet() -> Iterator[None]:
    _cluster("kubelet", "stop")
    try:
        yield
    finally:
        _cluster("kubelet", "start")


def _cluster(*arguments: str) -> None:
    subprocess.run([SCRIPT, *arguments], check=True, capture_output=True)


def _need(facts: dict[str, str], key: str) -> str:
    """Return a fact of the native cluster; only its node may be taken away."""
    if key not in facts:
        pytest.skip("a cluster from outside: its node is not ours to take away")
    return facts[key]
