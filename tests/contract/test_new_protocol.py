"""A new protocol is one row, one example and one line: shown by adding gopher, and using it.

The programs run as a user starts them, on the embedded cluster.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core import catalog
from tests import protocols

CATALOG = catalog.builtin()
DTP = Path(sys.executable).with_name("dtp")
DOCUMENT = b"A menu of what there is.\r\n"
ROW = """\
version: 1
protocols:
  gopher:
    doc: Documents of gopherspace
    image: registry.example.org/tools/gopher:1
    time: 10m
    env: {GOPHER_MENU: menu}
    transient: {7: the server could not be reached}
    secretKeys: [GOPHER_PASSPORT]
"""
EXAMPLE = """\
#!/bin/bash
#DTP time=5m retries=1
# One document of a gopher server.
set -euo pipefail
exec 3<>/dev/tcp/{server} || exit 7
printf '%s\\r\\n' "$GOPHER_MENU" >&3
cat <&3 >menu.txt
"""
LINE = "| `dtp-gopher` | bash: documents of gopherspace | [fetch](dtp-gopher/fetch.sh.example) |\n"


class Gopher(socketserver.StreamRequestHandler):
    """Answers one selector with one document, as RFC 1436 has it."""

    def handle(self) -> None:
        self.wfile.write(DOCUMENT if self.rfile.readline() == b"menu\r\n" else b"3\r\n")


@pytest.fixture
def gopher() -> Iterator[str]:
    """Yield the address of a gopher server on this machine, as bash writes it."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Gopher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1/{server.server_address[1]}"
        server.shutdown()


class Repository:
    """A requests repository and an embedded cluster beside it, used by the command line only."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cluster = folder / "requests", folder / "cluster"
        self.root.mkdir()
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DTP_", "GIT_", "GITHUB_", "KUBECONFIG"))
        }
        self.environment = clean | {
            "DTP_CLUSTER": f"local:{self.cluster}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "COLUMNS": "200",
        }
        self.git("init", "--quiet", "--initial-branch=main")

    def write(self, path: str, text: str) -> None:
        at = self.root / "dtp-jobs" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        argv = ["git", *identity, *arguments]
        subprocess.run(argv, cwd=self.root, env=self.environment, check=True)

    def dtp(self, *arguments: str, code: int = 0) -> str:
        """Return what a command printed; its exit code must be as expected."""
        argv = [str(DTP), "-C", str(self.root), *arguments]
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def merge(self, script: str) -> None:
        """Commit a script as `dtp-gopher/fetch`."""
        self.write("dtp-gopher/fetch.sh", script)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a job")

    @property
    def row(self) -> Any:
        text = (self.root / "dtp-jobs" / "catalog.yaml").read_text()
        return catalog.parse(text, "catalog.yaml", base=CATALOG).row("gopher")


@pytest.fixture
def repository(tmp_path: Path, gopher: str) -> Repository:
    """Return a repository with a new protocol: its row, its example, its line. Nothing else."""
    made = Repository(tmp_path)
    made.write("catalog.yaml", ROW)
    made.write("dtp-gopher/fetch.sh.example", EXAMPLE.replace("{server}", gopher))
    made.write("README.md", LINE)
    return made


def test_a_row_alone_is_told_what_it_still_lacks(tmp_path: Path) -> None:
    made = Repository(tmp_path)
    made.write("catalog.yaml", ROW)
    assert protocols.missing(made.root, made.row) == ["an example in dtp-jobs/dtp-gopher/"]
    made.write("dtp-gopher/fetch.sh.example", EXAMPLE)
    assert protocols.missing(made.root, made.row) == [
        "a line in dtp-jobs/README.md that links dtp-gopher/fetch.sh.example"
    ]
    made.write("README.md", LINE)
    assert protocols.missing(made.root, made.row) == []


def test_a_new_protocol_is_one_row_one_example_and_one_line(repository: Repository) -> None:
    assert CATALOG.named("gopher") is None
    assert protocols.missing(repository.root, repository.row) == []
    (example,) = protocols.examples(repository.root, "gopher")
    repository.merge(example.read_text())

    listed = repository.dtp("protocols")
    assert re.search(r"dtp-gopher +1 +2Gi +10Gi +10m +7 +registry\.example\.org/tools", listed)
    assert "1 script, 0 errors" in repository.dtp("check")
    rendered = repository.dtp("render", str(example.with_suffix("")))
    assert "image: registry.example.org/tools/gopher:1" in rendered
    assert "name: dtp-gopher\n" in rendered  # its Secret
    assert "new on the branch" in repository.dtp("plan")

    ended = json.loads(repository.dtp("dispatch", "--wait", "60", "--format", "json"))
    (job,) = ended["jobs"]
    assert (job["ref"], job["phase"]) == ("dtp-gopher/fetch", "SUCCEEDED")
    directory = repository.cluster / "workspace" / "dtp-jobs" / "dtp-gopher" / "fetch"
    assert (directory / "menu.txt").read_bytes() == DOCUMENT
    listed = repository.dtp("files", "dtp-gopher/fetch")
    assert listed == f"{len(DOCUMENT)} B  menu.txt\n"
    told = json.loads(repository.dtp("files", "dtp-gopher/fetch", "--format", "json"))
    assert told["files"] == [{"name": "menu.txt", "bytes": len(DOCUMENT)}]


def test_what_its_row_says_of_an_exit_code_is_done_and_told(repository: Repository) -> None:
    repository.merge("#!/bin/bash\n#DTP retries=1\necho start $DTP_START\nexit 7\n")
    ended = json.loads(repository.dtp("dispatch", "--wait", "60", "--format", "json", code=1))
    (job,) = ended["jobs"]
    assert job["reason"] == "your script failed (exit 7): the server could not be reached"
    assert "start 2" in repository.dtp("logs", "dtp-gopher/fetch")
