"""Reads and cleans what a script printed: other people's text, to be kept and shown safely.

Knows the runner's lines for machines (docs/explanation/runner.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from dtp_action.core import secrets
from dtp_action.core.model import Arrived, Progress

HEARTBEAT, ARRIVED = "dtp-heartbeat: ", "dtp-arrived: "
AGAIN = "== dtp: the end of the log again"  # of a long log: what follows is all that is needed
KEPT = 8 * 1024  # bytes of UTF-8
LONGEST_LINE = 500
LONGEST_PROGRESS = 80
OUR_LINES = 8  # for machines, with the newline before each, that may follow a script's last line
MOST_NAMES, LONGEST_NAME = 200, 256

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
_CONTROL = re.compile(
    r"[^\S \n\t]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def tail(text: str, limit: int = KEPT) -> str:
    """Return the last lines as a terminal would have left them: redacted, within `limit` bytes.

    Lines for machines are left out; of a progress bar its last state is kept; a long line is cut.
    """
    shown = b"".join(without_heartbeats([_last_part(text).encode()])).decode()
    whole = secrets.redact("\n".join(map(_clean, shown.split("\n"))).strip("\n"))
    kept = whole.encode()[-limit:]
    if len(kept) == len(whole.encode()):
        return whole
    return kept.decode(errors="ignore").partition("\n")[2]


def _last_part(text: str) -> str:
    """Return what follows the last line that says that the log's end stands there once more."""
    _, again, rest = f"\n{text}".rpartition(f"\n{AGAIN}")
    return rest.partition("\n")[2] if again else text


def _clean(line: str) -> str:
    shown = line.rstrip("\r").rpartition("\r")[2]
    plain = _CONTROL.sub("", _ESCAPE.sub("", shown))
    return plain if len(plain) <= LONGEST_LINE else plain[:LONGEST_LINE] + "…"


def without_heartbeats(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a log as it comes, without the runner's own lines and the newline before each."""
    rest, owed, beat = b"", b"", (HEARTBEAT.encode(), ARRIVED.encode())
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(beat):
                owed = b""
            else:
                yield owed + line
                owed = b"\n"
    yield owed if rest.startswith(beat) else owed + rest


def last_lines(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the last lines of a log without those for machines."""
    text = b"".join(without_heartbeats(chunks)).rstrip(b"\n")
    for line in text.split(b"\n")[-count:] if text and count else ():
        yield line + b"\n"


def arrived(text: str) -> Arrived | None:
    """Return the last list of what arrived in a piece of log, or None. A script can forge one."""
    for line in reversed(text.split("\n")):
        if line.startswith(ARRIVED) and (found := _list(line.removeprefix(ARRIVED))):
            return found
    return None


def _list(text: str) -> Arrived | None:
    try:
        told = json.loads(text)
        files = tuple((_name(name), _amount(size)) for name, size in told["files"][:MOST_NAMES])
        more = _amount(told["more"]) + max(0, len(told["files"]) - MOST_NAMES)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Arrived(files=files, more=more)


def _name(value: object) -> str:
    """Return a file's name as it may be shown: on one line, printable, redacted, not too long."""
    if not isinstance(value, str):
        raise TypeError("a name is text")
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    return secrets.redact(plain[:LONGEST_NAME])


def _amount(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("an amount is a whole number")
    return value


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
