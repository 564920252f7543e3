"""What is written into the ledger reads back, and every key is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import ledger, planner, report, telling
from dtp_action.core.model import (
    Arrived,
    Entry,
    Intent,
    Mount,
    Notify,
    Open,
    Origin,
    Outcome,
    Phase,
    Unreadable,
    Why,
)
from tests import builders as b
from tests.unit.conftest import Golden, as_yaml

texts = st.text(max_size=80)
times = st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
counts = st.none() | st.integers(0, 2**63)
intents = st.builds(
    Intent,
    why=st.sampled_from(Why),
    by=texts,
    at=times,
    reason=texts,
    request=texts,
    started=st.none() | times,
)
outcomes = st.builds(
    Outcome,
    phase=st.sampled_from([phase for phase in Phase if phase.ended]),
    reason=texts,
    exit_code=st.none() | st.integers(0, 255),
    started=st.none() | times,
    finished=st.none() | times,
    before_start=st.booleans(),
    why=st.none() | st.sampled_from(Why),
    warnings=st.lists(texts, max_size=3).map(tuple),
    received=counts,
    sent=counts,
    starts=counts,
    new_files=counts,
    new_bytes=counts,
    at_least=st.booleans(),
    manifest=st.sampled_from(["", "ab" * 32]),
)


def metadata(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return an object's metadata as the cluster gives it back."""
    return {**manifest["metadata"], "uid": "u", "resourceVersion": "7"}


@given(intents)
def test_an_intent_reads_back(intent: Intent) -> None:
    assert ledger.load_intent(ledger.dump_intent(intent)) == intent


@given(outcomes)
def test_an_outcome_reads_back(outcome: Outcome) -> None:
    assert ledger.load_outcome(ledger.dump_outcome(outcome)) == outcome


def test_an_outcome_of_an_earlier_version_reads_back() -> None:
    earlier = '{"exit_code":0,"finished":"2030-01-02T12:02:00Z","phase":"SUCCEEDED"}'
    outcome = ledger.load_outcome(earlier)
    assert (outcome.new_files, outcome.new_bytes, outcome.at_least) == (None, None, False)
    assert outcome.manifest == ""


def test_settings_of_a_later_version_are_not_guessed_at() -> None:
    text = ledger.entry_manifest(b.a_draft())["data"][ledger.ATTEMPT_KEY]
    attempt = json.loads(text)
    assert ledger.load_spec(text) == b.a_spec()
    attempt["spec"]["colour"] = "green"
    with pytest.raises(ValueError, match="made by a later version of dtp: colour"):
        ledger.load_spec(json.dumps(attempt))


def test_of_an_outcome_of_a_later_version_what_is_known_is_read() -> None:
    later = '{"exit_code":0,"phase":"SUCCEEDED","colour":"green"}'
    assert ledger.load_outcome(later).exit_code == 0


def test_zeros_are_told_and_nothings_are_not() -> None:
    written = json.loads(ledger.dump_outcome(b.an_outcome(exit_code=0, received=0)))
    assert (written["exit_code"], written["received"]) == (0, 0)
    assert not {"new_files", "at_least", "manifest"} & written.keys()
    assert not {"sent", "why", "warnings", "before_start", "hopeless"} & written.keys()


@given(
    attempt=st.integers(1, 9999),
    pull_request=st.none() | st.integers(1),
    author=st.none() | st.just("ada"),
    notify=st.sampled_from(Notify),
    request=texts,
    adopted=st.booleans(),
    created=times,
)
def test_an_entry_reads_back_from_metadata_alone(
    pull_request: int | None, author: str | None, **fields: Any
) -> None:
    origin = Origin(commit=b.COMMIT, pull_request=pull_request, author=author)
    draft = b.a_draft("dtp-aws/A_b.C", origin=origin, **fields)
    entry = ledger.load_entry(metadata(ledger.entry_manifest(draft)))
    assert (entry.uid, entry.version) == ("u", "7")
    for name in ("ref", "attempt", "blob", "origin", "notify", "created", "request", "adopted"):
        assert getattr(entry, name) == getattr(draft, name)
    assert (entry.job_uid, entry.intent, entry.outcome) == (None, None, None)


def test_what_grows_on_an_entry_reads_back() -> None:
    read = metadata(ledger.entry_manifest(b.a_draft()))
    closed = ledger.settled_metadata(b.an_outcome(Phase.FAILED))
    read["annotations"] |= closed["annotations"] | {
        ledger.JOB_UID: "j",
        ledger.INTENT: ledger.dump_intent(b.an_intent()),
    }
    entry = ledger.load_entry(read)
    assert entry.job_uid == "j"
    assert entry.intent == b.an_intent()
    assert entry.outcome == b.an_outcome(Phase.FAILED)
    assert closed["labels"] == {ledger.STATE: "failed"}


