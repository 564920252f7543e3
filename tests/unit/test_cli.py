"""The command line as people and scripts meet it: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtp_action import cli

DTP = Path(sys.executable).with_name("dtp")


def dtp(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DTP, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in {
        "dtp-local/good": "#!/bin/sh\necho hello\nexit 7\n",
        "dtp-local/bad": "#!/bin/sh\n#DTP memry=1Gi\n",
    }.items():
        path = tmp_path / "dtp-jobs" / f"{name}.sh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_check_says_where_and_how_and_ends_with_1(repository: Path) -> None:
    told = dtp("check", cwd=repository)
    assert told.returncode == 1
    assert "dtp-jobs/dtp-local/bad.sh:2: error" in told.stdout
    assert "write: #DTP memory=1Gi" in told.stdout


def test_the_list_of_commands_fits_a_terminal_and_no_sentence_is_cut(repository: Path) -> None:
    lines = dtp("--help", cwd=repository).stdout.splitlines()
    listed = lines[lines.index("Researchers:") :]
    assert [line for line in listed if len(line) > 80 or line.endswith("...")] == []
    assert all(line.endswith((".", ":", "")) for line in listed)
    assert len([line for line in listed if line.startswith("  ")]) == len(cli.dtp.commands)


def test_check_as_json_is_one_versioned_document(repository: Path) -> None:
    document = json.loads(dtp("check", "--format", "json", cwd=repository).stdout)
    assert document["version"] == 1
    (finding,) = document["findings"]
    assert finding["path"] == "dtp-jobs/dtp-local/bad.sh"
    assert set(finding) == {"path", "line", "column", "code", "severity", "message", "fix"}


def test_run_on_this_machine_keeps_output_exit_code_and_log(repository: Path) -> None:
    script, workspace = "dtp-jobs/dtp-local/good.sh", str(repository / "workspace")
    ended = dtp("run", "--host", script, "--workspace", workspace, cwd=repository)
    assert ended.returncode == 7
    assert "\nhello\n" in ended.stdout
    assert "heartbeat" not in ended.stdout
    assert ended.stdout.endswith("exit 7\n")
    log = repository / "workspace" / "dtp-jobs" / "dtp-local" / "good" / "good.log"
    assert "\nhello\n" in log.read_text()


def test_run_on_this_machine_gives_the_files_beside_the_script(repository: Path) -> None:
    script = repository / "dtp-jobs" / "dtp-local" / "beside.sh"
    script.write_text('#!/bin/sh\ncat "$DTP_FILES/more/list.txt"\n')
    (script.parent / "beside.d" / "more").mkdir(parents=True)
    (script.parent / "beside.d" / "more" / "list.txt").write_text("SRR1\n")
    workspace = str(repository / "workspace")
    ended = dtp("run", "--host", str(script), "--workspace", workspace, cwd=repository)
    assert "\nSRR1\n" in ended.stdout
    assert ended.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["status", "no-job"], ["render", "dtp-jobs/dtp-local/bad.sh"], ["dispatch"]],
)
def test_what_cannot_be_understood_ends_with_2_and_says_so_on_stderr(
    repository: Path, arguments: list[str]
) -> None:
    told = dtp(*arguments, cwd=repository)
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr
