"""The loop over a cluster in memory: what it costs, what it does with each answer, how it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dtp_action import dispatch
from dtp_action.core import logs, naming, planner
from dtp_action.core import report as reports
from dtp_action.core.ledger import LEDGER_NAME, SETTINGS_NAME
from dtp_action.core.model import (
    Action,
    Adopt,
    Arrived,
    Confirm,
    Desired,
    End,
    Hold,
    Observed,
    Open,
    Phase,
    Place,
    Refused,
    Retire,
    Settle,
    Start,
)
from dtp_action.dispatch import Patience, Report
from dtp_action.errors import ConflictError, Exit, UnavailableError, UsageError
from tests import builders as b
from tests.fakes import FakeCluster, Fault, World
from tests.unit.test_naming import MEET

REF = "dtp-aws/genome"
SAME = b.desired(REF)
NAME = b.an_entry().name


class Clock:
    """A clock that moves only while somebody sleeps; `during` is what happens meanwhile."""

    def __init__(self, during: Callable[[int], object] = lambda turn: None) -> None:
        self.time = 0.0
        self.sleeps: list[float] = []
        self._during = during

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
        self._during(len(self.sleeps))

    def patience(self, seconds: float, **more: Any) -> Patience:
        return Patience(seconds=seconds, monotonic=lambda: self.time, sleep=self.sleep, **more)


def run(
    cluster: FakeCluster, desired: Desired = SAME, patience: Patience | None = None, **more: Any
) -> Report:
    bounds = {key: more.pop(key) for key in ("max_new", "first_run", "adopt") if key in more}
    return dispatch.run(
        cluster,
        desired,
        b.a_policy(**bounds),
        line=b.LINE,
        patience=patience or Clock().patience(0),
        source=lambda observed: b.SOURCE,
        **more,
    )


def empty_world() -> World:
    """Return a world whose ledger has its card and nothing else."""
    world = World()
    world.card = b.an_identity()
    return world


def world_with(*refs: str) -> World:
    """Return a world in which these jobs have been started and confirmed."""
    world, desired = World(), b.desired(*refs)
    for _ in range(2):
        run(FakeCluster(world), desired, max_new=len(refs))
    return world


def ask(world: World, desired: Desired = SAME, **more: Any) -> list[str]:
    """Return the requests of a run."""
    cluster = FakeCluster(world)
    cluster.settings()
    run(cluster, desired, **more)
    return cluster.requests


def names(count: int) -> list[str]:
    return [f"dtp-aws/job-{number}" for number in range(count)]


# --- what it costs -------------------------------------------------------------------------------

FOUR = [f"get configmaps {SETTINGS_NAME}", "list configmaps", "list jobs", "get namespaces"]


def test_with_nothing_open_a_run_makes_four_requests() -> None:
    world = world_with(REF)
    world.run(NAME)
    world.finish(NAME)
    run(FakeCluster(world))
    assert ask(world) == FOUR


def test_an_empty_branch_costs_the_same_but_for_the_card() -> None:
    world = World()
    assert ask(world, b.desired()) == [*FOUR, f"create configmaps {LEDGER_NAME}"]
    assert ask(world, b.desired()) == FOUR


def test_a_running_attempt_costs_one_list_of_pods_more() -> None:
    world = world_with(REF)
    world.run(NAME)
    assert sorted(ask(world)) == sorted([*FOUR, "list pods"])


def test_one_that_says_itself_why_it_waits_costs_no_events() -> None:
    world = world_with(REF)
    world.make_wait(NAME, "ImagePullBackOff", "no such image")
    assert sorted(ask(world)) == sorted([*FOUR, "list pods"])


def test_fifty_that_wait_unexplained_cost_the_events_of_twenty() -> None:
    world = world_with(*names(50))
    requests = ask(world, b.desired(*names(50)))
    assert requests.count("list events") == 20
    assert len(requests) == len(FOUR) + 1 + 20


def test_events_and_tails_share_the_twenty() -> None:
    world = world_with(*names(50))
    for name in sorted(world.jobs)[:30]:
        pod = world.run(name, log='dtp-heartbeat: {"at":"2030-01-02T12:00:30Z","rx":5,"tx":7}\n')
        assert pod.running
    cluster = FakeCluster(world)
    observed = dispatch.with_progress(cluster, dispatch.look(cluster))
    extra = [r for r in cluster.requests if r.startswith(("list events", "get pods/log"))]
    assert len(extra) == 20
    for name in set(world.jobs) - set(observed.events):
        world.jobs[name] = replace(world.jobs[name], end=b.an_end())
    cluster = FakeCluster(world)
    observed = dispatch.with_progress(cluster, replace(observed, events={}))
    assert len(cluster.requests) == 20
    assert next(iter(observed.progress.values())).received == 5


def test_a_new_job_is_recorded_and_started_and_looked_at_once_more() -> None:
    requests = ask(World())
    assert [r for r in requests if r.startswith("create")] == [
        f"create configmaps {LEDGER_NAME}",
        f"create configmaps {NAME}",
        f"create jobs {NAME}",
    ]
    assert len(requests) <= 14


def test_what_a_run_has_just_recorded_it_starts_without_reading_it_again() -> None:
    world = empty_world()
    cluster = FakeCluster(world)
    dispatch.apply(cluster, opening(run="this run"), b.observed())
    assert cluster.requests == [
        f"create configmaps {NAME}",
        f"get configmaps {LEDGER_NAME}",
        f"create jobs {NAME}",
        f"patch configmaps {NAME}",
    ]
    other = FakeCluster(world)
    dispatch.apply(other, opening(run="another run"), b.observed())
    names = [NAME, NAME, LEDGER_NAME, NAME]
    assert [request.split()[-1] for request in other.requests[:4]] == names


# --- looking -------------------------------------------------------------------------------------


def test_an_entry_written_between_the_lists_is_read_by_name() -> None:
    world = World()

    def other(request: str) -> None:
        if request == "list jobs" and not world.entries:
            run(FakeCluster(world))

    observed = dispatch.look(FakeCluster(world, before=other))
    assert [entry.name for entry in observed.entries] == [NAME]


def test_pods_are_told_newest_last() -> None:
    world = world_with(REF)
    world.run(NAME)
    world.now = b.at(5)
    world.run(NAME)
    world.pods[NAME].reverse()
    (pods,) = dispatch.look(FakeCluster(world)).pods.values() or [()]
    assert [pod.created for pod in pods] == sorted(pod.created for pod in pods)


# --- applying ------------------------------------------------------------------------------------


def apply(world: World, action: Action, **look: Any) -> list[Action]:
    cluster = FakeCluster(world)
    observed = dispatch.look(cluster)
    return dispatch.apply(cluster, action, replace(observed, **look))


def opening(**draft: Any) -> Open:
    return Open(draft=b.a_draft(**draft), reason="new")


def test_open_records_and_starts() -> None:
    world, action = World(), opening()
    assert apply(world, action) == [action]
    assert world.jobs[NAME].entry_uid == world.entries[NAME].uid


def test_open_after_another_run_did_the_same_changes_nothing() -> None:
    world, action = World(), opening()
    apply(world, action)
    before = dict(world.entries), dict(world.jobs)
    assert apply(world, action) == [action]
    assert (world.entries, world.jobs) == before


@pytest.mark.parametrize("there", [{"content": b"#!/bin/sh\nother\n"}, {"adopted": True}])
def test_open_leaves_alone_what_another_run_recorded_there(there: dict[str, Any]) -> None:
    world = World()
    FakeCluster(world).record(b.a_draft(**there))
    (hold,) = apply(world, opening())
    assert isinstance(hold, Hold)
    assert "another run" in hold.reason
    assert not world.jobs


def test_adopt_records_success_and_starts_nothing() -> None:
    world = World()
    apply(world, Adopt(draft=b.a_draft(adopted=True), reason="new"))
    outcome = world.entries[NAME].outcome
    assert outcome
    assert (outcome.phase, outcome.reason) == (Phase.SUCCEEDED, "adopted, not run here")
    assert not world.jobs


def test_adopt_does_not_settle_what_another_run_has_started() -> None:
    world = World()
    apply(world, opening())
    (hold,) = apply(world, Adopt(draft=b.a_draft(adopted=True), reason="new"))
    assert isinstance(hold, Hold)
    assert world.entries[NAME].outcome is None


def test_row_12_refused_for_good_is_errored() -> None:
    world = World()
    world.refusals["*"] = Refused(reason="policy x: no such image here", for_good=True)
    _, settle = apply(world, opening())
    assert isinstance(settle, Settle)
    outcome = world.entries[NAME].outcome
    assert outcome
    assert (outcome.phase, outcome.before_start) == (Phase.ERRORED, True)
    assert outcome.reason == "the cluster refused it: policy x: no such image here"


def test_row_12_refused_for_now_waits_and_is_told_and_tried_again() -> None:
    world = empty_world()
    world.refusals["*"] = Refused(reason="the namespace's quota is full", for_good=False)
    _, hold = apply(world, opening())
    assert isinstance(hold, Hold)
    assert hold.reason == "the namespace's quota is full"
    assert world.entries[NAME].outcome is None
    assert world.entries[NAME].waiting == hold.reason
    world.refusals.clear()
    assert [type(a) for a in run(FakeCluster(world)).actions] == [Start]
    assert world.jobs_made[NAME] == 1


def test_a_foreign_job_of_that_name_is_left_alone_and_told() -> None:
    world = World()
    stranger = world.add_foreign_job(NAME)
    _, hold = apply(world, opening())
    assert isinstance(hold, Hold)
    assert NAME in hold.reason
    assert world.jobs[NAME] == stranger


def test_end_writes_the_intent_then_keeps_the_log_then_sets_the_deadline() -> None:
    world = world_with(REF)
    world.run(NAME, log="half way\n")
    cluster = FakeCluster(world)
    observed = dispatch.look(cluster)
    cluster.requests.clear()
    action = End(entry=world.entries[NAME], intent=b.an_intent(), reason="cancelled")
    dispatch.apply(cluster, action, observed)
    *kept, intent, deadline = cluster.requests
    assert intent == f"patch configmaps {NAME}"
    assert deadline == f"patch jobs {NAME}"
    assert world.jobs[NAME].deadline == 1
    assert world.tails[NAME] == "half way"
    assert any("pods/log" in request for request in kept)


def test_end_of_what_is_being_ended_only_sets_the_deadline() -> None:
    world = world_with(REF)
    cluster = FakeCluster(world)
    entry = cluster.intend(world.entries[NAME], b.an_intent(), "")
    cluster.requests.clear()
    seen = b.observed(jobs=world.jobs.values())
    dispatch.apply(cluster, End(entry=entry, intent=entry.intent, reason=""), seen)
    assert cluster.requests == [f"patch jobs {NAME}"]


def settle_ended(log: str) -> World:
    world = world_with(REF)
    world.run(NAME, log=log)
    world.finish(NAME)
    run(FakeCluster(world))
    return world


def test_settle_keeps_the_tail_of_the_log_without_secrets_and_heartbeats() -> None:
    world = settle_ended('dtp-heartbeat: {"rx":1}\nget https://ada:hunter2@example.org/x\nbye\n')
    outcome, tail = world.ends[NAME]
    assert outcome == world.entries[NAME].outcome
    assert "hunter2" not in tail
    assert tail.endswith("bye")
    assert "heartbeat" not in tail
    assert outcome.warnings == ()


def test_settle_keeps_the_last_list_of_what_arrived_fit_to_be_shown() -> None:
    forged = 'dtp-arrived: {"files":[["forged",1]],"more":0}'
    told = 'dtp-arrived: {"files":[["d/a\\u202eb\\nc",5],["https://ada:hunter2@h/x",0]],"more":2}'
    world = settle_ended(f"hello\n{forged}\n\n{told}\nbye\n")
    kept = FakeCluster(world).kept(NAME)
    assert kept.arrived
    (first, second), more = kept.arrived.files, kept.arrived.more
    assert (first, second[1], more) == (("d/a\ufffdb\ufffdc", 5), 0, 2)
    assert "hunter2" not in second[0]
    assert "dtp-arrived" not in kept.log


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", '{"files":3}', '{"files":[["x"]],"more":0}', '{"files":[["x",-1]],"more":0}',
     '{"files":[[1,1]],"more":0}', '{"files":[],"more":true}', "[" * 5000],
)  # fmt: skip
def test_a_list_that_is_none_is_passed_over(line: str) -> None:
    good = '\ndtp-arrived: {"files":[],"more":0}\n'
    assert FakeCluster(settle_ended(f"x{good}dtp-arrived: {line}\n")).kept(NAME).arrived == Arrived(
        files=()
    )
    assert FakeCluster(settle_ended(f"x\ndtp-arrived: {line}\n")).kept(NAME).arrived is None


def test_the_last_lines_are_the_scripts() -> None:
    ours = '\ndtp-arrived: {}\n\n== dtp: the footer\n\ndtp-heartbeat: {"at":1}\n'
    log = [b"one\ntwo\nthr", f"ee\n{ours}".encode()]
    assert b"".join(logs.last_lines(log, 3)) == b"three\n\n== dtp: the footer\n"
    assert b"".join(logs.last_lines(log, 0)) == b"".join(logs.last_lines([b"\n"], 9)) == b""


def test_an_end_without_log_is_told_with_a_note() -> None:
    outcome = settle_ended("").entries[NAME].outcome
    assert outcome
    assert outcome.phase is Phase.SUCCEEDED
    assert "printed nothing" in outcome.warnings[0]


def test_the_log_of_what_was_told_to_end_was_kept_then_and_is_not_missed_at_the_end() -> None:
    world = world_with(REF)
    cluster = FakeCluster(world)
    entry = cluster.intend(world.entries[NAME], b.an_intent(), "serving")
    outcome = b.an_outcome(started=b.at(60))
    seen = b.observed(jobs=world.jobs.values())
    dispatch.apply(cluster, Settle(entry=entry, outcome=outcome, reason="done"), seen)
    settled = world.entries[NAME].outcome
    assert settled
    assert settled.warnings == ()


def test_of_two_pods_the_log_of_the_one_that_ran_is_kept() -> None:
    world = world_with(REF)
    world.run(NAME, log="the transfer\n")
    world.finish(NAME)
    refused = b.a_pod(world.entries[NAME], name="two", created=b.at(9), job=b.ended(191))
    world.pods[NAME].append(refused)
    world.logs["two"] = "refused\n"
    run(FakeCluster(world))
    assert world.ends[NAME][1] == "the transfer"


def test_what_another_run_wrote_first_counts() -> None:
    world = world_with(REF)
    stale = world.entries[NAME]
    FakeCluster(world).intend(stale, b.an_intent(), "")
    action = Settle(entry=stale, outcome=b.an_outcome(), reason="")
    (hold,) = apply(world, action)
    assert isinstance(hold, Hold)
    assert "another run was faster" in hold.reason
    assert world.entries[NAME].outcome is None


def test_a_late_end_leaves_nothing_behind_that_speaks_later() -> None:
    """The attempt was started by another run after this one had looked."""
    world = empty_world()
    FakeCluster(world).record(b.a_draft())
    observed = dispatch.look(FakeCluster(world))
    (end,) = planner.plan(b.desired(), observed, b.a_policy()).actions
    for _ in range(2):
        run(FakeCluster(world))
    (hold,) = dispatch.apply(FakeCluster(world), end, observed)
    assert isinstance(hold, Hold)
    world.run(NAME)
    world.finish(NAME)
    run(FakeCluster(world))
    outcome = world.entries[NAME].outcome
    assert outcome
    assert outcome.phase is Phase.SUCCEEDED


def test_when_another_run_was_faster_the_rest_of_that_job_is_left_out() -> None:
    world = world_with(REF)
    stale = replace(world.entries[NAME], version="0")
    gone = Settle(entry=stale, outcome=b.an_outcome(Phase.LOST), reason="lost")
    follow = opening(attempt=2)
    other = Open(draft=b.a_draft("dtp-irods/other"), reason="new")
    cluster = FakeCluster(world)
    done = dispatch.apply_all(cluster, [gone, follow, other], dispatch.look(cluster))
    assert [type(action) for action in done] == [Hold, Open]
    assert len(world.entries) == 2


def test_an_error_is_raised_when_the_rest_is_through() -> None:
    world, desired = World(), b.desired(*names(5))
    cluster = FakeCluster(world, fault=Fault(at=1, only="create jobs"))
    with pytest.raises(UnavailableError):
        run(cluster, desired)
    assert run(FakeCluster(world), desired).actions
    assert len(world.jobs) == 5
    assert set(world.jobs_made.values()) == {1}


def test_retire_gives_the_job_the_rest_of_its_time() -> None:
    world = settle_ended("x")
    assert world.jobs[NAME].ttl == 86400
    assert not run(FakeCluster(world)).actions


# --- what cannot be read -------------------------------------------------------------------------

OTHER = "dtp-irods/other"


def ended_world() -> World:
    """Return a world in which two jobs have ended, and nobody has looked since."""
    world = world_with(REF, OTHER)
    for name in list(world.entries):
        world.run(name)
        world.finish(name)
    return world


def test_an_end_that_cannot_be_read_holds_its_attempt_and_the_other_is_settled() -> None:
    world, both = ended_world(), b.desired(REF, OTHER)
    world.spoiled[f"{NAME}-end"] = "it has no phase"
    clock = Clock()
    report = run(FakeCluster(world), both, patience=clock.patience(300))
    held = [action for action in report.actions if isinstance(action, Hold)]
    assert held, "loudly"
    assert f"ConfigMap {NAME}-end cannot be read (it has no phase)" in held[0].reason
    assert clock.sleeps == [], "nobody waits for it"
    assert world.entries[NAME].outcome is None
    assert world.entries[b.an_entry(OTHER).name].outcome
    (row,) = reports.unreadable(report.observed)
    assert f"{NAME}-end" in row["reason"]
    (shown,) = reports.jobs(report.observed, refs=[b.a_ref(REF)])
    assert (shown["phase"], shown["finished"]) == ("RUNNING", None)
    assert f"held: ConfigMap {NAME}-end cannot be read" in shown["reason"]

    cluster = FakeCluster(world)
    run(cluster, both)
    assert not any(request.startswith("patch") for request in cluster.requests), "noted once"
    world.spoiled.clear()
    report = run(FakeCluster(world), both)
    assert world.entries[NAME].outcome, "restored"
    assert reports.unreadable(report.observed) == []


def test_an_entry_that_cannot_be_read_is_asked_for_once_and_the_others_go_on() -> None:
    world = ended_world()
    world.spoiled[NAME] = "it was edited by hand"
    cluster = FakeCluster(world)
    report = run(cluster, b.desired(REF, OTHER))
    assert f"get configmaps {NAME}" not in cluster.requests
    assert world.entries[b.an_entry(OTHER).name].outcome
    assert [found.name for found in report.observed.unreadable] == [NAME]
    assert world.jobs_made[NAME] == 1


def test_an_entry_that_the_list_missed_and_that_cannot_be_read_is_none_the_less_told() -> None:
    world = world_with(REF)
    hidden = world.entries[NAME]

    def before(request: str) -> None:
        if request == "list jobs":
            world.entries[NAME] = hidden
            world.spoiled[NAME] = "it was edited by hand"

    del world.entries[NAME]
    observed = dispatch.look(FakeCluster(world, before=before))
    assert [found.name for found in observed.unreadable] == [NAME]


def test_an_entry_whose_data_cannot_be_read_waits_and_says_so_until_it_is_restored() -> None:
    world = empty_world()
    world.refusals["*"] = Refused(reason="quota", for_good=False)
    run(FakeCluster(world))
    world.refusals.clear()

    def before(request: str) -> None:
        needed = request == f"get configmaps {NAME}"
        world.spoiled = {NAME: "it has no script"} if needed else {}

    report = run(FakeCluster(world, before=before))
    assert [type(action) for action in report.actions][:1] == [Hold]
    assert "it has no script" in world.entries[NAME].held
    (row,) = reports.jobs(dispatch.look(FakeCluster(world)))
    assert row["phase"] == "WAITING"
    assert "it has no script" in row["reason"]
    world.spoiled.clear()
    for _ in range(2):
        run(FakeCluster(world))
    assert world.jobs_made[NAME] == 1
    assert world.entries[NAME].held == ""
    assert reports.unreadable(dispatch.look(FakeCluster(world))) == []


def test_a_job_that_cannot_be_read_is_not_told_as_lost_nor_doubted() -> None:
    world = ended_world()
    world.jobs[NAME] = replace(world.jobs[NAME], unreadable="its creationTimestamp is soon")
    report = run(FakeCluster(world), b.desired(REF, OTHER))
    assert world.entries[NAME].outcome is None
    assert world.entries[b.an_entry(OTHER).name].outcome
    (found,) = report.observed.unreadable
    assert (found.kind, found.name) == ("Job", NAME)


def test_an_attempt_whose_pod_cannot_be_read_is_held() -> None:
    world = ended_world()
    world.pods[NAME] = [replace(world.pods[NAME][-1], unreadable="it has no uid")]
    report = run(FakeCluster(world), b.desired(REF, OTHER))
    assert world.entries[NAME].outcome is None
    assert report.observed.unreadable[0].kind == "Pod"


def test_an_unreadable_entry_without_a_card_is_not_a_fresh_ledger() -> None:
    world = world_with(REF)
    world.card = None
    world.spoiled[NAME] = "it was edited by hand"
    with pytest.raises(UsageError, match="its card, ConfigMap dtp-ledger, is gone"):
        run(FakeCluster(world))


# --- waiting -------------------------------------------------------------------------------------


def test_without_patience_it_looks_once_more_and_leaves() -> None:
    report = run(FakeCluster(World()))
    assert [type(action) for action in report.actions] == [Open]
    assert [entry.name for entry in report.observed.entries] == [NAME]
    assert report.bad == ()


@pytest.mark.parametrize(("exit_code", "bad"), [(0, []), (7, [NAME])])
def test_it_waits_for_the_end_settles_it_and_tells_a_bad_one(
    exit_code: int, bad: list[str]
) -> None:
    world = World()

    def during(turn: int) -> None:
        if turn == 2:
            world.run(NAME)
        if turn == 4:
            world.finish(NAME, exit_code)

    clock = Clock(during)
    report = run(FakeCluster(world), patience=clock.patience(300))
    assert [entry.name for entry in report.bad] == bad
    assert [type(a).__name__ for a in report.actions] == ["Open", "Settle", "Retire"]
    assert clock.time < 10, "it leaves as soon as all has ended"
    assert report.observed.entries[0].outcome


def test_when_time_is_up_what_is_open_stays_open_and_is_not_bad() -> None:
    world, clock = World(), Clock()
    report = run(FakeCluster(world), patience=clock.patience(100))
    assert clock.time == 100
    assert report.bad == ()
    assert world.entries[NAME].outcome is None
    assert clock.sleeps[0] == 1
    assert clock.sleeps[:-1] == sorted(clock.sleeps[:-1]), "it looks less and less often"
    assert max(clock.sleeps) <= 15


def test_it_waits_for_what_was_open_before_too() -> None:
    world = world_with(REF)
    world.run(NAME)
    clock = Clock(lambda turn: world.finish(NAME) if turn == 3 else None)
    report = run(FakeCluster(world), patience=clock.patience(300))
    assert [type(a) for a in report.actions] == [Settle, Retire]


def test_with_nothing_open_it_does_not_wait() -> None:
    clock = Clock()
    run(FakeCluster(World()), b.desired(), patience=clock.patience(300))
    assert clock.sleeps == []


def test_what_is_opened_while_it_waits_is_waited_for() -> None:
    """The change replaces what has not started; its successor is this run's too."""
    world = world_with(REF)
    second = b.an_entry(attempt=2).name

    def during(turn: int) -> None:
        world.pass_time(2)
        if second in world.jobs and not world.runs[second]:
            world.run(second)
        elif world.runs[second] and world.jobs[second].end is None:
            world.finish(second, 3)

    report = run(
        FakeCluster(world),
        b.desired(b.a_wanted(REF, b"#!/bin/sh\necho 2\n")),
        patience=Clock(during).patience(300),
    )
    assert [entry.name for entry in report.bad] == [NAME, second]
    first, last = (world.entries[name].outcome for name in (NAME, second))
    assert first
    assert last
    assert (first.phase, last.phase) == (Phase.CANCELLED, Phase.FAILED)


