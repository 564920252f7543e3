"""The loop: look, plan, apply, look again. Declares the port that it needs of a cluster.

Takes no decision about jobs (core does) and knows no SDK (adapters do).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from dtp_action.core import logs, naming, phases, planner
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.ledger import KIND
from dtp_action.core.model import (
    Action,
    Adopt,
    Arrived,
    Buried,
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
    Kept,
    Ledger,
    Observed,
    Open,
    Origin,
    Outcome,
    Phase,
    PodView,
    Recorded,
    Ref,
    Refused,
    Retire,
    Settle,
    Start,
    Started,
    Taken,
    Unreadable,
    Why,
    subject,
)
from dtp_action.errors import (
    ConflictError,
    DtpError,
    StaleError,
    UnavailableError,
    UnreadableError,
    UsageError,
)

PARALLEL = 16  # chains of writes at once; one chain per job
TAIL_LINES = 200
MOST_READS = 20  # events and tails that one run may ask for beside its lists
TRIES = 5  # at the card, while others change it
LIST_LAG = timedelta(minutes=1)  # another run may have made the card since ours was listed
UNLISTED = f"its label {KIND}=attempt is missing"
NO_CARD = "the ledger has entries, but its card, ConfigMap dtp-ledger, is gone"
RESTORE_CARD = "restore it from a backup of the namespace; nothing was started"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds between looks while waiting


class Cluster(Protocol):
    """What dispatch needs of a cluster. Every write is idempotent or refuses when it is stale.

    Each call may raise ClusterRefusedError (401, 403, no namespace) or UnavailableError; a list is
    whole or raises. Creating what exists is an answer, not an error.
    """

    def settings(self) -> ClusterSettings:
        """Return what the admin decided. Raises UsageError where it is missing or wrong."""

    def namespace_uid(self) -> str:
        """Return what tells this namespace from another of the same name."""

    def now(self) -> datetime:
        """Return the cluster's time, as of its last answer."""

    def ledger(self) -> Ledger:
        """List the entries, metadata only."""

    def jobs(self) -> tuple[JobView, ...]:
        """List our Jobs."""

    def job(self, name: str) -> JobView | None:
        """Return one Job, read by its name."""

    def pods(self) -> tuple[PodView, ...]:
        """List the Pods of our Jobs."""

    def events(self, uid: str) -> tuple[str, ...]:
        """Return the messages about one object, oldest first, each as `Reason: message`."""

    def identify(self, identity: Identity) -> Identity:
        """Make the identity card unless there is one; return the one that is there."""

    def card(self) -> Identity | None:
        """Return the identity card as it is now."""

    def rename(self, source: str) -> None:
        """Write another source on the identity card."""

    def rule(self, card: Identity, commit: str) -> Identity:
        """Write on the card which commit of the branch rules. Raises StaleError."""

    def record(self, draft: Draft) -> Entry:
        """Make the entry of a new attempt; return the one of that name that is there."""

    def read(self, name: str) -> Recorded | None:
        """Return an entry with its data, or None."""

    def start(self, entry: Entry, known: Recorded | None = None) -> Started | Refused | Taken:
        """Make the entry's Job from what the entry records. Never a second one.

        `known`: all of the entry, where this run has just recorded it; else it is read. Raises
        StaleError where it was ended.
        """

    def bury(self, entry: Entry) -> Buried | Started | Refused | Taken:
        """Take the name of the entry's Job with one that never runs, unless its Job is there.

        Raises StaleError where the entry was settled.
        """

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        """Write into the entry that its Job was seen. Raises StaleError."""

    def hold_back(self, entry: Entry, reason: str) -> Entry:
        """Write into the entry why it has no Job yet. Raises StaleError."""

    def mark_held(self, entry: Entry, reason: str) -> Entry:
        """Write into the entry what of it cannot be read. Raises StaleError."""

    def attribute(self, entry: Entry, origin: Origin) -> Entry:
        """Write into the entry what was learnt of where it came from. Raises StaleError."""

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        """Write the intent to end an attempt and keep its log's tail. Raises StaleError."""

    def stop(self, job: JobView) -> None:
        """Let the Job's deadline pass. It is gone, another of its name, or has ended: nothing."""

    def settle(
        self, entry: Entry, outcome: Outcome, tail: str, arrived: Arrived | None = None
    ) -> Entry:
        """Write `<name>-end` (the first one written counts), then close the entry.

        Raises StaleError.
        """

    def retire(self, job: JobView, ttl: int) -> None:
        """Set how many seconds after its end the Job is removed. Gone, or another: nothing."""

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        """Return the last lines of a Pod's log, at most 64 KiB; None when there is none to have."""

    def log(self, pod: PodView, *, lines: int | None, follow: bool) -> Iterator[bytes]:
        """Yield a Pod's log, from its last `lines` on (None: all); on to its end if asked to."""

    def kept(self, name: str) -> Kept:
        """Return what the ledger kept when the attempt ended: its log's tail, what arrived."""


