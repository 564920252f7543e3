"""Asks the shells whether scripts are well-formed: `sh -n`, `bash -n`, which parse and run nothing.

The script is the shell's standard input, in an empty environment: BASH_ENV, ENV and exported
functions would be run. Which scripts may run is not judged here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from dtp_action.core import catalog, scripts
from dtp_action.core.model import Desired, Finding, Severity, Wanted

TIMEOUT = 10  # seconds for one script
# `bash: line 3: …`, `sh: 3: …`, `/bin/sh: 0: …`, `sh: line 3: …`
MESSAGE = re.compile(r"^[^:\n]*: (?:line )?(?P<line>\d+): (?P<text>.+)$", re.MULTILINE)


def syntax_findings(desired: Desired) -> list[Finding]:
    """Return what the shells object to; a shell that is not installed is one warning for all."""
    asked = [(one, scripts.shell(one.content)) for one in desired.wanted.values() if one.content]
    checks: list[tuple[Wanted, str]] = []
    notes: list[Finding] = []
    for shell in catalog.SHELLS:
        mine = [wanted for wanted, name in asked if name == shell]
        program = shutil.which(shell)
        if program:
            checks += [(wanted, program) for wanted in mine]
        elif mine:
            notes.append(_unchecked(scripts.FOLDER, f"{shell} is not installed here"))
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        found = pool.map(lambda check: _check(*check), checks)
    return [*notes, *(finding for findings in found for finding in findings)]


def _check(wanted: Wanted, program: str) -> list[Finding]:
    path = wanted.path
    try:
        return list(_objections(wanted, program))
    except subprocess.TimeoutExpired:
        return [_unchecked(path, f"the shell needed more than {TIMEOUT} s")]
    except OSError as error:
        return [_unchecked(path, error.strerror or "the shell could not be started")]


def _objections(wanted: Wanted, program: str) -> Iterator[Finding]:
    code, said = _parse(program, wanted.content)
    if not code and not said:
        return
    match = MESSAGE.search(said)
    line, text = (int(match["line"]), match["text"]) if match else (0, "the shell gave up on it")
    if not code:  # bash says so of a here-document without its end
        yield _finding(wanted, line, text.removeprefix("warning: "), severity=Severity.WARNING)
    elif scripts.shell(wanted.content) == "sh" and _is_bash(wanted.content):
        yield _finding(wanted, line, f"{text}; bash would take it", fix="#!/bin/bash")
    else:
        yield _finding(wanted, line, text)


def _finding(
    wanted: Wanted, line: int, text: str, *, severity: Severity = Severity.ERROR, fix: str = ""
) -> Finding:
    message = text[:1].lower() + text[1:200]
    path = wanted.path
    return Finding(path=path, line=line, code="syntax", severity=severity, message=message, fix=fix)


def _unchecked(path: str, reason: str) -> Finding:
    message = f"the syntax was not checked: {reason}"
    return Finding(path=path, code="syntax-unchecked", severity=Severity.WARNING, message=message)


def _is_bash(content: bytes) -> bool:
    program = shutil.which("bash")
    return program is not None and _parse(program, content) == (0, "")


def _parse(program: str, content: bytes) -> tuple[int, str]:
    """Return exit code and messages of a shell that reads the script and runs nothing of it."""
    # A script may switch extended patterns on; without running it, bash cannot know.
    options = ["-O", "extglob"] if program.endswith("bash") and b"extglob" in content else []
    # A file, not a pipe: from a pipe bash reads byte by byte.
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        ran = subprocess.run(  # noqa: S603 an argument list, no shell; -n runs nothing
            [program, *options, "-n"],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"LC_ALL": "C"},
            timeout=TIMEOUT,
            check=False,
        )
    return ran.returncode, ran.stderr.decode(errors="replace").strip()