def test_a_refused_start_is_not_tried_again_while_it_waits() -> None:
    world = World()
    world.refusals["*"] = Refused(reason="quota", for_good=False)
    cluster = FakeCluster(world)
    run(cluster, patience=Clock().patience(300))
    assert cluster.requests.count(f"create jobs {NAME}") == 1


def test_who_watches_sees_this_runs_attempts_alone() -> None:
    world = settle_ended("x")
    seen: list[Observed] = []
    desired = b.desired(REF, "dtp-irods/new")
    run(FakeCluster(world), desired, patience=Clock().patience(5, watch=seen.append))
    assert {str(entry.ref) for look in seen for entry in look.entries} == {"dtp-irods/new"}


# --- which commit rules, and what an attempt without a Job comes to -------------------------------


def test_a_run_follows_from_the_moment_that_a_newer_commit_rules() -> None:
    world = World()
    newer = b.desired("dtp-irods/new", commit="f" * 40)

    def during(turn: int) -> None:
        if turn == 1:
            line = replace(b.LINE, place=lambda: Place.NEWEST)
            dispatch.run(
                FakeCluster(world),
                newer,
                b.a_policy(),
                line=line,
                patience=Clock().patience(0),
                source=lambda observed: b.SOURCE,
            )

    report = run(FakeCluster(world), patience=Clock(during).patience(60))
    assert [type(action) for action in report.actions] == [Open]
    assert report.observed.identity
    assert report.observed.identity.commit == newer.commit
    assert {str(entry.ref) for entry in world.entries.values()} == {str(REF), "dtp-irods/new"}


