"""The measure of growth itself: it tells one kind from the other."""

from __future__ import annotations

import pytest

from tests.growth import assert_linear


def test_what_grows_with_its_input_passes() -> None:
    assert_linear(lambda size: sum(range(size * 30)))


def test_what_grows_with_its_square_does_not() -> None:
    with pytest.raises(AssertionError, match="times as long"):
        assert_linear(lambda size: sum(range(size * size // 200)))
