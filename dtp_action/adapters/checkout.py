"""Reads scripts and their history from git, or the working tree. Runs nothing that they bring.

Translates only: which file is a script, and whether it may run, is not judged here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import TYPE_CHECKING, cast

from dtp_action.core import beside
from dtp_action.core.catalog import SITE_FILE
from dtp_action.core.pulls import History, Step
from dtp_action.core.scripts import FOLDER, MAX_BYTES, File
from dtp_action.errors import UsageError

if TYPE_CHECKING:
    from dtp_action.core.preview import Merge

SUBMODULE = 0o160000
COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
# https://user@host:443/owner/name.git, ssh://git@host/owner/name, git@host:owner/name.git
ADDRESS = re.compile(
    r"(?:\w+://)?(?:[^@/]*@)?(?P<host>[^/:@]+\.[^/:@]+)(?::\d+(?=/)|(?=[:/]))[:/]"
    r"(?P<path>[^/]+/.+?)(?:\.git)?/?"
)
NO_COMMIT = "Only committed scripts count: git add dtp-jobs && git commit"
NO_FOLDER = f"Make it (mkdir -p {FOLDER}/dtp-aws), or name the checkout with -C."
TIMEOUT = 120  # seconds; reading a commit takes milliseconds
# No program, hook, network or replaced object comes in through the repository's configuration.
HARDENED = (
    "--no-pager",
    "--no-optional-locks",
    "--no-replace-objects",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.alternateRefsCommand=",
    "-c",
    "log.diffMerges=first-parent",
    "-c",
    "protocol.allow=never",
)
# A merge is what git does by itself, whatever the user's own configuration would make of it.
PLAIN_MERGE = (
    "-c",
    "core.attributesFile=/dev/null",
    "-c",
    "merge.default=text",
    "-c",
    "merge.renames=true",
    "-c",
    "merge.directoryRenames=conflict",
    "-c",
    "merge.renormalize=false",
)
CLEAN, CONFLICTS, UNKNOWN_OPTION = 0, 1, 129  # how `git merge-tree` ends
HINTS = (
    (
        "dubious ownership",
        "The folder belongs to another user. If you trust it: "
        "git config --global --add safe.directory '{directory}'",
    ),
    ("not a git repository", "Name the checkout with -C, or run inside it."),
    ("cannot change to", "Name the checkout with -C, or run inside it."),
    (
        "promisor",
        "The clone left out file contents: clone without --filter (actions/checkout: no `filter`).",
    ),
)


def committed(directory: Path, revision: str) -> tuple[str, list[File]]:
    """Return the commit that a revision names and all that it holds under `dtp-jobs/`.

    The content of links, submodules, too large files and what is neither `.sh`, nor beside a
    script, nor the branch's catalog is not loaded.
    """
    commit = _commit(directory, revision)
    return commit, _filled(directory, _tree(directory, commit, FOLDER))


def uncommitted(directory: Path, paths: Iterable[str] = ()) -> list[str]:
    """Return the scripts of the working tree that HEAD has not, or not so; [] outside git.

    One that is gone from the working tree counts, too, unless only some paths are asked about.
    """
    asked = tuple(paths)
    here: dict[str, str] = {}
    with suppress(UsageError):  # no folder any more: all of it is gone
        here = {one.path: one.blob for one in working_tree(directory, asked)}
    try:
        _git(directory, "rev-parse", "--git-dir")
    except UsageError:
        return []
    there: dict[str, str] = {}
    with suppress(UsageError):  # nothing was committed yet
        there = {one.path: one.blob for one in _tree(directory, _commit(directory, "HEAD"), FOLDER)}
    if any(len(blob) != len(_blob_id(b"")) for blob in there.values()):
        return []  # git counts by SHA-256 here
    known = here.keys() if asked else here.keys() | there.keys()
    differ = (path for path in known if here.get(path) != there.get(path))
    return sorted(path for path in differ if beside.owner(path).endswith((".sh", SITE_FILE)))


def merged(directory: Path, base: str, revision: str) -> Merge:
    """Return what is under `dtp-jobs/` before and after a commit is merged into a base.

    Merged as git merges; of a merge commit and its first parent these are just both trees. A path
    in conflict is as the commit has it. Git before 2.38 cannot do this without a working tree: then
    a path that changed since the two parted is as the commit has it, any other as the base has it.
    Raises UsageError where it cannot be told when they parted.
    """
    from dtp_action.core.preview import Merge  # with all that it needs, which `check` does not

    before, commit = _commit(directory, base), _commit(directory, revision)
    parted = _parted(directory, before, commit)
    there = _filled(directory, _tree(directory, before, FOLDER))
    found = _by_git(directory, before, commit)
    after, conflicts = found or (_by_file(directory, before, commit, parted), ())
    return Merge(
        commit=commit,
        base=before,
        before=tuple(there),
        after=tuple(after),
        conflicts=conflicts,
        by_file=found is None,
    )


def _by_git(directory: Path, before: str, commit: str) -> tuple[list[File], tuple[str, ...]] | None:
    """Return the files after git's own merge, and all paths in conflict; None if git is too old.

    What git writes on the way goes to a repository of its own, which borrows the objects and has
    neither configuration nor attributes.
    """
    with TemporaryDirectory(prefix="dtp-merge-") as place:
        scratch = _borrowing(directory, Path(place), commit)
        how = ("--write-tree", "--name-only", "--no-messages", "-z", before, commit)
        done = _ran(scratch, (*PLAIN_MERGE, "merge-tree", *how))
        if done.returncode == UNKNOWN_OPTION:
            return None
        if done.returncode not in (CLEAN, CONFLICTS):
            raise _refused(directory, done.stderr.decode(errors="replace"))
        tree, *paths = done.stdout.split(b"\0")
        after = {file.path: file for file in _tree(scratch, tree.decode().strip(), FOLDER)}
        conflicts = sorted({path.decode(errors="surrogateescape") for path in paths if path})
        if conflicts:  # there the tree has git's marks in the files
            ours = {file.path: file for file in _tree(scratch, commit, FOLDER)}
            after = {path: file for path, file in after.items() if path not in conflicts}
            after |= {path: ours[path] for path in conflicts if path in ours}
        return _filled(scratch, [after[path] for path in sorted(after)]), tuple(conflicts)


def _borrowing(directory: Path, place: Path, commit: str) -> Path:
    """Make an empty repository that has the objects of another one; return it."""
    form = () if len(commit) == 40 else ("--object-format=sha256",)
    _git(place, "init", "--quiet", "--template=", *form)
    for name, copy in (("objects", "objects/info/alternates"), ("shallow", "shallow")):
        there = _git(directory, "rev-parse", "--git-path", name).decode().rstrip("\n")
        real, own = (directory / there).resolve(), place / ".git" / copy
        own.parent.mkdir(parents=True, exist_ok=True)
        if name == "objects":
            own.write_bytes(os.fsencode(real) + b"\n")
        elif real.is_file():
            own.write_bytes(real.read_bytes())
    return place


def _by_file(directory: Path, before: str, commit: str, parted: Sequence[str]) -> list[File]:
    """Return the files after a merge path by path."""
    if len(parted) > 1:
        raise UsageError(
            f"{before[:12]} and {commit[:12]} parted more than once",
            hint="Merge the base branch into the pull request's branch, or install git 2.38 or"
            " later.",
        )
    ancestor, old, new = (
        {file.path: file for file in _tree(directory, one, FOLDER)}
        for one in (parted[0], before, commit)
    )
    changed = {path for path in ancestor | new if ancestor.get(path) != new.get(path)}
    kept = {path: file for path, file in old.items() if path not in changed}
    return _filled(directory, (kept | {p: f for p, f in new.items() if p in changed}).values())


def _parted(directory: Path, base: str, commit: str) -> list[str]:
    """Return the last commit that both have, or several where they were merged crosswise."""
    try:
        return _git(directory, "merge-base", "--all", base, commit).decode().split()
    except UsageError as error:
        raise UsageError(
            f"{base[:12]} and {commit[:12]} have no commit in common here",
            hint="Fetch the whole history (actions/checkout: `fetch-depth: 0`); a branch that"
            " was begun anew has to be made again from the base.",
        ) from error


def tip(directory: Path, branch: str) -> str:
    """Return the last commit of a branch: the remote's, else the local one. Raises UsageError."""
    for place in ("refs/remotes/origin", "refs/heads"):
        with suppress(UsageError):
            return _commit(directory, f"{place}/{branch}")
    raise UsageError(
        f"this clone has no branch {branch!r}",
        hint="Correct --branch, or fetch all branches (actions/checkout: `fetch-depth: 0`).",
    )


