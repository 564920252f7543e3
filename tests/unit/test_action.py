"""The Action, the workflows and the example callers agree with the command line and each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from dtp_action import __version__, cli

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEP = ACTION["runs"]["steps"][-1]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
EXAMPLES = sorted((ROOT / "docs/examples").glob("*/*.yml"))
OURS = re.compile(r"\./\.dtp-requests$|scidas/dtp-requests@")
COMMANDS = (
    "dispatch", "plan", "status", "logs", "files", "retry", "cancel", "preview", "admit", "answer",
    "doctor", "images",
)  # fmt: skip
# What is no option: what becomes argv, and whether there is a first step.
ARGV, SETUP = {"command", "directory"}, "setup-uv"
# Options that the Action leaves out: of a person at a terminal, or of the embedded cluster.
AT_HOME = {
    "all", "cluster", "dry-run", "follow", "format", "github-repository", "rename-source",
    "rewritten",
}  # fmt: skip

every_file = pytest.mark.parametrize(
    "path", [*FILES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT))
)


@cache
def workflow(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text()))


def triggers(path: Path) -> dict[str, Any]:
    return dict(workflow(path)[True])  # to YAML 1.1, `on` is true


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job.get("steps", ())


def variable(name: str) -> str:
    return "DTP_" + name.upper().replace("-", "_")


def options() -> dict[str, str]:
    """Return the variable of each option or argument that the Action's commands read."""
    found = {}
    for command in COMMANDS:
        for one in cli.dtp.commands[command].params:
            named = one.name if isinstance(one, click.Argument) else one.opts[0].lstrip("-")
            if isinstance(one.envvar, str):
                found[str(named)] = one.envvar
    return {"job" if variable == "DTP_JOB" else name: variable for name, variable in found.items()}


# --- the Action ----------------------------------------------------------------------------------


def test_every_input_reaches_dtp_as_its_variable() -> None:
    passed = {key: value for key, value in STEP["env"].items() if key.startswith("DTP_")}
    wanted = {variable(name): f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]}
    del wanted[variable(SETUP)]
    assert passed == wanted


def test_every_input_is_an_option_of_dtp_and_every_option_an_input() -> None:
    inputs = {name: variable(name) for name in ACTION["inputs"]}
    taken = {name: variable for name, variable in options().items() if name not in AT_HOME}
    assert taken == {k: v for k, v in inputs.items() if k not in ARGV | {SETUP}}


def test_inputs_and_outputs_say_what_they_are_for() -> None:
    for one in [*ACTION["inputs"].values(), *ACTION["outputs"].values()]:
        assert one["description"]


def test_every_output_is_the_steps_own() -> None:
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.{STEP['id']}.outputs.{name} }}}}"


def test_dtp_starts_with_one_stream_for_all_it_says_and_fetches_nothing() -> None:
    first, last = STEP["run"].strip().splitlines()
    assert first == "exec 2>&1"
    assert last == '"$PYTHON" -P -m dtp_action -C "$DTP_DIRECTORY" "$DTP_COMMAND"'


def test_the_steps_before_it_know_no_secret() -> None:
    for step in ACTION["runs"]["steps"][:-1]:
        known = str({key: value for key, value in step.items() if key != "if"})
        assert not re.search(r"inputs\.|secrets\.|token", known)


def test_an_action_starts_without_building_anything(tmp_path: Path) -> None:
    program, trace = traced(tmp_path)
    elsewhere = tmp_path / "requests" / "dtp_action"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("raise SystemExit('a file of the checkout was run')\n")
    (elsewhere.parent / "dtp-jobs").mkdir()

    for step in ACTION["runs"]["steps"][1:]:
        ran = carried_out(step, program, cwd=elsewhere.parent)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert not trace.exists()

    assert "0 scripts" in ran.stdout


def traced(folder: Path) -> tuple[Path, Path]:
    """Return the program with a build backend that leaves a trace and builds nothing, and where."""
    program, trace = folder / "program", folder / "built"
    shutil.copytree(ROOT / "dtp_action", program / "dtp_action")
    shutil.copy(ROOT / "uv.lock", program)
    project = (ROOT / "pyproject.toml").read_text()
    own = '[build-system]\nrequires = []\nbuild-backend = "traced"\nbackend-path = ["."]\n'
    project = re.sub(r"\[build-system\]\n(.+\n)+", own, project, count=1)
    (program / "pyproject.toml").write_text(project)
    (program / "traced.py").write_text(f"open({str(trace)!r}, 'w')\n")
    return program, trace


