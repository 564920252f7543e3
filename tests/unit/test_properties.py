"""What must hold in every world: schedules of happenings, crashes and interleaved dispatchers.

A `Story` is a cluster in memory, a branch, and the invariants, checked after every step.
DTP_PROPERTIES=long looks much harder.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from dtp_action import dispatch
from dtp_action.core import planner
from dtp_action.core.model import (
    Action,
    Desired,
    Hold,
    Observed,
    Outcome,
    Phase,
    Ref,
    Refused,
    Wanted,
)
from dtp_action.errors import ConflictError, UnavailableError, UsageError
from tests import builders as b
from tests.fakes import DiedError, FakeCluster, Fault, World

REFS = [b.a_ref("dtp-aws/a"), b.a_ref("dtp-irods/b")]
CONTENTS = [b"#!/bin/sh\necho 1\n", b"#!/bin/sh\necho 2\n"]
DAY = 86400
PASSING = [60, 1801, 3601, 2 * DAY, 31 * DAY]
CODES = [0, 1, 137]
NOW_REFUSED = Refused(reason="the namespace's quota is full", for_good=False)
REFUSED = Refused(reason="a policy of the cluster refuses it", for_good=True)

Step = tuple[str, int]


class Serial:
    """Stands in for the thread pool, so that the order of requests is the same each time."""

    def __init__(self, max_workers: int) -> None:
        assert max_workers > 0

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def map(self, act: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(act, items)


@pytest.fixture(autouse=True, scope="module")
def in_order() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "ThreadPoolExecutor", Serial)
        yield


def schedules(count: int) -> Callable[[Any], Any]:
    """Look at so many schedules; the long profile at fifty times as many."""
    return hypothesis(max_examples=count * hypothesis().max_examples // 100)


POLICY = b.a_policy(queue_allowance=2 * DAY)


class Story:
    """A world, a branch, and what was seen so far."""

    def __init__(self) -> None:
        self.world = World()
        self.branch: dict[Ref, Wanted] = {}
        self.told: dict[str, Outcome] = {}
        self.lost_early: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.max_new = 25

    # --- steps ---

    def take(self, step: Step) -> None:
        name, number = step
        getattr(self, name)(number)
        self.world.pass_time(1)  # a deadline of one second has passed
        self.check()

    def write(self, number: int) -> None:
        """A script appears or changes: other bytes, or another attempt asked for."""
        ref, content = REFS[number % 2], CONTENTS[number // 2 % 2]
        self.branch[ref] = b.a_wanted(ref, content)
        if number >= 4:
            self.branch[ref] = b.a_wanted(ref, content + b"#", attempt=number % 3 + 1)

    def remove(self, number: int) -> None:
        self.branch.pop(REFS[number % 2], None)

    def start(self, number: int) -> None:
        """A Pod of an active Job starts its script."""
        for name in self._pick(self._active() - self._running(), number):
            self.world.run(name)

    def finish(self, number: int) -> None:
        for name in self._pick(self._running(), number // len(CODES)):
            self.world.finish(name, CODES[number % len(CODES)])

    def drain(self, number: int) -> None:
        for name in self._pick(self._running(), number):
            self.world.drain(name)

    def wait(self, number: int) -> None:
        reasons = ("Unschedulable", "FailedCreate", "ImagePullBackOff")
        for name in self._pick(self._active() - self._running(), number // 3):
            self.world.make_wait(name, reasons[number % 3], "exceeded quota")

    def lose(self, number: int) -> None:
        """Somebody deletes a Job."""
        for name in self._pick(set(self.world.jobs), number):
            self.world.lose_job(name)

    def pass_time(self, number: int) -> None:
        self.world.pass_time(PASSING[number % len(PASSING)])

    def refuse(self, number: int) -> None:
        answers = [{}, {"*": NOW_REFUSED}, {"*": REFUSED}]
        self.world.refusals = dict(answers[number % 3])

    def run(self, number: int = 0) -> list[Action]:
        return self.dispatch(FakeCluster(self.world))

    def die(self, number: int) -> None:
        """A dispatcher dies at one of its requests, before or after it takes effect."""
        fault = Fault(at=number // 2 + 1, after=bool(number % 2), error=DiedError())
        try:
            self.dispatch(FakeCluster(self.world, fault=fault))
        except DiedError:
            return

    def fail(self, number: int) -> None:
        """One request of a dispatcher fails, or its answer is lost."""
        fault = Fault(at=number // 2 + 1, after=bool(number % 2))
        try:
            self.dispatch(FakeCluster(self.world, fault=fault))
        except UnavailableError:
            return

    def retry(self, number: int) -> None:
        """Somebody asks for another attempt of a job, refused or not."""
        self.ask(FakeCluster(self.world), self.retrying(REFS[number % 2]))

    def cancel(self, number: int) -> None:
        self.ask(FakeCluster(self.world), self.cancelling(REFS[number % 2]))

    # --- how ---

    def desired(self) -> Desired:
        return Desired(commit=b.COMMIT, wanted=dict(self.branch))

    def dispatch(self, cluster: FakeCluster, desired: Desired | None = None) -> list[Action]:
        """Run a dispatcher; return what it did, without what it held."""
        result = dispatch.run(
            cluster,
            desired or self.desired(),
            replace(POLICY, max_new=self.max_new),
            line=b.LINE,
            patience=dispatch.Patience(
                seconds=0, monotonic=lambda: 0.0, sleep=lambda seconds: None
            ),
            source=lambda observed: b.SOURCE,
        )
        return [action for action in result.actions if not isinstance(action, Hold)]

    def ask(self, cluster: FakeCluster, plan: Callable[[Observed], Action | None]) -> None:
        """Do as the commands do: look, plan one action, apply it; or be refused."""
        observed = dispatch.look(cluster)
        try:
            action = plan(observed)
        except (ConflictError, UsageError):
            return
        if action:
            dispatch.apply(cluster, action, observed)

    def retrying(self, ref: Ref) -> Callable[[Observed], Action | None]:
        return lambda observed: planner.retry(ref, self.desired(), observed, POLICY, "")

    def cancelling(self, ref: Ref) -> Callable[[Observed], Action | None]:
        return lambda observed: planner.cancel(ref, observed, by="ada", request="")

    def _pick(self, names: set[str], number: int) -> list[str]:
        return [sorted(names)[number % len(names)]] if names else []

    def _active(self) -> set[str]:
        return {name for name, job in self.world.jobs.items() if job.end is None}

    def _running(self) -> set[str]:
        return {name for name, pods in self.world.pods.items() if any(p.running for p in pods)}

    def open(self) -> set[str]:
        return {name for name, entry in self.world.entries.items() if entry.outcome is None}

    def quiet(self) -> None:
        """All that is active runs to its end; nothing is refused any more; minutes pass."""
        self.world.pass_time(61)
        self.world.refusals = {}
        for name in self._active() - self._running():
            self.world.run(name)
        for name in self._running():
            self.world.finish(name)
        self.check()

    # --- what must hold after every step ---

    def check(self) -> None:
        world = self.world
        for name, entry in world.entries.items():
            if name not in world.jobs and world.jobs_made[name] and name not in self.lost:
                self.lost.add(name)
                self.lost_early[name] += entry.job_uid is None and entry.outcome is None
            elif name in world.jobs:
                self.lost.discard(name)
            if entry.outcome:
                assert self.told.setdefault(name, entry.outcome) == entry.outcome
            assert world.jobs_made[name] <= 1 + self.lost_early[name], f"{name}: two Jobs"
            assert world.runs[name] <= 1, f"{name}: ran twice"
        self.check_overlap()

    def check_overlap(self) -> None:
        active = Counter(self.world.entries[name].ref for name in self._active())
        assert all(count == 1 for count in active.values()), f"two at a time: {active}"

    def check_truth(self) -> None:
        """What was told is what happened."""
        for name, outcome in self.told.items():
            code = self.world.claim.get(name, "never started")
            if outcome.phase is Phase.SUCCEEDED:
                assert code == 0
            if outcome.exit_code not in (None, 191):  # the fence refused a second start
                assert code == outcome.exit_code
            if outcome.before_start and not self.lost_early[name]:
                assert code == "never started"

    def check_settles(self) -> None:
        """Once the world is quiet, two runs tell every end, and a few come to rest."""
        self.quiet()
        ended = {name for name in self.open() if name not in self._active()}
        ended &= {name for name in self.open() if self.world.jobs_made[name]}
        ended -= {
            n for n in ended if n not in self.world.jobs and not self.world.entries[n].job_uid
        }
        self.run()
        self.run()
        assert not ended & self.open(), "an end was not told"
        for _ in range(6):
            if not (self.run() or self.open()):
                break
            self.quiet()
            self.check()
        assert not self.open(), "it does not come to rest"
        cluster = FakeCluster(self.world)
        assert self.dispatch(cluster) == []
        assert {request.split()[0] for request in cluster.requests} <= {"get", "list"}


STEPS = {
    "write": 7,
    "remove": 1,
    "start": 1,
    "finish": 5,
    "drain": 1,
    "wait": 5,
    "lose": 1,
    "pass_time": len(PASSING) - 1,
    "refuse": 2,
    "run": 0,
    "die": 39,
    "fail": 39,
    "retry": 1,
    "cancel": 1,
}
OFTEN = ["write", "start", "finish", "run", "run", "die", "pass_time"]
KINDS = [*STEPS, *OFTEN]


def read_steps(code: bytes) -> list[Step]:
    """Read steps from bytes, two for each: drawing bytes is quick."""
    pairs = zip(code[::2], code[1::2], strict=False)
    named = ((KINDS[kind % len(KINDS)], number) for kind, number in pairs)
    return [(name, number % (STEPS[name] + 1)) for name, number in named]


steps = st.binary(max_size=48).map(read_steps)


@schedules(1000)
@given(steps)
def test_any_history_runs_each_attempt_once_and_tells_every_end(steps: list[Step]) -> None:
    story = Story()
    for step in [("write", 0), *steps]:
        story.take(step)
    story.check_settles()
    story.check_truth()


# --- several at the same moment ------------------------------------------------------------------


Gate = Callable[[str], None]  # what an actor calls before each request


def held() -> threading.Lock:
    """Return a lock to wait at: its release hands the turn over."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Interleaver:
    """Runs actors one request at a time, in an order given from outside."""

    def __init__(self, order: bytes) -> None:
        self._order = iter(order)
        self._turn_is_over = held()
        self._errors: list[BaseException] = []

    def run(self, acts: Iterable[Callable[[Gate], object]]) -> None:
        """Let the actors act until all have done; raises what they raised."""
        actors = [_Actor(act, self._turn_is_over, self._errors) for act in acts]
        while playing := [actor for actor in actors if not actor.done]:
            playing[next(self._order, 0) % len(playing)].play()
            self._turn_is_over.acquire()
        if self._errors:
            raise self._errors[0]


