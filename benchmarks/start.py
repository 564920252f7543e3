"""How fast it starts: `dtp --help`, `check` of 1,000 scripts, a connection, nothing to ready."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.common import DTP, machine, run, side_by_side, tell

PROJECT = Path(__file__).parents[1]


def main() -> None:
    helped = side_by_side(
        11,
        click=lambda: run(sys.executable, "-c", "import click").seconds,
        dtp=lambda: run(DTP, "--help").seconds,
    )
    tell("Start", machine=machine(), import_click_s=helped["click"], dtp_help_s=helped["dtp"],
         ratio=helped["dtp"] / helped["click"])  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder) / "dtp-jobs" / "dtp-aws"
        jobs.mkdir(parents=True)
        for number in range(1000):
            script = f"#!/bin/bash\n#DTP time=2h\naws s3 cp s3://bucket/{number} .\n"
            (jobs / f"job-{number}.sh").write_text(script)
        checked = side_by_side(5, check=lambda: run(DTP, "-C", folder, "check").seconds)
        tell("Check", scripts="1000", seconds=checked["check"])
    connect = (sys.executable, "-c", "import dtp_action.adapters.kube_login")
    imported = side_by_side(11, cpu=lambda: run(*connect).cpu)
    tell("Import for a connection", cpu_s=imported["cpu"])
    ready = side_by_side(3, uv=by_uv, pip=by_pip)
    tell("Nothing to ready", uv_s=ready["uv"], pip_s=ready["pip"], ratio=ready["pip"] / ready["uv"])


def by_uv() -> float:
    """Set up as the action does: from the lock, into a fresh environment, with a warm cache."""
    uv = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--locked", "--no-dev", "--no-install-project", "--no-build"]
        options += ["--extra", "shellcheck"]
        options += ["--project", str(PROJECT)]
        synced = run(uv, "sync", *options, UV_PROJECT_ENVIRONMENT=f"{folder}/venv")
        dtp = (f"{folder}/venv/bin/python", "-P", "-m", "dtp_action", "--version")
        return synced.seconds + run(*dtp, PYTHONPATH=str(PROJECT)).seconds


def by_pip() -> float:
    """Set up by venv and pip."""
    with tempfile.TemporaryDirectory() as folder:
        venv = run(sys.executable, "-m", "venv", folder).seconds
        installed = run(f"{folder}/bin/pip", "install", "-q", str(PROJECT)).seconds
        return venv + installed + run(f"{folder}/bin/dtp", "--version").seconds


if __name__ == "__main__":
    main()