# --- looking -------------------------------------------------------------------------------------


def look(cluster: Cluster) -> Observed:
    """Return one look at the cluster. Entries first: what is made between the lists is seen twice.

    What cannot be read is told apart, so that it holds its own job and no other.

    Pods are asked for only while an attempt is open (`with_pods` asks for them before another one
    begins), events only where one waits unexplained.
    """
    ledger = cluster.ledger()
    jobs = {job.name: job for job in cluster.jobs()}
    known = {entry.name for entry in ledger.entries} | {one.name for one in ledger.unreadable}
    late = [_read(cluster, name) for name in sorted(jobs.keys() - known)[:MOST_READS]]
    entries = ledger.entries + tuple(one for one in late if isinstance(one, Entry))
    unlisted = _unlisted(cluster, entries, jobs)
    unreadable = (
        *ledger.unreadable,
        *unlisted,
        *(one for one in late if isinstance(one, Unreadable)),
    )
    observed = Observed(
        now=cluster.now(),
        identity=ledger.identity,
        entries=entries,
        jobs={name: job for name, job in jobs.items() if not job.unreadable},
        unreadable=(*unreadable, *filter(None, map(_unreadable, jobs.values()))),
    )
    if all(entry.outcome for entry in entries):
        return observed
    observed = with_pods(cluster, observed)
    suspects = phases.suspects(observed, MOST_READS)
    return replace(observed, events={name: cluster.events(uid) for name, uid in suspects.items()})


def with_pods(cluster: Cluster, observed: Observed) -> Observed:
    """Return the look with the Pods of our Jobs, and of Jobs that are gone."""
    if observed.all_pods:
        return observed
    pods = cluster.pods()
    return replace(
        observed,
        pods=_by_job(pod for pod in pods if not pod.unreadable),
        all_pods=True,
        unreadable=(*observed.unreadable, *filter(None, map(_unreadable, pods))),
    )


def plan(
    cluster: Cluster, desired: Desired, observed: Observed, policy: planner.Policy
) -> tuple[planner.Plan, Observed]:
    """Return what to do, and the look that says so.

    No attempt follows another whose Pods may run: these are looked at before.
    """
    planned = planner.plan(desired, observed, policy)
    known = {entry.ref for entry in observed.entries}
    if any(isinstance(a, Open) and a.draft.ref in known for a in planned.actions):
        observed = with_pods(cluster, observed)
        planned = planner.plan(desired, observed, policy)
    return planned, observed


def _read(cluster: Cluster, name: str) -> Entry | Unreadable | None:
    """Return the entry of a Job that the list of entries did not show."""
    try:
        recorded = cluster.read(name)
    except UnreadableError as error:
        return Unreadable(kind="ConfigMap", name=error.name, of=name, why=error.why)
    return recorded.entry if recorded else None


def _unreadable(seen: JobView | PodView) -> Unreadable | None:
    if not seen.unreadable:
        return None
    kind, of = ("Pod", seen.job_name) if isinstance(seen, PodView) else ("Job", seen.name)
    return Unreadable(kind=kind, name=seen.name, of=of, why=seen.unreadable)


