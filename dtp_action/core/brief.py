"""Shortens what a cluster says, so that the cause is kept: it stands at the end.

Messages of clusters are nested: what was tried, with which image, again and again, and why it
failed comes last. Knows nothing of what the words mean.
"""

from __future__ import annotations

import re

DIGEST = re.compile(r"(sha(?:256|512):[0-9a-f]{12})[0-9a-f]{20,}")
LONG = re.compile(r"[^\s\"'`]{16,}")  # what takes room, and is known once it was said
FILLING = re.compile(r"\s*(?:[\"'`]…[\"'`]|(?<!\S)…(?=[\s:;,.)]|$))")  # in place of such a word
GAP = " … "


def once(text: str) -> str:
    """Return a line with digests of 12 digits, in which nothing long is said a second time."""
    said = ""

    def first(word: re.Match[str]) -> str:
        nonlocal said
        whole = word[0]
        bare = whole.rstrip(":;,.)")
        again, said = bare in said, f"{said} {bare}"
        return "…" + whole[len(bare) :] if again else whole

    told = FILLING.sub("", LONG.sub(first, DIGEST.sub(r"\1", text)))
    return re.sub(r"(?:: ?)+(?=:)", "", told)


def within(text: str, most: int) -> str:
    """Return a line of at most so many characters: its beginning, and more of its end."""
    if len(text) <= most:
        return text
    room = most - len(GAP)
    end = room * 3 // 5
    return f"{_whole(text[: room - end + 1])}{GAP}{_whole(text[-end - 1 :][::-1])[::-1]}"


def _whole(text: str) -> str:
    """Return a text without its last character, and without the word that this cuts."""
    kept, _, word = text[:-1].rpartition(" ")
    return text[:-1].rstrip() if text[-1] == " " or not kept or len(word) > len(kept) else kept
