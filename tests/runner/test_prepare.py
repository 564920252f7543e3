"""What prep makes, what it refuses, and a whole Pod whose image holds nothing at all."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.runner.conftest import (
    BLOB,
    ENTRY,
    RUNNER,
    Attempt,
    Ended,
    program,
    read_json,
    started,
)

JOB = "dtp-jobs/dtp-aws/foo"
STATE = ".dtp/state/dtp-aws-foo-abcdefgh-1"


def image(folder: Path) -> Path:
    """Return /dtp of the runner image."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy(program("busybox"), folder / "bin" / "busybox")
    shutil.copy(program("bash-static"), folder / "bin" / "bash")
    for script in RUNNER.glob("*.sh"):
        shutil.copy(script, folder)
    return folder


@dataclass(kw_only=True)
class Prep:
    shell: list[str]
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None

    @property
    def claim(self) -> Path:
        return self.root / "claim"

    @property
    def out(self) -> Path:
        return self.root / "tools"

    def begin(self) -> subprocess.Popen[bytes]:
        out = (
            self.root / f"tools-{len(list(self.root.iterdir()))}" if self.out.exists() else self.out
        )
        out.mkdir()
        out.chmod(0o777)
        return started(
            [*self.shell, str(self.root / "dtp" / "prep.sh")],
            user=self.user,
            group=self.user,
            extra_groups=[5000] if self.user else None,
            stderr=subprocess.PIPE,
            env={
                "PATH": "/usr/bin:/bin",
                "DTP_CLAIM": str(self.claim),
                "DTP_TOOLS_OUT": str(out),
                "DTP_DIRECTORY_PATH": JOB,
                "DTP_STATE_PATH": STATE,
                "DTP_ENTRY": ENTRY,
                "DTP_BLOB": BLOB,
                "DTP_HEARTBEAT": "1",
                "DTP_MARGIN": "2",
                "DTP_TERMINATION": str(self.root / "claim-termination"),
                **self.environment,
            },
        )

    def run(self) -> tuple[int, str]:
        process = self.begin()
        process.communicate(timeout=300)
        error = read_json(self.root / "claim-termination").get("error", "")
        assert isinstance(error, str)
        return process.returncode, error


@pytest.fixture
def prep(shell: list[str]) -> Iterator[Prep]:
    # Not below pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="dtp-prep-") as folder:
        prep = Prep(shell=shell, root=Path(folder))
        prep.claim.mkdir()
        image(prep.root / "dtp")
        yield prep


def test_it_brings_the_tools_and_never_replaces_bash(prep: Prep) -> None:
    assert prep.run() == (0, "")
    assert {"run.sh", "fence.sh", "common.sh"} <= {path.name for path in prep.out.iterdir()}
    assert prep.out.joinpath("bin/bash").read_bytes() == (prep.root / "dtp/bin/bash").read_bytes()
    assert (prep.out / "bin/tar").readlink() == prep.root / "dtp/bin/busybox"
    assert (prep.out / "bin" / "sh").is_symlink()
    assert os.access(prep.out / "bin" / "busybox", os.X_OK)


def test_it_makes_both_directories_for_the_group(prep: Prep) -> None:
    assert prep.run() == (0, "")
    for path in (JOB, STATE):
        mode = (prep.claim / path).stat().st_mode
        assert mode & (stat.S_IWGRP | stat.S_ISGID) == stat.S_IWGRP | stat.S_ISGID
    assert (prep.claim / "dtp-jobs").stat().st_mode & stat.S_IWGRP


def test_what_exists_is_left_as_it_is(prep: Prep) -> None:
    (prep.claim / JOB).mkdir(parents=True)
    (prep.claim / JOB / "data").touch(0o600)
    (prep.claim / JOB).chmod(0o755)
    (prep.claim / "dtp-jobs").chmod(0o751)
    assert [prep.run() for _ in range(2)] == [(0, "")] * 2
    assert stat.S_IMODE((prep.claim / JOB).stat().st_mode) == 0o755
    assert stat.S_IMODE((prep.claim / "dtp-jobs").stat().st_mode) == 0o751
    assert stat.S_IMODE((prep.claim / JOB / "data").stat().st_mode) == 0o600


def test_several_may_prepare_at_the_same_moment(prep: Prep) -> None:
    processes = [prep.begin() for _ in range(6)]
    assert [process.communicate(timeout=300) and process.returncode for process in processes] == [
        0
    ] * 6


@pytest.mark.parametrize("place", ["dtp-jobs", "dtp-jobs/dtp-aws", JOB, ".dtp", STATE])
@pytest.mark.parametrize("what", ["link to a directory", "dead link", "file"])
def test_a_link_or_a_file_in_the_way_is_194(prep: Prep, place: str, what: str) -> None:
    at = prep.claim / place
    at.parent.mkdir(parents=True, exist_ok=True)
    (prep.root / "outside").mkdir()
    if what == "file":
        at.touch()
    else:
        at.symlink_to(prep.root / ("outside" if "directory" in what else "nowhere"))
    code, error = prep.run()
    assert code == 194
    assert error.startswith(f"{place} on the claim is a")
    assert list((prep.root / "outside").iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "dtp-jobs/../../x", "/x", "a//b", "a/./b"])
