"""How hard the property tests look, and golden files.

Properties are quick and the same each time; DTP_PROPERTIES=long digs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", derandomize=True, deadline=None, database=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("DTP_PROPERTIES", "quick"))

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Return a check of a text against a golden file, rewritten with DTP_REFRESH_GOLDEN=1."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("DTP_REFRESH_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text(), "to accept the change: make golden, then review the diff"

    return check
