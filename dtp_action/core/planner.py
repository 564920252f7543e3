"""Compares what the branch asks with what the cluster shows, and returns what to do.

Pure: the same look gives the same actions. Running what it returned, looking again and planning
again ends with nothing to do. The rules stand in the order in which they are asked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dtp_action.core import naming, phases
from dtp_action.core.manifests import BORN_TTL
from dtp_action.core.model import (
    AUTHOR_UNKNOWN,
    Action,
    Adopt,
    Confirm,
    Desired,
    Draft,
    End,
    Entry,
    Finding,
    Hold,
    Identity,
    Intent,
    JobView,
    Meanings,
    Note,
    Observed,
    Open,
    Origin,
    Outcome,
    Phase,
    Place,
    PodView,
    Ref,
    Retire,
    Script,
    Settle,
    Severity,
    Spec,
    Start,
    Status,
    Unreadable,
    Wanted,
    Why,
)
from dtp_action.errors import ConflictError, UsageError

MAX_NEW = 25
FOR_THE_BRANCH = (Why.REMOVED, Why.REPLACED)  # ended since the branch asks for it no more
HOW_TO_RETRY = "to run it: dtp retry {ref}, or the line #DTP attempt={next} in the script"

HOW_TO_RESTORE = "see docs/reference/ledger.md, what cannot be read"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What bounds a run: `max_new` new jobs at once, and the limits of the cluster.

    `resolve` takes the script and the author of its pull request; `origins` is asked once, for all
    jobs about to run; `meanings` says what a job's tool means by its exit codes. `only`: nothing is
    done about other jobs.
    """

    resolve: Callable[[Script, str | None], Spec | tuple[Finding, ...]]
    origins: Callable[[Iterable[Ref]], Mapping[Ref, Origin]]
    stuck_limit: int
    queue_allowance: int
    retention: int
    meanings: Callable[[Ref], Meanings] = lambda ref: Meanings()  # noqa: ARG005
    max_new: int = MAX_NEW
    first_run: bool = False
    adopt: bool = False
    by: str = "dispatch"
    run: str = ""
    only: Ref | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """What can be asked about a run's commit: does it follow another, as far as the clone knows;
    where is it on the branch as that is now, or None where nobody can say."""

    follows: Callable[[str, str], bool]  # the older, the newer
    place: Callable[[], Place | None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The actions, and the findings that keep scripts from running."""

    actions: tuple[Action, ...]
    rejected: tuple[Finding, ...]


def plan(desired: Desired, observed: Observed, policy: Policy) -> Plan:
    """Return what to do now, for every job that the branch or the ledger knows.

    Where another commit rules, nothing is opened, started or ended for the branch's sake.
    """
    if not rules(observed, desired.commit):
        return Plan(actions=tuple(_follow(observed, policy)), rejected=())
    steps: list[_Step] = []
    by_ref = _by_ref(observed.entries)
    stated = {found.ref for found in observed.unreadable if found.ref}
    known = {*desired.wanted, *by_ref, *stated}
    for ref in sorted(known if policy.only is None else {policy.only}):
        entries = by_ref.get(ref, ())
        if found := unreadable_of(ref, observed):
            steps += _around(found, ref, entries, desired.wanted.get(ref), observed, policy)
            continue
        steps += _for_job(desired.wanted.get(ref), ref, entries, observed, policy)
    opened, rejected = _resolve(steps, policy, observed.now)
    findings = [f for wanted in desired.wanted.values() for f in wanted.findings]
    return Plan(
        actions=_guard(opened, desired, observed, policy),
        rejected=tuple(sorted({*desired.findings, *findings, *rejected})),
    )


def rules(observed: Observed, commit: str) -> bool:
    """Tell whether what this commit asks for is what counts."""
    card = observed.identity
    return card is None or card.commit in ("", commit)


def _follow(observed: Observed, policy: Policy) -> Iterable[Action]:
    """Yield what can be done without knowing what the branch asks for now."""
    blocked = {one.of for one in observed.unreadable}
    for entry in observed.entries:
        if policy.only not in (None, entry.ref) or entry.name in blocked:
            continue
        for step in _for_entry(entry, _asked_as_recorded(entry), observed, policy):
            if not isinstance(step, Start | _Opening):
                yield step


def _asked_as_recorded(entry: Entry) -> Wanted:
    """Return that the branch asks for just what is recorded, which gives no reason to end it."""
    return Wanted(ref=entry.ref, path=entry.ref.path, blob=entry.blob, script=None)


def unreadable_of(ref: Ref, observed: Observed) -> tuple[Unreadable, ...]:
    """Return what cannot be read and may be of this job, as its name has it or as it says."""
    if not observed.unreadable:
        return ()
    parts = {naming.job_part(name) for name in naming.names(ref, 1)}
    return tuple(
        found
        for found in observed.unreadable
        if found.ref == ref or naming.job_part(found.of) in parts
    )


def _around(
    found: tuple[Unreadable, ...],
    ref: Ref,
    entries: tuple[Entry, ...],
    wanted: Wanted | None,
    observed: Observed,
    policy: Policy,
) -> list[_Step]:
    """Hold a job: what of it is active is followed to its end, nothing more is started."""
    blocked = {one.of for one in found}
    steps: list[_Step] = []
    for entry in entries:
        if entry.name not in blocked:
            steps += _for_entry(entry, wanted, observed, policy)
    holds = [
        Hold(ref=ref, attempt=naming.number_part(one.of), reason=phases.unreadable(one))
        for one in found
    ]
    return [*(step for step in steps if not isinstance(step, Start | Hold)), *holds]


def _by_ref(entries: tuple[Entry, ...]) -> dict[Ref, tuple[Entry, ...]]:
    """Return each job's attempts, oldest first."""
    found: dict[Ref, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.attempt):
        found.setdefault(entry.ref, []).append(entry)
    return {ref: tuple(entries) for ref, entries in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """A new attempt before its settings are resolved."""

    name: str
    ref: Ref
    script: Script
    attempt: int
    reason: str
    new: bool = False  # the job has no attempt yet


_Step = Action | _Opening


def _for_job(
    wanted: Wanted | None,
    ref: Ref,
    entries: tuple[Entry, ...],
    observed: Observed,
    policy: Policy,
) -> list[_Step]:
    steps: list[_Step] = []
    for entry in entries:
        steps += _for_entry(entry, wanted, observed, policy)
    if any(isinstance(step, Hold | End) for step in steps):
        return steps
    last = _as_settled(entries[-1], steps) if entries else None
    more = _next(ref, wanted, last, observed)
    if any(isinstance(step, _Opening) for step in more):
        more = _busy(ref, entries, observed) or more
    return steps + more


def _busy(ref: Ref, entries: tuple[Entry, ...], observed: Observed) -> list[_Step]:
    """Return why no attempt of this job may begin: what an earlier one has left may still run."""
    for entry in entries:
        job = observed.jobs.get(entry.name)
        if job and job.end is None and not job.tombstone:
            reason = f"attempt {entry.attempt} is settled, but its Job has not ended yet"
            return [Hold(ref=ref, attempt=entry.attempt, reason=reason)]
        for pod in observed.pods.get(entry.name, ()):
            if not pod.over:
                return [Hold(ref=ref, attempt=entry.attempt, reason=_still_there(entry, pod))]
    return []


def _still_there(entry: Entry, pod: PodView) -> str:
    """Say that a Pod may still run, and what can be done about it."""
    where = f" on node {pod.node}" if pod.node else ""
    return (
        f"a Pod of attempt {entry.attempt} may still be running{where}: {pod.name}; the next"
        " attempt waits for it to stop (if the node is permanently gone, an admin deletes its Node)"
    )


def _as_settled(entry: Entry, steps: list[_Step]) -> Entry:
    """Return the entry as the steps leave it: what is settled now may be followed at once."""
    outcomes = [step.outcome for step in steps if isinstance(step, Settle) and step.entry == entry]
    return replace(entry, outcome=outcomes[0]) if outcomes else entry


# --- an attempt that is recorded -----------------------------------------------------------------


def _for_entry(
    entry: Entry, wanted: Wanted | None, observed: Observed, policy: Policy
) -> list[_Step]:
    job = observed.jobs.get(entry.name)
    ours = job is not None and job.entry_uid == entry.uid
    if entry.outcome:
        return _retire(entry, entry.outcome, job, observed.now, policy) if ours and job else []
    if job is None or (ours and job.tombstone):
        return [_without_job(entry, wanted, observed, policy)]
    if not ours:
        reason = f"the Job {entry.name} belongs to something else: ask the cluster's admin"
        return [Hold(ref=entry.ref, attempt=entry.attempt, reason=reason)]
    return _with_job(entry, job, wanted, observed, policy)


def _without_job(entry: Entry, wanted: Wanted | None, observed: Observed, policy: Policy) -> Action:
    """Rows of an open entry whose Job is not there: it was never made, or it is lost."""
    if entry.adopted:
        return _settle(entry, adopted())
    status = phases.judge(entry, observed)
    if status.phase.ended:
        return _settle(entry, phases.explained(status, policy.meanings(entry.ref)))
    if any(not pod.over for pod in observed.pods.get(entry.name, ())):
        return Hold(ref=entry.ref, attempt=entry.attempt, reason=status.reason)
    if entry.intent:
        return _settle(entry, phases.ended_by(entry.intent))
    age = (observed.now - entry.created).total_seconds()
    if age > BORN_TTL:
        return _settle(entry, phases.lost())
    if entry.waiting and age > policy.queue_allowance:
        intent = _intent(Why.STUCK, observed.now, policy, reason=entry.waiting)
        return End(entry=entry, intent=intent, reason=phases.intended(intent)[1])
    if unwanted := _unwanted(entry, wanted, observed.now, policy):
        return End(entry=entry, intent=unwanted, reason=phases.intended(unwanted)[1])
    return Start(entry=entry, reason="recorded, not handed to the cluster yet")


def _with_job(
    entry: Entry, job: JobView, wanted: Wanted | None, observed: Observed, policy: Policy
) -> list[_Step]:
    """Rows of an open entry whose Job is there."""
    status = phases.judge(entry, observed)
    if status.phase.ended:
        status = phases.explained(status, policy.meanings(entry.ref))
        settled = _settle(entry, status)
        return [settled, *_retire(entry, status, job, observed.now, policy)]
    if entry.intent:
        intent: Intent | None = phases.corrected(entry.intent, status.started)
    else:
        intent = _end_now(entry, job, status, wanted, observed, policy)
    if intent and (
        job.deadline != 1 or intent != entry.intent
    ):  # to be confirmed by the next run: one write at a time
        return [End(entry=entry, intent=intent, reason=phases.intended(intent)[1])]
    steps: list[_Step] = []
    if entry.job_uid != job.uid:  # made a second time, where the first was deleted: one fence
        steps.append(Confirm(entry=entry, job_uid=job.uid, reason="its Job is there"))
    if not intent and wanted is None:
        reason = f"removed from the branch, yet goes on; to end it: dtp cancel {entry.ref}"
        steps.append(Hold(ref=entry.ref, attempt=entry.attempt, reason=reason))
    return steps


def _end_now(
    entry: Entry,
    job: JobView,
    status: Status,
    wanted: Wanted | None,
    observed: Observed,
    policy: Policy,
) -> Intent | None:
    """Return the intent to end an active attempt, where there is a reason to."""
    if entry.service and wanted is None and status.phase is Phase.RUNNING:
        return _intent(Why.REMOVED, observed.now, policy, started=status.started)
    if status.phase is not Phase.WAITING:
        return None
    now, pods = observed.now, observed.pods.get(entry.name)
    since, limit = _allowed_wait(job, pods[-1] if pods else None, status, policy)
    if (now - since).total_seconds() > limit:
        return _intent(Why.STUCK, now, policy, reason=status.reason)
    return _unwanted(entry, wanted, now, policy)


def _allowed_wait(
    job: JobView, pod: PodView | None, status: Status, policy: Policy
) -> tuple[datetime, int]:
    """Return since when an attempt waits for its start, and for how long it may.

    The Pod may be the second, long after the Job was made.
    """
    preparing = phases.preparing_since(pod) if pod else None
    if preparing and not status.hopeless:
        return preparing, policy.stuck_limit
    since = pod.created if pod else job.created
    return since, policy.stuck_limit if status.hopeless else policy.queue_allowance


def _unwanted(entry: Entry, wanted: Wanted | None, now: datetime, policy: Policy) -> Intent | None:
    """Return the intent to end what has not started and is not asked for any more."""
    if wanted is None:
        return _intent(Why.REMOVED, now, policy)
    if wanted.blob != entry.blob:
        return _intent(Why.REPLACED, now, policy)
    return None


def _intent(why: Why, at: datetime, policy: Policy, **more: Any) -> Intent:
    return Intent(why=why, by=policy.by, at=at, **more)


def _settle(entry: Entry, outcome: Outcome) -> Settle:
    return Settle(entry=entry, outcome=outcome, reason=outcome.reason)


def _retire(
    entry: Entry, outcome: Outcome, job: JobView, now: datetime, policy: Policy
) -> list[_Step]:
    if job.end is None:
        if job.deadline == 1 or job.tombstone:
            return []
        return [End(entry=entry, intent=None, reason="settled, yet its Job is active")]
    if job.ttl != BORN_TTL:
        return []
    age = int((now - (job.end.at or job.created)).total_seconds())
    reason = f"{outcome.phase.lower()}: its Job may go"
    return [Retire(entry=entry, ttl=age + policy.retention, reason=reason)]


def adopted() -> Outcome:
    """Return the outcome of a job that is recorded as done without running here."""
    return Outcome(phase=Phase.SUCCEEDED, reason="adopted, not run here")


# --- the next attempt ----------------------------------------------------------------------------


def _next(ref: Ref, wanted: Wanted | None, last: Entry | None, observed: Observed) -> list[_Step]:
    """Return the step that opens an attempt, or says why none is, or nothing."""
    if not wanted or not wanted.script:
        return []
    script = wanted.script
    asked = script.directives.attempt
    if last is None:
        return [_opening(script, asked or 1, "new on the branch", observed, new=True)]
    if last.outcome is None:
        return _while_open(wanted, last)
    if asked is not None and asked > last.attempt:
        return [_opening(script, asked, f"asked for: attempt={asked}", observed)]
    if _is_withdrawn(last):
        reason = f"asked for again: attempt {last.attempt} was {last.outcome.reason}"
        return [_opening(script, last.attempt + 1, reason, observed)]
    if wanted.blob == last.blob:
        return []
    if _is_fix(last.outcome):
        ended = "done, with doubts" if last.outcome.doubts else last.outcome.reason
        reason = f"changed after attempt {last.attempt}: {ended}"
        return [_opening(script, last.attempt + 1, reason, observed)]
    words = f"changed, not run: attempt {last.attempt} is {last.outcome.phase.shown}"
    how = HOW_TO_RETRY.format(ref=ref, next=last.attempt + 1)
    return [Hold(ref=ref, attempt=last.attempt, reason=f"{words}; {how}")]


def _while_open(wanted: Wanted, last: Entry) -> list[_Step]:
    if wanted.blob == last.blob:
        return []
    reason = f"changed while attempt {last.attempt} is active: decided when that has ended"
    if last.service:
        reason += f"; to end it: dtp cancel {last.ref}"
    return [Hold(ref=last.ref, attempt=last.attempt, reason=reason)]


def _is_withdrawn(last: Entry) -> bool:
    """Tell whether the branch took the attempt back, which asks for the job now."""
    return last.outcome is not None and last.outcome.why in FOR_THE_BRANCH


def _is_fix(outcome: Outcome) -> bool:
    """Tell whether changed bytes mend what went wrong: then they run by themselves."""
    if outcome.phase is Phase.FAILED or outcome.doubts:
        return True
    return outcome.phase is Phase.ERRORED and outcome.before_start


def _opening(
    script: Script, attempt: int, reason: str, observed: Observed, *, new: bool = False
) -> Hold | _Opening:
    scheme = observed.identity.scheme if observed.identity else naming.SCHEME
    name = naming.attempt_name(script.ref, attempt, scheme)
    if met := next((entry for entry in observed.entries if entry.name == name), None):
        return Hold(ref=script.ref, attempt=attempt, reason=meeting(met))
    if name in observed.jobs:
        reason = "a Job of that name is there without an entry: ask the cluster's admin"
        return Hold(ref=script.ref, attempt=attempt, reason=reason)
    return _Opening(
        name=name, ref=script.ref, script=script, attempt=attempt, reason=reason, new=new
    )


def meeting(other: Entry) -> str:
    """Say that two jobs have one name: only the first of them can be recorded."""
    return (
        f"its generated name {other.name} is already used by attempt {other.attempt} of"
        f" {other.ref}: rename the script"
    )


def _resolve(
    steps: list[_Step], policy: Policy, now: datetime
) -> tuple[list[Action], list[Finding]]:
    """Turn openings into drafts; what cannot be resolved is rejected and never recorded."""
    actions: list[Action] = []
    rejected: list[Finding] = []
    openings = [step.ref for step in steps if isinstance(step, _Opening)]
    origins = policy.origins(openings) if openings else {}
    for step in steps:
        if not isinstance(step, _Opening):
            actions.append(step)
            continue
        origin = origins[step.ref]
        spec = policy.resolve(step.script, origin.author)
        if isinstance(spec, tuple) and spec[0].code == AUTHOR_UNKNOWN:
            actions.append(Hold(ref=step.ref, attempt=step.attempt, reason=spec[0].message))
        elif isinstance(spec, tuple):
            rejected += spec
        else:
            draft = _draft(step, spec, origin, policy, now)
            kind = Adopt if draft.adopted else Open
            actions.append(kind(draft=draft, reason=step.reason))
    return actions, rejected


def _draft(
    opening: _Opening,
    spec: Spec,
    origin: Origin,
    policy: Policy,
    now: datetime,
    request: str = "",
) -> Draft:
    return Draft(
        name=opening.name,
        ref=opening.ref,
        attempt=opening.attempt,
        blob=opening.script.blob,
        origin=origin,
        notify=opening.script.directives.notify,
        script=opening.script.content,
        files=opening.script.files,
        spec=spec,
        created=now,
        run=policy.run,
        request=request,
        adopted=policy.adopt and opening.new,
    )


# --- guards --------------------------------------------------------------------------------------


def _guard(
    actions: list[Action], desired: Desired, observed: Observed, policy: Policy
) -> tuple[Action, ...]:
    """Hold every new job of a run that would start surprisingly many; fixes go on."""
    known = {entry.ref for entry in observed.entries}
    new = {a.draft.ref for a in actions if isinstance(a, Open)} - known
    fresh = not known and len(desired.wanted) > policy.max_new
    if policy.first_run or not new or (len(new) <= policy.max_new and not fresh):
        return tuple(actions)
    total = len(desired.wanted)
    count = f"{len(new)} new jobs at once" if known else f"{total} scripts and an empty ledger"
    reason = (
        f"{count}, with max-new {policy.max_new}: run them with dtp dispatch --first-run,"
        " or record them as done with dtp dispatch --adopt"
    )
    return tuple(
        Hold(ref=action.draft.ref, attempt=action.draft.attempt, reason=reason)
        if isinstance(action, Open) and action.draft.ref in new
        else action
        for action in actions
    )


# --- asked for by hand ---------------------------------------------------------------------------


def retry(
    ref: Ref, desired: Desired, observed: Observed, policy: Policy, request: str
) -> Open | None:
    """Return the action that opens another attempt; None when this request already did.

    Raises UsageError for a job that nobody knows, ConflictError where the state does not allow it.
    """
    entries, wanted = observed.of(ref), desired.wanted.get(ref)
    if not rules(observed, desired.commit):
        raise ConflictError(
            f"commit {desired.commit[:12]} is older than the commit that the cluster follows",
            hint="Run git pull on the branch, leave out --commit, and try again.",
        )
    if not entries and not wanted and not unreadable_of(ref, observed):
        raise UsageError(
            f"no job {ref} on the branch or in the ledger", hint="see dtp status --all"
        )
    if request and any(entry.request == request for entry in entries):
        return None
    refuse_unreadable(ref, observed)
    if not wanted:
        raise ConflictError(f"{ref} is not on the branch any more", hint="add its script again")
    if not wanted.script:
        raise _rejection(wanted.path, wanted.findings)
    if not entries:
        raise _not_run(wanted, plan(desired, observed, policy))
    last = entries[-1]
    if last.outcome is None:
        hint = f"wait for its end, or dtp cancel {ref}"
        raise ConflictError(f"attempt {last.attempt} of {ref} has not ended", hint=hint)
    for step in _busy(ref, entries, observed):
        raise ConflictError(f"{ref} cannot run: {step.reason}", hint="try again in a minute")
    origin = policy.origins([ref])[ref]
    spec = policy.resolve(wanted.script, origin.author)
    if isinstance(spec, tuple) and spec[0].code == AUTHOR_UNKNOWN:
        raise ConflictError(f"{ref} is held: {spec[0].message}")
    if isinstance(spec, tuple):
        raise _rejection(ref.path, spec)
    attempt = max(last.attempt + 1, wanted.script.directives.attempt or 0)
    opening = _opening(wanted.script, attempt, "retry", observed)
    if isinstance(opening, Hold):
        raise ConflictError(f"{ref} cannot run: {opening.reason}")
    draft = _draft(opening, spec, origin, policy, observed.now, request)
    return Open(draft=draft, reason="retry asked for")


def _not_run(wanted: Wanted, planned: Plan) -> ConflictError:
    """Return why a job has no attempt that could be run again, and what runs it."""
    for step in planned.actions:
        if isinstance(step, Hold) and step.ref == wanted.ref:
            return ConflictError(f"{wanted.ref} has not run, it is held: {step.reason}")
    if any(finding.path == wanted.path for finding in planned.rejected):
        return _rejection(wanted.path, planned.rejected)
    return ConflictError(f"{wanted.ref} has not run yet", hint="dtp dispatch starts it")


def refuse_to_cancel(note: Note) -> None:
    """Raise ConflictError: of what is held or rejected, nothing runs."""
    raise ConflictError(
        f"{note.ref} has not run, it is {note.state}: {note.reason}",
        hint="To take it back, remove its script from the branch.",
    )


def refuse_unreadable(ref: Ref, observed: Observed) -> None:
    """Raise ConflictError where something of the job cannot be read."""
    if found := unreadable_of(ref, observed):
        raise ConflictError(f"{ref} is held: {phases.unreadable(found[0])}", hint=HOW_TO_RESTORE)


def _rejection(path: str, findings: Iterable[Finding]) -> ConflictError:
    """Return that a script is rejected, with its first error and what to write instead."""
    error = next(one for one in findings if one.path == path and one.severity is Severity.ERROR)
    return ConflictError(f"{Ref.parse(path)} is rejected: {error.message}", hint=correction(error))


def correction(error: Finding) -> str:
    """Return what to do about an error of a script."""
    instead = f". Write instead: {error.fix}" if error.fix else ""
    return f"Correct {error.path} and commit it{instead}"


def cancel(ref: Ref, observed: Observed, *, by: str, request: str) -> End | None:
    """Return the action that ends the active attempt; None when that has been asked for already.

    Raises UsageError for a job that nobody knows, ConflictError when nothing of it is active.
    """
    entries, found = observed.of(ref), unreadable_of(ref, observed)
    if not entries or entries[-1].outcome or entries[-1].name in {one.of for one in found}:
        refuse_unreadable(ref, observed)
    if not entries:
        raise UsageError(f"no job {ref} in the ledger", hint="see dtp status --all")
    last = entries[-1]
    if request and any(e.intent and e.intent.request == request for e in entries):
        return None
    if last.outcome:
        state = f"attempt {last.attempt} of {ref} is {last.outcome.phase.shown} already"
        raise ConflictError(state, hint=f"to run its script on the branch again: dtp retry {ref}")
    if last.intent and last.intent.why is Why.CANCEL:
        return None
    status = phases.judge(last, observed)
    if status.phase.ended:
        told = f"attempt {last.attempt} of {ref} has ended: {status.reason}"
        raise ConflictError(told, hint="dtp dispatch settles it")
    new = Intent(why=Why.CANCEL, by=by, at=observed.now, request=request, started=status.started)
    intent = new
    if last.intent and last.intent.why not in FOR_THE_BRANCH:
        intent = replace(last.intent, request=request or last.intent.request)
    return End(entry=last, intent=intent, reason=phases.intended(intent)[1])


# --- whose ledger it is --------------------------------------------------------------------------


def may_rule(card: Identity, commit: str, line: Line) -> bool:
    """Tell whether a commit may take the branch over from the one that rules.

    The newest may; and one behind it that comes after the one that rules, since no run may come for
    the newest (a workflow may pass over commits that bring no job). What is not on the branch may
    not. Where nobody can say how the branch is, the order of the two commits decides.
    """
    if card.commit == commit:
        return True
    place = line.place()
    if place in (Place.NEWEST, Place.OFF):
        return place is Place.NEWEST
    return not card.commit or line.follows(card.commit, commit)


@dataclass(frozen=True, kw_only=True)
class Here:
    """What a checkout shows of whose it is; '' is what it does not show."""

    repository: str  # <host>/<owner>/<name> of its remote
    branch: str
    related: Callable[[str], bool]  # has it this commit, and a history in common with it?


# As GitHub's workflows have it, and as people copy it; of any other text only the history tells.
ADDRESS = re.compile(r"(?P<repository>[^/#\s]+\.[^/#\s]+/[^#\s]+)#(?P<branch>\S+)")


def source_here(card: Identity, here: Here) -> str:
    """Return the ledger's source, where a checkout shows that it is of it. Raises UsageError.

    Nobody said whose ledger is meant. What another repository asks for must not run, so the
    checkout has to have the commit that the ledger follows, and nothing else may speak against it.
    """
    why = _of_another(card, here)
    if not why:
        return card.source
    raise UsageError(
        f"the ledger of this namespace belongs to {card.source}; {why}",
        hint="run this in an up-to-date checkout of that branch (git pull), or name your own"
        " namespace (--namespace, or --cluster local:DIR); if this is that branch, add: --source"
        f" {shlex.quote(card.source)}",
    )


def _of_another(card: Identity, here: Here) -> str:
    """Return what speaks against a checkout's being of the ledger's branch, or ''."""
    if not card.commit:
        return "nothing shows that this checkout is of it"
    if not here.related(card.commit):
        return f"this checkout does not have commit {card.commit[:12]}, which the ledger follows"
    told = ADDRESS.fullmatch(card.source)
    if told and here.branch not in ("", told["branch"]):
        return f"this is branch {here.branch}"
    by_name = told and told["repository"].count("/") > 1  # GitHub's workflows have its number
    if told and by_name and here.repository not in ("", told["repository"].lower()):
        return f"this checkout is of {here.repository}"
    return ""


def same_ledger(found: Identity, mine: Identity) -> None:
    """Raise UsageError unless the ledger found is the one that this run may write."""
    if found.source != mine.source:
        raise UsageError(
            f"the ledger of this namespace belongs to {found.source}, this is {mine.source}",
            hint="one namespace serves one branch: correct the input `namespace`; where the"
            " repository or branch was renamed: dtp dispatch --rename-source --source"
            f" {shlex.quote(mine.source)}",
        )
    if found.namespace_uid != mine.namespace_uid:
        raise UsageError(
            "the ledger was copied from another namespace, whose runs it cannot know",
            hint="restore the namespace it came from, or delete its ConfigMaps and record what"
            " has run already with dtp dispatch --adopt",
        )
    if found.scheme not in naming.SCHEMES:
        raise UsageError(
            f"the ledger uses naming scheme {found.scheme}, this version of dtp {mine.scheme}",
            hint="use the version of dtp that made it; see CHANGELOG.md",
        )
