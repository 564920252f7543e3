from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import quantities

KINDS = (quantities.CPU, quantities.MEMORY, quantities.TIME)


@given(st.sampled_from(KINDS), st.integers(min_value=1, max_value=999), st.data())
def test_what_is_written_is_read_back_as_the_same_amount(
    kind: quantities.Kind, number: int, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(sorted(kind.units)))
    amount = kind.parse(f"{number}{unit}")
    assert amount == number * kind.units[unit]
    assert kind.parse(kind.write(amount)) == amount


@given(st.sampled_from(KINDS), st.text(max_size=20))
def test_any_text_is_an_amount_or_a_value_error(kind: quantities.Kind, text: str) -> None:
    with contextlib.suppress(ValueError):
        assert kind.parse(text) > 0
    assert kind.guess(text) == "" or kind.parse(kind.guess(text)) > 0


@pytest.mark.parametrize(
    ("amount", "written"),
    [(500, "500m"), (2000, "2"), (1500, "1500m"), (1, "1m")],
)
def test_cpu_is_printed_as_kubernetes_writes_it(amount: int, written: str) -> None:
    assert quantities.print_cpu(amount) == written


@pytest.mark.parametrize(
    ("amount", "written"),
    [(8 * 2**30, "8Gi"), (8 * 10**9, "8G"), (512 * 2**20, "512Mi"), (12345, "12345")],
)
def test_memory_is_printed_with_the_unit_that_makes_it_short(amount: int, written: str) -> None:
    assert quantities.print_memory(amount) == written


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("24h", 86400), ("7d", 604800), ("30s", 30)]
)
def test_times_have_a_unit(text: str, seconds: int) -> None:
    assert quantities.TIME.parse(text) == seconds


@pytest.mark.parametrize(("seconds", "written"), [(172_800, "2d"), (3600, "1h"), (5400, "90m")])
def test_times_are_printed_in_their_largest_whole_unit(seconds: int, written: str) -> None:
    assert quantities.print_time(seconds) == written


@pytest.mark.parametrize("text", ["", "8", "0Gi", "-1Gi", "1.5Gi", "8GB", "8 Gi", "٣Gi", "Gi"])
def test_a_size_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r" is not a size; write it like `512Mi`, `8Gi` or `8G`$"):
        quantities.MEMORY.parse(text)


def test_an_absurd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a size"):
        quantities.MEMORY.parse("999999999999Ti")


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        (quantities.MEMORY, "8GB", "8G"),
        (quantities.MEMORY, "8gib", "8Gi"),
        (quantities.MEMORY, "08 Mi", "8Mi"),
        (quantities.TIME, "90 min", "90m"),
        (quantities.TIME, "2hours", "2h"),
        (quantities.TIME, "soon", ""),
        (quantities.CPU, "1.5", "1500m"),
        (quantities.CPU, "4 cores", "4"),
        (quantities.MEMORY, "1.5GiB", "1536Mi"),
        (quantities.MEMORY, "64", ""),
        (quantities.TIME, "1.5h", "90m"),
        (quantities.TIME, "48:00:00", "2d"),
        (quantities.TIME, "2-00:00:00", "2d"),
        (quantities.TIME, "1-12", "36h"),
        (quantities.TIME, "00:00:30", "30s"),
        (quantities.TIME, "02:30", ""),  # minutes and seconds to one system, hours to another
        (quantities.TIME, "2months", ""),
        (quantities.TIME, "0:00:00", ""),
    ],
)
def test_a_near_miss_is_understood(kind: quantities.Kind, text: str, meant: str) -> None:
    assert kind.guess(text) == meant
