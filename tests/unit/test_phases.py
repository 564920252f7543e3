"""Where an attempt stands: the ladder of evidence, and the words for it.

The cases of observed.yaml are what a real Kubernetes said; the others are made by builders.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.adapters import kube_views
from dtp_action.core import phases
from dtp_action.core.model import (
    ContainerView,
    Entry,
    Intent,
    Meanings,
    Observed,
    Phase,
    PodView,
    Status,
    Why,
)
from tests import builders as b

OBSERVED = yaml.safe_load((Path(__file__).parent / "observed.yaml").read_text())
ENTRY = b.an_entry(job_uid="j")
CREATED = "2026-11-22T09:49:38Z"


def seen(case: str, intent: Intent | None = None) -> tuple[Entry, Observed]:
    """Return an open attempt and a look at the cluster in a state that was really observed."""
    told: dict[str, Any] = OBSERVED[case]
    labels = {"batch.kubernetes.io/job-name": ENTRY.name}
    job = kube_views.job_view(
        {
            "metadata": {"name": ENTRY.name, "uid": "j", "creationTimestamp": CREATED},
            "status": {"conditions": told.get("job", [])},
        }
    )
    pods = [
        kube_views.pod_view(
            {
                **pod,
                "metadata": {
                    **pod["metadata"],
                    "uid": pod["metadata"]["name"],
                    "creationTimestamp": CREATED,
                    "labels": labels,
                },
            }
        )
        for pod in told.get("pods", [])
    ]
    entry = replace(ENTRY, intent=intent)
    job = replace(job, entry_uid=ENTRY.uid)
    return entry, b.observed(
        [entry], [job], pods, events={ENTRY.name: tuple(told.get("events", ()))}
    )


def judge(case: str, intent: Intent | None = None) -> Status:
    return phases.judge(*seen(case, intent))


# --- what ended ----------------------------------------------------------------------------------

LOOK = "ask the cluster's admin whether the data"


@pytest.mark.parametrize(
    ("case", "phase", "exit_code", "words"),
    [
        ("exits-0", Phase.SUCCEEDED, 0, "done"),
        ("exits-7", Phase.FAILED, 7, "your script failed (exit 7)"),
        ("exits-75-three-times", Phase.FAILED, 75, "your script failed (exit 75)"),
        ("exits-75-then-0", Phase.SUCCEEDED, 0, "done"),
        ("out-of-memory", Phase.FAILED, 137, "out of memory (exit 137): raise memory="),
        ("child-out-of-memory-exits-0", Phase.SUCCEEDED, 0, "done"),
        ("child-out-of-memory-exits-3", Phase.FAILED, 3, "out of memory (exit 3): raise memory="),
        ("over-time-obeys-term", Phase.FAILED, 143, "ran longer than time="),
        ("over-time-deaf-to-term", Phase.FAILED, 137, "ran longer than time="),
        ("over-time-answers-term-with-0", Phase.FAILED, 0, "ran longer than time="),
        ("over-time-policy", Phase.FAILED, 143, "ran longer than time="),
        ("scratch-full", Phase.FAILED, 137, "used more than 10Mi of scratch: raise disk="),
        ("evicted", Phase.ERRORED, None, "its node was drained or lost"),
        ("evicted-and-resumed", Phase.SUCCEEDED, 0, "done"),
        ("node-crashed", Phase.ERRORED, None, "its node was lost"),
        ("node-out-of-service", Phase.ERRORED, None, "its node was drained or lost"),
        ("node-deleted", Phase.ERRORED, None, "its node was drained or lost"),
        ("pod-deleted", Phase.ERRORED, None, f"it was deleted before it ended, or .*{LOOK}"),
        ("ended", Phase.ERRORED, None, "waited too long in the cluster"),
    ],
)
def test_an_end_that_was_observed(
    case: str, phase: Phase, exit_code: int | None, words: str
) -> None:
    status = judge(case)
    assert (status.phase, status.exit_code) == (phase, exit_code)
    assert words.partition(".*")[0] in status.reason
    assert words.rpartition(".*")[2] in status.reason
    assert not status.before_start


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("command-missing", 'its container cannot be started: .*exec: "bash"'),
        ("prep-fails", "its directory cannot be made"),
        ("prep-fails-three-times", "its directory cannot be made"),
    ],
)
def test_an_end_before_the_start_that_was_observed(case: str, words: str) -> None:
    status = judge(case)
    assert status.phase is Phase.ERRORED
    assert words.partition(".*")[0] in status.reason
    assert words.rpartition(".*")[2] in status.reason
    assert status.before_start
    assert status.started is None, "what never started has no start, not even in 1970"


def test_exit_0_though_a_process_ran_out_of_memory_is_a_warning() -> None:
    assert "out of memory" in judge("child-out-of-memory-exits-0").warnings[0]


def test_times_come_from_the_container_and_else_from_the_job() -> None:
    status = judge("exits-7")
    assert str(status.started) == "2026-11-22 09:51:23+00:00"
    assert str(status.finished) == "2026-11-22 09:51:24+00:00"
    entry, observed = seen("evicted")
    job = replace(observed.jobs[entry.name], end=b.an_end("PodFailurePolicy", when=9))
    status = phases.judge(entry, replace(observed, jobs={entry.name: job}))
    assert (status.started, status.finished) == (None, b.at(9)), "a start is not invented"


# --- what waits and runs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "words", "hopeless"),
    [
        ("unschedulable-cpu", "no node has enough free cpu now: 0/1 nodes", False),
        ("unschedulable-memory", "no node has enough free memory now", False),
        ("claim-missing", "the shared claim does not exist", True),
        ("image-missing", "its image cannot be pulled: Back-off pulling image", True),
        ("image-name-bad", "its image's name is not valid", True),
        ("registry-unknown", "its image cannot be pulled", True),
        ("runner-image-missing", "its image cannot be pulled", True),
        ("volume-missing", "a volume cannot be mounted: MountVolume.SetUp failed for", False),
        ("container-cannot-be-configured", 'cannot be configured: secret "nope" not found', True),
        ("pod-security", "the cluster's Pod Security rules refuse it", True),
        ("service-account-missing", "the service account for jobs is missing", True),
        ("quota-full", "the namespace's quota is full", False),
        ("policy-refuses-pod", "a policy of the cluster refuses it", True),
    ],
)  # fmt: skip
def test_why_it_waits_is_told_in_plain_words(case: str, words: str, hopeless: bool) -> None:
    status = judge(case)
    assert status.phase is Phase.WAITING
    assert words in status.reason
    assert status.hopeless is hopeless


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("running", "running"),
        ("ended-last-seen", "ended with exit code 143; the cluster is closing it"),
        ("evicted-last-seen", "ended with exit code 143; the cluster is closing it"),
        ("node-out-of-service-last-seen", "its node is being drained or does not answer"),
    ],
)
def test_what_is_told_until_the_job_has_ended(case: str, words: str) -> None:
    status = judge(case)
    assert status.phase is Phase.RUNNING
    assert words in status.reason
    assert status.started


@pytest.mark.parametrize(
    ("pod", "events", "words"),
    [
        (None, (), "handed to the cluster"),
        (None, ("FailedCreate: Error creating: x",), "make its container: Error creating: x"),
        ({}, (), "its container is being prepared"),
        (
            {"unscheduled": "pod has unbound immediate PersistentVolumeClaims"},
            (),
            "the shared claim is not bound",
        ),
        (
            {"unscheduled": "1 node(s) had untolerated taint {gpu: yes}"},
            (),
            "no node accepts it",
        ),
        (
            {"unscheduled": "didn't match Pod's node affinity/selector"},
            (),
            "no node matches the cluster settings",
        ),
        ({"unscheduled": "something new"}, (), "no node takes it: something new"),
    ],
)  # fmt: skip
def test_other_reasons_to_wait(
    pod: dict[str, Any] | None, events: tuple[str, ...], words: str
) -> None:
    pods = [] if pod is None else [b.a_pod(ENTRY, **pod)]
    look = b.observed([ENTRY], [b.a_job(ENTRY, uid="j")], pods, events={ENTRY.name: events})
    status = phases.judge(ENTRY, look)
    assert status.phase is Phase.WAITING
    assert words in status.reason


def test_a_resumed_attempt_runs_on_in_its_second_pod() -> None:
    """As observed: the drained Pod stays until the second one is made, then it is gone."""
    first = b.a_pod(ENTRY, job=b.ended(143, since=10), disruption="drained", deleted=True)
    second = b.a_pod(ENTRY, created=b.at(70), job=b.waiting("ContainerCreating"))
    status = phases.judge(ENTRY, look(first, second))
    assert (status.phase, status.started) == (Phase.RUNNING, b.at(10))
    assert status.reason == "starting again after an interruption"


# --- whether it ran is read from all Pods, how it ended from one -------------------------------

RAN = b.a_pod(
    ENTRY,
    name="ran",
    phase="Failed",
    job=b.ended(75, since=10, message=json.dumps({"start": 1, "rx": 5, "files": 3, "bytes": 9})),
)
NODE_LOST = replace(b.ended(137, reason="ContainerStatusUnknown"), started=None)
NOT_MADE = replace(b.ended(128, reason="StartError"), started=None)
LATER: dict[str, Any] = {"name": "later", "created": b.at(100), "phase": "Failed"}
NEVER = {
    "refused": b.a_pod(ENTRY, **LATER, job=b.ended(190, since=101)),
    "not prepared": b.a_pod(ENTRY, **LATER, prep=b.ended(190)),
    "not pulled": b.a_pod(ENTRY, **LATER, reason="DeadlineExceeded", job=b.waiting("ErrImagePull")),
    "drained": b.a_pod(ENTRY, **LATER, disruption="drained"),
    "node lost": b.a_pod(ENTRY, **LATER, job=NODE_LOST),
    "not made": b.a_pod(ENTRY, **LATER, job=NOT_MADE),
}


@pytest.mark.parametrize("case", NEVER)
def test_what_an_earlier_pod_ran_was_started_whatever_became_of_the_last_one(case: str) -> None:
    assert ended(NEVER[case]).before_start
    status = ended(RAN, NEVER[case])
    assert (status.before_start, status.started) == (False, b.at(10))
    assert (status.starts, status.received, status.new_files) == (1, 5, 3)


@pytest.mark.parametrize("case", NEVER)
@pytest.mark.parametrize("why", [Why.REPLACED, Why.REMOVED])
def test_an_intent_that_did_not_see_the_start_is_corrected_by_any_pod(why: Why, case: str) -> None:
    intent = b.an_intent(why, when=5)
    status = ended(RAN, NEVER[case], intent=intent, reason="DeadlineExceeded")
    assert (status.before_start, status.started) == (False, b.at(10))
    assert "before it started" not in status.reason
    entry = replace(ENTRY, intent=intent)
    waiting = b.a_pod(ENTRY, created=b.at(100), job=b.waiting("ContainerCreating"))
    assert "after it started" in phases.judge(entry, look(RAN, waiting, entry=entry)).reason


def test_a_start_that_the_intent_saw_counts_though_its_pod_is_gone() -> None:
    intent = b.an_intent(Why.CANCEL, when=50, started=b.at(10))
    status = ended(NEVER["refused"], intent=intent, reason="DeadlineExceeded")
    assert (status.before_start, status.started) == (False, b.at(10))


@pytest.mark.parametrize("case", NEVER)
def test_where_an_earlier_pod_is_gone_nobody_says_that_it_was_not_started(case: str) -> None:
    entry, at_end = ENTRY, look(NEVER[case], reason="x")
    job = replace(at_end.jobs[entry.name], failed=2)
    status = phases.judge(entry, replace(at_end, jobs={entry.name: job}))
    assert (status.before_start, status.started) == (False, None)


def test_an_active_job_whose_first_pod_is_gone_does_not_wait_to_be_started() -> None:
    waiting = b.a_pod(ENTRY, created=b.at(100), job=b.waiting("ContainerCreating"))
    for pods, failed in ((), 1), ((waiting,), 2):
        seen_now = look(*pods)
        job = replace(seen_now.jobs[ENTRY.name], failed=failed)
        status = phases.judge(ENTRY, replace(seen_now, jobs={ENTRY.name: job}))
        assert (status.phase, status.started) == (Phase.RUNNING, None)
        assert status.reason == "starting again after an interruption"


def test_starts_of_a_running_attempt_leave_out_what_did_not_run() -> None:
    refused = b.a_pod(ENTRY, name="refused", created=b.at(50), job=b.ended(191, since=51))
    again = b.a_pod(ENTRY, name="again", created=b.at(100), job=b.running(101))
    status = phases.judge(ENTRY, look(RAN, refused, again))
    assert (status.starts, status.started) == (2, b.at(10))


# --- made by hand: the rungs of the ladder, one below the other ----------------------------------


def look(*pods: PodView, entry: Entry = ENTRY, **end: Any) -> Observed:
    """Return a look at an attempt with these Pods; its Job has ended where `end` says how."""
    job = b.a_job(entry, uid="j", end=b.an_end(**end) if end else None)
    return b.observed([entry], [job], pods)


def ended(*pods: PodView, intent: Intent | None = None, reason: str = "x", **end: Any) -> Status:
    entry = replace(ENTRY, intent=intent)
    return phases.judge(entry, look(*pods, entry=entry, reason=reason, **end))


def test_a_settled_entry_is_all_the_evidence_there_is() -> None:
    outcome = b.an_outcome(Phase.FAILED)
    entry = replace(ENTRY, outcome=outcome)
    assert phases.judge(entry, look(b.a_pod(ENTRY, job=b.ended(0)), reason="")) == outcome


CANCEL = b.an_intent(when=100)
STUCK = b.an_intent(Why.STUCK, when=100, reason="its image cannot be pulled: nope")


def test_exit_0_before_the_intent_is_success_and_says_so() -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(0, until=99)), intent=CANCEL)
    assert status.phase is Phase.SUCCEEDED
    assert status.warnings == ("it finished before it could be ended",)


def test_exit_0_of_a_job_that_completed_beats_the_intent() -> None:
    pod = b.a_pod(ENTRY, job=b.ended(0, until=101), phase="Succeeded")
    assert ended(pod, intent=CANCEL, reason="").phase is Phase.SUCCEEDED


def test_exit_0_in_answer_to_our_term_is_not_success() -> None:
    pod = b.a_pod(ENTRY, job=b.ended(0, until=101), phase="Succeeded", deleted=True)
    status = ended(pod, intent=CANCEL, reason="DeadlineExceeded")
    assert (status.phase, status.reason) == (Phase.CANCELLED, "cancelled by ada")


def test_a_failure_before_the_intent_stays_a_failure() -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(7, until=99)), intent=CANCEL)
    assert (status.phase, status.exit_code) == (Phase.FAILED, 7)


def test_a_failure_after_the_intent_is_the_intents_doing() -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(143, until=105)), intent=CANCEL)
    assert (status.phase, status.why) == (Phase.CANCELLED, Why.CANCEL)
    assert (status.exit_code, status.before_start) == (143, False)


@pytest.mark.parametrize("case", ["ended", "ended-while-waiting"])
def test_the_intent_speaks_when_the_deadline_took_the_pod(case: str) -> None:
    status = judge(case, CANCEL)
    assert (status.phase, status.reason) == (Phase.CANCELLED, "cancelled by ada")
    assert status.before_start, "nothing had started when the intent was written"
    ran = judge(case, replace(CANCEL, started=b.at(5)))
    assert (ran.started, ran.before_start) == (b.at(5), False)


def test_stuck_for_good_is_errored_with_the_reason_it_waited_for() -> None:
    status = judge("ended-while-waiting", STUCK)
    assert status.phase is Phase.ERRORED
    assert status.reason == "could not start in time: its image cannot be pulled: nope"
    assert status.before_start


# --- a service -----------------------------------------------------------------------------------


def ended_service(pod: PodView, intent: Intent | None, reason: str) -> Status:
    entry = replace(ENTRY, service=True, intent=intent)
    return phases.judge(entry, look(pod, entry=entry, reason=reason))


@pytest.mark.parametrize(
    ("why", "words"),
    [(Why.CANCEL, "cancelled by ada"), (Why.REMOVED, "its script left the branch")],
)
def test_a_service_that_was_asked_to_end_is_done(why: Why, words: str) -> None:
    intent = b.an_intent(why, when=100, started=b.at(60))
    pod = b.a_pod(ENTRY, job=b.ended(143, until=105))
    status = ended_service(pod, intent, "DeadlineExceeded")
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, f"ended as asked: {words}")
    assert status.why is why


def test_a_service_whose_time_is_over_is_done() -> None:
    pod = b.a_pod(ENTRY, reason="DeadlineExceeded", job=b.ended(143))
    status = ended_service(pod, None, "PodFailurePolicy")
    told = "ended as asked: its time= was over"
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, told)


def test_a_service_whose_time_the_runner_kept_is_done() -> None:
    status = ended_service(b.a_pod(ENTRY, job=b.ended(196)), None, "PodFailurePolicy")
    told = "ended as asked: its time= was over"
    assert (status.phase, status.reason, status.before_start) == (Phase.SUCCEEDED, told, False)


def test_a_service_that_fails_by_itself_failed() -> None:
    status = ended_service(b.a_pod(ENTRY, job=b.ended(3)), None, "PodFailurePolicy")
    assert (status.phase, status.exit_code) == (Phase.FAILED, 3)


def test_a_service_that_was_removed_before_it_started_is_cancelled() -> None:
    intent = b.an_intent(Why.REMOVED, when=100)
    status = ended_service(b.a_pod(ENTRY, job=b.waiting()), intent, "DeadlineExceeded")
    assert (status.phase, status.before_start) == (Phase.CANCELLED, True)


def test_an_intent_under_way_is_told() -> None:
    status = judge("running", CANCEL)
    assert (status.phase, status.reason) == (Phase.RUNNING, "cancelled by ada; ending it")
    assert not judge("image-missing", STUCK).hopeless


@pytest.mark.parametrize(
    ("code", "phase", "words", "before_start"),
    [
        (190, Phase.ERRORED, "the claim or the job's directory cannot be used", True),
        (191, Phase.ERRORED, "a second start of this attempt was refused", False),
        (192, Phase.ERRORED, "belongs to another job", True),
        (193, Phase.FAILED, "no such interpreter", True),
        (194, Phase.ERRORED, "a symbolic link stands where", True),
        (195, Phase.ERRORED, "from another ledger or script", True),
        (189, Phase.FAILED, "your script failed (exit 189)", False),
        (137, Phase.FAILED, "your script failed (exit 137) (killed)", False),
    ],
)
def test_exit_codes_of_the_runner(code: int, phase: Phase, words: str, before_start: bool) -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(code)))
    assert (status.phase, status.exit_code) == (phase, code)
    assert words in status.reason
    assert status.before_start is before_start
    assert (status.started is None) is before_start


@pytest.mark.parametrize("container", ["prep", "job"])
def test_the_runner_says_what_exactly_is_wrong(container: str) -> None:
    message = json.dumps({"v": 1, "exit": 194, "error": "dtp-jobs/dtp-aws is a link"})
    status = ended(b.a_pod(ENTRY, **{container: b.ended(194, message=message)}))
    assert (status.phase, status.reason) == (Phase.ERRORED, "dtp-jobs/dtp-aws is a link")
    assert status.before_start


@pytest.mark.parametrize("refused_first", [False, True])
def test_a_second_pod_that_the_fence_refused_hides_nothing(refused_first: bool) -> None:
    ran = b.a_pod(ENTRY, name="ran", phase="Succeeded", job=b.ended(0))
    refused = b.a_pod(ENTRY, name="refused", phase="Failed", job=b.ended(191))
    pods = (refused, ran) if refused_first else (ran, refused)
    message = "Container job for pod ns/refused failed with exit code 191 matching FailJob rule"
    assert ended(*pods, reason="PodFailurePolicy", message=message).phase is Phase.SUCCEEDED
    running = replace(ran, phase="Running", job=b.running())
    pods = (refused, running) if refused_first else (running, refused)
    assert phases.judge(ENTRY, look(*pods)).reason == "running"


@pytest.mark.parametrize(
    ("code", "phase", "words"),
    [
        (7, Phase.FAILED, "your script failed (exit 7)"),
        (137, Phase.ERRORED, "killed (exit 137), by whom cannot be told"),
        (143, Phase.ERRORED, "terminated (exit 143), by whom cannot be told"),
        (191, Phase.ERRORED, "a second start of this attempt was refused"),
        (193, Phase.FAILED, "no such interpreter"),
    ],
)
def test_the_jobs_condition_keeps_the_exit_code_when_the_pod_is_gone(
    code: int, phase: Phase, words: str
) -> None:
    message = f"Container job for pod ns/p failed with exit code {code} matching FailJob rule"
    status = ended(reason="PodFailurePolicy", message=message)
    assert (status.phase, status.exit_code) == (phase, code)
    assert words in status.reason
    assert "no log" in status.warnings[0]


def test_a_job_that_completed_is_success_though_its_pod_is_gone() -> None:
    status = ended(reason="")
    assert (status.phase, status.exit_code) == (Phase.SUCCEEDED, None), "a zero is never invented"
    assert "no log" in status.warnings[0]


def test_a_pod_deleted_under_the_script_is_nobodys_failure() -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(143), deleted=True))
    assert status.phase is Phase.ERRORED
    assert status.reason == "it was removed from the cluster while it ran (exit 143)"


def test_exit_0_in_answer_to_anybodys_term_is_not_success() -> None:
    pod = b.a_pod(ENTRY, phase="Succeeded", deleted=True, job=b.ended(0))
    status = ended(pod, reason="BackoffLimitExceeded", message="Job has reached its limit")
    assert (status.phase, status.exit_code) == (Phase.ERRORED, 0)
    assert status.reason == "ended by the cluster: Job has reached its limit"


@pytest.mark.parametrize(
    "pod",
    [
        {"reason": "Evicted", "message": "The node was low on resource: memory."},
        {"disruption": "Eviction API: evicting"},
        {"reason": "NodeLost"},
    ],
)
def test_taken_from_its_node_is_errored(pod: dict[str, str]) -> None:
    assert ended(b.a_pod(ENTRY, job=b.running(), **pod)).phase is Phase.ERRORED
    unstarted = ended(b.a_pod(ENTRY, **pod))
    assert (unstarted.phase, unstarted.before_start) == (Phase.ERRORED, True)


@pytest.mark.parametrize("reason", ["ContainerStatusUnknown", "Unknown"])
@pytest.mark.parametrize("code", [0, 137, 255])
def test_an_exit_code_that_nobody_saw_is_no_evidence(reason: str, code: int) -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(code, reason=reason)))
    assert (status.phase, status.exit_code) == (Phase.ERRORED, None)
    assert status.reason == "its node was lost"


@pytest.mark.parametrize("more", [{}, {"disruption": "drained"}, {"phase": "Failed"}])
def test_a_script_that_the_runner_ended_for_its_time_ran_too_long(more: dict[str, Any]) -> None:
    status = ended(b.a_pod(ENTRY, time=60, job=b.ended(196), **more))
    assert (status.phase, status.reason) == (Phase.FAILED, phases.TOO_LONG)
    assert (status.exit_code, status.before_start) == (196, False)


def test_that_it_ran_too_long_is_known_though_its_pod_is_gone() -> None:
    message = (
        "Container job for pod dtp/x failed with exit code 196 matching FailJob rule at index 1"
    )
    status = ended(message=message)
    assert (status.phase, status.reason) == (Phase.FAILED, phases.TOO_LONG)


@pytest.mark.parametrize(
    ("time", "phase"), [(None, Phase.FAILED), (60, Phase.FAILED), (61, Phase.ERRORED)]
)
def test_a_script_that_the_pods_deadline_ended_before_its_time_is_not_to_blame(
    time: int | None, phase: Phase
) -> None:
    """It ran for 60 s. Of a release before, the Pod's deadline was the script's time."""
    pod = b.a_pod(
        ENTRY, reason="DeadlineExceeded", time=time, job=b.ended(143, since=60, until=120)
    )
    status = ended(pod)
    assert (status.phase, status.before_start) == (phase, False)
    assert ("so late" in status.reason) is (phase is Phase.ERRORED)


def test_a_pull_that_takes_long_is_told_as_one() -> None:
    pod = b.a_pod(ENTRY, placed=b.at(1), job=b.waiting("PodInitializing"))
    said = ("Scheduled: to a node", 'Pulling: Pulling image "r.example.org/x"')
    status = phases.judge(ENTRY, replace(look(pod), events={ENTRY.name: said}))
    assert status.reason == "its image is being pulled"
    later = (*said, "Pulled: Successfully pulled image", "Created: Created container")
    status = phases.judge(ENTRY, replace(look(pod), events={ENTRY.name: later}))
    assert status.reason == "its container is being prepared"


def test_images_pulled_for_longer_than_the_time_limit_are_not_the_authors_fault() -> None:
    status = ended(b.a_pod(ENTRY, reason="DeadlineExceeded", job=b.waiting("PodInitializing")))
    assert (status.phase, status.before_start) == (Phase.ERRORED, True)


# --- without a Job -------------------------------------------------------------------------------


def test_recorded_only_waits() -> None:
    status = phases.judge(b.an_entry(), b.observed())
    assert (status.phase, status.reason) == (
        Phase.WAITING,
        "recorded; not handed to the cluster yet",
    )


def test_confirmed_and_gone_is_lost() -> None:
    status = phases.judge(ENTRY, b.observed())
    assert status.phase is Phase.LOST
    assert LOOK in status.reason
    assert not status.before_start


def test_ended_by_intent_and_gone_is_cancelled_with_a_note() -> None:
    status = phases.judge(replace(ENTRY, intent=CANCEL), b.observed())
    assert (status.phase, status.before_start) == (Phase.CANCELLED, False)
    assert status.warnings


def test_a_job_of_another_entry_is_no_evidence() -> None:
    other = b.a_job(ENTRY, entry_uid="other", end=b.an_end())
    assert phases.judge(ENTRY, b.observed([ENTRY], [other])).phase is Phase.LOST


# --- suspects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "suspect"),
    [
        ("pod-security", "j"),  # no Pod: the Job's events say why
        ("volume-missing", "c-cm-vv5bm"),
        ("unschedulable-cpu", None),
        ("image-missing", None),
        ("running", None),
        ("exits-7", None),
    ],
)
def test_events_are_asked_for_only_where_one_waits_unexplained(
    case: str, suspect: str | None
) -> None:
    entry, observed = seen(case)
    assert phases.suspects(observed) == ({entry.name: suspect} if suspect else {})


def test_the_oldest_suspects_come_first_and_not_too_many() -> None:
    entries = [b.an_entry(f"dtp-aws/{n}", created=100 - n) for n in range(30)]
    look = b.observed(entries, map(b.a_job, entries))
    assert list(phases.suspects(look, 2)) == [entries[29].name, entries[28].name]
    assert len(phases.suspects(look)) == 20


# --- what the runner leaves, and what others put there -------------------------------------------


def note(container: ContainerView) -> Status:
    return ended(b.a_pod(ENTRY, phase="Succeeded", job=container), reason="")


def test_the_runners_note_brings_bytes_starts_and_warnings() -> None:
    told = {"v": 1, "exit": 0, "rx": 5, "tx": 7, "start": 2, "warnings": ["w"], "oom_kills": 1}
    status = note(b.ended(0, message=json.dumps(told) + "\n"))
    assert (status.received, status.sent, status.starts) == (5, 7, 2)
    assert "out of memory" in status.warnings[0]
    assert status.warnings[1] == "w"
    assert (status.new_files, status.new_bytes, status.manifest) == (None, None, "")


def test_the_runners_note_brings_doubts_about_a_success_alone() -> None:
    told = json.dumps({"v": 1, "doubts": ["2 processes were still running"]})
    status = note(b.ended(0, message=told))
    assert (status.phase, status.reason) == (Phase.SUCCEEDED, "done")
    assert status.doubts == ("2 processes were still running",)
    assert ended(b.a_pod(ENTRY, job=b.ended(7, message=told))).doubts == ()


MEANINGS = Meanings(
    general={127: "not in the image", 77: "refused"},
    tools={"curl": {28: "a timeout", 6: "no such name"}, "aria2c": {28: "a wrong command line"}},
)


@pytest.mark.parametrize(
    ("exit_code", "told", "words"),
    [
        (28, {}, " 28), which means for `curl`: a timeout; for `aria2c`: a wrong command line"),
        (6, {}, " 6), which means for `curl`: no such name"),
        (9, {}, " 9)"),
        (77, {}, " 77): refused"),
        (28, {"cause": "line 3: `curl u` ended with exit code 28", "program": "curl"},
         " 28): a timeout (line 3: `curl u`)"),
        (28, {"cause": "line 3: `aria2c u` ended with exit code 28", "program": "aria2c"},
         " 28): a wrong command line (line 3: `aria2c u`)"),
        (28, {"cause": "line 3: `cd x` ended with exit code 28", "program": "cd"},
         " 28): line 3: `cd x` ended with exit code 28"),
        (6, {"cause": "line 3: `$GET u` ended with exit code 6", "program": ""},
         " 6): line 3: `$GET u` ended with exit code 6, which means for `curl`: no such name"),
        (127, {"cause": "line 3: `curk` ended with exit code 127", "program": "curk"},
         " 127): not in the image (line 3: `curk`)"),
        (189, {"cause": "line 3: `cd x` ended with exit code 6", "program": "cd", "script_exit": 6},
         " 6): line 3: `cd x` ended with exit code 6"),
        (189, {"script_exit": 191}, " 189)"),
        (189, {"script_exit": "6"}, " 189)"),
        (189, {"script_exit": 0}, " 189)"),
        (28, {"cause": 5, "program": ["curl"]},
         " 28), which means for `curl`: a timeout; for `aria2c`: a wrong command line"),
    ],
)  # fmt: skip
def test_a_code_means_what_its_program_says(
    exit_code: int, told: dict[str, Any], words: str
) -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(exit_code, message=json.dumps(told))))
    assert phases.explained(status, MEANINGS).reason == f"your script failed (exit{words}"


def test_no_code_but_a_scripts_own_is_explained() -> None:
    status = ended(b.a_pod(ENTRY, job=b.ended(190, message='{"error": "the claim is full"}')))
    assert phases.explained(status, MEANINGS) == status


@pytest.mark.parametrize("counted", [True, False])
def test_the_runners_note_brings_what_arrived(counted: bool) -> None:
    told = {"files": 120, "bytes": 0, "counted": counted, "manifest": "ab" * 32}
    status = note(b.ended(0, message=json.dumps(told)))
    assert (status.new_files, status.new_bytes, status.at_least) == (120, 0, not counted)
    assert status.manifest == "ab" * 32


def test_figures_that_are_not_whole_are_at_least_figures() -> None:
    assert note(b.ended(0, message='{"files": 1, "bytes": 2}')).at_least


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        "\x00\ud800",
        "NaN",
        "[" * 100_000,
        "1" * 10_000,
        '{"rx": 1e999, "tx": NaN, "start": true, "oom_kills": "1"}',
        '{"rx": -1, "tx": 9223372036854775808, "start": 1.5, "oom_kills": null}',
        '{"warnings": {"a": 1}, "error": ["x"]}',
        '{"warnings": [1, null, ["x"]], "error": 5}',
        '{"exit": 7, "phase": "FAILED"}',
        '{"doubts": "all", "cause": 7, "program": {"a": 1}, "script_exit": "x"}',
        '{"doubts": [7, null], "cause": "line 1: `x`", "program": "curl", "script_exit": 1e9}',
        '{"files": 1, "bytes": -1, "counted": false, "manifest": 5}',
        '{"files": true, "bytes": 1, "counted": "no", "manifest": "' + "AB" * 32 + '"}',
        '{"files": 9223372036854775808, "bytes": 1, "manifest": "' + "ab" * 32 + '\\n"}',
        '{"files": null, "bytes": null, "counted": false, "manifest": null}',
    ],
)
def test_garbage_in_the_note_changes_nothing(message: str) -> None:
    assert note(b.ended(0, message=message)) == note(b.ended(0))


def test_a_forged_note_cannot_turn_a_failure_into_success() -> None:
    forged = b.ended(7, message='{"v":1,"exit":0,"error":"done","replayed":true}')
    status = ended(b.a_pod(ENTRY, job=forged))
    assert (status.phase, status.reason) == (Phase.FAILED, "your script failed (exit 7)")


def test_a_result_told_again_by_a_later_pod_does_not_blame_the_script_for_a_signal() -> None:
    told = json.dumps({"v": 1, "exit": 143, "replayed": True})
    status = ended(b.a_pod(ENTRY, job=b.ended(143, message=told)))
    assert status.phase is Phase.ERRORED
    assert status.reason == "terminated in an earlier start (exit 143), by whom cannot be told"


def test_a_later_attempt_whose_prep_runs_waits_for_an_earlier_one() -> None:
    pod = b.a_pod(ENTRY, prep=b.running())
    first, second = (
        phases.judge(entry, b.observed([entry], [b.a_job(entry)], [pod]))
        for entry in (ENTRY, replace(ENTRY, attempt=2))
    )
    assert first.reason == "its container is being prepared"
    assert second.reason.startswith("waiting for an earlier attempt to end")
    assert (second.phase, second.hopeless) == (Phase.WAITING, False)


@pytest.mark.parametrize("code", [0, 7, 143, 189, 191])
def test_a_result_told_again_is_told_as_one(code: int) -> None:
    told = {"v": 1, "exit": code, "warnings": ["the log file is gone"], "replayed": True}
    status = ended(b.a_pod(ENTRY, job=b.ended(code, message=json.dumps(told))))
    assert status.warnings == (phases.TOLD_AGAIN, "the log file is gone")


def test_a_note_is_clamped_to_few_short_printable_lines() -> None:
    told = {"warnings": ["a\nb\x1b[2J\u202e" + "x" * 999] * 99}
    status = note(b.ended(0, message=json.dumps(told)))
    assert len(status.warnings) == 5
    assert all(len(w) <= 300 and w.isprintable() for w in status.warnings)


texts = st.text(max_size=400)
containers = st.builds(
    ContainerView,
    state=st.sampled_from(["waiting", "running", "terminated"]),
    reason=st.sampled_from([*phases.CONTAINER, *phases.NODE_LOST, "", "Error", "OOMKilled"]),
    message=texts,
    exit_code=st.sampled_from([None, 0, 1, 137, 143, 190, 191, 255]),
    started=st.sampled_from([None, b.at(1)]),
    finished=st.sampled_from([None, b.at(2)]),
)
pods_ = st.builds(
    lambda **kw: b.a_pod(ENTRY, **kw),
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    reason=st.sampled_from(["", "Evicted", "DeadlineExceeded", "NodeLost"]),
    message=texts,
    unscheduled=st.just("") | texts,
    disruption=st.just("") | texts,
    deleted=st.booleans(),
    prep=st.none() | containers,
    job=st.none() | containers,
)
ends = st.none() | st.builds(
    b.an_end,
    reason=st.sampled_from(["", "DeadlineExceeded", "PodFailurePolicy"]),
    message=texts | st.just("failed with exit code 7 matching"),
)
intents = st.none() | st.builds(
    b.an_intent, st.sampled_from(Why), by=st.just("ada"), reason=texts, started=st.none()
)


@given(intents, st.lists(pods_, max_size=2), ends, st.lists(texts, max_size=2))
def test_any_evidence_gives_one_printable_line_and_no_invented_zero(
    intent: Intent | None, pods: list[PodView], end: Any, events: list[str]
) -> None:
    entry = replace(ENTRY, intent=intent)
    job = b.a_job(entry, uid="j", end=end)
    look = b.observed([entry], [job], pods, events={entry.name: tuple(events)})
    status = phases.judge(entry, look)
    ran = phases.started(look.pods.get(entry.name, ()))
    assert not (ran and status.before_start)
    assert not (ran and end) or status.started == ran
    assert status.reason.strip()
    assert status.reason.isprintable()
    assert len(status.reason) <= 350
    assert status.phase.ended is (end is not None)
    codes = {pod.job.exit_code for pod in pods if pod.job} | {None, 7}
    assert status.exit_code in codes
    assert not (status.before_start and status.started)
    if status.phase is Phase.SUCCEEDED:
        assert 0 in codes or end.succeeded
