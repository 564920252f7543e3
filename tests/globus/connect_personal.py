"""A stand-in for `globusconnectpersonal`, with the options and answers of release 3.2.

It needs nothing but Python, so that tests bring it into any image as one file. What it was written
after: the program's public documentation, and published copies of its control script. Instead of
the relay's SSH it speaks HTTP with the stand-in of the service, at GCP_RELAY_SERVER.

Quirks that it shares with the original: its folder must be named before `-setup`, which takes all
words behind it; control goes through a socket, which `-status` leaves behind where nothing runs,
and which then looks like a program that is gone.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

VERSION = "3.2.8"
NOT_RUNNING = "No Globus Connect Personal connected to Globus Online Service"
RUNNING = "Globus Connect Personal is currently running and connected to Globus Online"
CONTROL = Path(os.environ.get("TMPDIR", "/tmp")) / f"globusconnect_{os.getuid()}.sock"
BEAT = 0.2  # seconds between two signs of life


def ask_relay(what: str, **request: str) -> Any:
    """Ask the relay; raises OSError where it is out of reach."""
    server = os.environ.get("GCP_RELAY_SERVER", "relay.globusonline.org:2223")
    body = json.dumps(request).encode()
    with urllib.request.urlopen(f"http://{server}/relay/{what}", body) as answer:
        return json.load(answer)


def setup(folder: Path, words: list[str]) -> NoReturn:
    """Register once; writes what a registration consists of."""
    if len(words) != 2 or words[0] != "--setup-key":
        sys.exit(f"register: unrecognized arguments: {' '.join(words)}")
    if not re.fullmatch("[0-9a-zA-Z-]+", words[1]):
        sys.exit(f"Invalid Code '{words[1]}'")
    place = folder / "lta"
    place.mkdir(parents=True, exist_ok=True)
    print(f"Configuration directory: {place}\n== starting relaytool setup", flush=True)
    try:
        endpoint = ask_relay("register", key=words[1])["id"]
    except urllib.error.HTTPError as error:
        print("Error: The server returned an error\n---")
        print(json.load(error)["message"])
        sys.exit(1)
    except OSError as error:
        print(f"Error: Could not connect to server\n---\n{error}")
        sys.exit(255)
    subject = "/C=US/O=Globus Consortium/OU=Globus Connect User/CN=nobody"
    (place / "gridmap").write_text(f'"{subject}" {getpass.getuser()}\n')
    (place / "config").write_text("SERVER=relay.globusonline.org\nSERVER_PORT=2223\n")
    (place / "client-id.txt").write_text(f"{endpoint}\n")
    print("setup completed successfully")
    sys.exit(0)


class Endpoint:
    """What `-start` runs: a connection that comes and goes, and a socket that tells of it."""

    def __init__(self, endpoint: str, paths: str) -> None:
        self.endpoint, self.paths, self.relay = endpoint, paths, "connecting"

    def hold(self) -> None:
        """Keep the connection up."""
        while True:
            try:
                ask_relay("connect", id=self.endpoint, paths=self.paths)
                self.relay = "connected"
            except urllib.error.HTTPError as error:
                if error.code >= 500:
                    print("Subprocess exited, rc=3", file=sys.stderr, flush=True)
                    os._exit(3)
                self.relay = "n/a"
            except OSError:
                self.relay = "n/a"
            time.sleep(BEAT)

    def serve(self, listener: socket.socket) -> NoReturn:
        """Answer on the control socket, one at a time."""
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(16) == b"stop":
                    sys.exit(0)
                connection.sendall(f"#gridftp 0\n#relaytool {self.relay}\n".encode())


def start(folder: Path, paths: str) -> NoReturn:
    if not (folder / "lta" / "config").exists():
        sys.exit(f"Error: '{folder / 'lta' / 'config'}' does not exist\nPlease run setup")
    listener = socket.socket(socket.AF_UNIX)
    own = CONTROL.with_suffix(f".{os.getpid()}")
    listener.bind(str(own))
    listener.listen(5)
    own.replace(CONTROL)  # at once: who asks meanwhile leaves a socket of that name
    endpoint = Endpoint((folder / "lta" / "client-id.txt").read_text().strip(), paths)
    threading.Thread(target=endpoint.hold, daemon=True).start()
    endpoint.serve(listener)


def reach() -> socket.socket:
    """Return a connection to the program that runs; leaves a socket behind where none does."""
    control = socket.socket(socket.AF_UNIX)
    try:
        control.bind(str(CONTROL))
    except OSError:
        control.connect(str(CONTROL))
        return control
    print(NOT_RUNNING)
    sys.exit(1)


def status() -> NoReturn:
    with reach() as control:
        control.sendall(b"status")
        told = control.recv(1024).decode()
    relay = re.search("^#relaytool (.*)$", told, re.MULTILINE)
    state = relay[1] if relay else "n/a"
    print(f"Globus Online:   {'disconnected' if state == 'n/a' else state}")
    print("Transfer Status: idle")
    sys.exit(0)


def stop() -> NoReturn:
    with reach() as control:
        print(f"{RUNNING}\nSending stop signal... ", end="")
        control.sendall(b"stop")
    print("Done")
    sys.exit(0)


def main(words: list[str]) -> NoReturn:
    folder, paths = Path.home() / ".globusonline", "rw~/"
    action = ""
    while words:
        match words:
            case "-dir", place, *words:
                folder = Path(place)
            case "-restrict-paths", paths, *words:
                pass
            case "-setup", *words:
                setup(folder, words)
            case ("-start" | "-status" | "-stop" | "-version") as action, *words:
                pass
            case _:
                sys.exit(f"unrecognized: {words[0]}")
    match action:
        case "-start":
            start(folder, paths)
        case "-status":
            status()
        case "-stop":
            stop()
    print(VERSION)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
