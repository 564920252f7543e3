"""What the runner makes of what we write: its side is written here as its source has it.

`Reader` reads lines as actions/runner does (ActionCommand.cs, ActionCommandManager.cs), and
`outputs` its file of outputs (FileCommandManager.cs).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.adapters import actions
from dtp_action.adapters.actions import Runner
from dtp_action.errors import Exit, UsageError

SHA = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = (
    "::set-output name=result::done",
    "  ::add-mask::the",
    "\t::error file=a.sh::forged",
    "progress 50%\r::warning::forged",
    "anything ##[error]forged",
    "##[add-path]/tmp/evil",
    "::stop-commands::mine",
    "::endgroup::",
    "no newline at the end",
)
COMMANDS = ("add-mask", "add-path", "endgroup", "error", "group", "notice", "set-output", "warning")


@dataclass(frozen=True)
class Heard:
    """One command as the runner understood it."""

    name: str
    properties: dict[str, str]
    data: str


@dataclass
class Reader:
    """The runner, reading a step's output line by line."""

    heard: list[Heard] = field(default_factory=list)
    token: str | None = None

    def read(self, text: str) -> list[Heard]:
        for line in re.split(r"\r\n|\r|\n", text):
            if command := self._parsed(line):
                self._take(command)
        return self.heard

    def _take(self, command: Heard) -> None:
        if self.token:
            if command.name == self.token:
                self.token = None
        elif command.name == "stop-commands":
            assert command.data not in ("", "pause-logging", *COMMANDS)
            self.token = command.data
        else:
            self.heard.append(command)

    def _parsed(self, line: str) -> Heard | None:
        known = {*COMMANDS, "stop-commands", *filter(None, [self.token])}
        whole = line.lstrip()
        if whole.startswith("::") and (end := whole.find("::", 2)) >= 0:
            name, _, rest = whole[2:end].partition(" ")
            if name in known:
                return Heard(name, parsed(rest.strip(), ","), unescaped(whole[end + 2 :]))
        if (start := line.find("##[")) >= 0 and (end := line.find("]", start)) >= 0:
            name, _, rest = line[start + 3 : end].partition(" ")
            if name in known:
                return Heard(name, parsed(rest, ";"), unescaped(line[end + 1 :]))
        return None


def parsed(text: str, separator: str) -> dict[str, str]:
    pairs = (pair.lstrip("=").split("=", 1) for pair in text.split(separator) if pair)
    return {
        pair[0]: unescaped(pair[1].lstrip("="), more=True)
        for pair in pairs
        if len(pair) == 2 and pair[1].lstrip("=")
    }


def unescaped(text: str, *, more: bool = False) -> str:
    for token, replacement in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        if more or token in "\r\n":
            text = text.replace(replacement, token)
    return text.replace("%25", "%")


def outputs(text: str) -> dict[str, str]:
    """Read a file of outputs; only a newline ends a line there."""
    found = {}
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        name, mark, end = line.partition("<<")
        assert mark, f"no output begins with {line!r}"
        assert "=" not in name
        value = []
        while (part := next(lines)) != end:
            value.append(part)
        found[name] = "\n".join(value)
    return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return a_runner(tmp_path)


def a_runner(folder: Path, event: str = "push", **more: str) -> Runner:
    """Return the runner that an environment tells of."""
    found = actions.runner(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "GITHUB_OUTPUT": str(folder / "output"),
            "RUNNER_TEMP": str(folder / "temp"),
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "lab/transfers",
            "GITHUB_RUN_ID": "77",
        }
        | more
    )
    assert found
    return found


