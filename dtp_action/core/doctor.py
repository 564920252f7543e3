"""What is right and wrong with a set-up, and what to do about it: facts in, one line a check out.

Knows no API: what was seen, and what the account that looked may not see, comes as values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dtp_action.core import planner
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.ledger import stamp
from dtp_action.core.model import Ledger
from dtp_action.core.report import human_time
from dtp_action.core.trials import Tried
from dtp_action.errors import DtpError, UsageError

DISPATCHER = "dtp-dispatch"
# What nobody who has the dispatcher's credential may do, by resource as kubectl names it.
FORBIDDEN = {
    "configmaps": ("delete", "deletecollection"),
    "jobs": ("delete", "deletecollection"),
    "pods": ("create", "delete"),
    "pods/exec": ("create", "get"),
    "pods/attach": ("create", "get"),
    "pods/portforward": ("create", "get"),
    "pods/ephemeralcontainers": ("patch",),
    "pods/eviction": ("create",),
    "secrets": ("get", "list", "watch", "create", "patch"),
    "serviceaccounts": ("impersonate",),
    "serviceaccounts/token": ("create",),
    "persistentvolumeclaims": ("create", "delete"),
    "cronjobs.batch": ("create",),
    "deployments.apps": ("create",),
    "daemonsets.apps": ("create",),
    "statefulsets.apps": ("create",),
    "replicasets.apps": ("create",),
    "roles.rbac.authorization.k8s.io": ("create", "bind", "escalate"),
    "rolebindings.rbac.authorization.k8s.io": ("create", "patch"),
}
# The admission policies of the chart's profile `cluster`.
POLICIES = ("dispatcher", "jobs", "ledger", "made-jobs", "pods")

OLDEST = (1, 35)  # the oldest Kubernetes that is supported, by its makers and by us
WEEK = timedelta(days=7)
SKEW = timedelta(minutes=1)
ENFORCE = "pod-security.kubernetes.io/enforce"
SHARED = "ReadWriteMany"
# Provisioners of volumes that one node mounts at a time, whatever a claim asks for.
OF_ONE_NODE = re.compile(
    r"kubernetes\.io/(aws-ebs|gce-pd|azure-disk|cinder)|ebs\.csi\.aws\.com|pd\.csi\.storage\.gke\.io"
    r"|disk\.csi\.azure\.com|cinder\.csi\.openstack\.org|rancher\.io/local-path|.*hostpath"
)
CREDENTIALS = "docs/how-to/credentials.md"
INSTALL = "install the chart there (docs/how-to/install.md)"
UPGRADE = "helm upgrade with the release's values renders all of it anew"
BY_WHOM = "change the quota, policy, webhook or account that the refusal names"
POLICY = "ValidatingAdmissionPolicy"  # in the words of each refusal by one
BY_ADMIN = "ask again with the kubeconfig of the namespace's admin"


class State(StrEnum):
    """What a check came to; `not seen`: this account cannot tell."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNSEEN = "not seen"


class Not(StrEnum):
    """Why a fact is none."""

    THERE = "is not there"
    SEEN = "is not visible with this account"


