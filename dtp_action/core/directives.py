"""The `#DTP key=value …` lines at the head of a script: what its author asks for.

Literal text: nothing is expanded. A line that was meant as a directive is never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dtp_action.core import documents
from dtp_action.core.documents import Field, amount, choice, whole
from dtp_action.core.model import Directives, Finding, Notify
from dtp_action.core.quantities import CPU, MEMORY, TIME

KINDS = {"cpu": CPU, "memory": MEMORY, "disk": MEMORY, "time": TIME}
# What may be asked for. The catalog's defaults and the cluster's caps read amounts the same way.
KEYS: Mapping[str, Field] = {
    "cpu": amount(CPU, "CPU request", "cpu_millis"),
    "memory": amount(MEMORY, "memory request and limit"),
    "disk": amount(MEMORY, "scratch at `$TMPDIR`"),
    "time": amount(TIME, "how long the script may run, from its own start"),
    "retries": Field(whole(0, 5), "0–5", "run again after a transient exit code of its tool"),
    "resume": choice(
        {"yes": True, "no": False},
        "start again after a node was drained or lost, up to 5 times: say yes if the script can",
    ),
    "attempt": Field(whole(1, 9999), "1, 2, …", "ask for another run by pull request"),
    "secret": Field(
        documents.name,
        "name, may repeat",
        "a Secret that is granted to the pull request's author",
        "secrets",
    ),
    "notify": choice({one.value: one for one in Notify}, "when the author is mentioned"),
    "kind": choice(
        {"run": False, "service": True},
        "a service goes on until its script is removed, its `time=` is over or it is cancelled",
        "service",
    ),
    "manifest": choice(
        {"sha256": True, "none": False}, "a list of the new files that `sha256sum -c` reads"
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
# What batch systems and people call the keys.
ALIASES = {"t": "time", "walltime": "time", "timelimit": "time", "timeout": "time", "h_rt": "time"}
ALIASES |= {"mem": "memory", "ram": "memory", "h_vmem": "memory", "scratch": "disk", "tmp": "disk"}
ALIASES |= {"c": "cpu", "cpus": "cpu", "ncpus": "cpu", "cores": "cpu", "cpus-per-task": "cpu"}
ALIASES |= {"retry": "retries", "secrets": "secret"}


class _Line(NamedTuple):
    number: int
    text: str
    body: str  # what follows the mark
    exact: bool  # begins with the mark as it must be
    leading: bool  # stands before the first command


def parse(text: str, path: str) -> tuple[Directives, tuple[Finding, ...]]:
    """Read a script's directives; `path` is for the findings."""
    taken: dict[str, tuple[int, Any]] = {}  # line and value, by key
    meant: dict[str, tuple[int, Any]] = {}  # the same, as if each correction had been made
    findings: list[Finding] = []
    for line in _lines(text):
        before = dict(meant)
        problems = list(_take(line, before))
        fix = _repair(line, meant) if problems and len(line.text) <= LONGEST else ""
        if fix:
            del problems[1:]  # the one corrected line says it all
            list(_take(_read(line, fix), meant))
        elif line.exact and line.leading:
            meant = before
            taken |= {key: at for key, at in before.items() if at[0] == line.number}
        findings += [
            Finding(path=path, line=line.number, column=column, code=code, message=message, fix=fix)
            for column, code, message in problems
        ]
        if len(findings) >= MOST:
            break
    values = {documents.attribute(key, KEYS[key]): value for key, (_, value) in taken.items()}
    return Directives(**values), tuple(findings)


