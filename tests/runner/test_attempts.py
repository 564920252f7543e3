"""Whose record it is, and the attempts of one job: of these, too, at most one runs at a time."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runner.conftest import BLOB, COUNTING, ENTRY, RUNNER, Attempt, Ended, program, until
from tests.runner.test_crash_points import GUARDED, deadly_tools

JOB = "dtp-jobs/dtp-aws/foo"
STEM = ".dtp/state/dtp-aws-foo-abcdefgh-"
POD = """
{shell} {prep} || exit
[ -z "${{DIES_AT:-}}" ] || DTP_TOOLS={tools} export DTP_TOOLS
exec {shell} {run}
"""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, and Pods of one job's attempts on it: prep, then the runner."""

    shell: list[str]
    root: Path

    def state(self, number: int) -> Path:
        return self.root / f"{STEM}{number}"

    def attempt(self, number: int, script: str = COUNTING, entry: str = ENTRY) -> Attempt:
        """Return an attempt as a ledger that calls its entry so would start it."""
        pod = Attempt(shell=self.shell, root=self.root.with_name(f"{entry}-{number}"))
        pod.script(script)
        pod.directory, pod.state = self.root / JOB, self.state(number)
        pod.environment = {
            "DTP_NAME": pod.state.name,
            "DTP_ATTEMPT": str(number),
            "DTP_ENTRY": entry,
            "DTP_CLAIM": str(self.root),
            "DTP_DIRECTORY_PATH": JOB,
            "DTP_STATE_PATH": f"{STEM}{number}",
        }
        return pod

    def begin(self, pod: Attempt, **environment: str) -> subprocess.Popen[bytes]:
        self.root.mkdir(parents=True, exist_ok=True)
        both = pod.root / "pod.sh"
        both.write_text(
            POD.format(
                shell=shlex.join(self.shell),
                prep=RUNNER / "prep.sh",
                run=RUNNER / "run.sh",
                tools=pod.root / "tools",
            )
        )
        return pod.begin(run_sh=str(both), DTP_UID=f"{pod.root.name}-{pod.pods}", **environment)

    def run(self, pod: Attempt, **environment: str) -> Ended:
        return pod.end(self.begin(pod, **environment))

    def ran(self) -> list[str]:
        """Return what scripts of `COUNTING` and its like wrote, a word each time."""
        path = self.root / JOB / "ran"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def claim(shell: list[str], tmp_path: Path) -> Claim:
    return Claim(shell=shell, root=tmp_path / "claim")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def says(word: str, then: str = "") -> str:
    return f"#!/bin/sh\necho {word} >>ran\n{then}\n"


# --- whose record it is ---


def test_another_ledgers_record_is_195_and_is_left_as_it_is(claim: Claim) -> None:
    first = claim.run(claim.attempt(1, says("north")))
    before = files(first_state := claim.state(1))
    other = claim.run(claim.attempt(1, says("south", "exit 3"), entry="another-ledgers"))
    assert (first.code, other.code, claim.ran()) == (0, 195, ["north"])
    assert f"{ENTRY} {BLOB}" in other.termination["error"]
    assert "#DTP attempt=2" in other.termination["error"]
    assert files(first_state) == before


def test_another_ledgers_record_names_the_number_that_is_free(claim: Claim) -> None:
    for number in (1, 2, 10):
        assert claim.run(claim.attempt(number)).code == 0
    error = claim.run(claim.attempt(1, entry="another-ledgers")).termination["error"]
    assert "#DTP attempt=11" in error
    assert claim.run(claim.attempt(11, entry="another-ledgers")).code == 0


def test_another_script_under_the_same_entry_is_195(claim: Claim) -> None:
    claim.run(claim.attempt(1))
    assert claim.run(claim.attempt(1), DTP_BLOB="0" * 40).code == 195
    assert claim.ran() == ["x"]


@pytest.mark.parametrize("left", ["nothing", "an end", "an empty file", "a link", "a folder"])
def test_a_record_without_an_owner_is_195(claim: Claim, left: str) -> None:
    state = claim.state(1)
    state.mkdir(parents=True)
    secret = claim.root / "secret"
    secret.write_text("do not show me\n")
    match left:
        case "an end":
            (state / "starts/1").mkdir(parents=True)
            (state / "starts/1/end").write_text('0 done\n{"v":1,"exit":0}\n')
        case "an empty file":
            (state / "entry").touch()
        case "a link":
            (state / "entry").symlink_to(secret)
        case "a folder":
            (state / "entry").mkdir()
    refused = claim.run(claim.attempt(1))
    assert (refused.code, claim.ran()) == (195, [])
    assert "unknown" in refused.termination["error"]
    assert secret.read_text().strip() not in refused.termination["error"]


