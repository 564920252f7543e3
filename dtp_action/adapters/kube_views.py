"""Translates Kubernetes objects, plain dicts off the wire, into what the core observes.

Pure functions without opinions: what a state means is for `core.phases` to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from dtp_action.adapters.kube_api import Wire
from dtp_action.core import ledger, naming
from dtp_action.core.model import ContainerView, JobEnd, JobView, PodView

NEVER = datetime.fromtimestamp(0, UTC)


def read_job(job: Wire) -> JobView:
    """Return a Job as observed; one that cannot be read says why."""
    try:
        return job_view(job)
    except ledger.NOT_OURS as error:
        name = job["metadata"]["name"]
        why = ledger.why_not(error)
        return JobView(name=name, uid="", entry_uid="", created=NEVER, unreadable=why)


def read_pod(pod: Wire) -> PodView:
    """Return a Pod as observed; one that cannot be read says why."""
    try:
        return pod_view(pod)
    except ledger.NOT_OURS as error:
        name, why = pod["metadata"]["name"], ledger.why_not(error)
        job = naming.job_part(name)  # what a Job's Pods are called after
        return PodView(name=name, uid="", job_name=job, created=NEVER, unreadable=why)


def job_view(job: Wire) -> JobView:
    """Read a `batch/v1` Job."""
    metadata, spec = job["metadata"], job.get("spec", {})
    return JobView(
        name=metadata["name"],
        uid=metadata["uid"],
        entry_uid=metadata.get("annotations", {}).get(ledger.ENTRY_UID, ""),
        created=ledger.instant(metadata["creationTimestamp"]),
        deadline=spec.get("activeDeadlineSeconds"),
        ttl=spec.get("ttlSecondsAfterFinished"),
        failed=job.get("status", {}).get("failed", 0),
        end=_job_end(job.get("status", {})),
        tombstone=spec.get("completions") == 0,
    )


def _job_end(status: Wire) -> JobEnd | None:
    """Return the terminal condition; SuccessCriteriaMet and FailureTarget only announce one."""
    for kind in ("Complete", "Failed"):
        if condition := _condition(status, kind):
            return JobEnd(
                succeeded=kind == "Complete",
                reason=condition.get("reason", ""),
                message=condition.get("message", ""),
                at=_time(condition.get("lastTransitionTime")),
            )
    return None


def pod_view(pod: Wire) -> PodView:
    """Read a Pod of ours: its containers are `prep` and `job`."""
    metadata, status = pod["metadata"], pod.get("status", {})
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        job_name=metadata.get("labels", {}).get("batch.kubernetes.io/job-name", ""),
        created=ledger.instant(metadata["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        node=pod.get("spec", {}).get("nodeName", ""),
        placed=_time(status.get("startTime")),
        time=_script_time(pod.get("spec", {}).get("containers")),
        deleted="deletionTimestamp" in metadata,
        unscheduled=_words(_condition(status, "PodScheduled", "False")),
        disruption=_words(_condition(status, "DisruptionTarget")),
        prep=_container(status.get("initContainerStatuses"), "prep"),
        job=_container(status.get("containerStatuses"), "job"),
    )


def _script_time(containers: list[Wire] | None) -> int | None:
    """Read what the runner is told of the script's time; a release before told it nothing."""
    told = [e for c in containers or () if c["name"] == "job" for e in c.get("env") or ()]
    return next((int(e["value"]) for e in told if e["name"] == "DTP_TIME"), None)


def _container(statuses: list[Wire] | None, name: str) -> ContainerView | None:
    """Read a container's state; an empty one means waiting, says Kubernetes."""
    for status in statuses or ():
        if status["name"] == name:
            state = status.get("state", {})
            kind = next((one for one in ("terminated", "running") if one in state), "waiting")
            detail = state.get(kind) or {}
            return ContainerView(
                state=kind,
                reason=detail.get("reason", ""),
                message=detail.get("message", ""),
                exit_code=detail.get("exitCode"),
                started=_time(detail.get("startedAt")),
                finished=_time(detail.get("finishedAt")),
            )
    return None


def event_lines(events: Iterable[Wire]) -> tuple[str, ...]:
    """Return events as one line of text each, the one seen last at the end."""
    lines = (f"{e.get('reason', '')}: {e.get('message', '')}" for e in sorted(events, key=_seen))
    return tuple(lines)


def _seen(event: Wire) -> str:
    """Return when it was last seen, in a form that sorts."""
    last = event.get("lastTimestamp") or event.get("eventTime")
    return str(last or event["metadata"].get("creationTimestamp", ""))


def _condition(status: Wire, kind: str, value: str = "True") -> Wire:
    """Return a condition; nothing where there is none of that value."""
    for condition in status.get("conditions") or ():
        if condition["type"] == kind and condition["status"] == value:
            return dict(condition)
    return {}


def _words(condition: Wire) -> str:
    return str(condition.get("message") or condition.get("reason") or condition.get("type", ""))


def _time(text: str | None) -> datetime | None:
    """Read a time; a container that could not be started says 1970, which is none."""
    at = ledger.instant(text) if text else None
    return at if at and at.year > 1970 else None
