"""A real OCI registry on loopback for tests, filled through its own API.

`guarded` is the same behind a token server, which hands to anybody what may be pulled by anybody.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
SERVICE, ISSUER = "registry-of-tests", "token-server-of-tests"

Wire = dict[str, Any]


@pytest.fixture(scope="session")
def registry_program(request: pytest.FixtureRequest) -> str:
    """Return distribution's `registry`: of this machine, else as the test cluster has it."""
    if own := shutil.which("registry"):
        return own
    facts = request.getfixturevalue("cluster_facts")
    if "OCI_REGISTRY" not in facts:
        pytest.skip("a cluster from outside, and no program `registry` on PATH")
    return str(facts["OCI_REGISTRY"])


def sha256(content: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(kw_only=True)
class Registry:
    """A registry that runs at `host`, and what it wants from who pushes."""

    host: str
    key: Keys | None = None

    def push(self, repository: str, *tags: str, marked: str = "") -> str:
        """Push a small image under tags; return its digest. Another mark is another image."""
        config = b"{}"
        self._blob(repository, config)
        blob = {"mediaType": CONFIG, "digest": sha256(config), "size": len(config)}
        return self._manifest(
            repository, MANIFEST, {"config": blob, "layers": []} | _mark(marked), *tags
        )

    def push_index(self, repository: str, *tags: str) -> str:
        """Push an index of one image, which has no tag of its own."""
        image = self.push(repository, marked="of the index")
        platform = {"os": "linux", "architecture": "amd64"}
        entry = {"mediaType": MANIFEST, "digest": image, "size": 1, "platform": platform}
        return self._manifest(repository, INDEX, {"manifests": [entry]}, *tags)

    def push_archive(self, repository: str, archive: Path, *tags: str) -> str:
        """Push the image of an OCI layout, as it is; return its digest."""
        with tarfile.open(archive) as files:
            content = {m.name: f.read() for m in files if (f := files.extractfile(m))}
        (entry,) = json.loads(content["index.json"])["manifests"]
        manifest = content[f"blobs/sha256/{entry['digest'].partition(':')[2]}"]
        for blob in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
            self._blob(repository, content[f"blobs/sha256/{blob['digest'].partition(':')[2]}"])
        return self._put(repository, entry["mediaType"], manifest, *tags)

    def delete(self, repository: str, digest: str) -> None:
        """Delete an image, and with it all its tags."""
        self._ask("DELETE", f"{repository}/manifests/{digest}", repository, 202)

    def _manifest(self, repository: str, kind: str, more: Wire, *tags: str) -> str:
        content = json.dumps({"schemaVersion": 2, "mediaType": kind} | more).encode()
        return self._put(repository, kind, content, *tags)

    def _put(self, repository: str, kind: str, content: bytes, *tags: str) -> str:
        digest = sha256(content)
        for name in tags or (digest,):
            place = f"{repository}/manifests/{name}"
            self._ask("PUT", place, repository, 201, content, {"Content-Type": kind})
        return digest

    def _blob(self, repository: str, content: bytes) -> None:
        begun = self._ask("POST", f"{repository}/blobs/uploads/", repository, 202)
        place = f"{begun.headers['Location']}&digest={sha256(content)}"
        kind = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", place, repository, 201, content, kind)

    def _ask(
        self,
        verb: str,
        place: str,
        repository: str,
        wanted: int,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        url = place if "://" in place else f"http://{self.host}/v2/{place}"
        actions = ["pull", "push", "delete"]
        access = [{"type": "repository", "name": repository, "actions": actions}]
        login = {"Authorization": f"Bearer {self.key.token(access)}"} if self.key else {}
        answer = requests.request(
            verb, url, data=content, headers=(headers or {}) | login, timeout=20
        )
        assert answer.status_code == wanted, f"{verb} {url}: {answer.status_code} {answer.text}"
        return answer


def _mark(text: str) -> Wire:
    return {"annotations": {"org.example.mark": text}}


@contextmanager
def serve(
    program: str, folder: Path, auth: Wire | None = None, key: Keys | None = None
) -> Iterator[Registry]:
    """Yield an empty registry that keeps everything in a folder."""
    folder.mkdir(parents=True)
    host = f"127.0.0.1:{_free_port()}"
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": host},
        "catalog": {"maxentries": 1000},
    } | ({"auth": {"token": auth}} if auth else {})
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log:
        argv = [program, "serve", str(folder / "settings.yaml")]
        with subprocess.Popen(argv, stdout=log, stderr=log, env=environment) as running:
            try:
                _wait_for(host, running, folder / "log")
                yield Registry(host=host, key=key)
            finally:
                running.terminate()


def _wait_for(host: str, running: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and running.poll() is None:
        try:
            requests.get(f"http://{host}/v2/", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"the registry did not start: {log.read_text()}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- tokens --------------------------------------------------------------------------------------


class Keys:
    """A key that signs tokens, and the form in which a registry learns of it."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        public = _base64(self._private.public_key().public_bytes(*raw))
        known = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "tests", "alg": "EdDSA"}
        self.known = {"keys": [known]}

    def token(self, access: list[Wire]) -> str:
        """Return a token for this access, good for five minutes."""
        now = int(time.time())
        head = {"alg": "EdDSA", "typ": "JWT", "kid": "tests"}
        claims: Wire = {"iss": ISSUER, "aud": SERVICE, "sub": "", "access": access}
        claims |= {"iat": now, "nbf": now - 1, "exp": now + 300}
        parts = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return f"{parts}.{_base64(self._private.sign(parts.encode()))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(kw_only=True)
class Guard:
    """A token server: gives everybody a token to pull what is public, and another one to nobody."""

    url: str
    keys: Keys
    private: set[str] = field(default_factory=set)  # repositories
    asked: list[str] = field(default_factory=list)  # scopes

    def answer(self, query: dict[str, list[str]]) -> Wire:
        """Return the token for the scope of a query."""
        (scope,), (service,) = query["scope"], query["service"]
        self.asked.append(scope)
        assert service == SERVICE
        _, repository, _ = scope.split(":")
        access = [{"type": "repository", "name": repository, "actions": ["pull"]}]
        return {"token": self.keys.token([] if repository in self.private else access)}


@contextmanager
def guarded(program: str, folder: Path) -> Iterator[tuple[Registry, Guard]]:
    """Yield a registry that wants tokens, and who gives them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(guard.answer(parse_qs(urlsplit(self.path).query))).encode()
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    guard = Guard(url=f"http://127.0.0.1:{server.server_port}/token", keys=Keys())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    folder.mkdir(parents=True)
    (folder / "keys.json").write_text(json.dumps(guard.keys.known))
    auth = {"realm": guard.url, "service": SERVICE, "issuer": ISSUER}
    auth["jwks"] = str(folder / "keys.json")
    try:
        with serve(program, folder / "registry", auth, guard.keys) as running:
            yield running, guard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
