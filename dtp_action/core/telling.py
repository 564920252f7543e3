"""Which pull requests and commits are to be told what: pages of rows, mentions, commit statuses.

Knows neither GitHub's API nor how a comment looks. What was told before is seen by hidden marks in
our own comments, so that telling can be repeated and made up for, and is done once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from dtp_action import __version__
from dtp_action.core import addresses, comment, pulls, report
from dtp_action.core.model import (
    Adopt,
    Desired,
    Entry,
    Finding,
    Hold,
    Note,
    Notify,
    Observed,
    Open,
    Origin,
    Phase,
    Ref,
    Severity,
    Why,
)
from dtp_action.core.planner import Plan, unreadable_of
from dtp_action.core.preview import Preview
from dtp_action.core.pulls import Comment, CommitStatus, Remove, Say, Shown, State, Write

Row = dict[str, Any]

KEPT_TRUE = timedelta(days=7)  # so long after its jobs have ended a comment is still looked after
MENTIONED = timedelta(days=1)  # so long after its end a mention is made up for
MOST_OLD = 20  # pull requests without an open job that one run looks after: one query
NOT_STARTED = "it has not started yet: dtp dispatch starts it"
WITHDRAWN = (Why.REPLACED, Why.REMOVED)


def discreet(note: Note) -> Note:
    """Return what everybody may read of a note: a cluster may have said why a job is held."""
    return replace(note, reason=addresses.hide(note.reason)) if note.state == "held" else note


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one pull request is to be told: its jobs' last attempts, and what does not run."""

    number: int
    author: str | None
    rows: tuple[Row, ...] = ()
    notes: tuple[Note, ...] = ()
    ended: tuple[Entry, ...] = ()  # whose ends may be worth a mention
    adopted: bool = False  # nothing of it was run here: told where there is a comment already

    def discreet(self) -> Page:
        """Return what everybody may read of it."""
        return replace(
            self,
            rows=tuple(report.discreet(self.rows)),
            notes=tuple(map(discreet, self.notes)),
        )

    @property
    def open(self) -> bool:
        """True while an attempt of it has not ended."""
        return any(not Phase(row["phase"]).ended for row in self.rows)

    @property
    def stamp(self) -> str:
        """The hidden line that tells whether a comment says this already; '' while it changes."""
        if self.open:
            return ""
        said = json.dumps([__version__, self.rows, [vars(note) for note in self.notes]])
        return f"<!-- {hashlib.sha256(said.encode()).hexdigest()[:16]} -->"


def pages(observed: Observed, notes: Iterable[tuple[Origin, Note]]) -> tuple[Page, ...]:
    """Return the pages to look after: of all open jobs and notes, and of what ended lately."""
    by_number: dict[int, list[Entry]] = {}
    for entry in observed.entries:
        if entry.origin.pull_request:
            by_number.setdefault(entry.origin.pull_request, []).append(entry)
    noted: dict[int, list[tuple[Origin, Note]]] = {}
    for origin, note in notes:
        if origin.pull_request:
            noted.setdefault(origin.pull_request, []).append((origin, note))
    wanted = noted.keys() | looked_after(observed)
    return tuple(
        _page(number, by_number.get(number, []), noted.get(number, []), observed)
        for number in sorted(wanted)
    )


def looked_after(observed: Observed) -> set[int]:
    """Return the pull requests of what is open, of what ended lately, and a few older ones."""
    fresh, old = set[int](), dict[int, datetime]()
    for entry in observed.entries:
        number, settled = entry.origin.pull_request, _settled(entry)
        if not number:
            continue
        if settled is None or (_since(entry, observed) <= MENTIONED and not entry.adopted):
            fresh.add(number)
        elif _since(entry, observed) <= KEPT_TRUE:
            old[number] = max(settled, old.get(number, settled))
    newest = sorted(old, key=lambda number: (old[number], number))[-MOST_OLD:]
    return fresh | set(newest)


def unattributed(observed: Observed, most: int) -> dict[str, timedelta]:
    """Return {commit: how long ago its first attempt was recorded}, where GitHub is to be asked.

    The newest ones, and not too many, of what is looked after.
    """
    found: dict[str, timedelta] = {}
    for entry in sorted(observed.entries, key=lambda entry: entry.created, reverse=True):
        origin, age = entry.origin, observed.now - entry.created
        if origin.asked or _since(entry, observed) > KEPT_TRUE:
            continue
        if origin.commit in found or len(found) < most:
            found[origin.commit] = age
    return found


def _settled(entry: Entry) -> datetime | None:
    """Return when an attempt was told to have ended; None while it is open."""
    end = entry.outcome
    return (end.settled or end.finished or entry.created) if end else None


def _since(entry: Entry, observed: Observed) -> timedelta:
    """Return how long ago that was; nothing while it is open."""
    return observed.now - (_settled(entry) or observed.now)


