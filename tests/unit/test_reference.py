"""The tables of what a branch may ask are made from the code; `make golden` rewrites them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dtp_action.adapters import shells
from dtp_action.core import (
    catalog,
    cluster_settings,
    directives,
    documents,
    lint,
    remarks,
    scripts,
    secrets,
)
from dtp_action.core.documents import Field
from dtp_action.core.model import Directives
from dtp_action.core.scripts import File

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def default(field: Field, value: Any) -> str:
    if value in (None, "", (), {}) or value is False:
        return "–"
    if isinstance(value, cluster_settings.Caps):
        return "below"
    return f"`{field.write(value)}`"


def fields(keys: Mapping[str, Field], defaults: object) -> str:
    rows = [
        (
            f"`{key}`",
            one.form,
            default(one, getattr(defaults, documents.attribute(key, one), None)),
            one.meaning,
        )
        for key, one in keys.items()
    ]
    return table("key | form | default | meaning", rows)


def directive_keys() -> str:
    row = catalog.Row(protocol="x")
    rows = []
    for key, one in directives.KEYS.items():
        attribute = documents.attribute(key, one)
        own = default(one, getattr(Directives(), attribute))
        shown = f"row ({default(one, getattr(row, attribute))})" if key in catalog.FIELDS else own
        word = {"resume": "`no`", "kind": "`run`", "manifest": "`none`"}.get(key, shown)
        rows.append((f"`{key}`", one.form, word, one.meaning))
    return table("key | form | default | meaning", rows)


def secret_rules() -> str:
    return table("code | finds", ((f"`secret-{one.name}`", one.what) for one in secrets.RULES))


def remark_rules() -> str:
    rows = []
    for one in remarks.RULES:
        shown = ["<br>".join(f"`{line}`" for line in text.split("\n"))
                 for text in (one.fires, one.silent)]  # fmt: skip
        rows.append((f"`{one.code}`", one.severity.value, one.about, *shown))
    return table("code | severity | about | remarked on | left alone", escaped(rows))


def lint_kinds() -> str:
    rows = [(", ".join(f"`SC{code}`" for code in kind.codes), kind.message) for kind in lint.KINDS]
    words = ", ".join(f"`SC{code}`" for code in lint.BASHISMS)
    rows.append((words, "sh does not know what only bash has: the shebang is to name bash"))
    return table("ShellCheck's code | told as", rows)


def escaped(rows: Iterable[Iterable[str]]) -> Iterable[Iterable[str]]:
    return ([cell.replace("|", "\\|") for cell in row] for row in rows)


MADE: dict[tuple[str, str], Callable[[], str]] = {
    ("directives.md", "directives.KEYS"): directive_keys,
    ("directives.md", "secrets.RULES"): secret_rules,
    ("checks.md", "remarks.RULES"): remark_rules,
    ("checks.md", "lint.KINDS"): lint_kinds,
    ("catalog.md", "catalog.FIELDS"): lambda: fields(catalog.FIELDS, catalog.Row(protocol="x")),
    ("cluster-settings.md", "cluster_settings.FIELDS"): lambda: fields(
        cluster_settings.FIELDS, cluster_settings.ClusterSettings(claim="", runner_image="")
    ),
    ("cluster-settings.md", "cluster_settings.CAPS"): lambda: fields(
        cluster_settings.CAPS, cluster_settings.Caps()
    ),
}


@pytest.mark.parametrize(("page", "source"), MADE)
def test_a_table_says_what_the_code_does(page: str, source: str) -> None:
    path = DOCS / page
    text = path.read_text()
    block = re.compile(rf"(<!-- made from {re.escape(source)} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert block.search(text), f"{page} has no block made from {source}"
    made = MADE[page, source]()
    wanted = block.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text)
    if os.environ.get("DTP_REFRESH_GOLDEN"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "run `make golden` and review the diff"


def example(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_examples_of_the_pages_are_read_without_a_word() -> None:
    assert directives.parse(example("directives.md", "sh"), "p")[1] == ()
    site = catalog.parse(example("catalog.md", "yaml"), "x", base=catalog.builtin())
    assert site.row("irods") is not None
    assert site.row("aspera") is None
    assert cluster_settings.parse(example("cluster-settings.md", "yaml"), "x").grants


# One script, or path, for each code. The credential is put together here.
WRONG = {
    "dtp-aws": (0o120000, b""),
    "genome.sh": (0o100644, b"echo"),
    "notes.txt": (0o100644, b"hello"),
    "dtp-aws/a b.sh": (0o100644, b"echo"),
    "dtp-aws/link.sh": (0o120000, b""),
    "dtp-irods/a.sh": (0o100644, b"#!/bin/sh\necho\n"),
    "dtp-rclone/image.sh": (0o100644, b"#!/bin/sh\necho\n"),
    "dtp-aws/empty.sh": (0o100644, b""),
    "dtp-aws/large.sh": (0o100644, b"#" * 300_000),
    "dtp-aws/encoding.sh": (0o100644, b"\xff\0"),
    "dtp-aws/bom.sh": (0o100644, b"\xef\xbb\xbf#!/bin/perl\r\n"),
    "dtp-aws/unseen.sh": (0o100644, b"#!/bin/sh\necho \x1b\n"),
    "dtp-aws/syntax.sh": (0o100644, b"fi\n"),
    "dtp-aws/directives.sh": (
        0o100644,
        b"#!/bin/sh\n#dtp x\n#DTP x x=1 cpu=x cpu=9999 time=1m time=1m secret=x\n"
        b"cd /root\n#DTP cpu=2\nX_PASSWORD=" + b"l0velace" + b"\n",
    ),
    "dtp-aws/one.sh": (0o100644, b"#!/bin/sh\necho\n"),
    "dtp-aws/two.sh": (0o100644, b"#!/bin/sh\necho\n"),
    "dtp-aws/bare.sh": (0o100644, b"#!/bin/sh\ncat list notes.txt list.txt\n"),
    "dtp-aws/notes.txt": (0o100644, b"hello"),
    "dtp-aws/bare.d/list.txt": (0o100644, b"a\r\n"),
    "dtp-aws/bare.d/link": (0o120000, b""),
    "dtp-aws/absent.sh": (0o100644, b'#!/bin/sh\ncat "$DTP_FILES/list.txt"\n'),
    "dtp-aws/orphan.d/list.txt": (0o100644, b"a\n"),
    "dtp-aws/caps.sh": (0o100644, b"#!/bin/sh\n#DTP cpu=9999 secret=x\necho\n"),
}


def test_the_codes_of_the_page_are_those_that_findings_have() -> None:
    settings = cluster_settings.parse(
        "version: 1\nclaim: x\nrunnerImage: x.example.org/x:1\nimages: [docker.io/amazon/]\n", "x"
    )
    files = [
        File(path=f"dtp-jobs/{path}", mode=mode, blob="b" * 40, content=content)
        for path, (mode, content) in WRONG.items()
    ]
    found = scripts.discover(files, commit="", catalog=catalog.builtin(), settings=settings)
    found = scripts.reject(found, shells.syntax_findings(found))
    severities = {(one.code, one.severity.value) for one in scripts.findings(found)}
    severities -= {(f"secret-{rule.name}", "error") for rule in secrets.RULES}
    severities -= {(rule.code, rule.severity.value) for rule in remarks.RULES}
    page = (DOCS / "directives.md").read_text()
    told = set(re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|", page, re.MULTILINE))
    assert severities == told - {("syntax-unchecked", "warning")}
