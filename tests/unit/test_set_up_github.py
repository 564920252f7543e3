"""The page for maintainers says what the workflows and the program have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "set-up-github.md").read_text()
WORKFLOWS = ("dispatch", "preview", "preview-comment", "command", "image-check")


def workflow(name: str) -> str:
    return (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()


def jobs_of(name: str) -> dict[str, dict[str, Any]]:
    """Return a workflow's jobs, by the name that the page has for each."""
    jobs = yaml.safe_load(workflow(name))["jobs"]
    return {name if len(jobs) == 1 else f"{name}: {job}": jobs[job] for job in jobs}


JOBS = {shown: job for name in WORKFLOWS for shown, job in jobs_of(name).items()}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@cache
def said() -> tuple[str, ...]:
    """Return all texts of the program, with `…` where a value stands."""
    sources = sorted((ROOT / "dtp_action").rglob("*.py"))
    return tuple(text for path in sources for text in texts(ast.parse(path.read_text())))


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…"  # type: ignore[misc]
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("name", JOBS)
def test_page_names_the_permissions_and_who_has_the_secret(name: str) -> None:
    (row,) = [row for row in rows("What runs when, and with which permissions") if row[0] == name]
    permissions = dict(re.findall(r"`([\w-]+): (\w+)`", row[3]))
    assert permissions == JOBS[name]["permissions"]
    assert (row[2] == "yes") == ("kubeconfig" in str(JOBS[name]["steps"]))


@pytest.mark.parametrize("name", JOBS)
def test_page_says_what_each_permission_is_for(name: str) -> None:
    for permission, level in JOBS[name]["permissions"].items():
        assert f"- `{permission}: {level}` – " in PAGE


def test_page_names_what_the_workflows_read() -> None:
    text = "\n".join(map(workflow, WORKFLOWS))
    for name in re.findall(r"\bvars\.(\w+)", text):
        assert f"`{name}`" in PAGE
    assert JOBS["dispatch"]["environment"]["name"].endswith("'dtp' }}")
    assert "`dtp`" in PAGE


def test_off_switch_is_where_the_page_says() -> None:
    assert {name for name, job in JOBS.items() if "vars.DTP_ENABLED" not in job.get("if", "")} == {
        "preview"
    }
    told = "*dispatch*, *command*, *preview-comment* and *image-check* skip themselves"
    assert told in " ".join(PAGE.split())


@pytest.mark.parametrize(
    "quoted",
    [
        quoted
        for row in rows("When something is wrong")
        for quoted in re.findall(r"`([^`]+)`", row[0])
        if " " in quoted
    ],
)
def test_message_is_quoted_as_it_is_said(quoted: str) -> None:
    parts = [part.strip() for part in quoted.split("…")]
    assert any(all(part in text for part in parts) for text in said())
