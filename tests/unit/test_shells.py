from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtp_action.adapters import shells
from dtp_action.core import catalog, scripts
from dtp_action.core.model import Desired, Ref, Severity
from dtp_action.core.scripts import File


def desired(**contents: bytes) -> Desired:
    files = [
        File(path=f"dtp-jobs/dtp-aws/{name}.sh", mode=0o100644, blob="b", content=content)
        for name, content in contents.items()
    ]
    return scripts.discover(files, commit="", catalog=catalog.builtin(), settings=None)


def told(content: bytes) -> list[tuple[int, Severity, str]]:
    found = shells.syntax_findings(desired(a=content))
    assert {one.path for one in found} <= {"dtp-jobs/dtp-aws/a.sh"}
    return [(one.line, one.severity, one.fix) for one in found]


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\nif true; then echo; fi\n",
        b"#!/bin/bash\na=(1 2)\n[[ $a == 1 ]] && cat <<< x\n",
        b"#!/bin/bash\nshopt -s extglob\nls !(a|b)\n",
        b"echo without a shebang",
        b"#!/bin/sh\nunknown_command --flag\n",
    ],
)
def test_a_well_formed_script_is_not_remarked_on(content: bytes) -> None:
    assert told(content) == []


@pytest.mark.parametrize("shebang", [b"#!/bin/sh", b"#!/bin/bash"])
@pytest.mark.parametrize(
    ("body", "line"),
    [(b"if true\nfi\n", 3), (b"echo 'open\n", None), (b"( echo\n", None), (b"done\n", 2)],
)
def test_a_syntax_error_is_told_with_its_line(
    shebang: bytes, body: bytes, line: int | None
) -> None:
    ((at, severity, _),) = told(shebang + b"\n" + body)
    assert severity is Severity.ERROR
    assert at == line or (line is None and at >= 2)


def test_a_here_document_without_its_end_is_a_warning() -> None:
    ((_, severity, _),) = told(b"#!/bin/bash\ncat <<END\nx\n")
    assert severity is Severity.WARNING


def test_a_script_that_is_rejected_for_another_reason_is_checked_all_the_same() -> None:
    found = desired(a=b"#!/bin/sh\n#dtp cpu=2\nfi\n")
    after = scripts.reject(found, shells.syntax_findings(found))
    assert [one.code for one in scripts.findings(after)] == ["directive-mark", "syntax"]


def test_bytes_that_are_no_plain_text_are_not_shown_to_a_shell() -> None:
    assert told(b"#!/bin/sh\r\nfi\r\n") == told(b"#!/bin/sh\nfi\0\n") == []


def test_each_finding_is_about_its_own_script() -> None:
    found = desired(
        good=b"#!/bin/sh\necho\n", bad=b"#!/bin/sh\n\n\nfi\n", worse=b"#!/bin/bash\n}\n"
    )
    after = scripts.reject(found, shells.syntax_findings(found))
    assert after.wanted[Ref("aws", "good")].script is not None
    assert after.wanted[Ref("aws", "bad")].script is None
    assert [(one.path, one.line) for one in scripts.findings(after)] == [
        ("dtp-jobs/dtp-aws/bad.sh", 4),
        ("dtp-jobs/dtp-aws/worse.sh", 2),
    ]


def test_nothing_of_a_script_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    attempts = (
        f"set +n\ntouch {witness}\nx=$(touch {witness})\n"
        f": `touch {witness}` $((a[$(touch {witness})]))\n"
        f"trap 'touch {witness}' EXIT\neval 'touch {witness}'\n"
    )
    for shebang in ("#!/bin/sh", "#!/bin/bash", "#!/bin/bash -e"):
        shells.syntax_findings(desired(a=f"{shebang}\n{attempts}".encode()))
    assert not witness.exists()


def test_the_callers_environment_runs_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness, startup = tmp_path / "ran", tmp_path / "startup"
    startup.write_text(f"touch {witness}\n")
    for variable in ("BASH_ENV", "ENV"):
        monkeypatch.setenv(variable, str(startup))
    monkeypatch.setenv("BASH_FUNC_echo%%", f"() {{ touch {witness}; }}")
    assert told(b"#!/bin/bash\necho\n") == told(b"#!/bin/sh\necho\n") == []
    assert not witness.exists()


def fake_shell(folder: Path, name: str, body: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_a_script_for_sh_that_only_bash_takes_is_told_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_shell(tmp_path, "sh", "echo 'sh: 2: Syntax error: \"(\" unexpected' >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (finding,) = shells.syntax_findings(desired(a=b"#!/bin/sh\na=(1 2)\n"))
    assert (finding.line, finding.fix) == (2, "#!/bin/bash")
    assert finding.message == 'syntax error: "(" unexpected; bash would take it'


def test_a_script_for_sh_is_judged_by_sh_alone_where_there_is_no_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_shell(tmp_path, "sh", "echo 'sh: 2: Syntax error' >&2; exit 2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(b"#!/bin/sh\nfi\n") == [(2, Severity.ERROR, "")]


def test_a_missing_shell_is_one_warning_and_rejects_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = desired(a=b"#!/bin/bash\nfi\n", b=b"#!/bin/bash\nfi\n", c=b"#!/bin/sh\nfi\n")
    findings = shells.syntax_findings(found)
    assert [(one.path, one.message) for one in findings] == [
        ("dtp-jobs", "the syntax was not checked: bash is not installed here"),
        ("dtp-jobs", "the syntax was not checked: sh is not installed here"),
    ]
    assert all(one.script for one in scripts.reject(found, findings).wanted.values())


def test_a_shell_that_hangs_is_a_warning_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_shell(tmp_path, "bash", "exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shells, "TIMEOUT", 0.1)
    (finding,) = shells.syntax_findings(desired(a=b"#!/bin/bash\necho\n"))
    assert (finding.code, finding.severity) == ("syntax-unchecked", Severity.WARNING)


def test_a_shell_that_dies_of_a_script_is_an_error_without_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_shell(tmp_path, "bash", "kill -9 $$")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert told(b"#!/bin/bash\necho\n") == [(0, Severity.ERROR, "")]


def test_many_scripts_are_checked_side_by_side() -> None:
    body = b"for x in a b; do\n  aws s3 cp s3://b/$x .\ndone\n" * 10
    many = desired(**{f"j{i}": (b"#!/bin/bash\n", b"#!/bin/sh\n")[i % 2] + body for i in range(40)})
    assert shells.syntax_findings(many) == []
