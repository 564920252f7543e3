"""From the files of one commit to what the branch asks for: discovery and every check of a script.

Reads text as data and never runs it. Knows neither git nor the cluster; shells check the syntax
elsewhere, and `reject` takes in what they found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from dtp_action.core import catalog as catalogs
from dtp_action.core import directives, secrets
from dtp_action.core.catalog import Catalog, Row
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Desired, Directives, Finding, Ref, Script, Severity, Wanted

FOLDER = "dtp-jobs"
DEPTH = 2  # folder and script, below dtp-jobs/
NAME_LENGTH = 100
MAX_BYTES = 256 * 1024
BOM = b"\xef\xbb\xbf"
LINKS = {0o120000: "a symbolic link", 0o160000: "a submodule"}
IGNORED = re.compile(r"README.*|\..*|.*\.example", re.DOTALL)
UNREADABLE = {"link", "too-large", "empty", "encoding", "nul"}
# `#!/usr/bin/env bash`, `#!/bin/bash -eu`, `#!/usr/bin/env -S bash -eu`: env alone takes one word.
SHEBANG = re.compile(
    r"#!\s*/(?:\S*/)?(?:env\s+(?P<env>[\w.+-]+)|(?:env\s+-S\s+)?(?!env\s)(?P<direct>[\w.+-]+)"
    r"(?:\s+-[A-Za-z]+)*)"
)
ABSOLUTE = re.compile(
    r"(?:^|[\s=(;|&<>`])[\"']?(?P<path>(?P<root>/(?:root|workspace|home|mnt|data|scratch|srv|media))"
    r"(?:/[\w.-]*)*)(?![\w-])"
)
OUTSIDE = {
    "/root": "cannot be used: scripts do not run as root; use relative paths, or $HOME",
    "/workspace": "is outside the job's directory: to be read if the cluster shows it, not written",
}
ELSEWHERE = "is outside the job's directory and not there in a job; data is under /workspace"


@dataclass(frozen=True, kw_only=True)
class File:
    """One path of a commit. `content` is empty for links, submodules and what is too large."""

    path: str  # from the repository's root; undecodable bytes as lone surrogates
    mode: int  # git's: 0o100644, 0o100755, 0o120000, 0o160000
    blob: str
    content: bytes = b""
    size: int | None = None  # where the content was not loaded


def discover(
    files: Iterable[File], *, commit: str, catalog: Catalog, settings: ClusterSettings | None
) -> Desired:
    """Judge every file under `dtp-jobs/`; without settings, what the cluster caps is unchecked.

    A folder named by an alias (`dtp-google`) keeps its own name in the ref: only the row is shared.
    """
    wanted: dict[Ref, Wanted] = {}
    findings: list[Finding] = []
    for file in sorted(files, key=lambda file: file.path):
        ref, problem = _place(file)
        if ref is not None:
            wanted[ref] = _want(file, ref, catalog, settings)
        elif problem is not None:
            findings.append(problem)
    return reject(Desired(commit=commit, wanted=wanted, findings=tuple(findings)), _copies(wanted))


def reject(desired: Desired, findings: Iterable[Finding]) -> Desired:
    """Return what is still desired once these findings, from elsewhere, are taken in."""
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    wanted = {ref: _judged(one, by_path.pop(one.path, ())) for ref, one in desired.wanted.items()}
    loose = [finding for left in by_path.values() for finding in left]
    return replace(desired, wanted=wanted, findings=(*desired.findings, *loose))


def findings(desired: Desired) -> tuple[Finding, ...]:
    """Return all findings, of jobs and of other paths, by path and line."""
    of_jobs = (finding for one in desired.wanted.values() for finding in one.findings)
    return tuple(sorted((*desired.findings, *of_jobs)))


def _judged(wanted: Wanted, more: Iterable[Finding]) -> Wanted:
    findings = tuple(sorted({*wanted.findings, *map(_clean, more)}))
    bad = any(finding.severity is Severity.ERROR for finding in findings)
    return replace(wanted, findings=findings, script=None if bad else wanted.script)


def shell(content: bytes) -> str | None:
    """Return which shell's syntax a script has, `sh` or `bash`; None for other interpreters."""
    first = content.split(b"\n", 1)[0].decode(errors="replace")
    program = _program(first) if first.startswith("#!") else "sh"
    return program if program in catalogs.SHELLS else None


