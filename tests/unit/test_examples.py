"""The examples are what researchers copy: `dtp check` has nothing to say of any."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtp_action.adapters import lint, shells
from dtp_action.core import catalog, scripts

JOBS = Path(__file__).parents[2] / "dtp-jobs"
EXAMPLES = sorted(JOBS.glob("dtp-*/*.sh.example"))
IMAGE = "{image: example.org/x:1, serviceImage: example.org/x:1}"
IMAGES = ", ".join(f"{name}: {IMAGE}" for name in catalog.builtin().protocols)
HAVE_IMAGES = catalog.parse(
    f"version: 1\nprotocols: {{{IMAGES}}}\n", "images for all", base=catalog.builtin()
)


def a_file(path: str, source: Path) -> scripts.File:
    return scripts.File(path=path, mode=0o100644, blob="0" * 40, content=source.read_bytes())


def beside(path: str, example: Path) -> list[scripts.File]:
    """Return the files of an example as they are when they are copied with it."""
    folder = example.with_name(example.name.replace(".sh.example", ".d.example"))
    names = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return [a_file(f"{path.removesuffix('.sh')}.d/{name}", folder / name) for name in names]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_nothing_is_said_of_an_example_as_it_stands(example: Path) -> None:
    path = f"dtp-jobs/{example.parent.name}/{example.name.removesuffix('.example')}"
    files = [a_file(path, example), *beside(path, example)]
    desired = scripts.discover(files, commit="", catalog=HAVE_IMAGES, settings=None)
    more = (*shells.syntax_findings(desired), *lint.findings(desired))
    desired = scripts.reject(desired, more)
    assert scripts.findings(desired) == ()
    assert all(one.script for one in desired.wanted.values())
    assert desired.wanted


def test_every_protocol_has_an_example_and_a_line_for_researchers() -> None:
    protocols = {f"dtp-{name}" for name in catalog.builtin().protocols}
    assert {path.parent.name for path in EXAMPLES} == protocols
    page = (JOBS / "README.md").read_text()
    assert all(f"({path.relative_to(JOBS)})" in page for path in EXAMPLES)


def test_examples_never_run() -> None:
    names = [str(path.relative_to(JOBS.parent)) for path in JOBS.rglob("*") if path.is_file()]
    files = [scripts.File(path=name, mode=0o100644, blob="0" * 40, content=b"x") for name in names]
    found = scripts.discover(files, commit="", catalog=HAVE_IMAGES, settings=None)
    assert not found.wanted
    assert not found.findings
