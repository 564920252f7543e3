"""A proxy before a real server that breaks requests, in the ways in which requests go wrong.

For tests in which a dispatcher loses an answer, is told no, or dies, at each of its requests in
turn. Listens on loopback and speaks plain HTTP to the dispatcher; to an API server it speaks TLS.
Answers are passed on whole, so it is not for logs that are followed.
"""

from __future__ import annotations

import base64
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3
import yaml

from tests import api_stub

PASSED_ON = ("accept", "authorization", "content-type", "user-agent")
SENT_BACK = ("Date", "Content-Type", "Retry-After", "Location")


class Kind(StrEnum):
    """How a request goes wrong."""

    BEFORE = "dropped before it takes effect"
    AFTER = "dropped after it took effect"
    BUSY = "429, with Retry-After"
    ERROR = "500, though it took effect"
    DOWN = "503"
    QUOTA = "409, of a quota that changed meanwhile"  # only what creates something is told so
    LATE = "takes effect when the client has given up"
    LATER = "dropped, and takes effect after the next run"
    HALF = "took effect, and half of the answer is missing"


TOOK_EFFECT = (Kind.AFTER, Kind.ERROR, Kind.HALF)
KUBERNETES = {
    Kind.BUSY: api_stub.status(429, "TooManyRequests", "the server is busy", Retry_After="1"),
    Kind.ERROR: api_stub.ETCD,
    Kind.DOWN: api_stub.status(503, "ServiceUnavailable", "the server is shutting down"),
    Kind.QUOTA: api_stub.QUOTA_RACE,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request, counted from 1 among those of its kind.

    `writes_only` counts nothing but writes. `lasting` breaks all later ones too, as for a
    dispatcher that is cut off for good; `then` is called when the request has taken effect or not,
    to kill the dispatcher for instance.
    """

    kind: Kind
    at: int
    writes_only: bool = False
    lasting: bool = False
    then: Callable[[], object] = lambda: None

    def fits(self, request: str) -> bool:
        """Tell whether a request, `METHOD path`, counts."""
        if self.kind is Kind.QUOTA:
            return request.startswith("POST ")
        return not self.writes_only or not (request.startswith("GET ") or "/graphql" in request)


@dataclass(frozen=True, kw_only=True)
class Write:
    """A write that the server answered."""

    request: str  # `METHOD path`
    sent: Any
    status: int
    answer: Any


@dataclass
class Proxy:
    """The proxy as a test sees it.

    `change` may put another body in a request's place; `seen` is told of each write that reached
    the server, whatever the client was told.
    """

    url: str
    kubeconfig: str = ""  # text: the one given, led through the proxy
    requests: list[str] = field(default_factory=list)  # `METHOD path`, as they arrived
    broken: int = 0  # how many requests went wrong
    change: Callable[[str, Any], Any] = lambda _request, body: body
    seen: Callable[[Write], object] = lambda _write: None
    _fault: Fault | None = None
    _counted: int = 0
    _late: list[Callable[[], object]] = field(default_factory=list)
    _given_up: int = 0  # requests that nobody waits for, and that take effect just now
    _lock: threading.Condition = field(default_factory=threading.Condition)

    @property
    def hit(self) -> bool:
        """True once something went wrong."""
        return self.broken > 0

    def play(self, fault: Fault | None) -> None:
        """Let this go wrong from now on, and nothing else; what was given up has taken effect."""
        with self._lock:
            self._lock.wait_for(lambda: not self._given_up)
            self._fault, self._counted, self.broken = fault, 0, 0
            self.requests.clear()

    def deliver(self) -> None:
        """Let requests take effect that were on their way until now."""
        late, self._late = self._late, []
        for act in late:
            act()

    def fate(self, request: str) -> Fault | None:
        """Note a request; return what goes wrong with it."""
        with self._lock:
            self.requests.append(request)
            fault = self._fault
            if not fault or not fault.fits(request):
                return None
            self._counted += 1
            if self._counted < fault.at or (self._counted > fault.at and not fault.lasting):
                return None
            self.broken += 1
            return fault

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """Note that a request will take effect though its client hangs up."""
        with self._lock:
            self._given_up += 1
        try:
            yield
        finally:
            with self._lock:
                self._given_up -= 1
                self._lock.notify_all()

    def postpone(self, act: Callable[[], object]) -> None:
        """Keep a request on its way."""
        with self._lock:
            self._late.append(act)


@contextmanager
def proxied(kubeconfig: str, fault: Fault | None = None) -> Iterator[Proxy]:
    """Yield a running proxy to the server of a kubeconfig (text, with token and authority)."""
    config = yaml.safe_load(kubeconfig)
    cluster = config["clusters"][0]["cluster"]
    with tempfile.NamedTemporaryFile(suffix=".crt") as authority:
        authority.write(base64.b64decode(cluster["certificate-authority-data"]))
        authority.flush()
        with before(cluster["server"], KUBERNETES, ca_certs=authority.name) as proxy:
            config["clusters"][0]["cluster"] = {"server": proxy.url}
            proxy.kubeconfig = yaml.safe_dump(config)
            proxy.play(fault)
            yield proxy


@contextmanager
def before(
    target: str, answers: Mapping[Kind, api_stub.Answer], **connection: Any
) -> Iterator[Proxy]:
    """Yield a running proxy to a server, which words its refusals like this."""
    with urllib3.PoolManager(maxsize=32, **connection) as upstream:
        server = _Server(target, upstream, answers)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, target: str, upstream: urllib3.PoolManager, answers: Mapping[Kind, api_stub.Answer]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_port}")
        self.answers = answers
        self._target = target
        self._upstream = upstream

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        """Make the request at the server; return its whole answer."""
        request = f"{method} {path}"
        sent = self.proxy.change(request, json.loads(body)) if body else None
        answer = self._upstream.request(
            method,
            self._target + path,
            body=json.dumps(sent).encode() if body else None,
            headers=headers,
            retries=False,
            redirect=False,
            timeout=30,
        )
        if method != "GET" and "/graphql" not in path:
            told = json.loads(answer.data) if answer.data else None
            self.proxy.seen(Write(request=request, sent=sent, status=answer.status, answer=told))
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {key: value for key, value in self.headers.items() if key.lower() in PASSED_ON}
        ask = partial(self.server.ask, self.command, self.path, headers, body)
        fault = self.server.proxy.fate(f"{self.command} {self.path}")
        with suppress(ConnectionError):  # nobody waits for it any more
            if fault is None:
                answer = ask()
                self._send(answer.status, answer.headers, answer.data)
            else:
                self._break(fault, ask)

    do_GET = do_POST = do_PATCH = do_DELETE = _forward  # noqa: N815 (the names that are looked for)

    def _break(self, fault: Fault, ask: Callable[[], Any]) -> None:
        answer = ask() if fault.kind in TOOK_EFFECT else None
        fault.then()
        if told := self.server.answers.get(fault.kind):
            text = told.text if told.text is not None else json.dumps(told.body)
            kind = {"Content-Type": "application/json" if told.body else "text/html"}
            data = text.encode() if isinstance(text, str) else text
            self._send(told.status, kind | told.headers, data)
            return
        self.close_connection = True
        if fault.kind is Kind.HALF and answer:
            self._send(answer.status, answer.headers, answer.data, missing=len(answer.data) // 2)
        elif fault.kind is Kind.LATER:
            self.server.proxy.postpone(ask)
        elif fault.kind is Kind.LATE:
            with self.server.proxy.giving_up():
                with suppress(ConnectionError):
                    self.connection.recv(1, socket.MSG_PEEK)  # comes back when the client hangs up
                ask()

    def _send(
        self, status: int, headers: Mapping[str, str], data: bytes, *, missing: int = 0
    ) -> None:
        self.send_response_only(status)
        for name in SENT_BACK:
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) - missing])

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
