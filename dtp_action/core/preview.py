"""Foresees what merging a pull request will do to each job that it changes, and says why.

Pure: asks the planner itself where a status document tells how the ledger stands, and speaks
conditionally where there is none. What only time does (a limit that passes) is not foreseen. Knows
neither git nor GitHub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple, assert_never

from dtp_action.core import beside, catalog_changes, phases, planner, report, scripts, secrets
from dtp_action.core import catalog as catalogs
from dtp_action.core.catalog import Catalog
from dtp_action.core.catalog_changes import RowChange
from dtp_action.core.cluster_settings import Caps, ClusterSettings
from dtp_action.core.model import (
    Action,
    Desired,
    End,
    Entry,
    Finding,
    Hold,
    Observed,
    Open,
    Origin,
    Phase,
    Ref,
    Script,
    Severity,
    Spec,
    Status,
    Wanted,
    subject,
)
from dtp_action.core.pulls import Disabled
from dtp_action.core.quantities import LARGEST, print_cpu, print_memory, print_time
from dtp_action.core.scripts import File
from dtp_action.core.status_document import StatusDocument
from dtp_action.errors import UsageError


class Change(StrEnum):
    """What a pull request does to a script; `MODE` is only its x bit.

    With `CATALOG` the script stays as it is, and the catalog lets it run, or no longer does.
    """

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    MODE = "mode"
    CATALOG = "catalog"


class Will(StrEnum):
    """What merging will do to a job."""

    RUN = "runs"
    HOLD = "does not run"
    REJECT = "cannot run"
    CANCEL = "is cancelled"
    END = "is ended"
    GO_ON = "goes on"
    NOTHING = "nothing changes"
    DEPENDS = "depends"


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Everything under `dtp-jobs/` before and after a merge of `commit`, scripts with content.

    `conflicts` are the paths, anywhere in the repository, for which git has no answer: in `after`
    they are as the commit has them. `by_file`: git was too old to merge, so that each path is the
    base's or the commit's.
    """

    commit: str
    before: tuple[File, ...]
    after: tuple[File, ...]
    base: str = ""  # the commit that it is merged into
    conflicts: tuple[str, ...] = ()
    by_file: bool = False

    def changes(self) -> dict[str, Change]:
        """Return what happens to each path that is not the same before and after."""
        old, new = ({file.path: file for file in files} for files in (self.before, self.after))
        changes = dict.fromkeys(old.keys() - new.keys(), Change.REMOVED)
        changes |= dict.fromkeys(new.keys() - old.keys(), Change.ADDED)
        for path in old.keys() & new.keys():
            modes = {old[path].mode, new[path].mode}
            if old[path].blob != new[path].blob:
                changes[path] = Change.CHANGED
            elif len(modes) > 1:  # from file to link, or only the x bit
                changes[path] = Change.CHANGED if modes & scripts.LINKS.keys() else Change.MODE
        return changes

    def beside(self) -> dict[str, tuple[str, ...]]:
        """Return the changed paths of files beside scripts, by their scripts' paths."""
        found: dict[str, tuple[str, ...]] = {}
        for path, change in sorted(self.changes().items()):
            if (script := beside.owner(path)) != path and change is not Change.MODE:
                found[script] = (*found.get(script, ()), path)
        return found


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What merging will do to one job, and why; refs and directives in `why` stand in backticks."""

    ref: Ref
    change: Change
    will: Will
    why: str
    blob: str | None = None  # of the script after the merge; None: it is removed
    attempt: int | None = None  # the number it will run as, where known
    image: str = ""
    limits: str = ""  # such as "1 CPU, 2Gi memory, 10Gi disk, 1d"
    secrets: tuple[str, ...] = ()  # names of the Secrets it may use
    retries: int = 0
    resume: bool = False
    service: bool = False
    findings: tuple[Finding, ...] = ()
    copy_of: Ref | None = None  # a present or removed job of the same bytes
    files: tuple[str, ...] = ()  # the paths of its files that change


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What merging will do, a row for each changed job."""

    rows: tuple[Foreseen, ...]
    findings: tuple[Finding, ...] = ()  # about changed paths that name no job
    as_of: str | None = None  # RFC 3339 time of the status document; None: conditional
    commit: str = ""  # what is merged
    base: str = ""  # and into which commit
    into: str = ""  # whose branch this is, where known
    follows: str = ""  # the branch that the cluster follows, as far as known
    conflicts: tuple[str, ...] = ()  # paths, anywhere in the repository
    by_file: bool = False  # merged by a git that cannot do it as GitHub will
    catalog: tuple[RowChange, ...] = ()
    disabled: tuple[Disabled, ...] = ()  # workflows, as far as this could be asked

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of jobs and of other paths."""
        return (*self.findings, *(finding for row in self.rows for finding in row.findings))

    @property
    def switched_off(self) -> bool:
        """Tell whether the merge itself starts nothing."""
        return any(one.starts for one in self.disabled)

    @property
    def elsewhere(self) -> bool:
        """Tell whether the cluster follows another branch: then no job starts here."""
        return bool(self.into and self.follows) and self.into != self.follows

    @property
    def nothing_starts(self) -> bool:
        """Tell whether the catalog of the branch cannot be read: then no job starts at all."""
        return any(
            (finding.code, finding.severity) == ("catalog", Severity.ERROR)
            for finding in self.findings
        )

    @property
    def rejected(self) -> bool:
        """Tell whether any finding is an error, or git cannot merge it."""
        errors = (finding.severity is Severity.ERROR for finding in self.all_findings)
        return bool(self.conflicts) or any(errors)


def foresee(
    merge: Merge,
    desired: Desired,
    *,
    catalog: Catalog,
    before: Catalog | None = None,
    document: StatusDocument | None = None,
    author: str | None = None,
) -> Preview:
    """Return what merging will do; `desired` is what the branch asks for after it.

    `before` is the catalog of before the merge, where that is another. `author` is the pull
    request's. Grants are judged only where it and the settings are known.
    """
    before = before or catalog
    settings = document.settings if document else None
    max_new = document.max_new if document else planner.MAX_NEW
    resolve = _resolver(catalog, settings, author)
    turned = _turned(merge, before, catalog, settings) if before != catalog else set[Ref]()
    jobs = tuple(_jobs(merge, desired, resolve, document, turned))
    if document:
        tell = _by_plan(document.observed, desired, resolve, author, max_new)
    else:
        tell = _by_rule(jobs, max_new)
    paths = {scripts.FOLDER, catalogs.SITE_FILE, *map(scripts.shown, merge.changes())}
    paths |= {beside.folder(script) for script in (*merge.beside(), *merge.changes())}
    return Preview(
        rows=tuple(_row(job, tell(job), grants=bool(settings and author)) for job in jobs),
        findings=tuple(finding for finding in desired.findings if finding.path in paths),
        as_of=document.as_of if document else None,
        commit=merge.commit,
        base=merge.base,
        conflicts=merge.conflicts,
        by_file=merge.by_file,
        catalog=catalog_changes.changes(before, catalog, sorted(desired.wanted)),
    )


def _turned(
    merge: Merge, before: Catalog, after: Catalog, settings: ClusterSettings | None
) -> set[Ref]:
    """Return the jobs of the branch that the catalog lets run and did not, or the reverse."""
    old, new = (
        scripts.discover(merge.after, commit="", catalog=one, settings=settings).wanted
        for one in (before, after)
    )
    return {ref for ref in new if (new[ref].script is None) != (old[ref].script is None)}


def dump(preview: Preview) -> dict[str, Any]:
    """Return the JSON form, without its version."""
    rows = [
        asdict(row)
        | {"ref": str(row.ref), "copy_of": str(row.copy_of) if row.copy_of else None}
        | {"findings": report.findings(row.findings)}
        for row in preview.rows
    ]
    return {
        "as_of": preview.as_of,
        "commit": preview.commit,
        "base": preview.base,
        "conflicts": list(preview.conflicts),
        "disabled": [asdict(one) for one in preview.disabled],
        "jobs": rows,
        "catalog": [
            asdict(change) | {"jobs": [str(ref) for ref in change.jobs]}
            for change in preview.catalog
        ],
        "findings": report.findings(preview.findings),
    }


# --- the protocol rows ---------------------------------------------------------------------------


class Rows(NamedTuple):
    """The protocol rows that count before and after a merge, and what is to be said of them."""

    before: Catalog
    after: Catalog
    remarks: tuple[Finding, ...] = ()


def rows_of(merge: Merge) -> Rows:
    """Return the rows as the branch's own file changes them.

    Where that cannot be read after the merge, the rows from before it count.
    """
    builtin = catalogs.builtin()
    try:
        before = _extended(builtin, merge.before)
    except UsageError:
        before = builtin
    try:
        after = _extended(builtin, merge.after)
    except UsageError as error:
        why = error.message.removeprefix(f"{catalogs.SITE_FILE}: ")  # the finding has the place
        about = _about_rows(f"{why}: no job starts until that is corrected")
        return Rows(before, before, (about,))
    changed = [one.protocol for one in catalog_changes.changes(before, after, ())]
    if not changed:
        return Rows(before, after)
    words = f"changes {', '.join(changed)}: that counts for attempts yet to be recorded"
    about = replace(_about_rows(words), severity=Severity.WARNING)
    return Rows(before, after, (about,))


def _extended(rows: Catalog, files: Iterable[File]) -> Catalog:
    """Return the rows as the branch's own catalog changes them. Raises UsageError."""
    for file in files:
        if file.path == catalogs.SITE_FILE and file.size != len(file.content):
            raise UsageError(f"{file.path} is not a plain file of at most 256 KiB")
        if file.path == catalogs.SITE_FILE and file.content:
            return catalogs.parse(file.content, file.path, base=rows)
    return rows


