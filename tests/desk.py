"""Somebody at a desk: repositories, and the embedded cluster that all of them could reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.stages import LocalStage

DTP = Path(sys.executable).with_name("dtp")
HELLO = "#!/bin/sh\necho hello >hello\n"
Said = subprocess.CompletedProcess[str]


@dataclass
class Desk:
    """One checkout, and the cluster beside it. Each has a home of its own."""

    root: Path
    name: str = "transfers"

    def __post_init__(self) -> None:
        self.checkout.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", "--template=")

    @property
    def checkout(self) -> Path:
        """Where its repository is checked out."""
        return self.root / self.name

    @property
    def home(self) -> Path:
        """Where its user is at home."""
        return self.root / "home"

    @property
    def cluster(self) -> LocalStage:
        """The cluster, as who runs it sees it."""
        return LocalStage(self.root / "cluster")

    def git(self, *arguments: str) -> str:
        """Run git in the checkout; return what it printed."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        said = self._run("git", *who, *arguments)
        assert said.returncode == 0, said.stderr
        return said.stdout.strip()

    def write(self, ref: str, text: str = HELLO) -> None:
        """Write a job's script, and commit nothing."""
        path = self.checkout / "dtp-jobs" / f"{ref}.sh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self) -> str:
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD")

    def dtp(self, *arguments: str, **environment: str) -> Said:
        """Run a command here, on the cluster unless it says where itself."""
        return self._run(DTP, *arguments, DTP_CLUSTER=f"local:{self.cluster.root}", **environment)

    def status(self) -> dict[str, Any]:
        """Return what `dtp status` says, as JSON."""
        told = self.dtp("status", "--format", "json")
        assert told.returncode == 0, told.stderr
        return dict(json.loads(told.stdout))

    def phases(self) -> dict[str, str]:
        """Return how each job's last attempt stands."""
        return {row["ref"]: row["phase"] for row in self.status()["jobs"]}

    def _run(self, *command: str | Path, **environment: str) -> Said:
        here = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            command,
            cwd=self.checkout,
            env=here | environment,
            capture_output=True,
            text=True,
            check=False,
        )
