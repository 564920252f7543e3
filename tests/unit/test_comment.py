"""A comment is a view for people who cannot see the cluster; what scripts wrote stays data."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import commands, comment, markdown, phases, preview, report
from dtp_action.core.catalog_changes import RowChange, Setting
from dtp_action.core.commands import Request
from dtp_action.core.model import Arrived, Finding, Note, Observed, Phase, Severity, Why
from dtp_action.core.preview import Change, Foreseen, Preview, Will
from tests import builders as b
from tests.pictures import reader, situations
from tests.unit.test_markdown import HOSTILE, texts

REPOSITORY = situations.REPOSITORY
OURS = {"h3", "h4", "p", "strong", "em", "code", "pre", "a", "br", "ul", "li", "hr", "wbr", "span",
        "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}  # fmt: skip
Row = dict[str, Any]


def rows_of(*phases_: Phase, ref: str = "dtp-aws/job-{}", **outcome: Any) -> list[Row]:
    """Return rows of settled attempts, one in each phase given."""
    entries = tuple(
        b.an_entry(ref=ref.format(n), outcome=b.an_outcome(phase, **outcome))
        for n, phase in enumerate(phases_)
    )
    return report.jobs(Observed(now=b.NOON, identity=None, entries=entries, jobs={}))


def told(rows: list[Row], *notes: Note, tail: str = "", **how: Any) -> str:
    defaults: dict[str, Any] = {"cluster": "nautilus", "as_of": "2030-01-02T12:00:00Z",
                                "next_look": "", "logs": True, "repository_url": REPOSITORY,
                                "run_url": ""}  # fmt: skip
    return comment.status(rows, notes, {str(r["name"]): tail for r in rows}, **defaults | how)


def sound(text: str) -> reader.Page:
    """Return a text as read on GitHub, where nothing but ours does anything."""
    page = reader.read(text)
    assert set(page.tags) <= OURS, page.tags
    assert page.tags["h3"] <= 1
    assert page.tags["details"] == page.tags["summary"]
    assert not page.unclosed
    assert not page.comments
    assert not page.linked(), page.linked()
    assert all(link.startswith(f"{REPOSITORY}/") for link in page.links)
    return page


# --- on GitHub -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [one for one in situations.SITUATIONS if one != "mention"])
def test_github_shows_what_is_meant(name: str) -> None:
    text = situations.SITUATIONS[name]()
    page = sound(text)
    assert page.tags["details"] == text.count("<details><summary>")


@pytest.mark.parametrize("name", [one for one in situations.SITUATIONS if one != "hostile"])
def test_no_word_of_kubernetes_is_needed(name: str) -> None:
    page = reader.read(situations.SITUATIONS[name]())
    words = " ".join([page.text, *page.code])
    assert not re.search(r"\b(Pod|Job|ConfigMap|kubectl|[Nn]amespace)s?\b", words)
    assert not re.search(r"(?<!/)\bdtp (retry|cancel)\b", words)


@given(texts, texts, st.sampled_from(Phase))
def test_no_hostile_text_does_anything(text: str, other: str, phase: Phase) -> None:
    rows = rows_of(phase, Phase.RUNNING, reason=text, warnings=(other, text))
    rows[0] |= {"merged_by": other, "commit": text, "blob": other}
    note = Note(ref=text, state="held", reason=other, path=text, line=3, fix=other)
    page = sound(told(rows, note, tail=text, cluster=other, next_look=text))
    assert page.tags["details"] == 1 + 2 * bool(text)
    assert page.tags["tr"] == 2 + 3 + 2  # two heads, three jobs, where two of them came from


@given(texts, texts)
def test_no_hostile_text_does_anything_in_answers_and_summaries(text: str, other: str) -> None:
    (row,) = rows_of(Phase.ERRORED, reason=text)
    sound(comment.log_reply(row, other))
    sound(comment.mention([row], author=None, cluster=other, comment_url=""))
    action = {"ref": row["ref"], "attempt": 2, "action": "hold", "reason": text}
    rejected = {"ref": None, "path": text, "line": 1, "code": "x", "message": other}
    sound(comment.summary([action], [rejected], [row], cluster=text, warnings=[other]))


@given(texts, texts)
def test_no_hostile_text_does_anything_in_a_preview(text: str, other: str) -> None:
    finding = Finding(path=text, line=1, code="x", message=other, fix=text)
    row = Foreseen(ref=b.a_ref(), change=Change.ADDED, will=Will.REJECT, why=text, image=other,
                   limits=text, secrets=(other,), findings=(finding,))  # fmt: skip
    sound(comment.preview(Preview(rows=(row,)), cluster=text, run_url=""))


# --- the verdict, and how jobs stand -------------------------------------------------------------


def test_first_line_is_a_verdict_with_the_sign_of_what_is_worst() -> None:
    rows = rows_of(Phase.SUCCEEDED, Phase.SUCCEEDED, Phase.FAILED)
    assert told(rows).splitlines()[0] == "### ❌ 2 done, 1 needs you"
    assert told(rows_of(Phase.SUCCEEDED)).splitlines()[0] == "### ✅ 1 done"
    held = Note(ref="dtp-aws/x", state="held", reason="why")
    assert told([], held).splitlines()[0] == "### ⏸️ 1 held"
    assert told([]).splitlines()[0] == "### nothing yet"


def test_second_line_tells_when_it_was_true_and_when_somebody_looks_again() -> None:
    line = told(rows_of(Phase.RUNNING), next_look="soon", run_url=f"{REPOSITORY}/run").splitlines()[
        2
    ]
    assert line == (
        "Cluster **nautilus** · as of 2 Jan 2030, 12:00 UTC · next look soon"
        f" · [run]({REPOSITORY}/run)"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert told(rows_of(Phase.LOST), cluster="", as_of="").splitlines()[2] == ""
    page = sound(told(rows_of(Phase.SUCCEEDED), repository_url=""))
    assert not page.links


def test_every_phase_and_note_has_a_row_what_needs_somebody_first() -> None:
    notes = [Note(ref="dtp-aws/a", state=state, reason="why") for state in ("held", "rejected")]
    page = sound(told(rows_of(*Phase), *notes))
    states = [cell.split(" · ")[0].split("(")[0].strip() for cell in page.cells[3 : 2 * 10 : 2]]
    assert states == ["❌ failed", "⚠️ errored", "❓ lost", "⛔ rejected", "⏸️ held", "🔄 running",
                      "⏳ waiting", "✅ done", "🚫 cancelled"]  # fmt: skip


def test_a_row_tells_how_long_and_how_many_bytes() -> None:
    rows = rows_of(Phase.SUCCEEDED, finished=b.at(60 + 4500), received=9_000_000, sent=0)
    assert sound(told(rows)).cells[3] == "✅ done · 1h\xa015m · network 9.0\xa0MB in, 2.0\xa0kB/s"


def test_a_row_tells_what_arrived_and_the_fold_where_its_receipt_lies() -> None:
    counted: Row = {"new_files": 120, "new_bytes": 3_400_000_000, "manifest": "ab" * 32}
    page = sound(told(rows_of(Phase.FAILED, finished=b.at(120), reason="why", **counted)))
    assert page.cells[3] == "❌ failed · why · 1m\xa00s · 120\xa0files, 3.4\xa0GB arrived"
    assert f"receipt .dtp/manifest-1.sha256, its SHA-256 {'ab' * 32}" in page.cells[-1]
    assert "verified" not in page.text
    page = sound(told(rows_of(Phase.FAILED, at_least=True, **counted)))
    assert page.cells[3].endswith(" · ≥ 120\xa0files, 3.4\xa0GB arrived")


def test_a_row_of_a_running_job_tells_what_its_script_says() -> None:
    (row,) = rows_of(Phase.RUNNING, reason="running")
    row |= {"progress": "12/40 of @all"}
    assert sound(told([row])).cells[3].startswith("🔄 running · 12/40 of @")


@given(texts)
def test_no_hostile_progress_does_anything(text: str) -> None:
    (row,) = rows_of(Phase.RUNNING)
    sound(told([row | {"progress": text}]))
    sound(comment.done_reply(row | {"progress": text}))


def test_a_row_says_once_that_it_failed_and_names_a_later_attempt() -> None:
    rows = rows_of(Phase.FAILED, reason="your script failed (exit 7)")
    rows[0]["attempt"] = 2
    assert sound(told(rows)).cells[2:4] == [
        "dtp-aws/job-0 attempt 2",
        "❌ failed (exit 7) · 1m\xa00s",
    ]


def test_a_row_says_who_cancelled_and_what_is_being_cancelled() -> None:
    (row,) = rows_of(Phase.CANCELLED, reason="cancelled by ada")
    assert sound(told([row])).cells[3] == "🚫 cancelled · by ada"
    row |= {"phase": "RUNNING", "reason": "cancelled by ada; ending it"}
    assert sound(told([row])).cells[3] == "🔄 running · cancelled by ada; ending it"


def test_of_very_many_jobs_those_that_ended_well_are_folded_away() -> None:
    rows = rows_of(*[Phase.SUCCEEDED] * 30, Phase.CANCELLED, Phase.FAILED)
    text = told(rows)
    assert "<details><summary>30 done, 1 cancelled</summary>" in text
    page = sound(text.partition("#### What to do next")[0])
    assert page.cells[2:] == ["dtp-aws/job-31", "❌ failed · done · 1m\xa00s"]
    assert all_rows(text, [row["ref"] for row in rows])


def test_a_long_name_can_break_in_its_cell() -> None:
    text = situations.long_names()
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| <code>")]
    assert cells
    assert all(max(map(len, re.split("<wbr>|-", cell))) < 30 for cell in cells)


# --- what to do next -----------------------------------------------------------------------------


def steps(rows: list[Row], *notes: Note, **how: Any) -> reader.Page:
    """Return the part about what to do next."""
    text = told(rows, *notes, **how).partition("#### What to do next\n\n")[2]
    return reader.read(text.partition("\n\nIts files")[0].partition("\n\nA job's files")[0])


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ERRORED, Phase.LOST, Phase.CANCELLED])
def test_whatever_ended_without_success_can_be_run_again_by_a_pasted_comment(phase: Phase) -> None:
    assert "/dtp retry dtp-aws/job-0\n" in steps(rows_of(phase)).code


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (b.ended(137, reason="OOMKilled"), "#DTP memory=8Gi\n"),
        (b.ended(143), "#DTP time=48h\n"),
    ],
)
def test_a_limit_that_was_reached_is_raised_by_a_pasted_line(end: Any, line: str) -> None:
    entry = b.an_entry()
    over_time = "DeadlineExceeded" if line.startswith("#DTP time") else ""
    pod = b.a_pod(entry, phase="Failed", job=end, reason=over_time)
    job = b.a_job(entry, end=b.an_end("PodFailurePolicy"))
    page = steps(report.jobs(b.observed([entry], [job], [pod])))
    assert line in page.code
    assert not any("retry" in code for code in page.code)


def test_a_full_scratch_disk_is_raised_too() -> None:
    message = 'EmptyDir volume "scratch" exceeds the limit "10Gi".'
    entry = b.an_entry()
    pod = b.a_pod(entry, phase="Failed", reason="Evicted", message=message, job=b.ended(137))
    job = b.a_job(entry, end=b.an_end("PodFailurePolicy"))
    assert "#DTP disk=50Gi\n" in steps(report.jobs(b.observed([entry], [job], [pod]))).code


def test_an_error_of_the_cluster_does_not_blame_the_script() -> None:
    before = steps(rows_of(Phase.ERRORED, before_start=True))
    assert "The script is not to blame: it was not started" in before.text
    later = steps(rows_of(Phase.ERRORED))
    assert "The script is not to blame. Part of its work may be done" in later.text
    assert "/dtp files dtp-aws/job-0" in later.code


def test_a_reason_too_long_for_its_row_is_told_in_full() -> None:
    reason = "its image cannot be pulled: " + "why " * 20 + "half-way " + "why " * 20 + "in the end"
    text = told(rows_of(Phase.ERRORED, reason=reason, before_start=True))
    assert "half-way" in reader.read(text).text
    row = "".join(sound(text).cells)
    assert "half-way" not in row
    assert "in the end" in row, "the cause comes last"


def test_a_lost_job_is_not_called_failed_and_sends_to_those_who_can_look() -> None:
    rows = report.jobs(b.observed([b.an_entry(job_uid="x", outcome=phases.lost())]))
    page = steps(rows)
    assert "Only the people who run the cluster can see" in page.text
    assert "Nobody can tell whether it finished" in "".join([*page.words])
    assert "/workspace/dtp-jobs/dtp-aws/genome" in page.code
    assert "fail" not in told(rows)


@pytest.mark.parametrize("why", [Why.REPLACED, Why.REMOVED])
def test_an_attempt_that_the_branch_took_back_needs_nobody(why: Why) -> None:
    assert "What to do next" not in told(rows_of(Phase.CANCELLED, why=why))


def test_jobs_that_ended_alike_are_told_together_and_run_again_one_by_one() -> None:
    page = steps(rows_of(Phase.FAILED, Phase.FAILED, Phase.FAILED), tail="oh")
    assert page.text.count("Correct the script") == 1
    assert (
        "/dtp retry dtp-aws/job-0\n/dtp retry dtp-aws/job-1\n/dtp retry dtp-aws/job-2\n"
        in page.code
    )
    assert "a comment with one or more of these lines here:" in page.text


def test_a_rejected_script_is_shown_its_corrected_line() -> None:
    note = Note(ref="dtp-aws/x", state="rejected", reason="`tme` is no directive",
                path="dtp-jobs/dtp-aws/x.sh", line=2, fix="#DTP time=2h")  # fmt: skip
    page = steps([], note)
    assert page.code == ["dtp-jobs/dtp-aws/x.sh", "tme", "#DTP time=2h\n"]
    assert ", line 2" in page.text
    unclear = Note(ref="dtp-aws/x", state="rejected", reason="is empty")
    assert "Correct it in a new pull request" in steps([], unclear).text


def test_held_jobs_are_told_how_they_run_once_for_all() -> None:
    reason = "2 new jobs at once, with max-new 1: run them with dtp dispatch --first-run"
    reasons = {"a": reason, "b": "another", "c": reason}
    notes = [Note(ref=f"dtp-aws/{n}", state="held", reason=reasons[n]) for n in "abc"]
    page = steps([], *notes)
    assert page.text.count("2 new jobs at once") == 1
    assert page.code == ["dtp-aws/a", "dtp-aws/c", "--first-run", "dtp-aws/b"]


def test_each_rejected_script_is_shown_its_own_line() -> None:
    notes = [Note(ref=f"dtp-aws/{n}", state="rejected", reason="why", fix=n) for n in "ab"]
    assert steps([], *notes).code == ["dtp-aws/a", "a\n", "dtp-aws/b", "b\n"]


def test_a_job_may_have_any_name() -> None:
    ref = "dtp-aws/LOG.DIRECTORY.REF"
    page = steps(rows_of(Phase.LOST, ref=ref))
    assert page.code == [ref, f"/workspace/dtp-jobs/{ref}", f"/dtp retry {ref}\n"]


def test_what_is_typed_on_a_terminal_is_told_as_it_is_typed_here() -> None:
    reason = "changed, not run; to run it: dtp retry dtp-aws/x, or the line #DTP attempt=2"
    page = steps([], Note(ref="dtp-aws/x", state="held", reason=reason))
    assert page.code[1:] == ["/dtp retry dtp-aws/x", "#DTP attempt=2"]


# --- logs, files, where it came from -------------------------------------------------------------


def test_what_ended_shows_its_log_folded_failures_first() -> None:
    text = told(rows_of(Phase.SUCCEEDED, Phase.FAILED), tail="hello")
    assert [line for line in text.splitlines() if "End of the log" in line] == [
        "<details><summary>End of the log of <code>dtp-aws/job-1</code></summary>",
        "<details><summary>End of the log of <code>dtp-aws/job-0</code></summary>",
    ]
    assert "The end of its log is below." in text


def test_a_secret_in_a_log_or_reason_is_redacted() -> None:
    key = "AKIA" + "A" * 16
    text = told(rows_of(Phase.FAILED, reason=f"key {key}"), tail=f"key {key}")
    assert key not in text
    assert text.count("redacted") == 2
    assert key not in comment.log_reply(rows_of(Phase.FAILED)[0], f"key {key}")


def test_without_logs_it_says_so_and_where_they_lie() -> None:
    text = told(rows_of(Phase.FAILED), tail="hello", logs=False)
    assert "hello" not in text
    assert "What jobs print is not shown in this repository" in text
    assert "it is `/workspace/dtp-jobs/dtp-aws/job-0/job-0.log` on the shared volume" in text


def test_where_the_files_lie_is_told() -> None:
    one = told(rows_of(Phase.SUCCEEDED))
    assert "shared volume: `/workspace/dtp-jobs/dtp-aws/job-0`" in one
    more = told(rows_of(Phase.SUCCEEDED, Phase.SUCCEEDED))
    assert "shared volume: `/workspace/dtp-jobs/JOB`" in more


def test_what_ran_who_merged_it_and_when_is_told_folded() -> None:
    rows = rows_of(Phase.SUCCEEDED)
    rows[0]["merged_by"] = "grace"
    page = sound(told(rows))
    assert page.cells[-2:] == [
        "dtp-aws/job-0",
        f"script {b.a_blob()[:7]} commit c0ffee0 merged by grace"
        " recorded 2 Jan 2030, 12:00 started 2 Jan 2030, 12:01 ended 2 Jan 2030, 12:02",
    ]
    assert page.links == [
        f"{REPOSITORY}/blob/{b.COMMIT}/dtp-jobs/dtp-aws/job-0.sh",
        f"{REPOSITORY}/commit/{b.COMMIT}",
    ]


# --- what arrived --------------------------------------------------------------------------------


def arrived(number: int = 3, name: str = "d/file-{}", more: int = 0) -> Arrived:
    return Arrived(files=tuple((name.format(n), 1000 + n) for n in range(number)), more=more)


def test_what_arrived_is_listed_folded_the_newest_first_and_the_rest_is_counted() -> None:
    rows = rows_of(Phase.SUCCEEDED)
    page = told(rows, arrived={rows[0]["name"]: arrived(25, more=7)})
    assert "<summary>What arrived in <code>dtp-aws/job-0</code></summary>" in page
    (block,) = [code for code in sound(page).code if "file-0" in code]
    lines = block.splitlines()
    assert (lines[0], lines[-2:]) == ("1.0 kB  d/file-0", ["1.0 kB  d/file-19", "and 12 more"])


def test_names_of_files_are_shown_where_logs_are() -> None:
    rows = rows_of(Phase.SUCCEEDED)
    lists = {rows[0]["name"]: arrived()}
    assert "file-0" not in told(rows, arrived=lists, logs=False)
    assert "file-0" not in comment.files_reply(rows[0], lists[rows[0]["name"]], shown=False)
    assert "not shown in this repository" in comment.files_reply(rows[0], None, shown=False)


def test_no_name_of_a_file_does_anything() -> None:
    key = "AKIA" + "QYLPMN5HHHFPZAM2"  # pragma: allowlist secret
    found = Arrived(files=(("```\n<b>@ada", 1), ("| ::error::x `", 2), (key, 3)))
    rows = rows_of(Phase.SUCCEEDED)
    for text in (
        told(rows, arrived={rows[0]["name"]: found}),
        comment.files_reply(rows[0], found, shown=True),
    ):
        sound(text)
        assert key not in text


def test_lists_leave_room_for_logs_and_rows() -> None:
    rows = rows_of(*[Phase.FAILED] * 20)
    lists = {row["name"]: arrived(20, "x" * 200 + "-{}") for row in rows}
    text = told(rows, tail="ü" * 2_000, arrived=lists)
    assert len(text) <= comment.LIMIT
    assert text.count("End of the log of") == 20
    assert 0 < text.count("What arrived in") < 20


@pytest.mark.parametrize(
    ("row", "found", "words"),
    [
        (Phase.SUCCEEDED, arrived(200, more=12), "and 12 more"),
        (
            Phase.SUCCEEDED,
            Arrived(files=()),
            "No file in `/workspace/dtp-jobs/dtp-aws/job-0` is new",
        ),
        (Phase.FAILED, None, "The people who run the cluster can look in"),
    ],
)
def test_files_are_answered_with_all_that_was_kept(
    row: Phase, found: Arrived | None, words: str
) -> None:
    text = comment.files_reply(rows_of(row)[0], found, shown=True)
    assert words in text
    assert text.count("file-") == (200 if words == "and 12 more" else 0)


def test_files_of_an_open_attempt_are_answered_with_when_the_list_comes() -> None:
    (row,) = report.jobs(b.observed([b.an_entry()]))
    assert "is made when the attempt ends" in comment.files_reply(row, None, shown=True)
    (never,) = rows_of(Phase.ERRORED, before_start=True)
    assert "It has not started" in comment.files_reply(never, None, shown=True)


# --- limits --------------------------------------------------------------------------------------


def all_rows(text: str, refs: list[str]) -> bool:
    first = [cell.split(" attempt ")[0] for cell in sound(text).cells[::2]]
    return set(refs) <= set(first)


def test_over_the_limit_the_longest_logs_go_first_and_it_says_so() -> None:
    rows = rows_of(*[Phase.FAILED] * 12)
    tails = {row["name"]: "ü" * (9_000 if n else 10) for n, row in enumerate(rows)}
    text = comment.status(rows, (), tails, cluster="", as_of="", next_look="", logs=True,
                          repository_url=REPOSITORY, run_url="")  # fmt: skip
    assert len(text) <= comment.LIMIT
    assert all_rows(text, [row["ref"] for row in rows])
    shown = text.count("End of the log of")
    assert 2 < shown < 12
    assert f"The logs of {12 - shown} more have no room here" in text
    assert "End of the log of <code>dtp-aws/job-0</code>" in text


@pytest.mark.parametrize(
    ("letter", "reason"), [("x", "€ " * 150), ("_x", "$" * 300), ("x.", "`|`" * 100)]
)
def test_two_hundred_jobs_of_long_names_all_keep_their_rows(letter: str, reason: str) -> None:
    ref = "dtp-" + "p" * 31 + "/" + (f"j{{:03}}{letter * 100}")[:102]
    rows = rows_of(*[Phase.ERRORED] * 200, ref=ref, reason=reason, finished=None)
    text = told(rows, tail="€" * 500)
    assert len(text) <= comment.LIMIT
    assert all_rows(text, [row["ref"] for row in rows])
    assert "/dtp retry" in text


def test_more_jobs_than_any_page_holds_are_counted() -> None:
    text = told(rows_of(*[Phase.SUCCEEDED] * 900, ref="dtp-aws/{}-" + "x" * 80))
    assert len(text) <= comment.LIMIT
    shown = sound(text).tags["tr"] - 1
    assert text.endswith(f"And {900 - shown} more.")


def test_a_summary_stays_within_a_mebibyte_of_bytes() -> None:
    rows = rows_of(*[Phase.ERRORED] * 2_200, reason="€" * 130)
    text = comment.summary([], [], rows, cluster="nautilus", warnings=[])
    assert 900_000 < len(text.encode()) < 1 << 20
    shown = reader.read(text).tags["tr"] - 1
    assert text.endswith(f"And {2_200 - shown} more.")


def test_a_long_log_is_answered_with_its_end() -> None:
    (row,) = rows_of(Phase.FAILED)
    text = comment.log_reply(row, "`" * 90_000 + "\nthe end")
    assert len(text) <= comment.LIMIT
    assert "the end" in sound(text).code[1]


def asked_for(*lines: str) -> Request:
    found = commands.parse("\n".join(lines))
    assert found
    return found


def test_one_answer_stands_alone_and_several_each_below_its_command() -> None:
    assert comment.answer(asked_for("/dtp status"), ["All done."]) == "All done."
    request = asked_for("/dtp retry dtp-aws/a", "/dtp nope", "/dtp cancel dtp-aws/b", "by", "/dtp")
    text = comment.answer(request, ["waits.", "`/dtp nope` is no command.", "ended."])
    assert text.startswith(
        "`/dtp retry dtp-aws/a`\n\nwaits.\n\n`/dtp nope` is no command.\n\n"
        "`/dtp cancel dtp-aws/b`\n\nended.\n\n1 line with `/dtp` below other text"
    )
    assert text.endswith(commands.help_text())
    assert comment.answer(asked_for("/dtp help"), [""]) == commands.help_text()


def test_answers_that_do_not_fit_together_are_left_out_longest_first_and_that_is_said() -> None:
    (row,) = rows_of(Phase.FAILED)
    lines = [f"/dtp logs dtp-aws/{n}" for n in range(4)]
    logs = [comment.log_reply(row, "x\n" * n) for n in (30_000, 10, 9_000, 20_000)]
    text = comment.answer(asked_for(*lines), logs)
    assert len(text) <= comment.LIMIT
    assert text.count(comment.ALONE) == 1
    assert f"`{lines[0]}`\n\n{comment.ALONE}" in text
    assert logs[3] in text


def test_a_preview_of_very_many_findings_keeps_its_rows() -> None:
    findings = tuple(
        Finding(path=f"dtp-jobs/dtp-aws/{n}.sh", line=n, code="x", message="m" * 300, fix="f" * 300)
        for n in range(1, 200)
    )
    rows = tuple(
        Foreseen(ref=b.a_ref(f"dtp-aws/{n}"), change=Change.ADDED, will=Will.RUN, why="new")
        for n in range(200)
    )
    seen = Preview(rows=rows, findings=findings)
    text = comment.preview(seen, cluster="nautilus", run_url=f"{REPOSITORY}/run")
    assert len(text) <= comment.LIMIT
    assert all_rows(text, [f"dtp-aws/{n} new" for n in range(200)])
    assert f"see the [run]({REPOSITORY}/run)" in text


# --- mentions, statuses, answers, summaries ------------------------------------------------------


def mentioned(rows: list[Row], author: str | None = "ada") -> str:
    return comment.mention(rows, author=author, cluster="nautilus", comment_url=f"{REPOSITORY}/x")


def test_a_mention_calls_the_author_names_what_went_wrong_and_leads_to_the_rest() -> None:
    text = mentioned(rows_of(Phase.SUCCEEDED, Phase.SUCCEEDED, Phase.FAILED))
    assert text.startswith("@ada: 2 done, 1 failed on cluster **nautilus**.\n")
    page = reader.read(text)
    assert page.code == ["dtp-aws/job-2"]
    assert page.links == [f"{REPOSITORY}/x"]


def test_a_mention_is_short() -> None:
    assert mentioned(rows_of(*[Phase.LOST] * 60)).count("\n- ") == 6
    assert "and 55 more" in mentioned(rows_of(*[Phase.LOST] * 60))


@pytest.mark.parametrize("author", [None, "", "org/team", "a b", "x\n@y", *HOSTILE])
def test_nobody_else_is_mentioned(author: str | None) -> None:
    text = mentioned(rows_of(Phase.SUCCEEDED), author)
    assert text.startswith("1 done on cluster")
    sound(text)


def test_a_commit_status_fits_and_tells_why_where_it_is_about_one_job() -> None:
    assert comment.description(rows_of(Phase.SUCCEEDED, Phase.FAILED)) == "1 done, 1 needs you"
    (row,) = rows_of(Phase.FAILED, reason="your script failed (exit 7)")
    assert comment.description([row]) == "dtp-aws/job-0 failed: (exit 7)"
    (row,) = rows_of(Phase.ERRORED, reason="ü" * 300)
    assert len(comment.description([row])) == 140


def test_an_answer_about_a_log_without_any_says_why() -> None:
    (row,) = rows_of(Phase.WAITING)
    assert "It has not started." in comment.log_reply(row, "")
    (row,) = rows_of(Phase.ERRORED, before_start=True)
    assert "It has not started." in comment.log_reply(row, "")
    (row,) = rows_of(Phase.LOST)
    assert "It has not started." not in comment.log_reply(row, ""), "nobody can tell"
    (row,) = rows_of(Phase.SUCCEEDED)
    assert "It has printed nothing" in comment.log_reply(row, "\n")
    assert "not shown in this repository" in comment.log_reply(row, None)
    assert "`/workspace/dtp-jobs/dtp-aws/job-0/job-0.log`" in comment.log_reply(row, None)


def test_a_summary_tells_what_was_done_but_for_bookkeeping() -> None:
    rows = rows_of(Phase.SUCCEEDED)
    actions = [
        {"ref": "dtp-aws/job-0", "attempt": 1, "action": action, "reason": f"why {action}"}
        for action in ("open", *report.BOOKKEEPING)
    ]
    text = comment.summary(actions, [], rows, cluster="nautilus", warnings=["a `warning`"])
    assert "why open" in text
    assert not any(f"why {action}" in text for action in report.BOOKKEEPING)
    assert "- ⚠️ a `warning`" in text
    nothing = comment.summary([], [], [], cluster="", warnings=[])
    assert nothing == "### nothing yet\n\nThis run had nothing to do."


# --- before the merge ----------------------------------------------------------------------------


def a_row(ref: str, will: Will, **changes: Any) -> Foreseen:
    defaults: dict[str, Any] = {"change": Change.CHANGED, "why": "Because."}
    return Foreseen(ref=b.a_ref(ref), will=will, **defaults | changes)


def previewed(*rows: Foreseen, **changes: Any) -> str:
    seen = Preview(rows=rows, **changes)
    return comment.preview(seen, cluster="nautilus", run_url=f"{REPOSITORY}/run")


def test_a_preview_begins_with_what_merging_does() -> None:
    wills = (Will.RUN, Will.RUN, Will.HOLD, Will.DEPENDS)
    text = previewed(*(a_row(f"dtp-aws/{n}", will) for n, will in enumerate(wills)))
    assert text.splitlines()[0] == "### ⏸️ When merged: 1 job does not run, 1 depends, 2 run"
    assert "each case is told" in text
    assert previewed().splitlines()[0] == "### ➖ Merging changes no job"


def test_a_preview_names_its_commit_first_and_what_it_does_not_know() -> None:
    seen = {"commit": "abc1234" + "0" * 33, "base": "def5678" + "0" * 33, "into": "main"}
    text = previewed(a_row("dtp-aws/a", Will.RUN), **seen)
    sound(text)
    assert text.splitlines()[0] == "### ▶️ When merged: 1 job runs · commit `abc1234`"
    assert "Commit `abc1234` merged into `main` at `def5678`." in text
    assert "for commit `abc1234` only" in text
    assert "`[skip ci]`" in text


def test_a_preview_that_failed_names_the_commit_and_takes_back_the_earlier_one() -> None:
    text = comment.preview_failed("abc1234" + "0" * 33, "no <b>", cluster="x", run_url="")
    assert text.startswith("### ⚠️ There is no preview · commit `abc1234`")
    assert "earlier commit" in sound(text).text


def test_a_merge_into_a_branch_that_the_cluster_does_not_follow_starts_nothing() -> None:
    text = previewed(a_row("dtp-aws/a", Will.DEPENDS), into="dev", follows="main")
    first = "### ➖ The cluster follows the branch `main`: merging into `dev` starts nothing"
    assert text.splitlines()[0] == first
    assert "dtp-aws/a" not in text


def test_conflicts_are_named() -> None:
    paths = tuple(f"dtp-jobs/dtp-aws/{n}.sh" for n in range(12))
    text = previewed(a_row("dtp-aws/1", Will.RUN), conflicts=paths)
    assert text.startswith("### ⛔ Cannot be merged: 12 files in conflict")
    assert "/9.sh" in text
    assert " and 2 more" in text
    sound(text)


def test_a_merge_by_an_old_git_says_so() -> None:
    assert "git is older than 2.38" in previewed(a_row("dtp-aws/1", Will.RUN), by_file=True)


def catalog_change(**how: Any) -> RowChange:
    settings = (
        Setting(key="image", before="registry.example/aws:1", after="registry.example/aws:2"),
        Setting(key="env EMPTY", before=None, after=""),
    )
    defaults: dict[str, Any] = {"protocol": "aws", "settings": settings}
    return RowChange(**defaults | how)


def test_a_change_of_the_catalog_has_a_headline_and_a_table() -> None:
    jobs = tuple(b.a_ref(f"dtp-aws/{n}") for n in range(12))
    warning = Finding(
        path="dtp-jobs/catalog.yaml", code="catalog", severity=Severity.WARNING, message="changes"
    )
    text = previewed(catalog=(catalog_change(jobs=jobs),), findings=(warning,))
    page = sound(text)
    assert text.startswith("### ⚠️ Merging changes the catalog and starts no job")
    assert "#### ⚠️ The catalog changes for `aws`" in text
    cells = [cell.replace(markdown.GAP, "") for cell in page.cells]
    assert cells[-8:-4] == ["aws", "image", "registry.example/aws:1", "registry.example/aws:2"]
    assert cells[-4:] == ["aws", "env EMPTY", "–", "empty"]
    assert "`dtp-aws/9` and 2 more" in text
    assert text.count("catalog.yaml") == 0, "the table says it"
    assert "No job on the branch uses it yet" in previewed(catalog=(catalog_change(),))


@given(texts, texts)
def test_no_hostile_catalog_does_anything(text: str, other: str) -> None:
    setting = Setting(key=text, before=other, after=text)
    sound(previewed(catalog=(catalog_change(protocol=other, settings=(setting,)),)))


def test_a_preview_says_all_that_merging_can_do() -> None:
    page = sound(previewed(*(a_row(f"dtp-aws/{n}", will) for n, will in enumerate(Will))))
    assert page.tags["tr"] == 1 + len(Will)


def test_an_exact_preview_says_as_of_when() -> None:
    text = previewed(a_row("dtp-aws/a", Will.DEPENDS), as_of="2030-01-02T12:00:00Z")
    assert "as of 2 Jan 2030, 12:00 UTC" in text
    assert "each case is told" not in text


def test_a_finding_shows_place_and_corrected_line_errors_first() -> None:
    warning = Finding(path="a.sh", code="path", severity=Severity.WARNING, message="a warning")
    error = Finding(path="b.sh", line=2, code="cap", message="too much", fix="#DTP memory=64Gi")
    text = previewed(a_row("dtp-aws/a", Will.REJECT, findings=(warning, error)))
    assert text.startswith("### ⛔ When merged: 1 job cannot run")
    assert text.index("⛔ `b.sh`, line 2: too much") < text.index("⚠️ `a.sh`: a warning")
    assert "#DTP memory=64Gi\n" in sound(text).code


def test_a_catalog_that_cannot_be_read_is_a_verdict_too() -> None:
    error = Finding(path="dtp-jobs/catalog.yaml", code="catalog", message="is no YAML")
    verdict = "### ⛔ When merged, no job starts until `dtp-jobs/catalog.yaml` is corrected"
    assert previewed(findings=(error,)).startswith(verdict)
    assert previewed(a_row("dtp-aws/a", Will.RUN), findings=(error,)).startswith(verdict)


def test_a_change_of_the_catalog_is_no_verdict() -> None:
    words = "changes aws: that counts for attempts yet to be recorded"
    told = Finding(
        path="dtp-jobs/catalog.yaml", code="catalog", message=words, severity=Severity.WARNING
    )
    row = a_row("dtp-aws/a", Will.RUN)
    assert previewed(row, findings=(told,)).startswith("### ▶️ When merged: 1 job runs")


def test_a_file_that_is_no_job_is_a_verdict_where_nothing_else_is() -> None:
    error = Finding(path="dtp-jobs/aws/a.sh", code="place", message="stands elsewhere")
    assert previewed(findings=(error,)).startswith("### ⛔ A file cannot be used")


def test_a_copy_is_told_once_and_how_to_do_without_it() -> None:
    text = situations.foreseen(exact=True)
    assert text.count("dtp-aws/kidney2") == 2  # its row, and what it runs with
    assert "/dtp retry dtp-aws/kidney" in text
    assert "#DTP attempt=2" in text


def test_what_a_job_runs_with_is_told() -> None:
    image, limits = f"registry.example/aws@{b.DIGEST}", "1 CPU, 2Gi memory"
    row = a_row("dtp-aws/a", Will.RUN, image=image, limits=limits, retries=2, resume=True,
                secrets=("dtp-aws", "genomics"))  # fmt: skip
    cell = sound(previewed(row)).cells[-1].replace(markdown.GAP, "")
    for word in ("registry.example/aws", "1 CPU, 2Gi memory", "dtp-aws, genomics", "2 more tries",
                 "/workspace/dtp-jobs/dtp-aws/a", "starts again"):  # fmt: skip
        assert word in cell


def test_a_service_is_told_apart_from_a_run() -> None:
    row = a_row("dtp-globus/endpoint", Will.RUN, image="registry.example/connect:1", service=True)
    assert "a service: goes on until its script is removed" in sound(previewed(row)).cells[-1]
    row = a_row("dtp-globus/endpoint", Will.RUN, image="registry.example/connect:1")
    assert "a service" not in sound(previewed(row)).cells[-1]


def test_every_change_has_a_word() -> None:
    others = {"held", "rejected", report.DOUBTED}
    assert comment.CHANGES.keys() == set(Change)
    assert comment.WILLS.keys() == set(Will)
    assert preview.STATES.keys() == set(Phase) == comment.STATES.keys() - others


def test_a_doubted_success_says_why_and_what_to_do() -> None:
    text = situations.one_doubted()
    assert text.startswith("### ⚠️ 1 done, 1 done with doubts")
    row = next(line for line in text.splitlines() if line.startswith("| `dtp-sra-tools/SRR000001`"))
    assert "⚠️ **done, with doubts** · line 4: `prefetch SRR000001` ended with exit code 3" in row
    assert "nothing was transferred" not in row
    assert "**⚠️ Done, with doubts**: `dtp-sra-tools/SRR000001`" in text
    assert "Nothing was transferred" in text
    assert "after the merge it runs again automatically" in text