def _about_rows(message: str) -> Finding:
    words = scripts.shown(secrets.redact(message))
    return Finding(path=catalogs.SITE_FILE, code="catalog", message=words)


# --- the jobs that change ------------------------------------------------------------------------

Resolve = Callable[[Script], Spec | tuple[Finding, ...]]
UNBOUNDED = ClusterSettings(
    claim="",
    runner_image="",
    caps=Caps(cpu_millis=LARGEST, memory=LARGEST, disk=LARGEST, time=LARGEST),
)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A job that changes. Without `blob` it is removed, without `script` removed or rejected."""

    ref: Ref
    change: Change
    blob: str | None = None
    script: Script | None = None
    spec: Spec | None = None
    findings: tuple[Finding, ...] = ()
    files: tuple[str, ...] = ()  # those of its files that change
    twin: Ref | None = None  # a job of the same bytes
    twin_goes: bool = False

    @property
    def rejected(self) -> bool:
        return self.blob is not None and self.spec is None

    @property
    def asked(self) -> int:
        """The attempt that the script asks for, or 0."""
        return (self.script.directives.attempt if self.script else None) or 0


def _resolver(catalog: Catalog, settings: ClusterSettings | None, author: str | None) -> Resolve:
    """Return how scripts are judged; what cannot be known keeps none from running."""

    def resolve(script: Script) -> Spec | tuple[Finding, ...]:
        if not (settings and author):
            script = replace(script, directives=replace(script.directives, secrets=()))
        bounds = settings or UNBOUNDED
        return catalogs.resolve(script, catalog=catalog, settings=bounds, author=author)

    return resolve


def _jobs(
    merge: Merge,
    desired: Desired,
    resolve: Resolve,
    document: StatusDocument | None,
    turned: set[Ref],
) -> Iterator[_Job]:
    """Yield the jobs that the merge changes, by ref; `turned` are those of the catalog."""
    changes, files = merge.changes(), merge.beside()
    changes = dict.fromkeys(files, Change.CHANGED) | {
        path: change
        for path, change in changes.items()
        if not (change is Change.MODE and path in files)
    }
    left = [file for file in merge.before if changes.get(file.path) is Change.REMOVED]
    nothing = Catalog(rows={})
    gone = scripts.discover(left, commit="", catalog=nothing, settings=None).wanted
    touched = {
        ref: one for ref, one in desired.wanted.items() if one.path in changes or ref in turned
    }
    kept = (one for ref, one in desired.wanted.items() if ref not in touched)
    ran = document.observed.entries if document else ()
    others: tuple[Wanted | Entry, ...] = (*gone.values(), *kept, *ran)
    twins: dict[tuple[str, str], Ref] = {}  # the first of each protocol with these bytes
    for known in others:
        twins.setdefault((known.ref.protocol, known.blob), known.ref)
    for ref in sorted({*gone, *touched}):
        if ref in gone:
            yield _Job(ref=ref, change=Change.REMOVED)
            continue
        change = changes.get(ref.path, Change.CATALOG)
        job = _judged(touched[ref], change, files.get(ref.path, ()), resolve)
        twin = twins.setdefault((ref.protocol, touched[ref].blob), ref)
        yield replace(job, twin=twin if twin != ref else None, twin_goes=twin not in desired.wanted)


def _judged(wanted: Wanted, change: Change, files: tuple[str, ...], resolve: Resolve) -> _Job:
    spec = resolve(wanted.script) if wanted.script else ()
    refused = spec if isinstance(spec, tuple) else ()
    return _Job(
        ref=wanted.ref,
        change=change,
        blob=wanted.blob,
        script=wanted.script,
        files=files,
        spec=None if isinstance(spec, tuple) else spec,
        findings=tuple(sorted({*wanted.findings, *refused})),
    )


# --- what happens to one -------------------------------------------------------------------------

AGAIN = "comment `/dtp retry {ref}` after the merge, or add the line `#DTP attempt={next}`"
REJECTED = "Nothing of it runs until each error found in it is dealt with."
STATES = {
    Phase.WAITING: "is waiting",
    Phase.RUNNING: "is running",
    Phase.SUCCEEDED: "is done",
    Phase.FAILED: "failed",
    Phase.ERRORED: "errored",
    Phase.CANCELLED: "was cancelled",
    Phase.LOST: "is lost",
}


class _Told(NamedTuple):
    will: Will
    why: str
    attempt: int | None = None


Tell = Callable[[_Job], _Told]


def _row(job: _Job, told: _Told, *, grants: bool) -> Foreseen:
    """Return a job's row: what happens to it, and what it may use."""
    row = Foreseen(
        ref=job.ref,
        change=job.change,
        will=told.will,
        why=told.why + _files(job),
        blob=job.blob,
        attempt=told.attempt,
        findings=job.findings,
        copy_of=job.twin,
        files=job.files,
    )
    if not (job.spec and job.script):
        return row
    spec, named = job.spec, job.script.directives.secrets
    own = f"dtp-{job.ref.protocol}"
    names = ", ".join(f"`{name}`" for name in named)
    granted = f" The cluster's admin has to have granted {names} to the author." if names else ""
    time = print_time(spec.time) if spec.time < LARGEST else "the cluster's cap of time"
    return replace(
        row,
        why=row.why if grants else row.why + granted,
        image=spec.image,
        limits=f"{print_cpu(spec.cpu_millis)} CPU, {print_memory(spec.memory)} memory,"
        f" {print_memory(spec.disk)} disk, {time}",
        secrets=(own, *(f"{own}-{name}" for name in named)),
        retries=spec.retries,
        resume=spec.resume,
        service=spec.service,
    )


