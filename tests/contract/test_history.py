"""Which commit of the branch brought a path's present bytes, whatever the clone is like."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtp_action.adapters import checkout
from dtp_action.core.pulls import Step
from dtp_action.errors import UsageError
from tests.github.branches import BEGIN, DAY, Branches
from tests.github.fake import GitHub

A, B = "dtp-jobs/dtp-aws/a.sh", "dtp-jobs/dtp-aws/b.sh"


@pytest.fixture
def there(tmp_path: Path) -> Branches:
    return Branches(tmp_path / "requests", GitHub())


def brought(root: Path, *paths: str) -> dict[str, str | None]:
    return dict(checkout.brought_by(root, "HEAD", paths or (A, B)).commits)


def clone(there: Branches, *options: str) -> Path:
    there.git("clone", "--quiet", *options, there.root.as_uri(), str(there.root.parent / "clone"))
    return there.root.parent / "clone"


def test_the_line_is_told_down_to_the_oldest_commit_asked_for_and_no_further(
    there: Branches,
) -> None:
    there.commit({A: "1"})
    pull = there.pull(7, {B: "1"})
    there.merge(pull)
    history = checkout.brought_by(there.root, "HEAD", [B])
    assert history.line == (
        Step(
            sha=there.head(),
            parents=(there.head("HEAD^1"), there.head("HEAD^2")),
            authored=BEGIN + DAY * 4,
            committed=BEGIN + DAY * 4,
        ),
    )
    assert [step.sha for step in checkout.brought_by(there.root, "HEAD", [A]).line] == [
        there.head(),
        there.head("HEAD^"),
    ]


def test_a_change_of_mode_brings_nothing(there: Branches) -> None:
    first = there.commit({A: "1"})
    (there.root / A).chmod(0o755)
    there.commit_all()
    assert brought(there.root, A) == {A: first}


def test_a_path_that_is_not_there_is_left_out(there: Branches) -> None:
    there.commit({A: "1", B: "1"})
    there.commit({B: None})
    assert brought(there.root).keys() == {A}


def test_an_awkward_path_is_found(there: Branches) -> None:
    path = "dtp-jobs/dtp-aws/:(top)ü \n\"'-.sh"
    assert brought(there.root, path) == {}
    sha = there.commit({path: "1"})
    assert brought(there.root, path) == {path: sha}


def test_a_subfolder_and_a_bare_repository_tell_the_same(there: Branches) -> None:
    there.commit({A: "1"})
    there.commit({B: "1"})
    expected = brought(there.root)
    assert brought(there.root / "dtp-jobs") == expected
    assert brought(clone(there, "--bare")) == expected


@pytest.mark.parametrize(("depth", "holds"), [(1, False), (2, False), (3, True)])
def test_a_shallow_clone_names_only_a_commit_that_it_holds(
    there: Branches, depth: int, holds: bool
) -> None:
    there.commit({A: "1"})
    last = there.commit({B: "1"})
    there.commit({"README.md": "later"})
    shallow = clone(there, f"--depth={depth}")
    assert brought(shallow) == {A: None, B: last if holds else None}
    there.git("-C", str(shallow), "fetch", "--quiet", "--unshallow")
    assert brought(shallow) == brought(there.root)


def test_the_initial_commit_is_no_cut(there: Branches) -> None:
    (there.root / "root.sh").write_text("1")
    there.git("add", "--all")
    there.git("commit", "--quiet", "--amend", "--no-edit")
    assert brought(clone(there), "root.sh") == {"root.sh": there.head()}


def test_a_clone_without_file_contents_is_enough(there: Branches) -> None:
    there.git("config", "uploadpack.allowFilter", "true")
    there.commit({A: "1"})
    assert brought(clone(there, "--filter=blob:none", "--no-checkout"), A) == {A: there.head()}


HOSTILE = {
    "log.showSignature": "true",
    "log.diffMerges": "off",
    "log.follow": "true",
    "log.decorate": "full",
    "diff.renames": "copies",
    "diff.relative": "true",
    "diff.noprefix": "true",
    "diff.external": "false",
    "core.abbrev": "7",
    "color.ui": "always",
}


def test_the_repositorys_own_configuration_changes_nothing_and_runs_nothing(
    there: Branches, tmp_path: Path
) -> None:
    witness, program = tmp_path / "ran", tmp_path / "gpg"
    program.write_text(f"#!/bin/sh\ntouch {witness}\n")
    program.chmod(0o755)
    there.commit({A: "the same\n" * 9})
    there.merge(there.pull(7, {A: None, B: "the same\n" * 9}))
    sign(there)
    for key, value in (HOSTILE | {"gpg.program": str(program)}).items():
        there.git("config", key, value)
    assert brought(there.root / "dtp-jobs") == {B: there.head()}
    assert not witness.exists()
    there.git("log", "-1")
    assert witness.exists()


def sign(there: Branches) -> None:
    """Give HEAD a signature, of a kind."""
    head, _, message = there.git("cat-file", "commit", "HEAD").partition("\n\n")
    begin, end = ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----")
    path = there.root / ".git" / "signed"
    path.write_text(f"{head}\ngpgsig {begin}\n \n eHl6\n {end}\n\n{message}\n")
    there.git("reset", "--soft", there.git("hash-object", "-t", "commit", "-w", str(path)))


def test_a_history_that_is_broken_is_told(there: Branches) -> None:
    there.commit({A: "1"})
    below = there.head("HEAD^")
    there.commit({B: "1"})
    os.unlink(there.root / ".git" / "objects" / below[:2] / below[2:])  # noqa: PTH108
    with pytest.raises(UsageError, match="git: "):
        brought(there.root, "dtp-jobs/dtp-aws/older.sh")


def test_no_git_is_left_running_when_the_walk_stops_early(there: Branches) -> None:
    for i in range(3):
        there.commit({A: f"{i}"})
    records = checkout._records(there.root, "log", "-z", "--format=%H")
    assert next(records)
    records.close()  # type: ignore[attr-defined]  # a generator, told by its function
