"""Builders of values for tests: each has a default for all, so that a test names only its point.

Times are given as seconds after `NOON`, or as datetimes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from dtp_action.core import naming, planner
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    ContainerView,
    Desired,
    Directives,
    Draft,
    Entry,
    Finding,
    Identity,
    Intent,
    JobEnd,
    JobView,
    Mount,
    Notify,
    Observed,
    Origin,
    Outcome,
    Phase,
    PodView,
    Ref,
    Script,
    Spec,
    Wanted,
    Why,
)

NOON = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
SOURCE = "github.com/1#main"
NAMESPACE_UID = "namespace-1"
COMMIT = "c0ffee0000000000000000000000000000000000"
DIGEST = "sha256:" + "1" * 64
CONTENT = b"#!/bin/sh\necho hello\n"


def at(seconds: float) -> datetime:
    """Return the time so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def a_ref(text: str | Ref = "dtp-aws/genome") -> Ref:
    return text if isinstance(text, Ref) else Ref.parse(text)


def a_blob(content: bytes = CONTENT) -> str:
    """Return git's id of the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def settings(**changes: Any) -> ClusterSettings:
    """Return what a cluster's admin decided."""
    defaults: dict[str, Any] = {
        "claim": "shared",
        "runner_image": f"registry.example/runner@{DIGEST}",
    }
    return ClusterSettings(**defaults | changes)


# --- what the branch asks ------------------------------------------------------------------------


def a_script(
    ref: str | Ref = "dtp-aws/genome", content: bytes = CONTENT, **directives: Any
) -> Script:
    return Script(
        ref=a_ref(ref),
        content=content,
        blob=a_blob(content),
        directives=Directives(**directives),
    )


def a_wanted(
    ref: str | Ref = "dtp-aws/genome", content: bytes = CONTENT, **directives: Any
) -> Wanted:
    script = a_script(ref, content, **directives)
    return Wanted(ref=script.ref, path=script.ref.path, blob=script.blob, script=script)


def a_rejected(ref: str | Ref = "dtp-aws/genome", code: str = "syntax") -> Wanted:
    named = a_ref(ref)
    finding = Finding(path=named.path, line=1, code=code, message="it cannot run")
    return Wanted(ref=named, path=named.path, blob=a_blob(), script=None, findings=(finding,))


def desired(*wanted: Wanted | str, commit: str = COMMIT) -> Desired:
    """Return a commit that asks for these jobs; a bare ref asks for it with the default bytes."""
    items = [a_wanted(item) if isinstance(item, str) else item for item in wanted]
    return Desired(commit=commit, wanted={item.ref: item for item in items})


def a_policy(**changes: Any) -> planner.Policy:
    """Return the bounds of a run; every script resolves to the default settings."""
    defaults: dict[str, Any] = {
        "resolve": lambda script, author: a_spec(
            retries=script.directives.retries, service=script.directives.service
        ),
        "origins": lambda refs: {ref: an_origin() for ref in refs},
        "stuck_limit": 1800,
        "queue_allowance": 3600,
        "retention": 86400,
    }
    return planner.Policy(**defaults | changes)


# --- the ledger ----------------------------------------------------------------------------------


def an_origin(commit: str = COMMIT, **changes: Any) -> Origin:
    defaults: dict[str, Any] = {"pull_request": 7, "author": "ada"}
    return Origin(commit=commit, **defaults | changes)


def a_spec(**changes: Any) -> Spec:
    defaults: dict[str, Any] = {
        "image": f"registry.example/aws@{DIGEST}",
        "uid": 10001,
        "cpu_millis": 1000,
        "memory": 2 * 1024**3,
        "disk": 10 * 1024**3,
        "time": 24 * 3600,
        "retries": 0,
        "resume": False,
        "transient": (),
        "env": {},
        "secrets": (),
        "claim": "shared",
        "mounts": (Mount(path=""),),
        "runner_image": f"registry.example/runner@{DIGEST}",
        "service_account": "dtp-job",
        "groups": (),
        "queue_allowance": 3600,
    }
    return Spec(**defaults | changes)


def a_draft(
    ref: str | Ref = "dtp-aws/genome",
    attempt: int = 1,
    content: bytes = CONTENT,
    created: float | datetime = 0,
    **changes: Any,
) -> Draft:
    defaults: dict[str, Any] = {
        "name": naming.attempt_name(a_ref(ref), attempt),
        "blob": a_blob(content),
        "origin": an_origin(),
        "notify": Notify.END,
        "spec": a_spec(),
    }
    return Draft(
        ref=a_ref(ref),
        attempt=attempt,
        script=content,
        created=_time(created),
        **defaults | changes,
    )