# --- facts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Powers:
    """What an account may do, of what was asked: pairs of verb and resource."""

    who: str
    needs: frozenset[tuple[str, str]]
    has: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim: `modes` are those it has, or asked for while it is not bound."""

    phase: str
    modes: tuple[str, ...]
    provisioner: str | Not  # '' where that is not known; Not.THERE: there is no such storage class


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was seen of a namespace. An error stands where something could not be read."""

    user: str
    server: str
    version: str
    ends: datetime | None
    now: datetime  # the server's
    clock: datetime  # this machine's, at that time
    namespace: str
    uid: str
    labels: Mapping[str, str] | Not
    accounts: Mapping[str, Not | None]  # of the dispatcher and of jobs: why it is not seen
    powers: tuple[Powers, ...]
    settings: ClusterSettings | DtpError
    edited: tuple[tuple[str, str], ...]  # check, and what was changed by other than made it
    network: Not | None
    ledger: Ledger | DtpError
    source: str | None
    policies: Mapping[str, bool] | Not  # those of the namespace: whether each is bound
    claim: Claim | Not = Not.SEEN
    tried: tuple[Tried, ...] = ()
    pod: str | Not = Not.SEEN  # why a job's Pod would be refused; '': it would not


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One line: which check, how it came out, and what to do."""

    check: str
    state: State
    message: str
    fix: str = ""


def policy_names(namespace: str) -> list[str]:
    """Return the names of the admission policies of a namespace."""
    return [f"dtp-{namespace}-{what}" for what in POLICIES]


def rows(found: Iterable[Diagnosis]) -> list[dict[str, Any]]:
    """Return the lines as data."""
    return [asdict(one) for one in found]


def verdict(found: Iterable[Diagnosis]) -> str:
    """Return one line about all of them."""
    states = [one.state for one in found]
    counts = [(states.count(kind), kind) for kind in (State.PROBLEM, State.WARNING)]
    bad = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for n, kind in counts if n)
    well = "all is well, as far as can be seen" if State.UNSEEN in states else "all is well"
    return bad or well


# --- all checks ----------------------------------------------------------------------------------


def examine(facts: Facts) -> tuple[Diagnosis, ...]:
    """Return a line for each check, in the order in which things depend on each other."""
    return (
        _ok("kubeconfig", f"{facts.server}, namespace {facts.namespace}, as {facts.user}"),
        _server(facts.version),
        credential(facts.ends, facts.now),
        _clock(facts),
        _namespace(facts),
        _accounts(facts),
        *(line for powers in facts.powers for line in _powers(powers)),
        *_settings(facts),
        _network(facts),
        ledger(facts.ledger, source=facts.source, uid=facts.uid),
        *_under_settings(facts, facts.settings),
    )


def _under_settings(facts: Facts, settings: ClusterSettings | DtpError) -> Iterator[Diagnosis]:
    """Yield what can be told only where there are settings."""
    if isinstance(settings, DtpError):
        return
    yield _runner(settings.runner_image)
    yield _claim(settings.claim, facts.claim)
    yield from _policy(facts)
    yield from _job(facts)
    yield _pod(facts)


def embedded(found: Ledger, *, source: str | None, uid: str) -> tuple[Diagnosis, ...]:
    """Return the lines about an embedded cluster."""
    told = "the embedded one: there is no account, permission, claim or policy to check"
    return _ok("cluster", told), ledger(found, source=source, uid=uid)


def near_by(server: str) -> str:
    """Return a warning where an API server's address leads nowhere from GitHub's runners, or ''."""
    host = urlsplit(server).hostname or ""
    try:
        private = ip_address(host).is_private
    except ValueError:
        private = host == "localhost"
    if not private:
        return ""
    return (
        f"{server} is an address of a private network: GitHub's own runners cannot reach it;"
        " take a self-hosted one (docs/how-to/inside-the-cluster.md)"
    )


def stopped(check: str, error: DtpError) -> Diagnosis:
    """Return the line of a check that ended the examination."""
    return _problem(check, error.message, error.hint)


def _ok(check: str, message: str) -> Diagnosis:
    return Diagnosis(check=check, state=State.OK, message=message)


def _warning(check: str, message: str, fix: str) -> Diagnosis:
    return Diagnosis(check=check, state=State.WARNING, message=message, fix=fix)


def _problem(check: str, message: str, fix: str) -> Diagnosis:
    return Diagnosis(check=check, state=State.PROBLEM, message=message, fix=fix)


def _unseen(check: str, what: str) -> Diagnosis:
    return Diagnosis(
        check=check, state=State.UNSEEN, message=f"{what} {Not.SEEN.value}", fix=BY_ADMIN
    )


# --- who asks, and where -------------------------------------------------------------------------


def _server(version: str) -> Diagnosis:
    number = re.match(r"v?(\d+)\.(\d+)", version)
    if not number:
        return _unseen("server", "its version")
    if (int(number[1]), int(number[2])) < OLDEST:
        fix = "{}.{} or later is needed".format(*OLDEST)
        return _problem("server", f"it is Kubernetes {version}", fix)
    return _ok("server", f"it answers, and is Kubernetes {version}")


def credential(ends: datetime | None, now: datetime) -> Diagnosis:
    """Tell how long the credential in use is good for."""
    if ends is None:
        return _ok("credential", "it does not say when it ends, or something renews it")
    left = f"it ends on {stamp(ends)}, in {human_time(max(0, int((ends - now).total_seconds())))}"
    if ends - now < WEEK:
        return _warning("credential", left, f"mint a new one in time: {CREDENTIALS}")
    return _ok("credential", left)


def _clock(facts: Facts) -> Diagnosis:
    skew = abs(facts.now - facts.clock)
    if skew > SKEW:
        apart = human_time(int(skew.total_seconds()))
        told = f"this machine's clock and the cluster's are {apart} apart"
        return _warning("clock", told, "set the clock: by it the end of a credential is judged")
    return _ok("clock", "it agrees with the cluster's")


def _namespace(facts: Facts) -> Diagnosis:
    if isinstance(facts.labels, Not):
        return _unseen("namespace", f"namespace {facts.namespace}")
    level = facts.labels.get(ENFORCE, "nothing")
    told = f"{facts.namespace} enforces Pod Security: {level}"
    if level == "restricted":
        return _ok("namespace", told)
    return _warning(
        "namespace",
        f"{told}: whoever may start a Pod there may start a privileged one",
        f"somebody who may label it: kubectl label namespace {facts.namespace}"
        f" --overwrite {ENFORCE}=restricted",
    )


def _accounts(facts: Facts) -> Diagnosis:
    missing = [name for name, why in facts.accounts.items() if why is Not.THERE]
    if missing:
        return _problem("accounts", f"there is no account {' and no '.join(missing)}", INSTALL)
    if any(facts.accounts.values()):
        return _unseen("accounts", f"whether {' and '.join(facts.accounts)} are there")
    return _ok("accounts", f"{' and '.join(facts.accounts)} are there")


def _powers(powers: Powers) -> Iterator[Diagnosis]:
    """Yield what an account lacks and what it has too much of, a line a resource."""
    lacks, excess = powers.needs - powers.has, powers.has - powers.needs
    for resource, verbs in _by_resource(lacks):
        told = f"{powers.who} may not {verbs} {resource}"
        yield _problem("permissions", told, f"the Role is not this release's: {UPGRADE}")
    for resource, verbs in _by_resource(excess):
        name = powers.who.rpartition(":")[2]
        told = f"{powers.who} may {verbs} {resource}, which it does not need"
        find = f"kubectl get rolebindings,clusterrolebindings -A -o wide | grep {name}"
        yield _problem("permissions", told, f"find what grants it, and take it back: {find}")
    if not lacks and not excess:
        needed = "; ".join(f"{verbs} {resource}" for resource, verbs in _by_resource(powers.needs))
        told = f"{powers.who} may {needed or 'do nothing, as it should'}"
        yield _ok("permissions", told)


def _by_resource(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each resource with its verbs in words."""
    found: dict[str, list[str]] = {}
    for verb, resource in sorted(pairs):
        found.setdefault(resource, []).append(verb)
    for resource, verbs in sorted(found.items()):
        yield resource, ", ".join(verbs)


