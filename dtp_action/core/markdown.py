"""GitHub's Markdown out of other people's text: what was written is shown, and does nothing.

Knows GitHub's parser and what GitHub and its runner make of plain text afterwards (links, mentions,
emoji, commands); knows nothing of jobs. Every function returns Markdown that may be put together.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from urllib.parse import quote

GAP = "\u200b"  # has no width: GitHub links nothing across it, and a line may break there

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*)")
_RUNNER = re.compile(r"#(?=#\[)|^[^\S\n]*:(?=:)", re.MULTILINE)  # ##[command], ::command::
_LINKED = re.compile(  # what GitHub makes more of, up to where a gap prevents it
    r"[@#]|:(?=//|:|[\w+-]{1,60}:)|www(?=\.)|(?:gh|cve|ghsa)-(?=\w)", re.IGNORECASE
)
_COMMIT = re.compile(r"\b[0-9a-f]{7,}\b", re.IGNORECASE)
_LONG = re.compile(r"\S{25,}")  # would push a table over a phone's edge, but for
_BREAK = re.compile(r".{8,20}?(?<=[^A-Za-z0-9])(?=.)|.{20}(?=.)")
_OPENING = re.compile(r"^(\d{0,9})([-+=:.)])")  # a list, a heading's or a table's underline
_SHOWN = str.maketrans(
    {char: f"\\{char}" for char in "\\`*_[]~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "<span>$</span>"}
)


def inert(text: str) -> str:
    """Return text without what does not print, and with nothing that GitHub's runner obeys."""
    visible = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    if not visible.isprintable():
        visible = "".join(map(_printed, visible))
    return _RUNNER.sub(_gapped, visible)


def _printed(char: str) -> str:
    return char if char.isprintable() or char in "\n\t" else " " * char.isspace()


def _gapped(match: re.Match[str]) -> str:
    return match[0] + GAP


def plain(text: str) -> str:
    """Return text as it stands, on one line."""
    line = " ".join(inert(text).split())
    line = _LINKED.sub(_gapped, line)
    line = _LONG.sub(lambda word: _BREAK.sub(_gapped, word[0]), line)
    line = _COMMIT.sub(lambda word: GAP.join(re.findall(".{1,6}", word[0])), line)
    return _OPENING.sub(r"\1\\\2", line.translate(_SHOWN))


def prose(text: str) -> str:
    """Return a sentence of ours about other people's text: what stands in backticks is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # the last one is not closed
        pieces[-2:] = ["`".join(pieces[-2:])]
    shown = (name(one) if n % 2 else _spaced(one) for n, one in enumerate(pieces))
    return re.sub(" +", " ", "".join(shown)).strip()


def _spaced(text: str) -> str:
    """Return plain text that keeps the spaces around it."""
    return f"{' ' * text[:1].isspace()}{plain(text)}{' ' * text[-1:].isspace()}"


def code(text: str) -> str:
    """Return text as code within a line; as plain text where code may not hold it everywhere."""
    line = " ".join(inert(text).split())
    return f"`{line}`" if line and not re.search(r"[`|]", line) else plain(line)


def name(text: str) -> str:
    """Return a name or a path as code that may break in a cell, which is else as wide as it."""
    if not _LONG.search(text) or not re.fullmatch(r"[\w/.=# -]+", text, re.ASCII):
        return code(text)
    return "<code>" + _BREAK.sub(r"\g<0><wbr>", text).replace("_", "&#95;") + "</code>"


def fenced(text: str) -> str:
    """Return text as a block of code that it cannot end."""
    shown = re.sub("`{99}", _gapped, inert(text).strip("\n"))  # a parser counts to 255
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}text\n{shown}\n{fence}"


def link(shown: str, url: str) -> str:
    """Return a link around Markdown of ours; without an address, the Markdown alone."""
    if not re.match("https?://", url):
        return shown
    return f"[{shown}]({quote(url, safe=':/?#=%@+,~', errors='replace')})"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    names = list(heads)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(title: str, about: str, body: str) -> str:
    """Return Markdown that is unfolded by its title; `about`, if any, is shown there as code."""
    named = f" <code>{html.escape(' '.join(inert(about).split()))}</code>" if about else ""
    return f"<details><summary>{html.escape(title)}{named}</summary>\n\n{body}\n\n</details>"
