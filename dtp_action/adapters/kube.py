"""The port `dispatch.Cluster` in Kubernetes' own objects: ConfigMaps, Jobs, Pods and their logs.

Plain dicts over any `kube_api.Api`: a real API server or the embedded cluster. Translates and
carries out; what to do is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

from dtp_action.adapters import kube_views
from dtp_action.adapters.kube_api import (
    JSON,
    METADATA_LIST,
    RUN_AGAIN,
    TRIES,
    AnswerError,
    Api,
    LostError,
    Request,
    Wire,
)
from dtp_action.core import brief, cluster_settings, ledger, manifests
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    Arrived,
    Buried,
    Draft,
    Entry,
    Identity,
    Intent,
    JobView,
    Kept,
    Ledger,
    Origin,
    Outcome,
    PodView,
    Recorded,
    Refused,
    Started,
    Taken,
    Unreadable,
)
from dtp_action.errors import StaleError, UnavailableError, UnreadableError, UsageError

# All that the adapter asks of the cluster. The chart's Role is held equal to this by a test.
REQUIRED_VERBS = {
    "namespaces": ("get",),
    "configmaps": ("create", "get", "list", "patch"),
    "jobs": ("create", "get", "list", "patch"),
    "pods": ("list",),
    "pods/log": ("get",),
    "events": ("list",),
}

PAGE = 500
EVENTS = 50
NO_LOG = b"unable to retrieve container logs for "  # the kubelet's, as if it were the log itself
LOG_LIMIT = 64 * 1024
LINE_LIMIT = 17 * 1024  # container runtimes cut longer lines into several
REFUSAL = 1000  # characters of one that are kept: they go into annotations, which have bounds
LOG_PATIENCE = 10.0  # seconds: a log is worth having, not worth waiting for a node that is gone
SILENCE = 180.0  # seconds; the runner writes a line a minute
GONE = HTTPStatus.NOT_FOUND

# What the refusal of a Job says, and what it means. The first that fits; others are for good.
FOR_NOW = {
    "failed calling webhook": "the cluster cannot check it now",
    "not yet ready to handle request": "the cluster cannot check it now",
    "quota": "the namespace's quota is full",
}
NOT_ABOUT_THE_JOB = ("cannot create resource", "being terminated")


def connect(
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    strict: bool = False,
    mask: Callable[[str], None] = lambda _secret: None,
) -> KubeCluster:
    """Return the cluster that a kubeconfig leads to; the arguments are `kube_login.login`'s.

    Raises UsageError; asks nothing of the cluster yet.
    """
    from dtp_action.adapters import kube_login

    login = kube_login.login(
        kubeconfig=kubeconfig, context=context, namespace=namespace, strict=strict, mask=mask
    )
    return KubeCluster(login.api(), ends=login.ends)


class KubeCluster:
    """One namespace of a cluster; satisfies `dispatch.Cluster`. Safe for threads."""

    def __init__(self, api: Api, *, ends: datetime | None = None) -> None:
        self.requests = api.requests
        self.credential_ends = ends
        self._api = api

    # --- reading ---

    def settings(self) -> ClusterSettings:
        where = f"ConfigMap {ledger.SETTINGS_NAME}, key {ledger.SETTINGS_KEY}"
        found = self._get("configmaps", ledger.SETTINGS_NAME)
        text = ((found or {}).get("data") or {}).get(ledger.SETTINGS_KEY)
        if text is None:
            self.namespace_uid()  # says so if it is the namespace that is missing
            raise UsageError(
                f"namespace {self._api.namespace} has no {where}",
                hint="Install the chart there (docs/how-to/install.md), or correct --namespace.",
            )
        return cluster_settings.parse(text, where)

    def namespace_uid(self) -> str:
        return str(self._ask("get", "namespaces")["metadata"]["uid"])

    def now(self) -> datetime:
        return self._api.now()

    def ledger(self) -> Ledger:
        identity = None
        entries: list[Entry] = []
        unreadable: list[Unreadable] = []
        for item in self._list("configmaps", f"{ledger.KIND} in (entry,ledger)", METADATA_LIST):
            if item["metadata"]["name"] == ledger.LEDGER_NAME:
                identity = _identity(item)
                continue
            match ledger.read_entry(item["metadata"]):
                case Entry() as entry:
                    entries.append(entry)
                case Unreadable() as found:
                    unreadable.append(found)
        return Ledger(identity=identity, entries=tuple(entries), unreadable=tuple(unreadable))

    def jobs(self) -> tuple[JobView, ...]:
        return tuple(map(kube_views.read_job, self._list("jobs", f"{ledger.KIND}=attempt")))

    def job(self, name: str) -> JobView | None:
        found = self._get("jobs", name)
        return kube_views.read_job(found) if found else None

    def pods(self) -> tuple[PodView, ...]:
        return tuple(map(kube_views.read_pod, self._list("pods", f"{ledger.KIND}=attempt")))

    def events(self, uid: str) -> tuple[str, ...]:
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": EVENTS}
        return kube_views.event_lines(self._ask("list", "events", query=query).get("items") or ())

    def read(self, name: str) -> Recorded | None:
        found = self._get("configmaps", name)
        if not found:
            return None
        with _reading(found):
            return Recorded(
                entry=ledger.load_entry(found["metadata"]),
                script=found["data"][ledger.SCRIPT_KEY].encode(),
                spec=ledger.load_spec(found["data"][ledger.ATTEMPT_KEY]),
            )

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        request = _log_of(pod, tailLines=lines, limitBytes=lines * LINE_LIMIT)
        try:
            log = b"".join(_log(self._api.stream(request, LOG_PATIENCE)))
        except (AnswerError, UnavailableError):  # not started, node gone, removed: none to have
            return None
        return log[-LOG_LIMIT:].decode(errors="replace") or None

    def log(self, pod: PodView, *, lines: int | None, follow: bool) -> Iterator[bytes]:
        tail = {} if lines is None else {"tailLines": lines}
        try:
            request = _log_of(pod, follow=str(follow).lower(), **tail)
            yield from _log(self._api.stream(request, SILENCE))
        except AnswerError:
            return

    def kept(self, name: str) -> Kept:
        end = self._data(f"{name}-end")
        log = end.get(ledger.TAIL_KEY) or self._data(f"{name}-tail").get(ledger.TAIL_KEY)
        arrived = None
        with suppress(*ledger.NOT_OURS):  # a list that cannot be read is none
            arrived = ledger.load_arrived(end[ledger.ARRIVED_KEY])
        return Kept(log=str(log or ""), arrived=arrived)

    def _data(self, name: str) -> Wire:
        """Return what a ConfigMap holds; nothing where there is none."""
        return (self._get("configmaps", name) or {}).get("data") or {}

    # --- writing ---

    def identify(self, identity: Identity) -> Identity:
        return _identity(self._create("configmaps", ledger.identity_manifest(identity)))

    def card(self) -> Identity | None:
        found = self._get("configmaps", ledger.LEDGER_NAME)
        return _identity(found) if found else None

    def rename(self, source: str) -> None:
        self._amend(ledger.LEDGER_NAME, {"annotations": {ledger.SOURCE: source}})

    def rule(self, card: Identity, commit: str) -> Identity:
        change = {"annotations": {ledger.COMMIT: commit}, "resourceVersion": card.version}
        return _identity(self._amend(ledger.LEDGER_NAME, change))

    def record(self, draft: Draft) -> Entry:
        return _entry(self._create("configmaps", ledger.entry_manifest(draft)))

    def start(self, entry: Entry, known: Recorded | None = None) -> Started | Refused | Taken:
        recorded = known or self._as_read(entry)
        job = manifests.job(recorded.entry, recorded.spec)
        made = Buried() if recorded.entry.intent else self._made(job, entry)
        if isinstance(made, Buried):
            raise StaleError(f"{entry.name} was ended since it was read")
        return made

    def bury(self, entry: Entry) -> Buried | Started | Refused | Taken:
        recorded = self._as_read(entry)
        return self._made(manifests.tombstone(recorded.entry, recorded.spec), entry)

    def _as_read(self, entry: Entry) -> Recorded:
        """Return all of an entry that has not been settled; StaleError where it is another."""
        recorded = self.read(entry.name)
        if not recorded or recorded.entry.uid != entry.uid:
            raise StaleError(f"{entry.name} is not the entry that was read")
        if recorded.entry.outcome:
            raise StaleError(f"{entry.name} was settled since it was read")
        return recorded

    def _made(self, job: Wire, entry: Entry) -> Buried | Started | Refused | Taken:
        """Make a Job unless there is one of that name; return whose it is that is there."""
        try:
            return _whose(self._create("jobs", job), entry)
        except AnswerError as error:
            refused = _refused(error)
            if not refused:
                raise
        there = self._get("jobs", entry.name)  # a policy of today may refuse yesterday's Job
        return _whose(there, entry) if there else refused

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        over = {ledger.HELD: ""} if entry.held else {}
        return self._amend_entry(entry, {"annotations": {ledger.JOB_UID: job_uid} | over})

    def hold_back(self, entry: Entry, reason: str) -> Entry:
        return self._amend_entry(entry, {"annotations": {ledger.WAITING: reason}})

    def mark_held(self, entry: Entry, reason: str) -> Entry:
        return self._amend_entry(entry, {"annotations": {ledger.HELD: reason}})

    def attribute(self, entry: Entry, origin: Origin) -> Entry:
        note = {ledger.BROUGHT_BY: ledger.dump_brought_by(origin)}
        return self._amend_entry(entry, {"annotations": note})

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        if tail:
            kept = ledger.companion(entry, "tail", {ledger.TAIL_KEY: tail})
            self._create("configmaps", kept)
        note = {ledger.INTENT: ledger.dump_intent(intent)}
        return self._amend_entry(entry, {"annotations": note})

    def stop(self, job: JobView) -> None:
        self._patch_job(job, {"activeDeadlineSeconds": 1})

    def settle(
        self, entry: Entry, outcome: Outcome, tail: str, arrived: Arrived | None = None
    ) -> Entry:
        data = {ledger.OUTCOME_KEY: ledger.dump_outcome(outcome), ledger.TAIL_KEY: tail}
        if arrived:
            data[ledger.ARRIVED_KEY] = ledger.dump_arrived(arrived)
        end = self._create("configmaps", ledger.companion(entry, "end", data))
        with _reading(end):
            counts = ledger.load_end(entry, end)
        return self._amend_entry(entry, ledger.settled_metadata(counts))

    def retire(self, job: JobView, ttl: int) -> None:
        self._patch_job(job, {"ttlSecondsAfterFinished": ttl})

    # --- how ---

    def _ask(self, verb: str, resource: str, name: str = "", **more: Any) -> Wire:
        return self._api.ask(Request(verb=verb, resource=resource, name=name, **more))

    def _get(self, resource: str, name: str) -> Wire | None:
        try:
            return self._ask("get", resource, name)
        except AnswerError as error:
            if error.status != GONE:
                raise
            return None

    def _list(self, resource: str, selector: str, accept: str = JSON) -> Iterator[Wire]:
        """Yield a list of one version, page by page; it is whole when it ends without an error."""
        query: dict[str, str | int] = {"labelSelector": selector, "limit": PAGE}
        while True:
            page = self._ask("list", resource, query=query, accept=accept)
            if not str(page.get("kind")).endswith("List"):
                raise UnavailableError(f"The list of {resource} is no list: {page.get('kind')}")
            yield from page.get("items") or ()
            if not (mark := page["metadata"].get("continue")):
                return
            query["continue"] = mark

    def _create(self, resource: str, manifest: Wire) -> Wire:
        """Make an object; return it, or the one of that name that is there.

        A lost answer is cleared up by reading the name.
        """
        name, why = manifest["metadata"]["name"], ""
        for _ in range(TRIES):
            try:
                return self._ask("create", resource, name, body=manifest)
            except AnswerError as error:
                if error.reason != "AlreadyExists":
                    raise
                why = error.said
            except LostError as error:
                why = str(error)
            if there := self._get(resource, name):
                return there
        raise UnavailableError(f"{resource} {name} could not be made: {why}", hint=RUN_AGAIN)

    def _amend_entry(self, entry: Entry, metadata: Wire) -> Entry:
        """Change an entry, unless it changed since it was read."""
        return _entry(self._amend(entry.name, metadata | {"resourceVersion": entry.version}))

    def _amend(self, name: str, metadata: Wire) -> Wire:
        """Change a ConfigMap's metadata; return it as it is then. Raises StaleError.

        A lost answer is cleared up by reading the name: it is there, or is written again. A
        conflict after that may be with our own first try, which took effect late.
        """
        why = ""
        for _ in range(TRIES):
            try:
                return self._ask("patch", "configmaps", name, body={"metadata": metadata})
            except AnswerError as error:
                if error.status not in (GONE, HTTPStatus.CONFLICT):
                    raise
                if not why or error.status == GONE:
                    raise StaleError(f"{name} changed since it was read") from error
                stale: AnswerError | None = error
            except LostError as error:
                why, stale = str(error), None
            there = self._get("configmaps", name) or {"metadata": {}}
            written = there["metadata"].get("annotations", {})
            if metadata["annotations"].items() <= written.items():
                return there
            if stale:
                raise StaleError(f"{name} changed since it was read") from stale
        raise UnavailableError(f"{name} could not be changed: {why}", hint=RUN_AGAIN)

    def _patch_job(self, job: JobView, spec: Wire) -> None:
        """Change the spec of a Job; none of that name, or another, is left alone."""
        body: Wire = {"spec": spec, "metadata": {"uid": job.uid}}
        try:
            self._ask("patch", "jobs", job.name, body=body)
        except AnswerError as error:
            if error.status != GONE and "metadata.uid" not in error.said:
                raise


def _log(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a log; nothing where a node that removes the container says so in place of the log."""
    first = next(pieces, b"")
    if not first.startswith(NO_LOG):
        yield first
        yield from pieces


