"""How the ledger is written down: every label, annotation and data key, and their formats.

An entry is an immutable ConfigMap: `data` holds the script's bytes and `attempt.json`, `binaryData`
the files beside the script; labels are the index, annotations the record that grows. Lists carry
metadata only, so everything a plan needs stands in labels and annotations.
docs/reference/ledger.md is checked against `KEYS`.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from dataclasses import asdict
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dtp_action.core import naming
from dtp_action.core.model import (
    Arrived,
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
    Unreadable,
    Why,
)

Made = TypeVar("Made", Entry, Intent, Mount, Origin, Outcome, Spec)

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
HELD = PREFIX + "held"
BROUGHT_BY = PREFIX + "brought-by"  # JSON: what of the origin was not known at creation
ENTRY_UID = PREFIX + "entry-uid"  # on Jobs: the entry it runs
SOURCE = PREFIX + "source"  # on dtp-ledger
NAMESPACE_UID = PREFIX + "namespace-uid"
SCHEME = PREFIX + "scheme"
CREATED = PREFIX + "created"
COMMIT = PREFIX + "commit"

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
    HELD: ("entry", "annotation", "settle, start", "what of it could not be read, and why"),
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
    COMMIT: ("dtp-ledger", "annotation", "each run", "the commit of the branch that rules"),
}

LEDGER_NAME = "dtp-ledger"
SETTINGS_NAME = "dtp-cluster"
SETTINGS_KEY = "settings.yaml"
OUR_LABEL = ("app.kubernetes.io/managed-by", "dtp-requests")
SCRIPT_KEY = "script"
FILE_KEY = "file-{}"  # by the number of its path in the spec: a path may be what no key may be
ATTEMPT_KEY = "attempt.json"
TAIL_KEY = "log.txt"
OUTCOME_KEY = "outcome.json"
ARRIVED_KEY = "arrived.json"
TAIL_LIMIT = ARRIVED_LIMIT = 8 * 1024
VERSION = 1
WHY_LIMIT = 120


# --- times and JSON ------------------------------------------------------------------------------


def stamp(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError, also for one without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} is a time without a zone")
    return at


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


# What reading raises where an object is not as we write it.
NOT_OURS = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


def why_not(error: Exception) -> str:
    """Return why an object cannot be read, in a few words."""
    if isinstance(error, KeyError):
        return f"it has no {str(error.args[0]).removeprefix(PREFIX)}"
    said = " ".join(str(error).split())
    return said if len(said) <= WHY_LIMIT else said[: WHY_LIMIT - 1] + "…"


@functools.cache
def _kinds(of: Any) -> tuple[tuple[str, frozenset[Any], tuple[Any, ...]], ...]:
    """Return each field of a class, with the classes and the lists and mappings that it may be."""
    hints, found = get_type_hints(of), []
    for one in dataclasses.fields(of):
        hint = hints[one.name]
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        plain = frozenset(kind for kind in kinds if get_origin(kind) is None)
        found.append((one.name, plain, tuple(kind for kind in kinds if kind not in plain)))
    return tuple(found)


def _checked(made: Made) -> Made:
    """Return the value, all of whose fields are of their kind. Raises ValueError."""
    of: Any = type(made)
    for name, plain, others in _kinds(of):
        value = getattr(made, name)
        if type(value) not in plain and not any(_is_of(value, kind) for kind in others):
            raise ValueError(f"its {name} is {str(value)[:60]!r}")
    return made


def _listed(value: Any) -> tuple[Any, ...]:
    """Return a list's items; raises TypeError where it is none, such as a text."""
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:60]!r} is no list")
    return tuple(value)


