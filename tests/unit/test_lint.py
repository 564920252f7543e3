from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtp_action.adapters import lint as shellcheck
from dtp_action.core import catalog, lint, scripts
from dtp_action.core.lint import Comment
from dtp_action.core.model import Desired, Finding, Severity
from dtp_action.core.scripts import File


def desired(**contents: str) -> Desired:
    files = [
        File(path=f"dtp-jobs/dtp-aws/{name}.sh", mode=0o100644, blob="b", content=text.encode())
        for name, text in contents.items()
    ]
    return scripts.discover(files, commit="", catalog=catalog.builtin(), settings=None)


BAD = "#!/bin/sh\ncd run-7\n[[ -e a ]] && rm a\n"


def stand_in(folder: Path, body: str) -> None:
    program = folder / "shellcheck"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_each_finding_is_about_its_own_script_with_the_corrected_line() -> None:
    found = shellcheck.findings(
        desired(good="#!/bin/sh\nls\n", bad=BAD, no_first_line="[[ -e a ]]\n")
    )
    assert [(Path(one.path).stem, one.line, one.code, one.fix) for one in found] == [
        ("bad", 2, "SC2164", "cd run-7 || exit"),
        ("bad", 1, "SC3010", "#!/bin/bash"),
        ("no_first_line", 1, "SC3010", "#!/bin/bash"),
    ]
    assert {one.severity for one in found} == {Severity.WARNING}


def test_all_scripts_are_asked_about_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, f"echo asked >>{tmp_path}/log; echo '{{\"comments\": []}}'")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck.findings(desired(**{f"a{i}": BAD for i in range(50)})) == []
    assert (tmp_path / "log").read_text() == "asked\n"


def test_where_it_is_not_installed_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (one,) = shellcheck.findings(desired(a=BAD, b=BAD))
    assert (one.path, one.code, one.severity) == ("dtp-jobs", lint.UNCHECKED, Severity.WARNING)
    assert one.message.endswith("it is not installed here")
    assert shellcheck.findings(desired()) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 4", "gave no answer"),  # an old one, which has not our options
        ("echo no JSON", "gave no answer"),
        ("echo '{}'", "gave no answer"),
        ("exec /bin/sleep 60", "did not answer in time"),
    ],
)
def test_an_answer_of_no_use_is_said_and_rejects_nothing(
    body: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, body)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(shellcheck, "TIMEOUT", 1)
    (one,) = shellcheck.findings(desired(a=BAD))
    assert (one.code, one.severity) == (lint.UNCHECKED, Severity.WARNING)
    assert reason in one.message


def test_scripts_in_another_language_are_not_asked_about() -> None:
    assert shellcheck.findings(desired(a="#!/usr/bin/env python3\ncd x\n")) == []


def test_all_that_only_bash_knows_is_one_finding_at_the_first_line() -> None:
    text = "#!/bin/sh -e\nfor i in {1..3}; do :; done\n[[ a ]]\n[[ b ]]\n"
    comments = [Comment(2, 10, 3009), Comment(3, 1, 3010), Comment(4, 1, 3010)]
    (one,) = lint.findings("p", text, comments)
    assert one == Finding(
        path="p",
        line=1,
        column=1,
        code="SC3009",
        severity=Severity.WARNING,
        message="sh does not know `{1..9}` (line 2), `[[ … ]]` (line 3): begin the script with the"
        " shebang of bash (SC3009)",
        fix="#!/bin/bash -e",
    )


def test_style_is_not_passed_on() -> None:
    assert list(lint.findings("p", "cp $a b\n", [Comment(1, 4, 2086)])) == []


def test_an_author_may_say_that_it_is_meant() -> None:
    meant = "#!/bin/sh\n# shellcheck disable=SC2164\ncd run-7\n"
    assert shellcheck.findings(desired(a=meant)) == []
