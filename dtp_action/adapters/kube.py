"""The port `dispatch.Cluster` over a real Kubernetes: the ledger's ConfigMaps, Jobs, Pods, logs.

Uses `kubernetes` for what is hard to do well (kubeconfigs, credentials, TLS) and plain dicts for
the rest. Translates and carries out; what to do is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

from dtp_action.adapters import kube_login, kube_views
from dtp_action.adapters.kube_http import (
    JSON,
    METADATA,
    METADATA_LIST,
    TRIES,
    AnswerError,
    Api,
    LostError,
    Request,
)
from dtp_action.core import cluster_settings, ledger, manifests
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    Draft,
    Entry,
    Identity,
    Intent,
    JobView,
    Ledger,
    Outcome,
    PodView,
    Recorded,
    Refused,
    Started,
    Taken,
)
from dtp_action.errors import StaleError, UnavailableError, UsageError

T = TypeVar("T")
Wire = dict[str, Any]
Query = dict[str, str | int]

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
LOG_LIMIT = 64 * 1024
LINE_LIMIT = 17 * 1024  # container runtimes cut longer lines into several
LOG_PATIENCE = 10.0  # seconds: a log is worth having, not worth waiting for a node that is gone
SILENCE = 180.0  # seconds; the runner writes a line a minute
GONE = HTTPStatus.NOT_FOUND


def connect(*, kubeconfig: str | None, context: str | None, namespace: str | None) -> KubeCluster:
    """Return the cluster that a kubeconfig (path or text; None: as kubectl) leads to.

    Raises UsageError; asks nothing of the cluster yet.
    """
    return KubeCluster(
        kube_login.login(kubeconfig=kubeconfig, context=context, namespace=namespace)
    )


class KubeCluster:
    """One namespace of a cluster; satisfies `dispatch.Cluster`. Safe for threads."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @property
    def requests(self) -> list[str]:
        """What was asked so far, as `verb resource name`."""
        return self._api.requests

    # --- reading ---

    def settings(self) -> ClusterSettings:
        where = f"ConfigMap {ledger.SETTINGS_NAME}, key {ledger.SETTINGS_KEY}"
        found = self._get("configmaps", ledger.SETTINGS_NAME)
        text = ((found or {}).get("data") or {}).get(ledger.SETTINGS_KEY)
        if text is None:
            self.namespace_uid()  # says so if it is the namespace that is missing
            raise UsageError(
                f"namespace {self._api.namespace} has no {where}",
                hint="Install the chart there, or correct --namespace.",
            )
        return cluster_settings.parse(text, where)

    def namespace_uid(self) -> str:
        return str(self._ask("get", "namespaces", repeatable=True)["metadata"]["uid"])

    def now(self) -> datetime:
        return self._api.now()

    def ledger(self) -> Ledger:
        items = self._list("configmaps", f"{ledger.KIND} in (entry,ledger)", METADATA_LIST)
        identity, entries = None, []
        for metadata in (item["metadata"] for item in items):
            if metadata["name"] == ledger.LEDGER_NAME:
                identity = _load(ledger.load_identity, metadata)
            else:
                entries.append(_load(ledger.load_entry, metadata))
        return Ledger(identity=identity, entries=tuple(entries))

    def jobs(self) -> tuple[JobView, ...]:
        return tuple(map(kube_views.job_view, self._list("jobs", f"{ledger.KIND}=attempt")))

    def job(self, name: str) -> JobView | None:
        found = self._get("jobs", name)
        return kube_views.job_view(found) if found else None

    def pods(self) -> tuple[PodView, ...]:
        return tuple(map(kube_views.pod_view, self._list("pods", f"{ledger.KIND}=attempt")))

    def events(self, uid: str) -> tuple[str, ...]:
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": EVENTS}
        answer = self._ask("list", "events", query=query, repeatable=True)
        found = sorted(answer.get("items") or (), key=kube_views.event_time)
        return tuple(map(kube_views.event_line, found))

    def read(self, name: str) -> Recorded | None:
        found = self._get("configmaps", name)
        if not found:
            return None
        entry = _load(ledger.load_entry, found["metadata"])
        data = found.get("data") or {}
        try:
            spec = ledger.load_spec(data[ledger.ATTEMPT_KEY])
            script = data[ledger.SCRIPT_KEY].encode()
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(name, error) from error
        return Recorded(entry=entry, script=script, spec=spec)

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        query: Query = {"container": "job", "tailLines": lines, "limitBytes": lines * LINE_LIMIT}
        request = Request(
            verb="get", resource="pods/log", name=pod.name, query=query, silence=LOG_PATIENCE
        )
        try:
            log = self._api.text(request)
        except (AnswerError, LostError):  # not started, its node is gone, removed: no log to have
            return None
        return log[-LOG_LIMIT:].decode(errors="replace") or None

    def log(self, pod: PodView, *, lines: int | None, follow: bool) -> Iterator[bytes]:
        query: Query = {"container": "job", "follow": str(follow).lower()}
        query |= {} if lines is None else {"tailLines": lines}
        request = Request(
            verb="get", resource="pods/log", name=pod.name, query=query, silence=SILENCE
        )
        try:
            yield from self._api.stream(request)
        except AnswerError:
            return

    def kept_tail(self, name: str) -> str | None:
        for kind in ("end", "tail"):
            found = self._get("configmaps", f"{name}-{kind}")
            if found and (tail := found["data"].get(ledger.TAIL_KEY)):
                return str(tail)
        return None

    # --- writing ---

    def identify(self, identity: Identity) -> Identity:
        made = self._create("configmaps", ledger.identity_manifest(identity), METADATA)
        return _load(ledger.load_identity, made["metadata"])

    def rename(self, source: str) -> None:
        card = self._get("configmaps", ledger.LEDGER_NAME, METADATA)
        if not card:
            raise StaleError("there is no identity card")
        mark = card["metadata"]["resourceVersion"]
        self._amend(ledger.LEDGER_NAME, mark, {"annotations": {ledger.SOURCE: source}})

    def record(self, draft: Draft) -> Entry:
        made = self._create("configmaps", ledger.entry_manifest(draft), METADATA)
        return _load(ledger.load_entry, made["metadata"])

    def start(self, entry: Entry, known: Recorded | None = None) -> Started | Refused | Taken:
        recorded = known or self.read(entry.name)
        if not recorded or recorded.entry.uid != entry.uid:
            raise StaleError(f"{entry.name} is not the entry that was read")
        if recorded.entry.outcome or recorded.entry.intent:
            raise StaleError(f"{entry.name} was ended since it was read")
        manifest = manifests.job(recorded.entry, recorded.spec)
        try:
            return _whose(self._create("jobs", manifest), entry)
        except AnswerError as error:
            refused = _refused(error)
            if not refused:
                raise self._api.refusal(_creation("jobs", manifest), error) from error
        there = self._get("jobs", entry.name)  # a policy of today may refuse yesterday's Job
        return _whose(there, entry) if there else refused

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        return self._amend_entry(entry, {"annotations": {ledger.JOB_UID: job_uid}})

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        if tail:
            kept = ledger.companion(entry, "tail", {ledger.TAIL_KEY: tail})
            self._create("configmaps", kept, METADATA)
        return self._amend_entry(
            entry, {"annotations": {ledger.INTENT: ledger.dump_intent(intent)}}
        )

    def stop(self, entry: Entry) -> None:
        self._patch_job(entry, {"activeDeadlineSeconds": 1})

    def settle(self, entry: Entry, outcome: Outcome, tail: str) -> Entry:
        data = {ledger.OUTCOME_KEY: ledger.dump_outcome(outcome), ledger.TAIL_KEY: tail}
        end = self._create("configmaps", ledger.companion(entry, "end", data))
        counts = ledger.load_outcome(end["data"][ledger.OUTCOME_KEY])
        return self._amend_entry(entry, ledger.settled_metadata(counts))

    def retire(self, entry: Entry, ttl: int) -> None:
        self._patch_job(entry, {"ttlSecondsAfterFinished": ttl})

    # --- how ---

    def _ask(self, verb: str, resource: str, name: str = "", *, but: int = 0, **more: Any) -> Wire:
        """Ask; a no becomes our error, but for the HTTP status that the caller handles itself."""
        request = Request(verb=verb, resource=resource, name=name, **more)
        try:
            return self._api.ask(request)
        except AnswerError as error:
            if error.status == but:
                raise
            raise self._api.refusal(request, error) from error

    def _get(self, resource: str, name: str, accept: str = JSON) -> Wire | None:
        try:
            return self._ask("get", resource, name, but=GONE, accept=accept, repeatable=True)
        except AnswerError:
            return None

    def _list(self, resource: str, selector: str, accept: str = JSON) -> list[Wire]:
        """Return a whole list of one version; one that grew old while it was read, anew."""
        for _ in range(2):
            try:
                return list(self._pages(resource, selector, accept))
            except AnswerError:
                continue
        raise UnavailableError(f"The list of {resource} grew old while it was read, twice.")

    def _pages(self, resource: str, selector: str, accept: str) -> Iterable[Wire]:
        query: Query = {"labelSelector": selector, "limit": PAGE}
        while True:
            page = self._ask(
                "list", resource, but=HTTPStatus.GONE, query=query, accept=accept, repeatable=True
            )
            if not str(page.get("kind")).endswith("List"):
                raise UnavailableError(f"The list of {resource} is no list: {page.get('kind')}")
            yield from page.get("items") or ()
            if not (mark := page["metadata"].get("continue")):
                return
            query["continue"] = mark

    def _create(self, resource: str, manifest: Wire, accept: str = JSON) -> Wire:
        """Make an object; return it, or the one of that name that is there.

        A lost answer is cleared up by reading the name.
        """
        name = manifest["metadata"]["name"]
        for _ in range(TRIES):
            try:
                return self._api.ask(_creation(resource, manifest, accept))
            except AnswerError as error:
                if error.reason != "AlreadyExists":
                    if resource == "jobs":
                        raise
                    raise self._api.refusal(_creation(resource, manifest), error) from error
            except LostError:
                pass
            if there := self._get(resource, name, accept):
                return there
        raise UnavailableError(f"{resource} {name} could not be made: no answer came back")

    def _amend_entry(self, entry: Entry, metadata: Wire) -> Entry:
        return _load(ledger.load_entry, self._amend(entry.name, entry.version, metadata))

    def _amend(self, name: str, version: str, metadata: Wire) -> Wire:
        """Change an object's metadata, unless it changed since; return the metadata as it is."""
        body = {"metadata": metadata | {"resourceVersion": version}}
        for _ in range(TRIES):
            try:
                request = Request(
                    verb="patch", resource="configmaps", name=name, body=body, accept=METADATA
                )
                return dict(self._api.ask(request)["metadata"])
            except AnswerError as error:
                if error.status not in (GONE, HTTPStatus.CONFLICT):
                    raise self._api.refusal(request, error) from error
                raise StaleError(f"{name} changed since it was read") from error
            except LostError:
                there = self._get("configmaps", name, METADATA)
            now = there["metadata"] if there else {}
            if metadata["annotations"].items() <= now.get("annotations", {}).items():
                return now
            if now.get("resourceVersion") != version:
                raise StaleError(f"{name} changed since it was read")
        raise UnavailableError(f"{name} could not be changed: no answer came back")

    def _patch_job(self, entry: Entry, spec: Wire) -> None:
        """Change the spec of the entry's Job; none of that name, or another's, is left alone."""
        body: Wire = {"spec": spec}
        if entry.job_uid:
            body["metadata"] = {"uid": entry.job_uid}
        request = Request(
            verb="patch", resource="jobs", name=entry.name, body=body, repeatable=True
        )
        try:
            self._api.ask(request)
        except AnswerError as error:
            if error.status != GONE and "metadata.uid" not in error.message:
                raise self._api.refusal(request, error) from error


