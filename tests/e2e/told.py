"""The tables at the end of a test run: what was told of each case, and what faults came to."""

from __future__ import annotations

from typing import Any

import pytest

COUNTED = ("requests", "runs", "faults", "doubles", "lost", "mistold", "hung", "no cause")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _faults(terminalreporter, _noted(terminalreporter, "faults"))
    rows = _noted(terminalreporter, "told")
    if not rows:
        return
    terminalreporter.section("what was told, and how many seconds after it was so")
    for case, phase, reason, seconds in sorted(rows, key=str):
        after = "" if seconds is None else f"{seconds:.1f}"
        terminalreporter.write_line(f"{case:<58.58} {phase:<9} {after:>6}  {reason:.90}")


def _faults(terminalreporter: pytest.TerminalReporter, rows: list[Any]) -> None:
    if not rows:
        return
    terminalreporter.section("faults, and what came of them")
    terminalreporter.write_line(f"{'':<44}" + "".join(f"{name:>10}" for name in COUNTED))
    for scene, *counts in sorted(rows):
        counted = "".join(f"{count:>10,}" for count in counts)
        terminalreporter.write_line(f"{scene:<44.44}{counted}")


def _noted(terminalreporter: pytest.TerminalReporter, name: str) -> list[Any]:
    """Return what tests noted under a name."""
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in _properties(report)
        if key == name and report.when == "call"
    ]


def _properties(report: Any) -> list[tuple[str, Any]]:
    return getattr(report, "user_properties", [])
