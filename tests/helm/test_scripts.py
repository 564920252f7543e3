"""What the chart's scripts do, run here as another user: prepare, the test's, the cron's."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.chart import CHART
from tests.runner.conftest import program

USER, GROUP, OTHER = 1000, 5000, 2000
FILES = CHART / "files"
Prepare = Callable[..., subprocess.CompletedProcess[str]]


def test_the_scripts_are_plain_posix() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    subprocess.run([shellcheck, "--norc", "-S", "style", *FILES.glob("*.sh")], check=True)


@pytest.fixture
def claim() -> Iterator[Path]:
    """Yield the root of a claim, where another user may go."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "claim"
        root.mkdir()
        root.chmod(0o777)
        yield root


@pytest.fixture
def prepare(claim: Path) -> Prepare:
    """Return what runs the hook's script on the claim, in the shell of the runner's image."""
    return lambda user=USER, writable=(): subprocess.run(
        [program("busybox"), "sh", "-c", (FILES / "prepare.sh").read_text()],
        user=user,
        group=GROUP,
        extra_groups=[GROUP],
        env={
            "DTP_CLAIM": str(claim),
            "DTP_CLAIM_NAME": "shared",
            "DTP_GROUP": str(GROUP),
            "DTP_WRITABLE": "\n".join(writable),
            "DTP_AGAIN": "repeat it.",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def modes(claim: Path) -> dict[str, tuple[int, str]]:
    """Return group and mode of each directory of the claim."""
    return {
        str(path.relative_to(claim)): (path.stat().st_gid, oct(path.stat().st_mode & 0o7777))
        for path in sorted(claim.rglob("*"))
        if path.is_dir()
    }


OPEN = (GROUP, "0o2775")
READY = {".dtp": OPEN, ".dtp/state": OPEN, "dtp-jobs": OPEN}


def test_the_roots_directories_belong_to_the_group_of_all_jobs(
    prepare: Prepare, claim: Path
) -> None:
    done = prepare()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "dtp-prepare: the claim shared is ready\n"
    assert modes(claim) == READY


def test_paths_that_jobs_may_write_to_need_not_be_there(prepare: Prepare, claim: Path) -> None:
    (claim / "shared").mkdir()
    done = prepare(writable=["shared", "other/a $b * 'c'"])
    assert (done.returncode, done.stderr) == (0, "")
    assert not (claim / "other").exists()


@pytest.mark.parametrize("path", ["shared/results", "shared/results/more"])
@pytest.mark.parametrize("target", ["../.dtp/state", "/nowhere"])
def test_a_link_where_jobs_may_write_is_refused_and_left_alone(
    prepare: Prepare, claim: Path, path: str, target: str
) -> None:
    (claim / "shared").mkdir()
    (claim / "shared/results").symlink_to(target)
    done = prepare(writable=["other", path])
    assert done.returncode == 1
    told = f"shared/results on the claim shared is a symbolic link, to {target}."
    assert told in done.stderr
    assert f"Jobs may write to {path} (settings.writable)" in done.stderr
    assert "Then repeat it." in done.stderr
    assert (claim / "shared/results").is_symlink()


def test_a_job_of_any_user_may_then_make_its_directories(prepare: Prepare, claim: Path) -> None:
    prepare()
    make: list[str | Path] = [
        "mkdir",
        "-p",
        claim / "dtp-jobs/dtp-aws/genome",
        claim / ".dtp/state/name",
    ]
    subprocess.run(make, user=OTHER, group=OTHER, extra_groups=[GROUP], check=True)
    assert (claim / "dtp-jobs/dtp-aws/genome").stat().st_gid == GROUP


def test_what_is_below_is_never_changed(prepare: Prepare, claim: Path) -> None:
    prepare()
    below = claim / "dtp-jobs" / "dtp-aws"
    below.mkdir()
    below.chmod(0o700)
    before = modes(claim)
    assert prepare().returncode == 0
    assert modes(claim) == before


def test_directories_that_jobs_made_before_there_was_a_chart_are_opened(
    prepare: Prepare, claim: Path
) -> None:
    for name in ("dtp-jobs", ".dtp", ".dtp/state"):
        (claim / name).mkdir()
        shutil.chown(claim / name, USER, USER)
    assert prepare().returncode == 0
    assert modes(claim) == READY


def test_directories_that_are_open_to_everybody_are_left_alone(
    prepare: Prepare, claim: Path
) -> None:
    for name in ("dtp-jobs", ".dtp", ".dtp/state"):
        (claim / name).mkdir()
        (claim / name).chmod(0o777)
    before = modes(claim)
    assert prepare().returncode == 0
    assert modes(claim) == before


def command(said: str) -> str:
    """Return the command for the storage's admin: in one line, since Helm 4 prints no others."""
    (found,) = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    return found


def test_where_the_root_is_closed_it_prints_what_the_storages_admin_does(
    prepare: Prepare, claim: Path
) -> None:
    claim.chmod(0o755)
    done = prepare()
    assert done.returncode == 1
    assert "dtp-jobs cannot be made: Permission denied." in done.stderr
    assert f"The user {USER} with the groups {GROUP}" in done.stderr
    assert "Then repeat it." in done.stderr
    subprocess.run(["sh", "-c", command(done.stderr)], cwd=claim, check=True)
    assert prepare().returncode == 0
    assert modes(claim) == READY


@pytest.mark.parametrize("name", ["dtp-jobs", ".dtp"])
def test_a_directory_of_somebody_else_is_named(prepare: Prepare, claim: Path, name: str) -> None:
    (claim / name).mkdir(mode=0o755)
    done = prepare()
    assert done.returncode == 1
    assert f"{name} is not open to all jobs: root:root drwxr-xr-x." in done.stderr
    assert f"chgrp {GROUP} dtp-jobs .dtp .dtp/state" in command(done.stderr)


def test_a_link_is_not_followed(prepare: Prepare, claim: Path, tmp_path: Path) -> None:
    (claim / "dtp-jobs").symlink_to(tmp_path)
    done = prepare()
    assert done.returncode == 1
    assert "dtp-jobs is a symbolic link" in done.stderr


# --- helm test ------------------------------------------------------------------------------------


def check(claim: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run the test's script in the directory that a claim's test has."""
    directory = claim / "dtp-jobs/dtp-test/helm"
    directory.mkdir(parents=True)
    (claim / ".dtp/state/dtp-test").mkdir(parents=True)
    (claim / ".dtp/state/dtp-test/entry").write_text("dtp-test none\n")  # as prep does
    return subprocess.run(
        [program("busybox"), "sh", "-c", (FILES / "test.sh").read_text()],
        cwd=directory,
        env={
            "DTP_CLAIM": str(claim),
            "DTP_DIRECTORY_PATH": "dtp-jobs/dtp-test/helm",
            "DTP_STATE_PATH": ".dtp/state/dtp-test",
            "DTP_STATE": str(state),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_test_leaves_nothing(claim: Path) -> None:
    done = check(claim, claim / ".dtp/state/dtp-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a job can write to the claim and read from it" in done.stdout
    assert set(modes(claim)) == {"dtp-jobs", ".dtp", ".dtp/state"}


def test_the_test_fails_where_the_state_cannot_be_written(claim: Path) -> None:
    done = check(claim, claim / "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "failed" in done.stdout


# --- the cron -------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a repository over HTTP, and the Authorization of each request to it."""
    work, bare = tmp_path / "work", tmp_path / "hub" / "transfers.git"
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "north", work], check=True)
    (work / "dtp-jobs").mkdir()
    (work / "dtp-jobs" / "README").write_text("here")
    subprocess.run([*git, "-C", work, "add", "."], check=True)
    subprocess.run([*git, "-C", work, "commit", "--quiet", "--message", "all"], check=True)
    subprocess.run([*git, "clone", "--quiet", "--bare", work, bare], check=True)
    subprocess.run([*git, "-C", bare, "update-server-info"], check=True)
    seen: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(bare.parent))

        def log_message(self, *_: Any) -> None:
            seen.append(self.headers.get("Authorization") or "")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/transfers.git", seen
        server.shutdown()


def run_cron(tmp_path: Path, repository: str, token: str) -> str:
    """Run the cron's script; return how it called `dtp`, and what that saw."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    (tools / "dtp").write_text('#!/bin/sh\necho "$@"; ls requests/dtp-jobs; env\n')
    (tools / "dtp").chmod(0o755)
    return subprocess.run(
        ["sh", "-c", (FILES / "cron.sh").read_text()],
        env={
            "HOME": str(home),
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DTP_REPOSITORY": repository,
            "DTP_BRANCH": "north",
            "DTP_GITHUB_TOKEN": token,
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_cron_dispatches_the_branch_as_it_is_now(
    tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    repository, seen = hub
    told = run_cron(tmp_path, repository, "")
    assert told.startswith("-C requests dispatch\nREADME\n")
    assert set(seen) == {""}


def test_the_cron_reads_a_private_repository_with_its_token(
    tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    repository, seen = hub
    told = run_cron(tmp_path, repository, "s3cret")
    login = base64.b64encode(b"x-access-token:s3cret").decode()
    assert set(seen) == {f"Basic {login}"}
    assert login not in told, "dtp has the token, and no other program its login"
