"""The tables of docs/explanation/security.md: held to what was found, or made of it."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

Found = dict[str, str]  # what was tried, and what stopped it

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "security.md"
FIRST = "what is tried"


def hold(table: str, column: str, found: Found, columns: tuple[str, ...]) -> None:
    """Compare a column of a table with what was found; `columns` are all, in their order."""
    if os.environ.get("DTP_REFRESH_ATTACKS"):
        with PAGE.open("r+") as page:
            fcntl.flock(page, fcntl.LOCK_EX)  # others write other columns
            text = written(page.read(), table, column, found, columns)
            page.seek(0)
            page.truncate()
            page.write(text)
    said = {what: cells.get(column) for what, cells in read(PAGE.read_text(), table).items()}
    assert found == said, f"{PAGE} says otherwise; if it is to: make attacks, then review the diff"


def read(page: str, table: str) -> dict[str, Found]:
    """Return a table: what was tried, column, what stopped it."""
    lines = _block(table).search(page)
    assert lines, f"the page has no table {table}"
    head, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2].splitlines()
    ] or ([], [])
    return {what: dict(zip(head[1:], cells, strict=True)) for what, *cells in rows}


def written(page: str, table: str, column: str, found: Found, columns: tuple[str, ...]) -> str:
    """Return the page with this column of the table made anew."""
    old = read(page, table)
    rows = [[FIRST, *columns], ["---"] * (len(columns) + 1)]
    for what, by in found.items():
        cells = old.get(what, {}) | {column: by}
        rows.append([what, *(cells.get(one, "") for one in columns)])
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return _block(table).sub(lambda match: match[1] + lines + match[3], page)


def _block(table: str) -> re.Pattern[str]:
    mark = f"<!-- made by tests/e2e: {table} -->\n"
    return re.compile(rf"({re.escape(mark)})(.*?)(<!-- end -->)", re.DOTALL)
