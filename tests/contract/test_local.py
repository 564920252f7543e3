"""The embedded cluster beside the contract: slots, limits, and processes that die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core.model import ContainerView, Entry, JobEnd, JobFile, Mount, PodView
from dtp_action.errors import UnreadableError
from tests import builders
from tests.admin import wait_for
from tests.contract.stages import LocalStage, waiting


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LocalStage]:
    local = LocalStage(tmp_path / "cluster")
    yield local
    local.stop_all()


def start(stage: LocalStage, script: str, ref: str = "dtp-local/job", **spec: Any) -> Entry:
    cluster = stage.connect()
    entry = cluster.record(
        builders.a_draft(ref, content=script.encode(), spec=builders.a_spec(**spec))
    )
    cluster.start(entry)
    return entry


def pods(stage: LocalStage) -> tuple[PodView, ...]:
    return stage.connect().pods()


def ended(stage: LocalStage) -> JobEnd:
    end: JobEnd = wait_for(lambda: stage.connect().jobs()[0].end, "the Job to end")
    return end


def container(pod: PodView) -> ContainerView:
    assert pod.job
    return pod.job


def kill_supervisor(stage: LocalStage, entry: Entry) -> None:
    listed = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True)
    (found,) = [
        line
        for line in listed.stdout.splitlines()
        if "local_supervisor" in line and f"{stage.root} {entry.name} " in line
    ]
    os.kill(int(found.split()[0]), signal.SIGKILL)


def test_exit_code_that_counts_as_transient_starts_another_pod(stage: LocalStage) -> None:
    start(
        stage, "#!/bin/sh\ntest -e again || { touch again; exit 75; }\n", retries=2, transient=(75,)
    )
    assert ended(stage).succeeded
    assert [container(pod).exit_code for pod in pods(stage)] == [75, 0]


def test_exit_code_that_does_not_count_ends_the_job(stage: LocalStage) -> None:
    start(stage, "#!/bin/sh\nexit 3\n", retries=2, transient=(75,))
    assert not ended(stage).succeeded
    assert len(pods(stage)) == 1


def test_what_a_service_may_offer_is_named_by_where_it_is_on_this_machine(
    stage: LocalStage,
) -> None:
    offers = Mount(path="dtp-jobs/dtp-local/job", read_only=False), Mount(path="data")
    start(stage, "#!/bin/sh\necho $DTP_EXPOSED >offers\n", service=True, offers=offers)
    assert ended(stage).succeeded
    own = stage.root / "workspace/dtp-jobs/dtp-local/job"
    assert (own / "offers").read_text() == f"rw{own},r{stage.root}/workspace/data\n"


def test_script_over_its_run_limit_is_ended_and_told(stage: LocalStage) -> None:
    start(stage, "#!/bin/sh\nsleep 60\n", time=1)
    assert not ended(stage).succeeded
    (pod,) = pods(stage)
    assert (pod.phase, pod.reason) == ("Failed", "")
    assert container(pod).exit_code == 196


def test_script_hears_what_whoever_started_it_ignores(stage: LocalStage) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        start(stage, "#!/bin/sh\ntrap 'exit 3' HUP\nkill -HUP $$\n")
    finally:
        signal.signal(signal.SIGHUP, before)
    ended(stage)
    assert container(pods(stage)[0]).exit_code == 3


def test_stopped_job_ends_by_its_deadline(stage: LocalStage) -> None:
    start(stage, "#!/bin/sh\nsleep 60\n")
    wait_for(lambda: any(pod.running for pod in pods(stage)), "the script to run")
    cluster = stage.connect()
    cluster.stop(cluster.jobs()[0])
    assert ended(stage).reason == "DeadlineExceeded"
    assert (pods(stage)[0].phase, pods(stage)[0].reason) == ("Failed", "")


def test_jobs_beyond_the_slots_wait_and_say_why(stage: LocalStage) -> None:
    for number in range(5):
        start(stage, "#!/bin/sh\nsleep 60\n", f"dtp-local/job{number}")
    wait_for(lambda: [pod.running for pod in pods(stage)].count(True) == 4, "four to run")
    assert "nodes are available" in waiting(stage.connect()).unscheduled
    assert [pod.running for pod in pods(stage)].count(False) == 1


def test_job_whose_supervisor_is_killed_runs_on_and_is_told_as_lost(stage: LocalStage) -> None:
    entry = start(stage, "#!/bin/sh\nuntil [ -e go ]; do sleep 0.1; done\necho the end\n")
    wait_for(lambda: any(pod.running for pod in pods(stage)), "the script to run")
    kill_supervisor(stage, entry)
    assert stage.connect().jobs()[0].end is None
    (stage.root / "workspace/dtp-jobs/dtp-local/job/go").touch()
    assert not ended(stage).succeeded
    (pod,) = pods(stage)
    assert (container(pod).reason, container(pod).exit_code) == ("ContainerStatusUnknown", 137)
    log = stage.connect().pod_log(pod, lines=100) or ""
    assert "the end\n" in log


def test_job_whose_supervisor_dies_before_it_began_is_started_by_the_next_look(
    stage: LocalStage,
) -> None:
    entry = stage.connect().record(builders.a_draft())
    stage.strand_job(entry)
    kill_supervisor(stage, entry)
    assert ended(stage).succeeded
    assert len(pods(stage)) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_file_that_is_no_object_holds_its_own_job(stage: LocalStage, text: str) -> None:
    cluster = stage.connect()
    entry = cluster.record(builders.a_draft())
    cluster.settle(cluster.record(builders.a_draft("dtp-aws/b")), builders.an_outcome(), "end")
    for resource in ("configmaps", "jobs", "pods"):
        (stage.root / resource / f"{entry.name}.json").write_text(text)
    found = cluster.ledger()
    assert [one.name for one in found.unreadable] == [entry.name]
    assert [one.ref.job for one in found.entries] == ["b"]
    assert [job.name for job in cluster.jobs() if job.unreadable] == [entry.name]
    assert [pod.name for pod in cluster.pods() if pod.unreadable] == [entry.name]
    with pytest.raises(UnreadableError):
        cluster.read(entry.name)


def test_what_another_ledger_left_on_a_claim_that_was_kept_is_no_result_of_this_one(
    stage: LocalStage, tmp_path: Path
) -> None:
    theirs = start(stage, "#!/bin/sh\necho north >>ran\n")
    assert ended(stage).succeeded
    anew = LocalStage(tmp_path / "anew")
    shutil.copytree(stage.root / "workspace", anew.root / "workspace")
    before = files(anew.root / "workspace")

    ours = start(anew, "#!/bin/sh\necho south >>ran\nexit 3\n")

    assert (ours.name, ours.uid != theirs.uid) == (theirs.name, True)
    assert not ended(anew).succeeded
    (pod,) = pods(anew)
    assert pod.prep
    assert (pod.job, pod.prep.exit_code) == (None, 195)
    assert f"{theirs.uid} {theirs.blob}" in pod.prep.message
    assert files(anew.root / "workspace") == before


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_later_attempt_waits_for_one_whose_supervisor_and_job_are_gone(
    stage: LocalStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTP_HEARTBEAT", "1")
    monkeypatch.setenv("DTP_MARGIN", "60")
    place = stage.root / "workspace/dtp-jobs/dtp-local/job"
    script = "#!/bin/sh\necho x >>ran\nuntil [ -e go ]; do sleep 0.1; done\n"
    first = start(stage, script)
    wait_for((place / "ran").exists, "the script to run")
    kill_supervisor(stage, first)
    (stage.root / "jobs" / f"{first.name}.json").unlink()

    cluster = stage.connect()
    content = script.encode()
    cluster.start(cluster.record(builders.a_draft("dtp-local/job", attempt=2, content=content)))

    log = stage.root / "runs" / f"{first.name[:-1]}2" / f"{first.name[:-1]}2-1.log"
    wait_for(lambda: log.exists() and "attempt 1 has not ended" in log.read_text(), "it to wait")
    waits = next(pod for pod in pods(stage) if pod.job_name.endswith("-2"))
    assert waits.prep
    assert (waits.phase, waits.prep.state, waits.job) == ("Pending", "running", None)
    assert (place / "ran").read_text() == "x\n"
    (place / "go").touch()
    assert ended(stage).succeeded
    assert (place / "ran").read_text() == "x\nx\n"


def test_job_is_removed_when_its_time_to_live_is_over(stage: LocalStage) -> None:
    start(stage, "#!/bin/sh\ntrue\n")
    ended(stage)
    cluster = stage.connect()
    cluster.retire(cluster.jobs()[0], 0)
    assert cluster.jobs() == ()
    assert pods(stage) == ()


def test_files_beside_the_script_are_there_to_be_read_and_run(stage: LocalStage) -> None:
    files = {"acc.txt": b"SRR1\r\n\0\xff", "more/of them/go.sh": b"#!/bin/sh\necho went\n"}
    script = """#!/bin/sh
        cp "$DTP_FILES/acc.txt" .
        find "$DTP_FILES" -type f | wc -l
        "$DTP_FILES/more/of them/go.sh"
        [ "$(id -u)" -eq 0 ] || ! touch "$DTP_FILES/new" || echo written
        test -e again || { touch again; exit 75; }
    """
    drafted = tuple(JobFile(path=path, content=content) for path, content in files.items())
    spec = builders.a_spec(files=tuple(files), retries=1, transient=(75,))
    cluster = stage.connect()
    draft = builders.a_draft("dtp-local/job", content=script.encode(), files=drafted, spec=spec)
    cluster.start(cluster.record(draft))
    assert ended(stage).succeeded
    log = stage.connect().pod_log(pods(stage)[-1], lines=100) or ""
    assert "\n2\nwent\n" in log
    assert "written" not in log
    own = stage.root / "workspace/dtp-jobs/dtp-local/job"
    assert (own / "acc.txt").read_bytes() == files["acc.txt"]


def test_a_job_without_files_has_an_empty_directory_of_them(stage: LocalStage) -> None:
    start(stage, '#!/bin/sh\ncd "$DTP_FILES" && test -z "$(ls -A)" && echo empty\n')
    assert ended(stage).succeeded
    assert "empty\n" in (stage.connect().pod_log(pods(stage)[0], lines=100) or "")
