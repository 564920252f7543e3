"""Files beside a script: what is in `dtp-jobs/dtp-<protocol>/<job>.d/` belongs to the job.

Says which files those are, whether they can be recorded with the script, and which other files a
script means that its job will not have. Reads bytes as data; knows neither git nor the cluster.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from dtp_action.core import directives, unseen
from dtp_action.core.model import Finding, JobFile, Ref, Severity, Wanted

if TYPE_CHECKING:
    from dtp_action.core.scripts import File

MOST_BYTES = 700 * 1024  # script and files: an object of Kubernetes holds 1 MiB, with all else
MOST_FILES = 100
LONGEST = 150  # bytes of a path below the folder
LINKS = {0o120000: "a symbolic link", 0o160000: "a submodule"}
PLAIN, TREE = 0o100644, 0o40000  # modes in a git tree
SHA256_HEX = 64
LFS = b"version https://git-lfs.github.com/spec/"
# `.gitkeep`, `.gitattributes` and the like are for git alone.
PLACE = re.compile(
    rf"(dtp-jobs/{Ref.PATTERN.pattern}(?<!\.sh))\.d/(?!(?:.*/)?\.git[^/]*\Z).+", re.DOTALL
)
READ = '"$DTP_FILES/{}"'
PLACES = 3  # folders that one sentence names

# --- which files belong to a job -----------------------------------------------------------------


def owner(path: str) -> str:
    """Return the path of the script that a file belongs to; of any other path, the path itself."""
    match = PLACE.fullmatch(path) if ".d/" in path else None
    return f"{match[1]}.sh" if match else path


def folder(script: str) -> str:
    """Return the folder of the files that belong to the script at this path."""
    return f"{script.removesuffix('.sh')}.d"


def gathered(files: Iterable[File]) -> dict[str, list[File]]:
    """Return the files that belong to jobs, by their scripts' paths."""
    found: dict[str, list[File]] = {}
    for file in files:
        if (script := owner(file.path)) != file.path:
            found.setdefault(script, []).append(file)
    return found


def readable(files: Iterable[File]) -> set[str]:
    """Return the paths of the files whose content is worth reading: all of a job's, or none."""
    jobs = gathered(files)
    fit = (group for script, group in jobs.items() if not any(_bounds(script, 0, group)))
    return {file.path for group in fit for file in group}


def recorded(script: str, files: Iterable[File]) -> tuple[JobFile, ...]:
    """Return the files as they are recorded with the script at this path."""
    return tuple(JobFile(path=_name(script, file), content=file.content) for file in files)


def identity(script: File, files: Sequence[File]) -> str:
    """Return git's id of the script; where there are files, that of a tree of `script` and `files`.

    The x bit does not count.
    """
    members = {"script": (PLAIN, script.blob)}
    for file in files:
        mode = file.mode if file.mode in LINKS else PLAIN
        members[f"files/{_name(script.path, file)}"] = (mode, file.blob)
    kind = "sha256" if len(script.blob) == SHA256_HEX else "sha1"
    return _tree(members, kind) if files else script.blob


def _tree(members: Mapping[str, tuple[int, str]], kind: str) -> str:
    """Return the id of the git tree that holds these paths."""
    here = {name: member for name, member in members.items() if "/" not in name}
    below: dict[str, dict[str, tuple[int, str]]] = {}
    for path in members.keys() - here.keys():
        head, _, rest = path.partition("/")
        below.setdefault(head, {})[rest] = members[path]
    here |= {name: (TREE, _tree(inner, kind)) for name, inner in below.items()}
    lines = {
        _bytes(f"{name}/" if mode == TREE else name): b"%o %b\0" % (mode, _bytes(name))
        + bytes.fromhex(blob)
        for name, (mode, blob) in here.items()
    }
    body = b"".join(line for _, line in sorted(lines.items()))
    return hashlib.new(kind, b"tree %d\0%b" % (len(body), body), usedforsecurity=False).hexdigest()


