"""What is promised between runs, attempts and ledgers, held over the history of what happened.

A `Fleet` is a branch that goes on, and any number of runs at the same time, each of the commit it
began with, each waiting as long as a workflow does. Requests take effect late, Jobs are deleted
while their Pods go on, entries are spoiled, the namespace is made anew or restored over the same
claim. The checker looks at what happened (`tests.world.World.history`), not at how it was kept from
happening. DTP_PROPERTIES=long looks much harder.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from dtp_action import dispatch
from dtp_action.core import planner
from dtp_action.core.model import Desired, Phase, Place, Ref, Wanted, Why
from dtp_action.errors import ConflictError, DtpError, UsageError
from tests import builders as b
from tests.fakes import DiedError, FakeCluster, Fault
from tests.unit.test_properties import Serial
from tests.world import Event, World

REFS = [b.a_ref("dtp-aws/a"), b.a_ref("dtp-irods/b")]
CONTENTS = [b"#!/bin/sh\necho 1\n", b"#!/bin/sh\necho 2\n", b"#!/bin/sh\necho 3\n"]
WAIT = 300.0  # seconds that a run waits for what it starts
HOUR = 3600
POLICY = b.a_policy(queue_allowance=2 * 86400)
FOR_THE_BRANCH = (Why.REMOVED, Why.REPLACED)
Step = tuple[str, int]


@pytest.fixture(autouse=True, scope="module")
def in_order() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "ThreadPoolExecutor", Serial)
        yield


@dataclass(frozen=True)
class Commit:
    """One state of the branch, and the one before it."""

    name: str
    before: str
    wanted: dict[Ref, Wanted]


class Stopped(BaseException):
    """The story is over: a run that waits is let go."""


class Run:
    """One run of the program, in a thread of its own that moves one request at a time."""

    def __init__(self, fleet: Fleet, commit: str, *, late: bool, skew: timedelta) -> None:
        self.commit = commit
        self._skew = skew
        self.done = False
        self.error: BaseException | None = None
        self._fleet = fleet
        self._late = late  # its requests to make a Job take effect when nobody waits any more
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._stop = False
        threading.Thread(target=self._live, daemon=True).start()

    def move(self) -> None:
        """Make the next request."""
        if not self.done:
            self._turn.release()
            self._back.acquire()

    def stop(self) -> None:
        self._stop = True
        while not self.done:
            self.move()

    def _gate(self, _request: str = "") -> None:
        self._back.release()
        self._turn.acquire()
        if self._stop:
            raise Stopped

    def _live(self) -> None:
        self._turn.acquire()
        try:
            cluster = FakeCluster(
                self._fleet.world,
                before=self._gate,
                late=self._late,
                commit=self.commit,
                skew=self._skew,
            )
            self._fleet.dispatch(
                cluster, self.commit, wait=WAIT, sleep=lambda _seconds: self._gate()
            )
        except (DtpError, Stopped):
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._back.release()


class Fleet:
    """A branch that goes on, and runs of all its commits."""

    def __init__(self) -> None:
        self.world = World()
        self.commits: dict[str, Commit] = {}
        self.tip = ""
        self.tips: list[str] = []  # what the branch was, one after the other
        self.runs: list[Run] = []
        self.settled_by: str = ""  # the newest commit of which a run has come to its end
        self.retried: Counter[Ref] = Counter()
        self.backup: dict[str, Any] | None = None
        self.restored = False
        self.unseen: set[str] = set()
        self.commit({})

    # --- the branch ---

    def commit(self, wanted: dict[Ref, Wanted]) -> None:
        name = f"{len(self.commits) + 1:040x}"
        self.commits[name] = Commit(name, self.tip, wanted)
        self.become(name)

    def become(self, name: str) -> None:
        """The branch is this commit from now on."""
        self.tip = name
        self.tips.append(name)
        self.world.era = len(self.tips)

    def age(self, event: Event) -> int:
        """Return when the branch last was the commit that an event is of, as seen then."""
        return max(at for at, name in enumerate(self.tips[: event.era]) if name == event.commit)

    def desired(self, commit: str) -> Desired:
        return Desired(commit=commit, wanted=dict(self.commits[commit].wanted))

    def line(self, commit: str) -> Iterator[str]:
        """Yield a commit and those before it."""
        while commit:
            yield commit
            commit = self.commits[commit].before

    def known(self, commit: str) -> planner.Line:
        """Return what a clone of this commit knows of the branch; GitHub knows its tip."""
        return planner.Line(
            follows=lambda old, new: old in self.line(new) and new in self.line(commit),
            place=lambda: self.place(commit),
        )

    def place(self, commit: str) -> Place:
        if commit == self.tip:
            return Place.NEWEST
        return Place.BEHIND if commit in self.line(self.tip) else Place.OFF

    # --- steps ---

    def take(self, step: Step) -> None:
        getattr(self, step[0])(step[1])
        self.world.pass_time(1)
        for run in [run for run in self.runs if run.done]:
            self.ended(run)
        self.check()

    def ended(self, run: Run) -> None:
        self.runs.remove(run)
        if run.error:
            raise run.error

    def write(self, number: int) -> None:
        ref, content = REFS[number % 2], CONTENTS[number // 2 % 3]
        self.commit(self.commits[self.tip].wanted | {ref: b.a_wanted(ref, content)})

    def remove(self, number: int) -> None:
        wanted = dict(self.commits[self.tip].wanted)
        wanted.pop(REFS[number % 2], None)
        self.commit(wanted)

    def push(self, number: int) -> None:
        """A run begins, of the branch as it is now."""
        if len(self.runs) < 4:
            skew = timedelta(minutes=(number // 4 - 1) * 5)
            self.runs.append(Run(self, self.tip, late=number % 4 == 3, skew=skew))

    def move(self, number: int) -> None:
        """One of the runs makes some requests."""
        if self.runs:
            run = self.runs[number % len(self.runs)]
            for _ in range(1 + number // 4 % 8):
                run.move()

    def whole(self, _number: int) -> None:
        """A run of the newest commit begins and ends: from now on it is known what is asked."""
        try:
            self.dispatch(FakeCluster(self.world, commit=self.tip), self.tip, wait=0)
        except DtpError:
            return
        self.settled_by = self.tip
        self.world.note("settled", commit=self.tip)

    def spoil(self, number: int) -> None:
        """Somebody's hand makes an entry unreadable, or restores what is."""
        if number % 2:
            self.world.spoiled.clear()
        for name in self._pick(set(self.world.entries), number // 2):
            self.world.spoiled[name] = "it has no origin"

    def rewrite(self, number: int) -> None:
        """The branch is taken back by some commits, and goes on from there."""
        line = list(self.line(self.tip))
        self.become(line[min(number + 1, len(line) - 1)])
        if number % 2:
            self.write(number)

    def die(self, number: int) -> None:
        """A run of the newest commit dies at one of its requests."""
        fault = Fault(at=number // 2 + 1, after=bool(number % 2), error=DiedError())
        cluster = FakeCluster(self.world, commit=self.tip, fault=fault)
        with suppress(DiedError, DtpError):
            self.dispatch(cluster, self.tip, wait=0)

    def save(self, _number: int) -> None:
        """A backup of the cluster is made."""
        self.backup = self.world.saved()

    def restore(self, _number: int) -> None:
        """The cluster is restored from its backup, when nothing runs; the claim is as it was."""
        if self.backup and not self._running():
            self.stop()
            self.world.deliver()
            self.world.spoiled.clear()
            self.world.restore(self.backup)
            self.restored = True
            self.settled_by = ""
            self.world.note("remade")

    def retry(self, number: int) -> None:
        """Somebody asks again, with a clone as old as it may be."""
        ref = REFS[number % 2]
        commit = list(self.commits)[-1 - number // 2 % min(3, len(self.commits))]
        cluster = FakeCluster(self.world, commit=commit)
        try:
            self.retried[ref] += self.ask(cluster, ref, commit)
        except (ConflictError, UsageError):
            return

    def deliver(self, _number: int) -> None:
        """Requests that nobody waits for any more take effect."""
        self.world.deliver()

    def start(self, number: int) -> None:
        for name in self._pick(self._waiting(), number):
            self.world.run(name)

    def finish(self, number: int) -> None:
        for name in self._pick(self._running(), number // 3):
            self.world.finish(name, (0, 1, 7)[number % 3])

    def orphan(self, number: int) -> None:
        """Somebody deletes a Job, and its Pods go on."""
        for name in self._pick(self._real(), number):
            self.world.orphan(name)

    def lose(self, number: int) -> None:
        """Somebody deletes a Job that is not running, with its Pods."""
        for name in self._pick(self._real() - self._running(), number):
            if not self.world.entries[name].job_uid:
                self.unseen.add(name)
            self.world.lose_job(name)

    def hours(self, number: int) -> None:
        self.world.deliver()  # no request is on its way for hours
        if number:
            self.stop()  # and no run lives for a month
        self.world.pass_time((HOUR, 31 * 86400)[number])

    def remake(self, _number: int) -> None:
        """The namespace is made anew over the same claim, when all has come to rest."""
        if not self._running():
            self.stop()
            self.world.deliver()
            self.backup = None
            self.world.spoiled.clear()
            self.world.remake()
            self.settled_by = ""

    # --- how ---

    def dispatch(
        self, cluster: FakeCluster, commit: str, *, wait: float, sleep: object = None
    ) -> None:
        dispatch.run(
            cluster,
            self.desired(commit),
            POLICY,
            line=self.known(commit),
            patience=dispatch.Patience(
                seconds=wait,
                monotonic=self.clock,
                sleep=sleep or (lambda _seconds: None),  # type: ignore[arg-type]
            ),
            source=lambda _observed: b.SOURCE,
        )

    def clock(self) -> float:
        return self.world.now.timestamp()

    def ask(self, cluster: FakeCluster, ref: Ref, commit: str) -> bool:
        observed = dispatch.look(cluster)
        observed = dispatch.enter(
            cluster, observed, commit, line=self.known(commit), source=b.SOURCE
        )
        observed = dispatch.with_pods(cluster, observed)
        action = planner.retry(ref, self.desired(commit), observed, POLICY, "")
        done = dispatch.apply(cluster, action, observed) if action else []
        return bool(done)

    def stop(self) -> None:
        for run in self.runs:
            run.stop()
            if run.error:
                raise run.error
        self.runs.clear()

    def _pick(self, names: set[str], number: int) -> list[str]:
        return [sorted(names)[number % len(names)]] if names else []

    def _real(self) -> set[str]:
        """Jobs that somebody might delete by hand; a tombstone's time to live is days."""
        return {name for name, job in self.world.jobs.items() if not job.tombstone}

    def _active(self) -> set[str]:
        return {name for name, job in self.world.jobs.items() if job.end is None}

    def _waiting(self) -> set[str]:
        return self._active() - self._running()

    def _running(self) -> set[str]:
        return {name for name, pods in self.world.pods.items() if any(p.running for p in pods)}

    # --- what must hold ---

    def check(self) -> None:
        """Look at what happened since the last look."""
        self.check_one_at_a_time()
        self.check_newer_rules()
        self.check_told()

    def check_one_at_a_time(self) -> None:
        """No two scripts of one job run at the same moment, and none twice for one attempt."""
        refs = Counter(self.world.ref_of(name) for name in self._running())
        assert all(count == 1 for count in refs.values()), f"two at a time: {refs}"
        runs = Counter((e.namespace, e.name) for e in self.world.history if e.kind == "started")
        assert all(count == 1 for count in runs.values()), f"ran twice: {runs}"

    def check_newer_rules(self) -> None:
        """Once a commit's run is through, older ones open and end nothing against it."""
        ruling: Event | None = None
        made = set[tuple[str, str]]()
        for event in self.world.history:
            if event.kind in ("settled", "remade"):
                ruling = event if event.kind == "settled" else None
            if event.kind == "made" and (event.namespace, event.name) in made:
                continue  # deleted by hand and made once more by who had asked for it before
            if event.kind == "made":
                made.add((event.namespace, event.name))
            if event.kind not in ("made", "intent") or not ruling:
                continue
            if self.age(event) >= self.age(ruling) or not event.ref:
                continue
            wanted = self.commits[ruling.commit].wanted.get(event.ref)
            asked = wanted is not None and wanted.blob == event.blob
            if event.kind == "made":
                assert asked, f"a Job of old bytes was made: {event}"
            if event.kind == "intent" and event.why in FOR_THE_BRANCH:
                assert not asked, f"ended though the branch asks for it: {event}"

    def check_told(self) -> None:
        """Success is told only of bytes that ran, "it was not started" only of what did not."""
        for (namespace, name), outcome in self.world.told.items():
            ran = self.ran(namespace, name)
            if outcome.phase is Phase.SUCCEEDED and not outcome.reason.startswith("adopted"):
                assert [e.code for e in ran] == [None, 0], f"{name}: told done, yet {ran}"
            # A restored ledger knows nothing of what ran since it was saved, and nobody of a Job
            # that was deleted in the moment between its making and its entry's next write, or of a
            # start in the moment in which it was told to end.
            killed = outcome.why and [event.kind for event in ran] == ["started"]
            unknown = killed or self.restored or name in self.unseen
            if outcome.before_start and not unknown:
                assert not ran, f"{name}: told as not started, yet {ran}"

    def ran(self, namespace: str, name: str) -> list[Event]:
        """Return when an attempt started and ended."""
        return [
            event
            for event in self.world.history
            if (event.namespace, event.name) == (namespace, name)
            and event.kind in ("started", "finished")
        ]

    def go_on(self) -> None:
        """Scheduled runs come and go, and what is active runs to its end."""
        for _ in range(8):
            self.whole(0)
            self.check()
            for name in self._waiting():
                self.world.run(name)
            for name in self._running():
                self.world.finish(name)
            self.world.pass_time(61)
        self.check()

    def check_rest(self) -> None:
        """Once it is quiet, what the branch asks for last has run, or it is said why not."""
        self.stop()
        self.world.deliver()
        self.go_on()
        held = {self.world.entries[name].ref for name in self.world.spoiled}
        open_ = {entry.ref for entry in self.world.entries.values() if entry.outcome is None}
        assert open_ <= held, "it does not come to rest, and not for what cannot be read"
        self.world.spoiled.clear()
        self.go_on()
        assert all(entry.outcome for entry in self.world.entries.values()), "it does not rest"
        for ref in self.commits[self.tip].wanted:
            entries = [entry for entry in self.world.entries.values() if entry.ref == ref]
            assert entries, f"{ref} was never opened"
            last = max(entries, key=lambda entry: entry.attempt)
            assert last.outcome
            withdrawn = last.outcome.why in FOR_THE_BRANCH
            assert not withdrawn, f"{ref} was ended for the branch's sake, which asks for it"
        attempts = Counter(entry.ref for entry in self.world.entries.values())
        for ref, count in attempts.items():
            changes = sum(
                commit.wanted.get(ref) != self.commits[commit.before].wanted.get(ref)
                for commit in self.commits.values()
                if commit.before
            )
            assert count <= changes + self.retried[ref], f"{ref}: {count} attempts for {changes}"


STEPS = {
    "write": 5,
    "remove": 1,
    "push": 11,
    "rewrite": 3,
    "die": 39,
    "save": 0,
    "spoil": 7,
    "restore": 0,
    "move": 31,
    "whole": 0,
    "retry": 5,
    "deliver": 0,
    "start": 3,
    "finish": 5,
    "orphan": 1,
    "lose": 1,
    "hours": 1,
    "remake": 0,
}
OFTEN = ["write", "push", "move", "move", "move", "move", "whole", "start", "finish"]
KINDS = [*STEPS, *OFTEN]


def read_steps(code: bytes) -> list[Step]:
    pairs = zip(code[::2], code[1::2], strict=False)
    named = ((KINDS[kind % len(KINDS)], number) for kind, number in pairs)
    return [(name, number % (STEPS[name] + 1)) for name, number in named]


@hypothesis(max_examples=hypothesis().max_examples * 4)
@given(st.binary(max_size=60).map(read_steps))
def test_what_happened_is_what_was_promised(steps: list[Step]) -> None:
    fleet = Fleet()
    try:
        for step in [("write", 0), *steps]:
            fleet.take(step)
        fleet.check_rest()
    finally:
        fleet.stop()