def stated(text: str, prefix: str) -> tuple[int, str, str]:
    """Find where a directive is set: line number, line, and the word that begins with `prefix`."""
    for line in _lines(text):
        for word in WORD.findall(line.body):
            if word.startswith(prefix):
                return line.number, line.text, word
    return 0, "", ""


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines that are, or were meant as, directives."""
    leading = True
    for number, line in enumerate(text.split("\n"), 1):
        leading = leading and (not line.strip() or line.lstrip().startswith("#"))
        exact = MARKED.fullmatch(line)
        near = exact or ("dtp" in line[:200].lower() and NEAR.fullmatch(line)) or None
        body = (near and near["body"]) or ""
        if near and (leading or "=" in body):
            yield _Line(number, line, body, exact is not None, leading)


def _take(line: _Line, taken: dict[str, tuple[int, Any]]) -> Iterator[tuple[int, str, str]]:
    """Take in the settings of one line; yield column, code and message of what is wrong with it."""
    if len(line.text) > LONGEST:
        yield 1, "directive-form", f"is longer than {LONGEST} characters"
    elif not line.leading:
        yield 1, "directive-misplaced", "stands after the first command; move it to the top"
    elif not line.exact:
        yield 1, "directive-mark", "looks like a directive, but the mark is `#DTP` and a space"
    elif not line.body.strip():
        yield 1, "directive-form", f"`#DTP` without key=value; known are {', '.join(KEYS)}"
    else:
        start = len(line.text) - len(line.body) + 1
        for match in WORD.finditer(line.body):
            if match[0].startswith("#"):
                message = "no comment may stand behind directives: give it a line of its own"
                yield start + match.start(), "directive-form", message
                return
            for code, message in _set(match[0], line.number, taken):
                yield start + match.start(), code, message


def _set(word: str, number: int, taken: dict[str, tuple[int, Any]]) -> Iterator[tuple[str, str]]:
    name, equals, text = word.partition("=")
    number_before, before = taken.get(name, (0, ()))
    if not equals:
        yield "directive-form", f"`{word[:60]}` is not key=value"
    elif name not in KEYS:
        near = documents.closest(name, KEYS)
        yield "directive-unknown", f"`{name[:60]}` is no directive{near}"
    elif number_before and name != "secret":
        yield "directive-repeated", f"`{name}` is set on line {number_before} already"
    else:
        try:
            value = documents.at(name, KEYS[name].read, text)
        except ValueError as error:
            yield "directive-value", str(error)
            return
        if name == "secret":
            value = tuple(dict.fromkeys((*before, value)))
        taken[name] = number, value


def _repair(line: _Line, before: dict[str, tuple[int, Any]]) -> str:
    """Return the line as it was probably meant, or '' where that cannot be told.

    What is returned reads without a remark after the lines before it.
    """
    plain = re.sub(r"(?:^|\s)#.*", "", re.sub(r"[\"'`]", "", line.body))
    plain = re.sub(r"(?<!\S)--?([A-Za-z][\w-]*+)[ \t]++(?=[\w.])", r"\1=", plain)  # --time 2h
    plain = re.sub(r"(?<![\w=:-])(-*+[A-Za-z][\w-]*+)\s*+[=:]\s*+", r"\1=", plain)
    words = [_repair_word(word) for word in re.split(r"[\s,;]+", plain.strip()) if word]
    fixed = f"#DTP {' '.join(dict.fromkeys(words))}" if words and all(words) else ""
    if not fixed or (fixed == line.text and line.leading):
        return ""
    return "" if any(_take(_read(line, fixed), dict(before))) else fixed


def _read(line: _Line, text: str) -> _Line:
    """Return another text in the place of a line; one that stands too late is at the top then."""
    return line._replace(text=text, body=text.removeprefix("#DTP "), exact=True, leading=True)


def _repair_word(word: str) -> str:
    name, _, value = word.partition("=")
    plain = name.lstrip("-").lower()
    key = ALIASES.get(plain) or documents.near(plain, KEYS)
    said = {"true": "yes", "false": "no"}.get(value.lower(), value.lower())
    guessed = KINDS[key].guess(value) if key in KINDS else ""
    for meant in (value, said, guessed):
        try:
            KEYS[key].read(meant)
        except (KeyError, ValueError):
            continue
        return f"{key}={meant}"
    return ""
