"""Runs one script on this machine through the same runner as in a Pod: `dtp run --host`.

Knows the runner's contract (docs/explanation/runner.md) and no cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from importlib import resources
from pathlib import Path

from dtp_action.core import naming
from dtp_action.core.logs import without_heartbeats
from dtp_action.core.model import Ref
from dtp_action.errors import UsageError


def run(script: Path, workspace: Path | None) -> int:
    """Run a script in `<workspace>/dtp-jobs/<ref>`; return its exit code as a job would have it."""
    ref = _ref(script)
    shell = shutil.which("sh")
    if not shell:
        raise UsageError("this machine has no sh", hint="dtp run --host needs a POSIX shell")
    root = workspace.resolve() if workspace else Path(tempfile.mkdtemp(prefix="dtp-workspace-"))
    root.mkdir(parents=True, exist_ok=True)
    environment = _environment(script, ref, root)
    print(f"running {ref} in {environment['DTP_DIRECTORY']}", file=sys.stderr)  # noqa: T201
    with resources.as_file(resources.files("dtp_action") / "runner") as runner:
        places = _places(environment, ref, root)
        prepared = subprocess.run([shell, str(runner / "prep.sh")], env=places, check=False)  # noqa: S603 our runner
        if prepared.returncode:
            return _code(prepared.returncode)
        process = subprocess.Popen(  # noqa: S603 our runner; the script is a file it reads
            [shell, str(runner / "run.sh")],
            env=environment,
            cwd=environment["DTP_DIRECTORY"],
            stdout=subprocess.PIPE,
        )
        with process:
            for text in without_heartbeats(process.stdout or ()):
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
    return _code(process.returncode)


def _code(returned: int) -> int:
    """Return a process's exit code as a shell tells it."""
    return returned if returned >= 0 else 128 - returned


def _ref(script: Path) -> Ref:
    """Return the job that a script's place names; `dtp-local` where it stands elsewhere."""
    for folder in (script.resolve().parent.name, "dtp-local"):
        with contextlib.suppress(ValueError):
            return Ref.parse(f"{folder}/{script.name}")
    hint = "rename the script: letters, digits, `.`, `_` and `-`"
    raise UsageError(f"{script.name} cannot name a job", hint=hint)


def _environment(script: Path, ref: Ref, root: Path) -> dict[str, str]:
    """Return the runner's variables beside the caller's own; each run is an attempt of its own."""
    start = uuid.uuid4().hex
    state = root / ".dtp" / "state" / start
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DTP_")}
    return inherited | {
        "DTP_REF": str(ref),
        "DTP_NAME": naming.attempt_name(ref, 1),
        "DTP_ATTEMPT": "1",
        "DTP_RETRIES": "0",
        "DTP_RESUME": "no",
        "DTP_ENTRY": start,
        "DTP_BLOB": "none",
        "DTP_DIRECTORY": str(root / ref.directory),
        "DTP_STATE": str(state),
        "DTP_SCRIPT": str(script.resolve()),
        "DTP_UID": start,
        "DTP_TERMINATION": str(state / "termination"),
        "TMPDIR": tempfile.gettempdir(),
    }


def _places(environment: dict[str, str], ref: Ref, root: Path) -> dict[str, str]:
    """Return the variables of prep, which makes directory and state."""
    state = str(Path(environment["DTP_STATE"]).relative_to(root))
    paths = {"DTP_CLAIM": str(root), "DTP_DIRECTORY_PATH": ref.directory, "DTP_STATE_PATH": state}
    return environment | paths