def identity(directory: Path) -> Path:
    """Return the one place of a repository that all its work trees share. Raises UsageError."""
    found = _git(directory, "rev-parse", "--git-common-dir")
    return (directory / os.fsdecode(found.rstrip(b"\n"))).resolve()


def follows(directory: Path, old: str, new: str) -> bool:
    """Tell whether a commit is known to come after another; False where the clone cannot say."""
    if not COMMIT.fullmatch(old):
        return False
    with suppress(UsageError):
        _git(directory, "merge-base", "--is-ancestor", old, new)
        return True
    return False


def related(directory: Path, one: str, other: str) -> bool:
    """Tell whether two commits are here and have a history in common."""
    if not COMMIT.fullmatch(one):
        return False
    with suppress(UsageError):
        _git(directory, "merge-base", one, other)
        return True
    return False


def branch(directory: Path) -> str:
    """Return the branch that is checked out; '' where none is."""
    with suppress(UsageError):
        return _git(directory, "symbolic-ref", "--quiet", "--short", "HEAD").decode().strip()
    return ""


def remote(directory: Path) -> str:
    """Return where the checkout came from, as `<host>/<owner>/<name>`; '' where nothing says it."""
    with suppress(UsageError):
        address = _git(directory, "config", "--get", "remote.origin.url").decode().strip()
        if found := ADDRESS.fullmatch(address):
            return f"{found['host']}/{found['path']}".lower()
    return ""


