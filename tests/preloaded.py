"""Starts `dtp` from a process that has its imports behind it: they are most of a start's cost.

Arguments, environment, output and exit code are a process's own, as ever; what is left out is the
console script, which `tests/act`, the demo and all that runs beside a test go through.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        __name__,
        "dtp_action.cli",
        "dtp_action.tell",
        "dtp_action.adapters.kube_login",
        "cryptography.x509",
    ]
)


def run(
    argv: Sequence[str], environment: dict[str, str], timeout: float = 420
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` does with captured output."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = prepared(argv, environment, out, err)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(argv, timeout, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(argv, process.exitcode, _text(out), _text(err))


def prepared(argv: Sequence[str], environment: dict[str, str], out: Path, err: Path) -> BaseProcess:
    """Return a command's process, to be started, and to be killed at will."""
    return _FORKS.Process(target=_become, args=(argv, environment, out, err))


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")


def _become(argv: Sequence[str], environment: dict[str, str], out: Path, err: Path) -> NoReturn:
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = argv
    from dtp_action import cli

    cli.main()
