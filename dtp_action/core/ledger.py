"""How the ledger is written down: every label, annotation and data key, and their formats.

An entry is an immutable ConfigMap: `data` holds the script's bytes and `attempt.json`; labels are
the index, annotations the record that grows. Lists carry metadata only, so everything a plan needs
stands in labels and annotations. docs/reference/ledger.md is checked against `KEYS`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dtp_action.core import naming
from dtp_action.core.model import (
    Draft,
    Entry,
    Identity,
    Intent,
    Mount,
    Notify,
    Origin,
    Outcome,
    Phase,
    Ref,
    Spec,
    Why,
)

PREFIX = "dtp.scidas.org/"
KIND = PREFIX + "kind"  # label: entry, end, tail, ledger; on Jobs and Pods: attempt
STATE = PREFIX + "state"  # label of an entry: open, or the phase it ended in, lower case
PROTOCOL = PREFIX + "protocol"  # label
REF = PREFIX + "ref"
ATTEMPT = PREFIX + "attempt"
ORIGIN = PREFIX + "origin"  # JSON: what the entry was made from
WAITING = PREFIX + "waiting"
JOB_UID = PREFIX + "job-uid"
INTENT = PREFIX + "intent"  # JSON
OUTCOME = PREFIX + "outcome"  # JSON
BROUGHT_BY = PREFIX + "brought-by"  # JSON: what of the origin was not known at creation
ENTRY_UID = PREFIX + "entry-uid"  # on Jobs: the entry it runs
SOURCE = PREFIX + "source"  # on dtp-ledger
NAMESPACE_UID = PREFIX + "namespace-uid"
SCHEME = PREFIX + "scheme"
CREATED = PREFIX + "created"

# key: (where it stands, kind of key, who writes it, what it means)
KEYS = {
    KIND: ("ConfigMap, Job, Pod", "label", "at creation", "entry, end, tail, ledger or attempt"),
    STATE: ("entry", "label", "at creation, settle", "open, or the phase it ended in"),
    PROTOCOL: ("entry, Job, Pod", "label", "at creation", "the protocol"),
    REF: ("entry, Job, Pod", "annotation", "at creation", "the job: dtp-<protocol>/<job>"),
    ATTEMPT: ("entry, Job, Pod", "annotation", "at creation", "the attempt's number"),
    ORIGIN: (
        "entry",
        "annotation",
        "at creation",
        "JSON: blob, commit, pull request, author, who merged",
    ),
    BROUGHT_BY: (
        "entry",
        "annotation",
        "once, later",
        "JSON: pull request, author, who merged, where GitHub could not say at creation; none: a"
        " direct push",
    ),
    WAITING: ("entry", "annotation", "start refused", "why the cluster would not have its Job yet"),
    JOB_UID: ("entry", "annotation", "confirm", "UID of the Job that was seen"),
    INTENT: ("entry", "annotation", "end, cancel", "JSON: why, by whom and when it is ended"),
    OUTCOME: ("entry", "annotation", "settle", "JSON: phase, reason, exit code, times, bytes"),
    ENTRY_UID: ("Job", "annotation", "at creation", "UID of the entry that the Job runs"),
    SOURCE: ("dtp-ledger", "annotation", "at creation, rename", "the branch it belongs to"),
    NAMESPACE_UID: ("dtp-ledger", "annotation", "at creation", "UID of its namespace"),
    SCHEME: ("dtp-ledger", "annotation", "at creation", "the naming rule's number"),
    CREATED: ("dtp-ledger", "annotation", "at creation", "when it was made"),
}

LEDGER_NAME = "dtp-ledger"
SETTINGS_NAME = "dtp-cluster"
SETTINGS_KEY = "settings.yaml"
OUR_LABEL = ("app.kubernetes.io/managed-by", "dtp-requests")
SCRIPT_KEY = "script"
ATTEMPT_KEY = "attempt.json"
TAIL_KEY = "log.txt"
OUTCOME_KEY = "outcome.json"
TAIL_LIMIT = 8 * 1024
VERSION = 1


# --- times and JSON ------------------------------------------------------------------------------


def stamp(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError."""
    return datetime.fromisoformat(text)


def _dump(value: dict[str, Any]) -> str:
    """Return compact JSON without what says nothing, since every list carries it."""
    kept = {
        key: stamp(item) if isinstance(item, datetime) else item
        for key, item in value.items()
        if not (item is None or item is False or item in ("", [], ()))
    }
    return json.dumps(kept, separators=(",", ":"), sort_keys=True)


