"""Characters of a text that do not show, or not where they stand, when somebody reviews it.

Knows Unicode and nothing of scripts. What is unassigned in this Python's Unicode data shows as a
box and is let through: what is refused must not depend on the version that looks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Controls, formats (bidi, zero width, tags), private use, surrogates, separators of lines.
KINDS = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
# What has another category and yet no shape: Unicode's Default_Ignorable_Code_Point, and a blank.
SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
SUSPECT = re.compile(r"[^\t\n\x20-\x7e]")
JOINER, TEXT, PICTURE, KEYCAP = "\u200d", "\ufe0e", "\ufe0f", "\u20e3"
CONTROLS = {  # unicodedata has no names for them
    "\0": "NULL", "\a": "BELL", "\b": "BACKSPACE", "\v": "LINE TABULATION", "\f": "FORM FEED",
    "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\x7f": "DELETE", "\x85": "NEXT LINE",
    "\x9b": "CONTROL SEQUENCE INTRODUCER",
}  # fmt: skip


def find(text: str) -> Iterator[int]:
    """Yield where such a character stands; tabs and line feeds are none."""
    for match in SUSPECT.finditer(text):
        char = match[0]
        hidden = unicodedata.category(char) in KINDS or SHAPELESS.match(char)
        if hidden and not _in_emoji(text, match.start()):
            yield match.start()


def _in_emoji(text: str, at: int) -> bool:
    """Tell whether it only chooses or joins the pictures beside it, which do show."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if char in (TEXT, PICTURE):
        return _pictured(before) or after == KEYCAP
    return char == JOINER and _pictured(after) and (_pictured(before) or before == PICTURE)


def _pictured(char: str) -> bool:
    return char > "\x7f" and unicodedata.category(char).startswith("S")


def name(char: str) -> str:
    """Return code point and name: `U+202E RIGHT-TO-LEFT OVERRIDE`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '') or _unnamed(char)}"


def _unnamed(char: str) -> str:
    kind = {"Cc": "control character", "Co": "private use character"}
    return CONTROLS.get(char) or kind.get(unicodedata.category(char), "ignorable character")


def octal(char: str) -> str:
    r"""Return its UTF-8 bytes as every shell's printf takes them: `\342\200\256`."""
    return "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogatepass"))
