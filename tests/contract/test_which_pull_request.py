"""From a script to the pull request that brought it: real git, and a GitHub that knows the merges.

The right pull request or none: never a wrong one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dtp_action.adapters import checkout
from dtp_action.adapters.pulls import GitHubPulls
from dtp_action.core import pulls
from dtp_action.core.model import Origin, Place
from tests.github import fake
from tests.github.branches import Branches

A, B, C = "dtp-jobs/dtp-aws/a.sh", "dtp-jobs/dtp-aws/b.sh", "dtp-jobs/dtp-aws/c.sh"


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Branches]:
    with fake.serve() as github:
        yield Branches(tmp_path / "requests", github)


def origins(there: Branches, *paths: str, branch: str = "main") -> dict[str, int | None]:
    """Return the pull request of each script on a branch, as dispatch will find it."""
    found = {path: origin.pull_request for path, origin in whole(there, branch, *paths).items()}
    assert list(found) == list(paths)
    return found


def api(there: Branches, sleep: Callable[[float], None] = time.sleep) -> GitHubPulls:
    return GitHubPulls(
        repository=fake.REPOSITORY,
        token=fake.TOKEN,
        api_url=there.github.url,
        between_requests=0,
        between_writes=0,
        sleep=sleep,
    )


def whole(there: Branches, branch: str, *paths: str) -> dict[str, Origin]:
    us = api(there)
    history = checkout.brought_by(there.root, branch, paths)
    commits = {path: history.commits[path] or "" for path in paths}
    candidates = us.candidates(commits.values())
    return {
        path: pulls.origin(commit, branch, candidates[commit], history.line, pulls.BELIEVED)
        for path, commit in commits.items()
    }


def test_a_merge_commit(there: Branches) -> None:
    pull = there.pull(7, {A: "1"}, {B: "1"})
    merge = there.merge(pull)
    assert whole(there, "main", A) == {
        A: Origin(commit=merge, pull_request=7, author="ada", merged_by="grace", asked=True)
    }
    assert origins(there, A, B) == {A: 7, B: 7}


def test_a_squash(there: Branches) -> None:
    there.squash(there.pull(7, {A: "1"}, {A: "2"}, {B: "1"}))
    assert origins(there, A, B) == {A: 7, B: 7}


def test_a_rebase_of_three_commits(there: Branches) -> None:
    there.squash(there.pull(6, {C: "0"}))
    there.rebase(there.pull(7, {A: "1"}, {B: "1"}, {"docs.md": "x"}))
    there.commit({"README.md": "later"})
    assert origins(there, A, B, C) == {A: 7, B: 7, C: 6}


def test_the_line_is_read_down_to_a_commit_whatever_came_later(there: Branches) -> None:
    there.rebase(there.pull(7, {A: "1"}, {B: "1"}))
    last, first = there.head(), there.git("rev-parse", "main~1").strip()
    there.commit({A: "2"})
    line = [step.sha for step in checkout.line_to(there.root, "main", [last, first])]
    assert line == [there.head(), last, first]
    whole_line = checkout.line_to(there.root, "main", ["0" * 40])
    assert not whole_line[-1].parents, "one that is not there is looked for to the beginning"


def test_a_rebase_of_commits_with_a_merge_among_them(there: Branches) -> None:
    pull = there.pull(7, {A: "1"})
    there.git("checkout", "--quiet", "main")
    there.commit({"README.md": "meanwhile"})
    there.git("checkout", "--quiet", "pull-7")
    there.git("merge", "--quiet", "--no-ff", "--message=catch up", "main")
    pull.head = there.head()
    there.push(pull, {B: "1"})
    there.rebase(pull)
    assert origins(there, A, B) == {A: 7, B: 7}


def test_a_merge_queue_with_three(there: Branches) -> None:
    opened = [there.pull(7, {A: "1"}), there.pull(8, {B: "1"}), there.pull(9, {C: "1"})]
    for pull in opened:
        there.merge(pull, by="github-merge-queue[bot]")
    assert origins(there, A, B, C) == {A: 7, B: 8, C: 9}
    assert whole(there, "main", A)[A].merged_by == "github-merge-queue[bot]"


def test_stacked_ones_merged_one_after_the_other(there: Branches) -> None:
    lower = there.pull(7, {A: "1"})
    there.pull(8, {B: "1"}, base="pull-7")
    there.merge(lower)
    upper = there.github.pulls[8]
    upper.base = "main"  # GitHub does so when the lower branch is deleted
    there.merge(upper)
    assert origins(there, A, B) == {A: 7, B: 8}


def test_stacked_ones_that_one_merge_closed_are_told_apart_by_what_was_merged(
    there: Branches,
) -> None:
    lower = there.pull(7, {A: "1"})
    upper = there.pull(8, {B: "1"}, start="pull-7")
    merge = there.merge(upper)
    there.github.merge(lower, merge)  # its commits are in: GitHub marks it merged, by this commit
    assert origins(there, A, B) == {A: 8, B: 8}


def test_one_merged_into_another_pull_requests_branch_is_not_of_the_cluster_branch(
    there: Branches,
) -> None:
    lower = there.pull(7, {A: "1"})
    upper = there.pull(8, {B: "1"}, base="pull-7")
    there.merge(upper)
    lower.head = there.head("pull-7")
    there.merge(lower)
    assert origins(there, A, B) == {A: 7, B: 7}


def test_a_direct_push(there: Branches) -> None:
    there.squash(there.pull(7, {A: "1"}))
    pushed = there.commit({B: "1"})
    assert origins(there, A, B) == {A: 7, B: None}
    assert whole(there, "main", B)[B] == Origin(commit=pushed, asked=True)


def test_a_direct_push_of_the_bytes_of_an_open_pull_request(there: Branches) -> None:
    pull = there.pull(7, {A: "1"})
    there.git("checkout", "--quiet", "main")
    pushed = there.commit({A: "1"})
    there.github.linked[pushed] = [pull]  # off the default branch, GitHub names open ones too
    assert origins(there, A) == {A: None}


def test_a_commit_just_below_a_squash_is_not_taken_for_its_part(there: Branches) -> None:
    there.git("checkout", "--quiet", "main")
    pushed = there.commit({A: "1"})
    pull = there.pull(7, {B: "1"}, {B: "2"}, {B: "3"})
    there.squash(pull)
    there.github.linked[pushed] = [pull]
    assert origins(there, A, B) == {A: None, B: 7}


def test_the_initial_commit(tmp_path: Path) -> None:
    with fake.serve() as github:
        there = Branches(tmp_path / "requests", github)
        (there.root / A).parent.mkdir(parents=True)
        (there.root / A).write_text("1")
        there.git("add", "--all")
        there.git("commit", "--quiet", "--amend", "--no-edit")
        assert whole(there, "main", A) == {A: Origin(commit=there.head(), asked=True)}


def test_a_revert_and_a_second_landing(there: Branches) -> None:
    there.merge(there.pull(7, {A: "1"}))
    there.merge(there.pull(8, {A: None}))
    there.merge(there.pull(9, {A: "1"}))
    assert origins(there, A) == {A: 9}


def test_a_backport_belongs_to_the_pull_request_of_its_own_branch(there: Branches) -> None:
    there.git("branch", "cluster-b")
    there.merge(there.pull(7, {A: "1"}))
    there.squash(there.pull(8, {A: "1"}, base="cluster-b"))
    assert origins(there, A) == {A: 7}
    assert origins(there, A, branch="cluster-b") == {A: 8}


def test_a_branch_merged_as_a_whole_into_another_belongs_to_that_merge(there: Branches) -> None:
    there.git("branch", "cluster-b")
    there.merge(there.pull(7, {A: "1"}))
    there.merge(there.pull(8, base="cluster-b", start="main"))
    assert origins(there, A, branch="cluster-b") == {A: 8}


def test_a_renamed_file_came_with_its_new_name(there: Branches) -> None:
    there.merge(there.pull(7, {A: "long enough to be seen as the same file\n" * 9}))
    there.merge(there.pull(8, {A: None, B: "long enough to be seen as the same file\n" * 9}))
    assert origins(there, B) == {B: 8}


def test_a_pull_request_from_a_fork_whose_branch_was_deleted(there: Branches) -> None:
    there.merge(there.pull(7, {A: "1"}, author="mallory", fork="mallory/requests"))
    assert "pull-7" not in there.git("branch")
    assert whole(there, "main", A)[A].author == "mallory"


def test_many_scripts_are_one_query(there: Branches) -> None:
    there.merge(there.pull(7, {f"dtp-jobs/dtp-aws/{i}.sh": "1" for i in range(20)}))
    there.squash(there.pull(8, {f"dtp-jobs/dtp-gcp/{i}.sh": "1" for i in range(20)}))
    paths = [f"dtp-jobs/dtp-{protocol}/{i}.sh" for protocol in ("aws", "gcp") for i in range(20)]
    assert set(origins(there, *paths).values()) == {7, 8}
    assert there.github.count() == {"queries": 1}


# --- where a commit is on its branch -------------------------------------------------------------


def place(
    there: Branches,
    commit: str,
    branch: str = "main",
    sleep: Callable[[float], None] = lambda _seconds: None,
) -> Place:
    return api(there, sleep).place(commit, branch)


def test_the_last_commit_of_a_branch_is_told_from_those_before_it(there: Branches) -> None:
    older = there.head()
    newest = there.commit({A: "1"})
    assert place(there, newest) is Place.NEWEST
    assert place(there, older) is Place.BEHIND


def test_what_a_branch_left_or_never_had_is_not_on_it(there: Branches) -> None:
    kept = there.head()
    left = there.commit({A: "1"})
    there.git("reset", "--quiet", "--hard", kept)
    assert place(there, left) is Place.OFF
    there.commit({B: "1"})
    assert place(there, left) is Place.OFF
    assert place(there, "0" * 40) is Place.OFF
    assert place(there, kept, "nothing") is Place.OFF


def test_a_push_that_github_shows_a_moment_later_is_waited_for(there: Branches) -> None:
    kept = there.head()
    pushed = there.commit({A: "1"})
    there.git("reset", "--quiet", "--hard", kept)
    slept: list[float] = []

    def later(seconds: float) -> None:
        slept.append(seconds)
        there.git("reset", "--quiet", "--hard", pushed)

    assert place(there, pushed, sleep=later) is Place.NEWEST
    assert len(slept) == 1
