"""Foresees what merging a pull request will do to each job that it changes, and says why.

Pure: asks the planner itself where the ledger's state is given, and speaks conditionally where it
is not. Knows neither git nor GitHub.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtp_action.core.model import Finding, Ref, Severity


class Change(StrEnum):
    """What a pull request does to a script; `MODE` is only its x bit."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    MODE = "mode"


class Will(StrEnum):
    """What merging will do to a job."""

    RUN = "runs"
    HOLD = "does not run"
    REJECT = "cannot run"
    CANCEL = "is cancelled"
    GO_ON = "goes on"
    NOTHING = "nothing changes"
    DEPENDS = "depends"


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What merging will do to one job, and why; refs and directives in `why` stand in backticks."""

    ref: Ref
    change: Change
    will: Will
    why: str
    attempt: int | None = None  # the number it will run as, where known
    image: str = ""
    limits: str = ""  # such as "1 CPU, 2Gi memory, 10Gi disk, 24h"
    secrets: tuple[str, ...] = ()  # names of the Secrets it may use
    retries: int = 0
    resume: bool = False
    findings: tuple[Finding, ...] = ()
    copy_of: Ref | None = None  # a present or removed job of the same bytes


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What merging will do, a row for each changed job."""

    rows: tuple[Foreseen, ...]
    findings: tuple[Finding, ...] = ()  # about changed paths that name no job
    as_of: str | None = None  # RFC 3339 time of the status document; None: conditional

    @property
    def rejected(self) -> bool:
        """Tell whether any finding is an error."""
        found = (*self.findings, *(finding for row in self.rows for finding in row.findings))
        return any(finding.severity is Severity.ERROR for finding in found)