def test_the_runner_itself_refuses_what_prep_did_not_see(attempt: Attempt) -> None:
    (attempt.state / "entry").write_text(f"another-ledgers {BLOB}\n")
    (attempt.state / "result.json").write_text('{"v":1}\n')
    refused = attempt.script(COUNTING).run()
    assert (refused.code, attempt.runs()) == (195, 0)
    assert set(files(attempt.state)) == {"entry", "result.json"}
    assert refused.result == {"v": 1}


@pytest.mark.parametrize("name", ["DTP_ENTRY", "DTP_BLOB"])
@pytest.mark.parametrize("value", ["", "a b"])
def test_without_an_identity_nothing_runs(claim: Claim, name: str, value: str) -> None:
    assert claim.run(claim.attempt(1), **{name: value}).code == 190
    assert not (claim.root / ".dtp").exists()


def test_of_two_ledgers_at_the_same_moment_one_has_the_name(claim: Claim) -> None:
    def race(number: int) -> tuple[list[str], list[int]]:
        place = Claim(shell=claim.shell, root=claim.root / str(number) / "claim")
        names = ["north", "south"][:: 1 if number % 2 else -1]
        pods = [place.attempt(1, says(name), entry=name) for name in names]
        running = [place.begin(pod) for pod in pods]
        codes = [pod.end(process).code for pod, process in zip(pods, running, strict=True)]
        return place.ran(), codes

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(race, range(40 if claim.shell[-1] == "sh" else 10)))
    assert all(len(ran) == 1 and sorted(codes) == [0, 195] for ran, codes in told)


def test_wherever_prep_dies_the_next_one_goes_on(tmp_path: Path) -> None:
    def one(command: int) -> tuple[int, ...]:
        place = Claim(shell=[program("dash")], root=tmp_path / str(command) / "claim")
        place.root.mkdir(parents=True)
        place.state(1).mkdir(parents=True)
        (place.state(1) / "entry").write_text(f"{ENTRY} {BLOB}\n")
        pod = place.attempt(2)
        tools = deadly_tools(pod.root / "tools" / "bin", "chmod", "mktemp")
        (tools / "count").write_text("1\n")
        pod.prefix = [program("bash"), "-c", f'echo $$ >{tools}/pid; exec "$@"', "bash"]
        died = pod.begin(
            run_sh=str(RUNNER / "prep.sh"), DIES_AT=str(command), PATH=f"{tools}:/usr/bin:/bin"
        )
        code = pod.end(died).code
        pod.prefix = []
        again = place.run(pod)
        return code, again.code, len(place.ran()), place.run(place.attempt(1)).code

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(one, range(1, 31)))
    assert {code for code, *_ in told} == {-signal.SIGKILL, 0}
    assert {tuple(rest) for _, *rest in told} == {(0, 1, 191)}


def test_a_script_that_removes_all_of_its_record_is_not_run_again(claim: Claim) -> None:
    pod = claim.attempt(1)
    pod.script(says("x", f"rm -rf {pod.state}/*; exit 7"))
    assert [claim.run(pod).code for _ in range(2)] == [7, 7]
    assert claim.ran() == ["x"]


def test_a_record_that_its_script_removed_is_there_again_with_the_next_beat(claim: Claim) -> None:
    pod = claim.attempt(1)
    pod.script(
        says("x", f"rm -rf {pod.state}/*; touch removed; until [ -e finish ]; do sleep 0.1; done")
    )
    first = claim.begin(pod)
    until((claim.root / JOB / "removed").exists)
    until(lambda: (pod.starts / "1/beat").exists() and (pod.state / "entry").exists())
    later = claim.attempt(2, says("y"))
    second = claim.begin(later, DTP_MARGIN="30")
    until(lambda: b"waiting for its end" in err(later))
    assert claim.ran() == ["x"]
    (claim.root / JOB / "finish").touch()
    assert pod.end(first).code == 0
    assert later.end(second).code == 0
    assert claim.ran() == ["x", "y"]


def test_a_record_that_is_removed_while_another_looks_at_it_is_looked_at_again(
    claim: Claim,
) -> None:
    pod = claim.attempt(1)
    pod.script(
        says("x", "until [ -e remove ]; do sleep 0.1; done")
        + f"rm -rf {pod.state}/*; until [ -e finish ]; do sleep 0.1; done\n"
    )
    first, later = claim.begin(pod), claim.attempt(2, says("y"))
    until(claim.ran)
    second = claim.begin(later, DTP_MARGIN="6")
    until(lambda: b"waiting for its end" in err(later))
    (claim.root / JOB / "remove").touch()
    until(lambda: err(later).count(b"waiting for its end") > 1)
    assert claim.ran() == ["x"]
    (claim.root / JOB / "finish").touch()
    assert (pod.end(first).code, later.end(second).code) == (0, 0)
    assert later.end(second).result["warnings"] == []


