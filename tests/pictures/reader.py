"""Reads Markdown as GitHub does: its own parser, then what its site makes of the text it finds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]

COMMENT = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_HARDBREAKS  # HTML is cleaned afterwards
FILE = Options.CMARK_OPT_UNSAFE
VOID = {"br", "hr", "img", "wbr", "input"}

# What GitHub links or draws in text that is no code, besides what its parser does.
LINKED = {
    "a mention": r"(?<![\w`])@[a-z0-9]",
    "an issue": r"(?:^|[^\w#&])(?:[\w.-]+/[\w.-]+)?#\d|\bgh-\d",
    "a commit": r"\b[0-9a-f]{7,40}\b",
    "an address": r"\w+://\w|\bwww\.\w|\w@\w",
    "an emoji": r":[\w+-]+:",
    "a formula": r"\$\S[^$]*\$",
    "an advisory": r"\b(?:cve-\d|ghsa-\w)",
}


@dataclass(kw_only=True)
class Page:
    """What a browser gets: elements by name, comments, and text in code and elsewhere."""

    tags: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # text that is neither code nor a link
    unclosed: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text that is neither code nor a link."""
        return "".join(self.words)

    def linked(self) -> dict[str, str]:
        """Return what GitHub would link or draw that is not written as a link."""
        return {
            what: match[0]
            for piece in self.words
            for what, pattern in LINKED.items()
            if (match := re.search(pattern, piece, re.IGNORECASE))
        }


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags[tag] += 1
        if tag == "a":
            self.page.links.append(dict(attrs).get("href") or "")
        if tag in ("td", "th"):
            self.page.cells.append("")
        if tag in ("code", "pre") and not {"code", "pre"} & {*self.open}:
            self.page.code.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in VOID:
            self.page.unclosed.append(tag)

    def handle_comment(self, data: str) -> None:
        self.page.comments.append(data)

    def handle_data(self, data: str) -> None:
        within = {*self.open}
        if within & {"td", "th"}:
            self.page.cells[-1] += data
        if within & {"code", "pre"}:
            self.page.code[-1] += data
        elif "a" not in within:
            self.page.words.append(data)


def to_html(markdown: str, options: int = COMMENT) -> str:
    """Return what GitHub's parser makes of Markdown."""
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options))


def read(markdown: str, options: int = COMMENT) -> Page:
    """Return Markdown as a reader on GitHub gets it."""
    parser = _Parser()
    parser.feed(to_html(markdown, options))
    parser.close()
    parser.page.unclosed += parser.open
    return parser.page
