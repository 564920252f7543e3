"""How hard the property tests look, and golden files.

Properties are quick and the same each time; `make test` looks harder (DTP_PROPERTIES=full), and
DTP_PROPERTIES=long digs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

quick = settings(derandomize=True, deadline=None, database=None)
settings.register_profile("quick", quick, max_examples=10)
settings.register_profile("full", quick, max_examples=100)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("DTP_PROPERTIES", "quick"))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def as_yaml(manifest: dict[str, Any]) -> str:
    """Return a manifest to be read and compared."""
    return str(yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=100))


GOLDEN = Path(__file__).parent / "golden"
Golden = Callable[[str, str], None]  # name of the file, its text


@pytest.fixture
def golden() -> Golden:
    """Return a check of a text against a golden file, rewritten with DTP_REFRESH_GOLDEN=1."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("DTP_REFRESH_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text(), "to accept the change: make golden, then review the diff"

    return check