def holds(directory: Path, branch: str, commit: str) -> bool:
    """Tell whether a branch of the remote has a commit; False for what is not here."""
    return follows(directory, commit, f"refs/remotes/origin/{branch}")


def read_file(directory: Path, revision: str, path: str) -> bytes | None:
    """Return one file's bytes at a revision, None if there is none; a link is a UsageError."""
    commit = _commit(directory, revision)
    for file in _tree(directory, commit, path):
        if file.path != path or not _loaded(file):
            raise UsageError(f"{path} at {commit[:12]} is not a plain file of at most 256 KiB")
        return _blobs(directory, [file.blob])[file.blob]
    return None


def working_tree(directory: Path, paths: Iterable[str] = ()) -> list[File]:
    """Return the files as they are now, committed or not; works outside git too.

    `paths` are files or folders under `dtp-jobs/`, relative to `directory`; none means all of it.
    """
    root = next(
        (p for p in (directory, *directory.resolve().parents) if (p / FOLDER).is_dir()), None
    )
    if root is None:
        raise UsageError(f"there is no folder {FOLDER} in {directory}", hint=NO_FOLDER)
    starts = [_within(root, directory / path) for path in paths] or [FOLDER]
    starts += [one for start in starts for one in _whole(root, start)]
    try:
        found = {file.path: file for start in starts for file in _walk(root / start, start)}
    except OSError as error:
        place = Path(error.filename or root).relative_to(root)
        raise UsageError(f"cannot read {place}: {error.strerror}") from error
    return [found[path] for path in sorted(found)]


def script(path: Path, name: str) -> list[File]:
    """Return a script of any place, and its files, as if they were in the repository so named."""
    own = path.with_name(beside.folder(path.name))
    try:
        files = list(_walk(own, beside.folder(name))) if own.is_dir() else []
        return [_plain(path, name, 0o100644), *files]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


# --- history -------------------------------------------------------------------------------------


def brought_by(directory: Path, revision: str, paths: Iterable[str]) -> History:
    """Return which commits of the first-parent line brought the paths' present bytes.

    One process reads the line down to the oldest of them. A change of mode brings nothing; a file
    under a new name is new. What changes the files beside a script brings the script. Paths that
    are not there are left out.
    """
    line: list[Step] = []
    found: dict[str, str | None] = {}
    missing = set(paths)
    for step, brought in _first_parents(directory, _commit(directory, revision)):
        line.append(step)
        came = {beside.owner(path): True for path in brought} | brought
        new = missing & came.keys()
        missing -= new
        found |= {path: step.sha for path in new if came[path]}
        if not missing:
            break
    if found and not line[-1].parents and _cut_off(directory, line[-1].sha):
        found = {path: None if sha == line[-1].sha else sha for path, sha in found.items()}
    return History(commits=found, line=tuple(line))


