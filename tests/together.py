"""In which order tests run, and which of them go to one worker of pytest-xdist.

The tests that take the node away begin, one after the other. Beside them run those that need
nothing of the cluster, and these also while it is built; then those that share the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

# Those of a file share what is expensive to make, or take the node away.
WHOLE_FILES = (
    "tests/contract/test_truth.py",
    "tests/e2e/test_node.py",
    "tests/e2e/test_outcomes.py",
    "tests/e2e/test_sra.py",
)
BY_PARAMETER = ("tests/e2e/test_attacks.py",)  # those of one parameter go to one worker
NEXT = 2  # the test that a worker runs, and the one that follows: it has to know that one


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark what needs the node, before any is deselected, and put in order what is left."""
    for item in items:
        if _uses(item, "kubeconfig") or _stage(item) == "kube":
            item.add_marker("node")
    yield
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, bool, bool]:
    """Return where it comes: of each kind the long ones first, or workers would wait for them."""
    alone = _uses(item, "lonely_site")
    waits = item.get_closest_marker("node") is not None or _uses(item, "registry_program")
    long = _uses(item, "patience") or _file(item.nodeid) in (*WHOLE_FILES, *BY_PARAMETER)
    return not alone, waits and not alone, not long


def _stage(item: pytest.Item) -> Any:
    """Return where a contract test runs, whose fixture asks for the cluster by itself."""
    return getattr(item, "callspec", None) and item.callspec.params.get("stage")  # type: ignore[attr-defined]


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that deals out tests one by one, and some together.

    Only with `--dist=loadgroup`: quick tests alone are dealt out faster by the handful.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    config.option.loadscopereorder = False  # in our order, and not the largest group first

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # of a base that has no types
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            if file in BY_PARAMETER:
                return file + test.partition("[")[2]
            return file if file in WHOLE_FILES else nodeid

        def _reschedule(self, node: Any) -> None:
            """Hand out no more than is needed: a long test must not wait behind another one."""
            if not self.workqueue or self._pending_of(self.assigned_work[node]) < NEXT:
                super()._reschedule(node)

    return Together(config, log)
