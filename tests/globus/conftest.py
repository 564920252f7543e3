"""Programs and stand-ins for the tests of Globus."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.globus import gridftp, programs, service
from tests.globus.service import Running, Service

PINS = programs.IMAGES / "globus-cli" / "requirements.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtp-requests"
UV = Path(__file__).parents[2] / ".uv" / "bin" / "uv"


@pytest.fixture
def running() -> Iterator[Running]:
    with service.running() as started:
        yield started


@pytest.fixture
def globus(running: Running) -> Service:
    return running.service


@pytest.fixture(scope="session")
def globus_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the program `globus`, of the release that the image has.

    It cannot stand beside our own packages: it needs another release of the SDK.
    """
    content = PINS.read_bytes() + sys.version.encode()
    packages = CACHE / f"globus-packages-{hashlib.sha256(content).hexdigest()[:16]}"
    if not packages.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            making = Path(folder) / "made"
            _install(making)
            with contextlib.suppress(OSError):  # another worker was faster
                making.rename(packages)
    return _program(tmp_path_factory.mktemp("globus"), packages)


def _install(packages: Path) -> None:
    uv = shutil.which("uv") or str(UV)
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target"]
    subprocess.run([*command, packages, "--requirement", PINS], check=True)


def _program(folder: Path, packages: Path) -> Path:
    """Write the program; not in the cache, which outlives the interpreter that is named here."""
    program = folder / "globus"
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{packages}'\n"
        f'exec {sys.executable} -c "from globus_cli import main; main()" "$@"\n'
    )
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def gridftp_files() -> Path:
    """Return the files of a GridFTP server."""
    return gridftp.install(CACHE)


@pytest.fixture
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Return the shell of Debian's images, or the one that a test is parametrized with."""
    return programs.shell(getattr(request, "param", "dash"))