def _is_of(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a kind: of a class, a list or a mapping of one, or anything."""
    if kind is Any:
        return True
    if type(value) is not (get_origin(kind) or kind):
        return False
    match value:
        case tuple():
            return all(_is_of(item, get_args(kind)[0]) for item in value)
        case dict():
            keys, items = get_args(kind)
            return all(_is_of(k, keys) and _is_of(v, items) for k, v in value.items())
    return True


def dump_intent(intent: Intent) -> str:
    """Return the annotation's text."""
    return _dump(asdict(intent))


def load_intent(text: str) -> Intent:
    """Read what `dump_intent` wrote."""
    fields = _times(json.loads(text), "at", "started")
    return _checked(Intent(**{"by": ""} | fields | {"why": Why(fields["why"])}))


def dump_brought_by(origin: Origin) -> str:
    """Return the annotation's text."""
    facts = ("pull_request", "author", "merged_by")
    return _dump({fact: getattr(origin, fact) for fact in facts})


def _origin(notes: dict[str, str], fields: dict[str, Any]) -> Origin:
    """Read where the bytes came from: as recorded, or as learnt since."""
    known = fields.get("asked", False)
    facts = fields if known or BROUGHT_BY not in notes else json.loads(notes[BROUGHT_BY])
    return _checked(
        Origin(
            commit=fields["commit"],
            pull_request=facts.get("pull_request"),
            author=facts.get("author"),
            merged_by=facts.get("merged_by"),
            asked=known or facts is not fields,
        )
    )


def dump_outcome(outcome: Outcome) -> str:
    """Return the annotation's text, also the `-end` object's outcome.json."""
    return _dump(asdict(outcome))


def load_outcome(text: str) -> Outcome:
    """Read what `dump_outcome` wrote; what a later version tells beyond that is passed over."""
    known = {one.name for one in dataclasses.fields(Outcome)}
    told = {key: value for key, value in json.loads(text).items() if key in known}
    fields = _times(told, "started", "finished", "settled")
    phase = Phase(fields["phase"])
    if not phase.ended:
        raise ValueError(f"{phase} is no end")
    return _checked(
        Outcome(
            **{"reason": ""}
            | fields
            | {
                "phase": phase,
                "why": Why(fields["why"]) if "why" in fields else None,
                "warnings": _listed(fields.get("warnings", [])),
                "doubts": _listed(fields.get("doubts", [])),
            }
        )
    )


def dump_arrived(arrived: Arrived) -> str:
    """Return the `-end` object's arrived.json; names for which there is no room are counted."""
    files, more = list(arrived.files), arrived.more
    while True:
        told = {"files": files, "more": more}
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        if len(text.encode(errors="replace")) <= ARRIVED_LIMIT:
            return text
        fewer = max(1, len(files) // 8)
        files, more = files[:-fewer], more + fewer


def load_arrived(text: str) -> Arrived:
    """Read what `dump_arrived` wrote. Raises one of `NOT_OURS`."""
    told = json.loads(text)
    files = tuple((str(name), int(size)) for name, size in _listed(told["files"]))
    return Arrived(files=files, more=int(told["more"]))


# --- entries -------------------------------------------------------------------------------------


def entry_manifest(draft: Draft) -> dict[str, Any]:
    """Return the immutable ConfigMap that records a new attempt."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": draft.name,
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
                        "files": len(draft.files) or None,
                    }
                ),
            },
        },
        "immutable": True,
        "data": {ATTEMPT_KEY: _attempt_json(draft), SCRIPT_KEY: draft.script.decode()},
        **({"binaryData": _files(draft)} if draft.files else {}),
    }


def _files(draft: Draft) -> dict[str, str]:
    contents = (file.content for file in draft.files)
    return {
        FILE_KEY.format(number): base64.b64encode(content).decode()
        for number, content in enumerate(contents, 1)
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


def read_entry(metadata: dict[str, Any]) -> Entry | Unreadable:
    """Return an entry, or why the object is none."""
    try:
        return load_entry(metadata)
    except NOT_OURS as error:
        name = metadata["name"]
        return Unreadable(
            kind="ConfigMap", name=name, of=name, why=why_not(error), ref=_stated_ref(metadata)
        )


def _stated_ref(metadata: dict[str, Any]) -> Ref | None:
    try:
        return Ref.parse(metadata["annotations"][REF])
    except NOT_OURS:
        return None


def load_entry(metadata: dict[str, Any]) -> Entry:
    """Read an entry from an object's metadata. Raises one of `NOT_OURS` on what is not one."""
    notes = metadata["annotations"]
    origin = json.loads(notes[ORIGIN])
    entry = _entry(metadata, notes, origin)
    if entry.name not in naming.names(entry.ref, entry.attempt):
        raise ValueError(f"attempt {entry.attempt} of {entry.ref} has another name")
    return entry


def _entry(metadata: dict[str, Any], notes: dict[str, str], origin: dict[str, Any]) -> Entry:
    made = Entry(
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
        files=origin.get("files", 0),
        waiting=notes.get(WAITING, ""),
        job_uid=notes.get(JOB_UID),
        intent=load_intent(notes[INTENT]) if INTENT in notes else None,
        held=notes.get(HELD, ""),
        outcome=load_outcome(notes[OUTCOME]) if OUTCOME in notes else None,
    )
    return _checked(made)


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
    fields = {"files": []} | fields
    lists = ("transient", "secrets", "groups", "tolerations", "files")
    return _checked(
        Spec(
            **fields
            | {key: _listed(fields[key]) for key in lists}
            | {"tool_transient": _listed(fields.get("tool_transient", []))}
            | {
                key: tuple(_checked(Mount(**mount)) for mount in _listed(fields.get(key, [])))
                for key in ("mounts", "offers")
            }
        )
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


def load_end(entry: Entry, end: dict[str, Any]) -> Outcome:
    """Read the outcome out of `<name>-end`. Raises one of `NOT_OURS` where it is none of this."""
    notes = end["metadata"]["annotations"]
    if (notes[REF], notes[ATTEMPT]) != (str(entry.ref), str(entry.attempt)):
        raise ValueError(f"it is of attempt {notes[ATTEMPT]} of {notes[REF]}")
    return load_outcome(end["data"][OUTCOME_KEY])


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
                COMMIT: identity.commit,
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
        commit=notes.get(COMMIT, ""),
        version=metadata["resourceVersion"],
    )