def _times(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return fields | {name: instant(fields[name]) for name in names if fields.get(name)}


def dump_intent(intent: Intent) -> str:
    """Return the annotation's text."""
    return _dump(asdict(intent))


def load_intent(text: str) -> Intent:
    """Read what `dump_intent` wrote."""
    fields = _times(json.loads(text), "at", "started")
    return Intent(**{"by": ""} | fields | {"why": Why(fields["why"])})


def dump_brought_by(origin: Origin) -> str:
    """Return the annotation's text."""
    facts = ("pull_request", "author", "merged_by")
    return _dump({fact: getattr(origin, fact) for fact in facts})


def _origin(notes: dict[str, str], fields: dict[str, Any]) -> Origin:
    """Read where the bytes came from: as recorded, or as learnt since."""
    later = BROUGHT_BY in notes
    facts = json.loads(notes[BROUGHT_BY]) if later else fields
    return Origin(
        commit=fields["commit"],
        pull_request=facts.get("pull_request"),
        author=facts.get("author"),
        merged_by=facts.get("merged_by"),
        asked=later or fields.get("asked", False),
    )


def dump_outcome(outcome: Outcome) -> str:
    """Return the annotation's text, also the `-end` object's outcome.json."""
    return _dump(asdict(outcome))


def load_outcome(text: str) -> Outcome:
    """Read what `dump_outcome` wrote; what a later version tells beyond that is passed over."""
    known = {one.name for one in dataclasses.fields(Outcome)}
    told = {key: value for key, value in json.loads(text).items() if key in known}
    fields = _times(told, "started", "finished", "settled")
    return Outcome(
        **{"reason": ""}
        | fields
        | {
            "phase": Phase(fields["phase"]),
            "why": Why(fields["why"]) if "why" in fields else None,
            "warnings": tuple(fields.get("warnings", ())),
        }
    )


# --- entries -------------------------------------------------------------------------------------


def entry_manifest(draft: Draft) -> dict[str, Any]:
    """Return the immutable ConfigMap that records a new attempt."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.attempt_name(draft.ref, draft.attempt),
            "labels": {
                **dict([OUR_LABEL]),
                KIND: "entry",
                STATE: "open",
                PROTOCOL: draft.ref.protocol,
            },
            "annotations": {
                REF: str(draft.ref),
                ATTEMPT: str(draft.attempt),
                ORIGIN: _dump(
                    {
                        "blob": draft.blob,
                        "commit": draft.origin.commit,
                        "pull_request": draft.origin.pull_request,
                        "author": draft.origin.author,
                        "merged_by": draft.origin.merged_by,
                        "asked": draft.origin.asked,
                        "notify": draft.notify,
                        "created": draft.created,
                        "run": draft.run,
                        "request": draft.request,
                        "adopted": draft.adopted,
                        "service": draft.spec.service,
                    }
                ),
            },
        },
        "immutable": True,
        "data": {ATTEMPT_KEY: _attempt_json(draft), SCRIPT_KEY: draft.script.decode()},
    }


def _attempt_json(draft: Draft) -> str:
    attempt = {
        "version": VERSION,
        "ref": str(draft.ref),
        "attempt": draft.attempt,
        "blob": draft.blob,
        **{key: value for key, value in asdict(draft.origin).items() if value},
        "created": stamp(draft.created),
        "spec": asdict(draft.spec),
    }
    return json.dumps(attempt, indent=1, sort_keys=True)


def load_entry(metadata: dict[str, Any]) -> Entry:
    """Read an entry from an object's metadata. Raises ValueError, KeyError on what is not one."""
    notes = metadata["annotations"]
    origin = json.loads(notes[ORIGIN])
    return Entry(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        ref=Ref.parse(notes[REF]),
        attempt=int(notes[ATTEMPT]),
        blob=origin["blob"],
        origin=_origin(notes, origin),
        notify=Notify(origin["notify"]),
        created=instant(origin["created"]),
        run=origin.get("run", ""),
        request=origin.get("request", ""),
        adopted=origin.get("adopted", False),
        service=origin.get("service", False),
        waiting=notes.get(WAITING, ""),
        job_uid=notes.get(JOB_UID),
        intent=load_intent(notes[INTENT]) if INTENT in notes else None,
        outcome=load_outcome(notes[OUTCOME]) if OUTCOME in notes else None,
    )


def load_spec(text: str) -> Spec:
    """Read the resolved settings from an entry's attempt.json; raises ValueError."""
    attempt = json.loads(text)
    if attempt["version"] != VERSION:
        raise ValueError(f"attempt.json has version {attempt['version']}, this is for {VERSION}")
    fields = attempt["spec"]
    if later := fields.keys() - {one.name for one in dataclasses.fields(Spec)}:
        raise ValueError(
            f"attempt.json was made by a later version of dtp: {', '.join(sorted(later))}"
        )
    lists = ("transient", "secrets", "groups", "tolerations")
    return Spec(
        **fields
        | {key: tuple(fields[key]) for key in lists}
        | {
            key: tuple(Mount(**mount) for mount in fields.get(key, ()))
            for key in ("mounts", "offers")
        }
    )


def settled_metadata(outcome: Outcome) -> dict[str, Any]:
    """Return the metadata patch that closes an entry."""
    return {
        "labels": {STATE: outcome.phase.lower()},
        "annotations": {OUTCOME: dump_outcome(outcome)},
    }


def companion(entry: Entry, kind: str, data: dict[str, str]) -> dict[str, Any]:
    """Return an immutable ConfigMap beside an entry: `<name>-end` or `<name>-tail`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{entry.name}-{kind}",
            "labels": {**dict([OUR_LABEL]), KIND: kind},
            "annotations": {REF: str(entry.ref), ATTEMPT: str(entry.attempt)},
        },
        "immutable": True,
        "data": data,
    }


# --- the identity card ---------------------------------------------------------------------------


def identity_manifest(identity: Identity) -> dict[str, Any]:
    """Return the ConfigMap `dtp-ledger`: all in annotations, so that the entries' list shows it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": LEDGER_NAME,
            "labels": {**dict([OUR_LABEL]), KIND: "ledger"},
            "annotations": {
                SOURCE: identity.source,
                NAMESPACE_UID: identity.namespace_uid,
                SCHEME: str(identity.scheme),
                CREATED: stamp(identity.created),
            },
        },
    }


def load_identity(metadata: dict[str, Any]) -> Identity:
    """Read the card from the object's metadata."""
    notes = metadata["annotations"]
    return Identity(
        source=notes[SOURCE],
        namespace_uid=notes[NAMESPACE_UID],
        scheme=int(notes[SCHEME]),
        created=instant(notes[CREATED]),
    )
