"""The GitHub Actions runner that dtp may run in: its event, its files, its workflow commands.

Imported only there. Writes what it is told; what to say is decided elsewhere. Escapes as
actions/toolkit does (packages/core/src/command.ts), which is what actions/runner reads back
(src/Runner.Common/ActionCommand.cs).
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, TextIO

from dtp_action.core import secrets
from dtp_action.errors import UsageError

Event = Mapping[str, Any]
Level = Literal["error", "warning", "notice"]

MIB = 1024 * 1024
EVENT_LIMIT = 32 * MIB  # GitHub sends 25 MB at most
SUMMARY_LIMIT = MIB  # over it, the whole step's summary is dropped
OUTPUT_LIMIT = MIB  # GitHub counts two bytes a character
MESSAGE_LIMIT, TITLE_LIMIT = 4096, 255  # bytes of an annotation
CUT = b"\n\n_The rest is left out: the summary of a step holds less than 1 MiB._\n"

# What runs on merged code alone. Other events run on other people's code or artifacts.
CLUSTER_EVENTS = ("push", "schedule", "workflow_dispatch", "repository_dispatch", "issue_comment")

SHORTEST_SECRET = 6
NO_SECRET = re.compile(  # lines whose masking would only blot out the log
    r"-----(?:BEGIN|END) [A-Z0-9 ]+-----"
    r"|(?:- )?(?:apiVersion|kind|preferences|clusters?|contexts?|users?|current-context|name"
    r"|namespace|server):.*"
)

SHA = re.compile(r"[0-9a-f]{40}")
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")
NODE = re.compile(r"[A-Za-z0-9_=+/-]{1,200}")
BRANCH = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]{1,255}")  # as git has it


def runner(environ: Mapping[str, str]) -> Runner | None:
    """Return the runner that this process runs in; None outside GitHub Actions."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return None
    repository_url = f"{environ.get('GITHUB_SERVER_URL')}/{environ.get('GITHUB_REPOSITORY')}"
    return Runner(
        event=environ.get("GITHUB_EVENT_NAME", ""),
        event_path=_path(environ, "GITHUB_EVENT_PATH"),
        summary_path=_path(environ, "GITHUB_STEP_SUMMARY"),
        output_path=_path(environ, "GITHUB_OUTPUT"),
        temp=_path(environ, "RUNNER_TEMP") or Path(tempfile.gettempdir()),
        repository_url=repository_url,
        run_url=f"{repository_url}/actions/runs/{environ.get('GITHUB_RUN_ID')}",
    )


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One step of a workflow run: what happened, and where to tell."""

    event: str
    event_path: Path | None
    summary_path: Path | None
    output_path: Path | None
    temp: Path
    repository_url: str
    run_url: str

    @cached_property
    def payload(self) -> Event:
        """The event as GitHub sent it, read once. Raises UsageError."""
        if not self.event_path:
            raise _no_event("GITHUB_EVENT_PATH is not set")
        try:
            with self.event_path.open("rb") as file:
                content = file.read(EVENT_LIMIT + 1)
            found = json.loads(content) if len(content) <= EVENT_LIMIT else None
        except (OSError, ValueError, RecursionError) as error:
            raise _no_event(error) from error
        if not isinstance(found, dict):
            raise _no_event(f"{self.event_path} is too large, or no JSON object")
        return found

    @property
    def public(self) -> bool:
        """Whether anybody may read what this run says; yes, where nothing tells."""
        with suppress(UsageError):
            return _at(self.payload, "repository", "private") is not True
        return True

    @property
    def forbids_cluster(self) -> bool:
        """True where the run may act on what nobody has merged."""
        return self.event not in CLUSTER_EVENTS

    def refuse_cluster(self) -> None:
        """Raise UsageError where a cluster must not be reached."""
        if self.forbids_cluster:
            raise UsageError(
                f"a kubeconfig must not be used on the event {self.event}: such a run may act on"
                " what nobody has merged",
                hint="Use the command preview here, which needs no cluster. Others belong in"
                f" workflows on {', '.join(CLUSTER_EVENTS)}.",
            )

    def mask(self, text: str) -> None:
        """Have the runner hide each line of a secret in all that is logged from now on."""
        for line in dict.fromkeys(line.strip() for line in re.split(r"[\r\n]+", text)):
            if len(line) >= SHORTEST_SECRET and not NO_SECRET.fullmatch(line):
                _command(f"::add-mask::{_data(line)}")

    def annotate(
        self,
        level: Level,
        message: str,
        *,
        title: str = "",
        file: str = "",
        line: int = 0,
        column: int = 0,
    ) -> None:
        """Show a message beside the run, and beside a line of a file where one is named."""
        where = {"file": file, "line": line, "col": column, "title": _fit(title, TITLE_LIMIT)}
        properties = ",".join(f"{key}={_property(value)}" for key, value in where.items() if value)
        named = f"{level} {properties}" if properties else level
        _command(f"::{named}::{_data(_fit(message, MESSAGE_LIMIT))}")

    def summarise(self, markdown: str) -> None:
        """Add to the step's summary, as much as there is room for."""
        if not self.summary_path:
            return
        data = f"{markdown}\n".encode(errors="replace")
        room = SUMMARY_LIMIT - 1 - _size(self.summary_path)
        if len(data) > room:
            lines = data[: max(room - len(CUT), 0)].rpartition(b"\n")[0]
            data = (lines + CUT)[: max(room, 0)]
        self._append(self.summary_path, data)

    def output(self, name: str, value: str) -> None:
        """Set an output of the step; one that is too large for GitHub stays unset, with a word."""
        if not self.output_path:
            return
        end = token_hex(16)
        while end in value:
            end = token_hex(16)
        data = f"{name}<<{end}\n{value}\n{end}\n".encode(errors="replace")
        if 2 * (_size(self.output_path) + len(data)) > OUTPUT_LIMIT:
            self.annotate("warning", f"The output {name} is left out: outputs hold 1 MiB in all.")
            return
        self._append(self.output_path, data)

    def _append(self, path: Path, data: bytes) -> None:
        """Write to a file of the runner's; a failure is told, and hurts nothing else."""
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError as error:
            self.annotate("warning", f"The runner's file could not be written: {error}")


