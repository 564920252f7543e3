"""Renders how jobs stand as the Markdown of a pull request's comment. A view: nothing is read back.

Whatever a script or a person wrote is data: it can neither leave its cell or fence, nor mention
anybody, nor pass for the comment's own marker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dtp_action.core import report
from dtp_action.core.model import Phase

LIMIT = 65_536  # characters, GitHub's own
ICONS = {
    Phase.WAITING: "⏳",
    Phase.RUNNING: "🔄",
    Phase.SUCCEEDED: "✅",
    Phase.FAILED: "❌",
    Phase.ERRORED: "⚠️",
    Phase.CANCELLED: "🚫",
    Phase.LOST: "❓",
}
NEXT = {
    Phase.FAILED: "correct the script: the changed one runs by itself",
    Phase.ERRORED: "ask the cluster's admin, then run it again: `dtp retry {ref}`",
    Phase.CANCELLED: "to run it again: `dtp retry {ref}`",
    Phase.LOST: "look in `{directory}`, then run it again: `dtp retry {ref}`",
}


def render(rows: list[dict[str, Any]], tails: Mapping[str, str], *, as_of: str) -> str:
    """Return the comment: verdict, a row per job, what to do next, folded ends of logs.

    `tails` are by the attempt's name. Over the limit the longest tails go first, never a row.
    """
    head = "\n".join(
        [f"**{report.verdict(rows)}** · as of {as_of}", "", *_table(rows), *_next(rows)]
    )
    folded = {row["name"]: _tail(row, tails[row["name"]]) for row in rows if tails.get(row["name"])}
    while folded and len(head) + sum(len(text) + 1 for text in folded.values()) > LIMIT:
        del folded[max(folded, key=lambda name: len(folded[name]))]
    return "\n".join([head, *folded.values()])


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| job | state | |", "|---|---|---|"]
    for row in rows:
        phase = Phase(row["phase"])
        told = [report.told(row), report.traffic(row), report.human_time(row["duration_seconds"])]
        attempt = f" #{row['attempt']}" if row["attempt"] > 1 else ""
        state = f"{ICONS[phase]} {report.SHOWN[phase]}"
        detail = " · ".join(plain(text) for text in told if text)
        lines.append(f"| `{row['ref']}`{attempt} | {state} | {detail} |")
    return lines


def _next(rows: list[dict[str, Any]]) -> list[str]:
    """Return what to do about each job that needs somebody, and where its files lie."""
    lines = []
    for row in rows:
        if words := NEXT.get(Phase(row["phase"])):
            directory = f"/workspace/dtp-jobs/{row['ref']}"
            lines.append(f"- `{row['ref']}`: {words.format(ref=row['ref'], directory=directory)}")
    return ["", "**Next**", *lines, ""] if lines else [""]


def _tail(row: dict[str, Any], text: str) -> str:
    summary = f"<summary>end of the log of <code>{row['ref']}</code></summary>"
    return f"<details>{summary}\n\n{fenced(text)}\n\n</details>"


def fenced(text: str) -> str:
    """Return text as a code block that it cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def plain(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line, mentioning nobody."""
    shown = " ".join(text.split())
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", shown)
    return re.sub(r"(@|#|://)", "\\1\u200b", shown)
