"""The `#DTP key=value …` lines at the head of a script: what its author asks for.

Literal text: nothing is expanded. A line that was meant as a directive is never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from dtp_action.core import documents, quantities
from dtp_action.core.model import Directives, Finding, Notify


class Key(NamedTuple):
    """One directive: how it is read (ValueError says what is wrong) and its reference line."""

    attribute: str
    read: Callable[[str], Any]
    form: str
    default: str
    meaning: str
    guess: Callable[[str], str] = str.lower


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"0|[1-9][0-9]{0,5}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return read


def _word(values: dict[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in values:
            raise ValueError(f"is not {' or '.join(values)}")
        return values[text]

    return read


def _secret(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text, re.ASCII):
        raise ValueError("is not the name of a Secret: lower case letters, digits, `-` and `.`")
    return text


_YES = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}


def _amount(kind: quantities.Kind, attribute: str, form: str, default: str, meaning: str) -> Key:
    return Key(attribute, kind.parse, form, default, meaning, kind.guess)


_CPU, _MEMORY, _TIME = quantities.CPU, quantities.MEMORY, quantities.TIME
KEYS = {
    "cpu": _amount(_CPU, "cpu_millis", "`500m`, `2`", "row (1)", "CPU request"),
    "memory": _amount(
        _MEMORY, "memory", "`512Mi`, `8Gi`, `8G`", "row (2Gi)", "memory request and limit"
    ),
    "disk": _amount(_MEMORY, "disk", "as memory", "row (10Gi)", "scratch at `$TMPDIR`"),
    "time": _amount(_TIME, "time", "`90m`, `24h`, `7d`", "row (24h)", "run limit"),
    "retries": Key(
        "retries",
        _whole(0, 5),
        "0–5",
        "0",
        "run again after an exit code that the protocol's row calls transient",
    ),
    "resume": Key(
        "resume",
        _word({"yes": True, "no": False}),
        "`yes`, `no`",
        "no",
        "start again after a node was drained or lost, up to 5 times: say yes if the script can",
        lambda text: _YES.get(text.lower(), text.lower()),
    ),
    "attempt": Key(
        "attempt", _whole(1, 9999), "1, 2, …", "1", "ask for another run by pull request"
    ),
    "secret": Key(
        "secrets",
        _secret,
        "name, may repeat",
        "–",
        "a Secret that the cluster settings grant to the pull request's author",
    ),
    "notify": Key(
        "notify",
        _word({one.value: one for one in Notify}),
        "`end`, `fail`, `never`",
        "end",
        "when the author is mentioned",
    ),
}

LONGEST = 1000  # characters of a directive's line
MOST = 20  # remarks on one script: the twenty-first helps nobody
MARKED = re.compile(r"# ?DTP(?:[ \t]+(?P<body>.*))?")
# Meant as a directive: `#dtp …`, `#DTP: …`, `##DTP cpu=2`, ` # dtp  cpu=2`; not `# dtp is fine`.
NEAR = re.compile(
    r"\s*#(?:dtp\b(?!-)|[#\s]*(?:dtp(?=\s*:)|dtp\b(?=[\s:;,]*[a-z]+\s*=)|dtp(?=[a-z_]+=)))[\s:;,_]*(?P<body>.*)",
    re.IGNORECASE,
)
WORD = re.compile(r"\S+")


class _Line(NamedTuple):
    number: int
    text: str
    body: str  # what follows the mark
    exact: bool  # begins with the mark as it must be
    leading: bool  # stands before the first command


def parse(text: str, path: str) -> tuple[Directives, tuple[Finding, ...]]:
    """Read a script's directives; `path` is for the findings."""
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    findings: list[Finding] = []
    for line in _lines(text):
        if len(findings) >= MOST:
            break
        problem = _misuse(line)
        problems = [problem] if problem else list(_take(line, values, lines))
        repeated = any(code == "directive-repeated" for _, code, _ in problems)
        fix = _repair(line) if problems and not repeated else ""
        findings += [
            Finding(path=path, line=line.number, column=column, code=code, message=message, fix=fix)
            for column, code, message in problems
        ]
    return Directives(**values), tuple(findings)


