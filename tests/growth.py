"""How the time of something grows with its input, measured side by side: no machine is too slow.

A text that is eight times as long may take eight times as long, and as much again for noise. What
looks at each part again for each other part takes sixty-four times as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SMALL, TIMES = 4_000, 8
MOST = 4 * TIMES
LEAST = 0.0005  # seconds: what is shorter cannot be told from noise


def assert_linear(run: Callable[[int], object]) -> None:
    """Fail where `run`, given a size, takes out of proportion longer for a larger one."""
    small = max(LEAST, min(_seconds(run, SMALL) for _ in range(3)))
    large = _seconds(run, SMALL * TIMES)
    if large >= MOST * small:  # once more: something else may have been in the way
        large = min(large, _seconds(run, SMALL * TIMES))
    assert large < MOST * small, f"{TIMES} times the text took {large / small:.0f} times as long"


def filled(piece: str, size: int) -> str:
    """Return so many characters of a piece that is repeated."""
    return piece * (size // len(piece))


def _seconds(run: Callable[[int], object], size: int) -> float:
    before = time.process_time()
    run(size)
    return time.process_time() - before
