"""What is tried on a cluster without doing it: objects it should take, and others it should not.

Made from the cluster settings, so that an admission policy that differs from them is found by what
it takes and what it refuses. Knows no policy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dtp_action.core import catalog, ledger, naming, rendering
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Directives, Draft, Notify, Origin, Ref, Script, Spec

Wire = dict[str, Any]

REF, ATTEMPT = Ref(protocol="local", job="doctor"), 9_999_999  # no attempt has this name
DIGEST = "sha256:" + 64 * "0"
ELSEWHERE = "registry.example.org/doctor@" + DIGEST


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One thing to try, and whether the settings allow it."""

    what: str
    allowed: bool
    resource: str
    body: Wire
    verb: str = "create"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How a trial went: what the refusal said, or ''."""

    what: str
    allowed: bool
    said: str = ""


def trials(settings: ClusterSettings) -> Iterator[Trial]:
    """Yield all there is to try; the first is what dispatch does."""
    caps = settings.caps
    most = Directives(
        cpu_millis=caps.cpu_millis,
        memory=caps.memory,
        disk=caps.disk,
        time=caps.time,
        retries=caps.retries,
        resume=True,
    )
    usual = _spec(settings, most)
    for secret in settings.grants:
        usual = replace(usual, secrets=(*usual.secrets, f"{usual.secrets[0]}-{secret}"))
    usual = replace(usual, files=("list.txt", "more/filter.txt"))
    yield _job("a job at the caps, with files and all granted Secrets", _draft(usual))
    for key, more in {
        "cpu_millis": 1,
        "memory": 2**20,
        "disk": 2**20,
        "time": 1,
        "retries": 1,
    }.items():
        over = replace(usual, **{key: getattr(usual, key) + more})
        yield _job(f"more {key.partition('_')[0]} than the cap", _draft(over), allowed=False)
    for prefix in settings.images[1:]:
        yield _job(f"an image of {prefix}", _draft(replace(usual, image=image_of(prefix))))
    if settings.images:
        stray = _draft(replace(usual, image=ELSEWHERE))
        yield _job("an image that `images` does not name", stray, allowed=False)
    for what, change in DEVIATIONS.items():
        trial = _job(what, _draft(usual), allowed=False)
        change(trial.body["spec"]["template"]["spec"])
        yield trial
    yield from (_REWRITE, _STRAY)


def pod(settings: ClusterSettings) -> Wire:
    """Return a Pod as the Job of an undemanding script makes it."""
    job = rendering.job(_draft(_spec(settings, Directives())))
    metadata, name = job["spec"]["template"]["metadata"], job["metadata"]["name"]
    of_job = {"batch.kubernetes.io/job-name": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"name": name, "labels": metadata["labels"] | of_job},
        "spec": job["spec"]["template"]["spec"],
    }


def image_of(prefix: str) -> str:
    """Return an image that an element of `images` admits, by its digest; nobody has it."""
    name, at, digest = prefix.partition("@")
    if name.endswith(("/", ":")) or "/" not in name:
        name += "any" if name.endswith(("/", ":")) else "/any"
    return f"{name}@{digest}" if at and digest else f"{name}@{DIGEST}"


def _spec(settings: ClusterSettings, directives: Directives) -> Spec:
    image = image_of(settings.images[0]) if settings.images else ELSEWHERE
    rows = catalog.Catalog(rows={REF.protocol: catalog.Row(protocol=REF.protocol, image=image)})
    script = Script(ref=REF, content=b"", blob="", directives=directives)
    spec = catalog.resolve(script, catalog=rows, settings=replace(settings, images=()))
    if not isinstance(spec, Spec):
        raise TypeError(f"a script within the caps is refused: {spec}")
    return spec


def _draft(spec: Spec) -> Draft:
    return Draft(
        name=naming.attempt_name(REF, ATTEMPT),
        ref=REF,
        attempt=ATTEMPT,
        blob=40 * "0",
        origin=Origin(commit=40 * "0"),
        notify=Notify.NEVER,
        script=b"",
        spec=spec,
        created=datetime(1970, 1, 1, tzinfo=UTC),
    )


def _job(what: str, draft: Draft, *, allowed: bool = True) -> Trial:
    return Trial(
        what=what, allowed=allowed, resource="jobs", body=copy.deepcopy(rendering.job(draft))
    )


# --- what no settings allow ----------------------------------------------------------------------

_REWRITE = Trial(
    what="another content of dtp-cluster",
    allowed=False,
    verb="patch",
    resource="configmaps",
    body={"metadata": {"name": ledger.SETTINGS_NAME, "annotations": {"dtp-doctor": "tried"}}},
)
_STRAY = Trial(
    what="a ConfigMap that is not of the ledger",
    allowed=False,
    resource="configmaps",
    body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dtp-doctor"}},
)


def _volume(pod: Wire, name: str) -> Wire:
    return dict(next(volume for volume in pod["volumes"] if volume["name"] == name))


DEVIATIONS: dict[str, Callable[[Wire], object]] = {
    "an image without its digest": lambda pod: pod["containers"][0].update(
        image=pod["containers"][0]["image"].partition("@")[0] + ":latest"
    ),
    "another claim": lambda pod: _volume(pod, "claim")["persistentVolumeClaim"].update(
        claimName="dtp-doctor"
    ),
    "the whole claim for writing": lambda pod: pod["containers"][0]["volumeMounts"].append(
        {"name": "claim", "mountPath": "/all"}
    ),
    "a folder of the node": lambda pod: pod["volumes"].append(
        {"name": "node", "hostPath": {"path": "/"}}
    ),
    "a Secret that nobody granted": lambda pod: _volume(pod, "secrets")["projected"][
        "sources"
    ].append({"secret": {"name": "dtp-doctor"}}),
    "another script than the entry's": lambda pod: _volume(pod, "entry")["configMap"][
        "items"
    ].insert(0, {"key": "file-1", "path": "script"}),
    "another account": lambda pod: pod.update(serviceAccountName="default"),
    "an account's token": lambda pod: pod.update(automountServiceAccountToken=True),
    "another program than the runner": lambda pod: pod["containers"][0].update(command=["sh"]),
    "a runner that takes a success for a failure that passes": lambda pod: pod["containers"][0][
        "env"
    ].append({"name": "DTP_TRANSIENT", "value": "0"}),
    "a Pod without a deadline": lambda pod: pod.pop("activeDeadlineSeconds"),
}