def _unlisted(cluster: Cluster, entries: Iterable[Entry], jobs: Container[str]) -> list[Unreadable]:
    """Return the Jobs that are there though the list lacks them: their attempts are not lost.

    Somebody took their label off. Where more are missing than may be asked for, it is the list that
    is not to be relied on: raises UnavailableError.
    """
    missed = [
        (e.name, e.uid) for e in entries if not e.outcome and e.job_uid and e.name not in jobs
    ]
    there = [
        Unreadable(kind="Job", name=name, of=name, why=UNLISTED)
        for name, uid in missed[:MOST_READS]
        if (job := cluster.job(name)) and job.entry_uid == uid and not job.tombstone
    ]
    if there and len(missed) > MOST_READS:
        raise UnavailableError(
            f"the list of Jobs lacks {there[0].name}, which exists, and {len(missed) - 1} more",
            hint="Nothing was decided on an incomplete list. Run again.",
        )
    return there


def _by_job(pods: Iterable[PodView]) -> dict[str, tuple[PodView, ...]]:
    """Return the Pods of each Job, newest last."""
    found: dict[str, tuple[PodView, ...]] = {}
    for pod in sorted(pods, key=lambda pod: pod.created):
        found[pod.job_name] = (*found.get(pod.job_name, ()), pod)
    return found


def with_progress(cluster: Cluster, observed: Observed) -> Observed:
    """Return the look with the network bytes that running attempts last told of themselves."""
    running = [pods[-1] for name, pods in sorted(observed.pods.items()) if pods[-1].running]
    room = max(0, MOST_READS - len(observed.events))
    heard = {}
    for pod in running[:room]:
        progress = logs.progress(cluster.pod_log(pod, lines=TAIL_LINES) or "")
        if progress:
            heard[pod.job_name] = progress
    return replace(observed, progress=heard)


# --- applying ------------------------------------------------------------------------------------


def apply(cluster: Cluster, action: Action, observed: Observed) -> list[Action]:
    """Carry out one action; return what was done: it, and what its answer made necessary."""
    try:
        return _apply(cluster, action, observed)
    except StaleError:
        ref, attempt = subject(action)
        return [Hold(ref=ref, attempt=attempt, reason="another run was faster: see its report")]
    except UnreadableError as error:
        return [_held(cluster, action, error)]


def _held(cluster: Cluster, action: Action, error: UnreadableError) -> Hold:
    """Say what could not be read, in the entry as well: whoever looks then sees it."""
    ref, attempt = subject(action)
    name = naming.attempt_name(ref, attempt)
    found = Unreadable(kind="ConfigMap", name=error.name, of=name, why=error.why)
    reason = phases.unreadable(found)
    if isinstance(action, Start | Settle) and action.entry.held != reason:
        with suppress(StaleError, UnreadableError):
            cluster.mark_held(action.entry, reason)
    return Hold(ref=ref, attempt=attempt, reason=reason)


def _apply(cluster: Cluster, action: Action, observed: Observed) -> list[Action]:
    match action:
        case Hold():
            return [action]
        case Open():
            return _open(cluster, action, observed)
        case Adopt():
            return _adopt(cluster, action, observed)
        case Start(entry=entry):
            return [action, *_start(cluster, entry, observed)]
        case Confirm(entry=entry, job_uid=uid):
            cluster.confirm(entry, uid)
        case End():
            return [action, *_carry_out(cluster, action, observed)]
        case Settle(entry=entry, outcome=outcome):
            kept = read_log(cluster, entry, observed)
            # Of what was told to end, the log was kept then.
            told = outcome if kept.log or entry.intent else _without_log(outcome)
            return _end(cluster, entry, told, kept, observed)
        case Retire(entry=entry, ttl=ttl):
            cluster.retire(observed.jobs[entry.name], ttl)
        case _:
            assert_never(action)
    return [action]


def _carry_out(cluster: Cluster, action: End, observed: Observed) -> list[Action]:
    """End an attempt: by its Job's deadline, or where it has none at once."""
    entry, intent = action.entry, action.intent
    if intent and intent.why in planner.FOR_THE_BRANCH:
        _still_ruling(cluster, observed)
    if intent and intent != entry.intent:
        entry = cluster.intend(entry, intent, read_log(cluster, entry, observed).log)
    if job := _job_of(entry, observed):
        cluster.stop(job)
    elif intent:
        return _end(cluster, entry, phases.ended_by(intent), Kept(), observed)
    return []