class _Actor:
    def __init__(
        self,
        act: Callable[[Gate], object],
        turn_is_over: threading.Lock,
        errors: list[BaseException],
    ) -> None:
        self.done = False
        self._act, self._turn_is_over, self._errors = act, turn_is_over, errors
        self._turn = held()
        self._thread: threading.Thread | None = None

    def play(self) -> None:
        """Go on until before the next request."""
        if self._thread:
            self._turn.release()
            return
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act(self._wait)
        except BaseException as error:
            self._errors.append(error)
        self.done = True
        self._turn_is_over.release()

    def _wait(self, request: str) -> None:
        self._turn_is_over.release()
        self._turn.acquire()


class Crowd(Story):
    """A story in which several act at the same moment."""

    older = b.desired()

    def together(self, actors: str, order: bytes) -> None:
        def act(actor: str) -> Callable[[Gate], object]:
            return lambda gate: self._act(actor, FakeCluster(self.world, before=gate))

        Interleaver(order).run(act(actor) for actor in actors)
        self.check()

    def _act(self, actor: str, cluster: FakeCluster) -> None:
        match actor:
            case "d":
                self.dispatch(cluster)
            case "o":
                self.dispatch(cluster, self.older)
            case "r":
                self.ask(cluster, self.retrying(REFS[0]))
            case "c":
                self.ask(cluster, self.cancelling(REFS[0]))
            case _:
                self._happen(cluster)

    def _happen(self, cluster: FakeCluster) -> None:
        """The cluster: what is active starts and ends, a little at a time."""
        for happen in (self.start, self.finish, self.start):
            cluster.kept("nothing")  # a request like any other: others may act before it
            happen(0)


