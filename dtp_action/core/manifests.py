"""Builds the Job of an entry: a pure function of what the entry records.

Knows the runner's contract (docs/explanation/runner.md) and no protocol.
"""

from __future__ import annotations

from typing import Any

from dtp_action.core import ledger
from dtp_action.core.model import Entry, Mount, Spec
from dtp_action.core.quantities import print_cpu, print_memory

BORN_TTL = 30 * 24 * 3600  # how long an ended Job waits to be settled
RESUMES = 5  # how often a drained attempt may start again
GRACE = 30  # seconds from TERM to KILL: the runner needs them to write the result
CLOSING = 120  # seconds that the runner may need from the end of the script's time to its own
PREP_MEMORY = "64Mi"  # no limit of CPU: a throttled copy of the tools would take a minute

WORKSPACE = "/workspace"
CLAIM = "/claim"
STATE = "/dtp-state"
TOOLS = "/dtp"
SCRIPT = "/dtp-entry/script"
FILES = "/dtp-entry/files"
FILE_MODE = 0o755
SECRETS = "/var/run/dtp/secret"
TERMINATION = "/dev/termination-log"
HOME, SCRATCH = "/home/dtp", "/tmp"  # noqa: S108 a volume of the Pod's own


def job(entry: Entry, spec: Spec) -> dict[str, Any]:
    """Return the `batch/v1` Job that runs this attempt."""
    labels = {
        ledger.OUR_LABEL[0]: ledger.OUR_LABEL[1],
        ledger.KIND: "attempt",
        ledger.PROTOCOL: entry.ref.protocol,
    }
    notes = {ledger.REF: str(entry.ref), ledger.ATTEMPT: str(entry.attempt)}
    queue = {"kueue.x-k8s.io/queue-name": spec.queue} if spec.queue else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": entry.name,
            "labels": labels | queue,
            "annotations": notes | {ledger.ENTRY_UID: entry.uid},
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": spec.retries,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules(spec)},
            "activeDeadlineSeconds": deadline(spec),
            "ttlSecondsAfterFinished": BORN_TTL,
            "template": {
                "metadata": {"labels": labels, "annotations": notes},
                "spec": _pod(entry, spec),
            },
        },
    }


def tombstone(entry: Entry, spec: Spec) -> dict[str, Any]:
    """Return the attempt's Job made so that it never has a Pod: it is there to take the name."""
    made = job(entry, spec)
    return made | {"spec": made["spec"] | {"completions": 0, "parallelism": 0}}


def deadline(spec: Spec) -> int:
    """Return the Job's own deadline, seconds: only the backstop behind the Pod's."""
    starts = spec.retries + 1 + (RESUMES if spec.resume else 0)
    return (pod_deadline(spec) + GRACE) * starts


def pod_deadline(spec: Spec) -> int:
    """Return the Pod's deadline, seconds: the backstop behind the runner, which keeps the time.

    It runs from when a node takes the Pod: the time to start, which is the queue's, comes on top.
    """
    return spec.queue_allowance + spec.time + CLOSING


def _failure_rules(spec: Spec) -> list[dict[str, Any]]:
    """Return the rules, first match wins: who counts, who fails the Job, who does neither."""
    disrupted = {
        "action": "Ignore" if spec.resume else "FailJob",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    transient = {
        "action": "Count",
        "onExitCodes": {
            "containerName": "job",
            "operator": "In",
            "values": list(spec.retried),
        },
    }
    # "not zero" fails the Job by a rule rather than by the count: the rule's message keeps the exit
    # code in the Job's condition when the Pod is gone.
    other = {
        "action": "FailJob",
        "onExitCodes": {"containerName": "job", "operator": "NotIn", "values": [0]},
    }
    return [disrupted, *([transient] if spec.retries and spec.retried else []), other]


def _pod(entry: Entry, spec: Spec) -> dict[str, Any]:
    placement = {
        key: value
        for key, value in (
            ("nodeSelector", spec.node_selector),
            ("tolerations", list(spec.tolerations)),
        )
        if value
    }
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": pod_deadline(spec),
        "terminationGracePeriodSeconds": GRACE,
        "serviceAccountName": spec.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": spec.dns_policy,
        **placement,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": spec.uid,
            "runAsGroup": spec.uid,
            "supplementalGroups": list(spec.groups),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": _volumes(entry, spec),
        "initContainers": [_prep(entry, spec)],
        "containers": [_job(entry, spec)],
    }