def _still_ruling(cluster: Cluster, observed: Observed) -> None:
    """Raise StaleError where another commit rules by now than the one that this was planned for."""
    card, planned = cluster.card(), observed.identity
    if planned and (card is None or card.commit != planned.commit):
        raise StaleError("another commit rules by now, or none")


def _job_of(entry: Entry, observed: Observed) -> JobView | None:
    """Return the attempt's Job as it was seen, where it may have a Pod."""
    job = observed.jobs.get(entry.name)
    return job if job and job.entry_uid == entry.uid and not job.tombstone else None


def _end(
    cluster: Cluster, entry: Entry, outcome: Outcome, kept: Kept, observed: Observed
) -> list[Action]:
    """Settle an attempt, unless its Job may still come."""
    if held := _take_name(cluster, entry, observed):
        return [held]
    _settle(cluster, entry, outcome, kept)
    return [Settle(entry=entry, outcome=outcome, reason=outcome.reason)]


def _take_name(cluster: Cluster, entry: Entry, observed: Observed) -> Hold | None:
    """Take the name of an attempt that has no Job before it is settled; return why it cannot be.

    A request to make its Job may still be on its way, for minutes: after this it comes to nothing.
    """
    job = observed.jobs.get(entry.name)
    if entry.adopted or (job and job.entry_uid == entry.uid):
        return None
    match cluster.bury(entry):
        case Buried():
            return None
        case Refused(for_good=True) if entry.intent and entry.intent.why is Why.REFUSED:
            return None  # as its Job was, and would be again
        case Started():
            reason = "its Job was created in the meantime; the next run decides"
        case Refused(reason=why) | Taken(reason=why):
            reason = f"its end cannot be recorded while its Job may still be created: {why}"
    return Hold(ref=entry.ref, attempt=entry.attempt, reason=reason)


def _open(cluster: Cluster, action: Open, observed: Observed) -> list[Action]:
    """Record the attempt and start it, unless another run has put something else there."""
    entry = cluster.record(action.draft)
    if entry.ref != action.draft.ref:
        reason = planner.meeting(entry)
        return [Hold(ref=action.draft.ref, attempt=action.draft.attempt, reason=reason)]
    if entry.outcome or entry.adopted or entry.blob != action.draft.blob:
        return [_overtaken(entry)]
    return [action, *_start(cluster, entry, observed, action.draft)]


def _adopt(cluster: Cluster, action: Adopt, observed: Observed) -> list[Action]:
    """Record the attempt as done, unless another run has recorded it to be run."""
    _still_ruling(cluster, observed)
    entry = cluster.record(action.draft)
    if not entry.adopted:
        return [_overtaken(entry)]
    if not entry.outcome:
        _settle(cluster, entry, planner.adopted(), Kept())
    return [action]


def _overtaken(entry: Entry) -> Hold:
    reason = "another run opened this attempt first"
    return Hold(ref=entry.ref, attempt=entry.attempt, reason=reason)


def _start(
    cluster: Cluster, entry: Entry, observed: Observed, draft: Draft | None = None
) -> list[Action]:
    """Create the Job; a refusal for good is an outcome, one for now is told."""
    _still_ruling(cluster, observed)
    known = None
    if draft and draft.run and draft.run == entry.run:
        known = Recorded(entry=entry, script=draft.script, spec=draft.spec)
    answer = cluster.start(entry, known)
    match answer:
        case Started(job_uid=uid):
            if entry.job_uid != uid:
                with suppress(StaleError):  # another run was faster
                    cluster.confirm(entry, uid)
            return []
        case Refused(reason=reason, for_good=True):
            intent = Intent(why=Why.REFUSED, by="the cluster", at=cluster.now(), reason=reason)
            entry = cluster.intend(entry, intent, "")
            return _end(cluster, entry, phases.ended_by(intent), Kept(), observed)
        case Refused(reason=reason) | Taken(reason=reason):
            if entry.waiting != reason:
                cluster.hold_back(entry, reason)
            return [Hold(ref=entry.ref, attempt=entry.attempt, reason=reason)]
        case _:
            assert_never(answer)


def _settle(cluster: Cluster, entry: Entry, outcome: Outcome, kept: Kept) -> None:
    cluster.settle(entry, replace(outcome, settled=cluster.now()), kept.log, kept.arrived)


