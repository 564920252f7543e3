"""What the cluster's admin decides: key `settings.yaml` of ConfigMap `dtp-cluster`.

Powers and limits only. Knows neither protocols nor scripts; nothing here can be set on a branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dtp_action.core import documents, quantities
from dtp_action.core.documents import Field, amount, choice, mapping, several, text, whole


class Visible(StrEnum):
    """What a job sees of the workspace beside its own directory."""

    ALL = "all"
    OWN = "own"


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The most that a script may ask for."""

    cpu_millis: int = 8_000
    memory: int = 32 * 2**30
    disk: int = 200 * 2**30
    time: int = 7 * 86_400
    retries: int = 5


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The admin's decisions, with a default for all but the claim and the runner's image."""

    claim: str
    runner_image: str
    visible: Visible = Visible.ALL
    writable: tuple[str, ...] = ()
    service_account: str = "dtp-job"
    images: tuple[str, ...] = ()
    caps: Caps = Caps()
    grants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    dns_policy: str = "ClusterFirst"
    queue: str = ""
    retention: int = 86_400
    queue_allowance: int = 86_400
    stuck_limit: int = 1_800

    def admits(self, image: str) -> bool:
        """Tell whether an image may run; a prefix ends where a part of the name ends."""
        return not self.images or any(
            image == prefix
            or (image.startswith(prefix) and (prefix[-1] in "/:@" or image[len(prefix)] in "/:@"))
            for prefix in self.images
        )

    def grants_to(self, secret: str, author: str | None) -> bool:
        """Tell whether a person may use a Secret; GitHub's names know no upper case."""
        users = self.grants.get(secret, ())
        return author is not None and author.lower() in {user.lower() for user in users}


NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"  # what Kubernetes takes as an object's name
REGISTRY = r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:[0-9]+)?"
IMAGE = REGISTRY + r"(/[a-z0-9._-]+)+(?=[:@])(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?"
PATH = r"(?!\.dtp(/|$))(?!(.*/)?\.{1,2}(/|$))[^/\\\x00-\x1f]+(/[^/\\\x00-\x1f]+)*"

_name = text(NAME, "a Kubernetes name: lower case letters, digits, `-` and `.`")
image_reference = text(
    IMAGE, "a full image reference such as `registry.example.org/group/image:1.2`"
)
_user = text(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}", "a GitHub user name")
_path = text(PATH, "a path below the workspace such as `shared/results`, not `.dtp`")
_any = text(r"[^\x00-\x1f]{0,253}", "text")

CAPS: Mapping[str, Field] = {
    "cpu": Field("cpu_millis", amount(quantities.parse_cpu), "`500m`, `8`", "most of `cpu=`"),
    "memory": Field("memory", amount(quantities.parse_memory), "`32Gi`", "most of `memory=`"),
    "disk": Field("disk", amount(quantities.parse_memory), "`200Gi`", "most of `disk=`"),
    "time": Field("time", amount(quantities.parse_time), "`12h`, `7d`", "most of `time=`"),
    "retries": Field("retries", whole(0, 5), "0–5", "most of `retries=`"),
}
_TOLERATION = {
    "key": Field("key", _any, "text", ""),
    "operator": Field("operator", choice("Exists", "Equal"), "`Exists` or `Equal`", ""),
    "value": Field("value", _any, "text", ""),
    "effect": Field("effect", choice("NoSchedule", "PreferNoSchedule", "NoExecute"), "", ""),
    "tolerationSeconds": Field("tolerationSeconds", whole(0, 2**31), "seconds", ""),
}


def _read_caps(place: documents.Place, value: Any) -> Caps:
    return Caps(**documents.record(CAPS)(place, value))


_time = amount(quantities.parse_time)
FIELDS: Mapping[str, Field] = {
    "version": Field("version", choice(1), "`1`", "the form of these settings"),
    "claim": Field("claim", _name, "name", "the PersistentVolumeClaim that holds the workspace"),
    "runnerImage": Field(
        "runner_image", image_reference, "image", "the project's runner image, best with its digest"
    ),
    "visible": Field(
        "visible",
        lambda place, value: Visible(choice(*map(str, Visible))(place, value)),
        "`all` or `own`",
        "what a job sees beside its own directory: the whole workspace, read-only, or nothing",
    ),
    "writable": Field(
        "writable", several(_path), "list of paths", "paths of the workspace all jobs may write to"
    ),
    "serviceAccount": Field(
        "service_account", _name, "name", "the account that Pods run as; it needs no permission"
    ),
    "images": Field(
        "images",
        several(text(r"[a-z0-9][\w./:@-]{0,400}", "the beginning of an image reference")),
        "list of prefixes",
        "the images that may run: a registry, a repository or a whole reference; none: any image",
    ),
    "caps": Field("caps", _read_caps, "mapping", "the most that a script may ask for, see below"),
    "grants": Field(
        "grants",
        mapping(_name, several(_user)),
        "Secret: list of users",
        "who, by GitHub user name, may use a Secret with `secret=`",
    ),
    "groups": Field(
        "groups", several(whole(1, 2**31 - 1)), "list of numbers", "supplemental groups of all jobs"
    ),
    "nodeSelector": Field(
        "node_selector", mapping(_any, _any), "label: value", "the nodes that jobs run on"
    ),
    "tolerations": Field(
        "tolerations",
        several(documents.record(_TOLERATION)),
        "list",
        "taints of nodes that jobs tolerate, as Kubernetes writes them",
    ),
    "dnsPolicy": Field(
        "dns_policy",
        choice("ClusterFirst", "Default"),
        "`ClusterFirst` or `Default`",
        "how jobs look up names; `Default` hides the cluster's own",
    ),
    "queue": Field(
        "queue", text(f"({NAME})?", "a name"), "name", "the Kueue queue of all jobs; none: no queue"
    ),
    "retention": Field(
        "retention", _time, "time", "how long an ended Job stays in the cluster to be looked at"
    ),
    "queueAllowance": Field(
        "queue_allowance", _time, "time", "how long an attempt may wait before it starts"
    ),
    "stuckLimit": Field(
        "stuck_limit",
        _time,
        "time",
        "how long it may wait for what does not mend itself, such as a wrong image name",
    ),
}


def parse(content: str | bytes, where: str) -> ClusterSettings:
    """Read the settings; `where` names the document in errors. Raises UsageError."""
    read = documents.record(FIELDS, required=("version", "claim", "runnerImage"))
    values = read(documents.Place(where), documents.load(content, where))
    del values["version"]
    return ClusterSettings(**values)
