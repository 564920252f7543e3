"""What the planner does in each state of the world: the rules for attempts, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtp_action.core import naming, phases, planner
from dtp_action.core.manifests import BORN_TTL
from dtp_action.core.model import (
    AUTHOR_UNKNOWN,
    Action,
    Adopt,
    Confirm,
    ContainerView,
    Desired,
    End,
    Entry,
    Finding,
    Hold,
    Identity,
    Meanings,
    Notify,
    Observed,
    Open,
    Phase,
    Place,
    Retire,
    Settle,
    Start,
    Unreadable,
    Why,
)
from dtp_action.errors import ConflictError, DtpError, Exit, UsageError
from tests import builders as b
from tests.unit.test_naming import MEET

REF = "dtp-aws/genome"
CHANGED = b"#!/bin/sh\necho better\n"
DAY = 86400


def plan(desired: Desired, observed: Observed, **policy: object) -> list[Action]:
    return list(planner.plan(desired, observed, b.a_policy(**policy)).actions)


def only(desired: Desired, observed: Observed, **policy: object) -> Action:
    """Return the one action of a plan."""
    (action,) = plan(desired, observed, **policy)
    return action


def kinds(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions]


def changed(**directives: object) -> Desired:
    return b.desired(b.a_wanted(REF, CHANGED, **directives))


SAME = b.desired(REF)
GONE = b.desired()


# --- an open attempt, row by row -----------------------------------------------------------------


def test_row_01_a_new_job_is_opened_and_started() -> None:
    action = only(SAME, b.observed())
    assert isinstance(action, Open)
    assert (str(action.draft.ref), action.draft.attempt) == (REF, 1)
    assert action.draft.script == b.CONTENT
    assert not action.draft.adopted


def test_row_01_the_draft_carries_what_the_attempt_is_made_from() -> None:
    wanted = b.desired(b.a_wanted(REF, CHANGED, notify=Notify.FAIL, attempt=3))
    action = only(wanted, b.observed(now=7))
    assert isinstance(action, Open)
    assert action.draft.blob == b.a_blob(CHANGED)
    assert action.draft.origin == b.an_origin()
    assert action.draft.notify is Notify.FAIL
    assert action.draft.created == b.at(7)
    assert action.draft.attempt == 3, "a first attempt may ask for its number"


def test_row_02_a_job_without_entry_keeps_its_name_taken() -> None:
    stranger = b.a_job(b.an_entry(), entry_uid="somebody")
    action = only(SAME, b.observed(jobs=[stranger]))
    assert isinstance(action, Hold)
    assert "without an entry" in action.reason


def test_row_03_entry_without_job_is_started_again() -> None:
    entry = b.an_entry()
    action = only(SAME, b.observed([entry], now=BORN_TTL))
    assert action == Start(entry=entry, reason="recorded, not handed to the cluster yet")


def test_row_03_what_is_rejected_by_now_is_still_started_as_recorded() -> None:
    rejected = replace(b.a_rejected(REF), blob=b.a_blob())
    assert isinstance(only(b.desired(rejected), b.observed([b.an_entry()])), Start)


@pytest.mark.parametrize(
    ("desired", "why"), [(GONE, Why.REMOVED), (changed(), Why.REPLACED)], ids=["gone", "changed"]
)
def test_rows_04_05_entry_without_job_is_first_kept_from_being_started(
    desired: Desired, why: Why
) -> None:
    """Another run may be starting it right now: the intent stops it, or its Job will show."""
    action = only(desired, b.observed([b.an_entry()], now=9))
    assert isinstance(action, End)
    assert action.intent
    assert (action.intent.why, action.intent.at) == (why, b.at(9))


@pytest.mark.parametrize("tombstone", [False, True])
@pytest.mark.parametrize("desired", [SAME, GONE], ids=["same", "gone"])
def test_row_04_entry_without_job_is_cancelled(desired: Desired, tombstone: bool) -> None:
    """At once: no time makes it certain that no Job comes, a name that is taken does."""
    entry = b.an_entry(intent=b.an_intent(when=60))
    jobs = [b.a_job(entry, tombstone=True, end=b.an_end())] if tombstone else []
    action = only(desired, b.observed([entry], jobs, now=61))
    assert isinstance(action, Settle)
    assert action.outcome.phase is Phase.CANCELLED
    assert action.outcome.reason == "cancelled by ada"
    assert action.outcome.before_start


def test_row_04_cancelled_while_it_ran_is_not_called_unstarted() -> None:
    """The Job was never confirmed, ran, was cancelled and vanished by hand."""
    entry = b.an_entry(intent=b.an_intent(started=b.at(30)))
    action = only(SAME, b.observed([entry], now=DAY))
    assert isinstance(action, Settle)
    assert not action.outcome.before_start
    assert action.outcome.started == b.at(30)


def test_row_05_changed_before_a_job_was_made_is_replaced() -> None:
    entry = b.an_entry(intent=b.an_intent(Why.REPLACED))
    settle, opening = plan(changed(), b.observed([entry], now=120))
    assert isinstance(settle, Settle)
    assert isinstance(opening, Open)
    assert settle.outcome.phase is Phase.CANCELLED
    assert settle.outcome.why is Why.REPLACED
    assert (opening.draft.attempt, opening.draft.blob) == (2, b.a_blob(CHANGED))


def test_row_05_changed_while_waiting_is_ended_first() -> None:
    entry = b.an_entry()
    action = only(changed(), b.observed([entry], [b.a_job(entry)], [b.a_pod(entry)], now=60))
    assert isinstance(action, End)
    assert action.intent
    assert (action.intent.why, action.intent.at) == (Why.REPLACED, b.at(60))


def test_row_05_when_the_replaced_one_has_ended_the_next_is_opened() -> None:
    entry = b.an_entry(job_uid="j", intent=b.an_intent(Why.REPLACED))
    job = b.a_job(entry, uid="j", end=b.an_end("DeadlineExceeded"), deadline=1)
    actions = plan(changed(), b.observed([entry], [job], now=200))
    assert kinds(actions) == [Settle, Retire, Open]


def test_row_05_removed_while_waiting_is_ended() -> None:
    entry = b.an_entry()
    action = only(GONE, b.observed([entry], [b.a_job(entry)]))
    assert isinstance(action, End)
    assert action.intent
    assert action.intent.why is Why.REMOVED


def test_row_05_changed_while_running_waits_for_the_end() -> None:
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, job=b.running())]
    action = only(changed(), b.observed([entry], [b.a_job(entry, uid="j")], pods))
    assert isinstance(action, Hold)
    assert "changed while attempt 1 is active" in action.reason


def test_row_05_removed_while_running_goes_on_and_says_so() -> None:
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, job=b.running())]
    action = only(GONE, b.observed([entry], [b.a_job(entry, uid="j")], pods))
    assert isinstance(action, Hold)
    assert f"dtp cancel {REF}" in action.reason


# --- a service -----------------------------------------------------------------------------------

SERVICE = b.an_entry(job_uid="j", service=True)
SERVES = ([b.a_job(SERVICE, uid="j")], [b.a_pod(SERVICE, job=b.running())])


def test_a_service_whose_script_is_removed_is_ended_while_it_runs() -> None:
    action = only(GONE, b.observed([SERVICE], *SERVES, now=300))
    assert isinstance(action, End)
    assert action.intent
    assert (action.intent.why, action.intent.started) == (Why.REMOVED, b.at(60))


def test_a_service_whose_script_is_there_goes_on() -> None:
    assert plan(SAME, b.observed([SERVICE], *SERVES, now=300)) == []


def test_a_service_whose_script_changed_goes_on_and_says_how_to_end_it() -> None:
    action = only(changed(), b.observed([SERVICE], *SERVES, now=300))
    assert isinstance(action, Hold)
    assert f"to end it: dtp cancel {REF}" in action.reason


def settled_service(why: Why | None) -> Observed:
    outcome = b.an_outcome(reason="ended as asked", why=why)
    return b.observed([replace(SERVICE, outcome=outcome)])


def test_a_service_that_is_added_again_starts_its_next_attempt() -> None:
    action = only(SAME, settled_service(Why.REMOVED))
    assert isinstance(action, Open)
    assert action.draft.attempt == 2


@pytest.mark.parametrize("why", [None, Why.CANCEL], ids=["time", "cancelled"])
def test_a_service_that_ended_otherwise_is_not_started_again_by_itself(why: Why | None) -> None:
    assert plan(SAME, settled_service(why)) == []


@pytest.mark.parametrize("why", [Why.REMOVED, Why.REPLACED])
def test_what_was_ended_for_the_branchs_sake_runs_again_if_the_branch_asks_for_it(why: Why) -> None:
    """Also where it had started by the time that it was ended: nobody else wanted it to end."""
    ended = b.an_outcome(Phase.CANCELLED, why=why, started=b.at(60))
    (action,) = plan(SAME, b.observed([b.an_entry(outcome=ended)]))
    assert isinstance(action, Open)
    assert action.draft.attempt == 2


# --- exit codes and authors ----------------------------------------------------------------------


def test_a_failure_is_settled_with_what_its_exit_code_means() -> None:
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, job=b.ended(23))]
    jobs = [b.a_job(entry, uid="j", end=b.an_end("PodFailurePolicy"))]
    steps = plan(
        SAME,
        b.observed([entry], jobs, pods),
        meanings=lambda ref: Meanings(general={23: "only a part came"}),
    )
    (settle,) = [step for step in steps if isinstance(step, Settle)]
    assert settle.outcome.reason == "your script failed (exit 23): only a part came"


def test_a_job_whose_author_has_to_be_known_and_is_not_is_held() -> None:
    unknown = Finding(path="p", code=AUTHOR_UNKNOWN, message="whose script this is cannot be told")
    made = planner.plan(SAME, b.observed(), b.a_policy(resolve=lambda script, author: (unknown,)))
    (action,) = made.actions
    assert isinstance(action, Hold)
    assert action.reason == "whose script this is cannot be told"
    assert made.rejected == ()


def test_row_06_unconfirmed_older_than_the_ttl_is_lost() -> None:
    action = only(SAME, b.observed([b.an_entry()], now=BORN_TTL + 1))
    assert isinstance(action, Settle)
    assert action.outcome.phase is Phase.LOST


def test_row_07_a_job_that_is_seen_is_confirmed_and_then_left_alone() -> None:
    entry = b.an_entry()
    job = b.a_job(entry)
    pods = [b.a_pod(entry, job=b.running())]
    assert only(SAME, b.observed([entry], [job], pods)) == Confirm(
        entry=entry, job_uid=job.uid, reason="its Job is there"
    )
    confirmed = replace(entry, job_uid=job.uid)
    assert plan(SAME, b.observed([confirmed], [job], pods)) == []


def test_row_08_a_job_that_is_not_ours_is_left_alone() -> None:
    entry = b.an_entry(job_uid="j")
    job = b.a_job(entry, uid="j", entry_uid="other")
    action = only(changed(), b.observed([entry], [job]))
    assert isinstance(action, Hold)
    assert entry.name in action.reason
    assert "something else" in action.reason


def test_row_08_a_job_made_once_more_after_somebody_deleted_it_is_the_attempts_job() -> None:
    """Two runs had asked for it; the fence on the claim is one."""
    entry = b.an_entry(job_uid="deleted")
    job = b.a_job(entry, uid="j")
    pods = [b.a_pod(entry, job=b.running())]
    action = only(SAME, b.observed([entry], [job], pods))
    assert action == Confirm(entry=entry, job_uid="j", reason="its Job is there")


def test_row_09_cancel_that_was_asked_for_is_carried_through() -> None:
    intent = b.an_intent(started=b.at(60))
    entry = b.an_entry(job_uid="j", intent=intent)
    pods = [b.a_pod(entry, job=b.running())]
    action = only(SAME, b.observed([entry], [b.a_job(entry, uid="j")], pods))
    assert action == End(entry=entry, intent=intent, reason="cancelled by ada")
    ending = b.a_job(entry, uid="j", deadline=1)
    assert plan(SAME, b.observed([entry], [ending], pods)) == [], "once is enough"


def test_row_09_a_script_that_started_before_it_could_be_ended_is_recorded_so() -> None:
    """Else its outcome would claim that it never ran, and the next attempt follow by itself."""
    entry = b.an_entry(job_uid="j", intent=b.an_intent(Why.REPLACED))
    pods = [b.a_pod(entry, job=b.running(since=61))]
    for deadline in (90000, 1):
        job = b.a_job(entry, uid="j", deadline=deadline)
        action = only(changed(), b.observed([entry], [job], pods))
        assert isinstance(action, End)
        assert action.intent == b.an_intent(Why.REPLACED, started=b.at(61))
        assert action.reason == "replaced: the script changed after it started"


@pytest.mark.parametrize(
    ("container", "limit"),
    [
        (b.waiting("ImagePullBackOff", "no such image"), 1800),
        (b.waiting("ContainerCreating"), 3600),
    ],
    ids=["hopeless-after-the-stuck-limit", "else-after-the-queue-allowance"],
)
def test_row_09_what_cannot_start_is_ended_after_its_limit(
    container: ContainerView, limit: int
) -> None:
    entry = b.an_entry(job_uid="j")
    world = ([entry], [b.a_job(entry, uid="j")], [b.a_pod(entry, job=container)])
    assert plan(SAME, b.observed(*world, now=limit)) == []
    action = only(SAME, b.observed(*world, now=limit + 1))
    assert isinstance(action, End)
    assert action.intent
    assert action.intent.why is Why.STUCK
    assert action.intent.reason


PREPARED = b.ended(0, since=50, until=100)


@pytest.mark.parametrize(
    ("pod", "since", "limit"),
    [
        ({"placed": b.at(500)}, 500, 1800),
        ({"placed": b.at(40), "prep": PREPARED}, 100, 1800),
        ({"placed": b.at(40), "prep": b.running(50)}, 0, 3600),
        ({"unscheduled": "0/3 nodes are available: Insufficient cpu"}, 0, 3600),
    ],
    ids=["image", "image-after-prep", "an-earlier-attempt", "a-node"],
)
def test_row_09_a_slow_start_is_ended_after_the_stuck_limit_that_begins_on_the_node(
    pod: dict[str, Any], since: int, limit: int
) -> None:
    """The wait for a node or for an earlier attempt is the queue's."""
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, job=b.waiting("PodInitializing"), **pod)]
    world = ([entry], [b.a_job(entry, uid="j")], pods)
    assert plan(SAME, b.observed(*world, now=since + limit)) == []
    action = only(SAME, b.observed(*world, now=since + limit + 1))
    assert isinstance(action, End)
    assert action.intent
    assert action.intent.why is Why.STUCK


