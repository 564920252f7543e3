"""A loopback server that plays a Kubernetes API from a list of answers, and tells what was asked.

For answers that a healthy API server does not give on demand. Asked for more than it was told to
answer, it says 599.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dtp_action.core import ledger, manifests
from dtp_action.core.model import Draft, Entry, Identity
from tests import builders

Wire = dict[str, Any]
DATE = "Wed, 02 Jan 2030 12:00:00 GMT"  # builders.NOON


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: JSON unless `text` is given. `cut`: that many bytes of the body are missing.

    `chunked` sends it line by line, as logs are; cut short, its end is missing.
    """

    status: int = 200
    body: Wire | None = None
    text: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    chunked: bool = False


class NoAnswer:
    """The connection is closed without a word."""


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Nothing comes for so many seconds, then the connection is closed."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Wire | None


@dataclass
class Stub:
    """The server's side: what is still to be answered, and what was asked."""

    url: str
    answers: list[Answer | NoAnswer | Silence] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def play(self, *answers: Answer | NoAnswer | Silence) -> None:
        """Give these answers, in turn."""
        self.answers += answers

    @property
    def asked(self) -> list[str]:
        """Method and last part of the path of each request."""
        return [f"{seen.method} {seen.path.rsplit('/', 1)[1]}" for seen in self.seen]


@contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """Yield a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub = Stub(url=f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}")
    server.stub = stub  # type: ignore[attr-defined]  # the handler's only way to it
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield stub
    stub.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _play(self) -> None:
        stub: Stub = self.server.stub  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        with stub.lock:
            stub.seen.append(
                Seen(
                    method=self.command,
                    path=parts.path,
                    query=query,
                    headers=dict(self.headers),
                    body=json.loads(body) if body else None,
                )
            )
            answer = stub.answers.pop(0) if stub.answers else Answer(status=599, text="not told")
        match answer:
            case Answer():
                self._answer(answer)
            case Silence(seconds=seconds):
                stub.over.wait(seconds)
                self.close_connection = True
            case NoAnswer():
                self.close_connection = True

    do_GET = do_POST = do_PATCH = _play  # noqa: N815 (the names that http.server looks for)

    def _answer(self, answer: Answer) -> None:
        text = answer.text if answer.text is not None else json.dumps(answer.body)
        data = text.encode() if isinstance(text, str) else text
        kind = "text/plain" if answer.body is None else "application/json"
        self.send_response_only(answer.status)
        headers = {"Date": DATE, "Content-Type": kind}
        headers |= (
            {"Transfer-Encoding": "chunked"}
            if answer.chunked
            else {"Content-Length": str(len(data))}
        )
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if answer.chunked:
            for line in data.splitlines(keepends=True):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"" if answer.cut else b"0\r\n\r\n")
        else:
            self.wfile.write(data[: len(data) - answer.cut])
        self.close_connection = bool(answer.cut)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


# --- what an API server would say -----------------------------------------------------------------


def status(code: int, reason: str, message: str, **headers: str) -> Answer:
    """Return a Status, Kubernetes' form of an error."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return Answer(
        status=code,
        body=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


QUOTA_RACE = status(
    409,
    "Conflict",
    'Operation cannot be fulfilled on resourcequotas "q": the object has been modified;'
    " please apply your changes to the latest version and try again",
)
ETCD = status(500, "InternalError", "etcdserver: request timed out")


def not_found(name: str = "it") -> Answer:
    return status(404, "NotFound", f'configmaps "{name}" not found')


def exists(name: str = "it") -> Answer:
    return status(409, "AlreadyExists", f'configmaps "{name}" already exists')


def page(*items: Wire, more: str = "", kind: str = "PartialObjectMetadataList") -> Answer:
    metadata = {"resourceVersion": "9"} | ({"continue": more} if more else {})
    return Answer(body={"kind": kind, "metadata": metadata, "items": list(items)})


def entry_object(draft: Draft, uid: str = "entry-uid", version: str = "1", **notes: str) -> Wire:
    """Return the ConfigMap of an entry as the API shows it; `notes` by our short names."""
    manifest = ledger.entry_manifest(draft)
    manifest["metadata"] |= {"uid": uid, "resourceVersion": version}
    manifest["metadata"]["annotations"] |= {
        ledger.PREFIX + name.replace("_", "-"): text for name, text in notes.items()
    }
    return manifest


def card_object(identity: Identity | None = None) -> Wire:
    manifest = ledger.identity_manifest(identity or builders.an_identity())
    manifest["metadata"] |= {"uid": "card-uid", "resourceVersion": "1"}
    return manifest


def job_object(entry: Entry, uid: str = "job-uid", **metadata: Any) -> Wire:
    """Return the Job of an entry as the API shows it."""
    job = manifests.job(entry, builders.a_spec())
    seen = {"uid": uid, "creationTimestamp": "2030-01-02T12:00:00Z"}
    job["metadata"] |= seen | metadata
    return job
