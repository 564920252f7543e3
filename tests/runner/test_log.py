"""The log: whole, in order, byte for byte, and never a reason to fail."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.runner.conftest import IDENTITY, Attempt, until

HEARTBEAT = re.compile(rb'\ndtp-heartbeat: (\{"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"[^\n]*\})\n')


def test_everything_goes_to_the_log_and_to_stdout(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho out; echo err >&2; sh -c 'echo grandchild'").run()
    assert ended.printed == ended.logged == b"out\nerr\ngrandchild\n"
    assert b"heartbeat" not in ended.log


def test_header_and_footer_say_which_start_it_was(attempt: Attempt) -> None:
    text = attempt.script("#!/bin/sh\nexit 7").run().log.decode()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(
        rf"== dtp: dtp-aws/foo attempt 1 start 1, {time}, commit c0ffee, Pod pod-1\n"
        rf"\n== dtp: dtp-aws/foo attempt 1 start 1, {time}, exit 7\n",
        text,
    )


def test_a_later_start_appends(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\necho this is $DTP_START; exit 75")
    ended = [attempt.run(DTP_RETRIES="1", DTP_TRANSIENT="75") for _ in range(2)][1]
    assert ended.log.startswith(b"== dtp: ")
    assert ended.log.index(b"this is 1") < ended.log.index(b"this is 2")
    assert ended.logged == b"this is 2\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no newline",
        b"\n\n",
        b"\0\1\xff\xfe\r50%\r\x1b[1m",
        b"dtp-heartbeat: {}\n",
        b"== dtp: x",
    ],
)
def test_bytes_are_left_as_they_are(attempt: Attempt, content: bytes) -> None:
    (attempt.directory / "data").write_bytes(content)
    ended = attempt.script("#!/bin/sh\ncat data").run()
    expected = content.rpartition(b"== dtp: ")[2] and content
    assert expected in ended.log
    assert expected in ended.stdout
    if b"dtp" not in content:
        assert ended.printed == ended.logged == content


def test_200_megabytes_are_kept_byte_for_byte(attempt: Attempt) -> None:
    # Numbered lines: any loss, repetition or change of order shows.
    lines = 2_000_000 if attempt.shell[-1] == "sh" else 200_000
    attempt.script(f'#!/bin/sh\nseq -f "%099.0f" {lines}')
    ended = attempt.run(DTP_HEARTBEAT="1")
    assert ended.code == 0
    assert len(ended.logged) == lines * 100
    assert ended.printed == ended.logged
    numbers = ended.logged.splitlines()
    assert int(numbers[0]) == 1
    assert int(numbers[-1]) == len(numbers) == lines
    assert all(int(line) == at for at, line in enumerate(numbers[::1000]) for at in [at * 1000 + 1])


def test_output_of_a_process_substitution_is_waited_for(attempt: Attempt) -> None:
    ended = attempt.script(
        "#!/bin/bash\nexec > >(sleep 0.5; while read -r l; do echo got $l; done)\necho a\necho b"
    ).run()
    assert ended.lines == ["got a", "got b"]


# --- logs that cannot be kept ---


def test_a_script_may_remove_its_log(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho before; rm foo.log; echo after; exit 7").run()
    assert (ended.code, ended.lines) == (7, ["before", "after"])
    assert "log file is gone" in ended.result["warnings"][0]


def test_a_script_may_remove_its_directory(attempt: Attempt) -> None:
    ended = attempt.script('#!/bin/sh\necho a; rm -rf "$DTP_DIRECTORY"; echo b').run()
    assert (ended.code, ended.lines) == (0, ["a", "b"])
    assert "log file is gone" in ended.result["warnings"][0]


@pytest.mark.parametrize("what", ["mkfifo foo.log", "mkdir foo.log", "ln -s ../other foo.log"])
def test_what_stands_in_the_logs_place_is_left_alone(attempt: Attempt, what: str) -> None:
    (attempt.root / "other").write_text("mine")
    subprocess.run(["sh", "-c", what], cwd=attempt.directory, check=True)
    ended = attempt.script("#!/bin/sh\necho hi; exit 7").run()
    assert (ended.code, ended.lines) == (7, ["hi"])
    assert "something else stands at foo.log" in ended.result["warnings"][0]
    assert (attempt.root / "other").read_text() == "mine"


def test_a_script_may_put_a_pipe_in_the_logs_place(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nrm foo.log; mkfifo foo.log; echo hi").run()
    assert (ended.code, ended.lines) == (0, ["hi"])


def mount(attempt: Attempt, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", attempt.directory], check=True)


def test_a_full_disk_loses_the_log_file_and_nothing_else(attempt: Attempt) -> None:
    mount(attempt, "size=64k")
    ended = attempt.script('#!/bin/sh\nseq -f "%099.0f" 20000; exit 7').run()
    assert ended.code == 7
    assert len(ended.printed) == 2_000_000
    assert "could not be written whole" in ended.result["warnings"][0]


def test_a_full_state_directory_is_190_before_the_script(attempt: Attempt) -> None:
    mount(attempt, "size=16k,nr_inodes=8")
    state = attempt.directory / "state"
    state.mkdir()
    (state / "entry").write_text(IDENTITY)
    (state / "fill").write_bytes(b"x" * 8192)
    ended = attempt.script("#!/bin/sh\necho never").run(DTP_STATE=str(state))
    assert ended.code == 190
    assert b"never" not in ended.stdout


def test_a_read_only_directory_is_190(attempt: Attempt) -> None:
    mount(attempt, "ro")
    ended = attempt.script("#!/bin/sh\necho never").run()
    assert ended.code == 190
    assert str(attempt.directory) in ended.termination["error"]
    assert "read-only" in ended.termination["error"].lower()


def test_stdout_may_be_gone(attempt: Attempt) -> None:
    attempt.prefix = ["/bin/sh", "-c", 'exec "$@" | true', "sh"]
    attempt.script("#!/bin/sh\nsleep 0.3; echo one; sleep 0.3; echo two; exit 7")
    attempt.run()
    until((attempt.state / "result.json").exists)
    ended = attempt.end(attempt.begin())
    assert ended.logged == b"one\ntwo\n"
    assert ended.result["exit"] == 7


# --- heartbeat ---


def test_heartbeats_stand_on_lines_of_their_own(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nprintf a; sleep 2.5; printf b").run(DTP_HEARTBEAT="1")
    beats = HEARTBEAT.findall(ended.stdout)
    assert 4 <= len(beats) <= 6
    assert all(set(json.loads(beat)) == {"at"} for beat in beats)
    assert ended.printed == ended.logged == b"ab"


def test_the_first_and_the_last_line_of_a_short_run_are_heartbeats(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\n").run()
    assert len(HEARTBEAT.findall(ended.stdout)) == 2
    assert ended.stdout.splitlines()[-1].startswith(b"dtp-heartbeat: ")
