"""A script's time is kept by the runner, from the script's start to its end, and no longer."""

from __future__ import annotations

import time

import pytest

from tests.runner.conftest import COUNTING, Attempt, Ended, until

TRAPS = 'exec 2>/dev/null; trap "echo told; exit {}" TERM; echo ready; while :; do sleep 0.1; done'


def timed_out(ended: Ended) -> bool:
    assert ended.termination == ended.result
    return (ended.code, ended.result["exit"]) == (196, 196)


def test_a_script_is_ended_when_its_time_is_over(attempt: Attempt) -> None:
    began = time.monotonic()
    ended = attempt.script("#!/bin/sh\necho x >y; echo ready; sleep 60; echo no").run(DTP_TIME="2")
    assert 2 <= time.monotonic() - began < 40
    assert timed_out(ended)
    assert (ended.result["script_exit"], ended.lines) == (143, ["ready"])
    assert (ended.result["files"], ended.result["counted"]) == (1, True)
    assert b"exit 196 (ran longer than time=)" in ended.log


@pytest.mark.parametrize("code", ["0", "9", "75"])
def test_that_it_ran_too_long_counts_whatever_it_exits_with(attempt: Attempt, code: str) -> None:
    wish = {"DTP_TIME": "1", "DTP_RETRIES": "1", "DTP_TRANSIENT": "75", "DTP_RESUME": "yes"}
    attempt.script(f"#!/bin/bash\n{TRAPS.format(code)}")
    first, second = (attempt.run(**wish) for _ in range(2))
    assert timed_out(first)
    assert (first.result["script_exit"], first.lines) == (int(code), ["ready", "told"])
    assert (second.code, second.result) == (196, first.result | {"replayed": True})


@pytest.mark.parametrize("shell", ["ash"], indirect=True)  # it takes 20 s
def test_a_script_that_does_not_listen_is_killed(pod: Attempt) -> None:
    pod.script("#!/bin/bash\ntrap '' TERM\nsetsid sleep 99 &\nwhile :; do sleep 1; done")
    began = time.monotonic()
    ended = pod.run(DTP_TIME="1")
    assert 20 < time.monotonic() - began < 60
    assert timed_out(ended)
    assert ended.result["script_exit"] == 137


def test_a_script_that_ends_in_time_is_not_touched(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\nsleep 2; echo done; exit 7").run(DTP_TIME="6")
    assert (ended.code, ended.result["script_exit"], ended.lines) == (7, 7, ["done"])


def test_what_comes_before_the_script_does_not_count(attempt: Attempt) -> None:
    (attempt.starts / "1").mkdir(parents=True)  # of a Pod that died: the margin passes
    attempt.script(f"{COUNTING}sleep 1; exit 7")
    ended = attempt.run(DTP_RESUME="yes", DTP_MARGIN="4", DTP_TIME="3")
    assert (ended.code, attempt.runs()) == (7, 1)


def test_each_start_has_its_own_time(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\nsleep 2; exit 75")
    wish = {"DTP_TIME": "5", "DTP_RETRIES": "2", "DTP_TRANSIENT": "75"}
    assert [attempt.run(**wish).code for _ in range(3)] == [75, 75, 75]


@pytest.mark.parametrize("offset", range(6))
def test_a_script_that_ends_with_its_time_ends(attempt: Attempt, offset: int) -> None:
    """In bash a signal that comes while `wait` learns of an end can make it wait for ever."""
    attempt.script(f"#!/bin/sh\nexec sleep {2 + offset / 10}")
    assert attempt.end(attempt.begin(DTP_TIME="1"), timeout=100).code in (0, 196)


def test_without_a_limit_nothing_is_ended(attempt: Attempt) -> None:
    assert attempt.script("#!/bin/sh\nsleep 2").run().code == 0


def test_a_script_never_sees_it(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho ${DTP_TIME-unset}").run(DTP_TIME="60")
    assert ended.lines == ["unset"]


def test_term_that_came_first_is_what_ended_it(attempt: Attempt) -> None:
    attempt.script(
        '#!/bin/bash\ntrap "sleep 3; exit 9" TERM; echo ready; while :; do sleep 0.1; done'
    )
    process = attempt.begin(DTP_TIME="2")
    until(lambda: attempt.log.exists() and b"ready" in attempt.log.read_bytes())
    process.terminate()
    assert attempt.end(process).code == 9


def test_a_script_that_ended_in_time_is_counted_whole_after_it(attempt: Attempt) -> None:
    """The heart may tell that time is over while the runner counts or waits for the log."""
    attempt.script("#!/bin/bash\necho x >y; (sleep 3; echo late) & sleep 1")
    ended = attempt.run(DTP_TIME="2")
    assert (ended.code, ended.result["files"], ended.result["counted"]) == (0, 1, True)


def test_the_list_of_checksums_has_the_time_that_is_left(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\ntruncate -s 1T large; exit 3")
    began = time.monotonic()
    ended = attempt.run(DTP_TIME="4", DTP_MANIFEST="sha256")
    assert time.monotonic() - began < 60
    assert (ended.code, ended.result["manifest"]) == (3, None)
    assert "there was no time left" in ended.result["warnings"][0]


def test_another_limit_is_190(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\necho no").run(DTP_TIME="1h")
    assert (ended.code, ended.log) == (190, b"")