def _bytes(path: str) -> bytes:
    return path.encode(errors="surrogateescape")


def _name(script: str, file: File) -> str:
    """Return a file's path below the folder of its job."""
    return file.path[len(folder(script)) + 1 :]


# --- what is wrong with them ---------------------------------------------------------------------


def judged(script: File, files: Sequence[File]) -> Iterator[Finding]:
    """Yield what is wrong with a job's files. All is told of the script, which does not run then.

    Warnings are about what a list is often read by: a loop of the shell over its lines.
    """
    yield from _bounds(script.path, script.size or len(script.content), files)
    remarks = [_unfit, _hidden]
    if b"\\r" not in script.content:  # a script that names CR takes it off
        remarks.append(_windows)
    if LOOP.search(script.content) and not GUARDED.search(script.content):
        remarks.append(_unended)
    for file in files:
        found = (finding for remark in remarks for finding in remark(script.path, file))
        yield from islice(found, 1)


def shown(script: str, file: File) -> str:
    """Return how a sentence names a file: with the folder of its job."""
    return f"`{folder(script).rpartition('/')[2]}/{_name(script, file)}`"


def text(file: File) -> str | None:
    """Return a file's text; None where it holds other bytes."""
    try:
        return None if b"\0" in file.content else file.content.decode()
    except UnicodeDecodeError:
        return None


def _bounds(script: str, own: int, files: Sequence[File]) -> Iterator[Finding]:
    if len(files) > MOST_FILES:
        message = f"has {len(files)} files in {folder(script)}/, and a job has at most {MOST_FILES}"
        yield _error(script, f"{message}: pack them into an archive that the script unpacks")
    if (size := own + sum(map(_size, files))) > MOST_BYTES and files:
        largest = max(files, key=_size)
        message = f"holds {_kib(size)} with its files, and at most {_kib(MOST_BYTES)} are recorded:"
        message += " let the script fetch what is large, or read it from /workspace (the largest"
        yield _error(script, f"{message} is {shown(script, largest)}, {_kib(_size(largest))})")


def _size(file: File) -> int:
    return len(file.content) if file.size is None else file.size


def _kib(size: int) -> str:
    return f"{-(-size // 1024)} KiB"


def _unfit(script: str, file: File) -> Iterator[Finding]:
    """Yield why a file cannot be given to a job."""
    where, name = shown(script, file), _name(script, file)
    if file.mode in LINKS:
        yield _error(script, f"{where} is {LINKS[file.mode]}: put the file itself there")
    parts = name.split("/")  # a tree of git that somebody made by hand may have any
    if not name.isprintable() or len(_bytes(name)) > LONGEST or {"", ".", ".."} & {*parts}:
        message = f"{where} cannot be used under this name: rename it. The path below the folder"
        yield _error(script, f"{message} has at most {LONGEST} bytes of printable text")
    if file.content.startswith(LFS):
        message = f"{where} is a Git LFS pointer, and the job would read the pointer: commit the"
        yield _error(script, f"{message} file itself, or let the script fetch it")


def _hidden(script: str, file: File) -> Iterator[Finding]:
    """Yield the first character of a text that a reviewer does not see."""
    content = (text(file) or "").removeprefix("\ufeff")
    for at in unseen.find(content):
        if (char := content[at]) != "\r":
            place = f"{shown(script, file)}, line {content.count(chr(10), 0, at) + 1}"
            message = f"{place} holds {unseen.name(char)}, which a reviewer does not see: remove it"
            yield replace(_error(script, message), code="unseen")


LOOP = re.compile(rb"\bwhile\b[^\n]*\bread\b")
GUARDED = re.compile(rb"\bread\b[^\n]*\|\|")  # `read -r x || [ -n "$x" ]` has the last line too
WINDOWS = (
    (rb"\A(?:\xff\xfe|\xfe\xff)", "is in UTF-16, which few tools read: save it as UTF-8"),
    (rb"\A\xef\xbb\xbf", "begins with a byte order mark, a part of its first line: remove it"),
    (rb"\r\n", "has Windows line ends, whose CR becomes a part of each line: save it with LF ends"),
)