@schedules(400)
@given(
    before=steps,
    change=st.integers(0, 3),
    actors=st.sampled_from(["dd", "ddd", "ddr", "ddc", "dddw", "ddw", "drr", "od", "odd", "ood"]),
    order=st.binary(max_size=60),
)
def test_dispatchers_at_the_same_moment_make_one_job_per_attempt(
    before: list[Step], change: int, actors: str, order: bytes
) -> None:
    """Dispatchers (d), of an older commit (o), retry (r), cancel (c), the world (w).

    Left out: two commits that ask for two numbers (`attempt=N`) of a job in the same second. Each
    number is a name of its own, so nothing keeps the two attempts from overlapping.
    """
    story = Crowd()
    for name, number in [("write", 0), ("write", 1), *before]:
        story.take((name, number % 4 if name == "write" and "o" in actors else number))
    story.older = story.desired()
    story.take(("write", change))
    story.together(actors, order)
    story.check_settles()


# --- crashes, all of them ------------------------------------------------------------------------


def new() -> Story:
    """Two new scripts."""
    story = Story()
    story.write(0)
    story.write(1)
    return story


def running() -> Story:
    story = new()
    story.run()
    story.start(0)
    story.start(0)
    return story


def ended() -> Story:
    """One ended well and one badly, and its fix is on the branch."""
    story = running()
    story.finish(0)
    story.finish(1)
    story.write(2)
    story.write(3)
    return story