SHOWN = 5  # files of a job that its row names


def _files(job: _Job) -> str:
    """Say which files of a job change."""
    if not job.files:
        return ""
    paths = (scripts.shown(path).replace("`", "'") for path in job.files)
    names = [f"`{path.removeprefix(f'{scripts.FOLDER}/')}`" for path in paths]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    word = "Its files" if job.change is Change.ADDED else "Changed files"
    return f" {word}: {', '.join(names[:SHOWN])}{more}."


def _new(job: _Job, again: int = 2) -> str:
    """Say that a job is new, and how one runs again that goes by another name."""
    if job.change is Change.CATALOG:
        return "The changed catalog allows it: it runs once when this is merged."
    if not job.twin:
        if job.spec and job.spec.service:
            return "A new service: it starts when this is merged."
        return "A new job: it runs once when this is merged."
    keep = f"keep the name `{job.twin}` and " if job.twin_goes else ""
    how = AGAIN.format(ref=job.twin, next=again)
    return (
        f"The same bytes as `{job.twin}`: under another name it is another job, with a directory of"
        f" its own. To run `{job.twin}` again: {keep}{how}."
    )


# --- by what the ledger shows --------------------------------------------------------------------


def _by_plan(
    observed: Observed, desired: Desired, resolve: Resolve, author: str | None, max_new: int
) -> Tell:
    """Return what tells by asking the planner what it would do after the merge."""
    origin = Origin(commit=desired.commit, author=author)
    policy = planner.Policy(
        resolve=lambda script, _author: resolve(script),
        origins=lambda refs: dict.fromkeys(refs, origin),
        stuck_limit=LARGEST,
        queue_allowance=LARGEST,
        retention=0,
        max_new=max_new,
    )
    actions: dict[Ref, list[Action]] = {}
    for action in planner.plan(desired, observed, policy).actions:
        actions.setdefault(subject(action)[0], []).append(action)
    last = {e.ref: e for e in sorted(observed.entries, key=lambda entry: entry.attempt)}

    def tell(job: _Job) -> _Told:
        entry, steps = last.get(job.ref), actions.get(job.ref, [])
        if entry is None:
            return _first(job, steps, last)
        status = phases.judge(entry, observed)
        if status.phase.ended:
            return _after(job, steps, entry.attempt, status)
        return _meanwhile(job, steps, entry, status.phase)

    return tell