def read_log(cluster: Cluster, entry: Entry, observed: Observed) -> Kept:
    """Return the end of the log and what it says has arrived, fit to be kept and shown."""
    pod = phases.telling(observed.pods.get(entry.name, ()))
    text = cluster.pod_log(pod, lines=TAIL_LINES) if pod and pod.job else None
    return Kept(log=logs.tail(text or ""), arrived=logs.arrived(text or ""))


def _without_log(outcome: Outcome) -> Outcome:
    """Note that there is no log where there could be one."""
    if not outcome.started:
        return outcome
    note = "it printed nothing, or its log could not be read"
    return replace(outcome, warnings=(*outcome.warnings, note))


def apply_all(cluster: Cluster, actions: Iterable[Action], observed: Observed) -> list[Action]:
    """Carry out all actions, jobs side by side, each job's own in order.

    Where another run was faster, what was planned after that for the same job is left out. The
    first error stops what has not begun and is raised when the rest is through: nothing is
    half done, since the next run takes up whatever is left.
    """
    chains: dict[Ref, list[Action]] = {}
    for action in actions:
        chains.setdefault(subject(action)[0], []).append(action)
    errors: list[DtpError] = []

    def carry_out(chain: list[Action]) -> list[Action]:
        done: list[Action] = []
        for action in chain:
            if errors:
                break
            try:
                did = apply(cluster, action, observed)
            except DtpError as error:
                errors.append(error)
                break
            done += did
            if isinstance(did[-1], Hold) and did[-1] is not action:
                break
        return done

    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        done = [action for chain in pool.map(carry_out, chains.values()) for action in chain]
    if errors:
        raise errors[0]
    return done


