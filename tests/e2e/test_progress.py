"""Waiting shows what goes on: a live table on a terminal, one quiet line per change elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

DTP = str(Path(sys.executable).with_name("dtp"))
WAIT = [DTP, "dispatch", "--wait", "60"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one job, which goes on until there is a file `finish`."""
    script = tmp_path / "dtp-jobs" / "dtp-local" / "slow.sh"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\nuntil [ -e '{tmp_path}/finish' ]; do sleep 0.1; done\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "dtp-jobs"], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def environment(repository: Path) -> dict[str, str]:
    return os.environ | {"DTP_CLUSTER": f"local:{repository}.cluster", "TERM": "xterm"}


def test_elsewhere_each_change_is_one_line(repository: Path) -> None:
    told = []
    with subprocess.Popen(
        WAIT,
        cwd=repository,
        env=environment(repository),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr or ():
            told.append(line)
            if "running" in line:
                (repository / "finish").touch()
    assert process.returncode == 0
    ours = [line for line in told if line.startswith("dtp-local/slow #1 ")]
    assert ours[-2:] == ["dtp-local/slow #1 running\n", "dtp-local/slow #1 done\n"]
    assert "\x1b" not in "".join(told)


def test_on_a_terminal_a_table_is_drawn_anew(repository: Path) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        WAIT, cwd=repository, env=environment(repository), stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            while piece := os.read(ours, 4096):
                shown += piece
                if b"running" in shown:
                    (repository / "finish").touch()
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        os.close(ours)
    assert process.returncode == 0
    assert b"running" in shown
    assert b"\x1b[2K" in shown  # a line is cleared to be drawn again