def test_row_09_an_unconfirmed_one_is_ended_with_one_write() -> None:
    """Confirm first would make the entry that End goes by stale."""
    entry = b.an_entry()
    assert kinds(plan(SAME, b.observed([entry], [b.a_job(entry)], now=3601))) == [End]


def test_row_09_a_second_pod_after_a_drain_has_the_whole_allowance_again() -> None:
    entry = b.an_entry(job_uid="j")
    pod = b.a_pod(entry, created=b.at(2 * DAY))
    assert plan(SAME, b.observed([entry], [b.a_job(entry, uid="j")], [pod], now=2 * DAY)) == []


def test_row_10_an_ended_job_is_settled_and_retired() -> None:
    entry = b.an_entry(job_uid="j")
    job = b.a_job(entry, uid="j", end=b.an_end(when=120))
    pods = [b.a_pod(entry, phase="Succeeded", job=b.ended(0))]
    settle, retire = plan(SAME, b.observed([entry], [job], pods, now=180), retention=1000)
    assert isinstance(settle, Settle)
    assert isinstance(retire, Retire)
    assert settle.outcome.phase is Phase.SUCCEEDED
    assert retire.ttl == 60 + 1000, "age since its end, and the retention"


def test_row_11_a_confirmed_job_that_vanished_is_lost_and_not_run_again() -> None:
    settle, hold = plan(changed(), b.observed([b.an_entry(job_uid="j")]))
    assert isinstance(settle, Settle)
    assert isinstance(hold, Hold)
    assert settle.outcome.phase is Phase.LOST
    assert "changed, not run: attempt 1 is lost" in hold.reason