def _opened(steps: list[Action]) -> int | None:
    return next((step.draft.attempt for step in steps if isinstance(step, Open)), None)


def _held(steps: list[Action]) -> str:
    return next((step.reason for step in steps if isinstance(step, Hold)), "")


def _first(job: _Job, steps: list[Action], last: dict[Ref, Entry]) -> _Told:
    """Tell of a job that has no attempt yet."""
    if job.blob is None:
        return _Told(Will.NOTHING, "It has never run here.")
    if job.rejected:
        return _Told(Will.REJECT, REJECTED)
    if attempt := _opened(steps):
        again = last[job.twin].attempt + 1 if job.twin in last else 2
        return _Told(Will.RUN, _new(job, again), attempt)
    return _Told(Will.HOLD, f"The cluster's admin has to decide: {_held(steps)}.")


def _after(job: _Job, steps: list[Action], number: int, status: Status) -> _Told:
    """Tell of a job whose last attempt has ended."""
    doubted = ", with doubts" if status.doubts else ""
    state = f"Attempt {number} {STATES[status.phase]}{doubted}"
    again = f"To run it: {AGAIN.format(ref=job.ref, next=number + 1)}."
    if job.blob is None:
        return _Told(Will.NOTHING, f"{state}; its record and its files stay.")
    if job.rejected:
        return _Told(Will.REJECT, REJECTED)
    if attempt := _opened(steps):
        why = f"`#DTP attempt={attempt}` asks for it" if attempt == job.asked else state
        return _Told(Will.RUN, f"{why}: this runs as attempt {attempt}.", attempt)
    if _held(steps):
        return _Told(Will.HOLD, f"{state}, and then a change does not run by itself. {again}")
    return _Told(Will.NOTHING, f"{state}, with the same bytes. {again}")


