"""Which of ShellCheck's remarks are passed on, and in which words.

Those that lose data, or say what never works. The choice is a table; the rest of what
ShellCheck says is style, or the author's to decide. Knows nothing of how ShellCheck is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dtp_action.core import remarks
from dtp_action.core.directives import LONGEST, MOST
from dtp_action.core.model import Finding, Severity

UNCHECKED = "lint-unchecked"


class Comment(NamedTuple):
    """What ShellCheck says of one place. `inserts` is its correction, where that only inserts."""

    line: int
    column: int
    code: int
    inserts: tuple[tuple[int, str], ...] = ()  # column and text


class Kind(NamedTuple):
    """Codes that are told in one sentence, a script that has one, and one that has none."""

    codes: tuple[int, ...]
    message: str
    fires: str
    silent: str


# What only bash knows, by ShellCheck's code.
BASHISMS = {
    2039: "what only bash has",
    2112: "`function`",
    2113: "`function`",
    3001: "`<(…)`",
    3002: "`@(…)`",
    3003: "`$'…'`",
    3005: "`for ((…))`",
    3006: "`((…))`",
    3008: "`select`",
    3009: "`{1..9}`",
    3010: "`[[ … ]]`",
    3011: "`<<<`",
    3014: "`==`",
    3015: "`=~`",
    3018: "`++`",
    3020: "`&>`",
    3021: "`>&`",
    3024: "`+=`",
    3028: "a variable of bash",
    3029: "`|&`",
    3030: "an array",
    3034: "`$(<…)`",
    3035: "`` `<…` ``",
    3040: "an option of `set`",
    3044: "a command of bash",
    3046: "`source`",
    3047: "`trap … ERR`",
    3051: "`source`",
    3053: "`${!…}`",
    3054: "an array",
    3055: "`${!…[@]}`",
    3056: "`${!…*}`",
    3057: "`${…:1:2}`",
    3059: "`${…^^}`",
    3060: "`${…/a/b}`",
}
KINDS = (
    Kind(
        (2164,),
        "if this `cd` fails, the rest runs in the wrong directory",
        "cd run-7\nrm -f part.*",
        "cd run-7 || exit\nrm -f part.*",
    ),
    Kind(
        (2115, 2114),
        "this may delete a whole system directory if the variable is empty: write `${name:?}`",
        'dir=$(cat dir.txt)\nrm -rf "$dir/"*',
        'dir=$(cat dir.txt)\nrm -rf "${dir:?}/"*',
    ),
    Kind(
        (2154,),
        "this variable is never set, so it is empty: set it in the script",
        'rclone copy "lab:$run" .',
        'run=run-7\nrclone copy "lab:$run" .',
    ),
    Kind(
        (1007, 1066, 1068, 2281, 2282, 2283),
        "this does not set a variable: write `name=value`, without `$` or spaces",
        "run = run-7",
        "run=run-7; rclone copy lab:$run .",
    ),
    Kind(
        (1035, 1020, 1014),
        "`[` needs a space on both sides to be a condition",
        "if [-f list.txt ]; then cat list.txt; fi",
        "if [ -f list.txt ]; then cat list.txt; fi",
    ),
    Kind(
        (1101, 2215),
        "the line before is not continued: no space may follow its `\\`",
        "rclone copy lab:run-7 .\n  --checksum",
        "rclone copy lab:run-7 . \\\n  --checksum",
    ),
    Kind(
        (2095,),
        "this command reads the loop's input, so the loop's other lines are lost",
        "while read -r run; do\n  ssh lab ls\n  echo $run\ndone <list.txt",
        "while read -r run; do\n  ssh -n lab ls\n  echo $run\ndone <list.txt",
    ),
    Kind(
        (2094,),
        "this reads and writes the same file at once, which empties it",
        "sort list.txt | uniq >list.txt",
        "sort -u list.txt >sorted.txt",
    ),
    Kind(
        (2069,),
        "errors do not go into the file: write `>file 2>&1`",
        "rclone copy lab:run-7 . 2>&1 >copy.log",
        "rclone copy lab:run-7 . >copy.log 2>&1",
    ),
    Kind(
        (2216, 2217, 2259, 2260, 2261, 2327),
        "this pipe or redirection has no effect: the command does not read its input",
        "find . -name '*.part' | rm",
        "find . -name '*.part' -exec rm {} +",
    ),
    Kind(
        (2088,),
        "`~` in quotes is not expanded: write `$HOME`",
        'cat "~/list.txt"',
        'cat "$HOME/list.txt"',
    ),
    Kind(
        (2089, 2090),
        "quotes inside a variable do not group words: use an array, or write the words out",
        "options=\"--include '*.fa'\"\nrclone copy lab:a . $options",
        "options=(--include '*.fa')\nrclone copy lab:a . \"${options[@]}\"",
    ),
    Kind(
        (2041, 2042, 2066, 2258),
        "this loop runs only once: separate the words with spaces, without quotes or commas",
        "for run in a, b; do rclone copy lab:$run .; done",
        "for run in a b; do rclone copy lab:$run .; done",
    ),
    Kind(
        (2050, 2078, 2193),
        "this condition is always the same: a `$` may be missing",
        "if [ run = run-7 ]; then rclone copy lab:run-7 .; fi",
        'run=$(cat run.txt)\nif [ "$run" = run-7 ]; then rclone copy lab:run-7 .; fi',
    ),
    Kind(
        (2319, 2320),
        "`$?` is no longer the transfer's exit code here: keep it in a variable first",
        'rclone copy lab:run-7 .\necho copied\nexit "$?"',
        'rclone copy lab:run-7 . || exit "$?"',
    ),
    Kind(
        (2091,),
        "`$(…)` around a command runs what it prints: write the command alone",
        "if $(test -f list.txt); then cat list.txt; fi",
        "if test -f list.txt; then cat list.txt; fi",
    ),
    Kind(
        (2093,),
        "nothing after `exec` runs: remove `exec`",
        "exec rclone copy lab:a .\nrclone copy lab:b .",
        "rclone copy lab:a .\nrclone copy lab:b .",
    ),
    Kind(
        (2218,),
        "this function is defined further down: define it before it is called",
        "get\nget() { rclone copy lab:a .; }",
        "get() { rclone copy lab:a .; }\nget",
    ),
)
_KIND = {code: kind for kind in KINDS for code in kind.codes}
CODES = (*sorted(_KIND), *BASHISMS)


def findings(path: str, text: str, comments: Iterable[Comment]) -> Iterator[Finding]:
    """Yield what is passed on of ShellCheck's comments on one script. It rejects nothing."""
    bashisms: list[Comment] = []
    told: dict[tuple[int, Kind], Finding] = {}
    for one in sorted(comments):
        kind = _KIND.get(one.code)
        if one.code in BASHISMS:
            bashisms.append(one)
        elif kind and (one.line, kind) not in told and len(told) < MOST:
            message = f"{kind.message} (SC{one.code})"
            told[one.line, kind] = _warning(path, one, message, _corrected(text, one))
    yield from told.values()
    if bashisms:
        yield _for_bash(path, text, bashisms)