def _windows(script: str, file: File) -> Iterator[Finding]:
    """Yield how a text from Windows differs from what a loop over its lines expects."""
    for pattern, said in WINDOWS:
        readable = text(file) is not None or said.startswith("is in UTF-16")
        if readable and re.search(pattern, file.content):
            yield _warning(script, "file-text", f"{shown(script, file)} {said}")


def _unended(script: str, file: File) -> Iterator[Finding]:
    if not (text(file) or "\n").endswith("\n"):
        message = f"{shown(script, file)} has no newline at its end, so `while read` leaves out the"
        yield _warning(script, "file-text", f"{message} last line: add one")


def _error(script: str, message: str) -> Finding:
    return Finding(path=script, code="file", message=message)


def _warning(script: str, code: str, message: str, at: int = 0) -> Finding:
    return Finding(path=script, line=at, code=code, severity=Severity.WARNING, message=message)


# --- what a script reads, and what its job has ---------------------------------------------------

OWN = re.compile(r"\$\{?DTP_FILES\b\}?[\"']?/((?:[\w.@%+,-]+/)*[\w.@%+,-]+)(?![\w.@%+,*?\[$`{(/-])")
OWN_PLACE = re.compile(
    r"\b(?:dirname|realpath|readlink)\b[^\n|;]*(?:\$\{?0\b|BASH_SOURCE)"
    r"|\$\{(?:0|BASH_SOURCE(?:\[0\])?)%"
)
COMMAND = re.compile(r"\"?\$\([^()]*\)\"?")  # such as "$(dirname "$0")"
WORD = re.compile(
    r"(?P<made>(?:>|(?<!\S)(?:-o|-O|--output|--out|tee|tee -a|touch)[\s=])\s*)?"
    r"(?P<word>[^\s<>|;&()=`]+)"
)
TOKEN = re.compile(r"[^\s<>|;&()=`/@\"']+")
Named = dict[str, tuple[int, str]]  # by a file's name: the first line that reads it, from 1


def named(wanted: Mapping[Ref, Wanted], files: Iterable[File]) -> dict[str, Named]:
    """Return the names of files of the repository that scripts read, by the scripts' paths."""
    names = {_base(file.path) for file in files}
    return {one.path: _named(one, names) for one in wanted.values()}


def remarks(
    wanted: Mapping[Ref, Wanted], files: Iterable[File], named: Mapping[str, Named]
) -> Iterator[Finding]:
    """Yield where scripts and files do not fit; `named` is what the scripts read."""
    listed = list(files)
    own, scripts = gathered(listed), {one.path: one for one in wanted.values()}
    loose = {(_around(f.path), _base(f.path)): f.path for f in listed if owner(f.path) == f.path}
    for path, one in scripts.items():
        names = [_name(path, file) for file in own.get(path, ())]
        read = (*_unread(one, names, named[path]), *_elsewhere(one, names, named[path], loose))
        yield from islice((*_absent(one, names), *(read or _own_place(one))), directives.MOST)
    for path in own.keys() - scripts.keys():
        message = f"belongs to no job, as there is no `{path}`: rename the folder after the script"
        yield _warning(folder(path), "file-orphan", f"{message} that reads these files")


def advice(path: str, named: Mapping[str, Named]) -> str:
    """Return what to do with a file that is no script and belongs to no job."""
    around, name = _around(path), _base(path)
    readers = (s for s, names in named.items() if name in names and around in ("", _around(s)))
    places = [folder(script) for script in readers]
    places = places or [f"{around or 'dtp-jobs/dtp-<protocol>'}/<job>.d"]
    where = " or ".join(f"`{place}/`" for place in places[:PLACES])
    return (
        "is not read: a script's name ends in .sh, and a file that a script reads is in the folder"
        f" of its job. Move it to {where}, and read it as `{READ.format(name)}`"
    )


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _around(path: str) -> str:
    """Return the protocol's folder that a path is in, or ''."""
    folder, _, rest = path.removeprefix("dtp-jobs/").partition("/")
    return f"dtp-jobs/{folder}" if rest and folder.startswith("dtp-") else ""


