"""Which pull request, and what to write: decided without git and GitHub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dtp_action.core import pulls
from dtp_action.core.model import Origin
from dtp_action.core.pulls import (
    Candidate,
    Comment,
    CommitStatus,
    Edit,
    Mark,
    Remove,
    Say,
    Shown,
    State,
    Step,
    WorkflowRun,
)

MAIN = {"main", "trunk"}
SAY = Say(number=7, marker=pulls.marker("status", "main"), text="1 done")


def a_run(**facts: Any) -> WorkflowRun:
    defaults: dict[str, Any] = {
        "id": 1, "event": "push", "branch": "main", "commit": "c", "here": True,
    }  # fmt: skip
    return WorkflowRun(**defaults | facts)


def a_step(sha: str, authored: int = 0, *parents: str) -> Step:
    return Step(sha=sha, parents=parents or ("below",), authored=authored)


def a_candidate(number: int = 7, **facts: Any) -> Candidate:
    defaults: dict[str, Any] = {
        "author": "ada",
        "merged_by": "grace",
        "merged": True,
        "base": "main",
        "head": f"head-{number}",
        "merge_commit": "c",
    }
    return Candidate(number=number, **defaults | facts)


def chosen(*candidates: Candidate, commit: str = "c", line: Sequence[Step] = ()) -> int | None:
    return pulls.origin(commit, "main", candidates, line).pull_request


# --- which pull request? -------------------------------------------------------------------------


def test_the_one_whose_merge_commit_it_is() -> None:
    found = pulls.origin("c", "main", [a_candidate(6, merge_commit="b"), a_candidate(7)], ())
    assert found == Origin(commit="c", pull_request=7, author="ada", merged_by="grace", asked=True)


@pytest.mark.parametrize(
    "facts", [{"merged": False}, {"base": "other"}, {"merge_commit": None}, {"merge_commit": "d"}]
)
def test_none_that_was_not_merged_here_by_this_commit(facts: dict[str, Any]) -> None:
    line = [a_step("c"), a_step("b")]
    found = pulls.origin("c", "main", [a_candidate(**facts)], line, pulls.BELIEVED)
    assert found == Origin(commit="c", asked=True)


@pytest.mark.parametrize(
    ("age", "candidates", "line", "believed"),
    [
        (pulls.BELIEVED, (), (), True),
        (pulls.BELIEVED - timedelta(seconds=1), (), (), False),
        (pulls.YOUNG, (), (), False),
        (pulls.BELIEVED, (a_candidate(merge_commit="d"),), ("c",), True),
        (pulls.BELIEVED, (a_candidate(merge_commit="d"),), (), False),  # a rebase, for all we know
    ],
)
def test_none_is_believed_of_what_is_old_enough_and_seen_whole(
    age: timedelta, candidates: tuple[Candidate, ...], line: tuple[str, ...], believed: bool
) -> None:
    found = pulls.origin("c", "main", candidates, [a_step(sha) for sha in line], age)
    assert found == Origin(commit="c", asked=believed)


def test_a_pull_request_is_believed_at_once() -> None:
    assert pulls.origin("c", "main", [a_candidate()], ()).asked


def test_no_candidates_is_a_direct_push() -> None:
    assert chosen() is None


def test_of_two_with_the_same_merge_commit_the_one_whose_head_was_merged() -> None:
    two = (a_candidate(7), a_candidate(8))
    assert chosen(*two, line=[a_step("c", 0, "b", "head-8")]) == 8
    assert chosen(*two, line=[a_step("c", 0, "b")]) is None
    assert chosen(*two) is None


REBASED = [a_step("d", 9), a_step("c", 3), a_step("b", 2), a_step("a", 1), a_step("root", 0)]


@pytest.mark.parametrize(
    ("commit", "number"), [("d", None), ("c", 7), ("b", 7), ("a", 7), ("root", None)]
)
def test_a_rebase_covers_its_own_commits_and_no_other(commit: str, number: int | None) -> None:
    pull = a_candidate(merge_commit="c", authored=(1, 2, 3))
    assert chosen(pull, commit=commit, line=REBASED) == number


def test_a_rebase_that_dropped_an_empty_commit_covers_the_rest() -> None:
    pull = a_candidate(merge_commit="c", authored=(1, 2, 50, 3, 60))
    assert chosen(pull, commit="a", line=REBASED) == 7


def test_a_squash_covers_nothing_below_it() -> None:
    line = [a_step("c", 100), a_step("b", 2), a_step("a", 1)]
    assert chosen(a_candidate(authored=(1, 2, 3)), commit="b", line=line) is None


def test_a_merge_commit_covers_nothing_below_it() -> None:
    line = [a_step("c", 3, "b", "head-7"), a_step("b", 2), a_step("a", 1)]
    assert chosen(a_candidate(authored=(1, 2, 3)), commit="b", line=line) is None


def test_a_rebase_beyond_the_known_line_covers_nothing() -> None:
    pull = a_candidate(merge_commit="elsewhere", authored=(1, 2, 3))
    assert chosen(pull, commit="b", line=REBASED) is None


def test_two_rebases_that_both_cover_it_are_not_chosen_between() -> None:
    pull = {"merge_commit": "c", "authored": (1, 2, 3)}
    assert chosen(a_candidate(7, **pull), a_candidate(8, **pull), commit="b", line=REBASED) is None


# --- markers -------------------------------------------------------------------------------------

NAMES = ["main", "main-", "-main", "ma in", "a --> b", "ü", "", "%2D", "<!--", "x\ny", "`@team`"]


def test_a_marker_is_one_hidden_line_whatever_the_names() -> None:
    markers = [pulls.marker("status", name) for name in NAMES]
    assert all(re.fullmatch(r"<!-- [ \w.%~]+ -->", m.replace("dtp-requests", "")) for m in markers)


def test_no_marker_begins_like_another() -> None:
    markers = {pulls.marker("status", a, b) for a in NAMES for b in NAMES}
    markers |= {pulls.marker("status", a) for a in NAMES}
    assert len(markers) == len(NAMES) ** 2 + len(NAMES)
    assert not any(a != b and a.startswith(b) for a in markers for b in markers)


# --- what to write -------------------------------------------------------------------------------


def a_comment(ident: int = 1, body: str = SAY.body) -> Comment:
    return Comment(id=ident, number=7, body=body, url=f"https://github.example/{ident}")


def shown(*comments: Comment) -> Shown:
    return Shown(comments={7: comments})


def test_no_comment_yet_is_written() -> None:
    assert pulls.sticky(SAY, shown(a_comment(body="something else of ours"))) == [SAY]


@pytest.mark.parametrize("body", [SAY.body, SAY.body + "\n", SAY.body.replace("\n", "\r\n")])
def test_the_same_is_left_alone(body: str) -> None:
    assert pulls.sticky(SAY, shown(a_comment(body=body))) == []


def test_another_text_is_edited_and_what_says_it_again_removed() -> None:
    old, again = a_comment(1, f"{SAY.marker}\nold"), a_comment(2)
    assert pulls.sticky(SAY, shown(old, again)) == [
        Edit(comment=old, say=SAY),
        Remove(comment=again),
    ]


def test_what_is_written_once_is_not_edited() -> None:
    assert pulls.once(SAY, shown()) == [SAY]
    assert pulls.once(SAY, shown(a_comment(body=f"{SAY.marker}\nold"))) == []


def test_a_pull_request_that_is_not_there_gets_nothing() -> None:
    assert pulls.sticky(SAY, Shown()) == pulls.once(SAY, Shown()) == []


STATUS = CommitStatus(context="dtp", state=State.SUCCESS, description="1 done", url="https://a/")


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ({}, True),
        ({"c": STATUS}, False),
        ({"c": replace(STATUS, url="https://github.example/run/1")}, True),  # not the comment
        ({"c": CommitStatus(context="dtp", state=State.PENDING, description="1 done")}, True),
        ({"d": STATUS}, True),
    ],
)
def test_a_status_is_set_only_where_it_says_something_new(
    there: dict[str, CommitStatus], written: bool
) -> None:
    steps = pulls.mark("c", STATUS, Shown(statuses=there))
    assert steps == ([Mark(commit="c", status=STATUS)] if written else [])


def test_a_status_without_a_comment_leads_to_the_run_that_set_it_and_is_not_set_by_each() -> None:
    plain = replace(STATUS, url="")
    (step,) = pulls.mark("c", plain, Shown(), "https://github.example/run/1")
    assert step == Mark(commit="c", status=replace(STATUS, url="https://github.example/run/1"))
    assert not pulls.mark("c", plain, Shown(statuses={"c": step.status}), "https://…/run/2")


# --- whose word is taken for how jobs stand? -----------------------------------------------------


def believed(*runs: WorkflowRun) -> list[int]:
    """Return whose word is taken, where `main` has the commit c and `trunk` has t."""
    line = {("main", "c"), ("trunk", "t")}
    return [run.id for run in pulls.dispatches(runs, MAIN, lambda *named: named in line)]


@pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch", "repository_dispatch"])
def test_a_run_of_the_clusters_or_the_default_branch_is_believed(event: str) -> None:
    assert believed(a_run(event=event)) == [1]
    assert believed(a_run(event=event, branch="trunk", commit="t")) == [1]


@pytest.mark.parametrize(
    "facts",
    [
        {"branch": "other"},
        {"branch": None},
        {"here": False},
        {"commit": "of a tag that is called main"},
        {"commit": "t"},
        *({"event": event} for event in (
            "pull_request", "pull_request_target", "workflow_run", "issue_comment", "merge_group",
            "",
        )),
    ],
)  # fmt: skip
def test_any_other_run_is_not(facts: dict[str, Any]) -> None:
    assert believed(a_run(**facts)) == []


def test_runs_are_tried_in_their_order() -> None:
    assert believed(a_run(id=9), a_run(id=8, branch="x"), a_run(id=7)) == [9, 7]