# --- a replay is told as one ---


@pytest.mark.parametrize(
    "result",
    [
        '{"v":1,"exit":7,"replayed":false,"warnings":[]}',
        '{"v":1,"exit":7}',
        '{"v":1,"replayed":false,"replayed":false,"exit":7}',
    ],
)
def test_a_replay_says_so_whatever_the_record_says(attempt: Attempt, result: str) -> None:
    (attempt.starts / "1").mkdir(parents=True)
    (attempt.starts / "1/end").write_text(f"7 done\n{result}\n")
    told = attempt.script(COUNTING).run()
    assert (told.code, told.termination["replayed"], attempt.runs()) == (7, True, 0)


@pytest.mark.parametrize("end", ["0 done", "0 interrupted"])
def test_a_success_is_never_followed_whatever_counts_as_transient(
    attempt: Attempt, end: str
) -> None:
    (attempt.starts / "1").mkdir(parents=True)
    (attempt.starts / "1/end").write_text(end + '\n{"v":1,"exit":0,"replayed":false,"files":1}\n')
    told = attempt.script(COUNTING).run(
        DTP_TRANSIENT="0 1", DTP_RETRIES="99", DTP_RESUME="yes", DTP_MANIFEST="sha256"
    )
    assert (told.code, told.termination["replayed"], attempt.runs()) == (0, True, 0)


# --- the attempts of one job ---


def err(pod: Attempt) -> bytes:
    path = pod.root / "pod-1.err"
    return path.read_bytes() if path.exists() else b""


def test_a_later_attempt_waits_while_an_earlier_one_lives(claim: Claim) -> None:
    earlier, later = claim.attempt(1, GUARDED.replace("sleep 1", "sleep 6")), claim.attempt(2)
    first = claim.begin(earlier)
    until(claim.ran)
    ended = claim.run(later.script(GUARDED), DTP_MARGIN="30")
    assert (ended.code, ended.result["warnings"]) == (0, [])
    assert earlier.end(first).code == 0
    assert b"attempt 1 has not ended: waiting for its end" in err(later)
    assert claim.ran() == ["x", "x"]
    assert not (claim.root / JOB / "overlap").exists()


def test_a_later_attempt_goes_on_where_an_earlier_one_shows_no_life_and_says_so(
    claim: Claim,
) -> None:
    earlier = claim.attempt(1, says("one", "sleep 600"))
    earlier.prefix = [program("setsid")]
    first = claim.begin(earlier)
    until(claim.ran)
    stop(first, signal.SIGSTOP)
    ended = claim.run(claim.attempt(2, says("two")))
    assert (ended.code, claim.ran()) == (0, ["one", "two"])
    (warning,) = ended.result["warnings"]
    assert warning.startswith("attempt 1 of this job has not ended and showed no sign of life")
    assert warning.encode() in ended.log

    stop(first, signal.SIGCONT)  # its node is back
    assert earlier.end(first).code == 143
    assert not (earlier.state / "result.json").exists()
    assert claim.run(earlier).termination["replayed"]
    assert claim.ran() == ["one", "two"]


def stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signal all of a Pod: the runner's session, and the one of its script."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = {process.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    for pid in sorted(found):
        os.kill(pid, how)


def test_the_end_of_a_dead_start_is_not_known_and_is_not_told_as_known(claim: Claim) -> None:
    (claim.state(1) / "starts/1").mkdir(parents=True)
    (claim.state(1) / "entry").write_text(f"{ENTRY} {BLOB}\n")
    assert claim.run(claim.attempt(2)).code == 0
    refused = claim.run(claim.attempt(1), DTP_RESUME="yes")
    assert (refused.code, claim.ran()) == (191, ["x"])
    assert "a later attempt of this job has begun (attempt-2" in refused.termination["error"]


def test_what_an_earlier_attempt_came_to_is_still_told(claim: Claim) -> None:
    first = claim.run(claim.attempt(1, says("one", "exit 7")))
    assert claim.run(claim.attempt(2, says("two"))).code == 0
    again = claim.run(claim.attempt(1, says("one")))
    assert (again.code, again.termination) == (7, first.termination | {"replayed": True})
    assert claim.ran() == ["one", "two"]


@pytest.mark.parametrize("code", ["75", "0"])
def test_an_earlier_attempt_starts_no_more_however_often_it_might(claim: Claim, code: str) -> None:
    wish = {"DTP_RETRIES": "5", "DTP_TRANSIENT": "75"}
    claim.run(claim.attempt(1, says("one", f"exit {code}")), **wish)
    assert claim.run(claim.attempt(2, says("two")), **wish).code == 0
    assert claim.run(claim.attempt(1, says("one")), **wish).code == int(code)
    assert claim.ran() == ["one", "two"]


