"""What scenes of faults are played on: a namespace of a real cluster, in which no Pod is made.

Jobs are marked as somebody else's to carry out (`spec.managedBy`), so Kubernetes makes no Pods for
them and the test writes how they end. What reached the API server is kept, whoever asked and
whatever the client was told, for a checker that does not ask the product.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from dtp_action.core import ledger, naming
from dtp_action.core.model import Outcome, Phase, Ref
from tests.admin import PATHS, Namespace, wait_for
from tests.faults import Proxy, Write, proxied

Wire = dict[str, Any]
DEADLINE = "DeadlineExceeded"
NOBODY = "tests.dtp.scidas.org/nobody"
OURS = quote(ledger.KIND)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A Job that the API server made: as if its script had begun."""

    name: str
    ref: Ref
    uid: str


@dataclass
class Ground:
    """The namespace, and what happened in it since it was cleared."""

    namespace: Namespace
    made: list[Made] = field(default_factory=list)
    over: dict[str, int | None] = field(default_factory=dict)  # exit codes, by the Job's UID
    wrong: list[str] = field(default_factory=list)  # what must never happen
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def proxied(self, seen: Callable[[Write], object] = lambda _write: None) -> Iterator[Proxy]:
        """Yield a way to the API server on which requests can go wrong."""

        def both(write: Write) -> None:
            self._seen(write)
            seen(write)

        with proxied(self.namespace.kubeconfig) as proxy:
            proxy.change, proxy.seen = _for_nobody, both
            yield proxy

    def clear(self) -> None:
        """Empty the ledger, and forget what happened."""
        for kind in ("Job", "ConfigMap"):
            path = f"{PATHS[kind].format(self.namespace.name)}?labelSelector={OURS}"
            self.namespace.admin.call("DELETE", path, {"propagationPolicy": "Background"})
        wait_for(lambda: not self.jobs(), "the Jobs to be gone")
        self.made.clear()
        self.over.clear()

    def jobs(self) -> list[Wire]:
        path = f"{PATHS['Job'].format(self.namespace.name)}?labelSelector={OURS}"
        return list(self.namespace.admin.call("GET", path)["items"])

    def entries(self) -> list[Wire]:
        """Return the entries, oldest attempt first."""
        selector = quote(f"{ledger.KIND}=entry")
        path = f"{PATHS['ConfigMap'].format(self.namespace.name)}?labelSelector={selector}"
        found = self.namespace.admin.call("GET", path)["items"]
        return sorted(found, key=lambda entry: int(_notes(entry)[ledger.ATTEMPT]))

    def finish(self, code: int = 0, *, refs: set[str] | None = None) -> None:
        """Let the active Jobs of these refs, or all of them, end with this exit code."""
        for job in self.active():
            if refs is None or _notes(job)[ledger.REF] in refs:
                self._end(job, "PodFailurePolicy" if code else "", code)

    def carry_out(self) -> None:
        """Do as Kubernetes does where a Job's deadline has passed."""
        for job in self.active():
            if job["spec"]["activeDeadlineSeconds"] == 1:
                self._end(job, DEADLINE)

    def active(self) -> list[Wire]:
        """Return the Jobs that have not ended."""
        return [job for job in self.jobs() if not _ended(job)]

    def _end(self, job: Wire, reason: str = "", code: int = 0) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name, status = job["metadata"]["name"], dict[str, Any](startTime=_born(job))
        said = f"Container job for pod x/{name} failed with exit code {code} matching FailJob rule"
        why = {"reason": reason, "message": said if code else ""}
        since = {"status": "True", "lastTransitionTime": now, **(why if reason else {})}
        kinds = ("FailureTarget", "Failed") if reason else ("SuccessCriteriaMet", "Complete")
        status |= {"failed": 1} if reason else {"succeeded": 1, "completionTime": now}
        status["conditions"] = [{"type": kind, **since} for kind in kinds]
        path = f"{PATHS['Job'].format(self.namespace.name)}/{name}/status"
        self.namespace.admin.call("PATCH", path, {"status": status})
        self.over[job["metadata"]["uid"]] = None if reason == DEADLINE else code

    def _seen(self, write: Write) -> None:
        """Note a Job that was made; a second one, or one beside another, is what must not be."""
        if not makes_job(write):
            return
        metadata = write.answer["metadata"]
        one = Made(
            name=metadata["name"],
            ref=Ref.parse(metadata["annotations"][ledger.REF]),
            uid=metadata["uid"],
        )
        with self._lock:
            for other in self.made:
                if other.name == one.name:
                    self.wrong.append(f"{one.name} was made twice")
                elif other.ref == one.ref and other.uid not in self.over:
                    self.wrong.append(f"{one.name} was made while {other.name} may run")
            self.made.append(one)

    # --- what must hold ---

    def doubles(self) -> list[str]:
        """Return, once, what ran twice or beside another; by what reached the server."""
        found, self.wrong = self.wrong, []
        return found

    def lost(self, wanted: dict[str, int]) -> list[str]:
        """Return what is not so at rest: so many attempts of each job, all but the last settled.

        Each has the one Job that its entry names, no entry or Job is there beside these, and what
        ended is told as it ended.
        """
        entries, jobs = self.entries(), {job["metadata"]["name"]: job for job in self.jobs()}
        names = {
            naming.attempt_name(Ref.parse(ref), n + 1) for ref in wanted for n in range(wanted[ref])
        }
        found = {entry["metadata"]["name"] for entry in entries}
        wrong = [f"no entry {name}" for name in names - found]
        wrong += [f"nobody asked for {name}" for name in (found | jobs.keys()) - names]
        for entry in entries:
            name, notes = entry["metadata"]["name"], _notes(entry)
            uid = jobs.get(name, {}).get("metadata", {}).get("uid", "none")
            settled = ledger.OUTCOME in notes  # what ended before it was confirmed never is
            if notes.get(ledger.JOB_UID, uid if settled else "") != uid:
                wrong.append(f"{name} names Job {notes.get(ledger.JOB_UID)}, there is {uid}")
            if settled:
                wrong += _untrue(ledger.load_outcome(notes[ledger.OUTCOME]), self.over.get(uid))
        return wrong


def _untrue(told: Outcome, code: int | None) -> list[str]:
    """Return what is wrong with an outcome, where the script ended with a code."""
    right = Phase.FAILED if code else Phase.SUCCEEDED
    if code is None or (told.phase is right and (told.exit_code or 0) == code):
        return []
    return [f"it ended with {code}, and is told as {told}"]


def makes_job(write: Write) -> bool:
    """Tell whether a Job was made that would run."""
    made = write.status == 201 and write.request.endswith("/jobs")
    return made and not _is_tombstone(write.sent)


def _for_nobody(request: str, body: Any) -> Any:
    """Mark a Job as somebody's who does nothing; a tombstone is the controller's to end."""
    if not request.endswith("/jobs") or _is_tombstone(body):
        return body
    return body | {"spec": body["spec"] | {"managedBy": NOBODY}}


def _is_tombstone(job: Wire) -> bool:
    return bool(job["spec"]["completions"] == 0)


def _ended(job: Wire) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(one["type"] in ("Complete", "Failed") for one in conditions)


def _born(job: Wire) -> str:
    return str(job["metadata"]["creationTimestamp"])


def _notes(found: Wire) -> dict[str, str]:
    return dict(found["metadata"]["annotations"])