# --- what an answer means -------------------------------------------------------------------------


def _creation(resource: str, manifest: Wire, accept: str = JSON) -> Request:
    name = manifest["metadata"]["name"]
    return Request(verb="create", resource=resource, name=name, body=manifest, accept=accept)


def _whose(job: Wire, entry: Entry) -> Started | Taken:
    view = kube_views.job_view(job)
    if view.entry_uid == entry.uid:
        return Started(job_uid=view.uid)
    return Taken(reason=f"a Job named {entry.name} is there that is not of this ledger")


def _refused(error: AnswerError) -> Refused | None:
    """Read the refusal to make a Job; None where it is the dispatcher that is refused."""
    text = error.message
    if error.by_webhook or "not yet ready to handle request" in text:
        return Refused(reason=f"the cluster cannot check it now: {text}", for_good=False)
    if "quota" in text:
        return Refused(reason=f"the namespace's quota is full: {text}", for_good=False)
    ours = error.status in (HTTPStatus.UNAUTHORIZED, GONE) or "cannot create resource" in text
    if ours or "being terminated" in text:
        return None
    if error.status == HTTPStatus.CONFLICT:
        return Refused(reason=f"something else is being changed: {text}", for_good=False)
    return Refused(reason=text, for_good=True)


def _load(read: Callable[[Wire], T], metadata: Wire) -> T:
    """Read an entry's or the card's metadata; what cannot be read stops the run by name."""
    try:
        return read(metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(str(metadata.get("name")), error) from error


def _unreadable(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"ConfigMap {name} is labelled as part of the ledger and cannot be read:"
        f" {type(error).__name__}: {error}",
        hint="Was it edited by hand, or written by a newer release? Restore it from a backup, or"
        f" remove its label {ledger.KIND} to leave it out; nothing was started.",
    )
