"""A stand-in for Google Cloud Storage: fake-gcs-server, behind a front that speaks HTTPS.

The front listens on the cluster's own network link, the emulator on loopback. Two things are the
front's own: it goes down in the middle of a transfer, and it tells how far an upload has come. The
emulator takes that question for the upload's end, and keeps a part of the object as if it were all.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.admin import wait_for

BUCKET = "lab"
BLOCK = 2**18
PART = 8 * 2**20  # what an upload sends at a time, and loses at most
CERTIFICATE = "front.crt"  # a key of the Secret
OF_ONE_HOP = ("connection", "host", "keep-alive", "transfer-encoding", "content-length")


@dataclass(frozen=True)
class Moved:
    """Data of an object that went through the front whole."""

    method: str
    first: int  # byte of the object
    size: int


@dataclass(kw_only=True)
class Cloud:
    """The stand-in as tests see it: where it is, what went through, and whether it is up."""

    host: str
    port: int
    behind: str  # the emulator itself
    certificate: str  # PEM; it is its own authority
    left: int = 2**63  # bytes until it goes down
    down: threading.Event = field(default_factory=threading.Event)
    moved: list[Moved] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)  # bytes kept, by upload
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def secret(self) -> dict[str, str]:
        """Return what gsutil needs to find it: it trusts the front, and gives up at once."""
        lines = (
            f"[Credentials]\ngs_json_host = {self.host}\ngs_json_port = {self.port}",
            f"[Boto]\nnum_retries = 0\nca_certificates_file = /var/run/dtp/secret/{CERTIFICATE}",
            f"[GSUtil]\njson_resumable_chunk_size = {PART}\nsoftware_update_check_period = 0",
        )
        return {"boto": "\n".join(lines), CERTIFICATE: self.certificate}

    def put(self, name: str, content: bytes) -> None:
        """Put an object into the bucket, past the front."""
        self._ask("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", content)

    def get(self, name: str) -> bytes:
        """Return an object, past the front."""
        return self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media")

    def md5(self, name: str) -> str:
        """Return an object's MD5 as the emulator reckons it, in the service's writing."""
        told = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}"))
        return str(told["md5Hash"])

    def make_bucket(self) -> None:
        self._ask("POST", "/storage/v1/b", json.dumps({"name": BUCKET}).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.behind + path, body, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def may_pass(self, size: int) -> bool:
        """Count data on its way; the last of what is left takes the front down."""
        with self.lock:
            self.left -= size
            if self.left <= 0:
                self.down.set()
        return not self.down.is_set()

    def mend(self) -> None:
        """Be up from now on."""
        with self.lock:
            self.left = 2**63
            self.down.clear()


@contextmanager
def standing_in(cluster_facts: dict[str, str], directory: Path) -> Iterator[Cloud]:
    """Yield the stand-in, which Pods can reach, with an empty bucket."""
    server, host = cluster_facts.get("GCS_SERVER"), cluster_facts.get("HOST_IP")
    if not server or not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    with _Front((host, 0), _Handler) as front:
        certificate = front.be_known_as(host, directory)
        cloud = Cloud(
            host=host,
            port=front.server_port,
            behind=f"http://127.0.0.1:{_free_port()}",
            certificate=certificate,
        )
        front.cloud = cloud
        thread = threading.Thread(target=front.serve_forever, args=(0.02,))
        with _emulator(server, cloud, directory / "emulator.log"):
            cloud.make_bucket()
            thread.start()
            try:
                yield cloud
            finally:
                front.shutdown()
                thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _emulator(server: str, cloud: Cloud, log: Path) -> Iterator[None]:
    place = urlsplit(cloud.behind)
    argv = [server, "-scheme", "http", "-host", str(place.hostname), "-port", str(place.port)]
    argv += ["-backend", "memory", "-external-url", f"https://{cloud.host}:{cloud.port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        wait_for(lambda: _answers(place.port), "the emulator")
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port or 0), timeout=1).close()
    except OSError:
        return False
    return True


class _Front(ThreadingHTTPServer):
    daemon_threads = True
    cloud: Cloud

    def be_known_as(self, host: str, directory: Path) -> str:
        """Speak TLS, with a certificate made for this address; return the certificate."""
        key, certificate = directory / "front.key", directory / CERTIFICATE
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        argv += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=front"]
        argv += ["-addext", f"subjectAltName=IP:{host}"]
        argv += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(argv, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        return certificate.read_text()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Front

    def setup(self) -> None:
        self.cloud = self.server.cloud
        if self.cloud.down.is_set():
            raise ConnectionResetError
        super().setup()

    def _serve(self) -> None:
        upload = parse_qs(urlsplit(self.path).query).get("upload_id", [""])[0]
        if self.headers.get("Content-Range", "").startswith("bytes */"):
            self._tell_how_far(self.cloud.received.get(upload, 0))
            return
        body = self._read(int(self.headers.get("Content-Length", 0)))
        with closing(http.client.HTTPConnection(urlsplit(self.cloud.behind).netloc)) as emulator:
            emulator.request(self.command, self.path, body, self._headers())
            answer = emulator.getresponse()
            if answer.status == http.client.PERMANENT_REDIRECT:  # there is more to come
                self.cloud.received[upload] = self.cloud.received.get(upload, 0) + len(body)
            self._pass_on(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 (the names that http.server looks for)

    def _read(self, size: int) -> bytes:
        """Return the request's body, unless the front goes down meanwhile."""
        body = bytearray()
        while len(body) < size:
            block = self.rfile.read(min(BLOCK, size - len(body)))
            body += block
            self._count(len(block))
        if "Content-Range" in self.headers:
            self._note("Content-Range", size)
        return bytes(body)

    def _headers(self) -> dict[str, str]:
        return {name: text for name, text in self.headers.items() if name.lower() not in OF_ONE_HOP}

    def _tell_how_far(self, received: int) -> None:
        self.send_response(http.client.PERMANENT_REDIRECT)
        if received:
            self.send_header("Range", f"bytes=0-{received - 1}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_ONE_HOP:
                self.send_header(name, value)
        size = answer.length or 0
        self.send_header("Content-Length", str(size))
        self.end_headers()
        while block := answer.read(BLOCK):
            self._count(len(block))
            self.wfile.write(block)
        if "alt=media" in self.path:
            self._note("Range", size)

    def _count(self, size: int) -> None:
        if not size or not self.cloud.may_pass(size):
            self.close_connection = True
            raise ConnectionResetError

    def _note(self, header: str, size: int) -> None:
        first = re.search(r"\d+", self.headers.get(header, "0"))
        assert first
        self.cloud.moved.append(Moved(self.command, int(first[0]), size))

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""