def unchecked(path: str, reason: str) -> Finding:
    """Return that nothing was asked, and why."""
    message = f"not checked with ShellCheck, which finds bash words under sh, and `cd`: {reason}"
    return Finding(path=path, code=UNCHECKED, severity=Severity.WARNING, message=message)


def _for_bash(path: str, text: str, found: list[Comment]) -> Finding:
    """Tell of all that only bash knows at once: one line mends it."""
    first = text.split("\n", 1)[0]
    program = remarks.interpreter(first) if first.startswith("#!") else None
    fix = " ".join(["#!/bin/bash", *(program[1] if program else [])])
    where = {BASHISMS[one.code]: one for one in reversed(found)}
    places = sorted((one.line, what) for what, one in where.items())[:5]
    uses = ", ".join(f"{what} (line {line})" for line, what in places)
    message = f"sh does not know {uses}: begin the script with the shebang of bash"
    return _warning(
        path, found[0]._replace(line=1, column=1), f"{message} (SC{found[0].code})", fix
    )


def _warning(path: str, one: Comment, message: str, fix: str) -> Finding:
    return Finding(
        path=path, line=one.line, column=one.column, code=f"SC{one.code}",
        severity=Severity.WARNING, message=message, fix=fix,
    )  # fmt: skip


def _corrected(text: str, one: Comment) -> str:
    """Return the line with ShellCheck's own correction."""
    line = text.split("\n")[one.line - 1] if one.inserts else ""
    for column, more in sorted(one.inserts, reverse=True):
        line = line[: column - 1] + more + line[column - 1 :]
    return line if len(line) <= LONGEST and not re.search(r"\\$", line) else ""
