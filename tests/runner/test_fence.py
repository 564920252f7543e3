"""At most one run at a time, ever: owner of the directory, fence, replay, retries, resume."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.runner.conftest import COUNTING, Attempt, until

RESULT = '{"v":1,"exit":7,"started":"2030-01-01T00:00:00Z","replayed":false,"warnings":[]}'
QUICK = {"DTP_HEARTBEAT": "1", "DTP_MARGIN": "2"}


def crashed(attempt: Attempt, start: int = 1, /, **files: str) -> Path:
    """Leave a start as a runner leaves it that died once it had written these files."""
    folder = attempt.starts / str(start)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def ended(attempt: Attempt, start: int, code: int, kind: str = "done") -> None:
    result = RESULT.replace('"exit":7', f'"exit":{code}')
    crashed(attempt, start, pod="pod-0 then\n", beat="pod-0 9\n", end=f"{code} {kind}\n{result}\n")


# --- owner ---


def test_the_first_ref_owns_the_directory(attempt: Attempt) -> None:
    attempt.script(COUNTING).run()
    assert (attempt.directory / ".dtp" / "owner").read_text() == "dtp-aws/foo\n"
    assert [path.name for path in (attempt.directory / ".dtp").iterdir()] == ["owner"]


def test_another_ref_is_refused_with_192(attempt: Attempt) -> None:
    attempt.script(COUNTING).run()
    shutil.rmtree(attempt.starts)
    other = attempt.run(DTP_REF="dtp-gcp/foo")
    assert (other.code, attempt.runs()) == (192, 1)
    assert "dtp-aws/foo" in other.termination["error"]
    assert not attempt.starts.exists()


@pytest.mark.parametrize("planted", ["folder-link", "owner-link", "owner-folder", "folder-file"])
def test_an_owner_that_is_no_plain_file_is_190(attempt: Attempt, planted: str) -> None:
    folder = attempt.directory / ".dtp"
    match planted:
        case "folder-link":
            folder.symlink_to(attempt.root)
        case "folder-file":
            folder.touch()
        case "owner-link":
            folder.mkdir()
            (folder / "owner").symlink_to("/nowhere")
        case _:
            (folder / "owner").mkdir(parents=True)
    assert attempt.script(COUNTING).run().code == 190
    assert attempt.runs() == 0


# --- one start ---


def test_the_first_start_is_recorded(attempt: Attempt) -> None:
    told = attempt.script("exit 7").run()
    first = attempt.starts / "1"
    assert (first / "pod").read_text().startswith("pod-1 20")
    assert (first / "end").read_text() == "7 done\n" + json.dumps(
        told.result, separators=(",", ":")
    ) + "\n"
    assert told.result["start"] == 1


def test_a_second_pod_replays_what_ended_and_runs_nothing(attempt: Attempt) -> None:
    first = attempt.script(COUNTING + "exit 7").run()
    (attempt.state / "result.json").unlink()
    second = attempt.run()
    assert (second.code, attempt.runs()) == (7, 1)
    assert second.result == second.termination == first.result | {"replayed": True}
    assert second.stdout.count(b"\n") == 3  # and what arrived, on a line of its own
    assert b"told again, not run again" in second.stdout
    assert attempt.run().result == second.result


def test_a_success_is_never_run_again_whatever_is_asked(attempt: Attempt) -> None:
    attempt.script(COUNTING).run()
    again = attempt.run(DTP_RETRIES="5", DTP_TRANSIENT="1 2", DTP_RESUME="yes")
    assert (again.code, attempt.runs()) == (0, 1)


def test_two_pods_at_the_same_moment_run_the_script_once(attempt: Attempt) -> None:
    def race(number: int) -> tuple[int, list[int]]:
        place = Attempt(shell=attempt.shell, root=attempt.root / str(number))
        place.script(COUNTING + "sleep 0.05")
        pods = [place.begin(DTP_UID=f"racer-{number}-{n}") for n in range(2)]
        codes = [place.end(pod, n).code for n, pod in enumerate(pods, 1)]
        return place.runs(), codes

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(race, range(100 if attempt.shell[-1] == "sh" else 10)))
    assert all(result == (1, [0, 0]) for result in told)


# --- retries ---


def test_a_transient_exit_may_start_again_as_often_as_retries_say(attempt: Attempt) -> None:
    attempt.script(COUNTING + "echo $DTP_START; exit 75")
    wish = {"DTP_RETRIES": "2", "DTP_TRANSIENT": "5 75"}
    pods = [attempt.run(**wish) for _ in range(4)]
    assert [pod.code for pod in pods] == [75, 75, 75, 75]
    assert [pod.termination["replayed"] for pod in pods] == [False, False, False, True]
    assert [pod.result["start"] for pod in pods] == [1, 2, 3, 3]
    assert pods[2].lines == ["3"]
    assert attempt.runs() == 3


@pytest.mark.parametrize("transient", ["", "7", "175 5", "1 2 3"])
def test_other_codes_do_not_start_again(attempt: Attempt, transient: str) -> None:
    attempt.script(COUNTING + "exit 75")
    pods = [attempt.run(DTP_RETRIES="5", DTP_TRANSIENT=transient) for _ in range(2)]
    assert [pod.code for pod in pods] == [75, 75]
    assert attempt.runs() == 1


# --- resume ---


def test_an_unfinished_start_is_refused_without_resume(attempt: Attempt) -> None:
    crashed(attempt, pod="pod-0 then\n", beat="pod-0 3\n")
    refused = attempt.script(COUNTING).run(**QUICK)
    assert (refused.code, attempt.runs()) == (191, 0)


@pytest.mark.parametrize("files", [{}, {"pod": "p t\n"}, {"pod": "p t\n", "beat": "p 3\n"}])
def test_resume_takes_over_from_a_dead_start(attempt: Attempt, files: dict[str, str]) -> None:
    crashed(attempt, 1, **files)
    taken = attempt.script(COUNTING + "echo $DTP_START").run(DTP_RESUME="yes", **QUICK)
    assert (taken.code, taken.lines, attempt.runs()) == (0, ["2"], 1)


@pytest.mark.parametrize("resume", ["no", "yes"])
def test_while_the_first_lives_a_second_waits_and_tells_its_result(
    attempt: Attempt, resume: str
) -> None:
    attempt.script(COUNTING + "sleep 6; exit 4")
    first = attempt.begin(DTP_RESUME=resume, **QUICK)
    until(attempt.runs)
    second = attempt.run(DTP_RESUME=resume, **QUICK)
    assert (second.code, second.termination["replayed"]) == (4, True)
    assert attempt.end(first, 1).code == 4
    assert attempt.runs() == 1


def test_two_that_resume_at_the_same_moment_run_it_once(attempt: Attempt) -> None:
    crashed(attempt, beat="pod-0 3\n")
    attempt.script(COUNTING + "sleep 4")
    pods = [attempt.begin(DTP_RESUME="yes", **QUICK) for _ in range(2)]
    codes = sorted(attempt.end(pod, n).code for n, pod in enumerate(pods, 1))
    assert (codes, attempt.runs()) == ([0, 0], 1)


def test_a_start_that_ends_while_watched_is_replayed(attempt: Attempt) -> None:
    folder = crashed(attempt, pod="pod-0 then\n")
    second = attempt.script(COUNTING).begin(DTP_RESUME="yes", DTP_HEARTBEAT="1", DTP_MARGIN="9")
    until(lambda: b"waiting for its end" in (attempt.root / "pod-1.err").read_bytes())
    (folder / "new").write_text(f"7 done\n{RESULT}\n")
    (folder / "new").rename(folder / "end")
    assert attempt.end(second).code == 7
    assert attempt.runs() == 0


def test_a_start_interrupted_by_term_is_resumed_at_once(attempt: Attempt) -> None:
    ended(attempt, 1, 143, "interrupted")
    resumed = attempt.script(COUNTING).run(DTP_RESUME="yes", DTP_MARGIN="60")
    assert (resumed.code, resumed.result["start"], attempt.runs()) == (0, 2, 1)


def test_without_resume_an_interrupted_start_is_replayed(attempt: Attempt) -> None:
    ended(attempt, 1, 143, "interrupted")
    assert attempt.script(COUNTING).run().code == 143
    assert attempt.runs() == 0


def test_resume_goes_on_five_times_and_no_more(attempt: Attempt) -> None:
    for start in range(1, 6):
        ended(attempt, start, 143, "interrupted")
    wish = {"DTP_RESUME": "yes"} | QUICK
    assert attempt.script(COUNTING + "exit 3").run(**wish).result["start"] == 6
    (attempt.starts / "6" / "end").unlink()
    assert attempt.run(**wish).code == 191
    assert attempt.runs() == 1


# --- a record that is damaged never leads to a run ---

DAMAGE = {
    "starts is a file": "touch starts",
    "starts is a dead link": "ln -s /nowhere starts",
    "a start is a file": "mkdir starts; touch starts/1",
    "a start is a link": "mkdir starts; ln -s .. starts/1",
    "a gap": 'mkdir -p starts/7; end 7 "75 done" "$RESULT"',
    "a stranger": "mkdir -p starts/1 'starts/x y'",
    "end is empty": "mkdir -p starts/1; touch starts/1/end",
    "end is a directory": "mkdir -p starts/1/end",
    "end is a dead link": "mkdir -p starts/1; ln -s /nowhere starts/1/end",
    "end has no result": 'mkdir -p starts/1; end 1 "75 done"',
    "end has another result": 'mkdir -p starts/1; end 1 "75 done" "{}"',
    "end has no number": 'mkdir -p starts/1; end 1 "x done" "$RESULT"',
    "end is too large a number": 'mkdir -p starts/1; end 1 "256 done" "$RESULT"',
    "end has another kind": 'mkdir -p starts/1; end 1 "75 odd" "$RESULT"',
    "end is long": 'mkdir -p starts/1; end 1 "75 done" "$(printf \'{"v":1,%5000d}\' 1)"',
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_record_is_190(attempt: Attempt, what: str) -> None:
    end = 'end() { n=$1; shift; printf "%s\\n" "$@" >"starts/$n/end"; }\n'
    subprocess.run(
        ["sh", "-ec", end + DAMAGE[what]], cwd=attempt.state, env={"RESULT": RESULT}, check=True
    )
    wish = {"DTP_RETRIES": "5", "DTP_TRANSIENT": "75", "DTP_RESUME": "yes"} | QUICK
    refused = attempt.script(COUNTING).run(**wish)
    assert (refused.code, attempt.runs()) == (190, 0)
    assert refused.termination["error"]


def test_a_forged_pod_name_is_told_as_valid_json(attempt: Attempt) -> None:
    crashed(attempt, pod='"}\x1b[31m\n\\ "exit":0,\n' + "é" * 900)
    refused = attempt.script(COUNTING).run()
    assert refused.code == refused.termination["exit"] == 191


def test_a_refused_pod_leaves_the_result_of_the_other(attempt: Attempt) -> None:
    crashed(attempt)
    (attempt.state / "result.json").write_text(RESULT + "\n")
    assert attempt.script(COUNTING).run().code == 191
    assert (attempt.state / "result.json").read_text() == RESULT + "\n"


def test_a_script_that_removes_the_record_is_not_run_again(attempt: Attempt) -> None:
    attempt.script(COUNTING + f'rm -rf "{attempt.starts}" && exit 7')
    assert [attempt.run().code for _ in range(2)] == [7, 7]
    assert attempt.runs() == 1


def test_a_runner_that_was_overtaken_ends_its_script(attempt: Attempt) -> None:
    attempt.script("#!/bin/sh\ntouch ran; sleep 60")
    first = attempt.begin(**QUICK)
    until((attempt.directory / "ran").exists)
    crashed(attempt, 2)
    assert attempt.end(first).code == 143
    assert not (attempt.state / "result.json").exists()
