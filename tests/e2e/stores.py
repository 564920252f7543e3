"""S3 servers for tests of transfers: versitygw in its own process, and a line to it that breaks.

Both listen on the cluster's own network link, where Pods reach them; they know no tool.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.admin import wait_for

BUCKET = "lab"
BLOCK = 2**20
CHUNK = 2**18


@dataclass(frozen=True, kw_only=True)
class Store:
    """A running S3 server with one bucket."""

    host: str
    port: int
    folder: Path  # an object is a file there
    log: Path  # a line per request
    key: str
    secret: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def served(self, operation: str, prefix: str) -> list[str]:
        """Return the objects below a prefix of which an operation was granted, in its order."""
        line = re.compile(rf" s3_{operation} {re.escape(prefix)}(\S+) \S+ 20\d ")
        return line.findall(self.log.read_text())

    def write(self, name: str, size: int) -> str:
        """Put a random object into the bucket; return its digest."""
        return write_random(self.folder / BUCKET / name, size)

    def digests(self, prefix: str) -> dict[str, str]:
        """Return what lies below a prefix of the bucket: digest by name."""
        return digests(self.folder / BUCKET / prefix)


@contextmanager
def serving(cluster_facts: dict[str, str], directory: Path) -> Iterator[Store]:
    """Yield a server that Pods can reach; its objects are gone afterwards."""
    server, host = cluster_facts.get("S3_SERVER"), cluster_facts.get("HOST_IP")
    if not server or not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    with socket.create_server((host, 0)) as probe:
        port = probe.getsockname()[1]
    folder, log = directory / "buckets", directory / "access.log"
    (folder / BUCKET).mkdir(parents=True)
    store = Store(
        host=host, port=port, folder=folder, log=log, key="test", secret=secrets.token_hex(16)
    )
    own = {"ROOT_ACCESS_KEY": store.key, "ROOT_SECRET_KEY": store.secret}
    argv = [server, "--port", f"{host}:{port}", "--access-log", str(log), "posix", str(folder)]
    with (directory / "server.log").open("wb") as output:
        process = subprocess.Popen(argv, env=os.environ | own, stdout=output, stderr=output)
    try:
        wait_for(lambda: _answers(host, port), "the S3 server")
        yield store
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def write_random(path: Path, size: int) -> str:
    """Write a random file, and the folders it lies in; return its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // BLOCK):
            block = os.urandom(BLOCK)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256")
    return {name: digest.hexdigest() for name, digest in found.items()}


class Line:
    """A line to a server that goes down once so many bytes have passed, until it is mended.

    While it is down every connection ends in a reset at once, those that stand and new ones.
    `store` is the server as seen through it.
    """

    def __init__(self, store: Store, after: int) -> None:
        self.store = store
        self.down = threading.Event()
        self._target = store.host, store.port
        self._left = after
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()

    def mend(self) -> None:
        """Let all pass from now on."""
        with self._lock:
            self._left = 2**63
            self.down.clear()

    def join(self, near: socket.socket) -> None:
        """Connect a client with the server until one of them ends it, or the line goes down."""
        far = socket.create_connection(self._target)
        ends = {near, far}
        with self._lock:
            self._ends |= ends
        back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
        back.start()
        self._pass_on(near, far)
        back.join()
        with self._lock:
            self._ends -= ends
        for end in ends:
            self.close(end)

    def close(self, end: socket.socket) -> None:
        """Close a connection: with a reset while the line is down."""
        if self.down.is_set():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(CHUNK)) and self._may_pass(len(data)):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _may_pass(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            if self._left > 0:
                return True
            self.down.set()
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            return False


@contextmanager
def breaking(store: Store, after: int) -> Iterator[Line]:
    """Yield a line that breaks after so many bytes, both ways together."""
    line = Line(store, after)
    with _Exchange((store.host, 0), _Caller) as server:
        server.line = line
        line.store = replace(store, port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield line
        finally:
            server.shutdown()
            thread.join()


class _Exchange(socketserver.ThreadingTCPServer):
    daemon_threads = True
    line: Line


class _Caller(socketserver.BaseRequestHandler):
    server: _Exchange

    def handle(self) -> None:
        line = self.server.line
        if line.down.is_set():
            line.close(self.request)
        else:
            line.join(self.request)