# --- what the admin decided ----------------------------------------------------------------------


def _settings(facts: Facts) -> Iterator[Diagnosis]:
    if isinstance(facts.settings, DtpError):
        fix = facts.settings.hint or "docs/reference/cluster-settings.md has each key"
        yield _problem("settings", facts.settings.message, fix)
        return
    yield _ok("settings", "they can be read")
    yield from _edited(facts, "settings")


def _edited(facts: Facts, check: str) -> Iterator[Diagnosis]:
    for about, what in facts.edited:
        if about == check:
            told = f"{what}: the next upgrade undoes it"
            yield _warning(check, told, f"put it into the release's values: {UPGRADE}")


def _runner(image: str) -> Diagnosis:
    if image.startswith("registry.example.org/"):
        fix = "set runner.image to yours, best with its digest"
        return _problem("runner image", f"{image} is only an example's", fix)
    if "@sha256:" not in image:
        fix = "give it by its digest: what stands behind a tag may change"
        return _warning("runner image", f"{image} has no digest", fix)
    return _ok("runner image", image)


def _claim(name: str, claim: Claim | Not) -> Diagnosis:
    """Tell whether all nodes can mount the claim, once it is bound."""
    if claim is Not.SEEN:
        return _unseen("claim", f"claim {name}")
    if isinstance(claim, Not):
        fix = "make it, or correct claim.existing in the release's values"
        return _problem("claim", f"claim {name} is not there", fix)
    told = f"claim {name} is {claim.phase.lower()}, {', '.join(claim.modes)}"
    storage = "docs/how-to/storage.md"
    if claim.phase == "Lost":
        return _problem("claim", f"{told}: its volume is gone", storage)
    # A class by name alone is enough for a volume that somebody made by hand.
    if claim.provisioner is Not.THERE and claim.phase != "Bound":
        return _problem("claim", f"{told}: its storage class is not there", storage)
    if SHARED in claim.modes and OF_ONE_NODE.fullmatch(claim.provisioner):
        cannot = f"{claim.provisioner} makes volumes for one node at a time"
        return _problem("claim", f"{told}: {cannot}", f"take another storage class: {storage}")
    if not {SHARED, "ReadWriteOnce"} & set(claim.modes):
        return _problem("claim", f"{told}: jobs cannot share it for writing", storage)
    if claim.phase != "Bound":
        fix = f"kubectl describe pvc {name}; with some classes it is bound by the first Pod"
        return _warning("claim", told, fix)
    if SHARED not in claim.modes:
        fix = f"keep all jobs there with settings.nodeSelector, or: {storage}"
        return _warning("claim", f"{told}: only Pods of one node can use it at a time", fix)
    return _ok("claim", f"{told}; `helm test` writes to it as a job would")


