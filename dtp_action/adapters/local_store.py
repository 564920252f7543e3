"""Objects as JSON files, `<resource>/<name>.json`, and locks: what the embedded cluster stands on.

Shared with its supervisors, hence of the standard library alone. Any number of processes may read
and write at once: a file is written whole or not at all, and each change has the folder's lock.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

Wire = dict[str, Any]


def now() -> str:
    """Return the time as objects tell it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(path: Path) -> Wire | None:
    """Return an object, or None."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def create(path: Path, value: Wire) -> bool:
    """Make an object unless there is one of that name; tell whether it was made."""
    with locked(path):
        if path.exists():
            return False
        marks = {"uid": str(uuid.uuid4()), "resourceVersion": "1", "creationTimestamp": now()}
        _write(path, value | {"metadata": value["metadata"] | marks})
        return True


def amend(path: Path, change: Wire) -> None:
    """Merge a change into an object, if there is one, as JSON merge patch does.

    Raises ValueError where it names another uid or resourceVersion than the object has.
    """
    with locked(path):
        found = read(path)
        if not found:
            return
        for mark in ("uid", "resourceVersion"):
            there = found["metadata"][mark]
            if change.get("metadata", {}).get(mark, there) != there:
                raise ValueError(f"metadata.{mark} is {there}")
        found = _merged(found, change)
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        _write(path, found)


def _write(path: Path, value: Wire) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.replace(path)


def _merged(old: Wire, change: Wire) -> Wire:
    new = {
        key: _merged(old.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in change.items()
    }
    return old | new


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a path's folder."""
    with path.with_name(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def take(path: Path) -> IO[str] | None:
    """Return a lock file, ours until it is closed everywhere; None while somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def taken(path: Path) -> bool:
    """Tell whether somebody has a lock."""
    lock = take(path)
    if lock:
        lock.close()
    return lock is None
