"""A repository that is not the ledger's runs none of its jobs, whatever it is told to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk import Desk

SOURCE = ("--source", "transfers#main")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.write("dtp-local/ours")
    made.commit()
    assert made.dtp("dispatch", *SOURCE, "--wait", "60").returncode == 0
    yield made
    made.cluster.stop_all()


@pytest.mark.parametrize(
    "command",
    [
        ("dispatch",),
        ("dispatch", "--rewritten"),
        ("dispatch", "--first-run"),
        ("dispatch", "--adopt"),
        ("dispatch", "--dry-run"),
        ("dispatch", "--job", "dtp-local/theirs"),
        ("plan",),
        ("retry", "dtp-local/theirs"),
        ("retry", "dtp-local/ours"),
        ("cancel", "dtp-local/ours", "--github-token", "none", "--github-repository", "a/b"),
        ("cancel", "dtp-local/ours", "--source", "theirs#main"),
        ("dispatch", "--source", "theirs#main"),
    ],
    ids=" ".join,
)
def test_another_repository_is_refused_and_nothing_of_it_runs(
    desk: Desk, command: tuple[str, ...]
) -> None:
    other = Desk(desk.root, "theirs")
    other.write("dtp-local/theirs")
    other.write("dtp-local/ours", "#!/bin/sh\necho theirs\n")
    other.commit()
    before = desk.status()
    said = other.dtp(*command)
    assert said.returncode == 2, said.stdout
    assert "belongs to transfers#main" in said.stderr
    assert "  next: " in said.stderr
    after = desk.status()
    assert [(row["name"], row["phase"]) for row in after["jobs"]] == [
        (row["name"], row["phase"]) for row in before["jobs"]
    ]
    assert after["source"] == "transfers#main"


def test_the_ledger_is_renamed_to_what_was_said_and_to_nothing_else(desk: Desk) -> None:
    said = desk.dtp("dispatch", "--rename-source")
    assert said.returncode == 2
    assert "give it with --source" in said.stderr
    assert desk.dtp("dispatch", "--rename-source", "--source", "moved#main").returncode == 0
    assert desk.status()["source"] == "moved#main"


def test_the_ledgers_own_repository_says_once_whose_it_is(desk: Desk) -> None:
    desk.write("dtp-local/more")
    desk.commit()
    said = desk.dtp("dispatch", "--wait", "60")
    assert said.returncode == 0, said.stderr
    assert desk.phases()["dtp-local/more"] == "SUCCEEDED"


def test_a_clone_of_it_need_not_say_it_either_once_it_is_up_to_date(desk: Desk) -> None:
    desk.git("clone", "--quiet", ".", "../clone")
    clone = Desk(desk.root, "clone")
    assert clone.dtp("retry", "dtp-local/ours").returncode == 0
    desk.write("dtp-local/more")
    desk.commit()
    assert desk.dtp("dispatch", "--wait", "60").returncode == 0
    said = clone.dtp("dispatch")
    assert said.returncode == 2
    assert "does not have commit" in said.stderr
    assert "git pull" in said.stderr
    clone.git("pull", "--quiet")
    assert clone.dtp("dispatch").returncode == 0


def test_who_says_that_it_is_the_ledgers_is_believed_as_the_refusal_offers(desk: Desk) -> None:
    anew = Desk(desk.root, "anew")
    anew.write("dtp-local/ours")
    anew.write("dtp-local/more")
    anew.commit()
    assert anew.dtp("dispatch", "--rewritten").returncode == 2
    said = anew.dtp("dispatch", "--rewritten", *SOURCE, "--wait", "60")
    assert said.returncode == 0, said.stderr
    assert desk.phases() == {"dtp-local/ours": "SUCCEEDED", "dtp-local/more": "SUCCEEDED"}


def test_a_folder_for_each_repository_where_none_is_named(desk: Desk) -> None:
    """The refusal of the embedded cluster's only ledger names the way out that is meant for it."""
    other = Desk(desk.root, "theirs")
    other.write("dtp-local/theirs")
    other.commit()
    assert "--cluster local:DIR" in other.dtp("dispatch").stderr
    elsewhere = f"local:{desk.root}/another"
    said = other.dtp("dispatch", "--wait", "60", "--cluster", elsewhere)
    assert said.returncode == 0, said.stderr