def carried_out(step: dict[str, Any], program: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a step of the Action by hand, its command being `check`; a Python is not fetched."""
    known = {"github.action_path": str(program), "runner.temp": str(cwd / "temp")}
    known |= {"inputs.command": "check", "inputs.directory": "."}
    given = {
        name: re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: known.get(match[1], ""), value)
        for name, value in step["env"].items()
    }
    uv = Path(shutil.which("uv") or ROOT / ".uv/bin/uv").parent
    ours = {"PATH": f"{uv}:{os.environ['PATH']}", "UV_PYTHON": sys.executable}
    ours |= {"GITHUB_ACTION_PATH": str(program), "GITHUB_ACTIONS": "false"}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=cwd, env=os.environ | ours | given, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_program_knows_its_version_without_being_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__


# --- what runs beside a secret -------------------------------------------------------------------

FETCHES = r"(?:uv|uvx|pip3?|npm|npx|pipx|go|cargo|curl|wget)\b"
LOCKED = re.compile(  # the forms in which a package may come
    r"uv sync --locked --no-dev --no-install-project --no-build(?: .*)?"
    r"|uv build --build-constraints \.github/build\.txt --require-hashes"
    r"|uv version --short"  # fetches nothing
)


def commands(script: str) -> Iterator[str]:
    """Yield each command of a script that may fetch or build a package."""
    for line in script.splitlines():
        for match in re.finditer(rf"(?:^|[\s(;&|]|/bin/)({FETCHES}[^;&|)#]*)", line):
            yield match[1].strip(' "')


def keeps_secret(job: dict[str, Any]) -> bool:
    """Tell whether a job has a secret, or a token that may write."""
    return "secrets." in str(job) or "write" in str(job.get("permissions"))


@every_file
def test_a_job_with_a_secret_runs_nothing_but_what_is_locked_by_hash(path: Path) -> None:
    for job in workflow(path)["jobs"].values():
        if keeps_secret(job):
            scripts = [step.get("run", "") for step in job.get("steps", ())]
            unlocked = [c for one in scripts for c in commands(one) if not LOCKED.fullmatch(c)]
            assert unlocked == []


def test_the_action_too() -> None:
    scripts = [step.get("run", "") for step in ACTION["runs"]["steps"]]
    found = [command for script in scripts for command in commands(script)]
    assert len(found) == 1
    assert LOCKED.fullmatch(found[0])


def test_an_unlocked_command_would_be_found() -> None:
    bad = ("uv run --locked x.py", "a=$(uvx ruff)", "x && .venv/bin/pip install y", "uv build")
    assert [len([c for c in commands(one) if not LOCKED.fullmatch(c)]) for one in bad] == [1] * 4


def test_what_a_release_is_built_with_is_locked_by_hash() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert (ROOT / ".github/build.in").read_text().splitlines() == asked
    text = (ROOT / ".github/build.txt").read_text()
    package = re.compile(r"^[\w.-]+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", re.MULTILINE)
    assert len(package.findall(text)) == len(re.findall("==", text)) > len(asked)
    assert f"{asked[0]} " in text


# --- the workflows -------------------------------------------------------------------------------


def test_no_expression_stands_in_a_script() -> None:
    scripts = [step.get("run", "") for path in [*FILES, *EXAMPLES] for step in steps(path)]
    assert not [script for script in [*scripts, STEP["run"]] if "${{" in script]


def test_other_peoples_actions_are_pinned_to_one_commit_each_and_say_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for path in [ROOT / "action.yml", *FILES, *EXAMPLES]:
        for line in path.read_text().splitlines():
            if (uses := re.search(r"\buses: (.*)", line)) and not re.search(
                r"dtp-requests|\./", line
            ):
                pin = re.fullmatch(r"([\w/-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", uses[1])
                assert pin, f"{path.name}: {line}"
                pins.setdefault(pin[1], set()).add(pin[2])
    assert {name: len(found) for name, found in pins.items()} == dict.fromkeys(pins, 1)
    assert len(pins) == 3


@every_file
def test_every_job_has_its_permissions_and_a_time_limit(path: Path) -> None:
    top = workflow(path)["permissions"]
    for job in workflow(path)["jobs"].values():
        assert job.get("permissions", top)
        assert "uses" in job or 0 < job["timeout-minutes"] <= 40


@every_file
def test_what_acts_is_off_until_it_is_enabled(path: Path) -> None:
    for job in workflow(path)["jobs"].values():
        acts = any("kubeconfig" in step.get("with", {}) for step in job.get("steps", ()))
        writes = "workflow_run" in triggers(path) and "steps" in job
        writes = writes or any("issue" in step.get("with", {}) for step in job.get("steps", ()))
        if acts or writes:
            assert job["if"].startswith("vars.DTP_ENABLED == 'true'")


@every_file
def test_who_asks_is_known_before_a_job_with_a_secret_begins(path: Path) -> None:
    """Anybody may comment, and so begin a run."""
    jobs = workflow(path)["jobs"]
    asked = {name for name, job in jobs.items() if "admit" in str(job.get("steps"))}
    for job in jobs.values() if "issue_comment" in triggers(path) else ():
        if "steps" in job and ("secrets." in str(job) or "environment" in job):
            assert {job["needs"]} <= asked
            assert job["if"].endswith(f"&& needs.{job['needs']}.outputs.admitted == 'true'")
    for name in asked:
        assert "secrets." not in str(jobs[name])
        assert "environment" not in jobs[name]
        assert "vars.DTP_RUNS_ON" not in jobs[name]["runs-on"]


@every_file
def test_a_checkout_leaves_no_credentials_behind(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@every_file
def test_pull_request_runs_get_no_secret_and_may_write_nothing(path: Path) -> None:
    if "pull_request" in triggers(path):
        assert "secrets." not in path.read_text()
        assert "write" not in str(workflow(path)["permissions"])
        assert "write" not in str(
            [job.get("permissions") for job in workflow(path)["jobs"].values()]
        )


@every_file
def test_our_action_is_given_inputs_that_it_has(path: Path) -> None:
    for step in steps(path):
        if OURS.match(step.get("uses", "")):
            assert set(step["with"]) <= set(ACTION["inputs"])
            assert (
                step["with"]["command"] in COMMANDS or "inputs.command" in step["with"]["command"]
            )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_caller_gives_what_the_called_workflow_takes_and_needs(path: Path) -> None:
    for job in workflow(path)["jobs"].values():
        if "uses" in job:
            called = ROOT / job["uses"].removeprefix("scidas/dtp-requests/").partition("@")[0]
            if job["uses"].startswith("./"):
                called = path.parent / Path(job["uses"]).name
            takes = triggers(called)["workflow_call"]
            assert set(job.get("with", {})) <= set(takes.get("inputs", {}))
            if job.get("secrets") != "inherit":
                assert set(job.get("secrets", {})) <= set(takes.get("secrets", {}))
            needed = [its["permissions"] for its in workflow(called)["jobs"].values()]
            assert job["permissions"] == {
                scope: how for one in needed for scope, how in one.items()
            }


@pytest.mark.parametrize(
    "name", ["dispatch", "schedule", "preview", "preview-comment", "command", "image-check"]
)
def test_examples_listen_to_what_the_workflow_itself_listens_to(name: str) -> None:
    own = set(triggers(ROOT / f".github/workflows/{name}.yml")) - {"workflow_call"}
    for path in EXAMPLES:
        if path.stem == name:
            assert set(triggers(path)) - {"workflow_call"} == own


@every_file
def test_what_a_push_or_a_comment_begins_is_not_disabled_with_a_schedule(path: Path) -> None:
    """GitHub disables the whole file of a schedule after 60 quiet days in a public repository."""
    on = set(triggers(path))
    if "schedule" in on and path.stem in {one.stem for one in EXAMPLES}:
        assert on <= {"schedule", "workflow_dispatch", "workflow_call"}


def test_a_manual_run_offers_what_the_command_line_has() -> None:
    for path in [*FILES, *EXAMPLES]:
        if path.stem == "dispatch":
            asked = triggers(path)["workflow_dispatch"]["inputs"]["command"]
            assert set(asked["options"]) == set(COMMANDS) - {"preview", "admit", "answer", "images"}
            assert asked["default"] == ACTION["inputs"]["command"]["default"] == "dispatch"


def test_a_requests_repository_has_no_say_in_what_the_program_is_made_of(tmp_path: Path) -> None:
    program = tmp_path / ".dtp-requests"
    program.mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, program)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "lab"\nversion = "1"\n[tool.uv.workspace]\nmembers = [".dtp-requests"]\n'
    )
    (tmp_path / "uv.toml").write_text('exclude-newer = "2001-01-01"\n')
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    ran = subprocess.run(
        [uv, "lock", "--check", "--offline", "--project", program],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr  # the lock beside it counts, and it fits