def line_to(directory: Path, revision: str, commits: Iterable[str]) -> tuple[Step, ...]:
    """Return the first-parent line down to the oldest of these commits.

    It is the whole line where one of them is not on it.
    """
    line: list[Step] = []
    missing = set(commits)
    for step, _ in _first_parents(directory, _commit(directory, revision)):
        line.append(step)
        missing.discard(step.sha)
        if not missing:
            break
    return tuple(line)


def _first_parents(directory: Path, commit: str) -> Iterator[tuple[Step, dict[str, bool]]]:
    """Yield the commits of the line, each with the paths whose bytes it changed.

    True where the path is there after it, False where it is gone.
    """
    step, brought = None, dict[str, bool]()
    options = ("-z", "-m", "--raw", "--no-abbrev", "--no-renames", "--no-relative")
    shape = ("--first-parent", "--no-show-signature", "--format=%H %at %ct %P")
    records = _records(directory, "log", *options, *shape, commit)
    for record in records:
        facts = record.decode().split()
        if not record.lstrip().startswith(b":"):
            if step:
                yield step, brought
            sha, authored, committed, *parents = facts
            times = {"authored": int(authored), "committed": int(committed)}
            step, brought = Step(sha=sha, parents=tuple(parents), **times), {}
            continue
        path = next(records).decode(errors="surrogateescape")
        _, _, before, after, _ = facts
        if before != after:
            brought[path] = after.strip("0") != ""
    if step:
        yield step, brought


def _records(directory: Path, *arguments: str) -> Iterator[bytes]:
    """Yield what git prints, cut at each NUL, as it comes; git is ended when nobody reads on."""
    command, own = _command(directory, arguments)
    with subprocess.Popen(  # noqa: S603 an argument list, no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own
    ) as process:
        out, err = cast(BufferedReader, process.stdout), cast(BufferedReader, process.stderr)
        timer = Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            rest = b""
            while chunk := out.read1(1 << 16):
                *whole, rest = (rest + chunk).split(b"\0")
                yield from whole
            if process.wait():
                raise _refused(directory, err.read().decode(errors="replace"))
        finally:
            timer.cancel()
            process.kill()


def _cut_off(directory: Path, sha: str) -> bool:
    """Tell whether a commit that shows no parent has one: the clone is shallow and ends there."""
    head, _, _ = _git(directory, "cat-file", "commit", sha).partition(b"\n\n")
    return b"\nparent " in head


# --- git -----------------------------------------------------------------------------------------


