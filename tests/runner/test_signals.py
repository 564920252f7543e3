"""TERM reaches everything, nothing outlives the script, and the result is written in time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.runner.conftest import Attempt, child_of, started, until

# A shell also tells that its sleep was terminated: no part of what is asked here.
TRAPS = 'exec 2>/dev/null; trap "echo told; exit 9" TERM; echo ready; while :; do sleep 0.1; done'


def wait_for(attempt: Attempt, word: bytes) -> None:
    until(lambda: attempt.log.exists() and word in attempt.log.read_bytes())


def alive(name: str) -> list[int]:
    """Processes whose arguments name this file of the test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


# --- outside a Pod ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_script_hears_that_it_must_end(attempt: Attempt, number: signal.Signals) -> None:
    process = attempt.script(f"#!/bin/bash\n{TRAPS}").begin()
    wait_for(attempt, b"ready")
    process.send_signal(number)
    ended = attempt.end(process)
    assert (ended.code, ended.lines) == (9, ["ready", "told"])
    assert (attempt.starts / "1" / "end").read_text().startswith("9 interrupted\n")


def test_a_script_that_ends_well_after_term_has_ended_well(attempt: Attempt) -> None:
    process = attempt.script(f"#!/bin/bash\n{TRAPS.replace('9', '0')}").begin()
    wait_for(attempt, b"ready")
    process.terminate()
    assert attempt.end(process).code == 0
    assert (attempt.starts / "1" / "end").read_text().startswith("0 done\n")


def test_an_untrapped_term_is_143(attempt: Attempt) -> None:
    process = attempt.script("#!/bin/sh\necho ready; sleep 60; echo no").begin()
    wait_for(attempt, b"ready")
    process.terminate()
    ended = attempt.end(process)
    assert (ended.code, ended.result["script_exit"], ended.lines) == (143, 143, ["ready"])


def test_outside_a_pod_only_the_scripts_own_processes_are_signalled(attempt: Attempt) -> None:
    bystander = started(["sleep", "60"])
    process = attempt.script("#!/bin/sh\nsleep 60 & echo ready; wait").begin()
    wait_for(attempt, b"ready")
    process.terminate()
    attempt.end(process)
    assert bystander.poll() is None


def test_nothing_is_left_when_it_has_ended(attempt: Attempt) -> None:
    attempt.script(f"#!/bin/bash\nset -m\nsleep 60.{os.getpid()} >/dev/null 2>&1 &\nexit 4")
    assert attempt.run(DTP_HEARTBEAT="3600").code == 4
    until(lambda: not alive(f"60.{os.getpid()}"), 50)  # before it ends by itself
    until(lambda: not alive(str(attempt.root)))
    until(lambda: not alive("sleep\x003600"))


def test_children_that_hold_the_log_are_ended(attempt: Attempt) -> None:
    attempt.script(
        "#!/bin/sh\nexec 2>&-\n(trap 'echo bye; exit' TERM; while :; do sleep 0.1; done) &\nexit 3"
    )
    began = time.monotonic()
    ended = attempt.run()
    assert time.monotonic() - began < 40  # and not the 60 s or more that they would sleep
    assert (ended.code, ended.lines, ended.result["warnings"]) == (3, ["bye"], [])


def test_children_that_ignore_term_are_killed(attempt: Attempt) -> None:
    attempt.script("#!/bin/bash\ntrap '' TERM\nsleep 60 &\nset -m\nsleep 60 &\nexit 3")
    began = time.monotonic()
    ended = attempt.run()
    assert time.monotonic() - began < 40  # and not the 60 s or more that they would sleep
    assert (ended.code, ended.result["warnings"]) == (3, [])


def test_term_before_the_script_started_runs_nothing(attempt: Attempt) -> None:
    (attempt.starts / "1").mkdir(parents=True)
    process = attempt.script("#!/bin/sh\necho no").begin(DTP_RESUME="yes", DTP_MARGIN="60")
    until(lambda: b"waiting for its end" in (attempt.root / "pod-1.err").read_bytes())
    process.terminate()
    ended = attempt.end(process)
    assert (ended.code, ended.log) == (143, b"")
    assert "before the script started" in ended.termination["error"]


