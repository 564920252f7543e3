"""The document by which a preview knows a ledger: what is written is what is read."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import cluster_settings, documents, phases, status_document
from dtp_action.core.cluster_settings import Caps, ClusterSettings, Visible
from dtp_action.core.model import Entry, Observed, Outcome, Phase, Why
from dtp_action.core.status_document import StatusDocument
from dtp_action.errors import UsageError
from tests import builders as b


def dump(look: Observed, settings: ClusterSettings | None = None) -> dict[str, Any]:
    return status_document.dump(look, settings, source=b.SOURCE, branch="main")


def load(document: Any) -> StatusDocument:
    return status_document.load(json.dumps(document).encode())


def read_back(look: Observed) -> Observed:
    return load(dump(look)).observed


def refusal(content: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        status_document.load(content)
    assert caught.value.hint == "take status.json of the newest run of dispatch"
    return caught.value.message


# --- attempts ------------------------------------------------------------------------------------

texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=300)
outcomes = st.builds(
    Outcome,
    phase=st.sampled_from([phase for phase in Phase if phase.ended]),
    reason=texts,
    exit_code=st.none() | st.integers(0, 255),
    started=st.none() | st.integers(1, 99).map(b.at),
    finished=st.none() | st.integers(100, 199).map(b.at),
    before_start=st.booleans(),
    why=st.none() | st.sampled_from(Why),
    warnings=st.lists(texts, max_size=2).map(tuple),
    received=st.none() | st.integers(0, 2**63 - 1),
    sent=st.none() | st.integers(0, 2**63 - 1),
    manifest=st.sampled_from(["", "ab" * 32]),
)
counted = st.fixed_dictionaries(
    {
        "new_files": st.integers(0, 2**63 - 1),
        "new_bytes": st.integers(0, 2**63 - 1),
        "at_least": st.booleans(),
    }
)


@given(outcomes, st.just({}) | counted)
def test_a_settled_attempt_is_read_as_it_was(outcome: Outcome, arrived: dict[str, Any]) -> None:
    outcome = replace(outcome, **arrived)
    entry = b.an_entry(attempt=3, outcome=outcome)
    (found,) = read_back(b.observed([entry], now=600)).entries
    assert found.outcome == outcome
    for field in ("name", "ref", "attempt", "blob", "created"):
        assert getattr(found, field) == getattr(entry, field)


def test_an_attempt_keeps_where_it_came_from() -> None:
    origin = b.an_origin(pull_request=12, author="ada[bot]", merged_by="grace")
    (found,) = read_back(b.observed([b.an_entry(origin=origin)])).entries
    assert found.origin == origin


def test_every_attempt_is_told() -> None:
    entries = [b.an_entry(attempt=n, outcome=b.an_outcome()) for n in (1, 2, 3)]
    assert [e.attempt for e in read_back(b.observed(entries)).entries] == [1, 2, 3]


def judged(entry: Entry, look: Observed) -> tuple[Phase, Any]:
    status = phases.judge(entry, look)
    return status.phase, status.started


def test_what_waits_is_read_as_waiting_with_its_reason() -> None:
    handed = b.an_entry("dtp-aws/a", job_uid="job-of-" + b.an_entry("dtp-aws/a").name)
    alone = b.an_entry("dtp-aws/b", waiting="the namespace's quota is full")
    pod = b.a_pod(handed, unscheduled="0/3 nodes are available: Insufficient memory")
    look = b.observed([handed, alone], [b.a_job(handed)], [pod])
    found = read_back(look)
    assert [phases.judge(e, found).phase for e in found.entries] == [Phase.WAITING] * 2
    assert [phases.judge(e, found).reason for e in found.entries] == [
        phases.judge(e, look).reason for e in look.entries
    ]


def test_what_runs_is_read_as_running_since_then() -> None:
    entry = b.an_entry(job_uid="job-of-" + b.an_entry().name)
    look = b.observed([entry], [b.a_job(entry)], [b.a_pod(entry, job=b.running(since=77))], now=99)
    found = read_back(look)
    assert judged(found.entries[0], found) == judged(entry, look) == (Phase.RUNNING, b.at(77))
    assert dump(found) == dump(look)


def test_what_has_ended_and_is_not_settled_yet_is_read_as_ended() -> None:
    entry = b.an_entry(job_uid="job-of-" + b.an_entry().name)
    job, pod = b.a_job(entry, end=b.an_end()), b.a_pod(entry, phase="Succeeded", job=b.ended())
    (found,) = read_back(b.observed([entry], [job], [pod], now=600)).entries
    assert found.outcome
    assert (found.outcome.phase, found.outcome.exit_code) == (Phase.SUCCEEDED, 0)


@pytest.mark.parametrize("runs", [True, False])
def test_that_an_attempt_is_being_ended_is_told_and_read(runs: bool) -> None:
    uid = "job-of-" + b.an_entry().name
    entry = b.an_entry(intent=b.an_intent(Why.REMOVED), job_uid=uid)
    pods = [b.a_pod(entry, job=b.running())] if runs else []
    look = b.observed([entry], [b.a_job(entry, deadline=1)], pods, now=90)
    assert dump(look)["jobs"][0]["why"] == "removed"
    (found,) = read_back(look).entries
    assert found.intent
    assert found.intent.why is Why.REMOVED
    assert not found.outcome


def test_an_intent_that_came_too_late_is_no_reason_for_the_end() -> None:
    entry = b.an_entry(intent=b.an_intent(when=130), job_uid="job-of-" + b.an_entry().name)
    job, pod = b.a_job(entry, end=b.an_end()), b.a_pod(entry, phase="Succeeded", job=b.ended())
    (row,) = dump(b.observed([entry], [job], [pod], now=600))["jobs"]
    assert (row["phase"], row["why"]) == ("SUCCEEDED", None)


# --- the rest ------------------------------------------------------------------------------------


def test_it_tells_when_and_of_what_branch_it_is() -> None:
    document = load(dump(b.observed(now=61)))
    assert (document.as_of, document.observed.now) == ("2030-01-02T12:01:01Z", b.at(61))
    assert document.branch == "main"


SHARED = ClusterSettings(
    claim="shared",
    runner_image="registry.example.org/dtp/runner:1",
    visible=Visible.OWN,
    writable=("shared/results", "génome"),
    images=("docker.io/amazon/",),
    pinned=True,
    caps=Caps(cpu_millis=4500, memory=10**9, disk=3 * 2**30, time=5400, retries=0),
    grants={"lab-key": ("Ada", "grace-h")},
)


def test_of_the_settings_what_scripts_are_judged_by_is_told_and_nothing_else() -> None:
    settings = replace(SHARED, queue="transfers", retention=60, groups=(5,), service_account="x")
    document = dump(b.observed(), settings)
    judged_by = {"caps", "images", "pinned", "grants", "visible", "writable"}
    assert set(document["settings"]) == judged_by
    assert "shared" not in json.dumps(document).replace("shared/results", "")
    assert load(document).settings == replace(SHARED, claim="", runner_image="")


def test_the_settings_stand_in_the_words_of_settings_yaml() -> None:
    rest = {"version": "1", "claim": SHARED.claim, "runnerImage": SHARED.runner_image}
    text = documents.dump(rest | cluster_settings.dump_shared(SHARED))
    assert cluster_settings.parse(text, "settings.yaml") == SHARED


def test_settings_that_the_run_did_not_read_are_unknown() -> None:
    assert load(dump(b.observed())).settings is None


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        ("main", "dtp-status-main"),
        ("clusters/nautilus_2.x", "dtp-status-clusters-nautilus_2.x"),
        ("a b\n../é", "dtp-status-a-b-..--"),
    ],
)
def test_the_artifact_has_a_name_that_github_takes(cluster: str, name: str) -> None:
    assert status_document.artifact(cluster) == name


# --- data from elsewhere -------------------------------------------------------------------------

LEAST = {"version": 1, "as_of": "2030-01-02T12:00:00Z"}
ROW = {
    "ref": "dtp-aws/genome",
    "attempt": 1,
    "phase": "RUNNING",
    "created": "2030-01-02T12:00:00Z",
    "commit": b.COMMIT,
    "blob": b.a_blob(),
}


def test_version_and_time_are_enough() -> None:
    assert load(LEAST).observed == Observed(now=b.NOON, identity=None, entries=(), jobs={})


def test_keys_of_later_versions_are_passed_over() -> None:
    more = {"new": [1], "settings": {"new": {}}, "jobs": [ROW | {"new": 1, "exit_code": None}]}
    assert len(load(LEAST | more).observed.entries) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode"),
        (b"[" * 100_000, "recursion"),
        (b"9" * 5000, "Exceeds the limit"),
        (b"[]", "a list is not a mapping"),
        (b"{}", "the key `version` is missing"),
    ],
    ids=["empty", "bytes", "deep", "long", "list", "none"],
)
def test_what_is_no_document_is_refused_in_a_sentence(content: bytes, told: str) -> None:
    message = refusal(content)
    assert message.startswith("the status document cannot be read: ")
    assert told in message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version: `2` is not `1`"),
        ({"as_of": "yesterday"}, "as_of: Invalid isoformat string: 'yesterday'"),
        ({"as_of": "2030-01-02T12:00:00"}, "is a time without a zone"),
        ({"jobs": {}}, "jobs: a mapping is not a list"),
        ({"jobs": [1]}, "jobs: 1: `1` is not a mapping"),
        (
            {"settings": {"caps": {"memory": "much"}}},
            "settings: caps: memory: `much` is not a size",
        ),
        ({"settings": []}, "settings: a list is not a mapping"),
        ({"branch": 7}, "branch: `7` is not one line of text"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], told: str) -> None:
    assert told in refusal(json.dumps(LEAST | change).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ref", None),
        ("ref", "../../etc/passwd"),
        ("ref", ["dtp-aws/a"]),
        ("attempt", 0.5),
        ("attempt", True),
        ("attempt", -1),
        ("attempt", 10**40),
        ("phase", "DONE"),
        ("phase", {}),
        ("created", 7),
        ("started", "2030-01-02"),
        ("blob", "$(reboot)"),
        ("commit", "HEAD"),
        ("reason", "two\nlines"),
        ("reason", "x" * 5000),
        ("warnings", "none"),
        ("why", "because"),
        ("network_sent_bytes", 2**64),
        ("new_files", -1),
        ("new_bytes", "many"),
        ("manifest_sha256", "AB" * 32),
    ],
)
def test_a_row_that_does_not_fit_is_refused(key: str, value: Any) -> None:
    content = json.dumps(LEAST | {"jobs": [ROW, ROW | {key: value}]}).encode()
    assert refusal(content).startswith("the status document cannot be read: jobs: 2: ")


def test_a_document_beyond_all_ledgers_is_not_read() -> None:
    assert refusal(b" " * (status_document.LARGEST + 1)) == "the status document is over 32 MiB"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*LEAST, *ROW, "jobs", "settings", "caps"]), inner),
))  # fmt: skip
def test_whatever_stands_in_it_ends_in_a_document_or_a_refusal(value: Any) -> None:
    for document in (value, LEAST | {"jobs": [value]}, LEAST | {"settings": value}):
        with suppress(UsageError):
            assert load(document).as_of
