"""One conversation with an API server: time-outs, retries, and what its answers mean.

Requests are Kubernetes' own words (verb, resource, name), bodies plain dicts. Whatever fails
leaves here as one of three: `AnswerError` (it said no), `LostError` (a write that may or may not
have taken effect), or an error of ours. Knows no object of ours and no rule about jobs.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import urllib3

from dtp_action import __version__
from dtp_action.errors import ClusterRefusedError, DtpError, UnavailableError

T = TypeVar("T")
JSON = "application/json"
METADATA = JSON + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = JSON + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METHODS = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH"}
CONTENT_TYPES = {"create": JSON, "patch": "application/merge-patch+json"}

CONNECT, READ = 5.0, 30.0  # seconds, each try
WHOLE = 90.0  # seconds, all tries of one request
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0  # the most that one Retry-After is honoured
TRIES = 5
SUCCESS = range(200, 300)
SERVER_ERROR = 500
RUN_AGAIN = "Nothing was decided on half an answer: run again."


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; one that is `repeatable` is made again when its answer is lost."""

    verb: str
    resource: str
    name: str = ""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    accept: str = JSON
    repeatable: bool = False
    silence: float | None = None  # seconds without a byte, where it is not the usual

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}".strip()


@dataclass(kw_only=True, eq=False)
class AnswerError(Exception):
    """The API server's no, as its Status says it."""

    status: int
    reason: str
    message: str
    pause: float = 0.0  # what Retry-After asks for

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.message or self.reason}"

    @property
    def passing(self) -> bool:
        """Tell whether it surely took no effect, and is worth another try soon."""
        quota_race = self.reason == "Conflict" and "resourcequotas" in self.message
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or quota_race

    @property
    def by_webhook(self) -> bool:
        """Tell whether it is only that a webhook does not answer: nothing was written."""
        return "failed calling webhook" in self.message


class LostError(Exception):
    """No usable answer came back. `sent` is False where the request never left."""

    def __init__(self, why: str, *, sent: bool = True) -> None:
        super().__init__(why)
        self.sent = sent


