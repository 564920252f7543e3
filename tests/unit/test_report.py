"""Rows for machines, words for people, and logs made fit to be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import logs, report
from dtp_action.core.model import (
    Action,
    Adopt,
    Confirm,
    End,
    Finding,
    Hold,
    Open,
    Phase,
    Progress,
    Retire,
    Settle,
    Severity,
    Start,
)
from tests import builders as b

ENTRY = b.an_entry(job_uid="j")


def row(entry: Any, *pods: Any, now: float = 0, **look: Any) -> dict[str, Any]:
    job = b.a_job(entry, uid="j")
    (only,) = report.jobs(b.observed([entry], [job], pods, now=now, **look))
    return only


# --- rows ----------------------------------------------------------------------------------------


def test_a_settled_attempt_as_a_row() -> None:
    outcome = b.an_outcome(
        Phase.FAILED, exit_code=7, received=5, sent=0, new_files=2, new_bytes=9, warnings=("w",)
    )
    assert row(replace(ENTRY, outcome=outcome), now=9999) == {
        "ref": "dtp-aws/genome",
        "protocol": "aws",
        "job": "genome",
        "attempt": 1,
        "name": ENTRY.name,
        "service": False,
        "phase": "FAILED",
        "reason": "done",
        "exit_code": 7,
        "warnings": ["w"],
        "doubts": [],
        "created": "2030-01-02T12:00:00Z",
        "started": "2030-01-02T12:01:00Z",
        "finished": "2030-01-02T12:02:00Z",
        "duration_seconds": 60,
        "starts": None,
        "network_received_bytes": 5,
        "network_sent_bytes": 0,
        "new_files": 2,
        "new_bytes": 9,
        "new_at_least": False,
        "manifest_sha256": None,
        "progress": None,
        "commit": b.COMMIT,
        "blob": b.a_blob(),
        "files": 0,
        "pull_request": 7,
        "author": "ada",
        "merged_by": None,
        "before_start": False,
        "why": None,
    }


def test_a_running_attempt_shows_its_age_and_what_it_last_told_of_itself() -> None:
    progress = {ENTRY.name: Progress(at=b.at(90), received=1000, sent=None, said="12/40")}
    shown = row(ENTRY, b.a_pod(ENTRY, job=b.running(since=60)), now=100, progress=progress)
    assert (shown["phase"], shown["duration_seconds"], shown["finished"]) == ("RUNNING", 40, None)
    assert (shown["network_received_bytes"], shown["network_sent_bytes"]) == (1000, None)
    assert (shown["progress"], shown["new_files"], shown["new_at_least"]) == ("12/40", None, None)


def test_what_a_script_said_is_no_longer_told_when_it_has_ended() -> None:
    progress = {ENTRY.name: Progress(at=b.at(90), received=1, sent=1, said="connected")}
    assert row(replace(ENTRY, outcome=b.an_outcome()), progress=progress)["progress"] is None


def test_in_public_a_script_names_no_machine_either() -> None:
    said = Progress(at=b.at(90), received=1, sent=1, said="3/7 from data.example.org/x of 10.0.0.1")
    shown = row(ENTRY, b.a_pod(ENTRY, job=b.running()), progress={ENTRY.name: said})
    (discreet,) = report.discreet([shown])
    assert discreet["progress"] == "3/7 from … of …"


def test_a_waiting_attempt_has_a_reason_and_nothing_invented() -> None:
    shown = row(ENTRY, now=100)
    assert shown["reason"]
    for key in ("exit_code", "started", "finished", "duration_seconds", "network_sent_bytes"):
        assert shown[key] is None


def test_rows_are_json_and_have_the_same_keys_in_every_phase() -> None:
    settled = row(replace(ENTRY, outcome=b.an_outcome()))
    assert json.loads(json.dumps(settled)) == settled
    assert settled.keys() == row(ENTRY).keys()


def test_the_last_attempt_of_each_job_or_all_sorted_by_ref_then_number() -> None:
    entries = [
        b.an_entry(ref, number) for ref, number in [("dtp-b/x", 2), ("dtp-b/x", 10), ("dtp-a/y", 1)]
    ]
    look = b.observed(entries)
    shown = [(row["ref"], row["attempt"]) for row in report.jobs(look)]
    assert shown == [("dtp-a/y", 1), ("dtp-b/x", 10)]
    shown = [(row["ref"], row["attempt"]) for row in report.jobs(look, every=True)]
    assert shown == [("dtp-a/y", 1), ("dtp-b/x", 2), ("dtp-b/x", 10)]
    (one,) = report.jobs(look, refs=[b.a_ref("dtp-a/y")])
    assert one["ref"] == "dtp-a/y"


def test_clocks_that_differ_never_make_a_negative_duration() -> None:
    assert row(ENTRY, b.a_pod(ENTRY, job=b.running(since=60)), now=50)["duration_seconds"] == 0


DRAFT = b.a_draft(attempt=3)


@pytest.mark.parametrize(
    ("action", "name", "attempt"),
    [
        (Open(draft=DRAFT, reason="r"), "open", 3),
        (Adopt(draft=DRAFT, reason="r"), "adopt", 3),
        (Start(entry=ENTRY, reason="r"), "start", 1),
        (Confirm(entry=ENTRY, job_uid="j", reason="r"), "confirm", 1),
        (End(entry=ENTRY, intent=None, reason="r"), "end", 1),
        (Settle(entry=ENTRY, outcome=b.an_outcome(), reason="r"), "settle", 1),
        (Retire(entry=ENTRY, ttl=5, reason="r"), "retire", 1),
        (Hold(ref=ENTRY.ref, attempt=2, reason="r"), "hold", 2),
    ],
)
def test_every_action_as_a_row(action: Action, name: str, attempt: int) -> None:
    assert report.actions([action]) == [
        {"ref": "dtp-aws/genome", "attempt": attempt, "action": name, "reason": "r"}
    ]


def test_only_errors_reject_and_a_path_that_names_no_job_has_no_ref() -> None:
    findings = [
        Finding(path="dtp-jobs/dtp-aws/a.sh", line=3, code="syntax", message="m"),
        Finding(path="dtp-jobs/dtp-aws/a b.sh", code="name", message="m"),
        Finding(path="dtp-jobs/x.txt", code="place", message="m", severity=Severity.WARNING),
    ]
    rows = report.rejected(findings)
    assert [row["ref"] for row in rows] == ["dtp-aws/a", None]
    assert rows[0] == {
        "ref": "dtp-aws/a",
        "path": "dtp-jobs/dtp-aws/a.sh",
        "line": 3,
        "code": "syntax",
        "message": "m",
    }
    assert len(report.findings(findings)) == 3


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_sizes_as_people_read_them(count: int | None, words: str) -> None:
    assert report.human_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0s"),
        (59, "59s"),
        (60, "1m 0s"),
        (3600, "1h"),
        (3660, "1h 1m"),
        (86400, "1d"),
        (187200, "2d 4h"),
    ],
)
def test_times_as_people_read_them(seconds: int | None, words: str) -> None:
    assert report.human_time(seconds) == words


def shown(phase: Phase, **changes: Any) -> dict[str, Any]:
    return row(replace(ENTRY, outcome=b.an_outcome(phase, **changes)))


def test_traffic_is_told_with_its_rate() -> None:
    assert report.traffic(shown(Phase.SUCCEEDED)) == ""
    told = report.traffic(shown(Phase.SUCCEEDED, received=6_000_000, sent=0))
    assert told == "6.0 MB in, 0 B out, 100.0 kB/s"


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        ({}, ""),
        ({"new_files": 0, "new_bytes": 0}, "no new files"),
        ({"new_files": 1, "new_bytes": 5}, "1 file, 5 B arrived"),
        ({"new_files": 120, "new_bytes": 3_400_000_000}, "120 files, 3.4 GB arrived"),
        (
            {"new_files": 120, "new_bytes": 3_400_000_000, "at_least": True},
            "≥ 120 files, 3.4 GB arrived",
        ),
        ({"new_files": 0, "new_bytes": 0, "at_least": True}, "≥ 0 files, 0 B arrived"),
    ],
)
def test_what_arrived_is_told_as_far_as_it_was_counted(counted: dict[str, Any], words: str) -> None:
    assert report.arrived(shown(Phase.FAILED, **counted)) == words


def test_a_receipt_is_told_with_its_place_and_never_as_a_verification() -> None:
    assert report.receipt(shown(Phase.SUCCEEDED)) == ""
    told = report.receipt(shown(Phase.SUCCEEDED, manifest="ab" * 32))
    assert told == "receipt sha256:abababababab… in .dtp/manifest-1.sha256"


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([], "nothing yet"),
        ([Phase.SUCCEEDED] * 2 + [Phase.FAILED], "2 done, 1 needs you"),
        ([Phase.LOST, Phase.ERRORED], "2 need you"),
        ([Phase.CANCELLED], "1 cancelled"),
        ([Phase.RUNNING, Phase.WAITING, Phase.SUCCEEDED], "1 done, 1 running, 1 waiting"),
    ],
)
def test_the_verdict_in_a_line(phases: list[Phase], words: str) -> None:
    assert report.verdict([{"phase": phase.value, "doubts": []} for phase in phases]) == words


def test_the_reason_is_told_with_its_notes() -> None:
    failed = shown(Phase.FAILED, reason="your script failed (exit 7)", warnings=("no log",))
    assert report.told(failed) == "your script failed (exit 7); note: no log"


def test_more_starts_than_one_are_told() -> None:
    again = "your script failed (exit 7); started 3 times; note: no log"
    assert report.told(shown(Phase.FAILED, reason="your script failed (exit 7)", starts=3,
                             warnings=("no log",))) == again  # fmt: skip
    assert report.told(shown(Phase.SUCCEEDED, starts=2)) == "started 2 times"
    assert report.told(shown(Phase.SUCCEEDED, starts=1)) == ""


# --- logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("no newline at the end", "no newline at the end"),
        ("a\n\nb\n\n\n", "a\n\nb"),
        ("0%\r50%\r100%\ndone\r\n", "100%\ndone"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("nul\x00 bell\x07 back\x08 rtl\u202eevil", "nul bell back rtlevil"),
        ("tab\tstays, é and 🙂 too", "tab\tstays, é and 🙂 too"),
        ('a\n\ndtp-heartbeat: {"rx":1}\nb', "a\nb"),
        ('half a \ndtp-heartbeat: {"rx":1}\nline', "half a line"),
        ("x" * 600, "x" * 500 + "…"),
    ],
)
def test_a_tail_is_what_a_terminal_would_show(text: str, kept: str) -> None:
    assert logs.tail(text) == kept


def test_of_a_huge_log_the_last_whole_lines_are_kept() -> None:
    tail = logs.tail("".join(f"line {n}\n" for n in range(20_000)))
    assert len(tail.encode()) <= logs.KEPT
    assert tail.endswith("line 19999")
    assert all(line.startswith("line ") for line in tail.split("\n"))


@given(st.text(), st.integers(1, 200))
def test_a_tail_is_within_its_limit_and_clean(text: str, limit: int) -> None:
    tail = logs.tail(text, limit)
    assert len(tail.encode()) <= limit
    assert all(c.isprintable() or c in "\n\t" or not c.isascii() for c in tail)


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_heartbeats_are_left_out_however_the_log_is_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks) + b'\ndtp-heartbeat: {"rx":1}\nlast'
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    assert b"".join(logs.without_heartbeats(pieces)) == b"".join(logs.without_heartbeats([whole]))
    assert b'{"rx":1}' not in b"".join(logs.without_heartbeats(pieces))


BEAT = '{"at":"2030-01-02T12:00:30Z","rx":5,"tx":7}'


def test_the_last_heartbeat_that_makes_sense_counts() -> None:
    text = f"x\ndtp-heartbeat: {BEAT}\ny\ndtp-heartbeat: {{}}\ndtp-heartbeat: {'[' * 5000}\n"
    assert logs.progress(text) == Progress(at=b.at(30), received=5, sent=7)


@pytest.mark.parametrize(
    "beat",
    [
        "",
        "null",
        "[]",
        '{"at":5}',
        '{"at":"2030-01-02T12:00:30","rx":1}',
        '{"at":"soon","rx":1}',
        "[" * 100_000,
    ],
)
def test_a_forged_heartbeat_is_nothing(beat: str) -> None:
    assert logs.progress(f"dtp-heartbeat: {beat}") is None


@pytest.mark.parametrize("number", ["-1", "1e400", "9223372036854775808", '"5"', "true", "null"])
def test_a_forged_number_is_left_out(number: str) -> None:
    beat = BEAT.replace("5", number, 1)
    heard = logs.progress(f"dtp-heartbeat: {beat}")
    assert heard == Progress(at=b.at(30), received=None, sent=7)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("12/40", "12/40"),
        ("connected", "connected"),
        ("one line\nand another", "one line"),
        ("\x1b[31mred\x1b[0m\x00\u202e \ttab", "red tab"),
        ("surrogate \ud800", "surrogate"),
        ("x" * 300, "x" * 80),
        ("at ftp://ada:" + "hunter-2" + "@host", "at ftp://ada:[redacted]@host"),
        (12, ""),
        (None, ""),
        (["12/40"], ""),
    ],
)
def test_what_a_script_says_of_its_progress_is_a_short_clean_line(told: Any, said: str) -> None:
    beat = json.dumps({"at": "2030-01-02T12:00:30Z", "rx": 5, "tx": 7, "progress": told})
    heard = logs.progress(f"x\ndtp-heartbeat: {beat}\n")
    assert heard == Progress(at=b.at(30), received=5, sent=7, said=said)


DOUBTS = ("2 processes were still running and were ended (rclone at 10.0.0.7): end it with `wait`",)


def test_a_doubted_success_is_never_plainly_done() -> None:
    doubted = shown(Phase.SUCCEEDED, doubts=DOUBTS)
    assert report.state(doubted) == "done, with doubts"
    assert report.told(doubted) == DOUBTS[0]
    assert report.verdict([doubted, shown(Phase.SUCCEEDED)]) == "1 done, 1 done with doubts"
    assert "10.0.0.7" not in report.discreet([doubted])[0]["doubts"][0]