def _network(facts: Facts) -> Diagnosis:
    if facts.network is Not.SEEN:
        return _unseen("network", "NetworkPolicy dtp-job")
    if facts.network is Not.THERE:
        told = "there is no NetworkPolicy dtp-job: jobs reach all that the nodes reach"
        return _warning("network", told, "networkPolicy.enabled=true in the release's values")
    return _ok("network", "NetworkPolicy dtp-job is there; the network plugin must enforce it")


def ledger(found: Ledger | DtpError, *, source: str | None, uid: str) -> Diagnosis:
    """Tell whether the ledger is this branch's and this namespace's."""
    if isinstance(found, DtpError):
        return stopped("ledger", found)
    card = found.identity
    if card is None and (found.entries or found.unreadable):
        told = "it has entries, but its card, ConfigMap dtp-ledger, is gone"
        return _problem("ledger", told, "restore it from a backup of the namespace")
    if card is None:
        return _ok("ledger", "it is empty: the first dispatch begins it")
    mine = replace(card, source=source or card.source, namespace_uid=uid or card.namespace_uid)
    try:
        planner.same_ledger(card, mine)
    except UsageError as error:
        return stopped("ledger", error)
    if found.unreadable:
        names = ", ".join(one.name for one in found.unreadable[:5])
        told = f"{len(found.unreadable)} of its entries cannot be read: {names}"
        told += f" ({found.unreadable[0].why})"
        return _problem("ledger", told, "restore them from a backup: docs/reference/ledger.md")
    return _ok("ledger", f"it belongs to {card.source}, and holds {len(found.entries)} attempts")


# --- what was tried ------------------------------------------------------------------------------


def _policy(facts: Facts) -> Iterator[Diagnosis]:
    """Yield how the admission policy compares with the settings: by trials, and by its objects."""
    lines = [*_policy_objects(facts), *_edited(facts, "policy"), *_policy_trials(facts)]
    yield from lines or [_unseen("policy", "whether an admission policy is in force")]


def _policy_objects(facts: Facts) -> Iterator[Diagnosis]:
    if isinstance(facts.policies, Not) or not facts.policies:
        return  # not to be seen, or profile `namespace`
    for name in policy_names(facts.namespace):
        if not facts.policies.get(name):
            lacks = "is not there" if name not in facts.policies else "has no binding that denies"
            yield _problem("policy", f"ValidatingAdmissionPolicy {name} {lacks}", UPGRADE)


def _policy_trials(facts: Facts) -> Iterator[Diagnosis]:
    forbidden = [one for one in facts.tried if not one.allowed]
    refused = [one for one in forbidden if POLICY in one.said]
    passed = ", ".join(one.what for one in forbidden if not one.said)
    wronged = [one for one in facts.tried if one.allowed and POLICY in one.said]
    if passed and not refused:
        yield _warning(
            "policy",
            "profile `namespace` goes without an admission policy: whoever has the dispatcher's"
            f" credential can also have {passed}",
            "a cluster's admin: helm upgrade with profile=cluster",
        )
    elif passed:
        yield _problem("policy", f"it takes what the settings do not allow: {passed}", UPGRADE)
    for one in wronged:
        told = f"it refuses what the settings allow, {one.what}: {one.said}"
        yield _problem("policy", told, f"one of them was changed by hand: {UPGRADE}")
    if refused and not passed and not wronged:
        yield _ok("policy", f"it is as the settings say, and refused {len(refused)} trials")


def _job(facts: Facts) -> Iterator[Diagnosis]:
    """Yield whether dispatch could start a job; where the policy says no, its line says so."""
    usual = next((one for one in facts.tried if one.allowed), None)
    if usual is None:
        yield _unseen("job", "whether a job's Job would be taken")
    elif "quota" in usual.said:
        yield _warning("job", f"a job's Job is refused for now: {usual.said}", "raise the quota")
    elif not usual.said:
        yield _ok("job", "a job's Job would be taken (a dry run)")
    elif POLICY not in usual.said:
        yield _problem("job", f"a job's Job is refused: {usual.said}", BY_WHOM)


def _pod(facts: Facts) -> Diagnosis:
    if isinstance(facts.pod, Not):
        return _unseen("pod", "whether a job's Pod would be taken")
    if facts.pod:
        return _problem("pod", f"a job's Pod is refused: {facts.pod}", BY_WHOM)
    return _ok("pod", "a job's Pod would be taken (a dry run)")
