"""Translates Kubernetes objects, plain dicts off the wire, into what the core observes.

Pure functions without opinions: what a state means is for `core.phases` to say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dtp_action.core import ledger
from dtp_action.core.model import ContainerView, JobEnd, JobView, PodView

Wire = dict[str, Any]


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
        end=_job_end(job.get("status", {})),
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
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    labels = metadata.get("labels", {})
    scheduled = _condition(status, "PodScheduled", "False")
    disrupted = _condition(status, "DisruptionTarget")
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        job_name=labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", ""),
        created=ledger.instant(metadata["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        node=spec.get("nodeName", ""),
        deleted="deletionTimestamp" in metadata,
        unscheduled=_words(scheduled),
        disruption=_words(disrupted),
        prep=_container(status.get("initContainerStatuses"), "prep"),
        job=_container(status.get("containerStatuses"), "job"),
    )


def _container(statuses: list[Wire] | None, name: str) -> ContainerView | None:
    for status in statuses or ():
        if status["name"] == name:
            return _container_view(status.get("state", {}))
    return None


def _container_view(state: Wire) -> ContainerView:
    """Read a container's state; an empty one means waiting, says Kubernetes."""
    for kind in ("terminated", "running"):
        if kind in state:
            break
    else:
        kind = "waiting"
    detail = state.get(kind) or {}
    return ContainerView(
        state=kind,
        reason=detail.get("reason", ""),
        message=detail.get("message", ""),
        exit_code=detail.get("exitCode"),
        started=_time(detail.get("startedAt")),
        finished=_time(detail.get("finishedAt")),
    )


def event_line(event: Wire) -> str:
    """Return an event as one line of text."""
    return f"{event.get('reason', '')}: {event.get('message', '')}"


def event_time(event: Wire) -> str:
    """Return when it was last seen, in a form that sorts."""
    last = event.get("lastTimestamp") or event.get("eventTime")
    return str(last or event["metadata"].get("creationTimestamp", ""))


def _condition(status: Wire, kind: str, value: str = "True") -> Wire | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == kind and condition["status"] == value:
            return dict(condition)
    return None


def _words(condition: Wire | None) -> str:
    if not condition:
        return ""
    return str(condition.get("message") or condition.get("reason") or condition["type"])


def _time(text: str | None) -> datetime | None:
    """Read a time; a container that could not be started says 1970, which is none."""
    at = ledger.instant(text) if text else None
    return at if at and at.year > 1970 else None
