"""A cluster in memory: a small simulator of Jobs, Pods, the runner's fence and the clock.

Tests move it by hand (`run`, `finish`, `drain`, `pass_time`, …) and read its state; dispatchers
see it through `tests.fakes.FakeCluster`, several of them at once if need be.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dtp_action.core import manifests
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    Arrived,
    ContainerView,
    Draft,
    Entry,
    Identity,
    JobEnd,
    JobView,
    Outcome,
    PodView,
    Ref,
    Refused,
    Why,
)
from tests import builders

ENDED = ("Succeeded", "Failed")


IN_ETCD = ("card", "entries", "drafts", "tails", "ends", "jobs")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened, as a checker of histories needs it."""

    kind: str  # recorded, made, intent, started, finished; settled, remade
    namespace: str
    name: str = ""  # of the attempt
    ref: Ref | None = None
    blob: str = ""
    why: Why | None = None
    code: int | None = None
    commit: str = ""
    era: int = 0  # how often the branch had changed


class World:
    """The state of one cluster. Its clock stands still until `pass_time`."""

    def __init__(self, *, settings: ClusterSettings | None = None) -> None:
        self.lock = threading.RLock()
        self.now = builders.NOON
        self.settings = settings or builders.settings()
        self.namespace_uid = builders.NAMESPACE_UID
        self.card: Identity | None = None
        self.entries: dict[str, Entry] = {}
        self.drafts: dict[str, Draft] = {}
        self.tails: dict[str, str] = {}
        self.arrived: dict[str, Arrived] = {}
        self.ends: dict[str, tuple[Outcome, str]] = {}
        self.jobs: dict[str, JobView] = {}
        self.pods: dict[str, list[PodView]] = {}  # by Job, newest last
        self.logs: dict[str, str] = {}  # by Pod
        self.events: dict[str, tuple[str, ...]] = {}  # by UID
        self.refusals: dict[str, Refused] = {}  # by the Job's name; "*" is for all
        self.runs: Counter[str] = Counter()  # how often each attempt's script really started
        self.jobs_made: Counter[str] = Counter()
        self.claim: dict[str, int | None] = {}  # the fence: last exit code, None while unfinished
        self.owners: dict[str, str] = {}  # the fence: UID of the entry whose state it is
        self.unlabelled: set[str] = set()  # Jobs that no list of ours shows
        self.history: list[Event] = []
        self.era = 0
        self.told: dict[tuple[str, str], Outcome] = {}  # by namespace and attempt
        self.late: list[Callable[[], object]] = []  # requests that take effect when delivered
        self.kept: dict[str, Ref] = {}  # whose job a Pod's attempt is, also of an earlier ledger
        self.spoiled: dict[str, str] = {}  # why a ConfigMap cannot be read, by its name
        self._serial = itertools.count(1)

    def serial(self, prefix: str = "") -> str:
        """Return what was never returned before."""
        return f"{prefix}{next(self._serial)}"

    def note(self, kind: str, name: str = "", **more: Any) -> None:
        """Remember that something happened; of an attempt, with its job and bytes."""
        if draft := self.drafts.get(name):
            more = {"ref": draft.ref, "blob": draft.blob} | more
        more |= {"namespace": self.namespace_uid, "era": self.era}
        self.history.append(Event(kind=kind, name=name, **more))

    def ref_of(self, name: str) -> Ref:
        """Return the job of an attempt, of whichever ledger."""
        return self.kept[name]

    # --- what happens in a cluster ---

    def run(self, name: str, log: str = "") -> PodView:
        """A Pod of the Job starts; the fence in it decides whether the script does.

        Called again, it is Kubernetes that starts one more Pod.
        """
        pod = self._put(self._fresh_pod(name), phase="Running", unscheduled="", node="node-1")
        pod = self._put(pod, prep=self._terminated(0))
        self.logs[pod.name] = log
        entry = self.jobs[name].entry_uid
        if self.owners.setdefault(name, entry) != entry:  # the state of another ledger's attempt
            return self._end_pod(pod, 195)
        if self._fence_opens(name):
            self.runs[name] += 1
            self.claim[name] = None
            self.kept[name] = self.drafts[name].ref
            self.note("started", name)
            started = ContainerView(state="running", started=self.now)
            return self._put(pod, job=started)
        told = self.claim[name]
        return self._end_pod(pod, 191 if told is None else told)

    def finish(self, name: str, exit_code: int = 0, message: str = "") -> None:
        """The script that runs ends with this exit code; the runner leaves `message`."""
        pod = next(p for p in reversed(self.pods[name]) if p.job and p.job.state == "running")
        self.claim[name] = exit_code
        self.note("finished", name, code=exit_code)
        self._end_pod(pod, exit_code, message)

    def make_wait(self, name: str, reason: str, message: str = "") -> None:
        """The Job waits: `Unschedulable`, `FailedCreate` (no Pod), or a container's reason."""
        if reason == "FailedCreate":
            self.add_event(self.jobs[name].uid, f"FailedCreate: {message}")
            return
        pod = self._fresh_pod(name)
        if reason == "Unschedulable":
            self._put(pod, unscheduled=message)
            return
        waiting = ContainerView(state="waiting", reason=reason, message=message)
        self._put(pod, prep=self._terminated(0), job=waiting, node="node-1")

    def drain(self, name: str) -> None:
        """The node is drained: the Pod is evicted and gone, its script ended without a result."""
        pod = self.pods[name].pop()
        if not self.drafts[name].spec.resume:
            why = f"Pod dtp/{pod.name} has condition DisruptionTarget"
            self._end_job(name, "PodFailurePolicy", f"{why} matching FailJob rule at index 0")

    def lose_job(self, name: str) -> None:
        """The Job and its Pods vanish, by TTL or by hand."""
        del self.jobs[name]
        self.pods.pop(name, None)

    def orphan(self, name: str) -> None:
        """The Job is deleted and its Pods go on (`--cascade=orphan`, or within their grace)."""
        del self.jobs[name]
        self.pods[name] = [pod for pod in self.pods.get(name, ()) if pod.node]

    def deliver(self) -> None:
        """Requests whose senders have given up take effect."""
        waiting, self.late = self.late, []
        for act in waiting:
            act()

    def saved(self) -> dict[str, Any]:
        """Return what etcd holds, to be restored later."""
        return {key: copy.copy(getattr(self, key)) for key in IN_ETCD}

    def restore(self, saved: dict[str, Any]) -> None:
        """The cluster's objects are as they were; nodes end what they do not know any more."""
        for key, value in saved.items():
            setattr(self, key, copy.copy(value))
        self.pods.clear()

    def remake(self) -> None:
        """The namespace is deleted and made again; the claim keeps what is on it."""
        self.namespace_uid = self.serial("namespace-")
        self.card = None
        for kept in (self.entries, self.drafts, self.tails, self.ends, self.jobs, self.pods):
            kept.clear()
        self.runs.clear()
        self.jobs_made.clear()
        self.note("remade")

    def add_foreign_job(self, name: str, *, labelled: bool = False) -> JobView:
        """Somebody else makes a Job of that name; `labelled` as if it were ours."""
        uid = self.serial("job-")
        self.jobs[name] = JobView(name=name, uid=uid, entry_uid="", created=self.now)
        if not labelled:
            self.unlabelled.add(name)
        return self.jobs[name]

    def add_event(self, uid: str, event: str) -> None:
        """Add `Reason: message` about an object."""
        self.events[uid] = (*self.events.get(uid, ()), event)

    def pass_time(self, seconds: float) -> None:
        """Move the clock; Jobs end at their deadline, and are gone after their time to live."""
        self.now += timedelta(seconds=seconds)
        for job in tuple(self.jobs.values()):
            if job.end is None and self._is_past(job.created, job.deadline):
                self._end_job(job.name, "DeadlineExceeded")
            elif job.end and job.end.at and self._is_past(job.end.at, job.ttl):
                self.lose_job(job.name)

    # --- how it happens ---

    def _is_past(self, start: datetime, seconds: int | None) -> bool:
        return seconds is not None and start + timedelta(seconds=seconds) <= self.now

    def _fence_opens(self, name: str) -> bool:
        """Do as the runner does: a start on record is repeated only where the entry allows it."""
        if name not in self.claim:
            return True
        spec, code, starts = self.drafts[name].spec, self.claim[name], self.runs[name]
        if code is None:
            return spec.resume and starts <= manifests.RESUMES
        return code in spec.retried and starts <= spec.retries

    def _fresh_pod(self, name: str) -> PodView:
        """Return the Job's Pod that has not started yet; make one where there is none."""
        pods = self.pods.setdefault(name, [])
        if pods and (not pods[-1].job or pods[-1].job.state == "waiting"):
            return pods[-1]
        uid = self.serial("pod-")
        pods.append(PodView(name=f"{name}-{uid}", uid=uid, job_name=name, created=self.now))
        return pods[-1]

    def _put(self, pod: PodView, **changes: Any) -> PodView:
        pods = self.pods[pod.job_name]
        place = next(i for i, other in enumerate(pods) if other.uid == pod.uid)
        pods[place] = replace(pods[place], **changes)
        return pods[place]

    def _terminated(
        self, code: int, message: str = "", since: datetime | None = None
    ) -> ContainerView:
        return ContainerView(
            state="terminated",
            reason="Error" if code else "Completed",
            message=message,
            exit_code=code,
            started=since or self.now,
            finished=self.now,
        )

    def _end_pod(self, pod: PodView, code: int, message: str = "") -> PodView:
        """End the Pod, and the Job with it unless the code counts as transient."""
        since = pod.job.started if pod.job else None
        name, phase = pod.job_name, "Failed" if code else "Succeeded"
        pod = self._put(pod, phase=phase, job=self._terminated(code, message, since))
        spec = self.drafts[name].spec
        if name not in self.jobs:
            return pod
        self._count(name, bool(code))
        if code in spec.retried and self.jobs[name].failed <= spec.retries:
            return pod
        why = f"Container job for pod dtp/{pod.name} failed with exit code {code} matching"
        self._end_job(
            name, "PodFailurePolicy" if code else "", f"{why} FailJob rule" if code else ""
        )
        return pod

    def _count(self, name: str, failed: int) -> None:
        """Count Pods of the Job that failed: they stay counted when they are gone."""
        self.jobs[name] = replace(self.jobs[name], failed=self.jobs[name].failed + failed)

    def _end_job(self, name: str, reason: str, message: str = "") -> None:
        """End the Job; its controller deletes whatever Pod of it has not ended."""
        pods = self.pods.get(name, [])
        self.pods[name] = [pod for pod in pods if pod.phase in ENDED]
        self._count(name, len(pods) - len(self.pods[name]))
        end = JobEnd(succeeded=not reason, reason=reason, message=message, at=self.now)
        if self.jobs[name].end is None:
            self.jobs[name] = replace(self.jobs[name], end=end)
