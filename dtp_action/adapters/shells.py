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

from dtp_action.core import scripts
from dtp_action.core.model import Desired, Finding, Severity

TIMEOUT = 10  # seconds for one script
# A script may switch extended patterns on; without running it, bash cannot know.
OPTIONS = {"sh": ["-n"], "bash": ["-O", "extglob", "-n"]}
# `bash: line 3: …`, `sh: 3: …`, `/bin/sh: 0: …`, `sh: line 3: …`
MESSAGE = re.compile(r"^[^:\n]*: (?:line )?(?P<line>\d+): (?P<text>.+)$", re.MULTILINE)


def syntax_findings(desired: Desired) -> list[Finding]:
    """Return what the shells object to; a shell that is not installed is one warning for all."""
    asked = [
        (one.path, one.content, shell)
        for one in desired.wanted.values()
        if one.content and (shell := scripts.shell(one.content))
    ]
    missing = [shell for shell in sorted({shell for *_, shell in asked}) if not shutil.which(shell)]
    checks = [check for check in asked if check[2] not in missing]
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        found = pool.map(lambda check: list(_objections(*check)), checks)
    notes = [_unchecked(scripts.FOLDER, f"{shell} is not installed here") for shell in missing]
    return [*notes, *(finding for findings in found for finding in findings)]


def _objections(path: str, content: bytes, shell: str) -> Iterator[Finding]:
    try:
        code, said = _parse(shell, content)
        ask_bash = code and shell == "sh" and shutil.which("bash")
        also_bash = ask_bash and _parse("bash", content) == (0, "")
    except (OSError, subprocess.TimeoutExpired):
        yield _unchecked(path, f"{shell} did not answer in time")
        return
    if code or said:
        match = MESSAGE.search(said)
        text = match["text"].removeprefix("warning: ") if match else "the shell gave up on it"
        yield Finding(
            path=path,
            line=int(match["line"]) if match else 0,
            code="syntax",
            # Without a code it is a warning: bash says so of a here-document without its end.
            severity=Severity.ERROR if code else Severity.WARNING,
            message=text[:1].lower() + text[1:200] + ("; bash would take it" if also_bash else ""),
            fix="#!/bin/bash" if also_bash else "",
        )


def _unchecked(path: str, reason: str) -> Finding:
    message = f"the syntax was not checked: {reason}"
    return Finding(path=path, code="syntax-unchecked", severity=Severity.WARNING, message=message)


def _parse(shell: str, content: bytes) -> tuple[int, str]:
    """Return exit code and messages of a shell that reads the script and runs nothing of it."""
    # A file, not a pipe: from a pipe bash reads byte by byte.
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        ran = subprocess.run(  # noqa: S603 an argument list, no shell; -n runs nothing
            [shutil.which(shell) or shell, *OPTIONS[shell]],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"LC_ALL": "C"},
            timeout=TIMEOUT,
            check=False,
        )
    return ran.returncode, ran.stderr.decode(errors="replace").strip()
