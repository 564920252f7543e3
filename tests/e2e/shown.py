"""What Kubernetes shows of a namespace, as far as `dtp` goes by it.

To ask the API again and again for this costs far less than to ask `dtp` again and again.
"""

from __future__ import annotations

from typing import Any

from tests.admin import Admin

Row = dict[str, Any]

TELLING = ("PodScheduled", "DisruptionTarget")  # the conditions of a Pod that `dtp` reads


def shown(admin: Admin, namespace: str) -> list[Any]:
    """Return something that differs wherever `dtp` may have something else to say."""
    warnings = f"/api/v1/namespaces/{namespace}/events?fieldSelector=type%3DWarning"
    return [
        sorted(map(_of_job, admin.list("Job", namespace))),
        sorted(map(_of_pod, admin.list("Pod", namespace))),
        sorted({_of_event(event) for event in admin.call("GET", warnings)["items"]}),
    ]


def _of_job(job: Row) -> str:
    return repr((_of_object(job), job.get("status", {}).get("conditions")))


def _of_pod(pod: Row) -> str:
    status = pod["status"]
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    conditions = [one for one in status.get("conditions", ()) if one["type"] in TELLING]
    states = [_of_state(one["state"]) for one in containers]
    return repr((_of_object(pod), status.get("phase"), conditions, states))


def _of_object(made: Row) -> Any:
    return made["metadata"]["uid"], "deletionTimestamp" in made["metadata"]


def _of_state(state: Row) -> Any:
    return [(kind, more.get("reason"), more.get("exitCode")) for kind, more in state.items()]


def _of_event(event: Row) -> str:
    return repr((event["involvedObject"].get("uid"), event.get("reason"), event.get("message")))