def test_a_path_that_leaves_the_claim_is_190(prep: Prep, path: str) -> None:
    prep.environment["DTP_DIRECTORY_PATH"] = path
    assert prep.run()[0] == 190
    assert not (prep.root / "x").exists()


def test_it_works_as_any_user_of_the_claims_group(prep: Prep) -> None:
    make_reachable(prep)
    os.chown(prep.claim, 0, 5000)
    prep.claim.chmod(0o2775)
    assert prep.run() == (0, "")
    made = (prep.claim / JOB).stat()
    assert (made.st_uid, made.st_gid) == (4321, 5000)


def test_a_claim_that_is_not_writable_is_190_with_the_reason(prep: Prep) -> None:
    make_reachable(prep)
    code, error = prep.run()
    assert code == 190
    assert error == "cannot make dtp-jobs on the claim (Permission denied)"


def test_directories_that_are_not_writable_are_190(prep: Prep) -> None:
    (prep.claim / JOB).mkdir(parents=True)
    (prep.claim / STATE).mkdir(parents=True)
    make_reachable(prep)
    assert prep.run() == (190, f"cannot write to {JOB} on the claim")


def make_reachable(prep: Prep) -> None:
    prep.user = 4321
    (prep.root / "claim-termination").touch()
    (prep.root / "claim-termination").chmod(0o666)
    prep.root.chmod(0o755)


# --- a whole Pod: prep, then the job in an image that holds nothing ---

MOUNTS = """
set -e
cd "$1"; shift
mount --bind tools/ root/dtp
mount -o remount,ro,bind root/dtp
mount --bind claim root/claim
mount -t proc proc root/proc
exec chroot root "$@"
"""


@pytest.fixture
def bare_pod(tmp_path: Path) -> Path:
    for name in ("root/dtp", "root/claim", "root/proc", "root/dev", "root/tmp", "tools", "claim"):
        (tmp_path / name).mkdir(parents=True)
    os.mknod(tmp_path / "root/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    image(tmp_path / "root" / "dtp")
    return tmp_path


def in_pod(root: Path, script: str, **environment: str) -> Ended:
    """Run prep as its image, then the script as PID 1 of an image without a single file."""
    prep = """
        set -e; cd "$1"; mount --bind claim root/claim; mkdir -p root/tools
        mount --bind tools root/tools; mount -t proc proc root/proc
        exec chroot root /dtp/bin/busybox sh /dtp/prep.sh
    """
    values = {
        "DTP_CLAIM": "/claim",
        "DTP_TOOLS_OUT": "/tools",
        "DTP_DIRECTORY_PATH": JOB,
        "DTP_STATE_PATH": STATE,
        "DTP_ENTRY": ENTRY,
        "DTP_BLOB": BLOB,
        "DTP_TERMINATION": "/dev/termination",
    }
    namespaces = [program("unshare"), "--pid", "--fork", "--mount", "--kill-child"]
    values["PATH"] = os.environ["PATH"]
    subprocess.run([*namespaces, "sh", "-c", prep, "sh", root], env=values, check=True)
    (root / "root/script").write_text(script)
    attempt = Attempt(shell=["/dtp/bin/busybox", "sh"], root=root / "host")
    shown = {
        "DTP_DIRECTORY": f"/claim/{JOB}",
        "DTP_STATE": f"/claim/{STATE}",
        "DTP_SCRIPT": "/script",
        "DTP_TOOLS": "/dtp",
        "DTP_SECRETS": "/none",
        "DTP_TERMINATION": "/dev/termination",
        "HOME": "/tmp/home",
        "TMPDIR": "/tmp",
    }
    attempt.prefix = [*namespaces, "sh", "-c", MOUNTS, "sh", str(root)]
    ended = attempt.end(attempt.begin(run_sh="/dtp/run.sh", **shown, **environment))
    state = root / "claim" / STATE
    log = (root / "claim" / JOB / "foo.log").read_bytes()
    termination = read_json(root / "root/dev/termination")
    return Ended(
        code=ended.code,
        stdout=ended.stdout,
        stderr=ended.stderr,
        log=log,
        result=read_json(state / "result.json"),
        termination=termination,
    )


@pytest.mark.parametrize("shebang", ["#!/bin/bash", "#!/bin/sh", "#!/usr/bin/env bash", ""])
def test_an_image_that_holds_nothing_runs_scripts(bare_pod: Path, shebang: str) -> None:
    shutil.rmtree(bare_pod / "root/tmp")
    ended = in_pod(
        bare_pod,
        f"{shebang}\n"
        'echo "$0 ${SHELLOPTS##*posix*}"; echo one two | awk "{print \\$2}"; pwd; exit 7',
    )
    assert (ended.code, ended.result, ended.result["exit"]) == (7, ended.termination, 7)
    # sh is bash in its POSIX mode: busybox would prefer its applets to the image's own programs.
    assert (ended.lines[0] == "/script ") == ("bash" not in shebang)
    assert ended.lines[1:] == ["two", f"/claim/{JOB}"]
    assert {"rx", "tx"} <= set(ended.result)
    assert ended.logged == ended.printed


def test_in_such_an_image_other_interpreters_are_193(bare_pod: Path) -> None:
    (bare_pod / "claim" / JOB).mkdir(parents=True)
    (bare_pod / "claim" / JOB / "foo.log").touch()
    ended = in_pod(bare_pod, "#!/usr/bin/env python3\n")
    assert ended.code == ended.termination["exit"] == 193