# --- where a file stands -------------------------------------------------------------------------

_Remark = tuple[str, str, Severity]  # code, message, severity


def _place(file: File) -> tuple[Ref | None, Finding | None]:
    """Return the job that a path names, or what is wrong with a path that names none."""
    _, *parts = file.path.split("/")
    if any(IGNORED.fullmatch(part) for part in parts) or parts == ["catalog.yaml"]:
        return None, None
    remark = _misplaced(file, parts)
    if remark is None:
        return Ref.parse(file.path), None
    code, message, severity = remark
    path = shown(file.path)
    return None, _clean(Finding(path=path, code=code, message=message, severity=severity))


def _misplaced(file: File, parts: list[str]) -> _Remark | None:
    name = parts[-1] if parts else ""
    if len(parts) < DEPTH and (not parts or file.mode in LINKS):
        return "folder", f"is {LINKS.get(file.mode, 'a file')}, not a folder", Severity.ERROR
    if any(part.endswith(".sh") for part in parts[1:-1]):
        return "place", "a folder is named like a script; a script is one file", Severity.ERROR
    if not name.endswith(".sh"):
        message = "is not read as a script: its name does not end in .sh"
        return "not-a-script", message, Severity.WARNING
    if len(parts) != DEPTH:
        message = f"scripts stand directly in {FOLDER}/dtp-<protocol>/, not here"
        return "place", message, Severity.ERROR
    if not Ref.PATTERN.fullmatch(f"{parts[0]}/job"):
        message = f"the folder {shown(parts[0])} names no protocol: it must be dtp-<protocol>"
        return "folder", message, Severity.ERROR
    problem = _bad_name(name.removesuffix(".sh"))
    return (
        ("name", f"the job's name cannot be used: {problem}", Severity.ERROR) if problem else None
    )


def _bad_name(job: str) -> str:
    """Return what is wrong with a job's name, '' if nothing."""
    if odd := re.search(r"[^A-Za-z0-9._-]", job):
        return f"it holds {shown(odd[0])!r}; letters A-Z and a-z, digits, `.`, `_`, `-` are allowed"
    if job.endswith(".sh"):
        return "it ends in .sh twice"  # as a ref it would name the job without the second
    if Ref.PATTERN.fullmatch(f"dtp-x/{job}"):
        return ""
    if len(job) > NAME_LENGTH:
        return f"it has {len(job)} characters, {NAME_LENGTH} are allowed"
    return "it must begin with a letter or a digit"


def shown(text: str) -> str:
    """Return text with everything that does not print written out (`\\n`, `\\udcff`)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# --- what a script says --------------------------------------------------------------------------


def _want(file: File, ref: Ref, catalog: Catalog, settings: ClusterSettings | None) -> Wanted:
    unread = Script(ref=ref, content=b"", blob=file.blob, directives=Directives())
    row = catalog.row(ref.protocol)
    findings = list(_content(file, ref.path))
    plain = b"" if findings else file.content
    script = None if any(one.code in UNREADABLE for one in findings) else unread
    if script:
        text = file.content.removeprefix(BOM).decode().replace("\r\n", "\n")
        asked, wrong = directives.parse(text, ref.path)
        script = replace(unread, content=file.content, directives=asked)
        findings += [*wrong, *_shebang(text, ref.path, row)]
        for remarks in (_typed(text, ref), _paths(text, ref)):
            findings += islice(remarks, directives.MOST)
    refused = catalogs.refusals(script or unread, catalog=catalog, settings=settings)
    wanted = Wanted(ref=ref, path=ref.path, blob=file.blob, script=script, content=plain)
    return _judged(wanted, [*findings, *refused])


def _copies(wanted: dict[Ref, Wanted]) -> Iterator[Finding]:
    """Yield a warning for each copy within a protocol: copies were made just to run a job again."""
    first: dict[tuple[str, bytes], Ref] = {}
    for ref, one in wanted.items():
        if one.script and (twin := first.setdefault((ref.protocol, one.content), ref)) != ref:
            yield Finding(
                path=one.path,
                code="copy",
                severity=Severity.WARNING,
                message=f"holds the same as {twin}; to run that job again: dtp retry {twin}",
            )


def _content(file: File, path: str) -> Iterator[Finding]:
    """Yield what keeps the bytes from being a script's text."""
    content = file.content
    if file.mode in LINKS:
        message = f"is {LINKS[file.mode]}; a script is a plain file"
        yield Finding(path=path, code="link", message=message)
    elif max(len(content), file.size or 0) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1024} KiB"
        yield Finding(path=path, code="too-large", message=message)
    elif not content.strip():
        yield Finding(path=path, code="empty", message="is empty")
    else:
        for code, message, at in _encoding(content):
            line = content.count(b"\n", 0, at) + 1
            yield Finding(path=path, line=line, code=code, message=message)


