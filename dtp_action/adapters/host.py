"""Runs one script on this machine through the same runner as in a Pod: `dtp run --host`.

Knows the runner's contract (docs/explanation/runner.md) and no cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from threading import Timer
from typing import IO

from dtp_action.adapters import local_store, sandbox
from dtp_action.core import directives, naming
from dtp_action.core.catalog import Catalog, Row
from dtp_action.core.logs import without_heartbeats
from dtp_action.core.manifests import CLOSING, FILE_MODE, GRACE
from dtp_action.core.model import Ref, Script
from dtp_action.core.quantities import print_time
from dtp_action.core.scripts import FOLDER
from dtp_action.errors import UsageError

STAND_IN = "localhost/this-machine:1"  # the image of every protocol here
PODS_ONLY = ("cpu", "memory", "disk", "retries", "resume", "secret")  # directives
WRITABLE = ("DTP_DIRECTORY", "DTP_STATE", "HOME", "TMPDIR")
MADE_UP = "dtp-workspace-"  # what the name of a new workspace begins with
RUNS = ".dtp/local"  # in a workspace: <run>/ with home and scratch, <run>.alive is its lock


def named(script: Path) -> Ref:
    """Return the job that a script's place names; `dtp-local` where it is elsewhere."""
    for folder in (script.resolve().parent.name, "dtp-local"):
        with contextlib.suppress(ValueError):
            return Ref.parse(f"{folder}/{script.name}")
    hint = "rename the script: letters, digits, `.`, `_` and `-`"
    raise UsageError(f"{script.name} cannot name a job", hint=hint)


def repository(script: Path) -> Path | None:
    """Return the checkout that a script stands in, by its place; None where it is elsewhere."""
    folder = script.resolve().parent.parent
    return folder.parent if folder.name == FOLDER else None


def rows(catalog: Catalog) -> Catalog:
    """Return the rows with this machine in the place of their images."""
    here = {
        name: replace(row, image=STAND_IN, service_image=STAND_IN)
        for name, row in catalog.rows.items()
    }
    return Catalog(rows=here)


def run(script: Script, row: Row, workspace: Path | None) -> int:
    """Run a script in `<workspace>/dtp-jobs/<ref>`; return its exit code as a job would have it."""
    shell = shutil.which("sh")
    if not shell:
        raise UsageError("this machine has no sh", hint="dtp run --host needs a POSIX shell")
    root = workspace.resolve() if workspace else Path(tempfile.mkdtemp(prefix=MADE_UP))
    limit = script.directives.time or row.time
    with (
        resources.as_file(resources.files("dtp_action") / "runner") as runner,
        _start(root, script) as own,
    ):
        of_row = {"DTP_TIME": str(limit), "DTP_NETWORK": "yes" if row.network else "no"}
        environment = _environment(script, root) | of_row | own.places
        _announce(script, row, environment["DTP_DIRECTORY"], limit)
        places = _places(environment, script.ref, root)
        prepared = subprocess.run([shell, str(runner / "prep.sh")], env=places, check=False)  # noqa: S603 our runner
        if prepared.returncode:
            return _code(prepared.returncode)
        process = sandbox.start(
            [shell, str(runner / "run.sh")],
            writable=[Path(environment[name]) for name in WRITABLE],
            environment=environment,
            directory=Path(environment["DTP_DIRECTORY"]),
            stdout=subprocess.PIPE,
            pass_fds=[own.lock.fileno()],
        )
        _follow(process, limit + CLOSING)
    if process.returncode < 0:
        _say("the script and its runner were killed, as `kill -9 -1` does")
    return _code(process.returncode)


def _follow(process: subprocess.Popen[bytes], limit: float) -> None:
    """Print what a runner prints until it ends, which it must at the limit or when we have to."""
    with _ended_by_signals(process), _ended_after(process, limit), process:
        for text in without_heartbeats(process.stdout or ()):
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
    sandbox.end_orphans()


@contextlib.contextmanager
def _ended_by_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass a signal to the runner as TERM; the second one kills it. Then ours end us as before."""
    told: list[int] = []

    def end(number: int, _frame: object) -> None:
        told.append(number)
        process.send_signal(signal.SIGTERM if len(told) == 1 else signal.SIGKILL)

    ends = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, end) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ended_after(process: subprocess.Popen[bytes], limit: float) -> Iterator[None]:
    """End the runner at the limit, in case that it does not do so itself: TERM, then KILL."""

    def end() -> None:
        _say("its time= is over: ending it")
        process.terminate()

    timers = [Timer(limit, end), Timer(limit + GRACE, process.kill)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _code(returned: int) -> int:
    """Return a process's exit code as a shell tells it."""
    return returned if returned >= 0 else 128 - returned