def _meanwhile(job: _Job, steps: list[Action], entry: Entry, phase: Phase) -> _Told:
    """Tell of a job whose last attempt has not ended."""
    number, ends = entry.attempt, any(isinstance(step, End) for step in steps)
    state = f"Attempt {number} {'is being ended' if entry.intent else STATES[phase]}"
    if job.rejected:
        how = f"attempt {number} is cancelled" if ends else f"attempt {number} goes on"
        return _Told(Will.REJECT, f"{REJECTED} Meanwhile {how}.")
    if job.blob is None and ends and phase is Phase.RUNNING:
        return _Told(Will.END, f"{state}: a service is ended with its script, and is done then.")
    if job.blob is None and ends:
        return _Told(Will.CANCEL, f"Attempt {number} has not started: it is cancelled.")
    if job.blob is None:
        how = f"and goes on; to end it, comment `/dtp cancel {job.ref}`"
        return _Told(Will.GO_ON, f"{state} {'already' if entry.intent else how}.")
    if ends:
        following = max(number + 1, job.asked)
        why = f"Attempt {number} has not started: it is cancelled, and this runs as attempt"
        return _Told(Will.RUN, f"{why} {following}.", following)
    if job.asked > number:
        why = f"{state}; when it has ended, this runs as attempt {job.asked}."
        return _Told(Will.RUN, why, job.asked)
    if job.blob == entry.blob and not entry.intent:
        return _Told(Will.GO_ON, f"{state}, with the same bytes, and goes on.")
    how = f"to run it: {AGAIN.format(ref=job.ref, next=number + 1)}"
    if entry.intent:
        return _Told(Will.DEPENDS, f"{state}. If this does not run after that, {how}.")
    why = f"{state}, with other bytes. If it fails, this runs as attempt {number + 1}; else,"
    return _Told(Will.DEPENDS, f"{why} {how}.")