def test_a_run_that_was_overtaken_follows_what_the_newer_commit_opened() -> None:
    """The newer commit's run may not wait, and what it opened is settled all the same."""
    world = World()
    newer = b.desired("dtp-irods/new", commit="f" * 40)
    opened = naming.attempt_name(b.a_ref("dtp-irods/new"), 1)

    def during(turn: int) -> None:
        if turn == 1:
            world.card = replace(b.an_identity(), commit=newer.commit)
            run(FakeCluster(world), newer)
            world.run(NAME)
            world.finish(NAME)
            world.run(opened)
        if turn == 3:
            world.finish(opened)

    run(FakeCluster(world), patience=Clock(during).patience(60))
    assert all(entry.outcome for entry in world.entries.values())


def test_an_older_commit_does_not_take_the_branch_back() -> None:
    world = world_with(REF)
    report = run(FakeCluster(world), b.desired("dtp-irods/new", commit="e" * 40))
    assert report.actions == ()
    assert world.card
    assert world.card.commit == b.COMMIT


def test_a_rewritten_branch_is_said_once_and_not_while_another_takes_over() -> None:
    world = world_with(REF)
    older = b.desired("dtp-irods/new", commit="e" * 40)

    def during(turn: int) -> None:
        if turn == 1 and world.card:
            world.card = replace(world.card, commit="f" * 40, version="new")

    run(FakeCluster(world), older, patience=Clock(during).patience(30), rewritten=True)
    assert world.card
    assert world.card.commit == "f" * 40, "it does not take it back"

    def meanwhile(request: str) -> None:
        if request == f"patch configmaps {LEDGER_NAME}" and world.card:
            world.card = replace(world.card, version="newer still")

    with pytest.raises(ConflictError, match="at the same time"):
        run(FakeCluster(world, before=meanwhile), older, rewritten=True)


