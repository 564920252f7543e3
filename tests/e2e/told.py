"""The table at the end of a test run: what was told of each case, and how long it took."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in _properties(report)
        if key == "told" and report.when == "call"
    ]
    if not rows:
        return
    terminalreporter.section("what was told, and how many seconds after it was so")
    for case, phase, reason, seconds in sorted(rows, key=str):
        after = "" if seconds is None else f"{seconds:.1f}"
        terminalreporter.write_line(f"{case:<58.58} {phase:<9} {after:>6}  {reason:.90}")


def _properties(report: Any) -> list[tuple[str, Any]]:
    return getattr(report, "user_properties", [])