def test_an_entry_holds_the_exact_bytes_and_cannot_change() -> None:
    script = "#!/bin/sh\necho 'é\t€ 🙂'  \n\n\r\n"
    manifest = ledger.entry_manifest(b.a_draft(content=script.encode()))
    assert manifest["data"][ledger.SCRIPT_KEY] == script
    assert manifest["immutable"] is True


EVERY_FIELD = b.a_spec(
    transient=(5, 75),
    secrets=("a",),
    groups=(7,),
    env={"A": "1"},
    tolerations=({"key": "k"},),
    node_selector={"zone": "a"},
    mounts=(Mount(path=""), Mount(path="x", read_only=False)),
    queue="q",
)


@pytest.mark.parametrize("spec", [b.a_spec(), EVERY_FIELD], ids=["plain", "everything"])
def test_the_resolved_settings_read_back(spec: Any) -> None:
    manifest = ledger.entry_manifest(b.a_draft(spec=spec))
    assert ledger.load_spec(manifest["data"][ledger.ATTEMPT_KEY]) == spec


def test_settings_of_another_version_are_refused() -> None:
    with pytest.raises(ValueError, match="version 2, this is for 1"):
        ledger.load_spec('{"version": 2}')


def test_an_entry_as_it_is_written(golden: Golden) -> None:
    manifest = ledger.entry_manifest(b.a_draft("dtp-irods/Mouse_Brain.v2", 3, spec=EVERY_FIELD))
    golden("entry.yaml", as_yaml(manifest))


def test_an_identity_card_reads_back() -> None:
    manifest = ledger.identity_manifest(b.an_identity())
    assert manifest["metadata"]["name"] == ledger.LEDGER_NAME
    made = manifest["metadata"] | {"resourceVersion": "1"}
    assert ledger.load_identity(made) == b.an_identity()


def test_what_stands_beside_an_entry_says_whose_it_is_and_is_in_no_list_of_entries() -> None:
    entry = b.an_entry()
    end = ledger.companion(entry, "end", {ledger.TAIL_KEY: "x"})
    assert end["metadata"]["name"] == f"{entry.name}-end"
    assert end["metadata"]["labels"][ledger.KIND] == "end"
    assert end["metadata"]["annotations"][ledger.REF] == str(entry.ref)
    assert end["immutable"] is True


def test_every_key_that_is_written_is_explained() -> None:
    draft, entry = b.a_draft(), b.an_entry()
    written = [
        ledger.entry_manifest(draft)["metadata"],
        ledger.settled_metadata(b.an_outcome()),
        ledger.companion(entry, "end", {})["metadata"],
        ledger.identity_manifest(b.an_identity())["metadata"],
    ]
    keys = {
        key for part in written for kind in ("labels", "annotations") for key in part.get(kind, ())
    }
    assert keys - {ledger.OUR_LABEL[0]} <= ledger.KEYS.keys()
    assert all(key.startswith(ledger.PREFIX) for key in ledger.KEYS)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (b.at(0), "2030-01-02T12:00:00Z"),
        (b.at(0.9), "2030-01-02T12:00:00Z"),
        (b.at(0).astimezone(timezone(timedelta(hours=-5))), "2030-01-02T12:00:00Z"),
    ],
)
def test_times_are_written_in_utc_to_the_second(at: datetime, text: str) -> None:
    assert ledger.stamp(at) == text
    assert ledger.instant(text) == at.replace(microsecond=0)


@pytest.mark.parametrize("missing", [ledger.REF, ledger.ATTEMPT, ledger.ORIGIN])
def test_what_is_no_entry_is_an_error_not_a_guess(missing: str) -> None:
    read = metadata(ledger.entry_manifest(b.a_draft()))
    del read["annotations"][missing]
    with pytest.raises(KeyError):
        ledger.load_entry(read)


# --- what cannot be read -------------------------------------------------------------------------

WHOLE = {
    ledger.INTENT: ledger.dump_intent(b.an_intent()),
    ledger.OUTCOME: ledger.dump_outcome(b.an_outcome()),
    ledger.BROUGHT_BY: ledger.dump_brought_by(b.an_origin()),
}
GONE = "(gone)"


def an_object(**notes: Any) -> dict[str, Any]:
    """Return the metadata of an attempt with everything noted, but for these annotations."""
    made = metadata(ledger.entry_manifest(b.a_draft(origin=Origin(commit=b.COMMIT))))
    whole = made["annotations"] | WHOLE | {ledger.PREFIX + key: one for key, one in notes.items()}
    return made | {"annotations": {key: one for key, one in whole.items() if one is not GONE}}


def origin_with(**fields: Any) -> str:
    origin = json.loads(an_object()["annotations"][ledger.ORIGIN]) | fields
    return json.dumps({key: one for key, one in origin.items() if one is not GONE})