@pytest.mark.parametrize("request_", ["create configmaps dtp-aws", "get configmaps dtp-ledger"])
def test_what_an_older_commit_recorded_as_a_newer_took_over_is_not_started(request_: str) -> None:
    world = empty_world()

    def other(request: str) -> None:
        if request.startswith(request_) and world.card:
            world.card = replace(world.card, commit="f" * 40)

    (hold,) = dispatch.apply(FakeCluster(world, before=other), opening(), b.observed())
    assert isinstance(hold, Hold)
    assert not world.jobs


def test_a_job_that_comes_after_its_attempt_was_ended_comes_to_nothing() -> None:
    """The request to make it was on its way for minutes."""
    world = empty_world()
    with pytest.raises(UnavailableError):
        dispatch.apply(FakeCluster(world, late=True), opening(), b.observed())
    run(FakeCluster(world), b.desired())
    outcome = world.entries[NAME].outcome
    assert outcome
    assert (outcome.phase, outcome.before_start) == (Phase.CANCELLED, True)
    world.deliver()
    assert [job.tombstone for job in world.jobs.values()] == [True]


def test_an_attempt_whose_name_cannot_be_taken_now_is_not_settled_yet() -> None:
    world = empty_world()
    world.refusals["*"] = Refused(reason="the namespace's quota is full", for_good=False)
    run(FakeCluster(world))
    report = run(FakeCluster(world), b.desired())
    assert any(isinstance(a, Hold) and "quota" in a.reason for a in report.actions)
    assert world.entries[NAME].intent
    assert world.entries[NAME].outcome is None
    world.refusals.clear()
    run(FakeCluster(world), b.desired())
    assert world.entries[NAME].outcome


