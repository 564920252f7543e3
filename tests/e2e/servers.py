"""Servers for tests of transfers: OpenSSH's sshd, NGINX, and a line that is cut half-way.

They listen on the cluster's own network link, where Pods reach them, and know no client. Each has a
folder, which the test fills and reads.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core import catalog
from tests.admin import wait_for
from tests.e2e import stores
from tests.e2e.site import ROOM, Site

Address = tuple[str, int]

CHUNK = 2**18
EXAMPLES = Path(__file__).parents[2] / "dtp-jobs"


def example(ref: str, *changes: tuple[str, str]) -> str:
    """Return an example of dtp-jobs as a researcher would make it their own: with other words."""
    text = (EXAMPLES / f"{ref}.sh.example").read_text()
    for old, new in changes:
        assert old in text, f"{ref} says nothing of {old}"
        text = text.replace(old, new)
    return text


def row(site: Site, *, like: str = "") -> dict[str, Any]:
    """Return a row that has the tools, and takes no more of the node than it needs.

    Its exit codes are those of the protocol whose row it changes, or of another that it is `like`.
    """
    made = {**ROOM, "image": site.namespace.images["tools"], "memory": "256Mi"}
    if not like:
        return made
    model = catalog.builtin().rows[like]
    tools = {
        name: {"transient": dict(tool.transient), "exits": dict(tool.exits)}
        for name, tool in model.tools.items()
    }
    return made | {"tools": tools, "exits": dict(model.exits)}


# --- the line ---


@dataclass
class Line:
    """A line to a server that resets its connections in turn, each after so many bytes.

    What passed is counted by connection, both ways together. Connections beyond those that are to
    be cut pass whole.
    """

    target: Address
    cuts: Sequence[int]
    passed: list[int] = field(default_factory=list)
    address: Address = ("", 0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def join(self, near: socket.socket) -> None:
        """Connect a client with the server, until one of them ends it or the line is cut."""
        number = self._begin()
        with socket.create_connection(self.target) as far:
            ends = near, far
            back = threading.Thread(target=self._pass_on, args=(number, far, near), daemon=True)
            back.start()
            self._pass_on(number, near, far)
            back.join()
            if self._is_cut(number):
                for end in ends:  # a reset, rather than an end
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()

    def _begin(self) -> int:
        with self._lock:
            self.passed.append(0)
            return len(self.passed) - 1

    def _pass_on(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                if not self._may_pass(number, len(data)):
                    _shut(source, sink)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one end has gone: the other is not left waiting for it
            _shut(source, sink)

    def _may_pass(self, number: int, size: int) -> bool:
        with self._lock:
            if self._is_cut(number):
                return False
            self.passed[number] += size
            return True

    def _is_cut(self, number: int) -> bool:
        return number < len(self.cuts) and self.passed[number] >= self.cuts[number]


def _shut(*ends: socket.socket) -> None:
    """Wake whoever waits for these connections."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@dataclass
class Outage(Line):
    """A line that goes down for all who use it after so many bytes, until it is mended."""

    after: float = 0
    down: threading.Event = field(default_factory=threading.Event)

    def mend(self) -> None:
        """Let all pass from now on."""
        self.after = math.inf
        self.down.clear()

    def _may_pass(self, number: int, size: int) -> bool:
        may = super()._may_pass(number, size)
        if may and sum(self.passed) >= self.after:
            self.down.set()
        return may

    def _is_cut(self, number: int) -> bool:
        return self.down.is_set()


@contextmanager
def line_to(target: Address, *cuts: int) -> Iterator[Line]:
    """Yield a line to a server that cuts the first connections, each after so many bytes."""
    line = Line(target, cuts)
    with _laid(line):
        yield line


@contextmanager
def failing_line_to(target: Address, after: int) -> Iterator[Outage]:
    """Yield a line to a server that goes down after so many bytes."""
    line = Outage(target, (), after=after)
    with _laid(line):
        yield line


@contextmanager
def _laid(line: Line) -> Iterator[None]:
    """Have clients come to the line at an address beside its target's."""
    host, _ = line.target
    with _Exchange((host, 0), _Caller) as server:
        server.line = line
        line.address = (host, server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Exchange(socketserver.ThreadingTCPServer):
    daemon_threads = True
    line: Line


class _Caller(socketserver.BaseRequestHandler):
    server: _Exchange

    def handle(self) -> None:
        self.server.line.join(self.request)


# --- what the servers have in common ---


def _program(cluster_facts: dict[str, str], key: str) -> tuple[str, str]:
    """Return the path of a server's program, and the address to listen on."""
    program, host = cluster_facts.get(key), cluster_facts.get("HOST_IP")
    if not program or not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    return program, host


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _running(argv: list[str], address: Address, log: Path, **more: str) -> Iterator[None]:
    """Run a server beside the test, once it answers, with more variables than the test's own."""
    # A process table of its own: what it started ends with it.
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv]
    with log.open("wb") as output:
        process = subprocess.Popen(
            alone,
            env=os.environ | more,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: process.poll() is not None or _answers(address), argv[0])
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.kill()  # `unshare` ends by nothing less
        process.wait()