NOTES: dict[str, list[Any]] = {
    "ref": [GONE, "", "genome", "../etc", "dtp-aws/other", 7, None],
    "attempt": [GONE, "", "first", "0", "2", "-1", None],
    "origin": [GONE, "", "{", "[]", "null", "7", "[" * 50_000],
    "brought-by": ["", "[]", '{"pull_request":"7"}'],
    "intent": [
        "",
        "{}",
        "[]",
        '{"why":"mood"}',
        '{"why":"cancel","at":"noon"}',
        '{"why":"cancel","by":"ada"}',
        '{"at":"2030-01-02T12:00:00Z","why":"cancel","colour":"green"}',
    ],
    "outcome": [
        "",
        "{}",
        "null",
        '{"phase":"GONE"}',
        '{"phase":"RUNNING"}',
        '{"phase":"FAILED","warnings":[7]}',
        '{"phase":"FAILED","warnings":"one"}',
        '{"phase":"FAILED","exit_code":true}',
    ],
    "job-uid": [7],
}
ORIGINS: dict[str, list[Any]] = {
    "blob": [GONE, 7],
    "commit": [GONE, None],
    "notify": [GONE, "sometimes"],
    "created": [GONE, "noon", "2030-01-02", "2030-01-02T12:00:00", 7],
    "pull_request": ["7"],
    "author": [["ada"]],
    "asked": ["yes"],
    "adopted": [1],
    "run": [{}],
}
SPOILED = [
    *((key, value) for key, values in NOTES.items() for value in values),
    *(("origin", origin_with(**{k: value})) for k, values in ORIGINS.items() for value in values),
]


@pytest.mark.parametrize(("key", "value"), SPOILED, ids=lambda said: str(said)[:60])
def test_an_entry_that_was_spoiled_is_named_with_the_reason(key: str, value: Any) -> None:
    spoiled = an_object(**{"brought-by": GONE, key: value})
    found = ledger.read_entry(spoiled)
    assert isinstance(found, Unreadable)
    assert (found.kind, found.name, found.of) == ("ConfigMap", spoiled["name"], spoiled["name"])
    assert 0 < len(found.why) <= ledger.WHY_LIMIT
    if key not in ("ref", "attempt"):
        assert found.ref == b.a_ref()


def test_an_entry_without_any_annotations_is_named() -> None:
    for gone in ({}, {"annotations": None}):
        spoiled = {key: one for key, one in an_object().items() if key != "annotations"} | gone
        found = ledger.read_entry(spoiled)
        assert isinstance(found, Unreadable)
        assert found.ref is None


def test_an_entry_with_all_that_may_be_noted_reads() -> None:
    entry = ledger.read_entry(an_object())
    assert isinstance(entry, Entry)
    assert entry.origin == b.an_origin(asked=True)


def test_what_was_known_at_creation_is_not_unsaid_later() -> None:
    known = metadata(ledger.entry_manifest(b.a_draft(origin=b.an_origin(asked=True))))
    known["annotations"][ledger.BROUGHT_BY] = ledger.dump_brought_by(b.an_origin(pull_request=8))
    assert ledger.load_entry(known).origin.pull_request == 7


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("2030-01-02"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=4,
)


@given(st.data())
def test_whatever_stands_in_an_entry_is_read_or_named_and_what_is_read_can_be_planned_with(
    data: st.DataObject,
) -> None:
    spoiled = an_object(outcome=data.draw(st.sampled_from([GONE, WHOLE[ledger.OUTCOME]])))
    key = data.draw(st.sampled_from(sorted(spoiled["annotations"])))
    try:
        inside = json.loads(spoiled["annotations"][key])
    except ValueError:
        inside = None
    value = data.draw(json_values)
    if isinstance(inside, dict):
        value = inside | {data.draw(st.sampled_from(sorted(inside))): value}
    spoiled["annotations"][key] = json.dumps(value)
    found = ledger.read_entry(spoiled)
    entries = [found] if isinstance(found, Entry) else []
    broken = () if isinstance(found, Entry) else (found,)
    look = b.observed(entries, now=600, unreadable=broken)
    done = planner.plan(b.desired("dtp-aws/genome"), look, b.a_policy()).actions
    assert not any(isinstance(action, Open) for action in done)
    report.jobs(look)
    telling.pages(look, ())


@given(
    st.lists(st.tuples(st.text(max_size=300), st.integers(0, 2**63 - 1)), max_size=250),
    st.integers(0, 10**9),
)
def test_a_list_of_what_arrived_is_read_as_it_was_written_within_its_bound(
    files: list[tuple[str, int]], more: int
) -> None:
    made = Arrived(files=tuple(files), more=more)
    text = ledger.dump_arrived(made)
    assert len(text.encode(errors="replace")) <= ledger.ARRIVED_LIMIT
    read = ledger.load_arrived(text)
    assert read.files == made.files[: len(read.files)]
    assert len(read.files) + read.more == len(files) + more