def test_a_job_that_came_after_all_is_judged_by_the_next_look() -> None:
    world = world_with(REF)
    entry = FakeCluster(world).intend(world.entries[NAME], b.an_intent(), "")
    settle = Settle(entry=entry, outcome=b.an_outcome(Phase.CANCELLED), reason="")
    (hold,) = dispatch.apply(FakeCluster(world), settle, b.observed())
    assert isinstance(hold, Hold)
    assert "created in the meantime" in hold.reason
    assert world.entries[NAME].outcome is None


def test_the_tombstone_of_a_lost_attempt_is_retired_once() -> None:
    world = world_with(REF)
    run(FakeCluster(world))
    world.lose_job(NAME)
    report = run(FakeCluster(world))
    assert [type(action) for action in report.actions] == [Settle, Retire]
    outcome = world.entries[NAME].outcome
    assert outcome
    assert outcome.phase is Phase.LOST
    assert run(FakeCluster(world)).actions == ()


def test_a_job_made_once_more_is_ended_when_asked() -> None:
    """Its entry still names the one that somebody deleted."""
    world = world_with(REF)
    world.jobs[NAME] = replace(world.jobs[NAME], uid="another")
    observed = dispatch.look(FakeCluster(world))
    action = planner.cancel(b.a_ref(REF), observed, by="ada", request="")
    assert action
    dispatch.apply(FakeCluster(world), action, observed)
    assert world.jobs[NAME].deadline == 1