def _no_event(why: object) -> UsageError:
    return UsageError(
        f"the event of this run cannot be read: {why}",
        hint="The runner sets GITHUB_EVENT_PATH; a workflow must not change it.",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


# --- workflow commands ----------------------------------------------------------------------------

_paused: list[tuple[TextIO, str]] = []  # the open block, if any: where it began, how it ends


@contextmanager
def quiet(stream: TextIO | None = None) -> Iterator[None]:
    """Nothing that is printed in here is a workflow command, wherever in a line it stands.

    Masks and annotations of ours step outside for their line. Standard output and standard error
    must be one stream for the runner, or it may read them in another order.
    """
    if _paused:
        yield
        return
    _pause(stream or sys.stderr)
    try:
        yield
    finally:
        _resume()


def _pause(stream: TextIO) -> None:
    token = token_hex(16)
    _print(stream, f"::stop-commands::{token}\n")
    _paused.append((stream, token))


def _resume() -> TextIO:
    stream, token = _paused.pop()
    _print(stream, f"\n::{token}::\n")  # heard only where a line begins
    return stream


def _command(line: str) -> None:
    """Give a command, outside of any quiet block."""
    if not _paused:
        _print(sys.stderr, f"{line}\n")
        return
    stream = _resume()
    try:
        _print(stream, f"{line}\n")
    finally:
        _pause(stream)


def _print(stream: TextIO, text: str) -> None:
    """Write at once, and after all that was printed before, on whichever stream."""
    for earlier in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed: there is nothing to wait for
            earlier.flush()
    stream.write(text)
    stream.flush()


def _fit(text: str, limit: int) -> str:
    """Return text without known shapes of secrets, cut on a character to so many bytes."""
    data = secrets.redact(text).encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    text = str(value).encode(errors="replace").decode()
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# --- events: what they say, where it is of the form that GitHub gives it --------------------------


def pull_request_head(event: Event) -> str | None:
    """Return the last commit of a pull request."""
    return _text(event, SHA, "pull_request", "head", "sha")


def pull_request_branch(event: Event) -> str | None:
    """Return the branch that a pull request is to be merged into."""
    return _text(event, BRANCH, "pull_request", "base", "ref")


def default_branch(event: Event) -> str | None:
    """Return the branch whose workflows schedules and comments run."""
    return _text(event, BRANCH, "repository", "default_branch")


def pull_request_author(event: Event) -> str | None:
    """Return the login of who opened a pull request."""
    return _text(event, LOGIN, "pull_request", "user", "login")


def comment_node(event: Event) -> str | None:
    """Return GitHub's id of a comment just made on a pull request; None for all else."""
    on_pull_request = isinstance(_at(event, "issue", "pull_request"), dict)
    if event.get("action") != "created" or not on_pull_request:
        return None
    return _text(event, NODE, "comment", "node_id")


def previewed(event: Event) -> tuple[str, str] | None:
    """Return head commit and head branch of the pull request that a finished run was about."""
    if _at(event, "workflow_run", "event") != "pull_request":
        return None
    head = _text(event, SHA, "workflow_run", "head_sha")
    branch = _text(event, BRANCH, "workflow_run", "head_branch")
    return (head, branch) if head and branch else None


def _text(event: Event, form: re.Pattern[str], *keys: str) -> str | None:
    found = _at(event, *keys)
    return found if isinstance(found, str) and form.fullmatch(found) else None


def _at(event: Event, *keys: str) -> Any:
    found: Any = event
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
