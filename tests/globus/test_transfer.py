"""`dtp-globus-transfer` with the real Globus CLI, against the stand-in of the service."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path

import pytest

from tests.globus import programs
from tests.globus.programs import IN_EACH_SHELL, Program, end_all
from tests.globus.service import Running, Service, Task

HERE, THERE = f"{uuid.UUID(int=7)}:/data/run-7/", f"{uuid.UUID(int=8)}:/run-7/"


@pytest.fixture
def transfer(shell: list[str], running: Running, globus_cli: Path, tmp_path: Path) -> Program:
    return Program(
        shell=shell,
        path=programs.IMAGES / "globus-cli" / "dtp-globus-transfer",
        folder=tmp_path,
        tools=globus_cli,
        environment={
            **running.environment(),
            **running.service.credentials(),
            "DTP_GLOBUS_POLL": "1",
            "DTP_GLOBUS_TRIES": "3",
        },
    )


def the_task(globus: Service) -> Task:
    assert len(globus.tasks) == 1
    return globus.tasks[0]


@IN_EACH_SHELL
def test_a_folder_is_moved_and_how_far_is_told(transfer: Program, globus: Service) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the beginning")
    the_task(globus).transferred = 2
    transfer.until(lambda: transfer.progress == "2/3", "two files")
    globus.held = False
    ended = transfer.end(process)
    assert ended.code == 0, ended.said
    assert transfer.progress == "3/3"
    assert "done: 3 files (300 bytes) were moved" in ended.said
    asked = the_task(globus).request
    assert (asked["source_endpoint"], asked["destination_endpoint"]) == (HERE[:36], THERE[:36])
    assert asked["sync_level"] == 3  # how the SDK writes `checksum`
    assert asked["DATA"][0]["recursive"] is True


@IN_EACH_SHELL
def test_options_of_globus_transfer_are_handed_on(transfer: Program, globus: Service) -> None:
    label = "it's run 7; $HOME"
    ended = transfer.run(HERE[:-1], THERE[:-1], "--label", label, "--sync-level", "size")
    assert ended.code == 0, ended.said
    asked = the_task(globus).request
    assert (asked["label"], asked["sync_level"]) == (label, 1)
    assert "recursive" not in asked["DATA"][0]  # Globus finds out what it is


def test_a_batch_of_files_is_one_task(transfer: Program, globus: Service) -> None:
    transfer.directory.mkdir()
    (transfer.directory / "batch.txt").write_text("a b\nc d\n")
    ended = transfer.run(HERE, THERE, "--batch", "batch.txt")
    assert ended.code == 0, ended.said
    assert len(the_task(globus).request["DATA"]) == 2


@IN_EACH_SHELL
def test_a_start_after_a_dead_node_goes_on_with_the_same_task(
    transfer: Program, globus: Service
) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    end_all(process, signal.SIGKILL)
    process.wait()
    globus.held = False
    ended = transfer.run(HERE, THERE)
    assert ended.code == 0, ended.said
    assert "was submitted before; going on with it" in ended.said
    assert the_task(globus).status == "SUCCEEDED"


def test_a_submission_whose_answer_was_lost_is_one_task(transfer: Program, globus: Service) -> None:
    globus.held, globus.lose_answers = True, 1000
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: globus.tasks, "the submission")
    end_all(process, signal.SIGKILL)
    process.wait()
    globus.held, globus.lose_answers = False, 0
    ended = transfer.run(HERE, THERE)
    assert ended.code == 0, ended.said
    assert the_task(globus).status == "SUCCEEDED"


@IN_EACH_SHELL
def test_term_cancels_the_task(transfer: Program, globus: Service) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    end_all(process)
    ended = transfer.end(process)
    assert ended.code == 143
    assert "was cancelled at Globus (Canceled)" in ended.said
    assert (the_task(globus).fatal_error or {})["code"] == "CANCELED"


@IN_EACH_SHELL
def test_term_to_the_program_alone_cancels_as_well(transfer: Program, globus: Service) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    process.terminate()
    assert transfer.end(process).code == 143
    assert the_task(globus).status == "FAILED"


@IN_EACH_SHELL
def test_term_in_the_middle_of_a_submission_leaves_no_task_behind(
    transfer: Program, globus: Service
) -> None:
    globus.held, globus.lose_answers = True, 1
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: globus.tasks, "the submission")
    end_all(process)
    assert transfer.end(process).code == 143
    assert the_task(globus).status == "FAILED"


def test_a_start_after_term_submits_anew_and_never_are_two_tasks_active(
    transfer: Program, globus: Service
) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    end_all(process)
    transfer.end(process)
    assert [task.status for task in globus.tasks] == ["FAILED"]
    globus.held = False
    assert transfer.run(HERE, THERE).code == 0
    assert [task.status for task in globus.tasks] == ["FAILED", "SUCCEEDED"]


def test_a_start_that_finds_the_task_ended_has_nothing_to_do(
    transfer: Program, globus: Service
) -> None:
    assert transfer.run(HERE, THERE).code == 0
    assert transfer.run(HERE, THERE).code == 0
    assert the_task(globus).status == "SUCCEEDED"


def test_the_next_attempt_is_another_task(transfer: Program, globus: Service) -> None:
    assert transfer.run(HERE, THERE).code == 0
    transfer.environment["DTP_NAME"] = "dtp-globus-job-abcdefgh-2"
    assert transfer.run(HERE, THERE).code == 0
    assert len(globus.tasks) == 2


def test_the_same_command_twice_in_a_script_is_two_tasks(
    transfer: Program, globus: Service
) -> None:
    assert transfer.run(HERE, THERE, start=1).code == 0
    assert transfer.run(HERE, THERE, start=1).code == 0
    assert len(globus.tasks) == 2


@IN_EACH_SHELL
def test_a_task_that_fails_is_told_in_the_words_of_globus(
    transfer: Program, globus: Service
) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    the_task(globus).nice_status = "PERMISSION_DENIED"
    transfer.until(lambda: transfer.progress == "0/3 files, PERMISSION_DENIED", "the trouble")
    the_task(globus).fail("NOT_A_DIRECTORY", "the path is a file")
    ended = transfer.end(process)
    assert ended.code == 1
    assert ended.said.count("Globus tries again by itself: PERMISSION_DENIED") == 1
    assert "failed: NOT_A_DIRECTORY: the path is a file" in ended.said


def test_a_task_that_somebody_cancelled_is_told(transfer: Program, globus: Service) -> None:
    globus.held = True
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    globus.cancel(the_task(globus).id)
    ended = transfer.end(process)
    assert ended.code == 1
    assert "was cancelled at Globus" in ended.said


def test_a_wrong_secret_ends_at_once(transfer: Program, globus: Service) -> None:
    transfer.environment["GLOBUS_CLI_CLIENT_SECRET"] = "wrong"
    ended = transfer.run(HERE, THERE)
    assert ended.code == 4
    assert "refused the credentials" in ended.said
    assert not globus.tasks


def test_without_credentials_nothing_is_asked(transfer: Program, globus: Service) -> None:
    del transfer.environment["GLOBUS_CLI_CLIENT_SECRET"]
    ended = transfer.run(HERE, THERE)
    assert ended.code == 4
    assert "the Secret dtp-globus" in ended.said
    assert not globus.requests


def test_a_service_that_refuses_access_is_not_asked_again(
    transfer: Program, globus: Service
) -> None:
    globus.status = 403
    ended = transfer.run(HERE, THERE)
    assert ended.code == 1
    assert "@clients.auth.globus.org needs it on both collections" in ended.said
    assert sum("submission_id" in one for one in globus.requests) == 1


@pytest.mark.parametrize(
    "arguments", [(), (HERE,), ("nowhere", THERE), (HERE, THERE, "--dry-run"), (HERE, THERE, "-x")]
)
def test_a_wrong_command_line_is_told(
    transfer: Program, globus: Service, arguments: tuple[str, ...]
) -> None:
    ended = transfer.run(*arguments)
    assert ended.code == 2, ended.said
    assert not globus.tasks


def test_a_service_out_of_reach_may_be_tried_again(transfer: Program) -> None:
    transfer.environment["DTP_GLOBUS_TRIES"] = "1"
    transfer.environment["GLOBUS_SDK_SERVICE_URL_TRANSFER"] = "http://127.0.0.1:9/"
    ended = transfer.run(HERE, THERE)
    assert ended.code == 75
    assert "could not be reached (1 of 1 times)" in ended.said


def test_a_service_that_goes_away_leaves_the_task_and_says_so(
    transfer: Program, globus: Service
) -> None:
    globus.held = True
    transfer.environment["DTP_GLOBUS_TRIES"] = "1"
    process = transfer.begin(HERE, THERE)
    transfer.until(lambda: transfer.progress == "0/3", "the task")
    globus.status = 503
    ended = transfer.end(process)
    assert ended.code == 75
    assert f"the task {the_task(globus).id} goes on at Globus" in ended.said