def test_a_cancel_leaves_anothers_job_of_that_name_alone() -> None:
    world = empty_world()
    FakeCluster(world).record(b.a_draft())
    theirs = world.add_foreign_job(NAME, labelled=True)
    observed = dispatch.look(FakeCluster(world))
    action = planner.cancel(b.a_ref(REF), observed, by="ada", request="")
    assert action
    *_, hold = dispatch.apply(FakeCluster(world), action, observed)
    assert isinstance(hold, Hold)
    assert "not of this ledger" in hold.reason
    assert world.jobs[NAME] == theirs


def test_an_attempt_whose_tombstone_alone_is_refused_is_not_settled() -> None:
    """A policy may know Jobs that run and no others: the Job may still come."""
    world = empty_world()
    FakeCluster(world).record(b.a_draft())
    world.refusals["*"] = Refused(reason="completions must be 1", for_good=True)
    report = run(FakeCluster(world), b.desired())
    assert any(isinstance(a, Hold) and "completions" in a.reason for a in report.actions)
    assert world.entries[NAME].outcome is None


def test_a_run_that_plans_the_same_again_waits_before_it_looks_again() -> None:
    world = world_with(REF)
    stuck = b.a_job(b.an_entry("dtp-irods/b"), uid="another", end=b.an_end())
    clock = Clock()
    cluster = FakeCluster(world)
    run(cluster)
    entry = cluster.record(b.a_draft("dtp-irods/b"))
    cluster.settle(entry, b.an_outcome(), "")
    world.jobs[entry.name] = replace(stuck, entry_uid=entry.uid)
    cluster.retire = lambda job, ttl: None  # type: ignore[method-assign]
    run(cluster, b.desired(REF, "dtp-irods/b"), patience=clock.patience(60))
    assert clock.sleeps