# Row 12, a create that is refused, is an answer to Start: test_dispatch.


def test_row_13_a_settled_jobs_job_is_retired_once() -> None:
    entry = b.an_entry(job_uid="j", outcome=b.an_outcome())
    job = b.a_job(entry, uid="j", end=b.an_end())
    action = only(SAME, b.observed([entry], [job], now=120))
    assert action == Retire(entry=entry, ttl=86400, reason="succeeded: its Job may go")
    assert plan(SAME, b.observed([entry], [replace(job, ttl=5)])) == []


def test_row_13_a_settled_attempts_active_job_is_ended() -> None:
    entry = b.an_entry(outcome=b.an_outcome(Phase.CANCELLED, reason="cancelled"))
    action = only(SAME, b.observed([entry], [b.a_job(entry)]))
    assert isinstance(action, End)
    assert action.intent is None


def test_row_13_nothing_is_opened_beside_a_job_that_is_still_ending() -> None:
    outcome = b.an_outcome(Phase.ERRORED, reason="refused", before_start=True)
    entry = b.an_entry(outcome=outcome)
    action = only(changed(), b.observed([entry], [b.a_job(entry, deadline=1)]))
    assert isinstance(action, Hold)
    assert "has not ended yet" in action.reason


# --- a settled attempt, row by row ---------------------------------------------------------------