def _page(
    number: int, entries: list[Entry], notes: list[tuple[Origin, Note]], observed: Observed
) -> Page:
    last = {entry.ref: entry for entry in sorted(entries, key=lambda entry: entry.attempt)}
    authors = [e.origin.author for e in entries] + [origin.author for origin, _ in notes]
    return Page(
        number=number,
        adopted=bool(entries) and not notes and all(entry.adopted for entry in entries),
        author=next(filter(None, authors), None),
        rows=tuple(report.rows([last[ref] for ref in sorted(last)], observed)),
        notes=tuple(note for _, note in notes),
        ended=tuple(entry for entry in entries if _is_news(entry, observed)),
    )


def _is_news(entry: Entry, observed: Observed) -> bool:
    """Tell whether the end of an attempt is worth a comment of its own."""
    if not entry.outcome or entry.adopted or _since(entry, observed) > MENTIONED:
        return False
    if entry.notify is Notify.NEVER or entry.outcome.why in WITHDRAWN:
        return False
    well = entry.outcome.phase is Phase.SUCCEEDED and not entry.outcome.doubts
    return entry.notify is Notify.END or not well


def notes(desired: Desired, observed: Observed, planned: Plan) -> tuple[Note, ...]:
    """Return what the branch asks for and does not run: held jobs, rejected scripts."""
    ran = _ran(desired, observed)
    held = [
        Note(ref=str(step.ref), state="held", reason=step.reason, path=step.ref.path)
        for step in planned.actions
        if isinstance(step, Hold) and step.ref in desired.wanted
    ]
    first: dict[str, Finding] = {}
    for finding in planned.rejected:
        if finding.severity is Severity.ERROR and finding.path not in ran:
            first.setdefault(finding.path, finding)
    return (*held, *(_rejected(finding) for finding in first.values()))


def not_started(desired: Desired, observed: Observed, planned: Plan) -> tuple[Note, ...]:
    """Return the notes, and what only waits for a run that starts it; without what is unreadable.

    That is told of apart, by the name of what cannot be read.
    """
    waits = [
        Note(ref=str(draft.ref), state="held", reason=NOT_STARTED, path=draft.ref.path)
        for step in planned.actions
        if isinstance(step, Open | Adopt) and (draft := step.draft)
    ]
    found = (*notes(desired, observed, planned), *waits)
    return tuple(note for note in found if not _unreadable(note, observed))


def _unreadable(note: Note, observed: Observed) -> bool:
    try:
        return bool(unreadable_of(Ref.parse(note.ref), observed))
    except ValueError:
        return False


def _ran(desired: Desired, observed: Observed) -> set[str]:
    """Return the paths whose present bytes have an attempt."""
    known = {(entry.ref, entry.blob) for entry in observed.entries}
    return {one.path for ref, one in desired.wanted.items() if (ref, one.blob) in known}


def not_run(desired: Desired, observed: Observed) -> set[str]:
    """Return the paths of which there may be a note."""
    paths = {one.path for one in desired.wanted.values()} | {one.path for one in desired.findings}
    return paths - _ran(desired, observed)


def _rejected(finding: Finding) -> Note:
    return Note(
        ref=finding.path.removeprefix("dtp-jobs/").removesuffix(".sh"),
        state="rejected",
        reason=finding.message,
        path=finding.path,
        line=finding.line,
        fix=finding.fix,
    )


# --- the comment that is kept true ---------------------------------------------------------------


def says(page: Page, shown: Shown, cluster: str) -> bool:
    """Tell whether the page's comment says all of it already."""
    marker = pulls.marker("status", cluster)
    ours = [c.body for c in shown.comments.get(page.number, ()) if c.body.startswith(marker)]
    return len(ours) == 1 and bool(page.stamp) and page.stamp in ours[0].splitlines()[1:2]


def status(page: Page, text: str, cluster: str, shown: Shown | None = None) -> Say:
    """Return the page's comment; what it showed before tells whether that was the preview of it."""
    marker = pulls.marker("status", cluster)
    ours = shown.comments.get(page.number, ()) if shown else ()
    before = (read_previewed(one.body) for one in ours if one.body.startswith(marker))
    about = next(filter(None, before), None)
    hidden = [page.stamp, about.line if about else ""]
    differs = comment.not_previewed(about.commit, about.differing(page.rows)) if about else ""
    lines = [*filter(None, hidden), "\n\n".join(filter(None, [text, differs]))]
    return Say(number=page.number, marker=marker, text="\n".join(lines))


# --- before the merge ----------------------------------------------------------------------------

PREVIEW = re.compile(r"<!-- preview ([0-9a-f]{0,64}) (\S+) ((?:[0-9a-f]{8}\.?)*) -->")


