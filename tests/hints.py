"""The commands that the program's messages name, as its source has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from dtp_action import cli
from dtp_action.core.commands import Verb

SOURCE = Path(cli.__file__).parents[1]
VERBS = "|".join(sorted({*cli.dtp.commands, *Verb}))
COMMAND = re.compile(rf"(?<![\w./-])(?:/?dtp (?:{VERBS})\b|git (?:pull|add|config)\b)")
Test = TypeVar("Test", bound=Callable[..., object])

TRIED: dict[tuple[str, str], str] = {}  # (module, message): where it is tried


def tries(module: str, *messages: str) -> Callable[[Test], Test]:
    """Mark the test that does what these messages of a module say."""

    def mark(test: Test) -> Test:
        TRIED.update({(module, message): test.__name__ for message in messages})
        return test

    return mark


def messages() -> Iterator[tuple[str, str]]:
    """Yield (module, message) for each text of the source that names a command.

    `{}` stands for what is filled in. Docstrings are for who reads the source.
    """
    for path in sorted(SOURCE.rglob("*.py")):
        for text in _texts(ast.parse(path.read_text())):
            if COMMAND.search(text):
                yield path.relative_to(SOURCE).as_posix(), text


def _texts(tree: ast.Module) -> Iterator[str]:
    skipped = set(_docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.Constant) else "{}" for one in node.values]
            skipped |= {id(one) for one in node.values}
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            yield str(node.value)


def _docstrings(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield id(first.value)
