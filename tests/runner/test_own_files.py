"""What a script can do to the runner's own files and processes: told, and nothing else breaks."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest

from dtp_action.core import logs
from tests.runner.conftest import Attempt, Ended, program

# Root may read everything, unless it has not the capabilities for it: then modes count.
BY_MODE = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def warnings(ended: Ended) -> str:
    assert ended.termination == ended.result
    return "; ".join(ended.result["warnings"])


def counts(ended: Ended) -> tuple[int | None, int | None, bool]:
    return ended.result["files"], ended.result["bytes"], ended.result["counted"]


# --- $TMPDIR ---


@pytest.mark.parametrize(
    "tidy",
    ['rm -rf "$TMPDIR"/* "$TMPDIR"/.[!.]*', 'rm -rf "$TMPDIR"', 'touch x; mv x "$TMPDIR"'],
    ids=["emptied", "removed", "moved-into"],
)
def test_a_script_that_tidies_its_scratch_costs_nothing(attempt: Attempt, tidy: str) -> None:
    ended = attempt.script(f"#!/bin/sh\necho x >y; {tidy}; echo said; exit 7").run()
    assert (ended.code, counts(ended), ended.lines) == (7, (1, 2, True), ["said"])
    assert ended.result["warnings"] == []
    assert not list((attempt.root / "tmp").glob(".dtp-*"))


def test_a_scratch_that_was_closed_costs_nothing(attempt: Attempt) -> None:
    attempt.prefix = [program("setpriv"), *BY_MODE]
    ended = attempt.script('#!/bin/sh\necho x >y; chmod 000 "$TMPDIR"; exit 7').run()
    (attempt.root / "tmp").chmod(0o700)
    assert (ended.code, counts(ended), ended.result["warnings"]) == (7, (1, 2, True), [])


def test_progress_that_could_not_be_told_is(attempt: Attempt) -> None:
    attempt.script('#!/bin/sh\nrm -rf "$TMPDIR"; echo 1/2 >"$DTP_PROGRESS_FILE"; exit 0')
    assert "its progress file" in warnings(attempt.run())


def test_where_scratch_has_no_room_it_is_counted_all_the_same(attempt: Attempt) -> None:
    scratch = attempt.root / "tmp"
    scratch.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", scratch], check=True)
    try:
        attempt.script('#!/bin/sh\necho x >y; cat /dev/zero >"$TMPDIR/full" 2>/dev/null; exit 3')
        ended = attempt.run()
        assert (ended.code, counts(ended)) == (3, (1, 2, True))
        assert "count" not in [path.name for path in attempt.state.iterdir()]
    finally:
        subprocess.run(["umount", "--lazy", scratch], check=True)


# --- the log ---


@pytest.mark.parametrize(
    "change",
    [
        ": >foo.log",
        "cp foo.log z; rm foo.log; mv z foo.log",
        "sed -i 1d foo.log",
        "exec >foo.log; echo mine",
        "rm foo.log; seq 999 >foo.log",
    ],
)
def test_a_log_that_is_not_what_was_written_is_told(attempt: Attempt, change: str) -> None:
    ended = attempt.script(f"#!/bin/sh\necho before; sleep 0.5; {change}; echo after; exit 7").run()
    assert ended.code == 7
    assert "the log file is not whole" in warnings(ended)


def test_a_log_that_was_added_to_is_whole(attempt: Attempt) -> None:
    for _ in range(2):
        ended = attempt.script("#!/bin/sh\necho before; echo mine >>foo.log; exit 75").run(
            DTP_RETRIES="1", DTP_TRANSIENT="75"
        )
        assert ended.result["warnings"] == []


# --- .dtp ---


@pytest.mark.parametrize("how", ["rm -rf .dtp", "rm .dtp/owner", "rm -rf .dtp; echo x >.dtp"])
def test_whose_directory_it_is_is_written_again(attempt: Attempt, how: str) -> None:
    ended = attempt.script(f"#!/bin/sh\necho x >y; {how}").run(DTP_MANIFEST="sha256")
    if how.endswith(">.dtp"):
        assert "could not be made again" in warnings(ended)
        return
    assert "receipts of earlier attempts are lost" in warnings(ended)
    assert (attempt.directory / ".dtp" / "owner").read_text() == "dtp-aws/foo\n"
    assert counts(ended) == (1, 2, True)
    assert ended.result["manifest"]


def test_a_mirror_of_something_else_removes_both_and_is_told(attempt: Attempt) -> None:
    (attempt.root / "source").mkdir()
    (attempt.root / "source" / "data").write_text("12345")
    attempt.script("#!/bin/sh\nfind . -mindepth 1 -delete; cp ../source/data .")
    ended = attempt.run()
    assert (ended.code, counts(ended)) == (0, (1, 5, True))
    assert "the log file is gone" in warnings(ended)
    assert "removed .dtp" in warnings(ended)


# --- the directory, and the state ---


def test_a_directory_that_was_closed_is_not_counted_and_that_is_told(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho x >y; chmod 000 .; exit 3")
    attempt.prefix = [program("setpriv"), *BY_MODE]
    ended = attempt.run()
    assert (ended.code, counts(ended)) == (3, (None, None, False))
    assert "could not be counted" in warnings(ended)


@pytest.mark.parametrize("what", ["starts", "starts/1", "entry", "result.json"])
@pytest.mark.parametrize(
    "how", ["rm -rf {}", "rm -rf {}; touch {}", "rm -rf {}; mkdir {}", "chmod 000 {}"]
)
def test_whatever_is_done_to_the_record_the_result_is_told(
    attempt: Attempt, what: str, how: str
) -> None:
    place = f'"{attempt.state}/{what}"'
    attempt.script(f"#!/bin/sh\n{how.replace('{}', place)} 2>/dev/null; exit 7")
    ended = attempt.run(DTP_HEARTBEAT="60")
    assert (ended.code, ended.termination["exit"]) == (7, 7)


# --- the runner's processes ---


def test_a_script_that_ends_all_processes_is_told_so(pod: Attempt) -> None:
    pod.script("#!/bin/bash\necho before; kill -9 -1; echo x >y; exit 7")
    began = time.monotonic()
    ended = pod.run(DTP_TIME="3600")
    assert time.monotonic() - began < 60
    assert (ended.code, counts(ended)) == (7, (1, 2, True))
    assert "the script ended the runner's own processes" in warnings(ended)
    assert "the log is not whole" in warnings(ended)


def test_stopped_processes_of_the_runner_hold_nothing_up(pod: Attempt) -> None:
    pod.script("#!/bin/bash\ntrap '' STOP; echo before; kill -STOP $(pgrep -x tee); exit 7")
    assert pod.run().code == 7


# --- what arrived, and the end of a long log ---


def test_what_arrived_is_told_the_newest_first(attempt: Attempt) -> None:
    (attempt.directory / "old").write_text("was here before")
    attempt.script("#!/bin/sh\nmkdir d; echo 1 >d/first; sleep 0.1; echo 22 >second; exit 3")
    ended = attempt.run()
    assert ended.arrived == {"files": [["second", 3], ["d/first", 2]], "more": 0}
    assert b"dtp-arrived" not in ended.log
    assert logs.arrived(ended.stdout.decode()) is not None


def test_of_very_many_the_newest_are_told_and_how_many_more(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\nseq 1500 | xargs touch; sleep 0.1; touch last")
    told: dict[str, Any] = attempt.run().arrived
    assert (len(told["files"]), told["more"], told["files"][0]) == (200, 1301, ["last", 0])


def test_long_and_odd_names_stay_within_bounds(attempt: Attempt) -> None:
    (attempt.root / "names").mkdir()
    for number in range(150):
        (attempt.root / "names" / (f"{number:03}" + "é" * 120)).touch()
    for name in ("two\nlines", 'quo"te', "back\\slash", "\x1b[31mred", b"\xff\xfe", "trail "):
        path = os.fsencode(attempt.root / "names") + b"/" + os.fsencode(name)
        os.close(os.open(path, os.O_CREAT))
    ended = attempt.script("#!/bin/sh\ncp -R ../names .; sleep 0.1; cp ../names/[!0-9]* .").run()
    line = ended.stdout.split(b"\ndtp-arrived: ")[1].split(b"\n")[0]
    assert len(line) <= 8192
    told = json.loads(line.decode(errors="replace"))
    names = [name for name, _ in told["files"]]
    assert {"two?lines", 'quo"te', "back\\slash", "?[31mred", "trail "} <= set(names)
    assert len(names) + told["more"] == ended.result["files"] == 162


def test_nothing_new_is_told_as_nothing(attempt: Attempt) -> None:
    assert attempt.script("#!/bin/sh\necho hi").run().arrived == {"files": [], "more": 0}


def test_a_replay_tells_what_arrived_again(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho x >y; exit 7")
    first, second = attempt.run(), attempt.run()
    assert second.result["replayed"] is True
    assert second.arrived == first.arrived == {"files": [["y", 2]], "more": 0}


def test_the_end_of_a_long_log_is_printed_again_at_the_end(attempt: Attempt) -> None:
    """A cluster that began a new file for it in between shows nothing that came before."""
    ended = attempt.script('#!/bin/sh\nseq -f "%099.0f" 2000; echo last words; exit 7').run()
    _, _, end = ended.stdout.partition(b"\n== dtp: the end of the log again")
    assert b"\nlast words\n" in end
    kept = logs.tail("== dtp: the end of the log again" + end.decode())
    assert "last words" in kept
    assert f"{2000:099}" in kept
    assert kept == logs.tail(ended.stdout.decode()[-60_000:])
    assert b"again" not in ended.log
    assert ended.logged.count(b"last words") == 1


def test_the_end_of_a_short_log_stands_once(attempt: Attempt) -> None:
    ended = attempt.script('#!/bin/sh\nseq -f "%099.0f" 1000').run()
    assert b"again" not in ended.stdout