def _absent(one: Wanted, names: Sequence[str]) -> Iterator[Finding]:
    """Yield what the script reads in `$DTP_FILES` that is not there."""
    for number, line in _lines(one) if b"DTP_FILES" in one.content else ():
        for match in OWN.finditer(line):
            if not any(f"{name}/".startswith(f"{match[1]}/") for name in names):
                message = f"`{match[1]}` is not in `{folder(one.path)}/`: add it there, or correct"
                yield _warning(one.path, "file-missing", f"{message} its name", number)


def _unread(one: Wanted, names: Sequence[str], named: Named) -> Iterator[Finding]:
    """Yield what the script reads as if its files were in the job's directory."""
    if b"DTP_FILES" in one.content or not (names and one.content):
        return
    read = [name for name in names if _base(name) in named]
    for name in read:
        number, line = named[_base(name)]
        message = f"`{name}` is not in the job's directory: read it as `{READ.format(name)}`"
        found = _warning(one.path, "file-unread", message, number)
        yield replace(found, fix=_corrected(line, name))
    if not read:
        message = "does not read its files: they are not in the job's directory, but in $DTP_FILES"
        yield _warning(one.path, "file-unread", f"{message}, such as `{READ.format(names[0])}`")


def _elsewhere(
    one: Wanted, names: Sequence[str], named: Named, loose: Mapping[tuple[str, str], str]
) -> Iterator[Finding]:
    """Yield what the script reads that is in the repository, and not among its files."""
    mine = {_base(one.path), *map(_base, names)}
    for name, (number, _) in named.items():
        if name in mine or not {("", name), (_around(one.path), name)} & loose.keys():
            continue
        message = f"`{name}` is not there when the job runs: move it to `{folder(one.path)}/`, and"
        message += f" read it as `{READ.format(name)}`"
        yield _warning(one.path, "file-elsewhere", message, number)


def _own_place(one: Wanted) -> Iterator[Finding]:
    """Yield where the script looks for the folder that it is in itself."""
    message = "looks beside itself, where nothing is when it runs: what the folder"
    message += f" `{folder(one.path)}/` holds is in `$DTP_FILES`; write to relative paths"
    for number, line in _lines(one):
        if OWN_PLACE.search(line):
            yield _warning(one.path, "file-elsewhere", message, number)


def _named(one: Wanted, names: Container[str]) -> Named:
    """Return which of these names a script reads.

    A URL, an absolute path and what the script makes itself are none of them.
    """
    first: Named = {}
    made = set()
    if not any(name in names for name in TOKEN.findall(one.content.decode(errors="replace"))):
        return first
    for number, line in _lines(one):
        simple = COMMAND.sub("$0", line).replace('"', "").replace("'", "")
        for match in WORD.finditer(simple):
            word = match["word"].removeprefix("@")
            if (name := _base(word)) in names and re.search(r"[./]", word) and word[0] != "/":
                made |= {name} if match["made"] or ":" in word else set()
                first.setdefault(name, (number, line))
    return {name: place for name, place in first.items() if name not in made}


def _lines(one: Wanted) -> Iterator[tuple[int, str]]:
    """Yield the lines of a script but for comments, from 1."""
    for number, line in enumerate(one.content.decode(errors="replace").split("\n"), 1):
        if not line.lstrip().startswith("#"):
            yield number, line


def _corrected(line: str, name: str) -> str:
    """Return the line with the file read from where it is; '' where that cannot be told."""
    word = re.compile(rf"(?<![\w./\"'$}}*-])([\"']?)(?:\./)?{re.escape(name)}\1(?![\w./\"'*-])")
    corrected, count = word.subn(lambda _: READ.format(name), line)
    return corrected.strip() if count == 1 else ""