def an_entry(
    ref: str | Ref = "dtp-aws/genome",
    attempt: int = 1,
    content: bytes = CONTENT,
    created: float | datetime = 0,
    **changes: Any,
) -> Entry:
    name = naming.attempt_name(a_ref(ref), attempt)
    defaults: dict[str, Any] = {
        "name": name,
        "uid": f"entry-of-{name}",
        "version": "1",
        "blob": a_blob(content),
        "origin": an_origin(),
        "notify": Notify.END,
    }
    return Entry(ref=a_ref(ref), attempt=attempt, created=_time(created), **defaults | changes)


def an_identity(source: str = SOURCE, namespace_uid: str = NAMESPACE_UID) -> Identity:
    return Identity(
        source=source,
        namespace_uid=namespace_uid,
        scheme=naming.SCHEME,
        created=NOON,
        commit=COMMIT,
        version="1",
    )


# A branch of one commit, about which nothing else can be asked.
LINE = planner.Line(follows=lambda _old, _new: False, place=lambda: None)


def an_intent(why: Why = Why.CANCEL, by: str = "ada", when: float = 60, **changes: Any) -> Intent:
    return Intent(why=why, by=by, at=at(when), **changes)


def an_outcome(phase: Phase = Phase.SUCCEEDED, **changes: Any) -> Outcome:
    defaults: dict[str, Any] = {"reason": "done", "finished": at(120)}
    if phase in (Phase.SUCCEEDED, Phase.FAILED):
        code = 0 if phase is Phase.SUCCEEDED else 1
        defaults |= {"exit_code": code, "started": at(60)}
    return Outcome(phase=phase, **defaults | changes)


# --- what the cluster shows ----------------------------------------------------------------------


def a_job(entry: Entry, **changes: Any) -> JobView:
    """Return the Job of an entry, active."""
    defaults: dict[str, Any] = {
        "name": entry.name,
        "uid": f"job-of-{entry.name}",
        "entry_uid": entry.uid,
        "created": entry.created,
        "deadline": 90000,
        "ttl": 30 * 24 * 3600,
    }
    return JobView(**defaults | changes)


def an_end(reason: str = "", when: float = 120, message: str = "") -> JobEnd:
    """Return how a Job ended: well, or with this reason."""
    return JobEnd(succeeded=not reason, reason=reason, message=message, at=at(when))


def a_pod(entry: Entry, **changes: Any) -> PodView:
    """Return a Pod of the entry's Job: pending, unless told otherwise."""
    defaults: dict[str, Any] = {
        "name": f"{entry.name}-pod",
        "uid": f"pod-of-{entry.name}",
        "job_name": entry.name,
        "created": entry.created,
    }
    return PodView(**defaults | changes)


def waiting(reason: str = "", message: str = "") -> ContainerView:
    return ContainerView(state="waiting", reason=reason, message=message)


def running(since: float = 60) -> ContainerView:
    return ContainerView(state="running", started=at(since))


def ended(
    exit_code: int = 0, since: float = 60, until: float = 120, **changes: Any
) -> ContainerView:
    defaults: dict[str, Any] = {"reason": "Error" if exit_code else "Completed"}
    return ContainerView(
        state="terminated",
        exit_code=exit_code,
        started=at(since),
        finished=at(until),
        **defaults | changes,
    )


def observed(
    entries: Iterable[Entry] = (),
    jobs: Iterable[JobView] = (),
    pods: Iterable[PodView] = (),
    now: float | datetime = 0,
    **changes: Any,
) -> Observed:
    """Return a look at the cluster, with an identity card unless told otherwise."""
    by_job: dict[str, tuple[PodView, ...]] = {}
    for pod in pods:
        by_job[pod.job_name] = (*by_job.get(pod.job_name, ()), pod)
    defaults: dict[str, Any] = {"identity": an_identity(), "pods": by_job}
    return Observed(
        now=_time(now),
        entries=tuple(entries),
        jobs={job.name: job for job in jobs},
        **defaults | changes,
    )


def _time(when: float | datetime) -> datetime:
    return when if isinstance(when, datetime) else at(when)