# --- what is said ------------------------------------------------------------------------------


def _announce(script: Script, row: Row, directory: str, limit: int) -> None:
    """Say where the script runs, and what is not as in a Pod."""
    _say(f"running {script.ref} in {directory}, for at most {print_time(limit)}")
    _say(f"not applied on this machine: {', '.join(_not_applied(script, row))}")
    if gap := sandbox.gap():
        _say(f"warning: {gap}")


def _not_applied(script: Script, row: Row) -> list[str]:
    """Return what the script and its protocol's row ask for and only a Pod has."""
    text = script.content.decode()
    asked = (directives.stated(text, f"{key}=")[2] for key in PODS_ONLY)
    user = ["a user other than root"] if os.geteuid() == 0 else []
    return [*filter(None, asked), *(f"${name}" for name in row.env), *user, "Secrets"]


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


# --- places and variables ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Own:
    """What one run has for itself: script, HOME and TMPDIR, and the lock that tells it lives."""

    places: dict[str, str]
    lock: IO[str]


@contextlib.contextmanager
def _start(root: Path, script: Script) -> Iterator[Own]:
    """Make what a run has for itself, gone when it ends; clear what killed runs have left."""
    folder = root / RUNS / uuid.uuid4().hex
    folder.parent.mkdir(parents=True, exist_ok=True)
    for place in _ours(root):
        _clear_dead(place / RUNS)
    with local_store.locked(folder):
        lock = local_store.take(folder.with_suffix(".alive"))
    if not lock:
        raise RuntimeError(f"{folder} is a new name, and its lock is taken")
    try:
        with lock, sandbox.scratch(folder) as places:
            # A copy, since in a Pod there is nothing else beside it either.
            files = {f"files/{file.path}": (file.content, FILE_MODE) for file in script.files}
            sandbox.mount(folder / "entry", {"script": (script.content, 0o444)} | files)
            mounted = {"DTP_SCRIPT": "script", "DTP_FILES": "files"}
            places |= {name: str(folder / "entry" / place) for name, place in mounted.items()}
            yield Own(places=places, lock=lock)
    finally:
        _forget(folder)


def _ours(root: Path) -> Iterator[Path]:
    """Yield this workspace; where it is one that we made up, all of them that are this user's."""
    alike = root.parent.glob(f"{MADE_UP}*") if root.name.startswith(MADE_UP) else (root,)
    for place in alike:
        found = place.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            yield place


def _clear_dead(runs: Path) -> None:
    """Clear what killed runs have left, once nothing of them lives."""
    if not runs.is_dir():
        return
    with local_store.locked(runs / "any"):
        for left in runs.glob("*.alive"):
            if not local_store.taken(left):
                _forget(left.with_suffix(""))


def _forget(folder: Path) -> None:
    sandbox.clear(folder)
    folder.with_suffix(".alive").unlink(missing_ok=True)


def _environment(script: Script, root: Path) -> dict[str, str]:
    """Return the runner's variables; each run is an attempt of its own."""
    start = uuid.uuid4().hex
    state, directory = root / ".dtp" / "state" / start, str(root / script.ref.directory)
    return sandbox.inherited(os.environ) | {
        "DTP_REF": str(script.ref),
        "DTP_NAME": naming.attempt_name(script.ref, 1),
        "DTP_ATTEMPT": "1",
        "DTP_RETRIES": "0",
        "DTP_RESUME": "no",
        "DTP_ENTRY": start,
        "DTP_BLOB": "none",
        "DTP_KIND": "service" if script.directives.service else "run",
        "DTP_MANIFEST": "sha256" if script.directives.manifest else "none",
        "DTP_EXPOSED": f"rw{directory}" if script.directives.service else "",
        "DTP_DIRECTORY": directory,
        "DTP_STATE": str(state),
        "DTP_UID": start,
        "DTP_TERMINATION": str(state / "termination"),
    }


def _places(environment: dict[str, str], ref: Ref, root: Path) -> dict[str, str]:
    """Return the variables of prep, which makes directory and state."""
    state = str(Path(environment["DTP_STATE"]).relative_to(root))
    paths = {"DTP_CLAIM": str(root), "DTP_DIRECTORY_PATH": ref.directory, "DTP_STATE_PATH": state}
    return environment | paths
