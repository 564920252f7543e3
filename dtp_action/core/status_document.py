"""How a ledger stands, as one JSON document: a preview then needs no cluster. Both ways.

What is read is data from elsewhere: bounded, checked, and only what `dump` writes is taken from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from dtp_action.core import cluster_settings, documents, ledger, naming, report
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.documents import Field, Reader, choice, several, text
from dtp_action.core.model import (
    ContainerView,
    Entry,
    Intent,
    JobView,
    Notify,
    Observed,
    Origin,
    Phase,
    PodView,
    Ref,
    Status,
    Why,
)
from dtp_action.core.planner import MAX_NEW
from dtp_action.errors import UsageError

LARGEST = 32 * 2**20  # bytes; an attempt takes about 800


@dataclass(frozen=True, kw_only=True)
class StatusDocument:
    """What a document tells: every attempt, and the settings that scripts are judged by."""

    observed: Observed
    settings: ClusterSettings | None  # None: the run that wrote it did not read them
    as_of: str  # RFC 3339
    branch: str | None
    max_new: int = MAX_NEW  # what bounds a dispatch there


def artifact(cluster_name: str) -> str:
    """Return the name of the workflow artifact that carries a cluster's document."""
    return "dtp-status-" + re.sub(r"[^A-Za-z0-9._-]", "-", cluster_name)


def dump(
    observed: Observed,
    settings: ClusterSettings | None,
    *,
    source: str | None,
    branch: str | None,
    max_new: int = MAX_NEW,
) -> dict[str, Any]:
    """Return the document; `why` of an attempt that has not ended tells why it is being ended."""
    intents = {entry.name: entry.intent for entry in observed.entries if entry.intent}
    rows = report.jobs(observed, every=True)
    for row in rows:
        if row["name"] in intents and not Phase(row["phase"]).ended:
            row["why"] = intents[row["name"]].why.value
    return {
        "version": report.VERSION,
        "as_of": ledger.stamp(observed.now),
        "source": source,
        "branch": branch,
        "max_new": max_new,
        "settings": cluster_settings.dump_shared(settings) if settings else None,
        "jobs": rows,
        "unreadable": report.unreadable(observed),
    }


def load(content: bytes) -> StatusDocument:
    """Read what `dump` wrote, as JSON. Raises UsageError."""
    hint = "take status.json of the newest run of dispatch"
    if len(content) > LARGEST:
        raise UsageError(f"the status document is over {LARGEST // 2**20} MiB", hint=hint)
    try:
        return _document(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the status document cannot be read: {error}", hint=hint) from error


# --- reading -------------------------------------------------------------------------------------


def _known(fields: Mapping[str, Field], *required: str) -> Reader:
    """Read a mapping as `documents.record`; later versions may add keys, and null is absent."""
    read = documents.record(fields, required=required)

    def read_known(value: Any) -> Any:
        if not isinstance(value, dict):
            return read(value)
        return read({key: value[key] for key in fields if value.get(key) is not None})

    return read_known


def _ref(value: Any) -> Ref:
    return Ref.parse(_line(value))


def _settings(value: Any) -> ClusterSettings:
    return ClusterSettings(claim="", runner_image="", **_known(cluster_settings.SHARED)(value))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"`{str(value)[:60]}` is not a whole number")
    return value


def _time(value: Any) -> datetime:
    return ledger.instant(_line(value))


_line = text(r"[^\x00-\x1f]{0,4096}", "one line of text")
_id = text(r"[0-9a-f]{40,64}", "an id of git")
_digest = text(r"[0-9a-f]{64}", "a SHA-256")
_count_field, _line_field, _time_field = Field(_count), Field(_line), Field(_time)
ATTEMPT: Mapping[str, Field] = {
    "ref": Field(_ref),
    "attempt": _count_field,
    "service": Field(lambda value: value is True),
    "phase": choice({one.value: one for one in Phase}),
    "reason": _line_field,
    "exit_code": _count_field,
    "warnings": Field(several(_line)),
    "doubts": Field(several(_line)),
    "created": _time_field,
    "started": _time_field,
    "finished": _time_field,
    "starts": _count_field,
    "network_received_bytes": Field(_count, attribute="received"),
    "network_sent_bytes": Field(_count, attribute="sent"),
    "new_files": _count_field,
    "new_bytes": _count_field,
    "new_at_least": Field(lambda value: value is True, attribute="at_least"),
    "manifest_sha256": Field(_digest, attribute="manifest"),
    "commit": Field(_id),
    "blob": Field(_id),
    "files": _count_field,
    "pull_request": _count_field,
    "author": _line_field,
    "merged_by": _line_field,
    "before_start": Field(lambda value: value is True),
    "why": choice({one.value: one for one in Why}),
}
_attempt = _known(ATTEMPT, "ref", "attempt", "phase", "created", "commit", "blob")
DOCUMENT: Mapping[str, Field] = {
    "version": documents.version._replace(read=lambda value: documents.version.read(str(value))),
    "as_of": _time_field,
    "branch": _line_field,
    "max_new": _count_field,
    "settings": Field(_settings),
    "jobs": Field(several(_attempt)),
}


def _document(value: Any) -> StatusDocument:
    told = _known(DOCUMENT, "version", "as_of")(value)
    now = told["as_of"]
    return StatusDocument(
        observed=_observed(told.get("jobs", ()), now),
        settings=told.get("settings"),
        as_of=ledger.stamp(now),
        branch=told.get("branch"),
        max_new=told.get("max_new", MAX_NEW),
    )


# --- the look that the document was made from ----------------------------------------------------

JOB_UID = "seen"


def _observed(rows: tuple[dict[str, Any], ...], now: datetime) -> Observed:
    """Return a look that is judged as the rows say: running ones have a Job and a Pod."""
    entries = [_entry(row, now) for row in rows]
    running = [(e, row) for e, row in zip(entries, rows, strict=True) if e.job_uid]
    return Observed(
        now=now,
        identity=None,
        entries=tuple(entries),
        jobs={entry.name: _job(entry) for entry, _ in running},
        pods={entry.name: (_pod(entry, row),) for entry, row in running},
    )


def _entry(row: dict[str, Any], now: datetime) -> Entry:
    phase, why, reason = row["phase"], row.get("why"), row.get("reason", "")
    started = row.get("started")
    told = {one.name: row[one.name] for one in fields(Status) if one.name in row}
    origin = {one.name: row[one.name] for one in fields(Origin) if one.name in row}
    intent = Intent(why=why, by="", at=now, started=started) if why and not phase.ended else None
    return Entry(
        name=naming.attempt_name(row["ref"], row["attempt"]),
        uid="",
        version="",
        ref=row["ref"],
        attempt=row["attempt"],
        blob=row["blob"],
        origin=Origin(**origin),
        notify=Notify.END,
        created=row["created"],
        service=row.get("service", False),
        files=row.get("files", 0),
        waiting=reason if phase is Phase.WAITING else "",
        job_uid=JOB_UID if phase is Phase.RUNNING else None,
        intent=intent,
        outcome=Status(**{"reason": reason} | told) if phase.ended else None,
    )


def _job(entry: Entry) -> JobView:
    deadline = 1 if entry.intent else None
    return JobView(
        name=entry.name,
        uid=JOB_UID,
        entry_uid=entry.uid,
        created=entry.created,
        deadline=deadline,
    )


def _pod(entry: Entry, row: dict[str, Any]) -> PodView:
    script = ContainerView(state="running", started=row.get("started", entry.created))
    return PodView(name="", uid="", job_name=entry.name, created=entry.created, job=script)