def _encoding(content: bytes) -> Iterator[tuple[str, str, int]]:
    """Yield code, message and offset."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        yield "encoding", "is not UTF-8 text: save the file as UTF-8", error.start
    if b"\0" in content:
        yield "nul", "holds a NUL byte: this is no text", content.index(b"\0")
    if content.startswith(BOM):
        yield "bom", "begins with a byte order mark: save the file as UTF-8 without one", 0
    if b"\r" in content:
        message = "has Windows line ends (CR): save the file with LF line ends"
        yield "cr", message, content.index(b"\r")


def _shebang(text: str, path: str, row: Row | None) -> Iterator[Finding]:
    first = text.split("\n", 1)[0].rstrip()
    if not first.startswith("#!"):
        yield Finding(
            path=path,
            line=1,
            code="no-shebang",
            severity=Severity.WARNING,
            message="has no shebang as its first line, so sh runs it",
            fix="#!/bin/sh",
        )
        return
    allowed = (*catalogs.SHELLS, *(row.interpreters if row else ()))
    if _program(first) not in allowed:
        message = f"`{first[:80]}` cannot be used; it may name {', '.join(allowed)}"
        yield Finding(path=path, line=1, code="shebang", message=message, fix="#!/bin/bash")


def _program(shebang: str) -> str | None:
    """Return the program that a shebang names; None when it names none in a form we run."""
    match = SHEBANG.fullmatch(shebang.rstrip())
    return match["env"] or match["direct"] if match else None


def _typed(text: str, ref: Ref) -> Iterator[Finding]:
    """Yield the credentials that stand in the text, one a line, without their value."""
    seen: set[int] = set()
    for hit in secrets.find(text):
        line = text.count("\n", 0, hit.start) + 1
        if line not in seen:
            seen.add(line)
            message = (
                f"looks like {hit.rule.what}: revoke it, and keep its successor in the Secret "
                f"dtp-{ref.protocol}{f', key {hit.rule.key}' if hit.rule.key else ''}"
            )
            column = hit.start - text.rfind("\n", 0, hit.start)
            code = f"secret-{hit.rule.name}"
            yield Finding(path=ref.path, line=line, column=column, code=code, message=message)


def _paths(text: str, ref: Ref) -> Iterator[Finding]:
    """Yield the absolute paths that a job cannot count on."""
    own = f"/workspace/{ref.directory}"
    for number, line in enumerate(text.split("\n"), 1):
        found = () if line.lstrip().startswith("#") else ABSOLUTE.finditer(line)
        for match in found:
            path = match["path"]
            if path == own or path.startswith((f"{own}/", "/home/dtp/")) or path == "/home/dtp":
                continue
            yield Finding(
                path=ref.path,
                line=number,
                column=match.start("path") + 1,
                code="path",
                severity=Severity.WARNING,
                message=f"`{path[:80]}` {OUTSIDE.get(match['root'], ELSEWHERE)}",
            )


def _clean(finding: Finding) -> Finding:
    """Return the finding without control characters, and without what looks like a secret."""
    message, fix = (shown(secrets.redact(text)) for text in (finding.message, finding.fix))
    return replace(finding, message=message, fix=fix)
