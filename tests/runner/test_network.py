"""The fence between two clients of one network file system, where the machine has one.

DTP_TWO_CLIENTS=/mnt/a:/mnt/b names two mounts of the same directory, each with caches of its own.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runner.conftest import COUNTING, Attempt, program, until

CLIENTS = os.environ.get("DTP_TWO_CLIENTS", "")
pytestmark = pytest.mark.skipif(not CLIENTS, reason="DTP_TWO_CLIENTS names no two mounts")
RESUME = {"DTP_RESUME": "yes", "DTP_HEARTBEAT": "1", "DTP_MARGIN": "4"}


def clients(name: str, script: str, local: Path) -> tuple[Attempt, Attempt]:
    """The same attempt as two nodes see it; scratch is each node's own."""
    first, second = (Path(mount) / f"{name}-{time.time_ns()}" for mount in CLIENTS.split(":"))
    second = second.with_name(first.name)
    scratch = {"HOME": str(local / "home"), "TMPDIR": str(local / "tmp")}
    one = Attempt(shell=[program("busybox"), "sh"], root=first, environment=scratch).script(script)
    until((second / "job").is_dir)
    return one, replace(one, root=second, pods=1)


def test_two_nodes_at_the_same_moment_run_the_script_once(tmp_path: Path) -> None:
    for number in range(50):
        pair = clients("race", COUNTING + "sleep 0.1", tmp_path)
        order = pair if number % 2 else pair[::-1]
        pods = [(node, node.begin(DTP_UID=f"node-{at}")) for at, node in enumerate(order)]
        codes = sorted(node.end(pod).code for node, pod in pods)
        assert pair[0].runs() == 1
        assert codes == [0, 0]


def test_another_node_sees_that_a_start_lives(tmp_path: Path) -> None:
    one, two = clients("alive", COUNTING + "sleep 10", tmp_path)
    first = one.begin(DTP_UID="node-0", **RESUME)
    until(one.runs)
    assert two.end(two.begin(DTP_UID="node-1", **RESUME)).code == 0
    assert (one.end(first).code, one.runs()) == (0, 1)


def test_another_node_takes_over_from_the_dead(tmp_path: Path) -> None:
    one, two = clients("dead", COUNTING + "[ $DTP_START = 2 ] || sleep 1", tmp_path)
    first = one.begin(DTP_UID="node-0", **RESUME)
    until(one.runs)
    first.kill()
    one.end(first)
    time.sleep(3)
    resumed = two.end(two.begin(DTP_UID="node-1", **RESUME))
    assert (resumed.code, resumed.result["start"], two.runs()) == (0, 2, 2)