def replaced() -> Story:
    """One waits in the cluster, one is only recorded; both have changed."""
    story = new()
    story.run()
    story.lose(0)
    story.write(2)
    story.write(3)
    return story


def removed() -> Story:
    story = new()
    story.run()
    story.remove(0)
    return story


def stuck() -> Story:
    story = new()
    story.run()
    story.wait(2)
    story.pass_time(1)
    return story


def refused() -> Story:
    story = new()
    story.refuse(2)
    return story


SCENES = [new, running, ended, replaced, removed, stuck, refused]
AFTER = [False, True]


@pytest.mark.parametrize("after", AFTER, ids=["before", "after"])
@pytest.mark.parametrize(
    "error", [DiedError(), UnavailableError("no answer")], ids=["dies", "lost"]
)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.__name__))
def test_a_run_that_stops_at_any_request_is_finished_by_the_next(
    scene: Callable[[], Story], error: BaseException, after: bool
) -> None:
    whole = scene()
    recover(whole)
    for at in range(1, 60):
        story = scene()
        cluster = FakeCluster(story.world, fault=Fault(at=at, after=after, error=error))
        try:
            story.dispatch(cluster)
        except (DiedError, UnavailableError):
            story.check()
        else:
            break
        recover(story)
        assert shape(story.world) == shape(whole.world)
        story.check_settles()
        story.check_truth()
    assert 3 < at < 59, "every request was tried"


def recover(story: Story) -> None:
    for _ in range(3):
        story.run()
        story.world.pass_time(61)
    story.check()


def shape(world: World) -> dict[str, tuple[object, ...]]:
    """Return how things stand, without what differs from run to run."""
    return {
        name: (entry.outcome and entry.outcome.phase, entry.intent and entry.intent.why,
               name in world.jobs)
        for name, entry in world.entries.items()
    }  # fmt: skip


LISTS = ["list configmaps", "list jobs", "list pods"]


@pytest.mark.parametrize(
    "scene", [running, replaced, removed, stuck], ids=lambda s: str(s.__name__)
)
@pytest.mark.parametrize("failing", LISTS)
def test_a_list_that_fails_changes_nothing(scene: Callable[[], Story], failing: str) -> None:
    story = scene()
    world = story.world
    state = dict(world.entries), dict(world.jobs), dict(world.ends)
    with pytest.raises(UnavailableError):
        story.dispatch(FakeCluster(world, fault=Fault(at=1, only=failing)))
    assert (world.entries, world.jobs, world.ends) == state


def test_a_later_page_that_fails_changes_nothing() -> None:
    story = Story()
    for number in range(501):
        story.branch[b.a_ref(f"dtp-aws/job-{number}")] = b.a_wanted(f"dtp-aws/job-{number}")
    bounds = replace(POLICY, first_run=True)
    desired = story.desired()
    cluster = FakeCluster(story.world)
    observed = dispatch.look(cluster)
    dispatch.apply_all(cluster, planner.plan(desired, observed, bounds).actions, observed)
    assert len(story.world.jobs) == 501
    for at in (1, 2):
        with pytest.raises(UnavailableError):
            dispatch.look(FakeCluster(story.world, fault=Fault(at=at, only="list jobs")))


# --- order ---------------------------------------------------------------------------------------


@schedules(200)
@given(steps, st.randoms(use_true_random=False))
def test_the_order_of_the_lists_does_not_matter(before: list[Step], random: Any) -> None:
    story = Story()
    for step in before:
        story.take(step)
    look = dispatch.look(FakeCluster(story.world))
    entries, jobs = list(look.entries), list(look.jobs.items())
    wanted = list(story.branch.items())
    for items in (entries, jobs, wanted):
        random.shuffle(items)
    shuffled = replace(look, entries=tuple(entries), jobs=dict(jobs))
    desired = replace(story.desired(), wanted=dict(wanted))
    assert planner.plan(desired, shuffled, POLICY) == planner.plan(story.desired(), look, POLICY)


def test_two_dispatchers_on_fifty_new_scripts_make_fifty_entries_and_jobs() -> None:
    story = Crowd()
    for number in range(50):
        story.branch[b.a_ref(f"dtp-aws/job-{number}")] = b.a_wanted(f"dtp-aws/job-{number}")
    story.max_new = 50
    story.together("dd", bytes(range(256)) * 4)
    assert len(story.world.entries) == len(story.world.jobs) == 50
    assert set(story.world.jobs_made.values()) == {1}
