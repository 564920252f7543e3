"""Shows rows on a terminal: tables, live progress, quiet lines where there is none (CI).

Draws what core.report made; knows no rule about jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dtp_action.core import images, report
from dtp_action.core.catalog import Catalog, Row
from dtp_action.core.doctor import State
from dtp_action.core.model import Observed, Phase
from dtp_action.core.quantities import print_cpu, print_memory, print_time

COLOURS = {
    Phase.WAITING: "yellow",
    Phase.RUNNING: "cyan",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.ERRORED: "magenta",
    Phase.CANCELLED: "dim",
    Phase.LOST: "bold red",
}
STATE_COLOURS = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.PROBLEM: "red",
    State.UNSEEN: "dim",
}
IMAGE_COLOURS = {images.State.CURRENT: "green", images.State.GONE: "red"}
WIDTH = 140  # where the output is no terminal

Cells = dict[str, Any]


def console(*, error: bool = False) -> Console:
    """Return a console that does not interpret what scripts and people wrote."""
    made = Console(stderr=error, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made


def table(heads: list[str], rows: list[list[str | Text]]) -> Table:
    """Return a plain table; the last column takes what room is left."""
    made = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for number, head in enumerate(heads):
        made.add_column(head, overflow="fold", no_wrap=number < len(heads) - 1)
    for row in rows:
        made.add_row(*row)
    return made


def jobs_table(rows: list[Cells], not_run: Iterable[Cells] = ()) -> Table:
    """Return the status table: a row per attempt, then one for each job that does not run."""
    heads = ["JOB", "#", "STATE", "TIME", "EXIT", "NETWORK BYTES", "REASON"]
    return table(heads, [*map(_job_cells, rows), *map(_not_run_cells, not_run)])


def _not_run_cells(row: Cells) -> list[str | Text]:
    place = f"{row['path']}:{row['line']}: " if row["line"] else ""
    fix = f"; write: {row['fix']}" if row["fix"] else ""
    state = Text(row["state"], style="red" if row["state"] == "rejected" else "yellow")
    return [row["ref"], "", state, "", "", "", f"{place}{row['reason']}{fix}"]


def _job_cells(row: Cells) -> list[str | Text]:
    phase = Phase(row["phase"])
    return [
        row["ref"],
        str(row["attempt"]),
        Text(report.state(row), style="yellow" if row["doubts"] else COLOURS[phase]),
        report.human_time(row["duration_seconds"]),
        "" if row["exit_code"] is None else str(row["exit_code"]),
        report.traffic(row),
        "; ".join(filter(None, _results(row))),
    ]


def _results(row: Cells) -> list[str]:
    """Return why a job stands where it does, what it says of itself, and what arrived."""
    return [report.told(row), row["progress"] or "", report.arrived(row), report.receipt(row)]


def actions_table(rows: list[Cells]) -> Table:
    """Return the table of `plan` and `dispatch`."""
    heads = ["JOB", "#", "ACTION", "WHY"]
    return table(
        heads, [[row["ref"], str(row["attempt"]), row["action"], row["reason"]] for row in rows]
    )


def protocols_table(rows: Catalog) -> Table:
    """Return the catalog's table."""
    heads = ["FOLDER", "CPU", "MEMORY", "DISK", "TIME", "RETRIED AFTER", "IMAGE"]
    return table(heads, [_protocol_cells(rows.rows[name]) for name in rows.protocols])


def _protocol_cells(row: Row) -> list[str | Text]:
    return [
        f"dtp-{row.protocol}",
        print_cpu(row.cpu_millis),
        print_memory(row.memory),
        print_memory(row.disk),
        print_time(row.time),
        " ".join(map(str, row.retried)),
        row.image or Text("none yet: name one in dtp-jobs/catalog.yaml", style="yellow"),
    ]


def findings_text(rows: list[Cells]) -> Text:
    """Return findings as compilers print them, with the corrected line below."""
    text = Text()
    for row in rows:
        place = f"{row['path']}:{row['line']}" if row["line"] else row["path"]
        severity = row.get("severity", "error")
        style = "red" if severity == "error" else "yellow"
        text.append(f"{place}: ")
        text.append(severity, style=style)
        text.append(f" {row['code']}: {row['message']}\n")
        if row.get("fix"):
            text.append(f"    write: {row['fix']}\n", style="green")
    text.rstrip()
    return text


def images_text(rows: list[Cells]) -> Text:
    """Return what is so with each image, with the line to write below it."""
    text = Text()
    for row in rows:
        text.append(f"{row['image']} ({', '.join(row['folders'])})\n")
        for found in row["found"]:
            colour = IMAGE_COLOURS.get(found["state"], "yellow")
            text.append("    ")
            text.append(found["state"], style=colour)
            text.append(f": {found['message']}\n")
            if found["fix"]:
                text.append(f"    write: {found['fix']}\n", style="green")
    return text


def checks_table(rows: list[Cells]) -> Table:
    """Return the lines of `doctor`, each with what to do below it."""
    return table(["", "CHECK", "FOUND"], [_check_cells(row) for row in rows])


def _check_cells(row: Cells) -> list[str | Text]:
    state = State(row["state"])
    found = Text(row["message"])
    if row["fix"]:
        found.append(f"\n→ {row['fix']}", style="green")
    return [Text(state, style=STATE_COLOURS[state]), row["check"], found]


@contextmanager
def watching() -> Iterator[Callable[[Observed], None]]:
    """Yield what shows each look: a live table on a terminal, else a line per change."""
    out = console(error=True)
    if not out.is_terminal:
        yield _changes(out)
        return
    with Live(console=out, transient=True, refresh_per_second=4) as live:
        yield lambda observed: live.update(jobs_table(report.jobs(observed)))


def _changes(out: Console) -> Callable[[Observed], None]:
    told: dict[str, str] = {}

    def watch(observed: Observed) -> None:
        for row in report.jobs(observed):
            line = ": ".join(filter(None, [report.state(row), report.told(row)]))
            if told.get(row["name"]) != line:
                told[row["name"]] = line
                out.print(f"{row['ref']} #{row['attempt']} {line}", soft_wrap=True)

    return watch