class Stated(NamedTuple):
    """Where a script sets a directive: line number, the whole line, the word `key=value` in it."""

    number: int = 0
    line: str = ""
    word: str = ""


def stated(text: str, prefix: str) -> Stated:
    """Find the word that begins with `prefix` (`cpu=`) among the directives."""
    for line in _lines(text):
        for word in WORD.findall(line.body):
            if word.startswith(prefix):
                return Stated(line.number, line.text, word)
    return Stated()


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines that are, or were meant as, directives."""
    leading = True
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        leading = leading and (not line.strip() or line.lstrip().startswith("#"))
        exact = MARKED.fullmatch(line)
        near = exact or ("dtp" in line[:200].lower() and NEAR.fullmatch(line)) or None
        body = (near and near["body"]) or ""
        if near and (leading or "=" in body):
            yield _Line(number, line, body, exact is not None, leading)


_Problem = tuple[int, str, str]  # column, code, message


def _misuse(line: _Line) -> _Problem | None:
    """Return what is wrong with a line as a whole."""
    if len(line.text) > LONGEST:
        return 1, "directive-form", f"is longer than {LONGEST} characters"
    if not line.leading:
        return 1, "directive-misplaced", "stands after the first command; move it to the top"
    if not line.exact:
        return 1, "directive-mark", "looks like a directive, but the mark is `#DTP` and a space"
    if not line.body.strip():
        return 1, "directive-form", f"`#DTP` without key=value; known are {', '.join(KEYS)}"
    return None


def _take(line: _Line, values: dict[str, Any], lines: dict[str, int]) -> Iterator[_Problem]:
    """Put the settings of one line into `values`; yield what is wrong with it."""
    start = len(line.text) - len(line.body)
    for match in WORD.finditer(line.body):
        column = start + match.start() + 1
        name, equals, value = match[0].partition("=")
        if not equals:
            yield column, "directive-form", f"`{match[0][:60]}` is not key=value"
        elif name not in KEYS:
            near = documents.closest(name, KEYS)
            yield column, "directive-unknown", f"`{name[:60]}` is no directive{near}"
        elif name in lines and name != "secret":
            yield column, "directive-repeated", f"`{name}` is set on line {lines[name]} already"
        else:
            lines[name] = line.number
            try:
                _set(values, KEYS[name], value)
            except ValueError as error:
                yield column, "directive-value", f"`{name}={value[:60]}`: the value {error}"


def _set(values: dict[str, Any], key: Key, text: str) -> None:
    value = key.read(text)
    if key.attribute == "secrets":
        values["secrets"] = tuple(dict.fromkeys((*values.get("secrets", ()), value)))
    else:
        values[key.attribute] = value


def _repair(line: _Line) -> str:
    """Return the line as it was probably meant, or '' where that cannot be told."""
    if len(line.text) > LONGEST:
        return ""
    plain = re.sub(r"\s*[=:]\s*", "=", re.sub(r"[\"'`]", "", line.body))
    words = [_repair_word(word) for word in re.split(r"[\s,;]+", plain.strip()) if word]
    fixed = f"#DTP {' '.join(words)}" if words and all(words) else ""
    return fixed if fixed != line.text or not line.leading else ""


def _repair_word(word: str) -> str:
    name, _, value = word.partition("=")
    key = name if name in KEYS else _near_key(name)
    if not key:
        return ""
    for candidate in (value, KEYS[key].guess(value)):
        try:
            KEYS[key].read(candidate)
        except ValueError:
            continue
        return f"{key}={candidate}"
    return ""


def _near_key(name: str) -> str:
    found = re.search(r"did you mean `(\w+)`", documents.closest(name, KEYS))
    return found[1] if found else ""
