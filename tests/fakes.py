"""The port `dispatch.Cluster` over a simulated cluster, with requests counted and faults at will.

Requests are counted as the real adapter makes them; tests/contract holds the two equal.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dtp_action.core import ledger, manifests
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    Arrived,
    Buried,
    Draft,
    Entry,
    Identity,
    Intent,
    JobEnd,
    JobView,
    Kept,
    Ledger,
    Origin,
    Outcome,
    PodView,
    Recorded,
    Refused,
    Started,
    Taken,
    Unreadable,
)
from dtp_action.errors import StaleError, UnavailableError, UnreadableError
from tests.world import World

__all__ = ["DiedError", "FakeCluster", "Fault", "World"]

T = TypeVar("T")
PAGE = 500


class DiedError(BaseException):
    """The dispatcher's process is gone: nothing of it may catch this."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Fail one request, counted from 1: before it takes effect, or after (the answer is lost).

    `only` counts just the requests that begin so. With `DiedError`, all later ones fail too.
    """

    at: int
    after: bool = False
    only: str = ""
    error: BaseException = field(default_factory=lambda: UnavailableError("no answer"))


class FakeCluster:
    """One dispatcher's view of a World; satisfies `dispatch.Cluster`.

    `before` is called before each request, with its text: tests let others act there. `late`: a
    request to make a Job is given up and takes effect when the world delivers it. `commit`: whose
    run this is, for the world's history. `skew`: how far the clock of its API server is off.
    """

    def __init__(
        self,
        world: World,
        *,
        fault: Fault | None = None,
        before: Callable[[str], object] = lambda request: None,
        late: bool = False,
        commit: str = "",
        skew: timedelta = timedelta(0),
    ) -> None:
        self.world = world
        self._late = late
        self._commit = commit
        self._skew = skew
        self.requests: list[str] = []
        self._fault = fault
        self._before = before
        self._hits = 0
        self._died = False

    def _ask(self, request: str, act: Callable[[], T]) -> T:
        """Make one request, all or nothing, and fail where told to."""
        self._before(request)
        with self.world.lock:
            self.requests.append(request)
            if self._late and request.startswith("create jobs"):
                self.world.late.append(act)
                raise UnavailableError("no answer within the time that there was")
            fault = self._fault if self._is_hit(request) else None
            if fault and not fault.after:
                raise fault.error
            answer = act()
            if fault:
                raise fault.error
            return answer

    def _is_hit(self, request: str) -> bool:
        fault = self._fault
        if self._died and fault:
            raise fault.error
        if not fault or not request.startswith(fault.only):
            return False
        self._hits += 1
        hit = self._hits == fault.at
        self._died = hit and isinstance(fault.error, DiedError)
        return hit

    # --- reading ---

    def settings(self) -> ClusterSettings:
        return self._ask(f"get configmaps {ledger.SETTINGS_NAME}", lambda: self.world.settings)

    def namespace_uid(self) -> str:
        return self._ask("get namespaces", lambda: self.world.namespace_uid)

    def now(self) -> datetime:
        return self.world.now + self._skew

    def ledger(self) -> Ledger:
        world = self.world
        self._pages("list configmaps", len(world.entries) + 1)

        def act() -> Ledger:
            spoiled = world.entries.keys() & world.spoiled.keys()
            return Ledger(
                identity=world.card,
                entries=tuple(e for e in world.entries.values() if e.name not in spoiled),
                unreadable=tuple(
                    Unreadable(kind="ConfigMap", name=name, of=name, why=world.spoiled[name])
                    for name in sorted(spoiled)
                ),
            )

        return self._ask("list configmaps", act)

    def _check(self, name: str) -> None:
        """Fail as where a ConfigMap that is needed cannot be read."""
        if name in self.world.spoiled:
            raise UnreadableError(name, self.world.spoiled[name])

    def jobs(self) -> tuple[JobView, ...]:
        jobs, hidden = self.world.jobs, self.world.unlabelled
        self._pages("list jobs", len(jobs))
        return self._ask(
            "list jobs", lambda: tuple(job for job in jobs.values() if job.name not in hidden)
        )

    def job(self, name: str) -> JobView | None:
        return self._ask(f"get jobs {name}", lambda: self.world.jobs.get(name))

    def pods(self) -> tuple[PodView, ...]:
        pods = self.world.pods
        self._pages("list pods", sum(map(len, pods.values())))
        return self._ask("list pods", lambda: tuple(itertools.chain(*pods.values())))

    def _pages(self, request: str, count: int) -> None:
        """Make the requests for all pages but the last, which answers for all: one version."""
        for _ in range((count - 1) // PAGE):
            self._ask(request, lambda: None)

    def events(self, uid: str) -> tuple[str, ...]:
        return self._ask("list events", lambda: self.world.events.get(uid, ()))

    def read(self, name: str) -> Recorded | None:
        def act() -> Recorded | None:
            if name not in self.world.entries:
                return None
            self._check(name)
            draft = self.world.drafts[name]
            entry = self.world.entries[name]
            return Recorded(entry=entry, script=draft.script, spec=draft.spec)

        return self._ask(f"get configmaps {name}", act)

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        log = self._ask(f"get pods/log {pod.name}", lambda: self.world.logs.get(pod.name))
        return "".join(log.splitlines(keepends=True)[-lines:]) if log else None

    def log(self, pod: PodView, *, lines: int | None, follow: bool) -> Iterator[bytes]:
        log = self._ask(f"get pods/log {pod.name}", lambda: self.world.logs.get(pod.name, ""))
        for line in log.splitlines(keepends=True)[-lines if lines else None :]:
            yield line.encode()

    def kept(self, name: str) -> Kept:
        end = self._ask(f"get configmaps {name}-end", lambda: self.world.ends.get(name))
        if end and end[1]:
            return Kept(log=end[1], arrived=self.world.arrived.get(name))
        tail = self._ask(f"get configmaps {name}-tail", lambda: self.world.tails.get(name))
        return Kept(log=tail or "", arrived=self.world.arrived.get(name))

    # --- writing ---

    def _keep(self, store: dict[str, T], entry: Entry, kind: str, made: T) -> T:
        """Make `<name>-<kind>`; the one that is there already counts."""
        name, key = f"{entry.name}-{kind}", entry.name
        if self._ask(f"create configmaps {name}", lambda: store.setdefault(key, made) is made):
            return made
        return self._ask(f"get configmaps {name}", lambda: store[key])

    def identify(self, identity: Identity) -> Identity:
        def act() -> bool:
            if self.world.card:
                return False
            self.world.card = made
            return True

        made = replace(identity, version=self.world.serial())
        if self._ask(f"create configmaps {ledger.LEDGER_NAME}", act):
            return made
        card = self.card()
        if not card:
            raise StaleError("there is no identity card")
        return card

    def card(self) -> Identity | None:
        return self._ask(f"get configmaps {ledger.LEDGER_NAME}", lambda: self.world.card)

    def rename(self, source: str) -> None:
        self._amend_card(source=source)

    def rule(self, card: Identity, commit: str) -> Identity:
        return self._amend_card(card.version, commit=commit)

    def _amend_card(self, version: str | None = None, **changes: Any) -> Identity:
        def act() -> Identity:
            card = self.world.card
            if not card or version not in (None, card.version):
                raise StaleError("the card changed since it was read")
            self.world.card = replace(card, version=self.world.serial(), **changes)
            return self.world.card

        return self._ask(f"patch configmaps {ledger.LEDGER_NAME}", act)

    def record(self, draft: Draft) -> Entry:
        name = draft.name
        marks = {"uid": self.world.serial("entry-"), "resourceVersion": self.world.serial()}
        entry = ledger.load_entry(ledger.entry_manifest(draft)["metadata"] | marks)

        def act() -> bool:
            self.world.drafts.setdefault(name, draft)
            made = self.world.entries.setdefault(name, entry) is entry
            if made:
                self.world.note("recorded", name, commit=self._commit)
            return made

        if self._ask(f"create configmaps {name}", act):
            return entry
        self._check(name)
        return self._ask(f"get configmaps {name}", lambda: self.world.entries[name])

    def start(self, entry: Entry, known: Recorded | None = None) -> Started | Refused | Taken:
        recorded = known or self._as_read(entry)
        if recorded.entry.intent:
            raise StaleError(f"{entry.name} was ended since it was read")
        made = self._made(recorded, tombstone=False)
        if isinstance(made, Buried):
            raise StaleError(f"{entry.name} was ended since it was read")
        return made

    def bury(self, entry: Entry) -> Buried | Started | Refused | Taken:
        return self._made(self._as_read(entry), tombstone=True)

    def _as_read(self, entry: Entry) -> Recorded:
        recorded = self.read(entry.name)
        if not recorded or recorded.entry.uid != entry.uid:
            raise StaleError(f"{entry.name} is not the entry that was read")
        if recorded.entry.outcome:
            raise StaleError(f"{entry.name} was settled since it was read")
        return recorded

    def _made(self, recorded: Recorded, *, tombstone: bool) -> Buried | Started | Refused | Taken:
        entry = recorded.entry
        act = functools.partial(self._make_job, recorded, tombstone=tombstone)
        made = self._ask(f"create jobs {entry.name}", act)
        if isinstance(made, Started | Buried):
            return made
        there = self._ask(f"get jobs {entry.name}", lambda: self.world.jobs.get(entry.name))
        if there and there.entry_uid == entry.uid:
            return Buried() if there.tombstone else Started(job_uid=there.uid)
        if there:
            return Taken(reason=f"a Job named {entry.name} is there that is not of this ledger")
        if not made:
            raise StaleError(f"Job {entry.name} vanished")
        return made

    def _make_job(
        self, recorded: Recorded, *, tombstone: bool
    ) -> Started | Buried | Refused | None:
        """Make the Job; None where there is one. As in Kubernetes, a refusal comes first."""
        entry, world = recorded.entry, self.world
        refused = world.refusals.get(entry.name) or world.refusals.get("*")
        if refused or entry.name in world.jobs:
            return refused
        job = JobView(
            name=entry.name,
            uid=world.serial("job-"),
            entry_uid=entry.uid,
            created=world.now,
            deadline=manifests.deadline(recorded.spec),
            ttl=manifests.BORN_TTL,
            tombstone=tombstone,
        )
        if tombstone:
            done = JobEnd(succeeded=True, reason="", message="", at=world.now)
            world.jobs[entry.name] = replace(job, end=done)
            return Buried()
        world.jobs_made[entry.name] += 1
        world.note("made", entry.name, commit=self._commit)
        world.jobs[entry.name] = job
        return Started(job_uid=job.uid)

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        return self._patch(entry, job_uid=job_uid, held="")

    def hold_back(self, entry: Entry, reason: str) -> Entry:
        return self._patch(entry, waiting=reason)

    def mark_held(self, entry: Entry, reason: str) -> Entry:
        return self._patch(entry, held=reason)

    def attribute(self, entry: Entry, origin: Origin) -> Entry:
        return self._patch(entry, origin=replace(origin, commit=entry.origin.commit, asked=True))

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        if tail:
            self._keep(self.world.tails, entry, "tail", tail)
        kept = self._patch(entry, intent=ledger.load_intent(ledger.dump_intent(intent)))
        self.world.note("intent", entry.name, why=intent.why, commit=self._commit)
        return kept

    def settle(
        self, entry: Entry, outcome: Outcome, tail: str, arrived: Arrived | None = None
    ) -> Entry:
        written = ledger.load_outcome(ledger.dump_outcome(outcome))
        counts, _ = self._keep(self.world.ends, entry, "end", (written, tail))
        if arrived and counts is written:
            self.world.arrived[entry.name] = ledger.load_arrived(ledger.dump_arrived(arrived))
        self._check(f"{entry.name}-end")
        kept = self._patch(entry, outcome=counts)
        self.world.told[self.world.namespace_uid, entry.name] = counts
        return kept

    def _patch(self, entry: Entry, **changes: Any) -> Entry:
        """Change an entry, unless it has changed since it was read."""

        def act() -> Entry:
            there = self.world.entries.get(entry.name)
            if not there or there.version != entry.version:
                raise StaleError(f"{entry.name} changed since it was read")
            there = replace(there, version=self.world.serial(), **changes)
            self.world.entries[entry.name] = there
            return there

        return self._ask(f"patch configmaps {entry.name}", act)

    def stop(self, job: JobView) -> None:
        self._patch_job(job, deadline=1)

    def retire(self, job: JobView, ttl: int) -> None:
        self._patch_job(job, ttl=ttl)

    def _patch_job(self, seen: JobView, **changes: Any) -> None:
        def act() -> None:
            job = self.world.jobs.get(seen.name)
            if job and job.uid == seen.uid:
                self.world.jobs[job.name] = replace(job, **changes)

        self._ask(f"patch jobs {seen.name}", act)