def test_a_run_without_a_card_decides_nothing_more() -> None:
    world = World()

    def during(turn: int) -> None:
        world.card = None if turn == 1 else world.card

    with pytest.raises(UsageError, match="its card, ConfigMap dtp-ledger, is gone"):
        run(FakeCluster(world), patience=Clock(during).patience(60))


def test_two_jobs_of_one_name_in_one_run_are_not_both_told_as_opened() -> None:
    world = empty_world()
    first, second = (b.a_ref(f"dtp-aws/{job}") for job in MEET)
    name = naming.attempt_name(first, 1, 1)
    FakeCluster(world).record(b.a_draft(first, name=name))
    action = Open(draft=b.a_draft(second, name=name), reason="new")
    (hold,) = dispatch.apply(FakeCluster(world), action, b.observed())
    assert isinstance(hold, Hold)
    assert str(first) in hold.reason


def test_pods_are_asked_for_before_an_attempt_follows_another() -> None:
    world = world_with(REF)
    world.run(NAME)
    world.finish(NAME)
    run(FakeCluster(world))
    world.pods[NAME] = [b.a_pod(world.entries[NAME], node="node-7", job=b.running())]
    cluster = FakeCluster(world)
    report = run(cluster, b.desired(b.a_wanted(REF, attempt=2)))
    assert cluster.requests.count("list pods") == 1
    assert [type(action) for action in report.actions] == [Hold]


