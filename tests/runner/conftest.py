"""An attempt on a claim of its own, run by the real runner in each shell it must work in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).parents[2] / "dtp_action" / "runner"
ENTRY, BLOB = "5a0f5d3e-0000-4000-8000-00000000000e", "b10b" * 10
IDENTITY = f"{ENTRY} {BLOB}\n"  # what prep writes into the state it makes
RUN_SH = str(RUNNER / "run.sh")
SHELLS = {"ash": ["busybox", "sh"], "dash": ["dash"], "bash": ["bash"]}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A process namespace of its own: what the runner starts there has no other processes to signal.
AS_PID_1 = ["--pid", "--fork", "--mount-proc", "--kill-child"]


BEGUN: list[subprocess.Popen[bytes]] = []


def started(argv: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a process that is gone when the test is over."""
    BEGUN.append(subprocess.Popen(argv, **how))
    return BEGUN[-1]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """End what a test that failed has left: a later one in this process would be blamed for it."""
    yield
    while BEGUN:
        with BEGUN.pop() as process:
            process.kill()


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    stdout: bytes
    stderr: str
    log: bytes
    result: dict[str, Any]
    termination: dict[str, Any]

    @property
    def printed(self) -> bytes:
        """What the script printed: stdout without header, footer and lines for machines."""
        return between_header_and_footer(without_repetition(without_machine_lines(self.stdout)))

    @property
    def arrived(self) -> Any:
        """The list of what arrived that the last start told on stdout."""
        told = self.stdout.split(b"\ndtp-arrived: ")[1:]
        return json.loads(told[-1].split(b"\n", 1)[0]) if told else None

    @property
    def logged(self) -> bytes:
        return between_header_and_footer(self.log)

    @property
    def lines(self) -> list[str]:
        return self.printed.decode().splitlines()


def without_machine_lines(stdout: bytes) -> bytes:
    head, *rest = re.split(rb"\ndtp-(?:heartbeat|arrived): ", stdout)
    return head + b"".join(piece.split(b"\n", 1)[1] for piece in rest)


def without_repetition(stdout: bytes) -> bytes:
    """Leave out the log's end where it stands a second time, before the footer."""
    head, again, rest = stdout.partition(b"\n== dtp: the end of the log again")
    return head + b"\n== dtp: " + rest.rpartition(b"\n== dtp: ")[2] if again else head


def between_header_and_footer(text: bytes) -> bytes:
    """Of the last start. The header ends at its line; the footer begins with a newline."""
    start = text[text.rindex(b"== dtp: ", 0, text.rindex(b"\n== dtp: ") + 1) :]
    return start.split(b"\n", 1)[1].rpartition(b"\n== dtp: ")[0]


@dataclass(kw_only=True)
class Attempt:
    shell: list[str]
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    pods: int = 0
    directory: Path = field(init=False)
    state: Path = field(init=False)

    @property
    def starts(self) -> Path:
        return self.state / "starts"

    @property
    def log(self) -> Path:
        return self.directory / "foo.log"

    def __post_init__(self) -> None:
        self.directory, self.state = self.root / "job", self.root / "state"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(exist_ok=True)
        (self.state / "entry").write_text(IDENTITY)

    def script(self, text: str | bytes) -> Attempt:
        content = text if isinstance(text, bytes) else text.encode()
        (self.root / "script").write_bytes(content)
        return self

    def secret(self, name: str, value: bytes) -> None:
        folder = self.root / "secrets"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(value)

    def begin(
        self, run_sh: str = str(RUNNER / "run.sh"), **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a Pod's runner. Its output goes to files: what it leaves behind can hold a pipe."""
        self.pods += 1
        pod = f"pod-{self.pods}"
        values = {
            "PATH": PATH,
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "DTP_REF": "dtp-aws/foo",
            "DTP_NAME": "dtp-aws-foo-abcdefgh-1",
            "DTP_ENTRY": ENTRY,
            "DTP_BLOB": BLOB,
            "DTP_ATTEMPT": "1",
            "DTP_RETRIES": "0",
            "DTP_RESUME": "no",
            "DTP_TRANSIENT": "",
            "DTP_DIRECTORY": str(self.directory),
            "DTP_STATE": str(self.state),
            "DTP_SCRIPT": str(self.root / "script"),
            "DTP_TOOLS": "",
            "DTP_SECRETS": str(self.root / "secrets"),
            "DTP_UID": pod,
            "DTP_HEARTBEAT": "1",
            "DTP_MARGIN": "2",
            "DTP_TERMINATION": str(self.root / f"{pod}.termination"),
            "DTP_COMMIT": "c0ffee",
            **self.environment,
            **environment,
        }
        with (
            (self.root / f"{pod}.out").open("wb") as out,
            (self.root / f"{pod}.err").open("wb") as err,
        ):
            return started(
                [*self.prefix, *self.shell, run_sh],
                env=values,
                cwd=self.directory if self.directory.is_dir() else self.root,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )

    def end(
        self, process: subprocess.Popen[bytes], pod: int | None = None, timeout: float = 300
    ) -> Ended:
        code = process.wait(timeout)
        if process.stdin:
            process.stdin.close()
        name = f"pod-{pod or self.pods}"
        return Ended(
            code=code,
            stdout=(self.root / f"{name}.out").read_bytes(),
            stderr=(self.root / f"{name}.err").read_text(),
            log=self.log.read_bytes() if self.log.is_file() else b"",
            result=read_json(self.state / "result.json"),
            termination=read_json(self.root / f"{name}.termination"),
        )

    def run(self, **environment: str) -> Ended:
        return self.end(self.begin(**environment))

    def runs(self) -> int:
        """How often the script of `COUNTING` ran."""
        ran = self.directory / "ran"
        return len(ran.read_text().splitlines()) if ran.exists() else 0


COUNTING = "#!/bin/sh\necho x >>ran\n"


def read_json(path: Path) -> dict[str, Any]:
    text = path.read_text() if path.is_file() else ""
    if not text:
        return {}
    assert len(text) <= 4000
    assert text.count("\n") == 1
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: apt-get install busybox-static bash-static dash util-linux"
    return path


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The runner's pid as seen from here, where `process` is the unshare that started it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text().split())
    return int(children.read_text().split()[0])


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return [program(SHELLS[request.param][0]), *SHELLS[request.param][1:]]


@pytest.fixture
def attempt(shell: list[str], tmp_path: Path) -> Iterator[Attempt]:
    attempt = Attempt(shell=shell, root=tmp_path / "claim")
    yield attempt
    subprocess.run(["umount", "--lazy", attempt.directory], check=False, capture_output=True)


@pytest.fixture
def pod(attempt: Attempt) -> Attempt:
    """The same attempt, with the runner as PID 1."""
    assert os.geteuid() == 0, "a process namespace needs root"
    attempt.prefix = [program("unshare"), *AS_PID_1]
    return attempt