NEVER_STARTED = b.an_outcome(Phase.ERRORED, reason="no image", before_start=True)
SETTLED = {
    "succeeded": b.an_outcome(),
    "failed": b.an_outcome(Phase.FAILED, reason="your script failed (exit 1)"),
    "done-with-doubts": b.an_outcome(doubts=("nothing was transferred",)),
    "errored-before-start": NEVER_STARTED,
    "errored-later": b.an_outcome(Phase.ERRORED, reason="drained", started=b.at(60)),
    "cancelled": b.an_outcome(Phase.CANCELLED, reason="cancelled by ada", why=Why.CANCEL),
    "cancelled-before-start": b.an_outcome(
        Phase.CANCELLED, reason="cancelled by ada", why=Why.CANCEL, before_start=True
    ),
    "lost": b.an_outcome(Phase.LOST, reason="its Job vanished"),
}


@pytest.mark.parametrize("name", SETTLED)
def test_row_14_the_same_bytes_never_run_again(name: str) -> None:
    assert plan(SAME, b.observed([b.an_entry(outcome=SETTLED[name])])) == []


@pytest.mark.parametrize("name", ["failed", "errored-before-start", "done-with-doubts"])
def test_row_15_changed_after_a_failure_is_a_fix_and_runs(name: str) -> None:
    action = only(changed(), b.observed([b.an_entry(outcome=SETTLED[name])]))
    assert isinstance(action, Open)
    assert action.draft.attempt == 2
    assert SETTLED[name].reason in action.reason


@pytest.mark.parametrize(
    "name", ["succeeded", "errored-later", "cancelled", "cancelled-before-start", "lost"]
)
def test_row_16_changed_after_anything_else_is_held_and_told_how_to_run(name: str) -> None:
    action = only(changed(), b.observed([b.an_entry(outcome=SETTLED[name])]))
    assert isinstance(action, Hold)
    assert f"dtp retry {REF}" in action.reason
    assert "#DTP attempt=2" in action.reason


@pytest.mark.parametrize("name", SETTLED)
def test_row_17_a_greater_attempt_number_runs_once(name: str) -> None:
    first = b.an_entry(outcome=SETTLED[name])
    asked = changed(attempt=4)
    action = only(asked, b.observed([first]))
    assert isinstance(action, Open)
    assert action.draft.attempt == 4
    fourth = b.an_entry(attempt=4, content=CHANGED, outcome=SETTLED[name])
    assert plan(asked, b.observed([first, fourth])) == []


def test_row_17_an_attempt_number_that_is_past_asks_for_nothing() -> None:
    entry = b.an_entry(attempt=2, content=CHANGED, outcome=b.an_outcome())
    assert plan(changed(attempt=2), b.observed([entry])) == []


@pytest.mark.parametrize("why", [Why.REPLACED, Why.REMOVED])
@pytest.mark.parametrize("desired", [SAME, changed()], ids=["same", "changed"])
def test_what_the_branch_took_back_before_it_started_it_may_ask_for_again(
    why: Why, desired: Desired
) -> None:
    outcome = b.an_outcome(Phase.CANCELLED, reason="taken back", why=why, before_start=True)
    action = only(desired, b.observed([b.an_entry(outcome=outcome)]))
    assert isinstance(action, Open)
    assert action.draft.attempt == 2


def test_the_last_attempt_decides() -> None:
    first = b.an_entry(content=CHANGED, outcome=SETTLED["failed"])
    second = b.an_entry(attempt=2, outcome=b.an_outcome())
    assert plan(SAME, b.observed([second, first])) == []


def test_all_attempts_are_looked_after_not_only_the_last() -> None:
    first = b.an_entry(job_uid="j", outcome=SETTLED["failed"])
    second = b.an_entry(attempt=2, outcome=b.an_outcome())
    job = b.a_job(first, uid="j", end=b.an_end("PodFailurePolicy"))
    assert kinds(plan(SAME, b.observed([first, second], [job]))) == [Retire]


def test_one_job_that_is_held_does_not_hold_the_others() -> None:
    stranger = b.a_job(b.an_entry(), entry_uid="somebody")
    actions = plan(b.desired(REF, "dtp-irods/other"), b.observed(jobs=[stranger]))
    assert kinds(actions) == [Hold, Open]


# --- rejected ------------------------------------------------------------------------------------


def test_a_rejected_script_gets_no_entry_and_its_findings_are_told() -> None:
    rejected = b.a_rejected(REF)
    planned = planner.plan(b.desired(rejected), b.observed(), b.a_policy())
    assert planned.actions == ()
    assert planned.rejected == rejected.findings


def test_what_cannot_be_resolved_is_rejected_and_the_rest_goes_on() -> None:
    finding = Finding(path=b.a_ref(REF).path, code="cap", message="memory is over the cap")
    policy = b.a_policy(resolve=lambda s, author: (finding,) if str(s.ref) == REF else b.a_spec())
    planned = planner.plan(b.desired(REF, "dtp-irods/other"), b.observed(), policy)
    assert [type(action) for action in planned.actions] == [Open]
    assert planned.rejected == (finding,)


def test_a_change_that_is_rejected_still_replaces_what_has_not_started() -> None:
    action = only(b.desired(replace(b.a_rejected(REF), blob="other")), b.observed([b.an_entry()]))
    assert isinstance(action, End)
    assert action.intent
    assert action.intent.why is Why.REPLACED


# --- guards --------------------------------------------------------------------------------------


