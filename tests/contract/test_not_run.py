"""What does not run is seen everywhere: held, rejected and uncommitted scripts, on a real git."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk import Desk

SCRIPTS = {
    "dtp-local/typo": "#!/bin/sh\n#DTP memry=1Gi\necho\n",
    "dtp-local/greedy": "#!/bin/sh\n#DTP cpu=999\necho\n",
    "dtp-local/secret": "#!/bin/sh\n#DTP secret=reed-lab\necho\n",
    "dtp-local/unclosed": "#!/bin/sh\nif true\n",
}
WHY = {
    "dtp-local/typo": ("rejected", "no directive", "#DTP memory=1Gi"),
    "dtp-local/greedy": ("rejected", "over this cluster's cap", "#DTP cpu="),
    "dtp-local/secret": ("rejected", "not granted", "ask the cluster's admin"),
    "dtp-local/unclosed": ("rejected", "", ""),
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    for ref, script in SCRIPTS.items():
        made.write(ref, script)
    made.write("dtp-local/good")
    made.commit()
    said = made.dtp("dispatch", "--wait", "60", "--source", "transfers")
    assert said.returncode == 0, said.stderr
    assert "1 done, 4 rejected" in said.stdout
    yield made
    made.cluster.stop_all()


def test_what_is_rejected_is_listed_and_counted_with_the_correction(desk: Desk) -> None:
    told = desk.dtp("status").stdout
    assert told.splitlines()[-1] == "1 done, 4 rejected"
    listed = {row["ref"]: row for row in desk.status()["not_run"]}
    assert listed.keys() == SCRIPTS.keys()
    for ref, (state, reason, fix) in WHY.items():
        row = listed[ref]
        assert (row["state"], row["path"]) == (state, f"dtp-jobs/{ref}.sh")
        assert reason in row["reason"]
        assert fix in row["fix"] + row["reason"]
    for ref in SCRIPTS:
        alone = desk.dtp("status", ref)
        assert alone.returncode == 0
        assert alone.stdout.splitlines()[-1] == "1 rejected"
        assert ref in alone.stdout
    page = desk.dtp("status", "--format", "markdown").stdout
    assert all(ref in page for ref in SCRIPTS)


@pytest.mark.parametrize(("command", "code"), [("logs", 0), ("retry", 3), ("cancel", 3)])
def test_every_other_command_says_why_it_does_not_run(desk: Desk, command: str, code: int) -> None:
    for ref, (state, reason, fix) in WHY.items():
        said = desk.dtp(command, ref)
        assert said.returncode == code, said.stderr
        assert f"is {state}: " in said.stderr
        assert reason in said.stderr
        assert "no job" not in said.stderr
        assert "dtp dispatch" not in said.stderr, "which would reject it again"
        if command == "retry":
            assert fix in said.stderr


def test_what_is_held_is_listed_until_the_way_out_is_taken(desk: Desk) -> None:
    for number in range(3):
        desk.write(f"dtp-local/new-{number}")
    desk.write("dtp-local/good", "#!/bin/sh\necho changed\n")
    desk.commit()
    few = {"DTP_MAX_NEW": "2"}
    assert "4 held" in desk.dtp("dispatch", **few).stdout.splitlines()[-1]
    document = json.loads(desk.dtp("status", "--format", "json", **few).stdout)
    held = {row["ref"]: row["reason"] for row in document["not_run"] if row["state"] == "held"}
    assert held.keys() == {"dtp-local/good", *(f"dtp-local/new-{number}" for number in range(3))}
    assert "dtp retry dtp-local/good" in held["dtp-local/good"]
    said = desk.dtp("retry", "dtp-local/new-0", **few)
    assert said.returncode == 3
    assert said.stderr.startswith("error: dtp-local/new-0 has not run, it is held: 3 new jobs")
    assert "dtp dispatch --first-run" in said.stderr
    assert "next: dtp dispatch starts it" not in said.stderr
    assert desk.dtp("retry", "dtp-local/good").returncode == 0
    assert desk.dtp("dispatch", "--first-run", "--wait", "60", **few).returncode == 0
    assert {row["state"] for row in desk.status()["not_run"]} == {"rejected"}


def test_without_the_commit_it_is_said_that_they_are_not_listed(desk: Desk) -> None:
    other = Desk(desk.root, "other")
    said = other.dtp("status", "--format", "json")
    assert json.loads(said.stdout)["not_run"] is None
    assert "held and rejected scripts are not listed" in said.stderr
    assert other.dtp("status", "dtp-local/good").returncode == 0
    assert other.dtp("status", "dtp-local/typo").returncode == 2


# --- what is not committed -----------------------------------------------------------------------


def test_scripts_that_are_not_committed_are_named_where_nothing_comes_of_them(desk: Desk) -> None:
    assert "not committed" not in desk.dtp("dispatch").stderr
    for name in "abc":
        desk.write(f"dtp-local/{name}")
    words = "dtp-jobs/dtp-local/a.sh and 2 more are not committed"
    for command in (["dispatch"], ["plan"], ["check"], ["preview", "--base", "main"]):
        said = desk.dtp(*command)
        assert words in said.stderr, command
        assert "git add dtp-jobs && git commit" in said.stderr
    assert "not committed" not in desk.dtp("dispatch", "--commit", "HEAD").stderr
    assert "not committed" not in desk.dtp("plan", GITHUB_ACTIONS="true").stderr
    one = desk.dtp("check", "dtp-jobs/dtp-local/b.sh").stderr
    assert "dtp-local/b.sh is not committed" in one
    desk.commit()
    assert "not committed" not in desk.dtp("check").stderr
    (desk.checkout / "dtp-jobs/notes.txt").write_text("no script reads these\n")
    assert "not committed" not in desk.dtp("check").stderr
    (desk.checkout / "dtp-jobs/dtp-local/a.d").mkdir()
    (desk.checkout / "dtp-jobs/dtp-local/a.d/list.txt").write_text("one\n")
    assert "dtp-local/a.d/list.txt is not committed" in desk.dtp("plan").stderr
    desk.commit()
    (desk.checkout / "dtp-jobs/dtp-local/a.sh").unlink()
    assert "dtp-local/a.sh is not committed" in desk.dtp("plan").stderr


def test_before_the_first_commit_it_is_said_what_is_missing(tmp_path: Path) -> None:
    new = Desk(tmp_path)
    new.write("dtp-local/a")
    said = new.dtp("dispatch")
    assert said.returncode == 2
    assert "git add dtp-jobs && git commit" in said.stderr
