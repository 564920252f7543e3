"""From the files of one commit to what the branch asks for: discovery and every check of a script.

Reads text as data and never runs it. Knows neither git nor the cluster; shells check the syntax
elsewhere, and `reject` takes in what they found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from dtp_action.core import beside, directives, remarks, secrets, unseen
from dtp_action.core import catalog as catalogs
from dtp_action.core.catalog import Catalog
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import Desired, Directives, Finding, Ref, Script, Severity, Wanted

FOLDER = "dtp-jobs"
DEPTH = 2  # folder and script, below dtp-jobs/
BOM = b"\xef\xbb\xbf"
MAX_BYTES = 256 * 1024
LINKS = beside.LINKS
IGNORED = re.compile(r"README.*|\..*|.*\.example", re.DOTALL)
PLACE = re.compile(rf"{FOLDER}/{Ref.PATTERN.pattern}(?<!\.sh)\.sh")
WARNINGS = {"copy", "not-a-script"}  # all other codes are errors
NO_TEXT = (
    ("nul", rb"\0", "holds a NUL byte: this is no text"),
    ("bom", b"^" + BOM, "begins with a byte order mark: save the file without one"),
    ("cr", rb"\r", "has Windows line ends (CR): save the file with LF line ends"),
)


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
    listed = sorted(files, key=lambda file: file.path)
    own = beside.gathered(listed)
    for file in listed:
        place = _place(file)
        if isinstance(place, Ref):
            wanted[place] = _want(file, own.get(file.path, []), place, catalog, settings)
        elif place:
            findings.append(place)
    named = beside.named(wanted, listed)
    for at, one in enumerate(findings):
        if one.code == "not-a-script":
            findings[at] = replace(one, message=beside.advice(one.path, named))
    desired = Desired(commit=commit, wanted=wanted, findings=tuple(findings))
    return reject(desired, [*_copies(wanted), *beside.remarks(wanted, listed, named)])


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
    return remarks.Subject(text=first).shell or None


# --- where a file stands -------------------------------------------------------------------------


def _place(file: File) -> Ref | Finding | None:
    """Return the job that a path names, or what is wrong with it; None where it is passed over."""
    _, *parts = file.path.split("/")
    if beside.owner(file.path) != file.path:
        return None
    if any(IGNORED.fullmatch(part) for part in parts) or parts == ["catalog.yaml"]:
        return None
    if match := PLACE.fullmatch(file.path):
        return Ref(*match.groups())
    if file.mode in LINKS:
        return _link(file)
    if not file.path.endswith(".sh"):
        return _finding(file.path, "not-a-script", "its name does not end in .sh")
    if len(parts) == DEPTH and Ref.PATTERN.fullmatch(f"{parts[0]}/job"):
        message = "the job's name cannot be used: it begins with a letter or digit, has at most "
        message += "100 letters A-Z a-z, digits, `.`, `_`, `-`, and does not end in .sh twice"
        return _finding(file.path, "name", message)
    message = f"scripts stand directly in {FOLDER}/dtp-<protocol>/, in lower case, not here"
    return _finding(file.path, "place", message)


def _link(file: File) -> Finding:
    return _finding(file.path, "link", f"is {LINKS[file.mode]}; scripts are plain files")


def _finding(path: str, code: str, message: str, at: int = 0, column: int = 0) -> Finding:
    severity = Severity.WARNING if code in WARNINGS else Severity.ERROR
    found = Finding(path=shown(path), line=at, column=column, code=code, message=message)
    return replace(found, severity=severity)


def shown(text: str) -> str:
    """Return text with everything that does not print written out (`\\n`, `\\udcff`)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# --- what a script says --------------------------------------------------------------------------


