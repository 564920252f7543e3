"""Who has the cluster's one node: tests share it, and the test that takes it away has it alone.

Holds between the processes of one test run, and between test runs that share a machine's cluster.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(cluster_facts: dict[str, str]) -> Iterator[None]:
    """Count on the node: wait while somebody has it alone. A cluster from outside has no lock."""
    yield from _locked(cluster_facts, fcntl.LOCK_SH)


@contextmanager
def alone(cluster_facts: dict[str, str]) -> Iterator[None]:
    """Wait until nobody counts on the node, and let nobody begin to."""
    yield from _locked(cluster_facts, fcntl.LOCK_EX)


def _locked(cluster_facts: dict[str, str], how: int) -> Iterator[None]:
    folder = cluster_facts.get("CLUSTER_DIR")
    if not folder:
        yield
        return
    with (Path(folder) / "node.lock").open("w") as file:
        fcntl.flock(file, how)
        yield
