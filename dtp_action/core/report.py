"""Turns what is known into rows for people and machines. Says everything, decides nothing.

The JSON forms are versioned and documented in docs/reference/json.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from dtp_action.core import addresses, phases
from dtp_action.core.ledger import stamp
from dtp_action.core.model import (
    Action,
    Arrived,
    Entry,
    Finding,
    Note,
    Observed,
    Phase,
    Ref,
    Severity,
    Status,
    subject,
)

VERSION = 1
BOOKKEEPING = ("confirm", "retire")  # actions that nobody but the ledger needs to know of


def jobs(
    observed: Observed, *, refs: Iterable[Ref] = (), every: bool = False
) -> list[dict[str, Any]]:
    """Return a row per job (its last attempt) or per attempt, sorted by ref, then attempt."""
    wanted = set(refs)
    entries = [e for e in observed.entries if not wanted or e.ref in wanted]
    entries.sort(key=lambda entry: (entry.ref, entry.attempt))
    if not every:
        entries = list({entry.ref: entry for entry in entries}.values())
    return rows(entries, observed)


def rows(entries: Iterable[Entry], observed: Observed) -> list[dict[str, Any]]:
    """Return a row per attempt, in the order given."""
    return [_row(entry, observed) for entry in entries]


def _row(entry: Entry, observed: Observed) -> dict[str, Any]:
    status = phases.told(entry, observed)
    progress = observed.progress.get(entry.name)
    running = progress if status.phase is Phase.RUNNING else None
    return {
        "ref": str(entry.ref),
        "protocol": entry.ref.protocol,
        "job": entry.ref.job,
        "attempt": entry.attempt,
        "name": entry.name,
        "service": entry.service,
        "phase": status.phase.value,
        "reason": status.reason,
        "exit_code": status.exit_code,
        "warnings": list(status.warnings),
        "doubts": list(status.doubts),
        "created": stamp(entry.created),
        "started": _stamp(status.started),
        "finished": _stamp(status.finished if status.phase.ended else None),
        "duration_seconds": _duration(status, observed.now),
        "starts": status.starts,
        "network_received_bytes": running.received if running else status.received,
        "network_sent_bytes": running.sent if running else status.sent,
        "new_files": status.new_files,
        "new_bytes": status.new_bytes,
        "new_at_least": None if status.new_files is None else status.at_least,
        "manifest_sha256": status.manifest or None,
        "progress": (running.said or None) if running else None,
        "commit": entry.origin.commit,
        "blob": entry.blob,
        "files": entry.files,
        "pull_request": entry.origin.pull_request,
        "author": entry.origin.author,
        "merged_by": entry.origin.merged_by,
        "before_start": status.before_start,
        "why": status.why.value if status.why else None,
    }


def _stamp(at: datetime | None) -> str | None:
    return stamp(at) if at else None


def _duration(status: Status, now: datetime) -> int | None:
    if not status.started:
        return None
    end = status.finished if status.phase.ended else now
    return max(0, int((end - status.started).total_seconds())) if end else None


def actions(done: Iterable[Action]) -> list[dict[str, Any]]:
    """Return a row per action, in the order given."""
    return [action_row(action) for action in done]


def action_row(action: Action) -> dict[str, Any]:
    """Return what was or would be done to one attempt, and why."""
    ref, attempt = subject(action)
    name = type(action).__name__.lower()
    return {"ref": str(ref), "attempt": attempt, "action": name, "reason": action.reason}


def rejected(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return a row per finding that keeps a script from running."""
    return [
        {
            "ref": _ref_of(finding.path),
            "path": finding.path,
            "line": finding.line,
            "code": finding.code,
            "message": finding.message,
        }
        for finding in findings
        if finding.severity is Severity.ERROR
    ]


def _ref_of(path: str) -> str | None:
    try:
        return str(Ref.parse(path)) if path.endswith(".sh") else None
    except ValueError:
        return None


def discreet(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows fit for everybody: a cluster's own words may name its machines and stores."""
    return [
        row
        | {"reason": addresses.hide(row["reason"])}
        | {
            key: [addresses.hide(sentence) for sentence in row.get(key, ())]
            for key in ("warnings", "doubts")
        }
        | ({"progress": addresses.hide(row["progress"])} if row.get("progress") else {})
        for row in found
    ]


LATELY = timedelta(days=7)


def lately(rows: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return the rows of jobs that are open or ended lately."""
    since = stamp(now - LATELY)
    return [row for row in rows if (row["finished"] or row["created"]) >= since]


def counts(
    actions: list[dict[str, Any]], rejected: list[dict[str, Any]], jobs: list[dict[str, Any]]
) -> dict[str, str]:
    """Return how many attempts were opened and ended, are open and failed; what does not run."""
    done = [row["action"] for row in actions]
    found = [Phase(row["phase"]) for row in jobs]
    good = (Phase.SUCCEEDED, Phase.CANCELLED)
    return {
        "opened": str(done.count("open")),
        "ended": str(done.count("settle")),
        "open": str(sum(not phase.ended for phase in found)),
        "failed": str(sum(phase.ended and phase not in good for phase in found)),
        **{state: str(states(actions, rejected).count(state)) for state in ("rejected", "held")},
    }


def unreadable(observed: Observed) -> list[dict[str, Any]]:
    """Return a row per attempt of which something cannot be read."""
    listed = {found.of: phases.unreadable(found) for found in observed.unreadable}
    held = {entry.name: phases.held(entry, observed) for entry in observed.entries}
    return [
        {"name": name, "reason": reason}
        for name, reason in sorted((held | listed).items())
        if reason
    ]


def not_run(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """Return a row per job that the branch asks for and that does not run."""
    keys = ("ref", "path", "line", "state", "reason", "fix")
    return [{key: getattr(note, key) for key in keys} for note in notes]


def findings(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return a row per finding of `check`."""
    return [
        {
            "path": finding.path,
            "line": finding.line,
            "column": finding.column,
            "code": finding.code,
            "severity": finding.severity.value,
            "message": finding.message,
            "fix": finding.fix,
        }
        for finding in found
    ]


# --- for people ----------------------------------------------------------------------------------


def human_bytes(count: int | None) -> str:
    """Return a size as people read it: 1.5 GB (decimal, as networks count)."""
    if count is None:
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.95 or unit == "TB":  # what would print as 1000.0
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable: the loop ends at TB")


def human_time(seconds: int | None) -> str:
    """Return a duration as people read it: 45s, 12m, 3h 20m, 2d 4h."""
    if seconds is None:
        return ""
    for unit, size, small, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60)):
        if seconds >= size:
            rest = seconds % size // small_size
            return f"{seconds // size}{unit} {rest}{small}" if rest else f"{seconds // size}{unit}"
    return f"{seconds // 60}m {seconds % 60}s" if seconds >= 60 else f"{seconds}s"


