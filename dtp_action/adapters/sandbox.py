"""Keeps a script that runs on this machine from harming it, as far as the machine can.

For `dtp run --host` and the embedded cluster: a clean environment, a home and a scratch of its own,
write access to its own places alone, and an end of all that it started. What this leaves open is in
docs/how-to/try-locally.md. Knows no job and no cluster.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dtp_action.adapters import sandbox_launcher as launcher

ADOPT_ORPHANS = 36  # of prctl
# What stays of the caller's environment: how this machine finds programs and reaches the network.
# The last three are the runner's own, for tests.
INHERITED = re.compile(
    r"PATH|LD_LIBRARY_PATH|DYLD_(FALLBACK_)?LIBRARY_PATH"
    r"|(?i:(https?|ftp|all|no)_proxy)"
    r"|SSL_CERT_(FILE|DIR)|(CURL|REQUESTS|AWS)_CA_BUNDLE"
    r"|DTP_(HEARTBEAT|MARGIN|WALK)"
)


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a script may see of the caller's environment."""
    return {name: value for name, value in environ.items() if INHERITED.fullmatch(name)}


def gap() -> str:
    """Return what this machine cannot keep a script from; empty where that is nothing."""
    version = launcher.landlock()
    if version < launcher.USABLE:
        return (
            "this machine cannot confine scripts (that needs Linux 5.19 or later, with Landlock): "
            "they can change your files and end your processes"
        )
    if version < launcher.SCOPES:
        return (
            "this machine cannot keep scripts from ending your processes, as `kill -1` does "
            "(that needs Linux 6.12 or later)"
        )
    return ""


# --- home and scratch ----------------------------------------------------------------------------


@contextmanager
def scratch(folder: Path) -> Iterator[dict[str, str]]:
    """Make a home and a scratch, empty; yield the variables that name them; then remove both."""
    clear(folder)
    places = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
    try:
        for place in places.values():
            place.mkdir(parents=True)
        yield {name: str(place) for name, place in places.items()}
    finally:
        clear(folder)


def clear(folder: Path) -> None:
    """Remove a folder, also what a script made read-only in it. Links are not followed."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=False)  # noqa: S603, S607
        shutil.rmtree(folder, ignore_errors=True)


def mount(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Write files for reading alone, each with its mode, in place of what a folder held."""
    clear(folder)
    for path, (content, mode) in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
    for inner, _, _ in os.walk(folder):
        Path(inner).chmod(0o555)


# --- processes -----------------------------------------------------------------------------------


def start(
    program: Sequence[str],
    *,
    writable: Iterable[Path],
    environment: Mapping[str, str],
    directory: Path,
    stdout: IO[bytes] | int,
    **how: Any,
) -> subprocess.Popen[bytes]:
    """Start a program that can write below these paths alone, in a session of its own.

    What its processes leave behind becomes a child of ours: `end_orphans` ends it.
    """
    adopt(orphans=True)
    confined = [sys.executable, "-PsS", launcher.__file__, *map(str, writable), "--", *program]
    return subprocess.Popen(  # noqa: S603 an argument list, no shell
        confined,
        env={**environment, launcher.PYTHON_ONLY: "0"},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
        **how,
    )


def end_orphans() -> None:
    """Kill what outlived the program that we started; in a Pod it would end with the container."""
    while children := _children():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
    adopt(orphans=False)


def adopt(*, orphans: bool) -> None:
    """Say whether we are the parent of what our children leave behind; Linux alone has that."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, int(orphans), 0, 0, 0)


def _children() -> list[int]:
    """Return our child processes; none where there is no /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # `pid (name) state parent …`; a name may hold anything.
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(stat.parent.name))
    return found
