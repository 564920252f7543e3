"""Tell what to change once images were published: the catalog's rows and the chart's values.

    python images/pin.py PUBLISHED [--write]

PUBLISHED is what publish.sh wrote: JSON, name → reference with digest. What protocols.yaml says of
those images becomes a patch of the catalog and values of the chart, as Markdown on standard output;
`--write` changes the catalog as well. Rows are edited as text: comments stay, nothing else moves.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

HERE = Path(__file__).parent
CATALOG = HERE.parent / "dtp_action" / "catalog.yaml"
REFERENCE = re.compile(r"[a-z0-9./:_-]+:[\w.-]+@sha256:[0-9a-f]{64}")
VALUE = "value"  # the key of protocols.yaml that names a value of the chart


class Pin(NamedTuple):
    """One line of the catalog to be: `KEY: IMAGE` in the row of PROTOCOL."""

    protocol: str
    key: str
    image: str


def uses() -> dict[str, dict[str, list[str] | str]]:
    """Return what protocols.yaml says: by image, rows by key or a value of the chart."""
    return dict(yaml.safe_load((HERE / "protocols.yaml").read_text()))


def pins(published: Mapping[str, str]) -> Iterator[Pin]:
    """Yield the lines that these images change; ValueError where a reference has no digest."""
    known = uses()
    for name, image in sorted(published.items()):
        if not REFERENCE.fullmatch(image):
            raise ValueError(f"{name}: {image!r} is no reference with tag and digest")
        for key, rows in known[name].items():
            if key != VALUE:
                yield from (Pin(protocol, key, image) for protocol in rows)


def values(published: Mapping[str, str]) -> dict[str, str]:
    """Return the chart's values that these images change, by their dotted name."""
    known = uses()
    named = {name: known[name].get(VALUE) for name in published}
    return {str(value): published[name] for name, value in named.items() if value}


def pinned(catalog: str, pin: Pin) -> str:
    """Return the catalog's text with one line changed or added; ValueError without that row."""
    row = re.search(rf"^  {re.escape(pin.protocol)}:\n(?:(?:    .*)?\n)*", catalog, re.MULTILINE)
    if row is None:
        raise ValueError(f"the catalog has no row {pin.protocol}")
    line = f"    {pin.key}: {pin.image}\n"
    changed, found = re.subn(rf"^    {pin.key}:.*\n", line, row[0], flags=re.MULTILINE)
    if not found:
        before = "image" if "\n    image:" in row[0] else "doc"
        changed = re.sub(rf"^    {before}:.*\n", rf"\g<0>{line}", row[0], flags=re.MULTILINE)
    return catalog[: row.start()] + changed + catalog[row.end() :]


def patch(before: str, after: str) -> str:
    """Return a patch that `git apply` takes."""
    name = "dtp_action/catalog.yaml"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(lines)


def summary(published: Mapping[str, str], before: str, after: str) -> str:
    """Return the Markdown: what was published, and what to change because of it."""
    rows = "".join(f"| {name} | `{image}` |\n" for name, image in sorted(published.items()))
    chart = "".join(f"{name}: {image}\n" for name, image in sorted(values(published).items()))
    return (
        f"| image | published as |\n|---|---|\n{rows}\n"
        f"The catalog, for `git apply`:\n\n```diff\n{patch(before, after)}```\n\n"
        f"Values of the chart:\n\n```\n{chart}```\n"
    )


def main() -> None:
    """Read the arguments and what was published, and tell."""
    parser = argparse.ArgumentParser(description="pin what was published")
    parser.add_argument("published", type=Path)
    parser.add_argument("--write", action="store_true", help="change the catalog as well")
    options = parser.parse_args()
    published = json.loads(options.published.read_text())
    before = after = CATALOG.read_text()
    for pin in pins(published):
        after = pinned(after, pin)
    sys.stdout.write(summary(published, before, after))
    if options.write:
        CATALOG.write_text(after)


if __name__ == "__main__":
    main()