# --- by rule, where nothing is known of the ledger -----------------------------------------------


def _by_rule(jobs: Iterable[_Job], max_new: int) -> Tell:
    """Return what tells conditionally."""
    new = sum(job.change is Change.ADDED and not job.rejected for job in jobs)

    def tell(job: _Job) -> _Told:
        if job.rejected:
            return _Told(Will.REJECT, REJECTED)
        match job.change:
            case Change.ADDED if new > max_new:
                why = f"{new} new jobs at once are held until the cluster's admin lets them run."
                return _Told(Will.HOLD, why)
            case Change.ADDED:
                return _Told(Will.RUN, _new(job), job.asked or None)
            case Change.CHANGED:
                return _Told(Will.DEPENDS, _changed(job))
            case Change.CATALOG:
                why = "The changed catalog allows it: it runs if it has never run, or if it was"
                return _Told(Will.DEPENDS, f"{why} changed after its last attempt failed.")
            case Change.MODE:
                return _Told(Will.NOTHING, "Only the x bit changes, which never matters.")
            case Change.REMOVED:
                why = "If it has not started, it is cancelled; a service is ended; what else is"
                why += f" running goes on, and `/dtp cancel {job.ref}` ends it."
                return _Told(Will.DEPENDS, why)
            case _:
                assert_never(job.change)

    return tell


def _changed(job: _Job) -> str:
    asked = job.asked
    start = f"If its last attempt is below {asked}, this runs as attempt {asked}. " if asked else ""
    how = AGAIN.format(ref=job.ref, next=f"{asked + 1 if asked else 2}")
    return (
        f"{start}If its last attempt failed or is done with doubts, this runs; if it succeeded, it"
        f" does not: {how}"
        f"{'' if asked else ' (or a higher number)'}."
    )
