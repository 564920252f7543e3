"""Where the minutes of a test run went: a table at its end, by file, and how long workers idled."""

from __future__ import annotations

import time
from collections import defaultdict

import pytest

SHOWN = 15
PHASES = ("setup", "call", "teardown")

begun = time.monotonic()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not config.getoption("durations"):
        return
    spent: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(PHASES, 0.0))
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent[report.nodeid.partition("::")[0]][report.when] += report.duration
    workers = int(config.getoption("numprocesses", 0) or 1)
    wall, busy = time.monotonic() - begun, sum(sum(one.values()) for one in spent.values())
    terminalreporter.section("where the minutes went")
    terminalreporter.write_line(
        f"{workers} workers, {wall:.0f} s: {busy:.0f} s in tests,"
        f" {max(0.0, 1 - busy / (workers * wall)):.0%} of the workers' time outside of them"
    )
    longest = sorted(spent.items(), key=lambda item: -sum(item[1].values()))[:SHOWN]
    terminalreporter.write_line(f"{'file':<44}" + "".join(f"{phase:>10}" for phase in PHASES))
    for file, by_phase in longest:
        seconds = "".join(f"{by_phase[phase]:>10.1f}" for phase in PHASES)
        terminalreporter.write_line(f"{file:<44}{seconds}")