# --- whose ledger it is --------------------------------------------------------------------------


def refused_by(world: World, words: str, source: str = b.SOURCE, **more: Any) -> None:
    """Check that a run is refused with these words, and that nothing was changed."""
    state = dict(world.entries), dict(world.jobs), world.card
    with pytest.raises(UsageError) as caught:
        dispatch.run(
            FakeCluster(world),
            b.desired("dtp-irods/new"),
            b.a_policy(),
            line=b.LINE,
            patience=Clock().patience(0),
            source=lambda observed: source,
            **more,
        )
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.exit_code is Exit.USAGE
    assert (world.entries, world.jobs, world.card) == state


def test_the_first_run_makes_the_card() -> None:
    world = World()
    run(FakeCluster(world))
    assert world.card == b.an_identity()


def test_another_source_in_the_namespace_starts_nothing() -> None:
    refused_by(world_with(REF), "--rename-source", source="github.com/2#main")


def test_a_renamed_source_is_written_on_the_card() -> None:
    world = world_with(REF)
    dispatch.run(
        FakeCluster(world),
        SAME,
        b.a_policy(),
        line=b.LINE,
        patience=Clock().patience(0),
        source=lambda observed: "github.com/1#trunk",
        rename=True,
    )
    assert world.card
    assert world.card == replace(
        b.an_identity(source="github.com/1#trunk"), version=world.card.version
    )


def test_a_ledger_copied_from_another_namespace_starts_nothing() -> None:
    world = world_with(REF)
    world.namespace_uid = "another"
    refused_by(world, "copied from another namespace")


def test_entries_without_a_card_start_nothing() -> None:
    world = world_with(REF)
    world.card = None
    refused_by(world, "its card, ConfigMap dtp-ledger, is gone")


def test_a_card_made_by_another_run_between_our_lists_is_no_alarm() -> None:
    world = World()

    def other(request: str) -> None:
        if request == "list jobs" and not world.entries:
            run(FakeCluster(world))

    report = run(FakeCluster(world, before=other))
    assert [type(a) for a in report.actions] in ([], [Confirm])
    assert set(world.jobs_made.values()) == {1}


def test_an_empty_list_where_there_is_a_ledger_starts_nothing() -> None:
    """A list that is empty with a 200, though there are entries, is untrue."""
    world = world_with(REF)
    world.now = b.at(3600)
    entries, jobs, card = dict(world.entries), dict(world.jobs), world.card

    def hide(request: str) -> None:
        hidden = request.startswith("list")
        world.entries = {} if hidden else dict(entries)
        world.jobs = {} if hidden else dict(jobs)
        world.card = None if hidden else card

    with pytest.raises(UnavailableError, match="listed no ledger"):
        run(FakeCluster(world, before=hide), b.desired("dtp-irods/new"))
    assert world.jobs == jobs


def test_a_job_without_its_label_holds_its_own_attempt_and_no_other() -> None:
    """The list lacks it; nothing is recorded as lost that is there."""
    world = world_with(REF)
    run(FakeCluster(world))  # confirms
    world.unlabelled.add(NAME)
    report = run(FakeCluster(world), b.desired(REF, "dtp-irods/new"))
    holds = [action for action in report.actions if isinstance(action, Hold)]
    assert [str(hold.ref) for hold in holds] == [str(REF)]
    assert "its label" in holds[0].reason
    assert world.entries[NAME].outcome is None
    assert [str(a.draft.ref) for a in report.actions if isinstance(a, Open)] == ["dtp-irods/new"]


def test_where_many_jobs_are_missing_from_the_list_nothing_is_decided() -> None:
    refs = [f"dtp-aws/job-{number}" for number in range(dispatch.MOST_READS + 1)]
    world = world_with(*refs)
    run(FakeCluster(world), b.desired(*refs))
    world.unlabelled |= world.jobs.keys()
    with pytest.raises(UnavailableError, match="the list of Jobs lacks"):
        run(FakeCluster(world), b.desired(*refs))
    assert not any(entry.outcome for entry in world.entries.values())
