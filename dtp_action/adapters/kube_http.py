"""The port `kube_api.Api` over HTTP: time-outs, retries, and what a server's answers mean.

Also for answers of what stands before it: proxies, login pages, load balancers.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from dtp_action import __version__
from dtp_action.adapters.kube_api import (
    JSON,
    RUN_AGAIN,
    TRIES,
    AnswerError,
    LostError,
    Request,
    Wire,
)
from dtp_action.core import brief
from dtp_action.errors import UnavailableError

METHODS = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH"}
CONTENT_TYPES = {"create": JSON, "patch": "application/merge-patch+json"}
# Where the API has what is not of its core group, and what is of no namespace.
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
GROUPS = {
    "version": "",
    "jobs": "/apis/batch/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
    "selfsubjectreviews": "/apis/authentication.k8s.io/v1",
    "storageclasses": "/apis/storage.k8s.io/v1",
    "validatingadmissionpolicies": ADMISSION,
    "validatingadmissionpolicybindings": ADMISSION,
}
CLUSTER_WIDE = GROUPS.keys() - {"jobs", "networkpolicies"}
CONNECT, READ = 5.0, 30.0  # seconds, each try
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0  # the most that one Retry-After is honoured
CHUNK = 64 * 1024
SUCCESS = range(200, 300)
SERVER_ERROR = 500


class HttpApi:
    """A connection to one namespace of a real cluster."""

    def __init__(
        self,
        *,
        pool: urllib3.PoolManager,
        server: str,
        namespace: str,
        user: str,
        authorization: Callable[[], str | None],
        acting_as: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace = namespace
        self.requests: list[str] = []
        self._pool = pool
        self._server = server
        self._user = user
        self._authorization = authorization
        self._acting_as = acting_as
        self._sleep = sleep
        self._heard: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the server's time: its last `Date`, and what has passed since."""
        if not self._heard:
            return datetime.now(UTC)
        then, mark = self._heard
        return then + timedelta(seconds=time.monotonic() - mark)

    def ask(self, request: Request) -> Wire:
        """Try until there is an answer, as often as is safe."""
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            try:
                return _object(self._once(request))
            except LostError as error:
                if error.pause is None and not request.repeatable:
                    raise
                if not left:
                    raise self._unavailable(error) from error
                # (The dice are not for secrecy.)
                wait = max(error.pause or 0.0, pause * random.uniform(0.75, 1.25))  # noqa: S311
            self._sleep(wait)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def stream(self, request: Request, silence: float) -> Iterator[bytes]:
        """Yield a body as it comes; asked for once."""
        try:
            yield from self._body(request, silence)
        except LostError as error:
            raise self._unavailable(error) from error

    def _once(self, request: Request) -> bytes:
        return b"".join(self._body(request, READ))

    def _body(self, request: Request, silence: float) -> Iterator[bytes]:
        """Make one request; yield the answer's body. Raises AnswerError, LostError."""
        self.requests.append(str(request))
        try:
            response = self._pool.request(
                METHODS[request.verb],
                self._url(request),
                body=None if request.body is None else json.dumps(request.body).encode(),
                headers=self._headers(request),
                timeout=urllib3.Timeout(connect=CONNECT, read=silence),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                self._hear(response.headers.get("Date", ""))
                if response.status not in SUCCESS:
                    raise self._no(request, response)
                yield from response.stream(CHUNK)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise LostError(_short(error)) from error

    def _url(self, request: Request) -> str:
        kind, _, part = request.resource.partition("/")
        path = [GROUPS.get(kind, "/api/v1")]
        if kind not in CLUSTER_WIDE:
            path += ["namespaces", quote(self.namespace)]
        if kind != "namespaces":
            name = "" if request.verb == "create" and not part else quote(request.name)
            path += [item for item in (kind, name, part) if item]
        query = "?" + urlencode(request.query) if request.query else ""
        return self._server + "/".join(path) + query

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept": request.accept, "User-Agent": f"dtp-requests/{__version__}"}
        if authorization := self._authorization():
            headers["Authorization"] = authorization
        if self._acting_as:
            headers["Impersonate-User"] = self._acting_as
        if request.verb in CONTENT_TYPES:
            headers["Content-Type"] = CONTENT_TYPES[request.verb]
        return headers

    def _hear(self, date: str) -> None:
        try:
            self._heard = (parsedate_to_datetime(date).astimezone(UTC), time.monotonic())
        except ValueError:  # a proxy left it out: the one before counts on
            return

    # --- what a no means ---

    def _no(self, request: Request, response: Any) -> AnswerError | LostError:
        """Return the error of an answer that is not 2xx, judged by what Kubernetes says in it."""
        code, status = response.status, _decode(response.data)
        reason = str(status.get("reason", ""))
        said = str(status.get("message") or reason) or _short(response.data)
        quota_race = reason == "Conflict" and "resourcequotas" in said
        if code == HTTPStatus.TOO_MANY_REQUESTS or quota_race:
            return LostError(f"HTTP {code}: {said}", _pause(response.headers))
        if status.get("kind") != "Status":
            return LostError(f"HTTP {code} that is not from Kubernetes: {said}")
        by_webhook = "failed calling webhook" in said  # nothing was written
        if code == HTTPStatus.GONE or (code >= SERVER_ERROR and not by_webhook):
            return LostError(f"HTTP {code}: {said}")  # gone: a list grew old between its pages
        message, hint = self._refusal(request, code, said)
        return AnswerError(code, reason, said, message=message, hint=hint)

    def _refusal(self, request: Request, code: int, said: str) -> tuple[str, str]:
        """Return a no for people: what was refused to whom, and what to do."""
        if code == HTTPStatus.UNAUTHORIZED:
            return (
                f"The cluster did not accept the credential of {self._user} (401).",
                "It may have expired: make a new one (`dtp kubeconfig`), or correct --kubeconfig"
                " or --context.",
            )
        if code == HTTPStatus.NOT_FOUND and said.startswith("namespaces "):
            return (
                f"Namespace {self.namespace} is not there (404).",
                "Install the chart there (docs/how-to/install.md), or correct --namespace.",
            )
        if rbac := re.search(r'User "([^"]*)" cannot (\w+) resource "([^"]*)"', said):
            user, verb, resource = rbac.groups()
            return (
                f"{user} may not {verb} {resource} in namespace {self.namespace} (403).",
                "The chart grants this: install or upgrade it (docs/how-to/install.md), or correct"
                " --namespace or --kubeconfig.",
            )
        return (
            f"The cluster refused {self._user} to {request} in namespace {self.namespace}"
            f" ({code}): {_short(said)}",
            "Ask the cluster's admin whether a policy, a quota or a webhook stands against it.",
        )

    def _unavailable(self, why: LostError) -> UnavailableError:
        return UnavailableError(f"The cluster at {self._server}: {why}", hint=RUN_AGAIN)


def _object(body: bytes) -> Wire:
    """Read a Kubernetes object, or its version; what is neither counts as no answer."""
    value = _decode(body)
    if "metadata" not in value and "gitVersion" not in value:
        raise LostError(f"an answer that is no Kubernetes object: {_short(body)}")
    return value


def _decode(body: bytes) -> Wire:
    """Return a JSON object; nothing for any other body."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _pause(headers: Any) -> float:
    """Read Retry-After; only the form in seconds is Kubernetes' own."""
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def _short(text: object) -> str:
    """Return foreign text fit for one line of a message."""
    words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return brief.within(" ".join(words.split()), 200)