def _want(
    file: File, own: list[File], ref: Ref, catalog: Catalog, settings: ClusterSettings | None
) -> Wanted:
    row = catalog.row(ref.protocol)
    blob, files = beside.identity(file, own), beside.recorded(file.path, own)
    script = Script(ref=ref, content=file.content, blob=blob, directives=Directives(), files=files)
    findings = list(_bytes(file))
    plain = b"" if findings else file.content
    text = file.content.removeprefix(BOM).decode(errors="replace").replace("\r\n", "\n")
    if text.strip():
        asked, wrong = directives.parse(text, ref.path)
        script = replace(script, directives=asked)
        subject = remarks.Subject(
            text=text,
            protocol=row.protocol if row else ref.protocol,
            interpreters=row.interpreters if row else (),
            tools=tuple(row.tools) if row else (),
            elsewhere=catalog.elsewhere(row) if row else {},
        )
        findings += [*wrong, *remarks.findings(subject, ref.path)]
        findings += islice(_typed(text, ref.path, subject.protocol), directives.MOST)
    said = replace(script, content=text.encode())
    refused = catalogs.refusals(said, catalog=catalog, settings=settings)
    wanted = Wanted(ref=ref, path=ref.path, blob=blob, script=script, content=plain)
    of_files = (*beside.judged(file, own), *_typed_beside(file.path, own, ref.protocol))
    return _judged(wanted, [*findings, *refused, *of_files])


def _typed_beside(script: str, files: Iterable[File], protocol: str) -> Iterator[Finding]:
    """Yield the credentials that stand in a job's files, each told of the script."""
    for file in files:
        for found in islice(_typed(beside.text(file) or "", script, protocol), directives.MOST):
            message = f"{beside.shown(script, file)}, line {found.line}, {found.message}"
            yield replace(found, line=0, column=0, message=message)


def _copies(wanted: dict[Ref, Wanted]) -> Iterator[Finding]:
    """Yield a warning for each copy within a protocol: copies were made just to run a job again."""
    first: dict[tuple[str, str, bytes], Ref] = {}
    for ref, one in wanted.items():
        same = ref.protocol, one.blob, one.content
        if one.script and (twin := first.setdefault(same, ref)) != ref:
            message = f"holds the same as {twin}; to run that job again: dtp retry {twin}"
            yield _finding(one.path, "copy", message)


def _bytes(file: File) -> Iterator[Finding]:
    """Yield what keeps a file from being a script's text."""
    content, path = file.content, file.path
    if file.mode in LINKS:
        yield _link(file)
    elif max(len(content), file.size or 0) > MAX_BYTES:
        yield _finding(path, "too-large", f"is larger than {MAX_BYTES // 1024} KiB")
    elif not content.strip():
        yield _finding(path, "empty", "is empty")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield _finding(path, "encoding", "is not UTF-8 text: save the file as UTF-8", line)
    for code, pattern, message in NO_TEXT:
        if match := re.search(pattern, content):
            found = _finding(path, code, message, content.count(b"\n", 0, match.start()) + 1)
            first = content.removeprefix(BOM).split(b"\n", 1)[0].decode(errors="replace").rstrip()
            shebang = code == "bom" and first.startswith("#!")
            yield replace(found, fix=first[: directives.LONGEST] if shebang else "")
    yield from islice(_unseen(content, path), directives.MOST)


def _unseen(content: bytes, path: str) -> Iterator[Finding]:
    """Yield the characters that a reviewer does not see; what `NO_TEXT` tells is not told twice."""
    text = content.removeprefix(BOM).decode(errors="replace")
    for at in unseen.find(text):
        if (char := text[at]) in "\0\r":
            continue
        message = f"holds {unseen.name(char)}, which a reviewer does not see: remove it, or, where"
        message += f" the script has to print it, write `printf '{unseen.octal(char)}'`"
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        yield _finding(path, "unseen", message, line, column)


def _typed(text: str, path: str, protocol: str) -> Iterator[Finding]:
    """Yield the credentials that stand in the text, without their value."""
    told: set[int] = set()  # what several rules find is told once
    for hit in secrets.find(text):
        if hit.start in told:
            continue
        told.add(hit.start)
        line = text.count("\n", 0, hit.start) + 1
        column = hit.start - text.rfind("\n", 0, hit.start)
        advice = secrets.ADVICE.get(hit.rule.name, secrets.REVOKE).format(protocol=protocol)
        message = f"looks like {hit.rule.what}: {advice}"
        yield _finding(path, f"secret-{hit.rule.name}", message, line, column)


def _clean(finding: Finding) -> Finding:
    """Return the finding without control characters, and without what looks like a secret."""
    message, fix = (shown(secrets.redact(text)) for text in (finding.message, finding.fix))
    return replace(finding, message=message, fix=fix)
