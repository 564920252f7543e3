"""What the cluster's admin decides: key `settings.yaml` of ConfigMap `dtp-cluster`.

Powers and limits only. Knows neither protocols nor scripts; nothing here can be set on a branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dtp_action.core import directives, documents
from dtp_action.core.documents import Field, amount, choice, mapping, name, several, text, whole
from dtp_action.core.quantities import TIME
from dtp_action.errors import UsageError


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
    exposed: tuple[str, ...] = ()
    service_account: str = "dtp-job"
    images: tuple[str, ...] = ()
    pinned: bool = False
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
        ends = "/:@"
        return not self.images or any(
            image.startswith(prefix)
            and (prefix[-1] in ends or image.removeprefix(prefix)[:1] in ends)  # '' is in it too
            for prefix in self.images
        )

    def grants_to(self, secret: str, author: str | None) -> bool:
        """Tell whether a person may use a Secret; GitHub's names know no upper case."""
        users = self.grants.get(secret, ())
        return author is not None and author.lower() in {user.lower() for user in users}


REGISTRY = r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:[0-9]+)?"
IMAGE = REGISTRY + r"(/[a-z0-9._-]+)+(?=[:@])(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?"
PATH = r"(?!\.dtp(/|$))(?!(.*/)?\.{1,2}(/|$))[^/\\\x00-\x1f]+(/[^/\\\x00-\x1f]+)*"

image_reference = text(
    IMAGE, "a full image reference such as `registry.example.org/group/image:1.2`"
)
_prefix = text(r"[a-z0-9][\w./:@-]{0,400}", "the beginning of an image reference")
_user = text(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}", "a GitHub user name")
_open = text(
    rf"(?!dtp-jobs(/|$)){PATH}",
    "a path below the workspace such as `shared/results`, outside `dtp-jobs` and `.dtp`",
)
_offer = text(f"(?!.*[,*?]){PATH}", "a path below the workspace without `,`, `*` and `?`")
_any = text(r"[^\x00-\x1f]{0,253}", "one line of text")

CAPS: Mapping[str, Field] = {
    key: directives.KEYS[key]._replace(meaning=f"most of `{key}=`")
    for key in ("cpu", "memory", "disk", "time", "retries")
}
_TOLERATION = {
    "key": Field(_any),
    "operator": choice({word: word for word in ("Exists", "Equal")}),
    "value": Field(_any),
    "effect": choice({word: word for word in ("NoSchedule", "PreferNoSchedule", "NoExecute")}),
}


def _writable(value: Any) -> tuple[str, ...]:
    """Read paths of which none holds another: whoever may write to one could replace what is in it,
    and a link in the place of the other would be followed, to wherever it leads on the claim.
    """
    paths: tuple[str, ...] = several(_open)(value)
    for number, path in enumerate(paths, 1):
        for other in paths[number:]:
            outer, inner = sorted((path, other), key=len)
            if f"{inner}/".startswith(f"{outer}/"):
                raise ValueError(f"`{inner}` is in `{outer}`: leave one of them out")
    return paths


def _caps(value: Any) -> Caps:
    return Caps(**documents.record(CAPS)(value))


_group = whole(1, 2**31 - 1)
_toleration = documents.record(_TOLERATION)
FIELDS: Mapping[str, Field] = {
    "version": documents.version,
    "claim": Field(name, "name", "the PersistentVolumeClaim that holds the workspace"),
    "runnerImage": Field(image_reference, "image", "the project's runner, best with its digest"),
    "visible": choice({one.value: one for one in Visible}, "what jobs see of the workspace"),
    "writable": Field(_writable, "list of paths", "workspace paths all jobs may write to"),
    "exposed": Field(several(_offer), "list of paths", "workspace paths that services may offer"),
    "serviceAccount": Field(name, "name", "the account of all Pods; it needs no permission"),
    "images": Field(several(_prefix), "list of prefixes", "the images that may run; none: any"),
    "pinned": choice({"true": True, "false": False}, "whether only images with a digest run"),
    "caps": Field(_caps, "mapping", "the most that a script may ask for, see below"),
    "grants": Field(
        mapping(name, several(_user)), "NAME: users", "who may use Secrets by `secret=NAME`"
    ),
    "groups": Field(several(_group), "list of numbers", "supplemental groups of all jobs"),
    "nodeSelector": Field(mapping(_any, _any), "label: value", "the nodes that jobs run on"),
    "tolerations": Field(several(_toleration), "list", "taints of nodes that jobs tolerate"),
    "dnsPolicy": choice(
        {word: word for word in ("ClusterFirst", "Default")},
        "how jobs look up names; `Default` hides the cluster's own",
    ),
    "queue": Field(name, "name", "the Kueue queue of all jobs; none: no queue"),
    "retention": amount(TIME, "how long an ended Job stays in the cluster to be looked at"),
    "queueAllowance": amount(TIME, "how long an attempt may wait before it starts"),
    "stuckLimit": amount(
        TIME, "how long it may wait for what does not mend itself, and for a node to prepare it"
    ),
}


def parse(content: str | bytes, where: str) -> ClusterSettings:
    """Read the settings; `where` names the document in errors. Raises UsageError."""
    read = documents.record(FIELDS, required=("version", "claim", "runnerImage"))
    values = documents.read(content, where, read)
    del values["version"]
    settings = ClusterSettings(**values)
    hidden = set(settings.exposed) - set(settings.writable)
    if hidden and settings.visible is Visible.OWN:
        path = min(hidden)
        raise UsageError(
            f"{where}: exposed: {path} is not visible: add it to `writable`, or set `visible: all`"
        )
    return settings


# --- the part that scripts are judged by, as a status document carries it ------------------------

SHARED = {key: FIELDS[key] for key in ("caps", "images", "pinned", "grants", "visible", "writable")}


def dump_shared(settings: ClusterSettings) -> dict[str, Any]:
    """Return what scripts are judged by, in the words of the document."""
    caps = {
        key: cap.write(getattr(settings.caps, documents.attribute(key, cap)))
        for key, cap in CAPS.items()
    }
    return {
        "caps": caps,
        "images": list(settings.images),
        "pinned": "true" if settings.pinned else "false",
        "grants": {secret: list(users) for secret, users in settings.grants.items()},
        "visible": settings.visible.value,
        "writable": list(settings.writable),
    }