def _command(directory: Path, arguments: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return how git is called, and with which environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    own |= {"GIT_ATTR_NOSYSTEM": "1"}
    return ["git", *HARDENED, "-C", str(directory), *arguments], own


def _git(directory: Path, *arguments: str, feed: bytes = b"") -> bytes:
    """Return what git prints; raises UsageError with git's own first line."""
    done = _ran(directory, arguments, feed)
    if done.returncode:
        raise _refused(directory, done.stderr.decode(errors="replace"))
    return done.stdout


def _ran(
    directory: Path, arguments: Iterable[str], feed: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Return how git ended, whichever way."""
    command, own = _command(directory, arguments)
    try:
        return subprocess.run(  # noqa: S603 an argument list, no shell
            command, input=feed, capture_output=True, env=own, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed", hint="Install git 2.25 or later.") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git did not answer within {TIMEOUT} s in {directory}") from error


def _refused(directory: Path, stderr: str) -> UsageError:
    first = (stderr.strip().splitlines() or ["no reason given"])[0].removeprefix("fatal: ")
    hint = next((hint for mark, hint in HINTS if mark in stderr), "")
    return UsageError(f"git: {first}", hint=hint.format(directory=directory.resolve()))


def _commit(directory: Path, revision: str) -> str:
    _git(directory, "rev-parse", "--git-dir")  # tells "no repository" from "no such revision"
    # An option in place of a revision would be obeyed: ours never begin with a dash.
    name = f"{revision}^{{commit}}" if not revision.startswith("-") else ""
    try:
        return _git(directory, "rev-parse", "--verify", "--quiet", name).decode().strip()
    except UsageError as error:
        raise UsageError(
            f"{revision!r} names no commit in {directory}",
            hint=NO_COMMIT
            if revision == "HEAD"
            else "Name a branch, a tag or a commit that was fetched (a shallow clone has few).",
        ) from error


def _tree(directory: Path, commit: str, path: str) -> list[File]:
    """Return what a commit holds at or below a path, without content."""
    listed = _git(directory, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", path)
    return [_entry(line) for line in listed.split(b"\0") if line]


def _entry(line: bytes) -> File:
    facts, _, path = line.partition(b"\t")
    mode, _, blob, size = facts.decode().split()
    return File(
        path=path.decode(errors="surrogateescape"),
        mode=int(mode, 8),
        blob=blob,
        size=None if size == "-" else int(size),
    )


def _filled(directory: Path, files: Iterable[File]) -> list[File]:
    """Return the files with the contents that count."""
    listed, ends = list(files), (".sh", SITE_FILE)
    own = beside.readable(listed)
    wanted = {
        file.blob
        for file in listed
        if (_loaded(file) and file.path.endswith(ends))
        or (file.path in own and stat.S_ISREG(file.mode))
    }
    contents = _blobs(directory, sorted(wanted))
    return [_with(file, contents.get(file.blob, b"")) for file in listed]


def _loaded(file: File) -> bool:
    return stat.S_ISREG(file.mode) and (file.size or 0) <= MAX_BYTES


def _with(file: File, content: bytes) -> File:
    return File(path=file.path, mode=file.mode, blob=file.blob, size=file.size, content=content)


def _blobs(directory: Path, blobs: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of blobs, all by one process."""
    answer = _git(directory, "cat-file", "--batch", feed="".join(f"{b}\n" for b in blobs).encode())
    contents, at = {}, 0
    for blob in blobs:
        end = answer.index(b"\n", at)
        name, kind, *size = answer[at:end].decode().split()
        if not size:
            raise UsageError(f"git: object {name} is {kind}", hint=HINTS[3][1])
        at = end + 1 + int(size[0]) + 1
        contents[blob] = answer[end + 1 : at - 1]
    return contents


# --- the working tree ----------------------------------------------------------------------------


def _within(root: Path, path: Path) -> str:
    """Return a path as the repository names it; the last part may be a link and is not followed."""
    real = path.parent.resolve() / path.name if path.name != ".." else path.resolve()
    try:
        inside = real.relative_to(root.resolve()).as_posix()
    except ValueError:
        inside = ""
    if inside.split("/")[0] != FOLDER:
        raise UsageError(f"{path} is not under {FOLDER}", hint=f"Scripts live in {FOLDER}.")
    if not os.path.lexists(real):
        raise UsageError(f"{path} does not exist")
    return inside


def _whole(root: Path, start: str) -> Iterator[str]:
    """Yield the script and the files that belong together with one path."""
    script = beside.owner(f"{start}/x" if start.endswith(".d") else start)
    together = (script, beside.folder(script)) if script.endswith(".sh") else ()
    yield from (path for path in together if os.path.lexists(root / path))


def _walk(path: Path, name: str) -> Iterator[File]:
    """Yield the files at or below a path; links are told, not followed; devices are passed over."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode) and name != FOLDER and (path / ".git").exists():
        yield File(path=name, mode=SUBMODULE, blob="")
    elif stat.S_ISDIR(mode):
        for member in path.iterdir():
            yield from _walk(member, f"{name}/{member.name}")
    elif stat.S_ISLNK(mode):
        yield File(path=name, mode=0o120000, blob=_blob_id(os.fsencode(path.readlink())))
    elif stat.S_ISREG(mode):
        yield _plain(path, name, 0o100755 if mode & stat.S_IXUSR else 0o100644)


def _plain(path: Path, name: str, mode: int) -> File:
    most = MAX_BYTES if beside.owner(name) == name else beside.MOST_BYTES
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        return File(path=name, mode=mode, blob="", size=path.stat().st_size)
    return File(path=name, mode=mode, blob=_blob_id(content), content=content)


def _blob_id(content: bytes) -> str:
    """Return git's id of these bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()