class Output:
    """All that was printed, on one stream as in a step."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd

    @property
    def text(self) -> str:
        out, err = self.capfd.readouterr()
        return out + err

    @property
    def heard(self) -> list[Heard]:
        return Reader().read(self.text)


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Output:
    return Output(capfd)


# --- where we are ---------------------------------------------------------------------------------


@pytest.mark.parametrize("environ", [{}, {"GITHUB_ACTIONS": ""}, {"GITHUB_ACTIONS": "false"}])
def test_outside_of_actions_there_is_no_runner(environ: dict[str, str]) -> None:
    assert actions.runner(environ) is None


def test_runner_knows_its_run_and_its_files(runner: Runner, tmp_path: Path) -> None:
    assert runner.event == "push"
    assert runner.temp == tmp_path / "temp"
    assert runner.repository_url == "https://github.example/lab/transfers"
    assert runner.run_url == "https://github.example/lab/transfers/actions/runs/77"


def test_payload_is_read_only_when_it_is_asked_for(runner: Runner, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"action": "created"}')
    assert runner.payload == {"action": "created"}
    event.unlink()
    assert runner.payload == {"action": "created"}


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}' * 9]
)
def test_payload_that_cannot_be_read_is_a_usage_error(
    runner: Runner, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "event.json").write_bytes(content)
    with pytest.raises(UsageError, match="event of this run cannot be read") as caught:
        _ = runner.payload
    assert caught.value.hint


def test_payload_without_a_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="GITHUB_EVENT_PATH is not set"):
        _ = a_runner(tmp_path, GITHUB_EVENT_PATH="").payload


def test_payload_without_end_is_not_read_to_its_end(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "EVENT_LIMIT", 100)
    (tmp_path / "event.json").write_text(json.dumps({"a": "b" * 100}))
    with pytest.raises(UsageError, match="too large"):
        _ = runner.payload


@pytest.mark.parametrize(
    "event",
    ["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment",
     "workflow_run", "merge_group", "something_new", ""],
)  # fmt: skip
def test_no_cluster_on_what_nobody_has_merged(tmp_path: Path, event: str) -> None:
    runner = a_runner(tmp_path, event)
    assert runner.forbids_cluster
    with pytest.raises(UsageError, match=f"must not be used on the event {event}") as caught:
        runner.refuse_cluster()
    assert "preview" in caught.value.hint
    assert caught.value.exit_code is Exit.USAGE


@pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch", "issue_comment"])
def test_cluster_may_be_reached_on_merged_code(tmp_path: Path, event: str) -> None:
    a_runner(tmp_path, event).refuse_cluster()


# --- annotations and masks ------------------------------------------------------------------------


def test_annotation_names_file_line_and_column(runner: Runner, printed: Output) -> None:
    runner.annotate("error", "no", title="Rejected", file="a.sh", line=3, column=9)
    where = {"file": "a.sh", "line": "3", "col": "9", "title": "Rejected"}
    assert printed.heard == [Heard("error", where, "no")]


def test_annotation_of_no_file_has_no_properties(runner: Runner, printed: Output) -> None:
    runner.annotate("notice", "two jobs were started")
    assert printed.text == "::notice::two jobs were started\n"


TEXT = st.text(max_size=900) | st.lists(st.sampled_from([*HOSTILE, "%0A", "%25", "\r\n", ","])).map(
    "".join
)
# The runner itself drops `=` at a property's begin, and white space at the ends of all of them.
NAME = TEXT.map(lambda text: text.strip().lstrip("=").strip()[:60])


@given(message=TEXT, title=NAME, file=NAME)
def test_runner_hears_what_was_meant(message: str, title: str, file: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(actions, "_command", said.append)
        a_runner(Path("/nowhere")).annotate("warning", message, title=title, file=file, line=7)
    where = {"file": file, "line": "7", "title": title}
    expected = {key: value for key, value in where.items() if value}
    assert Reader().read(said[0]) == [Heard("warning", expected, message)]


@pytest.mark.parametrize("text", ["x" * 9000, "ü" * 9000, "%" * 9000, "𝄞\n" * 2000])
def test_annotation_is_cut_on_a_character(runner: Runner, printed: Output, text: str) -> None:
    runner.annotate("error", text, title=text)
    heard = printed.heard[0]
    assert 4090 < len(heard.data.encode()) <= 4096
    assert len(heard.properties["title"].encode()) <= 255
    assert text.startswith(heard.data.removesuffix("…"))


def test_secret_is_redacted_before_the_cut(runner: Runner, printed: Output) -> None:
    token = "ghp_" + "aB3dE5gH7j" * 4
    runner.annotate("error", "x" * 4080 + " " + token, title=token)
    heard = printed.heard[0]
    assert "ghp_" not in heard.data
    assert heard.properties["title"] == "[redacted]"


def test_name_that_is_no_unicode_can_be_told(runner: Runner, printed: Output) -> None:
    runner.annotate("error", "bad \udcff", title="t\udcff", file="dtp-jobs/\udcff.sh")
    assert printed.heard[0].properties["file"] == "dtp-jobs/?.sh"


def test_each_line_of_a_secret_is_masked_once(runner: Runner, printed: Output) -> None:
    runner.mask("first-line\r\n  second-line%0A\n\nfirst-line\n")
    assert printed.heard == [
        Heard("add-mask", {}, "first-line"),
        Heard("add-mask", {}, "second-line%0A"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a", "12345", "kind: Config", "apiVersion: v1", "- name: ada", "- cluster:",
     "current-context: here", "-----BEGIN CERTIFICATE-----", "-----END RSA PRIVATE KEY-----"],
)  # fmt: skip
def test_what_would_only_blot_out_the_log_is_not_masked(
    runner: Runner, printed: Output, text: str
) -> None:
    runner.mask(text)
    assert printed.text == ""


def test_password_with_blanks_is_masked_whole(runner: Runner, printed: Output) -> None:
    runner.mask("correct horse: battery")
    assert printed.heard == [Heard("add-mask", {}, "correct horse: battery")]


# --- other people's text --------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_printed_in_quiet_is_a_command(
    runner: Runner, printed: Output, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    with actions.quiet():
        print(text, end="")
    runner.annotate("notice", "heard again")
    out, err = capfd.readouterr()
    start, rest = err.split("\n", 1)
    assert Reader().read(f"{start}\n{out}{rest}") == [Heard("notice", {}, "heard again")]


def test_hostile_lines_are_commands_where_they_are_not_quieted() -> None:
    heard = Reader().read("\n".join(line for line in HOSTILE if "stop" not in line))
    assert len(heard) == 7


def test_quiet_ends_on_every_way_out(runner: Runner, printed: Output) -> None:
    with pytest.raises(KeyboardInterrupt), actions.quiet():
        raise KeyboardInterrupt
    runner.annotate("notice", "heard")
    assert printed.heard == [Heard("notice", {}, "heard")]


def test_each_quiet_block_has_a_token_of_its_own(printed: Output) -> None:
    for _ in range(2):
        with actions.quiet():
            pass
    tokens = re.findall(r"^::stop-commands::([0-9a-f]{32})$", printed.text, re.MULTILINE)
    assert len(set(tokens)) == 2


def test_quiet_within_quiet_ends_with_the_outer_one(runner: Runner, printed: Output) -> None:
    with actions.quiet():
        with actions.quiet():
            pass
        print("::error::forged")
    assert printed.text.count("::stop-commands::") == 1


def test_mask_steps_outside_of_quiet_and_what_follows_is_quiet_again(
    runner: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    with actions.quiet(sys.stdout):
        print("::error::forged")
        runner.mask("a-secret")
        print("::error::forged")
    heard = Reader().read(capfd.readouterr().out)
    assert heard == [Heard("add-mask", {}, "a-secret")]


# --- files ----------------------------------------------------------------------------------------


def test_summary_is_added_to(runner: Runner, tmp_path: Path) -> None:
    runner.summarise("# one")
    runner.summarise("# two")
    assert (tmp_path / "summary").read_text() == "# one\n# two\n"


def test_summary_never_reaches_the_size_that_drops_it(runner: Runner, tmp_path: Path) -> None:
    runner.summarise("# first")
    for _ in range(3):
        runner.summarise("ü ünïcödé line\n" * 40_000)
    data = (tmp_path / "summary").read_bytes()
    assert len(data) < 1024 * 1024
    assert data.decode().startswith("# first\nü")
    assert "The rest is left out" in data.decode()


def test_outputs_are_read_back(runner: Runner, tmp_path: Path) -> None:
    runner.output("result", "done")
    runner.output("comment-urls", "https://a\nhttps://b")
    runner.output("status-file", "")
    assert outputs((tmp_path / "output").read_text()) == {
        "result": "done",
        "comment-urls": "https://a\nhttps://b",
        "status-file": "",
    }


@given(values=st.lists(TEXT | st.just("a\nforged<<b\nc\nb\n"), max_size=3))
def test_output_cannot_set_another_output(
    values: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("outputs")
    runner = a_runner(folder)
    named = {f"name-{number}": value for number, value in enumerate(values)}
    for name, value in named.items():
        runner.output(name, value)
    written = (folder / "output").read_bytes().decode() if named else ""
    assert (outputs(written) if written else {}) == named


def test_delimiter_that_occurs_in_the_value_is_not_used(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: Iterator[str] = iter(["once", "twice", "fresh"])
    monkeypatch.setattr(actions, "token_hex", lambda _size: next(tokens))
    runner.output("name", "once\ntwice\n")
    assert (tmp_path / "output").read_text() == "name<<fresh\nonce\ntwice\n\nfresh\n"


def test_output_over_the_limit_is_left_out_and_told(
    runner: Runner, tmp_path: Path, printed: Output
) -> None:
    runner.output("result", "done")
    runner.output("jobs", "x" * 600_000)
    assert outputs((tmp_path / "output").read_text()) == {"result": "done"}
    assert [heard.name for heard in printed.heard] == ["warning"]


def test_file_that_cannot_be_written_is_a_warning(tmp_path: Path, printed: Output) -> None:
    gone = str(tmp_path / "gone" / "file")
    runner = a_runner(tmp_path, GITHUB_OUTPUT=gone, GITHUB_STEP_SUMMARY=gone)
    runner.output("result", "done")
    runner.summarise("# one")
    assert [heard.name for heard in printed.heard] == ["warning", "warning"]


def test_runner_without_files_is_told_nothing(tmp_path: Path, printed: Output) -> None:
    runner = a_runner(tmp_path, GITHUB_OUTPUT="", GITHUB_STEP_SUMMARY="")
    runner.output("result", "done")
    runner.summarise("# one")
    assert printed.text == ""


# --- events ---------------------------------------------------------------------------------------


def changed(event: Any, path: tuple[str, ...], value: Any) -> Any:
    """Return a copy with the value at a path replaced."""
    if not path:
        return value
    return event | {path[0]: changed(event[path[0]], path[1:], value)}


PULL_REQUEST = {
    "pull_request": {
        "base": {"ref": "main"},
        "head": {"sha": SHA},
        "user": {"login": "ada-l"},
    }
}
COMMENT = {
    "action": "created",
    "issue": {"pull_request": {"url": "https://…"}},
    "comment": {"node_id": "IC_kwDOabc123=", "body": "/dtp status"},
}
FINISHED = {"workflow_run": {"event": "pull_request", "head_sha": SHA, "head_branch": "new/job"}}
TRUNK = {"repository": {"default_branch": "trunk"}}
ODD: tuple[Any, ...] = (
    None,
    7,
    True,
    [],
    {},
    [SHA],
    "",
    " ",
    SHA + "\n",
    "a\nb",
    "x" * 500,
    "\ud800",
    "a b",
)


def test_event_of_a_pull_request_names_base_and_author() -> None:
    assert actions.pull_request_head(PULL_REQUEST) == SHA
    assert actions.pull_request_branch(PULL_REQUEST) == "main"
    assert actions.pull_request_author(PULL_REQUEST) == "ada-l"
    bot = changed(PULL_REQUEST, ("pull_request", "user", "login"), "renovate[bot]")
    assert actions.pull_request_author(bot) == "renovate[bot]"


def test_every_event_names_the_default_branch() -> None:
    assert actions.default_branch(TRUNK) == "trunk"


def test_event_of_a_comment_names_its_node() -> None:
    assert actions.comment_node(COMMENT) == "IC_kwDOabc123="


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("action",), "edited"),
        (("action",), "deleted"),
        (("action",), None),
        (("issue",), {"title": "an issue, not a pull request"}),
        (("issue", "pull_request"), None),
    ],
)
def test_only_a_new_comment_on_a_pull_request_counts(path: tuple[str, ...], value: Any) -> None:
    assert actions.comment_node(changed(COMMENT, path, value)) is None


def test_event_of_a_finished_run_names_the_commit_and_its_branch() -> None:
    assert actions.previewed(FINISHED) == (SHA, "new/job")


@pytest.mark.parametrize("event", ["push", "workflow_dispatch", "pull_request_target", None, 7])
def test_only_runs_on_pull_requests_are_previewed(event: Any) -> None:
    assert actions.previewed(changed(FINISHED, ("workflow_run", "event"), event)) is None


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    ("read", "event", "path"),
    [
        (actions.pull_request_head, PULL_REQUEST, ("pull_request", "head", "sha")),
        (actions.pull_request_head, PULL_REQUEST, ("pull_request", "head")),
        (actions.pull_request_branch, PULL_REQUEST, ("pull_request", "base", "ref")),
        (actions.pull_request_author, PULL_REQUEST, ("pull_request", "user", "login")),
        (actions.pull_request_author, PULL_REQUEST, ("pull_request",)),
        (actions.default_branch, TRUNK, ("repository", "default_branch")),
        (actions.comment_node, COMMENT, ("comment", "node_id")),
        (actions.comment_node, COMMENT, ("comment",)),
        (actions.previewed, FINISHED, ("workflow_run", "head_sha")),
        (actions.previewed, FINISHED, ("workflow_run",)),
    ],
)
def test_odd_values_are_no_values(read: Any, event: Any, path: tuple[str, ...], odd: Any) -> None:
    assert read(changed(event, path, odd)) is None


@pytest.mark.parametrize("odd", [*ODD, "a:b", "a~1", "é\\"])
def test_branch_that_git_would_not_take_is_none(odd: Any) -> None:
    assert actions.previewed(changed(FINISHED, ("workflow_run", "head_branch"), odd)) is None
