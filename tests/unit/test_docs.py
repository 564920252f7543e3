"""The reference pages are made from the code: what a page says and what dtp does are one.

`make golden` rewrites the blocks between `<!-- made from … -->` and `<!-- end -->`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
import yaml

from dtp_action import cli, errors
from dtp_action.core import commands as requests
from dtp_action.core import ledger, phases

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def commands() -> str:
    """Return a section per command: its usage line, what it does, its options."""
    sections = []
    for chair, listed in cli.CHAIRS.items():
        sections.append(f"## {chair}\n")
        sections += [command(str(one.name), one) for one in listed]
    return "\n".join(sections)


def command(name: str, one: click.Command) -> str:
    context = click.Context(one, info_name=f"dtp {name}")
    usage = " ".join(one.collect_usage_pieces(context))
    rows = [option(parameter) for parameter in one.params if isinstance(parameter, click.Option)]
    table = ["| option | environment | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"### dtp {name}\n", f"`dtp {name} {usage}`\n", f"{one.help}\n", *table])


def option(one: click.Option) -> str:
    value = f" {one.metavar}" if one.metavar else ""
    names = ", ".join(f"`{name}{value}`" for name in one.opts)
    return f"| {names} | {f'`{one.envvar}`' if one.envvar else ''} | {one.help} |"


def exit_codes() -> str:
    rows = [f"| {code.value} | {meaning} |" for code, meaning in errors.EXIT_MEANING.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def keys() -> str:
    rows = [
        f"| `{key}` | {where} | {kind} | {writer} | {meaning} |"
        for key, (where, kind, writer, meaning) in ledger.KEYS.items()
    ]
    head = ["| key | on | is a | written | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def refusals() -> str:
    rows = [
        f"| {code} | {phase} | {words} |" for code, (phase, words) in phases.RUNNER_REFUSALS.items()
    ]
    return "\n".join(["| code | phase | meaning |", "|---|---|---|", *rows])


def action(part: str, second: str) -> str:
    """Return the table of the Action's inputs or outputs."""
    described = yaml.safe_load((DOCS.parents[1] / "action.yml").read_text())[part]
    rows = [f"| `{name}` | {one['description']} |" for name, one in described.items()]
    return "\n".join([f"| {second} | meaning |", "|---|---|", *rows])


def forms() -> str:
    rows = [f"| `{form}` | {meaning} |" for form, meaning in requests.FORMS.values()]
    return "\n".join(["| comment | what it does |", "|---|---|", *rows])


MADE = {
    ("action.md", "action.yml inputs"): lambda: action("inputs", "input"),
    ("action.md", "action.yml outputs"): lambda: action("outputs", "output"),
    ("action.md", "commands.FORMS"): forms,
    ("commands.md", "the commands"): commands,
    ("exit-codes.md", "errors.Exit"): exit_codes,
    ("exit-codes.md", "phases.RUNNER_REFUSALS"): refusals,
    ("ledger.md", "ledger.KEYS"): keys,
}


@pytest.mark.parametrize(("page", "source"), MADE)
def test_page_says_what_the_code_does(page: str, source: str) -> None:
    path = DOCS / page
    text = path.read_text()
    block = re.compile(rf"(<!-- made from {re.escape(source)} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert block.search(text), f"{page} has no block made from {source}"
    made = MADE[page, source]().strip()
    wanted = block.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text)
    if os.environ.get("DTP_REFRESH_GOLDEN"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "run `make golden` and review the diff"


def test_every_exit_code_has_a_meaning() -> None:
    assert set(errors.EXIT_MEANING) == set(errors.Exit)