def many(count: int) -> list[str]:
    return [f"dtp-aws/job-{number}" for number in range(count)]


def old() -> Entry:
    """Return a settled entry, so that the ledger is not empty."""
    return b.an_entry("dtp-aws/old", outcome=b.an_outcome())


def test_as_many_new_jobs_as_max_new_are_opened() -> None:
    assert kinds(plan(b.desired(*many(3)), b.observed(), max_new=3)) == [Open] * 3


@pytest.mark.parametrize("entries", [[], [old()]], ids=["empty-ledger", "known-ledger"])
def test_more_new_jobs_than_max_new_are_all_held_with_the_remedy(entries: list[Entry]) -> None:
    actions = plan(b.desired(*many(4)), b.observed(entries), max_new=3)
    assert kinds(actions) == [Hold] * 4
    assert all("--first-run" in a.reason and "--adopt" in a.reason for a in actions)


def test_an_empty_ledger_with_many_scripts_holds_even_one_new_job() -> None:
    rejected = [b.a_rejected(ref) for ref in many(3)]
    assert kinds(plan(b.desired(REF, *rejected), b.observed(), max_new=3)) == [Hold]
    assert kinds(plan(b.desired(REF, *rejected), b.observed([old()]), max_new=3)) == [Open]


def test_first_run_runs_them_all() -> None:
    actions = plan(b.desired(*many(4)), b.observed(), max_new=3, first_run=True)
    assert kinds(actions) == [Open] * 4


def test_adopt_records_new_jobs_as_done_and_runs_none() -> None:
    actions = plan(b.desired(*many(4)), b.observed(), max_new=3, adopt=True)
    assert kinds(actions) == [Adopt] * 4
    assert all(isinstance(a, Adopt) and a.draft.adopted for a in actions)


def test_adopt_still_runs_a_fix() -> None:
    failed = b.an_entry(outcome=SETTLED["failed"])
    assert kinds(plan(changed(), b.observed([failed]), adopt=True)) == [Open]


def test_an_adopted_entry_left_unsettled_is_settled_not_started() -> None:
    action = only(SAME, b.observed([b.an_entry(adopted=True)]))
    assert isinstance(action, Settle)
    assert action.outcome.phase is Phase.SUCCEEDED
    assert action.reason == "adopted, not run here"


def test_a_mass_of_new_jobs_does_not_hold_back_a_fix() -> None:
    failed = b.an_entry(outcome=SETTLED["failed"])
    fix = b.a_wanted(REF, CHANGED)
    actions = plan(b.desired(fix, *many(4)), b.observed([failed]), max_new=3)
    assert [str(a.draft.ref) for a in actions if isinstance(a, Open)] == [REF]
    assert kinds(actions).count(Hold) == 4


def test_many_fixes_and_asked_for_attempts_are_no_new_jobs() -> None:
    entries = [b.an_entry(ref, outcome=SETTLED["failed"]) for ref in many(4)]
    fixes = [b.a_wanted(ref, CHANGED) for ref in many(4)]
    assert kinds(plan(b.desired(*fixes), b.observed(entries), max_new=3)) == [Open] * 4


# --- retry ---------------------------------------------------------------------------------------


def retry(desired: Desired, observed: Observed, request: str = "") -> Open | None:
    return planner.retry(b.a_ref(REF), desired, observed, b.a_policy(), request)


@pytest.mark.parametrize("name", SETTLED)
def test_retry_opens_the_next_attempt_with_the_bytes_on_the_branch(name: str) -> None:
    action = retry(changed(), b.observed([b.an_entry(outcome=SETTLED[name])]), request="key")
    assert action
    assert (action.draft.attempt, action.draft.script) == (2, CHANGED)
    assert action.draft.request == "key"


def test_retry_goes_by_a_greater_attempt_number_in_the_script() -> None:
    action = retry(changed(attempt=5), b.observed([b.an_entry(outcome=b.an_outcome())]))
    assert action
    assert action.draft.attempt == 5


def test_retry_of_the_same_request_does_nothing() -> None:
    entries = [
        b.an_entry(outcome=b.an_outcome()),
        b.an_entry(attempt=2, request="key"),
        b.an_entry(attempt=3),
    ]
    assert retry(SAME, b.observed(entries), request="key") is None


def refused(error: type[DtpError], exit_code: Exit, *words: str) -> pytest.RaisesExc[DtpError]:
    def says(caught: DtpError) -> bool:
        told = f"{caught.message} {caught.hint}"
        return caught.exit_code is exit_code and all(word in told for word in words)

    return pytest.RaisesExc(error, check=says)


DONE = b.an_entry(outcome=b.an_outcome())
CAP = Finding(
    path="dtp-jobs/dtp-aws/genome.sh", code="cap", message="over the cap", fix="#DTP memory=1Gi"
)
STILL = b.an_entry(outcome=SETTLED["cancelled"])


@pytest.mark.parametrize(
    ("desired", "observed", "error"),
    [
        (GONE, b.observed(), (UsageError, Exit.USAGE, "no job dtp-aws/genome")),
        (GONE, b.observed([DONE]), (ConflictError, Exit.CONFLICT, "not on the branch", "add")),
        (
            b.desired(b.a_rejected(REF)),
            b.observed([DONE]),
            (ConflictError, Exit.CONFLICT, "is rejected: it cannot run", "Correct"),
        ),
        (SAME, b.observed(), (ConflictError, Exit.CONFLICT, "has not run yet", "dtp dispatch")),
        (
            SAME,
            b.observed([b.an_entry()]),
            (ConflictError, Exit.CONFLICT, "attempt 1", "has not ended", f"dtp cancel {REF}"),
        ),
        (
            SAME,
            b.observed([STILL], [b.a_job(STILL, deadline=1)]),
            (ConflictError, Exit.CONFLICT, "has not ended yet"),
        ),
        (
            SAME,
            b.observed([DONE], [b.a_job(b.an_entry(attempt=2), entry_uid="x", end=b.an_end())]),
            (ConflictError, Exit.CONFLICT, "without an entry"),
        ),
    ],
    ids=["unknown", "gone", "rejected", "never-ran", "open", "still-ending", "name-taken"],
)
def test_retry_is_refused(
    desired: Desired, observed: Observed, error: tuple[type[DtpError], Exit, str]
) -> None:
    with refused(*error):
        retry(desired, observed)