def _volumes(entry: Entry, spec: Spec) -> list[dict[str, Any]]:
    return [
        {"name": "claim", "persistentVolumeClaim": {"claimName": spec.claim}},
        {"name": "tools", "emptyDir": {"sizeLimit": "32Mi"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": print_memory(spec.disk)}},
        {
            "name": "entry",
            "configMap": {
                "name": entry.name,
                "defaultMode": 0o444,
                "items": [{"key": ledger.SCRIPT_KEY, "path": "script"}, *_files(spec)],
            },
        },
        {
            "name": "secrets",
            "projected": {
                "defaultMode": 0o444,
                "sources": [{"secret": {"name": n, "optional": True}} for n in spec.secrets],
            },
        },
    ]


def _files(spec: Spec) -> list[dict[str, Any]]:
    """Return where the files beside the script are mounted: read only, by the mount.

    Their modes are what a copy has that a tool is to change, or the next attempt to replace; each
    may be run, whatever git says.
    """
    return [
        {"key": ledger.FILE_KEY.format(number), "path": f"files/{path}", "mode": FILE_MODE}
        for number, path in enumerate(spec.files, 1)
    ]


def _locked_down() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _prep(entry: Entry, spec: Spec) -> dict[str, Any]:
    return {
        "name": "prep",
        "image": spec.runner_image,
        "command": [f"{TOOLS}/bin/busybox", "sh", f"{TOOLS}/prep.sh"],
        "env": _env(
            {
                "DTP_CLAIM": CLAIM,
                "DTP_TOOLS_OUT": "/tools",
                "DTP_DIRECTORY_PATH": entry.ref.directory,
                "DTP_STATE_PATH": _state_path(entry),
                **_identity(entry),
                "DTP_TERMINATION": TERMINATION,
            }
        ),
        "volumeMounts": [
            {"name": "claim", "mountPath": CLAIM},
            {"name": "tools", "mountPath": "/tools"},
        ],
        "resources": {
            "requests": {"cpu": "10m", "memory": PREP_MEMORY},
            "limits": {"memory": PREP_MEMORY},
        },
        "securityContext": _locked_down(),
    }


def _job(entry: Entry, spec: Spec) -> dict[str, Any]:
    directory = f"{WORKSPACE}/{entry.ref.directory}"
    return {
        "name": "job",
        "image": spec.image,
        "command": [f"{TOOLS}/bin/busybox", "sh", f"{TOOLS}/run.sh"],
        "workingDir": directory,
        "env": [
            *_env(spec.env | runner_environment(entry, spec)),
            {"name": "DTP_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
        "volumeMounts": [
            *(_mount(mount) for mount in spec.mounts),
            {"name": "claim", "mountPath": directory, "subPath": entry.ref.directory},
            {"name": "claim", "mountPath": STATE, "subPath": _state_path(entry)},
            {"name": "tools", "mountPath": TOOLS, "readOnly": True},
            {"name": "entry", "mountPath": "/dtp-entry", "readOnly": True},
            {"name": "scratch", "mountPath": HOME, "subPath": "home"},
            {"name": "scratch", "mountPath": SCRATCH, "subPath": "tmp"},
            {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
        ],
        "resources": {
            "requests": {"cpu": print_cpu(spec.cpu_millis), "memory": print_memory(spec.memory)},
            "limits": {"memory": print_memory(spec.memory)},
        },
        "terminationMessagePolicy": "File",
        "securityContext": _locked_down(),
    }


def runner_environment(entry: Entry, spec: Spec) -> dict[str, str]:
    """Return what the runner is told, as docs/explanation/runner.md lists it."""
    return {
        "DTP_REF": str(entry.ref),
        "DTP_NAME": entry.name,
        **_identity(entry),
        "DTP_ATTEMPT": str(entry.attempt),
        "DTP_TIME": str(spec.time),
        "DTP_RETRIES": str(spec.retries),
        "DTP_RESUME": "yes" if spec.resume else "no",
        "DTP_TRANSIENT": " ".join((*map(str, spec.transient), *spec.tool_transient)),
        "DTP_NETWORK": "yes" if spec.network else "no",
        "DTP_KIND": "service" if spec.service else "run",
        "DTP_MANIFEST": "sha256" if spec.manifest else "none",
        "DTP_COMMIT": entry.origin.commit,
        "DTP_DIRECTORY": f"{WORKSPACE}/{entry.ref.directory}",
        "DTP_STATE": STATE,
        "DTP_SCRIPT": SCRIPT,
        "DTP_TOOLS": TOOLS,
        "DTP_SECRETS": SECRETS,
        "DTP_TERMINATION": TERMINATION,
        "HOME": HOME,
        "TMPDIR": SCRATCH,
        **({"DTP_FILES": FILES} if spec.files else {}),
        **({"DTP_EXPOSED": ",".join(map(_offer, spec.offers))} if spec.service else {}),
    }


def _identity(entry: Entry) -> dict[str, str]:
    """Return whose record the runner keeps on the claim, where another's may have the same name."""
    return {"DTP_ENTRY": entry.uid, "DTP_BLOB": entry.blob}


def _offer(path: Mount) -> str:
    return f"{'r' if path.read_only else 'rw'}{WORKSPACE}/{path.path}"


def _mount(mount: Mount) -> dict[str, Any]:
    if not mount.path:
        return {"name": "claim", "mountPath": WORKSPACE, "readOnly": mount.read_only}
    return {
        "name": "claim",
        "mountPath": f"{WORKSPACE}/{mount.path}",
        "subPath": mount.path,
        "readOnly": mount.read_only,
    }


def _state_path(entry: Entry) -> str:
    return f".dtp/state/{entry.name}"


def _env(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]
