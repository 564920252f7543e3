"""The two programs of the images, run in a plain shell as the runner would run them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.admin import wait_for

IMAGES = Path(__file__).parents[2] / "images"
SHELLS = {"ash": ["busybox", "sh"], "dash": ["dash"]}
IN_EACH_SHELL = pytest.mark.parametrize("shell", SHELLS, indirect=True)
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended, and all it wrote."""

    code: int
    said: str


@dataclass(kw_only=True)
class Program:
    """A program of an image, with a job's directory of its own."""

    shell: list[str]
    path: Path
    folder: Path  # everything is below it
    tools: Path  # before all else in PATH
    environment: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.folder / "job"

    @property
    def progress(self) -> str:
        """The first line of the progress file; '' while there is none."""
        path = self.folder / "progress"
        return path.read_text().split("\n")[0] if path.exists() else ""

    @property
    def log(self) -> str:
        """What the last start wrote so far."""
        return (self.folder / f"log-{self.starts}").read_text()

    def begin(self, *arguments: str, start: int | None = None) -> subprocess.Popen[bytes]:
        """Start it as the leader of a group, as the runner does."""
        self.starts += 1
        home, scratch = self.folder / "home", self.folder / "tmp"
        for folder in (self.directory, home, scratch):
            folder.mkdir(exist_ok=True)
        own = {
            "PATH": f"{self.tools}:{PATH}",
            "HOME": str(home),
            "TMPDIR": str(scratch),
            "DTP_NAME": "dtp-globus-job-abcdefgh-1",
            "DTP_START": str(start or self.starts),
            "DTP_DIRECTORY": str(self.directory),
            "DTP_PROGRESS_FILE": str(self.folder / "progress"),
        }
        with (self.folder / f"log-{self.starts}").open("wb") as log:
            process = subprocess.Popen(
                [*self.shell, str(self.path), *arguments],
                cwd=self.directory,
                env=own | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], timeout: float = 120) -> Ended:
        code = process.wait(timeout)
        self.running.remove(process)
        return Ended(code=code, said=self.log)

    def run(self, *arguments: str, start: int | None = None) -> Ended:
        return self.end(self.begin(*arguments, start=start))

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something; where it does not come, tell what the program said."""
        try:
            wait_for(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.log}") from error


def end_all(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Signal everything the program consists of, as the runner and a dying node do."""
    os.killpg(process.pid, number)


def shell(name: str) -> list[str]:
    program = shutil.which(SHELLS[name][0])
    assert program, f"{SHELLS[name][0]} is missing: apt-get install busybox-static dash"
    return [program, *SHELLS[name][1:]]
