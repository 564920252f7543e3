"""Looks at all that `core.doctor` judges: questions and dry runs, and nothing that stays.

Who may act as the chart's accounts looks with their eyes too: GitHub has the dispatcher's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

from dtp_action.adapters import kube
from dtp_action.adapters.kube_api import AnswerError, Request, Wire
from dtp_action.adapters.kube_http import HttpApi
from dtp_action.adapters.kube_login import Login
from dtp_action.core import doctor, ledger, trials
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.doctor import DISPATCHER, Claim, Facts, Not, Powers
from dtp_action.core.trials import Trial, Tried
from dtp_action.errors import ClusterRefusedError, DtpError, UsageError

T = TypeVar("T")
R = TypeVar("R")
Pairs = frozenset[tuple[str, str]]  # of verb and resource

PARALLEL = 8
ACCOUNT = "system:serviceaccount:"
REQUIRED = frozenset((verb, kind) for kind, verbs in kube.REQUIRED_VERBS.items() for verb in verbs)
FORBIDDEN = frozenset((verb, kind) for kind, verbs in doctor.FORBIDDEN.items() for verb in verbs)
EVERYTHING = REQUIRED | FORBIDDEN
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
NAMED = {"serviceaccounts": DISPATCHER}  # a Role may grant it of that one alone
POLICIES = "validatingadmissionpolicies"
NO_POWER = "cannot create resource"  # RBAC's words: nothing was tried


def look(login: Login, source: str | None) -> Facts:
    """Return what is to be seen of a namespace; `source`: whose ledger it should be, if known.

    Raises ClusterRefusedError, UnavailableError where nothing is to be seen.
    """
    api = login.api()
    user, clock = _user(api) or login.user, datetime.now(UTC)
    now, namespace, version = api.now(), _read(api, "namespaces"), _read(api, "version")
    seen: Wire = {} if isinstance(namespace, Not) else namespace["metadata"]
    cluster, policies = kube.KubeCluster(api), _list(api, POLICIES)
    settings = _try(cluster.settings)
    job = (settings if isinstance(settings, ClusterSettings) else ClusterSettings).service_account
    accounts = {name: _read(api, "serviceaccounts", name) for name in (DISPATCHER, job)}
    eyes = _eyes(login, api, user, [name for name in accounts if accounts[name] is not Not.THERE])
    facts = Facts(
        user=user,
        server=login.server,
        version="" if isinstance(version, Not) else version["gitVersion"],
        ends=login.ends,
        now=now,
        clock=clock,
        namespace=login.namespace,
        uid=seen.get("uid", ""),
        labels=namespace if isinstance(namespace, Not) else seen.get("labels", {}),
        accounts={name: _absence(found) for name, found in accounts.items()},
        powers=tuple(_powers(eyes, job)) or (_power(user, api, REQUIRED, REQUIRED),),
        settings=settings,
        edited=tuple(_edited(api, policies)),
        network=_absence(_read(api, "networkpolicies", "dtp-job")),
        ledger=_try(cluster.ledger),
        source=source,
        policies=_bound(api, policies),
    )
    if not isinstance(settings, ClusterSettings):
        return facts
    dispatchers = [view for name, view in eyes.items() if name != job]
    return replace(
        facts,
        claim=_claim(api, settings.claim),
        tried=tuple(tried for view in dispatchers for tried in _tried(view, settings)),
        pod=_pod(api, trials.pod(settings)),
    )


# --- reading -------------------------------------------------------------------------------------


def _read(api: HttpApi, resource: str, name: str = "", verb: str = "get") -> Wire | Not:
    """Return an object, or why there is none; a namespace that is missing is the end."""
    try:
        return api.ask(Request(verb=verb, resource=resource, name=name))
    except AnswerError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return Not.SEEN
        if error.status == HTTPStatus.NOT_FOUND and resource != "namespaces":
            return Not.THERE
        raise


def _list(api: HttpApi, resource: str) -> list[Wire] | Not:
    found = _read(api, resource, verb="list")
    return found if isinstance(found, Not) else list(found["items"] or ())


def _absence(found: Wire | Not) -> Not | None:
    return found if isinstance(found, Not) else None


def _try(call: Callable[[], T]) -> T | DtpError:
    try:
        return call()
    except (UsageError, ClusterRefusedError) as error:
        return error


def _all(call: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(call, items))


# --- accounts ------------------------------------------------------------------------------------


def _user(api: HttpApi) -> str:
    """Return who asks, as the API server sees it; '' where it does not tell."""
    try:
        answer = api.ask(Request(verb="create", resource="selfsubjectreviews", body={}))
    except AnswerError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise
        return ""
    return str(answer["status"]["userInfo"]["username"])


def _eyes(login: Login, api: HttpApi, user: str, accounts: list[str]) -> dict[str, HttpApi]:
    """Return the views of the accounts that one may act as, as `kubectl --as` does.

    Else an account of the cluster sees for itself: it may be the one of a runner in there.
    """
    whole = f"{ACCOUNT}{login.namespace}:"
    if user == whole + DISPATCHER:
        return {DISPATCHER: api}
    views = {name: login.api(acting_as=whole + name) for name in accounts}
    views = {name: view for name, view in views.items() if _user(view)}
    return views or ({user: api} if user.startswith(ACCOUNT) else {})


def _powers(eyes: dict[str, HttpApi], job: str) -> Iterator[Powers]:
    """Yield what each may do; that of jobs needs nothing."""
    for name, api in eyes.items():
        yield _power(name, api, Pairs() if name == job else REQUIRED, EVERYTHING)


def _power(who: str, api: HttpApi, needs: Pairs, asked: Pairs) -> Powers:
    pairs = sorted(asked)
    answers = zip(pairs, _all(lambda pair: _may(api, *pair), pairs), strict=True)
    return Powers(who=who, needs=needs, has=frozenset(pair for pair, may in answers if may))


def _may(api: HttpApi, verb: str, resource: str) -> bool:
    whole, _, part = resource.partition("/")
    kind, _, group = whole.partition(".")
    attributes = {
        "namespace": api.namespace,
        "verb": verb,
        "group": "batch" if kind == "jobs" else group,
        "resource": kind,
        "subresource": part,
        "name": NAMED.get(kind, api.namespace if kind == "namespaces" else ""),
    }
    body = {"spec": {"resourceAttributes": attributes}}
    answer = api.ask(Request(verb="create", resource="selfsubjectaccessreviews", body=body))
    return bool(answer["status"]["allowed"])


# --- objects -------------------------------------------------------------------------------------


def _claim(api: HttpApi, name: str) -> Claim | Not:
    found = _read(api, "persistentvolumeclaims", name)
    if isinstance(found, Not):
        return found
    spec, status = found["spec"], found["status"]
    return Claim(
        phase=status["phase"],
        modes=tuple(status.get("accessModes") or spec["accessModes"]),
        provisioner=found["metadata"].get("annotations", {}).get(PROVISIONER)
        or _provisioner(api, spec.get("storageClassName")),
    )


def _provisioner(api: HttpApi, storage_class: str | None) -> str | Not:
    """Return what makes volumes of a class, '' where there is no class or it is not told."""
    found = _read(api, "storageclasses", storage_class) if storage_class else Not.SEEN
    if isinstance(found, Not):
        return "" if found is Not.SEEN else found
    return str(found["provisioner"])


def _bound(api: HttpApi, policies: list[Wire] | Not) -> dict[str, bool] | Not:
    """Return the namespace's policies, and whether each is bound so that it denies."""
    bindings = _list(api, "validatingadmissionpolicybindings")
    if isinstance(policies, Not) or isinstance(bindings, Not):
        return Not.SEEN
    denying = {
        one["spec"]["policyName"] for one in bindings if "Deny" in one["spec"]["validationActions"]
    }
    names = {one["metadata"]["name"] for one in policies} & set(doctor.policy_names(api.namespace))
    return {name: name in denying for name in names}