# --- the loop ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run did and how things stand after it."""

    observed: Observed
    actions: tuple[Action, ...]
    rejected: tuple[Finding, ...]
    bad: tuple[Entry, ...] = ()  # attempts waited for that did not end well
    open: frozenset[str] = frozenset()  # names of those that have not ended


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, for what, and with which clock and sleep."""

    seconds: float
    of: frozenset[str] | None = None  # beside what the run starts; None: all that is open
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    watch: Callable[[Observed], None] = field(default=lambda _observed: None)


def identify(
    cluster: Cluster, observed: Observed, source: str, commit: str, *, rename: bool = False
) -> Identity:
    """Make sure that the ledger is this source's, making or renaming its card where asked.

    Raises UsageError where it belongs to another source or another namespace.
    """
    identity = Identity(
        source=source,
        namespace_uid=cluster.namespace_uid(),
        scheme=naming.SCHEME,
        created=cluster.now(),
        commit=commit,
    )
    found = observed.identity
    if found is None and (
        observed.entries or observed.unreadable
    ):  # gone, or made since by the run that made the entries
        found = cluster.card()
        if found is None:
            raise UsageError(NO_CARD, hint=RESTORE_CARD)
    if found is None:
        found = cluster.identify(identity)
        if identity.created - found.created > LIST_LAG:
            raise UnavailableError(
                "the cluster listed no ledger, yet there is one",
                hint="nothing was decided on an untrue list: run again",
            )
    elif rename and found.source != source:
        cluster.rename(source)
        found = cluster.card() or found
    planner.same_ledger(found, identity)
    return found


def ruling(cluster: Cluster, card: Identity, commit: str, line: planner.Line) -> Identity:
    """Return the card as it is after this commit took the branch over, where it may."""
    for _ in range(TRIES):
        if card.commit == commit or not planner.may_rule(card, commit, line):
            return card
        try:
            return cluster.rule(card, commit)
        except StaleError:
            card = cluster.card() or card
    raise UnavailableError("the ledger's card changed at each try", hint="run again")


def enter(
    cluster: Cluster,
    observed: Observed,
    commit: str,
    *,
    line: planner.Line,
    source: str,
    rename: bool = False,
    rewritten: bool = False,
) -> Observed:
    """Return a run's first look with the card as it is now: this commit's, if it may rule.

    `rewritten`: it is said to be what the branch is now, unless the card changes meanwhile.

    What the look shows is older than the card: whoever ruled until then may have gone on. Each
    write notices, since it names what it changes as it was seen, or a name that is taken.
    """
    card = identify(cluster, observed, source, commit, rename=rename)
    if rewritten and card.commit != commit:
        try:
            return replace(observed, identity=cluster.rule(card, commit))
        except StaleError as error:
            raise ConflictError(
                "another run changed the ruling commit at the same time",
                hint="Check it with dtp plan, then run this again.",
            ) from error
    return replace(observed, identity=ruling(cluster, card, commit, line))


def run(
    cluster: Cluster,
    desired: Desired,
    policy: planner.Policy,
    *,
    line: planner.Line,
    patience: Patience,
    source: Callable[[Observed], str],
    rename: bool = False,
    rewritten: bool = False,
) -> Report:
    """Do what is to do, then wait for what is open as long as patience lasts."""
    observed = look(cluster)
    whose = source(observed)
    observed = enter(
        cluster,
        observed,
        desired.commit,
        line=line,
        source=whose,
        rename=rename,
        rewritten=rewritten,
    )
    planned, observed = plan(cluster, desired, observed, policy)
    done = apply_all(cluster, planned.actions, observed)
    mine = {entry.name for entry in observed.entries if entry.outcome is None}
    mine &= mine if patience.of is None else patience.of
    idle = all(isinstance(action, Hold) for action in planned.actions)
    if idle and not (mine and patience.seconds):
        return Report(observed=observed, actions=tuple(done), rejected=planned.rejected)
    mine |= _opened(done)
    waits = _Wait(cluster=cluster, desired=desired, policy=policy, patience=patience, mine=mine)
    observed, later = waits.until_over(since=observed.now, settled=_settled(done))
    followed = [entry for entry in observed.entries if entry.name in mine]
    return Report(
        observed=observed,
        actions=(*done, *later),
        rejected=planned.rejected,
        bad=tuple(e for e in followed if e.outcome and e.outcome.phase is not Phase.SUCCEEDED),
        open=frozenset(entry.name for entry in followed if not entry.outcome),
    )


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """What a run does while it waits. What it opens on the way is added to `mine`."""

    cluster: Cluster
    desired: Desired
    policy: planner.Policy
    patience: Patience
    mine: set[str]

    def until_over(self, *, since: datetime, settled: bool) -> tuple[Observed, list[Action]]:
        """Look and settle until none of `mine` is open or time is up; at least one look.

        What was settled may be followed by another attempt, so it is planned once more after that.
        As soon as a look shows that a newer commit rules, this run only follows, also what was
        opened since it began: the newer commit's own runs may not wait.
        """
        patience, theirs = self.patience, set[str]()
        end, pause = patience.monotonic() + patience.seconds, FIRST_PAUSE
        before: Sequence[Action] = ()
        later: list[Action] = []
        while True:
            observed = look(self.cluster)
            if observed.identity is None:
                raise UsageError(NO_CARD, hint=RESTORE_CARD)
            if not planner.rules(observed, self.desired.commit):
                theirs |= {entry.name for entry in observed.entries if entry.created >= since}
            self._show(observed)
            over = patience.monotonic() >= end or not _any_open(observed, self.mine | theirs)
            if over and not settled:
                return observed, later
            planned, observed = plan(self.cluster, self.desired, observed, self.policy)
            work = [one for one in planned.actions if not isinstance(one, Hold | Start)]
            done = apply_all(self.cluster, work, observed)
            self.mine.update(_opened(done))
            settled, again, before = _settled(done), work == before, work
            later += done
            if any(not isinstance(action, Hold) for action in done) and not again:
                continue
            if over:
                return observed, later
            patience.sleep(min(pause, max(0.0, end - patience.monotonic())))
            pause = min(pause * 1.3, LONGEST_PAUSE)

    def _show(self, observed: Observed) -> None:
        mine = tuple(entry for entry in observed.entries if entry.name in self.mine)
        self.patience.watch(replace(observed, entries=mine))


def _settled(done: Iterable[Action]) -> bool:
    return any(isinstance(action, Settle) for action in done)


def _opened(done: Iterable[Action]) -> set[str]:
    return {action.draft.name for action in done if isinstance(action, Open)}


def _any_open(observed: Observed, names: set[str]) -> bool:
    waited = (e for e in observed.entries if e.name in names and not phases.held(e, observed))
    return any(entry.outcome is None for entry in waited)
