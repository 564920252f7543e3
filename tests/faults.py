"""A proxy before a real API server that breaks one request: before it takes effect, or after.

For tests in which a dispatcher loses an answer, or dies, at each of its requests in turn. Listens
on loopback, speaks plain HTTP to the dispatcher and TLS to the API server. Answers are passed on
whole, so it is not for logs that are followed.
"""

from __future__ import annotations

import base64
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3
import yaml

PASSED_ON = ("accept", "authorization", "content-type", "user-agent")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Break the connection at one request, counted from 1; `after`: once it took effect.

    `writes_only` counts nothing but writes. `lasting` breaks all later ones too, as for a
    dispatcher that is cut off for good; `then` is called first, to kill one for instance.
    """

    at: int
    after: bool = False
    writes_only: bool = False
    lasting: bool = False
    then: Callable[[], object] = lambda: None


@dataclass
class Proxy:
    """The proxy as a test sees it."""

    kubeconfig: str  # text: the one given, led through the proxy
    cut: Cut | None = None
    requests: list[str] = field(default_factory=list)  # `METHOD path`, as they arrived
    hit: bool = False  # the cut has happened
    counted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fate(self, method: str, path: str) -> str:
        """Note a request; return `pass`, `before` or `after`."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            cut = self.cut
            if not cut or (cut.writes_only and method == "GET"):
                return "pass"
            self.counted += 1
            if self.counted != cut.at:
                return "before" if self.hit and cut.lasting else "pass"
            self.hit = True
            return "after" if cut.after else "before"


@contextmanager
def proxied(kubeconfig: str, cut: Cut | None = None) -> Iterator[Proxy]:
    """Yield a running proxy to the server of a kubeconfig (text, with token and authority)."""
    config = yaml.safe_load(kubeconfig)
    cluster = config["clusters"][0]["cluster"]
    with tempfile.NamedTemporaryFile(suffix=".crt") as authority:
        authority.write(base64.b64decode(cluster["certificate-authority-data"]))
        authority.flush()
        upstream = urllib3.PoolManager(maxsize=32, ca_certs=authority.name)
        server = _Server(cluster["server"], upstream)
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
        server.proxy = Proxy(kubeconfig=yaml.safe_dump(config), cut=cut)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            upstream.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def __init__(self, target: str, upstream: urllib3.PoolManager) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.upstream = upstream


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _forward(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = proxy.fate(self.command, self.path)
        answer = self._ask(body) if fate != "before" else None
        if fate == "pass" and answer:
            self._pass_on(answer)
            return
        self.close_connection = True
        if proxy.cut:
            proxy.cut.then()

    do_GET = do_POST = do_PATCH = _forward  # noqa: N815 (the names that http.server looks for)

    def _ask(self, body: bytes) -> Any:
        """Make the request at the API server; return its whole answer."""
        headers = {key: value for key, value in self.headers.items() if key.lower() in PASSED_ON}
        return self.server.upstream.request(
            self.command,
            self.server.target + self.path,
            body=body or None,
            headers=headers,
            retries=False,
            timeout=30,
        )

    def _pass_on(self, answer: Any) -> None:
        self.send_response_only(answer.status)
        for name in ("Date", "Content-Type", "Retry-After"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        self.wfile.write(answer.data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