def test_retry_over_a_cap_is_refused_with_the_remedy() -> None:
    policy = b.a_policy(resolve=lambda script, author: (CAP,))
    with refused(ConflictError, Exit.CONFLICT, "over the cap", "#DTP memory=1Gi"):
        planner.retry(b.a_ref(REF), SAME, b.observed([DONE]), policy, "")


# --- cancel --------------------------------------------------------------------------------------


def cancel(observed: Observed, request: str = "") -> End | None:
    return planner.cancel(b.a_ref(REF), observed, by="bob", request=request)


def test_cancel_records_who_when_and_since_when_it_ran() -> None:
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, job=b.running(since=30))]
    action = cancel(b.observed([entry], [b.a_job(entry, uid="j")], pods, now=90), request="key")
    assert action
    assert action.reason == "cancelled by bob"
    assert action.intent == b.an_intent(by="bob", when=90, request="key", started=b.at(30))


def test_cancel_of_an_attempt_without_job_records_the_intent() -> None:
    action = cancel(b.observed([b.an_entry()]))
    assert action
    assert action.intent
    assert action.intent.started is None


@pytest.mark.parametrize("request_key", ["", "again"])
def test_cancel_asked_for_already_does_nothing(request_key: str) -> None:
    assert cancel(b.observed([b.an_entry(intent=b.an_intent())]), request_key) is None


def test_cancel_of_what_is_being_ended_already_makes_sure_and_keeps_the_reason() -> None:
    entry = b.an_entry(intent=b.an_intent(Why.STUCK))
    action = cancel(b.observed([entry]))
    assert action
    assert action.intent == entry.intent


@pytest.mark.parametrize("why", [Why.REPLACED, Why.REMOVED])
def test_cancel_of_what_ends_for_the_branchs_sake_is_a_cancel(why: Why) -> None:
    """Else the branch would have it run again when it asks for it."""
    action = cancel(b.observed([b.an_entry(intent=b.an_intent(why))]))
    assert action
    assert action.intent
    assert action.intent.why is Why.CANCEL


def test_cancel_of_the_same_request_does_nothing_even_when_it_has_ended() -> None:
    intent = b.an_intent(request="key")
    ended = b.an_entry(intent=intent, outcome=SETTLED["cancelled"])
    assert cancel(b.observed([ended, b.an_entry(attempt=2)]), "key") is None


ENDED = b.an_entry(job_uid="j")


@pytest.mark.parametrize(
    ("observed", "error"),
    [
        (b.observed(), (UsageError, Exit.USAGE, "no job dtp-aws/genome in the ledger")),
        (
            b.observed([DONE]),
            (ConflictError, Exit.CONFLICT, "is done already", f"dtp retry {REF}"),
        ),
        (
            b.observed([ENDED], [b.a_job(ENDED, uid="j", end=b.an_end())]),
            (ConflictError, Exit.CONFLICT, "has ended: done", "dtp dispatch"),
        ),
        (b.observed([ENDED]), (ConflictError, Exit.CONFLICT, "was deleted", "dtp dispatch")),
    ],
    ids=["unknown", "settled", "ended", "lost"],
)
def test_cancel_is_refused(observed: Observed, error: tuple[type[DtpError], Exit, str]) -> None:
    with refused(*error):
        cancel(observed)


# --- what cannot be read -------------------------------------------------------------------------

OTHER = "dtp-irods/other"


def unread(entry: Entry, kind: str = "ConfigMap", **facts: Any) -> Unreadable:
    defaults = {"name": entry.name, "of": entry.name, "why": "it has no origin"}
    return Unreadable(kind=kind, **defaults | facts)