def _log_of(pod: PodView, **query: str | int) -> Request:
    return Request(
        verb="get", resource="pods/log", name=pod.name, query={"container": "job", **query}
    )


# --- what an answer means -------------------------------------------------------------------------


def _whose(job: Wire, entry: Entry) -> Buried | Started | Taken:
    view = kube_views.job_view(job)
    if view.entry_uid == entry.uid:
        return Buried() if view.tombstone else Started(job_uid=view.uid)
    return Taken(reason=f"a Job named {entry.name} is there that is not of this ledger")


def _refused(error: AnswerError) -> Refused | None:
    """Read the refusal to make a Job; None where it is the dispatcher that is refused."""
    said = brief.within(error.said, REFUSAL)
    for words, meaning in FOR_NOW.items():
        if words in error.said:
            return Refused(reason=f"{meaning}: {said}", for_good=False)
    dispatcher = error.status in (HTTPStatus.UNAUTHORIZED, GONE)
    if dispatcher or any(words in error.said for words in NOT_ABOUT_THE_JOB):
        return None
    return Refused(reason=said, for_good=error.status != HTTPStatus.CONFLICT)


def _entry(found: Wire) -> Entry:
    with _reading(found):
        return ledger.load_entry(found["metadata"])


def _identity(found: Wire) -> Identity:
    """Read the card; without it nothing can be decided, so the run stops."""
    try:
        with _reading(found):
            return ledger.load_identity(found["metadata"])
    except UnreadableError as error:
        raise UsageError(
            f"the ledger's card, {error}",
            hint="Was it edited by hand, or written by a newer release? Restore it from a backup;"
            " without it nobody can tell whose ledger this is, and nothing was started.",
        ) from error


@contextmanager
def _reading(found: Wire) -> Iterator[None]:
    """Say of what cannot be read which object it is. Raises UnreadableError."""
    try:
        yield
    except ledger.NOT_OURS as error:
        raise UnreadableError(found["metadata"]["name"], ledger.why_not(error)) from error
