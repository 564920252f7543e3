"""Reads and cleans what a script printed: other people's text, to be kept and shown safely.

Knows the runner's heartbeat line (docs/explanation/runner.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from dtp_action.core import secrets
from dtp_action.core.model import Progress

HEARTBEAT = "dtp-heartbeat: "
KEPT = 8 * 1024  # bytes of UTF-8
LONGEST_LINE = 500
LONGEST_PROGRESS = 80

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
_CONTROL = re.compile(
    r"[^\S \n\t]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def tail(text: str, limit: int = KEPT) -> str:
    """Return the last lines as a terminal would have left them: redacted, within `limit` bytes.

    Heartbeats are left out; of a progress bar its last state is kept; a long line is cut.
    """
    shown = b"".join(without_heartbeats([text.encode()])).decode()
    whole = secrets.redact("\n".join(map(_clean, shown.split("\n"))).strip("\n"))
    kept = whole.encode()[-limit:]
    if len(kept) == len(whole.encode()):
        return whole
    return kept.decode(errors="ignore").partition("\n")[2]


def _clean(line: str) -> str:
    shown = line.rstrip("\r").rpartition("\r")[2]
    plain = _CONTROL.sub("", _ESCAPE.sub("", shown))
    return plain if len(plain) <= LONGEST_LINE else plain[:LONGEST_LINE] + "…"


def without_heartbeats(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a log as it comes, without the runner's own lines and the newline before each."""
    rest, owed, beat = b"", b"", HEARTBEAT.encode()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(beat):
                owed = b""
            else:
                yield owed + line
                owed = b"\n"
    yield owed if rest.startswith(beat) else owed + rest


def progress(text: str) -> Progress | None:
    """Return what the last heartbeat in a piece of log says, or None. A script can forge it."""
    for line in reversed(text.split("\n")):
        if line.startswith(HEARTBEAT) and (found := _heartbeat(line)):
            return found
    return None


def _heartbeat(line: str) -> Progress | None:
    try:
        beat = json.loads(line.removeprefix(HEARTBEAT))
        at = datetime.fromisoformat(beat["at"])
        received, sent = beat.get("rx"), beat.get("tx")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not at.tzinfo:
        return None
    numbers = [n if type(n) is int and 0 <= n < 1 << 63 else None for n in (received, sent)]
    return Progress(at=at, received=numbers[0], sent=numbers[1], said=_said(beat.get("progress")))


def _said(value: object) -> str:
    """Return what a script says of its progress as a short line: printable, redacted."""
    if not isinstance(value, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in _clean(value.partition("\n")[0]))
    return secrets.redact(" ".join(plain.split()))[:LONGEST_PROGRESS]