FIRST = b.an_entry()
UNREADABLE = {
    "its name alone": unread(FIRST),
    "what it says alone": unread(FIRST, name="renamed", of="renamed", ref=b.a_ref(REF)),
    "a later attempt": unread(b.an_entry(attempt=2)),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("script", [{}, {"attempt": 9}, {"content": CHANGED}])
@pytest.mark.parametrize("entries", [(), (b.an_entry(outcome=b.an_outcome(Phase.FAILED)),)])
def test_what_cannot_be_read_holds_its_job_and_no_other(
    case: str, script: dict[str, Any], entries: tuple[Entry, ...]
) -> None:
    found = UNREADABLE[case]
    desired = b.desired(b.a_wanted(REF, **script), OTHER)
    hold, opened = plan(desired, b.observed(entries, unreadable=[found]))
    assert isinstance(hold, Hold)
    assert str(hold.ref) == REF
    assert f"{found.kind} {found.name} cannot be read (it has no origin)" in hold.reason
    assert isinstance(opened, Open)
    assert str(opened.draft.ref) == OTHER


def test_other_attempts_of_a_held_job_are_followed_to_their_end_and_none_is_started() -> None:
    ended = b.an_entry(attempt=2, job_uid="j")
    job = b.a_job(ended, uid="j", end=b.an_end())
    waits = b.an_entry(attempt=3)
    look = b.observed([ended, waits], [job], unreadable=[unread(FIRST)])
    assert kinds(plan(SAME, look)) == [Settle, Retire, Hold]


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_an_attempt_whose_job_or_pod_cannot_be_read_is_neither_lost_nor_started_nor_settled(
    kind: str,
) -> None:
    entry = b.an_entry(job_uid="j")
    found = unread(entry, kind, name="it")
    jobs = [] if kind == "Job" else [b.a_job(entry, uid="j", end=b.an_end())]
    for uid in ("j", None):
        look = b.observed([replace(entry, job_uid=uid)], jobs, now=40 * DAY, unreadable=[found])
        hold = only(SAME, look)
        assert isinstance(hold, Hold)
        assert f"{kind} it cannot be read" in hold.reason


def test_what_cannot_be_read_of_a_job_that_nobody_asks_for_is_held_where_it_says_whose_it_is() -> (
    None
):
    found = unread(FIRST, ref=b.a_ref(REF))
    hold = only(GONE, b.observed(unreadable=[found]))
    assert isinstance(hold, Hold)
    assert (str(hold.ref), hold.attempt) == (REF, 1)


def test_by_hand_a_held_job_is_left_alone_too() -> None:
    words = (ConflictError, Exit.CONFLICT, f"{REF} is held", FIRST.name, "cannot be read")
    for entries in ([], [DONE], [b.an_entry(attempt=1, outcome=b.an_outcome(Phase.FAILED))]):
        look = b.observed(entries, unreadable=[unread(b.an_entry(attempt=2), name=FIRST.name)])
        with refused(*words):
            retry(SAME, look)
        with refused(*words):
            cancel(look)


def test_an_attempt_that_can_be_read_is_cancelled_beside_one_that_cannot() -> None:
    second = b.an_entry(attempt=2)
    assert isinstance(cancel(b.observed([second], unreadable=[unread(FIRST)])), End)


# --- whose ledger it is --------------------------------------------------------------------------


def test_the_same_source_and_namespace_may_write() -> None:
    planner.same_ledger(b.an_identity(), replace(b.an_identity(), created=b.at(9)))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (b.an_identity(source="other#main"), ("other#main", b.SOURCE, "--rename-source")),
        (b.an_identity(namespace_uid="copy"), ("copied from another namespace", "--adopt")),
        (replace(b.an_identity(), scheme=naming.SCHEME + 1), ("scheme 3", "CHANGELOG.md")),
    ],
    ids=["other-source", "other-namespace", "other-scheme"],
)
def test_another_ledger_stops_the_run(found: Identity, words: tuple[str, ...]) -> None:
    with refused(UsageError, Exit.USAGE, *words):
        planner.same_ledger(found, b.an_identity())


def here(**shown: Any) -> planner.Here:
    defaults: dict[str, Any] = {"repository": "", "branch": "", "related": lambda _commit: True}
    return planner.Here(**defaults | shown)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("transfers", {"branch": "master", "repository": "github.com/ada/anything"}),
        ("transfers#main", {"branch": "master"}),
        ("github.com/1#main", {"branch": "main", "repository": "github.com/lab/transfers"}),
        ("github.com/1#main", {}),
        ("github.com/Lab/transfers#a/b",
         {"branch": "a/b", "repository": "github.com/lab/transfers"}),
        ("git.lab.example/lab/transfers#main", {"branch": "main"}),
    ],
)  # fmt: skip
def test_the_ledgers_own_checkout_need_not_say_whose_it_is(
    source: str, shown: dict[str, Any]
) -> None:
    card = replace(b.an_identity(source=source), commit=b.COMMIT)
    assert planner.source_here(card, here(**shown)) == source


@pytest.mark.parametrize(
    ("source", "shown", "words"),
    [
        ("transfers", {"related": lambda _commit: False}, "not have commit c0ffee000000, which"),
        ("github.com/1#main", {"branch": "try"}, "this is branch try"),
        ("github.com/lab/transfers#main", {"branch": "try"}, "this is branch try"),
        ("github.com/lab/transfers#main", {"repository": "github.com/ada/transfers"},
         "this checkout is of github.com/ada/transfers"),
    ],
    ids=["other-history", "other-branch-by-number", "other-branch-by-name", "fork"],
)  # fmt: skip
def test_another_repository_or_branch_is_refused_with_the_way_out(
    source: str, shown: dict[str, Any], words: str
) -> None:
    card = replace(b.an_identity(source=source), commit=b.COMMIT)
    with refused(UsageError, Exit.USAGE, words, source, "git pull", "--source"):
        planner.source_here(card, here(**shown))


def test_a_ledger_that_follows_no_commit_yet_has_to_be_told_its_source() -> None:
    with refused(UsageError, Exit.USAGE, "nothing shows", f"--source '{b.SOURCE}'"):
        planner.source_here(replace(b.an_identity(), commit=""), here())


# --- which commit rules --------------------------------------------------------------------------

OLDER, NEWER = "a" * 40, "b" * 40
RULED = replace(b.an_identity(), commit=NEWER)


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param(b.observed(identity=RULED), id="a-new-job"),
        pytest.param(b.observed([b.an_entry()], identity=RULED), id="no-job-yet"),
        pytest.param(
            b.observed([b.an_entry("dtp-aws/gone", job_uid="j")],
                       [b.a_job(b.an_entry("dtp-aws/gone"), uid="j")], identity=RULED),
            id="not-on-the-branch",
        ),
        pytest.param(
            b.observed([b.an_entry(content=b"#!/bin/sh\nother\n", job_uid="j")],
                       [b.a_job(b.an_entry(), uid="j")], identity=RULED),
            id="other-bytes",
        ),
    ],
)  # fmt: skip
def test_where_a_newer_commit_rules_nothing_is_done_for_the_branchs_sake(looks: Observed) -> None:
    older = replace(SAME, commit=OLDER)
    assert planner.plan(older, looks, b.a_policy()) == planner.Plan(actions=(), rejected=())
    assert planner.plan(replace(SAME, commit=NEWER), looks, b.a_policy()).actions


