"""What a change of the catalog changes: which settings of which protocols, and for which jobs.

Pure. Knows no setting by name but those that change nothing for a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dtp_action.core import catalog as catalogs
from dtp_action.core import documents, secrets
from dtp_action.core.catalog import Catalog, Row
from dtp_action.core.model import Ref

ROW, ON, OFF = "protocol", "on", "switched off"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting before and after; None where it is not there."""

    key: str  # as in the catalog, such as `env LANG`
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """What changes for one protocol, and the jobs on the branch whose next attempt it touches."""

    protocol: str
    settings: tuple[Setting, ...]
    jobs: tuple[Ref, ...] = ()


def changes(before: Catalog, after: Catalog, refs: Iterable[Ref]) -> tuple[RowChange, ...]:
    """Return what is not the same in both, by protocol; `refs` are the jobs on the branch."""
    touched = [ref for ref in refs if touches(ref, before, after)]
    found = []
    for protocol in sorted(before.rows.keys() | after.rows.keys()):
        old, new = (dict(_settings(one.rows.get(protocol))) for one in (before, after))
        keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
        if not keys:
            continue
        settings = tuple(Setting(key=k, before=old.get(k), after=new.get(k)) for k in keys)
        jobs = tuple(ref for ref in touched if protocol in _rows(ref, before, after))
        found.append(RowChange(protocol=protocol, settings=settings, jobs=jobs))
    return tuple(found)


def touches(ref: Ref, before: Catalog, after: Catalog) -> bool:
    """Tell whether an attempt of the job would be another one after the change."""
    old, new = (_of_job(one.named(ref.protocol)) for one in (before, after))
    return old != new


def _of_job(row: Row | None) -> Row | None:
    """Return a row without what no job notices."""
    return replace(row, doc="", aliases=(), secret_keys=()) if row else None


def _rows(ref: Ref, *of: Catalog) -> set[str]:
    """Return the protocols whose rows a job goes by: an alias may move from one to another."""
    found = (one.named(ref.protocol) for one in of)
    return {row.protocol for row in found if row}


def _settings(row: Row | None) -> Iterator[tuple[str, str]]:
    """Yield a row's settings as text."""
    if row is None:
        return
    yield ROW, OFF if row.off else ON
    for key, one in catalogs.FIELDS.items():
        if key not in ("doc", "off"):
            yield from _written(key, getattr(row, documents.attribute(key, one)), one)


def _written(key: str, value: Any, field: documents.Field) -> Iterator[tuple[str, str]]:
    match value:
        case None | () | "":
            return
        case Mapping():
            for name, member in value.items():
                yield from _written(f"{key} {name}", member, field._replace(write=str))
        case tuple() | list():
            yield key, secrets.redact(", ".join(map(str, value)))
        case _:
            yield key, secrets.redact(field.write(value))
