"""A runner that dies anywhere, by kill -9, never leads to a second run at the same time."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.runner.conftest import Attempt, program, until

COMMANDS = ("awk", "cat", "cut", "date", "dd", "find", "grep", "head", "ln", "mkdir", "mkfifo",
            "mv", "rm", "sed", "setsid", "sha256sum", "sleep", "stat", "tail", "tee", "tr", "wc",
            "xargs")  # fmt: skip

# Only dash and bash look commands up in PATH; busybox has its own inside.
# Stands in for each command: kills the runner before the command of the chosen number.
DEADLY = """#!/bin/bash
PATH=/usr/bin:/bin
exec 9>>"${0%/*}/lock"; flock 9
count=$(<"${0%/*}/count")
echo $((count + 1)) >"${0%/*}/count"
if [ "$count" -eq "$DIES_AT" ]; then
  kill -9 "$(cat "${0%/*}/pid")"
  sleep 0.1
fi
exec 9>&-
exec NAME "$@"
"""

# Notes an overlap with another that runs, which no order of events may bring about.
GUARDED = """#!/bin/sh
mkdir running || echo overlap >>overlap
echo x >>ran
sleep 1
rmdir running
"""


def deadly_tools(folder: Path, *more: str) -> Path:
    folder.mkdir(parents=True)
    for name in (*COMMANDS, *more):
        wrapper = folder / name
        wrapper.write_text(DEADLY.replace("NAME", program(name)))
        wrapper.chmod(0o755)
    return folder


def dies_at(root: Path, command: int) -> Attempt:
    """Run an attempt whose runner dies before its nth command."""
    attempt = Attempt(shell=[program("dash")], root=root).script(GUARDED)
    tools = deadly_tools(root / "tools" / "bin")
    (tools / "count").write_text("1\n")
    attempt.prefix = [program("bash"), "-c", f'echo $$ >{tools}/pid; exec "$@"', "bash"]
    process = attempt.begin(
        DTP_TOOLS=str(tools.parent), DIES_AT=str(command), DTP_HEARTBEAT="1", DTP_RESUME="yes"
    )
    attempt.end(process)
    attempt.prefix = []
    return attempt


def sweep(root: Path, most: int, **again: str) -> list[tuple[Attempt, int, int]]:
    """For each crash point: the attempt, the code of the next Pod, how often the script ran."""

    def one(command: int) -> tuple[Attempt, int, int]:
        attempt = dies_at(root / str(command), command)
        code = attempt.run(**again).code
        time.sleep(1.5)
        return attempt, code, attempt.runs()

    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(one, range(1, most + 1)))


def test_wherever_it_dies_the_script_runs_at_most_once(tmp_path: Path) -> None:
    # With no resume the next Pod runs it if no start was recorded, replays, or refuses.
    results = sweep(tmp_path, 110)
    for attempt, code, runs in results:
        assert runs <= 1, attempt.root
        assert code in (0, 191), attempt.root
        assert (code, runs) != (0, 0), attempt.root
    assert {code for _, code, _ in results} == {0, 191}


def test_wherever_it_dies_resume_runs_it_to_its_end_and_never_twice_at_once(
    tmp_path: Path,
) -> None:
    again = {"DTP_RESUME": "yes", "DTP_HEARTBEAT": "1", "DTP_MARGIN": "6"}
    # 110: a run takes fewer commands, so that the last crash points are runs that nobody kills.
    for attempt, code, runs in sweep(tmp_path, 110, **again):
        assert not (attempt.directory / "overlap").exists(), attempt.root
        assert code in (0, 191), attempt.root
        assert 1 <= runs <= 2, attempt.root


def test_killed_at_any_moment_it_never_runs_twice_at_once(attempt: Attempt) -> None:
    """The same by time instead of by command: as well inside the script, and in ash."""

    def one(number: int) -> Attempt:
        place = Attempt(shell=attempt.shell, root=attempt.root / str(number)).script(GUARDED)
        process = place.begin(DTP_RESUME="yes", DTP_HEARTBEAT="1")
        time.sleep(number * 0.012)
        process.send_signal(signal.SIGKILL)
        place.end(process)
        again = place.run(DTP_RESUME="yes", DTP_HEARTBEAT="1", DTP_MARGIN="6")
        assert again.code in (0, 191)
        return place

    with ThreadPoolExecutor(10) as pool:
        places = list(pool.map(one, range(20)))
    assert not [place for place in places if (place.directory / "overlap").exists()]
    assert all(1 <= place.runs() <= 2 for place in places)


def test_while_the_script_of_a_killed_runner_lives_nobody_takes_over(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho x >>ran; exec >/dev/null 2>&1; sleep 6; echo over >>ran")
    process = attempt.begin(DTP_RESUME="yes", DTP_HEARTBEAT="1")
    until(attempt.runs)
    os.kill(process.pid, signal.SIGKILL)
    attempt.end(process)
    assert attempt.run(DTP_RESUME="yes", DTP_HEARTBEAT="1", DTP_MARGIN="6").code == 0
    assert (attempt.directory / "ran").read_text().split() == ["x", "over", "x", "over"]