class Api:
    """A connection to one namespace. Safe for threads; `requests` lists what was asked."""

    def __init__(
        self,
        *,
        pool: urllib3.PoolManager,
        server: str,
        namespace: str,
        user: str,
        authorization: Callable[[], str | None],
        sleep: Callable[[float], None] = time.sleep,
        silence: float = READ,
    ) -> None:
        self.namespace = namespace
        self.requests: list[str] = []
        self._pool = pool
        self._server = server
        self._user = user
        self._authorization = authorization
        self._sleep = sleep
        self._silence = silence
        self._heard: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the server's time: its last `Date`, and what has passed since."""
        if not self._heard:
            return datetime.now(UTC)
        then, mark = self._heard
        return then + timedelta(seconds=time.monotonic() - mark)

    def ask(self, request: Request) -> dict[str, Any]:
        """Return the object or list asked for. Raises AnswerError, LostError, UnavailableError."""
        return self._persist(request, _decode)

    def text(self, request: Request) -> bytes:
        """Return a body that is no JSON: a log."""
        return self._persist(request, lambda body: body)

    def _persist(self, request: Request, decode: Callable[[bytes], T]) -> T:
        """Try until there is an answer, as often and as long as is safe."""
        end, pause = time.monotonic() + WHOLE, FIRST_PAUSE
        for left in reversed(range(TRIES)):
            try:
                return decode(self._once(request))
            except (AnswerError, LostError) as error:
                if not _may_repeat(request, error):
                    raise
                wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 (not for secrecy)
                if isinstance(error, AnswerError):
                    wait = max(wait, error.pause)
                if not left or time.monotonic() + wait > end:
                    raise self._unavailable(str(error)) from error
            self._sleep(wait)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _once(self, request: Request) -> bytes:
        response = self._send(request)
        if response.status in SUCCESS:
            return bytes(response.data)
        raise self._no(response)

    def _send(self, request: Request, *, whole: bool = True) -> Any:
        self.requests.append(str(request))
        body = None if request.body is None else json.dumps(request.body).encode()
        try:
            response = self._pool.request(
                METHODS[request.verb],
                self._url(request),
                body=body,
                headers=self._headers(request),
                timeout=urllib3.Timeout(connect=CONNECT, read=request.silence or self._silence),
                retries=False,
                redirect=False,
                preload_content=whole,
            )
        except (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ProxyError,
        ) as error:
            raise LostError(_short(error), sent=False) from error
        except urllib3.exceptions.HTTPError as error:
            raise LostError(_short(error)) from error
        self._hear(response.headers.get("Date", ""))
        return response

    def stream(self, request: Request) -> Iterator[bytes]:
        """Yield a body as it comes. Raises AnswerError, UnavailableError also half-way."""
        try:
            response = self._send(request, whole=False)
            try:
                if response.status not in SUCCESS:
                    raise self._no(response)
                yield from response.stream(8192)
            finally:
                response.close()
        except (LostError, urllib3.exceptions.HTTPError) as error:
            raise self._unavailable(_short(error)) from error

    def _url(self, request: Request) -> str:
        group = "/apis/batch/v1" if request.resource == "jobs" else "/api/v1"
        kind, _, part = request.resource.partition("/")
        path = [group, "namespaces", quote(self.namespace)]
        if kind != "namespaces":
            name = "" if request.verb == "create" else quote(request.name)
            path += [item for item in (kind, name, part) if item]
        query = "?" + urlencode(request.query) if request.query else ""
        return self._server + "/".join(path) + query

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept": request.accept, "User-Agent": f"dtp-requests/{__version__}"}
        if authorization := self._authorization():
            headers["Authorization"] = authorization
        if request.verb in CONTENT_TYPES:
            headers["Content-Type"] = CONTENT_TYPES[request.verb]
        return headers

    def _hear(self, date: str) -> None:
        try:
            self._heard = (parsedate_to_datetime(date).astimezone(UTC), time.monotonic())
        except ValueError:  # a proxy left it out: the one before counts on
            return

    # --- what a no means ---

    def _no(self, response: Any) -> AnswerError | LostError | UnavailableError:
        """Return the error of an answer that is not 2xx."""
        code, said = response.status, _status(response.data)
        if said is None and code != HTTPStatus.TOO_MANY_REQUESTS:
            text = f"HTTP {code} that is not from Kubernetes: {_short(response.data)}"
            return LostError(text) if code >= SERVER_ERROR else self._unavailable(text)
        answer = AnswerError(
            status=code,
            reason=str(said.get("reason", "")) if said else "",
            message=str(said.get("message", "")) if said else _short(response.data),
            pause=_pause(response.headers.get("Retry-After", "")),
        )
        if code >= SERVER_ERROR and not answer.by_webhook:
            return LostError(str(answer))
        return answer

    def refusal(self, request: Request, answer: AnswerError) -> DtpError:
        """Turn an answer into an error for people: what was refused, to whom, what to do."""
        if answer.passing or answer.status >= SERVER_ERROR:
            return self._unavailable(str(answer))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return ClusterRefusedError(
                f"The cluster did not accept the credential of {self._user} (401).",
                hint="It may have expired: make a new one with `dtp kubeconfig`, or correct"
                " --kubeconfig or --context.",
            )
        if answer.status == HTTPStatus.NOT_FOUND and answer.message.startswith("namespaces "):
            return ClusterRefusedError(
                f"Namespace {self.namespace} is not there (404).",
                hint="Create it and install the chart there, or correct --namespace.",
            )
        if rbac := re.search(r'User "([^"]*)" cannot (\w+) resource "([^"]*)"', answer.message):
            user, verb, resource = rbac.groups()
            return ClusterRefusedError(
                f"{user} may not {verb} {resource} in namespace {self.namespace} (403).",
                hint="Install the chart there, which grants this, or correct --namespace or"
                " --kubeconfig.",
            )
        return ClusterRefusedError(
            f"The cluster refused {self._user} to {request} in namespace {self.namespace}"
            f" ({answer.status}): {_short(answer.message)}",
            hint="Ask the cluster's admin whether a policy or a quota stands against it.",
        )

    def _unavailable(self, why: str) -> UnavailableError:
        return UnavailableError(f"The cluster at {self._server}: {why}", hint=RUN_AGAIN)


def _may_repeat(request: Request, error: AnswerError | LostError) -> bool:
    """Tell whether the request may be made again without looking first."""
    if isinstance(error, AnswerError):
        return error.passing or (request.repeatable and error.status >= SERVER_ERROR)
    return request.repeatable or not error.sent


def _status(body: bytes) -> dict[str, Any] | None:
    """Return Kubernetes' Status, None for any other body."""
    try:
        value = _decode(body)
    except LostError:
        return None
    return value if value.get("kind") == "Status" else None


def _decode(body: bytes) -> dict[str, Any]:
    """Read a Kubernetes object; what is none counts as no answer."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise LostError(f"an answer that is no JSON: {_short(body)}") from error
    if not isinstance(value, dict) or "metadata" not in value:
        raise LostError(f"an answer that is no Kubernetes object: {_short(body)}")
    return value


def _pause(text: str) -> float:
    """Read Retry-After; only the form in seconds is Kubernetes' own."""
    return min(float(text), LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def _short(text: object) -> str:
    """Return foreign text fit for one line of a message."""
    words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return " ".join(words.split())[:200]