def _answers(address: Address) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


# --- sshd ---


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A key pair, as text."""

    private: str
    public: str


@dataclass(frozen=True, kw_only=True)
class Login:
    """A running sshd that lets one key into one account, `user`."""

    address: Address
    folder: Path  # the account's own
    key: str  # text of the private key
    host_key: str  # type and public key, as known_hosts has them
    programs: Path  # where ssh-keygen stands

    def other_key(self) -> Pair:
        """Make a key pair that the server does not know."""
        return _make_key(self.programs, self.folder.with_name("other"))

    def write(self, name: str, size: int) -> str:
        """Put a random file into the account's folder; return its digest."""
        digest = stores.write_random(self.folder / name, size)
        _hand_over(self.folder)
        return digest


def known_hosts(address: Address, key: str) -> str:
    """Return a file that knows a server by its key."""
    return f"[{address[0]}]:{address[1]} {key}\n"


HOME = "/mnt/home"  # the account's folder, as it sees it
USER = 1000  # the account
SSHD = """\
ListenAddress {host}:{port}
HostKey {own}/host_key
AllowUsers user
AuthenticationMethods publickey
Subsystem sftp internal-sftp
"""


@contextmanager
def sshd(cluster_facts: dict[str, str], own: Path) -> Iterator[Login]:
    """Yield an OpenSSH server; `own` is an empty folder for it."""
    program, host = _program(cluster_facts, "SSHD")
    login = _make_account(own, (host, _free_port(host)), Path(program).parent)
    argv = [program, "-D", "-e", "-f", str(own / "sshd_config")]
    with _running(argv, login.address, own / "log", SSHD_HOME=str(login.folder)):
        yield login


def _make_account(own: Path, address: Address, programs: Path) -> Login:
    """Make the account's folder and keys, and the server's settings."""
    home = own / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    key, host_key = (_make_key(programs, own / name) for name in ("key", "host_key"))
    (home / ".ssh/authorized_keys").write_text(key.public)
    _hand_over(home)
    settings = SSHD.format(host=address[0], port=address[1], own=own)
    (own / "sshd_config").write_text(settings)
    return Login(
        address=address,
        folder=home,
        key=key.private,
        host_key=host_key.public.strip(),
        programs=programs,
    )


def _hand_over(folder: Path) -> None:
    """Make all in a folder the account's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)


def _make_key(programs: Path, path: Path) -> Pair:
    """Make a key pair that nobody has seen before."""
    argv = [
        str(programs / "ssh-keygen"),
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "",
        "-f",
        str(path),
    ]
    subprocess.run(argv, check=True)
    return Pair(private=path.read_text(), public=path.with_suffix(".pub").read_text())


# --- NGINX ---


@dataclass(frozen=True, kw_only=True)
class Web:
    """A running NGINX: it serves a folder, and takes what an account puts below `incoming`."""

    address: Address
    folder: Path
    log: Path  # a line per request: METHOD path STATUS bytes "range"
    password: str  # of the account `lab`

    def requests(self, path: str) -> list[str]:
        """Return the requests for a path, in the order in which they ended."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if line.split()[1] == path]


NGINX = """\
daemon off;
user root root;
worker_processes 1;
pid {own}/pid;
events {{}}
http {{
    log_format plain '$request_method $uri $status $body_bytes_sent "$http_range"';
    access_log {own}/access.log plain;
    client_body_temp_path {own}/tmp;
    proxy_temp_path {own}/tmp;
    fastcgi_temp_path {own}/tmp;
    uwsgi_temp_path {own}/tmp;
    scgi_temp_path {own}/tmp;
    client_max_body_size 0;
    server {{
        listen {host}:{port};
        root {own}/www;
        location /incoming/ {{
            dav_methods PUT;
            auth_basic lab;
            auth_basic_user_file {own}/users;
        }}
    }}
}}
"""


@contextmanager
def nginx(cluster_facts: dict[str, str], own: Path) -> Iterator[Web]:
    """Yield a web server; `own` is an empty folder for it."""
    program, host = _program(cluster_facts, "NGINX")
    web = _make_pages(own, (host, _free_port(host)))
    argv = [program, "-p", str(own), "-e", "stderr", "-c", str(own / "nginx.conf")]
    with _running(argv, web.address, own / "log"):
        yield web


def _make_pages(own: Path, address: Address) -> Web:
    """Make the folders, the account and the server's settings."""
    www, password = own / "www", secrets.token_hex(16)
    (www / "incoming").mkdir(parents=True)
    (own / "tmp").mkdir()
    (own / "users").write_text(f"lab:{{PLAIN}}{password}\n")
    (own / "nginx.conf").write_text(NGINX.format(own=own, host=address[0], port=address[1]))
    return Web(address=address, folder=www, log=own / "access.log", password=password)
