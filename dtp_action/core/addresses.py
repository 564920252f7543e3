"""Takes the names of machines and stores out of text that anybody may read.

A cluster's own words name what its network has: in a public repository these are for nobody. By the
shapes in which tools write them, since no list of the names is at hand: better one word too many.
"""

from __future__ import annotations

import re

HIDDEN = "…"
_REST = r"""(?:[^\s"'`,;)}\]>]*[^\s"'`,;)}\]>:.])?"""  # of an address, up to its sentence's end
_NAME = r"[a-z0-9_](?:[\w-]*[a-z0-9_])?"  # one part of a host name
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_NUMBERED = rf"(?=[\w.]*[\d-]){_DOTTED}"  # nas01, worker-3, storage.two-b: no word of a sentence

# What programs say before the name of a host.
CONNECTED = (
    "connect to",
    "connecting to",
    "connected to",
    "connect to host",
    "resolving",
    "resolve host",
    "resolve host:",
    "resolve hostname",
    "resolve hostname:",
)
# What counts in a sentence as an address, and how it is written.
SHAPES = {
    "URL": rf"\b[a-z][a-z0-9+.-]*://{_REST}",
    "UNC path": rf"\\\\+[\w.$-]+{_REST}|(?<![\w:/])//[a-z0-9_][\w.-]*{_REST}",
    "IPv4": rf"(?<![\w.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![\w.]*\.\d)(?:[:@/]{_REST})?",
    "IPv6": r"(?<![\w:])\[?(?:(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}"
    rf"|[0-9a-f]{{0,4}}(?::[0-9a-f]{{1,4}})*::[0-9a-f:]*)(?:%\w+)?(?:\][:/]{_REST}|\]|(?![\w:]))",
    "user@host, host@network": rf"(?<![\w./-])[\w.+-]+@(?!sha256:){_DOTTED}(?::{_REST})?",
    "hosts:/path, host:path/": r"(?<![\w./-])(?:[\w.-]+(?::\d+)?,)*"
    rf"[a-z0-9_][\w.-]*(?::\d+)?:(?:/|[\w.$-]+/){_REST}",
    "host:port": rf"(?<![\w./:-])(?:[\w.-]+(?::\d+)?,)*(?=[\w.-]*[a-z]){_DOTTED}:\d{{2,5}}"
    r"(?!\w|[.:-]\w)",
    "name of three parts": rf"(?<![\w./-])(?:{_NAME}\.){{2,}}[a-z][a-z0-9-]*(?::?/{_REST})?",
    "name of two in a private or common domain": rf"(?<![\w./-]){_NAME}\.(?:local|lan|internal"
    r"|intranet|localdomain|private|corp|home|lab|edu|org|com|net|gov)(?![\w.-]*\w)"
    rf"(?::?/{_REST})?",
    "after a word that announces it": r"(?<=\bnode )(?<=\bon node )[\w.-]*\w"
    rf"|(?<=\blookup ){_DOTTED}"
    + "".join(
        rf"|(?<=\b{word})(?:{_NUMBERED}|(?<=[\"'=]){_DOTTED})"
        for noun in ("node", "nodes", "host", "hostname", "server", "machine", "peer", "kubelet")
        for word in (f"{noun} ", f'{noun} "', f"{noun} '", f"{noun}=", f"{noun}: ")
    ),
    "after what is done to a host": "".join(
        rf"{'|' * bool(at)}(?<=\b{words} )(?!(?:the|an?|host|server|it|this|port)\b){_DOTTED}"
        for at, words in enumerate(CONNECTED)
    ),
    "numbered, after a preposition": "".join(
        rf"{'|' * bool(at)}(?<=\b{word} )(?=[\w-]*[a-z])(?=[\w-]*\d)[a-z][\w-]*(?![\w./=:-]*[\w/=])"
        for at, word in enumerate(("on", "from", "at", "to", "via"))
    ),
}
_ADDRESS = re.compile("|".join(f"(?:{shape})" for shape in SHAPES.values()), re.IGNORECASE)


def hide(text: str) -> str:
    """Return text without addresses, and without what is written at them."""
    return _ADDRESS.sub(HIDDEN, text)