def _edited(api: HttpApi, policies: list[Wire] | Not) -> Iterator[tuple[str, str]]:
    """Yield what was changed by something else than made it, as the API server noted."""
    settings, names = (
        _read(api, "configmaps", ledger.SETTINGS_NAME),
        doctor.policy_names(api.namespace),
    )
    if not isinstance(settings, Not):
        for manager in _strangers(settings, "f:data"):
            yield "settings", f"ConfigMap {ledger.SETTINGS_NAME} was changed by {manager}"
    for policy in () if isinstance(policies, Not) else policies:
        if (name := policy["metadata"]["name"]) in names:
            for manager in _strangers(policy, "f:spec"):
                yield "policy", f"{name} was changed by {manager}"


def _strangers(found: Wire, part: str) -> list[str]:
    """Return who owns of a part, and none of the labels that were there from the beginning."""
    noted = found["metadata"].get("managedFields") or ()
    fields = [(one["manager"], one.get("fieldsV1") or {}) for one in noted]
    makers = {name for name, owned in fields if "f:labels" in owned.get("f:metadata", {})}
    return sorted({name for name, owned in fields if part in owned} - makers) if makers else []


# --- dry runs ------------------------------------------------------------------------------------


def _tried(api: HttpApi, settings: ClusterSettings) -> list[Tried]:
    def attempt(one: Trial) -> Tried:
        said = _dry_run(api, one.verb, one.resource, one.body)
        return Tried(what=one.what, allowed=one.allowed, said=said)

    return _all(attempt, trials.trials(settings))


def _dry_run(api: HttpApi, verb: str, resource: str, body: Wire) -> str:
    """Return how the cluster refuses, or ''; nothing is made of it."""
    name = body["metadata"]["name"]
    try:
        api.ask(
            Request(verb=verb, resource=resource, name=name, body=body, query={"dryRun": "All"})
        )
    except AnswerError as error:
        return "" if error.reason == "AlreadyExists" else error.said
    return ""


def _pod(api: HttpApi, pod: Wire) -> str | Not:
    said = _dry_run(api, "create", "pods", pod)
    return Not.SEEN if NO_POWER in said else said