def test_an_attempt_whose_job_is_made_late_does_not_start_beside_its_successor(
    claim: Claim,
) -> None:
    later = claim.attempt(2, says("two", "until [ -e finish ]; do sleep 0.1; done"))
    second = claim.begin(later)
    until(claim.ran)
    refused = claim.run(claim.attempt(1, says("one")))
    assert (refused.code, claim.ran()) == (191, ["two"])
    (claim.root / JOB / "finish").touch()
    assert later.end(second).code == 0


def test_a_prepared_attempt_does_not_start_beside_its_successor(claim: Claim) -> None:
    # Between prep and the script, an image may have to be pulled.
    earlier = claim.attempt(1, says("one"))
    claim.root.mkdir(parents=True)
    assert earlier.end(earlier.begin(run_sh=str(RUNNER / "prep.sh"))).code == 0
    assert claim.run(claim.attempt(2, says("two"))).code == 0
    assert (earlier.run().code, claim.ran()) == (191, ["two"])


def test_two_attempts_at_the_same_moment_never_overlap(claim: Claim) -> None:
    def race(number: int) -> tuple[list[int], bool]:
        place = Claim(shell=claim.shell, root=claim.root / str(number) / "claim")
        attempts = [place.attempt(1, GUARDED), place.attempt(2, GUARDED)]
        order = attempts[:: 1 if number % 2 else -1]
        running = []
        for pod in order:
            running.append(place.begin(pod, DTP_MARGIN="30"))
            time.sleep(number % 10 * 0.02)
        codes = [pod.end(process).code for pod, process in zip(order, running, strict=True)]
        return codes[:: 1 if number % 2 else -1], (place.root / JOB / "overlap").exists()

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(race, range(40 if claim.shell[-1] == "sh" else 10)))
    assert not [one for one in told if one[1]]
    assert {codes[1] for codes, _ in told} == {0}
    assert {codes[0] for codes, _ in told} <= {0, 191}


def test_wherever_an_earlier_runner_dies_a_later_attempt_runs_and_never_beside_it(
    tmp_path: Path,
) -> None:
    def one(command: int) -> tuple[int, bool]:
        place = Claim(shell=[program("dash")], root=tmp_path / str(command) / "claim")
        earlier = place.attempt(1, GUARDED)
        tools = deadly_tools(earlier.root / "tools" / "bin")
        (tools / "count").write_text("1\n")
        earlier.prefix = [program("bash"), "-c", f'echo $$ >{tools}/pid; exec "$@"', "bash"]
        earlier.end(place.begin(earlier, DIES_AT=str(command)))
        code = place.run(place.attempt(2, GUARDED), DTP_MARGIN="6").code
        return code, (place.root / JOB / "overlap").exists()

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(one, range(1, 61)))
    assert set(told) == {(0, False)}


def test_only_the_last_of_many_attempts_may_start(claim: Claim) -> None:
    for number in range(1, 31):
        state = claim.state(number)
        state.mkdir(parents=True)
        (state / "entry").write_text(f"{ENTRY} {BLOB}\n")
    assert claim.run(claim.attempt(31, says("last"))).code == 0
    assert [claim.run(claim.attempt(n)).code for n in (1, 9, 10, 30)] == [191] * 4
    assert claim.ran() == ["last"]


@pytest.mark.parametrize("planted", ["starts", "a start"])
def test_a_link_in_an_earlier_record_leads_nowhere(claim: Claim, planted: str) -> None:
    outside, state = claim.root / "outside", claim.state(1)
    outside.mkdir(parents=True)
    state.mkdir(parents=True)
    if planted == "starts":
        (state / "starts").symlink_to(outside)
    else:
        (state / "starts").mkdir()
        (state / "starts/1").symlink_to(outside)
    refused = claim.run(claim.attempt(2))
    assert (refused.code, claim.ran(), list(outside.iterdir())) == (190, [], [])
    assert str(state / "starts") in refused.termination["error"]


def test_what_waits_for_an_earlier_attempt_ends_when_it_is_asked_to(claim: Claim) -> None:
    (claim.state(1) / "starts/1").mkdir(parents=True)
    later = claim.attempt(2)
    waiting = later.begin(run_sh=str(RUNNER / "prep.sh"), DTP_HEARTBEAT="3600", DTP_MARGIN="36000")
    until(lambda: b"waiting for its end" in err(later))
    waiting.send_signal(signal.SIGTERM)
    assert later.end(waiting).code == 143
    assert later.end(waiting).termination["error"] == "ended before the script started"
    assert not (claim.state(1) / "starts/2").exists()