def test_where_a_newer_commit_rules_ends_are_told_and_carried_out() -> None:
    ended, asked = b.an_entry(job_uid="j"), b.an_entry("dtp-aws/two", intent=b.an_intent())
    jobs = [b.a_job(ended, uid="j", end=b.an_end())]
    pods = [b.a_pod(ended, phase="Succeeded", job=b.ended(0))]
    looks = b.observed([ended, asked], jobs, pods, identity=RULED)
    older = b.desired(commit=OLDER)
    assert [type(step) for step in planner.plan(older, looks, b.a_policy()).actions] == [
        Settle,
        Retire,
        Settle,
    ]


def test_a_ledger_without_a_ruling_commit_is_anybodys_whose_commit_is_on_the_branch() -> None:
    earlier = replace(b.an_identity(), commit="")
    assert plan(SAME, b.observed(identity=earlier))
    assert planner.may_rule(earlier, OLDER, b.LINE)
    assert planner.may_rule(earlier, OLDER, replace(b.LINE, place=lambda: Place.BEHIND))
    assert not planner.may_rule(earlier, OLDER, replace(b.LINE, place=lambda: Place.OFF))


@pytest.mark.parametrize(
    ("follows", "place", "may"),
    [
        (True, Place.NEWEST, True),
        (False, Place.NEWEST, True),  # the branch was rewritten
        (True, Place.BEHIND, True),  # no run may come for what is newer
        (False, Place.BEHIND, False),
        (True, Place.OFF, False),  # the branch was taken back to before it
        (True, None, True),
        (False, None, False),
    ],
)
def test_which_commit_may_take_the_branch_over(
    follows: bool, place: Place | None, may: bool
) -> None:
    line = planner.Line(follows=lambda old, new: follows, place=lambda: place)
    assert planner.may_rule(RULED, OLDER, line) is may
    assert planner.may_rule(RULED, NEWER, line)


def test_an_older_clone_retries_nothing() -> None:
    looks = b.observed([b.an_entry(outcome=b.an_outcome())], identity=RULED)
    with refused(ConflictError, Exit.CONFLICT, OLDER[:12], "git pull"):
        planner.retry(b.a_ref(REF), replace(SAME, commit=OLDER), looks, b.a_policy(), "")


# --- never two at a time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pod", [{"deleted": True, "job": b.running()}, {"node": "node-7"}, {"phase": "Running"}]
)
@pytest.mark.parametrize("asked", ["attempt", "retry"])
def test_while_a_pod_may_run_no_attempt_follows(pod: dict[str, Any], asked: str) -> None:
    """Its Job is over or gone, and its entry is settled: a node may not have answered yet."""
    entry = b.an_entry(outcome=b.an_outcome(Phase.LOST))
    looks = b.observed([entry], pods=[b.a_pod(entry, **pod)])
    if asked == "retry":
        with refused(ConflictError, Exit.CONFLICT, "may still be running", entry.name):
            planner.retry(b.a_ref(REF), SAME, looks, b.a_policy(), "")
        return
    (hold,) = plan(b.desired(b.a_wanted(attempt=2)), looks)
    assert isinstance(hold, Hold)
    assert "may still be running" in hold.reason


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_over_is_in_nobodys_way(phase: str) -> None:
    entry = b.an_entry(outcome=b.an_outcome(Phase.LOST))
    looks = b.observed([entry], pods=[b.a_pod(entry, phase=phase, job=b.ended(0))])
    assert isinstance(only(b.desired(b.a_wanted(attempt=2)), looks), Open)


def test_an_attempt_whose_job_was_deleted_is_not_told_while_its_pod_runs() -> None:
    entry = b.an_entry(job_uid="j")
    looks = b.observed([entry], pods=[b.a_pod(entry, job=b.running())])
    hold = only(SAME, looks)
    assert isinstance(hold, Hold)
    assert "its Job was deleted" in hold.reason


def test_of_an_attempt_whose_job_was_deleted_its_pod_tells_the_end() -> None:
    entry = b.an_entry(job_uid="j")
    pods = [b.a_pod(entry, phase="Failed", job=b.ended(7))]
    settle = only(SAME, b.observed([entry], pods=pods))
    assert isinstance(settle, Settle)
    assert (settle.outcome.phase, settle.outcome.exit_code) == (Phase.FAILED, 7)


# --- refused for now -----------------------------------------------------------------------------


def test_what_the_cluster_refuses_for_longer_than_it_may_wait_could_not_start() -> None:
    entry = b.an_entry(waiting="the namespace's quota is full: exceeded")
    assert isinstance(only(SAME, b.observed([entry], now=3600)), Start)
    end = only(SAME, b.observed([entry], now=3601))
    assert isinstance(end, End)
    assert end.intent
    assert (end.intent.why, end.intent.reason) == (Why.STUCK, entry.waiting)


def test_what_is_being_ended_is_not_told_as_waiting_for_the_cluster() -> None:
    stuck = b.an_intent(Why.STUCK, reason="the namespace's quota is full")
    entry = b.an_entry(waiting="the namespace's quota is full", intent=stuck)
    assert "ending it" in phases.judge(entry, b.observed([entry])).reason
    settle = only(SAME, b.observed([entry], now=40 * DAY))
    assert isinstance(settle, Settle)
    assert settle.outcome.phase is Phase.ERRORED, "it never had a Job, so nothing was lost"


# --- one name, two jobs --------------------------------------------------------------------------


def test_a_job_whose_name_is_anothers_is_held_and_told_whose() -> None:
    one, other = (f"dtp-aws/{job}" for job in MEET)
    met = replace(b.an_entry(one), name=naming.attempt_name(b.a_ref(one), 1, 1))
    card = replace(b.an_identity(), scheme=1)
    looks = b.observed([replace(met, outcome=b.an_outcome())], identity=card)
    hold = only(b.desired(other), looks)
    assert isinstance(hold, Hold)
    assert one in hold.reason
    assert isinstance(only(b.desired(other), replace(looks, identity=b.an_identity())), Open)
