"""What dispatch may rely on in any cluster: the same tests on the fake and on a real one."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dtp_action.core import manifests
from dtp_action.core.model import (
    Arrived,
    Buried,
    JobFile,
    Kept,
    Mount,
    Origin,
    Phase,
    Refused,
    Started,
    Taken,
)
from dtp_action.dispatch import Cluster
from dtp_action.errors import StaleError, UnreadableError
from tests import builders
from tests.contract.stages import API, Counted, FakeStage, Stage

AWKWARD = 'echo "ä€𝄞 \\ \t %s {{x}} $(y)"\n\n  # no newline at the end'.encode()


def the_job(cluster: Cluster) -> str:
    """Return the UID of the only Job."""
    (job,) = cluster.jobs()
    return job.uid


# --- the namespace -------------------------------------------------------------------------------


def test_settings_are_the_admins(cluster: Cluster) -> None:
    assert cluster.settings().service_account == "dtp-job"


def test_namespace_uid_is_the_same_for_all(stage: Stage, cluster: Cluster) -> None:
    assert cluster.namespace_uid()
    assert cluster.namespace_uid() == stage.connect().namespace_uid()


def test_now_is_the_clusters_time(stage: Stage, cluster: Cluster) -> None:
    cluster.namespace_uid()
    expected = stage.world.now if isinstance(stage, FakeStage) else datetime.now(UTC)
    assert abs((cluster.now() - expected).total_seconds()) < 60


@API
def test_settings_and_namespace_cost_a_request_each(cluster: Counted) -> None:
    cluster.settings()
    cluster.namespace_uid()
    cluster.now()
    assert cluster.requests == ["get configmaps dtp-cluster", "get namespaces"]


# --- the ledger ----------------------------------------------------------------------------------


def test_fresh_ledger_has_neither_card_nor_entries(cluster: Cluster) -> None:
    assert cluster.ledger().identity is None
    assert cluster.ledger().entries == ()


def test_first_card_counts(stage: Stage, cluster: Cluster) -> None:
    asked = builders.an_identity("first")
    first = cluster.identify(asked)
    assert replace(first, version=asked.version) == asked
    assert stage.connect().identify(builders.an_identity("second")) == first
    assert cluster.ledger().identity == cluster.card() == first


def test_a_fresh_ledger_has_no_card(cluster: Cluster) -> None:
    assert cluster.card() is None


def test_a_commit_takes_over_only_from_the_one_that_was_read(cluster: Cluster) -> None:
    read = cluster.identify(builders.an_identity())
    ruled = cluster.rule(read, "a" * 40)
    assert replace(ruled, version=read.version) == replace(read, commit="a" * 40)
    with pytest.raises(StaleError):
        cluster.rule(read, "b" * 40)
    assert cluster.card() == ruled


def test_of_many_that_take_over_at_once_one_does(stage: Stage, cluster: Cluster) -> None:
    card = cluster.identify(builders.an_identity())

    def takes(number: int) -> bool:
        try:
            stage.connect().rule(card, f"{number:040x}")
        except StaleError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(takes, range(8))) == 1


def test_rename_changes_the_source_alone(cluster: Cluster) -> None:
    card = cluster.identify(builders.an_identity("old"))
    cluster.rename("new")
    renamed = cluster.ledger().identity
    assert renamed
    assert replace(renamed, version=card.version) == replace(card, source="new")


def test_rename_without_card_is_stale(cluster: Cluster) -> None:
    with pytest.raises(StaleError):
        cluster.rename("new")


def test_entry_is_listed_as_it_was_recorded(cluster: Cluster) -> None:
    cluster.identify(builders.an_identity())
    entries = {
        cluster.record(builders.a_draft("dtp-aws/a")),
        cluster.record(builders.a_draft("dtp-aws/a", 2, request="key", adopted=True)),
        cluster.record(builders.a_draft("dtp-irods/B_c.d", origin=builders.an_origin())),
    }
    assert set(cluster.ledger().entries) == entries


def test_recording_again_returns_the_first_entry(stage: Stage, cluster: Cluster) -> None:
    first = cluster.record(builders.a_draft(content=b"first"))
    again = stage.connect().record(builders.a_draft(content=b"second"))
    assert again == first


def test_many_dispatchers_record_the_same_attempts_at_once(stage: Stage) -> None:
    drafts = [builders.a_draft(f"dtp-aws/job{number}") for number in range(10)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda draft: stage.connect().record(draft), drafts * 3))
    assert found[:10] == found[10:20] == found[20:]
    assert len(stage.connect().ledger().entries) == 10


def test_entry_gives_script_and_spec_back_exactly(cluster: Cluster) -> None:
    spec = builders.a_spec(
        mounts=(Mount(path="a b"), Mount(path="c", read_only=False)),
        env={"KEY": "ä value"},
        transient=(75, 6),
        tolerations=({"key": "x", "operator": "Exists"},),
        secrets=("keys",),
        groups=(100,),
    )
    entry = cluster.record(builders.a_draft(content=AWKWARD, spec=spec))
    recorded = cluster.read(entry.name)
    assert recorded
    assert (recorded.entry, recorded.script, recorded.spec) == (entry, AWKWARD, spec)


def test_entry_that_is_not_there_reads_as_none(cluster: Cluster) -> None:
    assert cluster.read("dtp-aws-nothing-00000000-1") is None


def test_an_entry_tells_its_files_by_their_names(cluster: Cluster) -> None:
    files = (JobFile(path="a b/ü.txt", content=b"\0\xff"), JobFile(path="empty", content=b""))
    spec = builders.a_spec(files=("a b/ü.txt", "empty"))
    entry = cluster.record(builders.a_draft(files=files, spec=spec))
    recorded = cluster.read(entry.name)
    assert recorded
    assert (entry.files, recorded.entry.files, recorded.spec) == (2, 2, spec)
    assert cluster.ledger().entries == (entry,)


# --- writing into an entry -----------------------------------------------------------------------


def test_confirm_writes_the_jobs_uid(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    confirmed = cluster.confirm(entry, "uid-1")
    assert confirmed.job_uid == "uid-1"
    assert cluster.ledger().entries == (confirmed,)


def test_why_an_attempt_has_no_job_yet_is_kept(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.hold_back(entry, "the quota is full")
    (listed,) = cluster.ledger().entries
    assert listed.waiting == "the quota is full"


@pytest.mark.parametrize("found", [{"pull_request": 7, "author": "ada", "merged_by": "bob"}, {}])
def test_where_an_attempt_came_from_may_be_learnt_later_also_after_its_end(
    cluster: Cluster, found: dict[str, Any]
) -> None:
    unknown = Origin(commit=builders.COMMIT)
    entry = cluster.record(builders.a_draft(origin=unknown))
    assert entry.origin == unknown
    entry = cluster.settle(entry, builders.an_outcome(), "")
    later = cluster.attribute(entry, replace(unknown, **found))
    assert later.origin == Origin(commit=builders.COMMIT, asked=True, **found)
    assert cluster.ledger().entries == (later,)


def test_write_on_an_old_reading_is_stale(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    confirmed = stage.connect().confirm(entry, "uid-1")
    with pytest.raises(StaleError):
        cluster.confirm(entry, "uid-2")
    with pytest.raises(StaleError):
        cluster.intend(entry, builders.an_intent(), "")
    with pytest.raises(StaleError):
        cluster.settle(entry, builders.an_outcome(), "")
    with pytest.raises(StaleError):
        cluster.attribute(entry, builders.an_origin())
    assert cluster.ledger().entries == (confirmed,)


def test_write_into_an_entry_that_is_gone_is_stale(cluster: Cluster) -> None:
    with pytest.raises(StaleError):
        cluster.confirm(builders.an_entry(), "uid-1")


def test_intent_is_kept_with_the_logs_tail(cluster: Cluster) -> None:
    intent = builders.an_intent(request="key", started=builders.at(5))
    entry = cluster.intend(cluster.record(builders.a_draft()), intent, "the last words\n")
    assert entry.intent == intent
    assert cluster.ledger().entries == (entry,)
    assert cluster.kept(entry.name).log == "the last words\n"


def test_intent_without_log_keeps_no_tail(cluster: Cluster) -> None:
    entry = cluster.intend(cluster.record(builders.a_draft()), builders.an_intent(), "")
    assert cluster.kept(entry.name) == Kept()


def test_settled_entry_tells_its_outcome(cluster: Cluster) -> None:
    outcome = builders.an_outcome(Phase.FAILED, warnings=("no log",), received=5, sent=0, starts=1)
    entry = cluster.settle(cluster.record(builders.a_draft()), outcome, "ä tail\n")
    assert entry.outcome == outcome
    assert cluster.ledger().entries == (entry,)
    assert cluster.kept(entry.name).log == "ä tail\n"


def test_what_arrived_is_kept_with_the_outcome(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    entry = cluster.intend(entry, builders.an_intent(), "said before it was ended")
    found = Arrived(files=(("d/a b", 5), ("é", 0)), more=3)
    cluster.settle(entry, builders.an_outcome(), "", found)
    assert cluster.kept(entry.name) == Kept(log="said before it was ended", arrived=found)


def test_first_outcome_counts(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    first = stage.connect().settle(entry, builders.an_outcome(Phase.SUCCEEDED), "first")
    late = cluster.settle(first, builders.an_outcome(Phase.FAILED), "second")
    assert late.outcome == first.outcome
    assert cluster.kept(entry.name).log == "first"


def test_companions_are_not_entries(cluster: Cluster) -> None:
    entry = cluster.intend(cluster.record(builders.a_draft()), builders.an_intent(), "tail")
    cluster.settle(entry, builders.an_outcome(Phase.CANCELLED), "end")
    assert len(cluster.ledger().entries) == 1


# --- what cannot be read -------------------------------------------------------------------------


def test_an_entry_that_cannot_be_read_is_listed_as_such_beside_the_others(
    stage: Stage, cluster: Cluster
) -> None:
    spoiled = cluster.record(builders.a_draft())
    other = cluster.record(builders.a_draft("dtp-aws/other"))
    stage.spoil_entry(spoiled.name)
    found = cluster.ledger()
    assert found.entries == (other,)
    (one,) = found.unreadable
    assert (one.kind, one.name, one.of) == ("ConfigMap", spoiled.name, spoiled.name)
    assert one.why
    with pytest.raises(UnreadableError, match=spoiled.name):
        cluster.read(spoiled.name)
    with pytest.raises(UnreadableError, match=spoiled.name):
        cluster.record(builders.a_draft())


def test_an_end_that_cannot_be_read_closes_nothing(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.spoil_end(entry)
    with pytest.raises(UnreadableError, match=f"{entry.name}-end"):
        cluster.settle(entry, builders.an_outcome(), "tail")
    assert cluster.ledger().entries == (entry,)


def test_why_an_attempt_is_held_is_kept_until_its_job_is_seen(cluster: Cluster) -> None:
    held = cluster.mark_held(cluster.record(builders.a_draft()), "ConfigMap x cannot be read")
    assert held.held == "ConfigMap x cannot be read"
    assert cluster.ledger().entries == (held,)
    assert cluster.confirm(held, "uid-1").held == ""


# --- Jobs ----------------------------------------------------------------------------------------


def test_start_makes_the_job_that_the_entry_records(cluster: Cluster) -> None:
    spec = builders.a_spec(time=3600, retries=2, transient=(75,))
    entry = cluster.record(builders.a_draft(spec=spec))
    started = cluster.start(entry)
    (job,) = cluster.jobs()
    assert started == Started(job_uid=job.uid)
    assert (job.name, job.entry_uid, job.end) == (entry.name, entry.uid, None)
    assert (job.deadline, job.ttl) == (manifests.deadline(spec), manifests.BORN_TTL)


@API
def test_starting_costs_two_requests_and_three_when_it_was_started(cluster: Counted) -> None:
    entry = cluster.record(builders.a_draft())
    mark = len(cluster.requests)
    cluster.start(entry)
    cluster.start(entry)
    read, create = f"get configmaps {entry.name}", f"create jobs {entry.name}"
    assert cluster.requests[mark:] == [read, create, read, create, f"get jobs {entry.name}"]


def test_many_dispatchers_start_one_job(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda _: stage.connect().start(entry), range(8)))
    assert answers == {Started(job_uid=the_job(cluster))}


def test_job_of_somebody_else_is_left_alone(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.somebody_makes_job(entry.name)
    answer = cluster.start(entry)
    assert isinstance(answer, Taken)
    assert entry.name in answer.reason
    assert cluster.jobs() == ()


def test_ended_attempt_is_never_started(cluster: Cluster) -> None:
    intended = cluster.record(builders.a_draft("dtp-aws/a"))
    cluster.intend(intended, builders.an_intent(), "")
    settled = cluster.record(builders.a_draft("dtp-aws/b"))
    cluster.settle(settled, builders.an_outcome(), "")
    for entry in (intended, settled, builders.an_entry("dtp-aws/c")):
        with pytest.raises(StaleError):
            cluster.start(entry)
    assert cluster.jobs() == ()


def test_a_buried_attempt_never_has_a_pod_and_can_be_started_by_nobody(
    stage: Stage, cluster: Cluster
) -> None:
    entry = cluster.record(builders.a_draft())
    assert cluster.bury(entry) == Buried()
    assert stage.connect().bury(entry) == Buried()
    with pytest.raises(StaleError):
        cluster.start(entry)
    (job,) = cluster.jobs()
    assert (job.name, job.tombstone, job.entry_uid) == (entry.name, True, entry.uid)
    assert cluster.pods() == ()


def test_an_attempt_that_has_its_job_is_not_buried(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    started = cluster.start(entry)
    assert cluster.bury(entry) == started
    assert [job.tombstone for job in cluster.jobs()] == [False]


def test_of_burying_and_starting_at_once_one_happens(stage: Stage) -> None:
    drafts = [builders.a_draft(f"dtp-aws/job{number}") for number in range(8)]
    entries = [stage.connect().record(draft) for draft in drafts]

    def both(number: int) -> None:
        cluster, entry = stage.connect(), entries[number // 2]
        with suppress(StaleError):
            cluster.bury(entry) if number % 2 else cluster.start(entry)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(both, range(16)))
    assert len(stage.connect().jobs()) == 8


def test_what_was_settled_is_not_buried(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.settle(entry, builders.an_outcome(), "")
    with pytest.raises(StaleError):
        cluster.bury(entry)
    assert cluster.jobs() == ()


@API
def test_a_name_cannot_be_taken_while_the_quota_is_full(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.fill_quota()
    answer = cluster.bury(entry)
    assert isinstance(answer, Refused)
    assert not answer.for_good


@API
def test_full_quota_is_refused_for_now(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.fill_quota()
    answer = cluster.start(entry)
    assert isinstance(answer, Refused)
    assert not answer.for_good
    assert "quota" in answer.reason


@API
def test_policy_refuses_for_good_and_says_why(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.forbid_jobs("images must come from the list")
    answer = cluster.start(entry)
    assert isinstance(answer, Refused)
    assert answer.for_good
    assert "images must come from the list" in answer.reason


@API
def test_policy_of_today_does_not_undo_the_job_of_yesterday(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    started = cluster.start(entry)
    stage.forbid_jobs("not any more")
    assert cluster.start(entry) == started


def test_removed_job_is_not_listed(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.start(entry)
    stage.remove_job(entry.name)
    assert cluster.jobs() == ()


def test_stop_lets_the_deadline_pass(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.start(entry)
    cluster.stop(cluster.jobs()[0])
    assert cluster.jobs()[0].deadline == 1


def test_retire_sets_the_time_to_live(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.start(entry)
    cluster.retire(cluster.jobs()[0], 123)
    assert cluster.jobs()[0].ttl == 123


def test_stop_and_retire_without_job_do_nothing(cluster: Cluster) -> None:
    job = builders.a_job(builders.an_entry())
    cluster.stop(job)
    cluster.retire(job, 5)
    assert cluster.jobs() == ()


def test_stop_leaves_another_job_alone(cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    cluster.start(entry)
    before = cluster.jobs()
    cluster.stop(replace(before[0], uid="another"))
    cluster.retire(replace(before[0], uid="another"), 5)
    assert cluster.jobs() == before


# --- Pods, logs, events --------------------------------------------------------------------------


def test_job_that_succeeded_is_seen_with_its_pod_and_log(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    pod = stage.run_job(entry, exit_code=0)
    (job,) = cluster.jobs()
    assert job.end
    assert job.end.succeeded
    assert cluster.pods() == (pod,)
    assert pod.job
    assert (pod.job_name, pod.phase, pod.job.state) == (entry.name, "Succeeded", "terminated")
    assert pod.prep
    assert pod.prep.exit_code == 0
    assert (pod.job.exit_code, pod.job.reason) == (0, "Completed")
    assert pod.job.started
    assert pod.job.finished
    assert "hello\n" in (cluster.pod_log(pod, lines=10) or "")
    assert b"hello\n" in b"".join(cluster.log(pod, lines=None, follow=True))


@API
def test_events_of_a_pod_say_what_happened_to_it(stage: Stage, cluster: Counted) -> None:
    pod = stage.run_job(cluster.record(builders.a_draft()), exit_code=0)
    assert any(re.match("Started: ", event) for event in cluster.events(pod.uid))


def test_job_that_failed_is_seen_with_its_exit_code(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    pod = stage.run_job(entry, exit_code=7)
    (job,) = cluster.jobs()
    assert job.end
    assert not job.end.succeeded
    assert job.end.reason
    assert pod.job
    assert (pod.phase, pod.job.exit_code, pod.job.reason) == ("Failed", 7, "Error")


@API
def test_a_pod_that_failed_stays_counted_on_its_job(stage: Stage, cluster: Counted) -> None:
    stage.run_job(cluster.record(builders.a_draft()), exit_code=7)
    assert [job.failed for job in cluster.jobs()] == [1]


def test_ended_job_is_stopped_and_retired_in_peace(stage: Stage, cluster: Cluster) -> None:
    entry = cluster.record(builders.a_draft())
    stage.run_job(entry, exit_code=0)
    (job,) = cluster.jobs()
    ended = job.end
    cluster.stop(job)
    cluster.retire(job, 600)
    (job,) = cluster.jobs()
    assert (job.end, job.ttl) == (ended, 600)


def test_pod_that_no_node_takes_says_so(stage: Stage, cluster: Cluster) -> None:
    pod = stage.strand_job(cluster.record(builders.a_draft()))
    assert pod.phase == "Pending"
    assert "nodes are available" in pod.unscheduled
    assert pod.job is None
    assert cluster.pod_log(pod, lines=10) is None


def test_log_and_events_of_what_is_not_there_are_none(cluster: Cluster) -> None:
    pod = builders.a_pod(builders.an_entry())
    assert cluster.pod_log(pod, lines=10) is None
    assert b"".join(cluster.log(pod, lines=10, follow=False)) == b""
    assert cluster.events("00000000-0000-0000-0000-000000000000") == ()
    assert cluster.kept("dtp-aws-nothing-00000000-1") == Kept()
