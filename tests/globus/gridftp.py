"""A real GridFTP server, as Globus Connect Personal has one inside: Debian's, unpacked and cached.

It is asked by plain FTP and without a login, which that of Globus Connect Personal is not.
"""

from __future__ import annotations

import contextlib
import ftplib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.admin import wait_for

PACKAGES = (
    *("globus-gridftp-server-progs", "libglobus-authz-callout-error0", "libglobus-authz0"),
    *("libglobus-callout0", "libglobus-common0", "libglobus-ftp-control1", "libglobus-gfork0"),
    *("libglobus-gridftp-server-control0", "libglobus-gridftp-server6"),
    *("libglobus-gsi-callback0", "libglobus-gsi-cert-utils0", "libglobus-gsi-credential1"),
    *("libglobus-gsi-openssl-error0", "libglobus-gsi-proxy-core0", "libglobus-gsi-proxy-ssl1"),
    *("libglobus-gsi-sysconfig1", "libglobus-gss-assist3", "libglobus-gssapi-error2"),
    *("libglobus-gssapi-gsi4", "libglobus-io3", "libglobus-openssl-module0"),
    *("libglobus-xio-gsi-driver", "libglobus-xio-pipe-driver", "libglobus-xio0", "libltdl7"),
)


def install(cache: Path) -> Path:
    """Return the folder of the server's files, fetched once. Skips where there is no Debian."""
    place = cache / "gridftp-server-debian-12"
    if place.exists():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get here: the GridFTP server is one of Debian's packages")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        packages, making = Path(folder) / "packages", Path(folder) / "made"
        packages.mkdir()
        _download(packages)
        for package in packages.iterdir():
            subprocess.run(["dpkg-deb", "-x", package, making], check=True)
        with contextlib.suppress(OSError):  # another worker was faster
            making.rename(place)
    return place


def _download(folder: Path) -> None:
    """Fetch the packages; a new machine has no lists of packages yet."""
    download = ["apt-get", "-qq", "download", *PACKAGES]
    if subprocess.run(download, cwd=folder, check=False).returncode:
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(download, cwd=folder, check=True)


@dataclass(frozen=True)
class Server:
    """A running server; offers what its `-restrict-paths` says."""

    port: int

    def gives(self, path: str) -> bool:
        """Tell whether a file's content, or a folder's list, can be had."""
        with ftplib.FTP() as client:
            client.connect("127.0.0.1", self.port, timeout=20)
            client.login()
            command = f"MLSD {path}" if path.endswith("/") else f"RETR {path}"
            return _answers(client, command)

    def takes(self, path: str) -> bool:
        """Tell whether a new file can be put there."""
        with ftplib.FTP() as client:
            client.connect("127.0.0.1", self.port, timeout=20)
            client.login()
            try:
                with client.transfercmd(f"STOR {path}") as data:
                    data.sendall(b"new")
                client.voidresp()
            except ftplib.Error:
                return False
            return True


def _answers(client: ftplib.FTP, command: str) -> bool:
    try:
        with client.transfercmd(command) as data:
            while data.recv(4096):
                pass
        client.voidresp()
    except ftplib.Error:
        return False
    return True


@contextmanager
def serving(files: Path, paths: str, log: Path) -> Iterator[Server]:
    """Yield a server with this list of paths."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = str(files / "usr/sbin/globus-gridftp-server")
    libraries = next((files / "usr/lib").glob("*-linux-gnu"))
    argv = [program, "-exec", program, "-p", str(port), "-control-interface", "127.0.0.1"]
    argv += ["-data-interface", "127.0.0.1", "-aa", "-anonymous-names-allowed", "*"]
    argv += ["-anonymous-user", "nobody"] if os.geteuid() == 0 else []
    argv += ["-l", str(log), "-restrict-paths", paths]
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(libraries)}
    with log.with_suffix(".out").open("wb") as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: _listens(port), f"the GridFTP server, see {log}")
        yield Server(port)
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
