"""A fault at any request of a run: nothing runs twice, nothing is lost, and what is told is so.

The real API server, the stand-in for GitHub, and runs in this process. A few faults of each kind
here; `make faults` plays all of them, or FAULTS of each scene, and prints the table.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import pytest

from tests import preloaded
from tests.admin import Namespace
from tests.e2e.conftest import Sites
from tests.e2e.crowd import Crowd
from tests.e2e.ground import Ground
from tests.e2e.scenes import (
    GITHUB,
    HANGS,
    Answer,
    Cancel,
    Dispatch,
    Hub,
    OnCluster,
    OnHub,
    Report,
    Retry,
    Settle,
    Tally,
    faults,
    impatient,
    play,
)
from tests.e2e.site import SOURCE, Record, Site
from tests.e2e.test_once import through
from tests.faults import Fault, Kind, Proxy, before
from tests.github import fake
from tests.github.branches import Branches

GIVEN = os.environ.get("DTP_FAULTS", "9")  # in each scene: a number, or all
MOST = None if GIVEN == "all" else int(GIVEN)
KILLS, ROUNDS = (200, 20) if MOST is None or MOST >= 100 else (5, 2)
TOGETHER = 6  # kills between two looks at what they left
SCRIPTED = 14  # requests that a run makes for three scripts, about
SEED = 12


@pytest.fixture
def ground(namespace: Namespace) -> Ground:
    return Ground(namespace)


def held(tally: Tally, record: Record) -> None:
    """Note the line of the table, and fail where anything in it is not as promised."""
    record("faults", tally.line)
    bad = {name: found[:5] for name, found in tally.bad.items() if found}
    assert tally.runs, "nothing went wrong"
    assert not bad, f"{tally.line}: {bad}"


def test_a_few_faults_are_of_all_kinds_and_spread_over_the_requests() -> None:
    asked = ["GET /a", "POST /b", "PATCH /c"] * 10
    few = faults(asked, tuple(Kind), 27)
    assert {fault.kind for fault in few} == set(Kind)
    assert {(fault.lasting, fault.writes_only) for fault in few} == {
        (False, False),
        (True, False),
        (True, True),
    }
    assert {(fault.at - 1) // 10 for fault in few if fault.kind is Kind.DOWN} == {0, 1}
    every = faults(asked, (Kind.DOWN, Kind.QUOTA), None)
    assert len(every) == 30 + 30 + 20 + 3 * 10
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("scene", [Dispatch, Settle, Retry, Cancel])
def test_at_any_request_to_the_cluster(
    ground: Ground, scene: type[OnCluster], record_property: Record
) -> None:
    with ground.proxied() as proxy:
        held(play(scene(ground, proxy), MOST), record_property)


@pytest.mark.parametrize("side", ["cluster", "GitHub"])
@pytest.mark.parametrize("scene", [Report, Answer])
def test_at_any_request_with_github(
    ground: Ground, scene: type[OnHub], side: str, tmp_path: Path, record_property: Record
) -> None:
    with (
        fake.serve() as github,
        ground.proxied() as to_cluster,
        before(github.url, GITHUB) as to_github,
    ):
        branches = Branches(tmp_path / "requests", github)
        github.visibility = "private"
        hub = Hub(branches, to_cluster=to_cluster, to_github=to_github)
        held(play(scene(ground, hub, side), MOST), record_property)


def test_killed_at_any_moment(sites: Sites, tmp_path: Path, record_property: Record) -> None:
    random = Random(SEED)
    tally = Tally("kill -9 of dtp dispatch")
    with sites(profile="namespace") as site:
        ground = Ground(site.namespace)
        with ground.proxied() as proxy:
            led = through(site, proxy)
            while tally.runs < KILLS:
                killed_for_a_while(led, ground, proxy, random, tally)
    held(tally, record_property)


def killed_for_a_while(
    site: Site, ground: Ground, proxy: Proxy, random: Random, tally: Tally
) -> None:
    """Kill some dispatchers in turn, each of which finds what the last one left; then look."""
    ground.clear()
    refs = [f"dtp-local/job-{number:02}" for number in range(3 * TOGETHER)]
    for turn in range(TOGETHER):
        for ref in refs[3 * turn : 3 * turn + 3]:
            site.write(ref, f"#!/bin/bash\necho {tally.runs} {ref}\n")
        site.commit()
        killed(site, proxy, random, tally)
        ground.finish(random.choice([0, 3]), refs=set(random.sample(refs, 6)))
    for _ in range(2):
        site.dispatch()
        proxy.deliver()
    tally.doubles += ground.doubles()
    tally.lost += ground.lost(dict.fromkeys(refs, 1))
    for ref in refs:
        site.remove(ref)


def killed(site: Site, proxy: Proxy, random: Random, tally: Tally) -> None:
    """Kill one as one of its requests arrives, is on its way on, or has been carried out."""
    argv, environment = site.command("dispatch", "--source", SOURCE)
    out = site.directory.with_suffix(".out")
    process = preloaded.prepared(argv, environment, out, out)
    kind = random.choice([Kind.BEFORE, Kind.AFTER, Kind.LATER])
    at = random.randrange(1, 3 * SCRIPTED)
    proxy.play(Fault(kind=kind, at=at, then=process.kill))
    process.start()
    process.join(HANGS)
    if process.exitcode is None:
        tally.hung.append(str(at))
        process.kill()
        process.join()
    tally.runs += process.exitcode == -signal.SIGKILL
    tally.faults += proxy.broken
    proxy.play(None)


def test_eight_dispatchers_of_four_commits(ground: Ground, record_property: Record) -> None:
    crowd = Crowd(ground, Random(SEED), Tally(f"8 dispatchers of 4 commits, {ROUNDS} rounds"))
    with crowd.gathered(), impatient(Kind.LATE):
        for _ in range(ROUNDS):
            crowd.play()
    held(crowd.tally, record_property)
