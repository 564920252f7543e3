"""The one issue that says what needs attention: what to do so that it is the only one, and true.

Knows neither GitHub nor what the issue is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Issue:
    """An issue that our own account opened."""

    number: int
    body: str
    open: bool
    url: str


@dataclass(frozen=True, kw_only=True)
class Open:
    """Open an issue; the first line of its body is the marker."""

    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """Have an issue say this, and be open."""

    issue: Issue
    body: str


@dataclass(frozen=True, kw_only=True)
class Close:
    """Comment on an issue, and close it."""

    issue: Issue
    text: str


Step = Open | Rewrite | Close


class Issues(Protocol):
    """What is needed of GitHub, in one repository; errors and promises are those of `Pulls`."""

    def issues(self, marker: str) -> tuple[Issue, ...]:
        """Return our issues whose body begins with the marker, oldest first."""

    def keep(self, step: Step) -> str:
        """Carry out one step; return the address of the issue."""


def alarm(title: str, body: str, there: Sequence[Issue]) -> list[Step]:
    """Return what makes the oldest the only open one, with this body; none where it is so."""
    if not there:
        return [Open(title=title, body=body)]
    first = there[0]
    said = first.open and first.body.replace("\r\n", "\n").rstrip() == body.rstrip()
    return [*([] if said else [Rewrite(issue=first, body=body)]), *_repeated(there)]


def all_is_well(text: str, there: Sequence[Issue]) -> list[Step]:
    """Return what closes the oldest with a comment, and what says the same."""
    closing: list[Step] = [Close(issue=one, text=text) for one in there[:1] if one.open]
    return [*closing, *_repeated(there)]


def _repeated(there: Sequence[Issue]) -> list[Step]:
    """Close what two runs at the same moment opened twice."""
    return [Close(issue=one, text=f"See #{there[0].number}.") for one in there[1:] if one.open]
