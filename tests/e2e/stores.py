"""S3 servers for tests of transfers: versitygw in its own process, on the cluster's network link.

They know no tool. What random files are, and which they were, is here for all servers.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.admin import wait_for

BUCKET = "lab"
BLOCK = 2**20


@dataclass(frozen=True, kw_only=True)
class Store:
    """A running S3 server with one bucket."""

    address: tuple[str, int]
    folder: Path  # an object is a file there
    log: Path  # a line per request
    key: str
    secret: str

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

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
    secret = secrets.token_hex(16)
    store = Store(address=(host, port), folder=folder, log=log, key="test", secret=secret)
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
