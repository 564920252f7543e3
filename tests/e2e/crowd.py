"""Eight dispatchers of four commits at once, each with something going wrong: the newer one rules.

The branch and the checker of what happened are those of `tests/unit/test_history.py`; what happened
is what reached the API server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from dtp_action import dispatch
from dtp_action.adapters import kube
from dtp_action.core import ledger, planner
from dtp_action.core.model import Ref
from dtp_action.errors import DtpError
from tests import builders as b
from tests.e2e.ground import Ground, makes_job
from tests.e2e.scenes import RUNS, Tally, bounded, named
from tests.faults import Fault, Kind, Proxy, Write
from tests.unit.test_dispatch import Clock
from tests.unit.test_history import Fleet
from tests.world import Event

REFS = [b.a_ref(f"dtp-local/job-{number}") for number in range(6)]
CONTENTS = [f"#!/bin/sh\necho {number}\n".encode() for number in range(3)]
COMMITS, EACH = 4, 2  # how many dispatchers there are of each
LOOKS = 6.0  # seconds, of a clock that moves by pauses alone
DEEP = 40  # requests of a dispatcher among which one goes wrong


@dataclass
class Crowd:
    """The dispatchers, each with its way to the API server, and what reached that."""

    ground: Ground
    random: Random
    tally: Tally
    fleet: Fleet = field(default_factory=Fleet)
    commits: list[str] = field(default_factory=list)  # oldest first
    ways: list[Proxy] = field(default_factory=list)
    blobs: dict[str, str] = field(default_factory=dict)  # by the attempt's name

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Open a way for each dispatcher, and one that nothing disturbs."""
        with ExitStack() as stack:
            for place in range(COMMITS * EACH + 1):
                seen = partial(self._note, min(place // EACH, COMMITS - 1))
                self.ways.append(stack.enter_context(self.ground.proxied(seen)))
            yield

    def play(self) -> None:
        """Play one round on an empty ledger."""
        self.ground.clear()
        self.fleet = Fleet()
        self.commits.clear()
        for _ in range(COMMITS):
            self.fleet.commit(
                {
                    ref: b.a_wanted(ref, self.random.choice(CONTENTS))
                    for ref in REFS
                    if self.random.random() < 0.7
                }
            )
            self.commits.append(self.fleet.tip)
        self._all(disturbed=True)
        self._newest()
        self.fleet.world.note("settled", commit=self.fleet.tip)
        for way in self.ways:
            way.deliver()
        self._all(disturbed=False)
        for _ in range(3):
            self._newest()
            self.ground.carry_out()
        self._newest()
        self._check()

    def _all(self, *, disturbed: bool) -> None:
        with ThreadPoolExecutor(COMMITS * EACH) as pool:
            list(pool.map(partial(self._one, disturbed=disturbed), range(COMMITS * EACH)))

    def _one(self, place: int, *, disturbed: bool) -> None:
        way, commit = self.ways[place], self.commits[place // EACH]
        fault = self._fault() if disturbed else None
        line = self.fleet.known(commit)
        if self.random.random() < 0.3:  # GitHub is away: the clone decides
            line = replace(line, place=lambda: None)
        way.play(fault)
        error, _ = bounded(partial(self._dispatch, way, commit, line))
        self.tally.runs += way.hit
        self.tally.faults += way.broken
        way.play(None)
        if isinstance(error, TimeoutError):
            self.tally.hung.append(str(fault))
        elif isinstance(error, DtpError):
            if not fault or not named(fault, error.message):
                self.tally.unnamed.append(f"{error.message} ({fault})")
        elif error:
            raise error

    def _fault(self) -> Fault:
        kind, at = self.random.choice(list(Kind)), self.random.randrange(1, DEEP)
        return Fault(kind=kind, at=at, lasting=self.random.random() < 0.3)

    def _newest(self) -> None:
        tip = self.fleet.tip
        self._dispatch(self.ways[-1], tip, self.fleet.known(tip), looks=0)

    def _dispatch(
        self, way: Proxy, commit: str, line: planner.Line, looks: float = LOOKS
    ) -> list[str]:
        dispatch.run(
            kube.connect(kubeconfig=way.kubeconfig, context=None, namespace=None),
            self.fleet.desired(commit),
            b.a_policy(run=f"run-{next(RUNS)}"),
            line=line,
            patience=Clock().patience(looks),
            source=lambda _observed: b.SOURCE,
        )
        return []

    # --- what happened ---

    def _note(self, place: int, write: Write) -> None:
        """Take into the history what a dispatcher did."""
        if write.status not in (200, 201):
            return
        notes = (write.sent or {}).get("metadata", {}).get("annotations", {})
        name = write.answer["metadata"]["name"]
        if write.request.startswith("POST ") and ledger.ORIGIN in notes:
            self.blobs[name] = str(json.loads(notes[ledger.ORIGIN])["blob"])
        elif makes_job(write):
            self._happened("made", place, name, notes)
        elif ledger.INTENT in notes:
            why = ledger.load_intent(notes[ledger.INTENT]).why
            self._happened("intent", place, name, write.answer["metadata"]["annotations"], why=why)

    def _happened(
        self, kind: str, place: int, name: str, notes: dict[str, str], **more: Any
    ) -> None:
        world, ref = self.fleet.world, Ref.parse(notes[ledger.REF])
        world.history.append(
            Event(
                kind=kind,
                namespace=world.namespace_uid,
                name=name,
                ref=ref,
                blob=self.blobs[name],
                commit=self.commits[place],
                era=world.era,
                **more,
            )
        )

    def _check(self) -> None:
        self.tally.doubles += self.ground.doubles()
        try:
            self.fleet.check_newer_rules()
        except AssertionError as error:
            self.tally.lost.append(str(error))
        entries = [entry["metadata"] for entry in self.ground.entries()]
        jobs = {job["metadata"]["name"]: job for job in self.ground.jobs()}
        wanted = self.fleet.commits[self.fleet.tip].wanted
        for ref in REFS:
            of = [one for one in entries if one["annotations"][ledger.REF] == str(ref)]
            going = [one for one in of if ledger.OUTCOME not in one["annotations"]]
            names = [one["name"] for one in going]
            asked = wanted.get(ref)
            if not asked:
                self.tally.lost += [f"{name} goes on, and nobody asks for it" for name in names]
                continue
            right = len(going) == 1 and self.blobs[names[0]] == asked.blob and names[0] in jobs
            if not right or jobs[names[0]]["spec"]["activeDeadlineSeconds"] == 1:
                self.tally.lost.append(f"{ref} does not run as the branch has it: {names}")
            if len(of) > self._changes(ref):
                self.tally.doubles.append(f"{ref}: {len(of)} attempts")

    def _changes(self, ref: Ref) -> int:
        line = [self.fleet.commits[name] for name in self.commits]
        return sum(
            one.wanted.get(ref) != self.fleet.commits[one.before].wanted.get(ref) for one in line
        )
