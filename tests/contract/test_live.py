"""`make live` against the stand-in, with real git, the real commands and the embedded cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import live
from tests.github import fake
from tests.github.branches import Branches


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Branches]:
    with fake.serve() as github:
        github.viewer, github.permissions = "grace", {"grace": "admin"}
        there = Branches(tmp_path / "requests", github)
        for how in ("denyCurrentBranch", "denyDeleteCurrent"):
            there.git(
                "config", f"receive.{how}", "ignore"
            )  # as a bare repository, which it stands for
        yield there


def walk(there: Branches, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(there.root.parent),
        "GITHUB_TOKEN": fake.TOKEN,
        "GITHUB_API_URL": there.github.url,
        "DTP_LIVE_REPOSITORY": fake.REPOSITORY,
        "DTP_LIVE_REMOTE": str(there.root),
    }
    return subprocess.run(
        [sys.executable, "-m", "tests.live"],
        cwd=Path(__file__).parents[2],
        env=given | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_whole_story_holds(there: Branches) -> None:
    ended = walk(there)
    told = [line.split(maxsplit=1) for line in ended.stdout.splitlines()[1:]]
    sentences = [sentence for sentence, _ in live.STORY] + ["its branches are removed"]
    assert told == [["pass", sentence] for sentence in sentences], ended.stdout + ended.stderr
    assert ended.returncode == 0
    assert "dtp-live" not in there.git("branch")


def test_what_fails_is_told_the_rest_is_not_run_and_the_branches_are_removed(
    there: Branches,
) -> None:
    there.github.denied = {"pull-requests"}
    ended = walk(there)
    assert ended.returncode == 1
    assert "FAIL     a pull request is opened: GitHub would not" in ended.stdout
    assert "not run  dispatch" in ended.stdout
    assert "pass     its branches are removed" in ended.stdout
    assert fake.TOKEN not in ended.stdout + ended.stderr
    assert "dtp-live" not in there.git("branch")


def test_without_a_token_it_says_what_it_needs(there: Branches) -> None:
    ended = walk(there, GITHUB_TOKEN="")
    assert ended.returncode == 2
    assert "missing: GITHUB_TOKEN" in ended.stderr