@dataclass(frozen=True, kw_only=True)
class Previewed:
    """What the hidden line of a preview tells: its commit, the branch, which bytes jobs had."""

    commit: str
    into: str
    scripts: frozenset[str]  # a short hash of each ref and blob

    @property
    def line(self) -> str:
        """The hidden line."""
        into = quote(self.into, safe="").replace("-", "%2D") or "."
        return f"<!-- preview {self.commit} {into} {'.'.join(sorted(self.scripts))} -->"

    def differing(self, rows: Iterable[Row]) -> list[str]:
        """Return the jobs that did not run with the bytes that were previewed."""
        return [row["ref"] for row in rows if _script(row["ref"], row["blob"]) not in self.scripts]


def previewed(preview: Preview) -> Previewed:
    """Return what a preview is about."""
    return Previewed(
        commit=preview.commit,
        into=preview.into,
        scripts=frozenset(_script(str(one.ref), one.blob) for one in preview.rows if one.blob),
    )


def _script(ref: str, blob: str) -> str:
    return hashlib.sha256(f"{ref} {blob}".encode()).hexdigest()[:8]


def read_previewed(body: str) -> Previewed | None:
    """Return what a comment of ours last previewed, also where it tells of an end by now."""
    found = PREVIEW.search("\n".join(body.splitlines()[:3]))
    if not found:
        return None
    hashes = frozenset(filter(None, found[3].split(".")))
    return Previewed(commit=found[1], into=unquote(found[2]).strip("."), scripts=hashes)


def proposal(number: int, text: str, cluster: str, about: Previewed) -> Say:
    """Return the comment of an open pull request."""
    marker = pulls.marker("status", cluster)
    return Say(number=number, marker=marker, text=f"{about.line}\n{text}")


def outdated(number: int, into: str, shown: Shown, cluster: str) -> list[Write]:
    """Return what removes previews for other clusters of what was to go to another branch.

    A pull request goes to one branch: what was said of the one before is true no more.
    """
    marker = pulls.marker("status", cluster)
    return [
        Remove(comment=ours)
        for ours in shown.comments.get(number, ())
        if not ours.body.startswith(marker)
        and (about := read_previewed(ours.body))
        and about.into
        and into
        and about.into != into
    ]


# --- mentions ------------------------------------------------------------------------------------


def unmentioned(page: Page, shown: Shown, cluster: str) -> tuple[Entry, ...]:
    """Return the ends that no comment of ours has told of."""
    told = {mark for _, marks in _mentions(page, shown, cluster) for mark in marks}
    return tuple(entry for entry in page.ended if _mark(entry) not in told)


def _mentions(page: Page, shown: Shown, cluster: str) -> list[tuple[Comment, frozenset[str]]]:
    """Return our mentions on a pull request, each with the marks of the ends it tells of."""
    begin = _mention_marker(cluster)
    return [
        (ours, frozenset(ours.body.removeprefix(begin).partition(" -->")[0].split()))
        for ours in shown.comments.get(page.number, ())
        if ours.body.startswith(begin)
    ]


def mention(page: Page, ended: Iterable[Entry], text: str, cluster: str) -> Say:
    """Return the one comment that tells of these ends; its marker says which they are."""
    marker = pulls.marker("ended", cluster, *sorted(_mark(entry) for entry in ended))
    return Say(number=page.number, marker=marker, text=text)


def repeated(page: Page, shown: Shown, cluster: str) -> list[Write]:
    """Return what removes mentions that say no more than another: runs may overlap."""
    found = _mentions(page, shown, cluster)
    return [
        Remove(comment=ours)
        for at, (ours, marks) in enumerate(found)
        if any(
            marks < other or (marks == other and place < at)
            for place, (_, other) in enumerate(found)
        )
    ]


def _mention_marker(cluster: str) -> str:
    return pulls.marker("ended", cluster).removesuffix("-->")


def _mark(entry: Entry) -> str:
    """Return what tells this attempt from all others: the end of its name, its number."""
    return ".".join(entry.name.rsplit("-", 2)[1:])


# --- commit statuses -----------------------------------------------------------------------------


def commits(observed: Observed) -> dict[str, list[Entry]]:
    """Return all attempts of each commit of which something is open, or ended lately."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(observed.entries, key=lambda entry: entry.attempt):
        if not entry.adopted:
            found.setdefault(entry.origin.commit, []).append(entry)
    return {
        commit: entries
        for commit, entries in found.items()
        if any(_since(entry, observed) <= KEPT_TRUE for entry in entries)
    }


def last_of(entries: Iterable[Entry]) -> list[Entry]:
    """Return each job's last attempt; attempts come oldest first."""
    return list({entry.ref: entry for entry in entries}.values())


def commit_status(rows: list[Row], context: str, url: str) -> CommitStatus:
    """Return what a commit is told of the jobs that it brought; `url` is their comment's, or ''."""
    said = comment.description(rows)
    return CommitStatus(context=context, state=_state(rows), description=said, url=url)


def _state(rows: Iterable[Row]) -> State:
    found = {Phase(row["phase"]) for row in rows}
    if any(not phase.ended for phase in found):
        return State.PENDING
    if found & {Phase.ERRORED, Phase.LOST}:
        return State.ERROR
    return State.FAILURE if Phase.FAILED in found else State.SUCCESS