def traffic(row: dict[str, Any]) -> str:
    """Return a row's network bytes and rate, or ''."""
    received, sent = row["network_received_bytes"], row["network_sent_bytes"]
    if received is None and sent is None:
        return ""
    total, seconds = (received or 0) + (sent or 0), row["duration_seconds"]
    rate = f", {human_bytes(total // seconds)}/s" if seconds and total else ""
    return f"{human_bytes(received or 0)} in, {human_bytes(sent or 0)} out{rate}"


def arrived(row: dict[str, Any]) -> str:
    """Return what appeared or changed in a row's directory, or '' where nobody counted."""
    files, at_least = row["new_files"], row["new_at_least"]
    if files is None:
        return ""
    if not files and not at_least:
        return "no new files"
    counted = f"{'≥ ' if at_least else ''}{files} file{'s' * (files != 1)}"
    return f"{counted}, {human_bytes(row['new_bytes'])} arrived"


def listing(found: Arrived, most: int) -> list[str]:
    """Return a line for each of the newest files that arrived, and how many more there are."""
    shown = found.files[:most]
    sizes = [human_bytes(size) for _, size in shown]
    width = max(map(len, sizes), default=0)
    lines = [f"{size:>{width}}  {name}" for size, (name, _) in zip(sizes, shown, strict=True)]
    more = len(found.files) - len(shown) + found.more
    return [*lines, f"and {more} more"] if more else lines


def files(entry: Entry, found: Arrived | None) -> dict[str, Any]:
    """Return what arrived in an attempt as it is known; `files` is null where it is not."""
    return {
        "ref": str(entry.ref),
        "attempt": entry.attempt,
        "files": [{"name": name, "bytes": size} for name, size in found.files] if found else None,
        "more": found.more if found else None,
    }


def receipt(row: dict[str, Any]) -> str:
    """Return where the list of what arrived lies, with the beginning of its checksum, or ''."""
    digest = row["manifest_sha256"]
    return f"receipt sha256:{digest[:12]}… in {receipt_place(row)}" if digest else ""


def receipt_place(row: dict[str, Any]) -> str:
    """Return the path of the list of what arrived, in the job's directory."""
    return f".dtp/manifest-{row['attempt']}.sha256"


DOUBTED = "done, with doubts"


def state(row: dict[str, Any]) -> str:
    """Return the word for where a row stands."""
    return DOUBTED if row["doubts"] else Phase(row["phase"]).shown


def told(row: dict[str, Any]) -> str:
    """Return a row's reason with its doubts and warnings; '' where the state alone says it all."""
    said = row["reason"] if row["reason"] != Phase(row["phase"]).shown else ""
    notes = [f"note: {warning}" for warning in row["warnings"]]
    starts = row["starts"] or 0
    again = f"started {starts} times" if starts > 1 else ""
    return "; ".join(filter(None, [said, *row["doubts"], again, *notes]))


def states(actions: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> list[str]:
    """Return "held" and "rejected", once for each job that a run left so."""
    held = {row["ref"] for row in actions if row["action"] == "hold"}
    return ["held"] * len(held) + ["rejected"] * len({row["path"] for row in rejected})


def verdict(rows: list[dict[str, Any]], states: Iterable[str] = ()) -> str:
    """Return all rows in a line, with what does not run: '2 done, 1 running, 1 held'."""
    does_not_run = list(states)
    count = {phase: sum(row["phase"] == phase for row in rows) for phase in Phase}
    doubted = sum(bool(row["doubts"]) for row in rows)
    needs = sum(count[p] for p in Phase if p.ended and p not in (Phase.SUCCEEDED, Phase.CANCELLED))
    shown = [
        (count[Phase.SUCCEEDED] - doubted, "done"),
        (doubted, "done with doubts"),
        (count[Phase.RUNNING], "running"),
        (count[Phase.WAITING], "waiting"),
        (count[Phase.CANCELLED], "cancelled"),
        (needs, "needs you" if needs == 1 else "need you"),
        *((does_not_run.count(state), state) for state in ("rejected", "held")),
    ]
    return ", ".join(f"{number} {word}" for number, word in shown if number) or "nothing yet"