# --- as PID 1 ---

TREE = """#!/bin/bash
tell() { trap "echo $1 >>told; exit" TERM; echo $1 >>ready; while :; do sleep 0.1; done; }
tell child &
(tell grandchild & wait) &
export -f tell
setsid bash -c 'tell session' &
setsid bash -c '(tell deep </dev/null >/dev/null 2>&1 &)' &
trap 'sleep 0.5; echo script >>told; exit 9' TERM
while :; do sleep 0.1; done
"""


def test_as_pid_1_term_reaches_every_process(pod: Attempt) -> None:
    process = pod.script(TREE).begin()
    ready = pod.directory / "ready"
    until(lambda: ready.exists() and len(ready.read_text().split()) == 4)
    os.kill(child_of(process), signal.SIGTERM)
    ended = pod.end(process)
    assert (ended.code, ended.result["warnings"]) == (9, [])
    told = (pod.directory / "told").read_text().split()
    assert sorted(told) == ["child", "deep", "grandchild", "script", "session"]


@pytest.mark.parametrize("shell", ["ash"], indirect=True)  # it takes 20 s
def test_as_pid_1_what_ignores_term_is_killed_in_time_for_the_result(pod: Attempt) -> None:
    pod.script(
        "#!/bin/bash\ntrap '' TERM\nsetsid sleep 99 &\necho ready\nwhile :; do sleep 1; done"
    )
    process = pod.begin()
    wait_for(pod, b"ready")
    began = time.monotonic()
    os.kill(child_of(process), signal.SIGTERM)
    ended = pod.end(process)
    assert 18 < time.monotonic() - began < 60
    assert (ended.code, ended.result["exit"], ended.result["warnings"]) == (137, 137, [])


def test_as_pid_1_children_in_other_sessions_do_not_hold_the_result(pod: Attempt) -> None:
    pod.script("#!/bin/bash\ntrap '' TERM\nfor i in 1 2 3; do setsid sleep 99 & done\nexit 3")
    began = time.monotonic()
    ended = pod.run()
    assert time.monotonic() - began < 40  # and not the 60 s or more that they would sleep
    assert (ended.code, ended.result["warnings"]) == (3, [])


def test_as_pid_1_the_log_is_whole_when_term_comes(pod: Attempt) -> None:
    pod.script(
        "#!/bin/bash\nexec 2>&-\ntrap 'seq 100000; exit 9' TERM\n"
        "echo ready; while :; do sleep 0.1; done"
    )
    process = pod.begin()
    wait_for(pod, b"ready")
    os.kill(child_of(process), signal.SIGTERM)
    ended = pod.end(process)
    assert ended.lines == ["ready", *map(str, range(1, 100001))]
    assert ended.printed == ended.logged


def test_as_pid_1_nobody_is_left_to_change_the_message(pod: Attempt) -> None:
    forger = 'for i in $(seq 200); do echo lie >"$1"; sleep 0.02; done'
    pod.script(
        f"#!/bin/bash\nsetsid bash -c '{forger}' x {pod.root}/pod-1.termination"
        " </dev/null >/dev/null 2>&1 &\nsleep 0.3; exit 3"
    )
    ended = pod.run()
    assert ended.termination == ended.result
    assert ended.termination["exit"] == 3


def test_as_pid_1_network_bytes_are_counted(pod: Attempt) -> None:
    pod.prefix = [*pod.prefix, "--net"]
    pod.script(
        "#!/bin/bash\nip link add tx0 type veth peer name rx0 && ip link set tx0 up && "
        "ip link set rx0 up && ip addr add 10.9.9.1/24 dev tx0 && ip addr add 10.9.8.1/24 dev rx0\n"
        "ip neigh add 10.9.9.2 lladdr 00:00:00:00:00:01 dev tx0\n"
        "for i in $(seq 100); do echo $(seq 300) >/dev/udp/10.9.9.2/9; done"
    )
    ended = pod.run()
    assert ended.result["tx"] > 100_000
    assert ended.result["rx"] > 100_000
    assert b'"rx":0,"tx":0}' in ended.stdout
